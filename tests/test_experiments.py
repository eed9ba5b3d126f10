"""What notebooks compute, each function against an independent computation."""

import copy
import itertools
import math
import warnings
from unittest import mock

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy import stats
from sklearn.base import clone
from sklearn.datasets import load_digits, load_iris
from sklearn.model_selection import ParameterGrid, StratifiedKFold
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

import deep_nb
from deep_nb import analysis
from deep_nb.claims import read_claims, read_sources
from deep_nb.experiments import (
    claims,
    common,
    errata,
    gradients,
    real_data,
    sparsity,
    stability,
)
from deep_nb.run import sealed

BRIEF = {"T1": 40, "T2": 30}
STRONG = {
    "leaky DEEP": {"beta": 3.0, "dt_W": 0.5},
    "EP dynamics": {"beta": 4.0, "dt_W": 3.5},
}


@pytest.fixture(scope="module")
def leaky():
    """Networks of leaky DEEP, which a large leak certifies."""
    model = deep_nb.DEEP.replace(name="leaky DEEP", leak=1.0)
    hyper = {"n_epochs": 10, "T1": 300, "T2": 200}
    return deep_nb.train(model, "or", seeds=range(4), hyper=hyper, record=("weights",))


@pytest.fixture(scope="module")
def asymep():
    """Networks of both models that learn OR by `asymep`."""
    return {
        name: deep_nb.train(
            gradients.MODELS[name],
            "or",
            seeds=range(5),
            hyper={**hyper, "n_epochs": 20},
            record=("weights",),
        )
        for name, hyper in STRONG.items()
    }


def at_criterion(run):
    """Whether each network meets the criterion in each epoch."""
    return (run["mse_free"].values < 0.01) & (run["class_error_free"].values == 0)


def free_neurons(run):
    return np.flatnonzero([name[0] in "hy" for name in run["neuron"].values])


def euler(run, seed, start, X, dt, T):
    """Follow a DEEP network's free phase in plain Python: states over (T + 1, sample, free)."""
    W = run["W"].sel(seed=seed).values
    free = free_neurons(run)
    clamped = np.column_stack([X, np.ones(len(X))])
    states = [start]
    for _ in range(T):
        s = np.column_stack([clamped, states[-1]])
        inflow = s @ W[:, free]
        ds = inflow - states[-1] * W[free].sum(axis=1)
        states.append(np.clip(states[-1] + dt * ds, 0, 1))
    return np.array(states)


# What several experiments share


def test_learned_share_is_of_the_last_epoch():
    run = deep_nb.train("DEEP", "or", seeds=range(8), hyper={"n_epochs": 10})
    reached = at_criterion(run)
    assert 0 < reached[:, -1].sum() < reached.any(axis=1).sum()
    assert common.learned_count(run) == reached[:, -1].sum()
    assert common.learned_share(run).value == reached[:, -1].mean()


def test_a_share_as_text():
    estimate = analysis.share(3, 20)
    assert common.percent(estimate) == "15% [5%, 36%]"
    assert common.percent(estimate, 4) == " 15% [5%, 36%]"


def test_free_states_leave_out_inputs_and_bias(short_run):
    states = common.free_states(short_run["S_free"])
    assert states["neuron"].values.tolist() == ["h0", "h1", "h2", "h3", "h4", "y0"]
    np.testing.assert_array_equal(states, short_run["S_free"][..., 3:])


# Gradients


def flat(run, rule, beta, epoch=10):
    hyper = {**gradients.LONG, "beta": beta}
    return analysis.rule_change(run, rule, epoch, hyper).dW.reshape(run.sizes["seed"], -1)


def test_the_error_of_asymep_falls_with_the_square_of_beta(asymep):
    for run in asymep.values():
        error = gradients.gradient_error(run, [1e-4, 1e-3]).sel(rule="asymep").values
        assert 50 < error[1] / error[0] < 200
        gradient, change = flat(run, "adjoint", 1e-3), flat(run, "asymep", 1e-3)
        some = gradient.any(axis=1)
        distance = np.linalg.norm(change - gradient, axis=1)[some]
        relative = distance / np.linalg.norm(gradient, axis=1)[some]
        np.testing.assert_allclose(error[1], np.median(relative), rtol=1e-12)


@pytest.mark.parametrize("rule", ["stdp", "contrastive"])
def test_the_error_of_published_rules_is_that_of_their_direction(asymep, rule):
    """A change scaled to the gradient's length misses it by 2 sin(θ / 2) of that length."""
    for run in asymep.values():
        a, b = flat(run, rule, 1e-3, 20), flat(run, "adjoint", 1e-3, 20)
        some = b.any(axis=1)
        assert 0 < some.sum() < len(some)
        pairs = zip(a[some], b[some], strict=True)
        angles = [np.arccos(x @ y / np.sqrt((x @ x) * (y @ y))) for x, y in pairs]
        error = gradients.gradient_error(run, [1e-3], epoch=20).sel(rule=rule).item()
        np.testing.assert_allclose(error, np.median(2 * np.sin(np.divide(angles, 2))), rtol=1e-9)


def test_angles_over_epochs_are_of_long_phases(asymep):
    run = asymep["EP dynamics"]
    angles = gradients.angles_over_epochs(run, [5, 20])
    expected = analysis.angle_to_gradient(run, gradients.LOCAL, [5, 20], {"T1": 5000, "T2": 5000})
    xr.testing.assert_identical(angles, expected)
    assert np.isfinite(angles).any()


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("name", ["leaky DEEP", "EP dynamics"])
def test_symmetrizing_mixes_the_free_block_only(asymep, name, alpha):
    run = asymep[name]
    variant = gradients.symmetrized(run, 5, alpha)
    before = run["W_epochs"].sel(snapshot=5).values
    names = run["pre"].values
    for k, i, j in np.ndindex(before.shape):
        W = before[k, i, j]
        if names[i][0] in "hy" and names[j][0] in "hy":
            W = (1 - alpha / 2) * W + alpha / 2 * before[k, j, i]
        assert variant["W"].values[k, i, j] == pytest.approx(W, abs=1e-15)
    assert run["b_epochs"].sel(snapshot=5).values.any() == (name == "EP dynamics")
    np.testing.assert_array_equal(variant["b"], run["b_epochs"].sel(snapshot=5))


def test_angles_over_symmetry_are_of_networks_with_a_gradient_everywhere(asymep):
    run, alphas = asymep["leaky DEEP"], [0.0, 0.5, 1.0]
    angles = gradients.angles_over_symmetry(run, 20, alphas)
    hyper = {**gradients.LONG, "beta": 1e-3}
    as_trained = analysis.angle_to_gradient(run, gradients.LOCAL, [20], hyper).isel(snapshot=0)
    chosen = as_trained.sel(seed=angles["seed"])
    np.testing.assert_array_equal(angles.sel(alpha=0.0), chosen.transpose(*angles.dims[1:]))
    assert angles.sel(alpha=1.0, rule=["centered", "asymep"]).max() < 0.1
    assert angles.sel(alpha=0.0, rule="centered").min() > 0.1
    finite = [
        analysis.angle_to_gradient(
            gradients.symmetrized(run, 20, alpha), gradients.LOCAL, hyper=hyper
        )
        .notnull()
        .all(["rule", "snapshot"])
        .values
        for alpha in alphas
    ]
    kept = run["seed"].values[np.all(finite, axis=0)]
    assert 0 < len(kept) < run.sizes["seed"]
    assert angles["seed"].values.tolist() == kept.tolist()


def test_a_learning_rate_moves_weights_alike_by_stdp_and_contrastive():
    """With dt_W of the same rate, both change W by about the rate times s_i δ_j."""
    run = deep_nb.train("EP_asym", "or", seeds=[0], hyper={"n_epochs": 5, "beta": 0.1})
    moved = {}
    for rule in ("stdp", "contrastive"):
        hyper = gradients.setting(rule, 0.3, 0.1)
        assert hyper["beta"] == 0.1
        moved[rule] = hyper["dt_W"] * analysis.rule_change(run, rule).dW
    sizes = [np.linalg.norm(of) for of in moved.values()]
    assert sizes[0] == pytest.approx(sizes[1], rel=0.05)  # presynaptic states move a little
    assert gradients.setting("asymep", 0.3, 0.1)["dt_W"] == 0.3


def test_rates_are_evenly_spaced_on_a_log_axis():
    rates = [gradients.rate(power) for power in gradients.POWERS]
    assert rates == [0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0]
    assert (gradients.rate(3), gradients.rate(-5)) == (30.0, 0.003)


def test_every_rule_has_a_rate_of_the_grid_at_every_beta():
    grid = [gradients.rate(power) for power in range(-10, 10)]
    assert [*gradients.TUNED] == [*gradients.MODELS]
    for of in gradients.TUNED.values():
        assert {*of} == {*gradients.LOCAL, "adjoint"}
        for rule, rates in of.items():
            assert len(rates) == (1 if rule == "adjoint" else len(gradients.BETAS))
            assert set(rates) <= {*grid}
    setting = gradients.tuned("EP dynamics", "asymep", 0.1)
    assert setting == {"beta": 0.1, "dt_W": gradients.TUNED["EP dynamics"]["asymep"][2]}


def test_a_search_goes_on_until_the_best_is_inside():
    learned = {power: 10 - abs(power - 5) for power in range(-10, 12)}
    asked = []

    def tried(power):
        asked.append(power)
        return max(learned[power], 0), 100.0

    found = gradients.extended(tried)
    assert asked == [*range(-4, 7)]
    assert gradients.best(found) == 5
    downwards = gradients.extended(lambda power: (max(9 - abs(power + 6), 0), 100.0))
    assert (min(downwards), gradients.best(downwards)) == (-7, -6)
    assert [*gradients.extended(lambda power: (0, 100.0))] == [*gradients.POWERS]


def test_fewer_epochs_decide_between_equals_and_then_the_smaller_rate():
    assert gradients.best({0: (5, 90.0), 1: (5, 80.0), 2: (5, 80.0), 3: (4, 10.0)}) == 1
    rows = [("a", 0.1, 3.0, 5, 80.0), ("a", 0.1, 1.0, 5, 80.0), ("a", 0.1, 0.3, 5, 90.0)]
    rows += [("b", 0.1, 1.0, 0, 90.0), ("a", 1.0, 1.0, 2, 90.0), ("a", 1.0, 3.0, 3, 90.0)]
    found = pd.DataFrame(rows, columns=["rule", "beta", "rate", "learned", "epochs"])
    chosen = gradients.choose(found)[["rule", "beta", "rate"]].to_numpy().tolist()
    assert chosen == [["a", 0.1, 1.0], ["b", 0.1, 1.0], ["a", 1.0, 3.0]]


@pytest.mark.slow
def test_a_search_counts_networks_that_learn_xor(tmp_path):
    with mock.patch.object(gradients, "POWERS", range(1, 3)):
        found = gradients.search(["EP dynamics"], [3.0], range(2), 60, tmp_path)
    assert any(tmp_path.iterdir())  # checkpoints
    assert found["rule"].unique().tolist() == [*gradients.LOCAL, "adjoint"]
    assert set(found["rate"]) >= {3.0, 10.0}
    for row in found.itertuples():
        hyper = {**gradients.setting(row.rule, row.rate, 3.0), "n_epochs": 60}
        model = deep_nb.EP_asym.replace(rule=row.rule)
        reached = at_criterion(deep_nb.train(model, "xor", seeds=range(2), hyper=hyper))
        first = [np.flatnonzero(network)[0] if network.any() else 60 for network in reached]
        assert (row.learned, row.epochs) == (reached[:, -1].sum(), np.median(first))
    assert found["learned"].max() > found["learned"].min()


@pytest.mark.slow
def test_networks_are_judged_at_their_own_setting():
    judged = gradients.judge(["EP dynamics"], [0.3, 3.0], range(3), 40)
    pairs = [*itertools.product(gradients.LOCAL, [0.3, 3.0]), ("adjoint", 0.3)]
    assert [*zip(judged["rule"], judged["beta"], strict=True)] == pairs
    assert (judged["model"] == "EP dynamics").all()
    row = judged[(judged["rule"] == "asymep") & (judged["beta"] == 3.0)].iloc[0]
    hyper = {**gradients.tuned("EP dynamics", "asymep", 3.0), "n_epochs": 40}
    model = deep_nb.EP_asym.replace(rule="asymep")
    run = deep_nb.train(model, "xor", seeds=range(3), hyper=hyper, record=("weights",))
    looks = [5, 8, 14, 23, 40]
    assert gradients.looks(40) == looks
    angles = analysis.angle_to_gradient(run, ["asymep"], looks, gradients.LONG)
    assert row["dt_W"] == hyper["dt_W"]
    assert row["learned"] == at_criterion(run)[:, -1].sum()
    assert row["angle"] == np.nanmedian(angles)
    assert row["with gradient"] == np.isfinite(angles).mean()
    assert row["certified"] == gradients.certified(run, looks).sum()
    assert (judged.loc[judged["rule"] == "adjoint", "angle"] == 0).all()


def test_looks_are_epochs_of_the_run():
    assert gradients.looks(1) == [1]
    assert gradients.looks(3) == [3]
    assert gradients.looks(500) == [5, 15, 50, 158, 500]


@pytest.mark.parametrize(
    ("rule", "beta", "expected"),
    [
        ("asymep", 0.24, True),
        ("asymep", 0.26, False),
        ("centered", 0.24, True),
        ("centered", 3.0, False),
        ("contrastive", 3.0, True),
        ("stdp", 3.0, True),
        ("adjoint", 3.0, True),
    ],
)
def test_phases_of_contracting_networks_are_certified_below_the_leak(rule, beta, expected):
    """Σ|W| and a leak λ let J + β on an output contract exactly if β < λ.

    Above λ, a network whose output receives nothing has a phase at −β that does not contract.
    """
    model = gradients.MODELS["contracting DEEP"].replace(rule=rule)
    hyper = {"n_epochs": 3, "beta": beta, "dt_W": 0.1, **BRIEF}
    run = deep_nb.train(model, "xor", seeds=range(3), hyper=hyper, record=("weights",))
    run["W_epochs"].values[..., -1] = 0.0
    run["W_epochs"].values[..., -1, :] = 0.0
    assert gradients.certified(run, [1, 3]).tolist() == [expected] * 3
    assert not gradients.certified(run.assign(diverged=run["diverged"] | True), [1]).any()


def test_a_step_that_is_too_long_is_not_certified():
    model = gradients.MODELS["contracting DEEP"]
    hyper = {"n_epochs": 2, "dt": 9.0, **BRIEF}
    run = deep_nb.train(model, "xor", seeds=range(2), hyper=hyper, record=("weights",))
    assert not gradients.certified(run, [1]).any()


def test_certified_phases_bring_two_states_together():
    """Of each rule's own fields: the distance falls in the norm of the certificate."""
    model = gradients.MODELS["contracting DEEP"]
    hyper = {**gradients.tuned("contracting DEEP", "asymep", 0.1), "n_epochs": 10}
    run = deep_nb.train(model, "xor", seeds=[3], hyper=hyper, record=("weights",))
    assert gradients.certified(run, [10]).all()
    J, n = analysis.jacobian(run)[0], 15
    outputs = np.eye(n)[-1]
    D = analysis.diagonal_certificate(J + 0.1 * np.diag(outputs))
    for matrix, weights in ((J, D), (J.T, 1 / D)):
        for nudge in (0.0, 0.1, -0.1):
            step = np.eye(n) + 0.05 * (matrix - nudge * np.diag(outputs))
            away = np.random.default_rng(0).normal(size=(n, 50))
            after = step @ away
            assert (weights @ after**2 < weights @ away**2).all()


def test_judged_rows_as_text():
    rows = [
        ["EP dynamics", "stdp", 0.1, 3000.0, 3, 16.4, 0.5, 0],
        ["EP dynamics", "adjoint", 0.1, 0.3, 20, np.nan, 0.0, 10],
    ]
    columns = ["model", "rule", "beta", "dt_W", "learned", "angle", "with gradient", "certified"]
    table = gradients.show(pd.DataFrame(rows, columns=columns), 20)
    assert table.to_numpy().tolist() == [
        ["EP dynamics", "stdp", "0.1", "3000", "15% [5%, 36%]", "16°", "50%", "0%"],
        ["EP dynamics", "adjoint", "any", "0.3", "100% [84%, 100%]", "none", "0%", "50%"],
    ]
    assert table.columns.tolist()[2:] == [
        "β", "dt_W", "learned of 20", "angle", "exists", "certified"
    ]  # fmt: skip


# Claims


@pytest.fixture
def networks():
    rows = [
        ("DEEP", "xor", False, 4, 2.0),
        ("DEEP", "xor", False, 4, np.nan),
        ("DEEP", "xor", True, 4, 0.0),
        ("EP_asym", "xor", False, 4, np.nan),
        ("EP_asym", "or", False, 4, 3.0),
        ("DEEP", "or", False, 4, 0.0),
        ("DEEP", "or", False, 4, 2.0),
        ("DEEP", "or", False, 4, 2.0),
        ("DEEP_oh", "xor", False, 4, 0.0),
    ]
    names = ["model", "task", "pruned", "n_epochs", "epochs"]
    table = pd.DataFrame(rows, columns=names).assign(layered=False)
    layered = table.iloc[[0]].assign(layered=True)
    return pd.concat([table, layered, table.iloc[[0]].assign(model="DEEP, λ = 1.0")])


def test_networks_that_reach_the_criterion_are_counted(networks):
    found = claims.reached(networks)
    assert found.loc["xor"].reset_index().to_numpy().tolist() == [
        ["DEEP", 1, 2.0],
        ["DEEP_oh", 1, 0.0],
    ]
    assert found.loc["or"].reset_index().to_numpy().tolist() == [
        ["EP_asym", 1, 3.0],
        ["DEEP", 3, 2.0],
    ]


def test_readable_points_that_are_inside_are_counted():
    rows = [
        ("a", "mean", 1, 0.1, 0.05, 0.15, True, 0.4),
        ("a", "mean", 2, np.nan, 0.1, 0.2, False, 0.4),
        ("a", "mean", 3, 0.2, 0.1, 0.15, False, 0.4),
        ("a", "median", 1, 0.1, 0.0, 0.1, True, 0.4),
        ("b", "mean", 1, 0.051, 0.104, 0.2, False, 0.9),  # 0.1 and 0.051 are near the other's ends
        ("b", "mean", 2, 0.3, 0.2, 0.4, True, 0.9),
        ("b", "mean", 3, 0.12, 0.1, 0.195, True, 0.9),
    ]
    names = ["source", "statistic", "epoch", "published", "low", "high", "inside", "wholly_inside"]
    strictly = [True, False, False, False, False, False, True]
    found = claims.inside(pd.DataFrame(rows, columns=names).assign(strictly=strictly))
    assert list(found) == ["points", "inside", "strictly", "other", "chance"]
    assert found.reset_index().to_numpy().tolist() == [
        ["a", "mean", 2, 1, 1, 1, 0.4], ["a", "median", 1, 1, 0, 0, 0.4],
        ["b", "mean", 3, 2, 1, 2, 0.9],
    ]  # fmt: skip


def test_the_summary_says_what_symbols_do_not():
    row = {"task": "xor", "verdict": "reproduced", "refuted_at": "", "near_settings": 27}
    row |= {"at_best": "", "p": 0.001, "p_holm": 0.01}
    table = pd.DataFrame(
        [
            {**row, "id": "1", "refuted_at": "β × 3.2; β ÷ 3.2", "at_best": "not reproduced"},
            {**row, "id": "2", "at_best": "reproduced"},
            {**row, "id": "3", "verdict": "inconclusive", "p": 0.049, "p_holm": 0.2},
            {**row, "id": "4", "verdict": "inconclusive", "p": 0.06, "p_holm": 0.2},
            {**row, "id": "5", "verdict": "not reproduced", "refuted_at": "β × 3.2", "p": np.nan},
        ]
    )
    assert claims.summary(table).splitlines() == [
        "2 reproduced, 2 inconclusive, 1 not reproduced",
        "1 on XOR: reproduced, but refuted at 2 of 27 settings near the published one",
        "1 on XOR: reproduced, each at its best not reproduced",
        "3 on XOR: p = 0.049 by itself, 0.2 corrected",
    ]


def test_printed_tests_are_counted_without_runaways():
    columns = ["model", "task", "negative_diagonal", "gershgorin_rows", "gershgorin_columns"]
    rows = [
        ("DEEP", "xor", True, False, False),
        ("DEEP", "xor", True, True, False),
        ("DEEP", "or", True, True, True),
        ("DEEP_oh", "xor", True, True, True),
        ("EP_asym", "xor", True, False, True),
    ]
    table = pd.DataFrame(rows, columns=columns).assign(pruned=False, layered=False)
    table["step_is_stable"] = table["model"] != "DEEP_oh"
    more = pd.concat([table, table.assign(pruned=True), table.assign(layered=True)])
    assert claims.printed_tests(more).T.to_dict("list") == {
        "DEEP": [2, 2, 1, 0], "EP_asym": [1, 1, 0, 1], "DEEP_oh": [0, 0, 0, 0],
    }  # fmt: skip


def test_learning_with_and_without_pruning_is_cross_tabulated_by_seed():
    seeds = {"xor": [(1, 1), (1, 0), (1, 0), (0, 1), (0, 0), (0, 0)], "id": [(1, 1)]}
    rows = [
        ("DEEP", task, bool(pruned), seed, bool(pair[pruned]))
        for task, pairs in seeds.items()
        for pruned in (1, 0)
        for seed, pair in (enumerate(pairs) if pruned else reversed([*enumerate(pairs)]))
    ]
    rows.append(("EP_asym", "xor", False, 0, False))
    names = ["model", "task", "pruned", "seed", "learned_after"]
    table = pd.DataFrame(rows, columns=names).assign(layered=False)
    layered = table.assign(layered=True, learned_after=True)
    found = claims.kept(pd.concat([layered, table]))
    assert list(found) == ["both", "unpruned", "pruned", "neither"]
    assert found.T.to_dict("list") == {"xor": [1, 2, 1, 2], "id": [1, 0, 0, 0]}
    assert found.index.tolist() == ["xor", "id"]  # in the order of the networks


def test_evidence_is_shown_with_its_place_and_words():
    lines = claims.evidence_table(read_claims()).splitlines()
    assert len(lines) == 2 + sum(len(claim.evidence) for claim in read_claims())
    assert {line.count("|") for line in lines} == {6}
    assert lines[:2] == [
        "|  | claim | where | words or curve | what it leaves open |",
        "|---|---|---|---|---|",
    ]
    assert lines[2:4] == [
        "| 1a | DEEP can learn XOR: of ten networks, as published, at least one does | "
        "DEEP notebook of 2019, commit 9e07bd1, cell 8 | “Y_pred_free: [0. 1. 1. 0.]” | "
        "The stored network is the last of the ten. |",
        "|  |  | DEEP notebook of 2019, commit 9e07bd1, cell 4 | “num_net = 10” |  |",
    ]
    assert "`EP_asym_xor.csv`" in "".join(lines)


# Sparsity

TRADE_OFF = [
    *("task", "varied", "value", "sparsity", "sparsity_low", "sparsity_high"),
    *("learned", "learned_low", "learned_high", "mse"),
]


def test_the_trade_off_varies_one_hyperparameter_at_a_time():
    varied = {"reg_W": [0.0, 0.01], "tol_W": [0.3]}
    table = sparsity.trade_off("DEEP", ["or"], varied, range(3), 6)
    assert table.columns.tolist() == TRADE_OFF
    for row in table.itertuples():
        hyper = {"n_epochs": 6, row.varied: row.value}
        flags = {"regularized": True, "sparse": True}
        run = deep_nb.train("DEEP", "or", seeds=range(3), hyper=hyper, **flags)
        removed = 48 - np.count_nonzero(run["W"].values, axis=(1, 2))
        assert row.sparsity == pytest.approx(np.median(removed) / 48)
        assert row.sparsity_low * 48 == pytest.approx(removed.min())
        assert row.sparsity_high * 48 == pytest.approx(removed.max())
        share = stats.binomtest(int(at_criterion(run)[:, -1].sum()), 3)
        interval = share.proportion_ci(method="wilson")
        expected = share.statistic, interval.low, interval.high
        assert (row.learned, row.learned_low, row.learned_high) == pytest.approx(expected)
        assert row.mse == np.median(run["mse_free"].values[:, -1])
    assert table["sparsity"].nunique() == 3


def test_survivors_are_counted_by_group(rng):
    run = deep_nb.train("DEEP", "xor", seeds=range(3), hyper={**BRIEF, "n_epochs": 1})
    run["W"] = run["W"] * (rng.random(run["W"].shape) < 0.5)
    kept = sparsity.kept_by_group(run)
    names = run["pre"].values
    for group, (pre, post) in sparsity.GROUPS.items():
        present = [
            W[i, j] != 0
            for W in run["W"].values
            for i, j in np.argwhere(run["mask"].values)
            if names[i].startswith(pre) and names[j].startswith(post)
        ]
        assert kept[group] == pytest.approx(np.mean(present))
    assert kept.nunique() == len(kept)


def test_removals_follow_the_formula(rng):
    W = np.array([[0.0, 0.05, -0.2], [0.3, 0.0, 0.1], [-0.02, 0.0, 0.0]])
    stream, same = np.random.default_rng(7), np.random.default_rng(7)
    table = sparsity.removals(W, 0.2, 0.1, 3000, stream)
    assert table["size"].tolist() == [0.05, 0.2, 0.3, 0.1, 0.02]
    boltzmann = np.exp(-np.abs(W) / 0.1)
    p = boltzmann / boltzmann.sum(axis=0)
    expected = [p[0, 1], p[0, 2], 0, p[1, 2], p[2, 0]]
    np.testing.assert_allclose(table["expected"], expected)
    share = (same.random((3000, 3, 3)) < np.where(np.abs(W) <= 0.2, p, 0))[:, W != 0].mean(axis=0)
    np.testing.assert_allclose(table["observed"], share)
    assert stream.random() == same.random()
    np.testing.assert_allclose(
        table["error"] ** 2, table["expected"] * (1 - table["expected"]) / 3000
    )


def test_removals_are_summarized():
    table = pd.DataFrame(
        {
            "expected": [0.1, 0.4, 0.0, 0.0],
            "observed": [0.13, 0.35, 0.0, 0.2],
            "error": [0.02, 0.01, 0.0, 0.0],
        }
    )
    found = sparsity.removal_summary(table)
    expected = {"weak": 2, "lowest": 0.1, "highest": 0.4, "z": 5.0, "removed_safe": 1}
    assert found == pytest.approx(expected)
    nothing = sparsity.removal_summary(table[table["expected"] == 0])
    assert nothing["weak"] == 0
    assert np.isnan(nothing["z"])


# Stability


def test_energies_are_distances_to_the_rest_point_summed_over_samples(leaky):
    V = stability.total_energy(leaky)
    path = deep_nb.trajectory(leaky)
    D = analysis.diagonal_certificate(analysis.jacobian(leaky))
    free = free_neurons(leaky)
    hyper = deep_nb.settings(leaky)["hyper"].replace(T1=9000)
    long = sealed(leaky.assign_attrs(hyper=hyper.model_dump_json()))
    rest = deep_nb.predict(long, leaky["X"].values)["S"].values[..., free]
    for k, step in itertools.product(range(4), (0, 7, 300)):
        away = path["S"].values[k, step][:, free] - rest[k]
        assert V.values[k, step] == pytest.approx((D[k] * away**2).sum(), rel=1e-6, abs=1e-15)


def test_energy_verdicts_find_a_rise_and_a_slow_fall(leaky):
    V = stability.total_energy(leaky)
    assert stability.energy_verdicts(V, leaky).to_numpy().all()
    rising = V.copy()
    rising[2, 50] = rising[2, 49] * 1.01
    verdicts = stability.energy_verdicts(rising, leaky)
    assert verdicts["falls"].tolist() == [False, True]
    root = np.sqrt(analysis.diagonal_certificate(analysis.jacobian(leaky))[1])
    J = {phase: analysis.jacobian(leaky, phase=phase)[1] for phase in ("free", "nudged")}
    rho = {
        phase: np.linalg.norm(root[:, None] * (np.eye(6) + 0.05 * J[phase]) / root, 2)
        for phase in J
    }
    assert rho["free"] > rho["nudged"] + 1e-3
    for rate, bounded in (
        (rho["nudged"] ** 2.0001, True),  # rounding apart
        (rho["nudged"] ** 1.9999, False),  # slower than with the free phase's certificate
        (rho["free"] ** 2, False),
    ):
        slow = V.copy()
        slow[1, 301:] = V.values[1, 301] * rate ** np.arange(200)
        verdicts = stability.energy_verdicts(slow, leaky)
        assert verdicts["falls"].tolist() == [True, True]
        assert verdicts["bounded"].tolist() == [True, bounded]


def test_a_rise_by_1e_20_is_more_than_rounding(leaky):
    V = 0 * stability.total_energy(leaky)
    for size, verdict in ((0.999e-20, True), (1e-20, False)):
        for step in (7, 400):
            V[:, step] = size
        assert (stability.energy_verdicts(V, leaky) == verdict).all(axis=None)


def test_energies_do_not_exist_without_a_certificate(short_run):
    assert stability.total_energy(short_run).isnull().all()


@pytest.fixture(scope="module")
def contracting():
    """Networks of contracting DEEP, early in training."""
    hyper = {"N_H": [5], "n_epochs": 8, "T1": 150, "T2": 100}
    model = deep_nb.contracting_DEEP
    return deep_nb.train(model, "xor", seeds=range(4), hyper=hyper, record=("weights",))


@pytest.mark.parametrize("epoch", [0, 5])
def test_distances_along_phases_are_in_the_norm_in_which_each_contracts(contracting, epoch):
    found = stability.distances(contracting, epoch)
    assert found["V"].dims == found["bound"].dims == ("seed", "phase", "step")
    assert found["phase"].values.tolist() == ["free", "+β", "-β"]
    assert found["seed"].values.tolist() == [0, 1, 2, 3]
    assert found.sizes["step"] == 151  # those of nudged phases end sooner
    for phase, norm in (("free", "l1"), ("+β", "linf"), ("-β", "linf")):
        V = analysis.phase_energy(contracting, phase, epoch, norm)
        steps = V.sizes["step"]
        of = found.sel(phase=phase)
        total = sum(V.values[..., m] for m in range(4))
        np.testing.assert_allclose(of["V"].values[:, :steps], total, rtol=1e-12)
        # 1 − dt λ in ℓ1; in ℓ∞ the outputs have λ ± β.
        q = {"free": 1 - 0.05 * 0.25, "+β": 1 - 0.05 * 0.25, "-β": 1 - 0.05 * 0.025}[phase]
        bound = total[:, :1] * q ** np.arange(steps)
        np.testing.assert_allclose(of["bound"].values[:, :steps], bound, rtol=1e-9)
        assert of["V"].isnull()[:, steps:].all()
    verdicts = stability.distance_verdicts(found)
    assert verdicts.index.tolist() == ["free", "+β", "-β"]
    assert verdicts.columns.tolist() == ["falls", "bounded"]
    assert verdicts.to_numpy().all()


def test_rises_and_slow_falls_of_distances_are_found():
    dims, phases = ("seed", "phase", "step"), ["free", "+β", "-β"]
    V = np.broadcast_to(0.9 ** np.arange(6), (2, 3, 6))
    found = xr.Dataset({"V": (dims, V.copy()), "bound": (dims, V.copy())}, {"phase": phases})
    assert stability.distance_verdicts(found).to_numpy().all()
    rising = found.copy(deep=True)
    rising["V"][1, 1, 3] = rising["V"][1, 1, 2] + 2e-12
    verdicts = stability.distance_verdicts(rising)
    assert verdicts["falls"].tolist() == [True, False, True]
    assert verdicts["bounded"].tolist() == [True, False, True]
    rounding = found.copy(deep=True)
    rounding["V"][:] = 0.5 + 0.9e-12 * np.arange(6)
    rounding["bound"][:] = rounding["V"] - 0.9e-12
    assert stability.distance_verdicts(rounding).to_numpy().all()
    slow = found.copy(deep=True)
    slow["bound"][0, 2, 5] = V[0, 2, 5] - 2e-12
    verdicts = stability.distance_verdicts(slow)
    assert verdicts["falls"].all()
    assert verdicts["bounded"].tolist() == [True, True, False]


@pytest.mark.parametrize(
    ("rule", "phases"), [("asymep", ["free", "+β", "-β"]), ("adjoint", ["free"])]
)
def test_certified_phases_are_counted_after_each_number_of_epochs(rule, phases):
    """Of leaky DEEP, which no theorem certifies."""
    model = deep_nb.DEEP.replace(name="leaky DEEP", leak=0.3, rule=rule)
    hyper = {"n_epochs": 10, "T1": 300, "T2": 200, "beta": 0.28}
    run = deep_nb.train(model, "or", seeds=range(4), hyper=hyper, record=("weights",))
    counts = stability.count_phases(run, [0, 4, 10])
    assert (counts.index.tolist(), counts.index.name) == ([0, 4, 10], "epoch")
    assert counts.columns.tolist() == phases
    for epoch, row in counts.iterrows():
        certified = analysis.phase_report(run, epoch)["certified"]
        for phase in counts:
            assert row[phase] == sum(certified.sel(phase=phase).values.tolist())
    assert counts.loc[0, "free"] == 4
    assert counts.loc[10, "free"] < 4


def test_residuals_are_summarized(short_run):
    run = short_run.copy(deep=True)
    states = np.full((3, 4, 6), 0.5)
    states[0, :, 0], states[1, 0, :3] = 0.0, 1.0
    run["S_free"].values[..., 3:] = states
    run["residual_free"].values[:, -1] = [3.0, 1.0, 2.0]
    run["projected_residual_free"].values[:, -1] = [0.5, 0.0, 0.25]
    expected = {"saturated": 7 / 72, "residual": 2.0, "projected": 0.25}
    assert stability.residual_summary(run) == pytest.approx(expected)


def test_verdicts_are_counted_after_each_number_of_epochs():
    model = deep_nb.DEEP.replace(name="leaky DEEP", leak=0.3)
    hyper = {"n_epochs": 10, "T1": 300, "T2": 200}
    run = deep_nb.train(model, "or", seeds=range(4), hyper=hyper, record=("weights",))
    counts = stability.count_verdicts(run, [0, 5, 10])
    assert (counts.index.tolist(), counts.index.name) == ([0, 5, 10], "epoch")
    free = free_neurons(run)
    for epoch, row in counts.iterrows():
        W = run["W_epochs"].sel(snapshot=epoch).values[:, free][:, :, free]
        J = W.transpose(0, 2, 1) - (0.3 + W.sum(axis=2))[..., None] * np.eye(6)
        diagonal = -np.diagonal(J, axis1=1, axis2=2)
        others = [np.abs(J).sum(axis=axis) - np.abs(diagonal) for axis in (2, 1)]
        assert row["gershgorin_rows"] == (others[0] < diagonal).all(axis=1).sum()
        assert row["gershgorin_columns"] == (others[1] < diagonal).all(axis=1).sum()
        assert row["hurwitz"] == (np.linalg.eigvals(J).real.max(axis=1) < 0).sum()
        M = np.abs(J) * (2 * np.eye(6) - 1)  # an M-matrix if and only if its inverse is ≥ 0
        m_matrix = (np.linalg.inv(M) >= 0).all(axis=(1, 2)) & (diagonal > 0).all(axis=1)
        assert row["certified"] == m_matrix.sum()
    assert counts["certified"].tolist() == [3, 2, 3]
    speed = np.sqrt(4 * deep_nb.trajectory(run)["projected_residual"].values[:, 300])
    assert counts["at_rest"].iloc[-1] == (speed < 1e-6).sum() > 0


def test_the_total_activity_follows_its_line_until_a_neuron_saturates():
    run = deep_nb.train("DEEP", "or", seeds=[3, 4], hyper={"n_epochs": 3, "T1": 200, "T2": 50})
    found = stability.total_activity(run)
    assert found["sample"].values.tolist() == ["0 0", "0 1", "1 0", "1 1"]
    start = deep_nb.trajectory(run)["S"].sel(seed=3, step=0).values[:, 3:]
    states = euler(run, 3, start, run["X"].values, 0.05, 200)
    np.testing.assert_allclose(found["activity"], states.sum(axis=2), atol=1e-12)
    W = run["W"].sel(seed=3).values
    rate = np.column_stack([run["X"].values, np.ones(4)]) @ W[:3, 3:].sum(axis=1)
    assert found["time"].dims == ("step",)
    np.testing.assert_allclose(found["time"], 0.05 * np.arange(201))
    line = states[0].sum(axis=1) + rate * found["time"].values[:, None]
    np.testing.assert_allclose(found["line"], line)
    for m in range(4):
        inside = [s.min() > 0 and s.max() < 1 for s in states[:, m]]
        first = inside.index(False) if not all(inside) else 201
        assert found["unclipped"].values[:, m].tolist() == [t < first for t in range(201)]
    assert 0 < found["unclipped"].mean() < 1


def test_a_neuron_that_leaves_the_clip_has_been_there():
    run = deep_nb.train("DEEP", "or", seeds=3, hyper={"n_epochs": 3, "T1": 200, "T2": 50})
    steps = stability.total_activity(run)["unclipped"].values.sum(axis=0)
    sample = int(steps.argmax())
    assert steps[sample] > 3
    path = deep_nb.trajectory(run)
    path["S"].values[0, 1, sample, 4] = 1.0
    with mock.patch.object(stability, "trajectory", return_value=path):
        unclipped = stability.total_activity(run)["unclipped"].values
    assert unclipped[:, sample].tolist() == [True] + [False] * 200


@pytest.mark.slow
def test_the_price_of_a_leak_is_counted():
    table = stability.cost_of_leak("id", [0.0, 0.25, 1.0], range(4), 60, [0, 30, 60])
    assert table["leak"].tolist() == [0.0, 0.25, 1.0]
    for row in table.itertuples():
        model = deep_nb.DEEP.replace(leak=row.leak)
        run = deep_nb.train(
            model, "id", seeds=range(4), hyper={"n_epochs": 60}, record=("weights",)
        )
        certified = [
            np.isfinite(analysis.diagonal_certificate(analysis.jacobian(run, epoch))).all(axis=1)
            for epoch in (0, 30, 60)
        ]
        assert row.certified == np.all(certified, axis=0).sum()
        reached = at_criterion(run)
        assert row.learned == reached[:, -1].sum()
        first = [np.flatnonzero(network)[0] + 1 if network.any() else 61 for network in reached]
        assert row.median == np.median(first)
        if row.leak == 0.25:
            assert np.all(certified, axis=0).sum() < np.any(certified, axis=0).sum()
    assert table["certified"].tolist()[::2] == [0, 4]


# Errata


def test_every_erratum_names_evidence_that_is_literally_there():
    sources = read_sources()
    for _, _, evidence in errata.ERRATA:
        assert evidence
        assert all(words in sources[name].text for name, words in evidence.items())
    lines = errata.errata_table().splitlines()
    assert len(lines) == 2 + len(errata.ERRATA) == 13
    assert {line.count("|") for line in lines} == {5}
    assert lines[3] == (
        "| 2 | `dW_epochs` is a copy of `W_epochs` | one-hot | one-hot DEEP notebook of 2020, "
        "commit 9c23716, cell 3: `dW_epochs = np.array(W_epochs)` |"
    )
    assert "`r += int(x[i]!=y[i])`<br>all notebooks" in lines[7]  # NumPy, then networkx
    assert 'in no cell of which the word "seed" occurs' in lines[8]
    assert "`Gershgorin by row: False (fails in 4 rows)`, `Gershgorin by column" in lines[9]


def test_extreme_weights_are_of_networks_that_learned(short_run):
    run = short_run.copy(deep=True)
    run["mse_free"][:, -1] = [0.009, 0.1, 0.009]
    run["class_error_free"][:, -1] = 0.0
    W = run["W_epochs"].values
    ends = [(W[k].min(), W[k].max()) for k in (0, 2)]
    assert errata.extreme_weights(run) == pytest.approx(tuple(np.mean(ends, axis=0)))
    run["mse_free"][:] = 0.1
    assert np.isnan(errata.extreme_weights(run)).all()


def test_absurd_settings_diverge_with_a_warning():
    run, message = errata.train_absurdly()
    assert run["diverged"].all()
    assert run.sizes["epoch"] == 3
    assert message.startswith("1 of 1 networks diverged (seeds 2)")
    assert run["mse_free"].isnull().all()


def test_the_change_is_the_difference_between_epochs_and_the_size_is_before_it(short_run):
    found = errata.sizes_and_changes(short_run)
    W = short_run["W_epochs"].values
    assert found["size"].dims == found["change"].dims == ("seed", "epoch")
    np.testing.assert_allclose(found["size"], np.abs(W[:, :-1]).sum(axis=(2, 3)))
    np.testing.assert_allclose(found["change"], np.abs(np.diff(W, axis=1)).sum(axis=(2, 3)))


def test_the_published_log_ends_at_zero():
    run = deep_nb.train(
        "EP_asym", "or", seeds=range(2), hyper={"stop": 0.1, "n_epochs": 2}, stop_criterion=True
    )
    found = errata.published_log(run)
    path = deep_nb.trajectory(run).isel(seed=0)
    speed = path["residual"].values[1:1001] * 4
    performed = np.flatnonzero(speed <= 0.1)[0] + 1
    assert found.sizes == {"step": 1000}
    assert found["mse"].notnull().values.tolist() == [t < performed for t in range(1000)]
    assert not found["log"][performed:].any()
    np.testing.assert_array_equal(found["log"][:performed], path["mse"][1 : performed + 1])
    assert found["log"][performed - 1] > 0


def test_a_double_step_is_what_plain_euler_gives():
    run = deep_nb.train("DEEP", "or", seeds=[1, 2], hyper={"n_epochs": 5, "T1": 10, "T2": 20})
    found = errata.effect_of_double_step(run, n=3)
    axis = np.linspace(0, 1, 4)
    X = np.array(list(itertools.product(axis, axis)))
    for seed in (1, 2):
        start = deep_nb.trajectory(run)["S"].sel(seed=seed, step=0, sample=0).values[3:]
        starts = np.tile(start, (16, 1))
        once, twice = (euler(run, seed, starts, X, dt, 10)[-1, :, -1] for dt in (0.05, 0.1))
        of = found.sel(seed=seed)
        assert of["difference"] == pytest.approx(np.abs(once - twice).max(), abs=1e-12)
        assert of["flipped"] == pytest.approx(((once >= 0.5) != (twice >= 0.5)).mean())
    assert found["difference"].min() > 0.01
    assert found["flipped"].values.tolist() == [0.125, 0]
    finer = errata.effect_of_double_step(run, n=20)
    assert not finer["flipped"].equals(errata.effect_of_double_step(run, n=21)["flipped"])
    xr.testing.assert_identical(errata.effect_of_double_step(run), finer)


def test_early_stops_are_found_and_checked():
    hyper = {"n_epochs": 5, "stop": 0.1}
    run = deep_nb.train("EP_asym", "id", seeds=range(3), hyper=hyper, stop_criterion=True)
    found = errata.early_stops(run)
    np.testing.assert_array_equal(found["stopped"], run["steps_free"].values < 1000)
    assert found["stopped"].any()
    assert found["obeyed"].all()
    broken = run.copy(deep=True)
    broken["residual_free"].values[1, 2], broken["steps_free"].values[1, 2] = 0.051, 9
    assert np.argwhere(~errata.early_stops(broken)["obeyed"].values).tolist() == [[1, 2]]
    broken["residual_free"].values[1, 2] = 0.05  # the mean of two samples: Σ ds² = stop
    assert errata.early_stops(broken)["obeyed"].all()


def test_phases_that_do_not_stop_early_obey():
    run = deep_nb.train("EP_asym", "id", seeds=range(2), hyper=BRIEF, stop_criterion=True)
    found = errata.early_stops(run)
    assert run["residual_free"].min() > 1e-6
    assert not found["stopped"].any()
    assert found["obeyed"].all()


@pytest.mark.parametrize(
    ("warning", "silent"), [(None, True), (DeprecationWarning, False), (TypeError, False)]
)
def test_numpy_refuses_an_array_as_a_number(warning, silent):
    """NumPy has first converted it, then with a warning, and now no longer."""
    assert not errata.array_becomes_int()

    class Array(list):
        def __int__(self):
            if warning is TypeError:
                raise TypeError("only 0-dimensional arrays can be converted to Python scalars")
            if warning:
                warnings.warn("Conversion of an array with ndim > 0", warning, stacklevel=1)
            ((number,),) = self
            return int(number)

    with mock.patch.object(errata.np, "array", Array):
        assert errata.array_becomes_int() == silent


def test_column_sums_vanish_for_deep_only(model_run):
    free = free_neurons(model_run)
    W = model_run["W"].values[:, free][:, :, free]
    expected = 0.0
    if "EP_asym" in model_run.attrs["model"]:
        expected = np.abs(W.sum(axis=2) - 1).max()
    assert errata.largest_column_sum(model_run) == pytest.approx(expected, abs=1e-13)


def test_rest_is_judged_by_the_projected_speed(short_run):
    """Over the four samples of XOR, a mean residual of 1e-12 / 4 is a speed of 1e-6."""
    run = short_run.copy(deep=True)
    assert run.sizes["sample"] == 4
    run["projected_residual_free"].values[:, -1] = [0.0, 0.2499e-12, 0.2501e-12]
    run["residual_free"].values[:, -1] = [1e-10, 1.001e-10, 1e-9]
    found = errata.rest_and_residual(run)
    assert found["rest"].values.tolist() == [True, True, False]
    assert found["above"].values.tolist() == [False, True, False]


def test_the_published_layers_have_one_more_synapse():
    run = deep_nb.train("EP_asym", "xor", seeds=1, hyper={**BRIEF, "n_epochs": 1}, layered=True)
    mask = errata.published_layered_mask(run)
    names = run["pre"].values
    added = [(names[i], names[j]) for i, j in np.argwhere(mask & ~run["mask"].values)]
    assert added == [("x1", "y0")]
    assert (mask | ~run["mask"].values).all()


# Real data

#: Few settings, so that a test fits eight classifiers to a data set in seconds.
FEW = {
    name: {key: values[:1] for key, values in grid.items()}
    for name, grid in real_data.GRIDS.items()
}


@pytest.fixture(scope="module")
def data():
    X, y = load_digits(return_X_y=True)
    return {"Iris": load_iris(return_X_y=True), "Digits": (X[:200], y[:200])}


@pytest.fixture(scope="module")
def fits(data):
    with mock.patch.dict(real_data.GRIDS, FEW | {real_data.OWN: real_data.GRIDS[real_data.OWN]}):
        return real_data.fit_all(data, 2, 12, 3, 1)


def test_every_data_set_is_loaded():
    shapes = {name: X.shape for name, (X, _) in real_data.load_data(False).items()}
    assert shapes == {
        "Iris": (150, 4),
        "Wine": (178, 13),
        "Breast cancer": (569, 30),
        "Digits": (1797, 64),
    }


def test_mnist_is_downloaded_on_request():
    mnist = np.zeros((2, 784)), np.array(["5", "0"])
    with mock.patch.object(real_data, "fetch_openml", return_value=mnist) as download:
        assert [*real_data.load_data(True)] == [*real_data.LOADERS, "MNIST"]
        assert real_data.load_data(True)["MNIST"] is mnist
    download.assert_called_with("mnist_784", version=1, return_X_y=True, as_frame=False)


def test_all_classifiers_have_as_many_candidates():
    models = real_data.classifiers(7, 12, 3)
    assert [name for name in models if name != "default SVM"] == [*real_data.GRIDS]
    assert {*models} == {real_data.OWN, *real_data.DYNAMICS, *real_data.OTHERS}
    for name, model in models.items():
        if name == "default SVM":
            assert model.get_params() == SVC().get_params()
            continue
        assert len(ParameterGrid(real_data.GRIDS[name])) == 4
        assert {*real_data.GRIDS[name]} <= {*model.get_params()}
    for name in (real_data.OWN, *real_data.DYNAMICS, "MLP"):
        assert real_data.GRIDS[name]["noise"] == [0.0, 0.3]
        assert (models[name].N_H, models[name].n_epochs, models[name].random_state) == (12, 3, 7)
    assert models["logistic regression"].max_iter == 5000


def test_the_dynamics_that_are_compared_are_what_their_names_say():
    """Leak, outflow, whether it is absolute, and rule."""
    models = real_data.classifiers(0, 5, 2)
    found = {}
    for name in (real_data.OWN, *real_data.DYNAMICS):
        fitted = models[name].fit([[0.0], [1.0]] * 4, [0, 1] * 4)
        found[name] = tuple(
            getattr(fitted.model_, key) for key in ("leak", "outflow", "absolute_outflow", "rule")
        )
        assert (fitted.batch_size, fitted.W_.dtype) == (16, np.float32)
    assert found == {
        "contracting DEEP": (1.0, 1.0, True, "asymep"),
        "EP dynamics": (1.0, 0.0, False, "asymep"),
        "leaky DEEP": (1.0, 1.0, False, "asymep"),
        "DEEP": (0.0, 1.0, False, "stdp"),
    }


def test_a_fifth_of_each_class_is_for_testing(data):
    for seed in range(5):
        assert np.bincount(real_data.split(data["Iris"], seed)[3]).tolist() == [10, 10, 10]
    X_train, X_test, y_train, _ = real_data.split(data["Iris"], 3)
    assert len(X_train) == len(y_train) == 120
    both = np.vstack([X_train, X_test])
    np.testing.assert_array_equal(np.sort(both, axis=0), np.sort(data["Iris"][0], axis=0))


def test_the_noisy_perceptron_is_scikit_learns_on_noisy_inputs(data):
    X, y = data["Iris"]
    plain = real_data.NoisyPerceptron(6, 4, 0.0, 0.01, 3).fit(X, y)
    by_hand = MLPClassifier((6,), batch_size=16, learning_rate_init=0.01, random_state=3)
    for _ in range(4):
        by_hand.partial_fit(X, y, classes=[0, 1, 2])
    assert (plain.perceptron_.coefs_[0] == by_hand.coefs_[0]).all()
    assert (plain.predict(X) == by_hand.predict(X)).all()
    assert plain.classes_.tolist() == [0, 1, 2]
    noisy = real_data.NoisyPerceptron(6, 2, 0.5, 0.01, 3).fit(X, y)
    stream = np.random.RandomState(3)
    by_hand = MLPClassifier((6,), batch_size=16, learning_rate_init=0.01, random_state=3)
    for _ in range(2):  # other noise in each pass
        by_hand.partial_fit(X + 0.5 * stream.normal(size=X.shape), y, classes=[0, 1, 2])
    np.testing.assert_allclose(noisy.perceptron_.coefs_[0], by_hand.coefs_[0], rtol=1e-9)
    assert real_data.NoisyPerceptron(2, 1).fit(X[:3], y[[0, 60, 120]]).predict(X).shape == (150,)


def test_settings_are_chosen_on_the_training_part_alone(data):
    """Cross-validation written out: the candidate of the best mean over three folds."""
    X, _, y, _ = real_data.split(data["Digits"], 1)
    pipeline, chosen = real_data.fit_best(SVC(), real_data.GRIDS["tuned SVM"], (X, y), 1)
    means = {}
    for C, gamma in itertools.product((1.0, 10.0), (0.01, 0.1)):
        scores = []
        for learn, held in StratifiedKFold(3, shuffle=True, random_state=1).split(X, y):
            scaler = StandardScaler().fit(X[learn])
            machine = SVC(C=C, gamma=gamma).fit(scaler.transform(X[learn]), y[learn])
            scores.append(machine.score(scaler.transform(X[held]), y[held]))
        means[C, gamma] = np.mean(scores)
    assert means[chosen["C"], chosen["gamma"]] == max(means.values()) > min(means.values())
    scaler = StandardScaler().fit(X)
    machine = SVC(**chosen).fit(scaler.transform(X), y)
    np.testing.assert_array_equal(pipeline.predict(X), machine.predict(scaler.transform(X)))
    pipeline, chosen = real_data.fit_best(SVC(), None, (X, y), 1)
    assert (len(pipeline), chosen) == (1, {})
    np.testing.assert_array_equal(pipeline.predict(X), SVC().fit(X, y).predict(X))


@pytest.mark.slow
def test_scores_are_of_the_samples_not_learned_from(data, fits):
    scores, fitted = fits
    assert scores.groupby("data", sort=False).size().to_dict() == {"Iris": 16, "Digits": 16}
    for row in scores.itertuples():
        pipeline = fitted[row.data, row.model, row.seed]
        X_train, X_test, _, y_test = real_data.split(data[row.data], row.seed)
        if row.model == "default SVM":
            assert (len(pipeline), row.chosen) == (1, {})
            assert row.accuracy == (pipeline.predict(X_test) == y_test).mean()
            continue
        np.testing.assert_allclose(pipeline[0].mean_, X_train.mean(axis=0), atol=1e-12)
        assert row.accuracy == (pipeline.predict(X_test) == y_test).mean()
        assert (row.n_train, row.n_test) == (len(X_train), len(X_test))
        for key, value in row.chosen.items():
            assert getattr(pipeline[-1], key) == value
        assert {*row.chosen} == {*real_data.GRIDS[row.model]}


@pytest.mark.slow
def test_only_contracting_networks_are_certified_after_every_pass(fits):
    scores, fitted = fits
    by_model = scores.groupby("model")["certified"].agg(list)
    assert by_model[real_data.OWN] == [True] * 4
    assert by_model["EP dynamics"] == by_model["DEEP"] == [False] * 4
    assert by_model["MLP"] == [None] * 4
    network = copy.deepcopy(fitted["Iris", real_data.OWN, 0][-1])
    network.contraction_curve_[1] = 1.0
    assert real_data.certified(network) is False
    network.contraction_curve_[1] = 0.9
    assert real_data.certified(network) is True
    network.W_ = 100 * network.W_
    assert real_data.certified(network) is False


@pytest.mark.system
def test_processes_do_not_change_a_bit(data):
    with mock.patch.dict(real_data.GRIDS, FEW):
        one, two = (
            real_data.fit_all({"Iris": data["Iris"]}, 1, 5, 2, n_jobs)[1] for n_jobs in (1, 2)
        )
    learned = {
        **dict.fromkeys((real_data.OWN, *real_data.DYNAMICS), lambda model: model.W_),
        "logistic regression": lambda model: model.coef_,
        "MLP": lambda model: model.perceptron_.coefs_[0],
        "default SVM": lambda model: model.dual_coef_,
        "tuned SVM": lambda model: model.dual_coef_,
    }
    for case in one:
        first, second = (learned[case[1]](fitted[case][-1]) for fitted in (one, two))
        assert (first == second).all()


def test_the_corrected_t_test_is_that_of_nadeau_and_bengio():
    """By hand: mean 2, s² = 1, (1/3 + 1/4) s² = 7/12; Student's t for two degrees of freedom."""
    estimate, p = real_data.corrected_mean([1.0, 2.0, 3.0], 400, 100)
    error = math.sqrt(7 / 12)
    t = 2 / error
    assert p == pytest.approx(1 - t / math.sqrt(t**2 + 2))
    half = 4.302652729911275 * error  # the 97.5 % quantile, from a table
    assert estimate == pytest.approx((2.0, 2 - half, 2 + half))
    assert real_data.corrected_mean([-1.0, -2.0, -3.0], 400, 100)[1] == pytest.approx(p)
    uncorrected = stats.ttest_1samp([0.1, 0.4, -0.2, 0.3], 0)  # without overlap
    same = real_data.corrected_mean([0.1, 0.4, -0.2, 0.3], 10**15, 1)
    assert same[1] == pytest.approx(uncorrected.pvalue)
    assert same[0][1:] == pytest.approx(uncorrected.confidence_interval(0.95))


@pytest.mark.parametrize("values", [[0.9], [0.9, 0.9], [0.1 + 0.2, 0.3]])
def test_without_variance_there_is_no_interval(values):
    estimate, p = real_data.corrected_mean(values, 8, 2)
    assert estimate.value == pytest.approx(values[0])
    assert np.isnan(estimate[1:]).all()
    assert p == 1


def scored(*rows):
    """Scores of models on one data set of 8 + 2 samples: name, model, accuracies over seeds."""
    return pd.DataFrame(
        [
            [name, model, seed, value, 8, 2, model == real_data.OWN or None, {"C": 1.0 + seed // 2}]
            for name, model, values in rows
            for seed, value in enumerate(values)
        ],
        columns=["data", "model", "seed", "accuracy", "n_train", "n_test", "certified", "chosen"],
    )


def test_accuracies_are_tabulated_with_their_corrected_intervals():
    table = real_data.accuracy_table(
        scored(("B", "n", [0.7, 0.8]), ("A", real_data.OWN, [0.9, 1.0]), ("A", "n", [0.0, 0.1]))
    )
    assert table.columns.tolist() == ["data", "model", "accuracy", "low", "high", "certified"]
    assert table["data"].tolist() == ["B", "A", "A"]
    # t for one degree of freedom, times √((1/2 + 2/8) · 0.005)
    half = 12.706204736 * 0.061237243570
    np.testing.assert_allclose(table.iloc[0, 2:5].tolist(), [0.75, max(0, 0.75 - half), 1.0])
    np.testing.assert_allclose(table.iloc[1, 2:5].tolist(), [0.95, 0.95 - half, 1.0])
    np.testing.assert_allclose(table.iloc[2, 2:5].tolist(), [0.05, 0.0, 0.05 + half])
    assert table["certified"].tolist() == ["", "2 of 2", ""]


def test_settings_are_counted():
    table = real_data.chosen_table(scored(("A", "m", [0.1, 0.2, 0.3]), ("A", "n", [0.5])))
    assert table["settings"].tolist() == ["2 × C=1; 1 × C=2", "1 × C=1"]
    raw = scored(("A", "m", [0.1, 0.2])).assign(chosen=[{}, {}])
    assert real_data.chosen_table(raw)["settings"].tolist() == ["2 × defaults"]


@pytest.fixture
def compared():
    """Three others: clearly worse, clearly better, and no different."""
    own = pd.Series([0.80, 0.81, 0.79, 0.80])
    return scored(
        ("A", real_data.OWN, own),
        ("A", "low", own.sub([0.20, 0.21, 0.20, 0.20])),
        ("A", "high", own.add([0.10, 0.11, 0.10, 0.10])),
        ("A", "same", own.add([0.01, -0.01, 0.01, 0.002])),
    )


@pytest.mark.slow
def test_differences_are_paired_and_adjusted_for_their_number(compared):
    table = real_data.differences(compared, ["low", "high", "same"])
    np.testing.assert_allclose(table["difference"], [0.2025, -0.1025, -0.003])
    alone = [
        real_data.corrected_mean(values, 8, 2)[1]
        for values in (
            [0.20, 0.21, 0.20, 0.20],
            [0.10, 0.11, 0.10, 0.10],
            [0.01, -0.01, 0.01, 0.002],
        )
    ]
    assert alone == sorted(alone)  # so Holm multiplies by 3, 2 and 1
    np.testing.assert_allclose(table["p"], alone, rtol=1e-6)
    np.testing.assert_allclose(table["p_holm"], [3 * alone[0], 2 * alone[1], alone[2]], rtol=1e-6)
    assert ((table["low"] < table["difference"]) & (table["difference"] < table["high"])).all()


@pytest.mark.slow
def test_the_verdict_is_one_sentence_that_follows_from_the_numbers(compared):
    table = real_data.accuracy_table(compared)
    against = real_data.differences(compared, ["low", "high", "same"])
    low, high, _ = against["p"]
    half = 100 * (against["high"] - against["difference"])[2]
    assert real_data.verdicts(table, against) == [
        "A: contracting DEEP is right in 80.0% of test samples; by the interval not corrected for "
        f"the number of comparisons, worse than high (-10.2, p = {high:.2g}, corrected "
        f"{2 * high:.2g}); not shown to differ from same (-0.3, detectable from {half:.1f}); "
        f"better than low (+20.2, p = {low:.2g}, corrected {3 * low:.2g})."
    ]
    start = "By the interval not corrected for the number of comparisons, contracting DEEP is "
    assert real_data.verdict(table, against) == (
        f"{start}worse than high on A (80.0% against 90.2%) and better than low on A (80.0% "
        "against 59.8%); in the other 1 comparisons it is not shown to differ "
        f"(differences are detectable from {half:.1f} to {half:.1f} points); "
        "after Holm's correction, 2 of 3 differ."
    )


@pytest.mark.slow
def test_an_interval_that_excludes_0_shows_a_difference_that_the_correction_may_not(compared):
    """The interval decides, with p = 0.04 beside 0.6; with 0 in it, it shows nothing."""
    table = real_data.accuracy_table(compared)
    against = real_data.differences(compared, ["high"]).assign(p=0.04, p_holm=0.6)
    assert (
        "worse than high (-10.2, p = 0.04, corrected 0.6)" in real_data.verdicts(table, against)[0]
    )
    assert real_data.verdict(table, against).endswith("Holm's correction, 0 of 1 differ.")
    unsure = against.assign(low=-0.2025, high=0.0)
    assert (
        "not shown to differ from high (-10.2, detectable from 10.2)."
        in (real_data.verdicts(table, unsure)[0])
    )
    assert real_data.verdict(table, unsure) == (
        "By the interval not corrected for the number of comparisons, contracting DEEP is not "
        "shown to differ in 1 comparisons (differences are detectable from 10.2 to 10.2 points); "
        "after Holm's correction, 0 of 1 differ."
    )
    equal = against.assign(low=np.nan, high=np.nan)  # accuracies that all differ alike
    assert "not shown to differ from high (-10.2)." in real_data.verdicts(table, equal)[0]


def test_confusions_are_of_all_test_parts_of_digits(data, fits):
    scores, fitted = fits
    matrix = real_data.confusions(fitted, data["Digits"])
    y = np.concatenate([real_data.split(data["Digits"], seed)[3] for seed in (0, 1)])
    assert matrix.sum(axis=1).tolist() == np.bincount(y).tolist()
    own = scores[(scores["model"] == real_data.OWN) & (scores["data"] == "Digits")]
    assert np.trace(matrix) == round(own["accuracy"].sum() * 40)


def test_the_learning_curve_is_of_one_learner(data, fits):
    _, fitted = fits
    found = real_data.learning_curve(fitted, data["Digits"], 3)
    assert (found.index.tolist(), found.index.name) == ([1, 2, 3], "passes")
    assert found.columns.tolist() == ["training part", "test part", "factor"]
    X_train, X_test, y_train, y_test = real_data.split(data["Digits"], 0)
    scaler, network = fitted["Digits", real_data.OWN, 0]
    learner = clone(network)
    for _ in range(3):
        learner.partial_fit(scaler.transform(X_train), y_train, classes=range(10))
    accuracies = [
        (learner.predict(scaler.transform(X)) == y).mean()
        for X, y in ((X_train, y_train), (X_test, y_test))
    ]
    assert found.iloc[-1].tolist() == [*accuracies, learner.contraction_curve_[-1]]
    assert found["training part"].nunique() > 1


@pytest.mark.slow
def test_cuts_remove_the_weakest_synapses(data, fits):
    _, fitted = fits
    cuts = real_data.cut_all(fitted, data["Digits"], 2, 2, 1)
    accuracy = cuts["accuracy"]
    assert accuracy.dims == ("way", "seed", "part", "share")
    assert cuts["part"].values.tolist() == ["validation", "test"]
    assert cuts["certified"].all()
    assert cuts.attrs == {"n_learn": 128, "n_test": 40}
    for seed in (0, 1):
        X_train, X_test, y_train, y_test = real_data.split(data["Digits"], seed)
        X_learn, X_valid, y_learn, y_valid = real_data.split((X_train, y_train), seed)
        own = fitted["Digits", real_data.OWN, seed][-1], real_data.GRIDS[real_data.OWN]
        scaler, network = real_data.fit_best(*own, (X_learn, y_learn), seed)[0]
        X_learn, X_valid, X_test = map(scaler.transform, (X_learn, X_valid, X_test))
        parts = {"validation": (X_valid, y_valid), "test": (X_test, y_test)}
        W = network.W_
        assert np.count_nonzero(W) == real_data.count_synapses(fitted) == 87 * 22 - 22
        for share in (1.0, 0.4):
            limit = np.sort(np.abs(W[W != 0]))[-round(share * np.count_nonzero(W))]
            network.W_ = np.where(np.abs(W) >= limit, W, np.float32(0))
            for part, (X, y) in parts.items():
                of = accuracy.sel(way="one cut", seed=seed, share=share, part=part)
                assert of == (network.predict(X) == y).mean()
        network.W_ = W
        taught = copy.deepcopy(network)
        for share in real_data.LEFT:
            taught.prune(share)
            for rate in (0.5, 0.25) if share < 1 else ():
                taught.set_params(dt_W=rate * network.dt_W).partial_fit(X_learn, y_learn)
            of = accuracy.sel(way="learning on after each cut", seed=seed, share=share)
            for part, (X, y) in parts.items():
                assert of.sel(part=part) == (taught.predict(X) == y).mean()
    without = real_data.cut_all(fitted, data["Digits"], 1, 0, 1)["accuracy"]
    np.testing.assert_array_equal(without[0], without[1])


@pytest.fixture
def cuts():
    """Accuracies of two ways, two seeds, two parts and ten shares."""
    accuracy = np.full((2, 2, 2, 10), 0.5)
    accuracy[0, 0, 0] = [0.9, 0.89, 0.891, 0.8, 0.895, 0.1, 0.1, 0.1, 0.1, 0.1]
    accuracy[0, 1, 0] = [1.0, 0.99, *[0.98] * 8]  # a point less is enough, two are not
    accuracy[0, 0, 1], accuracy[0, 1, 1] = np.linspace(0.9, 0.72, 10), np.linspace(0.7, 0.52, 10)
    accuracy[1, :, 1] = np.linspace(0.5, 0.41, 10)
    certified = np.ones((2, 2, 10), dtype=bool)
    certified[0, 1, 1] = False
    coords = {"way": list(real_data.WAYS), "seed": [0, 1], "share": list(real_data.LEFT)}
    return xr.Dataset(
        {
            "accuracy": (("way", "seed", "part", "share"), accuracy),
            "certified": (("way", "seed", "share"), certified),
        },
        coords=coords | {"part": ["validation", "test"]},
        attrs={"n_learn": 8, "n_test": 4},
    )


def test_the_share_is_chosen_on_the_validation_part_and_judged_on_the_test_part(cuts):
    means = real_data.mean_after_cuts(cuts)
    np.testing.assert_allclose(means["learning on after each cut"], np.linspace(0.8, 0.62, 10))
    assert means.index.name == "share"
    table = real_data.enough_synapses(cuts)
    first, second = table.itertuples()
    assert (first.way, second.way) == (*real_data.WAYS,)
    assert (first.smallest, first.largest) == (0.1, 0.7)  # of shares 0.1 and 0.7
    assert (first.share, first.all) == pytest.approx((0.4, 0.8))
    # on the test part, four steps of 0.02 are lost in one network, one step in the other
    expected = real_data.corrected_mean([-0.08, -0.02], 8, 4)[0]
    assert (first.change, first.low, first.high) == pytest.approx(expected)
    assert first.certified == "1 of 2"
    assert (second.smallest, second.largest, second.certified) == (0.01, 0.01, "2 of 2")
    assert second.change == pytest.approx(-0.09)


# Parity


def test_parity_is_of_all_inputs():
    task = common.parity(3)
    assert len({tuple(x) for x in task.X}) == 8
    assert task.Y[:, 0].tolist() == [
        bin(int("".join(map(str, x)), 2)).count("1") % 2 for x in task.X.astype(int)
    ]
