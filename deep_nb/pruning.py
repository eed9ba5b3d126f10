"""Stochastic sparsification: weak synapses are removed at random [P]_ of `deep_nb.models`."""

from __future__ import annotations

import numpy as np

from deep_nb.kinds import array, number, takes, unchecked


@takes(W=array("... N N"), tol_W=number(0), temp=number(0, without_low=True))
def pruning_probabilities(W: np.ndarray, tol_W: float, temp: float) -> np.ndarray:
    r"""Return the probability with which each synapse is set to 0.

    .. math:: p_{ij} = \frac{e^{-|W_{ij}| / \text{temp}}}{\sum_{i'} e^{-|W_{i'j}| / \text{temp}}}
              \quad\text{where } |W_{ij}| \le \text{tol}_W, \text{ else } 0

    The sum runs over all N rows of column j, absent synapses included.

    Parameters
    ----------
    W : ndarray, shape (..., N, N)
        Weights from i (second last axis) to j (last axis).
    tol_W : float
        Weights above it are safe.
    temp : float
        Temperature, > 0.

    Returns
    -------
    ndarray, shape (..., N, N), in [0, 1]

    Raises
    ------
    ValueError
        If an argument is something else, or their shapes do not fit.
    """
    size = np.abs(W)
    with np.errstate(over="ignore", under="ignore"):  # exp(−∞) = 0 is what is meant
        boltzmann = np.exp(size / -temp)
    return np.where(size <= tol_W, boltzmann / boltzmann.sum(axis=-2, keepdims=True), 0.0)


_probabilities = unchecked(pruning_probabilities)


@takes(
    W=array("... N N"),
    draws=array("... N N"),
    tol_W=number(0),
    temp=number(0, without_low=True),
)
def prune(W: np.ndarray, draws: np.ndarray, tol_W: float, temp: float) -> np.ndarray:
    """Return the weights with every synapse set to 0 whose draw falls below its probability.

    Nothing remembers the removal: a synapse may grow back.

    Parameters
    ----------
    W : ndarray, shape (..., N, N)
    draws : ndarray, shape (..., N, N)
        Uniform on [0, 1), as from `deep_nb.randomness.pruning_draws`.
    tol_W, temp : float
        As in `pruning_probabilities`.

    Raises
    ------
    ValueError
        If an argument is something else, or their shapes do not fit.
    """
    if draws.shape != W.shape:
        raise ValueError(f"draws and W must have one shape, got {draws.shape} and {W.shape}")
    return np.where(draws < _probabilities(W, tol_W, temp), 0.0, W)
