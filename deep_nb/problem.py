"""What is trained: a model, a task, hyperparameters, flags and a topology that fit together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from deep_nb import topology as topologies
from deep_nb.checks import Frozen
from deep_nb.dynamics import Field, free_field, nudged_field
from deep_nb.kinds import NOTHING, a, array, takes
from deep_nb.models import Hyperparameters, Model, get_hyperparameters, get_model
from deep_nb.tasks import Task, get_task, one_hot, predicted_labels
from deep_nb.topology import Layout


class Flags(Frozen):
    """The published binary parameters, all off by default.

    Raises
    ------
    ValueError
        On an unknown name, or what is no truth value.
    """

    regularized: bool = False
    sparse: bool = False
    stop_criterion: bool = False
    layered: bool = False
    sign: bool = False


@dataclass(frozen=True, eq=False)
class Problem:
    """One resolved setting; made by `of`.

    Attributes
    ----------
    model : Model
    task : Task
    hyper : Hyperparameters
    flags : Flags
    layout : Layout
        Order and names of the neurons.
    mask : ndarray of bool, shape (N, N)
        Which synapses exist.
    custom : bool
        Whether the mask was given, not built.
    """

    model: Model
    task: Task
    hyper: Hyperparameters
    flags: Flags
    layout: Layout
    mask: np.ndarray
    custom: bool

    @classmethod
    @takes(flags=a(Flags) | NOTHING)
    def of(
        cls,
        model: str | Model,
        task: str | Task,
        hyper: Mapping[str, Any] | Hyperparameters | None = None,
        flags: Flags | None = None,
        topology: object = None,
    ) -> Problem:
        """Check that the parts fit together and work out layout and mask.

        Raises
        ------
        ValueError
            If a part is unknown or out of range, or two parts contradict each other.
        """
        model, task, flags = get_model(model), get_task(task), flags or Flags()
        hyper = get_hyperparameters(hyper, model)
        N_Y = _targets(model, task).shape[1]
        layout = Layout(task.X.shape[1], model.bias_neuron, hyper.N_H, N_Y)
        if topology is None:
            mask = (topologies.layered if flags.layered else topologies.complete)(layout)
        elif flags.layered:
            raise ValueError("give layered=True or a topology of your own, not both")
        else:
            mask = topologies.custom(topology, layout)
        return cls(model, task, hyper, flags, layout, mask, custom=topology is not None)

    @cached_property
    def X(self) -> np.ndarray:
        """Clamped states, shape (M, N_X), the bias neuron's included."""
        return self.layout.clamp(self.task.X)

    @cached_property
    def Y(self) -> np.ndarray:
        """Targets of the output neurons, shape (M, N_Y)."""
        return _targets(self.model, self.task)

    @cached_property
    def labels(self) -> np.ndarray:
        """True labels, shape (M, 1) if one-hot, else (M, N_Y)."""
        return predicted_labels(self.Y, self.model.one_hot)

    @takes(W=array("K N N"), B=array("K N"))
    def fields(self, W: np.ndarray, B: np.ndarray) -> tuple[Field, Field]:
        """Return the vector fields of the free and of the nudged phase.

        Parameters
        ----------
        W : ndarray, shape (K, N, N)
        B : ndarray, shape (K, N)

        Raises
        ------
        ValueError
            If they are something else, or do not fit.
        """
        free = free_field(W, B, self.X, self.model)
        return free, nudged_field(free, self.hyper.beta, self.Y)


def _targets(model: Model, task: Task) -> np.ndarray:
    return one_hot(task.Y) if model.one_hot else task.Y
