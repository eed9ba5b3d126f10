"""Bad input: every public function refuses rubbish with one documented error, and changes nothing.

The functions are those of the public list, `docs/api.py`. Each has good arguments in `table`;
hypothesis replaces one or two of them by rubbish, or spoils them.
"""

import contextlib
import functools
import inspect
import types
import warnings
from decimal import Decimal
from pathlib import Path

import matplotlib.pyplot as plt
import nbformat
import networkx as nx
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure

import deep_nb
from deep_nb import analysis, claims, plotting, replication
from deep_nb._provenance import provenance

from .conftest import SHORT
from .test_public import CALLABLES, section
from .test_replication import sign, write_notebook

#: Cases per function; the long profile makes 10 000 in all.
LONG = 130
CASES = 5 if settings().derandomize else LONG


@functools.cache
def public():
    """Every public function, and the public methods of public classes, by full name."""
    found = dict(CALLABLES)
    for name, value in list(found.items()):
        if isinstance(value, type):
            for method, function in vars(value).items():
                if inspect.isfunction(function) and not method.startswith("_"):
                    found[f"{name}.{method}"] = getattr(value, method)
    return found


def fresh(make):
    """Mark a good argument that is made anew for each call."""
    return functools.partial(make)


@functools.cache
def world():
    """The objects that good arguments are made of."""
    w = types.SimpleNamespace()
    w.run = deep_nb.train("DEEP", "xor", seeds=range(2), hyper=SHORT, record=("weights",))
    leaky = deep_nb.DEEP.replace(name="leaky", leak=5.0)
    w.certified = deep_nb.train(leaky, "xor", seeds=range(2), hyper=SHORT)
    w.J = analysis.jacobian(w.certified)
    w.claims = claims.read_claims()[:2]
    w.compared = [claim for claim in claims.read_claims() if claim.id == "1d"]
    of_each = {"n_epochs": 3, "learned": True, "epochs": 1.0, "seed": [0, 1]}
    of_each |= {"step_is_stable": True}
    more = {"learned_after": True, "sparsity": 0.5, "gershgorin": False, "at_rest": True}
    more |= {"comes_to_rest": True, "certified": False, "pruned": False, "layered": False}
    w.networks = pd.concat(
        pd.DataFrame({"model": model, "task": "xor", **of_each, **more})
        for model in ("DEEP", "EP_asym")
    )
    place = {"N_H": 2, "N_H_factor": 1.0, "beta_factor": 1.0, "dt_W_factor": 1.0}
    w.grid = w.networks.assign(**place).drop(columns=[*more])
    w.curves = claims.published_curves("DEEP 2019 figure").melt(
        "epoch", var_name="statistic", value_name="published"
    )
    w.curves = w.curves.assign(
        statistic=w.curves["statistic"].str.removeprefix("mse_"), source="DEEP 2019 figure",
        low=0.0, middle=0.1, high=0.2, inside=True, strictly=True, wholly_inside=0.5, runaway=0,
    )  # fmt: skip
    w.table = claims.evaluate(w.claims, w.networks, w.grid)
    write_notebook(Path("tiny.ipynb"), "print(n)")
    Path("experiments.yml").write_text(
        "experiments:\n  - {name: tiny, notebook: tiny.ipynb, quick: {n: 3}}\n"
    )
    w.job = replication.read_jobs("experiments.yml")[0]
    w.folder = Path("batch")
    for name in ("tiny", "claims"):
        (w.folder / name).mkdir(parents=True)
    origin = {"parameters": {"n": 3}, "started": "then", "seconds": 1.0, "error": ""}
    notebook = nbformat.read("tiny.ipynb", as_version=4)
    notebook.metadata["deep_nb"] = {**provenance(), **origin}
    nbformat.write(notebook, w.folder / "tiny" / "tiny.ipynb")
    w.table.to_csv(w.folder / "claims" / "claims.csv", index=False)
    sign(w.folder)
    deep_nb.save(w.run, "run.nc")
    return w


@functools.cache
def table():
    """Good arguments of every public function, by its name below ``deep_nb``."""
    w = world()
    axes = fresh(lambda: Figure().subplots())
    run, J = {"run": w.run}, {"J": w.J}
    plot = {**run, "ax": axes}
    curve = {"ax": axes, "colour": "red", "line": "-", "label": "x"}
    small = {"model": "EP_asym", "N_H": 2, "n_epochs": 1, "T1": 3, "T2": 2, "random_state": 0}
    samples, labels = np.linspace(0, 1, 16).reshape(8, 2), [0, 1] * 4
    fitted = fresh(lambda: deep_nb.DEEPClassifier(**small).fit(samples, labels))
    epochs = {"first": [1.0, 2.0], "second": [np.nan, 1.0]}
    out = fresh(lambda: plotting.Output("kept"))
    mask = w.run["mask"].values
    return {
        "DEEPClassifier": {
            **small, "rule": "asymep", "beta": 1.0, "dt_W": 0.1, "batch_size": 4, "dt": 0.5,
            "W_scale": 0.1, "noise": 0.1, "class_weight": {0: 1.0}, "early_stopping": True,
            "validation_fraction": 0.5, "n_iter_no_change": 2, "tol": 0.0,
        },
        "DEEPClassifier.fit": {
            "self": fitted, "X": samples, "y": labels, "sample_weight": [1.0, 2.0] * 4,
        },
        "DEEPClassifier.partial_fit": {
            "self": fresh(lambda: deep_nb.DEEPClassifier(**small)),
            "X": samples, "y": labels, "classes": [0, 1], "sample_weight": [1.0, 2.0] * 4,
        },
        "DEEPClassifier.prune": {"self": fitted, "keep": 0.5},
        "DEEPClassifier.contraction": {"self": fitted},
        "DEEPClassifier.decision_function": {"self": fitted, "X": samples},
        "DEEPClassifier.predict_proba": {"self": fitted, "X": samples},
        "DEEPClassifier.predict": {"self": fitted, "X": samples},
        "Flags": {"sparse": True, "sign": False},
        "Hyperparameters": dict(deep_nb.DEEP.hyper),
        "Model": dict(deep_nb.DEEP),
        "Task": {"name": "x", "X": [[0], [1]], "Y": [[1], [0]]},
        "concat": {"runs": [w.run, w.run.assign_coords(seed=[7, 8])]},
        "decision_map": {**run, "n": 3, "engine": "numba"},
        "explore": {"model": "DEEP", "task": "xor", "seed": 1},
        "load": {"path": "run.nc"},
        "predict": {
            **run, "X": [[0, 1]], "engine": "reference", "Y": [[1]], "beta": 0.5,
            "start": np.zeros(6), "clamp": {"h0": 0.5}, "energy": True,
        },
        "save": {**run, "path": "new.nc"},
        "settings": run,
        "train": {
            "model": "DEEP", "task": "xor", "seeds": [1], "hyper": SHORT, "regularized": True,
            "sparse": True, "stop_criterion": True, "layered": False, "sign": True,
            "topology": mask, "engine": "numba", "threads": 1, "record": ("weights",),
            "progress": False, "executor": None, "checkpoint": None, "block": 2,
        },
        "trajectory": {
            **run, "engine": "blas", "X": [[0, 1], [1, 1]], "Y": [[1], [0]], "beta": 0.5,
            "start": np.zeros((2, 6)), "clamp": {"y0": [1.0, 0.5]}, "energy": False,
        },
        "write_report": {"folder": w.folder, "target": "report.html"},
        "analysis.angle_to_gradient": {
            **run, "rules": ("asymep", "stdp"), "epochs": (-1, 2), "hyper": {"beta": 1.0},
        },
        "analysis.rule_change": {**run, "rule": "asymep", "epoch": 2, "hyper": {"beta": 1.0}},
        "analysis.epochs_to_criterion": {**run, "n_epochs": 2},
        "analysis.learned": run,
        "analysis.network_table": run,
        "analysis.turnover": run,
        "analysis.certificate": {**J, "method": "sdp"},
        "analysis.certified_throughout": {**run, "phases": ["free", "+β"]},
        "analysis.certifying_leak": {
            "W": w.J * ~np.eye(w.J.shape[1], dtype=bool), "outflow": 1.0,
            "absolute_outflow": True, "tolerance": 1e-6, "method": "identity",
        },
        **{
            f"analysis.{name}_{norm}": {**J, "dt": 0.05} if name == "euler_factor" else J
            for name in ("contraction_rate", "euler_factor", "max_contracting_dt")
            for norm in ("l1", "linf")
        },
        "analysis.contraction_rate": {**J, "dt": 0.05, "D": np.ones(w.J.shape[:2])},
        "analysis.diagonal_certificate": J,
        "analysis.gershgorin": J,
        "analysis.lyapunov_matrix": {**J, "Q": np.eye(w.J.shape[1])},
        "analysis.max_stable_dt": J,
        "analysis.spectrum": J,
        "analysis.energy": {
            "path": deep_nb.trajectory(w.certified), "run": w.certified,
            "P": np.array([np.eye(w.J.shape[1])] * 2), "norm": "quadratic",
        },
        "analysis.jacobian": {**run, "epoch": 2, "phase": "nudged"},
        "analysis.phase_energy": {
            "run": w.certified, "phase": "+β", "epoch": -1, "norm": "linf",
        },
        "analysis.phase_report": {**run, "epoch": 2},
        "analysis.rest_point": {
            "run": w.certified, "epoch": -1, "phase": "nudged", "tolerance": 1e-6,
        },
        "analysis.stability_report": {**run, "epoch": 2},
        "analysis.step_is_stable": {**run, "epoch": 2},
        "analysis.difference_of_medians": {"first": [1.0, 2.0], "second": [1.0, 3.0]},
        "analysis.difference_of_shares": {"first": (1, 2), "second": (1, 3)},
        "analysis.holm": {"p_values": [0.5, 0.01]},
        "analysis.log_rank": {**epochs, "n_epochs": 3},
        "analysis.mcnemar": {"first": [True, False], "second": [True, True]},
        "analysis.paired_difference": {"first": [True, False], "second": [True, True]},
        "analysis.median": {"values": [1.0, 2.0]},
        "analysis.share": {"successes": 1, "total": 2},
        "plotting.Output": {"folder": "kept"},
        "plotting.Output.figure": {
            "self": out, "figure": fresh(Figure), "name": "x", "caption": "y",
        },
        "plotting.Output.table": {"self": out, "table": w.table, "name": "x.csv", "index": True},
        "plotting.Output.text": {"self": out, "content": "x", "name": "x.md"},
        "plotting.Output.run": {"self": out, **run, "name": "x.nc"},
        "plotting.Output.animation": {"self": out, **run, "name": "x", "caption": "y"},
        "plotting.animate_learning": {
            **run, "folder": "kept", "name": "x", "caption": "y", "seed": 1,
        },
        "plotting.describe": run,
        "plotting.plot_class_error": plot,
        "plotting.plot_decision_map": {**plot, "seed": 1, "n": 3},
        "plotting.plot_discs": {**plot, "seed": 1, "epoch": 2},
        "plotting.plot_energy": {"run": w.certified, "ax": axes},
        "plotting.plot_mse": plot,
        "plotting.plot_mse_networks": plot,
        "plotting.plot_network": {**plot, "seed": 1},
        "plotting.plot_reached": {"epochs": [1.0, np.nan], "n_epochs": 3, **curve},
        "plotting.plot_residual": plot,
        "plotting.plot_robustness": {
            "grid": w.grid, "model": "DEEP",
        },
        "plotting.plot_shares": {"x": [0.0, 1.0], "successes": [1, 2], "total": 2, **curve},
        "plotting.plot_sparsity": plot,
        "plotting.plot_survivors": plot,
        "plotting.plot_weight_change": plot,
        "plotting.plot_weights": {**plot, "seed": 1},
        "plotting.save_figure": {
            "figure": fresh(Figure), "folder": "kept", "name": "x", "caption": "y",
        },
        "plotting.share_legend": {"figure": fresh(Figure)},
        "claims.Claim": dict(w.claims[0]),
        "claims.Source": {
            "place": "here", "file": "x.ipynb", "commit": "0123456", "cell": 1, "text": "words",
            "curve": "x.csv",
        },
        "claims.best_settings": {"grid": w.grid},
        "claims.compare_curves": {
            "claims": w.claims, "seeds": [0, 1], "size": 2, "ensembles": 2,
        },
        "claims.measure_best": {"claims": w.compared, "grid": w.grid, "seeds": [5]},
        "claims.published_curves": {"source": "DEEP 2019 figure"},
        "claims.read_sources": {},
        "claims.claims_table": {"table": w.table},
        "claims.verdict_table": {"table": w.table},
        "claims.unstable_steps": {"networks": w.networks},
        "claims.evaluate": {
            "claims": w.claims, "networks": w.networks, "grid": w.grid, "best": w.networks,
            "curves": w.curves,
        },
        "claims.measure": {
            "model": "DEEP", "task": "xor", "seeds": [1], "pruned": True, "layered": True,
            "hyper": SHORT,
        },
        "claims.measure_all": {"claims": w.claims[:1], "seeds": [1]},
        "claims.read_claims": {"text": "claims: []"},
        "claims.sweep": {
            "claims": w.claims, "seeds": [1], "factors": [10.0], "N_H_factors": [],
            "checkpoint": None,
        },
        "replication.collect_figures": {
            "names": ["claims"], "source": w.folder, "target": Path("figures"),
        },
        "replication.compare": {
            "folder": w.folder, "against": w.folder, "rtol": 1e-6, "atol": 1e-9,
        },
        "replication.read_jobs": {
            "experiments": "experiments.yml", "profile": "quick", "only": "t*",
        },
        "replication.replicate": {
            "jobs": [], "output": Path("new"), "processes": 1, "executor": None, "force": True,
        },
        "replication.state": {"job": w.job, "folder": w.folder / "tiny"},
        "replication.verify": {"folder": w.folder},
    }  # fmt: skip


#: Each kind of name: a call with a typo, and the name that is meant.
MISSPELT = {
    "model": (lambda: deep_nb.train("DEPE", "xor", seeds=0), "DEEP"),
    "task": (lambda: deep_nb.train("DEEP", "xro", seeds=0), "xor"),
    "engine": (lambda: deep_nb.train("DEEP", "xor", seeds=0, engine="nubma"), "numba"),
    "record": (lambda: deep_nb.train("DEEP", "xor", seeds=0, record=["weight"]), "weights"),
    "hyperparameter": (
        lambda: deep_nb.train("DEEP", "xor", seeds=0, hyper={"betta": 1.0}),
        "beta",
    ),
    "flag": (lambda: deep_nb.Flags(spars=True), "sparse"),
    "part of a model": (lambda: deep_nb.DEEP.replace(leek=1.0), "leak"),
    "rule": (lambda: deep_nb.DEEP.replace(rule="contrastiv"), "contrastive"),
    "activation": (lambda: deep_nb.DEEP.replace(activation="sigmod"), "sigmoid"),
    "rule of a change": (lambda: analysis.rule_change(world().run, "asymepp"), "asymep"),
    "rule of the classifier": (
        lambda: deep_nb.DEEPClassifier(rule="stpd").fit([[0.0], [1.0]], [0, 1]),
        "stdp",
    ),
    "phase": (lambda: analysis.jacobian(world().run, phase="nugded"), "nudged"),
    "neuron": (
        lambda: deep_nb.train("DEEP", "xor", seeds=0, topology=nx.DiGraph([("x0", "hh0")])),
        "h0",
    ),
    "profile": (lambda: replication.read_jobs("experiments.yml", "quik"), "quick"),
    "experiment": (lambda: replication.read_jobs("experiments.yml", only="tinny"), "tiny"),
    "parameter of a notebook": (lambda: replication.read_jobs("misspelt.yml"), "n_epochs"),
    "name in the experiments file": (lambda: replication.read_jobs("matix.yml"), "matrix"),
    "statistic of a claim": (
        lambda: claims.Claim(**{**dict(world().claims[0]), "quantity": "differense"}),
        "difference",
    ),
    "measure of a claim": (
        lambda: claims.Claim(**{**dict(world().claims[0]), "measure": "learnt"}),
        "learned",
    ),
    "model of an ensemble": (lambda: claims.measure("DEEP_ho", "xor", 1), "DEEP_oh"),
    "model on a grid": (
        lambda: plotting.plot_robustness(world().grid, "EP_asymm"),
        "EP_asym",
    ),
    "engine of an answer": (lambda: deep_nb.predict(world().run, [[0, 1]], "blass"), "blas"),
}

#: Called instead of the class: scikit-learn's estimators check their arguments in `fit`.
INSTEAD = {
    "deep_nb.DEEPClassifier": lambda **values: deep_nb.DEEPClassifier(**values).fit(
        np.linspace(0, 1, 16).reshape(8, 2), [0, 1] * 4
    ),
}


class Odd:
    """An object that no function accepts."""


#: Numbers are small, or beyond every limit: in between, much work may be meant.
INTEGERS = st.integers(-3, 12) | st.sampled_from([2**31, 2**63, -(2**63), 10**9, 10**30, 10**400])
FLOATS = st.floats(-10, 10) | st.sampled_from(
    [np.nan, np.inf, -np.inf, 1e308, -1e308, 5e-324, 0.0, -0.0]
)
#: Without what leads a path out of the folder of these tests.
TEXTS = st.text(st.characters(exclude_characters="/\\.~"), max_size=5) | st.sampled_from(
    ["", "nonsense", "DEEP ", "xor", "1", "nan", "\0", "\ud800", "é☃", "x" * 10_000, "*", "["]
)
ARRAYS = st.sampled_from(
    [
        np.array(1.0),
        np.zeros(0),
        np.zeros(3),
        np.zeros((0, 2)),
        np.zeros((2, 0)),
        np.full((2, 2), np.nan),
        np.full((4, 2), np.inf),
        np.full((2, 2), 1e308),
        np.ones((2, 3, 4)),
        np.ones((1, 1, 1, 1, 1)),
        np.eye(3, dtype=bool),
        np.eye(2, dtype=np.uint8),
        np.eye(2, dtype=np.float32),
        np.eye(2, dtype=complex),
        np.array(["a", "b"]),
        np.array([[None, object()]]),
        np.array([b"a"]),
        np.array(["2020-01-01"], dtype="M8[D]"),
        np.ma.masked_array(np.eye(2), mask=np.eye(2)),
        np.zeros(100_000),
    ]
)
PLAIN = st.none() | st.booleans() | INTEGERS | FLOATS | TEXTS
OTHERS = st.sampled_from(
    [
        b"",
        b"bytes",
        1j,
        complex(np.nan, 0),
        Decimal(1),
        object(),
        Odd,
        Odd(),
        len,
        lambda *args, **kwargs: None,
        range(0),
        {1, 2},
        {},
        {"a": 1},
        {1: 2},
        {"beta": np.nan},
        {"n_epoch": 3},
        [[]],
        [[[1]]],
        [[1], [2, 3]],
        ["x" * 10_000],
        list(range(3)) * 10_000,
        xr.Dataset(),
        xr.Dataset({"W": ("seed", [1.0])}),
        xr.DataArray([1.0]),
        pd.DataFrame(),
        pd.DataFrame({"a": [1, None]}),
        np.float64(np.nan),
        np.int64(-1),
        np.bool_(True),
        np.str_("xor"),
        Path("nonsense"),
        Path("\0"),
        slice(None),
        ...,
        TypeError,
    ]
)


def rubbish():
    return PLAIN | ARRAYS | OTHERS | st.lists(PLAIN, max_size=3) | st.tuples(PLAIN, PLAIN)


@st.composite
def spoiled(draw, value):
    """Draw a good value with one thing spoiled."""
    if isinstance(value, bool | types.FunctionType | functools.partial | type(None)):
        return draw(rubbish())
    if isinstance(value, int | float):
        return draw(
            st.sampled_from(
                [-value, value * 10**12, value + 0.5, np.nan, str(value), [value], complex(value)]
            )
        )
    if isinstance(value, str):
        return draw(
            st.sampled_from([value + "x", value[:-1], value.swapcase(), value * 1000, [value]])
        )
    if isinstance(value, Path):
        return draw(st.sampled_from([value / "no", Path("nonsense"), Path(), str(value), [value]]))
    if isinstance(value, np.ndarray):
        return draw(st.sampled_from(_spoiled_arrays(value)))
    if isinstance(value, list | tuple):
        items = list(value)
        last = draw(rubbish() | spoiled(items[-1])) if items else draw(rubbish())
        choices = [items[:-1], [*items[:-1], last], [*items, last], items * 2, [items], items[:0]]
        chosen = draw(st.sampled_from(choices))
        return chosen if draw(st.booleans()) else tuple(chosen)
    if isinstance(value, dict):
        name = draw(st.sampled_from([*value, "nonsense"]))
        rest = {key: item for key, item in value.items() if key != name}
        kept = value.get(name)
        changed = draw(rubbish() | spoiled(kept))
        return draw(
            st.sampled_from(
                [rest, {**rest, name: changed}, {**rest, f"{name}x": kept}, {**rest, 1: kept}]
            )
        )
    if isinstance(value, xr.Dataset):
        return draw(_spoiled_runs(value))
    if isinstance(value, pd.DataFrame):
        return draw(_spoiled_tables(value))
    return draw(rubbish())


def _spoiled_arrays(array):
    spoilt = [array.T, array[..., :-1], array[:-1], array[None], array[:0], array.ravel()]
    spoilt += [np.ma.masked_array(array, mask=True), array.tolist()]
    if array.dtype.kind in "biuf":
        for number in (np.nan, np.inf, -1.0, 1e300):
            changed = array.astype(float)
            changed.flat[:1] = number
            spoilt.append(changed)
        with np.errstate(all="ignore"):
            kinds = (str, object, complex, np.float32, np.uint8)
            spoilt += [array.astype(kind) for kind in kinds]
    return spoilt


@st.composite
def _spoiled_runs(draw, run):
    name = draw(st.sampled_from(sorted(run.variables)))
    attribute = draw(st.sampled_from(sorted(run.attrs)))
    how = draw(st.integers(0, 9))
    if how == 0:
        return run.drop_vars(name)
    if how == 1:
        return run.isel({draw(st.sampled_from(sorted(run.sizes))): 0})
    if how == 2:
        return run.isel({draw(st.sampled_from(sorted(run.sizes))): slice(0, draw(INDEX))})
    if how == 3:
        return run.transpose(*reversed(list(run.dims)))
    if how == 4:
        return run.rename({name: "nonsense"})
    if how == 5:
        kind = draw(st.sampled_from([str, object, complex, np.float32, int]))
        changed = run[name]
        with np.errstate(all="ignore"):
            numeric = changed.dtype.kind in "biuf"
            return run.assign({name: changed.astype(kind if numeric else object)})
    if how == 6:
        changed = run[name].copy(deep=True)
        if changed.dtype.kind == "f":
            changed.values.flat[:1] = draw(FLOATS)
        return run.assign({name: changed})
    attrs = dict(run.attrs)
    if how == 7:
        del attrs[attribute]
    elif how == 8:
        attrs[attribute] = draw(rubbish())
    else:
        attrs[attribute] = draw(st.sampled_from(["{", "{}", "[]", "null", "1", "nonsense", "NaN"]))
    return run.assign_attrs().drop_attrs(deep=False).assign_attrs(attrs)


INDEX = st.integers(0, 2)


@st.composite
def _spoiled_tables(draw, frame):
    name = draw(st.sampled_from(list(frame.columns)))
    how = draw(st.integers(0, 5))
    if how == 0:
        return frame.drop(columns=name)
    if how == 1:
        return frame.iloc[: draw(INDEX)]
    if how == 2:
        return frame.rename(columns={name: f"{name}x"})
    if how == 3:
        return pd.concat([frame, frame[[name]]], axis=1)
    if how == 4:
        return frame.T
    value = draw(st.none() | INTEGERS | FLOATS | TEXTS | st.just([]))
    return frame.assign(**{name: [value] * len(frame)})


def documented(name, heading):
    """The names under a section of a docstring, such as Raises; of a method, the class's too."""
    lines = section(public()[name], heading)
    owner = name.rpartition(".")[0]
    if owner in public():
        lines += section(public()[owner], heading)
    return {part.strip() for line in lines if line[:1].strip() for part in line.split(",")}


def is_documented(error, names):
    return any(kind.__name__ in names for kind in type(error).__mro__)


def is_short(error):
    return 0 < len(str(error)) < 2000


def snapshot(value):
    """What is to stay the same of an argument."""
    if isinstance(value, np.ndarray):
        return value.dtype, value.shape, value.tobytes() if value.dtype != object else None
    if isinstance(value, xr.Dataset):
        parts = {name: snapshot(item.values) for name, item in value.variables.items()}
        return parts, {name: repr(item) for name, item in value.attrs.items()}
    if isinstance(value, pd.DataFrame):
        return list(value.columns), repr(value.to_numpy().tolist())
    if isinstance(value, list | tuple):
        return [snapshot(item) for item in value]
    if isinstance(value, dict):
        return [(name, snapshot(item)) for name, item in value.items()]
    return value if isinstance(value, int | float | str) else id(value)


def call(name, arguments):
    """Call a function to its end."""
    function = INSTEAD.get(name, public()[name])
    positional = [arguments["self"]] if "self" in arguments else []
    result = function(*positional, **{k: v for k, v in arguments.items() if k != "self"})
    if isinstance(result, types.GeneratorType):
        list(result)


def good_arguments(name):
    good = table()[name.removeprefix("deep_nb.")]
    return {key: value() if isinstance(value, functools.partial) else value
            for key, value in good.items()}  # fmt: skip


@pytest.fixture(autouse=True, scope="module")
def _apart(tmp_path_factory):
    """Work in a folder where nothing can be lost."""
    with contextlib.chdir(tmp_path_factory.mktemp("apart")):
        yield
    world.cache_clear()
    table.cache_clear()


NAMES = sorted(public())


@pytest.mark.slow
def test_every_public_function_takes_part():
    assert {f"deep_nb.{name}" for name in table()} == set(NAMES)


def test_the_long_profile_makes_ten_thousand_cases():
    assert len(NAMES) * LONG >= 10_000


def test_docstrings_are_read():
    assert documented("deep_nb.train", "Raises") == {"ValueError", "RuntimeError", "OSError"}
    assert documented("deep_nb.train", "Warns") == {"RuntimeWarning"}
    assert documented("deep_nb.replication.read_jobs", "Raises") >= {"ValueError"}


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_good_arguments_are_good(name):
    if name != "deep_nb.claims.read_claims":  # an empty list of claims is refused
        call(name, good_arguments(name))
    plt.close("all")


#: How an error names an argument, if not by its name; "" is in every message.
CALLED = {
    ("DEEPClassifier", "random_state"): "RandomState",  # scikit-learn's words
    **{
        (f"DEEPClassifier.{method}", "X"): ""
        for method in ("fit", "partial_fit", "decision_function", "predict_proba", "predict")
    },
}


@pytest.mark.parametrize("name", NAMES)
def test_errors_name_the_argument(name):
    """Replace each argument by an object that no function accepts."""
    key = name.removeprefix("deep_nb.")
    for argument in {*good_arguments(name)} - {"self"}:
        message = None
        try:
            call(name, {**good_arguments(name), argument: Odd()})
        except (ValueError, TypeError) as error:
            message = str(error)
        called = CALLED.get((key, argument), argument.removesuffix("s"))
        assert message is None or called in message
        plt.close("all")


@pytest.mark.parametrize("kind", MISSPELT)
def test_a_typo_is_answered_with_the_nearest_name(kind):
    world()
    write_notebook(Path("trained.ipynb"), "print(n_epochs)", "n_epochs = 1\noutput = ''")
    Path("misspelt.yml").write_text(
        "experiments:\n  - {name: x, notebook: trained.ipynb, quick: {n_epoch: 3}}\n"
    )
    Path("matix.yml").write_text(
        "experiments:\n  - {name: x, notebook: trained.ipynb, matix: {n_epochs: [3]}}\n"
    )
    misspelt, meant = MISSPELT[kind]
    with pytest.raises(ValueError, match=rf"did you mean '{meant}'\?"):
        misspelt()


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=CASES, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_rubbish_is_refused_as_documented(name, data):
    arguments = good_arguments(name)
    candidates = sorted({*arguments} - {"self"})
    count = min(data.draw(st.sampled_from([1, 1, 1, 2])), len(candidates))
    for chosen in data.draw(st.permutations(candidates))[:count]:
        bad = data.draw(rubbish() | spoiled(arguments[chosen]), label=chosen)
        arguments[chosen] = bad.copy() if isinstance(bad, np.ndarray) else bad
    before = {key: snapshot(value) for key, value in arguments.items()}
    try:
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            call(name, arguments)
    except Exception as error:
        if not is_documented(error, documented(name, "Raises")) or not is_short(error):
            raise
    finally:
        plt.close("all")
    undocumented = [
        warning
        for warning in seen
        if not is_documented(warning.message, documented(name, "Warns"))
        and "sklearn" not in warning.filename
    ]
    assert not undocumented, undocumented[0].message
    assert {key: snapshot(arguments[key]) for key in before} == before


#: Mistakes that were once answered badly: a call, and what the error says.
MENDED = {
    "whole array printed": (
        lambda: good("DEEPClassifier.prune", keep=np.zeros(100_000)),
        "keep must be a finite number from 0 to 1, got an array of float64",
    ),
    "threads": (lambda: tiny(threads=[]), "threads must be an integer"),
    "progress": (lambda: tiny(progress="yes"), "progress must be True or False"),
    "executor": (lambda: tiny(executor=object()), r"executor must be an object with submit\(\)"),
    "block": (lambda: tiny(block=None), "block must be an integer of at least 1"),
    "checkpoint": (lambda: tiny(checkpoint=[]), "checkpoint must be a valid path"),
    "angles without a run": (
        lambda: good("analysis.angle_to_gradient", run=None),
        "expected a run",
    ),
    "angles of 5": (
        lambda: good("analysis.angle_to_gradient", rules=5),
        "rules must be a sequence",
    ),
    "angles at None": (
        lambda: good("analysis.angle_to_gradient", epochs=None),
        "epochs must be a sequence",
    ),
    "angles with a list": (
        lambda: good("analysis.angle_to_gradient", hyper=[1]),
        "hyper must be a mapping",
    ),
    "a change with a text": (
        lambda: good("analysis.rule_change", hyper="beta"),
        "hyper must be a mapping",
    ),
    "labels": (lambda: good("DEEPClassifier.fit", y=[1e308] * 8), "y must hold classes"),
    "labels in part": (
        lambda: good("DEEPClassifier.partial_fit", y=[1e308] * 8),
        "y must hold classes",
    ),
    "classes None": (
        lambda: good("DEEPClassifier.partial_fit", classes=[None, None]),
        "classes must be",
    ),
    "classes NaN": (
        lambda: good("DEEPClassifier.partial_fit", classes=[0.0, 1.0, np.nan]),
        "classes must hold classes",
    ),
    "jobs": (
        lambda: good("replication.read_jobs", experiments=None),
        "experiments must be a valid path",
    ),
    "verify": (lambda: good("replication.verify", folder=None), "folder must be a valid path"),
    "compare": (lambda: good("replication.compare", against=None), "against must be a valid path"),
    "rtol": (
        lambda: good("replication.compare", rtol=None),
        "rtol must be a finite number of at least 0",
    ),
    "atol": (
        lambda: good("replication.compare", atol=np.nan),
        "atol must be a finite number of at least 0",
    ),
    "a ragged topology": (
        lambda: tiny(topology=[[True], [True, False]]),
        "topology must be a boolean matrix",
    ),
    "a path of another run": (
        lambda: good("analysis.energy", path=deep_nb.trajectory(world().certified.isel(seed=[0]))),
        "path must be of this run: S of shape",
    ),
    "a run instead of a path": (
        lambda: good("analysis.energy", path=world().run),
        "path must be a dataset as from deep_nb.trajectory",
    ),
    "a table of texts": (
        lambda: good("claims.claims_table", table=world().table.assign(estimate="1")),
        "table must have finite numbers in the column 'estimate'",
    ),
    "a table without a column": (
        lambda: good("claims.claims_table", table=world().table.drop(columns="low")),
        "table has no column 'low'",
    ),
    "a table with infinity": (
        lambda: good("claims.claims_table", table=world().table.assign(high=np.inf)),
        "table must have finite numbers in the column 'high'",
    ),
    "every second epoch": (
        lambda: good("analysis.learned", run=world().run.isel(epoch=slice(None, None, 2))),
        "this run has 2 of the dimension 'epoch', but its settings give 4",
    ),
    "every second snapshot": (
        lambda: good("analysis.jacobian", run=world().run.isel(snapshot=slice(None, None, 2))),
        "this run has 3 of the dimension 'snapshot', but its settings give 5",
    ),
    "weights without synapses": (
        lambda: good("predict", run=world().run.assign(W=world().run["W"] + 1.0)),
        "this run's W is not 0 where its topology has no synapse",
    ),
    "a path with the seeds in another order": (
        lambda: good(
            "analysis.energy", path=deep_nb.trajectory(world().certified.isel(seed=[1, 0]))
        ),
        "path must be of this run, with the same settings and seeds",
    ),
    "another number of hidden neurons": (
        lambda: good("analysis.rule_change", hyper={"N_H": [7]}),
        "hyper must not contain N_H",
    ),
    "epochs after the last": (
        lambda: good("analysis.log_rank", first=[30.0, 40.0]),
        "epochs must be at most n_epochs, 3, got 40",
    ),
    "an infinite epoch": (
        lambda: good("analysis.log_rank", first=[1.0, np.inf]),
        "first must be a 1-D array of non-negative epochs or NaN",
    ),
    "a folder above": (
        lambda: good("replication.collect_figures", names=[".."]),
        "must be the name of a file or folder",
    ),
    "an empty path": (lambda: good("load", path=""), "path must be a valid path"),
    "a copy that was not validated": (
        lambda: tiny(model=deep_nb.DEEP.model_copy(update={"rule": "bogus"})),
        "Model.rule = 'bogus'",
    ),
    "NaN": (lambda: tiny(hyper={"beta": np.nan}), "beta = nan: it should be a finite number"),
    "infinity": (lambda: tiny(hyper={"dt": np.inf}), "dt = inf: it should be a finite number"),
    "hours of work": (lambda: tiny(hyper={"n_epochs": 10**9}), "n_epochs = 1000000000: it should"),
    "more than the memory": (
        lambda: tiny(hyper={"n_epochs": 10**6, "N_H": 1000}, topology=None, record=("weights",)),
        "this run needs about",
    ),
}


def good(name, **bad):
    """Call a function with good arguments, and some bad ones."""
    call(f"deep_nb.{name}", {**good_arguments(f"deep_nb.{name}"), **bad})


def tiny(**bad):
    good("train", **bad)


@pytest.mark.parametrize("what", MENDED)
def test_errors_say_what_is_wrong(what):
    bad, said = MENDED[what]
    with pytest.raises(ValueError, match=said) as caught:
        bad()
    assert is_short(caught.value)
