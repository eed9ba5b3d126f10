import numpy as np
import pytest

import deep_nb
from deep_nb.dynamics import free_field, vector_field
from deep_nb.results import experiment_of
from deep_nb.stability import gershgorin, jacobian

from .conftest import SHORT


def test_jacobian_is_the_derivative_of_the_field(model_run):
    experiment = experiment_of(model_run)
    W, B = model_run["W"].values, model_run["B"].values
    field = free_field(W, B, experiment.X[:1], experiment.model)
    J, n = jacobian(model_run), experiment.layout.n_free
    S = np.full((2, 1, n), 0.5)
    for i in range(n):
        ahead = vector_field(field, S + np.eye(n)[i]) - vector_field(field, S)
        np.testing.assert_allclose(J[:, :, i], ahead[:, 0], atol=1e-13)


def test_gershgorin_by_hand():
    J = np.array([
        [[-2.0, 1.0], [0.5, -1.5]],  # both tests pass
        [[-1.0, 2.0], [0.0, -3.0]],  # row 0 fails (radius 2), columns pass: 0 < 1, 2 < 3
        [[-1.0, 1.0], [0.5, -1.5]],  # row 0 is equal, not smaller
        [[-1.0, 0.0], [0.0, 1.0]],  # a positive diagonal
    ])  # fmt: skip
    test = gershgorin(J)
    assert test.negative_diagonal.tolist() == [True, True, True, False]
    assert test.rows.tolist() == [True, False, False, False]
    assert test.columns.tolist() == [True, True, True, False]
    assert test.failing_rows.tolist() == [0, 1, 1, 0]
    assert test.failing_columns.tolist() == [0, 0, 0, 0]


def test_without_leak_no_column_test_can_pass(rng):
    """λ = 0, γ = 1: |J_jj| = |Σ_k W_jk| ≤ Σ_k |W_jk|, with equality for weights of one sign."""
    n = 6
    for sign in (1.0, rng.choice([-1.0, 1.0], (200, n, n))):
        J = (sign * rng.exponential(size=(200, n, n))) * ~np.eye(n, dtype=bool)
        J[:, np.arange(n), np.arange(n)] = -J.sum(axis=1)
        test = gershgorin(J)
        assert not test.columns.any()
        assert not test.rows.any()


@pytest.mark.parametrize("leak", [0.0, 5.0])
def test_a_large_leak_passes(leak):
    model = deep_nb.DEEP.replace(name="leaky", leak=leak)
    test = gershgorin(jacobian(deep_nb.train(model, "xor", seeds=range(3), hyper=SHORT)))
    assert test.rows.all() == test.columns.all() == (leak > 0)


@pytest.mark.parametrize(
    "J",
    [None, "J", [[1.0, 2.0]], np.zeros((0, 0)), [[np.nan]], [1.0], [["a"]], np.zeros((2, 2, 3))],
)
def test_bad_matrices_are_refused(J):
    with pytest.raises(ValueError, match="J must be"):
        gershgorin(J)
