"""Masks without opposite synapses, and the rules that replace or do without the correction."""

import dataclasses
from unittest import mock

import networkx as nx
import numpy as np
import pandas as pd
import pytest

import deep_nb
from deep_nb import analysis
from deep_nb.dynamics import free_field, nudged_field
from deep_nb.engines import get_engine
from deep_nb.experiments import common, contracting, corrections
from deep_nb.problem import Problem
from deep_nb.randomness import initial_states
from deep_nb.rules import Change, Lesson, adjoint, asymep, centered, learn, transposed_field
from deep_nb.topology import Layout, complete

from .conftest import refused

LAYOUT = Layout(2, True, (5,), 1)


def lesson(beta, model=deep_nb.contracting_DEEP, **hyper):
    """Networks of XOR with random weights, at their free rest point."""
    hyper = {"N_H": 4, "T1": 6000, "T2": 6000, "beta": beta, **hyper}
    problem = Problem.of(model, "xor", hyper)
    rng = np.random.default_rng(1)
    N = problem.layout.N
    W = np.where(problem.mask, rng.normal(0.05, 0.15, (3, N, N)), 0.0)
    b = np.full((3, N), 0.3 * problem.model.learned_bias)  # away from the clip
    field = free_field(W, b, problem.X, problem.model)
    stream = np.random.RandomState(0)
    S = np.array([initial_states(stream, 4, problem.layout) for _ in range(3)])
    relax = get_engine("auto", problem.layout.n_free, "hard_sigmoid")
    free = relax(field, S, problem.phases()[0])
    return Lesson(problem, W, field, free, relax)


@pytest.mark.parametrize("seed", range(5))
def test_a_mask_without_reciprocal_pairs_is_acyclic_and_ends_with_the_output(seed):
    mask = corrections.graded_mask(LAYOUT, 0.0, seed)
    free = mask[3:, 3:]
    assert nx.is_directed_acyclic_graph(nx.from_numpy_array(free, create_using=nx.DiGraph))
    assert free.sum() == 15  # every pair once
    assert free[:, -1].sum() == 5
    assert not free[-1].any()
    assert mask[:3, 3:].all()
    assert not mask[:, :3].any()


@pytest.mark.parametrize(("reciprocal", "pairs"), [(0.5, 8), (1 / 3, 5), (1.0, 15)])
def test_a_share_of_pairs_is_reciprocal(reciprocal, pairs):
    mask = corrections.graded_mask(LAYOUT, reciprocal, 7)
    free = mask[3:, 3:]
    assert (free & free.T).sum() == 2 * pairs
    assert (free | free.T).sum() == 30
    one_way = corrections.graded_mask(LAYOUT, 0.0, 7)
    assert mask[one_way].all()
    if reciprocal == 1:
        np.testing.assert_array_equal(mask, complete(LAYOUT))


def test_masks_differ_between_seeds():
    masks = [corrections.graded_mask(LAYOUT, 0.5, seed) for seed in range(10)]
    assert len({mask.tobytes() for mask in masks}) == 10


@pytest.mark.parametrize("model", [deep_nb.contracting_DEEP, deep_nb.EP_asym])
def test_the_dyadic_rule_follows_mean_and_difference(model):
    """Against its two equations, integrated by hand, where nothing is clipped."""
    beta = 0.2
    of = lesson(beta, model.replace(rule="asymep"), T2=40)
    field, Y, n = of.field, of.problem.Y, of.free.S.shape[2]
    m, d = of.free.S.copy(), np.zeros_like(of.free.S)
    for _ in range(40):
        error = np.zeros_like(m)
        error[..., -1:] = Y - m[..., -1:]
        dm = m @ field.W + field.drive - m * field.decay[:, None]
        dd = d @ field.W.transpose(0, 2, 1) - d * field.decay[:, None] + beta * error
        m, d = m + 0.05 * dm, d + 0.05 * dd
    inside = (abs(m - 0.5) + abs(d) / 2 < 0.5).all(axis=2)
    assert inside.any()
    S = corrections.dyadic(of).nudged.S
    mean, difference = (S[..., :n] + S[..., n:]) / 2, S[..., :n] - S[..., n:]
    # sums of different order, over 40 steps
    np.testing.assert_allclose(mean[inside], m[inside], atol=1e-13)
    np.testing.assert_allclose(difference[inside], d[inside], atol=1e-13)


def test_the_dyadic_rule_is_the_gradient_at_any_nudging_where_nothing_is_clipped():
    of = lesson(0.3, deep_nb.EP_asym.replace(rule="asymep"))
    change, gradient = corrections.dyadic(of), adjoint(of)
    S = of.free.S
    unclipped = ((S > 0) & (S < 1)).all(axis=(1, 2))
    assert unclipped.any()
    np.testing.assert_allclose(change.dW[unclipped], gradient.dW[unclipped], atol=1e-9)
    assert abs(centered(of).dW - gradient.dW)[unclipped].max() > 1e-3


def test_homeostasis_descends_the_asymmetry_of_the_jacobian():
    """Against differences of half of ‖J − Jᵀ‖²_F / 2, over the free weights."""
    of = lesson(0.1)
    pull = corrections.homeostatic(of).dW - centered(of).dW

    def asymmetry(W):
        J = free_field(W, np.zeros(W.shape[:2]), of.problem.X, of.problem.model)
        J = J.W.transpose(0, 2, 1) - J.decay[:, :, None] * np.eye(J.W.shape[1])
        return ((J - J.transpose(0, 2, 1)) ** 2).sum(axis=(1, 2)) / 4

    step = 1e-6
    for i, j in ((3, 4), (4, 3), (7, 3), (0, 5)):
        up, down = of.W.copy(), of.W.copy()
        up[:, i, j] += step
        down[:, i, j] -= step
        slope = (asymmetry(up) - asymmetry(down)) / (2 * step)
        # rounding of a sum of order 1, divided by 2e-6
        np.testing.assert_allclose(pull[:, i, j], -corrections.HOMEOSTASIS * slope, atol=1e-10)
    assert not pull[:, :3].any()


def test_the_noise_estimate_of_homeostasis_has_the_expectation_that_is_used(rng):
    J = rng.normal(size=(4, 4))
    noise = rng.normal(size=(4, 200_000))
    response = J @ noise
    estimate = (response**2 - noise * (J @ response)).sum(axis=0)
    exact = ((J - J.T) ** 2).sum() / 2
    # five standard errors
    assert abs(estimate.mean() - exact) < 5 * estimate.std() / np.sqrt(200_000)


@pytest.mark.parametrize(
    ("model", "rule"),
    [(deep_nb.contracting_DEEP, "asymep"), (deep_nb.EP_asym, "contrastive")],
)
def test_training_by_a_function_is_training_by_its_name(model, rule):
    model = model.replace(rule=rule)
    hyper = {"N_H": 5, "beta": 3.0, "dt_W": 2.0, "n_epochs": 60, "T1": 300, "T2": 300}
    run = deep_nb.train(model, "or", seeds=range(4), hyper=hyper)
    problem = Problem.of(model, "or", hyper)
    masks = np.broadcast_to(problem.mask, (4, *problem.mask.shape))
    learned = corrections.train_by(corrections.RULES[rule], problem, masks, range(4))
    np.testing.assert_array_equal(learned, analysis.learned(run))
    assert 0 < learned.sum() < learned.size


def test_training_keeps_absent_synapses_absent():
    problem = Problem.of(deep_nb.contracting_DEEP, "xor", {"N_H": 5, "n_epochs": 3})
    masks = np.array([corrections.graded_mask(problem.layout, 0.0, seed) for seed in range(2)])
    seen = []

    def rule(of):
        seen.append(of.W)
        return corrections.homeostatic(of)

    corrections.train_by(rule, problem, masks, [0, 1])
    assert len(seen) == 3
    for W in seen:
        np.testing.assert_array_equal(W != 0, masks)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda _: None, "what a rule returns must be of type Change, got None"),
        (
            lambda of: Change(of.free, np.zeros((2, 6, 6)), np.zeros((2, 6))),
            "dW of a rule must have shape (2, 8, 8), got (2, 6, 6)",
        ),
        (
            lambda of: Change(of.free, np.zeros((1, 8, 8)), np.zeros((1, 8))),
            "dW of a rule must have shape (2, 8, 8), got (1, 8, 8)",
        ),
    ],
)
def test_what_a_rule_returns_must_fit_the_weights(change, message):
    problem = Problem.of("EP_asym", "xor", {"n_epochs": 1, "T1": 5, "T2": 5})
    masks = np.broadcast_to(problem.mask, (2, 8, 8))
    with refused(message):
        corrections.train_by(change, problem, masks, [0, 1])


def test_on_an_acyclic_mask_only_the_correction_reaches_hidden_neurons():
    of = lesson(0.01)
    mask = corrections.graded_mask(of.problem.layout, 0.0, 0)
    W = of.W * mask
    state = mock.Mock(W=W, b=np.zeros(W.shape[:2]), S=of.free.S)
    norms = {}
    for rule in ("centered", "asymep", "adjoint"):
        model = of.problem.model.replace(rule=rule)
        problem = Problem.of(model, "xor", of.problem.hyper, topology=mask)
        change = learn(problem, state, of.relax)[1]
        norms[rule] = np.abs(change.dW[:, :, 3:-1]).max()
    assert norms["centered"] == 0.0
    assert norms["asymep"] == pytest.approx(norms["adjoint"], rel=1e-2)


@pytest.mark.slow
def test_a_search_over_masks_counts_networks_that_learn_xor():
    with (
        mock.patch.object(corrections, "RULES", {"asymep": asymep, "adjoint": adjoint}),
        mock.patch.object(deep_nb.experiments.gradients, "POWERS", range(2)),
    ):
        found = corrections.search([1.0], range(2), 80)
    pairs = found[["rule", "beta"]].drop_duplicates().to_numpy().tolist()
    assert pairs == [["asymep", 0.2], ["asymep", 1.0], ["adjoint", 0.2]]
    assert (found["reciprocal"] == 1).all()
    row = found[(found["beta"] == 1.0) & (found["rate"] == 3.0)].iloc[0]
    hyper = {"N_H": 5, "beta": 1.0, "dt_W": 3.0, "n_epochs": 80}
    run = deep_nb.train(deep_nb.contracting_DEEP, "xor", seeds=range(2), hyper=hyper)
    reached = analysis.learned(run).values
    first = [np.flatnonzero(network)[0] if network.any() else 80 for network in reached]
    assert (row["learned"], row["epochs"]) == (reached[:, -1].sum(), np.median(first))
    assert row["learned"] > 0


def test_every_rule_has_a_rate_for_every_mask():
    assert {*corrections.TUNED} == {*corrections.RULES}
    assert {*corrections.STYLES} == {*corrections.RECIPROCAL}
    for rule, rates in corrections.TUNED.items():
        betas = 1 if rule == "adjoint" else len(corrections.BETAS)
        assert np.shape(rates) == (betas, len(corrections.RECIPROCAL))


def test_masked_networks_are_judged_at_their_own_setting():
    with mock.patch.object(corrections, "train_masked") as trained:
        trained.return_value = np.array([[True, False], [False, True], [True, True]])
        judged = corrections.judge([0.5], range(3), 2)
    assert (judged["learned"] == 2).all()
    assert judged["rule"].tolist() == [rule for rule in corrections.RULES for _ in "ab"]
    assert judged["beta"].tolist() == [*corrections.BETAS] * len(corrections.RULES)
    calls = [call.args for call in trained.call_args_list]
    assert len(calls) == 2 * len(corrections.RULES) - 1  # the gradient does not depend on β
    for rule, reciprocal, hyper, seeds in calls:
        row = corrections.BETAS.index(hyper["beta"])
        assert hyper["dt_W"] == corrections.TUNED[rule][row][1]
        assert (reciprocal, hyper["n_epochs"], seeds) == (0.5, 2, range(3))


def test_masked_rows_as_text():
    rows = [("centered", 0.0, 0.2, 0.3, 0), ("centered", 1.0, 0.2, 1.0, 20)]
    rows += [("asymep", 0.0, 1.0, 3.0, 3), ("asymep", 1.0, 1.0, 0.1, 20)]
    columns = ["rule", "reciprocal", "beta", "dt_W", "learned"]
    table = corrections.show(pd.DataFrame(rows, columns=columns), 20)
    zero, some = (common.percent(analysis.share(k, 20)) for k in (0, 3))
    assert table.columns.tolist() == [
        "rule", "transport", "β", "proved", "0% reciprocal", "100% reciprocal"
    ]  # fmt: skip
    assert table.to_numpy().tolist() == [
        ["centered", "no", "0.2", "yes", f"{zero} (0.3)", "100% [84%, 100%] (1)"],
        ["asymep", "yes", "1", "not at −β", f"{some} (3)", "100% [84%, 100%] (0.1)"],
    ]


def test_phases_are_proved_to_contract_unless_one_is_at_minus_beta_above_the_leak():
    rows = [(rule, 1.0, beta, 0.1, 0) for rule in corrections.RULES for beta in (0.2, 1.0)]
    columns = ["rule", "reciprocal", "beta", "dt_W", "learned"]
    table = corrections.show(pd.DataFrame(rows, columns=columns), 5)
    proved = dict(zip(zip(table["rule"], table["β"], strict=True), table["proved"], strict=True))
    assert {proved[rule, "0.2"] for rule in corrections.RULES if rule != "dyadic"} == {"yes"}
    above = {rule: proved[rule, "1"] for rule in corrections.RULES}
    both = "not at −β"
    assert above == {
        "contrastive": "yes", "centered": both, "homeostatic": both, "onesided": "yes",
        "dyadic": "open", "asymep": both, "adjoint": "yes",
    }  # fmt: skip


@pytest.mark.parametrize("beta", [0.2, 1.0, 50.0])
def test_the_one_sided_phase_contracts_at_every_nudging(beta):
    """Two states of its phase come closer in ℓ∞ at each step, by at least 1 − dt λ."""
    of = lesson(beta)
    before = np.random.default_rng(0).random((2, *of.free.S.shape))
    dt = of.problem.hyper.dt / (1 + beta)  # small enough for the decay
    phase = dataclasses.replace(of.problem.phases()[1], T=1, dt=dt)
    field = nudged_field(transposed_field(of.field, of.free.S), beta, of.problem.Y)
    after = [of.relax(field, S, phase).S for S in before]
    shrunk = abs(after[0] - after[1]).max(axis=2) / abs(before[0] - before[1]).max(axis=2)
    assert (shrunk <= 1 - dt * 0.25 + 1e-12).all()


@pytest.mark.slow
def test_an_acyclic_network_is_settled_by_both_rules_and_learned_by_the_one_sided():
    """AND on five acyclic masks: all certified, and only `onesided` learns it on each."""
    counts = {}
    for model in (deep_nb.contracting_DEEP, deep_nb.fast_contracting_DEEP):
        model = model.replace(hyper=model.hyper.replace(N_H=9, n_epochs=100))
        found = contracting.learn_on("acyclic", model, "and", range(2100, 2105))
        assert found["certified"].all()
        counts[model.rule] = int(found["learned"].sum())
    assert counts["onesided"] == 5 > counts["asymep"]


@pytest.mark.parametrize("name", ["contracting DEEP", "fast contracting DEEP"])
def test_what_suits_an_architecture_depends_on_the_model(name):
    model = deep_nb.MODELS[name]
    suits = contracting.SUITED if name == "contracting DEEP" else contracting.SUITED_FAST
    own = contracting.suited(model, "random")
    assert list(own.hyper.N_H) == [suits["random"]["N_H"]]
    assert (own.hyper.beta, own.hyper.dt_W) == (suits["random"]["beta"], suits["random"]["dt_W"])
    assert own.leak == suits["random"].get("leak", model.leak)
    assert own.replace(leak=model.leak, hyper=model.hyper) == model
    verdicts = mock.Mock(return_value={"learned": np.ones(2, bool), "certified": np.ones(2, bool)})
    with mock.patch.object(contracting, "learn_on", verdicts):
        table = contracting.compare_architectures(model, ["or"], range(2))
    tried = table.loc[table["setting"] == "suited", "architecture"].tolist()
    assert tried == [*suits]
