"""The tasks: what the network is shown and what it should answer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from deep_nb.checks import finite_array, one_of
from deep_nb.kinds import FLAG, array, short, takes


@dataclass(frozen=True, eq=False)
class Task:
    """A supervised task, learned full-batch.

    Parameters
    ----------
    name : str
        What the task is called.
    X : array_like, shape (M, n_inputs)
        Inputs, one row a training sample; any finite number. The bias neuron is not among them.
    Y : array_like, shape (M, N_Y)
        Targets; those in [0, 1] can be reached by the hard sigmoid. For a one-hot model give
        either one column of class numbers 0, 1, … or one column a class holding 0 and 1.

    Raises
    ------
    ValueError
        If a shape or a value is off.
    """

    name: str
    X: np.ndarray
    Y: np.ndarray

    def __post_init__(self) -> None:
        if not isinstance(self.name, str):
            raise ValueError(f"a task's name must be a string, got {short(self.name)}")
        object.__setattr__(self, "X", finite_array(self.X, "X (M, n_inputs)", 2))
        object.__setattr__(self, "Y", finite_array(self.Y, "Y (M, N_Y)", 2))
        if len(self.X) != len(self.Y):
            raise ValueError(
                f"X and Y must have one row a sample: X has {len(self.X)} rows, Y has {len(self.Y)}"
            )


#: One-hot tasks have fewer classes than this.
MAX_CLASSES = 10_000


@takes(Y=array("M columns", "biuf"))
def one_hot(Y: np.ndarray) -> np.ndarray:
    r"""Encode class numbers as one output neuron a class.

    Parameters
    ----------
    Y : ndarray, shape (M, 1) or (M, n_classes)
        Class numbers 0, 1, …, or targets that are one-hot already, which are returned as they are.

    Returns
    -------
    ndarray, shape (M, n_classes)
        :math:`Y_{mc} = 1` where sample m is of class c, else 0; at least two classes.

    Raises
    ------
    ValueError
        If `Y` is neither.
    """
    finite_array(Y, "Y", 2)
    if Y.shape[1] > 1:
        if np.isin(Y, (0, 1)).all() and (Y.sum(axis=1) == 1).all():
            return Y
        raise ValueError("one-hot targets with several columns need exactly one 1 a row, else 0")
    classes = Y[:, 0]
    if (classes != np.floor(classes)).any() or classes.min() < 0 or classes.max() >= MAX_CLASSES:
        raise ValueError(
            f"one-hot targets in one column must be class numbers 0, 1, … below {MAX_CLASSES}"
        )
    return np.eye(max(2, int(classes.max()) + 1))[classes.astype(int)]


_PAIRS = np.array([(0, 0), (0, 1), (1, 0), (1, 1)])
_BITS = np.array([(0,), (1,)])

#: The published tasks: logical operations on {0, 1}, rows in counting order.
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
    """Return the task of that name (in either case), or the task itself.

    Raises
    ------
    ValueError
        If there is no such task.
    """
    if isinstance(task, Task):
        return task
    return TASKS[one_of(task.lower() if isinstance(task, str) else task, TASKS, "task")]


@takes(outputs=array("..."), Y=array("..."))
def mean_squared_error(outputs: np.ndarray, Y: np.ndarray) -> np.ndarray:
    r"""Return the published error :math:`\frac{1}{2M} \sum_m \lVert s_m - y_m \rVert^2`.

    Parameters
    ----------
    outputs : ndarray, shape (..., M, N_Y)
        States of the output neurons.
    Y : ndarray, shape (M, N_Y)
        Targets.

    Returns
    -------
    ndarray, shape (...)

    Raises
    ------
    ValueError
        If they are no arrays of numbers, or the shapes differ.
    """
    _check_shapes(outputs, Y, Y.shape)
    return ((outputs - Y) ** 2).sum(axis=(-2, -1)) / 2 / len(Y)


@takes(outputs=array("... N_Y"), one_hot=FLAG)
def predicted_labels(outputs: np.ndarray, one_hot: bool = False) -> np.ndarray:
    """Return the label that output states stand for.

    Parameters
    ----------
    outputs : ndarray, shape (..., N_Y)
        States of the output neurons, in [0, 1] for the hard sigmoid.
    one_hot : bool
        Whether each output is a class (the label is the largest) or a label of its own (1 at a
        state of at least 0.5).

    Returns
    -------
    ndarray of int, shape (..., 1) if `one_hot`, else (..., N_Y)
        -1 where an output is NaN.

    Raises
    ------
    ValueError
        If `outputs` is no array of numbers, or `one_hot` no truth value.
    """
    if one_hot:
        unknown = np.isnan(outputs).any(axis=-1, keepdims=True)
        return np.where(unknown, -1, outputs.argmax(axis=-1, keepdims=True))
    return np.where(np.isnan(outputs), -1, outputs >= 0.5)


@takes(predicted=array("...", "biuf"), true=array("...", "biuf"))
def classification_error(predicted: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Return the share of samples with a label that differs.

    Parameters
    ----------
    predicted, true : ndarray of int, shape (..., M, n_labels)
        Labels, as from `predicted_labels`.

    Returns
    -------
    ndarray, shape (...), in [0, 1]

    Raises
    ------
    ValueError
        If they are no arrays of numbers, or the shapes differ.
    """
    _check_shapes(predicted, true, true.shape[-2:])
    return (predicted != true).any(axis=-1).mean(axis=-1)


def _check_shapes(given: np.ndarray, wanted: np.ndarray, shape: tuple[int, ...]) -> None:
    if given.shape[-2:] != shape or len(shape) != 2 or 0 in shape:
        raise ValueError(
            f"expected samples × columns as in {wanted.shape}, got an array of shape {given.shape}"
        )
