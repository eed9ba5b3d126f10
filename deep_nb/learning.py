r"""What one epoch's two phases change: the learning rules.

References
----------
[P]_ and [S18]_ of `deep_nb.models`; contrastive Hebbian form after B. Scellier and Y. Bengio,
"Equilibrium Propagation", 2017, arXiv:1602.05179.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from deep_nb.dynamics import Relaxation, ordered_product
from deep_nb.models import Hyperparameters


def stdp(
    free: Relaxation, weak: Relaxation, X: np.ndarray, hyper: Hyperparameters
) -> tuple[np.ndarray, np.ndarray]:
    r"""Spike-timing-dependent plasticity along the nudged phase, DEEP's rule [P]_.

    .. math:: \Delta W_{ij} = \frac{1}{M T_2} \sum_{t=1}^{T_2} \sum_m s_i(t)
              \big(\beta_0 s_j(t) + \beta_1 (s_j(t) - s_j(t-1))\big)

    Parameters
    ----------
    free, weak : Relaxation
        The two phases of K networks.
    X : ndarray, shape (M, N_X)
        Clamped states.
    hyper : Hyperparameters
        For T2.

    Returns
    -------
    dW : ndarray, shape (K, N, N)
        ΔW, not yet masked; 0 onto inputs.
    db : ndarray, shape (K, N)
        Δb = 0: the bias is a neuron.
    """
    assert weak.pairing is not None
    assert weak.change is not None
    M, N_X = X.shape
    K, n, _ = weak.pairing.shape
    dW = np.zeros((K, N_X + n, N_X + n))
    dW[:, N_X:, N_X:] = weak.pairing
    dW[:, :N_X, N_X:] = ordered_product(X.T, weak.change)
    return dW / (M * hyper.T2), np.zeros((K, N_X + n))


def contrastive(
    free: Relaxation, weak: Relaxation, X: np.ndarray, hyper: Hyperparameters
) -> tuple[np.ndarray, np.ndarray]:
    r"""Contrast of the two rest points, the rule of asymmetric EP [S18]_.

    .. math:: \Delta W_{ij} = \frac{1}{\beta M} \sum_m
              s_i^\text{free} (s_j^\text{weak} - s_j^\text{free}),
              \qquad
              \Delta b_j = \frac{1}{\beta M} \sum_m (s_j^\text{weak} - s_j^\text{free})

    Parameters
    ----------
    free, weak : Relaxation
        The two phases of K networks.
    X : ndarray, shape (M, N_X)
        Clamped states.
    hyper : Hyperparameters
        For β.

    Returns
    -------
    dW : ndarray, shape (K, N, N)
        ΔW, not yet masked; 0 onto inputs.
    db : ndarray, shape (K, N)
        Δb; 0 for inputs.
    """
    M, N_X = X.shape
    K, _, n = free.S.shape
    difference = (weak.S - free.S) / (hyper.beta * M)
    pre = np.concatenate([np.broadcast_to(X, (K, M, N_X)), free.S], axis=2)
    dW = np.zeros((K, N_X + n, N_X + n))
    dW[:, :, N_X:] = ordered_product(pre.transpose(0, 2, 1), difference)
    db = np.zeros((K, N_X + n))
    db[:, N_X:] = difference.sum(axis=1)
    return dW, db


Rule = Callable[
    [Relaxation, Relaxation, np.ndarray, Hyperparameters], tuple[np.ndarray, np.ndarray]
]

#: The rules by their names.
RULES: dict[str, Rule] = {"stdp": stdp, "contrastive": contrastive}


def updated_weights(W: np.ndarray, dW: np.ndarray, dt_W: float, reg_W: float) -> np.ndarray:
    r"""Return :math:`W + dt_W \Delta W - \text{reg}_W \operatorname{sign}(W)`.

    Parameters
    ----------
    W, dW : ndarray, shape (K, N, N)
        0 where there is no synapse, and so is the result.
    dt_W : float
        Learning rate.
    reg_W : float
        L1 decay, 0 where there is no regularisation.
    """
    return W + dt_W * dW - reg_W * np.sign(W)
