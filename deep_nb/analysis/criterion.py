"""Learning criteria: which networks of a run learned their task, when, and what remains of them."""

import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Float

from deep_nb._validation import integer
from deep_nb.inference import predict
from deep_nb.models import MAX_COUNT
from deep_nb.run import problem_of
from deep_nb.tasks import classification_error, mean_squared_error

#: Maximum MSE of the free phase, exclusive, of a network that has learned its task.
MSE_LEARNED = 0.01


def learned(run: xr.Dataset) -> xr.DataArray:
    """Return whether each network had learned its task in each epoch, over (seed, epoch).

    The free phase's MSE must be below 0.01 *and* every sample classified correctly: outputs near
    0.5 can have the right labels by luck. Both are measured before the epoch's weight change. A
    diverged network has not learned.

    Parameters
    ----------
    run : xarray.Dataset
        As returned by `deep_nb.train`.

    Raises
    ------
    ValueError
        If `run` is not a run.

    See Also
    --------
    epochs_to_criterion : The first such epoch.
    network_table : The same with the final weights.

    Examples
    --------
    >>> import deep_nb
    >>> run = deep_nb.train("DEEP", "id", seeds=range(4), hyper={"n_epochs": 20})
    >>> deep_nb.analysis.learned(run).sum("seed").values[[0, -1]]
    array([0, 4])
    """
    problem_of(run)
    return (run["mse_free"] < MSE_LEARNED) & (run["class_error_free"] == 0)


def epochs_to_criterion(run: xr.Dataset, n_epochs: int | None = None) -> Float[np.ndarray, " seed"]:
    """Return how many epochs each network trained until it first had `learned` its task.

    Parameters
    ----------
    run : xarray.Dataset
        As returned by `deep_nb.train`.
    n_epochs : int, optional
        Number of epochs to consider, from the first; all by default.

    Returns
    -------
    ndarray
        From 0; NaN (censored) where the criterion is never reached.

    Raises
    ------
    ValueError
        If `run` is not a run, or `n_epochs` is out of range.

    See Also
    --------
    log_rank : Compares two such samples.
    deep_nb.plotting.plot_reached : Draws them.

    Examples
    --------
    >>> import deep_nb
    >>> run = deep_nb.train("DEEP", "id", seeds=range(4), hyper={"n_epochs": 20})
    >>> deep_nb.analysis.epochs_to_criterion(run)
    array([3., 8., 3., 4.])
    >>> deep_nb.analysis.epochs_to_criterion(run, n_epochs=5)
    array([ 3., nan,  3.,  4.])
    """
    if n_epochs is not None:
        n_epochs = integer(n_epochs, "n_epochs", 1, MAX_COUNT)
    reached = learned(run).values[:, :n_epochs]
    return np.where(reached.any(axis=1), reached.argmax(axis=1), np.nan)


def turnover(run: xr.Dataset) -> xr.Dataset:
    """Count the synapses that were pruned and those that grew back in each epoch.

    Parameters
    ----------
    run : xarray.Dataset
        As returned by `deep_nb.train` with ``record=("weights",)``.

    Returns
    -------
    xarray.Dataset
        Over (seed, epoch): ``removed``, from W ≠ 0 to 0; ``regrown``, from 0 to W ≠ 0.

    Raises
    ------
    ValueError
        If `run` is not a run or did not record its weights.

    See Also
    --------
    deep_nb.plotting.plot_survivors : Draws how often each synapse remains.

    Examples
    --------
    >>> import deep_nb
    >>> run = deep_nb.train(
    ...     "DEEP", "id", seeds=range(2), hyper={"n_epochs": 5}, sparse=True, record=("weights",)
    ... )
    >>> counts = deep_nb.analysis.turnover(run)
    >>> counts["removed"].sum("epoch").values, counts["regrown"].sum("epoch").values
    (array([1, 3]), array([0, 0]))
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
    """Return one row per network: how it performs the task with its final weights.

    The run's own errors are measured before each epoch's weight change. These are measured after
    the last change, with one more free phase from the states that `deep_nb.predict` starts from.

    Parameters
    ----------
    run : xarray.Dataset
        As returned by `deep_nb.train`.

    Returns
    -------
    pandas.DataFrame
        Indexed by seed: MSE and share misclassified (NaN where the network diverged), number of
        connections left, whether the network has learned (as in `learned`), whether it diverged.

    Raises
    ------
    ValueError
        If `run` is not a run.

    See Also
    --------
    learned : The criterion in each epoch.

    Examples
    --------
    >>> import deep_nb
    >>> run = deep_nb.train("DEEP", "id", seeds=range(2), hyper={"n_epochs": 20})
    >>> table = deep_nb.analysis.network_table(run)
    >>> table[["misclassified", "connections", "learned"]].to_dict("list")
    {'misclassified': [0.0, 0.0], 'connections': [42, 42], 'learned': [True, True]}
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
