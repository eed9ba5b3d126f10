"""The paper's claims as data, and the rule that decides each of them.

``claims.yml`` beside this file states every claim: what is measured, of which networks, and which
side of which number its 95 % interval has to lie on. `evaluate` puts networks, trained in
`deep_nb.claims.ensembles`, to the test and returns a table of verdicts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from deep_nb.analysis.statistics import (
    Estimate,
    difference_of_medians,
    difference_of_shares,
    log_rank,
    median,
    share,
)
from deep_nb.claims.claim import Claim, Verdict, checked
from deep_nb.claims.ensembles import GRID, SETTING, best_networks
from deep_nb.kinds import NOTHING, table, takes

SOURCE = "Farinha et al. 2020, arXiv:2006.08798"

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
        As from `deep_nb.claims.ensembles.sweep`.

    Returns
    -------
    pandas.DataFrame
        One row a claim and task: id, statement, source, task, quantity, estimate, low, high,
        bound ("≤" or "≥" where a median is censored), p (NaN without a test), networks (of both
        sides), rule, verdict; of the grid, how many settings were asked
        (0 without a grid), at how many the claim is ``reproduced_at`` and ``not_reproduced_at``,
        and the verdict where two models are compared ``at_best``, each at its own best setting as
        in `deep_nb.claims.ensembles.best_settings`; and the command that makes the row.

    Raises
    ------
    ValueError
        If `claims` holds no claims, or `networks` or `grid` is no such table, or lacks networks
        that a claim is about.
    """
    claims = checked(claims)
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
