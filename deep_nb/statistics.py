"""From a run to numbers: which networks learned, and how sure that is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import scipy.stats
import xarray as xr

from deep_nb.inference import predict
from deep_nb.results import experiment_of
from deep_nb.tasks import classification_error, mean_squared_error

#: A network has learned when its free MSE is below this and no sample is misclassified.
MSE_LEARNED = 0.01


def learned(run: xr.Dataset) -> xr.DataArray:
    """Return whether each network had learned its task in each epoch, over (seed, epoch).

    The free phase's MSE must be below 0.01 *and* no sample misclassified: outputs near 0.5 can
    have the right labels by luck. Both are those before the epoch's weight change. A diverged
    network has not learned.

    Parameters
    ----------
    run : xarray.Dataset
        As from `deep_nb.train`.
    """
    return (run["mse_free"] < MSE_LEARNED) & (run["class_error_free"] == 0)


def wilson(successes: Any, total: int, confidence: float = 0.95) -> np.ndarray:
    """Return shares with their Wilson score intervals (E. B. Wilson, 1927), by SciPy.

    Parameters
    ----------
    successes : array_like of int
        How often, each from 0 to `total`.
    total : int
        Out of how many, at least 1.
    confidence : float
        Of each interval, between 0 and 1.

    Returns
    -------
    ndarray, shape (3, ...)
        Estimate, lower and upper end, in [0, 1].

    Raises
    ------
    ValueError
        If a count is not between 0 and `total`, or `confidence` not between 0 and 1.
    """
    counts = np.asarray(successes)
    result = np.empty((3, *counts.shape))
    for index in np.ndindex(counts.shape):
        test = scipy.stats.binomtest(int(counts[index]), int(total))
        interval = test.proportion_ci(confidence, method="wilson")
        result[(slice(None), *index)] = test.statistic, interval.low, interval.high
    return result


def network_table(run: xr.Dataset) -> pd.DataFrame:
    """Return one row a network: what it answers to the task with its final weights.

    The run's own errors are those before each epoch's weight change; these are of the network
    that is left after the last, settled once more from the states that `predict` starts from.

    Parameters
    ----------
    run : xarray.Dataset
        As from `deep_nb.train`.

    Returns
    -------
    pandas.DataFrame
        Indexed by seed: MSE and share misclassified (NaN where the network diverged), synapses
        left, whether it has learned (MSE below 0.01 and nothing misclassified), whether it
        diverged.
    """
    experiment = experiment_of(run)
    diverged = run["diverged"].values
    errors = np.full((2, len(diverged)), np.nan)
    if not diverged.all():
        answer = predict(run.isel(seed=~diverged), experiment.task.X)
        errors[0, ~diverged] = mean_squared_error(answer["output"].values, experiment.Y)
        errors[1, ~diverged] = classification_error(answer["label"].values, experiment.labels)
    return pd.DataFrame(
        {
            "MSE": errors[0],
            "misclassified": errors[1],
            "connections": np.count_nonzero(run["W"].values, axis=(1, 2)),
            "learned": (errors[0] < MSE_LEARNED) & (errors[1] == 0),
            "diverged": diverged,
        },
        index=pd.Index(run["seed"].values, name="seed"),
    )
