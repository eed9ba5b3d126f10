"""The claims table as Markdown: whole, and as symbols."""

from collections.abc import Callable
from typing import Any

import pandas as pd

from deep_nb._validation import one_of
from deep_nb._validation import table as check_table

#: Columns that are shown: numbers, of which some may be missing, and words.
_NUMBERS = (
    "estimate? low? high? p_holm? networks runaway settings reproduced_at not_reproduced_at "
    "nearest? near_settings near_reproduced within?"
)
_WORDS = "id statement evidence note task quantity beside rule verdict refuted_at at_best"

SYMBOLS = {"reproduced": "✓", "inconclusive": "~", "not reproduced": "✗"}
_LEGEND = "✓ reproduced at the published setting"
_AROUND = (
    " · ✓✓ and at every setting within a factor {:.2g} of β, dt_W and N_H (rounded) · "
    "(✓) reproduced, but refuted at some setting within that factor"
)
_REST = " · ~ inconclusive · ✗ not reproduced"


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
    check_verdicts(table)
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

    Below it are the counts to read beside some of them.

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
    '| 1c | Asymmetric EP does not learn XOR (fewer than half of the networks do) | ✓ |'
    """
    check_verdicts(table)
    lines, counts = [], []
    for of_claim, rows in table.groupby("id", sort=False):
        symbols = _over_tasks(table, rows, symbol)
        lines.append([str(of_claim), rows.iloc[0]["statement"], *symbols])
        said = rows[rows["beside"] != ""]
        beside = [f"{row['task'].upper()} {row['beside']}" for _, row in said.iterrows()]
        if beside:
            counts.append(f"{of_claim}: {'; '.join(beside)}.")
    notes = "".join(f"\n{line}\n" for line in [legend(table), *counts])
    return _markdown(["", "claim", *_tasks(table)], lines) + notes


def check_verdicts(table: pd.DataFrame) -> None:
    """Refuse a table that is not as returned by `evaluate`, such as one with unknown verdicts.

    An estimate is missing only where there were no networks, and an interval never is.
    """
    check_table(table, "table", _NUMBERS, _WORDS)
    for _, row in table.iterrows():
        one_of(row["verdict"], SYMBOLS, "verdict")
        if row["networks"] and row[["estimate", "low", "high"]].isna().any():
            raise ValueError(f"table has no estimate of claim {row['id']} on {row['task']}")


def nearest_factor(table: pd.DataFrame) -> float:
    """Return the factor to the settings next to the published one; 0 without a grid."""
    return float(table["nearest"].fillna(0).max())


def legend(table: pd.DataFrame) -> str:
    """Return the line that explains the symbols."""
    factor = nearest_factor(table)
    return _LEGEND + (_AROUND.format(factor) if factor else "") + _REST


def _markdown(header: list[str], lines: list[list[str]]) -> str:
    rows = [header, ["---"] * len(header), *lines]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _tasks(table: pd.DataFrame) -> list[str]:
    return [task.upper() for task in dict.fromkeys(table["task"])]


def _over_tasks(table: pd.DataFrame, rows: pd.DataFrame, cell: Callable[[Any], str]) -> list[str]:
    """Return one claim's cells, empty for tasks that it is not about."""
    cells = {row["task"]: cell(row) for _, row in rows.iterrows()}
    return [cells.get(task, "") for task in dict.fromkeys(table["task"])]


def symbol(row: Any) -> str:
    """Return the verdict of one claim and task as a symbol."""
    found = SYMBOLS[row["verdict"]]
    if row["verdict"] != "reproduced" or not row["settings"]:
        return found
    if row["near_reproduced"] == row["near_settings"]:
        return 2 * found
    return f"({found})" if row["refuted_at"] else found


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
    text += f"<br>{row['beside']}" if row["beside"] else ""
    text += f"<br>**{row['verdict']}**"
    if row["settings"]:
        yes, no, total = (row[name] for name in ("reproduced_at", "not_reproduced_at", "settings"))
        text += f"<br>{total} settings: yes {yes}, no {no}"
        if row["within"] >= 1:
            text += f"; all within a factor of {row['within']:.2g}"
        near, sure = row["near_settings"], row["near_reproduced"]
        refuted = row["refuted_at"].split("; ") if row["refuted_at"] else []
        text += f"<br>{near} within a factor of {row['nearest']:.2g}: yes {sure}, "
        text += f"no {len(refuted)}, undecided {near - sure - len(refuted)}"
        text += f"; no at {row['refuted_at']}" if refuted else ""
    if row["at_best"]:
        text += f"<br>each at its best: {row['at_best']}"
    return text
