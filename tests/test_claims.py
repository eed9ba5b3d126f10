from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

import deep_nb
from deep_nb import claims
from deep_nb.analysis.stability import stability_report
from deep_nb.analysis.statistics import Estimate
from deep_nb.claims import ensembles
from deep_nb.claims.claim import Side
from deep_nb.cli import main
from deep_nb.report import read_table

from .conftest import SHORT

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
    rules = {
        claim.id: (claim.quantity, str(claim.holds), claim.grid, claim.grid_N_H) for claim in read
    }
    assert rules == {
        "1a": ("share", "above 0.5", "most", None), "1b": ("share", "below 0.5", "every", None),
        "1c": ("difference", "above 0", "best", None), "2a": ("share", "above 0.5", "most", None),
        "2b": ("earlier", "below 0", "best", None), "3": ("share", "above 0.5", "most", 2),
        "4a": ("median", "above 0.1", None, None), "4b": ("difference", "above -0.1", None, None),
        "5": ("share", "above 0.5", None, None),
    }  # fmt: skip


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
        ({"below": 0.0}, (-1.0, -2.0, 0.1), "inconclusive"),
        ({"below": 0.0}, (1.0, 0.0, 2.0), "inconclusive"),
    ],
)
def test_an_interval_decides(sides, estimate, verdict):
    side = Side(**sides)
    assert side.verdict(Estimate(*estimate)) == verdict
    assert side.verdict(Estimate(*estimate), p=0.049) == verdict
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
        (1.0, (1.0, 0.0, 0.5), "reproduced at the published setting; not beyond it"),
        (0.5, (1.0, 0.0, 0.0), "inconclusive at the published setting; reproduced at others"),
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


@pytest.mark.parametrize(
    ("of", "against", "bound"),
    [
        ([5.0, 5.0, np.nan, np.nan], [9.0] * 4, "≥"),
        ([5.0, 5.0, 5.0, np.nan], [9.0] * 4, ""),
        ([5.0] * 4, [9.0, 9.0, np.nan, np.nan], "≤"),
        ([5.0, 5.0, np.nan, np.nan], [9.0, 9.0, np.nan, np.nan], ""),
        ([49.0] * 4, [9.0] * 4, ""),
        ([5.0] * 4, [50.0] * 3 + [9.0], "≤"),
    ],
)
def test_a_median_is_a_bound_if_half_of_the_networks_never_learn(of, against, bound):
    claim = one_claim("earlier", "against: {model: EP_asym}", "below", 0, "null")
    sides = [frame("DEEP", epochs=of).assign(n_epochs=50), frame("EP_asym", epochs=against)]
    row = claims.evaluate(claim, pd.concat(sides)).iloc[0]
    assert row["bound"] == bound
    first, second = np.nan_to_num(of, nan=50.0), np.nan_to_num(against, nan=50.0)
    assert row["estimate"] == np.median(first) - np.median(second)
    assert row["networks"] == 8


def test_each_row_says_what_was_measured():
    text = """
    claims:
      - {id: s, statement: S, quantity: share, of: {model: DEEP, pruned: true}, tasks: [xor],
         measure: learned_after, holds: {above: 0.5}}
      - {id: d, statement: D, quantity: difference, of: {model: DEEP}, against: {model: EP_asym},
         tasks: [xor], holds: {below: -0.1}}
      - {id: m, statement: M, quantity: median, of: {model: DEEP, pruned: true}, tasks: [xor],
         measure: sparsity, holds: {above: 0.25}}
      - {id: e, statement: E, quantity: earlier, of: {model: DEEP}, against: {model: EP_asym},
         tasks: [xor], holds: {below: 0}}
    """
    networks = [
        frame("DEEP", pruned=True, learned=[True] * 8, learned_after=[True] * 6 + [False] * 2,
              sparsity=np.arange(8) / 10),
        frame("DEEP", learned=[True] + [False] * 9, epochs=np.arange(10.0)),
        frame("EP_asym", learned=[True] * 3 + [False], epochs=[1.0, 7.0, 8.0, 9.0]),
    ]  # fmt: skip
    table = claims.evaluate(claims.read_claims(text), pd.concat(networks)).set_index("id")
    assert table["quantity"].to_dict() == {
        "s": "share of DEEP pruned: learned_after", "d": "share learned, DEEP − EP_asym",
        "m": "median sparsity of DEEP pruned", "e": "median epochs, DEEP − EP_asym",
    }  # fmt: skip
    assert table["networks"].to_dict() == {"s": 8, "d": 14, "m": 8, "e": 14}
    estimates = table["estimate"].to_dict()
    assert estimates == pytest.approx({"s": 0.75, "d": 0.1 - 0.75, "m": 0.35, "e": 4.5 - 7.5})
    assert table["rule"].tolist() == ["above 0.5", "below -0.1", "above 0.25", "below 0"]
    assert table["p"].isna().tolist() == [True, True, True, False]
    assert (table["settings"] == 0).all()


@pytest.mark.parametrize(("only", "counts"), [("null", (3, 2, 1)), (2, (1, 0, 1))])
def test_only_settings_with_the_claims_hidden_neurons_count(only, counts):
    (claim,) = one_claim(grid=f"most\n    grid_N_H: {only}")
    grid = pd.concat(
        [
            grid_of("DEEP", (1.0, 1.0)),
            grid_of("DEEP", (0.0,)).assign(N_H=2),
            grid_of("EP_asym", (0.0, 0.0)),
        ]
    )
    row = claims.evaluate([claim], frame("DEEP", learned=[True] * 100), grid).iloc[0]
    assert (row["settings"], row["reproduced_at"], row["not_reproduced_at"]) == counts


def test_models_are_compared_at_the_same_setting_of_the_grid():
    (claim,) = one_claim("difference", "against: {model: EP_asym}", "above", 0, "most")
    grid = pd.concat([grid_of("DEEP", (1.0, 0.0, 1.0)), grid_of("EP_asym", (1.0, 1.0, 0.0))])
    networks = pd.concat([frame(m, learned=[True] * 9) for m in ("DEEP", "EP_asym")])
    row = claims.evaluate([claim], networks, grid).iloc[0]
    assert (row["settings"], row["reproduced_at"], row["not_reproduced_at"]) == (3, 1, 1)
    with pytest.raises(ValueError, match=r"grid has no rows of \(5, 20\.0"):
        claims.evaluate([claim], networks, grid.query("model == 'DEEP' or beta != 20"))


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


def test_of_settings_that_are_learned_equally_often_the_quickest_is_best():
    """A share decides first; then the median of the epochs, censored ones at the end."""
    grid = pd.concat(
        [
            setting("DEEP", 1.0, (True, True), (9.0, 9.0)),
            setting("DEEP", 2.0, (True, True), (4.0, 5.0)),
            setting("DEEP", 3.0, (True, True), (6.0, 6.0)),
            setting("EP_asym", 1.0, (False, True), (2.0, 2.0)),
            setting("EP_asym", 2.0, (False, False), (np.nan, np.nan)),
            setting("EP_asym", 3.0, (True, False), (90.0, 30.0)),
        ]
    )
    odd = (grid["model"] == "EP_asym") & (grid["beta"] == 3) & (grid["seed"] % 2 == 1)
    grid.loc[odd, "epochs"] = [30.0, 40.0, 50.0, 60.0] + [np.nan] * 6
    best = claims.best_settings(grid).set_index("model")
    assert best.loc["DEEP", ["beta", "learned", "epochs", "edge"]].tolist() == [2, 1, 5, ""]
    assert best.loc["EP_asym", ["beta", "learned", "epochs", "edge"]].tolist() == [
        3, 0, 200, "beta",
    ]  # fmt: skip
    grid.loc[odd, "epochs"] = [30.0, 40.0, 50.0, 60.0, 70.0, 80.0] + [np.nan] * 4
    assert claims.best_settings(grid)["epochs"].tolist() == [5, (70 + 80) / 2]
    one = grid[grid["beta"] == 1].assign(beta=10.0)
    assert claims.best_settings(one)["edge"].tolist() == ["", ""]
    two = claims.best_settings(pd.concat([one, one.assign(N_H=2, learned=False)]))
    assert two["edge"].tolist() == ["N_H", "N_H"]


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
    report = stability_report(run)
    sides = [report[f"gershgorin_{side}"].values.tolist() for side in ("rows", "columns")]
    assert sorted(sides) == [[False, True, True, False], [True, False, True, False]]
    table = claims.measure("EP_asym", "or", 4)
    assert table["gershgorin"].tolist() == [True, True, True, False]
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


def test_networks_are_looked_at_after_each_number_of_epochs():
    hyper = {"n_epochs": 12}
    looks = ensembles._horizons("DEEP", "id", [0, 1, 2, 3], hyper, [1, 3, 4, 5, 8, 9, 12])
    run = deep_nb.train("DEEP", "id", seeds=range(4), hyper=hyper)
    done = (run["mse_free"].values < 0.01) & (run["class_error_free"].values == 0)
    assert (done[:, 3] != done[:, 4]).any()
    for n_epochs, part in looks.to_dataframe().groupby("n_epochs"):
        assert part["learned"].tolist() == done[:, n_epochs - 1].tolist()
        first = [np.flatnonzero(row)[0] if row.any() else np.nan for row in done[:, :n_epochs]]
        np.testing.assert_array_equal(part["epochs"], first)


def test_each_ensemble_of_the_claims_is_measured_once(monkeypatch):
    measured = []

    def measure(model, task, seeds, *, pruned=False):
        measured.append((model, task, list(seeds), pruned))
        return frame(model, task, pruned, learned=[True])

    monkeypatch.setattr(ensembles, "measure", measure)
    chosen = [claim for claim in claims.read_claims() if claim.id in ("1a", "1c", "4b")]
    table = claims.measure_all(chosen, [4, 6])
    pairs = [("DEEP", "xor", False), ("EP_asym", "xor", False), ("DEEP", "xor", True)]
    for task in ("and", "or", "not", "id"):
        pairs += [("DEEP", task, True), ("DEEP", task, False)]
    assert sorted(measured) == sorted((m, task, [4, 6], pruned) for m, task, pruned in pairs)
    assert len(table) == len(pairs)
    assert table.index.tolist() == list(range(len(pairs)))


def test_a_sweep_is_what_separate_runs_give():
    grid = claims.sweep(range(2), [2], [10], [1, 2], [5, 12])
    assert len(grid) == 3 * 5 * 2 * 2 * 2
    assert grid.index.tolist() == list(range(len(grid)))
    changed = set()
    for model, task, dt_W in (
        ("EP_asym", "not", 2.0),
        ("DEEP", "id", 200.0),
        ("DEEP", "or", 200.0),
    ):
        chosen = grid.query("model == @model and task == @task and dt_W_factor == 2")
        for n_epochs, part in chosen.groupby("n_epochs"):
            hyper = {"N_H": [2], "beta": 10.0, "dt_W": dt_W, "n_epochs": int(n_epochs)}
            alone = claims.measure(model, task, range(2), hyper=hyper)
            assert part["learned"].tolist() == alone["learned"].tolist()
            np.testing.assert_array_equal(part["epochs"], alone["epochs"])
            changed |= {(n_epochs, *part["learned"])}
    assert len(changed) > 2  # the settings differ


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
        (
            CLAIM.format(
                quantity="share", against="", side="below: 1, above", number=0, grid="most"
            ),
            "give either 'above' or 'below'",
        ),
        (
            CLAIM.format(
                quantity="share",
                against="against: {model: DEEP}",
                side="above",
                number=1,
                grid="most",
            ),
            "quantity 'share' does not take 'against'",
        ),
        (
            CLAIM.format(quantity="share", against="", side="above", number=1, grid="best"),
            "grid 'best' needs 'against'",
        ),
        (
            CLAIM.format(
                quantity="median", against="measure: sparsity", side="above", number=1, grid="most"
            ),
            "grid needs the measure 'learned', got 'sparsity'",
        ),
        (
            CLAIM.format(quantity="share", against="", side="above", number=1, grid="most")
            + CLAIM.format(quantity="share", against="", side="above", number=1, grid="most")
            .split("claims:\n")[1]
            .lstrip("\n"),
            "two claims have the same id: a, a",
        ),
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


def test_cells_of_the_tables_are_as_written_by_hand():
    row = {
        "statement": "S", "quantity": "share of DEEP", "estimate": 0.5, "low": 0.25, "high": 0.75,
        "bound": "", "p": np.nan, "rule": "above 0.5", "settings": 0, "reproduced_at": 0,
        "not_reproduced_at": 0, "at_best": "",
    }  # fmt: skip
    epochs = {"quantity": "median epochs, A − B", "estimate": -12.0, "low": -20.0, "high": -3.0}
    at = " at the published setting; "
    rows = [
        {**row, "id": "a", "task": "xor", "verdict": "reproduced"},
        {**row, "id": "a", "task": "id", "verdict": f"reproduced{at}not beyond it"},
        {**row, **epochs, "id": "b", "task": "id", "bound": "≤", "p": 0.00042,
         "verdict": f"inconclusive{at}reproduced at others", "settings": 9, "reproduced_at": 5,
         "not_reproduced_at": 2, "at_best": "reproduced"},
        {**row, **epochs, "id": "c", "task": "not", "p": 9e-7, "verdict": "not reproduced"},
    ]  # fmt: skip
    table = pd.DataFrame(rows)
    assert claims.claims_table(table).splitlines() == [
        "|  | claim | rule | XOR | ID | NOT |",
        "| --- | --- | --- | --- | --- | --- |",
        "| a | S | share of DEEP above 0.5 | 50 % [25, 75]<br>**reproduced** | "
        "50 % [25, 75]<br>**reproduced at the published setting; not beyond it** |  |",
        "| b | S | median epochs, A − B above 0.5 |  | ≤ -12 epochs [-20, -3], p = 4e-04<br>"
        "**inconclusive at the published setting; reproduced at others**<br>"
        "9 settings: yes 5, no 2<br>each at its best: reproduced |  |",
        "| c | S | median epochs, A − B above 0.5 |  |  | "
        "-12 epochs [-20, -3], p < 1e-6<br>**not reproduced** |",
    ]
    assert claims.verdict_table(table).splitlines() == [
        "|  | claim | XOR | ID | NOT |",
        "| --- | --- | --- | --- | --- |",
        "| a | S | ✓ | (✓) |  |",
        "| b | S |  | ~ |  |",
        "| c | S |  |  | ✗ |",
        "",
        "✓ reproduced · (✓) reproduced at the published settings, not or not clearly at others · "
        "~ inconclusive · ✗ not reproduced",
    ]


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


# What tables hold, by hand


def test_unstable_steps_are_counted_in_the_order_of_the_table():
    networks = pd.concat(
        [
            frame(
                "EP_asym", "xor", learned=[True, False, True], step_is_stable=[False, False, True]
            ),
            frame("DEEP", "or", learned=[True], step_is_stable=[False]),
            frame("DEEP", "and", pruned=True, learned=[False], step_is_stable=[False]),
            frame("DEEP", "and", learned=[True, True], step_is_stable=[True, True]),
        ]
    )
    counts = claims.unstable_steps(networks)
    assert counts.to_dict("list") == {
        "model": ["EP_asym", "DEEP", "DEEP"], "task": ["xor", "or", "and"],
        "pruned": [False, False, True], "networks": [3, 1, 1], "unstable": [2, 1, 1],
        "learned": [1, 1, 0],
    }  # fmt: skip
    assert counts.index.tolist() == [0, 1, 2]


def test_best_settings_are_named_in_the_order_of_the_grid_with_the_edges_that_they_are_at():
    """Of three β the middle one, of two N_H the larger one; all have one n_epochs but one."""

    def networks(model, task, N_H, beta, epochs, n_epochs=200):
        columns = {"learned": [True, True], "epochs": [epochs, epochs + 1]}
        made = frame(model, task, **columns)
        return made.assign(N_H=N_H, beta=beta, dt_W_factor=1.0, n_epochs=n_epochs)

    grid = pd.concat(
        [
            *(
                networks("EP_asym", "xor", N_H, beta, 10 * beta)
                for N_H in (2, 5)
                for beta in (1.0, 2.0)
            ),
            *(networks("DEEP", "xor", N_H, 2.0, 20.0 - N_H) for N_H in (2, 5)),
            networks("DEEP", "and", 2, 3.0, 4.0, n_epochs=100),
        ]
    )
    best = claims.best_settings(grid)
    common = {"dt_W_factor": 1.0, "learned": 1.0}
    assert best.to_dict("records") == [
        {"task": "xor", "model": "EP_asym", "N_H": 2, "beta": 1.0, "n_epochs": 200,
         "epochs": 11.0, "edge": "N_H, beta", **common},
        {"task": "xor", "model": "DEEP", "N_H": 5, "beta": 2.0, "n_epochs": 200, "epochs": 16.0,
         "edge": "N_H", **common},
        {"task": "and", "model": "DEEP", "N_H": 2, "beta": 3.0, "n_epochs": 100, "epochs": 5.0,
         "edge": "N_H, beta", **common},
    ]  # fmt: skip
    names = ["task", "model", "N_H", "beta", "dt_W_factor", "n_epochs", "learned", "epochs", "edge"]
    assert best.columns.tolist() == names


def test_rows_of_the_tables_are_in_the_order_of_the_claims():
    row = {
        "statement": "S", "quantity": "median epochs of A", "estimate": 3.0, "low": 2.0,
        "high": 4.0, "bound": "", "p": 1e-6, "rule": "below 5", "settings": 0,
        "reproduced_at": 0, "not_reproduced_at": 0, "at_best": "", "verdict": "reproduced",
    }  # fmt: skip
    table = pd.DataFrame([{**row, "id": name, "task": "or"} for name in ("2b", "10a", "1a")])
    for lines in (claims.claims_table(table), claims.verdict_table(table)):
        rows = [line for line in lines.splitlines() if "| S |" in line]
        assert [line.split(" | ")[0] for line in rows] == ["| 2b", "| 10a", "| 1a"]
    assert "3 epochs [2, 4], p = 1e-06<br>" in claims.claims_table(table)
