r"""What can be proved of a Jacobian: spectrum, discs, Lyapunov functions, diagonal certificates.

Matrices come one at a time or as a stack, on the last two axes. A strict inequality counts only
where it holds by more than rounding.

References
----------
.. [G] S. Gershgorin, 1931; R. A. Horn and C. R. Johnson, *Matrix Analysis*, 2nd ed., thm 6.1.1.
.. [L] A. M. Lyapunov, 1892; H. K. Khalil, *Nonlinear Systems*, 3rd ed., thm 4.6.
.. [BP] A. Berman and R. J. Plemmons, *Nonnegative Matrices in the Mathematical Sciences*, ch. 6:
   M-matrices and their diagonal Lyapunov functions.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import scipy.linalg

from deep_nb.checks import real_array
from deep_nb.kinds import FLAG, LARGEST, number, short


def square_matrices(value: Any, what: str) -> np.ndarray:
    """Return `value` as an array of square matrices.

    Raises
    ------
    ValueError
        If it is not numeric, not square on its last two axes, empty, or not finite.
    """
    if isinstance(value, np.ma.MaskedArray):
        raise ValueError(f"{what} must be square matrices, got a masked array")
    try:
        array = np.asarray(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{what} must be square matrices: {error!s:.200}") from None
    if array.dtype.kind not in "biuf" or array.ndim < 2 or array.shape[-1] != array.shape[-2]:
        raise ValueError(f"{what} must be square matrices, got {array.dtype} {array.shape}")
    if array.size == 0 or not np.isfinite(array).all():
        raise ValueError(f"{what} must be finite and not empty, got shape {array.shape}")
    return array.astype(float)


class Spectrum(NamedTuple):
    """Eigenvalues (..., n), their largest real part (...), and whether that is negative (...)."""

    eigenvalues: np.ndarray
    abscissa: np.ndarray
    hurwitz: np.ndarray


def spectrum(J: Any) -> Spectrum:
    r"""Return the eigenvalues of J; it is Hurwitz if all lie left of the imaginary axis.

    Then, and only then, the *unclipped* linear dynamics decay to one rest point [L]_. To count,
    −abscissa and the least singular value must both exceed
    :math:`n \epsilon \lVert J \rVert_2`: a singular J is not Hurwitz, and its computed
    eigenvalue 0 may lie on either side.

    Parameters
    ----------
    J : array_like, shape (..., n, n)

    Raises
    ------
    ValueError
        If J is not made of finite square matrices.
    """
    J = square_matrices(J, "J")
    eigenvalues = np.linalg.eigvals(J).astype(complex)
    abscissa = eigenvalues.real.max(axis=-1)
    singular = np.linalg.svd(J, compute_uv=False)
    error = J.shape[-1] * np.finfo(float).eps * singular[..., 0]
    return Spectrum(eigenvalues, abscissa, (abscissa < -error) & (singular[..., -1] > error))


class Gershgorin(NamedTuple):
    """Discs of a Jacobian and the published tests on them.

    Attributes
    ----------
    centres, row_radii, column_radii : ndarray, shape (..., n)
        J_jj, and the sums of the other |entries| of its row and of its column.
    negative_diagonal : ndarray of bool, shape (...)
        Whether every centre is negative.
    rows, columns : ndarray of bool, shape (...)
        Whether the diagonal is negative and every radius is smaller than |J_jj|.
    failing_rows, failing_columns : ndarray of int, shape (...)
        Number of discs whose radius is not smaller than |J_jj|.
    """

    centres: np.ndarray
    row_radii: np.ndarray
    column_radii: np.ndarray
    negative_diagonal: np.ndarray
    rows: np.ndarray
    columns: np.ndarray
    failing_rows: np.ndarray
    failing_columns: np.ndarray


def gershgorin(J: Any) -> Gershgorin:
    r"""Test whether Gershgorin's discs prove that J is Hurwitz, as the published notebooks do.

    Every eigenvalue lies in a disc around some :math:`J_{jj}` of radius
    :math:`\sum_{i \ne j} |J_{ji}|` (rows), and in one of radius :math:`\sum_{i \ne j} |J_{ij}|`
    (columns) [G]_: if all discs of either kind lie left of the imaginary axis, J is Hurwitz.

    Parameters
    ----------
    J : array_like, shape (..., n, n)

    Raises
    ------
    ValueError
        If J is not made of finite square matrices.
    """
    J = square_matrices(J, "J")
    n = J.shape[-1]
    centres = np.diagonal(J, axis1=-2, axis2=-1)
    others = np.abs(J) * ~np.eye(n, dtype=bool)
    row_radii, column_radii = others.sum(axis=-1), others.sum(axis=-2)
    margin = 1 + 2 * n * np.finfo(float).eps
    failing_rows = (~(row_radii * margin < np.abs(centres))).sum(axis=-1)
    failing_columns = (~(column_radii * margin < np.abs(centres))).sum(axis=-1)
    negative: np.ndarray = np.all(centres < 0, axis=-1)
    return Gershgorin(
        centres,
        row_radii,
        column_radii,
        negative_diagonal=negative,
        rows=negative & (failing_rows == 0),
        columns=negative & (failing_columns == 0),
        failing_rows=failing_rows,
        failing_columns=failing_columns,
    )


def lyapunov_matrix(J: Any, Q: Any = None) -> np.ndarray:
    r"""Return P with :math:`J^\top P + P J = -Q`, by SciPy's solver.

    If J is Hurwitz and Q positive definite, P is unique and positive definite, and
    :math:`V = (s - s^*)^\top P (s - s^*)` falls along the *unclipped* flow [L]_. It need not fall
    where the clip bends the flow: see `diagonal_certificate`.

    Parameters
    ----------
    J : array_like, shape (..., n, n)
    Q : array_like, shape (n, n), optional
        Symmetric positive definite; the identity by default.

    Returns
    -------
    ndarray, shape (..., n, n)
        NaN where J is not Hurwitz.

    Raises
    ------
    ValueError
        If J or Q is not made of finite square matrices, or Q is not symmetric positive definite.
    """
    J = square_matrices(J, "J")
    n = J.shape[-1]
    Q = np.eye(n) if Q is None else square_matrices(Q, "Q")
    if Q.shape != (n, n) or not np.array_equal(Q, Q.T) or np.linalg.eigvalsh(Q).min() <= 0:
        raise ValueError(f"Q must be symmetric positive definite of shape {(n, n)}")
    P = np.full_like(J, np.nan)
    hurwitz = spectrum(J).hurwitz
    for index in np.ndindex(J.shape[:-2]):
        if hurwitz[index]:
            P[index] = scipy.linalg.solve_continuous_lyapunov(J[index].T, -Q)
    return P


def comparison_matrix(J: np.ndarray) -> np.ndarray:
    """Return M(J): |J_jj| on the diagonal, −|J_ij| elsewhere [BP]_.

    Raises
    ------
    ValueError
        If J is not made of finite square matrices.
    """
    J = square_matrices(J, "J")
    return np.abs(J) * (2.0 * np.eye(J.shape[-1]) - 1.0)


def diagonal_certificate(J: Any) -> np.ndarray | None:
    r"""Return a diagonal D > 0 with :math:`D J + J^\top D < 0`, from the comparison matrix.

    Assumes a negative diagonal and that the comparison matrix M(J) is a nonsingular M-matrix, that
    is, that J is strictly diagonally dominant after some scaling. This is sufficient; it is
    necessary where J has no negative entry off its diagonal, and other J may have a D that is not
    found here.

    Then :math:`M x = 1` and
    :math:`M^\top y = 1` have positive solutions and :math:`D = \operatorname{diag}(y / x)` serves
    [BP]_: :math:`(DM + M^\top D) x = y/x + 1 > 0`, so that :math:`DM + M^\top D` is a symmetric
    M-matrix, hence positive definite; and
    :math:`-z^\top D J z \ge |z|^\top D M |z|`. Each D is checked to be negative definite, beyond
    rounding, before it is returned.

    Clipping is non-expansive in a diagonal norm, so that D certifies the *clipped* dynamics: one
    rest point in the box, and :math:`V = (s - s^*)^\top D (s - s^*)` falls along every trajectory.
    Nudging with β > 0 only makes the diagonal more negative: the same D serves both phases.

    Parameters
    ----------
    J : array_like, shape (..., n, n)

    Returns
    -------
    ndarray, shape (..., n), or None
        The diagonal of D, its largest entry 1. Where M(J) is no nonsingular M-matrix: None of one
        matrix, a row of NaN in a stack.

    Raises
    ------
    ValueError
        If J is not made of finite square matrices.
    """
    J = square_matrices(J, "J")
    D = certificates(J)
    return None if J.ndim == 2 and np.isnan(D).any() else D


def certificates(J: np.ndarray) -> np.ndarray:
    """Return the diagonal certificates of a stack, (..., n), NaN where M(J) gives none.

    Raises
    ------
    ValueError
        If J is not made of finite square matrices.
    """
    J = square_matrices(J, "J")
    shape, n = J.shape[:-1], J.shape[-1]
    J = J.reshape(-1, n, n)
    M = comparison_matrix(J)
    D = np.full((len(J), n), np.nan)
    negative = np.all(np.diagonal(J, axis1=-2, axis2=-1) < 0, axis=-1)
    pivots = [np.linalg.slogdet(part)[0] != 0 for part in (M, M.swapaxes(-2, -1))]
    candidates = negative & pivots[0] & pivots[1]
    ones = np.ones((int(candidates.sum()), n, 1))
    x = np.linalg.solve(M[candidates], ones)[..., 0]
    y = np.linalg.solve(M[candidates].swapaxes(-2, -1), ones)[..., 0]
    positive = ((x > 0) & (y > 0) & (x < np.inf) & (y < np.inf)).all(axis=-1)
    candidates[candidates] = positive
    ratio = y[positive] / x[positive]
    ratio /= ratio.max(axis=-1, keepdims=True)
    D[candidates] = np.where(_is_certificate(J[candidates], ratio)[:, None], ratio, np.nan)
    return D.reshape(shape)


def _is_certificate(J: np.ndarray, D: np.ndarray) -> np.ndarray:
    """Return whether D^½ J D^−½ + its transpose is negative definite beyond rounding, (k,)."""
    root = np.sqrt(D)
    scaled = root[..., :, None] * J / root[..., None, :]
    n = J.shape[-1]
    error = n**2 * np.finfo(float).eps * np.abs(scaled).max(axis=(-2, -1), initial=0.0)
    return np.linalg.eigvalsh(scaled + scaled.swapaxes(-2, -1))[..., -1] < -2 * error


def contraction_rate(J: Any, dt: float, D: np.ndarray | None = None) -> np.ndarray:
    r"""Return :math:`\rho = \lVert D^{1/2} (1 + dt\, J) D^{-1/2} \rVert_2`, per Euler step.

    If ρ < 1, the clipped Euler iteration is a contraction (Banach): it has one rest point s*, and
    :math:`V(t) \le \rho^{2t} V(0)` with :math:`V = (s - s^*)^\top D (s - s^*)`.

    Parameters
    ----------
    J : array_like, shape (..., n, n)
    dt : float
        Euler step, > 0.
    D : ndarray, shape (..., n), optional
        Diagonal weights, > 0; by default the `diagonal_certificate` of J.

    Returns
    -------
    ndarray, shape (...)
        NaN where there is no D.

    Raises
    ------
    ValueError
        If J is not made of finite square matrices, `dt` is not positive and finite, or `D` does
        not fit J, or an entry is not positive (NaN stands for no D).
    """
    J = square_matrices(J, "J")
    if not number(0, LARGEST, without_low=True).accepts(dt):
        raise ValueError(f"dt must be positive and finite, got {short(dt)}")
    D = certificates(J) if D is None else _weights(D, J)
    root = np.sqrt(D)
    step = root[..., :, None] * (np.eye(J.shape[-1]) + dt * J) / root[..., None, :]
    known = np.isfinite(D).all(axis=-1)
    norm = np.linalg.norm(np.where(known[..., None, None], step, 0.0), 2, axis=(-2, -1))
    return np.where(known, norm, np.nan)


def _weights(D: Any, J: np.ndarray) -> np.ndarray:
    """Return diagonal weights for a stack of matrices, checked."""
    array = np.asarray(real_array(D, "D"), dtype=float)
    if array.shape != J.shape[:-1]:
        raise ValueError(f"D must have shape {J.shape[:-1]}, got {array.shape}")
    if not (np.isnan(array) | ((array > 0) & (array <= LARGEST))).all():
        raise ValueError(f"D must be positive, at most {LARGEST:g}, got {short(D)}")
    return array


def max_stable_dt(J: Any) -> np.ndarray:
    r"""Return the largest Euler step that is stable: :math:`\min_k -2 \Re \mu_k / |\mu_k|^2`.

    For smaller ones every eigenvalue :math:`1 + dt\, \mu_k` of the unclipped iteration lies inside
    the unit circle.

    Parameters
    ----------
    J : array_like, shape (..., n, n)

    Returns
    -------
    ndarray, shape (...)
        0 where J is not Hurwitz: no step is stable.

    Raises
    ------
    ValueError
        If J is not made of finite square matrices.
    """
    eigenvalues, _, hurwitz = spectrum(J)
    # Only a J that is not Hurwitz has μ = 0; of a tiny one, any step that is a number is stable.
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        limits = -2 * (eigenvalues.real / np.abs(eigenvalues)) / np.abs(eigenvalues)
    return np.where(hurwitz, limits.min(axis=-1), 0.0)


def certifying_leak(
    W: Any, outflow: float = 1.0, absolute_outflow: bool = False, tolerance: float = 1e-10
) -> np.ndarray:
    r"""Return the smallest leak λ ≥ 0 at which `diagonal_certificate` certifies the weights.

    By bisection: J(λ) = J(0) − λ is certified exactly if its diagonal is negative and M(J(λ)) is a
    nonsingular M-matrix, and then for every larger λ, too [BP]_. Since that is only sufficient, a
    smaller leak may have a D found otherwise. [C25]_ of `deep_nb.models` is about such leaks.

    Parameters
    ----------
    W : array_like, shape (..., n, n)
        Weights among free neurons, ``W[..., i, j]`` from i to j; outgoing weights are their rows.
    outflow : float
        γ.
    absolute_outflow : bool
        Whether the outflow is Σ|W| instead of ΣW.
    tolerance : float
        Width of the last bracket, relative to 1 + λ, from 1e-14 to 1; its upper end is returned,
        which certifies.

    Returns
    -------
    ndarray, shape (...)

    Raises
    ------
    ValueError
        If W is not made of finite square matrices without self-loops, `outflow` is negative or not
        finite, or `tolerance` is out of range.
    """
    W = square_matrices(W, "W")
    n = W.shape[-1]
    if np.diagonal(W, axis1=-2, axis2=-1).any():
        raise ValueError("W must be without self-loops: its diagonal must be 0")
    FLAG.check(absolute_outflow, "absolute_outflow")
    if not number(0, LARGEST).accepts(outflow) or not number(1e-14, 1).accepts(tolerance):
        raise ValueError(
            f"outflow must be finite and at least 0, tolerance from 1e-14 to 1, got "
            f"{short(outflow)} and {short(tolerance)}"
        )
    outgoing = outflow * (np.abs(W) if absolute_outflow else W).sum(axis=-1)
    J = W.swapaxes(-2, -1) - outgoing[..., None] * np.eye(n)
    rows = np.abs(W).sum(axis=-2)
    low = np.zeros(W.shape[:-2])
    high = 2 * np.maximum(0.0, (rows - outgoing).max(axis=-1)) + 1.0  # strictly dominant

    def certified(leak: np.ndarray) -> np.ndarray:
        return np.isfinite(certificates(J - leak[..., None, None] * np.eye(n))).all(axis=-1)

    high = np.where(certified(low), 0.0, high)
    while (high - low > tolerance * (1 + high)).any():
        middle = (low + high) / 2
        inside = certified(middle)
        low, high = np.where(inside, low, middle), np.where(inside, middle, high)
    return high
