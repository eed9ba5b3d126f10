import json

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
            "residual": "Σ (ds/dt)², in 1/τ²",
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


@pytest.fixture(scope="module")
def contracting():
    """Networks that come to rest under all conditions; T1 is long enough."""
    hyper = {**SHORT, "N_H": 3, "T1": 1500, "T2": 1500}
    return deep_nb.train("contracting DEEP", "xor", seeds=[4, 9], hyper=hyper, record=("weights",))


def field_by_hand(run, S, beta=0.0, Y=None):
    """ds/dt of all neurons, written out from the model's equation with Σ|W|."""
    W = run["W"].values
    dS = S @ W - S * (0.25 + np.abs(W).sum(axis=2))[:, None]
    if beta:
        dS[..., -1:] += beta * (Y - S[..., -1:])
    return dS


def test_with_beta_0_the_free_phase_continues(short_run):
    path = deep_nb.trajectory(short_run, "reference", beta=0)
    longer = deep_nb.train("DEEP", "xor", seeds=range(3), hyper={**SHORT, "T1": 70, "T2": 1})
    # W is of the short run, T1 of the long one: the free phase goes on for 70 steps.
    longer = longer.assign(W=short_run["W"], b=short_run["b"])
    free = deep_nb.trajectory(longer, "reference")["S"].values[:, :71]
    np.testing.assert_array_equal(path["S"], free)


def test_predict_with_beta_settles_where_the_nudged_phase_does(contracting):
    X, Y = contracting["X"].values[:, :2], contracting["Y"].values
    nudged = deep_nb.predict(contracting, X, Y=Y, beta=0.225)
    path = deep_nb.trajectory(contracting)
    # Both are at rest: 1500 steps contract by 0.9875^1500 < 1e-8.
    np.testing.assert_allclose(nudged["S"], path["S"][:, -1], rtol=0, atol=1e-8)
    free = deep_nb.predict(contracting, X)
    toward = (Y[:, 0] - free["output"].values[..., 0]) * (nudged["output"] - free["output"])[..., 0]
    assert (toward > 0).all()


@engines
def test_a_clamped_neuron_keeps_its_state_and_drives_the_others(contracting, engine):
    """Clamped outputs run a network backwards; the others obey the equation with them fixed."""
    answer = deep_nb.predict(contracting, GRID, engine, clamp={"y0": [1.0, 0.0, 0.7], "h1": 0.25})
    S = answer["S"].values
    assert (S[..., -1] == [1.0, 0.0, 0.7]).all()
    assert (answer["S"].sel(neuron="h1") == 0.25).all()
    speed = field_by_hand(contracting, S)[..., [3, 5]]
    inside = (S[..., [3, 5]] > 0) & (S[..., [3, 5]] < 1)
    assert np.abs(speed[inside]).max() < 1e-8  # the slowest mode decays as 0.9875^1500
    assert (speed[S[..., [3, 5]] == 0] <= 0).all()


def test_neurons_clamped_where_they_rest_change_nothing(contracting):
    one = contracting.sel(seed=[4])
    rest = deep_nb.predict(one, [[0.2, 0.9]])["S"]
    clamp = {name: rest.sel(neuron=name).item() for name in ("h0", "y0")}
    held = deep_nb.predict(one, [[0.2, 0.9]], clamp=clamp)
    np.testing.assert_allclose(held["S"], rest, rtol=0, atol=1e-7)  # both are at rest to 1e-8


def test_with_other_activations_a_clamped_neuron_stays_too():
    """tanh changes every state that moves at each step, so it must not act on a clamped one."""
    model = deep_nb.EP_asym.replace(name="tanh", activation="tanh")
    run = deep_nb.train(model, "xor", seeds=0, hyper=SHORT)
    path = deep_nb.trajectory(run, clamp={"h2": 0.9}, energy=True)
    assert (path["S"].sel(neuron="h2") == 0.9).all()


def test_the_task_s_own_conditions_are_the_default(short_run):
    path = deep_nb.trajectory(short_run)
    X, Y = short_run["X"].values[:, :2], short_run["Y"].values
    again = deep_nb.trajectory(short_run, X=X, Y=Y, beta=10.0, start=path["S"].values[:, 0, :, 3:])
    for name in path.data_vars:
        np.testing.assert_array_equal(again[name], path[name])


def test_every_start_is_taken(short_run):
    states = np.linspace(0.1, 0.6, 6)
    for start in (states, np.tile(states, (4, 1)), np.tile(states, (3, 4, 1))):
        path = deep_nb.trajectory(short_run, start=start)
        np.testing.assert_array_equal(path["S"][:, 0, :, 3:], np.tile(states, (3, 4, 1)))
    before = deep_nb.trajectory(short_run)["S"].isel(step=-1)
    named = before.sel(neuron=["y0", "h4", "h3", "h2", "h1", "h0"]).sel(seed=[2, 0, 1])
    path = deep_nb.trajectory(short_run, start=named)
    np.testing.assert_array_equal(path["S"].isel(step=0), before)


def test_the_residual_is_that_of_the_equation(contracting):
    Y = np.array([[0.3], [0.8], [0.5]])
    hot = contracting.assign(W=5 * contracting["W"])
    answer = deep_nb.predict(hot, GRID, Y=Y, beta=2.0, clamp={"h0": 0.5}, start=np.zeros(4))
    speed = field_by_hand(hot, answer["S"].values, 2.0, Y)[..., 4:]
    np.testing.assert_allclose(answer["residual"], (speed**2).sum(axis=2), rtol=0, atol=1e-13)
    path = deep_nb.trajectory(hot, X=GRID, Y=Y, beta=2.0, clamp={"h0": 0.5})
    for step, beta in ((1, 0.0), (1500, 0.0), (1501, 2.0), (3000, 2.0)):
        before = path["S"].values[:, step - 1]
        speed = field_by_hand(hot, before, beta, Y)[..., 4:]
        expected = (speed**2).sum(axis=(1, 2)) / 3
        # Rounding: sums of a few numbers of at most 10 in another order.
        np.testing.assert_allclose(path["residual"][:, step], expected, rtol=0, atol=1e-13)
    mse = ((path["S"].values[..., -1] - Y[:, 0]) ** 2).sum(axis=2) / 2 / 3
    np.testing.assert_allclose(path["mse"][:, 1:], mse[:, 1:], rtol=0, atol=1e-15)


def test_the_energy_is_the_distance_from_rest(contracting):
    path = deep_nb.trajectory(contracting, energy=True)
    V = deep_nb.analysis.energy(path, contracting, norm="l1")
    # Contracting networks have one rest point, found to 1e-9 / λ from either start.
    np.testing.assert_allclose(path["energy"], V, rtol=0, atol=1e-8)
    assert path["energy"].values[:, 0].min() > 0.1
    free = path["energy"].values[:, :200]
    assert (free[:, 1:] <= (1 - 0.05 * 0.25) * free[:, :-1] + 1e-9).all()  # the theorem's factor


def test_the_energy_of_an_answer_is_what_is_left(contracting):
    start = np.full(4, 0.5)
    answer = deep_nb.predict(contracting, GRID, start=start, energy=True, clamp={"y0": 0.9})
    path = deep_nb.trajectory(
        contracting, X=GRID, beta=0, start=start, energy=True, clamp={"y0": 0.9}
    )
    np.testing.assert_array_equal(answer["energy"], path["energy"][:, 1500])
    away = np.abs(path["S"].values[:, 0] - path["S"].values[:, -1]).sum(axis=2)
    np.testing.assert_allclose(path["energy"][:, 0], away, rtol=0, atol=1e-8)


def test_an_unsettled_network_has_no_energy():
    """With a step far beyond its stable range, a network jumps to and fro for ever."""
    hyper = {**SHORT, "dt": 5.0, "n_epochs": 1, "dt_W": 0.0}
    run = deep_nb.train("EP_asym", "xor", seeds=0, hyper=hyper, topology=nx.DiGraph([("x0", "y0")]))
    run = run.assign(W=run["W"] * 0, b=run["b"] + [0, 0, 0, 0, 0, 0, 0, 0.5])
    assert np.isnan(deep_nb.predict(run, GRID, energy=True)["energy"]).all()


def test_a_one_hot_target_may_be_a_class(unordered):
    X = [[0, 0], [1, 1]]
    of_class = deep_nb.predict(unordered, X, Y=[[0], [1]], beta=3.0)
    encoded = deep_nb.predict(unordered, X, Y=[[1, 0], [0, 1]], beta=3.0)
    np.testing.assert_array_equal(of_class["S"], encoded["S"])
    assert (of_class["S"].values != deep_nb.predict(unordered, X)["S"].values).any()


def test_the_energy_of_a_path_under_other_conditions_is_not_taken_for_the_run_s(contracting):
    for conditions in ({"beta": 0.1}, {"clamp": {"h0": 1}}, {"Y": [[0]] * 4}):
        path = deep_nb.trajectory(contracting, **conditions)
        with pytest.raises(ValueError, match="the run's own task and β, with no neuron clamped"):
            deep_nb.analysis.energy(path, contracting)
    assert json.loads(path.attrs["conditions"]) == {"beta": 0.225, "clamped": []}


@pytest.mark.parametrize(
    ("conditions", "message"),
    [
        ({"beta": 1.0}, "beta = 1 needs the targets Y of the inputs X"),
        ({"beta": np.inf, "Y": [[1]] * 3}, "beta must be a finite number"),
        ({"Y": [[1]] * 2}, "Y must have 3 rows"),
        ({"Y": [[1, 0]] * 3}, "targets of 1 outputs, got shape"),
        ({"start": np.zeros(9)}, r"start must have the shape \(6,\), \(3, 6\) or \(3, 3, 6\)"),
        ({"start": np.full(6, np.nan)}, "start must be finite"),
        ({"clamp": {"x0": 1.0}}, "unknown neuron in clamp 'x0'.*allowed: h0"),
        ({"clamp": {"y": 1.0}}, "did you mean 'y0'"),
        ({"clamp": {"y0": [1.0, 0.0]}}, "must be a number, or one for each of 3 samples"),
        ({"clamp": dict.fromkeys(["h0", "h1", "h2", "h3", "h4", "y0"], 0)}, "leave at least one"),
        ({"energy": "yes"}, "energy must be True or False"),
    ],
)
def test_bad_conditions_are_refused(short_run, conditions, message):
    with pytest.raises(ValueError, match=message):
        deep_nb.predict(short_run, GRID, **conditions)
    with pytest.raises(ValueError, match=message):
        deep_nb.trajectory(short_run, X=GRID, **{"beta": 0, **conditions})
