"""Libraries that only some functions need, and the extra of this package that installs each."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import lazy_loader

#: Extra by the name under which a library is imported.
EXTRAS = {
    "matplotlib": "plot",
    "networkx": "plot",
    "sklearn": "classifier",
    "jinja2": "report",
    "statsmodels": "report",
    "IPython": "notebooks",
    "filelock": "notebooks",
    "ipykernel": "notebooks",
    "nbconvert": "notebooks",
    "nbformat": "notebooks",
    "papermill": "notebooks",
    "distributed": "distributed",
    "anywidget": "explore",
    "cvxpy": "sdp",
}


def explained(error: ModuleNotFoundError, what: str) -> ModuleNotFoundError:
    """Return the error of a missing library, with a line that says what needs it, and its extra."""
    library = (error.name or "").partition(".")[0]
    if library not in EXTRAS:
        return error
    said = f"{what} needs {library}: pip install 'deep-nb[{EXTRAS[library]}]'"
    return ModuleNotFoundError(said, name=library)


@contextlib.contextmanager
def needed_by(what: str) -> Iterator[None]:
    """Explain the libraries that are missing inside."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise explained(error, what) from None


def attach(
    package: str, file: str
) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """Return ``__getattr__``, ``__dir__`` and ``__all__`` of a package with the names in its stub.

    Each name is imported when it is first used (PEP 562), and says what it needs if that fails.
    """
    get, names, public = lazy_loader.attach_stub(package, file)

    def explaining(name: str) -> Any:
        with needed_by(f"{package}.{name}"):
            return get(name)

    return explaining, names, public
