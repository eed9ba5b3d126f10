"""The table of verdicts: estimates from tables of networks, each decided by `Side.verdict`."""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from deep_nb._validation import table
from deep_nb.analysis.statistics import (
    Estimate,
    difference_of_medians,
    difference_of_shares,
    log_rank,
    median,
    share,
)
from deep_nb.claims.claim import Claim, Verdict, check_claims
from deep_nb.claims.ensembles import SETTING, best_networks, check_grid

SOURCE = "Farinha et al. 2020, arXiv:2006.08798"

#: Makes the whole table; ``deep-nb claims --only ID`` decides one claim at the published settings.
COMMAND = "deep-nb replicate --profile full --only claims"

#: Columns of the claims table, and those among them that hold strings.
COLUMNS = [
    "id", "statement", "source", "task", "quantity", "estimate", "low", "high", "bound", "p",
    "networks", "rule", "verdict", "settings", "reproduced_at", "not_reproduced_at", "at_best",
    "command",
]  # fmt: skip
TEXTS = [
    "id", "statement", "source", "task", "quantity", "bound", "rule", "verdict", "at_best",
    "command",
]  # fmt: skip

#: Networks by (model, task, pruned), or by a setting of the grid.
_Tables = dict[Any, pd.DataFrame]


class Evidence(NamedTuple):
    """The estimate of one claim's quantity.

    p is 0 for quantities without a test. `bound` is "≤" or "≥" where a median is censored, so that
    the estimate is a bound for the difference, else empty.
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


def evaluate(
    claims: Iterable[Claim], networks: pd.DataFrame, grid: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Return the claims table: a verdict for every claim and task.

    Parameters
    ----------
    claims : iterable of Claim
    networks : pandas.DataFrame
        As returned by `measure_all`.
    grid : pandas.DataFrame, optional
        As returned by `sweep`.

    Returns
    -------
    pandas.DataFrame
        One row per claim and task: id, statement, source, task, quantity, estimate, low, high,
        bound ("≤" or "≥" where a median is censored), p (NaN without a test), networks (of both
        sides), rule and verdict. About the grid: the number of its settings (0 without a grid), at
        how many the claim is ``reproduced_at`` and ``not_reproduced_at``, and, where two models are
        compared, the verdict ``at_best``, with each model at its own best setting as in
        `best_settings`. Last, the command that makes the row.

    Raises
    ------
    ValueError
        If `claims` are not claims, or `networks` or `grid` is not such a table or lacks networks
        that a claim is about.

    See Also
    --------
    claims_table : The table as Markdown.

    Examples
    --------
    >>> import deep_nb
    >>> claims = [claim for claim in deep_nb.claims.read_claims() if claim.id == "1b"]
    >>> networks = deep_nb.claims.measure("EP_asym", "xor", range(10), hyper={"n_epochs": 20})
    >>> row = deep_nb.claims.evaluate(claims, networks).iloc[0]
    >>> round(float(row["high"]), 3), row["rule"], row["verdict"]
    (0.278, 'below 0.5', 'reproduced')
    """
    claims = check_claims(claims)
    numbers = "pruned learned epochs? n_epochs learned_after sparsity gershgorin"
    table(networks, "networks", numbers, "model task")
    settings: _Tables = {}
    if grid is not None:
        settings = dict(list(check_grid(grid).groupby(["model", "task", *SETTING])))
    groups: _Tables = dict(list(networks.groupby(["model", "task", "pruned"])))
    rows = [_row(claim, task, groups, settings) for claim in claims for task in claim.tasks]
    return pd.DataFrame(rows, columns=COLUMNS)


def _row(claim: Claim, task: str, groups: _Tables, settings: _Tables) -> dict[str, Any]:
    of, against = (
        None if side is None else _group(groups, (side.model, task, side.pruned), "networks")
        for side in (claim.of, claim.against)
    )
    assert of is not None
    evidence = _QUANTITIES[claim.quantity](claim, of, against)
    over_grid = _over_grid(claim, task, settings)
    return {
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
        "verdict": _in_words(claim, _verdict(claim, evidence), over_grid),
        **over_grid._asdict(),
        "command": COMMAND,
    }


def _group(groups: _Tables, key: Any, what: str) -> pd.DataFrame:
    if key not in groups:
        raise ValueError(f"{what} has no rows of {key}, but a claim needs them")
    return groups[key]


def _describe(claim: Claim) -> str:
    of = claim.of.model + (" pruned" if claim.of.pruned else "")
    if claim.quantity == "share":
        return f"share of {of}: {claim.measure}"
    if claim.quantity == "median":
        return f"median {claim.measure} of {of}"
    assert claim.against is not None
    what = "median epochs" if claim.quantity == "earlier" else f"share {claim.measure}"
    return f"{what}, {of} − {claim.against.model}"


def _verdict(claim: Claim, evidence: Evidence) -> Verdict:
    return claim.holds.verdict(evidence.estimate, evidence.p)


class OverGrid(NamedTuple):
    """Verdicts over the grid: at how many settings, and at each model's best one."""

    settings: int = 0
    reproduced_at: int = 0
    not_reproduced_at: int = 0
    at_best: str = ""


def _over_grid(claim: Claim, task: str, settings: _Tables) -> OverGrid:
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

    def decide(of: pd.DataFrame, against: pd.DataFrame | None) -> Verdict:
        return _verdict(claim, _QUANTITIES[claim.quantity](claim, of, against))

    verdicts = [
        decide(of, _group(sides[1], setting, "grid") if claim.against else None)
        for setting, of in sides[0].items()
    ]
    best = decide(*map(best_networks, sides)) if claim.against else ""
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
