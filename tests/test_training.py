import inspect
import itertools
import json
import time
import tracemalloc
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

import deep_nb
from deep_nb import training
from deep_nb.analysis import stability
from deep_nb.dynamics import ACTIVATIONS, euler_step, free_field, vector_field
from deep_nb.engines import ENGINES, get_engine
from deep_nb.models import Flags
from deep_nb.problem import Problem
from deep_nb.pruning import prune
from deep_nb.rules import State, learn, updated_weights
from deep_nb.run import VARIABLES, problem_of

from .conftest import SHORT, assert_same

FLAGS = list(Flags.model_fields)
#: Variables with one value per epoch.
EPOCH_METRICS = [name for name, entry in VARIABLES.items() if entry[0] == ("seed", "epoch")]


def bits(run):
    return {str(name): run[name].values.tobytes() for name in run.data_vars}


@pytest.mark.parametrize("model", ["DEEP", "DEEP_oh", "EP_asym"])
@pytest.mark.parametrize("flag", FLAGS)
def test_a_seed_determines_every_bit_whatever_is_trained_with_it(model, flag):
    hyper = {**SHORT, "stop": 0.1, "tol_W": 0.05}
    together = deep_nb.train(model, "xor", seeds=[4, 9, 2], hyper=hyper, **{flag: True})
    again = deep_nb.train(model, "xor", seeds=[4, 9, 2], hyper=hyper, **{flag: True})
    alone = deep_nb.train(model, "xor", seeds=9, hyper=hyper, **{flag: True})
    assert bits(together) == bits(again)
    assert bits(together.sel(seed=[9])) == bits(alone)


@pytest.mark.parametrize("flag", ["regularized", "sparse", "stop_criterion", "layered", "sign"])
def test_every_flag_changes_the_outcome(flag):
    hyper = {**SHORT, "stop": 0.1, "tol_W": 0.05}
    plain = deep_nb.train("DEEP", "xor", seeds=1, hyper=hyper)
    flagged = deep_nb.train("DEEP", "xor", seeds=1, hyper=hyper, **{flag: True})
    assert not np.array_equal(plain["W"], flagged["W"])


def test_biases_are_learned_only_where_the_model_says_so():
    still = deep_nb.EP_asym.replace(name="no bias", learned_bias=False)
    run = deep_nb.train(still, "or", seeds=0, hyper=SHORT)
    assert not run["b"].any()
    assert not run["db_norm"].any()
    assert deep_nb.train("EP_asym", "or", seeds=0, hyper=SHORT)["b"].any()
    biased = deep_nb.DEEP.replace(name="biased", learned_bias=True)
    assert deep_nb.train(biased, "or", seeds=0, hyper=SHORT)["b"].any()


def test_the_sign_of_a_change_is_that_of_weights_and_biases():
    run = deep_nb.train("EP_asym", "or", seeds=range(2), hyper=SHORT, sign=True)
    for name in ("dW_norm", "db_norm"):
        assert (run[name][:, 0] > 0).all()
        assert (run[name] % 1 == 0).all()


@pytest.mark.parametrize("activation", ["sigmoid", "tanh"])
def test_other_activations_train(activation):
    model = deep_nb.DEEP.replace(name=activation, activation=activation, leak=0.5)
    record = ("weights", "trajectories")
    run = deep_nb.train(model, "or", seeds=range(2), hyper=SHORT, record=record)
    assert np.isfinite(run["mse_free"]).all()
    assert not run["diverged"].any()
    W, B, S = (run[name].values[:, 0] for name in ("W_epochs", "b_epochs", "S_epochs"))
    field = free_field(W, B, S[0, 0, :, :3], model)
    before, after = S[:, 0, :, 3:], S[:, 1, :, 3:]
    step = euler_step(before, vector_field(field, before), 0.05, ACTIVATIONS[activation])
    np.testing.assert_allclose(after, step, atol=1e-14)


def test_trajectories_are_kept_only_on_request(short_run):
    problem, W, b = problem_of(short_run), short_run["W"].values, short_run["b"].values
    start = np.zeros((3, 4, problem.layout.n_free))
    free, change = learn(problem, State(W, b, start), ENGINES["reference"](1))
    assert free.trajectory is None
    assert change.nudged.trajectory is None


def test_variables_and_dimensions(short_run):
    per_epoch = {name for name in short_run.data_vars if short_run[name].dims == ("seed", "epoch")}
    both = ("mse", "class_error", "residual", "projected_residual", "steps")
    assert per_epoch == {f"{name}_{phase}" for name in both for phase in ("free", "nudged")} | {
        "dW_norm", "db_norm", "n_connections",
    }  # fmt: skip
    assert short_run.sizes == {
        "seed": 3, "epoch": 4, "pre": 9, "post": 9, "sample": 4, "neuron": 9, "snapshot": 5,
        "input": 2, "target": 1,
    }  # fmt: skip
    assert short_run["neuron"].values.tolist() == [
        "x0", "x1", "bias", "h0", "h1", "h2", "h3", "h4", "y0",
    ]  # fmt: skip
    for name in EPOCH_METRICS:
        assert short_run[name].attrs["units"]
        assert short_run[name].attrs["long_name"]
    assert (short_run["steps_free"] == 40).all()
    assert (short_run["steps_nudged"] == 30).all()


def test_records_fit_together():
    run = deep_nb.train(
        "EP_asym", "not", seeds=range(2), hyper=SHORT, record=("trajectories", "weights")
    )
    assert run["S_epochs"].dims == ("seed", "epoch", "step", "sample", "neuron")
    assert run.sizes["step"] == 71
    np.testing.assert_array_equal(run["W"], run["W_epochs"][:, -1])
    np.testing.assert_array_equal(run["b"], run["b_epochs"][:, -1])
    np.testing.assert_array_equal(run["S_free"], run["S_epochs"][:, -1, 40])
    np.testing.assert_array_equal(run["S_nudged"], run["S_epochs"][:, -1, -1])
    # dt_W = 1 for EP, so that W(e + 1) − W(e) is ΔW up to the rounding of the sum.
    change = np.abs(np.diff(run["W_epochs"], axis=1)).sum(axis=(2, 3))
    np.testing.assert_allclose(run["dW_norm"], change, rtol=1e-12)
    change = np.abs(np.diff(run["b_epochs"], axis=1)).sum(axis=2)
    np.testing.assert_allclose(run["db_norm"], change, rtol=1e-12)


def test_trajectories_are_nan_where_early_stop_performed_no_step():
    run = deep_nb.train(
        "EP_asym", "id", seeds=1, hyper={"n_epochs": 1, "T1": 600, "T2": 600, "stop": 0.03},
        stop_criterion=True, record=("trajectories",),
    )  # fmt: skip
    steps = run["steps_free"].item()
    assert 0 < steps < 600
    states = run["S_epochs"].values[0, 0]
    assert np.isfinite(states[: steps + 1]).all()
    assert np.isnan(states[steps + 1 : 601]).all()
    assert np.isfinite(states[601]).all()
    assert run["residual_free"].item() * 2 <= 0.03  # two samples: Σ ds² ≤ stop


def test_a_diverged_network_is_marked_and_frozen(diverged_run):
    assert diverged_run["diverged"].all()
    assert (diverged_run["diverged_epoch"] == 0).all()
    assert np.isfinite(diverged_run["W"]).all()
    for name in EPOCH_METRICS:
        values = diverged_run[name].values
        expected = 48 if name == "n_connections" else 0
        assert (np.isnan(values) if values.dtype == float else values == expected).all(), name


@pytest.mark.parametrize(
    "where", ["dW", "db", "free.S", "free.residual", "nudged.S", "nudged.residual"]
)
def test_any_array_that_stops_being_finite_is_divergence(where, monkeypatch):
    """In epoch 2 of 5: what was before stays, what was then is frozen, the others go on."""
    wanted = {"seeds": [3, 5, 7], "hyper": {**SHORT, "n_epochs": 5}, "record": ("weights",)}
    wanted["engine"] = "reference"  # epoch by epoch; test_epochs compares the kernel with it
    clean = deep_nb.train("EP_asym", "or", **wanted)
    calls = itertools.count()

    def spoiled(*arguments, **options):
        free, change = learn(*arguments, **options)
        if next(calls) == 2:
            *part, name = where.split(".")
            owner = {"free": free, "nudged": change.nudged}[part[0]] if part else change
            getattr(owner, name)[1] = np.nan
        return free, change

    monkeypatch.setattr(training, "learn", spoiled)
    with pytest.warns(RuntimeWarning, match=r"1 of 3 networks diverged \(seeds 5\)"):
        run = deep_nb.train("EP_asym", "or", **wanted)
    assert run["diverged"].values.tolist() == [False, True, False]
    assert run["diverged_epoch"].values.tolist() == [-1, 2, -1]
    assert bits(run.isel(seed=[0, 2])) == bits(clean.isel(seed=[0, 2]))
    run, clean = run.isel(seed=1), clean.isel(seed=1)
    for name in ("W", "b"):
        frozen = clean[f"{name}_epochs"].values[[0, 1, 2, 2, 2, 2]]
        np.testing.assert_array_equal(run[f"{name}_epochs"], frozen)
        np.testing.assert_array_equal(run[name], frozen[-1])
    np.testing.assert_array_equal(run["n_connections"], clean["n_connections"])
    np.testing.assert_array_equal(run["mse_free"], [*clean["mse_free"][:2], *[np.nan] * 3])


@pytest.mark.parametrize(("n", "more"), [(10, ""), (11, ", …"), (12, ", …")])
def test_up_to_ten_diverged_networks_are_named(n, more):
    seeds = ", ".join(map(str, range(20, 30))) + more
    message = rf"^{n} of {n} networks .*\(seeds {seeds}\); .* metrics are NaN from `diverged_epoch`"
    with pytest.warns(RuntimeWarning, match=message):
        deep_nb.train(
            "DEEP", "xor", seeds=range(20, 20 + n), sign=True, hyper={**SHORT, "dt_W": 1e308}
        )


def test_divergence_does_not_stop_the_other_networks():
    """A learning rate at which W overflows for some seeds only: sign of ΔW decides."""
    hyper = {**SHORT, "n_epochs": 6, "dt_W": 1e153}
    with pytest.warns(RuntimeWarning, match=r"^\d+ of 12 networks diverged \(seeds \d+") as caught:
        run = deep_nb.train(
            "DEEP", "xor", seeds=range(12), hyper=hyper, sign=True, record=("weights",)
        )
    assert len(caught) == 1
    diverged, epoch = run["diverged"].values, run["diverged_epoch"].values
    assert 0 < diverged.sum() < 12
    assert (epoch[~diverged] == -1).all()
    assert np.isfinite(run["mse_free"].values[~diverged]).all()
    for k in np.flatnonzero(diverged):
        assert np.isfinite(run["mse_free"].values[k, : epoch[k]]).all()
        assert np.isnan(run["mse_free"].values[k, epoch[k] :]).all()
        assert (run["W_epochs"].values[k, epoch[k] :] == run["W"].values[k]).all()
    alone = deep_nb.train("DEEP", "xor", seeds=int(run["seed"][~diverged][0]), hyper=hyper,
                          sign=True, record=("weights",))  # fmt: skip
    assert bits(run.isel(seed=[np.argmin(diverged)])) == bits(alone)


def test_analysis_of_late_divergence_gives_no_numpy_warnings():
    """Their frozen weights are finite and huge: whatever follows them may overflow."""
    hyper = {**SHORT, "n_epochs": 6, "dt_W": 1e153}
    with pytest.warns(RuntimeWarning, match="networks diverged"):
        run = deep_nb.train("DEEP", "xor", seeds=range(6), hyper=hyper, sign=True)
    assert 0 < run["diverged"].sum() < 6
    late = run["diverged"].values
    for engine in ENGINES:
        path = deep_nb.trajectory(run, engine)
        assert np.isnan(path["mse"].values[late]).all()
        assert np.isfinite(path["mse"].values[~late, 1:]).all()
    assert stability.stability_report(run)["diverged"].values.tolist() == late.tolist()


def test_provenance_says_when_and_how_long():
    before, clock = datetime.now(UTC), time.monotonic()
    run = deep_nb.train("DEEP", "xor", seeds=0, hyper=SHORT)
    origin = json.loads(run.attrs["provenance"])
    assert {"deep_nb", "versions", "started", "seconds"} <= set(origin)
    started = datetime.fromisoformat(origin["started"])
    assert before - timedelta(seconds=1) < started <= datetime.now(UTC)
    assert 0 < origin["seconds"] <= time.monotonic() - clock + 0.001
    assert origin["seconds"] == round(origin["seconds"], 3)


def test_memory_does_not_grow_with_the_number_of_steps():
    peaks = []
    for T in (50, 2000):
        tracemalloc.start()
        deep_nb.train("DEEP", "xor", seeds=0, hyper={"n_epochs": 1, "T1": T, "T2": T})
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    # Keeping the states of 4000 steps would take 4000 · 4 · 6 · 8 = 768 kB.
    assert peaks[1] < peaks[0] + 100_000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"record": "weights"}, r"record must be a sequence such as \('weights',\), got 'weights'"),
        ({"record": ("weight",)}, "unknown record 'weight'.*did you mean 'weights'"),
        ({"sparse": 1}, "Flags.sparse = 1: it should be a valid boolean"),
        ({"progress": "yes"}, "progress must be True or False"),
        ({"engine": "cuda"}, "unknown engine 'cuda'"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        deep_nb.train("DEEP", "xor", seeds=0, hyper=SHORT, **arguments)


@pytest.mark.slow
@pytest.mark.parametrize(("blocks", "bar"), [({}, "epochs"), ({"block": 2}, "blocks")])
def test_progress_is_one_bar_on_stderr(blocks, bar, capsys, tmp_path):
    """Over the four epochs, or over the four blocks of seven seeds."""
    for progress in ({}, {"progress": True}):
        given = {**blocks, "checkpoint": tmp_path / str(len(progress))} if blocks else {}
        given |= {**progress, "engine": "reference"}  # the compiled one may announce itself
        deep_nb.train("DEEP", "xor", seeds=range(7), hyper=SHORT, **given)
        lines = capsys.readouterr().err.split("\r")
        assert {line.split(":")[0] for line in lines} == ({"", bar} if progress else {""})
        assert ("4/4" in lines[-1]) == bool(progress)


@pytest.mark.parametrize("engine", ["reference", "blas", "numba"])
def test_the_engine_asked_for_trains(engine, monkeypatch):
    used = []
    get_engine = training.get_engine
    monkeypatch.setattr(
        training, "get_engine", lambda name, *given: used.append(name) or get_engine(name, *given)
    )
    run = deep_nb.train("DEEP", "xor", seeds=0, hyper={**SHORT, "n_epochs": 1}, engine=engine)
    assert used == [run.attrs["engine"]] == [engine]


def test_the_warning_points_at_the_call():
    train = inspect.unwrap(deep_nb.train)  # without the checks of shapes in tests
    with pytest.warns(RuntimeWarning, match="1 of 1 networks diverged") as caught:
        train("DEEP", "xor", seeds=0, sign=True, hyper={**SHORT, "dt_W": 1e308})
    assert [warning.filename for warning in caught] == [__file__]


def test_provenance_names_the_start_and_the_seconds_of_the_work(monkeypatch):
    clock = [0]

    class Time:
        now = staticmethod(lambda zone: datetime(2020, 1, 1, 0, 0, clock[0], tzinfo=zone))
        monotonic = staticmethod(lambda: 100.0 + clock[0])

    monkeypatch.setattr(training, "datetime", Time)
    monkeypatch.setattr(training, "time", Time)
    monkeypatch.setattr(training, "_train", lambda *_: clock.__setitem__(0, 7))
    origin = json.loads(deep_nb.train("DEEP", "xor", seeds=0).attrs["provenance"])
    assert (origin["started"], origin["seconds"]) == ("2020-01-01T00:00:00+00:00", 7.0)


# Constraints on weights

CONSTRAINED = pytest.mark.parametrize("model", ["DEEP", "contracting DEEP"])  # stdp, asymep


@pytest.mark.parametrize("sparse", [False, True])
@CONSTRAINED
def test_a_constraint_that_changes_nothing_gives_the_bits_of_train(model, sparse):
    hyper = {**SHORT, "N_H": [5], "tol_W": 0.05}
    problem = Problem.of(model, "xor", hyper, Flags(sparse=sparse))
    record = ("trajectories", "weights")
    run = training.train_constrained(problem, [4, 9, 2], lambda W, networks: W, record)
    given = {"hyper": hyper, "sparse": sparse, "record": record, "engine": "numba"}
    assert_same(run, deep_nb.train(model, "xor", seeds=[4, 9, 2], **given))
    if sparse:
        assert (run["n_connections"] < problem.mask.sum()).any()


class Floor:
    """Keeps weights of 0.02 and more, other ones for each network, and notes its calls."""

    def __init__(self, problem):
        self.mask, self.calls = problem.mask, []

    def __call__(self, W, networks):
        self.calls.append(networks.tolist())
        least = (0.02 + 0.01 * networks)[:, None, None]
        return np.where(self.mask, np.maximum(W, least), 0.0)


@pytest.mark.parametrize("sparse", [False, True])
@CONSTRAINED
def test_a_constraint_is_applied_at_the_start_and_after_each_change_and_pruning(model, sparse):
    """Against a loop that reads each network's stream in the published order."""
    hyper = {**SHORT, "N_H": [5], "tol_W": 0.5, "temp": 0.2, "dt_W": 0.3}
    problem = Problem.of(model, "xor", hyper, Flags(sparse=sparse))
    floor = Floor(problem)
    run = training.train_constrained(problem, [4, 9], floor, ("weights",))
    assert floor.calls == [[0], [1], [0, 1], [0, 1], [0, 1], [0, 1]]
    relax, b = get_engine("numba", 6, "hard_sigmoid"), np.zeros((1, 9))
    lifted = 0
    for k, seed in enumerate([4, 9]):
        stream, at = np.random.RandomState(seed), np.array([k])
        W = floor(stream.normal(0, 0.05, (1, 9, 9)), at)
        for epoch in range(4):
            np.testing.assert_array_equal(run["W_epochs"][k, epoch], W[0])
            S = stream.uniform(0, 0.1, (1, 4, 6))
            _, change = learn(problem, State(W, b, S), relax)
            W = updated_weights(W, change.dW, 0.3, 0.0)
            if sparse:
                W = prune(W, stream.random_sample((1, 9, 9)), 0.5, 0.2)
                lifted += (W[0] == 0)[problem.mask].sum()
            W = floor(W, at)
        np.testing.assert_array_equal(run["W"][k], W[0])
        least = run["W_epochs"].values[k][:, problem.mask].min(axis=1)
        assert least[0] == 0.02 + 0.01 * k <= least.min()
    assert lifted > 0 or not sparse
    assert (run["n_connections"] == problem.mask.sum()).all()


def test_networks_keep_their_positions_when_another_diverges():
    problem = Problem.of("contracting DEEP", "or", {**SHORT, "N_H": [5]})
    floor = Floor(problem)

    def explosive(W, networks):
        W = floor(W, networks)
        W[networks == 1] *= 1e308 if len(floor.calls) == 5 else 1.0  # after the second epoch
        return W

    run = training.train_constrained(problem, [4, 9, 2], explosive, ("weights",))
    assert floor.calls == [[0], [1], [2], [0, 1, 2], [0, 1, 2], [0, 2], [0, 2]]
    assert run["diverged"].values.tolist() == [False, True, False]
    assert run["diverged_epoch"].values[1] == 2
    for k in (0, 2):
        least = run["W_epochs"].values[k][:, problem.mask].min(axis=1)
        assert (least >= 0.02 + 0.01 * k).all()
    quiet = training.train_constrained(problem, [4, 9, 2], Floor(problem), ("weights",))
    for k in (0, 2):
        np.testing.assert_array_equal(run["W_epochs"][k], quiet["W_epochs"][k])
    assert not np.array_equal(quiet["W_epochs"][0, 0], quiet["W_epochs"][0, -1])
