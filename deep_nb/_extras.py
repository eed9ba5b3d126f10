"""Libraries that only some functions need, and the extra of this package that installs each."""

import contextlib
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any

import lazy_loader

#: Extra by the name under which a library is imported.
EXTRAS = {
    "matplotlib": "plot",
    "networkx": "plot",
    "PIL": "plot",
    "sklearn": "classifier",
    "jinja2": "report",
    "mistune": "report",
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

#: Library of the public names that cannot even be imported without one. Where it is missing, `dir`
#: and ``import *`` leave them out, so that `help` works.
NEEDED = {
    "deep_nb.DEEPClassifier": "sklearn",
    "deep_nb.claims.evaluate": "statsmodels",
    "deep_nb.write_report": "jinja2",
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
    get, _, names = lazy_loader.attach_stub(package, file)
    libraries = {name: NEEDED.get(f"{package}.{name}") for name in names}
    public = [name for name, library in libraries.items() if not library or find_spec(library)]

    def explaining(name: str) -> Any:
        with needed_by(f"{package}.{name}"):
            return get(name)

    return explaining, lambda: [*public], public
