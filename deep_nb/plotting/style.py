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
from matplotlib.transforms import ScaledTranslation

from deep_nb._files import replacing
from deep_nb._provenance import provenance, stamp
from deep_nb._validation import as_path, file_name, instance, plain, short, text
from deep_nb.analysis.stability import step_is_stable
from deep_nb.run import problem_of
from deep_nb.tasks import TASKS

BLUE, VERMILION, GREEN, GREY, PALE = "#0072B2", "#D55E00", "#009E73", "#7F7F7F", "#DDDDDD"
PHASES = {"free": (BLUE, "-"), "nudged": (VERMILION, "--")}

#: Minimum of a band's ends, because a log axis cannot show 0; squared rounding errors are larger.
TINY = 1e-40

#: The two widths of figures in inches, those of one column and of a page with two.
ONE_COLUMN, TWO_COLUMNS = 3.4, 7.0

#: Sizes of texts, and of those of legends and in panels, in points, and width of lines.
FONT_SIZE, SMALL, LINE_WIDTH = 8, 6.4, 1.2

#: The style of every figure, for ``matplotlib.rc_context`` or ``plt.style.use``.
STYLE: dict[Any, Any] = {
    "figure.figsize": (ONE_COLUMN, 2.6),
    "figure.dpi": 150,
    "figure.titlesize": "medium",
    "figure.titleweight": "bold",
    "figure.constrained_layout.use": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": "medium",
    "legend.frameon": False,
    "legend.fontsize": SMALL,
    "lines.linewidth": LINE_WIDTH,
    "font.size": FONT_SIZE,
    "pdf.fonttype": 42,
    "svg.hashsalt": "deep_nb",
    "svg.fonttype": "path",
}

#: A character that XML cannot hold, such as most control characters.
_NOT_IN_XML = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

#: The settings that Matplotlib reads while it writes SVG.
_SVG: dict[Any, Any] = {name: STYLE[name] for name in ("svg.hashsalt", "svg.fonttype")}

#: For pyplot's list of figures, and for what Matplotlib shares between figures as it writes them.
drawing = threading.Lock()


@contextlib.contextmanager
def _svg_settings() -> Iterator[None]:
    """Write SVG in the style of every figure, one thread at a time.

    Settings of Matplotlib are those of the whole process. These two change no figure of others.
    """
    with drawing:
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
    with drawing:
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

    Texts of the SVG are drawn as paths: they look the same without any font.

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
            "dpi": 200,
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
    ax = _axes(ax, run)
    diverged = run["diverged"].values
    alive, notes = run.isel(seed=~diverged), []
    if diverged.any():
        notes.append(f"{diverged.sum()} of {diverged.size} networks diverged")
    if activation == "hard_sigmoid" and alive.sizes["seed"]:
        beyond = (~step_is_stable(alive).values).sum()
        if beyond:
            notes.append(f"{beyond} of {diverged.size}: Euler step\nbeyond its stable range")
    if notes:
        note = ax.text(1.01, 0.5, "\n".join(notes), color=VERMILION, transform=ax.transAxes)
        note.set(rotation=90, verticalalignment="center", fontsize=SMALL)
    return ax, alive


def network_axes(
    run: xr.Dataset, ax: Axes | None, seed: int | None
) -> tuple[Axes, xr.Dataset, int]:
    """Check a plot's arguments; return its axes, the run of one seed and that seed."""
    network, seed = one_network(run, seed)
    return _axes(ax, network), network, seed


def one_network(run: xr.Dataset, seed: int | None) -> tuple[xr.Dataset, int]:
    """Return the run of one seed, by default the first, and that seed."""
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
    return network, seed


def _axes(ax: Axes | None, run: xr.Dataset) -> Axes:
    """Return the axes, or for None those of a new figure, which says what the run is."""
    if ax is not None:
        return check_axes(ax)
    figure, axes = new_axes()
    write_title(figure, describe(run))
    return axes[0, 0]


def write_title(figure: Figure, title: str) -> None:
    """Write the title of a figure, in which names of models and tasks are no math."""
    figure.suptitle(title, fontsize=FONT_SIZE, fontweight="bold", parse_math=False)


def task_title(name: str) -> str:
    """Return how figures write a task: the published ones as in the papers, others as they are."""
    return name.upper() if name in TASKS else name


def describe(run: xr.Dataset) -> str:
    """Return the title of a figure about a run: model, task, networks and setting.

    The setting is what differs from the model's own.

    Raises
    ------
    ValueError
        If `run` is not a run.

    See Also
    --------
    deep_nb.settings : All settings.

    Examples
    --------
    >>> import deep_nb
    >>> run = deep_nb.train("DEEP", "xor", seeds=range(3), hyper={"n_epochs": 5}, sparse=True)
    >>> deep_nb.plotting.describe(run)
    'DEEP on XOR, 3 networks, sparse, n_epochs = 5'
    """
    problem, seeds = problem_of(run), run["seed"].values
    parts = [f"{len(seeds)} networks" if len(seeds) != 1 else f"seed {seeds[0]}"]
    parts += [name for name, on in problem.flags if on]
    if problem.custom_topology:
        parts.append("own topology")
    own = problem.model.hyper.model_dump()
    for name, value in problem.hyper:
        if value != own[name]:
            shown = value if isinstance(value, tuple) else (value,)
            parts.append(f"{name} = {', '.join(f'{one:g}' for one in shown)}")
    return f"{problem.model.name} on {task_title(problem.task.name)}, {', '.join(parts)}"


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
    lw: float = LINE_WIDTH,
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
    ax.set(xlabel=xlabel, ylabel=ylabel)
    ax.title.set_text(title)  # `set_title` would change its size
    legend_below(ax)
    return ax


def legend_below(ax: Axes) -> None:
    """Write the legend of axes below their label of x, where it hides no data, if there is any."""
    handles, labels = ax.get_legend_handles_labels()
    if not handles:
        return
    size = float(ax.xaxis.label.get_fontsize())
    down = ScaledTranslation(0, -(8 + 2.9 * size) / 72, ax.figure.dpi_scale_trans)
    ax.legend(
        handles,
        labels,
        loc="upper center",
        bbox_to_anchor=(0.5, 0),
        bbox_transform=ax.transAxes + down,
        borderaxespad=0,
        fontsize=SMALL / FONT_SIZE * size,
        ncols=_fitting(labels, ax.get_position().width * ax.figure.bbox.width / ax.figure.dpi),
    )


def share_legend(figure: Figure) -> None:
    """Replace the legends of a figure's axes by one below them all, with each label once.

    Raises
    ------
    ValueError
        If `figure` is not a figure.

    See Also
    --------
    describe : The title of a figure.

    Examples
    --------
    >>> import deep_nb
    >>> import matplotlib.pyplot as plt
    >>> run = deep_nb.train("DEEP", "xor", seeds=range(3), hyper={"n_epochs": 5})
    >>> figure, axes = plt.subplots(1, 2, layout="constrained")
    >>> for ax, plot in zip(axes, (deep_nb.plotting.plot_mse, deep_nb.plotting.plot_class_error)):
    ...     ax = plot(run, ax)
    >>> deep_nb.plotting.share_legend(figure)
    >>> [text.get_text() for text in figure.legends[0].get_texts()]
    ['free phase', 'nudged phase']
    """
    entries: dict[str, Any] = {}
    for ax in instance(figure, "figure", Figure).axes:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)
        if legend := ax.get_legend():
            legend.remove()
    if entries:
        labels = [*entries]
        figure.legend(
            [*entries.values()],
            labels,
            loc="outside lower center",
            ncols=_fitting(labels, figure.get_figwidth()),
        )


def _fitting(labels: list[str], width: float) -> int:
    """Return how many columns of a legend fit into a width in inches, by the longest label."""
    column = 0.6 * SMALL * max(map(len, labels)) + 4.8 * SMALL  # handle and space around it
    return int(np.clip(72 * width // column, 1, len(labels)))
