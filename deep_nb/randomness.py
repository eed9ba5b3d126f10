"""Each network's own random stream, drawn from in the published order.

A network with seed k owns ``numpy.random.RandomState(k)``, whose numbers NumPy promises never to
change (NEP 19). It is asked for the initial weights once, then in every epoch for the initial
states and, when pruning, for one number a synapse. No network's draws depend on another's.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from deep_nb.kinds import FLAG, a, integer, plain, short, takes
from deep_nb.topology import Layout

#: Standard deviation of the initial weights, and upper end of the initial states.
WEIGHT_SCALE = 0.05
STATE_SCALE = 0.1


#: More networks than fit into one run.
MAX_NETWORKS = 10_000_000


def check_seeds(seeds: int | Sequence[int] | np.ndarray) -> list[int]:
    """Return the seeds as a list.

    Raises
    ------
    ValueError
        If there is none or more than 10 million, one is no integer in [0, 2³² − 1], or one stands
        there twice.
    """
    given = plain(seeds)
    if isinstance(given, range | Sequence) and _length(given) > MAX_NETWORKS:
        raise ValueError(f"seeds must be at most {MAX_NETWORKS}, got {short(seeds)}")
    values = [plain(seed) for seed in given] if isinstance(given, Sequence) else [given]
    if not values:
        raise ValueError(
            f"seeds must be an int or a non-empty sequence of ints, got {short(seeds)}"
        )
    for seed in values:
        if not isinstance(seed, int) or isinstance(seed, bool) or not 0 <= seed < 2**32:
            raise ValueError(f"each seed must be an integer from 0 to 2**32 - 1, got {short(seed)}")
    if len(set(values)) < len(values):
        twice = next(seed for seed in values if values.count(seed) > 1)
        raise ValueError(f"seeds must differ from each other, got {twice} more than once")
    return values


def _length(values: Sequence[Any]) -> int:
    try:
        return len(values)
    except OverflowError:  # a range of more than any list can hold
        return sys.maxsize


#: More samples than any task has.
MAX_SAMPLES = 100_000_000


@takes(stream=a(np.random.RandomState), layout=a(Layout), learned_bias=FLAG)
def initial_weights(
    stream: np.random.RandomState, layout: Layout, learned_bias: bool
) -> np.ndarray:
    """Draw weights from N(0, 0.05²), structurally absent synapses included.

    The published EP code also draws a bias for every neuron and throws it away; with
    `learned_bias` so do we, to keep the stream in step.

    Returns
    -------
    ndarray, shape (N, N)

    Raises
    ------
    ValueError
        If an argument is something else.
    """
    W = stream.normal(0, WEIGHT_SCALE, (layout.N, layout.N))
    if learned_bias:
        stream.normal(0, WEIGHT_SCALE, layout.N)
    return W


@takes(stream=a(np.random.RandomState), M=integer(1, MAX_SAMPLES), layout=a(Layout))
def initial_states(stream: np.random.RandomState, M: int, layout: Layout) -> np.ndarray:
    """Draw the states of the free neurons from U(0, 0.1).

    Returns
    -------
    ndarray, shape (M, n_free)

    Raises
    ------
    ValueError
        If an argument is something else.
    """
    return stream.uniform(0, STATE_SCALE, (M, layout.n_free))


@takes(M=integer(1, MAX_SAMPLES), layout=a(Layout))
def probe_states(seeds: Sequence[int] | np.ndarray, M: int, layout: Layout) -> np.ndarray:
    """Draw each network's states for a look at it outside training, from a stream of its seed.

    Returns
    -------
    ndarray, shape (K, M, n_free)

    Raises
    ------
    ValueError
        As `check_seeds`, or if another argument is something else.
    """
    given = check_seeds(seeds)
    return np.array([initial_states(np.random.RandomState(seed), M, layout) for seed in given])


@takes(stream=a(np.random.RandomState), layout=a(Layout))
def pruning_draws(stream: np.random.RandomState, layout: Layout) -> np.ndarray:
    """Draw one number from U(0, 1) a synapse, structurally absent ones included.

    Returns
    -------
    ndarray, shape (N, N)

    Raises
    ------
    ValueError
        If an argument is something else.
    """
    return stream.random_sample((layout.N, layout.N))
