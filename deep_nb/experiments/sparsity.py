"""Stochastic pruning: connections, trade-off, surviving synapses, regrowth, the formula itself."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Float
from matplotlib.axes import Axes

from deep_nb._validation import one_of
from deep_nb.analysis import median
from deep_nb.experiments.common import check_counts, check_tasks, entries, learned_share
from deep_nb.models import MODELS
from deep_nb.plotting import BLUE, GREEN, GREY, VERMILION
from deep_nb.plotting.style import legend_below
from deep_nb.pruning import prune, pruning_probabilities
from deep_nb.training import train

#: Combinations of L1 and pruning, as flags of `train`.
FLAGS = {
    "neither": {},
    "L1 only": {"regularized": True},
    "pruning only": {"sparse": True},
    "L1 and pruning": {"regularized": True, "sparse": True},
}
STYLES = {
    "neither": (GREY, "-."),
    "L1 only": (BLUE, ":"),
    "pruning only": (GREEN, "--"),
    "L1 and pruning": (VERMILION, "-"),
}
MARKERS = {"reg_W": (BLUE, "o"), "tol_W": (VERMILION, "s"), "temp": (GREEN, "^")}
#: How figures write the hyperparameters of pruning.
SYMBOLS = {"reg_W": r"$\mathrm{reg}_W$", "tol_W": r"$\mathrm{tol}_W$", "temp": "temp"}
#: Groups of synapses: how the names of the presynaptic and of the postsynaptic neuron begin.
GROUPS = {
    "from inputs": ("x", "h"),
    "from the bias": ("bias", "h"),
    "hidden to hidden": ("h", "h"),
    "hidden to output": ("h", "y"),
    "output to hidden": ("y", "h"),
}


def check(model: str, tasks: Any, varied: Mapping[str, Any], num_net: int, **counts: int) -> None:
    """Refuse parameters of the notebook that cannot work, before any network is trained.

    A bootstrap needs two networks.
    """
    check_counts(2, num_net=num_net)
    one_of(model, MODELS, "model")
    check_tasks("tasks", tasks)
    check_counts(**counts)
    for name, values in varied.items():
        for value in entries(values, name):
            MODELS[model].hyper.replace(**{name: value})


def draw_connections(runs: Mapping[str, xr.Dataset], ax: Axes) -> None:
    """Draw the number of connections and the sparsity over epochs, for each run in `FLAGS`.

    Lines are medians over networks, bands quartiles. The axis of sparsity is on the right.
    """
    for name, (colour, line) in STYLES.items():
        count = runs[name]["n_connections"]
        low, middle, high = np.percentile(count, [25, 50, 75], axis=0)
        ax.plot(count["epoch"], middle, color=colour, ls=line, label=name)
        ax.fill_between(count["epoch"], low, high, color=colour, alpha=0.15, lw=0)
    possible = int(runs["neither"]["mask"].sum())
    ax.set(xlabel="epoch", ylabel="connections", ylim=(0, possible + 2))
    right = ax.twinx()
    right.set(ylim=(1, -2 / possible), ylabel="sparsity")
    right.spines["right"].set_visible(True)


def trade_off(
    model: str,
    tasks: Sequence[str],
    varied: Mapping[str, Sequence[float]],
    seeds: Sequence[int],
    n_epochs: int,
) -> pd.DataFrame:
    """Train with L1 and pruning at other values of one hyperparameter at a time.

    One row per task, hyperparameter and value: median sparsity and share of networks that learn,
    each with its 95 % interval, and the median MSE, all of the last epoch.
    """
    rows = []
    for task in tasks:
        for name, values in varied.items():
            for value in values:
                hyper = {"n_epochs": n_epochs, name: value}
                run = train(model, task, seeds=seeds, hyper=hyper, regularized=True, sparse=True)
                rows.append({"task": task, "varied": name, "value": value, **_last_epoch(run)})
    return pd.DataFrame(rows)


def _last_epoch(run: xr.Dataset) -> dict[str, float]:
    """Return sparsity and share learned with their intervals, and the MSE, in the last epoch."""
    sparsity = median((1 - run["n_connections"][:, -1] / run["mask"].sum()).values)
    done = learned_share(run)
    return {
        "sparsity": sparsity.value,
        "sparsity_low": sparsity.low,
        "sparsity_high": sparsity.high,
        "learned": done.value,
        "learned_low": done.low,
        "learned_high": done.high,
        "mse": float(run["mse_free"][:, -1].median()),
    }


def draw_trade_off(table: pd.DataFrame, upper: Axes, lower: Axes) -> None:
    """Draw one task of `trade_off`: share that learns and MSE, both over sparsity."""
    for name, (colour, marker) in MARKERS.items():
        of = table[table["varied"] == name]
        x, y = (
            of[[f"{column}_low", f"{column}_high"]].sub(of[column], axis=0).abs().to_numpy().T
            for column in ("sparsity", "learned")
        )
        look: dict[str, Any] = {
            "color": colour,
            "marker": marker,
            "ms": 4,
            "lw": 0.8,
            "label": SYMBOLS[name],
        }
        upper.errorbar(of["sparsity"], of["learned"], y, x, elinewidth=0.5, **look)
        lower.plot(of["sparsity"], of["mse"], **look)
    upper.set(xlabel="sparsity", ylabel="share of networks that learn", ylim=(-0.03, 1.03))
    lower.set(xlabel="sparsity", ylabel="median MSE", ylim=(-0.005, 0.26))
    legend_below(lower)


def kept_by_group(run: xr.Dataset) -> pd.Series:
    """Return the share of synapses that are left after training, for each group in `GROUPS`.

    Groups without any synapse, such as those of a bias that the model does not have, are left out.
    """
    kept = (run["W"] != 0).mean("seed").where(run["mask"])
    shares = {}
    for name, (pre, post) in GROUPS.items():
        rows, columns = kept["pre"].str.startswith(pre), kept["post"].str.startswith(post)
        group = kept.sel(pre=rows, post=columns)
        if group.notnull().any():
            shares[name] = float(np.nanmean(group))
    return pd.Series(shares)


def draw_turnover(counts: xr.Dataset, ax: Axes) -> None:
    """Draw the mean number of synapses removed and regrown in each epoch; see `turnover`."""
    for name, colour, line in (("removed", VERMILION, "-"), ("regrown", BLUE, "--")):
        mean = counts[name].mean("seed")
        ax.plot(counts["epoch"], mean, color=colour, ls=line, lw=1, label=name)
    ax.set(xlabel="epoch", ylabel="synapses per network and epoch")
    legend_below(ax)


def removals(
    W: Float[np.ndarray, "N N"],
    tol_W: float,
    temp: float,
    draws: int,
    stream: np.random.Generator,
) -> pd.DataFrame:
    """Prune the same weights many times, and compare each synapse's removals with the formula.

    One row per synapse: its absolute weight ``size``, its probability ``expected`` by the formula,
    the share ``observed`` over `draws` prunings, and the standard ``error`` of such a share.
    """
    present = W != 0
    expected = pruning_probabilities(W, tol_W, temp)[present]
    counts = np.zeros(len(expected))
    for _ in range(draws):
        counts += prune(W, stream.random(W.shape), tol_W, temp)[present] == 0
    return pd.DataFrame(
        {
            "size": np.abs(W[present]),
            "expected": expected,
            "observed": counts / draws,
            "error": np.sqrt(expected * (1 - expected) / draws),
        }
    )


def draw_removals(table: pd.DataFrame, ax: Axes) -> None:
    """Draw the observed and expected shares of `removals` over the size of the weight."""
    spread, label = 1.96 * table["error"], "observed, ± 1.96 σ"
    ax.errorbar(
        table["size"], table["observed"], spread, fmt="o", ms=3, color=BLUE, lw=0.8, label=label
    )
    ax.plot(table["size"], table["expected"], "x", color=VERMILION, label="formula")
    ax.set(xlabel="|W|", ylabel="share of draws that remove it", xscale="log")
    legend_below(ax)


def removal_summary(table: pd.DataFrame) -> dict[str, float | int]:
    """Summarize `removals`.

    The number of ``weak`` synapses, the ``lowest`` and ``highest`` of their probabilities, their
    largest deviation ``z`` in standard errors, and the number of others ``removed_safe``. NaN
    without any weak synapse.
    """
    weak, safe = table[table["expected"] > 0], table[table["expected"] == 0]
    z = ((weak["observed"] - weak["expected"]) / weak["error"]).abs()
    return {
        "weak": len(weak),
        "lowest": weak["expected"].min(),
        "highest": weak["expected"].max(),
        "z": z.max(),
        "removed_safe": int((safe["observed"] > 0).sum()),
    }
