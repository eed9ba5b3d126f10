"""What all figures share: colours, style, files, and how an ensemble is drawn."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import is_color_like
from matplotlib.figure import Figure
from matplotlib.lines import lineStyles

from deep_nb._provenance import provenance, stamp
from deep_nb.kinds import NAME, TEXT, Kind, a, array, as_path, number, plain, short, takes
from deep_nb.run import problem_of

BLUE, VERMILION, GREEN, GREY, PALE = "#0072B2", "#D55E00", "#009E73", "#7F7F7F", "#DDDDDD"
PHASES = {"free": (BLUE, "-"), "nudged": (VERMILION, "--")}

COLOUR = Kind("a colour", is_color_like)
#: Matplotlib leaves others out of a legend.
LABEL = Kind(
    "a text that does not begin with '_'",
    lambda value: isinstance(value, str) and value != "" and not value.startswith("_"),
)
LINE = Kind("a line style", lambda value: isinstance(value, str) and value in lineStyles)

#: What a band is drawn down to where it reaches 0; squares of rounding errors are larger.
TINY = 1e-40

#: The style of every figure, for ``matplotlib.rc_context`` or ``plt.style.use``.
STYLE: dict[Any, Any] = {
    "figure.figsize": (4.8, 3.4),
    "figure.dpi": 100,
    "figure.constrained_layout.use": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": "medium",
    "legend.frameon": False,
    "legend.fontsize": "small",
    "lines.linewidth": 1.5,
    "font.size": 9,
    "svg.hashsalt": "deep_nb",
    "svg.fonttype": "none",
}


@takes(figure=a(Figure), name=NAME, caption=TEXT)
def save_figure(
    figure: Figure, folder: str | os.PathLike[str], name: str, caption: str
) -> list[Path]:
    """Write a figure as SVG and PNG, the same bytes for the same figure.

    Parameters
    ----------
    figure : Figure
    folder : path-like
        Made if need be.
    name : str
        File name without its ending.
    caption : str
        What the figure shows, kept in both files' metadata, beside where it comes from, and shown
        by the report.

    Returns
    -------
    list of Path
        The two files.

    Raises
    ------
    ValueError
        If an argument is something else, or `name` none of a file.
    OSError
        If the files cannot be written.
    """
    target = as_path(folder, "folder")
    target.mkdir(parents=True, exist_ok=True)
    files = [target / f"{name}.svg", target / f"{name}.png"]
    with mpl.rc_context(STYLE):
        figure.savefig(files[0], metadata={"Date": None, "Description": caption})
        figure.savefig(files[1], dpi=150, metadata={"Software": None, "Description": caption})
    for file in files:
        stamp(file, provenance())
    return files


def new_axes(run: xr.Dataset, ax: Axes | None) -> Axes:
    """Check the run, then return the axes or new ones.

    Raises
    ------
    ValueError
        If `run` is none, or `ax` no Axes.
    """
    problem_of(run)
    if isinstance(ax, Axes):
        return ax
    if ax is not None:
        raise ValueError(f"ax must be a matplotlib Axes or None, got {type(ax).__name__}")
    with mpl.rc_context(STYLE):
        return plt.subplots()[1]


@takes(ax=a(Axes))
def alive_networks(run: xr.Dataset, ax: Axes) -> xr.Dataset:
    """Return the networks that did not diverge, and write on the panel how many did.

    Raises
    ------
    ValueError
        If `run` is none, or `ax` no Axes.
    """
    problem_of(run)
    diverged = run["diverged"].values
    if diverged.any():
        note = f"{diverged.sum()} of {diverged.size} networks diverged"
        ax.text(0.5, 0.5, note, transform=ax.transAxes, ha="center", color=VERMILION)
    return run.isel(seed=~diverged)


def one_network(run: xr.Dataset, seed: int | None) -> tuple[xr.Dataset, int]:
    """Return the run of that seed alone, by default the first.

    Raises
    ------
    ValueError
        If `run` is none, has no such seed, or the network diverged.
    """
    problem_of(run)
    seeds = run["seed"].values.tolist()
    seed = seeds[0] if seed is None else plain(seed)
    if type(seed) is not int or seed not in seeds:
        raise ValueError(f"the run has no seed {short(seed)}; it has {seeds[:10]}")
    network = run.sel(seed=[seed])
    if network["diverged"].item():
        raise ValueError(
            f"the network of seed {seed} diverged in epoch {network['diverged_epoch'].item()}: "
            "choose another seed"
        )
    return network, seed


@takes(
    ax=a(Axes),
    x=array("steps"),
    values=array("networks steps"),
    colour=COLOUR,
    line=LINE,
    label=LABEL,
    lw=number(0),
)
def draw_median(
    ax: Axes,
    x: np.ndarray,
    values: np.ndarray,
    colour: str,
    line: str,
    label: str,
    lw: float = 1.5,
) -> None:
    """Draw the median over networks, and their quartiles as a band, of what is finite.

    Raises
    ------
    ValueError
        If an argument is something else, or `x` and `values` do not fit.
    """
    values = np.where(np.isfinite(values), values, np.nan)
    drawn = np.isfinite(values).any(axis=0)
    x, values = x[drawn], values[:, drawn]
    low, middle, high = np.nanpercentile(values, [25, 50, 75], axis=0)
    ax.plot(x, middle, color=colour, ls=line, lw=lw, label=label)
    if len(values) > 1 and lw > 1:
        # A log axis cannot show 0: a band that reaches it goes on to below the axis.
        low, high = np.maximum(low, TINY), np.maximum(high, TINY)
        ax.fill_between(x, low, high, color=colour, alpha=0.2, lw=0)


@takes(alive=a(xr.Dataset))
def over(alive: xr.Dataset) -> str:
    """Return what a line over these networks shows.

    Raises
    ------
    ValueError
        If `alive` is no run.
    """
    if "seed" not in alive.sizes:
        raise ValueError("alive must be a run, with the dimension 'seed'")
    return "median, quartiles" if alive.sizes["seed"] > 1 else "the one network"


@takes(ax=a(Axes))
def log_scale(ax: Axes) -> None:
    """Make the y axis logarithmic, down to a little below the smallest positive value drawn.

    Raises
    ------
    ValueError
        If `ax` is no Axes, or nothing is drawn on it.
    """
    if not ax.get_lines():
        raise ValueError("ax must have lines on it")
    drawn = np.concatenate([np.asarray(line.get_ydata(), float) for line in ax.get_lines()])
    if (drawn > 0).any():
        ax.set_yscale("log", nonpositive="mask")
        ax.set_ylim(bottom=drawn[drawn > 0].min() / 3)


@takes(ax=a(Axes), xlabel=TEXT, ylabel=TEXT, title=TEXT)
def finish(ax: Axes, xlabel: str, ylabel: str, title: str) -> Axes:
    """Write the labels, and a legend if there is something to name.

    Raises
    ------
    ValueError
        If `ax` is no Axes, or a label no text.
    """
    ax.set(xlabel=xlabel, ylabel=ylabel, title=title)
    if ax.get_legend_handles_labels()[0]:
        ax.legend()
    return ax
