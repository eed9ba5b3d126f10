"""Figures that compare ensembles: shares of networks over a quantity, over epochs, over a grid."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike

from deep_nb.analysis.statistics import EPOCHS, epochs_array, wilson
from deep_nb.checks import one_of
from deep_nb.kinds import a, number, sequence, short, table, takes
from deep_nb.plotting.style import COLOUR, LABEL, LINE, STYLE, VERMILION


@takes(x=sequence(number()), ax=a(Axes), colour=COLOUR, line=LINE, label=LABEL)
def plot_shares(
    x: Sequence[float],
    successes: Sequence[int],
    total: int,
    ax: Axes,
    colour: str,
    line: str,
    label: str,
) -> Axes:
    """Draw shares of `total` networks over x, with 95 % Wilson intervals as a band.

    Raises
    ------
    ValueError
        As `deep_nb.analysis.statistics.wilson`, or if another argument is something else, or `x` does not
        have as many values as `successes`.
    """
    share, low, high = wilson(successes, total)
    if share.shape != (len(x),):
        raise ValueError(
            f"x and successes must have as many values, got {short(x)} and {share.shape}"
        )
    ax.plot(x, share, color=colour, ls=line, marker="o", ms=3, label=label)
    ax.fill_between(x, low, high, color=colour, alpha=0.15, lw=0)
    ax.set_ylim(-0.03, 1.03)
    ax.legend()
    return ax


@takes(n_epochs=EPOCHS, ax=a(Axes), colour=COLOUR, line=LINE, label=LABEL)
def plot_reached(
    epochs: ArrayLike, n_epochs: int, ax: Axes, colour: str, line: str, label: str
) -> Axes:
    """Draw the share of networks that have reached the criterion, over epochs.

    One minus the Kaplan–Meier estimate: every network is watched for all epochs, so that it is a
    plain share, and its band the 95 % Wilson interval at each epoch.

    Parameters
    ----------
    epochs : array_like, shape (networks,)
        As from `deep_nb.analysis.statistics.epochs_to_criterion`, NaN if censored.
    n_epochs : int
        For how long they were watched.
    ax : Axes
    colour, line, label : str
        Of the curve.

    Raises
    ------
    ValueError
        If an argument is something else.
    """
    values = epochs_array(epochs, "epochs")
    axis = np.arange(n_epochs)
    reached = (values[:, None] <= axis).sum(axis=0)
    share, low, high = wilson(reached, len(values))
    ax.step(axis, share, where="post", color=colour, ls=line, label=label)
    ax.fill_between(axis, low, high, step="post", color=colour, alpha=0.15, lw=0)
    ax.set_ylim(-0.03, 1.03)
    ax.legend()
    return ax


#: What is drawn of a grid.
SETTINGS = table("N_H beta dt_W_factor n_epochs learned", "model task")


@takes(grid=SETTINGS, published=sequence(number(), 3))
def plot_robustness(grid: pd.DataFrame, model: str, published: tuple[int, float, int]) -> Figure:
    """Draw the share of a model's networks that learn, over the grid of settings.

    One panel a task (rows) and pair of N_H and n_epochs (columns): β upwards, dt_W to the right.

    Parameters
    ----------
    grid : pandas.DataFrame
        As from `deep_nb.claims.ensembles.sweep`.
    model : str
        One of its models.
    published : tuple
        The model's published (N_H, β, n_epochs), framed where it is on the grid.

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        If `grid` is no such table, `model` is not in it, or `published` is no such tuple.
    """
    one_of(model, sorted(set(grid["model"])), "model")
    if len(published) != 3:
        raise ValueError(f"published must be (N_H, beta, n_epochs), got {short(published)}")
    of = grid[grid["model"] == model]
    tasks = list(dict.fromkeys(of["task"]))
    pairs = of[["n_epochs", "N_H"]].drop_duplicates().sort_values(["n_epochs", "N_H"]).to_numpy()
    size = (1.25 * len(pairs) + 1.2, 1.15 * len(tasks) + 0.8)
    with mpl.rc_context(STYLE):
        figure, axes = plt.subplots(len(tasks), len(pairs), figsize=size, squeeze=False)
        for (row, column), ax in np.ndenumerate(axes):
            task, (n_epochs, N_H) = tasks[row], pairs[column]
            chosen = (of["task"] == task) & (of["n_epochs"] == n_epochs) & (of["N_H"] == N_H)
            share = of[chosen].pivot_table("learned", "beta", "dt_W_factor", "mean")
            here = (N_H, n_epochs) == (published[0], published[2])
            image = _heat_map(ax, share, published[1] if here else None)
            if row == 0:
                ax.set_title(f"{n_epochs} epochs\nN_H = {N_H}", fontsize=7)
            ax.set_ylabel("" if column else f"{task.upper()}\nβ", fontsize=7)
            ax.set_xlabel("" if row < len(tasks) - 1 else "dt_W / published", fontsize=6)
        figure.colorbar(image, ax=axes, label="share of networks that learned", shrink=0.6)
        figure.suptitle(f"{model}: per cent of networks that learn (framed: published setting)")
    return figure


def _heat_map(ax: Any, share: pd.DataFrame, published_beta: float | None) -> Any:
    image = ax.imshow(share, origin="lower", cmap="cividis", vmin=0, vmax=1, aspect="auto")
    for (row, column), value in np.ndenumerate(share.to_numpy()):
        colour = "black" if value > 0.5 else "white"
        ax.text(
            column, row, f"{100 * value:.0f}", ha="center", va="center", fontsize=5, color=colour
        )
    betas, factors = share.index.to_list(), share.columns.to_list()
    x, y = np.flatnonzero(share.columns == 1), np.flatnonzero(share.index == published_beta)
    if x.size and y.size:
        corner = x[0] - 0.5, y[0] - 0.5
        ax.add_patch(Rectangle(corner, 1, 1, fill=False, ec=VERMILION, lw=2, clip_on=False))
    ax.set_xticks(range(len(factors)), [f"{factor:g}" for factor in factors])
    ax.set_yticks(range(len(betas)), [f"{beta:g}" for beta in betas])
    ax.tick_params(labelsize=6, length=2)
    return image
