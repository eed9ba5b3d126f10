import hashlib
import itertools
import re
from importlib.resources import files
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.stats
import xarray as xr
from click.testing import CliRunner
from statsmodels.stats.proportion import test_proportions_2indep as score_test

import deep_nb
from deep_nb import analysis, claims
from deep_nb.analysis.statistics import Estimate, holm
from deep_nb.claims import ensembles
from deep_nb.claims.claim import Networks, Side
from deep_nb.claims.claim import verdict as decide
from deep_nb.cli import main
from deep_nb.dynamics import vector_field
from deep_nb.experiments import claims as study
from deep_nb.report import read_table

from .conftest import SHORT

FIGURES = Path(__file__).parent.parent / "figures"

SMALL = {"n_epochs": 12}


def frame(model, task="xor", pruned=False, layered=False, **columns):
    """Made-up networks, like those of `claims.measure`."""
    rows = len(next(iter(columns.values())))
    base = {"learned": False, "epochs": np.nan, "sparsity": 0.0, "gershgorin": False}
    base |= {"learned_after": columns.get("learned", False), "at_rest": False, "certified": False}
    base |= {"comes_to_rest": False, "step_is_stable": True}
    fixed = {"model": model, "task": task, "pruned": pruned, "layered": layered}
    return pd.DataFrame({**fixed, "seed": range(rows), "n_epochs": 200, **base, **columns})


# The claims and their evidence


def test_the_claims_are_all_there():
    rules = {
        claim.id: (claim.quantity, claim.measure, str(claim.of), str(claim.holds), claim.grid)
        for claim in claims.read_claims()
    }
    leaky = "DEEP, λ = 0.5, rule = asymep, beta = 3.0, dt_W = 0.5"
    assert rules == {
        "1a": ("ensemble", "learned", "DEEP", "above 0.5", True),
        "1b": ("share", "learned", "DEEP", "above 0.5", True),
        "1c": ("share", "learned", "EP_asym", "below 0.5", True),
        "1d": ("difference", "learned", "DEEP", "above 0", True),
        "2a": ("curves", "learned", "DEEP", "above 0.999", False),
        "2b": ("curves", "learned", "EP_asym", "above 0.999", False),
        "3": ("share", "learned", "DEEP", "above 0.5", True),
        "4": ("share", "learned", "DEEP_oh", "above 0.5", True),
        "5a": ("median", "sparsity", "DEEP pruned", "above 0.1", False),
        "5b": ("kept", "learned_after", "DEEP pruned", "above 0.9", False),
        "5c": ("paired", "learned_after", "DEEP pruned", "above -0.1", False),
        "6a": ("share", "gershgorin", "DEEP", "below 0.5", False),
        "6b": ("share", "gershgorin", "DEEP_oh", "below 0.5", False),
        "6c": ("share", "gershgorin", "EP_asym", "above 0.5", False),
        "7": ("share", "learned", "DEEP layered", "above 0.5", False),
        "8a": ("share", "comes_to_rest", "DEEP", "below 0.9", False),
        "8b": ("paired", "certified", "DEEP, λ = 1.0", "above 0", False),
        "8c": ("share", "learned", leaky, "above 0.5", False),
    }  # fmt: skip
    assert [c.id for c in claims.read_claims() if c.by_algebra] == ["6a", "6b", "8b"]


@pytest.mark.parametrize(
    ("name", "digest"),
    [
        ("evidence.yml", "296b852f5b3752e1663a673026f258e3bdbae1bec5e55efe8116c68e08c2916a"),
        ("data/DEEP_xor.csv", "4ba76f83b2cf8b167ca4d25b40b2640dd16cd8d6dfb9817a02fca9c519c04935"),
        (
            "data/EP_asym_xor.csv",
            "b483242e334ce742375d24703c92c8fe2760032dc846d3b19a1b8f3b14b26c8b",
        ),
    ],
)
def test_the_evidence_is_changed_only_on_purpose(name, digest):
    content = files("deep_nb").joinpath("claims", name).read_bytes()
    assert hashlib.sha256(content).hexdigest() == digest


@pytest.mark.parametrize("claim", claims.read_claims(), ids=lambda claim: claim.id)
def test_a_claim_has_evidence_whose_words_cell_or_curve_exists(claim):
    """Words are literally in a source; a notebook has a commit and a cell; a curve is a file."""
    sources = claims.read_sources()
    assert claim.evidence
    for item in claim.evidence:
        source = sources[item.source]
        if source.file.endswith(".ipynb"):
            assert len(source.commit) == 7
            assert source.cell >= 0
            assert f"commit {source.commit}, cell {source.cell}" in str(item)
        if source.curve:
            assert files("deep_nb").joinpath("claims/data", source.curve).is_file()
            assert claims.published_curves(item.source)["mse_median"].notna().sum() > 100
        else:
            assert item.words
            assert item.words in source.text
            assert f"“{item.words}”" in str(item)


def test_the_published_curves_are_as_they_were_read():
    deep = claims.published_curves("DEEP 2019 figure").set_index("epoch")
    assert deep.notna().sum().to_dict() == {"mse_mean": 151, "mse_median": 158}
    assert deep.index.tolist() == list(range(1, 159))
    assert deep.loc[[1, 4], "mse_mean"].tolist() == [0.2259, 0.2034]
    late = deep.loc[90:]
    assert (late["mse_median"] - 0.126).abs().max() <= 0.004  # the precision of the reading
    assert late["mse_mean"].mean() == pytest.approx(0.116, abs=0.004)
    ep = claims.published_curves("EP 2019 figure").set_index("epoch")
    assert ep.notna().sum().to_dict() == {"mse_mean": 1, "mse_median": 158}
    assert ep.loc[100:, "mse_median"].round(3).between(0.121, 0.129).all()
    with pytest.raises(ValueError, match="unknown source 'DEEP 2019'"):
        claims.published_curves("DEEP 2019")


def test_sources_name_their_place():
    sources = claims.read_sources()
    assert str(sources["abstract"]) == "abstract of Farinha et al. 2020, arXiv:2006.08798"
    assert str(sources["readme"]) == "published README, commit 9c23716"
    assert str(sources["EP 2019 figure"]).endswith("of 2019, commit 9e07bd1, cell 13")
    assert "pretend" not in sources.pop("abstract").text
    assert "abstract" in claims.read_sources()  # a copy was changed
    with pytest.raises(ValueError, match="a source needs a 'text' or a 'curve'"):
        claims.Source(place="here")


@pytest.mark.parametrize(
    ("networks", "name", "leak", "hyper"),
    [
        ({"model": "DEEP"}, "DEEP", 0.0, {}),
        ({"model": "DEEP", "layered": True, "pruned": True}, "DEEP layered pruned", 0.0, {}),
        ({"model": "DEEP", "leak": 1.0}, "DEEP, λ = 1.0", 1.0, {}),
        (
            {"model": "EP_asym", "rule": "centered", "hyper": {"beta": 0.5, "N_H": [3]}},
            "EP_asym, rule = centered, beta = 0.5, N_H = [3]",
            1.0,
            {"beta": 0.5, "N_H": (3,)},
        ),
    ],
)
def test_a_variant_is_the_published_model_with_changes_that_its_name_tells(
    networks, name, leak, hyper
):
    found = Networks(**networks)
    variant, published = found.variant, deep_nb.PUBLISHED[networks["model"]]
    assert str(found) == name
    assert variant.leak == leak
    assert variant.hyper == published.hyper.replace(**hyper)
    assert variant.rule == networks.get("rule", published.rule)
    assert variant.outflow == published.outflow
    assert found.key == (
        variant.name, networks.get("pruned", False), networks.get("layered", False),
    )  # fmt: skip


def test_a_variant_that_is_no_model_is_refused_when_it_is_read():
    with pytest.raises(ValueError, match=r"unknown name 'betta' in Hyperparameters \(did you mean"):
        Networks(model="DEEP", hyper={"betta": 1.0})


# The rules


WORDS = "evidence: [{source: abstract, words: prune irrelevant connections}]"
CLAIM = """
claims:
  - id: a
    statement: DEEP learns XOR
    {words}
    quantity: {quantity}
    of: {{model: DEEP}}
    {against}
    tasks: [xor]
    holds: {{{side}: {number}}}
    grid: {grid}
"""


def one_claim(quantity="share", against="", side="above", number=0.5, grid="true", words=WORDS):
    given = {"quantity": quantity, "against": against, "side": side, "number": number}
    return claims.read_claims(CLAIM.format(**given, grid=grid, words=words))


@pytest.mark.parametrize(
    ("sides", "estimate", "verdict"),
    [
        ({"above": 0.5}, (0.9, 0.6, 1.0), "reproduced"),
        ({"above": 0.5}, (0.5, 0.4, 0.6), "inconclusive"),
        ({"above": 0.5}, (0.9, 0.5, 1.0), "inconclusive"),
        ({"above": 0.5}, (0.2, 0.1, 0.3), "not reproduced"),
        ({"below": 0.0}, (-1.0, -2.0, -0.1), "reproduced"),
        ({"below": 0.0}, (1.0, 0.1, 2.0), "not reproduced"),
        ({"above": 0.5}, (0.2, 0.1, 0.5), "inconclusive"),
        ({"below": 0.0}, (-1.0, -2.0, 0.0), "inconclusive"),
        ({"below": 0.0}, (1.0, 0.0, 2.0), "inconclusive"),
    ],
)
def test_an_interval_decides(sides, estimate, verdict):
    (claim,) = one_claim()
    assert decide(claim.replace(holds=Side(**sides)), Estimate(*estimate)) == verdict


@pytest.mark.parametrize(
    ("estimate", "verdict"),
    [
        ((0.0, -0.09, 0.09), "reproduced"),  # a loss of a tenth is excluded
        ((-0.05, -0.09, -0.01), "reproduced"),  # there is a loss, but a small one
        ((-0.1, -0.2, -0.01), "not reproduced"),  # there is a loss, perhaps a large one
        ((-0.3, -0.4, -0.2), "not reproduced"),
        ((-0.1, -0.2, 0.0), "inconclusive"),
    ],
)
def test_a_loss_refutes_if_it_is_there_and_not_proved_small(estimate, verdict):
    (claim,) = one_claim("paired", "against: {model: DEEP}", "above", -0.1, "false")
    claim = claim.replace(fails=Side(below=0.0))
    assert decide(claim, Estimate(*estimate)) == verdict


def row_of(claim, *networks, **tables):
    """The only row of a claims table."""
    return claims.evaluate(claim, pd.concat(networks), **tables).iloc[0]


@pytest.mark.slow
def test_each_row_says_what_was_measured_and_tests_it():
    """Every quantity with numbers computed otherwise: counts, closed forms, other packages."""
    text = f"""
    claims:
      - {{id: s, statement: S, quantity: share, of: {{model: DEEP, pruned: true}}, tasks: [xor],
         measure: learned_after, holds: {{above: 0.5}}, {WORDS}}}
      - {{id: n, statement: N, quantity: ensemble, of: {{model: DEEP}}, tasks: [xor],
         holds: {{above: 0.5}}, {WORDS}}}
      - {{id: d, statement: D, quantity: difference, of: {{model: DEEP}},
         against: {{model: EP_asym}}, tasks: [xor], holds: {{below: -0.1}}, {WORDS}}}
      - {{id: m, statement: M, quantity: median, of: {{model: DEEP, pruned: true}}, tasks: [xor],
         measure: sparsity, holds: {{above: 0.25}}, {WORDS}}}
      - {{id: p, statement: P, quantity: paired, of: {{model: DEEP, pruned: true}},
         against: {{model: DEEP}}, tasks: [xor], measure: learned_after, holds: {{above: 0}},
         {WORDS}}}
      - {{id: k, statement: K, quantity: kept, of: {{model: DEEP, pruned: true}},
         against: {{model: DEEP}}, tasks: [xor], measure: learned_after, holds: {{above: 0.9}},
         note: But, {WORDS}}}
    """
    networks = [
        frame("DEEP", pruned=True, learned=[True] * 10,
              learned_after=[True] * 6 + [False] * 4, sparsity=np.arange(10) / 10),
        frame("DEEP", learned=[True] + [False] * 9, learned_after=[True] * 4 + [False] * 6),
        frame("EP_asym", learned=[True] * 3 + [False]),
    ]  # fmt: skip
    table = claims.evaluate(claims.read_claims(text), pd.concat(networks)).set_index("id")
    assert table["quantity"].to_dict() == {
        "s": "share of DEEP pruned: learned (final weights)",
        "n": "probability that one of ten DEEP: learned",
        "d": "share learned, DEEP − EP_asym",
        "m": "median sparsity of DEEP pruned",
        "p": "share learned (final weights), DEEP pruned − DEEP, paired",
        "k": "share of the seeds learned (final weights) by DEEP that are by DEEP pruned, too",
    }
    assert table["networks"].to_dict() == {"s": 10, "n": 10, "d": 14, "m": 10, "p": 20, "k": 4}
    assert table["estimate"].to_dict() == pytest.approx(
        {"s": 0.6, "n": 1 - 0.9**10, "d": 0.1 - 0.75, "m": 0.45, "p": 0.2, "k": 1.0}
    )
    low = deep_nb.analysis.share(1, 10).low
    assert table.loc["n", "low"] == pytest.approx(1 - (1 - low) ** 10)
    paired = deep_nb.analysis.paired_difference([1] * 6 + [0] * 4, [1] * 4 + [0] * 6)
    assert tuple(table.loc["p", ["estimate", "low", "high"]]) == paired
    p = {
        "s": scipy.stats.binomtest(6, 10, 0.5).pvalue,
        "n": scipy.stats.binomtest(1, 10, 1 - 0.5**0.1).pvalue,  # a share that gives one half
        "d": score_test(1, 10, 3, 4, value=-0.1, method="score").pvalue,
        "m": scipy.stats.binomtest(7, 10, 0.5).pvalue,  # 0.3 to 0.9 are above 0.25
        "p": 0.5,  # two pairs differ, in one direction: 2 · 0.5²
        "k": scipy.stats.binomtest(4, 4, 0.9).pvalue,
    }
    assert table["p"].to_dict() == pytest.approx(p)
    np.testing.assert_allclose(table["p_holm"], holm([*p.values()]))
    assert table["rule"].to_dict() == {
        "s": "above 0.5", "n": "above 0.5", "d": "below -0.1", "m": "above 0.25", "p": "above 0",
        "k": "above 0.9",
    }  # fmt: skip
    assert (table["settings"] == 0).all()
    assert table["within"].isna().all()
    assert table["note"].to_dict() == dict.fromkeys("snmdp", "") | {"k": "But"}
    where = "(abstract of Farinha et al. 2020, arXiv:2006.08798)"
    assert set(table["evidence"]) == {f"“prune irrelevant connections” {where}"}


@pytest.mark.slow
def test_a_margin_is_tested_by_tangos_score():
    """By hand: at Δ = −0.1 with 0 and 1 of 100 pairs, 2q = 0.13 to first order in q̂."""
    (claim,) = one_claim("paired", "against: {model: EP_asym}", "above", -0.1, "false")
    claim = claim.replace(fails=Side(below=0.0))
    of = frame("DEEP", learned=[False] + [True] * 99)
    row = row_of([claim], of, frame("EP_asym", learned=[True] * 100))
    # q̂ solves 200 q² + (−1 + 200 Δ − Δ) q − Δ (1 − Δ)·(−c) = 0 with b = 0, c = 1, Δ = −0.1
    linear = -1 + (200 + 1) * -0.1
    q = (np.sqrt(linear**2 - 8 * 100 * 1 * 0.1 * 1.1) - linear) / 400
    z = (-1 + 10) / np.sqrt(100 * (2 * q - 0.1 * 1.1))
    assert row["p"] == pytest.approx(2 * scipy.stats.norm.sf(z), rel=1e-9)
    assert row["rule"] == "above -0.1 (fails below 0)"
    assert row["verdict"] == "reproduced"
    worse = frame("DEEP", learned=[False] * 20 + [True] * 80)
    row = row_of([claim], worse, frame("EP_asym", learned=[True] * 100))
    assert row["p"] == pytest.approx(2 * 0.5**20)  # McNemar's test of any loss
    assert row["verdict"] == "not reproduced"


@pytest.mark.slow
def test_sides_without_a_difference_do_not_differ():
    (claim,) = one_claim("difference", "against: {model: EP_asym}", "above", 0, "false")
    row = row_of([claim], *(frame(model, learned=[True] * 9) for model in ("DEEP", "EP_asym")))
    assert (row["estimate"], row["p"], row["verdict"]) == (0.0, 1.0, "inconclusive")


@pytest.mark.slow
def test_pairs_are_of_the_same_seed_and_both_stable():
    (claim,) = one_claim("kept", "against: {model: EP_asym}", "above", 0.9, "false")
    against = frame("EP_asym", learned=[True, True, True, False], seed=[3, 1, 2, 0])
    of = frame("DEEP", learned=[True, False, True], seed=[3, 1, 9])
    row = row_of([claim], of, against)
    assert (row["networks"], row["estimate"]) == (2, 0.5)
    of["step_is_stable"] = [True, False, True]
    row = row_of([claim], of, against)
    assert (row["networks"], row["estimate"], row["runaway"]) == (1, 1.0, 1)
    row = row_of([claim], of, against.assign(learned=False))
    assert (row["networks"], row["verdict"]) == (0, "inconclusive")


@pytest.mark.slow
def test_verdicts_are_corrected_for_their_number():
    """61 of 100 above one half: p = 0.035 alone, and 20 times that among 20 claims."""
    (claim,) = one_claim(grid="false")
    networks = frame("DEEP", learned=np.arange(100) < 61)
    row = row_of([claim], networks)
    assert row["p"] == row["p_holm"] == pytest.approx(0.0352, abs=1e-4)
    assert row["verdict"] == "reproduced"
    table = claims.evaluate([claim.replace(id=str(k)) for k in range(20)], networks)
    np.testing.assert_allclose(table["p_holm"], 20 * row["p"])
    assert set(table["verdict"]) == {"inconclusive"}


@pytest.mark.slow
def test_what_cannot_fail_has_no_test_and_does_not_count():
    """61 of 100, p = 0.035: beside a claim by algebra it is corrected for one verdict."""
    (claim,) = one_claim(grid="false")
    networks = frame("DEEP", learned=np.arange(100) < 61)
    sure = claim.replace(id="b", by_algebra=True)
    table = claims.evaluate([claim, sure], networks)
    assert table["p_holm"][0] == table["p"][0] == pytest.approx(0.0352, abs=1e-4)
    assert table[["p", "p_holm"]].loc[1].isna().all()
    assert table["verdict"].tolist() == ["reproduced", "reproduced"]


@pytest.mark.slow
def test_counts_are_given_beside_rest_and_certificates():
    rest, leak = (c for c in claims.read_claims() if c.id in ("8a", "8b"))
    of = frame("DEEP", learned=np.arange(100) < 22, at_rest=np.arange(100) < 66,
               comes_to_rest=np.arange(100) < 93)  # fmt: skip
    leaky = frame("DEEP, λ = 1.0", learned=np.arange(100) < 1, certified=np.arange(100) < 71)
    table = claims.evaluate(
        [c.replace(tasks=["xor"]) for c in (rest, leak)], pd.concat([of, leaky])
    )
    assert table["beside"].tolist() == [
        "after T1 steps: 66 of 100", "learned by 1 of 100, by 22 of 100 of DEEP",
    ]  # fmt: skip
    assert table["estimate"].tolist() == [0.93, 0.71]
    assert table["quantity"][0] == "share of DEEP: at rest after 10 × T1 steps"
    # Wilson's interval of 93 of 100 is 86.3 to 96.6 %: neither below nor above 9 in 10
    assert table["verdict"].tolist() == ["inconclusive", "reproduced"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("learned", "stable", "verdict", "networks"),
    [
        ([True] * 90 + [False] * 10, [True] * 90 + [False] * 10, "reproduced", 90),
        ([True] * 45 + [False] * 55, [True] * 50 + [False] * 50, "inconclusive", 50),
        ([False] * 87 + [True] * 13, [True] * 87 + [False] * 13, "not reproduced", 87),
        ([True] * 100, [False] * 100, "inconclusive", 0),
        ([True] * 100, [True] + [False] * 99, "inconclusive", 0),
    ],
)
def test_runaways_are_counted_apart_and_decide_nothing(learned, stable, verdict, networks):
    """A verdict that would be another one with runaways is inconclusive."""
    of = frame("DEEP", learned=learned, step_is_stable=stable)
    row = row_of(one_claim(grid="false"), of)
    assert (row["verdict"], row["networks"]) == (verdict, networks)
    assert row["runaway"] == stable.count(False)


# Around the published setting


def grid_of(model, shares, networks=40):
    """Networks at settings for which a share is given, by (N_H, β, dt_W) factors."""
    frames = []
    for setting, share in shares.items():
        place = dict(zip(ensembles.SETTING, setting, strict=True))
        learned = np.arange(networks) < share * networks
        epochs = np.where(learned, 20.0, np.nan)
        frames.append(frame(model, learned=learned, epochs=epochs).assign(N_H=5, **place))
    return pd.concat(frames)


def line(*shares):
    """Five values of β, from 0.1 to 10 times the published one."""
    factors = (0.1, 1 / 3.1623, 1.0, 3.1623, 10.0)
    return {(1.0, factor, 1.0): share for factor, share in zip(factors, shares, strict=True)}


def box(changed, other=1.0, sizes=(1 / 3.1623, 1.0, 3.1623)):
    """Every combination of five values of β, three of dt_W and some of N_H."""
    factors = (0.1, 1 / 3.1623, 1.0, 3.1623, 10.0)
    settings = itertools.product(sizes, factors, (1 / 3.1623, 1.0, 3.1623))
    return {setting: changed.get(setting, other) for setting in settings}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("shares", "within", "yes", "no"),
    [
        (line(1, 1, 1, 1, 1), 10.0, 5, 0),
        (line(0, 1, 1, 1, 1), 3.1623, 4, 1),
        (line(1, 1, 1, 1, 0.5), 3.1623, 4, 0),
        (line(1, 1, 1, 0, 1), 1.0, 4, 1),
        (line(1, 1, 0, 1, 1), 0.0, 4, 1),
        (line(0, 0, 0, 0, 0), 0.0, 0, 5),
        (box({(3.1623, 1.0, 1.0): 0}), 1.0, 44, 1),
        (box({(1.0, 10.0, 1 / 3.1623): 0}), 3.1623, 44, 1),
    ],
)
def test_a_claim_holds_within_the_largest_symmetric_box(shares, within, yes, no):
    networks = frame("DEEP", learned=[True] * 100)
    row = row_of(one_claim(), networks, grid=grid_of("DEEP", shares))
    assert row["within"] == within
    assert (row["settings"], row["reproduced_at"], row["not_reproduced_at"]) == (
        len(shares), yes, no,
    )  # fmt: skip
    assert row["nearest"] == 3.1623
    assert row["verdict"] == "reproduced"  # at the published setting, by other networks


@pytest.mark.slow
@pytest.mark.parametrize(
    ("shares", "reproduced", "refuted", "symbol"),
    [
        (box({}), 27, "", "✓✓"),
        (box({(1.0, 10.0, 1.0): 0.0}), 27, "", "✓✓"),  # outside the box
        (box({(1.0, 1.0, 3.1623): 0.5}), 26, "", "✓"),  # undecided inside it
        (box({(1.0, 1.0, 3.1623): 0.0}), 26, "dt_W × 3.2", "(✓)"),
        (
            box({(1 / 3.1623, 3.1623, 1.0): 0.0, (1.0, 1.0, 1.0): 0.0, (1.0, 1.0, 3.1623): 0.5}),
            24, "N_H ÷ 3.2, β × 3.2; the published setting", "(✓)",
        ),
    ],
)  # fmt: skip
def test_refuted_and_undecided_settings_near_the_published_one_are_told_apart(
    shares, reproduced, refuted, symbol
):
    networks = frame("DEEP", learned=[True] * 100)
    row = row_of(one_claim(), networks, grid=grid_of("DEEP", shares))
    assert (row["near_settings"], row["near_reproduced"]) == (27, reproduced)
    assert row["refuted_at"] == refuted
    table = claims.verdict_table(pd.DataFrame([row]))
    assert table.splitlines()[2] == f"| a | DEEP learns XOR | {symbol} |"


@pytest.mark.slow
def test_a_hundred_networks_can_refute_that_one_of_ten_learns():
    """Thirty cannot: Wilson's interval of 0 of 30 contains 1 − 0.5^0.1 = 6.7 %."""
    claim = one_claim("ensemble")
    networks = frame("DEEP", learned=[True] * 100)
    for number, refuted in ((30, ""), (100, "β × 3.2")):
        grid = grid_of("DEEP", line(1, 1, 1, 0, 1), number)
        row = row_of(claim, networks, grid=grid)
        assert (row["refuted_at"], row["near_reproduced"]) == (refuted, 2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda grid: grid[grid["beta_factor"] != 10], "DEEP on xor at every combination"),
        (lambda grid: grid[grid["dt_W_factor"] != 1], "DEEP on xor at every combination"),
        (lambda grid: grid[grid["N_H_factor"] < 3], "DEEP on xor at every combination"),
        (
            lambda grid: grid[(grid["beta_factor"] != 1) | (grid["dt_W_factor"] != 1)],
            "but it has 42 settings",
        ),
        (lambda grid: pd.concat([grid, grid.iloc[:1]]), "seed 0 of DEEP on xor more than once"),
        (lambda grid: grid.assign(learned=0.5), "grid must have only 0 and 1 .* in 'learned'"),
    ],
)
def test_a_grid_without_some_settings_is_refused(change, message):
    networks = frame("DEEP", learned=[True] * 100)
    grid = grid_of("DEEP", box({}), 3)
    with pytest.raises(ValueError, match=message):
        row_of(one_claim(), networks, grid=change(grid))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"learned": 2}, "networks must have only 0 and 1 .* in 'learned'"),
        ({"step_is_stable": 0.5}, "in 'step_is_stable'"),
        ({"comes_to_rest": -1}, "in 'comes_to_rest'"),
        ({"seed": 3}, "networks has the network of seed 3 of DEEP on xor more than once"),
    ],
)
def test_networks_twice_and_outcomes_that_are_not_0_or_1_are_refused(change, message):
    networks = frame("DEEP", learned=[True] * 100)
    with pytest.raises(ValueError, match=message):
        row_of(one_claim(grid="false"), networks.assign(**change))
    both = [networks, frame("DEEP", "id", learned=[True] * 100)]
    assert row_of(one_claim(grid="false"), *both)["networks"] == 100


@pytest.mark.slow
def test_only_settings_with_the_claims_hidden_neurons_count():
    (claim,) = one_claim()
    shares = box({(3.1623, 1.0, 1.0): 0})
    grid = pd.concat([grid_of("DEEP", shares), grid_of("EP_asym", line(0, 0, 0, 0, 0))])
    networks = frame("DEEP", learned=[True] * 100)
    assert row_of([claim], networks, grid=grid)["settings"] == 45
    row = row_of([claim.replace(vary_N_H=False)], networks, grid=grid)
    assert (row["settings"], row["within"], row["near_settings"]) == (15, 10.0, 9)
    with pytest.raises(ValueError, match="grid has no rows of DEEP on xor, but a claim needs them"):
        row_of([claim], networks, grid=grid[grid["model"] == "EP_asym"])


@pytest.mark.slow
def test_models_are_compared_at_the_same_setting_and_each_at_its_best():
    (claim,) = one_claim("difference", "against: {model: EP_asym}", "above", 0)
    shares = line(1, 0, 1, 1, 1), line(1, 1, 0, 0, 0)
    grid = pd.concat([grid_of("DEEP", shares[0]), grid_of("EP_asym", shares[1])])
    networks = pd.concat(
        [frame(m, learned=np.arange(100) < 100 * (m == "DEEP")) for m in ("DEEP", "EP_asym")]
    )
    equal = networks.assign(learned=True)
    row = row_of([claim], networks, grid=grid, best=equal)
    assert (row["settings"], row["reproduced_at"], row["not_reproduced_at"]) == (5, 3, 1)
    assert row["within"] == 1
    assert (row["verdict"], row["at_best"]) == ("reproduced", "inconclusive")
    assert row_of([claim], networks, grid=grid)["at_best"] == ""
    assert row_of([claim.replace(grid=False)], networks, best=equal)["at_best"] == ""
    part = grid[(grid["model"] == "DEEP") | grid["beta_factor"].between(0.2, 5)]
    with pytest.raises(ValueError, match=r"grid has no rows of \(1\.0, 0\.1"):
        row_of([claim], networks, grid=part)
    with pytest.raises(ValueError, match=r"best has no rows of \('EP_asym'"):
        row_of([claim], networks, best=equal[equal["model"] == "DEEP"])


def test_the_best_setting_is_learned_by_most_then_earliest():
    grid = pd.concat(
        [
            grid_of("DEEP", line(0.5, 0.75, 0.25, 1.0, 1.0)),
            grid_of("EP_asym", line(0, 0.25, 0, 0, 0)),
        ]
    )
    late = (grid["model"] == "DEEP") & (grid["beta_factor"] == 3.1623)
    grid.loc[late, "epochs"] = 30.0
    best = claims.best_settings(grid).set_index("model")
    columns = ["N_H_factor", "beta_factor", "dt_W_factor", "chosen_by", "edge"]
    assert best.loc["DEEP", columns].tolist() == [1, 10, 1, 1, "beta_factor"]
    assert best.loc["EP_asym", columns].tolist() == [1, 1 / 3.1623, 1, 0.25, ""]
    assert best["N_H"].tolist() == [5, 5]
    grid.loc[late, "epochs"] = 10.0
    best = claims.best_settings(grid).set_index("model")
    assert best.loc["DEEP", "beta_factor"] == 3.1623
    half = late & (grid["seed"] >= 20)  # censored ones count with the last epoch: (10 + 200) / 2
    grid.loc[half, "epochs"] = np.nan
    assert claims.best_settings(grid).set_index("model").loc["DEEP", "beta_factor"] == 10
    grid.loc[grid["beta_factor"] == 10, "step_is_stable"] = False  # runaways do not count
    best = claims.best_settings(grid).set_index("model")
    assert best.loc["DEEP", ["beta_factor", "chosen_by"]].tolist() == [3.1623, 1.0]
    one = claims.best_settings(grid[grid["beta_factor"] == 1])
    assert one["edge"].tolist() == ["", ""]
    nine = itertools.product((1.0,), (0.1, 1.0, 10.0), (0.1, 1.0, 10.0))
    corner = grid_of("DEEP", dict.fromkeys(nine, 0.5) | {(1.0, 10.0, 10.0): 1.0})
    assert claims.best_settings(corner)["edge"].tolist() == ["beta_factor, dt_W_factor"]


@pytest.mark.parametrize("name", ["factors", "N_H_factors"])
def test_factors_of_a_sweep_are_named(name):
    for given, message in [
        (0.5, f"{name} must be a sequence"),
        ([0.5], f"{name} must be a finite number from 1 to 1e+06, got 0.5"),
    ]:
        with pytest.raises(ValueError, match=rf"\A{re.escape(message)}"):
            claims.sweep(claims.read_claims(), [1], **{"factors": [10.0], name: given})


def test_the_best_setting_is_chosen_by_seeds_that_all_settings_have():
    """More networks at some settings must not decide: β × 3.2 is best among the first 40."""
    few = grid_of("DEEP", line(0, 0.4, 0.4, 0.5, 0.4))
    more = grid_of("DEEP", {(1.0, 1.0, 1.0): 1.0}, 60).assign(seed=lambda of: of["seed"] + 40)
    best = claims.best_settings(pd.concat([few, more])).iloc[0]
    assert (best["beta_factor"], best["chosen_by"]) == (3.1623, 0.5)
    apart = few.assign(seed=few["seed"] + 100 * (few["beta_factor"] == 10))
    with pytest.raises(ValueError, match="a seed that every setting of DEEP on xor has"):
        claims.best_settings(apart)


@pytest.mark.slow
def test_settings_near_the_published_one_have_their_own_networks():
    """With factors 2 of N_H and 2 and 3 of β and dt_W, 3 × 9 settings are near."""
    (claim,) = (claim for claim in claims.read_claims() if claim.id == "1c")
    grid = claims.sweep([claim], [1], [2.0, 3.0], [2.0], near_seeds=[1, 7])
    seeds = grid.groupby(list(ensembles.SETTING))["seed"].apply(list)
    near = [max(max(f, 1 / f) for f in setting) <= 2 for setting in seeds.index]
    assert (len(seeds), sum(near)) == (75, 27)
    assert seeds.tolist() == [[1, 7] if of else [1] for of in near]
    assert sorted({*grid["N_H"]}) == [2, 5, 10]


@pytest.mark.slow
def test_a_sweep_is_what_separate_runs_give():
    """Factors and their inverses, of β, dt_W and, where a claim leaves it open, N_H."""
    chosen = [claim for claim in claims.read_claims() if claim.id in ("1c", "4", "5a")]
    chosen[1] = chosen[1].replace(tasks=["id"])
    grid = claims.sweep(chosen, range(2), [10], [2])
    assert grid.index.tolist() == list(range(len(grid)))
    sizes = grid.groupby(["model", "task", "N_H_factor", "N_H"]).size()
    assert sizes.to_dict() == {
        ("DEEP_oh", "id", 1.0, 2): 18,
        **{("EP_asym", "xor", factor, N_H): 18 for factor, N_H in ((0.5, 2), (1, 5), (2, 10))},
    }
    assert sorted({*grid["beta_factor"]}) == sorted({*grid["dt_W_factor"]}) == [0.1, 1, 10]
    changed = set()
    for model, task, place, hyper in (
        ("EP_asym", "xor", (2, 10.0, 0.1), {"N_H": [10], "beta": 100.0, "dt_W": 0.1}),
        ("EP_asym", "xor", (1, 1.0, 10.0), {"N_H": [5], "beta": 10.0, "dt_W": 10.0}),
        ("DEEP_oh", "id", (1, 1.0, 0.1), {"N_H": [2], "beta": 1.0, "dt_W": 20.0}),
    ):
        part = grid[(grid[["model", "task"]] == [model, task]).all(axis=1)]
        part = part[np.isclose(part[list(ensembles.SETTING)], place).all(axis=1)]
        alone = claims.measure(model, task, range(2), hyper=hyper)
        for name in ("seed", "n_epochs", "learned", "epochs", "step_is_stable"):
            np.testing.assert_array_equal(part[name], alone[name])
        changed |= {(*part["epochs"],)}
    assert len(changed) == 3  # the settings differ
    assert claims.sweep(chosen[2:], range(2), [10]).empty
    for factors in ([1.0], [10.0, 10.0], [0.5], [np.inf], "10"):
        with pytest.raises(ValueError, match=r"^factors must be"):
            claims.sweep(chosen, range(2), factors)


@pytest.mark.slow
def test_fresh_networks_judge_each_model_at_its_best():
    (claim,) = (claim for claim in claims.read_claims() if claim.id == "1d")
    shares = {"DEEP": line(0, 0, 0, 1, 0), "EP_asym": line(0, 1, 0, 0, 0)}
    grid = pd.concat([grid_of(model, of, 2).assign(N_H=3) for model, of in shares.items()]).assign(
        seed=lambda table: table["seed"] + 1000
    )
    best = claims.measure_best([claim], grid, range(3))
    for model, b in (("DEEP", 10 * 3.1623), ("EP_asym", 10 * (1 / 3.1623))):
        hyper = {"N_H": [3], "beta": b}
        alone = claims.measure(model, "xor", range(3), hyper=hyper)
        pd.testing.assert_frame_equal(
            best[best["model"] == model].reset_index(drop=True), alone, check_exact=True
        )
    assert claims.measure_best([claim.replace(grid=False)], grid, range(3)).empty
    with pytest.raises(ValueError, match=r"seeds must not have chosen the settings, got \[1001\]"):
        claims.measure_best([claim], grid, [5, 1001])


# The published figures


def figures():
    return [claim for claim in claims.read_claims() if claim.quantity == "curves"]


@pytest.fixture(scope="module")
def curves():
    return claims.compare_curves(figures())


@pytest.mark.slow
def test_every_readable_point_of_the_published_figures_is_in_our_band(curves):
    """The authors' ten networks on XOR are what ten networks of this package are."""
    readable = curves[curves["published"].notna()]
    counts = readable.groupby(["source", "statistic"], sort=False)["inside"].agg(["sum", "size"])
    assert counts.to_numpy().tolist() == [[151, 151], [158, 158], [1, 1], [158, 158]]
    table = claims.evaluate(figures(), pd.DataFrame(), curves=curves)
    assert table["verdict"].tolist() == ["reproduced", "reproduced"]
    assert table["networks"].tolist() == [309, 159]
    assert table["estimate"].tolist() == [1.0, 1.0]
    assert set(table["rule"]) == {"all are"}
    ten = "share of the published points within 95 % (±0.004 for the reading) of ensembles of ten"
    assert table["quantity"].tolist() == [f"{ten} DEEP", f"{ten} EP_asym"]
    assert table["beside"].tolist() == [
        "without ±0.004: mean 151 of 151, median 154 of 158",
        "without ±0.004: mean 1 of 1, median 25 of 158",
    ]
    assert table["runaway"].tolist() == [0, 0]
    count = study.inside(curves)
    assert count["strictly"].tolist() == [151, 154, 1, 25]
    assert count["other"].tolist()[2:] == [1, 158]  # EP's figure is in DEEP's band
    chance = curves.groupby("source", sort=False)["wholly_inside"].first()
    assert 0.3 < chance.iloc[0] < 0.7  # not a matter of course
    assert chance.iloc[1] > 0.95


@pytest.mark.slow
def test_runaways_are_left_out_of_the_ensembles_and_counted(monkeypatch):
    stable = np.arange(40) >= 7
    monkeypatch.setattr(
        ensembles, "step_is_stable", lambda run: xr.DataArray(stable[: run.sizes["seed"]])
    )
    found = claims.compare_curves(figures()[1:], range(2000, 2040), ensembles=50)
    assert set(found["runaway"]) == {7}
    monkeypatch.undo()
    alone = claims.compare_curves(figures()[1:], range(2007, 2040), ensembles=50)
    for name in ("low", "middle", "high", "inside"):
        assert found[name].tolist() == alone[name].tolist()
    row = claims.evaluate(figures()[1:], pd.DataFrame(), curves=found).iloc[0]
    assert row["runaway"] == 7


@pytest.mark.parametrize(
    "change",
    [
        lambda curves: curves[curves["epoch"] < 100],
        lambda curves: curves.assign(published=curves["published"].where(curves["epoch"] < 100)),
        lambda curves: curves.assign(published=curves["published"] + 0.001),
        lambda curves: curves[curves["statistic"] == "mean"],
        lambda curves: pd.concat([curves, curves]),
    ],
)
def test_curves_that_are_not_the_published_ones_are_refused(curves, change):
    message = "curves must have every point of the me(an|dian) in 'DEEP 2019 figure', once"
    with pytest.raises(ValueError, match=message):
        claims.evaluate(figures(), pd.DataFrame(), curves=change(curves))


def test_a_figure_of_another_model_is_not_in_the_band(curves):
    """The DEEP figure is outside EP's band, and one point outside refutes."""
    ep = curves[curves["source"] == "EP 2019 figure"].sort_values(["statistic", "epoch"])
    deep = curves[curves["source"] == "DEEP 2019 figure"].sort_values(["statistic", "epoch"])
    published = deep["published"].to_numpy()
    outside = (published > ep["high"].to_numpy() + 0.004) | (published < ep["low"] - 0.004)
    assert outside.mean() > 0.2
    point = curves.index[curves["published"].notna()][3]
    changed = curves.copy()
    changed.loc[point, "inside"] = False
    table = claims.evaluate(figures(), pd.DataFrame(), curves=changed)
    assert table["verdict"].tolist() == ["not reproduced", "reproduced"]
    with pytest.raises(ValueError, match="curves has no rows of 'EP 2019 figure'"):
        claims.evaluate(figures(), pd.DataFrame(), curves=deep)
    with pytest.raises(ValueError, match="curves must be a table"):
        claims.evaluate(figures(), pd.DataFrame())


def test_bands_hold_95_of_100_of_the_ensembles(monkeypatch):
    """All 120 ensembles of three among ten made-up networks, weighted alike by many draws."""
    rng = np.random.default_rng(5)
    mse = rng.exponential(0.1, size=(10, 158))
    run = deep_nb.train("DEEP", "xor", seeds=1, hyper={**SHORT, "n_epochs": 1})
    made = run.isel(seed=[0] * 10, epoch=[0] * 158).copy(deep=True)
    made["mse_free"][:] = mse
    asked = []
    monkeypatch.setattr(ensembles, "train", lambda *args, **options: asked.append(args) or made)
    monkeypatch.setattr(ensembles, "step_is_stable", lambda run: xr.DataArray([True] * 10))
    found = claims.compare_curves(figures()[:1], range(10), size=3, ensembles=4000)
    assert asked == [("DEEP", "xor")]
    every = np.array([mse[list(c)] for c in itertools.combinations(range(10), 3)])
    for name, statistic in (("mean", np.mean), ("median", np.median)):
        of = found[found["statistic"] == name]
        curves = statistic(every, axis=1)
        for end, quantile in (("low", 0.025), ("middle", 0.5), ("high", 0.975)):
            # the probability of a value in 4000 draws is known to 4 σ, and values have probability
            # 1/120 or more
            spread = 4 * np.sqrt(quantile * (1 - quantile) / 4000)
            below, upto = (
                (compare(curves, of[end].to_numpy())).mean(axis=0)
                for compare in (np.less, np.less_equal)
            )
            assert (below <= quantile + spread + 1 / 120).all()
            assert (upto >= quantile - spread - 1 / 120).all()
        values, low, high = (of[name].to_numpy() for name in ("published", "low", "high"))
        with np.errstate(invalid="ignore"):
            inside = (values >= low - 0.004) & (values <= high + 0.004)
        assert of["inside"].tolist() == inside.tolist()


# Measures


def test_measure_is_about_its_networks():
    table = claims.measure("DEEP", "id", range(6), pruned=True, hyper=SMALL)
    run = deep_nb.train("DEEP", "id", seeds=range(6), hyper=SMALL, regularized=True, sparse=True)
    mse, wrong = run["mse_free"].values, run["class_error_free"].values
    ever = (mse < 0.01) & (wrong == 0)
    assert table["learned"].tolist() == ever[:, -1].tolist()
    assert table["epochs"].notna().tolist() == ever.any(axis=1).tolist()
    zeros = 1 - (run["W"].values != 0).sum(axis=(1, 2)) / run["mask"].values.sum()
    np.testing.assert_allclose(table["sparsity"], zeros, atol=1e-15)
    assert table["learned"].any()
    assert (table["sparsity"] > 0).any()
    assert table["pruned"].all()
    assert not table["layered"].any()


def test_layered_networks_and_variants_are_measured():
    leaky = Networks(model="DEEP", layered=True, leak=1.0)
    table = claims.measure(leaky.variant, "id", [3, 1], layered=True, hyper=SMALL)
    run = deep_nb.train(
        deep_nb.DEEP.replace(leak=1.0), "id", seeds=[3, 1], hyper=SMALL, layered=True
    )
    report = deep_nb.analysis.stability_report(run)
    for name in ("at_rest", "certified", "gershgorin_rows", "gershgorin_columns", "step_is_stable"):
        assert table[name].tolist() == report[name].values.tolist()
    assert table["mse"].tolist() == run["mse_free"].values[:, -1].tolist()
    assert set(table["model"]) == {"DEEP, λ = 1.0"}
    assert table["layered"].all()


def test_networks_come_to_rest_in_ten_phases():
    """Ten times 100 Euler steps written out; a network that is slow is not at rest after 100."""
    slow = claims.measure("DEEP", "xor", range(10), hyper={"n_epochs": 40, "T1": 100})
    run = deep_nb.train("DEEP", "xor", seeds=range(10), hyper={"n_epochs": 40, "T1": 100})
    field = analysis.stability.field_after(run)
    S = np.array([np.random.RandomState(seed).uniform(0, 0.1, (4, 6)) for seed in range(10)])
    for _ in range(1000):
        S, before = np.clip(S + 0.05 * vector_field(field, S), 0, 1), S
    speed = np.sqrt((((S - before) / 0.05) ** 2).sum(axis=(1, 2)))
    assert slow["comes_to_rest"].tolist() == (speed < 1e-6).tolist()
    assert slow["comes_to_rest"].sum() > slow["at_rest"].sum()


def test_every_column_is_of_its_own_measure(monkeypatch):
    """A run whose numbers all differ; the first network passes on rows or columns alone."""
    run = deep_nb.train("EP_asym", "or", seeds=[3, 1, 2, 0], hyper={**SHORT, "T1": 20, "T2": 20})
    rng = np.random.default_rng(0)
    for name in ("mse_free", "mse_nudged"):
        run[name][:] = rng.uniform(0.001, 0.02, run[name].shape)
    run["class_error_free"][:] = 0.0
    run["n_connections"][:] = rng.integers(1, 30, run["n_connections"].shape)
    run["W"][:] = 0.0
    into, out = {"pre": ["h0", "h1"], "post": "y0"}, {"pre": "h0", "post": ["h1", "y0"]}
    run["W"].loc[{"seed": 3, **into}] = 0.7
    run["W"].loc[{"seed": 1, **out}] = 0.7
    for place in (into, out):
        run["W"].loc[{"seed": 0, **place}] = 0.7
    monkeypatch.setattr(ensembles, "train", lambda *args, **options: run)
    table = claims.measure("EP_asym", "or", 4)
    sides = [table[f"gershgorin_{side}"].tolist() for side in ("rows", "columns")]
    assert sorted(sides) == [[False, True, True, False], [True, False, True, False]]
    assert table["gershgorin"].tolist() == [True, True, True, False]
    assert table["negative_diagonal"].all()
    assert table["seed"].tolist() == [3, 1, 2, 0]
    assert table["mse"].tolist() == run["mse_free"].values[:, -1].tolist()
    done = run["mse_free"].values < 0.01
    assert table["learned"].tolist() == done[:, -1].tolist()
    first = [np.flatnonzero(row)[0] if row.any() else np.nan for row in done]
    np.testing.assert_array_equal(table["epochs"], first)
    left = run["n_connections"].values[:, -1] / np.count_nonzero(run["mask"])
    np.testing.assert_allclose(table["sparsity"], 1 - left, atol=1e-15)
    answer = deep_nb.predict(run, run["X"].values)
    after = ((answer["output"].values - run["Y"].values) ** 2).sum(axis=(1, 2)) / 8 < 0.01
    right = (answer["label"].values == run["Y"].values).all(axis=(1, 2))
    assert table["learned_after"].tolist() == (after & right).tolist()
    assert table["learned_after"].tolist() != table["learned"].tolist()


def test_each_ensemble_of_the_claims_is_measured_once(monkeypatch):
    measured = []

    def measure(model, task, seeds, *, pruned=False, layered=False):
        measured.append((model.name, task, list(seeds), pruned, layered))
        return frame(model.name, task, pruned, layered, learned=[True])

    monkeypatch.setattr(ensembles, "measure", measure)
    chosen = [c for c in claims.read_claims() if c.id in ("1a", "1d", "2b", "5b", "7", "8b")]
    table = claims.measure_all(chosen, [4, 6])
    wanted = [("EP_asym", "xor", False, False)]
    for task in ("xor", "and", "or", "not", "id"):
        wanted += [("DEEP", task, True, False), ("DEEP", task, False, False)]
        wanted += [("DEEP", task, False, True), ("DEEP, λ = 1.0", task, False, False)]
    assert sorted(measured) == sorted((m, task, [4, 6], *flags) for m, task, *flags in wanted)
    assert len(table) == len(wanted)
    assert table.index.tolist() == list(range(len(wanted)))
    assert claims.measure_all(figures(), [4, 6]).empty


# Reading


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"quantity": "shares"}, "quant"),
        ({"side": "abov"}, "above"),
        ({"quantity": "paired"}, "quantity 'paired' needs 'against'"),
        ({"side": "1"}, "a mapping"),
        ({"side": "below: 1, above", "number": 0}, "give either 'above' or 'below'"),
        ({"against": "against: {model: DEEP}"}, "quantity 'share' does not take 'against'"),
        ({"quantity": "median"}, "'median' and the measure 'sparsity' need each other"),
        ({"against": "measure: sparsity"}, "'median' and the measure 'sparsity' need each other"),
        (
            {"against": "measure: certified"},
            "grid needs the measure 'learned' and a published model",
        ),
        ({"words": ""}, "needs a value for 'evidence'"),
        ({"words": "evidence: []"}, "evidence"),
        ({"words": "evidence: [3]"}, "evidence"),
        ({"words": "evidence: [{source: abstrac}]"}, "did you mean 'abstract'"),
        ({"words": "evidence: [{source: abstract}]"}, "'words' must be literally in the source"),
        (
            {"words": "evidence: [{source: abstract, words: learns XOR}]"},
            "'words' must be literally in the source 'abstract'",
        ),
        ({"quantity": "curves"}, "needs a published figure as evidence"),
        (
            {"words": "evidence: [{source: EP 2019 figure, words: it does not learn}]"},
            "the source 'EP 2019 figure' is a figure, which has no 'words'",
        ),
    ],
)
def test_bad_claims_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        one_claim(**change)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("claims: 3", "one list named 'claims'"),
        ("{", "not YAML"),
        ("claims: [{id: a}]", "needs a value for 'statement'"),
        (
            CLAIM.format(
                words=WORDS, quantity="share", against="", side="above", number=1, grid="false"
            )
            + CLAIM.format(
                words=WORDS, quantity="share", against="", side="above", number=1, grid="false"
            )
            .split("claims:\n")[1]
            .lstrip("\n"),
            "two claims have the same id: a, a",
        ),
    ],
)
def test_texts_that_are_not_lists_of_claims_are_named(text, message):
    with pytest.raises(ValueError, match=message):
        claims.read_claims(text)


# Tables


def test_cells_of_the_tables_are_as_written_by_hand():
    row = {
        "statement": "S", "evidence": "E|F", "note": "", "quantity": "share of DEEP",
        "estimate": 0.5, "low": 0.25, "high": 0.75, "p": 0.01, "p_holm": 0.02, "networks": 100,
        "runaway": 0, "rule": "above 0.5", "settings": 0, "reproduced_at": 0, "beside": "",
        "not_reproduced_at": 0, "nearest": np.nan, "near_settings": 0, "near_reproduced": 0,
        "refuted_at": "", "within": np.nan, "at_best": "",
    }  # fmt: skip
    over = {"settings": 9, "reproduced_at": 5, "not_reproduced_at": 2, "nearest": 3.1623}
    over |= {"near_settings": 3, "near_reproduced": 1}
    all_near = {"near_reproduced": 3, "beside": "after T1 steps: 66 of 100"}
    nothing = {"p_holm": np.nan, "estimate": np.nan, "networks": 0}
    rows = [
        {**row, "id": "a", "task": "xor", "verdict": "reproduced"},
        {**row, **over, **all_near, "id": "a", "task": "id", "within": 10.0, "runaway": 13,
         "verdict": "reproduced", "at_best": "inconclusive"},
        {**row, **over, "id": "b", "task": "id", "within": 1.0, "note": "N", "p_holm": 9e-7,
         "refuted_at": "β × 3.2", "verdict": "reproduced"},
        {**row, **over, "id": "b", "task": "not", "within": 0.0, "verdict": "inconclusive"},
        {**row, **over, "id": "b", "task": "xor", "within": 1.0, "verdict": "reproduced"},
        {**row, "id": "c", "task": "not", "verdict": "not reproduced", "p_holm": np.nan,
         "low": 0.5, "high": 0.5},
        {**row, **nothing, "id": "c", "task": "xor", "verdict": "inconclusive"},
    ]  # fmt: skip
    table = pd.DataFrame(rows)
    assert claims.claims_table(table).splitlines() == [
        "|  | claim | evidence | reproduced if | XOR | ID | NOT |",
        "| --- | --- | --- | --- | --- | --- | --- |",
        r"| a | S | E\|F | share of DEEP above 0.5 | "
        "50 % [25, 75] of 100, p = 0.02<br>**reproduced** | "
        "50 % [25, 75] of 100, p = 0.02, 13 runaways apart<br>after T1 steps: 66 of 100<br>"
        "**reproduced**<br>9 settings: yes 5, no 2; all within a factor of 10<br>"
        "3 within a factor of 3.2: yes 3, no 0, undecided 0<br>"
        "each at its best: inconclusive |  |",
        r"| b | S | E\|F<br>N | share of DEEP above 0.5 | "
        "50 % [25, 75] of 100, p = 0.02<br>**reproduced**<br>"
        "9 settings: yes 5, no 2; all within a factor of 1<br>"
        "3 within a factor of 3.2: yes 1, no 0, undecided 2 | "
        "50 % [25, 75] of 100, p < 1e-6<br>**reproduced**<br>"
        "9 settings: yes 5, no 2; all within a factor of 1<br>"
        "3 within a factor of 3.2: yes 1, no 1, undecided 1; no at β × 3.2 | "
        "50 % [25, 75] of 100, p = 0.02<br>**inconclusive**<br>9 settings: yes 5, no 2<br>"
        "3 within a factor of 3.2: yes 1, no 0, undecided 2 |",
        r"| c | S | E\|F | share of DEEP above 0.5 | no networks<br>**inconclusive** |  | "
        "50 % of 100<br>**not reproduced** |",
    ]
    assert claims.verdict_table(table).splitlines() == [
        "|  | claim | XOR | ID | NOT |",
        "| --- | --- | --- | --- | --- |",
        "| a | S | ✓ | ✓✓ |  |",
        "| b | S | ✓ | (✓) | ~ |",
        "| c | S | ~ |  | ✗ |",
        "",
        "✓ reproduced at the published setting · ✓✓ and at every setting within a factor 3.2 of β, "
        "dt_W and N_H (rounded) · (✓) reproduced, but refuted at some setting within that factor · "
        "~ inconclusive · ✗ not reproduced",
        "",
        "a: ID after T1 steps: 66 of 100.",
    ]
    alone = claims.verdict_table(table.iloc[:1]).splitlines()
    assert alone[-1] == (
        "✓ reproduced at the published setting · ~ inconclusive · ✗ not reproduced"
    )
    for change, message in (
        ({"verdict": "true"}, "unknown verdict 'true'"),
        ({"estimate": np.nan}, "no estimate of claim a on xor"),
        ({"low": np.nan}, "no estimate of claim a on xor"),
    ):
        for made in (claims.claims_table, claims.verdict_table):
            with pytest.raises(ValueError, match=message):
                made(table.assign(**change))


@pytest.mark.slow
def test_one_claim_is_decided_on_the_command_line():
    result = CliRunner().invoke(main, ["claims", "--only", "1c", "--seeds", "0-3"])
    assert result.exit_code == 0, result.output
    assert "Asymmetric EP does not learn XOR" in result.output
    assert "; figure (asymmetric EP notebook of 2019, commit 9e07bd1, cell 13)" in result.output
    assert "0 [0, 0.49], p = 1.2e-01, 4 networks" in result.output  # 2 · 0.5⁴
    assert "INCONCLUSIVE" in result.output
    assert result.output.startswith("p-values corrected for 1 verdict\n")
    result = CliRunner().invoke(main, ["claims", "--only", "9"])
    assert result.exit_code == 1
    assert "no claim matches '9'; there are: 1a, 1b" in result.output


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["--only", "1c", "--seeds", "7"], 1, "--seeds must give two or more networks, got '7'"),
        (["--only", "2*", "--seeds", "0-9"], 2, "--seeds has no effect on claims about published"),
        (["--only", "1c", "--seeds", "1199,1200"], 0, "settings were chosen on seeds 1000 to 1199"),
        (["--only", "6b", "--seeds", "0-1"], 0, "p-values corrected for 0 verdicts"),
        (["--only", "1c", "--only", "6c", "--seeds", "0-1"], 0, "corrected for 2 verdicts"),
    ],
)
def test_seeds_that_do_not_fit_the_claims_are_named(arguments, status, said):
    result = CliRunner().invoke(main, ["claims", *arguments])
    assert (result.exit_code, said in result.output) == (status, True), result.output
    clean = ["claims", "--only", "1c", "--seeds", "1200,1201"]
    assert "warning" not in CliRunner().invoke(main, clean).output


# Stored results


def stored(name):
    return pd.read_csv(FIGURES / "claims" / name)


@pytest.mark.slow
def test_the_tables_shown_are_what_the_stored_networks_say():
    """Nothing in README, CSV or Markdown is typed by hand."""
    networks = stored("networks.csv")
    groups = networks.groupby(["model", "task", "pruned", "layered"])
    assert groups["seed"].apply(list).map(len).min() >= 100
    tables = {"grid": "robustness.csv.gz", "best": "best.csv", "curves": "curves.csv"}
    given = {name: stored(file) for name, file in tables.items()}
    assert given["best"].groupby("model").size().min() >= 100  # to judge each at its best
    table = claims.evaluate(claims.read_claims(), networks, **given)
    pd.testing.assert_frame_equal(table, read_table(FIGURES), rtol=1e-9)
    assert (FIGURES / "claims" / "claims.md").read_text() == claims.claims_table(table)
    assert claims.verdict_table(table) in (FIGURES.parent / "README.md").read_text()


def test_stored_networks_are_what_training_gives():
    kept = stored("networks.csv").query("pruned and task == 'id'")
    again = claims.measure("DEEP", "id", range(5), pruned=True)
    pd.testing.assert_frame_equal(kept.head(5).reset_index(drop=True), again[kept.columns],
                                  rtol=1e-9)  # fmt: skip
    place = "model == 'EP_asym' and N_H_factor == 1 and beta_factor == 1 and dt_W_factor == 10"
    kept = stored("robustness.csv.gz").query(place).head(5)
    again = claims.measure("EP_asym", "xor", kept["seed"].tolist(), hyper={"dt_W": 10.0})
    assert len(kept) == 5
    assert kept["learned"].tolist() == again["learned"].tolist()
    np.testing.assert_array_equal(kept["epochs"], again["epochs"])


# What tables hold, by hand


def test_unstable_steps_are_counted_in_the_order_of_the_table():
    networks = pd.concat(
        [
            frame(
                "EP_asym", "xor", learned=[True, False, True], step_is_stable=[False, False, True]
            ),
            frame("DEEP", "or", learned=[True], step_is_stable=[False]),
            frame("DEEP", "and", pruned=True, learned=[False], step_is_stable=[False]),
            frame("DEEP", "and", layered=True, learned=[True], step_is_stable=[False]),
            frame("DEEP", "and", learned=[True, True], step_is_stable=[True, True]),
        ]
    )
    counts = claims.unstable_steps(networks)
    assert counts.to_dict("list") == {
        "model": ["EP_asym", "DEEP", "DEEP", "DEEP"], "task": ["xor", "or", "and", "and"],
        "pruned": [False, False, True, False], "layered": [False, False, False, True],
        "networks": [3, 1, 1, 1], "unstable": [2, 1, 1, 1], "learned": [1, 1, 0, 1],
    }  # fmt: skip
    assert counts.index.tolist() == [0, 1, 2, 3]


def test_rows_of_the_tables_are_in_the_order_of_the_claims():
    row = {
        "statement": "S", "evidence": "E", "note": "", "quantity": "share of A", "estimate": 0.03,
        "low": 0.02, "high": 0.04, "p_holm": 1e-6, "rule": "below 0.05", "settings": 0,
        "beside": "", "refuted_at": "", "near_settings": 0, "near_reproduced": 0,
        "reproduced_at": 0, "not_reproduced_at": 0, "nearest": np.nan, "within": np.nan,
        "networks": 10, "runaway": 0, "at_best": "", "verdict": "reproduced",
    }  # fmt: skip
    table = pd.DataFrame([{**row, "id": name, "task": "or"} for name in ("2b", "10a", "1a")])
    for lines in (claims.claims_table(table), claims.verdict_table(table)):
        rows = [line for line in lines.splitlines() if "| S |" in line]
        assert [line.split(" | ")[0] for line in rows] == ["| 2b", "| 10a", "| 1a"]
    assert "3 % [2, 4] of 10, p = 1e-06<br>" in claims.claims_table(table)


@pytest.mark.slow
def test_counts_at_best_and_losses_before_correction_are_given_beside():
    (claim,) = one_claim("difference", "against: {model: EP_asym}", "above", 0)
    networks = pd.concat([frame(m, learned=[True] * 100) for m in ("DEEP", "EP_asym")])
    best = pd.concat(
        [frame("DEEP", learned=np.arange(100) < 27), frame("EP_asym", learned=[True] * 100)]
    )
    shares = line(1, 1, 1, 1, 1), line(0, 0, 0, 0, 0)
    grid = pd.concat([grid_of("DEEP", shares[0]), grid_of("EP_asym", shares[1])])
    row = row_of([claim], networks, grid=grid, best=best)
    assert row["beside"] == "each at its best: 27 of 100 against 100 of 100"
    assert row_of([claim], networks, grid=grid)["beside"] == ""


def test_the_loss_by_pruning_on_xor_is_shown_before_correction():
    """14 networks learn XOR pruned, 23 unpruned; 4 and 13 of them only so: p = 0.049."""
    table = pd.read_csv(FIGURES / "claims" / "claims.csv").set_index(["id", "task"])
    row = table.loc[("5c", "xor")]
    assert row["beside"] == "14 against 23 learn, p = 0.049 before correction"
    assert scipy.stats.binomtest(4, 17).pvalue == pytest.approx(row["p"])
    assert pd.isna(table.loc[("5c", "or"), "beside"])
