"""The claims table as Markdown."""

from __future__ import annotations

from typing import Any

import pandas as pd

from deep_nb.kinds import table, takes

#: The columns that are written; those that are not may be missing or anything.
WRITTEN = table(
    "estimate? low? high? p? settings reproduced_at not_reproduced_at",
    "id statement task quantity bound rule verdict at_best",
)


@takes(table=WRITTEN)
def claims_table(table: pd.DataFrame) -> str:
    """Return the claims table as Markdown: one row a claim, one column a task.

    Raises
    ------
    ValueError
        If `table` is none, as from `evaluate`.
    """
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
    """Return estimate, interval, verdict and what the grid says, in a cell of a table."""
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
