"""Tasks: inputs and targets.

To use a task of your own, make a `Task` and pass it to `deep_nb.train`.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int, Shaped

from deep_nb._validation import check_same_labels, finite_array, in_order, instance, one_of, text

#: Maximum number of classes of a one-hot task.
MAX_CLASSES = 10_000


@dataclass(frozen=True, eq=False)
class Task:
    """A supervised task, learned full-batch.

    Parameters
    ----------
    name : str
    X : array_like, shape (M, n_inputs)
        Inputs, one row per sample; any finite numbers. The bias neuron is not among them.
    Y : array_like, shape (M, N_Y)
        Targets; the hard sigmoid reaches those in [0, 1]. A one-hot model takes either one column
        of class numbers 0, 1, … or one column of 0 and 1 per class.

    Columns of a DataFrame or DataArray that are named as the neurons (``x0``, …; ``y0``, …) are
    taken by name, others in their order.

    Raises
    ------
    ValueError
        If `X` or `Y` is not a finite matrix, or their numbers or labels of rows differ.

    See Also
    --------
    deep_nb.TASKS : The published tasks.
    deep_nb.train : Train networks on a task.

    Examples
    --------
    >>> import deep_nb
    >>> nand = deep_nb.Task("nand", [[0, 0], [0, 1], [1, 0], [1, 1]], [[1], [1], [1], [0]])
    >>> nand.X.shape, nand.Y.shape
    ((4, 2), (4, 1))
    """

    name: str
    X: Any
    Y: Any

    def __post_init__(self) -> None:
        text(self.name, "a task's name")
        check_same_labels(self.X, self.Y, "X and Y", name="sample")
        X = in_order(self.X, "X", sample=None, input="x")
        Y = in_order(self.Y, "Y", sample=None, target="y")
        object.__setattr__(self, "X", finite_array(X, "X (M, n_inputs)", 2))
        object.__setattr__(self, "Y", finite_array(Y, "Y (M, N_Y)", 2))
        if len(self.X) != len(self.Y):
            raise ValueError(
                f"X and Y must have one row per sample: X has {len(self.X)}, Y has {len(self.Y)}"
            )


def one_hot(Y: Float[np.ndarray, "M columns"]) -> Float[np.ndarray, "M N_Y"]:
    r"""Encode class numbers as one output per class: :math:`Y_{mc} = 1` if m is of class c, else 0.

    Targets that are one-hot already are returned as they are.
    """
    if Y.shape[1] > 1:
        if np.isin(Y, (0, 1)).all() and (Y.sum(axis=1) == 1).all():
            return Y
        raise ValueError("one-hot targets with several columns need exactly one 1 per row, else 0")
    classes = Y[:, 0]
    if (classes != np.floor(classes)).any() or classes.min() < 0 or classes.max() >= MAX_CLASSES:
        raise ValueError(
            f"one-hot targets in one column must be class numbers 0, 1, … below {MAX_CLASSES}"
        )
    return np.eye(max(2, int(classes.max()) + 1))[classes.astype(int)]


_PAIRS = np.array([(0, 0), (0, 1), (1, 0), (1, 1)])
_BITS = np.array([(0,), (1,)])

#: The published tasks by name: logical operations on {0, 1}, rows in counting order.
TASKS = {
    task.name: task
    for task in (
        Task("xor", _PAIRS, _PAIRS.sum(axis=1, keepdims=True) == 1),
        Task("and", _PAIRS, _PAIRS.min(axis=1, keepdims=True)),
        Task("or", _PAIRS, _PAIRS.max(axis=1, keepdims=True)),
        Task("not", _BITS, 1 - _BITS),
        Task("id", _BITS, _BITS),
    )
}


def get_task(task: str | Task) -> Task:
    """Return the task with that name (case-insensitive), or the task itself."""
    given = instance(task, "task", str, Task)
    return given if isinstance(given, Task) else TASKS[one_of(given.lower(), TASKS, "task")]


def mean_squared_error(
    outputs: Float[np.ndarray, "*stack M N_Y"], Y: Float[np.ndarray, "M N_Y"]
) -> Float[np.ndarray, "*stack"]:
    r"""Return the published error :math:`\frac{1}{2M} \sum_m \lVert s_m - y_m \rVert^2`."""
    return ((outputs - Y) ** 2).sum(axis=(-2, -1)) / 2 / len(Y)


def predicted_labels(
    outputs: Float[np.ndarray, "*stack N_Y"], one_hot: bool = False
) -> Int[np.ndarray, "*stack n_labels"]:
    """Return the labels that output states encode, −1 where an output is NaN.

    One-hot: the largest output's number; otherwise 1 for each output of at least 0.5, else 0.
    """
    if one_hot:
        unknown = np.isnan(outputs).any(axis=-1, keepdims=True)
        return np.where(unknown, -1, outputs.argmax(axis=-1, keepdims=True))
    return np.where(np.isnan(outputs), -1, outputs >= 0.5)


def classification_error(
    predicted: Shaped[np.ndarray, "*stack M n_labels"], true: Shaped[np.ndarray, "M n_labels"]
) -> Float[np.ndarray, "*stack"]:
    """Return the share of samples with a label that differs, in [0, 1]."""
    return (predicted != true).any(axis=-1).mean(axis=-1)
