"""A problem: a model, a task, hyperparameters, flags and a topology that fit together."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from deep_nb import topology as topologies
from deep_nb.dynamics import Field, Phase, free_field, nudged_field
from deep_nb.models import Flags, Hyperparameters, Model, get_hyperparameters, get_model
from deep_nb.tasks import Task, get_task, one_hot, predicted_labels
from deep_nb.topology import Layout


@dataclass(frozen=True, eq=False)
class Problem:
    """What is trained; made by `of`, which checks that the parts fit together.

    Attributes
    ----------
    layout
        Order and names of the neurons.
    mask
        Which synapses exist, from the first axis to the second.
    custom_topology
        Whether the mask was given, not built.
    X
        Clamped states of the samples, the bias neuron's included.
    Y
        Targets of the output neurons.
    """

    model: Model
    task: Task
    hyper: Hyperparameters
    flags: Flags
    layout: Layout
    mask: Bool[np.ndarray, "N N"]
    custom_topology: bool
    X: Float[np.ndarray, "M N_X"]
    Y: Float[np.ndarray, "M N_Y"]

    @classmethod
    def of(
        cls,
        model: str | Model,
        task: str | Task,
        hyper: Mapping[str, Any] | Hyperparameters | None = None,
        flags: Flags | None = None,
        topology: object = None,
    ) -> "Problem":
        """Check that the parts fit together, and build layout, mask, inputs and targets."""
        model, task, flags = get_model(model), get_task(task), flags or Flags()
        hyper = get_hyperparameters(hyper, model)
        Y = one_hot(task.Y) if model.one_hot else task.Y
        layout = Layout(task.X.shape[1], model.bias_neuron, hyper.N_H, Y.shape[1])
        if topology is None:
            mask = (topologies.layered if flags.layered else topologies.complete)(layout)
        elif flags.layered:
            raise ValueError("give layered=True or a topology of your own, not both")
        else:
            mask = topologies.custom(topology, layout)
        X = layout.clamp(task.X)
        return cls(model, task, hyper, flags, layout, mask, topology is not None, X, Y)

    @cached_property
    def labels(self) -> Int[np.ndarray, "M n_labels"]:
        """True labels."""
        return predicted_labels(self.Y, self.model.one_hot)

    def fields(
        self, W: Float[np.ndarray, "K N N"], b: Float[np.ndarray, "K N"]
    ) -> tuple[Field, Field]:
        """Return the vector fields of the free and of the nudged phase."""
        free = free_field(W, b, self.X, self.model)
        return free, nudged_field(free, self.hyper.beta, self.Y)

    def phases(self, trajectory: bool = False) -> tuple[Phase, Phase]:
        """Return how the free and the nudged phase are integrated."""
        hyper = self.hyper
        stop = hyper.stop if self.flags.stop_criterion else None
        free = Phase(hyper.dt, hyper.T1, self.model.activation, stop, trajectory=trajectory)
        return free, dataclasses.replace(free, T=hyper.T2)
