"""Notebooks as files."""

from pathlib import Path

import nbformat

from deep_nb._validation import short


def read_notebook(path: Path) -> nbformat.NotebookNode:
    """Read a Jupyter notebook; raise ValueError if the file does not hold one."""
    try:
        notebook = nbformat.read(path, as_version=4)
        nbformat.validate(notebook)
    except OSError:
        raise
    except Exception as error:  # of any type: nbformat trusts what it reads
        raise ValueError(f"{path} is not a notebook: {short(str(error))}") from None
    return notebook
