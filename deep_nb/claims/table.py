"""The claims table as Markdown: whole, and as symbols."""

from collections.abc import Callable
from typing import Any

import pandas as pd

from deep_nb._validation import one_of
from deep_nb._validation import table as check_table

#: Columns that are shown: numbers, of which some may be missing, and words.
_NUMBERS = (
    "estimate? low? high? p_holm? networks runaway settings reproduced_at not_reproduced_at "
    "nearest? within?"
)
_WORDS = "id statement evidence note task quantity rule verdict at_best"

SYMBOLS = {"reproduced": "✓", "inconclusive": "~", "not reproduced": "✗"}
_LEGEND = "✓ reproduced · ~ inconclusive · ✗ not reproduced"
_NARROW = " · (✓) reproduced, but not at every setting within a factor of {:.2g}"


def claims_table(table: pd.DataFrame) -> str:
    """Return the claims table as Markdown: evidence, rule, and one column per task.

    Raises
    ------
    ValueError
        If `table` is not as returned by `evaluate`.

    See Also
    --------
    verdict_table : The verdicts alone, as symbols.
    evaluate : Makes the table.

    Examples
    --------
    >>> import deep_nb
    >>> claims = [claim for claim in deep_nb.claims.read_claims() if claim.id == "1c"]
    >>> networks = deep_nb.claims.measure("EP_asym", "xor", range(10), hyper={"n_epochs": 20})
    >>> text = deep_nb.claims.claims_table(deep_nb.claims.evaluate(claims, networks))
    >>> text.splitlines()[0]
    '|  | claim | evidence | reproduced if | XOR |'
    """
    check_table(table, "table", _NUMBERS, _WORDS)
    lines = []
    for of_claim, rows in table.groupby("id", sort=False):
        first = rows.iloc[0]
        rule = f"{first['quantity']} {first['rule']}"
        evidence = "<br>".join(filter(None, [first["evidence"], first["note"]]))
        words = [first["statement"], evidence.replace("|", r"\|"), rule]
        lines.append([str(of_claim), *words, *_over_tasks(table, rows, _cell)])
    return _markdown(["", "claim", "evidence", "reproduced if", *_tasks(table)], lines)


def verdict_table(table: pd.DataFrame) -> str:
    """Return the verdicts as symbols in a Markdown table, one row per claim, and their legend.

    Raises
    ------
    ValueError
        If `table` is not as returned by `evaluate`.

    See Also
    --------
    claims_table : The whole table.
    evaluate : Makes the table.

    Examples
    --------
    >>> import deep_nb
    >>> claims = [claim for claim in deep_nb.claims.read_claims() if claim.id == "1c"]
    >>> networks = deep_nb.claims.measure("EP_asym", "xor", range(10), hyper={"n_epochs": 20})
    >>> text = deep_nb.claims.verdict_table(deep_nb.claims.evaluate(claims, networks))
    >>> text.splitlines()[2]
    '| 1c | Asymmetric EP does not learn XOR | ✓ |'
    """
    check_table(table, "table", _NUMBERS, _WORDS)
    factor = nearest_factor(table)
    lines = []
    for of_claim, rows in table.groupby("id", sort=False):
        symbols = _over_tasks(table, rows, lambda row: symbol(row, factor))
        lines.append([str(of_claim), rows.iloc[0]["statement"], *symbols])
    legend = _LEGEND + (_NARROW.format(factor) if factor else "")
    return _markdown(["", "claim", *_tasks(table)], lines) + f"\n{legend}\n"


def _markdown(header: list[str], lines: list[list[str]]) -> str:
    rows = [header, ["---"] * len(header), *lines]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _tasks(table: pd.DataFrame) -> list[str]:
    return [task.upper() for task in dict.fromkeys(table["task"])]


def _over_tasks(table: pd.DataFrame, rows: pd.DataFrame, cell: Callable[[Any], str]) -> list[str]:
    """Return one claim's cells, empty for tasks that it is not about."""
    cells = {row["task"]: cell(row) for _, row in rows.iterrows()}
    return [cells.get(task, "") for task in dict.fromkeys(table["task"])]


def nearest_factor(table: pd.DataFrame) -> float:
    """Return the factor to the settings next to the published one; 0 without a grid."""
    return float(table["nearest"].fillna(0).max())


def symbol(row: Any, factor: float) -> str:
    """Return the verdict of one claim and task as a symbol, in brackets where it is narrow."""
    found = SYMBOLS[one_of(row["verdict"], SYMBOLS, "verdict")]
    narrow = row["settings"] and row["within"] < factor
    return f"({found})" if narrow and row["verdict"] == "reproduced" else found


def with_interval(row: Any) -> str:
    """Return the estimate of one claim and task with its interval, in per cent."""
    estimate, low, high = (f"{100 * row[n]:.3g}" for n in ("estimate", "low", "high"))
    return f"{estimate} %" if low == high else f"{estimate} % [{low}, {high}]"


def _cell(row: Any) -> str:
    """Return estimate, interval and verdicts of one claim and task."""
    text = f"{with_interval(row)} of {row['networks']}" if row["networks"] else "no networks"
    if not pd.isna(row["p_holm"]):
        text += f", p = {row['p_holm']:.1g}" if row["p_holm"] >= 1e-6 else ", p < 1e-6"
    if row["runaway"]:
        text += f", {row['runaway']} runaways apart"
    text += f"<br>**{row['verdict']}**"
    if row["settings"]:
        yes, no, total = (row[name] for name in ("reproduced_at", "not_reproduced_at", "settings"))
        text += f"<br>{total} settings: yes {yes}, no {no}"
        if row["within"] >= 1:
            text += f"; all within a factor of {row['within']:.2g}"
    if row["at_best"]:
        text += f"<br>each at its best: {row['at_best']}"
    return text
