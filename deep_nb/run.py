"""The run: the `xarray.Dataset` that `train` returns. Its variables, their units, and its file.

Time is measured in τ, the neurons' time constant. All variables are therefore numbers without a
unit (``units`` is "1", as UDUNITS writes it); ``long_name`` says which of them are in powers of τ.
"""

import hashlib
import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
import psutil
import xarray as xr

from deep_nb._files import check_writable, replacing
from deep_nb._netcdf import read_netcdf, write_netcdf
from deep_nb._reading import check_netcdf
from deep_nb._validation import as_path, one_of, short
from deep_nb.models import RECORDS, EngineName, Flags, Hyperparameters, Model
from deep_nb.problem import Problem
from deep_nb.randomness import check_seeds
from deep_nb.tasks import Task, mean_squared_error, one_hot
from deep_nb.topology import Layout

_EPOCH = ("seed", "epoch")
_STATE = ("seed", "sample", "neuron")


def _of_both_phases(name: str, fill: Any, meaning: str) -> dict[str, Any]:
    """Return one variable for each phase, whose name goes into the meaning."""
    return {
        f"{name}_{phase}": (_EPOCH, fill, meaning.format(f"{phase} phase"))
        for phase in ("free", "nudged")
    }


_BEFORE = ", before the epoch's weight change"

#: Dimensions, fill value and meaning of each variable.
VARIABLES: dict[str, tuple[tuple[str, ...], Any, str]] = {
    **_of_both_phases("mse", np.nan, "MSE Σ (s − y)² / 2 / M at the end of the {}" + _BEFORE),
    **_of_both_phases(
        "class_error", np.nan, "share of samples misclassified after the {}" + _BEFORE
    ),
    **_of_both_phases(
        "residual", np.nan, "Σ (ds/dt)² / M at the last step of the {}" + _BEFORE + ", in 1/τ²"
    ),
    **_of_both_phases(
        "projected_residual",
        np.nan,
        "Σ ((s(t+1) − s(t)) / dt)² / M at the last step of the {}" + _BEFORE + ", in 1/τ²",
    ),
    **_of_both_phases("steps", 0, "number of Euler steps performed in the {}"),
    "dW_norm": (
        _EPOCH,
        np.nan,
        "‖ΔW‖₁, the rule's change of weights before dt_W, in τ (a plain number for stdp and sign)",
    ),
    "db_norm": (
        _EPOCH,
        np.nan,
        "‖Δb‖₁, the rule's change of biases before dt_W, in τ (a plain number for stdp and sign)",
    ),
    "n_connections": (_EPOCH, 0, "number of synapses with W ≠ 0 after the epoch"),
    "W": (("seed", "pre", "post"), 0.0, "weights after training, from pre to post, in 1/τ"),
    "b": (("seed", "post"), 0.0, "biases b after training, in 1/τ; 0 in models that learn none"),
    "S_free": (_STATE, np.nan, "states after the last epoch's free phase"),
    "S_nudged": (_STATE, np.nan, "states after the last epoch's nudged phase"),
    "diverged": (("seed",), False, "whether weights or states stopped being finite"),
    "diverged_epoch": (("seed",), -1, "number of the epoch in which the network diverged, or −1"),
    "W_epochs": (("seed", "snapshot", "pre", "post"), np.nan, "weights, by epochs trained, in 1/τ"),
    "b_epochs": (("seed", "snapshot", "post"), np.nan, "biases, by epochs trained, in 1/τ"),
    "S_epochs": (
        ("seed", "epoch", "step", "sample", "neuron"),
        np.nan,
        "states: step 0 the start, then T1 free steps, then T2 nudged ones; NaN if not performed",
    ),
    "mask": (("pre", "post"), False, "which synapses exist"),
    "X": (("sample", "input"), np.nan, "inputs of the task"),
    "Y": (("sample", "target"), np.nan, "targets of the task"),
}

#: Meaning of each coordinate.
COORDINATES = {
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


def check_record(record: Sequence[str]) -> tuple[str, ...]:
    """Return the sorted records, each a name in `RECORDS`."""
    if isinstance(record, str) or not isinstance(record, Sequence):
        raise ValueError(f"record must be a sequence such as ('weights',), got {short(record)}")
    return tuple(sorted({one_of(name, RECORDS, "record") for name in record}))


def empty_run(
    problem: Problem, seeds: list[int], record: tuple[str, ...], engine: str
) -> xr.Dataset:
    """Return a run with its coordinates and attributes, and variables to be filled in."""
    coords = {"seed": seeds, **_coordinates(problem)}
    sizes = {name: len(values) for name, values in coords.items()}
    sizes["target"] = problem.task.Y.shape[1]
    names = _variables(record)
    _check_memory(sum(math.prod(sizes[dim] for dim in VARIABLES[name][0]) for name in names))
    given = {"mask": problem.mask, "X": problem.task.X, "Y": problem.task.Y}
    variables: dict[str, Any] = {}
    for name in names:
        dims, fill, long_name = VARIABLES[name]
        array = np.full([sizes[dim] for dim in dims], fill) if name not in given else given[name]
        attributes = {"units": "1", "long_name": long_name}
        variables[name] = xr.Variable(dims, array, attributes, fastpath=True)
    used = {dim for name in names for dim in VARIABLES[name][0]}
    attrs = {
        "Conventions": "CF-1.11",
        "model": problem.model.model_dump_json(),
        "task": json.dumps({"name": problem.task.name}),
        "hyper": problem.hyper.model_dump_json(),
        "flags": problem.flags.model_dump_json(),
        "custom_topology": json.dumps(problem.custom_topology),
        "record": json.dumps(record),
        "engine": engine,
    }
    labelled = {
        name: xr.IndexVariable(
            name, np.asarray(values), {"long_name": COORDINATES[name]}, fastpath=True
        )
        for name, values in coords.items()
        if name in used
    }
    attrs["fingerprint"] = _fingerprint(attrs, given)
    return xr.Dataset(variables, coords=labelled, attrs=attrs)


def _coordinates(problem: Problem) -> dict[str, Any]:
    """Return the labels of every dimension but the networks' own."""
    hyper, layout = problem.hyper, problem.layout
    return {
        "epoch": np.arange(hyper.n_epochs),
        "pre": layout.labels,
        "post": layout.labels,
        "neuron": layout.labels,
        "sample": np.arange(len(problem.X)),
        "input": layout.labels[: layout.n_inputs],
        "snapshot": np.arange(hyper.n_epochs + 1),
        "step": np.arange(hyper.T1 + hyper.T2 + 1),
    }


def sealed(run: xr.Dataset) -> xr.Dataset:
    """Return a run whose fingerprint belongs to its settings, whether or not they were changed."""
    return run.assign_attrs(fingerprint=_fingerprint_of(run))


def _fingerprint_of(run: xr.Dataset) -> str:
    return _fingerprint(run.attrs, {name: run[name].values for name in ("mask", "X", "Y")})


def _fingerprint(attrs: Mapping[Any, Any], arrays: Mapping[str, np.ndarray]) -> str:
    """Return the SHA-256 of everything but the seeds that decides what training gives."""
    digest = hashlib.sha256()
    for name in ("model", "task", "hyper", "flags", "custom_topology", "engine"):
        digest.update(f"{name}={attrs[name]}\n".encode())
    for name in ("mask", "X", "Y"):
        digest.update(f"{name}={arrays[name].shape}\n".encode())
        kind = np.asarray(VARIABLES[name][1]).dtype  # in this machine's byte order
        digest.update(np.ascontiguousarray(arrays[name], dtype=kind).tobytes())
    return digest.hexdigest()


def _variables(record: Sequence[str]) -> list[str]:
    left_out = {name for key, names in RECORDS.items() if key not in record for name in names}
    return [name for name in VARIABLES if name not in left_out]


def _check_memory(numbers: int) -> None:
    """Refuse a run that this machine cannot hold, before the operating system kills it."""
    installed = psutil.virtual_memory().total
    if 8 * numbers > installed:
        raise ValueError(
            f"this run needs about {8 * numbers / 1e9:.0f} GB of memory, but this machine has "
            f"{installed / 1e9:.0f} GB: use fewer seeds, epochs or neurons, or record less"
        )


_SETTINGS = ("model", "task", "hyper", "flags", "custom_topology", "record")


def settings(run: xr.Dataset) -> dict[str, Any]:
    """Return the keyword arguments with which `deep_nb.train` makes this run again.

    Raises
    ------
    ValueError
        If `run` is not a whole run, as from `deep_nb.train`, `deep_nb.load` or `deep_nb.concat`:
        something is missing, malformed, selected along another dimension than ``seed``, changed
        after training, or does not fit together.

    See Also
    --------
    deep_nb.train : Takes these arguments.

    Examples
    --------
    >>> import deep_nb
    >>> run = deep_nb.train("DEEP", "and", seeds=[3], hyper={"n_epochs": 5})
    >>> arguments = deep_nb.settings(run)
    >>> arguments["seeds"], arguments["hyper"].n_epochs
    ([3], 5)
    >>> deep_nb.train(**arguments).equals(run)
    True
    """
    given, problem = _read(run)
    _check_numbers(run, problem)
    return given


def problem_of(run: xr.Dataset) -> Problem:
    """Return the problem that a run was made with, after checking the run against it."""
    _, problem = _read(run)
    return problem


def _read(run: Any) -> tuple[dict[str, Any], Problem]:
    """Return a run's settings and its problem, after checking that everything fits together."""
    if not isinstance(run, xr.Dataset):
        raise ValueError(f"expected a run, as from deep_nb.train, got {type(run).__name__}")
    if "mse_weak" in run:
        raise ValueError(
            "this run was saved by deep_nb 0.1, which named its variables differently ('weak' "
            "for 'nudged', 'B' for 'b'): train it again with this version"
        )
    try:
        if "seed" not in run.coords:
            raise KeyError("seed")
        attrs = {name: json.loads(run.attrs[name]) for name in _SETTINGS}
        record = check_record(attrs["record"])
        for name in _variables(record):
            _check_variable(run, name)
        given = {
            "model": Model(**attrs["model"]),
            "task": Task(attrs["task"]["name"], run["X"].values, run["Y"].values),
            "seeds": check_seeds(run.coords["seed"].values.tolist()),
            "hyper": Hyperparameters(**attrs["hyper"]),
            **dict(Flags(**attrs["flags"])),
            "topology": run["mask"].values if attrs["custom_topology"] else None,
            "engine": one_of(run.attrs["engine"], get_args(EngineName), "engine"),
            "record": record,
        }
        fingerprint = run.attrs["fingerprint"]
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        what = f"{type(error).__name__}: {error}"
        raise ValueError(f"this dataset is not a run of deep_nb.train: {what}") from None
    _check_sizes(run, given["model"], given["hyper"])
    flags = Flags(**{name: given[name] for name in Flags.model_fields})
    problem = Problem.of(given["model"], given["task"], given["hyper"], flags, given["topology"])
    _check_consistency(run, problem, record)
    if fingerprint != _fingerprint_of(run):
        raise ValueError(
            "this run's model, task, hyper, flags, custom_topology, engine, X, Y or mask were "
            "changed, or samples left out, after training: train again with what you have now"
        )
    return given, problem


def _check_variable(run: xr.Dataset, name: str) -> None:
    dims, fill = VARIABLES[name][:2]
    kind = np.asarray(fill).dtype.kind
    found = run[name]
    if found.dims != dims:
        hint = ""
        if set(dims) - set(found.dims) == {"seed"}:
            hint = "; to select one network, use run.isel(seed=[0])"
        elif set(found.dims) - set(dims) == {"seed"}:
            hint = "; to put runs together, use deep_nb.concat"
        raise ValueError(f"{name} has dimensions {found.dims}, expected {dims}{hint}")
    if found.dtype.kind != kind:
        raise ValueError(f"{name} is of type {found.dtype}, expected one of kind {kind!r}")


def _check_sizes(run: xr.Dataset, model: Model, hyper: Hyperparameters) -> None:
    """Refuse a run whose sizes are not those that its task, model and hyperparameters give.

    This comes before `Problem.of`, which makes arrays of these sizes.
    """
    Y = one_hot(run["Y"].values) if model.one_hot else run["Y"].values
    layout = Layout(run["X"].shape[1], model.bias_neuron, hyper.N_H, Y.shape[1])
    expected = {
        "epoch": hyper.n_epochs,
        "snapshot": hyper.n_epochs + 1,
        "step": hyper.T1 + hyper.T2 + 1,
        **dict.fromkeys(("pre", "post", "neuron"), layout.N),
    }
    for dim, size in expected.items():
        if run.sizes.get(dim, size) != size:
            raise ValueError(
                f"this run has {run.sizes[dim]} of the dimension {dim!r}, but its settings give "
                f"{size}: analyse the whole run, then select along {dim}"
            )
    for phase, most in (("free", hyper.T1), ("nudged", hyper.T2)):
        steps = run[f"steps_{phase}"].values
        wrong = steps[(steps < 0) | (steps > most)]
        if wrong.size:
            raise ValueError(
                f"this run took {wrong[0]} steps in a {phase} phase, but its settings give {most}"
            )


def _check_consistency(run: xr.Dataset, problem: Problem, record: tuple[str, ...]) -> None:
    """Refuse a run whose labels, sizes or numbers contradict its problem."""
    used = {dim for name in _variables(record) for dim in VARIABLES[name][0]}
    for dim, values in _coordinates(problem).items():
        if dim not in used:
            continue
        if dim not in run.coords:
            raise ValueError(f"this run has no labels of the dimension {dim}")
        if isinstance(values, list):
            if run[dim].values.tolist() != values:
                raise ValueError(f"this run must have every {dim} in the order {values}")
        elif not np.array_equal(run[dim].values, values):
            raise ValueError(
                f"this run must have every {dim} from 0 to {len(values) - 1}: analyse the whole "
                f"run, then select along {dim}"
            )
    extra = set(VARIABLES) & set(run.variables) - set(_variables(record))
    if extra:
        raise ValueError(f"this run contains {min(extra)}, but did not record it")
    if not np.array_equal(run["mask"].values, problem.mask):
        raise ValueError("this run's mask does not match its topology")
    if run["W"].values[:, ~problem.mask].any():
        raise ValueError("this run's W is not 0 where its topology has no synapse")
    if not (np.isfinite(run["W"]).all() and np.isfinite(run["b"]).all()):
        raise ValueError("this run contains W or b that are not finite")


def _check_numbers(run: xr.Dataset, problem: Problem) -> None:
    """Refuse a run whose numbers cannot be those of one training.

    Only training again could tell more, such as whether the seeds are those of the networks.
    """
    n_epochs, N_X = problem.hyper.n_epochs, problem.layout.N_X
    diverged, epoch = run["diverged"].values, run["diverged_epoch"].values
    if not ((epoch >= -1) & (epoch < n_epochs) & ((epoch >= 0) == diverged)).all():
        raise _contradiction("diverged_epoch", "an epoch where diverged is true, and -1 elsewhere")
    finished = np.where(diverged, epoch, n_epochs)
    undone = np.arange(n_epochs) >= finished[:, None]
    for name, (dims, fill, _) in VARIABLES.items():
        if dims == _EPOCH and np.isnan(fill):
            values, most = run[name].values, 1 if name.startswith("class_error") else np.inf
            fits = np.where(undone, np.isnan(values), (values >= 0) & (values <= most))
            if not fits.all():
                limits = "from 0 to 1" if most == 1 else "of at least 0"
                raise _contradiction(name, f"{limits}, and NaN from the epoch of divergence on")
    some = finished > 0
    for phase in ("free", "nudged"):
        name, S = f"S_{phase}", run[f"S_{phase}"].values
        clamped, free = S[some, :, :N_X], S[some, :, N_X:]
        clipped = problem.model.activation != "hard_sigmoid" or ((free >= 0) & (free <= 1)).all()
        if not ((clamped == problem.X).all() and np.isfinite(free).all() and clipped):
            raise _contradiction(name, "states of the dynamics, with the inputs of the task")
        if not np.isnan(S[~some]).all():
            raise _contradiction(name, "NaN where the network diverged in epoch 0")
        last = run[f"mse_{phase}"].values[some, finished[some] - 1]
        mse = mean_squared_error(free[..., -problem.layout.N_Y :], problem.Y)
        if not np.allclose(last, mse, rtol=1e-5, atol=1e-6):  # of float32 at least
            raise _contradiction(f"mse_{phase}", f"in the last epoch that of {name}")
    W, b = run["W"].values[:, None], run["b"].values[:, None]
    counts = run["n_connections"].values
    if "W_epochs" in run:
        snapshots = run["W_epochs"].values, run["b_epochs"].values
        for name, all_of, last in zip(RECORDS["weights"], snapshots, (W, b), strict=True):
            if not (np.array_equal(all_of[:, -1:], last) and np.isfinite(all_of).all()):
                raise _contradiction(name, f"finite, and end with {name[0]}")
        W, b = snapshots
        if W[..., ~problem.mask].any():
            raise _contradiction("W_epochs", "0 where the topology has no synapse")
        W = W[:, 1:]
    if b.any() and not problem.model.learned_bias:
        raise _contradiction("b", "0, because this model learns no biases")
    found = np.count_nonzero(W, axis=(2, 3))
    possible = ((counts >= 0) & (counts <= problem.mask.sum())).all()
    if not (possible and np.array_equal(counts[:, -found.shape[1] :], found)):
        raise _contradiction("n_connections", "the numbers of synapses of its weights")


def _contradiction(name: str, rule: str) -> ValueError:
    return ValueError(f"this run contradicts itself: {name} must be {rule}")


def concat(runs: Iterable[xr.Dataset]) -> xr.Dataset:
    """Return runs of the same settings and different seeds as one run.

    Parameters
    ----------
    runs : iterable of xarray.Dataset
        As from `deep_nb.train`, of the same model, task, hyperparameters, flags, topology, engine
        and records.

    Returns
    -------
    xarray.Dataset
        The networks in the order of the runs: what `deep_nb.train` gives for all seeds. In
        ``run.attrs``, ``provenance`` is a list of those of the runs.

    Raises
    ------
    ValueError
        If `runs` are not one or more runs, their settings or variables differ, or they share a
        seed.

    See Also
    --------
    settings : What must be equal.
    train : Makes a run.

    Examples
    --------
    >>> import deep_nb
    >>> first, second = (
    ...     deep_nb.train("DEEP", "id", seeds=seeds, hyper={"n_epochs": 5})
    ...     for seeds in ([0, 1], [7])
    ... )
    >>> run = deep_nb.concat([first, second])
    >>> run.equals(deep_nb.train("DEEP", "id", seeds=[0, 1, 7], hyper={"n_epochs": 5}))
    True
    """
    given: Any = runs  # or of another type, which is refused
    if isinstance(given, xr.Dataset) or not isinstance(given, Iterable):
        raise ValueError(f"runs must be a sequence of runs, got {short(runs)}")
    parts = list(runs)
    if not parts:
        raise ValueError("runs must contain one or more runs, got none")
    seeds = [seed for part in parts for seed in settings(part)["seeds"]]
    first = parts[0]
    for number, part in enumerate(parts[1:], start=1):
        names = [name for name in (*_SETTINGS, "engine") if part.attrs[name] != first.attrs[name]]
        names += [
            name
            for name in ("mask", "X", "Y")
            if not np.array_equal(part[name].values, first[name].values)
        ]
        if names:
            what = ", ".join(names)
            raise ValueError(f"runs must have the same settings: 0 and {number} differ in {what}")
        if set(part.variables) != set(first.variables):
            name = min(map(str, set(part.variables) ^ set(first.variables)))
            raise ValueError(f"runs must have the same variables: only some of them have {name}")
    check_seeds(seeds)
    run = xr.concat(
        parts,
        "seed",
        data_vars="minimal",
        coords="minimal",
        compat="equals",
        join="exact",
        combine_attrs="override",
    )
    return run.assign_attrs(provenance=json.dumps(_origins(parts)))


def _origins(runs: list[xr.Dataset]) -> list[Any]:
    """Return the provenances of all runs, those of runs that were put together before included."""
    origins: list[Any] = []
    for run in runs:
        try:
            origin = json.loads(run.attrs["provenance"])
        except (KeyError, TypeError, ValueError, RecursionError):
            raise ValueError("a run's provenance is missing or is not JSON") from None
        origins += origin if isinstance(origin, list) else [origin]
    return origins


def save(run: xr.Dataset, path: str | os.PathLike[str]) -> Path:
    """Write a run to a netCDF file and return its path; an old file is replaced in one step.

    The folder is created if necessary.

    Raises
    ------
    ValueError
        If `run` is not a run, `path` is not a path to a file, or netCDF cannot hold an
        attribute or a variable that was added to the run.
    OSError
        If the file cannot be written.

    See Also
    --------
    load : Read the file.

    Examples
    --------
    >>> import deep_nb, pathlib, tempfile
    >>> run = deep_nb.train("DEEP", "id", seeds=0, hyper={"n_epochs": 2})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = deep_nb.save(run, pathlib.Path(folder) / "run.nc")
    ...     deep_nb.load(path).identical(run)
    True
    """
    _check_numbers(run, problem_of(run))
    target = check_target(path)
    with replacing(target) as partial:
        try:
            _check_attributes(run)
            write_netcdf(run.drop_encoding(), partial)  # which could round, or mark as missing
        except (TypeError, ValueError, AttributeError, RuntimeError) as error:  # about additions
            raise ValueError(f"this run cannot be written as netCDF: {error}") from None
    return target


def _check_attributes(run: xr.Dataset) -> None:
    """Refuse attributes that change values when a file is read, such as ``scale_factor``."""
    empty = run.isel(dict.fromkeys(run.dims, slice(0)))
    read = xr.decode_cf(empty)
    parts: list[tuple[Any, Any, Any]] = [("the run", empty, read)]
    parts += [(name, part, read.variables[name]) for name, part in empty.variables.items()]
    for name, given, kept in parts:
        taken = [key for key in given.attrs if key not in kept.attrs]
        if taken:
            raise ValueError(
                f"{name} has the attribute {taken[0]!r}, which changes values when the file is read"
            )


def check_target(path: str | os.PathLike[str]) -> Path:
    """Return the path of a file that can be written; its folder is created if necessary."""
    target = as_path(path, "path")
    if target.is_dir() or not target.name:
        raise ValueError(f"{str(path)!r} is a folder; a file name is needed")
    target.parent.mkdir(parents=True, exist_ok=True)
    check_writable(target)
    return target


def load(path: str | os.PathLike[str]) -> xr.Dataset:
    """Read a run from its netCDF file. Loading runs no code from the file.

    Raises
    ------
    OSError
        If the file does not exist or cannot be read.
    ValueError
        If the file is not a run, does not fit into the free memory, was saved by deep_nb 0.1, its
        sizes, settings and numbers contradict each other, or `path` is not a path.

    See Also
    --------
    save : Write the file, with an example.

    Examples
    --------
    >>> import deep_nb
    >>> deep_nb.load("missing.nc")
    Traceback (most recent call last):
    FileNotFoundError: no such file: missing.nc
    """
    source = as_path(path, "path")
    if source.is_dir():
        raise ValueError(f"{source} is a folder, not a netCDF file")
    check_netcdf(source)
    try:
        run = read_netcdf(source)
    except Exception as error:  # xarray trusts what it reads, so any kind of error can occur
        raise ValueError(f"{source} is not a readable netCDF file: {error}") from None
    _check_numbers(run, problem_of(run))
    return run
