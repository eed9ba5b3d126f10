import numpy as np
import pytest

import deep_nb
from deep_nb.randomness import check_seeds, initial_states, initial_weights, pruning_draws
from deep_nb.topology import Layout

LAYOUT = Layout(n_inputs=1, bias=False, N_H=(1,), N_Y=1)


def test_the_published_order_of_draws():
    """RandomState(0).normal() begins 1.7640…, 0.4001…, 0.9787…: NumPy froze it (NEP 19)."""
    stream = np.random.RandomState(0)
    W = initial_weights(stream, LAYOUT, learned_bias=True)
    np.testing.assert_allclose(W[0], [0.0882026, 0.0200079, 0.0489369], atol=1e-7)
    expected = np.random.RandomState(0)
    expected.normal(size=9)
    expected.normal(size=3)  # the biases that published EP throws away
    states = initial_states(stream, 2, LAYOUT)
    assert states.shape == (2, 2)
    np.testing.assert_array_equal(states, 0.1 * expected.random_sample((2, 2)))
    np.testing.assert_array_equal(pruning_draws(stream, LAYOUT), expected.random_sample((3, 3)))


def test_initial_states_and_weights_have_their_scale():
    layout = Layout(n_inputs=1, bias=False, N_H=(99,), N_Y=1)
    stream = np.random.RandomState(1)
    W = initial_weights(stream, layout, learned_bias=False)
    states = initial_states(stream, 100, layout)
    assert 0 <= states.min() < 0.001
    assert 0.099 < states.max() < 0.1
    # 10 201 draws: the standard error of σ is 0.05 / sqrt(2 · 10 201) = 0.00035; 4 of them.
    assert abs(W.std() - 0.05) < 0.0014


@pytest.mark.parametrize(
    ("seeds", "checked"),
    [(3, [3]), ([3, 1], [3, 1]), (range(2), [0, 1]), (np.arange(2), [0, 1]), (np.int64(4), [4]),
     ((2**32 - 1, 0), [2**32 - 1, 0])],
)  # fmt: skip
def test_seeds_are_ints_or_sequences(seeds, checked):
    assert check_seeds(seeds) == checked
    assert all(type(seed) is int for seed in check_seeds(seeds))


@pytest.mark.parametrize("seeds", [[], -1, 2**32, 1.5, "7", None, [0, 0], True, [[0]], object()])
def test_bad_seeds_are_refused(seeds):
    with pytest.raises(ValueError, match="seed"):
        deep_nb.train("DEEP", "xor", seeds=seeds)
