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

from deep_nb.kinds import (
    FLAG,
    NOTHING,
    a,
    array,
    integer,
    number,
    parts,
    sequence,
    short,
    takes,
    unchecked,
    word,
)
from deep_nb.models import MAX_COUNT, Model


def hard_sigmoid(x: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """Return x clipped to [0, 1], in `out` if given.

    Raises
    ------
    TypeError, ValueError, OverflowError, NotImplementedError
        NumPy's and xarray's, if `x` is not made of numbers, or `out` does not fit.
    """
    return np.clip(x, 0.0, 1.0, out=out)


def hard_sigmoid_derivative(x: np.ndarray) -> np.ndarray:
    """Return 1 where 0 ≤ x ≤ 1, else 0.

    Raises
    ------
    TypeError, ValueError, OverflowError
        NumPy's, if `x` is not made of numbers.
    """
    return np.where(np.greater_equal(x, 0) & np.less_equal(x, 1), 1.0, 0.0)


def sigmoid(x: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """Return 1 / (1 + exp(−x)), in (0, 1), without overflow, in `out` if given.

    Raises
    ------
    TypeError, ValueError, OverflowError, NotImplementedError
        NumPy's and xarray's, if `x` is not made of numbers, or `out` does not fit.
    """
    half = np.tanh(np.multiply(x, 0.5, out=out), out=out)
    return np.multiply(np.add(half, 1.0, out=out), 0.5, out=out)


def tanh(x: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """Return the hyperbolic tangent, in (−1, 1), in `out` if given.

    Raises
    ------
    TypeError, ValueError, OverflowError, NotImplementedError
        NumPy's and xarray's, if `x` is not made of numbers, or `out` does not fit.
    """
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


FIELD = parts(Field, W=array("K n n"), drive=array("K M n"), decay=array("K n"))


@takes(W=array("K N N"), b=array("K N"), X=array("M N_X"), model=a(Model))
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

    Raises
    ------
    ValueError
        If an argument is something else, or their shapes do not fit.
    """
    N_X = X.shape[1]
    outgoing = (np.abs(W) if model.absolute_outflow else W).sum(axis=2)
    return Field(
        W=W[:, N_X:, N_X:],
        drive=b[:, None, N_X:] + _ordered_product(X, W[:, :N_X, N_X:]),
        decay=model.leak + model.outflow * outgoing[:, N_X:],
    )


@takes(left=array("... M p"), right=array("... p n"))
def ordered_product(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return ``left @ right``, summed one term after the other.

    BLAS sums in an order that depends on the machine; this gives the same bits on each.

    Parameters
    ----------
    left : ndarray, shape (..., M, p)
    right : ndarray, shape (..., p, n)

    Raises
    ------
    ValueError
        If an argument is something else, or their shapes do not fit.
    """
    product = left[..., :, :1] * right[..., :1, :]
    for i in range(1, left.shape[-1]):
        product += left[..., :, i : i + 1] * right[..., i : i + 1, :]
    return product


_ordered_product = unchecked(ordered_product)


@takes(field=FIELD, beta=number(), Y=array("M N_Y"))
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

    Raises
    ------
    ValueError
        If an argument is something else, or their shapes do not fit.
    """
    N_Y = Y.shape[1]
    drive, decay = field.drive.copy(), field.decay.copy()
    drive[..., -N_Y:] += beta * Y
    decay[..., -N_Y:] += beta
    return Field(field.W, drive, decay)


#: What NumPy and xarray raise of things that are no arrays, or do not fit.
_MISFITS = (
    AttributeError,
    IndexError,
    NotImplementedError,
    OverflowError,
    TypeError,
    ValueError,
)


def vector_field(field: Field, S: np.ndarray) -> np.ndarray:
    """Return ds/dt at the free states S, shape (K, M, n); or of one network, without its axis.

    Raises
    ------
    ValueError
        If `field` is no field, or S does not fit it.
    """
    try:
        return S @ field.W + field.drive - S * field.decay[..., None, :]
    except _MISFITS as error:
        raise ValueError(f"field and its states S do not fit: {short(S)}: {error}") from error


def euler_step(
    S: np.ndarray, dS: np.ndarray, dt: float, rho: Callable[[np.ndarray], np.ndarray]
) -> np.ndarray:
    """Return ρ(S + dt · dS).

    Raises
    ------
    ValueError
        If S, dS and dt are no numbers or do not fit, or rho is no function of them.
    """
    try:
        return rho(np.add(S, np.multiply(dt, dS)))
    except _MISFITS as error:
        raise ValueError(f"S, dS, dt and rho do not make a step: {error}") from error


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


PHASE = parts(
    Phase,
    dt=number(0, without_low=True),
    T=integer(1, MAX_COUNT),
    activation=word(ACTIVATIONS),
    stop=number(0) | NOTHING,
    stdp=sequence(number(), 2) | NOTHING,
    trajectory=FLAG,
)


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


RELAXATION = parts(
    Relaxation,
    S=array("K M n"),
    steps=array("K"),
    residual=array("K"),
    projected_residual=array("K"),
    pairing=array("K n n") | NOTHING,
    change=array("K M n") | NOTHING,
    trajectory=array("K times M n") | NOTHING,
)


@takes(first=RELAXATION)
def join_samples(first: Relaxation, second: Relaxation) -> Relaxation:
    """Return the relaxations of two parts of the same networks' samples as one.

    Raises
    ------
    ValueError
        If they are none, or not of the same networks.
    """
    RELAXATION.check(second, "second")
    if any((one is None) != (other is None) for one, other in zip(first, second, strict=True)):
        raise ValueError("first and second must hold the same: one has a part that is None")
    if first.S.shape[::2] != second.S.shape[::2]:
        raise ValueError(
            f"first and second must be of the same networks, got {short(first.S)} and "
            f"{short(second.S)}"
        )
    M = first.S.shape[1], second.S.shape[1]

    def both(a: Any, b: Any, axis: int) -> Any:
        return None if a is None else np.concatenate([a, b], axis=axis)

    def mean(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return (M[0] * a + M[1] * b) / sum(M)

    return Relaxation(
        S=both(first.S, second.S, 1),
        steps=first.steps,
        residual=mean(first.residual, second.residual),
        projected_residual=mean(first.projected_residual, second.projected_residual),
        pairing=None if first.pairing is None else first.pairing + second.pairing,
        change=both(first.change, second.change, 1),
        trajectory=both(first.trajectory, second.trajectory, 2),
    )


@takes(ensembles=sequence(a(Relaxation)))
def join(ensembles: Sequence[Relaxation]) -> Relaxation:
    """Return the relaxations of several ensembles as one, in their order.

    Raises
    ------
    ValueError
        If there is none, or they do not fit together.
    """
    for place, part in enumerate(ensembles):
        RELAXATION.check(part, f"ensembles[{place}]")
    columns = zip(*ensembles, strict=True)
    joined: Any = [None if column[0] is None else np.concatenate(column) for column in columns]
    return Relaxation(*joined)
