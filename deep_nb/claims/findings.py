"""The findings: five sentences, each made from the claims table."""

from typing import NamedTuple

import pandas as pd

from deep_nb.claims.table import nearest_factor


class Finding(NamedTuple):
    """One sentence, and the ids of the claims whose numbers it gives."""

    about: str
    sentence: str
    claims: list[str]


_VERDICTS = ("reproduced", "not reproduced", "inconclusive")

#: For each sentence: the quantities that it reports, as patterns, each with its clause. Each clause
#: can be read alone, because a batch may lack the rows of the others.
_CLAUSES = {
    "XOR": {
        "share of DEEP: learned": "DEEP learns XOR in {} of networks",
        "share of EP_asym: learned": "asymmetric EP learns XOR in {} of networks",
        "probability that one of ten DEEP: learned": "at least one of ten DEEP networks learns "
        "XOR with probability {}",
    },
    "Tasks and architectures": {
        "share of DEEP: learned": "DEEP learns in {} of networks",
        "share of DEEP_oh: learned": "one-hot DEEP learns in {}",
        "share of DEEP layered: learned": "layered DEEP learns in {}",
    },
    "Pruning": {
        "median sparsity of DEEP pruned": "pruning removes {} of the synapses of the median DEEP "
        "network",
        r"share of the seeds learned .* by DEEP that are by DEEP pruned, too": "of the DEEP "
        "networks that learn unpruned, {} learn pruned",
    },
    "Rest": {
        r"share of DEEP: at rest after \d+ × T1 steps": "{} of DEEP networks come to rest within "
        "ten free phases",
        r"share certified, DEEP, λ = \S+ − DEEP, paired": "a leak changes the share of DEEP "
        "networks that are proved to converge by {}",
        r"share of DEEP, λ = \S+, rule = asymep, .*: learned": "with a leak and the rule asymep, "
        "DEEP learns in {} of networks",
    },
}


def findings(table: pd.DataFrame) -> list[Finding]:
    """Return five sentences about a claims table; fewer if it lacks what one is about."""
    found = [_of_verdicts(table)]
    for about, clauses in _CLAUSES.items():
        known = table[table["estimate"].notna()]
        if about == "XOR":
            known = known[known["task"] == "xor"]
        said, claims = [], []
        for pattern, clause in clauses.items():
            rows = known[known["quantity"].str.fullmatch(pattern)]
            if len(rows):
                said.append(clause.format(_over_tasks(rows, about)))
                claims += rows["id"].tolist()
        if said:
            found.append(Finding(about, _sentence(said), list(dict.fromkeys(claims))))
    return found


def _of_verdicts(table: pd.DataFrame) -> Finding:
    yes, no, undecided = (int((table["verdict"] == name).sum()) for name in _VERDICTS)
    said = [
        f"of {_count(len(table), 'verdict')} on {_count(table['id'].nunique(), 'claim')}, {yes} "
        f"are “reproduced”, {no} “not reproduced” and {undecided} “inconclusive”"
    ]
    sure = int((table["p"].isna() & (table["rule"] != "all are") & (table["networks"] > 0)).sum())
    if sure:
        said.append(f"{sure} of them could not have been refuted, by algebra")
    around = table[(table["settings"] > 0) & (table["verdict"] == "reproduced")]
    if len(around):
        factor = nearest_factor(table)
        wide = int((around["within"] >= factor).sum())
        said.append(
            f"of the {len(around)} “reproduced” that were tried around the published setting, "
            f"{wide} hold at every setting within a factor of {factor:.2g}"
        )
    return Finding("Verdicts", _sentence(said), [])


def _over_tasks(rows: pd.DataFrame, about: str) -> str:
    """Return the smallest and the largest estimate with their tasks; a single one with interval.

    Tasks are named, except where the sentence is about one.
    """
    unit = "+.3g} points" if rows["quantity"].iloc[0].endswith("paired") else ".3g} %"
    tasks: dict[str, list[str]] = {}
    for _, row in rows.sort_values("estimate", kind="stable").iterrows():
        shown = f"{{:{unit}".format(100 * row["estimate"])
        if len(rows) == 1:
            shown += f" [{100 * row['low']:.3g}, {100 * row['high']:.3g}]"
        tasks.setdefault(shown.replace("-", "−"), []).append(row["task"].upper())
    if about == "XOR":
        return next(iter(tasks))
    ends = [f"{shown} ({', '.join(names)})" for shown, names in tasks.items()]
    return ends[0] if len(ends) == 1 else f"{ends[0]} to {ends[-1]}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _sentence(clauses: list[str]) -> str:
    text = "; ".join(clauses)
    return f"{text[0].upper()}{text[1:]}."
