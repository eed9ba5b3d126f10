r"""Stability tests of Jacobians: spectrum, discs, Lyapunov functions, diagonal certificates.

Every function takes one matrix or a stack of matrices on the last two axes. A strict inequality
counts only where it holds by more than rounding. Jacobians are in 1/τ, with τ the time constant of
the neurons.

References
----------
.. [G] S. Gershgorin, 1931; R. A. Horn and C. R. Johnson, *Matrix Analysis*, 2nd ed., thm 6.1.1.
.. [L] A. M. Lyapunov, 1892; H. K. Khalil, *Nonlinear Systems*, 3rd ed., thm 4.6.
.. [BP] A. Berman and R. J. Plemmons, *Nonnegative Matrices in the Mathematical Sciences*, ch. 6:
   M-matrices and their diagonal Lyapunov functions.
"""

from dataclasses import dataclass

import numpy as np
import scipy.linalg
from jaxtyping import Bool, Complex, Float, Int
from numpy.typing import ArrayLike

from deep_nb._validation import (
    LARGEST,
    check_last_axes,
    check_same_labels,
    check_square,
    number,
    real_array,
    short,
)


@dataclass(frozen=True, eq=False)
class Spectrum:
    """The eigenvalues of a Jacobian, as returned by `spectrum`.

    Attributes
    ----------
    eigenvalues
        In 1/τ.
    abscissa
        Their largest real part, in 1/τ.
    hurwitz
        Whether the abscissa is negative.
    """

    eigenvalues: Complex[np.ndarray, "*stack n"]
    abscissa: Float[np.ndarray, "*stack"]
    hurwitz: Bool[np.ndarray, "*stack"]


def spectrum(J: ArrayLike) -> Spectrum:
    r"""Return the eigenvalues of J and whether J is Hurwitz: all of them have a negative real part.

    The *unclipped* linear dynamics decay to a single rest point if and only if J is Hurwitz [L]_.
    Both −abscissa and the least singular value must exceed
    :math:`n \epsilon \lVert J \rVert_2`: a singular J is not Hurwitz, but its computed
    eigenvalue 0 may have either sign.

    Parameters
    ----------
    J : array_like, shape (..., n, n)

    Raises
    ------
    ValueError
        If J does not consist of finite square matrices.

    See Also
    --------
    gershgorin : A sufficient test that needs no eigenvalues.
    diagonal_certificate : A test that also covers the clipped dynamics.

    Examples
    --------
    >>> import deep_nb
    >>> deep_nb.analysis.spectrum([[-2.0, 1.0], [0.0, -1.0]]).eigenvalues
    array([-2.+0.j, -1.+0.j])
    """
    J = square_matrices(J, "J")
    eigenvalues = np.linalg.eigvals(J).astype(complex)
    abscissa = np.asarray(eigenvalues.real.max(axis=-1))
    singular = np.linalg.svd(J, compute_uv=False)
    error = J.shape[-1] * np.finfo(float).eps * singular[..., 0]
    hurwitz = np.asarray((abscissa < -error) & (singular[..., -1] > error))
    return Spectrum(eigenvalues, abscissa, hurwitz)


@dataclass(frozen=True, eq=False)
class Gershgorin:
    """The discs of a Jacobian and the published tests on them, as returned by `gershgorin`.

    Attributes
    ----------
    centres
        J_jj, in 1/τ.
    row_radii, column_radii
        Sums of the absolute values of the other entries of a row and of a column, in 1/τ.
    negative_diagonal
        Whether every centre is negative.
    rows, columns
        Whether the diagonal is negative and every radius is smaller than ``|J_jj|``.
    failing_rows, failing_columns
        Number of discs whose radius is not smaller than ``|J_jj|``.
    """

    centres: Float[np.ndarray, "*stack n"]
    row_radii: Float[np.ndarray, "*stack n"]
    column_radii: Float[np.ndarray, "*stack n"]
    negative_diagonal: Bool[np.ndarray, "*stack"]
    rows: Bool[np.ndarray, "*stack"]
    columns: Bool[np.ndarray, "*stack"]
    failing_rows: Int[np.ndarray, "*stack"]
    failing_columns: Int[np.ndarray, "*stack"]


def gershgorin(J: ArrayLike) -> Gershgorin:
    r"""Test whether Gershgorin's discs prove that J is Hurwitz, as the published notebooks do.

    Every eigenvalue lies in a disc around some :math:`J_{jj}` of radius
    :math:`\sum_{i \ne j} |J_{ji}|` (rows), and in one of radius :math:`\sum_{i \ne j} |J_{ij}|`
    (columns) [G]_. If all row discs, or all column discs, lie left of the imaginary axis, J is
    Hurwitz.

    Parameters
    ----------
    J : array_like, shape (..., n, n)

    Raises
    ------
    ValueError
        If J does not consist of finite square matrices.

    See Also
    --------
    spectrum : The eigenvalues themselves.
    deep_nb.plotting.plot_discs : Draws the discs of one network.

    Examples
    --------
    >>> import deep_nb
    >>> discs = deep_nb.analysis.gershgorin([[-2.0, 1.0], [0.5, -1.0]])
    >>> bool(discs.rows), bool(discs.columns), int(discs.failing_columns)
    (True, False, 1)
    """
    J = square_matrices(J, "J")
    n = J.shape[-1]
    centres = np.diagonal(J, axis1=-2, axis2=-1)
    others = np.abs(J) * ~np.eye(n, dtype=bool)
    row_radii, column_radii = others.sum(axis=-1), others.sum(axis=-2)
    margin = 1 + 2 * n * np.finfo(float).eps
    failing_rows, failing_columns = (
        np.asarray((~(radii * margin < np.abs(centres))).sum(axis=-1))
        for radii in (row_radii, column_radii)
    )
    negative = np.asarray(np.all(centres < 0, axis=-1))
    return Gershgorin(
        centres,
        row_radii,
        column_radii,
        negative_diagonal=negative,
        rows=np.asarray(negative & (failing_rows == 0)),
        columns=np.asarray(negative & (failing_columns == 0)),
        failing_rows=failing_rows,
        failing_columns=failing_columns,
    )


def lyapunov_matrix(J: ArrayLike, Q: ArrayLike | None = None) -> Float[np.ndarray, "*stack n n"]:
    r"""Solve :math:`J^\top P + P J = -Q` for P, with SciPy.

    If J is Hurwitz and Q positive definite, P is unique and positive definite, and
    :math:`V = (s - s^*)^\top P (s - s^*)` falls along the *unclipped* flow [L]_. Where the clip
    bends the flow, V may rise: see `diagonal_certificate`.

    Parameters
    ----------
    J : array_like, shape (..., n, n)
    Q : array_like, shape (n, n), optional
        Symmetric positive definite; the identity by default.

    Returns
    -------
    ndarray
        P; NaN where J is not Hurwitz.

    Raises
    ------
    ValueError
        If J does not consist of finite square matrices, Q is not symmetric positive definite, or
        they have different labels.

    See Also
    --------
    diagonal_certificate : A Lyapunov function of the clipped dynamics.
    energy : V along a trajectory.

    Examples
    --------
    >>> import deep_nb
    >>> deep_nb.analysis.lyapunov_matrix([[-1.0, 0.0], [0.0, -2.0]]).round(4) + 0.0
    array([[0.5 , 0.  ],
           [0.  , 0.25]])
    """
    given, J = (J, Q), square_matrices(J, "J")
    n = J.shape[-1]
    Q = np.eye(n) if Q is None else square_matrices(Q, "Q")
    check_same_labels(*given, "J and Q", "column", axis=-1)
    if Q.shape != (n, n) or not np.array_equal(Q, Q.T) or np.linalg.eigvalsh(Q).min() <= 0:
        raise ValueError(f"Q must be symmetric positive definite of shape {(n, n)}")
    P = np.full_like(J, np.nan)
    hurwitz = spectrum(J).hurwitz
    for index in np.ndindex(J.shape[:-2]):
        if hurwitz[index]:
            P[index] = scipy.linalg.solve_continuous_lyapunov(J[index].T, -Q)
    return P


def comparison_matrix(J: Float[np.ndarray, "*stack n n"]) -> Float[np.ndarray, "*stack n n"]:
    """Return M(J), with |J_jj| on the diagonal and −|J_ij| elsewhere [BP]_."""
    return np.abs(J) * (2.0 * np.eye(J.shape[-1]) - 1.0)


def diagonal_certificate(J: ArrayLike) -> Float[np.ndarray, "*stack n"]:
    r"""Return a diagonal D > 0 with :math:`D J + J^\top D < 0`, from the comparison matrix.

    Requires a negative diagonal and that the comparison matrix M(J) is a nonsingular M-matrix, that
    is, that J is strictly diagonally dominant after some scaling. This is sufficient. It is also
    necessary if J has no negative entry off its diagonal; for other J a D may exist that this
    function does not find.

    Then :math:`M x = 1` and :math:`M^\top y = 1` have positive solutions, and
    :math:`D = \operatorname{diag}(y / x)` is such a matrix [BP]_:
    :math:`(DM + M^\top D) x = y/x + 1 > 0`, so :math:`DM + M^\top D` is a symmetric M-matrix, hence
    positive definite; and :math:`-z^\top D J z \ge |z|^\top D M |z|`. Each :math:`DJ + J^\top D` is
    checked to be negative definite, beyond rounding, before D is returned.

    Clipping is non-expansive in a diagonal norm. D therefore certifies the *clipped* flow: it has
    one rest point in the box, and :math:`V = (s - s^*)^\top D (s - s^*)` falls along every
    trajectory. Of the Euler iteration the same is true if its `contraction_rate` is below 1.
    Nudging with β > 0 only makes the diagonal more negative: the same D serves both phases.

    Parameters
    ----------
    J : array_like, shape (..., n, n)

    Returns
    -------
    ndarray
        The diagonal of D, its largest entry 1; NaN where M(J) is not a nonsingular M-matrix.

    Raises
    ------
    ValueError
        If J does not consist of finite square matrices.

    See Also
    --------
    contraction_rate : How fast the certified distance falls.
    certifying_leak : Smallest leak with a certificate.

    Examples
    --------
    >>> import deep_nb
    >>> stack = [[[-2.0, 1.0], [0.0, -1.0]], [[0.0, 1.0], [1.0, 0.0]]]
    >>> deep_nb.analysis.diagonal_certificate(stack)
    array([[0.33333333, 1.        ],
           [       nan,        nan]])
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
    with np.errstate(over="ignore", invalid="ignore"):  # such a ratio is no certificate
        ratio = y[positive] / x[positive]
        ratio /= ratio.max(axis=-1, keepdims=True)
    D[candidates] = np.where(is_certificate(J[candidates], ratio)[:, None], ratio, np.nan)
    return D.reshape(shape)


def is_certificate(
    J: Float[np.ndarray, "k n n"], D: Float[np.ndarray, "k n"]
) -> Bool[np.ndarray, " k"]:
    """Return whether D^½ J D^−½ + its transpose is negative definite beyond rounding.

    It is not where D is not positive, or entries overflow.
    """
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        root = np.sqrt(D)
        scaled = root[..., :, None] * J / root[..., None, :]
        symmetric = scaled + scaled.swapaxes(-2, -1)
    sound = (D > 0).all(axis=-1) & np.isfinite(symmetric).all(axis=(-2, -1))
    symmetric[~sound] = 0.0  # and so is its largest eigenvalue
    n = J.shape[-1]
    error = n**2 * np.finfo(float).eps * np.abs(symmetric).max(axis=(-2, -1), initial=0.0)
    return sound & (np.linalg.eigvalsh(symmetric)[..., -1] < -2 * error)


def contraction_rate(
    J: ArrayLike, dt: float, D: ArrayLike | None = None
) -> Float[np.ndarray, "*stack"]:
    r"""Return :math:`\rho = \lVert D^{1/2} (1 + dt\, J) D^{-1/2} \rVert_2`, per Euler step.

    If ρ < 1, the clipped Euler iteration is a contraction: it has one rest point s* (S. Banach,
    1922), and :math:`V(t) \le \rho^{2t} V(0)` with :math:`V = (s - s^*)^\top D (s - s^*)`.

    Parameters
    ----------
    J : array_like, shape (..., n, n)
    dt : float
        Euler step in τ, > 0.
    D : array_like, shape (..., n), optional
        Diagonal weights, > 0, or NaN where there are none; by default the `diagonal_certificate`
        of J.

    Returns
    -------
    ndarray
        NaN where D is NaN.

    Raises
    ------
    ValueError
        If J does not consist of finite square matrices, `dt` is out of range, or D does not fit J
        and its labels.

    See Also
    --------
    max_stable_dt : The largest stable step of the unclipped iteration.
    deep_nb.plotting.plot_energy : Draws energies and this bound.

    Examples
    --------
    >>> import deep_nb
    >>> rho = deep_nb.analysis.contraction_rate([[-2.0, 1.0], [0.0, -1.0]], dt=0.05)
    >>> round(float(rho), 4)
    0.954
    """
    given, J = J, square_matrices(J, "J")
    dt = number(dt, "dt", high=LARGEST, above=0)
    D = diagonal_certificate(J) if D is None else _diagonal_weights(D, given, J.shape[:-1])
    root = np.sqrt(D)
    step = root[..., :, None] * (np.eye(J.shape[-1]) + dt * J) / root[..., None, :]
    known = np.isfinite(D).all(axis=-1)
    norm = np.linalg.norm(np.where(known[..., None, None], step, 0.0), 2, axis=(-2, -1))
    return np.where(known, norm, np.nan)


def _diagonal_weights(
    D: ArrayLike, J: ArrayLike, shape: tuple[int, ...]
) -> Float[np.ndarray, "*stack n"]:
    """Return D as an array of that shape; where D and J have labels, they must be the same."""
    check_last_axes(D, "D", "post")
    array = np.array(real_array(D, "D"), dtype=float)
    if array.shape != shape:
        raise ValueError(f"D must have shape {shape}, got {array.shape}")
    for axis in range(len(shape)):
        kind = "row" if axis == len(shape) - 1 else "matrix"
        check_same_labels(J, D, "J and D", kind, axis)
    if not (np.isnan(array) | ((array > 0) & (array <= LARGEST))).all():
        raise ValueError(f"D must be positive, at most {LARGEST:g}, got {short(D)}")
    return array


def max_stable_dt(J: ArrayLike) -> Float[np.ndarray, "*stack"]:
    r"""Return the largest Euler step that is stable: :math:`\min_k -2 \Re \mu_k / |\mu_k|^2`.

    For smaller steps every eigenvalue :math:`1 + dt\, \mu_k` of the unclipped iteration lies inside
    the unit circle.

    Parameters
    ----------
    J : array_like, shape (..., n, n)

    Returns
    -------
    ndarray
        In τ; 0 where J is not Hurwitz, because every step is unstable then.

    Raises
    ------
    ValueError
        If J does not consist of finite square matrices.

    See Also
    --------
    spectrum : The eigenvalues μ of J.
    contraction_rate : What a step does to the clipped iteration.

    Examples
    --------
    >>> import deep_nb
    >>> float(deep_nb.analysis.max_stable_dt([[-2.0, 1.0], [0.0, -1.0]]))
    1.0
    """
    found = spectrum(J)
    # Only a J that is not Hurwitz has μ = 0; for a tiny J the limit may overflow to infinity.
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        sizes = np.abs(found.eigenvalues)
        limits = -2 * (found.eigenvalues.real / sizes) / sizes
    return np.where(found.hurwitz, limits.min(axis=-1), 0.0)


def square_matrices(
    value: ArrayLike, what: str, rows: str = "post", columns: str = "pre"
) -> Float[np.ndarray, "*stack n n"]:
    """Return finite square matrices as a new float array."""
    check_square(value, what, rows, columns)
    array = np.array(real_array(value, what), dtype=float)
    if array.ndim < 2 or array.shape[-1] != array.shape[-2]:
        raise ValueError(f"{what} must be square matrices, got shape {array.shape}")
    if array.size == 0 or not np.isfinite(array).all():
        raise ValueError(f"{what} must be finite and not empty, got shape {array.shape}")
    return array
