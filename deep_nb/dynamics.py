r"""Activations, the vector field, one Euler step.

Arrays of an ensemble carry the networks on their first axis: K networks, M samples, n free
(not clamped) neurons. Since inputs are clamped, their part of the field is constant during a phase,
and the field is affine in the free states:

.. math:: \dot s_{mj} = \sum_i W_{ij} s_{mi} + I_{mj} - \kappa_j s_{mj}.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from deep_nb.models import Model


def hard_sigmoid(x: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """Return x clipped to [0, 1], in `out` if given."""
    return np.clip(x, 0.0, 1.0, out=out)


def hard_sigmoid_derivative(x: np.ndarray) -> np.ndarray:
    """Return 1 where 0 ≤ x ≤ 1, else 0."""
    return ((x >= 0) & (x <= 1)).astype(float)


def sigmoid(x: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """Return 1 / (1 + exp(−x)), in (0, 1), without overflow, in `out` if given."""
    half = np.tanh(np.multiply(x, 0.5, out=out), out=out)
    return np.multiply(np.add(half, 1.0, out=out), 0.5, out=out)


def tanh(x: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """Return the hyperbolic tangent, in (−1, 1), in `out` if given."""
    return np.tanh(x, out=out)


#: ρ by its name.
ACTIVATIONS: dict[str, Callable[..., np.ndarray]] = {
    "hard_sigmoid": hard_sigmoid,
    "sigmoid": sigmoid,
    "tanh": tanh,
}


class Field(NamedTuple):
    """The vector field of K networks over their free neurons.

    Attributes
    ----------
    W : ndarray, shape (K, n, n)
        Synapses among free neurons, from the second axis to the third.
    drive : ndarray, shape (K, M, n)
        What does not depend on the free states: clamped inputs, biases, targets.
    decay : ndarray, shape (K, n)
        Coefficient of −s_j.
    """

    W: np.ndarray
    drive: np.ndarray
    decay: np.ndarray


def free_field(W: np.ndarray, b: np.ndarray, X: np.ndarray, model: Model) -> Field:
    r"""Return the field of the free phase.

    .. math:: \dot s_j = \sum_i W_{ij} s_i + b_j - s_j \Big(\lambda + \gamma \sum_k W_{jk}\Big)

    with :math:`|W_{jk}|` in the last sum if ``model.absolute_outflow``. [P]_, [S18]_, [C25]_ of
    `deep_nb.models`.

    Parameters
    ----------
    W : ndarray, shape (K, N, N)
    b : ndarray, shape (K, N)
    X : ndarray, shape (M, N_X)
        Clamped states, the bias neuron's included.
    model : Model
    """
    N_X = X.shape[1]
    outgoing = (np.abs(W) if model.absolute_outflow else W).sum(axis=2)
    return Field(
        W=W[:, N_X:, N_X:],
        drive=b[:, None, N_X:] + ordered_product(X, W[:, :N_X, N_X:]),
        decay=model.leak + model.outflow * outgoing[:, N_X:],
    )


def ordered_product(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return ``left @ right``, summed one term after the other.

    BLAS sums in an order that depends on the machine; this gives the same bits on each.

    Parameters
    ----------
    left : ndarray, shape (..., M, p)
    right : ndarray, shape (..., p, n)
    """
    product = left[..., :, :1] * right[..., :1, :]
    for i in range(1, left.shape[-1]):
        product += left[..., :, i : i + 1] * right[..., i : i + 1, :]
    return product


def nudged_field(field: Field, beta: float, Y: np.ndarray) -> Field:
    r"""Return the field with :math:`\beta (y_j - s_j)` added on the outputs.

    Parameters
    ----------
    field : Field
        The free field.
    beta : float
        Nudging strength.
    Y : ndarray, shape (M, N_Y)
        Targets of the last N_Y neurons.
    """
    N_Y = Y.shape[1]
    drive, decay = field.drive.copy(), field.decay.copy()
    drive[..., -N_Y:] += beta * Y
    decay[..., -N_Y:] += beta
    return Field(field.W, drive, decay)


def vector_field(field: Field, S: np.ndarray) -> np.ndarray:
    """Return ds/dt at the free states S, shape (K, M, n); or of one network, without its axis."""
    return S @ field.W + field.drive - S * field.decay[..., None, :]


def euler_step(
    S: np.ndarray, dS: np.ndarray, dt: float, rho: Callable[[np.ndarray], np.ndarray]
) -> np.ndarray:
    """Return ρ(S + dt · dS)."""
    return rho(S + dt * dS)


class Phase(NamedTuple):
    """How a phase is integrated.

    Attributes
    ----------
    dt : float
        Euler step.
    T : int
        Number of steps.
    activation : str
        A name in `ACTIVATIONS`.
    stop : float or None
        A network ends after its first step with Σ ds² ≤ stop over samples and free neurons.
    stdp : tuple of float or None
        (β_0, β_1), to accumulate ``pairing`` and ``change``.
    trajectory : bool
        Whether to keep every state.
    """

    dt: float
    T: int
    activation: str = "hard_sigmoid"
    stop: float | None = None
    stdp: tuple[float, float] | None = None
    trajectory: bool = False


class Relaxation(NamedTuple):
    """What an engine returns of one phase of K networks.

    Attributes
    ----------
    S : ndarray, shape (K, M, n)
        Last states.
    steps : ndarray of int, shape (K,)
        Steps performed.
    residual : ndarray, shape (K,)
        Σ ds² / M of the last step performed, over samples and free neurons.
    projected_residual : ndarray, shape (K,)
        Σ ((s(t+1) − s(t)) / dt)² / M of the last step performed.
    pairing : ndarray, shape (K, n, n), or None
        STDP among free neurons: Σ_t Σ_m s_i(t) v_j(t) with
        v_j(t) = β_0 s_j(t) + β_1 (s_j(t) − s_j(t−1)).
    change : ndarray, shape (K, M, n), or None
        STDP from constant inputs: Σ_t v_j(t).
    trajectory : ndarray, shape (K, T + 1, M, n), or None
        All states, the first one before any step; NaN for steps not performed.
    """

    S: np.ndarray
    steps: np.ndarray
    residual: np.ndarray
    projected_residual: np.ndarray
    pairing: np.ndarray | None = None
    change: np.ndarray | None = None
    trajectory: np.ndarray | None = None


def join_samples(first: Relaxation, second: Relaxation) -> Relaxation:
    """Return the relaxations of two parts of the same networks' samples as one."""
    M = first.S.shape[1], second.S.shape[1]

    def both(a: Any, b: Any, axis: int) -> Any:
        return None if a is None else np.concatenate([a, b], axis=axis)

    def mean(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return (M[0] * a + M[1] * b) / sum(M)

    assert first.pairing is not None
    assert second.pairing is not None
    return Relaxation(
        S=both(first.S, second.S, 1),
        steps=first.steps,
        residual=mean(first.residual, second.residual),
        projected_residual=mean(first.projected_residual, second.projected_residual),
        pairing=first.pairing + second.pairing,
        change=both(first.change, second.change, 1),
        trajectory=both(first.trajectory, second.trajectory, 2),
    )


def join(parts: Sequence[Relaxation]) -> Relaxation:
    """Return the relaxations of several ensembles as one, in their order."""
    columns = zip(*parts, strict=True)
    joined: Any = [None if column[0] is None else np.concatenate(column) for column in columns]
    return Relaxation(*joined)
