"""What arguments have to be: each of a `Kind`, checked where a public function `takes` it."""

from __future__ import annotations

import difflib
import functools
import inspect
import os
import reprlib
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import numpy as np
import pandas as pd

T = TypeVar("T")
P = ParamSpec("P")

_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 80


def short(value: object) -> str:
    """Return what a value is, for a message: of whatever size it is, in a few words."""
    if isinstance(value, np.ndarray):
        return f"an array of {value.dtype} of shape {value.shape}"
    try:
        text = _SHORT.repr(value)
    except (ValueError, RecursionError):  # an int of thousands of digits, a list in itself
        text = ""
    lines = text.splitlines()
    return lines[0] if len(lines) == 1 and len(text) <= 200 else f"a {type(value).__name__}"


#: Of what was given, so much is compared with the words that are known.
LONGEST_NAME = 100


def did_you_mean(value: object, words: Iterable[str]) -> str:
    """Return ``" (did you mean …?)"`` for the nearest of `words`, or an empty string."""
    by_lower = {word.lower(): word for word in words}
    given = value[:LONGEST_NAME] if isinstance(value, str) else ""
    near = difflib.get_close_matches(given.lower(), by_lower, n=1)
    return f" (did you mean {by_lower[near[0]]!r}?)" if near else ""


_NUMPY = np.generic, np.ndarray


def plain(value: Any) -> Any:
    """Unwrap NumPy scalars and arrays into Python's own numbers and lists."""
    return value.tolist() if isinstance(value, _NUMPY) else value


#: Squares of numbers up to here, and sums of them, stay finite.
LARGEST = 1e100


@dataclass(frozen=True)
class Kind:
    """What an argument has to be.

    Attributes
    ----------
    words : str
        As they go on after "must be".
    accepts : callable
        Whether a value is of this kind.
    sizes : callable
        Of a value, pairs of an axis and its length. In one call, an axis has one length.
    words_known : tuple of str
        Of which the nearest is named, where another word was given.
    """

    words: str
    accepts: Callable[[Any], bool]
    sizes: Callable[[Any], Iterable[tuple[str, int]]] = lambda value: ()
    words_known: tuple[str, ...] = ()

    def check(self, value: Any, what: str) -> None:
        """Refuse a value that is not of this kind.

        Raises
        ------
        ValueError
            With what was given, and what is allowed.
        """
        if not self.accepts(value):
            near = did_you_mean(value, self.words_known)
            raise ValueError(f"{what} must be {self.words}, got {short(value)}{near}")

    def __or__(self, other: Kind) -> Kind:
        """Return the kind that is one or the other."""
        return Kind(
            f"{self.words} or {other.words}",
            lambda value: self.accepts(value) or other.accepts(value),
            lambda value: (self if self.accepts(value) else other).sizes(value),
        )


def takes(**kinds: Kind) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Check arguments of a function before it is called, and that their axes fit together.

    Parameters
    ----------
    **kinds : Kind
        Of each argument to be checked; one that is left out is not.
    """

    def decorate(function: Callable[P, T]) -> Callable[P, T]:
        order = list(inspect.signature(function).parameters)
        checks = [(name, order.index(name), kind) for name, kind in kinds.items()]

        @functools.wraps(function)
        def checked(*args: P.args, **kwargs: P.kwargs) -> T:
            known: dict[str, tuple[int, str]] = {}
            for name, place, kind in checks:
                if place < len(args):
                    kind.check(args[place], name)
                    _fit(kind.sizes(args[place]), name, known)
                elif name in kwargs:
                    kind.check(kwargs[name], name)
                    _fit(kind.sizes(kwargs[name]), name, known)
            return function(*args, **kwargs)

        return checked

    return decorate


def unchecked(function: Callable[P, T]) -> Callable[P, T]:
    """Return a function that `takes` checks without its checks, for what has been checked.

    Raises
    ------
    ValueError
        If it is not such a function.
    """
    if not hasattr(function, "__wrapped__"):
        raise ValueError(f"function must be one with checks, got {short(function)}")
    return function.__wrapped__


def _fit(sizes: Iterable[tuple[str, int]], what: str, known: dict[str, tuple[int, str]]) -> None:
    """Compare the lengths of axes with those known by now, and add them."""
    for axis, size in sizes:
        other, of = known.setdefault(axis, (size, what))
        if other != size:
            raise ValueError(f"{what} does not fit: {axis} is {size} in {what}, {other} in {of}")


@dataclass(frozen=True)
class Parts(Kind):
    """The kind of named tuples whose parts are of some kinds, and fit together."""

    parts: Mapping[str, Kind] = field(default_factory=dict)

    def check(self, value: Any, what: str) -> None:
        """Refuse a value that is not of this kind, or has a part that is not.

        Raises
        ------
        ValueError
            With the part, what was given, and what is allowed.
        """
        super().check(value, what)
        known: dict[str, tuple[int, str]] = {}
        for name, kind in self.parts.items():
            part = getattr(value, name)
            kind.check(part, f"{what}.{name}")
            _fit(kind.sizes(part), f"{what}.{name}", known)


def parts(of: type, **kinds: Kind) -> Parts:
    """Return the kind of a named tuple, with the kinds of the parts that are checked."""

    def sizes(value: Any) -> list[tuple[str, int]]:
        return [pair for name, kind in kinds.items() for pair in kind.sizes(getattr(value, name))]

    return Parts(f"of type {of.__name__}", lambda value: isinstance(value, of), sizes, parts=kinds)


def a(*types: type) -> Kind:
    """Return the kind of the instances of some types."""
    names = " or ".join(t.__name__ for t in types)
    return Kind(f"of type {names}", lambda value: isinstance(value, types))


def array(axes: str, dtypes: str = "iuf") -> Kind:
    """Return the kind of arrays with named axes.

    Parameters
    ----------
    axes : str
        Such as ``"K N N"``; ``"... N N"`` may have more in front.
    dtypes : str
        NumPy's letters for the kinds of number: b, i, u, f.
    """
    names = axes.removeprefix("...").split()
    more = axes.startswith("...")

    def sizes(value: Any) -> Iterable[tuple[str, int]]:
        return zip(names, value.shape[value.ndim - len(names) :], strict=True)

    def accepts(value: Any) -> bool:
        if not isinstance(value, np.ndarray) or value.dtype.kind not in dtypes:
            return False
        return value.ndim >= len(names) if more else value.ndim == len(names)

    shape = ", ".join(axes.split())
    of = "bool" if dtypes == "b" else "real numbers"
    return Kind(f"an array of {of} of shape ({shape})", accepts, sizes)


def number(low: float = -np.inf, high: float = np.inf, *, without_low: bool = False) -> Kind:
    """Return the kind of finite numbers from `low`, or above it, to `high`."""

    def accepts(value: Any) -> bool:
        value = plain(value)
        if type(value) is not float and type(value) is not int:
            return False
        finite = abs(value) <= sys.float_info.max
        return finite and low <= value <= high and not (without_low and value == low)

    start = "" if low == -np.inf else f" above {low:g}" if without_low else f" of at least {low:g}"
    end = "" if high == np.inf else f", at most {high:g}" if start else f" of at most {high:g}"
    return Kind(f"a finite number{start}{end}", accepts)


def integer(low: int, high: int | None = None) -> Kind:
    """Return the kind of integers from `low` to `high`, or of any size."""

    def accepts(value: Any) -> bool:
        value = plain(value)
        return type(value) is int and low <= value and (high is None or value <= high)

    end = f"of at least {low}" if high is None else f"from {low} to {high}"
    return Kind(f"an integer {end}", accepts)


def word(allowed: Iterable[str]) -> Kind:
    """Return the kind of some words."""
    words = tuple(allowed)

    def accepts(value: Any) -> bool:
        return isinstance(value, str) and value in words

    return Kind(f"one of {', '.join(words)}", accepts, words_known=words)


def sequence(of: Kind, least: int = 1) -> Kind:
    """Return the kind of lists, tuples and arrays, with so many items of a kind or more."""

    def accepts(value: Any) -> bool:
        value = plain(value)
        if type(value) is not tuple and (
            isinstance(value, str | bytes) or not isinstance(value, Sequence)
        ):
            return False
        return len(value) >= least and all(of.accepts(item) for item in value)

    few = f"{least} or more" if least else "any number of"
    return Kind(f"a sequence of {few} items, each {of.words}", accepts)


def table(numbers: str, texts: str = "") -> Kind:
    """Return the kind of tables with rows, and columns of finite numbers and of texts.

    Parameters
    ----------
    numbers, texts : str
        Names of columns that there must be. A number may be missing where its name ends in "?".
    """
    columns = {name.rstrip("?"): name.endswith("?") for name in numbers.split()}
    names = [*columns, *texts.split()]

    def accepts(value: Any) -> bool:
        if not isinstance(value, pd.DataFrame) or not len(value) or not value.columns.is_unique:
            return False
        if not set(names) <= set(value.columns):
            return False
        for name, missing in columns.items():
            if value[name].dtype.kind not in "biuf":
                return False
            given = value[name].dropna() if missing else value[name]
            if not given.astype(float).between(-LARGEST, LARGEST).all():
                return False
        return all(isinstance(text, str) for name in texts.split() for text in value[name])

    return Kind(f"a table with rows and the columns {', '.join(names)}", accepts)


NOTHING = Kind("None", lambda value: value is None)
FLAG = Kind("True or False", lambda value: isinstance(value, bool | np.bool_))
TEXT = Kind("a text", lambda value: isinstance(value, str))
FUNCTION = Kind("a function", callable)
MAPPING = Kind(
    "a mapping from names to values",
    lambda value: isinstance(value, Mapping) and all(isinstance(key, str) for key in value),
)
#: Of experiments, which have a folder each.
NAME = Kind(
    "a name of a file or folder",
    lambda value: isinstance(value, str) and 0 < len(value) < 200 and not {*value} & {*"/\\\0"},
)
NAMES = sequence(NAME, 0)
#: No system takes longer paths, and names in them.
LONGEST_PATH, LONGEST_PART = 4096, 255
PATH = Kind(
    "a path, a string or a pathlib.Path",
    lambda value: (
        isinstance(value, str | os.PathLike)
        and isinstance(os.fspath(value), str)
        and "\0" not in os.fspath(value)
        and len(os.fspath(value)) <= LONGEST_PATH
        and all(len(name) <= LONGEST_PART for name in Path(value).parts)
    ),
)
PATHLIB = Kind("a pathlib.Path", lambda value: isinstance(value, Path) and PATH.accepts(value))


def check_executor(value: Any) -> None:
    """Refuse what cannot be asked to run things, but for None.

    Raises
    ------
    ValueError
        If it is no executor.
    """
    if value is not None and not callable(getattr(value, "submit", None)):
        raise ValueError(
            f"executor must have submit(), as of concurrent.futures, got {short(value)}"
        )


def as_path(value: Any, what: str) -> Path:
    """Return `value` as a path.

    Raises
    ------
    ValueError
        If it is none.
    """
    PATH.check(value, what)
    return Path(value)
