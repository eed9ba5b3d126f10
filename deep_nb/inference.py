r"""Inference: predictions, decision maps and trajectories of trained networks.

A network may be asked under other conditions than in training: other inputs and targets, another
β, other start states, and with neurons clamped. A clamped neuron keeps its state, as an input does:
its synapses drive the others, none drives it.
"""

import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Bool, Float

from deep_nb._validation import (
    LARGEST,
    finite_array,
    flag,
    in_order,
    integer,
    mapping,
    number,
    one_of,
)
from deep_nb.dynamics import (
    Field,
    Phase,
    Relaxation,
    free_field,
    nudged_field,
    ordered_product,
    vector_field,
)
from deep_nb.engines import get_engine
from deep_nb.problem import Problem
from deep_nb.randomness import probe_states
from deep_nb.rest import settle
from deep_nb.run import problem_of
from deep_nb.tasks import mean_squared_error, one_hot, predicted_labels
from deep_nb.topology import Layout

#: Maximum number of intervals along each side of a decision map.
MAX_INTERVALS = 1000


@dataclass(frozen=True, eq=False)
class _Scene:
    """What the networks of a run are shown, where they start, and which neurons are clamped.

    Attributes
    ----------
    X
        Inputs, the bias neuron's 1 included.
    Y
        Targets of the outputs, if there are any.
    S
        Start states of the neurons other than inputs, clamped ones included.
    moving
        Which of these are not clamped.
    """

    run: xr.Dataset
    problem: Problem
    X: Float[np.ndarray, "M N_X"]
    Y: Float[np.ndarray, "M N_Y"] | None
    S: Float[np.ndarray, "K M n"]
    moving: Bool[np.ndarray, " n"]

    @property
    def start(self) -> Float[np.ndarray, "K M moving"]:
        """Start states of the neurons that move."""
        return np.ascontiguousarray(self.S[..., self.moving])

    def field(self, beta: float) -> Field:
        """Return the field of the neurons that move, with β on the outputs."""
        problem, moving = self.problem, self.moving
        field = free_field(self.run["W"].values, self.run["b"].values, self.X, problem.model)
        if self.Y is not None and beta:
            field = nudged_field(field, beta, self.Y)
        if moving.all():
            return field
        W = field.W[:, :, moving]
        drive = field.drive[..., moving] + ordered_product(self.S[..., ~moving], W[:, ~moving])
        return Field(np.ascontiguousarray(W[:, moving]), drive, field.decay[:, moving])

    def all_states(
        self, moving: Float[np.ndarray, "K *times M moving"]
    ) -> Float[np.ndarray, "K *times M N"]:
        """Return the states of all neurons, given those that move; NaN for diverged networks."""
        N_X, between = self.X.shape[1], (1,) * (moving.ndim - 3)
        S = np.empty((*moving.shape[:-1], N_X + self.S.shape[-1]))
        S[..., :N_X] = self.X
        S[..., N_X:] = self.S.reshape(len(self.S), *between, *self.S.shape[1:])
        S[..., N_X:][..., self.moving] = moving
        S[self.run["diverged"].values, ..., N_X:] = np.nan
        return S

    def energy(
        self,
        field: Field,
        states: Float[np.ndarray, "K times M moving"],
    ) -> Float[np.ndarray, "K times M"]:
        """Return the distance to the rest point that follows on the last states, or NaN."""
        hyper, activation = self.problem.hyper, self.problem.model.activation
        rest = settle(field, hyper.dt, start=states[:, -1], activation=activation)
        V = np.abs(states - rest.S[:, None]).sum(axis=-1)
        V[~rest.found | self.run["diverged"].values] = np.nan
        return V


def _inputs(X: Any, layout: Layout) -> Float[np.ndarray, "M n_inputs"]:
    """Check inputs, without the bias neuron."""
    X = in_order(X, "X", sample=None, input=layout.labels[: layout.n_inputs])
    X = finite_array(X, "X (M, n_inputs)", 2)
    if X.shape[1] != layout.n_inputs:
        raise ValueError(
            f"X must have {layout.n_inputs} columns, one per input of the task, got shape {X.shape}"
        )
    return X


def _scene(
    run: xr.Dataset,
    problem: Problem,
    X: Float[np.ndarray, "M n_inputs"] | None,
    Y: Any,
    start: Any,
    clamp: Mapping[str, Any] | None,
) -> _Scene:
    """Check what the networks are shown; without X, the samples of the task."""
    layout = problem.layout
    inputs, targets = (problem.X, problem.Y) if X is None else (layout.clamp(X), None)
    if Y is not None:
        targets = _targets(Y, len(inputs), problem)
    K, M, n = run.sizes["seed"], len(inputs), layout.n_free
    free = layout.labels[layout.N_X :]
    if start is None:
        drawn = probe_states(run["seed"].values, M if X is None else 1, layout)
        S = np.broadcast_to(drawn, (K, M, n)).copy()
    else:
        seeds = run["seed"].values.tolist()
        start = in_order(start, "start", seed=seeds, sample=None, neuron=free)
        start = in_order(start, "start", sample=None, neuron=free)
        start = finite_array(in_order(start, "start", neuron=free), "start", None)
        if start.shape not in ((n,), (M, n), (K, M, n)):
            raise ValueError(
                f"start must have the shape {(n,)}, {(M, n)} or {(K, M, n)}: states of the neurons "
                f"other than inputs, also by sample and network; got {start.shape}"
            )
        S = np.broadcast_to(start, (K, M, n)).copy()
    moving = np.ones(n, dtype=bool)
    for name, value in mapping({} if clamp is None else clamp, "clamp").items():
        j = free.index(one_of(name, free, "neuron in clamp"))
        states = finite_array(value, f"clamp[{name!r}]", None)
        if states.shape not in ((), (M,)):
            raise ValueError(
                f"clamp[{name!r}] must be a number, or one for each of {M} samples, got shape "
                f"{states.shape}"
            )
        S[..., j], moving[j] = states, False
    if not moving.any():
        raise ValueError("clamp must leave at least one neuron to move")
    return _Scene(run, problem, inputs, targets, S, moving)


def _targets(Y: Any, M: int, problem: Problem) -> Float[np.ndarray, "M N_Y"]:
    """Check targets, which have the form of those of a task."""
    N_Y = problem.layout.N_Y
    Y = finite_array(in_order(Y, "Y", sample=None, target="y"), "Y (M, N_Y)", 2)
    if problem.model.one_hot:
        encoded = one_hot(Y)
        more = max(0, N_Y - encoded.shape[1]) if Y.shape[1] == 1 else 0
        Y = np.pad(encoded, ((0, 0), (0, more)))
    if Y.shape != (M, N_Y):
        raise ValueError(
            f"Y must have {M} rows, one per sample, and targets of {N_Y} outputs, got shape "
            f"{Y.shape}"
        )
    return Y


def _nudge(beta: Any, scene: _Scene) -> float:
    """Check β: without targets, nothing can be nudged."""
    beta = number(beta, "beta", -LARGEST, LARGEST)
    if beta and scene.Y is None:
        raise ValueError(f"beta = {beta:g} needs the targets Y of the inputs X; or give beta=0")
    return beta


def predict(
    run: xr.Dataset,
    X: Any,
    engine: str = "auto",
    *,
    Y: Any = None,
    beta: float = 0.0,
    start: Any = None,
    clamp: Mapping[str, Any] | None = None,
    energy: bool = False,
) -> xr.Dataset:
    r"""Let every network of a run settle on new inputs, and return its answers.

    A network starts all inputs from the same states, drawn from U(0, 0.1) by its own seed, and
    takes T1 steps. An answer does not depend on the other inputs or networks: with the compiled
    engine to the last bit, with the others up to the rounding of BLAS.

    With outputs in `clamp`, a network runs backwards: its hidden neurons settle on what goes with
    these inputs and outputs.

    Parameters
    ----------
    run : xarray.Dataset
        As from `deep_nb.train`.
    X : array_like, shape (M, n_inputs)
        Inputs without the bias neuron. The columns of a DataFrame or DataArray may be named
        ``x0``, ``x1``, … and are then taken by name.
    engine : str
        As in `deep_nb.train`.
    Y : array_like, shape (M, N_Y), optional
        Targets, in the form of a task's; needed if `beta` is not 0.
    beta : float
        Nudging strength β of the outputs towards Y; 0 for the free phase.
    start : array_like, shape (n,), (M, n) or (K, M, n), optional
        States to start from of the n neurons other than inputs, also by sample and network.
    clamp : mapping, optional
        Neurons to clamp, other than inputs: from names (``h0``, ``y0``, …) to a state, or to one
        for each sample.
    energy : bool
        Also return V₁, the distance from rest.

    Returns
    -------
    xarray.Dataset
        ``S (seed, sample, neuron)`` the states at the end; ``output (seed, sample, y)`` those of
        the outputs; ``label (seed, sample, target)`` the predicted labels; ``residual (seed,
        sample)`` :math:`\lVert F \rVert^2` at the end, over the neurons that move; with `energy`
        ``energy (seed, sample)`` :math:`V_1 = \lVert s - s^* \rVert_1`, NaN if another 200 000
        steps find no rest point s*. For diverged networks the states are NaN and the labels −1.

    Raises
    ------
    ValueError
        If `run` is not a run, `engine` is unknown, or `X` is not finite, does not have one column
        per input of the task, or has columns of other names; if another argument does not fit, or
        `beta` has no targets.

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
    >>> backwards = deep_nb.predict(run, [[0, 0], [0, 1]], clamp={"y0": [1, 0]})
    >>> backwards["output"].values.ravel()
    array([1., 0.])
    """
    problem = problem_of(run)
    scene = _scene(run, problem, _inputs(X, problem.layout), Y, start, clamp)
    beta, energy = _nudge(beta, scene), flag(energy, "energy")
    layout, activation = problem.layout, problem.model.activation
    relax = get_engine(engine, layout.n_free, activation)
    field = scene.field(beta)
    relaxation = relax(field, scene.start, Phase(problem.hyper.dt, problem.hyper.T1, activation))
    S = scene.all_states(relaxation.S)
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
    with np.errstate(over="ignore", invalid="ignore"):  # overflow gives inf
        residual = (vector_field(field, relaxation.S) ** 2).sum(axis=2)
    residual[diverged] = np.nan
    by_sample = ("seed", "sample")
    variables: dict[str, Any] = {
        "S": ((*by_sample, "neuron"), S, _attrs("states")),
        "output": ((*by_sample, "y"), output, _attrs("states of the outputs")),
        "label": (
            (*by_sample, "target"),
            labels,
            _attrs("predicted labels, −1 where there is no answer"),
        ),
        "residual": (by_sample, residual, _attrs("Σ (ds/dt)², in 1/τ²")),
    }
    if energy:
        V = scene.energy(field, relaxation.S[:, None])[:, 0]
        variables["energy"] = (by_sample, V, _attrs(_ENERGY))
    return xr.Dataset(
        variables,
        coords={
            "seed": run["seed"].values,
            "neuron": layout.labels,
            "y": layout.labels[-layout.N_Y :],
        },
        attrs=run.attrs,
    )


_ENERGY = "V₁ = Σ |s − s*|, with s* the rest point of the phase"


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


def trajectory(
    run: xr.Dataset,
    engine: str = "auto",
    *,
    X: Any = None,
    Y: Any = None,
    beta: float | None = None,
    start: Any = None,
    clamp: Mapping[str, Any] | None = None,
    energy: bool = False,
) -> xr.Dataset:
    r"""Follow both phases once more with the final weights, and return every state.

    The networks start from states drawn from U(0, 0.1) by their seeds. The nudged phase is the
    model's own at +β, without the terms that a rule may add to it.

    Parameters
    ----------
    run : xarray.Dataset
        As from `deep_nb.train`.
    engine : str
        As in `deep_nb.train`.
    X : array_like, shape (M, n_inputs), optional
        Inputs without the bias neuron, by default those of the task. They start from the same
        states, as in `predict`.
    Y : array_like, shape (M, N_Y), optional
        Targets, by default those of the task; needed with `X` if β is not 0.
    beta : float, optional
        β of the nudged phase, by default the run's; with 0, the free phase continues.
    start : array_like, shape (n,), (M, n) or (K, M, n), optional
        States to start from of the n neurons other than inputs, also by sample and network.
    clamp : mapping, optional
        Neurons to clamp in both phases, as in `predict`.
    energy : bool
        Also return V₁, the distance from rest.

    Returns
    -------
    xarray.Dataset
        Over ``step`` 0 … T1 + T2, with ``phase (step)`` the phase that a step belongs to:
        ``S (seed, step, sample, neuron)`` the states; of each step performed
        ``residual (seed, step)`` Σ ds² / M over the neurons that move, ``projected_residual``
        Σ (Δs / dt)² / M and ``mse``; with `energy` also ``energy (seed, step, sample)``
        :math:`V_1 = \lVert s - s^* \rVert_1`, with s* the rest point that follows on the last
        state of the phase, NaN if another 200 000 steps do not find one. NaN for steps not
        performed and for diverged networks; residuals and mse also for the start, and mse without
        targets.

    Raises
    ------
    ValueError
        If `run` is not a run, `engine` is unknown, or another argument does not fit; if β has no
        targets.

    See Also
    --------
    predict : Only the states at the end.
    deep_nb.analysis.energy : Other Lyapunov energies along a trajectory.

    Examples
    --------
    >>> import deep_nb
    >>> run = deep_nb.train("EP_asym", "or", seeds=0, hyper={"n_epochs": 5})
    >>> path = deep_nb.trajectory(run)
    >>> path["S"].sizes["step"], path["phase"].values[[1000, 1001]].tolist()
    (2001, ['free', 'nudged'])
    >>> bool(path["projected_residual"][0, 1000] < 1e-12)  # at rest after the free phase
    True
    >>> held = deep_nb.trajectory(run, X=[[0, 0]], beta=0, clamp={"h0": 0.5})
    >>> sorted({*held["S"].sel(neuron="h0").values.ravel().tolist()})
    [0.5]
    """
    problem = problem_of(run)
    T1, T2 = problem.hyper.T1, problem.hyper.T2
    inputs = None if X is None else _inputs(X, problem.layout)
    scene = _scene(run, problem, inputs, Y, start, clamp)
    beta = _nudge(problem.hyper.beta if beta is None else beta, scene)
    energy = flag(energy, "energy")
    relax = get_engine(engine, problem.layout.n_free, problem.model.activation)
    fields = scene.field(0.0), scene.field(beta)
    phases = problem.phases(trajectory=True)
    free = relax(fields[0], scene.start, phases[0])
    nudged = relax(fields[1], free.S, phases[1])
    assert free.trajectory is not None
    assert nudged.trajectory is not None
    moving = np.concatenate([free.trajectory, nudged.trajectory[:, 1:]], axis=1)
    moving[run["diverged"].values] = np.nan
    S = scene.all_states(moving)
    variables: dict[str, Any] = {"S": (("seed", "step", "sample", "neuron"), S, _attrs("states"))}
    gone = np.isnan(moving).any(axis=(2, 3))
    first = np.full((len(S), 1), np.nan)
    metrics = zip(
        _step_metrics(free, fields[0], problem.hyper.dt),
        _step_metrics(nudged, fields[1], problem.hyper.dt),
        strict=True,
    )
    rows = [np.concatenate([first, *phases], axis=1) for phases in metrics]
    mse = np.full(gone.shape, np.nan)
    if scene.Y is not None:
        mse[:, 1:] = mean_squared_error(S[:, 1:, :, -problem.layout.N_Y :], scene.Y)
    for values, (name, attrs) in zip((*rows, mse), _STEP_METRICS.items(), strict=True):
        variables[name] = (("seed", "step"), np.where(gone, np.nan, values), attrs)
    if energy:
        last = [relaxation.S[:, None] for relaxation in (free, nudged)]
        parts = moving[:, : T1 + 1], moving[:, T1 + 1 :]
        V = [
            scene.energy(field, np.concatenate([part, end], axis=1))[:, :-1]
            for field, part, end in zip(fields, parts, last, strict=True)
        ]
        joined = np.concatenate(V, axis=1)
        variables["energy"] = (("seed", "step", "sample"), joined, _attrs(_ENERGY))
    own = X is None and Y is None and beta == problem.hyper.beta and scene.moving.all()
    return xr.Dataset(
        variables,
        coords={
            "seed": run["seed"].values,
            "step": np.arange(T1 + T2 + 1),
            "phase": ("step", ["free"] * (T1 + 1) + ["nudged"] * T2),
            "neuron": problem.layout.labels,
        },
        attrs=run.attrs if own else {**run.attrs, "conditions": _conditions(scene, beta)},
    )


def _conditions(scene: _Scene, beta: float) -> str:
    """Describe under which conditions a path was followed, as JSON."""
    free = scene.problem.layout.labels[scene.X.shape[1] :]
    clamped = [name for name, moves in zip(free, scene.moving, strict=True) if not moves]
    return json.dumps({"beta": beta, "clamped": clamped})


_STEP_METRICS = {
    "residual": _attrs("Σ (ds/dt)² / M, in 1/τ²"),
    "projected_residual": _attrs("Σ (Δs / dt)² / M, in 1/τ²"),
    "mse": _attrs("MSE, Σ (s − y)² / 2 / M"),
}


@np.errstate(over="ignore", invalid="ignore")  # overflow gives inf
def _step_metrics(
    relaxation: Relaxation, field: Field, dt: float
) -> tuple[Float[np.ndarray, "K T"], Float[np.ndarray, "K T"]]:
    """Return residual and projected residual of each step."""
    states = relaxation.trajectory
    assert states is not None
    before, after = states[:, :-1], states[:, 1:]
    M = states.shape[2]
    dS = np.stack([vector_field(field, before[:, t]) for t in range(before.shape[1])], axis=1)
    return (dS**2).sum(axis=(2, 3)) / M, (((after - before) / dt) ** 2).sum(axis=(2, 3)) / M
