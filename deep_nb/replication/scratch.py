"""The scratch folder of an execution: what its processes exchange, apart from what they make."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

#: Files in it: what is asked for, what the kernel runs, how it ended, and the notebook, which is
#: executed in place.
REQUEST, ORIGIN, ANSWER, NOTEBOOK = "request.json", "origin.json", "answer.json", "notebook.ipynb"

#: Output of the processes, the kernel's connection file, and the folders of IPython and of modules
#: in place of those that customize Python.
LOG, CONNECTION, IPYTHON, SITE = "log", "kernel.json", "ipython", "site"

#: Maximum length of the path for temporary files, so that the paths of the kernel's sockets stay
#: within the system's limit of 107 characters.
LONGEST_TMP = 50


@contextlib.contextmanager
def scratch_folder() -> Iterator[Path]:
    """Make a folder for temporary files, and remove it at the end."""
    long = os.name == "posix" and len(tempfile.gettempdir()) > LONGEST_TMP  # such as on a cluster
    with tempfile.TemporaryDirectory(
        prefix="deep-nb-", dir="/tmp" if long else None, ignore_cleanup_errors=True
    ) as name:
        yield Path(name)
