import numpy as np
import pytest

import deep_nb
from deep_nb.pruning import prune, pruning_probabilities

from .conftest import SHORT


def test_probabilities_are_boltzmann_in_each_column(rng):
    W, tol_W, temp = rng.normal(0, 0.02, (6, 6)), 0.02, 0.01
    p = pruning_probabilities(W, tol_W, temp)
    for i in range(6):
        for j in range(6):
            weight = np.exp(-abs(W[i, j]) / temp) / sum(np.exp(-abs(W[:, j]) / temp))
            expected = weight if abs(W[i, j]) <= tol_W else 0.0
            assert abs(p[i, j] - expected) < 1e-15


def test_tolerance_is_inclusive_and_zero_rows_count():
    W = np.array([[0.5, 0.0], [0.0, 0.0]])
    assert pruning_probabilities(W, 0.5, 1e30)[:, 0].tolist() == [0.5, 0.5]
    assert pruning_probabilities(W, 0.4999, 1e30)[:, 0].tolist() == [0.0, 0.5]


@pytest.mark.slow
def test_removed_share_matches_the_formula(rng):
    W = np.tile(np.linspace(-0.1, 0.1, 9)[:, None], (1, 9))
    p = pruning_probabilities(W, 0.06, 0.05)
    n = 20_000
    removed = np.mean([prune(W + 1e-9, rng.random(W.shape), 0.06, 0.05) == 0 for _ in range(n)], 0)
    # 81 binomial shares: 5 standard errors keep a false alarm below one in 10 000 runs.
    assert (np.abs(removed - p) < 5 * np.sqrt(p * (1 - p) / n) + 1e-12).all()
    assert (removed[np.abs(W) > 0.06] == 0).all()


def test_low_temperature_and_huge_weights_stay_finite():
    with np.errstate(all="raise"):
        p = pruning_probabilities(np.array([[0.0, 1e300], [1e-3, 0.0]]), 0.01, 1e-300)
    assert p.tolist() == [[1.0, 0.0], [0.0, 1.0]]


def test_weights_above_the_tolerance_are_never_pruned():
    W = np.array([[0.0, 0.02], [0.01, 0.0]])
    assert prune(W, np.zeros((2, 2)), 0.01, 1.0).tolist() == [[0.0, 0.02], [0.0, 0.0]]


def test_a_pruned_synapse_may_grow_back():
    hyper = {**SHORT, "n_epochs": 30, "tol_W": 0.05, "temp": 0.5}
    run = deep_nb.train("DEEP", "xor", seeds=0, hyper=hyper, sparse=True, record=("weights",))
    absent = (run["W_epochs"].values[0] == 0) & run["mask"].values
    assert (absent[:-1] & ~absent[1:]).any()
    assert run["n_connections"].min() < run["mask"].sum()


def test_each_synapse_has_its_own_draw(rng):
    W, draws = rng.uniform(-0.02, 0.02, (2, 5, 5)), rng.uniform(0, 0.4, (2, 5, 5))
    p = pruning_probabilities(W, 0.015, 0.1)
    pruned = prune(W, draws, 0.015, 0.1)
    for index in np.ndindex(W.shape):
        assert pruned[index] == (0.0 if draws[index] < p[index] else W[index])
    assert 0 < np.count_nonzero(pruned == 0) < W.size
