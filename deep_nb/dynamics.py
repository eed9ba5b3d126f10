r"""Dynamics: activations, the vector field, one Euler step.

Arrays of an ensemble carry the networks on their first axis: K networks, M samples, n free (not
clamped) neurons. Since inputs are clamped, their part of the field is constant during a phase, and
the field is affine in the free states:

.. math:: \dot s_{mj} = \sum_i W_{ij} s_{mi} + I_{mj} - \kappa_j s_{mj}.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from deep_nb.models import Model

#: An array of NumPy or of another library with the array API standard.
Array = Any


def hard_sigmoid(x: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """Return x clipped to [0, 1], in `out` if given."""
    return np.clip(x, 0.0, 1.0, out=out)


def sigmoid(x: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """Return 1 / (1 + exp(−x)), in (0, 1), without overflow, in `out` if given."""
    half = np.tanh(np.multiply(x, 0.5, out=out), out=out)
    return np.multiply(np.add(half, 1.0, out=out), 0.5, out=out)


def tanh(x: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """Return the hyperbolic tangent, in (−1, 1), in `out` if given."""
    return np.tanh(x, out=out)


#: The activations ρ by name.
ACTIVATIONS: dict[str, Callable[..., np.ndarray]] = {
    "hard_sigmoid": hard_sigmoid,
    "sigmoid": sigmoid,
    "tanh": tanh,
}


@dataclass(frozen=True, eq=False)
class Field:
    """The vector field of K networks over their free neurons.

    Attributes
    ----------
    W
        Synapses among free neurons, from the second axis to the third.
    drive
        The part that does not depend on the free states: clamped inputs, biases, targets.
    decay
        Coefficient of −s_j.
    """

    W: Float[Array, "K n n"]
    drive: Float[Array, "K M n"]
    decay: Float[Array, "K n"]

    def of(self, networks: slice) -> "Field":
        """Return the field of some of the networks."""
        return Field(self.W[networks], self.drive[networks], self.decay[networks])


def free_field(
    W: Float[np.ndarray, "K N N"],
    b: Float[np.ndarray, "K N"],
    X: Float[np.ndarray, "M N_X"],
    model: Model,
) -> Field:
    r"""Return the field of the free phase with the clamped states X.

    .. math:: \dot s_j = \sum_i W_{ij} s_i + b_j - s_j \Big(\lambda + \gamma \sum_k W_{jk}\Big)

    with :math:`|W_{jk}|` in the last sum if ``model.absolute_outflow``. Sources: [P]_ for the
    outflow, [S18]_ and [C25]_ for the leak, see `deep_nb.models`.
    """
    N_X = X.shape[1]
    outgoing = (np.abs(W) if model.absolute_outflow else W).sum(axis=2)
    return Field(
        W=W[:, N_X:, N_X:],
        drive=b[:, None, N_X:] + ordered_product(X, W[:, :N_X, N_X:]),
        decay=model.leak + model.outflow * outgoing[:, N_X:],
    )


#: Multiply–adds of a product from which on a compiled loop is faster than NumPy's.
WORTH_COMPILING = 10_000


def ordered_product(
    left: Float[np.ndarray, "*#stack M p"], right: Float[np.ndarray, "*#stack p n"]
) -> Float[np.ndarray, "*#stack M n"]:
    """Return ``left @ right``, summed term after term: the same bits on every machine.

    BLAS sums in an order that depends on the machine.
    """
    stack = np.broadcast_shapes(left.shape[:-2], right.shape[:-2])
    shape = (*stack, left.shape[-2], right.shape[-1])
    if math.prod(shape) * left.shape[-1] > WORTH_COMPILING:
        from deep_nb.kernels.products import ordered_products

        product = np.empty((math.prod(stack), *shape[-2:]))
        parts = []
        for part in (left, right):
            whole = (*stack, *part.shape[-2:])
            full = part if part.shape == whole else np.broadcast_to(part, whole)
            parts.append(np.ascontiguousarray(full, dtype=float).reshape(-1, *whole[-2:]))
        ordered_products(*parts, product)
        return product.reshape(shape)
    product = left[..., :, :1] * right[..., :1, :]
    for i in range(1, left.shape[-1]):
        product += left[..., :, i : i + 1] * right[..., i : i + 1, :]
    return product


def nudged_field(field: Field, beta: float, Y: Float[np.ndarray, "M N_Y"]) -> Field:
    r"""Return the field with :math:`\beta (y_j - s_j)` added on the outputs, the last neurons."""
    N_Y = Y.shape[1]
    drive, decay = field.drive.copy(), field.decay.copy()
    drive[..., -N_Y:] += beta * Y
    decay[..., -N_Y:] += beta
    return Field(field.W, drive, decay)


def vector_field(field: Field, S: Float[Array, "K M n"]) -> Float[Array, "K M n"]:
    """Return ds/dt at the free states S."""
    return S @ field.W + field.drive - S * field.decay[:, None, :]


def euler_step(
    S: Float[np.ndarray, "*stack n"],
    dS: Float[np.ndarray, "*stack n"],
    dt: float,
    rho: Callable[[np.ndarray], np.ndarray],
) -> Float[np.ndarray, "*stack n"]:
    """Return ρ(S + dt · dS)."""
    return rho(S + dt * dS)


@dataclass(frozen=True)
class Phase:
    """How to integrate a phase.

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
        (β_0, β_1) if the engine accumulates ``pairing`` and ``change``.
    trajectory : bool
        Whether the engine keeps every state.
    """

    dt: float
    T: int
    activation: str = "hard_sigmoid"
    stop: float | None = None
    stdp: tuple[float, float] | None = None
    trajectory: bool = False


@dataclass(frozen=True, eq=False)
class Relaxation:
    """One phase of K networks, as an engine returns it.

    Attributes
    ----------
    S
        Last states.
    steps
        Steps performed.
    residual
        Σ ds² / M of the last step performed, over samples and free neurons.
    projected_residual
        Σ ((s(t+1) − s(t)) / dt)² / M of the last step performed.
    pairing
        STDP among free neurons: Σ_t Σ_m s_i(t) v_j(t) with
        v_j(t) = β_0 s_j(t) + β_1 (s_j(t) − s_j(t−1)).
    change
        STDP from constant inputs: Σ_t v_j(t).
    trajectory
        All states, the first one before any step; NaN for steps not performed.
    """

    S: Float[np.ndarray, "K M n"]
    steps: Int[np.ndarray, " K"]
    residual: Float[np.ndarray, " K"]
    projected_residual: Float[np.ndarray, " K"]
    pairing: Float[np.ndarray, "K n n"] | None = None
    change: Float[np.ndarray, "K M n"] | None = None
    trajectory: Float[np.ndarray, "K times M n"] | None = None

    def arrays(self) -> dict[str, Any]:
        """Return the arrays that the engine kept, by name."""
        every = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: array for name, array in every.items() if array is not None}


def join(ensembles: Sequence[Relaxation]) -> Relaxation:
    """Return the relaxations of several ensembles as one, in their order."""
    parts = [relaxation.arrays() for relaxation in ensembles]
    return Relaxation(**{name: np.concatenate([part[name] for part in parts]) for name in parts[0]})


def join_samples(first: Relaxation, second: Relaxation) -> Relaxation:
    """Return the relaxations of two parts of the same networks' samples as one."""
    one, other = first.arrays(), second.arrays()
    M = first.S.shape[1], second.S.shape[1]
    axes = {"S": 1, "change": 1, "trajectory": 2}
    joined = {
        name: np.concatenate([one[name], other[name]], axis=axis)
        for name, axis in axes.items()
        if name in one
    }
    for name in ("residual", "projected_residual"):
        joined[name] = (M[0] * one[name] + M[1] * other[name]) / sum(M)
    if "pairing" in one:
        joined["pairing"] = one["pairing"] + other["pairing"]
    return Relaxation(steps=first.steps, **joined)
