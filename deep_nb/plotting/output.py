"""Save a notebook's figures, tables and runs to a folder, or discard them."""

import gzip
import os

import pandas as pd
import xarray as xr
from matplotlib.figure import Figure

from deep_nb._files import check_writable, write_bytes, write_text
from deep_nb._validation import as_path, file_name, flag, instance, text
from deep_nb.plotting.animation import animate_learning
from deep_nb.plotting.style import save_figure
from deep_nb.run import save


class Output:
    """Results of a notebook, kept in a folder if one is named.

    Parameters
    ----------
    folder : str or path-like
        Created if necessary. Empty: nothing is kept, and every method does nothing.

    Raises
    ------
    ValueError
        If `folder` is not a path, or what is to be kept or its name is of another type.
    OSError
        If the folder or a file cannot be written.

    See Also
    --------
    save_figure : Write one figure as SVG and PNG.
    animate_learning : Write one animation.
    deep_nb.save : Write one run as netCDF.

    Examples
    --------
    >>> from deep_nb.plotting import Output
    >>> Output("").figure(None, "error", "kept nowhere")
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = None if folder == "" else as_path(folder, "folder").absolute()
        if self.folder:
            self.folder.mkdir(parents=True, exist_ok=True)
            check_writable(self.folder / "figure")  # before the work that makes one

    def figure(self, figure: Figure, name: str, caption: str) -> None:
        """Keep a figure as ``name.svg`` and ``name.png``, with its caption."""
        if self.folder:
            save_figure(figure, self.folder, name, caption)

    def animation(self, run: xr.Dataset, name: str, caption: str) -> None:
        """Keep an animation of the first network as ``name.gif``; see `animate_learning`."""
        if self.folder:
            animate_learning(run, self.folder, name, caption)

    def table(self, table: pd.DataFrame, name: str, *, index: bool = False) -> None:
        """Keep a table as CSV, compressed if `name` ends in ``.gz``."""
        if self.folder:
            instance(table, "table", pd.DataFrame)
            path = self.folder / file_name(name, "name")
            content = table.to_csv(index=flag(index, "index"), lineterminator="\n").encode()
            write_bytes(path, gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)

    def text(self, content: str, name: str) -> None:
        """Keep a text."""
        if self.folder:
            write_text(self.folder / file_name(name, "name"), text(content, "content"))

    def run(self, run: xr.Dataset, name: str) -> None:
        """Keep a run as netCDF."""
        if self.folder:
            save(run, self.folder / file_name(name, "name"))
