r"""Diagonal certificates, D > 0 with :math:`DJ + J^\top D < 0`, from the fastest test to the exact.

=========== ================================================================ =====================
method      test                                                             exact
=========== ================================================================ =====================
identity    :math:`J + J^\top < 0`, so that D = I                            no
comparison  the comparison matrix M(J) is a nonsingular M-matrix             if J is Metzler
sdp         a semidefinite program over D, by CVXPY                          up to its tolerance
=========== ================================================================ =====================

Neither of the first two contains the other. Each D is checked by `matrices.is_certificate` before
it is returned: a solver's tolerance certifies nothing.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType

import numpy as np
import scipy.linalg
from jaxtyping import Bool, Float
from numpy.typing import ArrayLike

from deep_nb._extras import needed_by
from deep_nb._validation import LARGEST, flag, number, one_of
from deep_nb.analysis.matrices import diagonal_certificate, is_certificate, square_matrices

#: The solver of the semidefinite program, which comes with CVXPY.
SOLVER = "CLARABEL"


@dataclass(frozen=True, eq=False)
class Certificate:
    """Diagonal certificates of a stack of Jacobians, as returned by `certificate`.

    Attributes
    ----------
    D
        The diagonal of each D, its largest entry 1; NaN where none was found.
    method
        "identity", "comparison" or "sdp", the method that found it; "" where none did.
    """

    D: Float[np.ndarray, "*stack n"]
    method: np.ndarray


def certificate(J: ArrayLike, method: str = "auto") -> Certificate:
    r"""Return a diagonal D > 0 with :math:`D J + J^\top D < 0` for each J, and what found it.

    D proves that the *clipped* flow has one rest point in the box, and that
    :math:`V = (s - s^*)^\top D (s - s^*)` falls along every trajectory, see
    `diagonal_certificate`. The methods:

    - "identity": D = I, if the symmetric part of J is negative definite.
    - "comparison": `diagonal_certificate`.
    - "sdp": maximise t subject to :math:`DJ + J^\top D \preceq -tI` and D ≤ 1, a semidefinite
      program, after scaling J to the diagonal −1. If any D exists, this finds it, unless t is
      within the solver's tolerance of 0 (about 1e-8 of the largest entry of the scaled J).
    - "auto": the three in this order, until one certifies. Without CVXPY, only the first two.

    Each D is checked to certify beyond rounding before it is returned. The last bits of those from
    "sdp" depend on the solver.

    Parameters
    ----------
    J : array_like, shape (..., n, n)
    method : str
        "auto", "identity", "comparison" or "sdp".

    Returns
    -------
    Certificate
        D and the method of each matrix.

    Raises
    ------
    ValueError
        If J does not consist of finite square matrices, or `method` is unknown.
    ModuleNotFoundError
        With the method "sdp" if CVXPY is missing.

    See Also
    --------
    diagonal_certificate : The method "comparison".
    contraction_rate : What D proves about an Euler step.
    certifying_leak : The smallest leak at which a method certifies.

    Examples
    --------
    >>> import deep_nb
    >>> stack = [[[-1.0, 5.0], [-5.0, -1.0]], [[-2.0, 3.0], [0.0, -1.0]], [[0.0, 1.0], [1.0, 0.0]]]
    >>> found = deep_nb.analysis.certificate(stack)
    >>> found.method.tolist()
    ['identity', 'comparison', '']
    >>> found.D[0]
    array([1., 1.])
    """
    J = square_matrices(J, "J")
    n = J.shape[-1]
    flat = J.reshape(-1, n, n)
    D = np.full((len(flat), n), np.nan)
    found_by = np.full(len(flat), "", dtype="<U10")
    for name in methods(method):
        left = found_by == ""
        if left.any():
            D[left] = METHODS[name](flat[left])
            found_by[left] = np.where(np.isfinite(D[left]).all(axis=1), name, "")
    return Certificate(D.reshape(J.shape[:-1]), found_by.reshape(J.shape[:-2]))


def methods(method: str) -> list[str]:
    """Return the names of the methods to try, in their order."""
    if one_of(method, ("auto", *METHODS), "method") != "auto":
        return [method]
    return [name for name in METHODS if name != "sdp" or _cvxpy() is not None]


def _identity(J: Float[np.ndarray, "k n n"]) -> Float[np.ndarray, "k n"]:
    ones = np.ones(J.shape[:2])
    return np.where(is_certificate(J, ones)[:, None], ones, np.nan)


def _semidefinite(J: Float[np.ndarray, "k n n"]) -> Float[np.ndarray, "k n"]:
    """Solve the semidefinite program of each J, and return the solutions that certify."""
    with needed_by("the method 'sdp'"):
        import_module("cvxpy")
    D = np.full(J.shape[:2], np.nan)
    solve = None
    for k in np.flatnonzero((np.diagonal(J, axis1=1, axis2=2) < 0).all(axis=1)):
        scaled, scale = _scaled(J[k])
        if scaled is None:
            continue
        solve = solve or _program(J.shape[1])
        solution = solve(scaled) * scale
        solution /= solution.max()
        if (solution > 0).all() and is_certificate(J[k, None], solution[None])[0]:
            D[k] = solution
    return D


@np.errstate(over="ignore", divide="ignore", invalid="ignore")  # such a J is left out
def _scaled(
    J: Float[np.ndarray, "n n"],
) -> tuple[Float[np.ndarray, "n n"] | None, Float[np.ndarray, " n"]]:
    r"""Return J scaled to the diagonal −1 and balanced, and what turns its D into one of J.

    With positive diagonal R and T, D certifies :math:`T^{-1} R J T` if and only if
    :math:`T^{-1} D T^{-1} R` certifies J. None if the scaled matrix overflows.
    """
    rows = -1 / np.diagonal(J)
    scaled = rows[:, None] * J
    if not np.isfinite(scaled).all():
        return None, rows
    balanced, (balance, _) = scipy.linalg.matrix_balance(scaled, permute=False, separate=True)
    return balanced, rows / balance**2


def _program(
    n: int,
) -> Callable[[Float[np.ndarray, "n n"]], Float[np.ndarray, " n"]]:
    """Return a function that solves the semidefinite program of an n × n matrix; NaN if it cannot.

    CVXPY analyses the program once for all matrices.
    """
    cp = _cvxpy()
    assert cp is not None
    J, D, t = cp.Parameter((n, n)), cp.Variable(n), cp.Variable()
    product = cp.diag(D) @ J
    program = cp.Problem(cp.Maximize(t), [D <= 1, product + product.T + t * np.eye(n) << 0])

    def solve(matrix: Float[np.ndarray, "n n"]) -> Float[np.ndarray, " n"]:
        J.value = matrix
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an inaccurate solution: it is checked afterwards
            try:
                program.solve(solver=SOLVER, warm_start=False)  # whatever was solved before
            except cp.SolverError:
                return np.full(n, np.nan)
        return np.full(n, np.nan) if D.value is None else np.array(D.value)

    return solve


def _cvxpy() -> ModuleType | None:
    """Return CVXPY, or None if it is not installed."""
    try:
        import cvxpy
    except ImportError:
        return None
    return cvxpy


#: Each returns D for a stack of matrices, NaN where it finds none; from the fastest to the exact.
METHODS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "identity": _identity,
    "comparison": diagonal_certificate,
    "sdp": _semidefinite,
}


def certifying_leak(
    W: ArrayLike,
    outflow: float = 1.0,
    absolute_outflow: bool = False,
    tolerance: float = 1e-10,
    method: str = "comparison",
) -> Float[np.ndarray, "*stack"]:
    r"""Return the smallest leak λ ≥ 0 at which a method of `certificate` certifies the weights.

    Found by bisection: if D certifies J(λ) = J(0) − λ, it certifies every larger λ as well, because
    :math:`DJ + J^\top D` decreases by 2D per unit of λ. The methods "identity" and "comparison" are
    only sufficient; a D may exist at smaller leaks, and "sdp" finds the smallest at which one does,
    up to the solver's tolerance. Such leaks are the subject of Costa and Santos, "Directed
    Equilibrium Propagation Revisited", Mathematics 13(11):1866, 2025.

    Parameters
    ----------
    W : array_like, shape (..., n, n)
        Weights among free neurons, ``W[..., i, j]`` from i to j; outgoing weights are their rows.
    outflow : float
        γ, ≥ 0.
    absolute_outflow : bool
        Whether the outflow is Σ|W| instead of ΣW.
    tolerance : float
        Width of the last bracket, relative to 1 + λ, from 1e-14 to 1.
    method : str
        "comparison", "identity", "sdp", or "auto" for all, without "sdp" if CVXPY is missing. Leaks
        of "sdp" are never above those of the two others, whose D it could have found.

    Returns
    -------
    ndarray
        In 1/τ; the upper end of the last bracket, which certifies. Infinity where the weights are
        so large that rounding hides every leak.

    Raises
    ------
    ValueError
        If W does not consist of finite square matrices without self-loops, its outflow overflows,
        or another argument is out of range.
    ModuleNotFoundError
        With the method "sdp" if CVXPY is missing.

    See Also
    --------
    certificate : The certificates.
    stability_report : The leak of "comparison" and other results for the networks of a run.

    Examples
    --------
    >>> import deep_nb
    >>> leak = deep_nb.analysis.certifying_leak([[0.0, 1.0], [1.0, 0.0]], outflow=0.0)
    >>> round(float(leak), 6)
    1.0
    """
    W = square_matrices(W, "W", "pre", "post")
    n = W.shape[-1]
    if np.diagonal(W, axis1=-2, axis2=-1).any():
        raise ValueError("W must not contain self-loops: its diagonal must be 0")
    outflow = number(outflow, "outflow", 0, LARGEST)
    flag(absolute_outflow, "absolute_outflow")
    tolerance = number(tolerance, "tolerance", 1e-14, 1)
    names = methods(method)
    with np.errstate(over="ignore", invalid="ignore"):
        outgoing = outflow * (np.abs(W) if absolute_outflow else W).sum(axis=-1)
        J = (W.swapaxes(-2, -1) - outgoing[..., None] * np.eye(n)).reshape(-1, n, n)
    if not np.isfinite(J).all():
        raise ValueError("the outflow overflows: W or outflow is too large")
    if "sdp" in names:
        names = list(METHODS)  # the others bound its leak
    # Strictly dominant rows and columns: certified by all methods, but for rounding.
    sums = np.maximum(np.abs(W).sum(axis=-2), np.abs(W).sum(axis=-1))
    high = 2 * np.maximum(0.0, (sums - outgoing).max(axis=-1).ravel()) + 1.0
    simple = [_bisected(J, name, high, tolerance) for name in names if name != "sdp"]
    leak = np.min(simple, axis=0)
    if "sdp" in names:
        leak = _bisected(J, "sdp", leak, tolerance)
    return leak.reshape(W.shape[:-2])


def _bisected(
    J: Float[np.ndarray, "k n n"], method: str, high: Float[np.ndarray, " k"], tolerance: float
) -> Float[np.ndarray, " k"]:
    """Return the smallest leak that the method certifies, below `high`, which another one does.

    Methods other than "sdp" may find theirs above `high`, because of rounding; infinity if nowhere.
    """

    def certified(
        of: Bool[np.ndarray, " k"], leak: Float[np.ndarray, " k"]
    ) -> Bool[np.ndarray, " k"]:
        inside = np.zeros(len(J), dtype=bool)
        if of.any():
            D = METHODS[method](J[of] - leak[of, None, None] * np.eye(J.shape[1]))
            inside[of] = np.isfinite(D).all(axis=1)
        return inside

    low = np.zeros(len(J))
    high = np.where(certified(high > 0, low), 0.0, high)
    if method != "sdp":
        while (beyond := (high > 0) & (high < LARGEST) & ~certified(high > 0, high)).any():
            high = np.where(beyond, 2 * high, high)
        high[high >= LARGEST] = np.inf
    while (wide := np.isfinite(high) & (high - low > tolerance * (1 + high))).any():
        middle = (low + high) / 2
        inside = certified(wide, middle)
        low = np.where(wide & ~inside, middle, low)
        high = np.where(wide & inside, middle, high)
    return high
