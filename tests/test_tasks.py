import numpy as np
import pytest

import deep_nb
from deep_nb import tasks
from deep_nb.tasks import (
    TASKS,
    Task,
    classification_error,
    get_task,
    mean_squared_error,
    one_hot,
    predicted_labels,
)


@pytest.mark.parametrize(
    ("name", "targets"),
    [
        ("xor", [0, 1, 1, 0]),
        ("and", [0, 0, 0, 1]),
        ("or", [0, 1, 1, 1]),
        ("not", [1, 0]),
        ("id", [0, 1]),
    ],
)
def test_logical_tasks_in_counting_order(name, targets):
    task = TASKS[name]
    assert task.Y[:, 0].tolist() == targets
    weights = 2 ** np.arange(task.X.shape[1])[::-1]
    assert (task.X @ weights).tolist() == list(range(len(targets)))


@pytest.mark.parametrize(
    ("X", "Y", "message"),
    [
        ([[0, 1]], [[0], [1]], "one row per sample: X has 1, Y has 2"),
        ([0, 1], [[0], [1]], r"X \(M, n_inputs\) must have 2 dimensions, got shape \(2,\)"),
        ([[0], [1]], [0, 1], r"Y \(M, N_Y\) must have 2 dimensions, got shape \(2,\)"),
        ([[np.nan]], [[0]], "X .* must be finite"),
        ([[0]], [[np.inf]], "Y .* must be finite"),
        (np.zeros((0, 2)), np.zeros((0, 1)), "X .* must not be empty"),
        ([["a"]], [[0]], "X .* must be a plain array of real numbers, got ndarray of <U1"),
    ],
)
def test_bad_tasks_are_refused(X, Y, message):
    with pytest.raises(ValueError, match=message):
        Task("mine", X, Y)


def test_a_task_is_immutable():
    X = np.zeros((2, 1))
    task = Task("mine", X, np.zeros((2, 1)))
    X[0] = 7
    assert task.X[0, 0] == 0
    with pytest.raises(ValueError, match="read-only"):
        task.X[0] = 1


def test_unknown_task_suggests():
    with pytest.raises(ValueError, match=r"unknown task 'nxor'.*did you mean 'xor'"):
        deep_nb.train("DEEP", "nxor", seeds=0)


def test_mean_squared_error_is_half_the_mean():
    outputs = np.array([[[1.0, 0.0], [0.5, 0.5]]])
    Y = np.array([[0.0, 0.0], [0.5, 0.0]])
    assert mean_squared_error(outputs, Y) == [(1 + 0.25) / 2 / 2]


def test_predicted_labels_break_at_one_half():
    outputs = np.array([[0.5], [0.4999], [1.0], [0.0]])
    assert predicted_labels(outputs).tolist() == [[1], [0], [1], [0]]
    assert predicted_labels(np.array([[0.2, 0.1], [0.2, 0.3]]), one_hot=True).tolist() == [[0], [1]]
    assert predicted_labels(np.array([[0.2, 0.2], [0.0, 0.0]]), one_hot=True).tolist() == [[0], [0]]


def test_classification_error_counts_samples_with_any_wrong_label():
    true = np.array([[0, 0], [1, 1], [0, 1], [1, 0]])
    predicted = np.array([[0, 0], [1, 0], [1, 0], [1, 0]])
    assert classification_error(predicted[None], true).tolist() == [0.5]


def test_one_hot_encodes_class_numbers():
    assert one_hot(np.array([[2.0], [0.0]])).tolist() == [[0, 0, 1], [1, 0, 0]]
    assert one_hot(np.array([[0.0], [0.0]])).shape == (2, 2)
    already = np.array([[1.0, 0.0], [0.0, 1.0]])
    assert one_hot(already) is already


@pytest.mark.parametrize("Y", [[[0.5]], [[-1.0]], [[1.0, 1.0]], [[0.3, 0.7]]])
def test_one_hot_refuses_other_numbers(Y):
    with pytest.raises(ValueError, match="one-hot targets"):
        deep_nb.train("DEEP_oh", Task("mine", [[0.0]], Y), seeds=0)


def test_nan_has_no_label():
    assert predicted_labels(np.array([[np.nan], [1.0]])).tolist() == [[-1], [1]]
    assert predicted_labels(np.array([[np.nan, 1.0]]), one_hot=True).tolist() == [[-1]]


@pytest.mark.parametrize("X", [[["1"]], np.ma.array([[1.0]], mask=[[True]]), [[1j]],
                               np.array([["2020-01-01"]], dtype="M8[D]"), [[1e200]]])  # fmt: skip
def test_nothing_is_converted_silently(X):
    with pytest.raises(ValueError, match=r"X \(M, n_inputs\) must be"):
        Task("mine", X, [[0.0]])


@pytest.mark.parametrize("name", TASKS)
def test_a_task_is_found_in_any_case_by_its_name(name):
    task = get_task(name.upper())
    assert task is get_task(name.title()) is get_task(task) is TASKS[name]
    assert task.name == name


def test_the_largest_class_number(monkeypatch):
    monkeypatch.setattr(tasks, "MAX_CLASSES", 5)
    assert one_hot(np.array([[0.0], [4.0]])).tolist() == [[1, 0, 0, 0, 0], [0, 0, 0, 0, 1]]
    with pytest.raises(ValueError, match="class numbers 0, 1, … below 5"):
        one_hot(np.array([[0.0], [5.0]]))
