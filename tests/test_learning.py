from dataclasses import replace

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import assume, given

import deep_nb
from deep_nb.dynamics import Field, Phase, free_field
from deep_nb.engines import get_engine
from deep_nb.problem import Problem
from deep_nb.rules import (
    RULES,
    Lesson,
    adjoint_states,
    at_corner,
    saturated,
    updated_weights,
)
from deep_nb.topology import Layout, complete

from .conftest import SHORT, assert_same

LEAKY = deep_nb.DEEP.replace(name="leaky DEEP", leak=1.0)
MODELS = {
    "leaky DEEP": LEAKY,
    "absolute outflow": LEAKY.replace(absolute_outflow=True),
    "one-hot": deep_nb.DEEP_oh.replace(leak=1.0),
    "published DEEP": deep_nb.DEEP,
    "half outflow": LEAKY.replace(outflow=0.5),
    "EP_asym": deep_nb.EP_asym,
}
#: Long enough for every network here to come to rest to the last bits.
REST = Phase(dt=0.1, T=20_000)


def lesson_of(model, seed, beta=1e-3, scale=0.35, T2=REST.T, M=3, trajectory=False):
    """One random network at its free rest point, some neurons saturated, some not."""
    rng = np.random.default_rng(seed)
    hyper = model.hyper.replace(N_H=[int(rng.integers(1, 6))], beta=beta, T2=T2, dt=REST.dt)
    layout = Layout(2, model.bias_neuron, hyper.N_H, 2)
    W = np.where(complete(layout), rng.normal(0.05, scale, (1, layout.N, layout.N)), 0.0)
    b = np.zeros((1, layout.N))
    if model.learned_bias:
        b[:, layout.N_X :] = rng.normal(0.3, scale, layout.n_free)
    task = deep_nb.Task("random", rng.uniform(-0.5, 1.5, (M, 2)), np.eye(2)[[0] * M])
    problem = Problem.of(model, task, hyper)
    problem = replace(problem, Y=rng.uniform(0, 1, (M, 2)))
    relax = get_engine("numba", layout.n_free, "hard_sigmoid")
    field = free_field(W, b, problem.X, model)
    free = relax(field, np.full((1, M, layout.n_free), 0.5), REST)
    return Lesson(problem, W, field, free, relax, trajectory), b


def with_weights(lesson, W, b):
    """The same lesson for other weights, settled from the same states."""
    field = free_field(W, b, lesson.problem.X, lesson.problem.model)
    return replace(lesson, W=W, field=field, free=lesson.relax(field, lesson.free.S, REST))


def losses(lesson, W, b):
    """The loss of each of K networks with these weights."""
    model, Y = lesson.problem.model, lesson.problem.Y
    field = free_field(W, b, lesson.problem.X, model)
    S = lesson.relax(field, np.repeat(lesson.free.S, len(W), axis=0), REST).S
    return ((S[:, :, -2:] - Y) ** 2).sum(axis=(1, 2)) / 2 / len(Y)


def slopes(lesson, W, b, which, where, h=1e-5):
    """Central differences of the loss by one parameter in `where` after the other."""
    pairs = []
    for sign in (1, -1):
        shifted = {"W": np.repeat(W, len(where), axis=0), "b": np.repeat(b, len(where), axis=0)}
        shifted[which][np.arange(len(where)), *where.T] += sign * h
        pairs.append(losses(lesson, shifted["W"], shifted["b"]))
    return (pairs[0] - pairs[1]) / (2 * h)


def assume_isolated(lesson):
    """At rest, and no neuron within reach of changing between saturated and not."""
    assume(lesson.free.projected_residual[0] < 1e-24)
    S, held = lesson.free.S, saturated(lesson.field, lesson.free.S)
    push = S @ lesson.field.W + lesson.field.drive - S * lesson.field.decay[:, None]
    assume((np.abs(push[held]) > 1e-2).all())
    assume(((S[~held] > 1e-2) & (S[~held] < 1 - 1e-2)).all())
    J = lesson.field.W[0].T - np.diag(lesson.field.decay[0])
    for still in held[0]:
        assume(still.all() or np.linalg.eigvals(J[np.ix_(~still, ~still)]).real.max() < -0.05)
    assume(not held[..., -2:].all())


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
@given(seed=st.integers(0, 10**6))
def test_the_adjoint_is_the_gradient_by_finite_differences(model, seed):
    """Central differences with h = 1e-5: their own error is h² and 1e-16 / h."""
    lesson, b = lesson_of(model, seed)
    assume_isolated(lesson)
    change = RULES["adjoint"](lesson)
    mask = lesson.W[0] != 0
    descent = -slopes(lesson, lesson.W, b, "W", np.argwhere(mask))
    size = np.linalg.norm(descent)
    assume(size > 1e-3)
    assert np.linalg.norm(change.dW[0, mask] - descent) <= 1e-6 * size
    own = np.arange(lesson.problem.X.shape[1], lesson.W.shape[1])
    descent = -slopes(lesson, lesson.W, b, "b", own[:, None])
    np.testing.assert_allclose(change.db[0, own], descent, rtol=0, atol=1e-6 * max(size, 1))


@pytest.mark.slow
@pytest.mark.parametrize("rule", ["onesided", "asymep"])
@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
@given(seed=st.integers(0, 10**6))
def test_corrected_rules_tend_to_the_adjoint_at_least_linearly(model, rule, seed):
    """Ten times less β, at least about ten times less error, until rounding (1e-16 / β) is left.

    Slow modes answer strongly to β: at 1e-2 they may still carry a neuron into saturation.
    """
    lesson, _ = lesson_of(model, seed)
    assume_isolated(lesson)
    gradient = RULES["adjoint"](lesson).dW
    size = np.linalg.norm(gradient)
    assume(size > 1e-3)
    errors = []
    for beta in (1e-3, 1e-4):
        hyper = lesson.problem.hyper.replace(beta=beta)
        at = replace(lesson, problem=replace(lesson.problem, hyper=hyper))
        errors.append(np.linalg.norm(RULES[rule](at).dW - gradient) / size)
    assert errors[0] < 0.2
    assert errors[1] < errors[0] / 8 + 1e-9


def test_halving_beta_halves_the_error_of_one_side_and_quarters_that_of_both():
    """Up to the next order of β, which is below a tenth at these β: nothing saturates."""
    lesson, _ = lesson_of(deep_nb.EP_asym, 5, scale=0.2)
    gradient = RULES["adjoint"](lesson).dW
    for rule, ratio in (("onesided", 2), ("asymep", 4)):
        errors = []
        for beta in (0.02, 0.01):
            hyper = lesson.problem.hyper.replace(beta=beta)
            at = replace(lesson, problem=replace(lesson.problem, hyper=hyper))
            errors.append(np.linalg.norm(RULES[rule](at).dW - gradient))
        assert errors[0] / errors[1] == pytest.approx(ratio, rel=0.1)


@pytest.mark.parametrize("beta", [0.3, 3.0, -0.1])
@pytest.mark.parametrize("name", ["leaky DEEP", "absolute outflow", "EP_asym"])
def test_the_one_sided_change_is_that_of_one_relaxation(name, beta):
    """Relaxed here step by step in F(s) − 2A (s − s*) + β (y − s), with A from J itself."""
    of, b = lesson_of(MODELS[name], 3, beta=beta, T2=60, M=4)
    model, X, Y = of.problem.model, of.problem.X, of.problem.Y
    N_X, M, W, free = X.shape[1], len(X), of.W[0], of.free.S[0]
    outgoing = W[N_X:, N_X:]
    outflow = abs(outgoing) if model.absolute_outflow else outgoing
    J = outgoing.T - np.diag(model.leak + model.outflow * outflow.sum(axis=1))
    A = (J - J.T) / 2
    drive = X @ W[:N_X, N_X:] + b[0, N_X:]
    S = free.copy()
    for _ in range(60):
        speed = S @ J.T + drive - 2 * (S - free) @ A.T
        speed[:, -2:] += beta * (Y - S[:, -2:])
        S = np.clip(S + REST.dt * speed, 0, 1)
    change = RULES["onesided"](replace(of, relax=get_engine("reference", len(J), "hard_sigmoid")))
    np.testing.assert_allclose(change.nudged.S[0], S, atol=1e-13)  # sums in another order
    delta = (S - free) / beta
    assert abs(delta).max() > 1e-3
    factor = np.sign(outgoing) if model.absolute_outflow else 1.0
    own = model.outflow * (free * delta).mean(axis=0)[:, None] * factor
    expected = np.concatenate([X, free], axis=1).T @ delta / M
    expected[N_X:] -= own
    np.testing.assert_allclose(change.dW[0, :, N_X:], expected, atol=1e-12)
    np.testing.assert_allclose(change.db[0, N_X:], delta.mean(axis=0), atol=1e-12)


def test_the_one_sided_rule_nudges_once():
    of, _ = lesson_of(LEAKY, 0)
    calls = []

    def watched(*given):
        calls.append(given)
        return of.relax(*given)

    RULES["onesided"](replace(of, relax=watched))
    assert len(calls) == 1


def test_only_the_correction_finds_the_gradient_of_an_asymmetric_network():
    """In a symmetric one without outflow, centered and contrastive find it as well."""
    lesson, b = lesson_of(deep_nb.EP_asym, 5, beta=1e-4, scale=0.2)
    errors = {}
    for name, symmetric in (("asymmetric", False), ("symmetric", True)):
        W = lesson.W.copy()
        if symmetric:
            W[0, 2:, 2:] = (W[0, 2:, 2:] + W[0, 2:, 2:].T) / 2
        at = with_weights(lesson, W, b)
        gradient = RULES["adjoint"](at).dW
        for rule in ("contrastive", "centered", "onesided", "asymep"):
            difference = RULES[rule](at).dW - gradient
            errors[name, rule] = np.linalg.norm(difference) / np.linalg.norm(gradient)
    assert errors["asymmetric", "asymep"] < 1e-3
    assert errors["asymmetric", "onesided"] < 1e-2
    assert errors["asymmetric", "centered"] > 0.05
    assert errors["asymmetric", "contrastive"] > 0.05
    assert all(errors["symmetric", rule] < 1e-3 for rule in ("contrastive", "centered"))


def test_a_neurons_own_outflow_counts_in_every_gradient_rule():
    """A symmetric J: ± nudging is right without a correction, but only with −γ δ_i."""
    lesson, b = lesson_of(LEAKY, 5, beta=1e-4, scale=0.1)
    W = lesson.W.copy()
    W[0, 3:, 3:] = (W[0, 3:, 3:] + W[0, 3:, 3:].T) / 2
    at = with_weights(lesson, W, b)
    gradient = RULES["adjoint"](at).dW
    assert np.linalg.norm(gradient) > 1e-3
    for rule in ("centered", "onesided", "asymep"):
        error = np.linalg.norm(RULES[rule](at).dW - gradient)
        assert error < 1e-3 * np.linalg.norm(gradient)
    missing = np.linalg.norm(RULES["contrastive"](at).dW - gradient)
    assert missing > 0.05 * np.linalg.norm(gradient)


def at_rest(states, speeds):
    """A field without synapses, and states with given speeds, one neuron each."""
    S, drive = np.array([[states]], dtype=float), np.array([[speeds]], dtype=float)
    n = len(states)
    return Field(np.zeros((1, n, n)), drive, np.zeros((1, n))), S


@pytest.mark.parametrize("speed", [-0.5, 0.0, 0.5])
def test_a_neuron_pushed_against_its_bound_is_saturated(speed):
    field, S = at_rest([0.0, 0.5, 1.0], [speed] * 3)
    assert saturated(field, S)[0, 0].tolist() == [speed < 0, False, speed > 0]


@pytest.mark.parametrize(
    ("speed", "none"), [(0.0, True), (-0.25, True), (0.25, True), (0.3, False)]
)
def test_a_corner_is_a_bound_without_a_push(speed, none):
    """Up to a tolerance of ¼, inclusive, for the distance and the speed."""
    states = [0.0, 0.25, 0.3, 0.7, 0.75, 1.0]
    field, S = at_rest(states, [speed] * 6)
    corner = [none and not 0.25 < state < 0.75 for state in states]
    assert at_corner(field, S, 0.25)[0, 0].tolist() == corner


@pytest.mark.parametrize(("slow", "delta"), [(1e-11, 0.5e11), (1e-13, 0.0)])
def test_singular_values_below_the_tolerance_count_as_zero(slow, delta):
    """Two neurons that decay at 1 and hardly: δ = (y − s) / decay, or the least, 0."""
    field, S = at_rest([0.5, 0.5], [0.0, 0.0])
    field.decay[:] = 1.0, slow
    found = adjoint_states(field, S, np.array([[1.0]]))
    np.testing.assert_allclose(found, [[[0.0, delta]]], rtol=1e-9)


@pytest.mark.parametrize("condition", [1e1, 1e4, 1e7, 1e9])
def test_an_adjoint_by_lu_is_that_by_the_pseudo_inverse(condition, rng):
    """On both sides of the guard, to a few roundings times the condition number."""
    field, S = at_rest([0.5] * 12, [0.0] * 12)
    left, right = (np.linalg.qr(rng.normal(size=(12, 12)))[0] for _ in "ab")
    transposed = left @ np.diag(np.geomspace(1, 1 / condition, 12)) @ right
    field.W[0] = transposed - np.diag(np.diag(transposed))
    field.decay[0] = -np.diag(transposed)
    found = adjoint_states(field, S, np.array([[1.0]]))[0, 0]
    expected = -0.5 * np.linalg.pinv(transposed, rcond=1e-14)[:, -1]
    error = 1e-15 * condition * np.abs(expected).max()
    np.testing.assert_allclose(found, expected, rtol=0, atol=error)


def test_a_singular_system_beside_others_has_the_solution_of_least_norm():
    """The second sample's first neuron is saturated, and what is left is singular."""
    field, S = at_rest([0.5, 0.5, 0.5], [0.0] * 3)
    field.W[0, 1:, 1:] = [[0.0, 1.0], [1.0, 0.0]]
    field.W[0, 2, 0] = field.W[0, 0, 2] = 2.0
    field.decay[0] = -1.0
    S, Y = S.repeat(2, axis=1), np.array([[1.0], [1.0]])
    field = replace(field, drive=np.array([[[0.0] * 3, [9.0, 0.0, 0.0]]]))
    S[0, 1, 0] = 1.0
    delta = adjoint_states(field, S, Y)
    alone = replace(field, drive=field.drive[:, :1])
    np.testing.assert_array_equal(delta[:, :1], adjoint_states(alone, S[:, :1], Y[:1]))
    transposed = field.W[0] + np.eye(3)
    assert np.linalg.matrix_rank(transposed) == 3
    np.testing.assert_allclose(transposed @ delta[0, 0], [0, 0, -0.5], atol=1e-15)
    # [[1, 1], [1, 1]] δ = (0, −½): in the mean −¼, and no part of (1, −1)
    np.testing.assert_allclose(delta[0, 1], [0.0, -0.125, -0.125], atol=1e-15)


def test_saturated_neurons_have_no_adjoint():
    lesson, _ = lesson_of(LEAKY, 3)
    N_X, n = lesson.problem.X.shape[1], lesson.free.S.shape[2]
    S = lesson.free.S.copy()
    S[0, 0] = 1.0
    drive = lesson.field.drive.copy()
    drive[0, 0] = 10.0  # every neuron pushes against 1 in the first sample
    field = replace(lesson.field, drive=drive)
    delta = adjoint_states(field, S, lesson.problem.Y)
    assert not delta[0, 0].any()
    assert delta[0, 1:].any()
    assert delta.shape == (1, 3, n)
    assert N_X == 3


def test_a_rest_point_that_is_not_isolated_has_the_gradient_of_least_norm():
    """Published DEEP without saturation: 1ᵀ J = 0, and no δ solves the equation."""
    lesson, _ = lesson_of(deep_nb.DEEP, 0)
    S = np.full_like(lesson.free.S, 0.5)
    delta = adjoint_states(lesson.field, S, lesson.problem.Y)
    transposed = lesson.field.W[0] - np.diag(lesson.field.decay[0])
    pull = np.zeros_like(S)
    pull[..., -2:] = lesson.problem.Y - 0.5
    expected = np.linalg.lstsq(transposed, -pull[0].T, rcond=1e-10)[0].T
    assert np.isfinite(delta).all()
    np.testing.assert_allclose(delta[0], expected, atol=1e-9)


def test_only_the_network_that_overflows_has_no_adjoint():
    """Of three networks one has an infinite decay, one a weight near the largest number."""
    lesson, _ = lesson_of(LEAKY, 3)
    field = lesson.field.of(np.zeros(3, dtype=int))
    field.decay[1], field.W[2, 0, 1] = np.inf, 1.7e308
    S = np.full_like(lesson.free.S, 0.5)
    with np.errstate(invalid="ignore", over="ignore"):
        delta = adjoint_states(field, np.repeat(S, 3, axis=0), lesson.problem.Y)
    np.testing.assert_array_equal(delta[0], adjoint_states(lesson.field, S, lesson.problem.Y)[0])
    assert np.isnan(delta[1:]).all()


@pytest.mark.parametrize("rule", RULES)
def test_weights_that_overflow_diverge_by_every_rule(rule):
    """ΔW = ±1 and dt_W so large that the sums of weights overflow before the weights do."""
    model = deep_nb.DEEP.replace(name="huge", rule=rule)
    with pytest.warns(RuntimeWarning, match="2 of 2 networks diverged"):
        run = deep_nb.train(
            model, "xor", seeds=range(2), hyper={**SHORT, "dt_W": 1e308}, sign=True, sparse=True,
            record=("weights",),
        )  # fmt: skip
    assert (run["diverged_epoch"] == 1).all()
    left = run["W_epochs"].values[:, 1]
    assert np.isfinite(left).all()
    assert (run["W_epochs"].values[:, 1:] == left[:, None]).all()
    assert (run["n_connections"] == np.count_nonzero(left, axis=(1, 2))[:, None]).all()


def test_stdp_equals_its_sum():
    model = deep_nb.DEEP.replace(hyper=deep_nb.DEEP.hyper.replace(beta_0=0.4, beta_1=0.9), leak=1.0)
    lesson, _ = lesson_of(model, 1, beta=5.0, T2=7, trajectory=True)
    change = RULES["stdp"](lesson)
    M, N_X = lesson.problem.X.shape
    path = change.nudged.trajectory[0]
    s = np.concatenate([np.broadcast_to(lesson.problem.X, (8, M, N_X)), path], axis=2)
    expected, of_bias = np.zeros_like(lesson.W[0]), np.zeros(len(lesson.W[0]))
    for t in range(1, 8):
        for m in range(M):
            v = 0.4 * s[t, m] + 0.9 * (s[t, m] - s[t - 1, m])
            v[:N_X] = 0
            expected += np.outer(s[t, m], v)
            of_bias += v
    np.testing.assert_allclose(change.dW[0], expected / (M * 7), atol=1e-13)
    np.testing.assert_allclose(change.db[0], of_bias / (M * 7), atol=1e-13)


def test_contrastive_equals_its_sum():
    lesson, _ = lesson_of(deep_nb.EP_asym, 2, beta=2.0, T2=50)
    change = RULES["contrastive"](lesson)
    nudged, dW, db = change.nudged, change.dW, change.db
    M, N_X = lesson.problem.X.shape
    before = np.hstack([lesson.problem.X, lesson.free.S[0]])
    difference = nudged.S[0] - lesson.free.S[0]
    assert difference.any()
    for i in range(before.shape[1]):
        for j in range(difference.shape[1]):
            expected = sum(before[m, i] * difference[m, j] for m in range(M)) / (2 * M)
            np.testing.assert_allclose(dW[0, i, N_X + j], expected, atol=1e-14)
    np.testing.assert_allclose(db[0, N_X:], difference.sum(axis=0) / (2 * M), atol=1e-14)
    assert not dW[0, :, :N_X].any()
    assert not db[0, :N_X].any()


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("model", ["DEEP", "DEEP_oh", "EP_asym"])
def test_every_rule_trains_every_model(rule, model):
    changed = deep_nb.MODELS[model].replace(name="changed", rule=rule)
    run = deep_nb.train(changed, "and", seeds=range(2), hyper={"n_epochs": 3, "beta": 0.5})
    assert not run["diverged"].any()
    if rule != "adjoint":  # an output saturated at 0 has gradient 0; nudging may free it
        assert (run["dW_norm"] > 0).any()
        assert (run["db_norm"] > 0).any() == changed.learned_bias
    again = deep_nb.train(**deep_nb.settings(run))
    assert_same(again, run)


@pytest.mark.parametrize("rule", ["onesided", "asymep", "adjoint"])
def test_gradients_need_a_clipped_rest_point(rule):
    with pytest.raises(ValueError, match=f"'{rule}' needs the activation 'hard_sigmoid'"):
        deep_nb.EP_asym.replace(rule=rule, activation="tanh")


def test_l1_shrinks_weights_towards_zero():
    W = np.array([[[0.0, 0.5], [-0.5, 0.0]]])
    shrunk = updated_weights(W, np.zeros_like(W), dt_W=1.0, reg_W=0.1)
    assert shrunk.tolist() == [[[0.0, 0.4], [-0.4, 0.0]]]
