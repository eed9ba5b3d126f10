"""Who may connect to whom: the order of the neurons and the mask of synapses.

Neurons stand in the order inputs (clamped), hidden, outputs; ``W[i, j]`` is the synapse from i
to j. No topology has self-loops, nor any synapse onto an input.
"""

from __future__ import annotations

from dataclasses import dataclass

import networkx as nx
import numpy as np

from deep_nb.kinds import FLAG, a, array, did_you_mean, integer, sequence, short, takes

#: So many names are listed in a message.
SHOWN = 20


@dataclass(frozen=True)
class Layout:
    """The order and names of a network's neurons.

    Parameters
    ----------
    n_inputs : int
        Inputs of the task.
    bias : bool
        Whether a bias neuron, a last input that is always 1, stands behind them.
    N_H : tuple of int
        Sizes of the hidden layers.
    N_Y : int
        Outputs.

    Raises
    ------
    ValueError
        If a number of neurons is no integer from 1 to a million, or `bias` no truth value.
    """

    n_inputs: int
    bias: bool
    N_H: tuple[int, ...]
    N_Y: int

    def __post_init__(self) -> None:
        count = integer(1, 1_000_000)
        count.check(self.n_inputs, "n_inputs")
        FLAG.check(self.bias, "bias")
        sequence(count, 0).check(self.N_H, "N_H")
        count.check(self.N_Y, "N_Y")

    @property
    def N_X(self) -> int:
        """Clamped neurons: the inputs and, if there is one, the bias neuron."""
        return self.n_inputs + self.bias

    @property
    def N(self) -> int:
        """All neurons."""
        return self.N_X + self.n_free

    @property
    def n_free(self) -> int:
        """Neurons that move: hidden and outputs."""
        return sum(self.N_H) + self.N_Y

    @property
    def layer(self) -> np.ndarray:
        """Layer of each neuron, shape (N,): 0 for inputs, 1, 2, … for hidden, then outputs."""
        return np.repeat(np.arange(len(self.N_H) + 2), [self.N_X, *self.N_H, self.N_Y])

    @property
    def labels(self) -> list[str]:
        """Names of the neurons: x0, x1, …, bias, h0, …, y0, …."""
        return (
            [f"x{i}" for i in range(self.n_inputs)]
            + ["bias"] * self.bias
            + [f"h{i}" for i in range(sum(self.N_H))]
            + [f"y{i}" for i in range(self.N_Y)]
        )

    @takes(X=array("M n_inputs"))
    def clamp(self, X: np.ndarray) -> np.ndarray:
        """Return the clamped states, shape (M, N_X): the inputs with the bias neuron's 1 behind.

        Raises
        ------
        ValueError
            If X is no array of samples × n_inputs.
        """
        if X.shape[1] != self.n_inputs:
            raise ValueError(f"X must have {self.n_inputs} columns, got {short(X)}")
        return np.column_stack([X, np.ones(len(X))]) if self.bias else X


@takes(layout=a(Layout))
def complete(layout: Layout) -> np.ndarray:
    """Return the mask of every allowed synapse: all but self-loops and those onto an input.

    Returns
    -------
    ndarray of bool, shape (N, N)
        ``mask[i, j]``: whether there is a synapse from i to j.

    Raises
    ------
    ValueError
        If `layout` is none.
    """
    mask = ~np.eye(layout.N, dtype=bool)
    mask[:, : layout.N_X] = False
    return mask


@takes(layout=a(Layout))
def layered(layout: Layout) -> np.ndarray:
    """Return the mask of a layered network.

    Neighbouring layers are connected in both directions (forward and feedback are separate
    synapses), nothing within a layer; the bias neuron reaches every later layer.

    Returns
    -------
    ndarray of bool, shape (N, N)
        ``mask[i, j]``: whether there is a synapse from i to j.

    Raises
    ------
    ValueError
        If `layout` is none.
    """
    layer = layout.layer
    mask = np.abs(layer[:, None] - layer[None, :]) == 1
    if layout.bias:
        mask[layout.N_X - 1, :] = True
    return mask & complete(layout)


@takes(layout=a(Layout))
def custom(topology: object, layout: Layout) -> np.ndarray:
    """Return the mask that a boolean matrix or a directed graph describes.

    Parameters
    ----------
    topology : array_like of bool, shape (N, N), or networkx.DiGraph
        ``topology[i, j]``: whether there is a synapse from i to j. A graph's nodes are neuron
        labels (``x0``, ``bias``, ``h0``, ``y0``, …) or their indices; unnamed neurons stay alone.
    layout : Layout
        The network's neurons.

    Returns
    -------
    ndarray of bool, shape (N, N)

    Raises
    ------
    ValueError
        If the shape or type is off, a node is unknown, or a synapse is forbidden (a self-loop or
        one onto an input; the message names the first), or there is no synapse at all.
    """
    if isinstance(topology, nx.Graph):
        mask = _mask_of_graph(topology, layout)
    else:
        try:
            mask = np.asarray(topology)
        except (TypeError, ValueError, OverflowError) as error:
            raise ValueError(f"topology must be a boolean matrix: {error!s:.200}") from None
        if mask.dtype != bool or mask.shape != (layout.N, layout.N):
            raise ValueError(
                f"topology must be a boolean matrix of shape {(layout.N, layout.N)} or a "
                f"networkx.DiGraph, got {type(topology).__name__} of {mask.dtype} and shape "
                f"{mask.shape}"
            )
    forbidden = np.argwhere(mask & ~complete(layout))
    if forbidden.size:
        pre, post = (layout.labels[k] for k in forbidden[0])
        raise ValueError(
            f"topology has {len(forbidden)} forbidden synapses, the first from {pre} to {post}: "
            "self-loops and synapses onto inputs are not allowed"
        )
    if not mask.any():
        raise ValueError("topology must have at least one synapse, got none")
    return mask.copy()


def _mask_of_graph(graph: nx.Graph, layout: Layout) -> np.ndarray:
    if not graph.is_directed():
        raise ValueError("topology must be a directed graph (networkx.DiGraph), got an undirected")
    index: dict[object, int] = {label: i for i, label in enumerate(layout.labels)}
    index |= {i: i for i in range(layout.N)}
    unknown = [node for node in graph if node not in index]
    if unknown:
        near = did_you_mean(unknown[0], layout.labels)
        raise ValueError(
            f"topology has unknown neurons {short(unknown)}{near}; "
            f"allowed: {', '.join(layout.labels[:SHOWN])}, or indices 0 to {layout.N - 1}"
        )
    mask = np.zeros((layout.N, layout.N), dtype=bool)
    for pre, post in graph.edges():
        mask[index[pre], index[post]] = True
    return mask


@takes(W=array("... N N"), mask=array("N N", "b"))
def constrain_weights(W: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return the weights with structurally absent synapses set to 0.

    Parameters
    ----------
    W : ndarray, shape (..., N, N)
        Weights, ``W[..., i, j]`` from i to j.
    mask : ndarray of bool, shape (N, N)
        Which synapses exist.

    Returns
    -------
    ndarray, shape (..., N, N)

    Raises
    ------
    ValueError
        If an argument is something else, or their shapes do not fit.
    """
    return np.where(mask, W, 0.0)
