"""The paper's claims as data, and the rule that decides each of them.

``claims.yml`` beside this file states every claim: what is measured, of which networks, and which
side of which number its 95 % interval has to lie on. `evaluate` puts networks, trained in
`deep_nb.ensembles`, to the test and returns a table of verdicts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from importlib.resources import files
from typing import Any, Literal, NamedTuple, Self

import numpy as np
import pandas as pd
import yaml
from pydantic import Field, model_validator

from deep_nb.checks import Frozen, mapping
from deep_nb.ensembles import GRID, SETTING, best_networks, measure
from deep_nb.kinds import NOTHING, TEXT, a, number, sequence, table, takes
from deep_nb.randomness import check_seeds
from deep_nb.statistics import (
    Estimate,
    difference_of_medians,
    difference_of_shares,
    log_rank,
    median,
    share,
)

SOURCE = "Farinha et al. 2020, arXiv:2006.08798"
SIGNIFICANT = 0.05

#: Makes the whole table; ``deep-nb claims --only ID`` decides one claim at the published settings.
COMMAND = "deep-nb replicate --profile full --only claims"

#: Columns of the claims table.
COLUMNS = (
    "id",
    "statement",
    "source",
    "task",
    "quantity",
    "estimate",
    "low",
    "high",
    "bound",
    "p",
    "networks",
    "rule",
    "verdict",
    "settings",
    "reproduced_at",
    "not_reproduced_at",
    "at_best",
    "command",
)
#: Those that hold words.
TEXTS = [
    "id",
    "statement",
    "source",
    "task",
    "quantity",
    "bound",
    "rule",
    "verdict",
    "at_best",
    "command",
]

Verdict = Literal["reproduced", "not reproduced", "inconclusive"]
TaskName = Literal["xor", "and", "or", "not", "id"]


class Networks(Frozen):
    """Which networks a claim is about.

    Raises
    ------
    ValueError
        If a name is unknown, or a value is of the wrong type.
    """

    model: Literal["DEEP", "DEEP_oh", "EP_asym"]
    pruned: bool = Field(False, description="L1 and stochastic pruning on")


class Side(Frozen):
    """The side of a number on which the whole interval has to lie.

    Raises
    ------
    ValueError
        If it is not one of the two, and a finite number.
    """

    above: float | None = None
    below: float | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.above is None) == (self.below is None):
            raise ValueError("give one of above and below")
        return self

    def __str__(self) -> str:
        return f"above {self.above:g}" if self.above is not None else f"below {self.below:g}"

    @takes(estimate=a(Estimate), p=number(0, 1))
    def verdict(self, estimate: Estimate, p: float = 0.0) -> Verdict:
        """Decide by the interval, and by a p-value where there is one.

        Raises
        ------
        ValueError
            If `estimate` is none, or `p` no number from 0 to 1.
        """
        if p >= SIGNIFICANT:
            return "inconclusive"
        if self.above is not None:
            yes, no = estimate.low > self.above, estimate.high < self.above
        else:
            assert self.below is not None
            yes, no = estimate.high < self.below, estimate.low > self.below
        return "reproduced" if yes else "not reproduced" if no else "inconclusive"


class Claim(Frozen):
    """One claim; ``claims.yml`` says what each name means.

    Raises
    ------
    ValueError
        If a name is unknown, a value is of the wrong type, or two do not fit together.
    """

    id: str
    statement: str
    quantity: Literal["share", "difference", "median", "earlier"]
    measure: Literal["learned", "learned_after", "gershgorin", "sparsity"] = "learned"
    of: Networks
    against: Networks | None = None
    tasks: list[TaskName] = Field(min_length=1)
    holds: Side
    grid: Literal["most", "every", "best"] | None = None
    grid_N_H: int | None = None

    @model_validator(mode="after")
    def _has_what_it_compares(self) -> Self:
        if (self.quantity in ("difference", "earlier")) != (self.against is not None):
            raise ValueError(f"quantity {self.quantity!r} and 'against' do not fit together")
        if self.grid == "best" and self.against is None:
            raise ValueError("grid 'best' needs 'against'")
        return self


def read_claims(text: str | None = None) -> list[Claim]:
    """Return the claims of a YAML text, by default the package's own.

    Raises
    ------
    ValueError
        If the text is not a list of claims under ``claims``, or two have the same id.
    """
    (TEXT | NOTHING).check(text, "text")
    if text is None:
        text = files("deep_nb").joinpath("claims.yml").read_text(encoding="utf-8")
    try:
        content = mapping(yaml.safe_load(text), "the claims")
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(f"the claims are not YAML: {error}") from None
    if list(content) != ["claims"] or not isinstance(content["claims"], list):
        raise ValueError("the claims must be one list named 'claims'")
    claims = [_claim(item) for item in content["claims"]]
    ids = [claim.id for claim in claims]
    if len(set(ids)) < len(ids):
        raise ValueError(f"two claims have the same id: {', '.join(ids)}")
    return claims


def _claim(item: Any) -> Claim:
    values = mapping(item, "a claim")
    for name, kind in (("of", Networks), ("against", Networks), ("holds", Side)):
        if name in values:
            given = mapping(values[name], f"claim {values.get('id')}: {name}")
            if kind is Side:  # YAML's 0 is an integer
                given = {k: float(v) if type(v) is int else v for k, v in given.items()}
            values[name] = kind(**given)
    return Claim(**values)


def _checked(claims: Iterable[Claim]) -> list[Claim]:
    """Return claims as a list, one at least."""
    iterates = isinstance(claims, Iterable) and not isinstance(claims, np.ndarray)
    given = list(claims) if iterates else claims
    sequence(a(Claim)).check(given, "claims")
    return list(given)


def measure_all(claims: Iterable[Claim], seeds: int | Sequence[int]) -> pd.DataFrame:
    """Measure every ensemble that the claims are about, once each, at published settings.

    Raises
    ------
    ValueError
        If `claims` holds no claims, or as `deep_nb.randomness.check_seeds`.
    """
    check_seeds(seeds)
    claims = _checked(claims)
    wanted = {
        (networks.model, task, networks.pruned): None
        for claim in claims
        for task in claim.tasks
        for networks in (claim.of, claim.against)
        if networks is not None
    }
    frames = [measure(model, task, seeds, pruned=pruned) for model, task, pruned in wanted]
    return pd.concat(frames, ignore_index=True)


class Evidence(NamedTuple):
    """What one claim's quantity came out as.

    p is 0 where no test belongs to it. `bound` is "≤" or "≥" where a median is censored, so that
    the estimate is one for it, else empty.
    """

    estimate: Estimate
    p: float
    networks: int
    bound: str = ""


def _share(claim: Claim, of: pd.DataFrame, against: pd.DataFrame | None) -> Evidence:
    return Evidence(share(int(of[claim.measure].sum()), len(of)), 0.0, len(of))


def _difference(claim: Claim, of: pd.DataFrame, against: pd.DataFrame | None) -> Evidence:
    assert against is not None
    counts = [(int(side[claim.measure].sum()), len(side)) for side in (of, against)]
    return Evidence(difference_of_shares(*counts), 0.0, len(of) + len(against))


def _median(claim: Claim, of: pd.DataFrame, against: pd.DataFrame | None) -> Evidence:
    return Evidence(median(of[claim.measure]), 0.0, len(of))


def _earlier(claim: Claim, of: pd.DataFrame, against: pd.DataFrame | None) -> Evidence:
    assert against is not None
    horizon = int(min(of["n_epochs"].iloc[0], against["n_epochs"].iloc[0]))
    sides = [side["epochs"].to_numpy(float) for side in (of, against)]
    first, second = (np.where(side < horizon, side, np.nan) for side in sides)
    difference = difference_of_medians(
        np.nan_to_num(first, nan=horizon), np.nan_to_num(second, nan=horizon)
    )
    censored = [bool(np.isnan(side).mean() >= 0.5) for side in (first, second)]
    bound = {(True, False): "≥", (False, True): "≤"}.get((censored[0], censored[1]), "")
    return Evidence(difference, log_rank(first, second, horizon), len(of) + len(against), bound)


_QUANTITIES: dict[str, Callable[[Claim, pd.DataFrame, pd.DataFrame | None], Evidence]] = {
    "share": _share,
    "difference": _difference,
    "median": _median,
    "earlier": _earlier,
}


#: What is asked of the networks.
NETWORKS = table("pruned learned epochs? n_epochs learned_after sparsity gershgorin", "model task")


@takes(networks=NETWORKS, grid=GRID | NOTHING)
def evaluate(
    claims: Iterable[Claim], networks: pd.DataFrame, grid: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Return the claims table: a verdict for every claim and task.

    Parameters
    ----------
    claims : iterable of Claim
    networks : pandas.DataFrame
        As from `measure_all`.
    grid : pandas.DataFrame, optional
        As from `deep_nb.ensembles.sweep`.

    Returns
    -------
    pandas.DataFrame
        One row a claim and task: id, statement, source, task, quantity, estimate, low, high,
        bound ("≤" or "≥" where a median is censored), p (NaN without a test), networks (of both
        sides), rule, verdict; of the grid, how many settings were asked
        (0 without a grid), at how many the claim is ``reproduced_at`` and ``not_reproduced_at``,
        and the verdict where two models are compared ``at_best``, each at its own best setting as
        in `deep_nb.ensembles.best_settings`; and the command that makes the row.

    Raises
    ------
    ValueError
        If `claims` holds no claims, or `networks` or `grid` is no such table, or lacks networks
        that a claim is about.
    """
    claims = _checked(claims)
    groups = dict(list(networks.groupby(["model", "task", "pruned"])))
    settings = {} if grid is None else dict(list(grid.groupby(["model", "task", *SETTING])))
    rows = []
    for claim, task in _pairs(claims):
        sides = [
            None if side is None else _group(groups, (side.model, task, side.pruned), "networks")
            for side in (claim.of, claim.against)
        ]
        assert sides[0] is not None
        evidence = _QUANTITIES[claim.quantity](claim, sides[0], sides[1])
        over_grid = _over_grid(claim, task, settings)
        verdict = _verdict(claim, evidence)
        rows.append(
            {
                "id": claim.id,
                "statement": claim.statement,
                "source": SOURCE,
                "task": task,
                "quantity": _describe(claim),
                "estimate": evidence.estimate.value,
                "low": evidence.estimate.low,
                "high": evidence.estimate.high,
                "bound": evidence.bound,
                "p": evidence.p if claim.quantity == "earlier" else np.nan,
                "networks": evidence.networks,
                "rule": str(claim.holds),
                "verdict": _in_words(claim, verdict, over_grid),
                **over_grid._asdict(),
                "command": COMMAND,
            }
        )
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _group(groups: dict[Any, pd.DataFrame], key: Any, table: str) -> pd.DataFrame:
    if key not in groups:
        raise ValueError(f"{table} has no rows of {key}, which a claim is about")
    return groups[key]


def _pairs(claims: Iterable[Claim]) -> list[tuple[Claim, str]]:
    return [(claim, task) for claim in claims for task in claim.tasks]


def _describe(claim: Claim) -> str:
    of = claim.of.model + (" pruned" if claim.of.pruned else "")
    if claim.quantity == "share":
        return f"share of {of}: {claim.measure}"
    if claim.quantity == "median":
        return f"median {claim.measure} of {of}"
    assert claim.against is not None
    what = "median epochs" if claim.quantity == "earlier" else f"share {claim.measure}"
    return f"{what}, {of} − {claim.against.model}"


class OverGrid(NamedTuple):
    """How a claim fares over the grid: at how many settings, and at each model's best one."""

    settings: int = 0
    reproduced_at: int = 0
    not_reproduced_at: int = 0
    at_best: str = ""


def _verdict(claim: Claim, evidence: Evidence) -> Verdict:
    return claim.holds.verdict(evidence.estimate, evidence.p)


def _over_grid(claim: Claim, task: str, settings: dict[Any, pd.DataFrame]) -> OverGrid:
    if not claim.grid or not settings:
        return OverGrid()
    sides = [
        {
            tuple(setting): networks
            for (model, of_task, *setting), networks in settings.items()
            if (model, of_task) == (side.model, task) and claim.grid_N_H in (None, setting[0])
        }
        for side in (claim.of, claim.against)
        if side is not None
    ]
    verdicts = []
    for setting, of in sides[0].items():
        against = _group(sides[1], setting, "grid") if claim.against else None
        verdicts.append(_verdict(claim, _QUANTITIES[claim.quantity](claim, of, against)))
    best = ""
    if claim.against:
        fresh = [best_networks(side) for side in sides]
        best = _verdict(claim, _QUANTITIES[claim.quantity](claim, fresh[0], fresh[1]))
    yes, no = verdicts.count("reproduced"), verdicts.count("not reproduced")
    return OverGrid(len(verdicts), yes, no, best)


def _in_words(claim: Claim, verdict: Verdict, over: OverGrid) -> str:
    if not over.settings:
        return verdict
    if verdict != "reproduced":
        others = " at the published setting; reproduced at others" if over.reproduced_at else ""
        return verdict + others
    beyond = "not beyond it"
    if claim.grid == "best":
        holds = over.at_best == "reproduced"
        if over.at_best == "inconclusive":
            beyond = "beyond it inconclusive"
    else:
        holds = over.not_reproduced_at < (over.reproduced_at if claim.grid == "most" else 1)
    return verdict if holds else f"{verdict} at the published setting; {beyond}"


#: The columns that are written; those that are not may be missing or anything.
WRITTEN = table(
    "estimate? low? high? p? settings reproduced_at not_reproduced_at",
    "id statement task quantity bound rule verdict at_best",
)


@takes(table=WRITTEN)
def markdown(table: pd.DataFrame) -> str:
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
