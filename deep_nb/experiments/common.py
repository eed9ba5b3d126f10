"""Shared by several experiments: the share of networks that learned, and the free neurons."""

from collections.abc import Mapping

import xarray as xr

from deep_nb.analysis import learned, share
from deep_nb.analysis.statistics import Estimate

#: What `train` takes as hyperparameters.
Hyper = Mapping[str, object]


def learned_count(run: xr.Dataset) -> int:
    """Return the number of networks that meet the criterion in the last epoch."""
    return int(learned(run)[:, -1].sum())


def learned_share(run: xr.Dataset) -> Estimate:
    """Return the share of networks that meet the criterion in the last epoch, with its interval."""
    return share(learned_count(run), run.sizes["seed"])


def percent(estimate: Estimate, width: int = 0) -> str:
    """Return a share and its interval as text, such as ``15% [5%, 36%]``."""
    return f"{estimate.value:>{width}.0%} [{estimate.low:.0%}, {estimate.high:.0%}]"


def free_states(states: xr.DataArray) -> xr.DataArray:
    """Return the states of the hidden and output neurons only."""
    return states.sel(neuron=states["neuron"].str.match("[hy]"))
