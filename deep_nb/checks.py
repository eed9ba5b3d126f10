"""Checks that words, arrays and frozen settings share: one clear ``ValueError`` a mistake."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable
from typing import Any, Self, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from deep_nb.kinds import LARGEST, MAPPING, NOTHING, TEXT, did_you_mean, short

T = TypeVar("T")


def one_of(value: object, allowed: Iterable[str], what: str) -> str:
    """Return `value` if it is one of the `allowed` words.

    Parameters
    ----------
    value : object
        What the caller gave.
    allowed : iterable of str
        The words that may stand there.
    what : str
        What the word names, for the message.

    Raises
    ------
    ValueError
        If it is not, with the nearest allowed word and all of them.
    """
    words = list(allowed)
    if isinstance(value, str) and value in words:
        return value
    raise ValueError(
        f"unknown {what} {short(value)}{did_you_mean(value, words)}; allowed: {', '.join(words)}"
    )


def real_array(value: Any, what: str) -> np.ndarray:
    """Return `value` as an array of real numbers, NaN and infinities among them.

    Raises
    ------
    ValueError
        If it is not numeric.
    """
    try:
        given = np.asanyarray(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{what} must be an array of real numbers: {error!s:.200}") from None
    if given.dtype.kind not in "biuf" or isinstance(given, np.ma.MaskedArray):
        kind = f"{type(given).__name__} of {given.dtype}"
        raise ValueError(f"{what} must be a plain array of real numbers, got {kind}")
    return given


def finite_array(value: Any, what: str, ndim: int | None) -> np.ndarray:
    """Return `value` as a new read-only float array of `ndim` dimensions, or of any number.

    Raises
    ------
    ValueError
        If it is not numeric, has another number of dimensions, is empty, or holds NaN or
        numbers beyond ±1e100.
    """
    array = np.array(real_array(value, what), dtype=float)
    if ndim is not None and array.ndim != ndim:
        raise ValueError(f"{what} must have {ndim} dimensions, got shape {array.shape}")
    if array.size == 0:
        raise ValueError(f"{what} must not be empty, got shape {array.shape}")
    if not (np.abs(array) <= LARGEST).all():
        raise ValueError(f"{what} must be finite and at most {LARGEST:g} in size")
    array.flags.writeable = False
    return array


#: So many mistakes are told of at a time.
SHOWN_ERRORS = 10


class Frozen(BaseModel):
    """A frozen set of named values, checked once, where it is made.

    Raises
    ------
    ValueError
        On an unknown name, or on a value of the wrong type or out of range: one line each, with
        the name, the value and what is allowed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise ValueError(self._explain(error)) from None

    def replace(self, **changes: Any) -> Self:
        """Return a copy with some values changed, checked like a new one.

        Raises
        ------
        ValueError
            On an unknown name, or a value of the wrong type or out of range.
        """
        return type(self)(**{**dict(self), **changes})

    @classmethod
    def _explain(cls, error: ValidationError) -> str:
        lines = []
        for item in error.errors()[:SHOWN_ERRORS]:
            name = ".".join(str(part) for part in item["loc"])
            if item["type"] == "extra_forbidden":
                names = list(cls.model_fields)
                lines.append(
                    f"unknown name {short(name)} in {cls.__name__}{did_you_mean(name, names)}; "
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


def mapping(value: Any, what: str) -> dict[str, Any]:
    """Return `value` as a dict with string keys.

    Raises
    ------
    ValueError
        If it is no mapping, or a key is no string.
    """
    MAPPING.check(value, what)
    return dict(value)


def select(items: list[T], key: str, only: str | None, what: str) -> list[T]:
    """Return the items whose attribute `key` matches a shell pattern; all without one.

    Raises
    ------
    ValueError
        If none matches, or `only` is no text.
    """
    (TEXT | NOTHING).check(only, "only")
    chosen = [i for i in items if only is None or fnmatch.fnmatchcase(getattr(i, key), only)]
    if not chosen:
        names = [getattr(item, key) for item in items]
        near = did_you_mean(only, names)
        raise ValueError(f"no {what} matches {short(only)}{near}; there are: {', '.join(names)}")
    return chosen
