"""Random streams: one per network, read in the published order.

A network with seed k owns ``numpy.random.RandomState(k)``, whose numbers NumPy promises never to
change (NEP 19). Training draws the initial weights once, then in every epoch the initial states
and, with pruning, one number per synapse. No network's draws depend on another's.
"""

import sys
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from deep_nb._validation import plain, short
from deep_nb.topology import Layout

#: Standard deviation of the initial weights, and upper end of the initial states.
WEIGHT_SCALE = 0.05
STATE_SCALE = 0.1

#: Maximum number of networks in a run.
MAX_NETWORKS = 10_000_000


def check_seeds(seeds: Any) -> list[int]:
    """Return an int, or a sequence of distinct ints in [0, 2³² − 1], as a list.

    Indexes, series and arrays of pandas and xarray count as sequences.
    """
    if _length(seeds) > MAX_NETWORKS:
        raise ValueError(f"at most {MAX_NETWORKS} seeds are allowed, got {short(seeds)}")
    labelled = hasattr(seeds, "to_numpy") and not isinstance(seeds, type)
    given = plain(seeds.to_numpy() if labelled else seeds)
    values = [plain(seed) for seed in given] if isinstance(given, Sequence) else [given]
    if not values:
        raise ValueError(
            f"seeds must be an int or a non-empty sequence of ints, got {short(seeds)}"
        )
    for seed in values:
        if not isinstance(seed, int) or isinstance(seed, bool) or not 0 <= seed < 2**32:
            raise ValueError(f"each seed must be an integer from 0 to 2**32 - 1, got {short(seed)}")
    if len(set(values)) < len(values):
        ((twice, _),) = Counter(values).most_common(1)
        raise ValueError(f"seeds must be distinct, got {twice} more than once")
    return values


def _length(values: Any) -> int:
    """Return the number of seeds, 1 for a single one."""
    try:
        return len(values)
    except TypeError:
        return 1
    except OverflowError:  # a range longer than any list
        return sys.maxsize


def initial_weights(
    stream: np.random.RandomState, layout: Layout, learned_bias: bool
) -> Float[np.ndarray, "N N"]:
    """Draw weights from N(0, 0.05²), structurally absent synapses included.

    With `learned_bias`, also draw and discard a bias per neuron, as the published EP code does,
    so that later draws match.
    """
    W = stream.normal(0, WEIGHT_SCALE, (layout.N, layout.N))
    if learned_bias:
        stream.normal(0, WEIGHT_SCALE, layout.N)
    return W


def initial_states(
    stream: np.random.RandomState, M: int, layout: Layout
) -> Float[np.ndarray, "M n"]:
    """Draw the states of the free neurons from U(0, 0.1)."""
    return stream.uniform(0, STATE_SCALE, (M, layout.n_free))


def probe_states(
    seeds: Sequence[int] | np.ndarray, M: int, layout: Layout
) -> Float[np.ndarray, "K M n"]:
    """Draw the start of each network outside training, from a new stream of its seed."""
    return np.array([initial_states(np.random.RandomState(seed), M, layout) for seed in seeds])


def pruning_draws(stream: np.random.RandomState, layout: Layout) -> Float[np.ndarray, "N N"]:
    """Draw one number from U(0, 1) per synapse, structurally absent ones included."""
    return stream.random_sample((layout.N, layout.N))
