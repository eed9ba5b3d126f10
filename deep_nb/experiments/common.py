"""Shared by several experiments: checks of parameters, shares that learned, the parity task."""

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from deep_nb._validation import integer, items, one_of
from deep_nb.analysis import learned, share
from deep_nb.analysis.statistics import Estimate
from deep_nb.models import MAX_COUNT
from deep_nb.randomness import MAX_NETWORKS
from deep_nb.tasks import TASKS, Task

#: What `train` takes as hyperparameters.
Hyper = Mapping[str, object]


def check_counts(low: int = 1, **parameters: Any) -> None:
    """Refuse a notebook's parameters, given by their names, that are not integers from `low` on."""
    for name, value in parameters.items():
        integer(value, name, low, MAX_COUNT)


def check_seeds(first_seed: Any, num_net: Any) -> None:
    """Refuse a notebook's seeds that are not `num_net` integers below 2³², from `first_seed` on."""
    integer(first_seed, "first_seed", 0, 2**32 - integer(num_net, "num_net", 1, MAX_NETWORKS))


def entries(value: Any, name: str) -> list[Any]:
    """Return the entries of a notebook's parameter, a list that may be empty."""
    return [] if isinstance(value, list | tuple) and not value else list(items(value, name))


def check_tasks(name: str, tasks: Any) -> None:
    """Refuse a notebook's parameter that is not a list of names of published tasks."""
    for task in items(tasks, name):
        one_of(task, TASKS, f"task in {name}")


def learned_count(run: xr.Dataset) -> int:
    """Return the number of networks that meet the criterion in the last epoch."""
    return int(learned(run)[:, -1].sum())


def learned_share(run: xr.Dataset) -> Estimate:
    """Return the share of networks that meet the criterion in the last epoch, with its interval."""
    return share(learned_count(run), run.sizes["seed"])


def percent(estimate: Estimate, width: int = 0) -> str:
    """Return a share and its interval as text, such as ``15% [5%, 36%]``."""
    return f"{estimate.value:>{width}.0%} [{estimate.low:.0%}, {estimate.high:.0%}]"


def parity(n: int) -> Task:
    """Return the task of the parity of n bits, over all 2ⁿ inputs."""
    X = np.array(list(itertools.product((0, 1), repeat=n)))
    return Task(f"{n}-bit parity", X, X.sum(axis=1, keepdims=True) % 2)


def free_states(states: xr.DataArray) -> xr.DataArray:
    """Return the states of the hidden and output neurons only."""
    return states.sel(neuron=states["neuron"].str.match("[hy]"))
