"""The error for each argument that is out of range: which one, what is allowed, what was given."""

import nbformat
import networkx as nx
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

import deep_nb
from deep_nb import claims
from deep_nb.analysis import (
    angle_to_gradient,
    certifying_leak,
    contraction_rate,
    diagonal_certificate,
    difference_of_medians,
    difference_of_shares,
    epochs_to_criterion,
    gershgorin,
    log_rank,
    lyapunov_matrix,
    max_stable_dt,
    median,
    rule_change,
    share,
    spectrum,
    turnover,
)
from deep_nb.claims.table import verdict_table
from deep_nb.replication.notebooks import declared_parameters, read_notebook
from deep_nb.report import (
    COLUMNS,
    TEXTS,
    insert_claims,
    insert_contracting,
    insert_real_data,
    read_table,
)
from deep_nb.topology import Layout, custom

from .conftest import refused

XOR = Layout(2, True, (2,), 1)
EYE = np.eye(2)
NETWORKS = pd.DataFrame(
    {
        "pruned": [True],
        "layered": [False],
        "learned": [True],
        "step_is_stable": [True],
        "model": ["DEEP"],
    }
)


def labelled(matrix, rows, columns=None):
    return pd.DataFrame(matrix, index=list(rows), columns=list(columns or rows))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        # Alignment.
        (lambda run: rule_change(run, "asymepp"),
         "unknown rule 'asymepp' (did you mean 'asymep'?); allowed: stdp, contrastive, centered, "
         "onesided, asymep, adjoint"),
        (lambda run: rule_change(run, "asymep", hyper=3),
         "hyper must be a mapping from names to values, got 3"),
        (lambda run: rule_change(run, "asymep", hyper={"N_H": [3]}),
         "hyper must not contain N_H: the run's networks have their sizes"),
        (lambda run: rule_change(run, "asymep", 1.5),
         "epoch must be an integer from -1 to 1000000, got 1.5"),
        (lambda run: rule_change(run, "asymep", 1),
         "epoch 1 needs a run trained with record=('weights',)"),
        (lambda run: angle_to_gradient(run, "asymep"),
         "rules must be a sequence that is not empty, got 'asymep'"),
        (lambda run: angle_to_gradient(run, ["asymepp"]),
         "unknown rule 'asymepp' (did you mean 'asymep'?); allowed: stdp, contrastive, centered, "
         "onesided, asymep, adjoint"),
        (lambda run: angle_to_gradient(run, epochs=3),
         "epochs must be a sequence that is not empty, got 3"),
        (lambda run: angle_to_gradient(run, epochs=[-2]),
         "each epoch must be an integer from -1 to 1000000, got -2"),
        (lambda run: angle_to_gradient(run, epochs=[10**12]),
         "each epoch must be an integer from -1 to 1000000, got 1000000000000"),
        (lambda run: angle_to_gradient(run, hyper=[3]),
         "hyper must be a mapping from names to values, got [3]"),
        # Statistics.
        (lambda _: share(1, 0),
         "total must be an integer from 1 to 1000000000, got 0"),
        (lambda _: share(3, 2),
         "successes must be an integer from 0 to 2, got 3"),
        (lambda _: share(-1, 2),
         "successes must be an integer from 0 to 2, got -1"),
        (lambda _: share(1, 10**9 + 1),
         "total must be an integer from 1 to 1000000000, got 1000000001"),
        (lambda _: difference_of_shares(3, (1, 2)),
         "first must be a sequence of at least 2 items, got 3"),
        (lambda _: difference_of_shares((1, 2), [1]),
         "second must be a sequence of at least 2 items, got [1]"),
        (lambda _: difference_of_shares((1, 2), (3, 2)),
         "second must be (successes, total), got (3, 2)"),
        (lambda _: difference_of_shares((0, 0), (1, 2)),
         "first must be (successes, total), got (0, 0)"),
        (lambda _: difference_of_shares((1, 2, 3), (1, 2)),
         "first must be (successes, total), got (1, 2, 3)"),
        (lambda _: difference_of_shares((1, 2), (-1, 2)),
         "second must be an integer from 0 to 1000000000, got -1"),
        (lambda _: difference_of_shares((1.5, 2), (1, 2)),
         "first must be an integer from 0 to 1000000000, got 1.5"),
        (lambda _: median([1.0]),
         "a bootstrap needs two or more finite values in one dimension; values has 1"),
        (lambda _: median([[1.0, 2.0]]),
         "a bootstrap needs two or more finite values in one dimension; values must have 1 "
         "dimension, got shape (1, 2)"),
        (lambda _: median([1.0, np.inf]),
         "a bootstrap needs two or more finite values in one dimension; values must be finite "
         "and at most 1e+100 in absolute value"),
        (lambda _: difference_of_medians([1.0], [1.0, 2.0]),
         "a bootstrap needs two or more finite values in one dimension; first has 1"),
        (lambda _: difference_of_medians([1.0, 2.0], ["a"]),
         "a bootstrap needs two or more finite values in one dimension; second must be a plain "
         "array of real numbers, got ndarray of <U1"),
        (lambda _: log_rank([1], [2], 0),
         "n_epochs must be an integer from 1 to 1000000, got 0"),
        (lambda _: log_rank([1], [20], 10),
         "epochs must be at most n_epochs, 10, got 20"),
        (lambda _: log_rank([-1], [2], 10),
         "first must be a 1-D array of non-negative epochs or NaN, got an array of float64 of "
         "shape (1,)"),
        (lambda _: log_rank([1], [[2]], 10),
         "second must be a 1-D array of non-negative epochs or NaN, got an array of float64 of "
         "shape (1, 1)"),
        (lambda _: log_rank([], [2], 10),
         "first must be a 1-D array of non-negative epochs or NaN, got an array of float64 of "
         "shape (0,)"),
        (lambda _: log_rank([np.inf], [2], 10),
         "first must be a 1-D array of non-negative epochs or NaN, got an array of float64 of "
         "shape (1,)"),
        (lambda _: log_rank(["a"], [2], 10),
         "first must be a plain array of real numbers, got ndarray of <U1"),
        # Matrices.
        (lambda _: spectrum([1.0]),
         "J must be square matrices, got shape (1,)"),
        (lambda _: spectrum(np.ones((2, 3))),
         "J must be square matrices, got shape (2, 3)"),
        (lambda _: spectrum([[np.nan]]),
         "J must be finite and not empty, got shape (1, 1)"),
        (lambda _: spectrum(np.ones((0, 0))),
         "J must be finite and not empty, got shape (0, 0)"),
        (lambda _: gershgorin([["a"]]),
         "J must be a plain array of real numbers, got ndarray of <U1"),
        (lambda _: diagonal_certificate(labelled(-EYE, "ab", "ba")),
         "J must have the same labels in rows and columns, got ['a', 'b'] and ['b', 'a']"),
        (lambda _: max_stable_dt(xr.DataArray(-EYE, dims=("pre", "post"))),
         "J must have the axes post and pre last, got ('pre', 'post')"),
        (lambda _: lyapunov_matrix(-EYE, EYE[:1]),
         "Q must be square matrices, got shape (1, 2)"),
        (lambda _: lyapunov_matrix(-EYE, np.eye(3)),
         "Q must be symmetric positive definite of shape (2, 2)"),
        (lambda _: lyapunov_matrix(-EYE, [[1.0, 1.0], [0.0, 1.0]]),
         "Q must be symmetric positive definite of shape (2, 2)"),
        (lambda _: lyapunov_matrix(-EYE, np.diag([1.0, 0.0])),
         "Q must be symmetric positive definite of shape (2, 2)"),
        (lambda _: lyapunov_matrix(-EYE, -EYE),
         "Q must be symmetric positive definite of shape (2, 2)"),
        (lambda _: lyapunov_matrix(-EYE, [EYE, EYE]),
         "Q must be symmetric positive definite of shape (2, 2)"),
        (lambda _: lyapunov_matrix(labelled(-EYE, "ab"), labelled(EYE, "ba")),
         "J and Q have different column labels, ['a', 'b'] and ['b', 'a']: convert them to NumPy "
         "arrays to ignore the labels"),
        (lambda _: lyapunov_matrix(-EYE, [["a"]]),
         "Q must be a plain array of real numbers, got ndarray of <U1"),
        (lambda _: contraction_rate(-EYE, 0),
         "dt must be a finite number above 0, at most 1e+100, got 0"),
        (lambda _: contraction_rate(-EYE, 1e101),
         "dt must be a finite number above 0, at most 1e+100, got 1e+101"),
        (lambda _: contraction_rate(-EYE, 0.1, [1.0]),
         "D must have shape (2,), got (1,)"),
        (lambda _: contraction_rate(-EYE, 0.1, [1.0, 0.0]),
         "D must be positive, at most 1e+100, got [1.0, 0.0]"),
        (lambda _: contraction_rate(-EYE, 0.1, [1.0, 1e101]),
         "D must be positive, at most 1e+100, got [1.0, 1e+101]"),
        (lambda _: contraction_rate(-EYE, 0.1, ["a", "b"]),
         "D must be a plain array of real numbers, got ndarray of <U1"),
        (lambda _: contraction_rate(labelled(-EYE, "ab"), 0.1, pd.Series([1.0, 2.0], ["b", "a"])),
         "J and D have different row labels, ['a', 'b'] and ['b', 'a']: convert them to NumPy "
         "arrays to ignore the labels"),
        (lambda _: contraction_rate(-EYE, 0.1, xr.DataArray([[1.0, 2.0]], dims=("post", "seed"))),
         "D must have the axis post last, got ('post', 'seed')"),
        # Runs.
        (lambda run: epochs_to_criterion(run, 0),
         "n_epochs must be an integer from 1 to 1000000, got 0"),
        (lambda run: turnover(run),
         "turnover needs a run made with record=('weights',)"),
        (lambda _: certifying_leak(EYE),
         "W must not contain self-loops: its diagonal must be 0"),
        (lambda _: certifying_leak(3),
         "W must be square matrices, got shape ()"),
        # Claims.
        (lambda _: claims.measure("DEP", "xor", 1),
         f"unknown model 'DEP' (did you mean 'DEEP'?); allowed: {', '.join(deep_nb.MODELS)}"),
        (lambda _: claims.measure("DEEP", "nor", 1),
         "unknown task 'nor' (did you mean 'or'?); allowed: xor, and, or, not, id"),
        (lambda _: claims.measure(3, "xor", 1),
         "model must be of type str or Model, got 3"),
        (lambda _: deep_nb.train("DEEP", ([0], [1]), seeds=0),
         "task must be of type str or Task, got ([0], [1])"),
        (lambda _: claims.measure("DEEP", "xor", 1, pruned=1),
         "pruned must be True or False, got 1"),
        (lambda _: claims.measure("DEEP", "xor", -1),
         "each seed must be an integer from 0 to 2**32 - 1, got -1"),
        (lambda _: claims.unstable_steps(3),
         "networks must be a table with rows and the columns pruned, layered, learned, "
         "step_is_stable, model, task, got 3"),
        (lambda _: claims.unstable_steps(NETWORKS),
         "networks has no column 'task'; needed: pruned, layered, learned, step_is_stable, "
         "model, task"),
        (lambda _: claims.unstable_steps(NETWORKS.assign(task=[3])),
         "networks must have strings in the column 'task'"),
        (lambda _: claims.evaluate([], 3),
         "claims must be one or more claims, as returned by read_claims, got []"),
        (lambda _: claims.measure_all([3], 1),
         "claims must be one or more claims, as returned by read_claims, got [3]"),
        (lambda _: claims.measure_all(claims.read_claims()[:1], -1),
         "each seed must be an integer from 0 to 2**32 - 1, got -1"),
        (lambda _: verdict_table(3),
         "table must be a table with rows and the columns estimate, low, high, p_holm, networks, "
         "runaway, settings, reproduced_at, not_reproduced_at, nearest, near_settings, "
         "near_reproduced, within, id, statement, "
         "evidence, note, task, quantity, beside, rule, verdict, refuted_at, at_best, got 3"),
        (lambda _: verdict_table(pd.DataFrame({"id": [1]})),
         "table has no column 'estimate'; needed: estimate, low, high, p_holm, networks, "
         "runaway, settings, reproduced_at, not_reproduced_at, nearest, near_settings, "
         "near_reproduced, within, id, statement, "
         "evidence, note, task, quantity, beside, rule, verdict, refuted_at, at_best"),
        # Topologies.
        (lambda _: custom(np.eye(6, dtype=bool), XOR),
         "topology has 6 forbidden synapses, the first from x0 to x0: self-loops and synapses "
         "onto inputs are not allowed"),
        (lambda _: custom(np.zeros((6, 6), dtype=bool), XOR),
         "topology must have at least one synapse, got none"),
        (lambda _: custom(np.zeros((5, 5), dtype=bool), XOR),
         "topology must be a boolean matrix of shape (6, 6) or a networkx.DiGraph, got ndarray "
         "of bool and shape (5, 5)"),
        (lambda _: custom(np.zeros((6, 6)), XOR),
         "topology must be a boolean matrix of shape (6, 6) or a networkx.DiGraph, got ndarray "
         "of float64 and shape (6, 6)"),
        (lambda _: custom(np.ma.masked_array(np.zeros((6, 6),dtype=bool)), XOR),
         "topology must be a boolean matrix of shape (6, 6) or a networkx.DiGraph, got "
         "MaskedArray of bool and shape (6, 6)"),
        (lambda _: custom(nx.Graph([("x0", "h0")]), XOR),
         "topology must be a networkx.DiGraph, got an undirected graph"),
        (lambda _: custom(nx.DiGraph([("H0", "hh")]), XOR),
         "topology has unknown neurons ['H0', 'hh'] (did you mean 'h0'?); allowed: x0, x1, bias, "
         "h0, h1, y0, or indices 0 to 5"),
        (lambda _: custom(nx.DiGraph([(6, 3)]), XOR),
         "topology has unknown neurons [6]; allowed: x0, x1, bias, h0, h1, y0, or indices 0 to 5"),
        (lambda _: custom(nx.DiGraph([(True, 3)]), XOR),
         "topology has unknown neurons [True]; allowed: x0, x1, bias, h0, h1, y0, or indices 0 "
         "to 5"),
        (lambda _: custom(nx.DiGraph([("h99", 3)]), Layout(2, True, (22,), 1)),
         "topology has unknown neurons ['h99'] (did you mean 'h9'?); allowed: x0, x1, bias, h0, "
         "h1, h2, h3, h4, h5, h6, h7, h8, h9, h10, h11, h12, h13, h14, h15, h16, or indices 0 to "
         "25"),
        (lambda _: custom(nx.DiGraph([("h0", "x1"), ("h0", "h0")]), XOR),
         "topology has 2 forbidden synapses, the first from h0 to x1: self-loops and synapses "
         "onto inputs are not allowed"),
        (lambda _: custom(nx.DiGraph(), XOR),
         "topology must have at least one synapse, got none"),
        (lambda run: deep_nb.concat(run),
         "runs must be a sequence of runs, got a Dataset"),
        (lambda _: deep_nb.concat(3),
         "runs must be a sequence of runs, got 3"),
        (lambda _: deep_nb.concat([]),
         "runs must contain one or more runs, got none"),
        (lambda _: deep_nb.concat([3]),
         "expected a run, as from deep_nb.train, got int"),
        (lambda run: deep_nb.concat([run, run]),
         "seeds must be distinct, got 0 more than once"),
        (lambda run: deep_nb.concat([run.assign_attrs(provenance="x")]),
         "a run's provenance is missing or is not JSON"),
        (lambda _: turnover(3),
         "expected a run, as from deep_nb.train, got int"),
    ],
)  # fmt: skip
def test_each_argument_is_named_with_what_is_allowed(short_run, call, message):
    run = short_run.drop_vars(["W_epochs", "b_epochs"]).assign_attrs(record="[]")
    with refused(message):
        call(run)


def test_folders_are_not_runs(short_run, tmp_path):
    with refused(f"{str(tmp_path)!r} is a folder; a file name is needed"):
        deep_nb.save(short_run, tmp_path)
    with refused(f"{tmp_path} is a folder, not a netCDF file"):
        deep_nb.load(tmp_path)
    with refused("path must be a valid path (str or os.PathLike), got 3"):
        deep_nb.load(3)
    with refused(f"no such file: {tmp_path / 'x.nc'}", FileNotFoundError):
        deep_nb.load(tmp_path / "x.nc")


def test_a_matrix_of_unequal_rows_is_refused():
    with pytest.raises(ValueError, match=r"\Atopology must be a boolean matrix: setting an array"):
        custom([[True], [True, False]], XOR)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (3, "text must be a string, got 3"),
        ("[", "the claims are not YAML: "),
        ("3", "the claims must be a mapping from names to values, got 3"),
        ("a: []", "the claims must be one list named 'claims'"),
        ("claims: 3", "the claims must be one list named 'claims'"),
        ("claims: [3]", "a claim must be a mapping from names to values, got 3"),
    ],
)
def test_claims_that_are_not_a_list_of_mappings_are_refused(text, message):
    if text == "[":
        with pytest.raises(ValueError, match=f"\\A{message}while parsing"):
            claims.read_claims(text)
    else:
        with refused(message):
            claims.read_claims(text)


@pytest.mark.parametrize("given", [3, [], ["1a"], [None]])
def test_what_is_not_claims_is_shown(given):
    with refused(f"claims must be one or more claims, as returned by read_claims, got {given!r}"):
        claims.evaluate(given, NETWORKS)


def tagged(source, *tags, kind="code"):
    make = new_code_cell if kind == "code" else new_markdown_cell
    return make(source, metadata={"tags": list(tags)})


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ([], "{path} has no cells"),
        ([tagged("n = 1")],
         "{path} must have one code cell tagged 'parameters', which assigns a default to each "
         "parameter; it has none"),
        ([tagged("n = 1", "parameters"), tagged("m = 1", "parameters")],
         "{path} must have one code cell tagged 'parameters', which assigns a default to each "
         "parameter; it has 2"),
        ([tagged("n = 1", "parameters", kind="markdown")],
         "{path} must have one code cell tagged 'parameters', which assigns a default to each "
         "parameter; it has 1"),
        ([tagged("n = 2", "injected-parameters"), tagged("n = 1", "parameters")],
         "{path} has a cell tagged 'injected-parameters' that does not follow its parameters cell: "
         "remove it"),
        ([tagged("n = ", "parameters")],
         "the parameters cell of {path} is not Python: invalid syntax (<unknown>, line 1)"),
        ([tagged("%%time\nn = 1", "parameters")],
         "the parameters cell of {path} begins with '%%time', which hides what it assigns: remove "
         "this line"),
    ],
)  # fmt: skip
def test_a_notebook_without_parameters_says_what_it_has(tmp_path, cells, message):
    path = tmp_path / "x.ipynb"
    nbformat.write(new_notebook(cells=cells, metadata={"language_info": {"name": "python"}}), path)
    with refused(message.replace("{path}", str(path))):
        declared_parameters(path)


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({}, "{path} does not name its language: open it in Jupyter, choose a Python kernel, and "
         "save it"),
        ({"language_info": {"name": "R"}}, "{path} is a notebook in 'R', not in 'python'"),
        ({"kernelspec": {"name": "ir", "display_name": "R", "language": "R"},
          "language_info": {"name": "python"}}, "{path} is a notebook in 'R', not in 'python'"),
    ],
)  # fmt: skip
def test_a_notebook_in_another_language_is_named(tmp_path, metadata, message):
    path = tmp_path / "x.ipynb"
    cells = [tagged("n = 1", "parameters"), tagged("n = 2", "injected-parameters")]
    nbformat.write(new_notebook(cells=cells, metadata=metadata), path)
    with refused(message.replace("{path}", str(path))):
        declared_parameters(path)
    nbformat.write(new_notebook(cells=cells, metadata={"language_info": {"name": "python"}}), path)
    assert declared_parameters(path).defaults == {"n": 1}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "{path} is not a notebook: it is not JSON"),
        ("[]", "{path} is not a notebook: it does not name its nbformat"),
        ("{}", "{path} is not a notebook: it does not name its nbformat"),
        ('{"nbformat": 3}',
         "{path} is not a notebook of format 4, but of format 3; convert it with: jupyter "
         "nbconvert --to notebook --inplace FILE"),
    ],
)  # fmt: skip
def test_a_file_that_is_not_a_notebook_says_why(tmp_path, text, message):
    path = tmp_path / "x.ipynb"
    path.write_text(text)
    with refused(message.replace("{path}", str(path))):
        read_notebook(path)


def claims_table(**changes):
    """Return a claims table of one row with some columns changed."""
    row = dict.fromkeys(COLUMNS, 1) | dict.fromkeys(TEXTS, "7") | {"verdict": "reproduced"}
    return pd.DataFrame([{**row, **changes}])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"estimate": "x"}, "it must have finite numbers in the column 'estimate'"),
        ({"statement": None}, "it must have strings in the column 'statement'"),
        ({"verdict": "maybe"},
         "unknown verdict 'maybe'; allowed: reproduced, inconclusive, not reproduced"),
    ],
)  # fmt: skip
def test_a_damaged_claims_table_is_named(tmp_path, changes, message):
    path = tmp_path / "claims" / "claims.csv"
    assert read_table(tmp_path) is None
    path.parent.mkdir()
    claims_table(note=None, at_best=None, id="007").to_csv(path, index=False)
    read = read_table(tmp_path).to_dict("records")[0]
    assert {name: read[name] for name in ("id", "note", "at_best", "statement")} == {
        "id": "007", "note": "", "at_best": "", "statement": "7",
    }  # fmt: skip
    assert list(read) == list(COLUMNS)
    claims_table(**changes).to_csv(path, index=False)
    with refused(f"{path} is not a claims table: {message}"):
        read_table(tmp_path)
    claims_table().drop(columns="rule").to_csv(path, index=False)
    with pytest.raises(ValueError, match=r"claims\.csv is not a claims table: .*'rule'"):
        read_table(tmp_path)


def test_claims_replace_what_is_between_the_first_marks(tmp_path):
    page, table = tmp_path / "page.md", claims_table(verdict="reproduced", task="xor")
    begin, end = "<!-- claims: begin -->\n", "<!-- claims: end -->\n"
    page.write_text(f"a\n{begin}old\n{end}b\n{begin}kept\n{end}c\n")
    insert_claims(page, table)
    rows = verdict_table(table)
    assert page.read_text() == f"a\n{begin}\n{rows}\n{end}b\n{begin}kept\n{end}c\n"
    for damaged in (f"{begin}x", f"x{end}", f"{end}{begin}", ""):
        page.write_text(damaged)
        with refused(f"{page} must contain {begin.strip()!r} and {end.strip()!r}"):
            insert_claims(page, table)
        assert page.read_text() == damaged


@pytest.mark.parametrize(
    ("insert", "name", "file"),
    [
        (insert_contracting, "contracting", "learned_and_certified.md"),
        (insert_real_data, "real_data", "verdict.md"),
    ],
)
def test_what_an_experiment_says_replaces_what_is_between_its_marks(tmp_path, insert, name, file):
    page, table = tmp_path / "page.md", tmp_path / name / file
    page.write_text("a\n")
    insert(page, tmp_path)  # the batch has no such file: nothing is to do
    assert page.read_text() == "a\n"
    table.parent.mkdir()
    table.write_text("| model |\n")
    begin, end = f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->\n"
    with refused(f"{page} must contain {begin.strip()!r} and {end.strip()!r}"):
        insert(page, tmp_path)
    page.write_text(f"a\n{begin}old\n{end}b\n")
    insert(page, tmp_path)
    assert page.read_text() == f"a\n{begin}\n| model |\n\n{end}b\n"
