"""Claims: when networks reach the criterion, the published figures, and the printed tests."""

from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from deep_nb.claims import read_sources
from deep_nb.claims.claim import Claim
from deep_nb.claims.ensembles import READING, both_ways
from deep_nb.claims.evaluation import SIGNIFICANT
from deep_nb.experiments.common import check_counts, entries
from deep_nb.plotting import BLUE, GREEN, GREY, VERMILION, plot_reached
from deep_nb.plotting.style import task_title

STYLES = {"DEEP": (BLUE, "-"), "EP_asym": (VERMILION, "--"), "DEEP_oh": (GREEN, ":")}

#: Tests that the published notebooks print, in their order, with the columns of tables of networks.
PRINTED = {
    "diagonal": "negative_diagonal",
    "by row": "gershgorin_rows",
    "by column": "gershgorin_columns",
}


def check(
    num_net: int,
    band_num_net: int,
    grid_num_net: int,
    near_num_net: int,
    grid_factors: Any,
    grid_N_H_factors: Any,
) -> None:
    """Refuse parameters of the notebook that cannot work, before any network is trained.

    A bootstrap needs two networks, and a published ensemble has ten. Seeds 0–999 judge, and the
    grid's 1000–1999 choose.
    """
    few = {"num_net": num_net, "grid_num_net": grid_num_net, "near_num_net": near_num_net}
    check_counts(2, **few)
    check_counts(10, band_num_net=band_num_net)
    for name, value in few.items():
        if value > 1000:
            raise ValueError(f"{name} must be at most 1000, got {value}")
    factors = entries(grid_factors, "grid_factors")
    if not factors:
        raise ValueError("grid_factors must not be empty")
    both_ways(factors, "grid_factors")
    both_ways(entries(grid_N_H_factors, "grid_N_H_factors"), "grid_N_H_factors")


def draw_reached(networks: pd.DataFrame, task: str, ax: Axes) -> None:
    """Draw the share of networks that have reached the criterion, over epochs, for each model.

    `networks` is a table of `deep_nb.claims.measure_all`; pruned and layered networks, variants,
    and models without networks on the task are left out.
    """
    chosen = _as_published(networks[networks["task"] == task])
    for model, (colour, line) in STYLES.items():
        of = chosen[chosen["model"] == model]
        if len(of):
            epochs = of["epochs"].to_numpy()
            plot_reached(epochs, int(of["n_epochs"].max()), ax, colour, line, model)
    ax.set(title=task_title(task), xlabel="epoch", ylabel="share that has learned")


def _as_published(networks: pd.DataFrame) -> pd.DataFrame:
    return networks[~networks["pruned"] & ~networks["layered"]]


def reached(networks: pd.DataFrame) -> pd.DataFrame:
    """Count, for each task and model, the networks that reach the criterion, with median epochs.

    The median is over those networks only. Pruned and layered networks are left out, and so are
    models without any network that reaches the criterion.
    """
    found = _as_published(networks[networks["epochs"].notna() & networks["model"].isin(STYLES)])
    return found.groupby(["task", "model"], sort=False)["epochs"].agg(["count", "median"])


def draw_curves(curves: pd.DataFrame, statistic: str, ax: Axes) -> None:
    """Draw the published mean or median over the central 95 % of ensembles of ten networks.

    `curves` holds the rows of one figure in a table of `deep_nb.claims.compare_curves`.
    """
    of = curves[curves["statistic"] == statistic].sort_values("epoch")
    band = ax.fill_between(of["epoch"], of["low"], of["high"], color=GREY, alpha=0.3, lw=0)
    band.set_label("central 95 % of our ensembles of ten")
    reading = of["low"] - READING, of["high"] + READING
    wider = ax.fill_between(of["epoch"], *reading, color=GREY, alpha=0.15, lw=0)
    wider.set_label(f"with ±{READING:g}, the precision of the reading")
    ax.plot(of["epoch"], of["middle"], color=GREY, ls="--", lw=1, label="their middle")
    ax.plot(of["epoch"], of["published"], ".-", color=BLUE, ms=3, label="published ten networks")
    outside = of[of["published"].notna() & ~of["inside"].astype(bool)]
    if len(outside):
        ax.plot(outside["epoch"], outside["published"], "x", color=VERMILION, label="outside")
    ax.set(xlabel="epoch", ylabel=f"{statistic} MSE", xlim=(1, of["epoch"].max()), ylim=(0, None))


def inside(curves: pd.DataFrame) -> pd.DataFrame:
    """Count the readable points of every figure, and those that are inside.

    One row per figure and statistic: the number of ``points``, of those ``inside`` the band, of
    those ``strictly`` inside, without the reading error, and of those in that of the ``other``
    figure's model (0 if there is one figure only); the ``chance`` that an ensemble of ours is
    inside at all points of the figure.
    """
    keys = ["source", "statistic"]
    others = curves[["source", "statistic", "epoch", "low", "high"]]
    pairs = curves.merge(others, on=["statistic", "epoch"], suffixes=("", "_other"))
    pairs = pairs[pairs["published"].notna() & (pairs["source"] != pairs["source_other"])]
    above = pairs["published"] >= pairs["low_other"] - READING
    in_other = pairs[above & (pairs["published"] <= pairs["high_other"] + READING)]
    groups = curves[curves["published"].notna()].groupby(keys, sort=False)
    sums = {name: groups[name].sum() for name in ("inside", "strictly")}
    found = pd.DataFrame({"points": groups["inside"].size(), **sums})
    other = in_other.value_counts(keys).reindex(found.index, fill_value=0)
    return found.assign(other=other, chance=groups["wholly_inside"].first())


def printed_tests(networks: pd.DataFrame) -> pd.DataFrame:
    """Count the networks on XOR that pass each test which the published notebooks print.

    One row per model: the number of networks, and of those that pass on the ``diagonal``, ``by
    row`` and ``by column``. Runaways are left out.
    """
    stable = networks["step_is_stable"].astype(bool)
    chosen = _as_published(networks[stable & (networks["task"] == "xor")])
    rows = {}
    for model in STYLES:
        of = chosen[chosen["model"] == model]
        passed = {name: int(of[column].sum()) for name, column in PRINTED.items()}
        rows[model] = {"networks": len(of), **passed}
    return pd.DataFrame.from_dict(rows, orient="index")


def kept(networks: pd.DataFrame) -> pd.DataFrame:
    """Cross-tabulate learning with and without pruning, seed by seed, with the final weights.

    One row per task: the number of networks in which ``both`` learn, those that learn only
    ``unpruned``, only ``pruned``, and ``neither``.
    """
    deep = networks[(networks["model"] == "DEEP") & ~networks["layered"]]
    table = deep.pivot_table(
        "learned_after", ["task", "seed"], "pruned", "first", sort=False
    ).astype(bool)
    without, pruned = table[False], table[True]
    counts = {
        "both": without & pruned,
        "unpruned": without & ~pruned,
        "pruned": pruned & ~without,
        "neither": ~without & ~pruned,
    }
    return pd.DataFrame({name: of.groupby("task", sort=False).sum() for name, of in counts.items()})


def summary(table: pd.DataFrame) -> str:
    """Return, in a few lines, what the table of verdicts says beyond its symbols.

    How many verdicts there are of each kind; the claims that are refuted near the published
    setting; those whose verdict is another one with each model at its best; and losses by pruning
    that are significant only before the correction for the number of verdicts.
    """
    lines = [", ".join(f"{n} {verdict}" for verdict, n in table["verdict"].value_counts().items())]
    row: Any
    for row in table.itertuples():
        name = f"{row.id} on {row.task.upper()}"
        if row.verdict == "reproduced" and row.refuted_at:
            count = len(row.refuted_at.split("; "))
            lines.append(f"{name}: reproduced, but refuted at {count} of {row.near_settings} "
                         "settings near the published one")  # fmt: skip
        if row.at_best and row.at_best != row.verdict:
            lines.append(f"{name}: {row.verdict}, each at its best {row.at_best}")
        if row.p < SIGNIFICANT <= row.p_holm:
            lines.append(f"{name}: p = {row.p:.2g} by itself, {row.p_holm:.2g} corrected")
    return "\n".join(lines)


def evidence_table(claims: list[Claim]) -> str:
    """Return, in Markdown, every claim with the places and literal words of its evidence."""
    lines = ["|  | claim | where | words or curve | what it leaves open |", "|---|---|---|---|---|"]
    sources = read_sources()
    for claim in claims:
        for number, evidence in enumerate(claim.evidence):
            first = (claim.id, claim.statement, claim.note) if number == 0 else ("", "", "")
            source = sources[evidence.source]
            words = f"“{evidence.words}”" if evidence.words else f"`{source.curve}`"
            cells = [*first[:2], str(source), words, first[2]]
            lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    return "\n".join(lines) + "\n"
