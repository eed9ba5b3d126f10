"""Ensembles at published settings and around them, as tables with one row per network."""

import functools
import itertools
import os
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Float

from deep_nb._blocks import kept
from deep_nb._validation import as_path, flag, integer, items, number, one_of, short, table
from deep_nb.analysis.criterion import epochs_to_criterion, learned, network_table
from deep_nb.analysis.stability import rests_after, stability_report, step_is_stable
from deep_nb.claims.claim import Claim, check_claims
from deep_nb.claims.evidence import published_curves
from deep_nb.models import MAX_COUNT, PUBLISHED, Model, get_model
from deep_nb.randomness import check_seeds
from deep_nb.tasks import TASKS
from deep_nb.training import train

#: Columns that name a setting of the grid: multiples of the published values.
SETTING = ("N_H_factor", "beta_factor", "dt_W_factor")

#: Precision of the curves that were read off published figures.
READING = 0.004

#: Free phases of T1 steps after which a network that is not at rest does not come to rest.
PATIENCE = 10

#: Seeds on which settings are chosen: of this package's models, and of the grid.
CHOSEN_ON = range(1000, 1200)

#: Seeds of the networks that published figures are compared with.
BAND_SEEDS = range(2000, 2200)

#: Columns of a network that are tests of its final weights.
_TESTS = (
    *("negative_diagonal", "gershgorin_rows", "gershgorin_columns"),
    *("at_rest", "certified", "step_is_stable"),
)

#: Columns of a grid about one network.
_NETWORK = ("N_H", "n_epochs", "seed", "learned", "epochs", "step_is_stable")


def measure(
    model: str | Model,
    task: str,
    seeds: int | Sequence[int],
    *,
    pruned: bool = False,
    layered: bool = False,
    hyper: dict[str, Any] | None = None,
) -> pd.DataFrame:
    """Train networks and measure everything that claims are about.

    Parameters
    ----------
    model : str or Model
        Name of a model, or a variant.
    task : str
        Published name.
    seeds : int or sequence of int
        One network each.
    pruned : bool
        Whether to train with L1 and stochastic pruning.
    layered : bool
        Whether networks are layered instead of complete.
    hyper : dict, optional
        Replaces published hyperparameters.

    Returns
    -------
    pandas.DataFrame
        One row per network: model, task, pruned, layered, seed, n_epochs; ``learned`` in the last
        epoch; ``epochs`` to the criterion, NaN if censored; ``learned_after`` with the final
        weights, as in `deep_nb.analysis.network_table`; ``mse`` of the last epoch's free phase;
        ``sparsity`` of the final weights; ``diverged``. With the final weights, as in
        `deep_nb.analysis.stability_report`: ``negative_diagonal``, ``gershgorin_rows`` and
        ``gershgorin_columns``; ``gershgorin``, whether the row or the column test passes;
        ``at_rest`` (after T1 steps), ``certified`` and ``step_is_stable``; and ``comes_to_rest``,
        whether a free phase of 10 × T1 steps ends at rest.

    Raises
    ------
    ValueError
        If `pruned` or `layered` is not a bool; or as in `deep_nb.train`.

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
    model = get_model(model)
    one_of(task, TASKS, "task")
    pruned, layered = flag(pruned, "pruned"), flag(layered, "layered")
    pruning: dict[str, Any] = {"regularized": pruned, "sparse": pruned}
    run = train(model, task, seeds=seeds, hyper=hyper, layered=layered, **pruning)
    report = stability_report(run)
    possible = int(run["mask"].sum())
    return pd.DataFrame(
        {
            "model": model.name,
            "task": task,
            "pruned": pruned,
            "layered": layered,
            "seed": run["seed"].values,
            "n_epochs": run.sizes["epoch"],
            "learned": learned(run).values[:, -1],
            "epochs": epochs_to_criterion(run),
            "learned_after": network_table(run)["learned"].values,
            "mse": run["mse_free"].values[:, -1],
            "sparsity": 1 - run["n_connections"].values[:, -1] / possible,
            "diverged": run["diverged"].values,
            **{name: report[name].values for name in _TESTS},
            "comes_to_rest": rests_after(run, PATIENCE),
            "gershgorin": (report["gershgorin_rows"] | report["gershgorin_columns"]).values,
        }
    )


def unstable_steps(networks: pd.DataFrame) -> pd.DataFrame:
    """Count the networks whose Euler step is beyond its stable range, and those that learned.

    What such runaways answer is due to the step, not to the model: `evaluate` leaves them out of
    its estimates, and checks whether the verdict depends on that.

    Parameters
    ----------
    networks : pandas.DataFrame
        As returned by `measure_all`.

    Returns
    -------
    pandas.DataFrame
        One row per model, task, ``pruned`` and ``layered`` with such networks: the number of
        ``networks``, of those that are ``unstable``, and of those among these that have
        ``learned``.

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
    networks = table(networks, "networks", "pruned layered learned step_is_stable", "model task")
    unstable = ~networks["step_is_stable"].astype(bool)
    groups = networks.assign(
        unstable=unstable, learned=networks["learned"].astype(bool) & unstable
    ).groupby(["model", "task", "pruned", "layered"], sort=False)
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
    >>> claims = [claim for claim in deep_nb.claims.read_claims() if claim.id == "1d"]
    >>> networks = deep_nb.claims.measure_all(claims, seeds=range(2))
    >>> networks.groupby("model").size().to_dict()
    {'DEEP': 2, 'EP_asym': 2}
    """
    check_seeds(seeds)
    wanted = {
        (side.key, task): side
        for claim in check_claims(claims)
        for task in claim.tasks
        for side in (claim.of, claim.against)
        if side is not None and claim.quantity != "curves"
    }
    frames = [
        measure(side.variant, task, seeds, pruned=side.pruned, layered=side.layered)
        for (_, task), side in wanted.items()
    ]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()


def sweep(
    claims: Iterable[Claim],
    seeds: int | Sequence[int],
    factors: Sequence[float],
    N_H_factors: Sequence[float] = (),
    *,
    near_seeds: int | Sequence[int] | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
) -> pd.DataFrame:
    """Train the networks of claims with a grid on settings around the published one.

    β and dt_W are multiplied by 1, each of `factors` and its inverse, the number of hidden neurons
    by 1, each of `N_H_factors` and its inverse, in all combinations. The grid is symmetric around
    the published setting in log scale; with factors in geometric progression, it is evenly spaced.

    Parameters
    ----------
    claims : iterable of Claim
        Only ensembles of claims with ``grid: true`` are trained.
    seeds : int or sequence of int
        The networks of each setting.
    factors, N_H_factors : sequence of float
        Above 1; `factors` at least one. N_H is rounded to the nearest integer.
    near_seeds : int or sequence of int, optional
        Instead of `seeds`, the networks of the settings nearest to the published one: those of
        which no hyperparameter differs from it by more than the smallest factor.
    checkpoint : path-like, optional
        Folder for finished settings, which are read from there after an interruption.

    Returns
    -------
    pandas.DataFrame
        One row per network and setting: model, task, N_H_factor, beta_factor, dt_W_factor, N_H,
        n_epochs, seed, and learned, epochs and step_is_stable as in `measure`. Empty if no claim
        has a grid.

    Raises
    ------
    ValueError
        If a factor is not above 1 or is given twice; or as in `deep_nb.train`.
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
    >>> claims = [claim for claim in deep_nb.claims.read_claims() if claim.id == "1c"]
    >>> grid = deep_nb.claims.sweep(claims, range(2), [10.0])
    >>> len(grid)  # 9 settings of asymmetric EP on XOR, 2 networks
    18
    """
    wanted: dict[tuple[str, str], bool] = {}  # and whether N_H varies
    for claim in check_claims(claims):
        for name, side in itertools.product(claim.tasks, (claim.of, claim.against)):
            if claim.grid and side is not None:
                key = side.model, name
                wanted[key] = wanted.get(key, False) or claim.vary_N_H
    seeds = check_seeds(seeds)
    near_seeds = seeds if near_seeds is None else check_seeds(near_seeds)
    around = both_ways(items(factors, "factors"), "factors")
    sizes = both_ways(items(N_H_factors, "N_H_factors", 0), "N_H_factors")
    nearest = min(factor for factor in (*around, *sizes) if factor > 1)
    if checkpoint is not None:
        checkpoint = as_path(checkpoint, "checkpoint").absolute()
    frames = []
    settings = itertools.product(wanted.items(), sizes, around, around)
    for ((model, task), varies), size, b, w in settings:
        if size != 1 and not varies:
            continue
        published = PUBLISHED[model].hyper
        N_H = max(1, round(published.N_H[0] * size))
        hyper = {
            "N_H": [N_H],
            "beta": published.beta * b,
            "dt_W": published.dt_W * w,
        }
        chosen = near_seeds if radius((size, b, w)) <= radius((nearest,)) else seeds
        what = {"sweep": [model, task, chosen, hyper]}
        frame = kept(checkpoint, what, functools.partial(_setting, model, task, chosen, hyper))
        place = dict(zip(SETTING, (size, b, w), strict=True))
        columns = ["model", "task", *SETTING, *_NETWORK]
        table = frame.to_dataframe().assign(model=model, task=task, N_H=N_H, **place)
        frames.append(table[columns])
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()


def radius(setting: Iterable[float]) -> float:
    """Return how far a setting is from the published one, as a factor of one hyperparameter."""
    return float(f"{max(max(factor, 1 / factor) for factor in setting):.6g}")


def both_ways(factors: Sequence[Any], what: str) -> list[float]:
    """Return 1, the factors and their inverses in ascending order."""
    above = [number(factor, what, 1, 1e6) for factor in factors]
    if len({1.0, *above}) <= len(above):
        raise ValueError(f"{what} must be distinct and above 1, got {short(factors)}")
    return sorted([1.0, *above, *(1 / factor for factor in above)])


def _setting(model: str, task: str, seeds: list[int], hyper: dict[str, Any]) -> xr.Dataset:
    """Train the networks of one setting."""
    run = train(model, task, seeds=seeds, hyper=hyper)
    columns = {
        "n_epochs": np.full(run.sizes["seed"], run.sizes["epoch"]),
        "seed": run["seed"].values,
        "learned": learned(run).values[:, -1],
        "epochs": epochs_to_criterion(run),
        "step_is_stable": step_is_stable(run).values,
    }
    return xr.Dataset({name: ("network", values) for name, values in columns.items()})


def check_networks(networks: pd.DataFrame, what: str, outcomes: str, place: list[str]) -> None:
    """Refuse a table of networks with outcomes other than 0 and 1, or with a network twice."""
    for name in outcomes.split():
        if not networks[name].isin([0, 1]).all():
            raise ValueError(f"{what} must have only 0 and 1 (False and True) in {name!r}")
    twice = networks[networks.duplicated([*place, "seed"])]
    if len(twice):
        row = twice.iloc[0]
        name = f"{row['model']} on {row['task']}"
        raise ValueError(f"{what} has the network of seed {row['seed']} of {name} more than once")


def check_grid(grid: pd.DataFrame) -> pd.DataFrame:
    """Refuse a table that lacks what `sweep` returns, or some of its settings."""
    numbers = f"{' '.join(SETTING)} N_H n_epochs seed learned epochs? step_is_stable"
    table(grid, "grid", numbers, "model task")
    check_networks(grid, "grid", "learned step_is_stable", ["model", "task", *SETTING])
    for (model, task), of in grid.groupby(["model", "task"]):
        found = set(of[[*SETTING]].itertuples(index=False, name=None))
        values = [sorted({*of[name]}) for name in SETTING]
        mirrored = all(
            1 in v and np.allclose(v, [1 / value for value in v[::-1]], rtol=1e-5) for v in values
        )
        if not mirrored or len(found) < np.prod([len(v) for v in values]):
            raise ValueError(
                f"grid must have {model} on {task} at every combination of 1, each factor and its "
                f"inverse, but it has {len(found)} settings"
            )
    return grid


def best_settings(grid: pd.DataFrame) -> pd.DataFrame:
    """Return the setting of a grid at which each model learns each task best.

    The best is the one at which most networks learn with a stable Euler step, then the one with
    the fewest median epochs, then the first; networks of seeds that not every setting has do not
    count. Because a maximum over settings is biased for the
    networks it was taken over, judge it with others: `measure_best`.

    Parameters
    ----------
    grid : pandas.DataFrame
        As returned by `sweep`.

    Returns
    -------
    pandas.DataFrame
        One row per task and model: N_H_factor, beta_factor, dt_W_factor, N_H; ``chosen_by`` the
        share of the grid's networks that learn there with a stable step; ``edge`` the names of the
        factors that are at an end of the grid, so that a better setting may be beyond it.

    Raises
    ------
    ValueError
        If `grid` is not such a table.

    See Also
    --------
    sweep : Computes the grid.
    measure_best : Judges the settings.

    Examples
    --------
    >>> import deep_nb
    >>> claims = [claim for claim in deep_nb.claims.read_claims() if claim.id == "1c"]
    >>> grid = deep_nb.claims.sweep(claims, range(2), [10.0])
    >>> deep_nb.claims.best_settings(grid)[["beta_factor", "dt_W_factor", "edge"]].values.tolist()
    [[1.0, 10.0, 'dt_W_factor']]
    """
    grid = check_grid(grid)
    rows = []
    for (task, model), of in grid.groupby(["task", "model"], sort=False):
        n_settings = len(of[[*SETTING]].drop_duplicates())
        of = of[of.groupby("seed")["seed"].transform("size") == n_settings]
        if not len(of):
            raise ValueError(f"grid needs a seed that every setting of {model} on {task} has")
        settings = dict(list(of.groupby(list(SETTING))))
        best = settings[min(settings, key=lambda setting: _score(settings[setting]))]
        setting = best.iloc[0][[*SETTING, "N_H"]].to_dict()
        ends = [
            name
            for name in SETTING
            if of[name].nunique() > 1 and setting[name] in (of[name].min(), of[name].max())
        ]
        row = {"task": task, "model": model, **setting, "N_H": int(setting["N_H"])}
        rows.append({**row, "chosen_by": -_score(best)[0], "edge": ", ".join(ends)})
    return pd.DataFrame(rows)


def _score(networks: pd.DataFrame) -> tuple[float, float]:
    """Return what is smallest for the best setting."""
    learned = networks["learned"].astype(bool) & networks["step_is_stable"].astype(bool)
    epochs = networks["epochs"].where(learned).fillna(networks["n_epochs"])
    return -learned.mean(), float(epochs.median())


def measure_best(
    claims: Iterable[Claim], grid: pd.DataFrame, seeds: int | Sequence[int]
) -> pd.DataFrame:
    """Measure both sides of every comparison that has a grid, each at its own best setting.

    Parameters
    ----------
    claims : iterable of Claim
        Only claims with ``grid: true`` that compare two models count.
    grid : pandas.DataFrame
        As returned by `sweep`, with networks of other seeds.
    seeds : int or sequence of int
        The networks that judge; 100 or more decide differences of a fifth.

    Returns
    -------
    pandas.DataFrame
        As in `measure`. Empty if there are no such claims.

    Raises
    ------
    ValueError
        If an argument is not as described, or networks of `grid` have one of the seeds.

    Warns
    -----
    RuntimeWarning
        If networks diverged.

    See Also
    --------
    best_settings : Chooses the settings.

    Examples
    --------
    >>> import deep_nb
    >>> claims = [claim for claim in deep_nb.claims.read_claims() if claim.id == "1d"]
    >>> grid = deep_nb.claims.sweep(claims, range(1000, 1002), [10.0])
    >>> best = deep_nb.claims.measure_best(claims, grid, seeds=range(4))
    >>> best.groupby("model").size().to_dict()
    {'DEEP': 4, 'EP_asym': 4}
    """
    seeds = check_seeds(seeds)
    wanted = {
        (side.model, task)
        for claim in check_claims(claims)
        for task in claim.tasks
        for side in (claim.of, claim.against)
        if claim.grid and claim.against is not None and side is not None
    }
    if not wanted:
        return pd.DataFrame()
    if shared := {*seeds} & {*check_grid(grid)["seed"]}:
        raise ValueError(f"seeds must not have chosen the settings, got {short(sorted(shared))}")
    frames = []
    for row in best_settings(grid).to_dict("records"):
        if (row["model"], row["task"]) in wanted:
            hyper = PUBLISHED[row["model"]].hyper
            changed = {
                "N_H": [row["N_H"]],
                "beta": hyper.beta * row["beta_factor"],
                "dt_W": hyper.dt_W * row["dt_W_factor"],
            }
            frames.append(measure(row["model"], row["task"], seeds, hyper=changed))
    return pd.concat(frames, ignore_index=True)


def compare_curves(
    claims: Iterable[Claim],
    seeds: int | Sequence[int] = BAND_SEEDS,
    *,
    size: int = 10,
    ensembles: int = 2000,
) -> pd.DataFrame:
    """Lay the published figures that claims are about over ensembles of this package.

    Ensembles of `size` networks are drawn at random, without replacement within each, from networks
    trained at the published settings. At every epoch, the band holds the central 95 % of their
    means or medians; a published point is inside if it is within the band or at most 0.004, the
    precision of the reading, beyond it.

    Parameters
    ----------
    claims : iterable of Claim
        Only claims about curves count.
    seeds : int or sequence of int
        The networks from which ensembles are drawn, at least `size`; by default 2000–2199, which
        nothing was chosen on.
    size : int
        Networks per ensemble: 10 in the published figures.
    ensembles : int
        Number of ensembles.

    Returns
    -------
    pandas.DataFrame
        One row per figure (``source``, with its model and task), statistic (``mean``, ``median``)
        and epoch, from 1: ``published``, NaN where it is not readable; ``low``, ``middle`` and
        ``high`` of the ensembles (2.5 %, 50 %, 97.5 %); ``inside``, and whether the point is also
        ``strictly`` within the band, without the 0.004; ``wholly_inside``, the share of these
        ensembles whose curves are inside at all readable points of the figure: what the curves of a
        figure that is reproduced have as a chance; and ``runaway``, the number of networks that
        ensembles are not drawn from, because their Euler step is beyond its stable range. Empty if
        there are no such claims.

    Raises
    ------
    ValueError
        If `claims` are not claims, or a number is out of range.

    Warns
    -----
    RuntimeWarning
        If networks diverged.

    See Also
    --------
    published_curves : One figure.
    evaluate : Decides whether it is reproduced.

    Examples
    --------
    >>> import deep_nb
    >>> claims = [claim for claim in deep_nb.claims.read_claims() if claim.id == "2b"]
    >>> curves = deep_nb.claims.compare_curves(claims, range(2000, 2040), ensembles=200)
    >>> last = curves.query("statistic == 'median' and published.notna()").iloc[-1]
    >>> int(last["epoch"]), float(last["published"]), bool(last["inside"])
    (158, 0.1259, True)
    """
    seeds = check_seeds(seeds)
    size = integer(size, "size", 1, len(seeds))
    ensembles = integer(ensembles, "ensembles", 2, MAX_COUNT)
    wanted = {
        (claim.figure, claim.of.model, task): None
        for claim in check_claims(claims)
        for task in claim.tasks
        if claim.quantity == "curves"
    }
    frames = []
    for source, model, task in wanted:
        published = published_curves(source)
        run = train(model, task, seeds=seeds, hyper={"n_epochs": len(published)})
        stable = step_is_stable(run).values
        mse = np.nan_to_num(run["mse_free"].values[stable], nan=np.inf)
        integer(size, "size", 1, len(mse))
        rng = np.random.default_rng(0)
        drawn = np.array([rng.choice(len(mse), size, replace=False) for _ in range(ensembles)])
        runaway = len(seeds) - len(mse)
        place: dict[str, Any] = {"source": source, "model": model, "task": task}
        frames.append(_bands(published, mse[drawn]).assign(**place, runaway=runaway))
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()


def check_curves(curves: pd.DataFrame | None) -> pd.DataFrame:
    """Refuse a table that lacks what `compare_curves` returns, or has other published curves."""
    numbers = "epoch published? low middle high inside strictly wholly_inside runaway"
    curves = table(curves, "curves", numbers, "source statistic")
    for source, of in curves.groupby("source"):
        published = published_curves(str(source)).set_index("epoch")
        for name in ("mean", "median"):
            given = of[of["statistic"] == name].set_index("epoch")["published"].sort_index()
            if not given.equals(published[f"mse_{name}"]):
                raise ValueError(f"curves must have every point of the {name} in {source!r}, once")
    return curves


def _bands(
    published: pd.DataFrame, mse: Float[np.ndarray, "ensembles size epochs"]
) -> pd.DataFrame:
    """Lay the curves of one figure over those of ensembles."""
    frames, wholly = [], np.ones(len(mse), bool)
    statistics: dict[str, Any] = {"mean": np.mean, "median": np.median}
    for name, statistic in statistics.items():
        curves = statistic(mse, axis=1)
        low, middle, high = np.quantile(curves, [0.025, 0.5, 0.975], axis=0)
        values = published[f"mse_{name}"].to_numpy()
        readable = ~np.isnan(values)
        within = (curves >= low - READING) & (curves <= high + READING)
        wholly &= within[:, readable].all(axis=1)
        columns = {"epoch": published["epoch"], "published": values, "low": low}
        columns |= {"middle": middle, "high": high}
        columns["inside"] = (values >= low - READING) & (values <= high + READING)
        columns["strictly"] = (values >= low) & (values <= high)
        frames.append(pd.DataFrame({"statistic": name, **columns}))
    return pd.concat(frames).assign(wholly_inside=wholly.mean())
