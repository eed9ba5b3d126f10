"""The five sentences of the report, against numbers that are computed otherwise."""

import csv
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest

from deep_nb.claims import read_claims
from deep_nb.claims.evaluation import _describe
from deep_nb.claims.findings import _CLAUSES, findings
from deep_nb.report import read_table

FIGURES = Path(__file__).parent.parent / "figures"
TASKS = ("xor", "and", "or", "not", "id")


def row(claim, quantity, task, estimate, verdict="reproduced", **more):
    return {"id": claim, "quantity": quantity, "task": task, "estimate": estimate, "low": 0.125,
            "high": 0.75, "verdict": verdict, "settings": 0, "within": None, "nearest": None,
            "p": 0.5, "rule": "above 0.5", "networks": 100, **more}  # fmt: skip


def sentences(*rows):
    return {found.about: found.sentence for found in findings(pd.DataFrame(rows))}


@pytest.fixture(scope="module")
def networks():
    """Networks of the stored run that do not run away, by model, task and pruning."""
    table = pd.read_csv(FIGURES / "claims" / "networks.csv")
    table = table[table["step_is_stable"]].set_index("seed")
    return dict(list(table.groupby(["model", "task", "pruned", "layered"])))


def spread(values):
    """Describe the smallest and the largest of one per cent a task, as a sentence has it."""
    values = {task: f"{100 * value:.3g}" for task, value in values.items()}
    ends = min(values.values(), key=float), max(values.values(), key=float)
    named = [", ".join(t.upper() for t in TASKS if values.get(t) == end) for end in ends]
    return [(end, names) for end, names in zip(ends, named, strict=True)]


def per_cent(values):
    return " to ".join(f"{end} % ({names})" for end, names in spread(values))


def test_the_findings_of_the_stored_run_are_those_of_its_networks(networks):
    def share(model, measure="learned", pruned=False, layered=False, tasks=TASKS):
        return {task: networks[model, task, pruned, layered][measure].mean() for task in tasks}

    with (FIGURES / "claims" / "claims.csv").open(encoding="utf-8") as file:
        table = list(csv.DictReader(file))
    verdicts = Counter(entry["verdict"] for entry in table)
    by_algebra = sum(entry["id"] in ("6a", "6b", "8b") for entry in table)
    tried = [e for e in table if e["settings"] != "0" and e["verdict"] == "reproduced"]
    wide = sum(float(entry["within"]) > 3 for entry in tried)
    found = findings(read_table(FIGURES))
    assert [finding.about for finding in found] == [
        "Verdicts", "XOR", "Tasks and architectures", "Pruning", "Rest",
    ]  # fmt: skip
    says = {finding.about: finding.sentence for finding in found}
    assert says["Verdicts"] == (
        f"Of {len(table)} verdicts on {len({entry['id'] for entry in table})} claims, "
        f"{verdicts['reproduced']} are “reproduced”, {verdicts['not reproduced']} “not reproduced” "
        f"and {verdicts['inconclusive']} “inconclusive”; {by_algebra} "
        f"of them could not have been refuted, by algebra; of the {len(tried)} “reproduced” that "
        f"were tried around the published setting, {wide} hold at every setting within a factor "
        "of 3.2."
    )
    xor = share("DEEP")["xor"]
    assert says["XOR"].startswith(f"DEEP learns XOR in {100 * xor:.3g} % [")
    of_ep = share("EP_asym", tasks=["xor"])["xor"]
    assert f"; asymmetric EP learns XOR in {100 * of_ep:.3g} % [" in says["XOR"]
    one = f"{100 * (1 - (1 - xor) ** 10):.3g} % ["
    assert f"at least one of ten DEEP networks learns XOR with probability {one}" in says["XOR"]
    assert says["Tasks and architectures"] == (
        f"DEEP learns in {per_cent(share('DEEP'))} of networks; one-hot DEEP learns in "
        f"{per_cent(share('DEEP_oh'))}; layered DEEP learns in "
        f"{per_cent(share('DEEP', layered=True))}."
    )
    sparsity = {t: networks["DEEP", t, True, False]["sparsity"].median() for t in TASKS}
    after = "learned_after"
    kept = {}
    for task in TASKS:
        before, pruned = (networks["DEEP", task, of, False][after] for of in (False, True))
        kept[task] = pruned.reindex(before[before].index).dropna().mean()
    assert says["Pruning"] == (
        f"Pruning removes {per_cent(sparsity)} of the synapses of the median DEEP network; of the "
        f"DEEP networks that learn unpruned, {per_cent(kept)} learn pruned."
    )
    leaky = share("DEEP, λ = 1.0", "certified")
    more = {task: leaky[task] - share("DEEP", "certified")[task] for task in TASKS}
    points = " to ".join(f"+{end} points ({names})" for end, names in spread(more))
    asymep = "DEEP, λ = 0.5, rule = asymep, beta = 3.0, dt_W = 0.5"
    assert says["Rest"] == (
        f"{per_cent(share('DEEP', 'comes_to_rest'))} of DEEP networks come to rest within ten free "
        f"phases; a leak changes the share of DEEP networks that are proved to converge by "
        f"{points}; with a leak and the rule asymep, DEEP learns in {per_cent(share(asymep))} of "
        "networks."
    )
    assert [finding.claims for finding in found] == [
        [], ["1b", "1c", "1a"], ["1b", "3", "4", "7"], ["5a", "5b"], ["8a", "8b", "8c"],
    ]  # fmt: skip


def test_each_clause_is_about_a_quantity_of_the_claims():
    quantities = pd.Series([_describe(claim) for claim in read_claims()])
    for clauses in _CLAUSES.values():
        for pattern in clauses:
            assert quantities.str.fullmatch(pattern).sum() in (1, 2), pattern


def test_a_single_estimate_has_its_interval_and_several_their_tasks():
    one = row("a", "share of DEEP layered: learned", "not", 0.333333)
    assert sentences(one) == {
        "Verdicts": "Of 1 verdict on 1 claim, 1 are “reproduced”, 0 “not reproduced” and 0 "
        "“inconclusive”.",
        "Tasks and architectures": "Layered DEEP learns in 33.3 % [12.5, 75] (NOT).",
    }
    same = row("a", "share of DEEP layered: learned", "or", 0.3333334)
    says = sentences(one, same)["Tasks and architectures"]
    assert says == "Layered DEEP learns in 33.3 % (NOT, OR)."
    less = row("a", "share of DEEP layered: learned", "id", 0.02)
    says = sentences(one, less, same)["Tasks and architectures"]
    assert says == "Layered DEEP learns in 2 % (ID) to 33.3 % (NOT, OR)."


def test_what_is_missing_is_left_out():
    none = row("c", "share of EP_asym: learned", "xor", None, "inconclusive", networks=0)
    other = row("c", "share of EP_asym: learned", "and", 0.5, "not reproduced")
    ten = row("d", "probability that one of ten DEEP: learned", "xor", 0.5)
    assert sentences(none, other, ten) == {
        "Verdicts": "Of 3 verdicts on 2 claims, 1 are “reproduced”, 1 “not reproduced” and 1 "
        "“inconclusive”.",
        "XOR": "At least one of ten DEEP networks learns XOR with probability 50 % [12.5, 75].",
    }
    assert list(sentences(none)) == ["Verdicts"]


def test_a_leak_may_also_cost_certificates():
    paired = "share certified, DEEP, λ = 2.0 − DEEP, paired"
    says = sentences(row("b", paired, "xor", -0.1), row("b", paired, "and", 0.25))["Rest"]
    assert says == (
        "A leak changes the share of DEEP networks that are proved to converge by −10 points (XOR) "
        "to +25 points (AND)."
    )


def test_verdicts_by_algebra_are_counted():
    sure = row("a", "share", "xor", 0.0, p=None)
    curves = row("b", "curves", "xor", 1.0, p=None, rule="all are")
    none = row("c", "share", "or", None, "inconclusive", p=None, networks=0)
    tested = row("d", "share", "or", 1.0)
    assert sentences(sure, curves, none, tested)["Verdicts"].endswith(
        "and 1 “inconclusive”; 1 of them could not have been refuted, by algebra."
    )


def test_settings_around_the_published_one_are_counted():
    grid = {"settings": 75, "nearest": 2.5}
    rows = [row("a", "share", "xor", 0.5, **grid, within=2.5),
            row("a", "share", "and", 0.5, **grid, within=1.0),
            row("a", "share", "or", 0.5, "not reproduced", **grid, within=0.0),
            row("b", "share", "or", 0.5)]  # fmt: skip
    assert sentences(*rows)["Verdicts"].endswith(
        "; of the 2 “reproduced” that were tried around the published setting, 1 hold at every "
        "setting within a factor of 2.5."
    )
