from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

import deep_nb
from deep_nb import claims
from deep_nb.analysis.statistics import Estimate
from deep_nb.claims.claim import Side
from deep_nb.cli import main
from deep_nb.report import read_table

FIGURES = Path(__file__).parent.parent / "figures"

SMALL = {"n_epochs": 12}


def frame(model, task="xor", pruned=False, **columns):
    """Made-up networks, like those of `claims.measure`."""
    rows = len(next(iter(columns.values())))
    base = {"learned": False, "epochs": np.nan, "sparsity": 0.0, "gershgorin": False}
    base |= {"learned_after": columns.get("learned", False)}
    fixed = {"model": model, "task": task, "pruned": pruned, "seed": range(rows), "n_epochs": 200}
    return pd.DataFrame({**fixed, **base, **columns})


def test_the_claims_of_the_paper_are_all_there():
    read = claims.read_claims()
    assert {claim.id[0] for claim in read} == set("12345")
    assert all(claim.grid for claim in read if claim.id[0] in "123")


@pytest.mark.parametrize(
    ("sides", "estimate", "verdict"),
    [
        ({"above": 0.5}, (0.9, 0.6, 1.0), "reproduced"),
        ({"above": 0.5}, (0.5, 0.4, 0.6), "inconclusive"),
        ({"above": 0.5}, (0.9, 0.5, 1.0), "inconclusive"),
        ({"above": 0.5}, (0.2, 0.1, 0.3), "not reproduced"),
        ({"below": 0.0}, (-1.0, -2.0, -0.1), "reproduced"),
        ({"below": 0.0}, (1.0, 0.1, 2.0), "not reproduced"),
    ],
)
def test_an_interval_decides(sides, estimate, verdict):
    side = Side(**sides)
    assert side.verdict(Estimate(*estimate)) == verdict
    assert side.verdict(Estimate(*estimate), p=0.05) == "inconclusive"


CLAIM = """
claims:
  - id: a
    statement: DEEP learns XOR
    quantity: {quantity}
    of: {{model: DEEP}}
    {against}
    tasks: [xor]
    holds: {{{side}: {number}}}
    grid: {grid}
"""


def one_claim(quantity="share", against="", side="above", number=0.5, grid="most"):
    given = {"quantity": quantity, "against": against, "side": side, "number": number}
    return claims.read_claims(CLAIM.format(**given, grid=grid))


def grid_of(model, shares, networks=40):
    """Networks at one setting for each share."""
    frames = []
    for k, share in enumerate(shares):
        learned = np.arange(networks) < share * networks
        epochs = np.where(learned, 20.0, np.nan)
        frames.append(frame(model, learned=learned, epochs=epochs).assign(N_H=5, beta=10.0 * k))
    return pd.concat(frames).assign(dt_W_factor=1.0)


@pytest.mark.parametrize(
    ("published", "shares", "words"),
    [
        (1.0, (1.0, 1.0, 0.0), "reproduced"),
        (1.0, (1.0, 0.0, 0.0), "reproduced at the published setting; not beyond it"),
        (0.0, (0.0, 0.0, 0.0), "not reproduced"),
        (0.0, (1.0, 0.0, 0.0), "not reproduced at the published setting; reproduced at others"),
        (0.5, (0.5, 0.5, 0.5), "inconclusive"),
    ],
)
def test_a_grid_says_whether_a_verdict_is_about_one_setting(published, shares, words):
    networks = frame("DEEP", learned=np.arange(100) < 100 * published)
    table = claims.evaluate(one_claim(), networks, grid_of("DEEP", shares))
    assert table["verdict"].tolist() == [words]
    assert table["settings"].item() == 3
    assert table["reproduced_at"].item() == sum(share > 0.7 for share in shares)


def test_one_setting_that_learns_refutes_that_nothing_can():
    claim = one_claim(side="below", grid="every")
    networks = frame("DEEP", learned=[False] * 100)
    row = claims.evaluate(claim, networks, grid_of("DEEP", (0.0,) * 9 + (1.0,))).iloc[0]
    assert row["verdict"] == "reproduced at the published setting; not beyond it"
    assert (row["reproduced_at"], row["not_reproduced_at"]) == (9, 1)


def test_networks_that_never_learn_count_as_censored_not_as_missing():
    """Fifty quick networks and fifty that never learn are not earlier than a hundred slow ones."""
    claim = one_claim("earlier", "against: {model: EP_asym}", "below", 0, "null")
    slow = frame("EP_asym", epochs=np.arange(60.0, 160.0))
    half = frame("DEEP", epochs=[*np.arange(5.0, 50.0), *[np.nan] * 55])
    row = claims.evaluate(claim, pd.concat([half, slow])).iloc[0]
    assert row["estimate"] == 200 - np.median(np.arange(60, 160))
    assert row["bound"] == "≥"
    assert row["verdict"] != "reproduced"
    quick = frame("DEEP", epochs=np.arange(5.0, 105.0))
    row = claims.evaluate(claim, pd.concat([quick, slow])).iloc[0]
    assert row["estimate"] == -55
    assert row["bound"] == ""
    assert row["p"] < 1e-6
    assert row["verdict"] == "reproduced"


def test_both_sides_are_watched_equally_long():
    """DEEP after 50 epochs against EP after 500: later epochs do not count."""
    claim = one_claim("earlier", "against: {model: EP_asym}", "below", 0, "null")
    short = frame("DEEP", epochs=[40.0] * 20).assign(n_epochs=50)
    long = frame("EP_asym", epochs=[5.0] * 5 + [300.0] * 15).assign(n_epochs=500)
    row = claims.evaluate(claim, pd.concat([short, long])).iloc[0]
    assert row["estimate"] == -10
    assert row["bound"] == "≤"


def setting(model, beta, learned, epochs):
    """Twenty networks of one setting; values alternate between even and odd seeds."""
    columns = {"learned": list(learned) * 10, "epochs": list(epochs) * 10}
    return frame(model, **columns).assign(N_H=5, beta=beta, dt_W_factor=1.0)


def test_the_best_setting_is_chosen_by_even_seeds_and_judged_by_odd_ones():
    """At β = 1 even seeds are lucky; at β = 2 all learn but late."""
    grid = pd.concat(
        [
            setting("DEEP", 1.0, (True, False), (3.0, np.nan)),
            setting("DEEP", 2.0, (True, True), (30.0, 30.0)),
            setting("EP_asym", 1.0, (True, True), (20.0, 20.0)),
            setting("EP_asym", 2.0, (False, False), (np.nan, np.nan)),
        ]
    )
    best = claims.best_settings(grid).set_index("model")
    assert best.loc["DEEP", ["beta", "learned", "epochs"]].tolist() == [1.0, 0.0, 200.0]
    assert best.loc["EP_asym", ["beta", "learned", "epochs"]].tolist() == [1.0, 1.0, 20.0]
    assert (best["edge"] == "beta").all()


@pytest.mark.parametrize(
    ("rival", "words"),
    [
        ((False, False), "reproduced"),
        ((True, True), "reproduced at the published setting; beyond it inconclusive"),
    ],
)
def test_two_models_are_compared_each_at_its_best(rival, words):
    claim = one_claim("difference", "against: {model: EP_asym}", "above", 0, "best")
    grid = pd.concat(
        [
            setting("DEEP", 1.0, (True, True), (3.0, 3.0)),
            setting("DEEP", 2.0, (False, False), (np.nan, np.nan)),
            setting("EP_asym", 1.0, (False, False), (np.nan, np.nan)),
            setting("EP_asym", 2.0, rival, (3.0, 3.0)),
        ]
    )
    published = pd.concat([frame(m, learned=[m == "DEEP"] * 100) for m in ("DEEP", "EP_asym")])
    assert claims.evaluate(claim, published, grid)["verdict"].tolist() == [words]
    worse = grid.assign(learned=grid["model"] == "EP_asym")
    row = claims.evaluate(claim, published, worse).iloc[0]
    assert row["verdict"] == "reproduced at the published setting; not beyond it"


def test_stored_settings_are_what_training_gives():
    stored = pd.read_csv(FIGURES / "claims" / "robustness.csv.gz").query(
        "model == 'EP_asym' and task == 'xor' and N_H == 5 and beta == 10 and dt_W_factor == 10"
        " and n_epochs == 200 and seed < 5"
    )
    hyper = {"N_H": [5], "beta": 10.0, "dt_W": 10.0, "n_epochs": 200}
    again = claims.measure("EP_asym", "xor", range(5), hyper=hyper)
    assert stored["learned"].tolist() == again["learned"].tolist()
    np.testing.assert_array_equal(stored["epochs"], again["epochs"])


def test_measure_is_about_its_networks():
    frame = claims.measure("DEEP", "id", range(6), pruned=True, hyper=SMALL)
    run = deep_nb.train("DEEP", "id", seeds=range(6), hyper=SMALL, regularized=True, sparse=True)
    mse, wrong = run["mse_free"].values, run["class_error_free"].values
    ever = (mse < 0.01) & (wrong == 0)
    assert frame["learned"].tolist() == ever[:, -1].tolist()
    assert frame["epochs"].notna().tolist() == ever.any(axis=1).tolist()
    zeros = 1 - (run["W"].values != 0).sum(axis=(1, 2)) / run["mask"].values.sum()
    np.testing.assert_allclose(frame["sparsity"], zeros, atol=1e-15)
    assert frame["learned"].any()
    assert (frame["sparsity"] > 0).any()


def test_a_sweep_is_what_separate_runs_give():
    grid = claims.sweep(range(2), [2], [10], [1, 2], [5, 12])
    assert len(grid) == 3 * 5 * 2 * 2 * 2
    chosen = grid.query("model == 'EP_asym' and task == 'not' and dt_W_factor == 2")
    for n_epochs, part in chosen.groupby("n_epochs"):
        hyper = {"N_H": [2], "beta": 10.0, "dt_W": 2.0, "n_epochs": int(n_epochs)}
        alone = claims.measure("EP_asym", "not", range(2), hyper=hyper)
        assert part["learned"].tolist() == alone["learned"].tolist()
        np.testing.assert_array_equal(part["epochs"], alone["epochs"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("claims: 3", "one list named 'claims'"),
        ("{", "not YAML"),
        (CLAIM.format(quantity="shares", against="", side="above", number=1, grid="most"), "quant"),
        (CLAIM.format(quantity="share", against="", side="abov", number=1, grid="most"), "above"),
        (
            CLAIM.format(quantity="earlier", against="", side="above", number=1, grid="most"),
            "needs",
        ),
        (CLAIM.format(quantity="share", against="", side="1", number=1, grid="most"), "a mapping"),
        ("claims: [{id: a}]", "needs a value for 'statement'"),
    ],
)
def test_bad_claims_are_named(text, message):
    with pytest.raises(ValueError, match=message):
        claims.read_claims(text)


def test_markdown_has_a_row_per_claim_and_a_column_per_task():
    table = claims.evaluate(
        claims.read_claims()[:4],
        pd.concat(
            [
                frame(model, task, learned=[True] * 90 + [False] * 10)
                for model in ("DEEP", "EP_asym")
                for task in ("xor", "and", "or", "not", "id")
            ]
        ),
    )
    lines = claims.claims_table(table).splitlines()
    assert len(lines) == 2 + 4
    assert lines[0].count("|") == lines[5].count("|") == 9
    assert "90 % [82.6, 94.5]<br>**reproduced**" in lines[2]
    assert "90 % [82.6, 94.5]<br>**not reproduced**" in lines[3]


def test_one_claim_is_decided_on_the_command_line():
    result = CliRunner().invoke(main, ["claims", "--only", "1b", "--seeds", "0-3"])
    assert result.exit_code == 0, result.output
    assert "Asymmetric EP does not learn XOR" in result.output
    assert "0 [0, 0.49], 4 networks" in result.output
    assert "REPRODUCED" in result.output
    result = CliRunner().invoke(main, ["claims", "--only", "9"])
    assert result.exit_code == 1
    assert "no claim matches '9'; there are: 1a, 1b" in result.output


def test_the_tables_shown_are_what_the_stored_networks_say():
    """Nothing in README, CSV or Markdown is typed by hand."""
    stored = FIGURES / "claims"
    networks = pd.read_csv(stored / "networks.csv")
    grid = pd.read_csv(stored / "robustness.csv.gz")
    assert networks.groupby(["model", "task", "pruned"])["seed"].apply(list).map(len).min() >= 100
    table = claims.evaluate(claims.read_claims(), networks, grid)
    shown = read_table(FIGURES)
    pd.testing.assert_frame_equal(table, shown, rtol=1e-9)
    assert (stored / "claims.md").read_text() == claims.claims_table(table)
    assert claims.verdict_table(table) in (FIGURES.parent / "README.md").read_text()


def test_stored_networks_are_what_training_gives():
    stored = pd.read_csv(FIGURES / "claims" / "networks.csv").query("pruned and task == 'id'")
    again = claims.measure("DEEP", "id", range(5), pruned=True)
    pd.testing.assert_frame_equal(
        stored.head(5).reset_index(drop=True), again[stored.columns], rtol=1e-9
    )
