"""Figures that compare ensembles: shares of networks over a quantity, over epochs, over a grid."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cbook import is_math_text
from matplotlib.colors import is_color_like
from matplotlib.figure import Figure
from matplotlib.lines import lineMarkers, lineStyles
from matplotlib.mathtext import MathTextParser
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike

from deep_nb._validation import (
    check_same_labels,
    finite_array,
    integer,
    one_of,
    short,
    table,
)
from deep_nb.analysis.statistics import MAX_TOTAL, epochs_array, wilson
from deep_nb.models import MAX_COUNT
from deep_nb.plotting.style import (
    ONE_COLUMN,
    SMALL,
    TWO_COLUMNS,
    VERMILION,
    check_axes,
    legend_below,
    new_axes,
    set_font_size,
    task_title,
    write_title,
)


def plot_shares(
    x: ArrayLike,
    successes: ArrayLike,
    total: int,
    ax: Axes,
    colour: str,
    line: str,
    label: str,
    marker: str = "o",
) -> Axes:
    """Draw shares of `total` networks over x, with 95 % Wilson intervals as a band.

    Parameters
    ----------
    x : array_like, shape (n,)
    successes : array_like of int, shape (n,)
        Number of networks at each x, from 0 to `total`.
    total : int
    ax : Axes
    colour, line, label, marker : str
        Matplotlib colour, line style, label and marker of the curve.

    Raises
    ------
    ValueError
        If an argument is out of range or of the wrong type, or `x` and `successes` differ in
        length or in the labels of their rows.

    See Also
    --------
    deep_nb.analysis.share : One share with its interval.

    Examples
    --------
    >>> import deep_nb
    >>> from matplotlib.figure import Figure
    >>> ax = Figure().subplots()
    >>> ax = deep_nb.plotting.plot_shares([0.0, 1.0], [0, 22], 100, ax, "black", "-", "DEEP")
    >>> ax.get_lines()[0].get_ydata()
    array([0.  , 0.22])
    """
    _check_curve(ax, colour, line, label, marker)
    check_same_labels(x, successes, "x and successes")
    places = finite_array(x, "x", 1)
    total = integer(total, "total", 1, MAX_TOTAL)
    counts = finite_array(successes, "successes", 1)
    if not ((counts >= 0) & (counts <= total) & (counts == np.floor(counts))).all():
        raise ValueError(f"successes must be integers from 0 to {total}, got {short(successes)}")
    if len(counts) != len(places):
        raise ValueError(
            f"x and successes must have the same length, got {len(places)} and {len(counts)}"
        )
    share, low, high = wilson(counts, total)
    ax.plot(places, share, color=colour, ls=line, marker=marker, ms=3, label=label)
    ax.fill_between(places, low, high, color=colour, alpha=0.15, lw=0)
    return _finish_shares(ax)


def plot_reached(
    epochs: ArrayLike, n_epochs: int, ax: Axes, colour: str, line: str, label: str
) -> Axes:
    """Draw the share of networks that have reached the criterion, over epochs.

    This is one minus the Kaplan–Meier estimate (E. L. Kaplan and P. Meier, 1958). Because every
    network is observed for all epochs, it equals the plain share; the band is the 95 % Wilson
    interval at each epoch.

    Parameters
    ----------
    epochs : array_like, shape (networks,)
        As returned by `deep_nb.analysis.epochs_to_criterion`, NaN if censored.
    n_epochs : int
        Number of epochs for which every network was observed.
    ax : Axes
    colour, line, label : str
        Matplotlib colour, line style and label of the curve.

    Raises
    ------
    ValueError
        If an argument is out of range or of the wrong type.

    See Also
    --------
    deep_nb.analysis.log_rank : Compares two such curves.

    Examples
    --------
    >>> import deep_nb
    >>> from matplotlib.figure import Figure
    >>> ax = Figure().subplots()
    >>> ax = deep_nb.plotting.plot_reached([2, float("nan"), 0, 2], 4, ax, "black", "-", "DEEP")
    >>> ax.get_lines()[0].get_ydata()
    array([0.25, 0.25, 0.75, 0.75])
    """
    _check_curve(ax, colour, line, label)
    values = epochs_array(epochs, "epochs")
    axis = np.arange(integer(n_epochs, "n_epochs", 1, MAX_COUNT))
    reached = (values[:, None] <= axis).sum(axis=0)
    share, low, high = wilson(reached, len(values))
    ax.step(axis, share, where="post", color=colour, ls=line, label=label)
    ax.fill_between(axis, low, high, step="post", color=colour, alpha=0.15, lw=0)
    return _finish_shares(ax)


def _check_curve(ax: Any, colour: Any, line: Any, label: Any, marker: Any = "") -> None:
    """Refuse what Matplotlib could not draw, or would leave out of a legend."""
    check_axes(ax)
    if not is_color_like(colour):
        raise ValueError(f"colour must be a colour of Matplotlib, got {short(colour)}")
    if not isinstance(line, str) or line not in lineStyles:
        raise ValueError(f"line must be a line style such as '-' or '--', got {short(line)}")
    if not isinstance(marker, str) or marker not in lineMarkers:
        raise ValueError(f"marker must be a marker such as 'o' or 's', got {short(marker)}")
    if not isinstance(label, str) or not label or label.startswith("_"):
        raise ValueError(f"label must be a text that does not begin with '_', got {short(label)}")
    if is_math_text(label):
        try:
            MathTextParser("path").parse(label)
        except ValueError as error:
            what = " ".join(str(error).split())
            raise ValueError(f"label is not math that Matplotlib can draw: {what}") from None


def _finish_shares(ax: Axes) -> Axes:
    ax.set_ylim(-0.03, 1.03)
    legend_below(ax)
    return ax


def plot_robustness(grid: pd.DataFrame, model: str) -> Figure:
    """Draw the share of a model's networks that learn, around its published setting.

    One panel for each task (rows) and each number of hidden neurons (columns); β increases upwards,
    dt_W to the right, both as multiples of the published values. The published setting is framed.

    Parameters
    ----------
    grid : pandas.DataFrame
        As returned by `deep_nb.claims.sweep`.
    model : str
        One of its models.

    Raises
    ------
    ValueError
        If `grid` is not such a table, or `model` is not in it.

    See Also
    --------
    deep_nb.claims.best_settings : The best setting of each model and task.

    Examples
    --------
    >>> import deep_nb
    >>> claims = [claim for claim in deep_nb.claims.read_claims() if claim.id == "1c"]
    >>> grid = deep_nb.claims.sweep(claims, range(2), [10.0])
    >>> figure = deep_nb.plotting.plot_robustness(grid, "EP_asym")
    >>> len(figure.axes)  # one task, and the colour bar
    2
    """
    numbers = "N_H N_H_factor beta_factor dt_W_factor learned"
    grid = table(grid, "grid", numbers, "model task")
    one_of(model, sorted(set(grid["model"])), "model")
    of = grid[grid["model"] == model]
    tasks = list(dict.fromkeys(of["task"]))
    sizes = of[["N_H_factor", "N_H"]].drop_duplicates().sort_values("N_H_factor").to_numpy()
    size = TWO_COLUMNS if len(sizes) > 1 else ONE_COLUMN, 1.1 * len(tasks) + 0.9
    figure, axes = new_axes(len(tasks), len(sizes), size)
    for (row, column), ax in np.ndenumerate(axes):
        task, (factor, N_H) = tasks[row], sizes[column]
        chosen = of[(of["task"] == task) & (of["N_H_factor"] == factor)]
        share = chosen.pivot_table("learned", "beta_factor", "dt_W_factor", "mean")
        image = _heat_map(ax, share, factor == 1)
        if row == 0:
            ax.title.set_text(f"$N_H$ = {N_H:g}")
        vertical = "" if column else f"{task_title(task)}\nβ / published"
        ax.set_ylabel(vertical, parse_math=False)
        ax.set_xlabel("" if row < len(tasks) - 1 else "$dt_W$ / published")
    shrink = 0.6 if len(tasks) > 1 else 1.0  # room for the label
    bar = figure.colorbar(image, ax=axes, label="share that learned", shrink=shrink)
    set_font_size(bar.ax)
    write_title(figure, f"{model}: per cent that learn")
    return figure


def _heat_map(ax: Any, share: pd.DataFrame, published: bool) -> Any:
    """Draw one panel with its numbers, and a frame around the published β and dt_W."""
    image = ax.imshow(share, origin="lower", cmap="cividis", vmin=0, vmax=1, aspect="auto")
    for (row, column), value in np.ndenumerate(share.to_numpy()):
        look = {"fontsize": SMALL, "color": "black" if value > 0.5 else "white"}
        ax.text(column, row, f"{100 * value:.0f}", ha="center", va="center", **look)
    betas, factors = share.index.to_list(), share.columns.to_list()
    x, y = np.flatnonzero(share.columns == 1), np.flatnonzero(share.index == 1)
    if published and x.size and y.size:
        corner = x[0] - 0.5, y[0] - 0.5
        ax.add_patch(Rectangle(corner, 1, 1, fill=False, ec=VERMILION, lw=2, clip_on=False))
    ax.set_xticks(range(len(factors)), [f"{factor:.2g}" for factor in factors])
    ax.set_yticks(range(len(betas)), [f"{beta:.2g}" for beta in betas])
    ax.tick_params(labelsize=SMALL, length=2)
    return image
