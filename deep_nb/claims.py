"""The paper's claims as data, and the rule that decides each of them.

``claims.yml`` beside this file states every claim: what is measured, of which networks, and which
side of which number its 95 % interval has to lie on. `measure` trains the networks, `sweep` trains
them again over a grid of settings, and `evaluate` turns both into a table of verdicts.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from importlib.resources import files
from typing import Any, Literal, NamedTuple, Self

import numpy as np
import pandas as pd
import yaml
from pydantic import Field, model_validator

from deep_nb import stability
from deep_nb.checks import Frozen, mapping
from deep_nb.models import MODELS
from deep_nb.statistics import (
    Estimate,
    difference_of_medians,
    difference_of_shares,
    epochs_to_criterion,
    learned,
    log_rank,
    median,
    network_table,
    share,
)
from deep_nb.tasks import TASKS
from deep_nb.training import train

SOURCE = "Farinha et al. 2020, arXiv:2006.08798"
SIGNIFICANT = 0.05

#: Makes the whole table; ``deep-nb claims --only ID`` decides one claim at the published settings.
COMMAND = "deep-nb replicate --profile full --only claims"

#: What names a setting of the grid: hidden neurons, β, dt_W over the model's published value, and
#: epochs.
SETTING = ("N_H", "beta", "dt_W_factor", "n_epochs")

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

Verdict = Literal["reproduced", "not reproduced", "inconclusive"]
TaskName = Literal["xor", "and", "or", "not", "id"]


class Networks(Frozen):
    """Which networks a claim is about."""

    model: Literal["DEEP", "DEEP_oh", "EP_asym"]
    pruned: bool = Field(False, description="L1 and stochastic pruning on")


class Side(Frozen):
    """The side of a number on which the whole interval has to lie."""

    above: float | None = None
    below: float | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.above is None) == (self.below is None):
            raise ValueError("give one of above and below")
        return self

    def __str__(self) -> str:
        return f"above {self.above:g}" if self.above is not None else f"below {self.below:g}"

    def verdict(self, estimate: Estimate, p: float = 0.0) -> Verdict:
        """Decide by the interval, and by a p-value where there is one."""
        if p >= SIGNIFICANT:
            return "inconclusive"
        if self.above is not None:
            yes, no = estimate.low > self.above, estimate.high < self.above
        else:
            assert self.below is not None
            yes, no = estimate.high < self.below, estimate.low > self.below
        return "reproduced" if yes else "not reproduced" if no else "inconclusive"


class Claim(Frozen):
    """One claim; ``claims.yml`` says what each name means."""

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
    if text is None:
        text = files("deep_nb").joinpath("claims.yml").read_text(encoding="utf-8")
    try:
        content = mapping(yaml.safe_load(text), "the claims")
    except yaml.YAMLError as error:
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
            if kind is Side:
                given = {side: float(number) for side, number in given.items()}
            values[name] = kind(**given)
    return Claim(**values)


def measure(
    model: str,
    task: str,
    seeds: int | Sequence[int],
    *,
    pruned: bool = False,
    hyper: dict[str, Any] | None = None,
) -> pd.DataFrame:
    """Train networks and measure what claims are about.

    Parameters
    ----------
    model, task : str
        Published names.
    seeds : int or sequence of int
        One network each.
    pruned : bool
        Whether to train with L1 and stochastic pruning.
    hyper : dict, optional
        Laid over the published hyperparameters.

    Returns
    -------
    pandas.DataFrame
        One row a network: model, task, pruned, seed, n_epochs; ``learned`` in the last epoch;
        ``epochs`` to the criterion, NaN if censored; ``mse`` of the last epoch's free phase;
        ``learned_after`` with the weights that are left in the end, as of
        `deep_nb.statistics.network_table`; their ``sparsity``; ``gershgorin``, whether the row or
        the column test passes; ``diverged``.
    """
    run = train(model, task, seeds=seeds, hyper=hyper, regularized=pruned, sparse=pruned)
    report = stability.report(run)
    possible = int(run["mask"].sum())
    return pd.DataFrame(
        {
            "model": model,
            "task": task,
            "pruned": pruned,
            "seed": run["seed"].values,
            "n_epochs": run.sizes["epoch"],
            "learned": learned(run).values[:, -1],
            "epochs": epochs_to_criterion(run),
            "learned_after": network_table(run)["learned"].values,
            "mse": run["mse_free"].values[:, -1],
            "sparsity": 1 - run["n_connections"].values[:, -1] / possible,
            "gershgorin": (report["gershgorin_rows"] | report["gershgorin_columns"]).values,
            "diverged": run["diverged"].values,
        }
    )


def measure_all(claims: Iterable[Claim], seeds: int | Sequence[int]) -> pd.DataFrame:
    """Measure every ensemble that the claims are about, once each, at published settings."""
    wanted = {
        (networks.model, task, networks.pruned): None
        for claim in claims
        for task in claim.tasks
        for networks in (claim.of, claim.against)
        if networks is not None
    }
    frames = [measure(model, task, seeds, pruned=pruned) for model, task, pruned in wanted]
    return pd.concat(frames, ignore_index=True)


def sweep(
    seeds: int | Sequence[int],
    N_H: Sequence[int],
    beta: Sequence[float],
    dt_W_factor: Sequence[float],
    n_epochs: Sequence[int],
) -> pd.DataFrame:
    """Train every model on every task at every setting of a grid.

    A network's first epochs do not depend on how many follow: each is trained once, for the
    largest of `n_epochs`, and looked at after each.

    Parameters
    ----------
    seeds : int or sequence of int
        The networks of each setting.
    N_H : sequence of int
        Hidden neurons.
    beta : sequence of float
        Nudging strengths β.
    dt_W_factor : sequence of float
        Learning rates, as multiples of the model's published dt_W: 1 is the published one.
    n_epochs : sequence of int
        Training epochs.

    Returns
    -------
    pandas.DataFrame
        One row a network and setting: model, task, the columns of `SETTING`, seed, learned and
        epochs as from `measure`.
    """
    frames = []
    for model, task, hidden, b, factor in itertools.product(MODELS, TASKS, N_H, beta, dt_W_factor):
        hyper = {
            "N_H": [hidden],
            "beta": float(b),
            "dt_W": MODELS[model].hyper.dt_W * factor,
            "n_epochs": max(n_epochs),
        }
        run = train(model, task, seeds=seeds, hyper=hyper)
        for epochs in n_epochs:
            columns = {"model": model, "task": task, "N_H": hidden, "beta": float(b)}
            columns |= {"dt_W_factor": float(factor), "n_epochs": epochs}
            frames.append(
                pd.DataFrame(
                    {
                        **columns,
                        "seed": run["seed"].values,
                        "learned": learned(run).values[:, epochs - 1],
                        "epochs": epochs_to_criterion(run, epochs),
                    }
                )
            )
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
        As from `sweep`.

    Returns
    -------
    pandas.DataFrame
        One row a claim and task: id, statement, source, task, quantity, estimate, low, high,
        bound ("≤" or "≥" where a median is censored), p (NaN without a test), networks (of both
        sides), rule, verdict; of the grid, how many settings were asked
        (0 without a grid), at how many the claim is ``reproduced_at`` and ``not_reproduced_at``,
        and the verdict where two models are compared ``at_best``, each at its own best setting as
        in `best_settings`; and the command that makes the row.
    """
    groups = dict(list(networks.groupby(["model", "task", "pruned"])))
    settings = {} if grid is None else dict(list(grid.groupby(["model", "task", *SETTING])))
    rows = []
    for claim, task in _pairs(claims):
        sides = [
            None if side is None else groups[side.model, task, side.pruned]
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
        against = sides[1][setting] if claim.against else None
        verdicts.append(_verdict(claim, _QUANTITIES[claim.quantity](claim, of, against)))
    best = ""
    if claim.against:
        fresh = [_best(side) for side in sides]
        best = _verdict(claim, _QUANTITIES[claim.quantity](claim, fresh[0], fresh[1]))
    yes, no = verdicts.count("reproduced"), verdicts.count("not reproduced")
    return OverGrid(len(verdicts), yes, no, best)


def best_settings(grid: pd.DataFrame) -> pd.DataFrame:
    """Return at which setting each model does best at each task, and how well it does there.

    The setting is chosen with the networks of even seeds (by the share that learn, then by the
    median epochs, then the first), and judged with those of odd seeds: a maximum over settings
    flatters the networks that it was taken over.

    Parameters
    ----------
    grid : pandas.DataFrame
        As from `sweep`.

    Returns
    -------
    pandas.DataFrame
        One row a task and model: the columns of `SETTING`, ``learned`` the share and ``epochs``
        the median epochs to the criterion of the networks with odd seeds, those that never reach
        it counted with the last epoch; ``edge`` which of N_H, β and dt_W lie at an end of the
        grid, so that a better setting may lie beyond it.
    """
    rows = []
    for (task, model), of in grid.groupby(["task", "model"], sort=False):
        fresh = _best(dict(list(of.groupby(list(SETTING)))))
        setting = fresh.iloc[0][list(SETTING)].to_dict()
        epochs = fresh["epochs"].fillna(setting["n_epochs"]).median()
        row = {"task": task, "model": model, **setting, "learned": fresh["learned"].mean()}
        ends = [
            name
            for name in SETTING[:3]
            if grid[name].nunique() > 1 and setting[name] in (grid[name].min(), grid[name].max())
        ]
        rows.append({**row, "epochs": epochs, "edge": ", ".join(ends)})
    return pd.DataFrame(rows)


def _best(settings: dict[Any, pd.DataFrame]) -> pd.DataFrame:
    """Return the networks of odd seeds at the setting where those of even seeds do best."""

    def score(setting: Any) -> tuple[float, float]:
        networks = settings[setting]
        chosen = networks[networks["seed"] % 2 == 0]
        epochs = chosen["epochs"].fillna(networks["n_epochs"].iloc[0])
        return -chosen["learned"].mean(), epochs.median()

    best = settings[min(settings, key=score)]
    return best[best["seed"] % 2 == 1]


def _in_words(claim: Claim, verdict: Verdict, over: OverGrid) -> str:
    if not over.settings:
        return verdict
    if verdict != "reproduced":
        others = " at the published setting; reproduced at others" if over.reproduced_at else ""
        return verdict + others
    holds, fails = {
        "most": (over.reproduced_at > over.not_reproduced_at, True),
        "every": (over.not_reproduced_at == 0, True),
        "best": (over.at_best == "reproduced", over.at_best == "not reproduced"),
    }[claim.grid or "most"]
    if holds:
        return verdict
    beyond = "not beyond it" if fails else "beyond it inconclusive"
    return f"reproduced at the published setting; {beyond}"


def markdown(table: pd.DataFrame) -> str:
    """Return the claims table as Markdown: one row a claim, one column a task."""
    tasks = list(dict.fromkeys(table["task"]))
    lines = [
        "| | claim | rule | " + " | ".join(task.upper() for task in tasks) + " |",
        "|---" * (3 + len(tasks)) + "|",
    ]
    for number, rows in table.groupby("id", sort=False):
        first = rows.iloc[0]
        cells = {row["task"]: _cell(row) for _, row in rows.iterrows()}
        columns = [str(number), first["statement"], f"{first['quantity']} {first['rule']}"]
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
