r"""Contraction in the norms ℓ1 and ℓ∞: closed-form rates, factors per Euler step, largest steps.

Every function takes one matrix or a stack of matrices on the last two axes, in 1/τ. The matrix
measure :math:`\mu(J) = \lim_{h \downarrow 0} (\lVert I + hJ \rVert - 1) / h` of a norm bounds how
fast two trajectories of :math:`\dot s = J s + c` approach each other:
:math:`\lVert s(t) - s'(t) \rVert \le e^{\mu t} \lVert s(0) - s'(0) \rVert` [DJB]_. Clipping moves
no component of two states further apart, so the clipped flow and the clipped Euler iteration
contract as well, with the same rates and factors. ``docs/stability.md`` has the proofs; [DPB]_
applies such rates to other networks in continuous time.

References
----------
.. [DJB] A. Davydov, S. Jafarpour, F. Bullo, "Non-Euclidean Contraction Theory for Robust Nonlinear
   Stability", IEEE Transactions on Automatic Control 67(12):6667–6681, 2022, arXiv:2103.12263.
.. [DPB] A. Davydov, A. V. Proskurnikov, F. Bullo, "Non-Euclidean Contraction Analysis of
   Continuous-Time Neural Networks", IEEE Transactions on Automatic Control 70(1):235–250, 2025,
   arXiv:2110.08298.
"""

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import ArrayLike

from deep_nb._validation import LARGEST, number
from deep_nb.analysis.matrices import gershgorin, square_matrices


def contraction_rate_l1(J: ArrayLike) -> Float[np.ndarray, "*stack"]:
    r"""Return the matrix measure :math:`\mu_1(J) = \max_j (J_{jj} + \sum_{i \ne j} |J_{ij}|)`.

    If it is negative, the clipped flow contracts in ℓ1 at the rate :math:`-\mu_1` [DJB]_: it has
    one rest point s* in the box, and
    :math:`\lVert s(t) - s^* \rVert_1 \le e^{\mu_1 t} \lVert s(0) - s^* \rVert_1`. For a model with
    a leak λ and absolute outflow, :math:`\mu_1 = -\lambda` for all weights: such networks are
    contracting by construction.

    `contraction_rate`, in contrast, is a factor per Euler step, in a weighted 2-norm.

    Parameters
    ----------
    J : array_like, shape (..., n, n)

    Returns
    -------
    ndarray
        In 1/τ; negative, by more than rounding, means contraction.

    Raises
    ------
    ValueError
        If J does not consist of finite square matrices.

    See Also
    --------
    contraction_rate_linf : The same in ℓ∞.
    euler_factor_l1 : Contraction per Euler step, in the same norm.
    gershgorin : Its column test is ``contraction_rate_l1(J) < 0``, beyond rounding.

    Examples
    --------
    >>> import deep_nb
    >>> float(deep_nb.analysis.contraction_rate_l1([[-2.0, 0.5], [1.0, -1.0]]))
    -0.5
    """
    return _rate(square_matrices(J, "J"))


def contraction_rate_linf(J: ArrayLike) -> Float[np.ndarray, "*stack"]:
    r"""Return the matrix measure :math:`\mu_\infty(J) = \max_i (J_{ii} + \sum_{j \ne i} |J_{ij}|)`.

    As `contraction_rate_l1`, for the largest difference of two states instead of the sum of
    differences. :math:`\mu_\infty(J^\top) = \mu_1(J)`: the corrected phases of ``onesided`` and
    ``asymep``, whose Jacobian is transposed, contract in ℓ∞ where the free phase contracts in ℓ1.

    Parameters
    ----------
    J : array_like, shape (..., n, n)

    Returns
    -------
    ndarray
        In 1/τ; negative, by more than rounding, means contraction.

    Raises
    ------
    ValueError
        If J does not consist of finite square matrices.

    See Also
    --------
    contraction_rate_l1 : The same in ℓ1.
    euler_factor_linf : Contraction per Euler step, in the same norm.
    gershgorin : Its row test is ``contraction_rate_linf(J) < 0``, beyond rounding.

    Examples
    --------
    >>> import deep_nb
    >>> float(deep_nb.analysis.contraction_rate_linf([[-2.0, 0.5], [1.0, -1.0]]))
    0.0
    """
    return _rate(square_matrices(J, "J").swapaxes(-2, -1))


def euler_factor_l1(J: ArrayLike, dt: float) -> Float[np.ndarray, "*stack"]:
    r"""Return :math:`\lVert I + dt\, J \rVert_1 = \max_j (|1 + dt J_{jj}| + dt \sum_i |J_{ij}|)`.

    The sum leaves out i = j. If the factor is below 1, the clipped Euler iteration contracts by it
    at every step, has one rest point s* (S. Banach, 1922), and reaches it from every start.

    Parameters
    ----------
    J : array_like, shape (..., n, n)
    dt : float
        Euler step in τ, > 0.

    Returns
    -------
    ndarray
        Per Euler step; below 1 means contraction.

    Raises
    ------
    ValueError
        If J does not consist of finite square matrices, or `dt` is out of range.

    See Also
    --------
    euler_factor_linf : The same in ℓ∞.
    max_contracting_dt_l1 : The step up to which the factor is below 1.
    contraction_rate : The same in a weighted 2-norm.

    Examples
    --------
    >>> import deep_nb
    >>> float(deep_nb.analysis.euler_factor_l1([[-2.0, 0.5], [1.0, -1.0]], dt=0.25))
    0.875
    """
    return _factor(square_matrices(J, "J"), number(dt, "dt", high=LARGEST, above=0))


def euler_factor_linf(J: ArrayLike, dt: float) -> Float[np.ndarray, "*stack"]:
    r"""Return :math:`\lVert I + dt\, J \rVert_\infty`, as `euler_factor_l1` with rows.

    Parameters
    ----------
    J : array_like, shape (..., n, n)
    dt : float
        Euler step in τ, > 0.

    Returns
    -------
    ndarray
        Per Euler step; below 1 means contraction.

    Raises
    ------
    ValueError
        If J does not consist of finite square matrices, or `dt` is out of range.

    See Also
    --------
    euler_factor_l1 : The same in ℓ1.
    max_contracting_dt_linf : The step up to which the factor is below 1.

    Examples
    --------
    >>> import deep_nb
    >>> float(deep_nb.analysis.euler_factor_linf([[-2.0, 0.5], [0.5, -1.0]], dt=0.25))
    0.875
    """
    J = square_matrices(J, "J").swapaxes(-2, -1)
    return _factor(J, number(dt, "dt", high=LARGEST, above=0))


def max_contracting_dt_l1(J: ArrayLike) -> Float[np.ndarray, "*stack"]:
    r"""Return the Euler step below which :math:`\lVert I + dt\, J \rVert_1 < 1`.

    That is :math:`\min_j 2 / (|J_{jj}| + \sum_{i \ne j} |J_{ij}|)` if :math:`\mu_1(J) < 0`: with
    the sum o of a column, the column's :math:`|1 - dt |J_{jj}|| + dt\, o` is
    :math:`1 - dt (|J_{jj}| - o)` up to :math:`dt = 1 / |J_{jj}|`, and
    :math:`dt (|J_{jj}| + o) - 1` beyond.

    Parameters
    ----------
    J : array_like, shape (..., n, n)

    Returns
    -------
    ndarray
        In τ; 0 where no step contracts in ℓ1.

    Raises
    ------
    ValueError
        If J does not consist of finite square matrices.

    See Also
    --------
    max_contracting_dt_linf : The same in ℓ∞.
    max_stable_dt : The largest stable step of the unclipped iteration, which need not contract.

    Examples
    --------
    >>> import deep_nb
    >>> float(deep_nb.analysis.max_contracting_dt_l1([[-2.0, 0.0], [1.5, -1.0]]))
    0.5714285714285714
    """
    return _max_dt(square_matrices(J, "J"))


def max_contracting_dt_linf(J: ArrayLike) -> Float[np.ndarray, "*stack"]:
    r"""Return the Euler step below which :math:`\lVert I + dt\, J \rVert_\infty < 1`.

    As `max_contracting_dt_l1`, with rows.

    Parameters
    ----------
    J : array_like, shape (..., n, n)

    Returns
    -------
    ndarray
        In τ; 0 where no step contracts in ℓ∞.

    Raises
    ------
    ValueError
        If J does not consist of finite square matrices.

    See Also
    --------
    max_contracting_dt_l1 : The same in ℓ1.
    euler_factor_linf : The factor at a step.

    Examples
    --------
    >>> import deep_nb
    >>> float(deep_nb.analysis.max_contracting_dt_linf([[-2.0, 1.0], [0.0, -1.0]]))
    0.6666666666666666
    """
    return _max_dt(square_matrices(J, "J").swapaxes(-2, -1))


def below_one(factor: Float[np.ndarray, "*stack"], n: int) -> Bool[np.ndarray, "*stack"]:
    """Return whether the factor of a step, a norm of n × n matrices, is below 1 beyond rounding.

    A factor below 1 bounds each of its terms by 2. Forming J_jj, a column and a singular value each
    round n such terms, at most n columns of them: 8 n² ε in all.
    """
    return np.asarray(factor < 1 - 8 * n**2 * np.finfo(float).eps)


def _columns(
    J: Float[np.ndarray, "*stack n n"],
) -> tuple[Float[np.ndarray, "*stack n"], Float[np.ndarray, "*stack n"]]:
    """Return the diagonal of J, and the sums of the other absolute values of each column."""
    others = np.abs(J) * ~np.eye(J.shape[-1], dtype=bool)
    return np.diagonal(J, axis1=-2, axis2=-1), others.sum(axis=-2)


@np.errstate(over="ignore")  # the rate or factor is then infinite
def _rate(J: Float[np.ndarray, "*stack n n"]) -> Float[np.ndarray, "*stack"]:
    diagonal, others = _columns(J)
    return np.asarray((diagonal + others).max(axis=-1))


@np.errstate(over="ignore")
def _factor(J: Float[np.ndarray, "*stack n n"], dt: float) -> Float[np.ndarray, "*stack"]:
    diagonal, others = _columns(J)
    return np.asarray((np.abs(1 + dt * diagonal) + dt * others).max(axis=-1))


@np.errstate(over="ignore", divide="ignore")  # where J is 0 or tiny
def _max_dt(J: Float[np.ndarray, "*stack n n"]) -> Float[np.ndarray, "*stack"]:
    diagonal, others = _columns(J)
    limits = 2 / (np.abs(diagonal) + others)
    return np.where(gershgorin(J).columns, limits.min(axis=-1), 0.0)
