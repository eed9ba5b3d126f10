"""The limits of each check: the last value that is allowed, and the first that is not."""

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Literal, Self

import numpy as np
import pandas as pd
import pytest
from pydantic import Field, model_validator

import deep_nb
from deep_nb import _validation as v

from .conftest import refused


@pytest.mark.parametrize(
    ("check", "good", "bad", "allowed"),
    [
        (lambda x: v.integer(x, "n"), [0, 10**30, np.int8(3)], [-1, 1.0, True, "1", None],
         "an integer of at least 0"),
        (lambda x: v.integer(x, "n", 2, 5), [2, 5], [1, 6], "an integer from 2 to 5"),
        (lambda x: v.number(x, "n"), [-1e308, 0, np.float32(2.5)],
         [np.inf, np.nan, True, "1", 10**309, 1j], "a finite number"),
        (lambda x: v.number(x, "n", 1, 2), [1, 2.0], [0.999, 2.001], "a finite number from 1 to 2"),
        (lambda x: v.number(x, "n", 1), [1, 1e300], [0.999], "a finite number of at least 1"),
        (lambda x: v.number(x, "n", high=2), [-1e300, 2], [2.001], "a finite number of at most 2"),
        (lambda x: v.number(x, "n", above=1), [1.001], [1, 0], "a finite number above 1"),
        (lambda x: v.number(x, "n", high=2, above=1), [1.001, 2], [1, 2.001],
         "a finite number above 1, at most 2"),
        (lambda x: v.flag(x, "n"), [True, np.False_], [0, 1, "no", None], "True or False"),
        (lambda x: v.text(x, "n"), ["", "a"], [1, b"a", None], "a string"),
        (lambda x: v.items(x, "n"), [[1], (1, 2), range(3), np.arange(2)], [[], "ab", 3, {1}],
         "a sequence that is not empty"),
        (lambda x: v.items(x, "n", 0), [[], ()], ["", None], "a sequence"),
        (lambda x: v.items(x, "n", 2), [[1, 2]], [[1]], "a sequence of at least 2 items"),
        (lambda x: v.mapping(x, "n"), [{}, {"a": 1}], [{1: 2}, [], None],
         "a mapping from names to values"),
        (lambda x: v.file_name(x, "n"), ["a", "x" * 199, "..."],
         ["", "x" * 200, ".", "..", "a/b", "a\\b", "a\0", 3], "the name of a file or folder"),
    ],
)  # fmt: skip
def test_limits(check, good, bad, allowed):
    for value in good:
        checked = check(value)
        assert np.array_equal(checked, value)
        assert type(checked) in (bool, int, float, str, list, dict)
    for value in bad:
        message = f"n must be {allowed}, got {v.short(value)}"
        with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
            check(value)


def test_arrays_are_copied_read_only_and_of_limited_size():
    given = np.array([[1, -1]]) * 1e100
    array = v.finite_array(given, "X", 2)
    given[0, 0] = 0
    assert array.tolist() == [[1e100, -1e100]]
    with pytest.raises(ValueError, match="read-only"):
        array[0, 0] = 1
    for bad in (1.001e100, -1.001e100, np.nan, np.inf, -np.inf):
        with pytest.raises(ValueError, match=r"X must be finite and at most 1e\+100"):
            v.finite_array([[0.0, bad]], "X", 2)


def test_a_table_may_miss_numbers_only_where_it_says_so():
    table = pd.DataFrame({"n": [1.0, 2.0], "p": [np.nan, 1e100], "word": ["a", "b"]})
    assert v.table(table, "t", "n p?", "word") is table
    for names, changed in [
        ("n p", table),
        ("n p?", table.assign(n=[1.0, np.nan])),
        ("n p?", table.assign(p=[1.0, -np.inf])),
        ("n p?", table.assign(n=[1.0, 1.1e100])),
        ("n p?", table.assign(n=["1", "2"])),
    ]:
        with pytest.raises(ValueError, match=r"t must have finite numbers in the column '[np]'"):
            v.table(changed, "t", names, "word")
    with pytest.raises(ValueError, match="t must have strings in the column 'word'"):
        v.table(table.assign(word=[1, "b"]), "t", "n", "word")
    with pytest.raises(ValueError, match="t has no column 'm'; needed: n, m"):
        v.table(table, "t", "n m")


@pytest.mark.parametrize(
    ("only", "names"),
    [
        (None, "b1 a2 a1 C9"), ("C*", "C9"), ("a*", "a2 a1"), (["a1", "b*"], "b1 a1"),
        (("a1", "a?", "a1"), "a2 a1"),
        ("[ab]1", "b1 a1"), (["b1"], "b1"),
    ],
)  # fmt: skip
def test_patterns_select_in_the_order_of_the_candidates(only, names):
    candidates = [SimpleNamespace(id=name) for name in ("b1", "a2", "a1", "C9")]
    assert [c.id for c in v.select(candidates, "id", only, "thing")] == names.split()
    for bad in ("A*", "c9", ["a1", "c"], "a"):
        with pytest.raises(ValueError, match=r"no thing matches .*; there are: b1, a2, a1, C9"):
            v.select(candidates, "id", bad, "thing")
    for bad, allowed in [([], "a sequence that is not empty, got []"), ([3], "a string, got 3")]:
        with refused(f"only must be {allowed}"):
            v.select(candidates, "id", bad, "thing")


def test_a_change_replaces_one_value_and_is_checked():
    hyper = deep_nb.MODELS["DEEP"].hyper
    changed = hyper.replace(n_epochs=hyper.n_epochs + 1)
    assert dict(changed) == {**dict(hyper), "n_epochs": hyper.n_epochs + 1}
    with pytest.raises(ValueError, match="n_epochs = 0"):
        hyper.replace(n_epochs=0)


def test_paths_have_their_limits():
    longest = "/".join(["x" * 255] * 16)
    assert v.as_path(longest, "p") == Path(longest)
    for bad in ("", "a\0b", "x" * 256, longest + "/x", "\ud800", b"x", 3, None):
        with pytest.raises(ValueError, match="p must be a valid path"):
            v.as_path(bad, "p")


def test_only_words_have_a_nearest_word_and_only_one():
    assert v.did_you_mean("deepp", ["DEEP_oh", "DEEP"]) == " (did you mean 'DEEP'?)"
    assert v.did_you_mean("DEP", ["DEEP"]) == " (did you mean 'DEEP'?)"
    for other in (3, None, "q"):
        assert v.did_you_mean(other, ["xxxx"]) == ""
    long = "a" * v.LONGEST_NAME
    assert v.did_you_mean(long + "b" * 200, [long]) == f" (did you mean {long!r}?)"


@pytest.mark.parametrize(
    "value",
    [3, pd.DataFrame({"n": []}), pd.DataFrame([[1, 2]], columns=["n", "n"]), pd.Series([1])],
    ids=["number", "empty", "twice", "series"],
)
def test_a_table_has_rows_and_each_column_once(value):
    with refused(f"t must be a table with rows and the columns n, w, got {v.short(value)}"):
        v.table(value, "t", "n?", "w")


class Setting(v.Frozen):
    """Settings for the tests below."""

    kind: Literal["Input", "other"] = "other"
    size: int = Field(1, gt=0)
    inner: dict[str, int] = Field({})

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.size == 13:
            raise ValueError("a size of 13 brings bad luck")
        return self


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"kind": "othr"},
         "Setting.kind = 'othr': it should be 'Input' or 'other' (did you mean 'other'?)"),
        ({"kind": 3}, "Setting.kind = 3: it should be 'Input' or 'other'"),
        ({"size": 0}, "Setting.size = 0: it should be greater than 0"),
        ({"inner": {"a": "x"}}, "Setting.inner.a = 'x': it should be a valid integer"),
        ({"size": 13}, "Setting: a size of 13 brings bad luck"),
        ({"Size": 3}, "unknown name 'Size' in Setting (did you mean 'size'?); allowed: kind, size, "
         "inner"),
        ({"kind": "q", "size": -1, "q": 0},
         "Setting.kind = 'q': it should be 'Input' or 'other'\n"
         "Setting.size = -1: it should be greater than 0\n"
         "unknown name 'q' in Setting; allowed: kind, size, inner"),
        ({f"q{i}": 0 for i in range(11)},
         "\n".join(f"unknown name 'q{i}' in Setting; allowed: kind, size, inner"
                   for i in range(10))),
    ],
)  # fmt: skip
def test_each_wrong_setting_is_explained(values, message):
    with refused(message):
        Setting(**values)
