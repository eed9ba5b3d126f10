"""The run: the `xarray.Dataset` that `train` returns. Its variables, their units, and its file."""

import json
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
import psutil
import xarray as xr

from deep_nb._files import check_writable, replacing
from deep_nb._reading import check_netcdf
from deep_nb._validation import as_path, one_of, short
from deep_nb.dynamics import EngineName
from deep_nb.models import Hyperparameters, Model
from deep_nb.problem import Flags, Problem
from deep_nb.randomness import check_seeds
from deep_nb.tasks import Task, one_hot
from deep_nb.topology import Layout

#: What `train` records on request, and the variables this adds.
RECORDS = {"weights": ("W_epochs", "b_epochs"), "trajectories": ("S_epochs",)}

_EPOCH = ("seed", "epoch")
_STATE = ("seed", "sample", "neuron")


def _of_both_phases(name: str, fill: Any, units: str, meaning: str) -> dict[str, Any]:
    """Return one variable for each phase, whose name goes into the meaning."""
    return {
        f"{name}_{phase}": (_EPOCH, fill, units, meaning.format(f"{phase} phase"))
        for phase in ("free", "nudged")
    }


_BEFORE = ", before the epoch's weight change"

#: Dimensions, fill value, unit and meaning of each variable. τ is the neurons' time constant.
VARIABLES: dict[str, tuple[tuple[str, ...], Any, str, str]] = {
    **_of_both_phases("mse", np.nan, "1", "MSE Σ (s − y)² / 2 / M at the end of the {}" + _BEFORE),
    **_of_both_phases(
        "class_error", np.nan, "1", "share of samples misclassified after the {}" + _BEFORE
    ),
    **_of_both_phases(
        "residual", np.nan, "1/τ²", "Σ (ds/dt)² / M at the last step of the {}" + _BEFORE
    ),
    **_of_both_phases(
        "projected_residual",
        np.nan,
        "1/τ²",
        "Σ ((s(t+1) − s(t)) / dt)² / M at the last step of the {}" + _BEFORE,
    ),
    **_of_both_phases("steps", 0, "step", "Euler steps performed in the {}"),
    "dW_norm": (_EPOCH, np.nan, "1", "‖ΔW‖₁, the rule's change of weights before dt_W"),
    "db_norm": (_EPOCH, np.nan, "1", "‖Δb‖₁, the rule's change of biases before dt_W"),
    "n_connections": (_EPOCH, 0, "synapse", "synapses with W ≠ 0 after the epoch"),
    "W": (("seed", "pre", "post"), 0.0, "1/τ", "weights after training, from pre to post"),
    "b": (("seed", "post"), 0.0, "1/τ", "biases b after training; 0 in models that learn none"),
    "S_free": (_STATE, np.nan, "1", "states after the last epoch's free phase"),
    "S_nudged": (_STATE, np.nan, "1", "states after the last epoch's nudged phase"),
    "diverged": (("seed",), False, "1", "whether weights or states stopped being finite"),
    "diverged_epoch": (("seed",), -1, "epoch", "epoch in which the network diverged, or −1"),
    "W_epochs": (("seed", "snapshot", "pre", "post"), np.nan, "1/τ", "weights, by epochs trained"),
    "b_epochs": (("seed", "snapshot", "post"), np.nan, "1/τ", "biases, by epochs trained"),
    "S_epochs": (
        ("seed", "epoch", "step", "sample", "neuron"),
        np.nan,
        "1",
        "states: step 0 the start, then T1 free steps, then T2 nudged ones; NaN if not performed",
    ),
    "mask": (("pre", "post"), False, "1", "which synapses exist"),
    "X": (("sample", "input"), np.nan, "1", "inputs of the task"),
    "Y": (("sample", "target"), np.nan, "1", "targets of the task"),
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
    hyper, layout = problem.hyper, problem.layout
    coords: dict[str, Any] = {
        "seed": seeds,
        "epoch": np.arange(hyper.n_epochs),
        "pre": layout.labels,
        "post": layout.labels,
        "neuron": layout.labels,
        "sample": np.arange(len(problem.X)),
        "input": layout.labels[: layout.n_inputs],
        "snapshot": np.arange(hyper.n_epochs + 1),
        "step": np.arange(hyper.T1 + hyper.T2 + 1),
    }
    sizes = {name: len(values) for name, values in coords.items()}
    sizes["target"] = problem.task.Y.shape[1]
    names = _variables(record)
    _check_memory(sum(math.prod(sizes[dim] for dim in VARIABLES[name][0]) for name in names))
    given = {"mask": problem.mask, "X": problem.task.X, "Y": problem.task.Y}
    variables: dict[str, Any] = {}
    for name in names:
        dims, fill, units, long_name = VARIABLES[name]
        array = np.full([sizes[dim] for dim in dims], fill) if name not in given else given[name]
        variables[name] = (dims, array, {"units": units, "long_name": long_name})
    used = {dim for name in names for dim in VARIABLES[name][0]}
    attrs = {
        "model": problem.model.model_dump_json(),
        "task": json.dumps({"name": problem.task.name}),
        "hyper": hyper.model_dump_json(),
        "flags": problem.flags.model_dump_json(),
        "custom_topology": json.dumps(problem.custom_topology),
        "record": json.dumps(record),
        "engine": engine,
    }
    labelled = {
        name: (name, values, {"long_name": COORDINATES[name]})
        for name, values in coords.items()
        if name in used
    }
    return xr.Dataset(variables, coords=labelled, attrs=attrs)


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
        If `run` is not a run, as from `deep_nb.train` or `deep_nb.load`: something is missing,
        malformed, or does not fit together.

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
        return {
            "model": Model(**attrs["model"]),
            "task": Task(attrs["task"]["name"], run["X"].values, run["Y"].values),
            "seeds": check_seeds(run.coords["seed"].values.tolist()),
            "hyper": Hyperparameters(**attrs["hyper"]),
            **dict(Flags(**attrs["flags"])),
            "topology": run["mask"].values if attrs["custom_topology"] else None,
            "engine": one_of(run.attrs["engine"], get_args(EngineName), "engine"),
            "record": record,
        }
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        what = f"{type(error).__name__}: {error}"
        raise ValueError(f"this dataset is not a run of deep_nb.train: {what}") from None


def _check_variable(run: xr.Dataset, name: str) -> None:
    dims, fill = VARIABLES[name][:2]
    kind = np.asarray(fill).dtype.kind
    if run[name].dims != dims or run[name].dtype.kind != kind:
        raise ValueError(
            f"{name} has dimensions {run[name].dims} and type {run[name].dtype}, expected {dims} "
            f"and a type of kind {kind!r}; to select one network, use run.isel(seed=[0])"
        )


def problem_of(run: xr.Dataset) -> Problem:
    """Return the problem that a run was made with, after checking the run against it."""
    given = settings(run)
    flags = Flags(**{name: given[name] for name in Flags.model_fields})
    problem = Problem.of(given["model"], given["task"], given["hyper"], flags, given["topology"])
    for dim in ("pre", "post", "neuron"):
        if run[dim].values.tolist() != problem.layout.labels:
            raise ValueError(f"this run's {dim} neurons are not {problem.layout.labels}")
    for dim, size in (("epoch", problem.hyper.n_epochs), ("snapshot", problem.hyper.n_epochs + 1)):
        if dim in run.coords and not np.array_equal(run[dim].values, np.arange(size)):
            raise ValueError(
                f"this run must have every {dim} from 0 to {size - 1}: analyse the whole run, then "
                "choose epochs"
            )
    if not np.array_equal(run["mask"].values, problem.mask):
        raise ValueError("this run's mask does not match its topology")
    if run["W"].values[:, ~problem.mask].any():
        raise ValueError("this run's W is not 0 where its topology has no synapse")
    if not (np.isfinite(run["W"]).all() and np.isfinite(run["b"]).all()):
        raise ValueError("this run contains W or b that are not finite")
    return problem


def save(run: xr.Dataset, path: str | os.PathLike[str]) -> Path:
    """Write a run to a netCDF file and return its path; an old file is replaced in one step.

    The folder is created if necessary.

    Raises
    ------
    ValueError
        If `run` is not a run, or `path` is not a path to a file.
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
    problem_of(run)
    target = check_target(path)
    with replacing(target) as partial:
        run.to_netcdf(partial, engine="netcdf4")
    return target


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
        sizes and settings disagree, or `path` is not a path.

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
        run = xr.load_dataset(source, engine="netcdf4")
    except Exception as error:  # xarray trusts what it reads, so any kind of error can occur
        raise ValueError(f"{source} is not a readable netCDF file: {error}") from None
    _check_sizes(run)
    problem_of(run)
    return run


def _check_sizes(run: xr.Dataset) -> None:
    """Refuse a run whose sizes are not those that its task, model and hyperparameters give.

    This comes before `problem_of`, which makes arrays of these sizes.
    """
    try:
        model, hyper = Model(**json.loads(run.attrs["model"])), json.loads(run.attrs["hyper"])
        hyper = Hyperparameters(**hyper)
        Y = one_hot(run["Y"].values) if model.one_hot else run["Y"].values
        layout = Layout(run["X"].shape[1], model.bias_neuron, hyper.N_H, Y.shape[1])
        steps = {name: int(run[f"steps_{name}"].max()) for name in ("free", "nudged")}
    except (KeyError, IndexError, TypeError, ValueError, RecursionError):
        return  # not a run, as `problem_of` will say
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
                f"{size}"
            )
    for phase, most in (("free", hyper.T1), ("nudged", hyper.T2)):
        if steps[phase] > most:
            raise ValueError(
                f"this run took {steps[phase]} steps in a {phase} phase, but its settings give "
                f"{most}"
            )
