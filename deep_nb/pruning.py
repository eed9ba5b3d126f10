"""Stochastic pruning: weak synapses are removed at random, [P]_ of `deep_nb.models`."""

import numpy as np
from jaxtyping import Float


def pruning_probabilities(
    W: Float[np.ndarray, "*stack N N"], tol_W: float, temp: float
) -> Float[np.ndarray, "*stack N N"]:
    r"""Return the probability with which each synapse is set to 0.

    .. math:: p_{ij} = \frac{e^{-|W_{ij}| / \text{temp}}}{\sum_{i'} e^{-|W_{i'j}| / \text{temp}}}
              \quad\text{where } |W_{ij}| \le \text{tol}_W, \text{ else } 0

    The sum runs over all N rows of column j, absent synapses included.
    """
    size = np.abs(W)
    with np.errstate(over="ignore", under="ignore"):  # exp(−∞) = 0 is intended
        boltzmann = np.exp(size / -temp)
    return np.where(size <= tol_W, boltzmann / boltzmann.sum(axis=-2, keepdims=True), 0.0)


def prune(
    W: Float[np.ndarray, "*stack N N"],
    draws: Float[np.ndarray, "*stack N N"],
    tol_W: float,
    temp: float,
) -> Float[np.ndarray, "*stack N N"]:
    """Return the weights with each synapse set to 0 whose draw falls below its probability.

    The draws are uniform on [0, 1). Pruning is not permanent: a synapse may grow back.
    """
    return np.where(draws < pruning_probabilities(W, tol_W, temp), 0.0, W)
