"""Training: the two-phase loop over an ensemble of networks."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import platform
import time
import warnings
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import Executor, Future, as_completed
from datetime import UTC, datetime
from typing import Any

import numpy as np
import xarray as xr
from tqdm import tqdm

from deep_nb._blocks import kept
from deep_nb._provenance import code, differences, provenance
from deep_nb.dynamics import Phase, Relaxation
from deep_nb.engines import Relax, choose_engine, get_engine
from deep_nb.kinds import (
    FLAG,
    FUNCTION,
    NOTHING,
    PATH,
    a,
    array,
    check_executor,
    integer,
    plain,
    takes,
    unchecked,
)
from deep_nb.models import Hyperparameters, Model
from deep_nb.problem import Flags, Problem
from deep_nb.pruning import prune
from deep_nb.randomness import check_seeds, initial_states, initial_weights, pruning_draws
from deep_nb.rules import Change, learn, updated_weights
from deep_nb.run import check_record, empty_run
from deep_nb.tasks import Task, classification_error, mean_squared_error, predicted_labels
from deep_nb.topology import constrain_weights

# What the loop over epochs passes on has been checked where it came in.
_classification_error = unchecked(classification_error)
_initial_states = unchecked(initial_states)
_learn = unchecked(learn)
_mean_squared_error = unchecked(mean_squared_error)
_predicted_labels = unchecked(predicted_labels)
_prune = unchecked(prune)
_pruning_draws = unchecked(pruning_draws)
_updated_weights = unchecked(updated_weights)


def train(
    model: str | Model,
    task: str | Task,
    *,
    seeds: int | Sequence[int],
    hyper: Mapping[str, Any] | Hyperparameters | None = None,
    regularized: bool = False,
    sparse: bool = False,
    stop_criterion: bool = False,
    layered: bool = False,
    sign: bool = False,
    topology: object = None,
    engine: str = "auto",
    threads: int | None = None,
    record: Sequence[str] = (),
    progress: bool = False,
    executor: Executor | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    block: int = 32,
) -> xr.Dataset:
    r"""Train an ensemble of networks on a task.

    Each epoch is: a free phase of T1 Euler steps from new random states; a nudged phase of T2
    steps, with β on the outputs; a weight change by the model's rule,
    :math:`W \leftarrow W + dt_W \Delta W`. [P]_ of `deep_nb.models`.

    Parameters
    ----------
    model : str or Model
        A name in `deep_nb.MODELS` or a model of your own.
    task : str or Task
        A name in `deep_nb.TASKS` or a task of your own.
    seeds : int or sequence of int
        One network each (the published ``num_net`` is how many), from 0 to 2³² − 1, all different.
    hyper : mapping or Hyperparameters, optional
        Laid over the model's published hyperparameters.
    regularized : bool
        L1: W loses reg_W · sign(W) an epoch.
    sparse : bool
        Prune weak synapses at random at the end of each epoch.
    stop_criterion : bool
        A phase ends after the first step with Σ ds² ≤ stop.
    layered : bool
        Connect neighbouring layers only.
    sign : bool
        Replace the rule's ΔW and Δb by their signs (published for DEEP). A ΔW that is rounding
        noise then counts like any other, so that two engines may part.
    topology : array_like of bool, shape (N, N), or networkx.DiGraph, optional
        Which synapses exist; see `deep_nb.topology.custom`.
    engine : str
        "auto" or a name in `deep_nb.engines.ENGINES`.
    threads : int, optional
        Of the compiled engine; by default NUMBA_NUM_THREADS or the cores of this process, and 1
        with an `executor`.
    record : sequence of str
        "weights" adds W_epochs and b_epochs, "trajectories" adds S_epochs.
    progress : bool
        Whether to show a progress bar.
    executor : concurrent.futures.Executor, optional
        Trains blocks of networks, on as many processes or machines as it has; the same bits.
    checkpoint : path-like, optional
        Folder to keep finished blocks in, and to take them from after an interruption.
    block : int
        Networks a block, where there is an `executor` or a `checkpoint`.

    Returns
    -------
    xarray.Dataset
        The run. Its variables are described in `deep_nb.run.VARIABLES` and in their own attrs.
        Errors and residuals of an epoch are those before its weight change; W and B are what is
        left after the last. A network whose weights, states or residuals stop being finite is
        ``diverged`` at that epoch: its W, B, states and connections stay as they last were, its
        other metrics are NaN (its steps 0) from then on, and the others go on.

    Raises
    ------
    ValueError
        If an argument is unknown, out of range or contradicts another.
    RuntimeError
        If a worker of the executor has another version of this package or of a library.
    OSError
        If the checkpoint cannot be written.

    Warns
    -----
    RuntimeWarning
        If networks diverged: how many, and which.
    """
    flags = Flags(
        regularized=regularized,
        sparse=sparse,
        stop_criterion=stop_criterion,
        layered=layered,
        sign=sign,
    )
    problem = Problem.of(model, task, hyper, flags, topology)
    FLAG.check(progress, "progress")
    (PATH | NOTHING).check(checkpoint, "checkpoint")
    integer(1).check(block, "block")
    check_executor(executor)
    checked, names = check_seeds(seeds), check_record(record)
    n, activation = problem.layout.n_free, problem.model.activation
    get_engine(engine, n, activation, threads)
    chosen = choose_engine(engine, n, activation)
    started, clock = datetime.now(UTC), time.monotonic()
    run = empty_run(problem, checked, names, chosen)
    if executor is None and checkpoint is None:
        _train(run, problem, get_engine(chosen, n, activation, threads), progress)
    else:
        make = functools.partial(
            _block,
            problem,
            names,
            chosen,
            plain(threads) or (1 if executor else None),
            checkpoint,
            code(),
        )
        _in_blocks(run, make, plain(block), executor, progress)
    run.attrs["provenance"] = json.dumps(
        {
            **provenance(),
            "started": started.isoformat(timespec="seconds"),
            "seconds": round(time.monotonic() - clock, 3),
        }
    )
    diverged = run["seed"].values[run["diverged"].values]
    if diverged.size:
        shown = ", ".join(map(str, diverged[:10])) + (", …" if diverged.size > 10 else "")
        warnings.warn(
            f"{diverged.size} of {run.sizes['seed']} networks diverged (seeds {shown}); their "
            "metrics are NaN from `diverged_epoch` on",
            RuntimeWarning,
            stacklevel=2,
        )
    return run


def _block(
    problem: Problem,
    record: tuple[str, ...],
    engine: str,
    threads: int | None,
    checkpoint: str | os.PathLike[str] | None,
    expected: dict[str, Any],
    seeds: list[int],
) -> xr.Dataset:
    """Train some networks of an ensemble, here or on another machine."""
    other = differences(expected, code())
    if other:
        raise RuntimeError(
            f"worker {platform.node()} would not train what was asked for: {'; '.join(other)}"
        )
    run = empty_run(problem, seeds, record, engine)

    def make() -> xr.Dataset:
        n, activation = problem.layout.n_free, problem.model.activation
        _train(run, problem, get_engine(engine, n, activation, threads), progress=False)
        return run

    arrays = {"X": problem.X, "Y": problem.Y, "mask": problem.mask}
    what = {
        "seeds": seeds,
        **run.attrs,
        **{name: array.tolist() for name, array in arrays.items()},
    }
    return kept(checkpoint, what, make)


def _in_blocks(
    run: xr.Dataset,
    make: Callable[[list[int]], xr.Dataset],
    size: int,
    executor: Executor | None,
    progress: bool,
) -> None:
    """Fill in the run, block by block of seeds."""
    seeds = run["seed"].values.tolist()
    blocks = {first: seeds[first : first + size] for first in range(0, len(seeds), size)}
    bar = tqdm(total=len(blocks), desc="blocks", disable=not progress)
    parts: Generator[tuple[int, xr.Dataset]]
    if executor is None:
        parts = ((first, make(block)) for first, block in blocks.items())
    else:
        parts = _gathered({first: executor.submit(make, block) for first, block in blocks.items()})
    with bar, contextlib.closing(parts):
        for first, part in parts:
            for name in run.data_vars:
                if "seed" in run[name].dims:
                    run[name].values[first : first + part.sizes["seed"]] = part[name].values
            bar.update()


def _gathered(futures: dict[int, Future[xr.Dataset]]) -> Generator[tuple[int, xr.Dataset]]:
    """Yield results as they come; if one fails, or nobody waits any more, drop the others."""
    firsts = {future: first for first, future in futures.items()}
    try:
        for future in as_completed(firsts):
            yield firsts[future], future.result()
    finally:
        for future in firsts:
            future.cancel()


def _train(run: xr.Dataset, problem: Problem, relax: Relax, progress: bool) -> None:
    """Fill in the run, epoch by epoch."""
    log = {str(name): run[name].values for name in run.data_vars}
    model, layout, hyper = problem.model, problem.layout, problem.hyper
    streams = [np.random.RandomState(seed) for seed in run["seed"].values]
    W, B = log["W"], log["b"]
    W[:] = [initial_weights(stream, layout, model.learned_bias) for stream in streams]
    W[:] = constrain_weights(W, problem.mask)
    alive = np.arange(len(streams))
    if "W_epochs" in log:
        log["W_epochs"][:, 0], log["b_epochs"][:, 0] = W, B
    for epoch in tqdm(range(hyper.n_epochs), desc="epochs", disable=not progress):
        with np.errstate(over="ignore", invalid="ignore"):  # divergence is found and reported
            start = np.array([_initial_states(streams[k], len(problem.X), layout) for k in alive])
            free, change = _two_phases(problem, relax, W[alive], B[alive], start, "S_epochs" in log)
            W_next, B_next = _updated(problem, W[alive], B[alive], change)
        finite = _finite(
            W_next, B_next, free.S, change.nudged.S, free.residual, change.nudged.residual
        )
        log["diverged"][alive[~finite]] = True
        log["diverged_epoch"][alive[~finite]] = epoch
        alive = alive[finite]
        if problem.flags.sparse:
            draws = np.array([_pruning_draws(streams[k], layout) for k in alive])
            W[alive] = _prune(
                W_next[finite], draws.reshape(W[alive].shape), hyper.tol_W, hyper.temp
            )
        else:
            W[alive] = W_next[finite]
        B[alive] = B_next[finite]
        _write(log, problem, epoch, alive, finite, free, change)
        if not alive.size:
            break
    _freeze(log)


@takes(
    problem=a(Problem),
    relax=FUNCTION,
    W=array("K N N"),
    B=array("K N"),
    start=array("K M n"),
    trajectory=FLAG,
)
def two_phases(
    problem: Problem,
    relax: Relax,
    W: np.ndarray,
    B: np.ndarray,
    start: np.ndarray,
    trajectory: bool = False,
) -> tuple[Relaxation, Change]:
    """Let K networks settle freely on their task, then change as their rule and flags say.

    Parameters
    ----------
    problem : Problem
    relax : Relax
        The engine.
    W : ndarray, shape (K, N, N)
    B : ndarray, shape (K, N)
    start : ndarray, shape (K, M, n)
        Free states at the start.
    trajectory : bool
        Whether to keep every state.

    Returns
    -------
    free : Relaxation
        The free phase.
    change : Change
        As of `deep_nb.rules.learn`; the signs of ΔW and Δb with the flag ``sign``.

    Raises
    ------
    ValueError
        If an argument is something else, or their shapes do not fit.
    TypeError
        If `relax` does not take a field, states and a phase.
    """
    free, change = _learn(
        problem.model,
        problem.hyper,
        problem.mask,
        W,
        B,
        problem.X,
        problem.Y,
        start,
        _free_phase(problem, trajectory),
        relax,
    )
    if problem.flags.sign:
        change = change._replace(dW=np.sign(change.dW), db=np.sign(change.db))
    return free, change


@takes(problem=a(Problem), trajectory=FLAG)
def free_phase(problem: Problem, trajectory: bool = False) -> Phase:
    """Return how the problem's free phase is integrated.

    Raises
    ------
    ValueError
        If an argument is something else.
    """
    hyper = problem.hyper
    return Phase(
        dt=hyper.dt,
        T=hyper.T1,
        activation=problem.model.activation,
        stop=hyper.stop if problem.flags.stop_criterion else None,
        trajectory=trajectory,
    )


def _updated(
    problem: Problem, W: np.ndarray, B: np.ndarray, change: Change
) -> tuple[np.ndarray, np.ndarray]:
    hyper = problem.hyper
    reg_W = hyper.reg_W if problem.flags.regularized else 0.0
    return _updated_weights(W, change.dW, hyper.dt_W, reg_W), B + hyper.dt_W * change.db


def _finite(*arrays: np.ndarray) -> np.ndarray:
    """Return which networks are finite in all of their arrays, shape (K,)."""
    return np.all([np.isfinite(a).reshape(len(a), -1).all(axis=1) for a in arrays], axis=0)


def _write(
    log: dict[str, np.ndarray],
    problem: Problem,
    epoch: int,
    alive: np.ndarray,
    finite: np.ndarray,
    free: Relaxation,
    change: Change,
) -> None:
    """Write one epoch of the networks that are still finite."""
    N_X, N_Y, one_hot = problem.layout.N_X, problem.layout.N_Y, problem.model.one_hot
    for phase, relaxation in (("free", free), ("nudged", change.nudged)):
        S = relaxation.S[finite]
        outputs = S[..., -N_Y:]
        labels = _predicted_labels(outputs, one_hot)
        log[f"mse_{phase}"][alive, epoch] = _mean_squared_error(outputs, problem.Y)
        log[f"class_error_{phase}"][alive, epoch] = _classification_error(labels, problem.labels)
        log[f"residual_{phase}"][alive, epoch] = relaxation.residual[finite]
        log[f"projected_residual_{phase}"][alive, epoch] = relaxation.projected_residual[finite]
        log[f"steps_{phase}"][alive, epoch] = relaxation.steps[finite]
        log[f"S_{phase}"][alive, :, :N_X] = problem.X
        log[f"S_{phase}"][alive, :, N_X:] = S
    log["dW_norm"][alive, epoch] = np.abs(change.dW[finite]).sum(axis=(1, 2))
    log["db_norm"][alive, epoch] = np.abs(change.db[finite]).sum(axis=1)
    log["n_connections"][alive, epoch] = np.count_nonzero(log["W"][alive], axis=(1, 2))
    if "W_epochs" in log:
        log["W_epochs"][alive, epoch + 1] = log["W"][alive]
        log["b_epochs"][alive, epoch + 1] = log["b"][alive]
    if "S_epochs" in log:
        assert free.trajectory is not None
        assert change.nudged.trajectory is not None
        states = np.concatenate([free.trajectory, change.nudged.trajectory[:, 1:]], axis=1)[finite]
        log["S_epochs"][alive, epoch, ..., N_X:] = states
        performed = np.isfinite(states).all(axis=-1, keepdims=True)
        log["S_epochs"][alive, epoch, ..., :N_X] = np.where(performed, problem.X, np.nan)


def _freeze(log: dict[str, np.ndarray]) -> None:
    """Carry the last finite weights of diverged networks through the later epochs."""
    for k in np.flatnonzero(log["diverged"]):
        epoch = log["diverged_epoch"][k]
        log["n_connections"][k, epoch:] = np.count_nonzero(log["W"][k])
        if "W_epochs" in log:
            log["W_epochs"][k, epoch + 1 :] = log["W"][k]
            log["b_epochs"][k, epoch + 1 :] = log["b"][k]


_two_phases, _free_phase = unchecked(two_phases), unchecked(free_phase)
