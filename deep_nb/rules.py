r"""Learning rules: the weight changes of K networks after a free phase.

A rule is a function from a `Lesson` to a `Change`; it runs its own nudged phases. The loss is
:math:`C = \frac12 \lVert y - s \rVert^2` of the outputs at the free rest point, averaged over
samples. The rules differ in how close ΔW comes to the gradient of −C. That gradient exists where
the rest point is isolated (J nonsingular over the neurons that are not saturated) and away from the
corners of the clip (`at_corner`); with the absolute outflow, weights of 0 are corners, too:

============== ======================================================= ===== =========
rule           nudged phases                                           local gradient
============== ======================================================= ===== =========
stdp           one at +β, the whole path                               yes   no
contrastive    one at +β                                               yes   no
centered       ±β                                                      yes   if J = Jᵀ
onesided       one at +β, with the antisymmetric part of J reversed    yes   as β → 0
asymep         ±β, with the antisymmetric part of J reversed           yes   as β → 0
adjoint        none: a linear solve                                    no    yes
============== ======================================================= ===== =========

To add a rule: write a function like `contrastive` here, add it to `RULES` and its name to
`deep_nb.models.RuleName`; a hyperparameter of its own goes into `deep_nb.models.Hyperparameters`.
The classifier takes it when `deep_nb.minibatch.RULES` has it, too; a test compares the two.

References
----------
[P]_ and [S18]_ of `deep_nb.models`.

.. [S17] B. Scellier, Y. Bengio, "Equilibrium Propagation", 2017, arXiv:1602.05179: the contrastive
   Hebbian form.
.. [A26] Scurria et al., "Equilibrium Propagation for Non-Conservative Systems", 2026,
   arXiv:2602.03670.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from array_api_compat import array_namespace, device, is_numpy_namespace
from jaxtyping import Bool, Float

from deep_nb.dynamics import (
    Array,
    Field,
    Relaxation,
    free_field,
    nudged_field,
    ordered_product,
    vector_field,
)
from deep_nb.engines import Relax
from deep_nb.engines.blas import one_thread
from deep_nb.models import RuleName
from deep_nb.problem import Problem

#: Singular values below this, relative to the largest, count as 0 in the adjoint's linear system.
RANK_TOLERANCE = 1e-12


@dataclass(frozen=True, eq=False)
class State:
    """Weights and biases of K networks, and their free states before the free phase."""

    W: Float[np.ndarray, "K N N"]
    b: Float[np.ndarray, "K N"]
    S: Float[np.ndarray, "K M n"]


@dataclass(frozen=True, eq=False)
class Lesson:
    """Weights, inputs, targets and free-phase results of K networks."""

    problem: Problem
    W: Float[np.ndarray, "K N N"]
    field: Field
    free: Relaxation
    relax: Relax
    trajectory: bool = False

    def nudge(
        self, field: Field, beta: float, stdp: tuple[float, float] | None = None
    ) -> Relaxation:
        """Relax from the free states with β on the outputs."""
        phase = replace(self.problem.phases(self.trajectory)[1], stdp=stdp)
        return self.relax(nudged_field(field, beta, self.problem.Y), self.free.S, phase)


@dataclass(frozen=True, eq=False)
class Change:
    """The nudged phase at +β, ΔW and Δb; both are 0 onto inputs."""

    nudged: Relaxation
    dW: Float[np.ndarray, "K N N"]
    db: Float[np.ndarray, "K N"]


def stdp(lesson: Lesson) -> Change:
    r"""Spike-timing-dependent plasticity along the nudged phase, DEEP's rule [P]_.

    .. math:: \Delta W_{ij} = \frac{1}{M T_2} \sum_{t=1}^{T_2} \sum_m s_i(t)
              \big(\beta_0 s_j(t) + \beta_1 (s_j(t) - s_j(t-1))\big)

    and the same with :math:`s_i = 1` for a bias. The engine accumulates the sums over t along the
    phase (`deep_nb.engines.reference`); with early stop, over the steps performed.
    """
    hyper, X = lesson.problem.hyper, lesson.problem.X
    nudged = lesson.nudge(lesson.field, hyper.beta, (hyper.beta_0, hyper.beta_1))
    assert nudged.pairing is not None
    assert nudged.change is not None
    M, N_X = X.shape
    K, n, _ = nudged.pairing.shape
    dW = np.zeros((K, N_X + n, N_X + n))
    dW[:, N_X:, N_X:] = nudged.pairing
    dW[:, :N_X, N_X:] = ordered_product(X.T, nudged.change)
    db = np.zeros((K, N_X + n))
    db[:, N_X:] = nudged.change.sum(axis=1)
    return Change(nudged, dW / (M * hyper.T2), db / (M * hyper.T2))


def contrastive(lesson: Lesson) -> Change:
    r"""Contrast of the two rest points, the rule of asymmetric EP [S18]_, [S17]_.

    .. math:: \Delta W_{ij} = \frac{1}{\beta M} \sum_m
              s_i^\text{free} (s_j^\text{nudged} - s_j^\text{free}),
              \qquad
              \Delta b_j = \frac{1}{\beta M} \sum_m (s_j^\text{nudged} - s_j^\text{free})
    """
    beta = lesson.problem.hyper.beta
    nudged = lesson.nudge(lesson.field, beta)
    delta = (nudged.S - lesson.free.S) / (beta * len(lesson.problem.X))
    return Change(nudged, *_hebbian(lesson, delta))


def centered(lesson: Lesson) -> Change:
    r"""Symmetric nudging without a correction, the vector-field estimate [S18]_.

    :math:`\delta = (s^{+\beta} - s^{-\beta}) / 2\beta` tends to :math:`-J^{-1} (y - s^*)` as β → 0,
    where the gradient has :math:`J^\top`. ΔW as in `descent`.
    """
    nudged, delta = _symmetric(lesson, lesson.field)
    return Change(nudged, *descent(lesson, delta))


def onesided(lesson: Lesson) -> Change:
    r"""Nudging at +β alone, with the antisymmetric part of J reversed: half of `asymep`.

    :math:`\delta = (s^{+\beta} - s^*) / \beta` tends to the adjoint with an error of order β, where
    `asymep` has β². There is no phase at −β, and so no condition β < λ for contraction
    (``docs/stability.md``). ΔW as in `descent`.
    """
    beta = lesson.problem.hyper.beta
    nudged = lesson.nudge(transposed_field(lesson.field, lesson.free.S), beta)
    return Change(nudged, *descent(lesson, (nudged.S - lesson.free.S) / beta))


def asymep(lesson: Lesson) -> Change:
    r"""Symmetric nudging with the antisymmetric part of J reversed, AsymEP [A26]_.

    With :math:`A = (J - J^\top) / 2` at the free rest point :math:`s^*`, both nudged phases follow

    .. math:: \dot s = F(s) \mp \beta \nabla C - 2 A (s - s^*),

    whose linearisation is :math:`J^\top`: δ tends to the adjoint as β → 0. Each synapse uses the
    activity of its own two neurons and the weight of the opposite synapse. ΔW as in `descent`.
    """
    nudged, delta = _symmetric(lesson, transposed_field(lesson.field, lesson.free.S))
    return Change(nudged, *descent(lesson, delta))


def adjoint(lesson: Lesson) -> Change:
    r"""Gradient of −C at the free rest point, by a linear solve; not local, used as the reference.

    :math:`J^\top \delta = -(y - s^*)` on the outputs, over the neurons that are not saturated
    (δ = 0 for the others). Where J is singular, the rest point is not isolated and the gradient
    does not exist; δ is then the least-squares solution of least norm. ΔW as in `descent`. The
    nudged phase runs only so that its states are recorded. The last bits depend on LAPACK, and with
    it on the machine.
    """
    nudged = lesson.nudge(lesson.field, lesson.problem.hyper.beta)
    delta = adjoint_states(lesson.field, lesson.free.S, lesson.problem.Y)
    return Change(nudged, *descent(lesson, delta))


Rule = Callable[[Lesson], Change]

#: The rules by name.
RULES: dict[RuleName, Rule] = {
    "stdp": stdp,
    "contrastive": contrastive,
    "centered": centered,
    "onesided": onesided,
    "asymep": asymep,
    "adjoint": adjoint,
}


def learn(
    problem: Problem, state: State, relax: Relax, *, trajectory: bool = False
) -> tuple[Relaxation, Change]:
    """Run the free phase, then return it with the rule's change.

    ΔW is 0 where no synapse exists, and Δb where biases are not learned. With the flag ``sign``,
    both are replaced by their signs.
    """
    field = free_field(state.W, state.b, problem.X, problem.model)
    free = relax(field, state.S, problem.phases(trajectory)[0])
    lesson = Lesson(problem, state.W, field, free, relax, trajectory)
    change = RULES[problem.model.rule](lesson)
    dW = np.where(problem.mask, change.dW, 0.0)
    db = change.db if problem.model.learned_bias else np.zeros_like(change.db)
    if problem.flags.sign:
        dW, db = np.sign(dW), np.sign(db)
    return free, Change(change.nudged, dW, db)


def transposed_field(field: Field, S: Float[np.ndarray, "K M n"]) -> Field:
    r"""Return :math:`F(s) - 2 A (s - s^*)`: its linear part is :math:`J^\top`, its rest point S."""
    W = field.W.transpose(0, 2, 1)
    drive = field.drive + ordered_product(S, field.W - W)
    return Field(np.ascontiguousarray(W), drive, field.decay)


def saturated(field: Field, S: Float[Array, "K M n"]) -> Bool[Array, "K M n"]:
    """Return which neurons rest at a bound of [0, 1] and are pushed against it."""
    dS = vector_field(field, S)
    return ((S <= 0) & (dS < 0)) | ((S >= 1) & (dS > 0))


def at_corner(
    field: Field, S: Float[np.ndarray, "K M n"], tolerance: float
) -> Bool[np.ndarray, "K M n"]:
    """Return which neurons rest on a bound of [0, 1] without being pushed against it.

    On one side of such a point they are saturated and on the other not: the loss has a corner
    there, and no gradient. `tolerance` bounds the distance from the bound, and the speed.
    """
    on_bound = (tolerance >= S) | (1 - tolerance <= S)
    return on_bound & (np.abs(vector_field(field, S)) <= tolerance)


def adjoint_states(
    field: Field, S: Float[Array, "K M n"], Y: Float[Array, "M N_Y"]
) -> Float[Array, "K M n"]:
    r"""Return δ with :math:`J^\top \delta = -(y - s)` over unsaturated neurons, else 0.

    S holds free rest points, Y the targets of the last neurons. NaN where the system overflows.
    Arrays may be of any library with the array API standard.
    """
    xp = array_namespace(S)
    n, N_Y = S.shape[2], Y.shape[1]
    eye = xp.eye(n, dtype=S.dtype, device=device(S))
    moving = ~saturated(field, S)
    transposed = field.W - field.decay[:, :, None] * eye
    pairs = moving[..., :, None] & moving[..., None, :]
    system = xp.where(pairs, transposed[:, None, ...], -eye)
    error = Y - S[..., -N_Y:]
    pull = xp.concat([xp.zeros_like(S[..., :-N_Y]), error], axis=-1)
    # A singular value is at most n times the largest entry, and must itself be finite.
    sound = xp.all(xp.abs(system) < xp.finfo(S.dtype).max / n, axis=(2, 3))[..., None]
    system = xp.where(sound[..., None], system, -eye)
    still = xp.zeros_like(S)
    delta = _solve(xp, system, xp.where(moving, -pull, still))
    delta = xp.where(moving, delta, still)
    return xp.where(sound, delta, still + xp.nan)


def _solve(
    xp: Any, systems: Float[Array, "K M n n"], right: Float[Array, "K M n"]
) -> Float[Array, "K M n"]:
    """Return the solution of each system, of least norm where it is nearly singular.

    NumPy solves by LU where the condition number lets half of the digits be right; all others by
    the pseudo-inverse.
    """
    precision = float(xp.finfo(systems.dtype).eps)
    rtol = max(RANK_TOLERANCE, 10 * precision)
    if not is_numpy_namespace(xp):
        return (xp.linalg.pinv(systems, rtol=rtol) @ right[..., None])[..., 0]
    from scipy.linalg import get_lapack_funcs  # here, since most training needs no SciPy

    getrf, getrs, gecon = get_lapack_funcs(("getrf", "getrs", "gecon"), (systems,))
    solutions = np.empty_like(right)
    with one_thread():
        for index in np.ndindex(right.shape[:2]):
            A, b = systems[index], right[index]
            lu, pivots, singular = getrf(A)
            if not singular and gecon(lu, np.abs(A).sum(axis=0).max())[0] > precision**0.5:
                solutions[index], _ = getrs(lu, pivots, b)
            else:
                solutions[index] = np.linalg.pinv(A, rcond=rtol) @ b
    return solutions


def descent(
    lesson: Lesson, delta: Float[np.ndarray, "K M n"]
) -> tuple[Float[np.ndarray, "K N N"], Float[np.ndarray, "K N"]]:
    r"""Return the gradient of −C, ΔW and Δb, that belongs to adjoint states δ.

    .. math:: \Delta W_{ij} = \frac1M \sum_m s_i (\delta_j - \gamma \delta_i), \qquad
              \Delta b_j = \frac1M \sum_m \delta_j

    The term :math:`-\gamma\delta_i` (times sign(W_ij) if the outflow is absolute) arises because
    W_ij also enters the decay of i. Inputs are clamped, so their δ_i is 0.
    """
    problem, W = lesson.problem, lesson.W
    M, N_X = problem.X.shape
    delta = delta / M
    dW, db = _hebbian(lesson, delta)
    own = problem.model.outflow * (lesson.free.S * delta).sum(axis=1)[:, :, None]
    outgoing = W[:, N_X:, N_X:]
    sign = np.sign(outgoing) if problem.model.absolute_outflow else np.ones_like(outgoing)
    dW[:, N_X:, N_X:] -= own * sign
    return dW, db


def _hebbian(
    lesson: Lesson, delta: Float[np.ndarray, "K M n"]
) -> tuple[Float[np.ndarray, "K N N"], Float[np.ndarray, "K N"]]:
    """Return Σ_m s_i δ_j and Σ_m δ_j, 0 onto inputs."""
    X = lesson.problem.X
    M, N_X = X.shape
    K, _, n = delta.shape
    S = np.concatenate([np.broadcast_to(X, (K, M, N_X)), lesson.free.S], axis=2)
    dW = np.zeros((K, N_X + n, N_X + n))
    dW[:, :, N_X:] = ordered_product(S.transpose(0, 2, 1), delta)
    db = np.zeros((K, N_X + n))
    db[:, N_X:] = delta.sum(axis=1)
    return dW, db


def _symmetric(lesson: Lesson, field: Field) -> tuple[Relaxation, Float[np.ndarray, "K M n"]]:
    """Return the phase at +β, and (s at +β − s at −β) / 2β."""
    beta = lesson.problem.hyper.beta
    plus, minus = lesson.nudge(field, beta), lesson.nudge(field, -beta)
    return plus, (plus.S - minus.S) / (2 * beta)


def updated_weights(
    W: Float[np.ndarray, "K N N"], dW: Float[np.ndarray, "K N N"], dt_W: float, reg_W: float
) -> Float[np.ndarray, "K N N"]:
    r"""Return :math:`W + dt_W \Delta W - \text{reg}_W \operatorname{sign}(W)`.

    dt_W is the learning rate, reg_W the L1 decay, 0 without regularisation. Absent synapses stay 0.
    """
    return W + dt_W * dW - reg_W * np.sign(W)
