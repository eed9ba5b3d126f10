"""An animation of one network that settles and learns."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from PIL import Image

from deep_nb._files import replacing
from deep_nb._validation import as_path, file_name, text
from deep_nb.analysis.criterion import epochs_to_criterion
from deep_nb.analysis.stability import weights_after
from deep_nb.inference import decision_map, trajectory
from deep_nb.plotting.networks import positions
from deep_nb.plotting.style import (
    BLUE,
    LINE_WIDTH,
    PHASES,
    SMALL,
    TWO_COLUMNS,
    VERMILION,
    describe,
    drawing,
    one_network,
    write_title,
)
from deep_nb.problem import Problem
from deep_nb.run import problem_of

#: Numbers of epochs and of steps of each that are shown, at most; of intervals of the map.
EPOCHS, STEPS, INTERVALS = 12, 8, 30
#: How long a step, the end of an epoch and the end are shown, in ms: nothing flashes.
STEP, REST, END = 150, 700, 4000
#: Texts beside neurons and samples.
SMALLEST: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": 5.5}
#: The shades of states.
SHADES: dict[str, Any] = {"cmap": "cividis", "vmin": 0, "vmax": 1}
#: Pixels per inch.
DPI = 120


def animate_learning(
    run: xr.Dataset,
    folder: str | os.PathLike[str],
    name: str,
    caption: str,
    seed: int | None = None,
) -> Path:
    """Write an animated GIF of one network that settles on each sample, and learns.

    Up to 12 epochs follow each other, from the first until the network has learned, or else to the
    last. In each, the network settles on every sample: neurons are as bright as their state, and
    synapses with W < 0 are dashed. Beside it are the output over the inputs, and the error so far.
    The same run always gives the same bytes.

    Parameters
    ----------
    run : xarray.Dataset
        As returned by `deep_nb.train` with ``record=("weights",)``, of a task with two inputs and
        one label.
    folder : path-like
        Created if it does not exist.
    name : str
        File name without suffix.
    caption : str
        What the animation shows. The file carries it as its comment.
    seed : int, optional
        By default the first.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    ValueError
        If `run` is not such a run, the network of that seed is missing or diverged, or another
        argument has the wrong type.
    OSError
        If the file cannot be written.

    See Also
    --------
    deep_nb.trajectory, deep_nb.decision_map : The data.
    plot_network, plot_decision_map : Parts of it after training.

    Examples
    --------
    >>> import tempfile
    >>> import deep_nb
    >>> hyper = {"n_epochs": 2, "T1": 200, "T2": 200}
    >>> run = deep_nb.train("DEEP", "xor", seeds=5, hyper=hyper, record=("weights",))
    >>> deep_nb.plotting.animate_learning(run, tempfile.mkdtemp(), "xor", "XOR").name
    'xor.gif'
    """
    network, _ = one_network(run, seed)
    problem = problem_of(network)
    if problem.task.X.shape[1] != 2 or problem.labels.shape[1] != 1:
        raise ValueError("the task of the run must have two inputs and one label")
    weights_after(network, 0)
    comment = text(caption, "caption").encode("utf-8", "backslashreplace")
    target = as_path(folder, "folder") / f"{file_name(name, 'name')}.gif"
    frames, durations = zip(*_frames(network, problem), strict=True)
    palette = _palette(frames)
    images = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    target.parent.mkdir(parents=True, exist_ok=True)
    with replacing(target) as partial:
        images[0].save(
            partial,
            format="GIF",
            save_all=True,
            append_images=images[1:],
            duration=list(durations),
            loop=0,
            comment=comment,
        )
    return target


def _palette(frames: tuple[Image.Image, ...]) -> Image.Image:
    """Return an image whose colours serve all frames."""
    width, height = frames[0].size
    whole = Image.new("RGB", (width, height * len(frames)))
    for k, frame in enumerate(frames):
        whole.paste(frame, (0, k * height))
    return whole.quantize(method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)


def _shown_epochs(network: xr.Dataset) -> list[int]:
    """Return the numbers of epochs trained that are shown."""
    last = network.sizes["epoch"]
    reached = epochs_to_criterion(network)[0]
    if np.isfinite(reached):
        last = min(last, int(reached) + 1)
    return np.unique(np.linspace(0, last, EPOCHS).astype(int)).tolist()


def _frames(network: xr.Dataset, problem: Problem) -> Iterator[tuple[Image.Image, int]]:
    """Yield each picture, and how long it is shown."""
    stage = _Stage(network, problem)
    epochs = _shown_epochs(network)
    for epoch in epochs:
        W, b = weights_after(network, epoch)
        then = network.assign(W=network["W"].copy(data=W), b=network["b"].copy(data=b))
        path = trajectory(then)
        states = path["S"].isel(seed=0).sel(step=path["phase"] == "free").values
        states = states[np.isfinite(states).all(axis=(1, 2))]
        stage.show_weights(epoch, W[0], decision_map(then, INTERVALS)["score"].values[0])
        steps = np.unique((np.linspace(0, 1, STEPS) ** 2 * (len(states) - 1)).astype(int))
        for step in steps:
            stage.show_states(int(step), states[step])
            pause = STEP if step < steps[-1] else REST if epoch < epochs[-1] else END
            yield stage.picture(), pause


class _Stage:
    """The figure, whose parts change from picture to picture."""

    def __init__(self, network: xr.Dataset, problem: Problem) -> None:
        self.figure = Figure(figsize=(TWO_COLUMNS, 3.6), dpi=DPI, layout="constrained")
        self.canvas = FigureCanvasAgg(self.figure)
        self.place = positions(problem.layout.layer, problem.layout.labels)
        self.mask, self.labels = problem.mask, problem.layout.labels
        self.title = describe(network)
        left, right = self.figure.subfigures(1, 2, squeeze=False, width_ratios=(1.75, 1))[0]
        samples = problem.task.X
        rows = int(np.ceil(np.sqrt(len(samples))))
        axes = left.subplots(rows, rows, squeeze=False).ravel()
        self.neurons: list[PathCollection] = []
        self.synapses: list[LineCollection] = []
        for ax, x, label in zip(axes, samples, problem.labels[:, 0], strict=False):
            self._draw_network(ax)
            inputs = ", ".join(f"{value:g}" for value in x)
            ax.set_title(f"x = ({inputs}), target {label}", fontsize=SMALL)
        for ax in axes:
            ax.set_axis_off()
        self.map, self.error = right.subplots(2, 1)
        self._draw_axes(network, samples, problem.labels[:, 0])
        write_title(self.figure, self.title)
        with drawing:
            self.figure.draw_without_rendering()
        self.figure.set_layout_engine("none")  # parts keep their places

    def _draw_network(self, ax: Axes) -> None:
        points = np.array([self.place[label] for label in self.labels])
        lines = [_bent(points[i], points[j]) for i, j in np.argwhere(self.mask)]
        self.synapses.append(LineCollection(lines, zorder=1))
        ax.add_collection(self.synapses[-1])
        look: dict[str, Any] = {"s": 70, "c": points[:, 0], "edgecolors": "black", "zorder": 2}
        self.neurons.append(ax.scatter(points[:, 0], points[:, 1], **look, **SHADES))
        for label, (x, y) in zip(self.labels, points, strict=True):
            if not label.startswith("h"):
                ax.annotate(label, (x, y), (0, -9), textcoords="offset points", **SMALLEST)
        ax.margins(0.08, 0.16)

    def _draw_axes(self, network: xr.Dataset, X: Float[np.ndarray, "M 2"], labels: Any) -> None:
        n = INTERVALS + 1
        low, high = -0.5 / INTERVALS, 1 + 0.5 / INTERVALS
        extent = (low, high, low, high)
        self.image = self.map.imshow(np.zeros((n, n)), origin="lower", extent=extent, **SHADES)
        for x, label in zip(X, labels, strict=True):
            box = {"boxstyle": "circle", "fc": "white", "ec": "black"}
            self.map.annotate(str(label), x, bbox=box, **SMALLEST)
        self.map.set(xticks=(0, 1), yticks=(0, 1), xlabel="$x_0$", ylabel="$x_1$")
        self.map.set_title("output over the inputs", fontsize=SMALL)
        bar = self.map.figure.colorbar(self.image, ax=self.map, ticks=(0, 1))
        bar.set_label("state", fontsize=SMALL)
        bar.ax.tick_params(labelsize=SMALL)
        last = _shown_epochs(network)[-1]
        self.mse = network["mse_free"].values[0, : last + 1]
        colour, line = PHASES["free"]
        (self.curve,) = self.error.plot([], [], color=colour, ls=line, lw=LINE_WIDTH)
        self.error.set(xlim=(0, last), ylim=(-0.01, 1.1 * self.mse.max() + 0.01))
        self.error.set(xlabel="epoch", ylabel="MSE")
        self.error.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        self.error.spines[["top", "right"]].set_visible(False)
        for ax in (self.map, self.error):
            ax.tick_params(labelsize=SMALL)
            for part in (ax.xaxis.label, ax.yaxis.label):
                part.set_fontsize(SMALL)

    def show_weights(
        self, epoch: int, W: Float[np.ndarray, "N N"], score: Float[np.ndarray, "n n"]
    ) -> None:
        """Show the weights, decision map and error so far after `epoch` epochs."""
        self.epoch = epoch
        weights = W[self.mask]
        strength = np.abs(weights) / (np.abs(weights).max() or 1.0)
        for lines in self.synapses:
            lines.set(
                colors=[VERMILION if w > 0 else BLUE for w in weights],
                linestyles=["-" if w > 0 else (0, (3, 2)) for w in weights],
                alpha=0.15 + 0.85 * strength,
                linewidths=0.3 + 1.4 * strength,
            )
        self.image.set_data(score.T)
        so_far = self.mse[: epoch + 1]
        self.curve.set_data(np.arange(len(so_far)), so_far)

    def show_states(self, step: int, states: Float[np.ndarray, "M N"]) -> None:
        """Show the state of every neuron at a step, for each sample."""
        for neurons, state in zip(self.neurons, states, strict=True):
            neurons.set_array(state)
        write_title(self.figure, f"{self.title}: after {self.epoch} epochs, step {step}")

    def picture(self) -> Image.Image:
        """Return the figure as it is."""
        canvas: Any = self.canvas  # has no types
        with drawing:
            canvas.draw()
        return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")


def _bent(start: Float[np.ndarray, "2"], end: Float[np.ndarray, "2"]) -> Float[np.ndarray, "k 2"]:
    """Return a curve between two points, bent so that the one back is another."""
    t = np.linspace(0, 1, 12)[:, None]
    across = np.array([end[1] - start[1], start[0] - end[0]])
    return (1 - t) * start + t * end + 0.24 * t * (1 - t) * across
