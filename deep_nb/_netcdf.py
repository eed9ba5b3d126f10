"""netCDF files, also where HDF5 cannot open them, such as on file systems without locks.

The libraries are imported where a file is used: kernels need only the lock.
"""

import threading
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import xarray as xr

#: Held while a netCDF file is open: HDF5 allows one thread at a time, and xarray's own lock does
#: not cover everything.
NETCDF = threading.Lock()


def write_netcdf(dataset: "xr.Dataset", path: Path) -> None:
    """Write a dataset to a netCDF file, through memory if HDF5 cannot open the file."""
    import netCDF4
    from xarray.backends import NetCDF4DataStore

    with NETCDF:
        try:
            dataset.to_netcdf(path, engine="netcdf4")
        except (OSError, RuntimeError, UnicodeEncodeError):  # other reasons fail again, clearly
            file = netCDF4.Dataset("memory", "w", memory=dataset.nbytes)
            dataset.dump_to_store(NetCDF4DataStore(file))
            path.write_bytes(file.close())


def read_netcdf(path: Path) -> "xr.Dataset":
    """Read a netCDF file, through memory if HDF5 cannot open it."""
    import netCDF4
    import xarray as xr
    from xarray.backends import NetCDF4DataStore

    with NETCDF:
        try:
            return xr.load_dataset(path, engine="netcdf4")
        except (OSError, UnicodeEncodeError):
            file = netCDF4.Dataset("memory", memory=path.read_bytes())
            return xr.load_dataset(NetCDF4DataStore(file))
