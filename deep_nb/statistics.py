"""From a run to numbers: which networks learned, and how sure that is."""

from __future__ import annotations

import pandas as pd
import xarray as xr

#: A network has learned when its free MSE is below this and no sample is misclassified.
MSE_LEARNED = 0.01


def learned(run: xr.Dataset) -> xr.DataArray:
    """Return whether each network has learned its task, over (seed, epoch).

    The free phase's MSE must be below 0.01 *and* no sample misclassified: outputs near 0.5 can
    have the right labels by luck. A diverged network has not learned.

    Parameters
    ----------
    run : xarray.Dataset
        As from `deep_nb.train`.
    """
    return (run["mse_free"] < MSE_LEARNED) & (run["class_error_free"] == 0)


def network_table(run: xr.Dataset) -> pd.DataFrame:
    """Return one row a network: errors after the last epoch, connections, verdicts.

    Parameters
    ----------
    run : xarray.Dataset
        As from `deep_nb.train`.

    Returns
    -------
    pandas.DataFrame
        Indexed by seed; NaN errors where the network diverged.
    """
    last = run.isel(epoch=-1)
    return pd.DataFrame(
        {
            "MSE": last["mse_free"].values,
            "misclassified": last["class_error_free"].values,
            "connections": last["n_connections"].values,
            "learned": learned(last).values,
            "diverged": last["diverged"].values,
        },
        index=pd.Index(run["seed"].values, name="seed"),
    )
