"""Figures of networks: weights, graph, decision map, Gershgorin discs."""

from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import networkx as nx
import numpy as np
import xarray as xr
from jaxtyping import Int
from matplotlib.axes import Axes

from deep_nb.analysis import matrices, stability
from deep_nb.inference import decision_map
from deep_nb.plotting.style import (
    BLUE,
    GREY,
    PALE,
    SMALL,
    VERMILION,
    ensemble_axes,
    finish,
    network_axes,
)
from deep_nb.run import problem_of
from deep_nb.topology import Layout

#: Of the circle of a neuron, in square points.
NODE_SIZE = 240


def plot_weights(run: xr.Dataset, ax: Axes | None = None, seed: int | None = None) -> Axes:
    """Draw one network's weights, the bias first; synapses that cannot exist are grey.

    A dash marks weights below 0.

    Raises
    ------
    ValueError
        If `run` is not a run, `ax` is not an Axes, or the network of that seed is missing or
        diverged.

    See Also
    --------
    plot_network : The same as a graph.

    Examples
    --------
    >>> import deep_nb
    >>> run = deep_nb.train("DEEP", "xor", seeds=range(3), hyper={"n_epochs": 5})
    >>> deep_nb.plotting.plot_weights(run, seed=2).get_title()
    'Weights, seed 2 (grey: no such synapse)'
    """
    ax, network, seed = network_axes(run, ax, seed)
    labels = sorted(run["pre"].values.tolist(), key=lambda label: label != "bias")
    W = network["W"].isel(seed=0).sel(pre=labels, post=labels).values
    mask = network["mask"].sel(pre=labels, post=labels).values
    limit = np.abs(W).max() or 1.0
    cmap = plt.get_cmap("RdBu_r").with_extremes(bad=PALE)
    image = ax.imshow(np.where(mask, W, np.nan), cmap=cmap, vmin=-limit, vmax=limit)
    rows, columns = np.nonzero(W < 0)
    shades = np.where(W[rows, columns] < -limit / 2, "white", "black")
    ax.scatter(columns, rows, s=(50 / len(labels)) ** 2, c=shades, marker="_", linewidths=0.8)
    ax.set_xticks(range(len(labels)), labels, rotation=90)
    ax.set_yticks(range(len(labels)), labels)
    ax.spines[["left", "bottom"]].set_visible(False)
    ax.figure.colorbar(image, ax=ax, label="$W_{ij}$ (1/τ), with a dash below 0")
    return finish(ax, "to $j$", "from $i$", f"Weights, seed {seed} (grey: no such synapse)")


def plot_network(run: xr.Dataset, ax: Axes | None = None, seed: int | None = None) -> Axes:
    """Draw one network as a directed graph; opacity shows strength, colour and dashes the sign.

    Raises
    ------
    ValueError
        If `run` is not a run, `ax` is not an Axes, or the network of that seed is missing or
        diverged.

    See Also
    --------
    plot_weights : The same as a matrix.
    plot_survivors : All networks of a run.

    Examples
    --------
    >>> import deep_nb
    >>> run = deep_nb.train("DEEP", "xor", seeds=range(3), hyper={"n_epochs": 5})
    >>> deep_nb.plotting.plot_network(run).get_title()
    'Seed 0: sparsity 0% (dashed: W < 0)'
    """
    ax, network, seed = network_axes(run, ax, seed)
    problem = problem_of(run)
    labels, W = problem.layout.labels, network["W"].values[0]
    edges = [(labels[i], labels[j], W[i, j]) for i, j in np.argwhere(W)]
    graph = nx.DiGraph()
    graph.add_nodes_from(labels)
    graph.add_weighted_edges_from(edges)
    limit = np.abs(W).max()
    _draw_graph(
        graph,
        problem.layout,
        ax,
        arrowsize=8,
        edge_color=[VERMILION if w > 0 else BLUE for *_, w in edges],
        style=["-" if w > 0 else "--" for *_, w in edges],
        alpha=[abs(w) / limit for *_, w in edges],
    )
    sparsity = 1 - len(edges) / problem.mask.sum()
    ax.title.set_text(f"Seed {seed}: sparsity {sparsity:.0%} (dashed: W < 0)")
    return ax


def plot_survivors(run: xr.Dataset, ax: Axes | None = None) -> Axes:
    """Draw how often each synapse remains after training, over networks, as a directed graph.

    Raises
    ------
    ValueError
        If `run` is not a run, or `ax` is not an Axes.

    See Also
    --------
    plot_network : One network.
    plot_sparsity : The number of synapses over epochs.

    Examples
    --------
    >>> import deep_nb
    >>> run = deep_nb.train("DEEP", "xor", seeds=range(3), hyper={"n_epochs": 5}, sparse=True)
    >>> deep_nb.plotting.plot_survivors(run).get_title()
    'Synapses left in 3 networks'
    """
    ax, alive = ensemble_axes(run, ax)
    if alive.sizes["seed"]:
        layout, mask = problem_of(run).layout, run["mask"].values
        edges = [(layout.labels[i], layout.labels[j]) for i, j in np.argwhere(mask)]
        _draw_graph(
            nx.DiGraph(edges),
            layout,
            ax,
            edgelist=edges,
            arrowsize=7,
            edge_color=(alive["W"].values != 0).mean(axis=0)[mask],
            edge_cmap=plt.get_cmap("viridis_r"),
            edge_vmin=0,
            edge_vmax=1,
            width=1.2,
        )
        colours = mpl.cm.ScalarMappable(norm=mpl.colors.Normalize(0, 1), cmap="viridis_r")
        ax.figure.colorbar(colours, ax=ax, label="share of networks that keep the synapse")
    ax.set_axis_off()
    ax.title.set_text(f"Synapses left in {alive.sizes['seed']} networks")
    return ax


def plot_decision_map(
    run: xr.Dataset, ax: Axes | None = None, seed: int | None = None, n: int = 100
) -> Axes:
    """Draw one network's output over its inputs, with the boundary at 0.5 and the samples.

    Raises
    ------
    ValueError
        If `run` is not a run, `ax` is not an Axes, or the network of that seed is missing or
        diverged; or as in `deep_nb.decision_map`.

    See Also
    --------
    deep_nb.decision_map : The data; explains `n`.

    Examples
    --------
    >>> import deep_nb
    >>> run = deep_nb.train("DEEP", "xor", seeds=range(3), hyper={"n_epochs": 5})
    >>> deep_nb.plotting.plot_decision_map(run, n=10).get_title()
    'Decision map, seed 0'
    """
    ax, network, seed = network_axes(run, ax, seed)
    problem = problem_of(run)
    score = decision_map(network, n)["score"].isel(seed=0)
    X, targets = problem.task.X, (problem.labels if problem.model.one_hot else problem.Y)[:, 0]
    axis = score["x0"].values
    name = "$(1 + s_{y1} - s_{y0})$ / 2" if problem.model.one_hot else "output $s_{y0}$"
    title = f"Decision map, seed {seed}"
    if score.ndim == 1:
        ax.plot(axis, score, color=BLUE, label=name)
        ax.axhline(0.5, color="black", lw=0.8, ls=":", label="boundary")
        ax.plot(X[:, 0], targets, "o", color=VERMILION, label="target", clip_on=False)
        ax.set_ylim(-0.03, 1.03)
        return finish(ax, "$x_0$", name, title)
    cmap = plt.get_cmap("cividis")
    image = ax.pcolormesh(axis, axis, score.T, cmap=cmap, vmin=0, vmax=1, rasterized=True)
    if score.min() < 0.5 < score.max():
        ax.contour(axis, axis, score.T, levels=[0.5], colors="white", linewidths=2)
    for x, target in zip(X, targets, strict=True):
        box = {"boxstyle": "circle", "fc": "white", "ec": "black"}
        ax.annotate(f"{target:g}", x, ha="center", va="center", bbox=box, fontsize=SMALL)
    ax.set_aspect("equal")
    ax.figure.colorbar(image, ax=ax, label=f"{name}, boundary in white")
    return finish(ax, "$x_0$", "$x_1$", title)


def plot_discs(
    run: xr.Dataset, ax: Axes | None = None, seed: int | None = None, epoch: int = -1
) -> Axes:
    """Draw one network's eigenvalues and its Gershgorin discs in the complex plane.

    Raises
    ------
    ValueError
        If `run` is not a run, `ax` is not an Axes, or the network of that seed is missing or
        diverged; or as in `deep_nb.analysis.jacobian`.

    See Also
    --------
    deep_nb.analysis.gershgorin : The theorem and the data.
    deep_nb.analysis.jacobian : Explains `epoch`.

    Examples
    --------
    >>> import deep_nb
    >>> run = deep_nb.train("DEEP", "xor", seeds=range(3), hyper={"n_epochs": 5})
    >>> deep_nb.plotting.plot_discs(run, seed=1).get_title()
    'Seed 1, after training'
    """
    ax, network, seed = network_axes(run, ax, seed)
    J = stability.jacobian(network, epoch)
    discs, eigenvalues = matrices.gershgorin(J), matrices.spectrum(J).eigenvalues[0]
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
    return finish(ax, "real part (1/τ)", "imaginary part (1/τ)", f"Seed {seed}, {when}")


def _draw_graph(graph: nx.DiGraph, layout: Layout, ax: Axes, **arrows: Any) -> None:
    """Draw neurons as circles, layers from left to right, and synapses as bent arrows."""
    position = positions(layout.layer, layout.labels)
    nx.draw_networkx_nodes(
        graph, position, ax=ax, node_color="white", edgecolors="black", node_size=NODE_SIZE
    )
    nx.draw_networkx_labels(graph, position, ax=ax, font_size=SMALL)
    nx.draw_networkx_edges(
        graph, position, ax=ax, node_size=NODE_SIZE, connectionstyle="arc3,rad=0.12", **arrows
    )
    ax.set_axis_off()


def positions(layer: Int[np.ndarray, " N"], labels: list[str]) -> dict[str, tuple[float, float]]:
    """Place layers from left to right; bow each one so that synapses within it are visible."""
    position = {}
    for column in np.unique(layer):
        members = np.flatnonzero(layer == column)
        height = np.linspace(1, -1, len(members) + 2)[1:-1]
        for y, neuron in zip(height, members, strict=True):
            position[labels[neuron]] = (column + 0.35 * (1 - y**2) * (-1) ** neuron, y)
    return position
