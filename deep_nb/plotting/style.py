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
from matplotlib.figure import Figure

from deep_nb.provenance import provenance, stamp
from deep_nb.results import experiment_of

BLUE, VERMILION, GREEN, GREY, PALE = "#0072B2", "#D55E00", "#009E73", "#7F7F7F", "#DDDDDD"
PHASES = {"free": (BLUE, "-"), "nudged": (VERMILION, "--")}

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
    """
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    files = [target / f"{name}.svg", target / f"{name}.png"]
    with mpl.rc_context(STYLE):
        figure.savefig(files[0], metadata={"Date": None, "Description": caption})
        figure.savefig(files[1], dpi=150, metadata={"Software": None, "Description": caption})
    for file in files:
        stamp(file, provenance())
    return files


def new_axes(run: xr.Dataset, ax: Axes | None) -> Axes:
    """Check the run, then return the axes or new ones."""
    experiment_of(run)
    if isinstance(ax, Axes):
        return ax
    if ax is not None:
        raise ValueError(f"ax must be a matplotlib Axes or None, got {type(ax).__name__}")
    with mpl.rc_context(STYLE):
        return plt.subplots()[1]


def alive_networks(run: xr.Dataset, ax: Axes) -> xr.Dataset:
    """Return the networks that did not diverge, and write on the panel how many did."""
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
        If the run has no such seed, or the network diverged.
    """
    seeds = run["seed"].values.tolist()
    seed = seeds[0] if seed is None else seed
    if seed not in seeds:
        raise ValueError(f"the run has no seed {seed!r}; it has {seeds[:10]}")
    network = run.sel(seed=[seed])
    if network["diverged"].item():
        raise ValueError(
            f"the network of seed {seed} diverged in epoch {network['diverged_epoch'].item()}: "
            "choose another seed"
        )
    return network, seed


def draw_median(
    ax: Axes,
    x: np.ndarray,
    values: np.ndarray,
    colour: str,
    line: str,
    label: str,
    lw: float = 1.5,
) -> None:
    """Draw the median over networks, and their quartiles as a band; NaN steps are left out."""
    x, values = x[np.isfinite(values).any(axis=0)], values[:, np.isfinite(values).any(axis=0)]
    low, middle, high = np.nanpercentile(values, [25, 50, 75], axis=0)
    ax.plot(x, middle, color=colour, ls=line, lw=lw, label=label)
    if len(values) > 1 and lw > 1:
        # A log axis cannot show 0: a band that reaches it goes on to below the axis.
        low, high = np.maximum(low, TINY), np.maximum(high, TINY)
        ax.fill_between(x, low, high, color=colour, alpha=0.2, lw=0)


def over(alive: xr.Dataset) -> str:
    """Return what a line over these networks shows."""
    return "median, quartiles" if alive.sizes["seed"] > 1 else "the one network"


def log_scale(ax: Axes) -> None:
    """Make the y axis logarithmic, down to a little below the smallest positive value drawn."""
    drawn = np.concatenate([np.asarray(line.get_ydata(), float) for line in ax.get_lines()])
    if (drawn > 0).any():
        ax.set_yscale("log", nonpositive="mask")
        ax.set_ylim(bottom=drawn[drawn > 0].min() / 3)


def finish(ax: Axes, xlabel: str, ylabel: str, title: str) -> Axes:
    """Write the labels, and a legend if there is something to name."""
    ax.set(xlabel=xlabel, ylabel=ylabel, title=title)
    if ax.get_legend_handles_labels()[0]:
        ax.legend()
    return ax
