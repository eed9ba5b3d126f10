"""What the study of contracting DEEP computes and draws, against independent computations."""

import itertools
from functools import partial
from unittest import mock

import matplotlib.pyplot as plt
import networkx as nx
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from matplotlib.colors import to_rgb
from statsmodels.stats.proportion import proportion_confint

import deep_nb
from deep_nb import analysis
from deep_nb.experiments import contracting as study
from deep_nb.problem import Problem
from deep_nb.topology import Layout, complete
from deep_nb.training import train_constrained

from .test_experiments import at_criterion

#: Contracting DEEP, with phases so short that it trains in a blink.
QUICK = deep_nb.contracting_DEEP.replace(
    hyper=deep_nb.contracting_DEEP.hyper.replace(N_H=(6,), n_epochs=8, T1=60, T2=40)
)
LAYOUT = Layout(2, True, (9,), 2)
#: A network as large as the published ones with a hidden layer more.
DEEPER = Layout(1, True, (5, 4), 1)
layouts = pytest.mark.parametrize("layout", [LAYOUT, DEEPER], ids=["one layer", "two layers"])


def groups(layout):
    """The neurons that are inputs, hidden and outputs, by their names."""
    first = [name[0] for name in layout.labels]
    return [[i for i, name in enumerate(first) if name in kind] for kind in ("xb", "h", "y")]


@pytest.fixture(scope="module")
def learners():
    """Networks of contracting DEEP that learn OR, trained in one piece."""
    hyper = {"N_H": [6], "n_epochs": 60, "T1": 300, "T2": 150}
    model = deep_nb.contracting_DEEP
    return deep_nb.train(model, "or", seeds=[3, 8, 5], hyper=hyper, record=("weights",))


def one_neuron(weight, leak=0.25, dt=0.05, seeds=(7,), **hyper):
    """Networks with one synapse, from the bias neuron to the output: s* = weight / leak."""
    model = QUICK.replace(leak=leak)
    settings = {"N_H": [1], "n_epochs": 1, "dt": dt, "dt_W": 0.0, **hyper}
    run = deep_nb.train(model, "id", seeds=seeds, hyper=settings, record=("weights",))
    run["W"][:] = 0.0
    run["W"][:, 1, 3] = weight
    return run


# Verdicts


@pytest.mark.slow
@pytest.mark.parametrize(("rule", "beta"), [("asymep", 0.5), ("adjoint", 0.5), ("stdp", 40.0)])
def test_verdicts_are_those_of_every_epoch_and_phase(rule, beta):
    """With a leak at which some networks lose a certificate; β = 40 takes too large a step."""
    model = deep_nb.DEEP.replace(name="leaky", leak=0.6, rule=rule)
    hyper = {"n_epochs": 12, "beta": beta, "dt_W": 0.3, "T1": 300, "T2": 100}
    run = deep_nb.train(model, "or", seeds=range(6), hyper=hyper, record=("weights",))
    found = study.verdicts(run)
    assert found["seed"].values.tolist() == [*range(6)]
    reports = [analysis.phase_report(run, epoch)["certified"] for epoch in range(13)]
    every = np.all([report.values for report in reports], axis=0)
    assert found["certified"].values.tolist() == every.all(axis=1).tolist()
    but_one = every[:, : 1 if rule == "adjoint" else 2].all(axis=1)
    assert found["certified_free"].values.tolist() == but_one.tolist()
    if rule == "asymep":
        assert found["certified"].sum() < found["certified_free"].sum() < 6
    if rule == "stdp":
        free = np.all([report.sel(phase="free").values for report in reports], axis=0)
        assert found["certified_free"].sum() < free.sum()
    assert found["learned"].values.tolist() == at_criterion(run)[:, -1].tolist()
    speed = np.sqrt(4 * deep_nb.trajectory(run)["projected_residual"].values[:, 300])
    assert found["at_rest"].values.tolist() == (speed < 1e-6).tolist()


@pytest.mark.slow
def test_models_are_compared_by_the_counts_of_their_verdicts():
    hyper = {"n_epochs": 90, "T1": 300, "T2": 100}
    models = [
        deep_nb.fast_contracting_DEEP.replace(
            hyper=deep_nb.fast_contracting_DEEP.hyper.replace(**hyper)
        ),
        deep_nb.DEEP.replace(hyper=deep_nb.DEEP.hyper.replace(n_epochs=9, T1=50, T2=40)),
    ]
    table = study.compare(models, ["or", "xor"], range(3))
    columns = ["model", "task", "learned", "certified", "but for −β", "at rest", "all", "epochs"]
    assert table.columns.tolist() == columns
    pairs = [*itertools.product(models, ["or", "xor"])]
    assert [*table[["model", "task"]].itertuples(index=False, name=None)] == [
        (model.name, task) for model, task in pairs
    ]
    for row, (model, task) in zip(table.to_numpy(), pairs, strict=True):
        run = deep_nb.train(model, task, seeds=range(3), record=("weights",))
        reached = at_criterion(run)
        certified, free = (
            analysis.certified_throughout(run, phases).values for phases in (None, ["free", "+β"])
        )
        rest = analysis.stability_report(run)["at_rest"].values
        counts = [reached[:, -1], certified, free, rest, reached[:, -1] & certified & rest]
        assert row[2:7].tolist() == [of.sum() for of in counts]
        first = [np.flatnonzero(of)[0] if of.any() else np.inf for of in reached]
        assert row[7] == np.median(first)
    assert table["but for −β"].tolist() == [3, 3, 0, 0]
    assert table["learned"].iloc[0] > 0
    assert table["epochs"].iloc[-1] == np.inf


def test_all_verdicts_must_hold_for_the_same_network():
    found = xr.Dataset({
        "learned": ("seed", [True, True, False, True]),
        "certified": ("seed", [True, False, True, True]),
        "certified_free": ("seed", [True, True, True, True]),
        "at_rest": ("seed", [False, True, True, True]),
    })  # fmt: skip
    with mock.patch.object(study, "verdicts", return_value=found):
        row = study.compare([QUICK], ["id"], range(4)).iloc[0]
    assert row.tolist()[2:7] == [3, 3, 4, 3, 1]


def test_counts_become_a_table_in_markdown():
    rows = [
        ("B", "xor", 1, 2, 3),
        ("B", "and", 4, 5, 6),
        ("A", "xor", 7, 8, 9),
        ("A", "and", 0, 0, 9),
    ]
    table = pd.DataFrame(rows, columns=["model", "task", "learned", "certified", "at rest"])
    assert study.readme_table(table, 9) == (
        "| model | XOR | AND |\n| --- | --- | --- |\n"
        "| B | 1 · 2 · 3 | 4 · 5 · 6 |\n| A | 7 · 8 · 9 | 0 · 0 · 9 |\n"
        "\nlearned · certified · at rest within the 1000 steps of the free phase, of 9 networks\n"
    )


def test_leaky_deep_is_certified_by_no_theorem():
    model = study.LEAKY
    assert (model.outflow, model.absolute_outflow, model.rule) == (1, False, "asymep")
    assert model.hyper.beta > model.leak > 0
    assert [of.name for of in study.COMPARED] == [
        "DEEP", "DEEP_oh", "EP_asym", "leaky DEEP", "contracting DEEP", "fast contracting DEEP",
    ]  # fmt: skip


# Architectures


@layouts
@pytest.mark.parametrize("kind", study.ARCHITECTURES)
def test_architectures_are_topologies_that_train(kind, layout):
    """A subset of the complete one, the same for the same seed."""
    mask = study.architecture(kind, layout, 5)
    assert (mask.shape, mask.dtype) == ((layout.N, layout.N), bool)
    assert not (mask & ~complete(layout)).any()
    assert mask.any()
    np.testing.assert_array_equal(mask, study.architecture(kind, layout, 5))


@layouts
@pytest.mark.parametrize("kind", study.ARCHITECTURES)
def test_random_architectures_depend_on_the_seed(kind, layout):
    masks = {study.architecture(kind, layout, seed).tobytes() for seed in range(30)}
    if kind in study.FIXED:
        assert len(masks) == 1
    else:
        assert len(masks) > 20


def test_the_layered_architecture_connects_neighbouring_layers():
    mask = study.architecture("layered", DEEPER, 0)
    layers = [["x0"], [f"h{i}" for i in range(5)], [f"h{i}" for i in range(5, 9)], ["y0"]]
    expected = {(pre, post) for pre in ["bias"] for of in layers[1:] for post in of}
    for one, other in itertools.pairwise(layers):
        expected |= {*itertools.product(one, other)}
        expected |= {*itertools.product(other, one)} if "x0" not in one else set()
    names = DEEPER.labels
    assert {(names[i], names[j]) for i, j in np.argwhere(mask)} == expected


@layouts
@pytest.mark.parametrize("kind", ["ring", "small world"])
def test_hidden_neurons_of_rings_are_between_complete_inputs_and_outputs(kind, layout):
    mask = study.architecture(kind, layout, 1)
    inputs, hidden, outputs = groups(layout)
    assert mask[np.ix_(inputs, hidden + outputs)].all()
    assert mask[np.ix_(hidden, outputs)].all()
    assert mask[np.ix_(outputs, hidden)].all()
    np.testing.assert_array_equal(mask[np.ix_(outputs, outputs)], ~np.eye(len(outputs), dtype=bool))
    among = mask[np.ix_(hidden, hidden)]
    np.testing.assert_array_equal(among, among.T)


@layouts
def test_a_ring_connects_each_hidden_neuron_to_both_neighbours(layout):
    _, hidden, _ = groups(layout)
    among = study.architecture("ring", layout, 0)[np.ix_(hidden, hidden)]
    n = len(hidden)
    for i in range(n):
        assert {*np.flatnonzero(among[i])} == {(i - 1) % n, (i + 1) % n}


def test_a_small_world_keeps_its_number_of_connections():
    """Of a ring of four neighbours; about a fifth of them are elsewhere."""
    layout = Layout(2, True, (14,), 1)
    _, hidden, _ = groups(layout)
    elsewhere = 0
    for seed in range(100):
        among = study.architecture("small world", layout, seed)[np.ix_(hidden, hidden)]
        assert among.sum() == 14 * 4
        assert nx.is_connected(nx.from_numpy_array(among))
        away = np.abs(np.subtract.outer(range(14), range(14)))
        elsewhere += (among & ~np.isin(away, [1, 2, 12, 13])).sum()
    # A rewired connection may return to the ring, with a probability of about 1/10; 2800
    # connections have a standard deviation of 0.8 %.
    assert 0.14 < elsewhere / (100 * 14 * 4) < 0.22


def test_a_random_architecture_has_each_synapse_on_its_own():
    layout = Layout(2, True, (60,), 1)
    possible = complete(layout)
    mask = study.architecture("random", layout, 3)
    share = mask[possible].mean()
    assert abs(share - 0.3) < 5 * np.sqrt(0.3 * 0.7 / possible.sum())
    both = possible & possible.T
    together = (mask & mask.T)[both].mean()  # each direction by itself: 0.3²
    assert abs(together - 0.09) < 5 * np.sqrt(0.09 * 0.91 / (both.sum() / 2))
    often = np.mean([study.architecture("random", layout, seed) for seed in range(200)], axis=0)
    assert often[~possible].max() == 0
    # No place is preferred: 5 standard deviations of 200 draws, for 4000 places.
    assert np.abs(often[possible] - 0.3).max() < 5 * np.sqrt(0.3 * 0.7 / 200)


@layouts
def test_an_acyclic_architecture_has_no_cycle_and_every_synapse_that_makes_none(layout):
    inputs, hidden, outputs = groups(layout)
    for seed in range(5):
        mask = study.architecture("acyclic", layout, seed)
        assert nx.is_directed_acyclic_graph(nx.from_numpy_array(mask, create_using=nx.DiGraph))
        assert mask[np.ix_(inputs, hidden + outputs)].all()
        assert mask[np.ix_(hidden, outputs)].all()
        pairs = itertools.combinations(hidden + outputs, 2)
        assert all(mask[i, j] + mask[j, i] == 1 for i, j in pairs)


def test_every_order_of_hidden_neurons_occurs():
    layout = Layout(2, True, (3,), 1)
    orders = set()
    for seed in range(60):
        mask = study.architecture("acyclic", layout, seed)
        receivers = mask[3:6, 3:6].sum(axis=1)
        orders.add(tuple(receivers.tolist()))
    assert orders == {*itertools.permutations(range(3))}  # 6 · (5/6)⁶⁰ ≈ 1e-4 to miss one


@pytest.mark.parametrize("kind", study.SUITED)
def test_suited_models_change_what_is_listed_and_nothing_else(kind):
    model = deep_nb.contracting_DEEP
    own = study.suited(model, kind)
    changes = study.SUITED[kind]
    for name in dict(model.hyper):
        expected = changes.get(name, dict(model.hyper)[name])
        assert dict(own.hyper)[name] == (
            (expected,) if name == "N_H" and kind == "random" else expected
        )
    assert own.leak == changes.get("leak", 0.25)
    assert own.replace(leak=model.leak, hyper=model.hyper) == model
    assert own.hyper.beta < own.leak  # each phase contracts
    assert "leak" in study.SUITED["random"]  # asking for it does not remove it


@pytest.mark.parametrize("kind", study.ARCHITECTURES)
def test_networks_learn_on_masks_of_their_own(kind):
    with mock.patch.object(study, "train", wraps=deep_nb.train) as trained:
        found = study.learn_on(kind, QUICK, "or", [4, 9, 2])
    calls = [call.kwargs for call in trained.call_args_list]
    layout = Problem.of(QUICK, "or").layout
    for call in calls:
        for seed in call["seeds"]:
            expected = study.architecture(kind, layout, seed)
            np.testing.assert_array_equal(call["topology"], expected)
    assert [seed for call in calls for seed in call["seeds"]] == [4, 9, 2]
    assert found["seed"].values.tolist() == [4, 9, 2]
    mask = study.architecture(kind, layout, 9)
    run = deep_nb.train(QUICK, "or", seeds=[9], topology=mask, record=("weights",))
    xr.testing.assert_identical(found.sel(seed=[9]), study.verdicts(run))
    assert found["certified"].all()  # the theorem holds for every mask


@pytest.mark.slow
def test_architectures_are_counted_with_the_settings_that_suit_them(monkeypatch):
    suits = {"random": {"leak": 0.3, "N_H": 9}, "acyclic": {"n_epochs": 11}}
    monkeypatch.setattr(study, "SUITED", suits)
    hyper = QUICK.hyper.replace(n_epochs=50, T1=100, T2=60)
    model = QUICK.replace(hyper=hyper)
    table = study.compare_architectures(model, ["or", "id"], [1, 2, 3])
    assert table.columns.tolist() == [
        "architecture", "setting", "task", "learned", "certified", "both",
    ]  # fmt: skip
    expected = [
        (kind, setting, task)
        for kind in study.ARCHITECTURES
        for setting in ["the model's", *["suited"] * (kind in suits)]
        for task in ["or", "id"]
    ]
    assert [*table.iloc[:, :3].itertuples(index=False, name=None)] == expected
    for row in table.itertuples():
        own = study.suited(model, row.architecture) if row.setting == "suited" else model
        found = study.learn_on(row.architecture, own, row.task, [1, 2, 3])
        learned, certified = found["learned"].values, found["certified"].values
        counts = (learned.sum(), certified.sum(), (learned & certified).sum())
        assert (row.learned, row.certified, row.both) == counts
    assert table["certified"].tolist() == [3] * 16
    assert table["learned"].nunique() > 1


def test_only_networks_with_both_verdicts_count_as_both():
    found = xr.Dataset({
        "learned": ("seed", [True, True, False]),
        "certified": ("seed", [True, False, False]),
    })  # fmt: skip
    with mock.patch.object(study, "learn_on", return_value=found):
        table = study.compare_architectures(QUICK, ["or"], range(3))
    assert table[["learned", "certified", "both"]].drop_duplicates().to_numpy().tolist() == [
        [2, 1, 1]
    ]


def test_architectures_are_drawn_with_wilson_intervals():
    rows = [
        ("complete", "the model's", "xor", 8, 8, 8), ("complete", "the model's", "and", 7, 8, 6),
        ("random", "the model's", "xor", 1, 8, 0), ("random", "the model's", "and", 2, 8, 2),
        ("random", "suited", "xor", 5, 8, 4), ("random", "suited", "and", 8, 8, 8),
    ]  # fmt: skip
    columns = ["architecture", "setting", "task", "learned", "certified", "both"]
    ax = plt.subplots()[1]
    study.draw_architectures(pd.DataFrame(rows, columns=columns), 8, ax)
    drawn = {"XOR": ([8, 0, 4], "#0072B2", "o", -0.07), "AND": ([6, 2, 8], "#D55E00", "s", 0.07)}
    for bars, (label, (counts, colour, marker, shift)) in zip(
        ax.containers, drawn.items(), strict=True
    ):
        line, _, (upwards,) = bars.lines
        x = np.arange(3) + shift
        np.testing.assert_allclose(line.get_xdata(), x, atol=1e-15)
        np.testing.assert_allclose(line.get_ydata(), np.array(counts) / 8)
        ends = [proportion_confint(n, 8, method="wilson") for n in counts]
        expected = [[[a, low], [a, high]] for a, (low, high) in zip(x, ends, strict=True)]
        np.testing.assert_allclose(upwards.get_segments(), expected, atol=1e-12)
        assert (bars.get_label(), line.get_marker(), line.get_linestyle()) == (
            label,
            marker,
            "None",
        )
        assert to_rgb(line.get_color()) == to_rgb(colour)
    assert [tick.get_text() for tick in ax.get_xticklabels()] == [
        "complete", "random", "random\nsuited",
    ]  # fmt: skip
    assert [*ax.get_xticks()] == [0, 1, 2]
    assert (ax.get_ylim(), ax.get_ylabel()) == ((-0.03, 1.03), "share learned and certified")
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["XOR", "AND"]


# Parity


def test_parity_is_learned_at_the_settings_of_its_bits(monkeypatch):
    monkeypatch.setitem(study.PARITY, 2, {"n_epochs": 150, "T1": 400, "T2": 200})
    monkeypatch.setitem(study.PARITY, 3, {"N_H": 4, "n_epochs": 5, "T1": 50, "T2": 50})
    with mock.patch.object(study, "train", wraps=deep_nb.train) as trained:
        table = study.learn_parity(deep_nb.contracting_DEEP, [3, 2], range(4))
    for call, n in zip(trained.call_args_list, (3, 2), strict=True):
        task, hyper = call.args[1], call.kwargs["hyper"]
        assert (task.X.shape, hyper) == ((2**n, n), study.PARITY[n])
    assert table.columns.tolist() == ["bits", "learned", "certified", "median epochs"]
    assert table["bits"].tolist() == [3, 2]
    assert table["certified"].tolist() == [4, 4]
    assert table["learned"].iloc[0] == "0% [0%, 49%]"
    assert table["median epochs"].iloc[0] == np.inf
    hyper = study.PARITY[2]
    reached = at_criterion(
        deep_nb.train(deep_nb.contracting_DEEP, "xor", seeds=range(4), hyper=hyper)
    )
    assert reached[:, -1].any()
    share = analysis.share(int(reached[:, -1].sum()), 4)
    assert table["learned"].iloc[1] == f"{share.value:.0%} [{share.low:.0%}, {share.high:.0%}]"
    first = [np.flatnonzero(of)[0] if of.any() else np.inf for of in reached]
    assert table["median epochs"].iloc[1] == np.median(first)


def test_the_settings_of_parities_are_hyperparameters_of_the_model():
    for changes in study.PARITY.values():
        assert deep_nb.contracting_DEEP.hyper.replace(**changes).N_H[0] >= 14
    assert [*study.PARITY] == [2, 3, 4]


# One sign per neuron


@layouts
@pytest.mark.parametrize("inputs", [False, True])
def test_neurons_have_the_signs_of_dales_law(layout, inputs):
    signs = dict(zip(layout.labels, study.dale_signs(layout, inputs).tolist(), strict=True))
    for name, sign in signs.items():
        if name[0] == "h":
            assert sign == (1, -1)[int(name[1:]) % 2]
        else:
            assert sign == {"x": int(inputs), "b": 0, "y": 1}[name[0]]


def test_weights_of_the_wrong_sign_become_zero():
    signs = np.array([1, -1, 0])
    W = np.array([[[2.0, -3, 0], [2, -3, 0], [2, -3, 0]], [[-1.0, 1, -1], [1, -1, 1], [1, 1, -1]]])
    expected = [[[2, 0, 0], [0, -3, 0], [2, -3, 0]], [[0, 1, 0], [0, -1, 0], [1, 1, -1]]]
    np.testing.assert_array_equal(study.obey(signs, W, np.array([0, 1])), expected)
    assert W[0, 0, 1] == -3  # what was given is left as it is


@pytest.mark.parametrize("inputs", [False, True])
def test_weights_obey_their_signs_in_every_epoch(inputs):
    problem = Problem.of(QUICK, "xor")
    signs = study.dale_signs(problem.layout, inputs)
    run = train_constrained(problem, [3, 4], partial(study.obey, signs), ("weights",))
    W = run["W_epochs"].values
    assert W.shape[1] == 9
    for i, sign in enumerate(signs):
        if sign:
            assert (W[:, :, i] * sign >= 0).all()
        else:
            assert (W[:, :, i] < 0).any()
            assert (W[:, :, i] > 0).any()
    assert (np.diff(W, axis=1) != 0).any(axis=(1, 2, 3)).all()  # they learn


@pytest.mark.slow
def test_networks_under_dales_law_are_counted():
    runs = []

    def kept(*arguments):
        runs.append(train_constrained(*arguments))
        return runs[-1]

    hyper = QUICK.hyper.replace(n_epochs=60, T1=200, T2=100)
    model = QUICK.replace(hyper=hyper)
    with mock.patch.object(study, "train_constrained", kept):
        table = study.learn_under_dale(model, ["or", "xor"], range(3))
    assert table.columns.tolist() == ["one sign for", "task", "learned", "certified"]
    names = [*itertools.product(["hidden and outputs", "inputs as well"], ["or", "xor"])]
    assert [*table.iloc[:, :2].itertuples(index=False, name=None)] == names
    assert table["certified"].tolist() == [3] * 4  # whatever the constraint
    for row, run in zip(table.itertuples(), runs, strict=True):
        assert run["seed"].values.tolist() == [0, 1, 2]
        assert run.attrs["task"] == f'{{"name": "{row.task}"}}'
        W, labels = run["W_epochs"].values, run["pre"].values
        outside = [name for name in labels if name[0] == "x" and row.Index >= 2]
        for name in [*outside, "h0", "h2", "y0"]:
            assert (W[:, :, labels == name] >= 0).all()
        assert (W[:, :, labels == "h1"] <= 0).all()
        if row.Index < 2:
            assert (W[:, :, labels == "x0"] < 0).any()
        done = at_criterion(run)[:, -1].mean()
        assert row.learned.startswith(f"{done:.0%} [")
    assert table["learned"].nunique() > 1


# Changed weights


def test_noise_is_relative_and_of_the_size_asked_for():
    run = deep_nb.train(QUICK, "xor", seeds=range(60), hyper={"n_epochs": 1, "T1": 2, "T2": 2})
    W = run["W"].values
    for noise in (0.01, 0.3):
        changed = study.with_noise(run, noise)
        with np.errstate(invalid="ignore"):
            factor = (changed["W"].values / W - 1) / noise
        np.testing.assert_array_equal(np.isnan(factor), W == 0)  # absent synapses stay so
        drawn = factor[W != 0]
        # A standard normal: 5 standard errors of the mean and the standard deviation.
        assert abs(drawn.mean()) < 5 / np.sqrt(drawn.size)
        assert abs(drawn.std() - 1) < 5 / np.sqrt(2 * drawn.size)
        assert changed.drop_vars("W").identical(run.drop_vars("W"))


def test_noise_is_drawn_by_the_seed_of_each_network(learners):
    changed = study.with_noise(learners, 0.1)
    alone = study.with_noise(learners.sel(seed=[5]), 0.1)
    np.testing.assert_array_equal(changed["W"].sel(seed=[5]), alone["W"])
    relative = changed["W"].values / np.where(learners["W"].values == 0, 1, learners["W"].values)
    assert not np.isclose(relative[0], relative[1])[learners["mask"].values].any()
    xr.testing.assert_identical(study.with_noise(learners, 0.0), learners)
    assert changed["W"].attrs == learners["W"].attrs


@pytest.mark.parametrize("bits", [2, 3, 6, 16])
def test_quantised_weights_are_on_few_levels_around_zero(learners, bits):
    W, rounded = learners["W"].values, study.quantised(learners, bits)["W"].values
    top = 2 ** (bits - 1) - 1
    for before, after in zip(W, rounded, strict=True):
        step = np.abs(before).max() / top
        levels = after / step
        np.testing.assert_allclose(levels, levels.round(), atol=1e-9)
        assert np.abs(levels).max() == pytest.approx(top)
        assert len({*levels.round().ravel()}) <= 2**bits - 1
        assert np.abs(after - before).max() <= step / 2 * (1 + 1e-9)
    if bits == 2:
        assert {*np.sign(rounded).ravel()} <= {-1, 0, 1}
        assert len(np.unique(np.abs(rounded[0]))) == 2


def test_weights_that_are_all_zero_are_quantised_to_zero(learners):
    run = learners.copy(deep=True)
    run["W"][1] = 0.0
    rounded = study.quantised(run, 3)["W"].values
    assert not rounded[1].any()
    np.testing.assert_array_equal(rounded[[0, 2]], study.quantised(learners, 3)["W"][[0, 2]])


def test_changed_networks_are_tested_anew(learners):
    def negated(run):
        return run.assign(W=-run["W"])

    def half(run):
        """One network answers wrongly, another rightly without reaching its targets."""
        W = run["W"].copy(deep=True)
        W[0] *= -1
        W[1, :, -1] *= 0.6
        return run.assign(W=W)

    changes = {"same": lambda run: run, "negated": negated, "half": half}
    table = study.after_change(learners, changes)
    assert table.columns.tolist() == ["weights", "criterion", "labels", "certified"]
    assert table["weights"].tolist() == [*changes]
    for row, change in zip(table.itertuples(), changes.values(), strict=True):
        run = change(learners)
        answer = deep_nb.predict(run, run["X"].values)
        wrong = (answer["label"].values != run["Y"].values).any(axis=(1, 2))
        mse = ((answer["output"].values - run["Y"].values) ** 2).mean(axis=(1, 2))
        assert row.labels == (~wrong).sum()
        assert row.criterion == ((mse < 0.01) & ~wrong).sum()
    assert table["criterion"].tolist() == [3, 0, 1]
    assert table["labels"].tolist() == [3, 0, 2]
    assert table["certified"].tolist() == [3, 3, 3]


def test_certificates_after_a_change_are_those_of_the_changed_weights():
    run = deep_nb.train(study.LEAKY, "or", seeds=range(3), hyper={"n_epochs": 3, "T1": 9, "T2": 9})
    changes = {"same": lambda run: run, "large": lambda run: run.assign(W=100 * run["W"])}
    certified = study.after_change(run, changes)["certified"].tolist()
    assert certified == [3, 0]


# Displacements


def test_the_displacement_of_one_neuron_is_its_bound():
    """s* = w / λ without other synapses: both are |w' − w| / λ, unless the clip stops it."""
    run, changed = one_neuron(0.1), one_neuron(0.16)
    found = study.displacement(run, changed)
    assert found["distance"].dims == found["bound"].dims == ("seed", "sample")
    np.testing.assert_allclose(found["distance"], 0.06 / 0.25, atol=1e-8)
    np.testing.assert_allclose(found["bound"], 0.06 / 0.25, rtol=1e-9)
    clipped = study.displacement(run, one_neuron(9.0))
    np.testing.assert_allclose(clipped["distance"], 1 - 0.1 / 0.25, atol=1e-8)
    np.testing.assert_allclose(clipped["bound"], 8.9 / 0.25, rtol=1e-9)


def test_displacements_are_those_of_rest_points_and_below_their_bound(learners):
    np.testing.assert_array_equal(study.displacement(learners, learners)["distance"], 0.0)
    for noise in (0.01, 0.3, 3.0):
        changed = study.with_noise(learners, noise)
        found = study.displacement(learners, changed)
        rest, moved = (analysis.rest_point(run).S for run in (learners, changed))
        distance = np.abs(moved - rest).sum(axis=2)
        np.testing.assert_allclose(found["distance"], distance, atol=1e-12)
        assert found["distance"].min() > 1e-4
        assert (found["distance"] <= found["bound"] + 1e-9).all()
        for k, W in enumerate(changed["W"].values):
            states = np.column_stack([learners["X"].values, np.ones(4), rest[k]])
            forces = []
            for weights in (W, learners["W"].values[k]):
                decay = 0.25 + np.abs(weights[3:]).sum(axis=1)
                forces.append(states @ weights[:, 3:] - rest[k] * decay)
            bound = np.abs(forces[0] - forces[1]).sum(axis=1) / 0.25
            np.testing.assert_allclose(found["bound"][k], bound, rtol=1e-9)


# Kicks


def test_kicks_of_one_neuron_are_those_of_its_seed():
    """Two free neurons, of which the hidden one rests at 0 and the output at 0.4."""
    run = one_neuron(0.1, seeds=(7, 8), T1=30)
    found = study.kicked(run, 0.02)
    assert (
        found["distance"].dims == found["bound"].dims == found["right"].dims == ("seed", "sample")
    )
    for k, seed in enumerate((7, 8)):
        stream = np.random.default_rng(seed)
        s = {(m, j): (0.0, 0.4)[j] for m in range(2) for j in range(2)}
        far = [0.0, 0.0]
        for _ in range(30):
            xi = stream.uniform(-0.02, 0.02, (2, 2))
            for m, j in s:
                ds = (0.0, 0.1)[j] - 0.25 * s[m, j]
                s[m, j] = min(max(s[m, j] + 0.05 * ds + xi[m, j], 0.0), 1.0)
            far = [max(far[m], s[m, 0] + abs(s[m, 1] - 0.4)) for m in range(2)]
        np.testing.assert_allclose(found["distance"][k], far, atol=1e-8)
        right = [(s[m, 1] >= 0.5) == (m == 1) for m in range(2)]  # the targets of ID are 0 and 1
        assert found["right"][k].values.tolist() == right
    np.testing.assert_allclose(found["bound"], 2 * 0.02 / (0.05 * 0.25), rtol=1e-9)
    assert found["distance"].min() > 0.05


def test_without_a_kick_networks_stay_at_rest(learners):
    found = study.kicked(learners, 0.0)
    assert found["distance"].max() < 1e-9
    assert not found["bound"].any()
    assert found["right"].all()


@pytest.mark.parametrize("kick", [0.003, 0.05, 1.0])
def test_kicked_networks_stay_within_the_bound(learners, kick):
    found = study.kicked(learners, kick)
    assert (found["distance"] <= found["bound"]).all()
    factor = analysis.euler_factor_l1(analysis.jacobian(learners), 0.05)
    for k in range(3):
        np.testing.assert_allclose(found["bound"][k], 7 * kick / (1 - factor[k]), rtol=1e-9)
    assert found["distance"].min() > kick
    xr.testing.assert_identical(found.isel(seed=[2]), study.kicked(learners.isel(seed=[2]), kick))


def test_the_bound_is_by_the_factor_of_the_step_whatever_the_outflow():
    """With the signed outflow, an inhibitory neuron decays less than its synapses weigh."""
    model = study.LEAKY.replace(leak=1.0)
    hyper = {"N_H": [1], "n_epochs": 1, "T1": 9, "T2": 2}
    run = deep_nb.train(model, "id", seeds=7, hyper=hyper)
    run["W"][:] = 0.0
    run["W"][0, 2, 3], run["W"][0, 3, 2] = -0.25, 0.125
    # h: decay 1 − 0.25, synapse 0.25; y: decay 1.125, synapse 0.125
    factor = max(1 - 0.05 * 0.75 + 0.05 * 0.25, 1 - 0.05 * 1.125 + 0.05 * 0.125)
    np.testing.assert_allclose(study.kicked(run, 0.1)["bound"], 2 * 0.1 / (1 - factor), rtol=1e-9)


def test_shaken_networks_are_summed_up(learners):
    table = study.shake(learners, [0.001, 0.3])
    assert table.columns.tolist() == ["kick", "median", "farthest", "bound", "labels right"]
    for row, kick in zip(table.to_numpy(), (0.001, 0.3), strict=True):
        found = study.kicked(learners, kick)
        distance = found["distance"].values
        right = [of.all() for of in found["right"].values]
        expected = [
            kick,
            np.median(distance),
            distance.max(),
            found["bound"].values.max(),
            sum(right),
        ]
        assert row.tolist() == np.round(np.array(expected, dtype=float), 4).tolist()
    assert table["labels right"].tolist()[0] == 3
    assert table["median"].iloc[0] < table["farthest"].iloc[0] < table["bound"].iloc[0]
