r"""Learning rules: what K networks do to their weights after a free phase.

Every rule is a function of a `Lesson`. It runs its own nudged phases and returns a `Change`. The
loss is :math:`C = \frac12 \lVert y - s \rVert^2` of the outputs at the free rest point, averaged
over samples; the rules differ in how near ΔW comes to the gradient of −C, which exists where
the rest point is isolated (J regular over the neurons that are not saturated) and off the corners
of the clip (no neuron on a bound without being pushed against it, `at_corner`):

============== ======================================================= ===== =========
rule           nudged phases                                           local gradient
============== ======================================================= ===== =========
stdp           one at +β, all of its path                              yes   no
contrastive    one at +β                                               yes   no
centered       ±β                                                      yes   if J = Jᵀ
asymep         ±β, with the antisymmetric part of J turned round       yes   as β → 0
adjoint        none: a linear solve                                    no    yes
============== ======================================================= ===== =========

References
----------
[P]_ and [S18]_ of `deep_nb.models`; contrastive Hebbian form after B. Scellier and Y. Bengio,
"Equilibrium Propagation", 2017, arXiv:1602.05179.

.. [A26] Scurria et al., "Equilibrium Propagation for Non-Conservative Systems", 2026,
   arXiv:2602.03670.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from deep_nb.dynamics import (
    FIELD,
    PHASE,
    Field,
    Phase,
    Relaxation,
    free_field,
    nudged_field,
    ordered_product,
    vector_field,
)
from deep_nb.engines import Relax
from deep_nb.kinds import FUNCTION, NOTHING, a, array, number, sequence, takes, unchecked
from deep_nb.models import Hyperparameters, Model
from deep_nb.topology import constrain_weights

#: Singular values below this, relative to the largest, count as 0 where the adjoint is solved for.
RANK_TOLERANCE = 1e-12

# What `learn` passes on has been checked where it came in.
_constrain_weights = unchecked(constrain_weights)
_free_field, _nudged_field = unchecked(free_field), unchecked(nudged_field)
_ordered_product = unchecked(ordered_product)


class Lesson(NamedTuple):
    """What K networks have been shown, and how they have settled.

    Attributes
    ----------
    model : Model
    hyper : Hyperparameters
    W : ndarray, shape (K, N, N)
    X : ndarray, shape (M, N_X)
        Clamped states.
    Y : ndarray, shape (M, N_Y)
        Targets of the last N_Y neurons.
    field : Field
        Of the free phase.
    free : Relaxation
        The free phase.
    phase : Phase
        How a nudged phase is integrated.
    relax : Relax
        The engine.
    """

    model: Model
    hyper: Hyperparameters
    W: np.ndarray
    X: np.ndarray
    Y: np.ndarray
    field: Field
    free: Relaxation
    phase: Phase
    relax: Relax

    @takes(field=FIELD, beta=number(), stdp=sequence(number(), 2) | NOTHING)
    def nudge(
        self, field: Field, beta: float, stdp: tuple[float, float] | None = None
    ) -> Relaxation:
        """Go on from the free states with β on the outputs.

        Raises
        ------
        ValueError
            If an argument is something else.
        """
        return self.relax(
            _nudged_field(field, beta, self.Y), self.free.S, self.phase._replace(stdp=stdp)
        )


#: What is in it has been checked by `learn`, which makes it.
LESSON = a(Lesson)


class Change(NamedTuple):
    """What a rule returns.

    Attributes
    ----------
    nudged : Relaxation
        The nudged phase at +β.
    dW : ndarray, shape (K, N, N)
        ΔW, not yet masked; 0 onto inputs.
    db : ndarray, shape (K, N)
        Δb; 0 for inputs.
    """

    nudged: Relaxation
    dW: np.ndarray
    db: np.ndarray


@takes(lesson=LESSON)
def stdp(lesson: Lesson) -> Change:
    r"""Spike-timing-dependent plasticity along the nudged phase, DEEP's rule [P]_.

    .. math:: \Delta W_{ij} = \frac{1}{M T_2} \sum_{t=1}^{T_2} \sum_m s_i(t)
              \big(\beta_0 s_j(t) + \beta_1 (s_j(t) - s_j(t-1))\big)

    and the same with :math:`s_i = 1` for a bias.

    Raises
    ------
    ValueError
        If `lesson` is none.
    """
    hyper, X = lesson.hyper, lesson.X
    nudged = lesson.nudge(lesson.field, hyper.beta, (hyper.beta_0, hyper.beta_1))
    assert nudged.pairing is not None
    assert nudged.change is not None
    M, N_X = X.shape
    K, n, _ = nudged.pairing.shape
    dW = np.zeros((K, N_X + n, N_X + n))
    dW[:, N_X:, N_X:] = nudged.pairing
    dW[:, :N_X, N_X:] = _ordered_product(X.T, nudged.change)
    db = np.zeros((K, N_X + n))
    db[:, N_X:] = nudged.change.sum(axis=1)
    return Change(nudged, dW / (M * hyper.T2), db / (M * hyper.T2))


@takes(lesson=LESSON)
def contrastive(lesson: Lesson) -> Change:
    r"""Contrast of the two rest points, the rule of asymmetric EP [S18]_.

    .. math:: \Delta W_{ij} = \frac{1}{\beta M} \sum_m
              s_i^\text{free} (s_j^\text{nudged} - s_j^\text{free}),
              \qquad
              \Delta b_j = \frac{1}{\beta M} \sum_m (s_j^\text{nudged} - s_j^\text{free})

    Raises
    ------
    ValueError
        If `lesson` is none.
    """
    nudged = lesson.nudge(lesson.field, lesson.hyper.beta)
    delta = (nudged.S - lesson.free.S) / (lesson.hyper.beta * len(lesson.X))
    return Change(nudged, *_hebbian(lesson, delta))


@takes(lesson=LESSON)
def centered(lesson: Lesson) -> Change:
    r"""Symmetric nudging without a correction, the vector-field estimate [S18]_.

    :math:`\delta = (s^{+\beta} - s^{-\beta}) / 2\beta` tends to :math:`-J^{-1} (y - s^*)` as β → 0,
    where the gradient has :math:`J^\top`. ΔW as of `descent`.

    Raises
    ------
    ValueError
        If `lesson` is none.
    """
    nudged, delta = _symmetric(lesson, lesson.field)
    return Change(nudged, *_descent(lesson, delta))


@takes(lesson=LESSON)
def asymep(lesson: Lesson) -> Change:
    r"""Symmetric nudging with the antisymmetric part of J turned round [A26]_.

    With :math:`A = (J - J^\top) / 2` at the free rest point :math:`s^*`, both nudged phases follow

    .. math:: \dot s = F(s) \mp \beta \nabla C - 2 A (s - s^*),

    whose linearisation is :math:`J^\top`: δ tends to the adjoint as β → 0. Each synapse needs the
    activity of its own two neurons and the weight of the opposite synapse. ΔW as of `descent`.

    Raises
    ------
    ValueError
        If `lesson` is none.
    """
    nudged, delta = _symmetric(lesson, _transposed_field(lesson.field, lesson.free.S))
    return Change(nudged, *_descent(lesson, delta))


@takes(lesson=LESSON)
def adjoint(lesson: Lesson) -> Change:
    r"""Gradient of −C at the free rest point, by a linear solve; not local, the yardstick.

    :math:`J^\top \delta = -(y - s^*)` on the outputs, over the neurons that are not saturated
    (δ = 0 for the others). Where J is singular, the rest point is not isolated and there is no
    gradient; δ is then the least-squares solution of least norm. ΔW as of `descent`. The nudged
    phase is run to be recorded, no more.

    Raises
    ------
    ValueError
        If `lesson` is none.
    """
    nudged = lesson.nudge(lesson.field, lesson.hyper.beta)
    return Change(nudged, *_descent(lesson, _adjoint_states(lesson.field, lesson.free.S, lesson.Y)))


Rule = Callable[[Lesson], Change]

#: The rules by their names.
RULES: dict[str, Rule] = {
    "stdp": unchecked(stdp),
    "contrastive": unchecked(contrastive),
    "centered": unchecked(centered),
    "asymep": unchecked(asymep),
    "adjoint": unchecked(adjoint),
}


@takes(
    model=a(Model),
    hyper=a(Hyperparameters),
    mask=array("N N", "b"),
    W=array("K N N"),
    b=array("K N"),
    X=array("M N_X"),
    Y=array("M N_Y"),
    start=array("K M n"),
    phase=PHASE,
    relax=FUNCTION,
)
def learn(
    model: Model,
    hyper: Hyperparameters,
    mask: np.ndarray,
    W: np.ndarray,
    b: np.ndarray,
    X: np.ndarray,
    Y: np.ndarray,
    start: np.ndarray,
    phase: Phase,
    relax: Relax,
) -> tuple[Relaxation, Change]:
    """Let K networks settle freely on samples, then work out what their rule changes.

    Parameters
    ----------
    model : Model
    hyper : Hyperparameters
    mask : ndarray of bool, shape (N, N)
        Which synapses exist.
    W : ndarray, shape (K, N, N)
    b : ndarray, shape (K, N)
    X : ndarray, shape (M, N_X)
        Clamped states.
    Y : ndarray, shape (M, N_Y)
        Targets.
    start : ndarray, shape (K, M, n)
        Free states at the start.
    phase : Phase
        How the free phase is integrated.
    relax : Relax
        The engine.

    Returns
    -------
    free : Relaxation
        The free phase.
    change : Change
        With ΔW on existing synapses and Δb where biases are learned.

    Raises
    ------
    ValueError
        If an argument is something else, or their shapes do not fit.
    TypeError
        If `relax` does not take a field, states and a phase.
    """
    field = _free_field(W, b, X, model)
    free = relax(field, start, phase)
    a(Relaxation).check(free, "what relax returns")
    lesson = Lesson(model, hyper, W, X, Y, field, free, phase._replace(T=hyper.T2), relax)
    nudged, dW, db = RULES[model.rule](lesson)
    if not model.learned_bias:
        db = np.zeros_like(db)
    return free, Change(nudged, _constrain_weights(dW, mask), db)


@takes(field=FIELD, S=array("K M n"))
def transposed_field(field: Field, S: np.ndarray) -> Field:
    r"""Return :math:`F(s) - 2 A (s - s^*)`: its linear part is :math:`J^\top`, its rest point s*.

    Parameters
    ----------
    field : Field
        F, of K networks.
    S : ndarray, shape (K, M, n)
        s*, where F = 0 but for saturated neurons.

    Raises
    ------
    ValueError
        If an argument is something else, or their shapes do not fit.
    """
    W = field.W.transpose(0, 2, 1)
    return Field(
        np.ascontiguousarray(W), field.drive + _ordered_product(S, field.W - W), field.decay
    )


@takes(field=FIELD, S=array("K M n"))
def saturated(field: Field, S: np.ndarray) -> np.ndarray:
    """Return which neurons rest at a bound of [0, 1] and push against it, shape (K, M, n).

    Raises
    ------
    ValueError
        If an argument is something else, or their shapes do not fit.
    """
    dS = vector_field(field, S)
    return ((S <= 0) & (dS < 0)) | ((S >= 1) & (dS > 0))


@takes(field=FIELD, S=array("K M n"), tolerance=number(0))
def at_corner(field: Field, S: np.ndarray, tolerance: float) -> np.ndarray:
    """Return which neurons rest on a bound of [0, 1] with nothing that pushes, shape (K, M, n).

    To one side of such a point they are saturated and to the other not: the loss has a corner
    there, and no gradient.

    Parameters
    ----------
    field : Field
    S : ndarray, shape (K, M, n)
        Rest points.
    tolerance : float
        Up to which a distance from the bound and a speed count as none.

    Raises
    ------
    ValueError
        If an argument is something else, or their shapes do not fit.
    """
    on_bound = (tolerance >= S) | (1 - tolerance <= S)
    return on_bound & (np.abs(vector_field(field, S)) <= tolerance)


@takes(field=FIELD, S=array("K M n"), Y=array("M N_Y"))
def adjoint_states(field: Field, S: np.ndarray, Y: np.ndarray) -> np.ndarray:
    r"""Return δ with :math:`J^\top \delta = -(y - s)` over unsaturated neurons, else 0.

    Parameters
    ----------
    field : Field
        Of the free phase.
    S : ndarray, shape (K, M, n)
        Free rest points.
    Y : ndarray, shape (M, N_Y)
        Targets of the last N_Y neurons.

    Returns
    -------
    ndarray, shape (K, M, n)
        NaN where the system has overflowed.

    Raises
    ------
    ValueError
        If an argument is something else, or their shapes do not fit.
    """
    n, N_Y = S.shape[2], Y.shape[1]
    moving = ~_saturated(field, S)
    transposed = field.W - field.decay[:, :, None] * np.eye(n)
    pairs = moving[..., :, None] & moving[..., None, :]
    system = np.where(pairs, transposed[:, None], -np.eye(n))
    pull = np.zeros(S.shape)
    pull[..., -N_Y:] = Y - S[..., -N_Y:]
    # A singular value is at most n times the largest entry, and has to be a number itself.
    sound = (np.abs(system) < np.finfo(float).max / n).all(axis=(2, 3))
    inverse = np.linalg.pinv(np.where(sound[..., None, None], system, 0.0), rcond=RANK_TOLERANCE)
    delta = -(inverse @ (pull * moving)[..., None])[..., 0] * moving
    return np.where(sound[..., None], delta, np.nan)


@takes(lesson=LESSON, delta=array("K M n"))
def descent(lesson: Lesson, delta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    r"""Return the gradient of −C that belongs to adjoint states δ.

    .. math:: \Delta W_{ij} = \frac1M \sum_m s_i (\delta_j - \gamma \delta_i), \qquad
              \Delta b_j = \frac1M \sum_m \delta_j

    :math:`-\gamma\delta_i` (times sign(W_ij) where the outflow is absolute), since W_ij also stands
    in i's own decay; an input, being clamped, has δ_i = 0.

    Parameters
    ----------
    lesson : Lesson
    delta : ndarray, shape (K, M, n)

    Returns
    -------
    dW : ndarray, shape (K, N, N)
    db : ndarray, shape (K, N)

    Raises
    ------
    ValueError
        If an argument is something else, or their shapes do not fit.
    """
    delta = delta / len(lesson.X)
    dW, db = _hebbian(lesson, delta)
    N_X = lesson.X.shape[1]
    own = lesson.model.outflow * (lesson.free.S * delta).sum(axis=1)[:, :, None]
    outgoing = lesson.W[:, N_X:, N_X:]
    sign = np.sign(outgoing) if lesson.model.absolute_outflow else np.ones_like(outgoing)
    dW[:, N_X:, N_X:] -= own * sign
    return dW, db


def _hebbian(lesson: Lesson, delta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return Σ_m s_i δ_j and Σ_m δ_j, 0 onto inputs."""
    M, N_X = lesson.X.shape
    K, _, n = delta.shape
    S = np.concatenate([np.broadcast_to(lesson.X, (K, M, N_X)), lesson.free.S], axis=2)
    dW = np.zeros((K, N_X + n, N_X + n))
    dW[:, :, N_X:] = _ordered_product(S.transpose(0, 2, 1), delta)
    db = np.zeros((K, N_X + n))
    db[:, N_X:] = delta.sum(axis=1)
    return dW, db


def _symmetric(lesson: Lesson, field: Field) -> tuple[Relaxation, np.ndarray]:
    """Return the phase at +β, and (s at +β − s at −β) / 2β."""
    beta = lesson.hyper.beta
    plus, minus = lesson.nudge(field, beta), lesson.nudge(field, -beta)
    return plus, (plus.S - minus.S) / (2 * beta)


@takes(W=array("K N N"), dW=array("K N N"), dt_W=number(0), reg_W=number(0))
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

    Raises
    ------
    ValueError
        If an argument is something else, or their shapes do not fit.
    """
    return W + dt_W * dW - reg_W * np.sign(W)


_adjoint_states, _descent = unchecked(adjoint_states), unchecked(descent)
_saturated, _transposed_field = unchecked(saturated), unchecked(transposed_field)
