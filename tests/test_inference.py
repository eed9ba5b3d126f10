import networkx as nx
import numpy as np
import pytest

import deep_nb
from deep_nb import inference
from deep_nb.dynamics import free_field, vector_field
from deep_nb.engines import ENGINES
from deep_nb.run import problem_of

from .conftest import SHORT

engines = pytest.mark.parametrize("engine", list(ENGINES))
GRID = [[0.2, 0.9], [0.0, 1.0], [0.5, 0.5]]


@engines
def test_an_answer_does_not_depend_on_the_other_inputs(short_run, engine):
    together = deep_nb.predict(short_run, GRID, engine)
    for k, point in enumerate(GRID):
        alone = deep_nb.predict(short_run.isel(seed=[1]), [point], engine)
        # BLAS may round one row otherwise than several; 1000 contracting steps keep that small.
        atol = 0 if engine == "numba" else 1e-12
        np.testing.assert_allclose(together["S"][1, k], alone["S"][0, 0], rtol=0, atol=atol)


@engines
def test_predictions_are_the_free_dynamics(engine):
    """EP with tiny weights contracts to its one rest point, so T1 steps end there."""
    run = deep_nb.train("EP_asym", "xor", seeds=3, hyper={**SHORT, "T1": 1000})
    answer = deep_nb.predict(run, GRID, engine)
    problem = problem_of(run)
    field = free_field(run["W"].values, run["b"].values, np.array(GRID), problem.model)
    S = answer["S"].values[:, :, 2:]
    speed = vector_field(field, S)
    inside = (S > 0) & (S < 1)
    assert np.abs(speed[inside]).max() < 1e-12
    assert (speed[S == 0] <= 0).all()
    np.testing.assert_array_equal(answer["S"][0, :, :2], GRID)
    np.testing.assert_array_equal(answer["output"][0, :, 0], S[0, :, -1])
    np.testing.assert_array_equal(answer["label"][0, :, 0], S[0, :, -1] >= 0.5)


@pytest.mark.parametrize(
    ("X", "message"),
    [
        ([[0, 1, 1]], r"X must have 2 columns.*got shape \(1, 3\)"),
        ([0, 1], "must have 2 dimensions"),
        ([[0, np.nan]], "must be finite"),
        ([], "must have 2 dimensions"),
    ],
)
def test_bad_inputs_are_refused(short_run, X, message):
    with pytest.raises(ValueError, match=message):
        deep_nb.predict(short_run, X)


@engines
def test_decision_map_is_predict_on_a_grid(model_run, engine):
    n = 4
    answer = deep_nb.decision_map(model_run, n, engine)
    n_inputs = model_run.sizes["input"]
    assert answer["score"].shape == (2, *[n + 1] * n_inputs)
    point = {f"x{i}": value for i, value in enumerate([0.25, 0.75][:n_inputs])}
    alone = deep_nb.predict(model_run, [list(point.values())], engine)
    here = answer.sel(point)
    np.testing.assert_array_equal(here["label"], alone["label"][:, 0, 0])
    output = alone["output"].values[:, 0]
    expected = (1 + output[:, 1] - output[:, 0]) / 2 if output.shape[1] == 2 else output[:, 0]
    rounding = 1e-12 if engine == "blas" else 0  # BLAS sums in an order of the whole grid's shape
    np.testing.assert_allclose(here["score"], expected, rtol=rounding, atol=0)


@pytest.mark.parametrize("n", [0, -1, 1.5, "9", True, 10**9])
def test_bad_resolution_is_refused(short_run, n):
    with pytest.raises(ValueError, match="n must be an integer from 1 to 1000"):
        deep_nb.decision_map(short_run, n)


def test_decision_map_needs_one_or_two_inputs():
    task = deep_nb.Task("three", np.eye(3), [[0], [1], [1]])
    run = deep_nb.train("DEEP", task, seeds=0, hyper=SHORT)
    with pytest.raises(ValueError, match=r"one or two inputs.*has 3 and 1"):
        deep_nb.decision_map(run)


def test_diverged_networks_answer_nan(diverged_run):
    with pytest.warns(RuntimeWarning, match="2 of 2 networks diverged in training"):
        answer = deep_nb.predict(diverged_run, GRID)
    assert np.isnan(answer["S"]).all()
    assert (answer["label"] == -1).all()


@engines
def test_trajectory_is_one_more_epoch(engine):
    run = deep_nb.train("DEEP", "xor", seeds=range(2), hyper=SHORT, stop_criterion=True)
    path = deep_nb.trajectory(run, engine)
    assert path["phase"].values.tolist() == ["free"] * 41 + ["nudged"] * 30
    S = path["S"].values
    assert np.isfinite(S).all()
    moved = ((np.diff(S, axis=1) / 0.05) ** 2).sum(axis=(2, 3)) / 4
    np.testing.assert_allclose(path["projected_residual"][:, 1:], moved, atol=1e-12)
    problem = problem_of(run)
    field = free_field(run["W"].values, run["b"].values, problem.X, problem.model)
    speed = (vector_field(field, S[:, 39, :, 3:]) ** 2).sum(axis=(1, 2)) / 4
    np.testing.assert_allclose(path["residual"][:, 40], speed, atol=1e-12)
    mse = ((S[..., -1] - problem.Y[:, 0]) ** 2).sum(axis=2) / 2 / 4
    np.testing.assert_allclose(path["mse"][:, 1:], mse[:, 1:], atol=1e-12)


def test_trajectory_of_diverged_networks_is_nan(diverged_run):
    path = deep_nb.trajectory(diverged_run)
    assert np.isnan(path["mse"]).all()
    assert np.isnan(path["S"][..., 3:]).all()


def test_each_seed_draws_its_own_start():
    """With a step too small to move, predict shows where it starts from."""
    run = deep_nb.train("DEEP", "xor", seeds=[3, 8], hyper={**SHORT, "dt": 1e-12})
    S = deep_nb.predict(run, GRID)["S"].values[..., 3:]
    for k, seed in enumerate((3, 8)):
        start = np.random.RandomState(seed).uniform(0, 0.1, 6)
        np.testing.assert_allclose(S[k], np.tile(start, (3, 1)), atol=1e-8)


def test_decision_map_axes_are_the_inputs():
    """A network whose output can only see x0."""
    graph = nx.DiGraph([("x0", "y0")])
    model = deep_nb.EP_asym.replace(name="one synapse")
    task = deep_nb.Task("x0", [[0, 0], [0, 1], [1, 0], [1, 1]], [[0], [0], [1], [1]])
    run = deep_nb.train(model, task, seeds=0, hyper={"n_epochs": 40}, topology=graph)
    score = deep_nb.decision_map(run, 4)["score"].isel(seed=0)
    assert score.dims == ("x0", "x1")
    assert (score.std("x1") < 1e-12).all()
    assert (score.diff("x0") > 0.1).all()


@pytest.fixture(scope="module")
def unordered():
    """Networks of two outputs whose seeds are not their places."""
    return deep_nb.train("DEEP_oh", "and", seeds=[8, 3, 5], hyper=SHORT)


ASKED = {
    "predict": lambda run, *engine: deep_nb.predict(run, GRID, *engine),
    "decision_map": lambda run, *engine: deep_nb.decision_map(run, 2, *engine),
    "trajectory": deep_nb.trajectory,
}


@pytest.mark.parametrize("name", ASKED)
def test_answers_carry_the_runs_seeds_neurons_and_attributes(unordered, name):
    answer = ASKED[name](unordered)
    assert answer["seed"].values.tolist() == [8, 3, 5]
    assert answer.attrs == unordered.attrs
    alone = ASKED[name](unordered.sel(seed=[3]))
    for variable in alone.data_vars:
        np.testing.assert_array_equal(answer[variable].sel(seed=[3]), alone[variable])
    if "neuron" in answer.dims:
        assert answer["neuron"].values.tolist() == unordered["neuron"].values.tolist()
    if "y" in answer.dims:
        assert answer["y"].values.tolist() == ["y0", "y1"]
        np.testing.assert_array_equal(answer["output"], answer["S"].sel(neuron=["y0", "y1"]))


@pytest.mark.parametrize("name", ASKED)
def test_the_engine_asked_for_is_used(unordered, name, monkeypatch):
    used = []
    get_engine = inference.get_engine
    monkeypatch.setattr(
        inference, "get_engine", lambda name, *given: used.append(name) or get_engine(name, *given)
    )
    for engine in [(), ("reference",), ("blas",)]:
        ASKED[name](unordered, *engine)
    assert used == ["auto", "reference", "blas"]


def test_each_variable_says_what_it_is(unordered):
    said = {
        name: {str(k): v.attrs["long_name"] for k, v in ask(unordered).data_vars.items()}
        for name, ask in ASKED.items()
    }
    assert said == {
        "predict": {
            "S": "states",
            "output": "states of the outputs",
            "label": "predicted labels, −1 where there is no answer",
        },
        "decision_map": {"score": "output", "label": "predicted label"},
        "trajectory": {
            "S": "states",
            "residual": "Σ (ds/dt)² / M, in 1/τ²",
            "projected_residual": "Σ (Δs / dt)² / M, in 1/τ²",
            "mse": "MSE, Σ (s − y)² / 2 / M",
        },
    }


def test_the_start_of_a_trajectory_has_states_and_no_step(unordered):
    path = deep_nb.trajectory(unordered)
    assert path["step"].values.tolist() == list(range(71))
    start = np.random.RandomState(3).uniform(0, 0.1, (4, 4))
    np.testing.assert_array_equal(path["S"].sel(seed=3)[0, :, 3:], start)
    for name in ("residual", "projected_residual", "mse"):
        assert np.isnan(path[name][:, 0]).all()
        assert np.isfinite(path[name][:, 1:]).all()
