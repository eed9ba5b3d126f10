"""The run: one xarray.Dataset that every later room takes; its names, attributes and file."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from deep_nb.checks import one_of
from deep_nb.experiment import Experiment, Flags
from deep_nb.models import Hyperparameters, Model
from deep_nb.tasks import Task

#: What `train` can be asked to keep besides, and the variables it adds.
RECORDS = {"weights": ("W_epochs", "B_epochs"), "trajectories": ("S_epochs",)}

_EPOCH = ("seed", "epoch")

#: Each variable's dimensions, fill value, unit and meaning.
VARIABLES: dict[str, tuple[tuple[str, ...], Any, str, str]] = {
    "mse_free": (_EPOCH, np.nan, "1", "MSE after the free phase, Σ (s − y)² / 2 / M"),
    "mse_weak": (_EPOCH, np.nan, "1", "MSE after the nudged phase, Σ (s − y)² / 2 / M"),
    "class_error_free": (
        _EPOCH,
        np.nan,
        "1",
        "share of samples misclassified after the free phase",
    ),
    "class_error_weak": (
        _EPOCH,
        np.nan,
        "1",
        "share of samples misclassified after the nudged phase",
    ),
    "residual_free": (_EPOCH, np.nan, "1", "Σ (ds/dt)² / M at the free phase's last step"),
    "residual_weak": (_EPOCH, np.nan, "1", "Σ (ds/dt)² / M at the nudged phase's last step"),
    "projected_residual_free": (
        _EPOCH,
        np.nan,
        "1",
        "Σ ((s(t+1) − s(t)) / dt)² / M at the free phase's last step",
    ),
    "projected_residual_weak": (
        _EPOCH,
        np.nan,
        "1",
        "Σ ((s(t+1) − s(t)) / dt)² / M at the nudged phase's last step",
    ),
    "steps_free": (_EPOCH, 0, "step", "Euler steps performed in the free phase"),
    "steps_weak": (_EPOCH, 0, "step", "Euler steps performed in the nudged phase"),
    "dW_norm": (_EPOCH, np.nan, "1", "‖ΔW‖₁, the rule's change of weights before dt_W"),
    "dB_norm": (_EPOCH, np.nan, "1", "‖Δb‖₁, the rule's change of biases before dt_W"),
    "n_connections": (_EPOCH, 0, "synapse", "synapses with W ≠ 0 after the epoch"),
    "W": (("seed", "pre", "post"), 0.0, "1", "weights after training, from pre to post"),
    "B": (("seed", "post"), 0.0, "1", "learned biases after training; 0 in models without them"),
    "S_free": (
        ("seed", "sample", "neuron"),
        np.nan,
        "1",
        "states after the last epoch's free phase",
    ),
    "S_weak": (
        ("seed", "sample", "neuron"),
        np.nan,
        "1",
        "states after the last epoch's nudged phase",
    ),
    "diverged": (("seed",), False, "1", "whether weights or states stopped being finite"),
    "diverged_epoch": (("seed",), -1, "epoch", "epoch in which they did, −1 where they did not"),
    "W_epochs": (
        ("seed", "snapshot", "pre", "post"),
        np.nan,
        "1",
        "weights after `snapshot` epochs",
    ),
    "B_epochs": (("seed", "snapshot", "post"), np.nan, "1", "biases after `snapshot` epochs"),
    "S_epochs": (
        ("seed", "epoch", "step", "sample", "neuron"),
        np.nan,
        "1",
        "states: step 0 the start, then T1 free steps, then T2 nudged ones; NaN if not performed",
    ),
}

#: The metrics with one value an epoch; NaN (counts: 0) from the epoch a network diverged in.
EPOCH_METRICS = tuple(name for name, entry in VARIABLES.items() if entry[0] == _EPOCH)


def check_record(record: Sequence[str]) -> tuple[str, ...]:
    """Return the sorted records.

    Raises
    ------
    ValueError
        If one is not in `RECORDS`, or a string was given where a tuple goes.
    """
    if isinstance(record, str):
        raise ValueError(f"record must be a sequence of names, such as ({record!r},)")
    return tuple(sorted({one_of(name, RECORDS, "record") for name in record}))


def empty_run(
    experiment: Experiment, seeds: list[int], record: tuple[str, ...], engine: str
) -> xr.Dataset:
    """Return a run with its coordinates and attributes, its variables yet to be filled in."""
    hyper, layout = experiment.hyper, experiment.layout
    labels = layout.labels
    coords: dict[str, Any] = {
        "seed": seeds,
        "epoch": np.arange(hyper.n_epochs),
        "pre": labels,
        "post": labels,
        "neuron": labels,
        "sample": np.arange(len(experiment.X)),
        "input": labels[: layout.n_inputs],
        "snapshot": np.arange(hyper.n_epochs + 1),
        "step": np.arange(hyper.T1 + hyper.T2 + 1),
    }
    left_out = {name for key, names in RECORDS.items() if key not in record for name in names}
    variables: dict[str, Any] = {}
    for name, (dims, fill, units, long_name) in VARIABLES.items():
        if name not in left_out:
            array = np.full([len(coords[dim]) for dim in dims], fill)
            variables[name] = (dims, array, {"units": units, "long_name": long_name})
    variables["mask"] = (("pre", "post"), experiment.mask, {"long_name": "which synapses exist"})
    variables["X"] = (("sample", "input"), experiment.task.X, {"long_name": "inputs of the task"})
    variables["Y"] = (("sample", "target"), experiment.task.Y, {"long_name": "targets of the task"})
    used = {dim for dims, *_ in variables.values() for dim in dims}
    attrs = {
        "model": experiment.model.model_dump_json(),
        "task": json.dumps({"name": experiment.task.name}),
        "hyper": experiment.hyper.model_dump_json(),
        "flags": experiment.flags.model_dump_json(),
        "custom_topology": json.dumps(experiment.custom),
        "record": json.dumps(record),
        "engine": engine,
        "deep_nb_version": version("deep-nb"),
    }
    return xr.Dataset(
        variables, coords={dim: coords[dim] for dim in coords if dim in used}, attrs=attrs
    )


def settings(run: xr.Dataset) -> dict[str, Any]:
    """Return the keyword arguments with which `train` makes this run again.

    Parameters
    ----------
    run : xarray.Dataset
        As from `train` or `load`.

    Returns
    -------
    dict
        ``train(**settings(run))`` gives the same networks.

    Raises
    ------
    ValueError
        If `run` lacks what a run has, or what it holds does not fit together.
    """
    if "seed" not in run.dims:
        raise ValueError("a run needs its seed dimension: choose networks with run.isel(seed=[0])")
    try:
        attrs = {name: json.loads(run.attrs[name]) for name in _SETTINGS}
        return {
            "model": Model(**attrs["model"]),
            "task": Task(attrs["task"]["name"], run["X"].values, run["Y"].values),
            "seeds": run["seed"].values.tolist(),
            "hyper": Hyperparameters(**attrs["hyper"]),
            **dict(Flags(**attrs["flags"])),
            "topology": run["mask"].values if attrs["custom_topology"] else None,
            "engine": run.attrs["engine"],
            "record": tuple(attrs["record"]),
        }
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise ValueError(f"this dataset is not a run of deep_nb.train: {error!r}") from None


_SETTINGS = ("model", "task", "hyper", "flags", "custom_topology", "record")


def experiment_of(run: xr.Dataset) -> Experiment:
    """Return the experiment that a run was made with.

    Raises
    ------
    ValueError
        As `settings`.
    """
    given = settings(run)
    flags = Flags(**{name: given[name] for name in Flags.model_fields})
    experiment = Experiment.resolve(
        given["model"], given["task"], given["hyper"], flags, given["topology"]
    )
    N = experiment.layout.N
    for name, shape in (("W", (N, N)), ("B", (N,)), ("diverged", ())):
        if name not in run or run[name].shape[1:] != shape:
            raise ValueError(f"this run lacks {name} of shape {('seed', *shape)}")
    return experiment


def save(run: xr.Dataset, path: str | os.PathLike[str]) -> Path:
    """Write a run to a netCDF file; a file that stands there is replaced once the new is whole.

    Parameters
    ----------
    run : xarray.Dataset
    path : path-like
        Its folder is made if need be.

    Returns
    -------
    Path
        The file.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.partial")
    try:
        run.to_netcdf(partial, engine="netcdf4")
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
    return target


def load(path: str | os.PathLike[str]) -> xr.Dataset:
    """Read a run from its netCDF file. Loading runs no code from the file.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is not a run.
    """
    source = Path(path)
    if not source.is_file():
        raise FileNotFoundError(f"no such file: {source}")
    try:
        run = xr.load_dataset(source, engine="netcdf4")
    except (OSError, RuntimeError) as error:
        raise ValueError(f"{source} is not a readable netCDF file: {error}") from None
    experiment_of(run)
    return run
