"""The claims table as Markdown."""

from typing import Any

import pandas as pd

from deep_nb._validation import table as check_table


def claims_table(table: pd.DataFrame) -> str:
    """Return the claims table as Markdown, with one row per claim and one column per task.

    Raises
    ------
    ValueError
        If `table` is not as returned by `evaluate`.

    See Also
    --------
    evaluate : Makes the table.

    Examples
    --------
    >>> import deep_nb
    >>> claims = [claim for claim in deep_nb.claims.read_claims() if claim.id == "1b"]
    >>> networks = deep_nb.claims.measure("EP_asym", "xor", range(10), hyper={"n_epochs": 20})
    >>> text = deep_nb.claims.claims_table(deep_nb.claims.evaluate(claims, networks))
    >>> text.splitlines()[0]
    '| | claim | rule | XOR |'
    """
    numbers = "estimate? low? high? p? settings reproduced_at not_reproduced_at"
    check_table(table, "table", numbers, "id statement task quantity bound rule verdict at_best")
    tasks = list(dict.fromkeys(table["task"]))
    lines = [
        "| | claim | rule | " + " | ".join(task.upper() for task in tasks) + " |",
        "|---" * (3 + len(tasks)) + "|",
    ]
    for of_claim, rows in table.groupby("id", sort=False):
        first = rows.iloc[0]
        cells = {row["task"]: _cell(row) for _, row in rows.iterrows()}
        columns = [str(of_claim), first["statement"], f"{first['quantity']} {first['rule']}"]
        lines.append("| " + " | ".join(columns + [cells.get(task, "") for task in tasks]) + " |")
    return "\n".join(lines) + "\n"


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
