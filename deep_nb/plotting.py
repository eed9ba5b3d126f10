"""Figures: each ``plot_*`` takes a run and draws one panel.

Free phase blue and solid, nudged phase vermilion and dashed, in the colour-blind safe palette of
M. Okabe and K. Ito (2008). Lines are medians over networks, bands quartiles. Diverged networks
are left out, and their number is written on the panel.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import networkx as nx
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from deep_nb import stability
from deep_nb.inference import decision_map, trajectory
from deep_nb.results import experiment_of
from deep_nb.statistics import wilson

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


def save_figure(figure: Figure, folder: str | os.PathLike[str], name: str) -> list[Path]:
    """Write a figure as SVG and PNG, the same bytes for the same figure.

    Parameters
    ----------
    figure : Figure
    folder : path-like
        Made if need be.
    name : str
        File name without its ending.

    Returns
    -------
    list of Path
        The two files.
    """
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    files = [target / f"{name}.svg", target / f"{name}.png"]
    with mpl.rc_context(STYLE):
        figure.savefig(files[0], metadata={"Date": None})
        figure.savefig(files[1], dpi=150, metadata={"Software": None})
    return files


def plot_residual(run: xr.Dataset, ax: Axes | None = None) -> Axes:
    """Draw the residuals over the iterations of both phases, at the final weights.

    Bold: the projected residual Σ (Δs / dt)² / M, which is 0 at rest. Thin: the published
    Σ (ds/dt)² / M, which is not while neurons push against the clip. With early stop, a step's
    median is over the networks that still run.
    """
    ax = _axes(run, ax)
    alive = _alive(run, ax)
    if alive.sizes["seed"]:
        path = trajectory(alive)
        for phase, (colour, line) in PHASES.items():
            part = path.sel(step=(path["phase"] == phase) & (path["step"] > 0))
            steps = part["step"].values
            label = f"{phase} phase"
            _median(ax, steps, part["projected_residual"].values, colour, line, label)
            before = part["residual"].values
            _median(ax, steps, before, colour, line, f"{label}, before the clip", lw=0.7)
        _log_scale(ax)
    return _finish(
        ax, "Euler step", "squared speed per sample (1/τ²)", "Residual at the final weights"
    )


def plot_weight_change(run: xr.Dataset, ax: Axes | None = None) -> Axes:
    """Draw the rule's ‖ΔW‖₁ and, where biases are learned, ‖Δb‖₁, before dt_W, over epochs."""
    ax = _axes(run, ax)
    alive = _alive(run, ax)
    if alive.sizes["seed"]:
        epochs = alive["epoch"].values
        _median(ax, epochs, alive["dW_norm"].values, BLUE, "-", "‖ΔW‖₁")
        if experiment_of(run).model.learned_bias:
            _median(ax, epochs, alive["dB_norm"].values, VERMILION, "--", "‖Δb‖₁")
        _log_scale(ax)
    return _finish(ax, "epoch", "L1 norm, before dt_W", "Change of weights")


def plot_mse(run: xr.Dataset, ax: Axes | None = None) -> Axes:
    """Draw the MSE after each phase over epochs."""
    ax = _both_phases(run, ax, "mse")
    return _finish(ax, "epoch", "MSE", "Error of both phases")


def plot_class_error(run: xr.Dataset, ax: Axes | None = None) -> Axes:
    """Draw the share of misclassified samples after each phase over epochs."""
    ax = _both_phases(run, ax, "class_error")
    ax.set_ylim(-0.03, 1.03)
    return _finish(ax, "epoch", "share misclassified", "Classification error")


def plot_mse_networks(run: xr.Dataset, ax: Axes | None = None) -> Axes:
    """Draw the free phase's MSE over networks: mean, median, quartiles and extremes."""
    ax = _axes(run, ax)
    alive = _alive(run, ax)
    if alive.sizes["seed"]:
        epochs, mse = alive["epoch"].values, alive["mse_free"].values
        ax.fill_between(epochs, mse.min(0), mse.max(0), color=PALE, lw=0, label="min to max")
        _median(ax, epochs, mse, BLUE, "-", _over(alive))
        ax.plot(epochs, mse.mean(axis=0), color=VERMILION, ls="--", label="mean")
    title = f"Error over {alive.sizes['seed']} networks, free phase"
    return _finish(ax, "epoch", "MSE", title)


def plot_sparsity(run: xr.Dataset, ax: Axes | None = None) -> Axes:
    """Draw the share of possible synapses that are 0 over epochs."""
    ax = _axes(run, ax)
    alive = _alive(run, ax)
    if alive.sizes["seed"]:
        share = 1 - alive["n_connections"].values / alive["mask"].values.sum()
        _median(ax, alive["epoch"].values, share, BLUE, "-", _over(alive))
        ax.set_ylim(-0.03, 1.03)
    return _finish(ax, "epoch", "share of synapses at 0", "Sparsity")


def plot_weights(run: xr.Dataset, ax: Axes | None = None, seed: int | None = None) -> Axes:
    """Draw one network's weights, the bias first; grey where there can be no synapse."""
    ax = _axes(run, ax)
    network, seed = _one_network(run, seed)
    labels = sorted(run["pre"].values.tolist(), key=lambda label: label != "bias")
    W = network["W"].isel(seed=0).sel(pre=labels, post=labels).values
    mask = network["mask"].sel(pre=labels, post=labels).values
    limit = np.abs(W).max() or 1.0
    cmap = plt.get_cmap("RdBu_r").with_extremes(bad=PALE)
    image = ax.imshow(np.where(mask, W, np.nan), cmap=cmap, vmin=-limit, vmax=limit)
    ax.set_xticks(range(len(labels)), labels, rotation=90)
    ax.set_yticks(range(len(labels)), labels)
    ax.spines[["left", "bottom"]].set_visible(False)
    ax.figure.colorbar(image, ax=ax, label="weight")
    return _finish(ax, "to", "from", f"Weights, seed {seed} (grey: no such synapse)")


def plot_network(run: xr.Dataset, ax: Axes | None = None, seed: int | None = None) -> Axes:
    """Draw one network as a directed graph; strength is opacity, sign is colour."""
    ax = _axes(run, ax)
    network, seed = _one_network(run, seed)
    experiment = experiment_of(run)
    labels, W = experiment.layout.labels, network["W"].values[0]
    graph = nx.DiGraph()
    graph.add_nodes_from(labels)
    edges = [(labels[i], labels[j], W[i, j]) for i, j in np.argwhere(W)]
    graph.add_weighted_edges_from(edges)
    position = _positions(experiment.layout.layer, labels)
    limit = np.abs(W).max() or 1.0
    nx.draw_networkx_nodes(
        graph, position, ax=ax, node_color="white", edgecolors="black", node_size=330
    )
    nx.draw_networkx_labels(graph, position, ax=ax, font_size=7)
    nx.draw_networkx_edges(
        graph,
        position,
        ax=ax,
        node_size=330,
        arrowsize=8,
        connectionstyle="arc3,rad=0.12",
        edge_color=[VERMILION if w > 0 else BLUE for *_, w in edges],
        alpha=[abs(w) / limit for *_, w in edges],
    )
    ax.set_axis_off()
    sparsity = 1 - len(edges) / experiment.mask.sum()
    ax.set_title(f"Seed {seed}: sparsity {sparsity:.0%} (red W > 0, blue W < 0)")
    return ax


def plot_decision_map(
    run: xr.Dataset, ax: Axes | None = None, seed: int | None = None, n: int = 100
) -> Axes:
    """Draw one network's output over its inputs, with the boundary at 0.5 and the samples."""
    ax = _axes(run, ax)
    network, seed = _one_network(run, seed)
    experiment = experiment_of(run)
    score = decision_map(network, n)["score"].isel(seed=0)
    X, labels = experiment.task.X, experiment.labels[:, 0]
    axis = score["x0"].values
    name = "(1 + y1 − y0) / 2" if experiment.model.one_hot else "output"
    title = f"Decision map, seed {seed}"
    if score.ndim == 1:
        ax.plot(axis, score, color=BLUE, label=name)
        ax.axhline(0.5, color="black", lw=0.8, ls=":", label="boundary")
        ax.plot(X[:, 0], labels, "o", color=VERMILION, label="target", clip_on=False)
        ax.set_ylim(-0.03, 1.03)
        return _finish(ax, "x0", name, title)
    cmap = plt.get_cmap("cividis")
    image = ax.pcolormesh(axis, axis, score.T, cmap=cmap, vmin=0, vmax=1, rasterized=True)
    if score.min() < 0.5 < score.max():
        ax.contour(axis, axis, score.T, levels=[0.5], colors="white", linewidths=2)
    for x, label in zip(X, labels, strict=True):
        box = {"boxstyle": "circle", "fc": "white", "ec": "black"}
        ax.annotate(str(label), x, ha="center", va="center", bbox=box, fontsize=8)
    ax.set_aspect("equal")
    ax.figure.colorbar(image, ax=ax, label=f"{name}, boundary in white")
    return _finish(ax, "x0", "x1", title)


def plot_energy(run: xr.Dataset, ax: Axes | None = None) -> Axes:
    """Draw the Lyapunov energy along both phases, certified networks only.

    Summed over samples and divided by its value at each phase's first step. Dotted, the bound
    ρ^(2t) that the certificates prove: bold of the median network, thin of the loosest.
    """
    ax = _axes(run, ax)
    alive = _alive(run, ax)
    certified = alive
    if alive.sizes["seed"]:
        certified = alive.isel(seed=stability.report(alive)["certified"].values)
    if certified.sizes["seed"]:
        V = stability.energy(trajectory(certified), certified).sum("sample", skipna=False)
        D = stability.diagonal_certificate(stability.jacobian(certified))
        dt = experiment_of(run).hyper.dt
        for phase, (colour, line) in PHASES.items():
            values = V.sel(step=(V["phase"] == phase) & (V["step"] > 0))
            steps = values["step"].values
            curves = values.values / values.values[:, :1]
            rho = stability.contraction_rate(stability.jacobian(certified, phase=phase), dt, D)
            bounds = rho[:, None] ** (2 * (steps - steps[0]))
            _median(ax, steps, curves, colour, line, f"{phase} phase")
            ax.plot(
                steps,
                np.median(bounds, axis=0),
                color=colour,
                ls=":",
                label=f"{phase}: bound, median",
            )
            ax.plot(
                steps,
                bounds.max(axis=0),
                color=colour,
                ls=":",
                lw=0.7,
                label=f"{phase}: bound, largest",
            )
        _log_scale(ax)
        ax.set_ylim(1e-32, 10)
    count = f"{certified.sizes['seed']} of {run.sizes['seed']} networks certified"
    return _finish(ax, "Euler step", "V(t) / V at the phase's start", f"Energy: {count}")


def plot_discs(
    run: xr.Dataset, ax: Axes | None = None, seed: int | None = None, epoch: int = -1
) -> Axes:
    """Draw one network's eigenvalues and its Gershgorin discs in the complex plane."""
    ax = _axes(run, ax)
    network, seed = _one_network(run, seed)
    J = stability.jacobian(network, epoch)
    discs, eigenvalues = stability.gershgorin(J), stability.spectrum(J).eigenvalues[0]
    angle = np.linspace(0, 2 * np.pi, 200)
    kinds = (
        ("row discs", discs.row_radii, BLUE, "-"),
        ("column discs", discs.column_radii, VERMILION, "--"),
    )
    for label, radii, colour, line in kinds:
        for k, (centre, radius) in enumerate(zip(discs.centres[0], radii[0], strict=True)):
            x, y = centre + radius * np.cos(angle), radius * np.sin(angle)
            ax.plot(x, y, color=colour, ls=line, lw=0.8, label=label if k == 0 else None)
    ax.plot(eigenvalues.real, eigenvalues.imag, "x", color="black", label="eigenvalues")
    ax.axvline(0, color=GREY, lw=0.8)
    ax.set_aspect("equal", adjustable="datalim")
    when = "after training" if epoch == -1 else f"after {epoch} epochs"
    return _finish(ax, "real part (1/τ)", "imaginary part (1/τ)", f"Seed {seed}, {when}")


def plot_shares(
    x: Sequence[float],
    successes: Sequence[int],
    total: int,
    ax: Axes,
    colour: str,
    line: str,
    label: str,
) -> Axes:
    """Draw shares of `total` networks over x, with 95 % Wilson intervals as a band."""
    share, low, high = wilson(successes, total)
    ax.plot(x, share, color=colour, ls=line, marker="o", ms=3, label=label)
    ax.fill_between(x, low, high, color=colour, alpha=0.15, lw=0)
    ax.set_ylim(-0.03, 1.03)
    ax.legend()
    return ax


def _axes(run: xr.Dataset, ax: Axes | None) -> Axes:
    """Check the run, then return the axes or new ones."""
    experiment_of(run)
    if isinstance(ax, Axes):
        return ax
    if ax is not None:
        raise ValueError(f"ax must be a matplotlib Axes or None, got {type(ax).__name__}")
    with mpl.rc_context(STYLE):
        return plt.subplots()[1]


def _alive(run: xr.Dataset, ax: Axes) -> xr.Dataset:
    """Return the networks that did not diverge, and write on the panel how many did."""
    diverged = run["diverged"].values
    if diverged.any():
        note = f"{diverged.sum()} of {diverged.size} networks diverged"
        ax.text(0.5, 0.5, note, transform=ax.transAxes, ha="center", color=VERMILION)
    return run.isel(seed=~diverged)


def _one_network(run: xr.Dataset, seed: int | None) -> tuple[xr.Dataset, int]:
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


def _both_phases(run: xr.Dataset, ax: Axes | None, name: str) -> Axes:
    ax = _axes(run, ax)
    alive = _alive(run, ax)
    if alive.sizes["seed"]:
        for (phase, (colour, line)), suffix in zip(PHASES.items(), ("free", "weak"), strict=True):
            values = alive[f"{name}_{suffix}"].values
            _median(ax, alive["epoch"].values, values, colour, line, f"{phase} phase")
    return ax


def _median(
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


def _over(alive: xr.Dataset) -> str:
    return "median, quartiles" if alive.sizes["seed"] > 1 else "the one network"


def _log_scale(ax: Axes) -> None:
    drawn = np.concatenate([np.asarray(line.get_ydata(), float) for line in ax.get_lines()])
    if (drawn > 0).any():
        ax.set_yscale("log", nonpositive="mask")
        ax.set_ylim(bottom=drawn[drawn > 0].min() / 3)


def _finish(ax: Axes, xlabel: str, ylabel: str, title: str) -> Axes:
    ax.set(xlabel=xlabel, ylabel=ylabel, title=title)
    if ax.get_legend_handles_labels()[0]:
        ax.legend()
    return ax


def _positions(layer: np.ndarray, labels: list[str]) -> dict[str, tuple[float, float]]:
    """Place layers from left to right; bow each one, so that synapses within it can be seen."""
    position = {}
    for column in np.unique(layer):
        members = np.flatnonzero(layer == column)
        height = np.linspace(1, -1, len(members) + 2)[1:-1]
        for y, neuron in zip(height, members, strict=True):
            position[labels[neuron]] = (column + 0.35 * (1 - y**2) * (-1) ** neuron, y)
    return position
