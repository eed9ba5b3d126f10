"""Learning rules and the gradient: errors, angles, weight asymmetry, reliability."""

import itertools
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes

from deep_nb._validation import integer, items, number
from deep_nb.analysis import angle_to_gradient, epochs_to_criterion, median, rule_change
from deep_nb.experiments.common import (
    Hyper,
    check_counts,
    check_tasks,
    learned_count,
    learned_share,
    percent,
)
from deep_nb.models import DEEP, EP_asym, Model
from deep_nb.plotting import BLUE, GREEN, GREY, VERMILION
from deep_nb.training import train

Checkpoint = str | os.PathLike[str] | None

#: The local rules, with their colour and line.
STYLES = {
    "stdp": (GREY, ":"),
    "contrastive": (VERMILION, "--"),
    "centered": (GREEN, "-."),
    "asymep": (BLUE, "-"),
}
LOCAL = tuple(STYLES)
#: Phases that are long enough for networks to come to rest.
LONG = {"T1": 5000, "T2": 5000}
PUBLISHED = {"published DEEP": DEEP, "published EP": EP_asym}
#: The setting of each model that `search` and `choose` find on XOR.
CHOSEN = {"leaky DEEP": {"beta": 3.0, "dt_W": 0.5}, "EP dynamics": {"beta": 4.0, "dt_W": 3.5}}
#: What `search` tries: λ, β and dt_W.
GRIDS = {
    "leaky DEEP": ((0.25, 0.5, 1.0), (1.0, 2.0, 3.0, 4.0, 6.0), (0.3, 0.5, 0.7, 1.0, 1.4)),
    "EP dynamics": ((1.0,), (2.0, 3.0, 4.0, 6.0, 8.0), (1.7, 2.4, 3.5, 5.0, 7.0)),
}
#: Maximum leak λ of the notebook.
MAX_LEAK = 100.0
#: Last epoch whose weights the notebook makes symmetric.
LAST_LOOK = 20
#: `choose` accepts settings whose median network needs fewer epochs than this.
FAST = 100


def check(
    num_net: int,
    n_epochs: int,
    leak: Any,
    betas: Any,
    align_tasks: Any,
    align_epochs: Any,
    tasks: Any,
    search_num_net: int,
) -> None:
    """Refuse parameters of the notebook that cannot work, before any network is trained.

    A bootstrap needs two networks.
    """
    check_counts(2, num_net=num_net)
    check_counts(n_epochs=n_epochs)
    check_counts(0, search_num_net=search_num_net)
    number(leak, "leak", 0, MAX_LEAK)
    check_tasks("tasks", tasks)
    for beta in items(betas, "betas"):
        number(beta, "each entry of betas", above=0)
    check_tasks("align_tasks", align_tasks)
    epochs = [integer(n, "each entry of align_epochs") for n in items(align_epochs, "align_epochs")]
    if max(epochs) < LAST_LOOK:
        raise ValueError(
            f"align_epochs must reach epoch {LAST_LOOK}, at which asymmetry is measured, "
            f"got {align_epochs}"
        )


def models(leak: float) -> dict[str, Model]:
    """Return leaky DEEP and the dynamics of asymmetric EP, both with the rule `asymep`."""
    return {
        "leaky DEEP": DEEP.replace(name="leaky DEEP", leak=leak, rule="asymep"),
        "EP dynamics": EP_asym.replace(name="EP dynamics", rule="asymep"),
    }


def gradient_error(run: xr.Dataset, betas: Sequence[float], epoch: int = 10) -> xr.DataArray:
    """Return each local rule's relative error ‖ΔW − g‖ / ‖g‖ against the gradient g, over β.

    The median over the networks that have a gradient after `epoch` epochs, over (rule, beta); NaN
    without any.
    Updates of `stdp` and `contrastive` are scaled to the length of g: only their direction counts.
    """
    gradient = _updates(run, "adjoint", epoch, LONG)
    size = np.linalg.norm(gradient, axis=1)
    errors = np.full((len(LOCAL), len(betas)), np.nan)
    for (row, rule), (column, beta) in itertools.product(enumerate(LOCAL), enumerate(betas)):
        change = _updates(run, rule, epoch, {**LONG, "beta": beta})
        if rule in ("stdp", "contrastive"):
            length = np.linalg.norm(change, axis=1)
            scale = np.divide(size, length, out=np.zeros_like(size), where=length > 0)
            change = change * scale[:, None]
        distance = np.linalg.norm(change - gradient, axis=1)
        if (size > 0).any():
            errors[row, column] = np.median(distance[size > 0] / size[size > 0])
    coords = {"rule": list(LOCAL), "beta": list(betas)}
    return xr.DataArray(errors, dims=("rule", "beta"), coords=coords)


def _updates(run: xr.Dataset, rule: str, epoch: int, hyper: Hyper) -> np.ndarray:
    """Return a rule's ΔW, one row per network."""
    change = rule_change(run, rule, epoch, hyper)
    return change.dW.reshape(len(change.dW), -1)


def draw_gradient_error(errors: xr.DataArray, ax: Axes) -> None:
    """Draw the errors of `gradient_error` over β, and a line of slope 1."""
    betas = errors["beta"].values
    for rule, (colour, line) in STYLES.items():
        values = np.maximum(errors.sel(rule=rule), 1e-13)
        ax.plot(betas, values, color=colour, ls=line, marker="o", ms=3, label=rule)
    ax.plot(betas, betas, color="black", lw=0.8, ls=":", label="linear")
    ax.set(xscale="log", yscale="log", xlabel="β", ylabel="relative error of ΔW")


def angles_over_epochs(run: xr.Dataset, epochs: Sequence[int], beta: float) -> xr.DataArray:
    """Return each local rule's angle to the gradient, nudged by β, over (rule, snapshot, seed)."""
    return angle_to_gradient(run, LOCAL, epochs, {**LONG, "beta": beta})


def draw_angles(angles: xr.DataArray, ax: Axes) -> None:
    """Draw `angles_over_epochs`: median and quartiles of the networks that have a gradient."""
    epochs = angles["snapshot"].values
    for rule, (colour, line) in STYLES.items():
        values = angles.sel(rule=rule).values
        some = np.isfinite(values).any(axis=1)
        if some.any():
            low, middle, high = np.nanpercentile(values[some], [25, 50, 75], axis=1)
            ax.plot(epochs[some], middle, color=colour, ls=line, marker="o", ms=3, label=rule)
            ax.fill_between(epochs[some], low, high, color=colour, alpha=0.12, lw=0)
    ax.axhline(90, color="black", lw=0.8)
    ax.set(ylim=(0, 180), yticks=range(0, 181, 45))


def count_below_90(angles: xr.DataArray) -> pd.DataFrame:
    """Count, for each rule, the angles below 90° and all that exist, over networks and epochs."""
    over = ["snapshot", "seed"]
    counts = {"below": (angles < 90).sum(over).values, "total": angles.notnull().sum(over).values}
    return pd.DataFrame(counts, index=pd.Index(angles["rule"].values, name="rule"))


def symmetrized(run: xr.Dataset, epoch: int, alpha: float) -> xr.Dataset:
    """Return the run with (1 − α/2) W + (α/2) Wᵀ among free neurons, from the weights of an epoch.

    α = 0 leaves them as they are, α = 1 makes them symmetric.
    """
    free = run["pre"].str.match("[hy]").values
    W = run["W_epochs"].sel(snapshot=epoch).values
    mixed = (1 - alpha / 2) * W + alpha / 2 * W.transpose(0, 2, 1)
    return run.assign(
        W=run["W"].copy(data=np.where(np.outer(free, free), mixed, W)),
        b=run["b"].copy(data=run["b_epochs"].sel(snapshot=epoch).values),
    )


def angles_over_symmetry(
    run: xr.Dataset, epoch: int, alphas: Sequence[float], beta: float = 1e-3
) -> xr.DataArray:
    """Return each local rule's angle to the gradient as the weights are made symmetric.

    Over (alpha, rule, seed), of the networks that have a gradient at every α.
    """
    hyper = {**LONG, "beta": beta}
    angles = [
        angle_to_gradient(symmetrized(run, epoch, alpha), LOCAL, hyper=hyper).isel(snapshot=0)
        for alpha in alphas
    ]
    return xr.concat(angles, pd.Index(alphas, name="alpha")).dropna("seed")


def draw_symmetry(angles: xr.DataArray, ax: Axes) -> None:
    """Draw the median over networks of `angles_over_symmetry`, if there are any networks."""
    for rule, (colour, line) in STYLES.items() if angles.sizes["seed"] else ():
        medians = angles.sel(rule=rule).median("seed")
        ax.plot(angles["alpha"], medians, color=colour, ls=line, marker="o", ms=3, label=rule)


def search(
    model: Model,
    grid: tuple[Sequence[float], Sequence[float], Sequence[float]],
    seeds: Sequence[int],
    n_epochs: int,
    checkpoint: Checkpoint = None,
) -> pd.DataFrame:
    """Train networks on XOR at every λ, β and dt_W of a grid.

    One row per setting: the number of networks that ``learned``, and the median ``epochs`` to the
    criterion, where networks that never reach it count as `n_epochs`.
    """
    rows = []
    for leak, beta, dt_W in itertools.product(*grid):
        hyper = {"beta": beta, "dt_W": dt_W, "n_epochs": n_epochs}
        leaky = model.replace(leak=leak)
        run = train(leaky, "xor", seeds=seeds, hyper=hyper, checkpoint=checkpoint)
        epochs = np.median(np.nan_to_num(epochs_to_criterion(run), nan=n_epochs))
        rows.append([leak, beta, dt_W, learned_count(run), epochs])
    return pd.DataFrame(rows, columns=["leak", "beta", "dt_W", "learned", "epochs"])


def choose(found: pd.DataFrame) -> pd.Series:
    """Return the setting of `search` where most networks learn, together with its neighbours.

    Only settings with all eight neighbours in β and dt_W, and a median below `FAST` epochs, count;
    the fewest epochs decide between equals. ``around`` is the sum over the nine settings.
    """
    neighbourhoods = []
    for leak, of in found.groupby("leak"):
        table = of.pivot(index="beta", columns="dt_W", values="learned")
        around = np.lib.stride_tricks.sliding_window_view(table, (3, 3)).sum(axis=(2, 3))
        inner = pd.DataFrame(around, table.index[1:-1], table.columns[1:-1])
        sums = inner.reset_index().melt("beta", value_name="around")
        neighbourhoods.append(sums.assign(leak=leak))
    settings = found.merge(pd.concat(neighbourhoods), on=["leak", "beta", "dt_W"])
    fast = settings[settings["epochs"] < FAST]
    return fast.sort_values(["around", "epochs"], ascending=[False, True]).iloc[0]


def candidates(leak: float, n_epochs: int) -> dict[str, tuple[Model, Hyper]]:
    """Return what `reliability` compares: each model and its hyperparameters, by name.

    The published models come twice: with their own number of epochs, and with `n_epochs`.
    """
    published = {
        "published DEEP (stdp)": DEEP,
        "published asymmetric EP (contrastive)": EP_asym,
    }
    named: dict[str, tuple[Model, Hyper]] = {}
    for suffix, hyper in (("", {}), (f", {n_epochs} epochs", {"n_epochs": n_epochs})):
        named |= {f"{name}{suffix}": (model, hyper) for name, model in published.items()}
    for name, model in models(leak).items():
        named[f"{name} (asymep)"] = model, {**CHOSEN[name], "n_epochs": n_epochs}
    return named


def reliability(
    named: Mapping[str, tuple[Model, Hyper]],
    tasks: Sequence[str],
    seeds: Sequence[int],
    checkpoint: Checkpoint = None,
) -> pd.DataFrame:
    """Train each model on each task, and tabulate how many networks learn and how fast.

    The median epochs to the criterion is "> n" where half of the networks or more never reach it.
    """
    rows = []
    for (name, (model, hyper)), task in itertools.product(named.items(), tasks):
        run = train(model, task, seeds=seeds, hyper=hyper, checkpoint=checkpoint)
        row = [name, task, learned_count(run), percent(learned_share(run)), _median_epochs(run)]
        rows.append(row)
    columns = ["model (rule)", "task", "learned", f"share of {len(seeds)}", "median epochs"]
    return pd.DataFrame(rows, columns=columns)


def _median_epochs(run: xr.Dataset) -> str:
    """Return the median epochs to the criterion with its interval, as text."""
    epochs = epochs_to_criterion(run)
    if np.isnan(epochs).mean() >= 0.5:
        return f"> {run.sizes['epoch']}"
    middle = median(np.nan_to_num(epochs, nan=run.sizes["epoch"]))
    return f"{middle.value:g} [{middle.low:g}, {middle.high:g}]"


def compare_rules(
    leak: float, seeds: Sequence[int], n_epochs: int, checkpoint: Checkpoint = None
) -> pd.DataFrame:
    """Train both models on XOR with every rule at the `CHOSEN` settings, and tabulate the results.

    In the median, networks that never reach the criterion count as `n_epochs`.
    """
    rows = []
    for (name, model), rule in itertools.product(models(leak).items(), (*LOCAL, "adjoint")):
        hyper = {**CHOSEN[name], "n_epochs": n_epochs}
        run = train(
            model.replace(rule=rule), "xor", seeds=seeds, hyper=hyper, checkpoint=checkpoint
        )
        epochs = np.median(np.nan_to_num(epochs_to_criterion(run), nan=n_epochs))
        rows.append([name, rule, learned_count(run), percent(learned_share(run)), epochs])
    columns = ["model", "rule", "learned XOR", f"share of {len(seeds)}", "median epochs"]
    return pd.DataFrame(rows, columns=columns)
