"""Validation at the boundary: one clear `ValueError` per mistake, naming it and what is allowed.

Public functions call these checks once, where a value enters, and use what they return. Functions
inside the package trust their callers.

NumPy is imported where an array is made: the command line checks its words without it.
"""

import contextlib
import difflib
import fnmatch
import math
import os
import re
import reprlib
import sys
from collections.abc import Hashable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

if TYPE_CHECKING:
    import numpy as np

T = TypeVar("T")

#: Largest size of a number: squares, and sums of squares, stay finite.
LARGEST = 1e100
#: Maximum length of a name that is compared with the known ones.
LONGEST_NAME = 100
#: Maximum lengths of a path and of each of its parts; no file system takes longer ones.
LONGEST_PATH, LONGEST_PART = 4096, 255
#: Maximum number of errors reported.
SHOWN_ERRORS = 10

_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 80


def _of_numpy(value: object, *types: str) -> bool:
    """Return whether a value has one of these types of NumPy; none has before NumPy is loaded."""
    numpy = sys.modules.get("numpy")
    return numpy is not None and isinstance(value, tuple(getattr(numpy, t) for t in types))


def short(value: Any) -> str:
    """Return a short description of a value for error messages."""
    if _of_numpy(value, "ndarray"):
        return f"an array of {value.dtype} of shape {value.shape}"
    try:
        text = _SHORT.repr(value)
    except (ValueError, RecursionError):  # an int of thousands of digits, a list inside itself
        text = ""
    lines = text.splitlines()
    return lines[0] if len(lines) == 1 and len(text) <= 200 else f"a {type(value).__name__}"


def printable(text: str) -> str:
    """Return a text with its control characters and lone surrogates as escapes.

    A terminal would obey the former, and no file can hold the latter.
    """
    return "".join(
        char if char.isprintable() or char in "\n\t" else char.encode("unicode_escape").decode()
        for char in text
    )


def did_you_mean(value: object, words: Iterable[str]) -> str:
    """Return ``" (did you mean …?)"`` for the nearest word, or an empty string."""
    by_lower = {word.lower(): word for word in words}
    given = value[:LONGEST_NAME] if isinstance(value, str) else ""
    near = difflib.get_close_matches(given.lower(), by_lower, n=1)
    return f" (did you mean {by_lower[near[0]]!r}?)" if near else ""


def plain(value: Any) -> Any:
    """Convert NumPy scalars and arrays into Python's own numbers and lists."""
    return value.tolist() if _of_numpy(value, "generic", "ndarray") else value


def _refuse(value: object, what: str, allowed: str) -> ValueError:
    return ValueError(f"{what} must be {allowed}, got {short(value)}")


def one_of(value: object, allowed: Iterable[str], what: str) -> str:
    """Return one of the allowed words; the error suggests the nearest."""
    words = list(allowed)
    if isinstance(value, str) and value in words:
        return value
    raise ValueError(
        f"unknown {what} {short(value)}{did_you_mean(value, words)}; allowed: {', '.join(words)}"
    )


def integer(value: Any, what: str, low: int = 0, high: int | None = None) -> int:
    """Return an integer from `low` to `high`; True and False are not integers."""
    number = plain(value)
    if type(number) is int and low <= number and (high is None or number <= high):
        return number
    allowed = f"of at least {low}" if high is None else f"from {low} to {high}"
    raise _refuse(value, what, f"an integer {allowed}")


def number(
    value: Any,
    what: str,
    low: float = -math.inf,
    high: float = math.inf,
    *,
    above: float | None = None,
) -> float:
    """Return a finite number from `low`, or strictly above `above`, to `high`."""
    given = plain(value)
    if type(given) in (int, float) and abs(given) <= sys.float_info.max:
        strictly = above is None or given > above
        if low <= given <= high and strictly:
            return float(given)
    if above is not None:
        limits = f" above {above:g}" + (f", at most {high:g}" if high < math.inf else "")
    elif low > -math.inf:
        limits = f" from {low:g} to {high:g}" if high < math.inf else f" of at least {low:g}"
    else:
        limits = f" of at most {high:g}" if high < math.inf else ""
    raise _refuse(value, what, "a finite number" + limits)


def flag(value: Any, what: str) -> bool:
    """Return True or False."""
    if isinstance(value, bool) or _of_numpy(value, "bool_"):
        return bool(value)
    raise _refuse(value, what, "True or False")


def text(value: Any, what: str) -> str:
    """Return a string."""
    if isinstance(value, str):
        return value
    raise _refuse(value, what, "a string")


def instance(value: Any, what: str, *types: type) -> Any:
    """Return an instance of one of the types."""
    if isinstance(value, types):
        return value
    raise _refuse(value, what, f"of type {' or '.join(t.__name__ for t in types)}")


def items(value: Any, what: str, least: int = 1) -> list[Any]:
    """Return the items of a list, tuple, range or array, at least `least` of them."""
    given = plain(value)
    if isinstance(given, Sequence) and not isinstance(given, str | bytes) and len(given) >= least:
        return list(given)
    kind = {0: "a sequence", 1: "a sequence that is not empty"}
    raise _refuse(value, what, kind.get(least, f"a sequence of at least {least} items"))


def mapping(value: Any, what: str) -> dict[str, Any]:
    """Return a mapping with string keys as a dict."""
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return dict(value)
    raise _refuse(value, what, "a mapping from names to values")


def as_path(value: Any, what: str) -> Path:
    """Return a string or path-like as a path; ``~`` at the start is a home folder."""
    given = os.fspath(value) if isinstance(value, str | os.PathLike) else None
    if isinstance(given, str) and given and "\0" not in given and len(given) <= LONGEST_PATH:
        path = Path(os.path.expanduser(given))
        if given.startswith("~") and path == Path(given):
            raise ValueError(
                f"{what} starts with the home folder of an unknown user, {short(path.parts[0])}; "
                "for a file or folder of this name, put ./ before it"
            )
        try:
            if all(len(os.fsencode(part)) <= LONGEST_PART for part in path.parts):
                # Path drops the ./ of "./~name", which must not become a home folder next time.
                return path.absolute() if str(path).startswith("~") else path
        except UnicodeEncodeError:  # a lone surrogate
            pass
    raise _refuse(value, what, "a valid path (str or os.PathLike)")


def check_name(name: str) -> str:
    """Return the relative POSIX path of a file inside a folder; refuse any other path."""
    path = as_path(name, "a file's name")
    inside = path.name and not path.anchor and ".." not in path.parts
    if not (inside and path.as_posix() == name and name.isprintable()):
        raise ValueError("a file's name must be a printable relative path without '..'")
    return name


def file_name(value: Any, what: str) -> str:
    """Return the name of a file or folder, without a path."""
    short_enough = isinstance(value, str) and 0 < len(value) < 200
    if short_enough and not {*value} & {*"/\\\0"} and value not in (".", ".."):
        return value
    raise _refuse(value, what, "the name of a file or folder")


def check_executor(value: Any) -> None:
    """Refuse an executor without ``submit``, a class, and a client of Dask."""
    if value is None:
        return
    allowed = "an object with submit(), as in concurrent.futures"
    if not callable(getattr(value, "submit", None)):
        raise _refuse(value, "executor", allowed)
    if isinstance(value, type):
        raise _refuse(value, "executor", f"{allowed}: {value.__name__}(), not the class")
    if hasattr(value, "get_executor"):  # Dask's client, with futures of its own
        raise _refuse(value, "executor", f"{allowed}: client.get_executor(pure=False) of Dask")


def _array(value: Any) -> "np.ndarray":
    """Return an array; nullable numbers of pandas are numbers where none is missing."""
    import numpy as np

    given = np.asanyarray(value)
    if given.dtype == object and hasattr(value, "columns"):
        kinds = [getattr(dtype, "numpy_dtype", dtype) for dtype in value.dtypes]
        with contextlib.suppress(TypeError, ValueError):  # a missing number, or another type
            return given.astype(np.result_type(*kinds))
    return given


def real_array(value: Any, what: str) -> "np.ndarray":
    """Return an array of real numbers, NaN and infinities included."""
    import numpy as np

    try:
        given = _array(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{what} must be an array of real numbers: {error!s:.200}") from None
    if given.dtype.kind not in "biuf" or isinstance(given, np.ma.MaskedArray):
        kind = f"{type(given).__name__} of {given.dtype}"
        raise ValueError(f"{what} must be a plain array of real numbers, got {kind}")
    return given


def in_order(value: Any, what: str, **axes: list[str] | str | None) -> Any:
    """Return an array without its labels, with its axes and their labels in the order given.

    A DataFrame, DataArray or the like may have them in another order. `axes` names the axes, and
    holds the labels of each; or the letter that they begin with, and then other names will do, too;
    or None if any will do. Names may also be indices 0, 1, …
    """
    dims, labels = _labels(value)
    if len(dims) != len(axes):  # not labelled, or refused for its shape later
        return value
    if set(dims) & set(axes):
        if set(dims) != set(axes):
            raise ValueError(f"{what} has the axes {dims}, expected {tuple(axes)}")
        value = value.transpose(*axes)
        labels = [labels[dims.index(name)] for name in axes]
    array = _array(value)
    for axis, (name, allowed) in enumerate(axes.items()):
        given = labels[axis]
        if given is None or allowed is None:
            continue
        names = allowed
        if isinstance(names, str):
            names = [f"{allowed}{i}" for i in range(len(given))]
        order = _order(given, names)
        if order is None and isinstance(names[0], str):  # where ints are not labels themselves
            order = _order(given, list(range(len(names))))
        if order is not None:
            array = array.take(order, axis=axis)
        elif len(given) == len(names) and (allowed is names or {*map(str, given)} & {*names}):
            raise ValueError(
                f"{what} has the {name} labels {short(given)}, expected {short(names)} in any "
                "order; convert it to a NumPy array to ignore its labels"
            )
    return array


def check_same_labels(
    first: Any, second: Any, what: str, kind: str = "row", axis: int = 0, name: str = ""
) -> None:
    """Refuse two labelled arrays of which an axis has different labels, or another order of them.

    The axis is the one of that name or, without it, of that number.
    """
    one, other = (
        labels[dims.index(name) if name in dims else axis] if labels else None
        for dims, labels in map(_labels, (first, second))
    )
    if one is not None and other is not None and one != other:
        raise ValueError(
            f"{what} have different {kind} labels, {short(one)} and {short(other)}: convert them "
            "to NumPy arrays to ignore the labels"
        )


def check_last_axes(value: Any, what: str, *names: str) -> None:
    """Refuse a labelled array that has an axis of these names, but not all of them last."""
    dims, _ = _labels(value)
    if {*dims} & {*names} and dims[-len(names) :] != names:
        axes = f"axes {' and '.join(names)}" if len(names) > 1 else f"axis {names[0]}"
        raise ValueError(f"{what} must have the {axes} last, got {dims}")


def check_square(value: Any, what: str, rows: str, columns: str) -> None:
    """Refuse labelled matrices that are transposed, or whose rows and columns differ in order.

    `rows` and `columns` are the names of the last two axes, where they have any of these.
    """
    check_last_axes(value, what, rows, columns)
    _, labels = _labels(value)
    if len(labels) >= 2 and None not in labels[-2:] and labels[-2] != labels[-1]:
        raise ValueError(
            f"{what} must have the same labels in rows and columns, got {short(labels[-2])} and "
            f"{short(labels[-1])}"
        )


def _labels(value: Any) -> tuple[tuple[Any, ...], list[list[Any] | None]]:
    """Return the names of a labelled array's axes, and the labels of each; both empty without."""
    if not hasattr(value, "to_numpy") or isinstance(value, type):
        return (), []
    if hasattr(value, "dims"):  # xarray
        dims, indexes = tuple(value.dims), getattr(value, "indexes", {})
        return dims, [list(indexes[dim]) if dim in indexes else None for dim in dims]
    rows = list(value.index) if hasattr(value, "index") else None
    return ((0, 1), [rows, list(value.columns)]) if hasattr(value, "columns") else ((0,), [rows])


def _order(given: list[Any], known: list[Any]) -> list[int] | None:
    """Return the places of the known labels, None if those given are others.

    True and False are not indices.
    """
    places = {label: i for i, label in enumerate(given) if isinstance(label, Hashable)}
    order = [places[label] for label in known if label in places]
    fits = len(order) == len(known) == len(given)
    return order if fits and not any(isinstance(given[place], bool) for place in order) else None


def finite_array(value: Any, what: str, ndim: int | None) -> "np.ndarray":
    """Return a new read-only float array of finite numbers, with `ndim` axes if given."""
    import numpy as np

    array = np.array(real_array(value, what), dtype=float)
    if ndim is not None and array.ndim != ndim:
        raise ValueError(
            f"{what} must have {ndim} dimension{'s' * (ndim != 1)}, got shape {array.shape}"
        )
    if array.size == 0:
        raise ValueError(f"{what} must not be empty, got shape {array.shape}")
    if not (np.abs(array) <= LARGEST).all():
        raise ValueError(f"{what} must be finite and at most {LARGEST:g} in absolute value")
    array.flags.writeable = False
    return array


def table(value: Any, what: str, numbers: str, texts: str = "") -> Any:
    """Return a DataFrame that has rows, columns of finite numbers and columns of strings.

    Columns are named in one string; a number may be missing where its name ends in ``?``.
    """
    columns = {name.rstrip("?"): name.endswith("?") for name in numbers.split()}
    names = [*columns, *texts.split()]
    if not (hasattr(value, "columns") and len(value) and value.columns.is_unique):
        raise _refuse(value, what, f"a table with rows and the columns {', '.join(names)}")
    absent = [name for name in names if name not in value.columns]
    if absent:
        raise ValueError(f"{what} has no column {absent[0]!r}; needed: {', '.join(names)}")
    for name, may_miss in columns.items():
        given = value[name].dropna() if may_miss else value[name]
        numeric = value[name].dtype.kind in "biuf"
        if not numeric or not given.astype(float).between(-LARGEST, LARGEST).all():
            raise ValueError(f"{what} must have finite numbers in the column {name!r}")
    for name in texts.split():
        if not all(isinstance(entry, str) for entry in value[name]):
            raise ValueError(f"{what} must have strings in the column {name!r}")
    return value


def select(candidates: list[T], key: str, only: str | Sequence[str] | None, what: str) -> list[T]:
    """Return the candidates whose attribute `key` matches a shell pattern, or one of several.

    Without a pattern, all are returned.
    """
    if only is None:
        return candidates
    names = [getattr(item, key) for item in candidates]
    chosen: set[str] = set()
    for pattern in [only] if isinstance(only, str) else items(only, "only"):
        matching = fnmatch.filter(names, text(pattern, "only"))
        if not matching:
            near = did_you_mean(pattern, names)
            raise ValueError(
                f"no {what} matches {short(pattern)}{near}; there are: {', '.join(names)}"
            )
        chosen.update(matching)
    return [item for item, name in zip(candidates, names, strict=True) if name in chosen]


class Frozen(BaseModel):
    """Frozen settings, validated once, when they are made."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise ValueError(self._explain(error)) from None

    def replace(self, **changes: Any) -> Self:
        """Return a copy with some values changed, validated like a new one."""
        return type(self)(**{**dict(self), **changes})

    @classmethod
    def _explain(cls, error: ValidationError) -> str:
        lines = []
        for item in error.errors()[:SHOWN_ERRORS]:
            name = printable(".".join(str(part) for part in item["loc"]))[:LONGEST_NAME]
            if item["type"] == "extra_forbidden":
                names = list(cls.model_fields)
                hint = cls._part_with(name) or did_you_mean(name, names)
                lines.append(
                    f"unknown name {short(name)} in {cls.__name__}{hint}; "
                    f"allowed: {', '.join(names)}"
                )
            elif item["type"] == "missing":
                lines.append(f"{cls.__name__} needs a value for {name!r}")
            else:
                allowed = item["msg"].removeprefix("Value error, ").replace("Input", "it", 1)
                if item["type"] == "literal_error":
                    words = re.findall("'(.*?)'", item["ctx"]["expected"])
                    allowed += did_you_mean(item["input"], words)
                where = f".{name} = {short(item['input'])}" if name else ""
                lines.append(f"{cls.__name__}{where}: {allowed}")
        return "\n".join(lines)

    @classmethod
    def _part_with(cls, name: str) -> str:
        """Return a hint at the part of these settings that has the name, or an empty string."""
        for part, field in cls.model_fields.items():
            kind = field.annotation
            if isinstance(kind, type) and issubclass(kind, Frozen) and name in kind.model_fields:
                return f" (it is in {part!r})"
        return ""
