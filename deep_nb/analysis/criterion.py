"""Learning criteria: which networks of a run learned their task, when, and what is left of them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr

from deep_nb.analysis.statistics import EPOCHS
from deep_nb.inference import predict
from deep_nb.kinds import NOTHING
from deep_nb.run import problem_of
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

    Raises
    ------
    ValueError
        If `run` is none.
    """
    problem_of(run)
    return (run["mse_free"] < MSE_LEARNED) & (run["class_error_free"] == 0)


def epochs_to_criterion(run: xr.Dataset, n_epochs: int | None = None) -> np.ndarray:
    """Return how many epochs each network trained until it first had learned its task.

    Parameters
    ----------
    run : xarray.Dataset
        As from `deep_nb.train`.
    n_epochs : int, optional
        Look at the first so many epochs only.

    Returns
    -------
    ndarray, shape (seed,)
        The first epoch, from 0, in which `learned` holds; NaN (censored) where there is none.

    Raises
    ------
    ValueError
        If `run` is none, or `n_epochs` no number of epochs.
    """
    (NOTHING | EPOCHS).check(n_epochs, "n_epochs")
    reached = learned(run).values[:, :n_epochs]
    return np.where(reached.any(axis=1), reached.argmax(axis=1), np.nan)


def turnover(run: xr.Dataset) -> xr.Dataset:
    """Return how many synapses were pruned and how many grew back in each epoch.

    Parameters
    ----------
    run : xarray.Dataset
        As from `deep_nb.train` with ``record=("weights",)``.

    Returns
    -------
    xarray.Dataset
        Over (seed, epoch): ``removed``, from W ≠ 0 to 0; ``regrown``, from 0 to W ≠ 0.

    Raises
    ------
    ValueError
        If `run` is none, or did not record its weights.
    """
    problem_of(run)
    if "W_epochs" not in run:
        raise ValueError("turnover needs a run made with record=('weights',)")
    present = run["W_epochs"].values != 0
    before, after = present[:, :-1], present[:, 1:]
    counts = {"removed": before & ~after, "regrown": ~before & after}
    return xr.Dataset(
        {name: (("seed", "epoch"), where.sum(axis=(2, 3))) for name, where in counts.items()},
        coords={"seed": run["seed"].values, "epoch": run["epoch"].values},
        attrs=run.attrs,
    )


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

    Raises
    ------
    ValueError
        If `run` is none.
    """
    problem = problem_of(run)
    diverged = run["diverged"].values
    errors = np.full((2, len(diverged)), np.nan)
    if not diverged.all():
        answer = predict(run.isel(seed=~diverged), problem.task.X)
        errors[0, ~diverged] = mean_squared_error(answer["output"].values, problem.Y)
        errors[1, ~diverged] = classification_error(answer["label"].values, problem.labels)
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
