"""`train` reproduces what the published code computed, to 1e-9 absolute.

The tolerance is the accumulated rounding of two summation orders over 8 epochs: the runs are short
enough for it not to be amplified.
"""

import json
from pathlib import Path

import numpy as np
import pytest

import deep_nb
from deep_nb.dynamics import free_field, nudged_field, vector_field
from deep_nb.engines import ENGINES
from deep_nb.run import problem_of
from deep_nb.tasks import mean_squared_error

TRACES = sorted((Path(__file__).parent / "data" / "golden").glob("*.npz"))
FLAGS = ("layered", "regularized", "sparse", "sign", "stop_criterion")
close = {"rtol": 0, "atol": 1e-9}


def test_there_are_33_traces():
    assert len(TRACES) == 33


@pytest.mark.slow
@pytest.mark.parametrize("engine", list(ENGINES))
@pytest.mark.parametrize("path", TRACES, ids=lambda path: path.stem)
def test_train_reproduces_the_published_code(path, engine):
    golden = np.load(path, allow_pickle=False)
    meta = json.loads(str(golden["meta"]))
    flags = {name: meta[name] for name in FLAGS}
    topology = None
    if meta["model"] == "EP_asym" and flags["layered"]:
        # The published layered EP lets its last real input skip layers, as if it were a bias.
        flags["layered"], topology = False, golden["W_epochs"][0] != 0
    run = deep_nb.train(
        meta["model"],
        meta["task"],
        seeds=meta["seed"],
        hyper=meta["hyper"],
        topology=topology,
        record=("weights", "trajectories"),
        engine=engine,
        **flags,
    )
    problem = problem_of(run)
    run = run.isel(seed=0)
    W_epochs, S_epochs = run["W_epochs"].values, run["S_epochs"].values
    np.testing.assert_allclose(W_epochs, golden["W_epochs"], **close)
    np.testing.assert_allclose(run["W"], golden["W_epochs"][-1], **close)
    if "B_epochs" in golden:
        np.testing.assert_allclose(run["b_epochs"], golden["B_epochs"], **close)
    np.testing.assert_allclose(run["S_free"], golden["S_free"], **close)
    np.testing.assert_allclose(run["S_nudged"], golden["S_weak"], **close)
    np.testing.assert_array_equal(run["class_error_free"], golden["errors_class_free"])
    np.testing.assert_array_equal(run["class_error_nudged"], golden["errors_class_weak"])
    first = golden["S_epochs_first"]
    performed = np.isfinite(S_epochs[0]).all(axis=(1, 2))
    assert flags["stop_criterion"] or performed.all()
    np.testing.assert_allclose(S_epochs[0][performed], first[performed], **close)
    for epoch in range(meta["hyper"]["n_epochs"]):
        compare_steps(problem, run.isel(epoch=epoch), golden, epoch)


def compare_steps(problem, run, golden, epoch):
    """Compare one epoch's error and MSE of every step performed."""
    T1, N_X, N_Y = problem.hyper.T1, problem.layout.N_X, problem.layout.N_Y
    W = run["W_epochs"].values[None, epoch]
    B = run["b_epochs"].values[None, epoch]
    field = free_field(W, B, problem.X, problem.model)
    nudged = nudged_field(field, problem.hyper.beta, problem.Y)
    states = run["S_epochs"].values
    starts = {"free": 0, "nudged": T1}
    names = {"free": "free", "nudged": "weak"}  # as the published code calls them
    for phase, phase_field in (("free", field), ("nudged", nudged)):
        steps = int(run[f"steps_{phase}"])
        begin = starts[phase]
        after = states[begin + 1 : begin + 1 + steps]
        # The nudged phase starts from the last free state performed.
        start = begin if phase == "free" else int(run["steps_free"])
        before = np.concatenate([states[start : start + 1], after[:-1]])[..., N_X:]
        dS = np.array([vector_field(phase_field, S[None])[0] for S in before])
        residual = (dS**2).sum(axis=(1, 2)) / len(problem.X)
        mse = mean_squared_error(after[..., -N_Y:], problem.Y)
        np.testing.assert_allclose(
            residual, golden[f"errors_{names[phase]}"][epoch, :steps], **close
        )
        np.testing.assert_allclose(mse, golden[f"mses_{names[phase]}"][epoch, :steps], **close)
        np.testing.assert_allclose(run[f"residual_{phase}"], residual[-1], **close)
        np.testing.assert_allclose(run[f"mse_{phase}"], mse[-1], **close)
        moved = (after[-1] - (states[start] if steps == 1 else after[-2])) / problem.hyper.dt
        np.testing.assert_allclose(
            run[f"projected_residual_{phase}"], (moved**2).sum() / len(problem.X), **close
        )
