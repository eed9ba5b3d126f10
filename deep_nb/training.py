"""Training: the two-phase loop over an ensemble of networks."""

import functools
import json
import os
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from datetime import UTC, datetime
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Bool, Float, Int
from tqdm import tqdm

from deep_nb._blocks import check_worker, fill_in, kept
from deep_nb._printing import stderr
from deep_nb._provenance import code, provenance
from deep_nb._validation import as_path, check_executor, flag, integer
from deep_nb.dynamics import Relaxation
from deep_nb.engines import Relax, choose_engine, get_engine
from deep_nb.engines.compiled import (
    KERNEL_ACTIVATIONS,
    KERNEL_RULES,
    NEVER,
    SUMS,
    Compiled,
)
from deep_nb.kernels.epochs import Settings
from deep_nb.models import Flags, Hyperparameters, Model
from deep_nb.problem import Problem
from deep_nb.pruning import prune
from deep_nb.randomness import (
    STATE_SCALE,
    check_seeds,
    initial_states,
    initial_weights,
    pruning_draws,
)
from deep_nb.rules import Change, State, learn, updated_weights
from deep_nb.run import check_record, empty_run
from deep_nb.tasks import Task, classification_error, mean_squared_error, predicted_labels

#: Multiply–adds of a phase from which on several threads share it sooner than epochs a kernel.
WORTH_SHARING = 20_000_000


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

    Each epoch is a free phase of T1 Euler steps from new random states, a nudged phase of T2 steps
    with β on the outputs, and a weight change by the model's rule,
    :math:`W \leftarrow W + dt_W \Delta W`. Source: [P]_ of `deep_nb.models`.

    Parameters
    ----------
    model : str or Model
        A name in `deep_nb.MODELS` or a model of your own.
    task : str or Task
        A name in `deep_nb.TASKS` or a task of your own.
    seeds : int or sequence of int
        One network per seed (the published ``num_net`` is their number): distinct integers from 0
        to 2³² − 1, in a list, range, array, index or series.
    hyper : mapping or Hyperparameters, optional
        Replace some of the model's published hyperparameters.
    regularized : bool
        L1: W loses reg_W · sign(W) per epoch.
    sparse : bool
        Prune weak synapses at random at the end of each epoch.
    stop_criterion : bool
        End a phase after the first step with Σ ds² ≤ stop.
    layered : bool
        Connect neighbouring layers only.
    sign : bool
        Replace ΔW and Δb by their signs (published for DEEP). Rounding noise in ΔW then counts like
        any other change, so that two engines may give different networks.
    topology : array_like of bool, shape (N, N), or networkx.DiGraph, optional
        Which synapses exist, from the first axis to the second. A graph's nodes, and the labels of
        a DataFrame or DataArray, are neuron labels (``x0``, ``bias``, ``h0``, ``y0``, …) or
        indices, in any order.
    engine : str
        "auto", "reference", "blas" or "numba".
    threads : int, optional
        Of the compiled engine; by default NUMBA_NUM_THREADS or the cores of this process, and 1
        with an `executor`.
    record : sequence of str
        "weights" adds W_epochs and b_epochs, "trajectories" adds S_epochs.
    progress : bool
        Show a progress bar.
    executor : concurrent.futures.Executor, optional
        Trains blocks of networks on its processes or machines, with the same bits. Machines of
        different kinds agree on every bit of small networks with the hard sigmoid, except with the
        rule adjoint.
    checkpoint : path-like, optional
        Folder for finished blocks; interrupted training resumes from them.
    block : int
        Networks per block, with an `executor` or a `checkpoint`.

    Returns
    -------
    xarray.Dataset
        The run; each variable's ``attrs`` give its unit and meaning. Errors and residuals of an
        epoch are those before its weight change; W and b are those after the last. If weights,
        states or residuals of a network stop being finite, it is ``diverged`` at that epoch: its W,
        b, states and connections keep their last finite values, its other metrics are NaN (its
        steps 0) from then on, and the other networks continue.

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
        If networks diverged.

    See Also
    --------
    deep_nb.predict : Answers of trained networks to new inputs.
    deep_nb.save : Write a run to a file.
    deep_nb.analysis.network_table : One row per network.

    Examples
    --------
    >>> import deep_nb
    >>> run = deep_nb.train("DEEP", "or", seeds=range(3), hyper={"n_epochs": 50})
    >>> run["mse_free"].dims, run["W"].shape
    (('seed', 'epoch'), (3, 9, 9))
    >>> int((run["mse_free"][:, -1] < 0.01).sum())
    3
    """
    flags = Flags(
        regularized=regularized,
        sparse=sparse,
        stop_criterion=stop_criterion,
        layered=layered,
        sign=sign,
    )
    problem = Problem.of(model, task, hyper, flags, topology)
    seeds, record = check_seeds(seeds), check_record(record)
    progress, block = flag(progress, "progress"), integer(block, "block", 1)
    check_executor(executor)
    folder = None if checkpoint is None else as_path(checkpoint, "checkpoint").absolute()
    n, activation = problem.layout.n_free, problem.model.activation
    chosen = choose_engine(engine, n, activation)
    relax = get_engine(chosen, n, activation, threads)
    started, clock = datetime.now(UTC), time.monotonic()
    run = empty_run(problem, seeds, record, chosen)
    if executor is None and folder is None:
        _train(run, problem, relax, progress)
    else:
        one_thread = 1 if executor and threads is None else threads
        make = functools.partial(_block, problem, record, chosen, one_thread, folder, code())
        fill_in(run, make, block, executor, progress)
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
    checkpoint: os.PathLike[str] | None,
    expected: dict[str, Any],
    seeds: list[int],
) -> xr.Dataset:
    """Train some networks of an ensemble, here or on another machine."""
    check_worker(expected)
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


def _train(run: xr.Dataset, problem: Problem, relax: Relax, progress: bool) -> None:
    """Fill in the run: in one kernel where there is one, else epoch by epoch; the same bits."""
    log = {str(name): run.variables[name].values for name in run.data_vars}
    seeds = run["seed"].values
    if isinstance(relax, Compiled) and _serves(problem, relax, len(seeds)):
        _train_in_kernel(log, problem, relax, seeds, progress)
    else:
        _train_epoch_by_epoch(log, problem, relax, seeds, progress)
    _freeze(log)


#: Maps the weights of some networks, given with their positions, to the nearest allowed ones.
Constraint = Callable[
    [Float[np.ndarray, "k N N"], Int[np.ndarray, " k"]], Float[np.ndarray, "k N N"]
]


def _unconstrained(
    W: Float[np.ndarray, "k N N"], networks: Int[np.ndarray, " k"]
) -> Float[np.ndarray, "k N N"]:
    return W


def train_constrained(
    problem: Problem, seeds: list[int], constrain: Constraint, record: tuple[str, ...] = ()
) -> xr.Dataset:
    """Train networks whose weights obey a constraint, at the start and after each change.

    The run does not know its constraint: `settings` and `train` would make other networks of it.
    """
    run = empty_run(problem, seeds, record, "numba")
    log = {str(name): run.variables[name].values for name in run.data_vars}
    relax = get_engine("numba", problem.layout.n_free, problem.model.activation)
    _train_epoch_by_epoch(log, problem, relax, run["seed"].values, False, constrain)
    _freeze(log)
    return run


def _begin(
    log: dict[str, np.ndarray],
    problem: Problem,
    k: int,
    stream: Any,
    constrain: Constraint = _unconstrained,
) -> None:
    """Draw the weights of a network."""
    W = initial_weights(stream, problem.layout, problem.model.learned_bias)
    W = np.where(problem.mask, W, 0.0)
    log["W"][k] = constrain(W[None], np.array([k]))[0]
    if "W_epochs" in log:
        log["W_epochs"][k, 0], log["b_epochs"][k, 0] = log["W"][k], log["b"][k]


def _train_epoch_by_epoch(
    log: dict[str, np.ndarray],
    problem: Problem,
    relax: Relax,
    seeds: Int[np.ndarray, " K"],
    progress: bool,
    constrain: Constraint = _unconstrained,
) -> None:
    layout, hyper = problem.layout, problem.hyper
    W, b = log["W"], log["b"]
    streams = [np.random.RandomState(seed) for seed in seeds]
    for k, stream in enumerate(streams):
        _begin(log, problem, k, stream, constrain)
    alive = np.arange(len(streams))
    epochs = range(hyper.n_epochs)
    for epoch in tqdm(epochs, desc="epochs", disable=not progress, file=stderr()):
        with np.errstate(over="ignore", invalid="ignore"):  # divergence is detected and reported
            S = np.array([initial_states(streams[k], len(problem.X), layout) for k in alive])
            state = State(W[alive], b[alive], S)
            free, change = learn(problem, state, relax, trajectory="S_epochs" in log)
            W_next, b_next = _updated(problem, state, change)
        finite = _finite(W_next, b_next, free, change.nudged)
        log["diverged"][alive[~finite]] = True
        log["diverged_epoch"][alive[~finite]] = epoch
        alive = alive[finite]
        W_next, b_next = W_next[finite], b_next[finite]
        if problem.flags.sparse and alive.size:
            draws = np.array([pruning_draws(streams[k], layout) for k in alive])
            W_next = prune(W_next, draws, hyper.tol_W, hyper.temp)
        W_next = constrain(W_next, alive)
        W[alive], b[alive] = W_next, b_next
        _write(log, problem, epoch, alive, finite, free, change)
        if not alive.size:
            break


def _serves(problem: Problem, relax: Compiled, K: int) -> bool:
    """Return whether the kernel knows the rule, and is the faster way.

    It trains a network in one thread, where many samples of a large one had better share several.
    """
    M, n, hyper = len(problem.X), problem.layout.n_free, problem.hyper
    if problem.model.rule not in KERNEL_RULES or M * n * n > SUMS:
        return False
    return relax.threads <= K or M * n * n * max(hyper.T1, hyper.T2) < WORTH_SHARING


def _train_in_kernel(
    log: dict[str, np.ndarray],
    problem: Problem,
    relax: Compiled,
    seeds: Int[np.ndarray, " K"],
    progress: bool,
) -> None:
    stream = np.random.RandomState()  # making one for each seed would take longer than drawing
    keys = np.empty((len(seeds), 624), np.uint32)
    positions = np.empty(len(seeds), np.int64)
    for k, seed in enumerate(seeds):
        stream.seed(seed)
        _begin(log, problem, k, stream)
        state = stream.get_state(legacy=False)["state"]
        keys[k], positions[k] = state["key"], state["pos"]
    model, hyper, flags = problem.model, problem.hyper, problem.flags
    settings = Settings(
        n_epochs=hyper.n_epochs,
        T=(hyper.T1, hyper.T2),
        dt=hyper.dt,
        stop=hyper.stop if flags.stop_criterion else NEVER,
        beta=hyper.beta,
        betas=(hyper.beta_0, hyper.beta_1),
        dt_W=hyper.dt_W,
        reg_W=hyper.reg_W if flags.regularized else 0.0,
        tol_W=hyper.tol_W,
        temp=hyper.temp,
        leak=model.leak,
        outflow=model.outflow,
        absolute_outflow=model.absolute_outflow,
        learned_bias=model.learned_bias,
        one_hot=model.one_hot,
        sparse=flags.sparse,
        sign=flags.sign,
        activation=KERNEL_ACTIVATIONS[model.activation],
        rule=KERNEL_RULES[model.rule],
        scale=STATE_SCALE,
        X=np.array(problem.X, order="C"),
        Y=np.array(problem.Y, order="C"),
        labels=np.array(problem.labels, order="C"),
        mask=np.array(problem.mask, order="C"),
    )
    with tqdm(total=hyper.n_epochs, desc="epochs", disable=not progress, file=stderr()) as bar:
        relax.train(settings, log, keys, positions, lambda epochs: bar.update(int(epochs) - bar.n))


def _updated(
    problem: Problem, state: State, change: Change
) -> tuple[Float[np.ndarray, "K N N"], Float[np.ndarray, "K N"]]:
    """Return weights and biases after the change."""
    hyper = problem.hyper
    reg_W = hyper.reg_W if problem.flags.regularized else 0.0
    W = updated_weights(state.W, change.dW, hyper.dt_W, reg_W)
    return W, state.b + hyper.dt_W * change.db


def _finite(
    W: Float[np.ndarray, "K N N"], b: Float[np.ndarray, "K N"], *phases: Relaxation
) -> Bool[np.ndarray, " K"]:
    """Return which networks have finite weights, biases, states and residuals."""
    arrays = [W, b, *(phase.S for phase in phases), *(phase.residual for phase in phases)]
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
        labels = predicted_labels(outputs, one_hot)
        log[f"mse_{phase}"][alive, epoch] = mean_squared_error(outputs, problem.Y)
        log[f"class_error_{phase}"][alive, epoch] = classification_error(labels, problem.labels)
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
