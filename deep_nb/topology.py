"""Topologies: the order of the neurons and the mask of synapses.

The order is inputs (clamped), hidden, outputs; ``W[i, j]`` is the synapse from i to j. No topology
has self-loops or synapses onto an input.
"""

import sys
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float, Int

from deep_nb._validation import did_you_mean, in_order, short

if TYPE_CHECKING:
    import networkx as nx

#: Maximum number of neuron names in an error message.
SHOWN = 20


@dataclass(frozen=True)
class Layout:
    """The order and names of a network's neurons.

    `bias` adds a bias neuron, a last input that is always 1; `N_H` holds the hidden layers' sizes.
    """

    n_inputs: int
    bias: bool
    N_H: tuple[int, ...]
    N_Y: int

    @property
    def N_X(self) -> int:
        """Number of clamped neurons: inputs and bias neuron."""
        return self.n_inputs + self.bias

    @property
    def N(self) -> int:
        """Number of neurons."""
        return self.N_X + self.n_free

    @property
    def n_free(self) -> int:
        """Number of neurons that move: hidden and outputs."""
        return sum(self.N_H) + self.N_Y

    @property
    def layer(self) -> Int[np.ndarray, " N"]:
        """Layer of each neuron: 0 for inputs, 1, 2, … for hidden, then outputs."""
        return np.repeat(np.arange(len(self.N_H) + 2), [self.N_X, *self.N_H, self.N_Y])

    @cached_property
    def labels(self) -> list[str]:
        """Names of the neurons: x0, x1, …, bias, h0, …, y0, …."""
        return (
            [f"x{i}" for i in range(self.n_inputs)]
            + ["bias"] * self.bias
            + [f"h{i}" for i in range(sum(self.N_H))]
            + [f"y{i}" for i in range(self.N_Y)]
        )

    def clamp(self, X: Float[np.ndarray, "M n_inputs"]) -> Float[np.ndarray, "M N_X"]:
        """Return the clamped states: the inputs, followed by the bias neuron's 1."""
        return np.column_stack([X, np.ones(len(X))]) if self.bias else X


def complete(layout: Layout) -> Bool[np.ndarray, "N N"]:
    """Return the mask of every synapse but self-loops and those onto an input."""
    mask = ~np.eye(layout.N, dtype=bool)
    mask[:, : layout.N_X] = False
    return mask


def layered(layout: Layout) -> Bool[np.ndarray, "N N"]:
    """Return the mask of a layered network.

    Synapses connect neighbouring layers in both directions (forward and feedback are separate
    synapses), none within a layer; the bias neuron reaches every later layer.
    """
    layer = layout.layer
    mask = np.abs(layer[:, None] - layer[None, :]) == 1
    if layout.bias:
        mask[layout.N_X - 1, :] = True
    return mask & complete(layout)


def custom(topology: Any, layout: Layout) -> Bool[np.ndarray, "N N"]:
    """Return the mask that a boolean matrix or a directed graph describes, checked.

    A labelled matrix may have its neurons in any order, and, with dimensions named ``pre`` and
    ``post``, its axes too.
    A graph's nodes are neuron labels (``x0``, ``bias``, ``h0``, ``y0``, …) or indices; neurons that
    it does not name have no synapses.
    """
    nx = sys.modules.get("networkx")  # where nobody has imported it, nothing is a graph
    if nx and isinstance(topology, nx.Graph):
        mask = _mask_of_graph(topology, layout)
    else:
        topology = in_order(topology, "topology", pre=layout.labels, post=layout.labels)
        try:
            mask = np.asarray(topology)
        except (TypeError, ValueError, OverflowError) as error:
            raise ValueError(f"topology must be a boolean matrix: {error!s:.200}") from None
        square = mask.shape == (layout.N, layout.N)
        if mask.dtype != bool or not square or isinstance(topology, np.ma.MaskedArray):
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


def _mask_of_graph(graph: "nx.Graph", layout: Layout) -> np.ndarray:
    if not graph.is_directed():
        raise ValueError("topology must be a networkx.DiGraph, got an undirected graph")
    index: dict[object, int] = {label: i for i, label in enumerate(layout.labels)}
    index |= {i: i for i in range(layout.N)}
    unknown = [node for node in graph if isinstance(node, bool) or node not in index]
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
