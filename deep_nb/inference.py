"""Inference: predictions, decision maps and trajectories of trained networks."""

import warnings
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Float

from deep_nb._validation import finite_array, in_order, integer
from deep_nb.dynamics import Field, Phase, Relaxation, free_field, vector_field
from deep_nb.engines import get_engine
from deep_nb.problem import Problem
from deep_nb.randomness import probe_states
from deep_nb.run import problem_of
from deep_nb.tasks import mean_squared_error, predicted_labels

#: Maximum number of intervals along each side of a decision map.
MAX_INTERVALS = 1000


def predict(run: xr.Dataset, X: Any, engine: str = "auto") -> xr.Dataset:
    """Let every network of a run settle freely on new inputs, and return its answers.

    A network starts all inputs from the same states, drawn from U(0, 0.1) by its own seed, and
    takes T1 steps. An answer does not depend on the other inputs or networks: with the compiled
    engine to the last bit, with the others up to the rounding of BLAS.

    Parameters
    ----------
    run : xarray.Dataset
        As from `deep_nb.train`.
    X : array_like, shape (M, n_inputs)
        Inputs without the bias neuron. The columns of a DataFrame or DataArray may be named
        ``x0``, ``x1``, … and are then taken by name.
    engine : str
        As in `deep_nb.train`.

    Returns
    -------
    xarray.Dataset
        ``S (seed, sample, neuron)`` the states at the end; ``output (seed, sample, y)`` those of
        the outputs; ``label (seed, sample, target)`` the predicted labels. For diverged networks
        the states are NaN and the labels −1.

    Raises
    ------
    ValueError
        If `run` is not a run, `engine` is unknown, or `X` is not finite, does not have one column
        per input of the task, or has columns of other names.

    Warns
    -----
    RuntimeWarning
        If networks of the run diverged.

    See Also
    --------
    decision_map : Answers on a grid of inputs.
    trajectory : The path to the answers.

    Examples
    --------
    >>> import deep_nb
    >>> run = deep_nb.train("DEEP", "or", seeds=0, hyper={"n_epochs": 50})
    >>> deep_nb.predict(run, [[0, 0], [0, 1]])["label"].values.ravel()
    array([0, 1])
    """
    problem = problem_of(run)
    layout, activation = problem.layout, problem.model.activation
    X = in_order(X, "X", sample=None, input=layout.labels[: layout.n_inputs])
    X = finite_array(X, "X (M, n_inputs)", 2)
    if X.shape[1] != layout.n_inputs:
        raise ValueError(
            f"X must have {layout.n_inputs} columns, one per input of the task, got shape {X.shape}"
        )
    clamped = layout.clamp(X)
    start = np.repeat(probe_states(run["seed"].values, 1, layout), len(X), axis=1)
    relax = get_engine(engine, layout.n_free, activation)
    field = free_field(run["W"].values, run["b"].values, clamped, problem.model)
    relaxation = relax(field, start, Phase(problem.hyper.dt, problem.hyper.T1, activation))
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
    output = S[..., -layout.N_Y :]
    labels = predicted_labels(output, problem.model.one_hot)
    return xr.Dataset(
        {
            "S": (("seed", "sample", "neuron"), S, _attrs("states")),
            "output": (("seed", "sample", "y"), output, _attrs("states of the outputs")),
            "label": (
                ("seed", "sample", "target"),
                labels,
                _attrs("predicted labels, −1 where there is no answer"),
            ),
        },
        coords={
            "seed": run["seed"].values,
            "neuron": layout.labels,
            "y": layout.labels[-layout.N_Y :],
        },
        attrs=run.attrs,
    )


def _attrs(long_name: str) -> dict[str, str]:
    return {"long_name": long_name, "units": "1"}


def decision_map(run: xr.Dataset, n: int = 100, engine: str = "auto") -> xr.Dataset:
    """Return the answers on a grid over [0, 1] in each input.

    Parameters
    ----------
    run : xarray.Dataset
        Of a task with one or two inputs and one label.
    n : int
        Intervals along each side, from 1 to 1000: (n + 1)² points, or n + 1 for one input.
    engine : str
        As in `deep_nb.train`.

    Returns
    -------
    xarray.Dataset
        ``score (seed, x0, x1)`` or ``(seed, x0)``: the output's state or, one-hot,
        (1 + y1 − y0) / 2. ``label`` likewise: 1 from a score of 0.5 on, or, one-hot, above 0.5.

    Raises
    ------
    ValueError
        As `predict`, if `n` is out of range, or the task does not have one or two inputs and one
        label.

    Warns
    -----
    RuntimeWarning
        If networks of the run diverged.

    See Also
    --------
    deep_nb.plotting.plot_decision_map : Draw one network's map.

    Examples
    --------
    >>> import deep_nb
    >>> run = deep_nb.train("DEEP", "or", seeds=[0, 1], hyper={"n_epochs": 50})
    >>> answer = deep_nb.decision_map(run, n=10)
    >>> dict(answer.sizes)
    {'seed': 2, 'x0': 11, 'x1': 11}
    >>> answer["label"].sel(x0=0.0, x1=1.0).values
    array([1, 1])
    """
    n = integer(n, "n", 1, MAX_INTERVALS)
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
    labels = answer["label"].values.reshape(shape)
    return xr.Dataset(
        {
            "score": (dims, score.reshape(shape), _attrs("output")),
            "label": (dims, labels, _attrs("predicted label")),
        },
        coords={"seed": run["seed"].values, **dict.fromkeys(dims[1:], axis)},
        attrs=run.attrs,
    )


def trajectory(run: xr.Dataset, engine: str = "auto") -> xr.Dataset:
    """Follow both phases once more with the final weights, and return every state.

    The networks start from states drawn from U(0, 0.1) by their seeds. The nudged phase is the
    model's own at +β, without the terms that a rule may add to it.

    Parameters
    ----------
    run : xarray.Dataset
        As from `deep_nb.train`.
    engine : str
        As in `deep_nb.train`.

    Returns
    -------
    xarray.Dataset
        Over ``step`` 0 … T1 + T2, with ``phase (step)`` the phase that a step belongs to:
        ``S (seed, step, sample, neuron)`` the states; of each step performed
        ``residual (seed, step)`` Σ ds² / M, ``projected_residual`` Σ (Δs / dt)² / M and ``mse``.
        NaN for steps not performed and for diverged networks; the last three also for the start.

    Raises
    ------
    ValueError
        If `run` is not a run, or `engine` is unknown.

    See Also
    --------
    deep_nb.analysis.energy : Lyapunov energy along a trajectory.

    Examples
    --------
    >>> import deep_nb
    >>> run = deep_nb.train("EP_asym", "or", seeds=0, hyper={"n_epochs": 5})
    >>> path = deep_nb.trajectory(run)
    >>> path["S"].sizes["step"], path["phase"].values[[1000, 1001]].tolist()
    (2001, ['free', 'nudged'])
    >>> bool(path["projected_residual"][0, 1000] < 1e-12)  # at rest after the free phase
    True
    """
    problem = problem_of(run)
    T1, T2 = problem.hyper.T1, problem.hyper.T2
    W, b, seeds = run["W"].values, run["b"].values, run["seed"].values
    start = probe_states(seeds, len(problem.X), problem.layout)
    relax = get_engine(engine, problem.layout.n_free, problem.model.activation)
    fields, phases = problem.fields(W, b), problem.phases(trajectory=True)
    free = relax(fields[0], start, phases[0])
    nudged = relax(fields[1], free.S, phases[1])
    assert free.trajectory is not None
    assert nudged.trajectory is not None
    moving = np.concatenate([free.trajectory, nudged.trajectory[:, 1:]], axis=1)
    moving[run["diverged"].values] = np.nan
    clamped = np.broadcast_to(problem.X, (*moving.shape[:2], *problem.X.shape))
    S = np.concatenate([clamped, moving], axis=3)
    variables: dict[str, Any] = {"S": (("seed", "step", "sample", "neuron"), S, _attrs("states"))}
    gone = np.isnan(moving).any(axis=(2, 3))
    before = np.full((len(W), 1), np.nan)
    metrics = zip(
        _step_metrics(free, fields[0], problem),
        _step_metrics(nudged, fields[1], problem),
        _STEP_METRICS.items(),
        strict=True,
    )
    for in_free, in_nudged, (name, attrs) in metrics:
        values = np.concatenate([before, in_free, in_nudged], axis=1)
        variables[name] = (("seed", "step"), np.where(gone, np.nan, values), attrs)
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


_STEP_METRICS = {
    "residual": _attrs("Σ (ds/dt)² / M, in 1/τ²"),
    "projected_residual": _attrs("Σ (Δs / dt)² / M, in 1/τ²"),
    "mse": _attrs("MSE, Σ (s − y)² / 2 / M"),
}


@np.errstate(over="ignore", invalid="ignore")  # overflow gives inf
def _step_metrics(
    relaxation: Relaxation, field: Field, problem: Problem
) -> tuple[Float[np.ndarray, "K T"], Float[np.ndarray, "K T"], Float[np.ndarray, "K T"]]:
    """Return residual, projected residual and MSE of each step."""
    states = relaxation.trajectory
    assert states is not None
    before, after = states[:, :-1], states[:, 1:]
    M, N_Y = len(problem.Y), problem.layout.N_Y
    dS = np.stack([vector_field(field, before[:, t]) for t in range(before.shape[1])], axis=1)
    residual = (dS**2).sum(axis=(2, 3)) / M
    projected = (((after - before) / problem.hyper.dt) ** 2).sum(axis=(2, 3)) / M
    return residual, projected, mean_squared_error(after[..., -N_Y:], problem.Y)
