"""Notebooks as files."""

from __future__ import annotations

from pathlib import Path

import nbformat

from deep_nb.kinds import PATHLIB, short, takes


@takes(path=PATHLIB)
def read_notebook(path: Path) -> nbformat.NotebookNode:
    """Read a Jupyter notebook.

    Raises
    ------
    ValueError
        If the file holds none.
    OSError
        If it cannot be read.
    """
    try:
        notebook = nbformat.read(path, as_version=4)
        nbformat.validate(notebook)
    except OSError:
        raise
    except Exception as error:  # of whatever kind: nbformat takes what it reads on trust
        raise ValueError(f"{path} is not a notebook: {short(str(error))}") from None
    return notebook
