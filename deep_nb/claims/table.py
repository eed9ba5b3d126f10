"""The claims table as Markdown: whole, and as symbols."""

from collections.abc import Callable
from typing import Any

import pandas as pd

from deep_nb._validation import one_of
from deep_nb._validation import table as check_table

#: Columns that are shown: numbers, of which some may be missing, and words.
_NUMBERS = "estimate? low? high? p? settings reproduced_at not_reproduced_at"
_WORDS = "id statement task quantity bound rule verdict at_best"

_SYMBOLS = {"reproduced": "✓", "inconclusive": "~", "not reproduced": "✗"}
_LEGEND = (
    "✓ reproduced · (✓) reproduced at the published settings, not or not clearly at others · "
    "~ inconclusive · ✗ not reproduced"
)


def claims_table(table: pd.DataFrame) -> str:
    """Return the claims table as Markdown, with one row per claim and one column per task.

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
    >>> claims = [claim for claim in deep_nb.claims.read_claims() if claim.id == "1b"]
    >>> networks = deep_nb.claims.measure("EP_asym", "xor", range(10), hyper={"n_epochs": 20})
    >>> text = deep_nb.claims.claims_table(deep_nb.claims.evaluate(claims, networks))
    >>> text.splitlines()[0]
    '|  | claim | rule | XOR |'
    """
    check_table(table, "table", _NUMBERS, _WORDS)
    lines = []
    for of_claim, rows in table.groupby("id", sort=False):
        first = rows.iloc[0]
        rule = f"{first['quantity']} {first['rule']}"
        lines.append([str(of_claim), first["statement"], rule, *_over_tasks(table, rows, _cell)])
    return _markdown(["", "claim", "rule", *_tasks(table)], lines)


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
    >>> claims = [claim for claim in deep_nb.claims.read_claims() if claim.id == "1b"]
    >>> networks = deep_nb.claims.measure("EP_asym", "xor", range(10), hyper={"n_epochs": 20})
    >>> text = deep_nb.claims.verdict_table(deep_nb.claims.evaluate(claims, networks))
    >>> text.splitlines()[2]
    '| 1b | Asymmetric EP does not learn XOR | ✓ |'
    """
    check_table(table, "table", _NUMBERS, _WORDS)
    lines = [
        [str(of_claim), rows.iloc[0]["statement"], *_over_tasks(table, rows, _symbol)]
        for of_claim, rows in table.groupby("id", sort=False)
    ]
    return _markdown(["", "claim", *_tasks(table)], lines) + f"\n{_LEGEND}\n"


def _markdown(header: list[str], lines: list[list[str]]) -> str:
    rows = [header, ["---"] * len(header), *lines]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _tasks(table: pd.DataFrame) -> list[str]:
    return [task.upper() for task in dict.fromkeys(table["task"])]


def _over_tasks(table: pd.DataFrame, rows: pd.DataFrame, cell: Callable[[Any], str]) -> list[str]:
    """Return one claim's cells, empty for tasks that it is not about."""
    cells = {row["task"]: cell(row) for _, row in rows.iterrows()}
    return [cells.get(task, "") for task in dict.fromkeys(table["task"])]


def _symbol(row: Any) -> str:
    """Return the verdict of one claim and task as a symbol."""
    verdict, _, elsewhere = row["verdict"].partition(" at the published setting")
    symbol = _SYMBOLS[one_of(verdict, _SYMBOLS, "verdict")]
    return f"({symbol})" if elsewhere and verdict == "reproduced" else symbol


def _cell(row: Any) -> str:
    """Return estimate, interval and verdicts of one claim and task."""
    epochs = row["quantity"].startswith("median epochs")
    factor, unit = (1, " epochs") if epochs else (100, " %")
    estimate, low, high = (f"{factor * row[n]:.3g}" for n in ("estimate", "low", "high"))
    text = f"{row['bound']} {estimate}{unit} [{low}, {high}]".strip()
    if epochs:
        text += f", p = {row['p']:.0e}" if row["p"] >= 1e-6 else ", p < 1e-6"
    text += f"<br>**{row['verdict']}**"
    if row["settings"]:
        yes, no, total = (row[name] for name in ("reproduced_at", "not_reproduced_at", "settings"))
        text += f"<br>{total} settings: yes {yes}, no {no}"
    if row["at_best"]:
        text += f"<br>each at its best: {row['at_best']}"
    return text
