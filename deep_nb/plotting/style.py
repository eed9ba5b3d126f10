"""Shared by all figures: colours, style, files, and the drawing of ensembles."""

import contextlib
import os
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from jaxtyping import Real, Shaped
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text

from deep_nb._files import replacing
from deep_nb._provenance import provenance, stamp
from deep_nb._validation import as_path, file_name, instance, plain, short, text
from deep_nb.analysis.stability import step_is_stable
from deep_nb.run import problem_of

BLUE, VERMILION, GREEN, GREY, PALE = "#0072B2", "#D55E00", "#009E73", "#7F7F7F", "#DDDDDD"
PHASES = {"free": (BLUE, "-"), "nudged": (VERMILION, "--")}

#: Minimum of a band's ends, because a log axis cannot show 0; squared rounding errors are larger.
TINY = 1e-40

FONT_SIZE = 9

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
    "font.size": FONT_SIZE,
    "svg.hashsalt": "deep_nb",
    "svg.fonttype": "none",
}

#: A character that XML cannot hold, such as most control characters.
_NOT_IN_XML = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

#: The settings that Matplotlib reads while it writes SVG.
_SVG: dict[Any, Any] = {name: STYLE[name] for name in ("svg.hashsalt", "svg.fonttype")}

#: For pyplot's list of figures, and for what Matplotlib shares between figures as it writes them.
_lock = threading.Lock()


@contextlib.contextmanager
def _svg_settings() -> Iterator[None]:
    """Write SVG in the style of every figure, one thread at a time.

    Settings of Matplotlib are those of the whole process. These two change no figure of others.
    """
    with _lock:
        before = {name: mpl.rcParams[name] for name in _SVG}
        mpl.rcParams.update(_SVG)
        try:
            yield
        finally:
            mpl.rcParams.update(before)


def new_axes(
    rows: int = 1, columns: int = 1, size: tuple[float, float] = STYLE["figure.figsize"]
) -> tuple[Figure, Shaped[np.ndarray, "rows columns"]]:
    """Return a figure with axes in the style of every figure, which other threads do not see."""
    with _lock:
        figure, axes = plt.subplots(
            rows,
            columns,
            figsize=size,
            dpi=STYLE["figure.dpi"],
            layout="constrained",
            squeeze=False,
        )
    for ax in axes.flat:
        ax.spines[["top", "right"]].set_visible(False)
        set_font_size(ax)
    return figure, axes


def set_font_size(ax: Axes) -> None:
    """Give title, labels and ticks of axes the font size of every figure."""
    for part in (
        ax.title,
        ax.xaxis.label,
        ax.yaxis.label,
        ax.xaxis.offsetText,
        ax.yaxis.offsetText,
    ):
        part.set_fontsize(FONT_SIZE)
    ax.tick_params(labelsize=FONT_SIZE)


def save_figure(
    figure: Figure, folder: str | os.PathLike[str], name: str, caption: str
) -> list[Path]:
    """Write a figure as SVG and PNG; the same plot, drawn anew, always gives the same bytes.

    Parameters
    ----------
    figure : Figure
    folder : path-like
        Created if it does not exist.
    name : str
        File name without suffix.
    caption : str
        What the figure shows. Both files carry it in their metadata, with their provenance, and the
        report shows it.

    Returns
    -------
    list of Path
        The two files.

    Raises
    ------
    ValueError
        If `figure` is not a figure, another argument has the wrong type, or a text has characters
        that SVG cannot hold.
    OSError
        If the files cannot be written.

    See Also
    --------
    Output : Saves everything that a notebook produces in one folder.

    Examples
    --------
    >>> import tempfile
    >>> import deep_nb
    >>> run = deep_nb.train("DEEP", "xor", seeds=range(3), hyper={"n_epochs": 5})
    >>> figure = deep_nb.plotting.plot_mse(run).figure
    >>> files = deep_nb.plotting.save_figure(figure, tempfile.mkdtemp(), "mse", "MSE over epochs")
    >>> [file.name for file in files]
    ['mse.svg', 'mse.png']
    """
    instance(figure, "figure", Figure)
    target, name, caption = (
        as_path(folder, "folder"),
        file_name(name, "name"),
        text(caption, "caption"),
    )
    for shown in (caption, *(part.get_text() for part in figure.findobj(Text))):
        if _NOT_IN_XML.search(shown):
            raise ValueError(f"SVG cannot hold the characters of {ascii(shown)[:80]}")
    target.mkdir(parents=True, exist_ok=True)
    files: dict[Path, dict[str, Any]] = {
        target / f"{name}.svg": {"metadata": {"Date": None, "Description": caption}},
        target / f"{name}.png": {
            "metadata": {"Software": None, "Description": caption},
            "dpi": 150,
        },
    }
    with _svg_settings():
        for file, options in files.items():
            with replacing(file) as partial:
                figure.savefig(partial, format=file.suffix[1:], **options)
    for file in files:
        stamp(file, provenance())
    return list(files)


def ensemble_axes(run: xr.Dataset, ax: Axes | None) -> tuple[Axes, xr.Dataset]:
    """Check a plot's arguments; return its axes and the networks that did not diverge.

    The numbers of diverged networks, and of others whose Euler step is beyond its stable range, are
    written along the right edge.
    """
    activation = problem_of(run).model.activation
    ax = _axes(ax)
    diverged = run["diverged"].values
    alive, notes = run.isel(seed=~diverged), []
    if diverged.any():
        notes.append(f"{diverged.sum()} of {diverged.size} networks diverged")
    if activation == "hard_sigmoid" and alive.sizes["seed"]:
        beyond = (~step_is_stable(alive).values).sum()
        if beyond:
            notes.append(f"{beyond} of {diverged.size}: Euler step beyond its stable range")
    if notes:
        note = ax.text(1.01, 0.5, "\n".join(notes), color=VERMILION, transform=ax.transAxes)
        note.set(rotation=90, verticalalignment="center", fontsize="small")
    return ax, alive


def network_axes(
    run: xr.Dataset, ax: Axes | None, seed: int | None
) -> tuple[Axes, xr.Dataset, int]:
    """Check a plot's arguments; return its axes, the run of one seed and that seed."""
    problem_of(run)
    seeds = run["seed"].values.tolist()
    seed = seeds[0] if seed is None else plain(getattr(seed, "values", seed))
    if type(seed) is not int or seed not in seeds:
        raise ValueError(f"the run has no seed {short(seed)}; it has {seeds[:10]}")
    network = run.sel(seed=[seed])
    if network["diverged"].values[0]:
        epoch = network["diverged_epoch"].values[0]
        raise ValueError(
            f"the network of seed {seed} diverged in epoch {epoch}: choose another seed"
        )
    return _axes(ax), network, seed


def _axes(ax: Axes | None) -> Axes:
    """Return the axes, or new ones for None."""
    return check_axes(new_axes()[1][0, 0] if ax is None else ax)


def check_axes(ax: Any) -> Axes:
    """Return two-dimensional axes that are part of a figure."""
    if isinstance(ax, Axes) and ax.name != "3d" and ax.figure is not None:
        return ax
    raise ValueError(f"ax must be a two-dimensional Axes of a figure, got {short(ax)}")


def draw_median(
    ax: Axes,
    x: Real[np.ndarray, " steps"],
    values: Real[np.ndarray, "networks steps"],
    colour: str,
    line: str,
    label: str,
    lw: float = 1.5,
) -> None:
    """Draw the median over networks and their quartiles as a band; skip what is not finite."""
    values = np.where(np.isfinite(values), values, np.nan)
    drawn = np.isfinite(values).any(axis=0)
    if not drawn.any():
        return
    x, values = x[drawn], values[:, drawn]
    low, middle, high = np.nanpercentile(values, [25, 50, 75], axis=0)
    ax.plot(x, middle, color=colour, ls=line, lw=lw, label=label)
    if len(values) > 1 and lw > 1:
        low, high = np.maximum(low, TINY), np.maximum(high, TINY)
        ax.fill_between(x, low, high, color=colour, alpha=0.2, lw=0)


def over(alive: xr.Dataset) -> str:
    """Return the legend of a line over these networks."""
    return "median, quartiles" if alive.sizes["seed"] > 1 else "the one network"


def log_scale(ax: Axes) -> None:
    """Make the y axis logarithmic, from a little below the smallest positive value drawn."""
    lines = [np.asarray(line.get_ydata(), float) for line in ax.get_lines()]
    drawn = np.concatenate([np.empty(0), *lines])
    if (drawn > 0).any():
        ax.set_yscale("log", nonpositive="mask")
        ax.set_ylim(bottom=drawn[drawn > 0].min() / 3)


def finish(ax: Axes, xlabel: str, ylabel: str, title: str) -> Axes:
    """Write the labels, and a legend if anything has a label; return the axes."""
    ax.set(xlabel=xlabel, ylabel=ylabel, title=title)
    if ax.get_legend_handles_labels()[0]:
        ax.legend()
    return ax
