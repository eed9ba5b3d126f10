"""The shapes in signatures are checked while the tests run."""

import numpy as np
import pytest
from jaxtyping import TypeCheckError

import deep_nb
from deep_nb.dynamics import Field, free_field, vector_field
from deep_nb.pruning import prune
from deep_nb.rules import State, updated_weights
from deep_nb.tasks import classification_error, mean_squared_error

from .shapes import has_shape

ONE, TWO = np.zeros((1, 3, 3)), np.zeros((2, 3, 3))
COLUMN = np.array([[0.0], [1.0]])


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: prune(TWO, np.zeros((3, 3)), 0.01, 1.0),
        lambda: mean_squared_error(COLUMN[:, 0], COLUMN),
        lambda: classification_error(COLUMN[:, 0], COLUMN),
        lambda: Field(ONE, np.zeros((1, 4, 2)), np.zeros((1, 3))),
        lambda: State(TWO, np.zeros((1, 3)), np.zeros((2, 4, 1))),
        lambda: updated_weights(ONE, TWO, 1.0, 0.0),
        lambda: free_field(ONE, np.zeros((1, 4)), np.zeros((4, 2)), deep_nb.DEEP),
        lambda: vector_field(Field(ONE, np.zeros((1, 4, 3)), np.zeros((1, 3))), ONE[0]),
        lambda: prune(ONE.astype(int), ONE, 0.01, 1.0),
    ],
)
def test_a_wrong_shape_is_an_error(wrong):
    with pytest.raises(TypeCheckError):
        wrong()


def test_shapes_are_found_inside_other_annotations():
    assert has_shape(prune.__annotations__["W"])
    assert has_shape(Field.__annotations__["W"] | None)
    assert not has_shape(np.ndarray)
    assert not has_shape(float | None)
