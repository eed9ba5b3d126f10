"""The table of verdicts: estimates from tables of networks, each decided by its claim's rule."""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, TypeGuard

import numpy as np
import pandas as pd
import scipy.stats
from statsmodels.stats.proportion import test_proportions_2indep as score_test

from deep_nb._validation import table
from deep_nb.analysis.statistics import (
    Estimate,
    difference_of_shares,
    holm,
    mcnemar,
    median,
    paired_difference,
    share,
    tango,
)
from deep_nb.claims.claim import Claim, Verdict, check_claims, verdict
from deep_nb.claims.ensembles import READING, SETTING, check_curves, check_grid, check_networks
from deep_nb.claims.ensembles import radius as radius_of

#: Makes the whole table; ``deep-nb claims --only ID`` decides one claim at the published settings.
COMMAND = "deep-nb replicate --profile full --only claims"

#: p-values, corrected for their number, below which a verdict is decided.
SIGNIFICANT = 0.05

#: Networks in a published ensemble.
ENSEMBLE = 10

#: Columns of the claims table, and those among them that hold strings.
COLUMNS = [
    "id", "statement", "evidence", "note", "task", "quantity", "estimate", "low", "high", "p",
    "p_holm", "networks", "runaway", "beside", "rule", "verdict", "settings", "reproduced_at",
    "not_reproduced_at", "nearest", "near_settings", "near_reproduced", "refuted_at", "within",
    "at_best", "command",
]  # fmt: skip
TEXTS = [
    "id", "statement", "evidence", "note", "task", "quantity", "beside", "rule", "verdict",
    "refuted_at", "at_best", "command",
]  # fmt: skip
#: Columns of strings that may be empty.
OPTIONAL = ["note", "beside", "refuted_at", "at_best"]

#: Networks by (model, task, pruned, layered), or by (model, task, setting of the grid).
_Tables = dict[Any, pd.DataFrame]


class Finding(NamedTuple):
    """The estimate of one claim's quantity, and the p-value against the bound of its rule."""

    estimate: Estimate
    p: float
    networks: int


#: What no networks tell about a share or a difference.
_NOTHING = Finding(Estimate(np.nan, -1.0, 1.0), 1.0, 0)


def _share(claim: Claim, of: pd.DataFrame, against: pd.DataFrame | None) -> Finding:
    return _of_counts(int(of[claim.measure].sum()), len(of), claim.holds.bound)


def _of_counts(successes: int, total: int, bound: float) -> Finding:
    p = float(scipy.stats.binomtest(successes, total, bound).pvalue)
    return Finding(share(successes, total), p, total)


def _ensemble(claim: Claim, of: pd.DataFrame, against: pd.DataFrame | None) -> Finding:
    bound = 1 - (1 - claim.holds.bound) ** (1 / ENSEMBLE)
    single = _of_counts(int(of[claim.measure].sum()), len(of), bound)
    estimate = Estimate(*(1 - (1 - value) ** ENSEMBLE for value in single.estimate))
    return single._replace(estimate=estimate)


def _difference(claim: Claim, of: pd.DataFrame, against: pd.DataFrame | None) -> Finding:
    assert against is not None
    first, second = ((int(side[claim.measure].sum()), len(side)) for side in (of, against))
    estimate = difference_of_shares(first, second)
    with np.errstate(invalid="ignore", divide="ignore"):  # 0 / 0 where neither side varies
        p = float(score_test(*first, *second, value=claim.holds.bound, method="score").pvalue)
    return Finding(estimate, 1.0 if np.isnan(p) else p, len(of) + len(against))


def _paired(claim: Claim, of: pd.DataFrame, against: pd.DataFrame | None) -> Finding:
    assert against is not None
    first, second = _pairs(claim, of, against)
    estimate = paired_difference(first, second)
    side = claim.holds
    if claim.fails is not None and not side.contains(estimate):
        side = claim.fails
    bound = side.bound
    if bound == 0:
        p = mcnemar(first, second)
    else:
        b, c = int((first & ~second).sum()), int((second & ~first).sum())
        p = float(2 * scipy.stats.norm.sf(abs(tango(b, c, len(first), bound))))
    return Finding(estimate, p, 2 * len(first))


def _kept(claim: Claim, of: pd.DataFrame, against: pd.DataFrame | None) -> Finding:
    assert against is not None
    first, second = _pairs(claim, of, against)
    if not second.any():
        return _NOTHING
    return _of_counts(int(first[second].sum()), int(second.sum()), claim.holds.bound)


def _pairs(claim: Claim, of: pd.DataFrame, against: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Return the outcomes of the networks whose seeds both sides have."""
    sides = [side.set_index("seed")[claim.measure].astype(bool) for side in (of, against)]
    first, second = sides[0].align(sides[1], join="inner")
    return first.to_numpy(), second.to_numpy()


def _median(claim: Claim, of: pd.DataFrame, against: pd.DataFrame | None) -> Finding:
    values, bound = of[claim.measure], claim.holds.bound
    differ = int((values != bound).sum())
    p = scipy.stats.binomtest(int((values > bound).sum()), differ).pvalue if differ else 1.0
    return Finding(median(values), float(p), len(of))


_QUANTITIES: dict[str, Callable[[Claim, pd.DataFrame, pd.DataFrame | None], Finding]] = {
    "share": _share,
    "ensemble": _ensemble,
    "difference": _difference,
    "paired": _paired,
    "kept": _kept,
    "median": _median,
}


def evaluate(
    claims: Iterable[Claim],
    networks: pd.DataFrame,
    grid: pd.DataFrame | None = None,
    best: pd.DataFrame | None = None,
    curves: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Return the claims table: a verdict for every claim and task.

    Parameters
    ----------
    claims : iterable of Claim
    networks : pandas.DataFrame
        As returned by `measure_all`.
    grid : pandas.DataFrame, optional
        As returned by `sweep`.
    best : pandas.DataFrame, optional
        As returned by `measure_best`.
    curves : pandas.DataFrame, optional
        As returned by `compare_curves`; needed if a claim is about curves.

    Returns
    -------
    pandas.DataFrame
        One row per claim and task: id, statement, evidence, note, task, quantity, estimate, low,
        high, p against the rule's bound (NaN without a test), ``p_holm`` corrected for all rows
        with a test, networks that the estimate is from, ``runaway`` networks left out of it, what
        to read ``beside`` the estimate, rule and verdict. About the grid: the number of its
        settings (0 without a grid), at how many the claim is ``reproduced_at`` and
        ``not_reproduced_at`` (95 % intervals, not corrected); ``nearest``, the smallest factor
        between settings; ``near_settings``, the number of settings at most that
        far above or below the published one, and of those at which it is ``near_reproduced``, with
        the names of those at which it is ``refuted_at``; ``within``, the largest factor such that
        the claim is reproduced at every setting that is at most that far (1: at the published
        setting alone; 0: not even there); and, where two models are compared, the verdict
        ``at_best``, each at its own best setting. Last, the command that makes the row.

    Raises
    ------
    ValueError
        If `claims` are not claims, or a table is not as described, has a network twice, or lacks
        networks, settings or points that a claim is about.

    See Also
    --------
    claims_table : The table as Markdown.

    Examples
    --------
    >>> import deep_nb
    >>> claims = [claim for claim in deep_nb.claims.read_claims() if claim.id == "1c"]
    >>> networks = deep_nb.claims.measure("EP_asym", "xor", range(10), hyper={"n_epochs": 20})
    >>> row = deep_nb.claims.evaluate(claims, networks).iloc[0]
    >>> round(float(row["high"]), 3), row["rule"], row["verdict"]
    (0.278, 'below 0.5', 'reproduced')
    """
    claims = check_claims(claims)
    trained = any(claim.quantity != "curves" for claim in claims)
    groups = _groups(networks, "networks") if trained or _given(networks) else {}
    at_best = _groups(best, "best") if _given(best) else {}
    settings: _Tables = {}
    if _given(grid):
        settings = dict(list(check_grid(grid).groupby(["model", "task", *SETTING])))
    if _given(curves):
        check_curves(curves)
    rows = []
    for claim in claims:
        if claim.quantity == "curves":
            rows.append(_curves_row(claim, curves))
        else:
            rows += [_row(claim, task, groups, settings, at_best) for task in claim.tasks]
    result = pd.DataFrame(rows, columns=COLUMNS)
    tested = result["p"].notna().to_numpy()
    if tested.any():
        result.loc[tested, "p_holm"] = holm(result.loc[tested, "p"].to_numpy(float))
        undecided = tested & ~(result["p_holm"] < SIGNIFICANT).to_numpy()
        result.loc[undecided, "verdict"] = "inconclusive"
    return result


def _given(frame: object) -> TypeGuard[pd.DataFrame]:
    """Return whether an optional table is there; an empty one, of no claims, is not."""
    return frame is not None and not (isinstance(frame, pd.DataFrame) and frame.empty)


def _groups(networks: pd.DataFrame, what: str) -> _Tables:
    outcomes = (
        "pruned layered learned learned_after gershgorin at_rest comes_to_rest certified "
        "step_is_stable"
    )
    checked = table(networks, what, f"{outcomes} seed sparsity", "model task")
    place = ["model", "task", "pruned", "layered"]
    check_networks(checked, what, outcomes, place)
    return dict(list(checked.groupby(place)))


def _row(
    claim: Claim, task: str, groups: _Tables, settings: _Tables, at_best: _Tables
) -> dict[str, Any]:
    keys = [(side.key[0], task, *side.key[1:]) for side in (claim.of, claim.against) if side]
    sides = [_group(groups, key, "networks") for key in keys]
    finding, decided = _decide(claim, sides)
    best, beside = "", _beside(claim, [_stable(side) for side in sides], finding)
    if claim.grid and claim.against is not None and at_best:
        chosen = [_group(at_best, key, "best") for key in keys]
        best = _decide(claim, chosen)[1]
        counts = [f"{int(s[claim.measure].sum())} of {len(s)}" for s in map(_stable, chosen)]
        beside = f"each at its best: {counts[0]} against {counts[1]}"
    return {
        **_description(claim, task),
        "estimate": finding.estimate.value,
        "low": finding.estimate.low,
        "high": finding.estimate.high,
        "p": np.nan if claim.by_algebra else finding.p,
        "p_holm": np.nan,
        "networks": finding.networks,
        "runaway": sum(len(side) - len(_stable(side)) for side in sides),
        "beside": beside,
        "verdict": decided,
        **_over_grid(claim, task, settings)._asdict(),
        "at_best": best,
    }


def _beside(claim: Claim, sides: list[pd.DataFrame], finding: Finding) -> str:
    """Return what to read beside an estimate.

    Rest after T1 steps, what a certificate costs, or a loss that only its own test shows.
    """
    if claim.measure == "comes_to_rest":
        return f"after T1 steps: {int(sides[0]['at_rest'].sum())} of {len(sides[0])}"
    if claim.measure == "certified" and claim.against is not None:
        counts = [f"{int(side['learned'].sum())} of {len(side)}" for side in sides]
        return f"learned by {counts[0]}, by {counts[1]} of {claim.against}"
    if claim.fails is not None and finding.estimate.high < 0:
        counts = [str(int(side[claim.measure].sum())) for side in sides]
        return f"{counts[0]} against {counts[1]} learn, p = {finding.p:.2g} before correction"
    return ""


def _description(claim: Claim, task: str) -> dict[str, Any]:
    return {
        "id": claim.id,
        "statement": claim.statement,
        "evidence": "; ".join(map(str, claim.evidence)),
        "note": claim.note,
        "task": task,
        "quantity": _describe(claim),
        "rule": _rule(claim),
        "command": COMMAND,
    }


def _rule(claim: Claim) -> str:
    if claim.quantity == "curves":
        return "all are"
    return str(claim.holds) + (f" (fails {claim.fails})" if claim.fails else "")


def _group(groups: _Tables, key: Any, what: str) -> pd.DataFrame:
    if key not in groups:
        raise ValueError(f"{what} has no rows of {key}, but a claim needs them")
    return groups[key]


def _stable(networks: pd.DataFrame) -> pd.DataFrame:
    return networks[networks["step_is_stable"].astype(bool)]


def _decide(claim: Claim, sides: list[pd.DataFrame]) -> tuple[Finding, Verdict]:
    """Return the finding without runaways, and the verdict if it is the same with them."""
    findings = []
    for chosen in ([_stable(side) for side in sides], sides):
        if min(map(len, chosen)) < 2:
            findings.append(_NOTHING)
        else:
            findings.append(_QUANTITIES[claim.quantity](claim, chosen[0], [*chosen, None][1]))
    without, with_them = (verdict(claim, finding.estimate) for finding in findings)
    return findings[0], without if without == with_them else "inconclusive"


#: Measures in words.
_MEASURES = {
    "learned": "learned",
    "learned_after": "learned (final weights)",
    "gershgorin": "Gershgorin test passed",
    "comes_to_rest": "at rest after 10 × T1 steps",
    "certified": "certified",
    "sparsity": "sparsity",
}


def _describe(claim: Claim) -> str:
    of, against, what = claim.of, claim.against, _MEASURES[claim.measure]
    return {
        "share": f"share of {of}: {what}",
        "ensemble": f"probability that one of ten {of}: {what}",
        "difference": f"share {what}, {of} − {against}",
        "paired": f"share {what}, {of} − {against}, paired",
        "kept": f"share of the seeds {what} by {against} that are by {of}, too",
        "median": f"median {what} of {of}",
        "curves": (
            f"share of the published points within 95 % (±{READING:g} for the reading) of "
            f"ensembles of ten {of}"
        ),
    }[claim.quantity]


def _curves_row(claim: Claim, curves: pd.DataFrame | None) -> dict[str, Any]:
    of = check_curves(curves)
    of = of[(of["source"] == claim.figure) & of["published"].notna()]
    if not len(of):
        raise ValueError(f"curves has no rows of {claim.figure!r}, but a claim needs them")
    strictly = of.groupby("statistic", sort=False)["strictly"].agg(["sum", "size"])
    counts = [f"{name} {row['sum']} of {row['size']}" for name, row in strictly.iterrows()]
    inside = float(of["inside"].mean())
    return {
        **_description(claim, claim.tasks[0]),
        "estimate": inside,
        "low": inside,
        "high": inside,
        "p": np.nan,
        "p_holm": np.nan,
        "networks": len(of),
        "runaway": int(of["runaway"].iloc[0]),
        "beside": f"without ±{READING:g}: {', '.join(counts)}",
        "verdict": verdict(claim, Estimate(inside, inside, inside)),
        **OverGrid()._asdict(),
        "at_best": "",
    }


class OverGrid(NamedTuple):
    """Verdicts around the published setting."""

    settings: int = 0
    reproduced_at: int = 0
    not_reproduced_at: int = 0
    nearest: float = np.nan
    near_settings: int = 0
    near_reproduced: int = 0
    refuted_at: str = ""
    within: float = np.nan


def _over_grid(claim: Claim, task: str, settings: _Tables) -> OverGrid:
    if not claim.grid or not settings:
        return OverGrid()
    sides = [
        {
            tuple(map(float, setting)): networks
            for (model, of_task, *setting), networks in settings.items()
            if (model, of_task) == (side.model, task) and (claim.vary_N_H or setting[0] == 1)
        }
        for side in (claim.of, claim.against)
        if side is not None
    ]
    if not sides[0]:
        raise ValueError(f"grid has no rows of {claim.of.model} on {task}, but a claim needs them")
    verdicts = {
        setting: _decide(claim, [_group(side, setting, "grid") for side in sides])[1]
        for setting in sides[0]
    }
    found = list(verdicts.values())
    nearest = min((radius for radius in map(radius_of, verdicts) if radius > 1), default=1.0)
    near = {at: found for at, found in verdicts.items() if radius_of(at) <= nearest}
    refuted = [_named(at) for at, found in near.items() if found == "not reproduced"]
    return OverGrid(
        settings=len(found),
        reproduced_at=found.count("reproduced"),
        not_reproduced_at=found.count("not reproduced"),
        nearest=nearest,
        near_settings=len(near),
        near_reproduced=list(near.values()).count("reproduced"),
        refuted_at="; ".join(refuted),
        within=_within(verdicts),
    )


def _named(setting: Any) -> str:
    """Return a setting as factors of the published one, such as ``β × 3.2, dt_W ÷ 3.2``."""
    symbols = zip(("N_H", "β", "dt_W"), setting, strict=True)
    factors = [
        f"{name} {'×' if factor > 1 else '÷'} {max(factor, 1 / factor):.2g}"
        for name, factor in symbols
        if factor != 1
    ]
    return ", ".join(factors) or "the published setting"


def _within(verdicts: dict[Any, Verdict]) -> float:
    """Return the half-width, as a factor, of the largest box in which a claim is reproduced."""
    largest = 0.0
    for radius in sorted({*map(radius_of, verdicts)}):
        if any(verdicts[at] != "reproduced" for at in verdicts if radius_of(at) == radius):
            break
        largest = radius
    return largest
