"""Ensembles at published settings and over a grid of them, as tables with one row a network."""

from __future__ import annotations

import functools
import itertools
import os
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from deep_nb._blocks import kept
from deep_nb.analysis import stability
from deep_nb.analysis.criterion import epochs_to_criterion, learned, network_table
from deep_nb.checks import one_of
from deep_nb.claims.claim import Claim, checked
from deep_nb.kinds import (
    FLAG,
    LARGEST,
    NOTHING,
    PATH,
    integer,
    number,
    sequence,
    short,
    table,
    takes,
)
from deep_nb.models import MAX_COUNT, MAX_SIZE, MODELS
from deep_nb.randomness import check_seeds
from deep_nb.tasks import TASKS
from deep_nb.training import train

#: What names a setting of the grid: hidden neurons, β, dt_W over the model's published value, and
#: epochs.
SETTING = ("N_H", "beta", "dt_W_factor", "n_epochs")

_NETWORK = ("seed", "learned", "epochs")


def measure(
    model: str,
    task: str,
    seeds: int | Sequence[int],
    *,
    pruned: bool = False,
    hyper: dict[str, Any] | None = None,
) -> pd.DataFrame:
    """Train networks and measure what claims are about.

    Parameters
    ----------
    model, task : str
        Published names.
    seeds : int or sequence of int
        One network each.
    pruned : bool
        Whether to train with L1 and stochastic pruning.
    hyper : dict, optional
        Laid over the published hyperparameters.

    Returns
    -------
    pandas.DataFrame
        One row a network: model, task, pruned, seed, n_epochs; ``learned`` in the last epoch;
        ``epochs`` to the criterion, NaN if censored; ``mse`` of the last epoch's free phase;
        ``learned_after`` with the weights that are left in the end, as of
        `deep_nb.analysis.statistics.network_table`; their ``sparsity``; ``gershgorin``, whether the row or
        the column test passes; ``diverged``.

    Raises
    ------
    ValueError
        As `deep_nb.train`, or if `pruned` is no truth value.

    Warns
    -----
    RuntimeWarning
        If networks diverged.
    """
    one_of(model, MODELS, "model")
    one_of(task, TASKS, "task")
    FLAG.check(pruned, "pruned")
    run = train(model, task, seeds=seeds, hyper=hyper, regularized=pruned, sparse=pruned)
    report = stability.stability_report(run)
    possible = int(run["mask"].sum())
    return pd.DataFrame(
        {
            "model": model,
            "task": task,
            "pruned": pruned,
            "seed": run["seed"].values,
            "n_epochs": run.sizes["epoch"],
            "learned": learned(run).values[:, -1],
            "epochs": epochs_to_criterion(run),
            "learned_after": network_table(run)["learned"].values,
            "mse": run["mse_free"].values[:, -1],
            "sparsity": 1 - run["n_connections"].values[:, -1] / possible,
            "gershgorin": (report["gershgorin_rows"] | report["gershgorin_columns"]).values,
            "diverged": run["diverged"].values,
        }
    )


@takes(
    N_H=sequence(integer(1, MAX_SIZE)),
    beta=sequence(number()),
    dt_W_factor=sequence(number(0, LARGEST)),
    n_epochs=sequence(integer(1, MAX_COUNT)),
    checkpoint=PATH | NOTHING,
)
def sweep(
    seeds: int | Sequence[int],
    N_H: Sequence[int],
    beta: Sequence[float],
    dt_W_factor: Sequence[float],
    n_epochs: Sequence[int],
    *,
    checkpoint: str | os.PathLike[str] | None = None,
) -> pd.DataFrame:
    """Train every model on every task at every setting of a grid.

    A network's first epochs do not depend on how many follow: each is trained once, for the
    largest of `n_epochs`, and looked at after each.

    Parameters
    ----------
    seeds : int or sequence of int
        The networks of each setting.
    N_H : sequence of int
        Hidden neurons.
    beta : sequence of float
        Nudging strengths β.
    dt_W_factor : sequence of float
        Learning rates, as multiples of the model's published dt_W: 1 is the published one.
    n_epochs : sequence of int
        Training epochs.
    checkpoint : path-like, optional
        Folder to keep finished settings in, and to take them from after an interruption.

    Returns
    -------
    pandas.DataFrame
        One row a network and setting: model, task, the columns of `SETTING`, seed, learned and
        epochs as from `measure`.

    Raises
    ------
    ValueError
        As `deep_nb.train`, or if an axis of the grid is no sequence of different numbers.
    OSError
        If the checkpoint cannot be written.

    Warns
    -----
    RuntimeWarning
        If networks diverged.
    """
    seeds = check_seeds(seeds)
    axes = {"N_H": N_H, "beta": beta, "dt_W_factor": dt_W_factor, "n_epochs": n_epochs}
    for name, values in axes.items():
        if len({*values}) < len(values):
            raise ValueError(f"{name} must hold different values, got {short(values)}")
    frames = []
    for model, task, hidden, b, factor in itertools.product(MODELS, TASKS, N_H, beta, dt_W_factor):
        hyper = {
            "N_H": [int(hidden)],
            "beta": float(b),
            "dt_W": MODELS[model].hyper.dt_W * float(factor),
            "n_epochs": int(max(n_epochs)),
        }
        horizons = [int(epochs) for epochs in n_epochs]
        what = {"sweep": [model, task, seeds, hyper, horizons]}
        make = functools.partial(_horizons, model, task, seeds, hyper, horizons)
        columns: dict[str, Any] = {
            "model": model,
            "task": task,
            "N_H": hidden,
            "beta": float(b),
            "dt_W_factor": float(factor),
        }
        frame = kept(checkpoint, what, make).to_dataframe()
        frames.append(frame.assign(**columns)[["model", "task", *SETTING, *_NETWORK]])
    return pd.concat(frames, ignore_index=True)


def _horizons(
    model: str,
    task: str,
    seeds: int | Sequence[int],
    hyper: dict[str, Any],
    n_epochs: Sequence[int],
) -> xr.Dataset:
    """Train the networks of one setting, and look at them after each number of epochs."""
    run = train(model, task, seeds=seeds, hyper=hyper)
    looks = [
        {
            "n_epochs": np.full(run.sizes["seed"], epochs),
            "seed": run["seed"].values,
            "learned": learned(run).values[:, epochs - 1],
            "epochs": epochs_to_criterion(run, epochs),
        }
        for epochs in n_epochs
    ]
    names = ("n_epochs", *_NETWORK)
    return xr.Dataset(
        {name: ("network", np.concatenate([look[name] for look in looks])) for name in names}
    )


#: What `sweep` returns.
GRID = table("N_H beta dt_W_factor n_epochs seed learned epochs?", "model task")


@takes(grid=GRID)
def best_settings(grid: pd.DataFrame) -> pd.DataFrame:
    """Return at which setting each model does best at each task, and how well it does there.

    The setting is chosen with the networks of even seeds (by the share that learn, then by the
    median epochs, then the first), and judged with those of odd seeds: a maximum over settings
    flatters the networks that it was taken over.

    Parameters
    ----------
    grid : pandas.DataFrame
        As from `sweep`.

    Returns
    -------
    pandas.DataFrame
        One row a task and model: the columns of `SETTING`, ``learned`` the share and ``epochs``
        the median epochs to the criterion of the networks with odd seeds, those that never reach
        it counted with the last epoch; ``edge`` which of N_H, β and dt_W lie at an end of the
        grid, so that a better setting may lie beyond it.

    Raises
    ------
    ValueError
        If `grid` is no such table, or lacks even or odd seeds.
    """
    rows = []
    for (task, model), of in grid.groupby(["task", "model"], sort=False):
        fresh = best_networks(dict(list(of.groupby(list(SETTING)))))
        setting = fresh.iloc[0][list(SETTING)].to_dict()
        epochs = fresh["epochs"].fillna(setting["n_epochs"]).median()
        row = {"task": task, "model": model, **setting, "learned": fresh["learned"].mean()}
        ends = [
            name
            for name in SETTING[:3]
            if grid[name].nunique() > 1 and setting[name] in (grid[name].min(), grid[name].max())
        ]
        rows.append({**row, "epochs": epochs, "edge": ", ".join(ends)})
    return pd.DataFrame(rows)


def best_networks(settings: dict[Any, pd.DataFrame]) -> pd.DataFrame:
    """Return the networks of odd seeds at the setting where those of even seeds do best.

    Parameters
    ----------
    settings : dict
        From a setting to its networks, as from `sweep`.

    Raises
    ------
    ValueError
        If it holds no such tables, or one without even or odd seeds.
    """
    if not isinstance(settings, dict) or not settings:
        raise ValueError(f"settings must be a dict with a table a setting, got {short(settings)}")
    for setting, networks in settings.items():
        table("n_epochs seed learned epochs?").check(networks, f"settings[{short(setting)}]")
        if set(networks["seed"] % 2) != {0, 1}:
            raise ValueError(f"settings[{short(setting)}] must have networks of even and odd seeds")

    def score(setting: Any) -> tuple[float, float]:
        networks = settings[setting]
        chosen = networks[networks["seed"] % 2 == 0]
        epochs = chosen["epochs"].fillna(networks["n_epochs"].iloc[0])
        return -chosen["learned"].mean(), epochs.median()

    best = settings[min(settings, key=score)]
    return best[best["seed"] % 2 == 1]


def measure_all(claims: Iterable[Claim], seeds: int | Sequence[int]) -> pd.DataFrame:
    """Measure every ensemble that the claims are about, once each, at published settings.

    Raises
    ------
    ValueError
        If `claims` holds no claims, or as `deep_nb.randomness.check_seeds`.
    """
    check_seeds(seeds)
    claims = checked(claims)
    wanted = {
        (networks.model, task, networks.pruned): None
        for claim in claims
        for task in claim.tasks
        for networks in (claim.of, claim.against)
        if networks is not None
    }
    frames = [measure(model, task, seeds, pruned=pruned) for model, task, pruned in wanted]
    return pd.concat(frames, ignore_index=True)
