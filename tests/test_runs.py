"""Runs that contradict themselves are refused; runs of the same settings are put together."""

import json
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
import xarray as xr

import deep_nb
from deep_nb import analysis, plotting
from deep_nb.dynamics import vector_field
from deep_nb.engines.reference import relax
from deep_nb.models import MODELS, Hyperparameters
from deep_nb.problem import Problem
from deep_nb.randomness import initial_weights
from deep_nb.rules import RULES, State, learn
from deep_nb.run import _fingerprint_of, problem_of, sealed
from deep_nb.tasks import Task
from deep_nb.topology import complete

from .conftest import SHORT


def of_hyper(run, **changes):
    hyper = {**json.loads(run.attrs["hyper"]), **changes}
    return run.assign_attrs(hyper=json.dumps(hyper))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda run: run.isel(sample=[0, 1]), "samples left out"),
        (lambda run: run.isel(sample=[1, 0, 2, 3]), "every sample from 0 to 3"),
        (lambda run: run.isel(epoch=slice(0, 2)), "2 of the dimension 'epoch'.* give 4"),
        (lambda run: run.isel(epoch=slice(None, None, -1)), "every epoch from 0 to 3"),
        (lambda run: run.isel(snapshot=[0, 4]), "2 of the dimension 'snapshot'.* give 5"),
        (lambda run: run.isel(input=[1, 0]), r"every input in the order \['x0', 'x1'\]"),
        (lambda run: run.isel(neuron=slice(None, None, -1)), "every neuron in the order"),
        (lambda run: run.drop_vars("epoch"), "no labels of the dimension epoch"),
        (lambda run: run.drop_vars("neuron"), "no labels of the dimension neuron"),
        (lambda run: run.drop_vars("W_epochs"), "W_epochs"),
        (lambda run: run.assign_attrs(record="[]"), "contains W_epochs, but did not record it"),
        (lambda run: run.assign_attrs(engine="reference"), "engine, X, Y or mask were changed"),
        (lambda run: run.assign_attrs(task='{"name": "or"}'), "changed"),
        (lambda run: of_hyper(run, dt=0.1), "changed"),
        (lambda run: of_hyper(run, n_epochs=5), "4 of the dimension 'epoch'.* give 5"),
        (lambda run: of_hyper(run, N_H=[4]), "9 of the dimension 'pre'.* give 8"),
        (lambda run: run.assign(Y=1 - run["Y"]), "changed"),
        (lambda run: run.assign(X=run["X"] / 2), "changed"),
        (lambda run: run.drop_attrs(deep=False), "not a run"),
    ],
)
def test_runs_that_contradict_themselves_are_refused_everywhere(
    change, message, short_run, tmp_path
):
    changed = change(short_run)
    for use in (
        deep_nb.settings,
        lambda run: deep_nb.save(run, tmp_path / "run.nc"),
        lambda run: deep_nb.concat([run]),
        analysis.learned,
        lambda run: analysis.stability_report(run, 1),
        plotting.plot_mse,
    ):
        with pytest.raises(ValueError, match=message):
            use(changed)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def mixed():
    """Networks that diverge in epoch 0, in epoch 1 and never."""
    hyper = {**SHORT, "dt_W": 1.0}
    run = deep_nb.train("EP_asym", "xor", seeds=range(3), hyper=hyper, record=("weights",))
    first = deep_nb.train("EP_asym", "xor", seeds=range(3), hyper={**hyper, "n_epochs": 1})
    for k, epoch in enumerate([0, 1]):
        run["diverged"][k], run["diverged_epoch"][k] = True, epoch
        for name, variable in run.items():
            if variable.dims == ("seed", "epoch") and variable.dtype.kind == "f":
                variable[k, epoch:] = np.nan
            elif name.startswith("steps"):
                variable[k, epoch:] = 0
    for name in ("S_free", "S_nudged"):
        run[name][0], run[name][1] = np.nan, first[name][1]
    return run


def put(name, value, *place):
    """Change one number of a run."""

    def change(run):
        run = run.copy(deep=True)
        run[name][place] = value(run[name][place]) if callable(value) else value
        return run

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            put("diverged_epoch", 4, 1),
            "diverged_epoch must be an epoch where diverged is true, and -1 elsewhere",
        ),
        (
            put("diverged_epoch", -2, 2),
            "diverged_epoch must be an epoch where diverged is true, and -1 elsewhere",
        ),
        (
            put("diverged_epoch", 3, 2),
            "diverged_epoch must be an epoch where diverged is true, and -1 elsewhere",
        ),
        (
            put("diverged", False, 1),
            "diverged_epoch must be an epoch where diverged is true, and -1 elsewhere",
        ),
        (
            put("mse_free", -1e-9, 2, 1),
            "mse_free must be of at least 0, and NaN from the epoch of divergence on",
        ),
        (
            put("mse_nudged", np.nan, 2, 3),
            "mse_nudged must be of at least 0, and NaN from the epoch of divergence on",
        ),
        (
            put("residual_free", 0.0, 0, 0),
            "residual_free must be of at least 0, and NaN from the epoch of divergence on",
        ),
        (
            put("dW_norm", np.nan, 1, 0),
            "dW_norm must be of at least 0, and NaN from the epoch of divergence on",
        ),
        (
            put("db_norm", 3.0, 1, 1),
            "db_norm must be of at least 0, and NaN from the epoch of divergence on",
        ),
        (
            put("class_error_free", 1.25, 2, 0),
            "class_error_free must be from 0 to 1, and NaN from the epoch of divergence on",
        ),
        (put("steps_free", -3, 2, 0), "took -3 steps in a free phase, but its settings give 40"),
        (
            put("steps_nudged", 31, 2, 0),
            "took 31 steps in a nudged phase, but its settings give 30",
        ),
        (
            put("S_free", np.nan, 2),
            "S_free must be states of the dynamics, with the inputs of the task",
        ),
        (
            put("S_nudged", np.nan, 1, 0, 7),
            "S_nudged must be states of the dynamics, with the inputs of the task",
        ),
        (
            put("S_free", 0.5, 2, 1, 0),
            "S_free must be states of the dynamics, with the inputs of the task",
        ),
        (
            put("S_free", -0.01, 2, 1, 4),
            "S_free must be states of the dynamics, with the inputs of the task",
        ),
        (
            put("S_free", 1.01, 2, 1, 4),
            "S_free must be states of the dynamics, with the inputs of the task",
        ),
        (put("S_nudged", 0.5, 0), "S_nudged must be NaN where the network diverged in epoch 0"),
        (
            put("S_nudged", lambda s: 1 - s, 1, 1, -1),
            "mse_nudged must be in the last epoch that of S_nudged",
        ),
        (
            put("mse_free", lambda mse: mse + 0.01, 2, -1),
            "mse_free must be in the last epoch that of S_free",
        ),
        (put("W", lambda W: W + 0.1, 2, 0, 3), "W_epochs must be finite, and end with W"),
        (put("W_epochs", 1.0, 2, 0, 3, 3), "W_epochs must be 0 where the topology has no synapse"),
        (put("W_epochs", np.nan, 0, 2, 0, 4), "W_epochs must be finite, and end with W"),
        (put("b_epochs", 0.5, 2, 4, 3), "b_epochs must be finite, and end with b"),
        (put("b_epochs", np.inf, 2, 1, 3), "b_epochs must be finite, and end with b"),
        (
            put("n_connections", 10**9, 1, 0),
            "n_connections must be the numbers of synapses of its weights",
        ),
        (
            put("n_connections", -1, 2, 3),
            "n_connections must be the numbers of synapses of its weights",
        ),
        (
            put("n_connections", lambda n: n - 1, 2, 1),
            "n_connections must be the numbers of synapses of its weights",
        ),
    ],
)
def test_numbers_that_contradict_each_other_are_refused(change, message, mixed, tmp_path):
    deep_nb.settings(mixed)
    changed = change(mixed)
    changed.to_netcdf(tmp_path / "changed.nc", engine="netcdf4")
    for use in (
        lambda: deep_nb.settings(changed),
        lambda: deep_nb.save(changed, tmp_path / "run.nc"),
        lambda: deep_nb.load(tmp_path / "changed.nc"),
    ):
        with pytest.raises(ValueError, match=rf"\A.*this run (contradicts itself: )?{message}\Z"):
            use()
    assert [path.name for path in tmp_path.iterdir()] == ["changed.nc"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (put("b", 1.0, 1, 3), "b must be 0, because this model learns no biases"),
        (put("n_connections", 43, 1, 0), "n_connections must be the numbers of synapses"),
        (put("n_connections", 41, 1, 3), "n_connections must be the numbers of synapses"),
        (put("W", 0.0, 2, 0, 3), "n_connections must be the numbers of synapses"),
    ],
)
def test_numbers_are_compared_without_records_too(change, message):
    run = deep_nb.train("DEEP", "id", seeds=range(3), hyper=SHORT)
    with pytest.raises(ValueError, match=f"^this run contradicts itself: {message}"):
        deep_nb.settings(change(run))


def test_networks_that_diverge_are_a_run(diverged_run, tmp_path):
    xr.testing.assert_identical(
        deep_nb.load(deep_nb.save(diverged_run, tmp_path / "run.nc")), diverged_run
    )


def test_some_networks_in_another_order_are_a_run():
    run = deep_nb.train("DEEP", "xor", seeds=[4, 9, 2], hyper=SHORT)
    chosen = run.isel(seed=[2, 0])
    assert deep_nb.train(**deep_nb.settings(chosen)).equals(chosen)


def test_records_may_be_dropped_together_with_their_name(short_run):
    less = short_run.drop_vars(["W_epochs", "b_epochs", "snapshot"]).assign_attrs(record="[]")
    assert deep_nb.train(**deep_nb.settings(less)).equals(less)


def test_a_sealed_run_is_answered_with_its_new_settings(short_run):
    longer = sealed(of_hyper(short_run, T1=41))
    once = deep_nb.predict(short_run, [[0, 1]])["S"]
    assert (deep_nb.predict(longer, [[0, 1]])["S"] != once).any()


@pytest.mark.parametrize(
    "value",
    [
        {"a": 1},
        None,
        True,
        np.True_,
        10**30,
        1j,
        Path("x"),
        "\ud800",
        np.eye(2),
        np.datetime64(0, "s"),
    ],
)
def test_attributes_that_netcdf_cannot_hold_are_named(value, short_run, tmp_path):
    for run in (
        short_run.assign_attrs(note=value),
        short_run.assign(W=short_run["W"].assign_attrs(note=value)),
    ):
        message = "^this run cannot be written as netCDF: "
        with pytest.raises(ValueError, match=message) as caught:
            deep_nb.save(run, tmp_path / "run.nc")
        assert re.search("note|surrogates|multi-dimensional", str(caught.value))
        assert list(tmp_path.iterdir()) == []


def test_attributes_and_variables_of_other_kinds_are_saved(short_run, tmp_path):
    run = short_run.assign(score=("seed", [1.0, 2.0, 3.0])).assign_attrs(note=[1.5, 2.0], by="me")
    loaded = deep_nb.load(deep_nb.save(run, tmp_path / "run.nc"))
    assert loaded["score"].values.tolist() == [1, 2, 3]
    assert loaded.attrs["note"].tolist() == [1.5, 2.0]
    assert loaded.attrs["by"] == "me"


@pytest.mark.parametrize(
    "encoding",
    [{"dtype": "float32"}, {"dtype": "int16", "scale_factor": 0.01}, {"_FillValue": 0.0}],
)
def test_encodings_of_other_files_do_not_change_numbers(encoding, short_run, tmp_path):
    """`xarray.load_dataset` keeps the encoding of a compressed copy."""
    run = short_run.copy(deep=True)
    for variable in (run["W"], run["S_free"]):
        variable.encoding = encoding
    xr.testing.assert_identical(deep_nb.load(deep_nb.save(run, tmp_path / "run.nc")), short_run)
    assert run["W"].encoding == encoding


@pytest.mark.parametrize(
    ("name", "attribute", "value"),
    [
        ("W", "scale_factor", 0.5),
        ("S_free", "missing_value", 0.0),
        ("b", "_FillValue", 0.0),
        ("mse_free", "units", "days since 2000-01-01"),
        ("mse_free", "coordinates", "W"),
        ("seed", "add_offset", 1),
        ("the run", "coordinates", "W"),
    ],
)
def test_attributes_that_change_numbers_are_refused(name, attribute, value, short_run, tmp_path):
    run = short_run.copy(deep=True)
    (run if name == "the run" else run[name]).attrs[attribute] = value
    message = f"netCDF: {name} has the attribute '{attribute}', which changes values"
    with pytest.raises(ValueError, match=message):
        deep_nb.save(run, tmp_path / "run.nc")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "added",
    [{" a": 1}, {"a": ("seed", [1.0] * 3, {"units": "days since then"})}, {"a": ((" z",), [1])}],
)
def test_additions_that_netcdf_cannot_name_or_read_are_refused(added, short_run, tmp_path):
    with pytest.raises(ValueError, match=r"cannot be written as netCDF: .*(illegal|units)"):
        deep_nb.save(short_run.assign(added), tmp_path / "run.nc")


def test_the_byte_order_of_numbers_does_not_matter(short_run):
    swapped = short_run.copy(deep=True)
    for name in ("X", "Y", "W", "b"):
        swapped[name].data = swapped[name].values.astype(">f8")
    answer = deep_nb.predict(swapped, [[0, 1]])
    xr.testing.assert_identical(answer, deep_nb.predict(short_run, [[0, 1]]))


def test_runs_are_put_together_in_their_order():
    given = {"hyper": SHORT, "record": ("weights", "trajectories"), "sparse": True}
    parts = [deep_nb.train("EP_asym", "or", seeds=seeds, **given) for seeds in ([3, 1], [0], [8])]
    run = deep_nb.concat(parts)
    whole = deep_nb.train("EP_asym", "or", seeds=[3, 1, 0, 8], **given)
    xr.testing.assert_identical(run.assign_attrs(provenance=""), whole.assign_attrs(provenance=""))
    assert all(run[name].dtype == whole[name].dtype for name in run.variables)
    origins = [json.loads(part.attrs["provenance"]) for part in parts]
    assert json.loads(run.attrs["provenance"]) == origins
    again = deep_nb.concat(iter([deep_nb.concat(parts[:2]), parts[2]]))
    xr.testing.assert_identical(again, run)
    assert deep_nb.settings(run)["seeds"] == [3, 1, 0, 8]


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"seeds": [1, 5]}, "seeds must be distinct, got 1 more than once"),
        ({"task": "and"}, "0 and 1 differ in task, Y"),
        ({"hyper": {**SHORT, "dt": 0.06}}, "differ in hyper"),
        ({"sparse": True}, "differ in flags"),
        ({"engine": "reference"}, "differ in engine"),
        ({"record": ("weights",)}, "differ in record"),
        ({"model": deep_nb.DEEP.replace(leak=0.1)}, "differ in model"),
    ],
)
def test_runs_of_other_settings_are_not_put_together(other, message):
    given = {"model": "DEEP", "task": "or", "hyper": SHORT}
    first = deep_nb.train(**given, seeds=[0, 1])
    second = deep_nb.train(**{**given, "seeds": [7], **other})
    with pytest.raises(ValueError, match=message):
        deep_nb.concat([first, second])


@pytest.mark.parametrize(
    ("runs", "message"),
    [
        (lambda run: run, "must be a sequence of runs"),
        (lambda run: 3, "must be a sequence of runs"),
        (lambda run: [], "one or more runs"),
        (lambda run: [run, 3], "expected a run"),
        (lambda run: [run, run.assign_coords(seed=[7, 8, 9], z=1)], "only some of them have z"),
        (lambda run: [run.assign_attrs(provenance="{")], "provenance is missing or is not JSON"),
        (lambda run: [run.drop_vars("seed")], "seed"),
    ],
)
def test_what_is_not_runs_is_not_put_together(runs, message, short_run):
    with pytest.raises(ValueError, match=message):
        deep_nb.concat(runs(short_run))


def test_a_run_put_together_by_xarray_is_answered_with_concat(short_run):
    other = short_run.assign_coords(seed=[7, 8, 9])
    joined = xr.concat([short_run, other], "seed", data_vars="all")
    with pytest.raises(ValueError, match=r"to put runs together, use deep_nb\.concat"):
        deep_nb.settings(joined)
    with pytest.raises(ValueError, match=r"use run\.isel\(seed=\[0\]\)"):
        deep_nb.settings(short_run.isel(seed=0))


@pytest.mark.slow
def test_chunked_runs_are_runs(short_run, tmp_path):
    chunked = short_run.chunk({"seed": 1})
    for plot in (
        plotting.plot_weights,
        plotting.plot_network,
        plotting.plot_discs,
        plotting.plot_mse,
        plotting.plot_survivors,
    ):
        axes = plot(chunked)
        assert axes.get_title() == plot(short_run).get_title()
    assert plotting.plot_decision_map(chunked, n=3).get_title() == "Decision map, seed 0"
    table = analysis.network_table(chunked)
    assert table.equals(analysis.network_table(short_run))
    xr.testing.assert_identical(deep_nb.load(deep_nb.save(chunked, tmp_path / "r.nc")), short_run)


# Units, as CF and UDUNITS have them: time is in τ, so everything is a number.

#: Power of τ that the end of a long name says.
POWERS = {"1/τ²": -2, "1/τ": -1, "τ": 1}


def power(variable):
    match = re.search(r", in (1/τ²|1/τ|τ)\b", variable.attrs["long_name"] + " ")
    match = match or re.search(r", in (1/τ²)", variable.attrs["long_name"])
    return POWERS[match[1]] if match else 0


def test_saved_runs_follow_the_conventions(short_run, tmp_path):
    loaded = deep_nb.load(deep_nb.save(short_run, tmp_path / "run.nc"))
    assert loaded.attrs["Conventions"] == "CF-1.11"
    for data in (
        loaded, deep_nb.predict(loaded, [[0, 1]]), deep_nb.trajectory(loaded),
        deep_nb.decision_map(loaded, 2), analysis.stability_report(loaded),
    ):  # fmt: skip
        for variable in data.data_vars.values():
            assert variable.attrs["units"] == "1"
            assert variable.attrs["long_name"]


@pytest.mark.parametrize("name", RULES)
def test_powers_of_the_time_constant_are_those_of_the_equations(name, short_run, rng):
    """With time in other units, the same network has W, b, β and λ divided, and dt multiplied."""
    model = MODELS["EP_asym"].replace(rule=name, outflow=0.5)
    factor, hyper = 4.0, {"beta": 0.5, "T1": 30, "T2": 20, "dt": 0.05}
    here = Problem.of(model, "or", hyper)
    other = Problem.of(
        model.replace(leak=model.leak / factor),
        "or",
        {**hyper, "beta": 0.5 / factor, "dt": 0.05 * factor},
    )
    W = np.where(here.mask, rng.normal(0, 0.5, (2, *here.mask.shape)), 0)
    b, S = rng.normal(0, 0.5, W.shape[:2]), rng.uniform(size=(2, 4, here.layout.n_free))
    free, change = learn(here, State(W, b, S), relax)
    free_other, change_other = learn(other, State(W / factor, b / factor, S), relax)
    np.testing.assert_allclose(free_other.S, free.S, atol=1e-12)
    assert power(short_run["W"]) == power(short_run["b"]) == power(short_run["W_epochs"]) == -1
    assert power(short_run["S_free"]) == power(short_run["mse_free"]) == 0
    for field in ("residual", "projected_residual"):
        for phase in ("free", "nudged"):
            assert power(short_run[f"{field}_{phase}"]) == -2
        scaled = getattr(free, field) * factor ** power(short_run[f"{field}_free"])
        np.testing.assert_allclose(getattr(free_other, field), scaled, rtol=1e-9)
    exponent = 0 if name == "stdp" else power(short_run["dW_norm"])
    assert power(short_run["dW_norm"]) == power(short_run["db_norm"]) == 1
    np.testing.assert_allclose(change_other.dW, change.dW * factor**exponent, atol=1e-9)
    np.testing.assert_allclose(change_other.db, change.db * factor**exponent, atol=1e-9)


# What each variable says of itself, against numbers computed from the others


MEANINGS = {
    "mse_{}": "MSE Σ (s − y)² / 2 / M at the end of the {} phase, before the epoch's weight change",
    "class_error_{}": "share of samples misclassified after the {} phase, before the epoch's "
    "weight change",
    "residual_{}": "Σ (ds/dt)² / M at the last step of the {} phase, before the epoch's weight "
    "change, in 1/τ²",
    "projected_residual_{}": "Σ ((s(t+1) − s(t)) / dt)² / M at the last step of the {} phase, "
    "before the epoch's weight change, in 1/τ²",
    "steps_{}": "number of Euler steps performed in the {} phase",
}


def test_metrics_of_both_phases_are_what_they_say():
    """Each recomputed from the recorded weights and states."""
    record = ("weights", "trajectories")
    run = deep_nb.train("DEEP", "xor", seeds=[4, 2], hyper=SHORT, record=record)
    problem, S = problem_of(run), run["S_epochs"].values
    W, b, Y = run["W_epochs"].values, run["b_epochs"].values, run["Y"].values
    for place, (phase, end) in enumerate({"free": 40, "nudged": 70}.items()):
        for name, meaning in MEANINGS.items():
            assert run[name.format(phase)].attrs["long_name"] == meaning.format(phase)
        before, after = S[:, :, end - 1, :, 3:], S[:, :, end, :, 3:]
        answers = after[..., -1:]
        np.testing.assert_allclose(
            run[f"mse_{phase}"], ((answers - Y) ** 2).sum(axis=(2, 3)) / 2 / 4, rtol=1e-12
        )
        wrong = ((answers >= 0.5) != Y).any(axis=3).mean(axis=2)
        np.testing.assert_array_equal(run[f"class_error_{phase}"], wrong)
        moved = (((after - before) / 0.05) ** 2).sum(axis=(2, 3)) / 4
        np.testing.assert_allclose(run[f"projected_residual_{phase}"], moved, rtol=1e-9)
        for epoch in range(4):
            field = problem.fields(W[:, epoch], b[:, epoch])[place]
            speed = (vector_field(field, before[:, epoch]) ** 2).sum(axis=(1, 2)) / 4
            np.testing.assert_allclose(run[f"residual_{phase}"][:, epoch], speed, rtol=1e-9)
        np.testing.assert_array_equal(run[f"steps_{phase}"], {"free": 40, "nudged": 30}[phase])
        np.testing.assert_array_equal(run[f"S_{phase}"], S[:, -1, end])
        assert (
            run[f"S_{phase}"].attrs["long_name"] == f"states after the last epoch's {phase} phase"
        )


def test_labels_and_meanings_of_dimensions():
    """Epochs, samples and steps count from 0; snapshot k is after k epochs."""
    record = ("weights", "trajectories")
    run = deep_nb.train("DEEP", "xor", seeds=[4, 2], hyper=SHORT, record=record)
    layout = problem_of(run).layout
    start = initial_weights(np.random.RandomState(4), layout, learned_bias=False)
    np.testing.assert_array_equal(run["W_epochs"].sel(seed=4, snapshot=0), start * run["mask"])
    np.testing.assert_array_equal(run["W_epochs"].sel(snapshot=4), run["W"])
    for name, values in {"seed": [4, 2], "epoch": range(4), "snapshot": range(5)}.items():
        assert run[name].values.tolist() == list(values)
    for name, values in {"sample": range(4), "step": range(71), "input": ["x0", "x1"]}.items():
        assert run[name].values.tolist() == list(values)
    assert run["mask"].sel(pre="x0", post="y0")
    assert not run["mask"].sel(pre="y0", post="x0")
    assert {str(name): coord.attrs["long_name"] for name, coord in run.coords.items()} == {
        "seed": "seed of the network's random stream",
        "epoch": "training epoch, from 0",
        "snapshot": "epochs trained",
        "step": "Euler step within an epoch",
        "sample": "sample of the task",
        "input": "input of the task",
        "neuron": "neuron",
        "pre": "presynaptic neuron",
        "post": "postsynaptic neuron",
    }
    said = {name: run[name].attrs["long_name"] for name in ("W", "b", "W_epochs", "n_connections")}
    assert said == {
        "W": "weights after training, from pre to post, in 1/τ",
        "b": "biases b after training, in 1/τ; 0 in models that learn none",
        "W_epochs": "weights, by epochs trained, in 1/τ",
        "n_connections": "number of synapses with W ≠ 0 after the epoch",
    }
    after = np.count_nonzero(run["W_epochs"][:, 1:], axis=(2, 3))
    np.testing.assert_array_equal(run["n_connections"], after)


def test_settings_are_what_was_asked_for():
    """With no value at its default, and the hyperparameters that this run does not use, too."""
    hyper = {
        "N_H": (2, 1), "n_epochs": 3, "T1": 7, "T2": 5, "beta": 0.25, "dt": 0.01, "dt_W": 2.5,
        "reg_W": 1e-5, "stop": 1e-7, "tol_W": 0.125, "temp": 0.75, "beta_0": 0.5, "beta_1": 2.0,
    }  # fmt: skip
    assert set(hyper) == set(Hyperparameters.model_fields)
    task = Task("mine", [[0.5, 0.25], [1, 0]], [[0.75], [0.125]])
    model = MODELS["EP_asym"].replace(name="mine", leak=0.5)
    topology = complete(Problem.of(model, task, hyper).layout)
    topology[0, 4] = False
    flags = {"regularized": True, "sparse": True, "stop_criterion": True, "sign": True}
    wanted = {
        "model": model, "seeds": [9, 4], "hyper": Hyperparameters(**hyper), **flags,
        "layered": False, "engine": "reference", "record": ("trajectories", "weights"),
    }  # fmt: skip
    found = deep_nb.settings(deep_nb.train(task=task, topology=topology, **wanted))
    np.testing.assert_array_equal(found.pop("topology"), topology)
    again = found.pop("task")
    assert (again.name, again.X.tolist(), again.Y.tolist()) == (
        "mine", task.X.tolist(), task.Y.tolist(),
    )  # fmt: skip
    assert found == wanted


@pytest.mark.parametrize("engine", ["reference", "blas", "numba"])
def test_settings_name_the_engine_that_trained(engine):
    run = deep_nb.train("DEEP", "xor", seeds=0, hyper={**SHORT, "n_epochs": 1}, engine=engine)
    assert run.attrs["engine"] == deep_nb.settings(run)["engine"] == engine


def test_the_fingerprint_changes_with_each_setting(short_run):
    """Each alone; the seeds, the records, and what training gives are not among them."""
    known = {_fingerprint_of(short_run)}
    for name in ("model", "task", "hyper", "flags", "custom_topology", "engine"):
        known.add(_fingerprint_of(short_run.assign_attrs({name: "another"})))
    for name in ("mask", "X", "Y"):
        values = short_run[name].values.copy()
        values[0, 0] = not values[0, 0]
        known.add(_fingerprint_of(short_run.assign({name: (short_run[name].dims, values)})))
    bare = short_run[["mask", "Y"]].drop_vars(["sample", "input"], errors="ignore")
    for shape in ((4, 2), (2, 4)):
        X = (("row", "column"), np.arange(8.0).reshape(shape))
        known.add(_fingerprint_of(bare.assign(X=X)))
    assert len(known) == 12
    same = short_run.isel(seed=[1]).assign_attrs(record="[]", provenance="").drop_vars("W")
    assert _fingerprint_of(same) in known
    assert short_run.attrs["fingerprint"] in known


def test_the_memory_that_a_run_needs_is_that_of_its_numbers(short_run, monkeypatch):
    needed = 8 * sum(short_run[name].size for name in short_run.data_vars)
    wanted = {"seeds": range(3), "hyper": SHORT, "record": ("weights",)}
    for missing in (0, 1):
        memory = SimpleNamespace(total=needed - missing, available=needed)
        monkeypatch.setattr(psutil, "virtual_memory", lambda memory=memory: memory)
        if missing:
            with pytest.raises(ValueError, match="this run needs about 0 GB of memory, but this"):
                deep_nb.train("DEEP", "xor", **wanted)
        else:
            assert deep_nb.train("DEEP", "xor", **wanted).sizes == short_run.sizes
