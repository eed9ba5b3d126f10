"""Ensembles at published settings and over a grid of them, as tables with one row per network."""

import functools
import itertools
import os
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from deep_nb._blocks import kept
from deep_nb._validation import LARGEST, as_path, flag, integer, items, number, one_of, short, table
from deep_nb.analysis.criterion import epochs_to_criterion, learned, network_table
from deep_nb.analysis.stability import stability_report
from deep_nb.claims.claim import Claim, check_claims
from deep_nb.models import MAX_COUNT, MAX_SIZE, MODELS, PUBLISHED
from deep_nb.randomness import check_seeds
from deep_nb.tasks import TASKS
from deep_nb.training import train

#: Columns that name a setting of the grid: hidden neurons, β, dt_W over the model's published
#: value, and epochs.
SETTING = ("N_H", "beta", "dt_W_factor", "n_epochs")

#: Columns of a grid about one network.
_NETWORK = ("seed", "learned", "epochs")


def measure(
    model: str,
    task: str,
    seeds: int | Sequence[int],
    *,
    pruned: bool = False,
    hyper: dict[str, Any] | None = None,
) -> pd.DataFrame:
    """Train networks and measure everything that claims are about.

    Parameters
    ----------
    model, task : str
        Published names.
    seeds : int or sequence of int
        One network each.
    pruned : bool
        Whether to train with L1 and stochastic pruning.
    hyper : dict, optional
        Replaces published hyperparameters.

    Returns
    -------
    pandas.DataFrame
        One row per network: model, task, pruned, seed, n_epochs; ``learned`` in the last epoch;
        ``epochs`` to the criterion, NaN if censored; ``learned_after`` with the final weights, as
        in `deep_nb.analysis.network_table`; ``mse`` of the last epoch's free phase; ``sparsity`` of
        the final weights; ``gershgorin``, whether the row or the column test passes; ``diverged``;
        ``step_is_stable``, as in `deep_nb.analysis.step_is_stable`, with the final weights.

    Raises
    ------
    ValueError
        If `pruned` is not a bool; or as in `deep_nb.train`.

    Warns
    -----
    RuntimeWarning
        If networks diverged.

    See Also
    --------
    measure_all : Every ensemble of some claims.
    sweep : A grid of settings.

    Examples
    --------
    >>> import deep_nb
    >>> networks = deep_nb.claims.measure("DEEP", "id", range(3), hyper={"n_epochs": 20})
    >>> networks[["seed", "learned", "epochs"]].to_dict("list")
    {'seed': [0, 1, 2], 'learned': [True, True, True], 'epochs': [3.0, 8.0, 3.0]}
    """
    one_of(model, MODELS, "model")
    one_of(task, TASKS, "task")
    pruned = flag(pruned, "pruned")
    run = train(model, task, seeds=seeds, hyper=hyper, regularized=pruned, sparse=pruned)
    report = stability_report(run)
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
            "step_is_stable": report["step_is_stable"].values,
        }
    )


def unstable_steps(networks: pd.DataFrame) -> pd.DataFrame:
    """Count the networks whose Euler step is beyond its stable range, and those that learned.

    Claims count them like all others. What they answer is due to the step, not to the model.

    Parameters
    ----------
    networks : pandas.DataFrame
        As returned by `measure_all`.

    Returns
    -------
    pandas.DataFrame
        One row per model, task and ``pruned`` with such networks: the number of ``networks``, of
        those that are ``unstable``, and of those among these that have ``learned``.

    Raises
    ------
    ValueError
        If `networks` is not such a table.

    See Also
    --------
    measure_all : Makes the table.
    deep_nb.analysis.step_is_stable : What the stable range is.

    Examples
    --------
    >>> import deep_nb
    >>> networks = deep_nb.claims.measure("DEEP_oh", "xor", range(10))
    >>> deep_nb.claims.unstable_steps(networks)[["networks", "unstable", "learned"]].values
    array([[10,  2,  0]])
    """
    networks = table(networks, "networks", "pruned learned step_is_stable", "model task")
    unstable = ~networks["step_is_stable"].astype(bool)
    groups = networks.assign(
        unstable=unstable, learned=networks["learned"].astype(bool) & unstable
    ).groupby(["model", "task", "pruned"], sort=False)
    counts = groups.agg(
        networks=("unstable", "size"), unstable=("unstable", "sum"), learned=("learned", "sum")
    )
    return counts[counts["unstable"] > 0].reset_index()


def measure_all(claims: Iterable[Claim], seeds: int | Sequence[int]) -> pd.DataFrame:
    """Measure every ensemble that the claims are about, once each, at published settings.

    Parameters
    ----------
    claims : iterable of Claim
    seeds : int or sequence of int
        One network each in every ensemble.

    Returns
    -------
    pandas.DataFrame
        As in `measure`.

    Raises
    ------
    ValueError
        If `claims` are not claims, or `seeds` are not seeds.

    Warns
    -----
    RuntimeWarning
        If networks diverged.

    See Also
    --------
    measure : One ensemble.
    evaluate : Decides the claims.

    Examples
    --------
    >>> import deep_nb
    >>> claims = [claim for claim in deep_nb.claims.read_claims() if claim.id == "1c"]
    >>> networks = deep_nb.claims.measure_all(claims, seeds=range(2))
    >>> networks.groupby("model").size().to_dict()
    {'DEEP': 2, 'EP_asym': 2}
    """
    check_seeds(seeds)
    wanted = {
        (networks.model, task, networks.pruned): None
        for claim in check_claims(claims)
        for task in claim.tasks
        for networks in (claim.of, claim.against)
        if networks is not None
    }
    frames = [measure(model, task, seeds, pruned=pruned) for model, task, pruned in wanted]
    return pd.concat(frames, ignore_index=True)


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

    A network's first epochs do not depend on how many follow: each network is trained once, for the
    largest of `n_epochs`, and measured after each.

    Parameters
    ----------
    seeds : int or sequence of int
        The networks of each setting.
    N_H : sequence of int
        Numbers of hidden neurons.
    beta : sequence of float
        Nudging strengths β.
    dt_W_factor : sequence of float
        Learning rates, as multiples of the model's published dt_W.
    n_epochs : sequence of int
        Numbers of training epochs.
    checkpoint : path-like, optional
        Folder for finished settings, which are read from there after an interruption.

    Returns
    -------
    pandas.DataFrame
        One row per network and setting: model, task, N_H, beta, dt_W_factor, n_epochs, seed, and
        learned and epochs as in `measure`.

    Raises
    ------
    ValueError
        If an axis of the grid is not a sequence of different numbers; or as in `deep_nb.train`.
    OSError
        If the checkpoint cannot be written.

    Warns
    -----
    RuntimeWarning
        If networks diverged.

    See Also
    --------
    best_settings : Each model at its best.
    deep_nb.plotting.plot_robustness : Draws a grid.

    Examples
    --------
    >>> import deep_nb
    >>> grid = deep_nb.claims.sweep(range(2), [2], [10.0], [1.0], [1, 3])
    >>> len(grid)  # 3 models, 5 tasks, 2 numbers of epochs, 2 networks
    60
    """
    seeds = check_seeds(seeds)
    axes: dict[str, list[Any]] = {
        "N_H": [integer(value, "N_H", 1, MAX_SIZE) for value in items(N_H, "N_H")],
        "beta": [number(value, "beta") for value in items(beta, "beta")],
        "dt_W_factor": [
            number(value, "dt_W_factor", 0, LARGEST) for value in items(dt_W_factor, "dt_W_factor")
        ],
        "n_epochs": [
            integer(value, "n_epochs", 1, MAX_COUNT) for value in items(n_epochs, "n_epochs")
        ],
    }
    for name, values in axes.items():
        if len({*values}) < len(values):
            raise ValueError(f"{name} must contain distinct values, got {short(values)}")
    if checkpoint is not None:
        checkpoint = as_path(checkpoint, "checkpoint").absolute()
    horizons = axes.pop("n_epochs")
    frames = []
    for model, task, hidden, b, factor in itertools.product(PUBLISHED, TASKS, *axes.values()):
        hyper = {
            "N_H": [hidden],
            "beta": b,
            "dt_W": PUBLISHED[model].hyper.dt_W * factor,
            "n_epochs": max(horizons),
        }
        what = {"sweep": [model, task, seeds, hyper, horizons]}
        make = functools.partial(_horizons, model, task, seeds, hyper, horizons)
        frame = kept(checkpoint, what, make).to_dataframe()
        place = {"model": model, "task": task, "N_H": hidden, "beta": b, "dt_W_factor": factor}
        frames.append(frame.assign(**place)[["model", "task", *SETTING, *_NETWORK]])
    return pd.concat(frames, ignore_index=True)


def _horizons(
    model: str, task: str, seeds: list[int], hyper: dict[str, Any], n_epochs: list[int]
) -> xr.Dataset:
    """Train the networks of one setting and measure them after each number of epochs."""
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


def check_grid(grid: pd.DataFrame) -> pd.DataFrame:
    """Refuse a table that lacks what `sweep` returns."""
    return table(grid, "grid", "N_H beta dt_W_factor n_epochs seed learned epochs?", "model task")


def best_settings(grid: pd.DataFrame) -> pd.DataFrame:
    """Return the best setting of each model for each task, and the performance there.

    The setting is chosen with the networks of even seeds (by the share that learn, then by the
    median epochs, then the first) and judged with those of odd seeds, because a maximum over
    settings is biased for the networks that it was taken over.

    Parameters
    ----------
    grid : pandas.DataFrame
        As returned by `sweep`.

    Returns
    -------
    pandas.DataFrame
        One row per task and model: N_H, beta, dt_W_factor, n_epochs; of the networks with odd
        seeds, ``learned`` the share and ``epochs`` the median epochs to the criterion, censored
        ones counted with the last epoch; ``edge`` the names among N_H, β and dt_W whose value is at
        an end of the grid, so that a better setting may be beyond it.

    Raises
    ------
    ValueError
        If `grid` is not such a table, or lacks even or odd seeds.

    See Also
    --------
    sweep : Computes the grid.

    Examples
    --------
    >>> import deep_nb
    >>> grid = deep_nb.claims.sweep(range(2), [2], [1.0, 10.0], [1.0], [3])
    >>> best = deep_nb.claims.best_settings(grid)
    >>> len(best), set(best["edge"])
    (15, {'beta'})
    """
    grid = check_grid(grid)
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
    """Return the networks of odd seeds at the setting where those of even seeds do best."""
    if not settings or any(set(of["seed"] % 2) != {0, 1} for of in settings.values()):
        raise ValueError("grid must have networks of even and odd seeds at each setting")

    def score(setting: Any) -> tuple[float, float]:
        networks = settings[setting]
        chosen = networks[networks["seed"] % 2 == 0]
        epochs = chosen["epochs"].fillna(networks["n_epochs"].iloc[0])
        return -chosen["learned"].mean(), epochs.median()

    best = settings[min(settings, key=score)]
    return best[best["seed"] % 2 == 1]
