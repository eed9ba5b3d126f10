r"""The dynamical-systems view: the Jacobian of the free phase and the published Gershgorin tests.

Over non-input neurons, :math:`J_{ji} = W_{ij}` for i ≠ j and
:math:`J_{jj} = -(\lambda + \gamma \sum_k W_{jk})`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from deep_nb.dynamics import free_field
from deep_nb.results import experiment_of


def jacobian(run: xr.Dataset) -> np.ndarray:
    """Return the free Jacobian of every network with its final weights.

    Parameters
    ----------
    run : xarray.Dataset
        As from `deep_nb.train`.

    Returns
    -------
    ndarray, shape (K, n, n)
        ``J[k, j, i] = ∂(ds_j/dt)/∂s_i`` over the free neurons.
    """
    experiment = experiment_of(run)
    field = free_field(run["W"].values, run["B"].values, experiment.X, experiment.model)
    J = field.W.transpose(0, 2, 1).copy()
    diagonal = np.arange(J.shape[1])
    J[:, diagonal, diagonal] -= field.decay
    return J


def square_matrices(value: Any, what: str) -> np.ndarray:
    """Return `value` as an array of square matrices.

    Raises
    ------
    ValueError
        If it is not numeric, not square on its last two axes, empty, or not finite.
    """
    array = np.asanyarray(value)
    if array.dtype.kind not in "biuf" or array.ndim < 2 or array.shape[-1] != array.shape[-2]:
        raise ValueError(f"{what} must be square matrices, got {array.dtype} {array.shape}")
    if array.size == 0 or not np.isfinite(array).all():
        raise ValueError(f"{what} must be finite and not empty, got shape {array.shape}")
    return array


class Gershgorin(NamedTuple):
    """The published tests on the discs of a Jacobian.

    Attributes
    ----------
    negative_diagonal : ndarray of bool, shape (...)
        Whether every centre J_jj is negative.
    rows, columns : ndarray of bool, shape (...)
        Whether the diagonal is negative and every radius is smaller than |J_jj|.
    failing_rows, failing_columns : ndarray of int, shape (...)
        Number of discs whose radius is not smaller than |J_jj|.
    """

    negative_diagonal: np.ndarray
    rows: np.ndarray
    columns: np.ndarray
    failing_rows: np.ndarray
    failing_columns: np.ndarray


def gershgorin(J: np.ndarray) -> Gershgorin:
    r"""Test whether Gershgorin's discs prove that J is Hurwitz, as the published notebooks do.

    Every eigenvalue lies in a disc around some :math:`J_{jj}` of radius
    :math:`\sum_{i \ne j} |J_{ji}|` (rows), and in one of radius :math:`\sum_{i \ne j} |J_{ij}|`
    (columns). S. Gershgorin, 1931; R. A. Horn and C. R. Johnson, *Matrix Analysis*, thm 6.1.1.
    A test passes only if it does so by more than the rounding of its sums.

    Parameters
    ----------
    J : ndarray, shape (..., n, n)

    Returns
    -------
    Gershgorin

    Raises
    ------
    ValueError
        If J is not one finite square matrix, or a stack of them.
    """
    J = square_matrices(J, "J")
    n = J.shape[-1]
    centre = np.diagonal(J, axis1=-2, axis2=-1)
    bound = np.abs(centre)
    radius = np.abs(J) * ~np.eye(n, dtype=bool) * (1 + 2 * n * np.finfo(float).eps)
    failing_rows = (radius.sum(axis=-1) >= bound).sum(axis=-1)
    failing_columns = (radius.sum(axis=-2) >= bound).sum(axis=-1)
    negative: np.ndarray = np.all(centre < 0, axis=-1)
    return Gershgorin(
        negative_diagonal=negative,
        rows=negative & (failing_rows == 0),
        columns=negative & (failing_columns == 0),
        failing_rows=failing_rows,
        failing_columns=failing_columns,
    )
