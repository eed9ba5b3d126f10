"""What a trained network answers: predictions, decision maps, and its path to rest."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import xarray as xr

from deep_nb.checks import finite_array
from deep_nb.dynamics import Field, Phase, Relaxation, free_field, vector_field
from deep_nb.engines import get_engine
from deep_nb.kinds import integer, plain
from deep_nb.problem import Problem
from deep_nb.randomness import probe_states
from deep_nb.run import problem_of
from deep_nb.tasks import mean_squared_error, predicted_labels
from deep_nb.training import free_phase

#: A million points are the most that a decision map asks of each network.
MAX_INTERVALS = 1000


def predict(run: xr.Dataset, X: Any, engine: str = "auto") -> xr.Dataset:
    """Let every network of a run settle freely on new inputs.

    Each network starts all inputs from the same states, drawn from U(0, 0.1) by its own seed, and
    takes T1 steps: an answer depends neither on the other inputs nor on the other networks: with
    the compiled engine to the last bit, with the others to the rounding of BLAS.

    Parameters
    ----------
    run : xarray.Dataset
        As from `deep_nb.train`.
    X : array_like, shape (M, n_inputs)
        Inputs, the bias neuron not among them.
    engine : str
        "auto" or a name in `deep_nb.engines.ENGINES`.

    Returns
    -------
    xarray.Dataset
        ``S (seed, sample, neuron)`` the states at the end; ``output (seed, sample, y)`` those of
        the outputs; ``label (seed, sample, target)`` the predicted labels. Of a diverged network
        the states are NaN and the labels −1.

    Raises
    ------
    ValueError
        If `run` is none, `engine` is unknown, or `X` is not finite or does not have the task's
        number of inputs.

    Warns
    -----
    RuntimeWarning
        If networks of the run diverged.
    """
    problem = problem_of(run)
    X = finite_array(X, "X (M, n_inputs)", 2)
    layout = problem.layout
    if X.shape[1] != layout.n_inputs:
        raise ValueError(
            f"X must have {layout.n_inputs} columns, one an input of the task, got shape {X.shape}"
        )
    clamped = layout.clamp(X)
    start = np.repeat(probe_states(run["seed"].values, 1, layout), len(X), axis=1)
    relax = get_engine(engine, layout.n_free, problem.model.activation)
    relaxation = relax(
        free_field(run["W"].values, run["b"].values, clamped, problem.model),
        start,
        Phase(problem.hyper.dt, problem.hyper.T1, problem.model.activation),
    )
    S = np.concatenate([np.broadcast_to(clamped, (len(start), *clamped.shape)), relaxation.S], 2)
    diverged = run["diverged"].values
    if diverged.any():
        warnings.warn(
            f"{diverged.sum()} of {diverged.size} networks diverged in training; their states are "
            "NaN and their labels -1",
            RuntimeWarning,
            stacklevel=2,
        )
        S[diverged] = np.nan
    labels = predicted_labels(S[..., -layout.N_Y :], problem.model.one_hot)
    return xr.Dataset(
        {
            "S": (("seed", "sample", "neuron"), S, {"long_name": "states", "units": "1"}),
            "output": (
                ("seed", "sample", "y"),
                S[..., -layout.N_Y :],
                {"long_name": "states of the outputs", "units": "1"},
            ),
            "label": (
                ("seed", "sample", "target"),
                labels,
                {"long_name": "predicted labels, −1 where there is no answer", "units": "1"},
            ),
        },
        coords={
            "seed": run["seed"].values,
            "neuron": layout.labels,
            "y": layout.labels[-layout.N_Y :],
        },
        attrs=run.attrs,
    )


def decision_map(run: xr.Dataset, n: int = 100, engine: str = "auto") -> xr.Dataset:
    """Answer on a grid over [0, 1] in each input, all points as one batch.

    Parameters
    ----------
    run : xarray.Dataset
        Of a task with one or two inputs and one label.
    n : int
        Intervals along each side: (n + 1)² points, or n + 1 for one input.
    engine : str
        "auto" or a name in `deep_nb.engines.ENGINES`.

    Returns
    -------
    xarray.Dataset
        ``score (seed, x0, x1)`` or ``(seed, x0)``: the output's state or, one-hot,
        (1 + y1 − y0) / 2. ``label`` likewise: 1 from a score of 0.5 on, or, one-hot, above 0.5.

    Raises
    ------
    ValueError
        As `predict`, or if `n` is no integer from 1 to 1000, or the task has other numbers of
        inputs or labels.

    Warns
    -----
    RuntimeWarning
        If networks of the run diverged.
    """
    integer(1, MAX_INTERVALS).check(n, "n")
    n = plain(n)
    problem = problem_of(run)
    n_inputs, N_Y = problem.layout.n_inputs, problem.layout.N_Y
    outputs = 2 if problem.model.one_hot else 1
    if n_inputs > 2 or outputs != N_Y:
        raise ValueError(
            f"a decision map needs one or two inputs and {outputs} outputs, "
            f"this run has {n_inputs} and {N_Y}"
        )
    axis = np.linspace(0.0, 1.0, n + 1)
    grid = np.stack(np.meshgrid(*[axis] * n_inputs, indexing="ij"), axis=-1)
    answer = predict(run, grid.reshape(-1, n_inputs), engine)
    output = answer["output"].values
    score = (1 + output[..., 1] - output[..., 0]) / 2 if outputs == 2 else output[..., 0]
    dims = ("seed", *(f"x{i}" for i in range(n_inputs)))
    shape = (len(score), *grid.shape[:-1])
    return xr.Dataset(
        {
            "score": (dims, score.reshape(shape), {"long_name": "output", "units": "1"}),
            "label": (
                dims,
                answer["label"].values.reshape(shape),
                {"long_name": "predicted label", "units": "1"},
            ),
        },
        coords={"seed": run["seed"].values, **dict.fromkeys(dims[1:], axis)},
        attrs=run.attrs,
    )


_STEP_METRICS = {
    "residual": ("Σ (ds/dt)² / M", "1/τ²"),
    "projected_residual": ("Σ (Δs / dt)² / M", "1/τ²"),
    "mse": ("MSE, Σ (s − y)² / 2 / M", "1"),
}


def trajectory(run: xr.Dataset, engine: str = "auto") -> xr.Dataset:
    """Follow both phases once more with the final weights, keeping every state.

    Starts from states drawn from U(0, 0.1) by each network's seed. The nudged phase is the model's
    own at +β, without what a rule may add to it. Diverged networks are NaN.

    Parameters
    ----------
    run : xarray.Dataset
        As from `deep_nb.train`.
    engine : str
        "auto" or a name in `deep_nb.engines.ENGINES`.

    Returns
    -------
    xarray.Dataset
        Over ``step`` 0 … T1 + T2, ``phase (step)`` says which phase a step belongs to;
        ``S (seed, step, sample, neuron)`` the states; and of each step performed
        ``residual (seed, step)`` Σ ds² / M, ``projected_residual`` Σ (Δs / dt)² / M and ``mse``.
        All are NaN for steps not performed, and these three for the start.

    Raises
    ------
    ValueError
        If `run` is none, or `engine` is unknown.
    """
    problem = problem_of(run)
    T1, T2 = problem.hyper.T1, problem.hyper.T2
    W, B, seeds = run["W"].values, run["b"].values, run["seed"].values
    start = probe_states(seeds, len(problem.X), problem.layout)
    relax = get_engine(engine, problem.layout.n_free, problem.model.activation)
    fields = problem.fields(W, B)
    phase = free_phase(problem, trajectory=True)
    free = relax(fields[0], start, phase)
    nudged = relax(fields[1], free.S, phase._replace(T=T2))
    metrics = [_step_metrics(p, f, problem) for p, f in zip((free, nudged), fields, strict=True)]
    assert free.trajectory is not None
    assert nudged.trajectory is not None
    moving = np.concatenate([free.trajectory, nudged.trajectory[:, 1:]], axis=1)
    moving[run["diverged"].values] = np.nan
    clamped = np.broadcast_to(problem.X, (*moving.shape[:2], *problem.X.shape))
    variables: dict[str, Any] = {
        "S": (
            ("seed", "step", "sample", "neuron"),
            np.concatenate([clamped, moving], axis=3),
            {"long_name": "states", "units": "1"},
        )
    }
    gone = np.isnan(moving).any(axis=(2, 3))
    for i, (name, (long_name, units)) in enumerate(_STEP_METRICS.items()):
        start_value = np.full((len(W), 1), np.nan)
        values = np.concatenate([start_value, metrics[0][i], metrics[1][i]], axis=1)
        variables[name] = (
            ("seed", "step"),
            np.where(gone, np.nan, values),
            {"long_name": long_name, "units": units},
        )
    return xr.Dataset(
        variables,
        coords={
            "seed": seeds,
            "step": np.arange(T1 + T2 + 1),
            "phase": ("step", ["free"] * (T1 + 1) + ["nudged"] * T2),
            "neuron": problem.layout.labels,
        },
        attrs=run.attrs,
    )


@np.errstate(over="ignore", invalid="ignore")  # an overflow is seen as inf
def _step_metrics(
    relaxation: Relaxation, field: Field, problem: Problem
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return residual, projected residual and MSE of each step, each (K, T)."""
    states = relaxation.trajectory
    assert states is not None
    before, after = states[:, :-1], states[:, 1:]
    M, N_Y = len(problem.Y), problem.layout.N_Y
    dS = np.stack([vector_field(field, before[:, t]) for t in range(before.shape[1])], axis=1)
    residual = (dS**2).sum(axis=(2, 3)) / M
    projected = (((after - before) / problem.hyper.dt) ** 2).sum(axis=(2, 3)) / M
    return residual, projected, mean_squared_error(after[..., -N_Y:], problem.Y)
