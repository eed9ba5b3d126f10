"""Bad input, of every public function: it returns, or raises what its docstring says.

Good arguments of each stand in `PUBLIC`. One or two of them are replaced by rubbish, or spoiled;
then nothing but a documented exception with a short message may come, no warning that is not
documented, and what was given must stay as it was.
"""

import contextlib
import dataclasses
import functools
import importlib
import inspect
import pkgutil
import re
import threading
import types
import warnings
from decimal import Decimal
from pathlib import Path

import hypothesis.strategies as st
import matplotlib.pyplot as plt
import nbformat
import networkx as nx
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import HealthCheck, given, settings
from matplotlib.figure import Figure

import deep_nb
from deep_nb import (
    alignment,
    checks,
    claims,
    dynamics,
    ensembles,
    experiments,
    kinds,
    learning,
    plotting,
    provenance,
    records,
    stability,
    topology,
    verification,
)
from deep_nb.engines import get_engine
from deep_nb.problem import Flags, Problem

from .conftest import SHORT
from .test_replication import write_notebook

#: Cases a function; the long profile is to make 10 000 in all.
LONG = 80
CASES = 5 if settings().derandomize else LONG

#: Not called by these tests, and why.
EXEMPT = {
    "deep_nb.cli": "the command line has tests of its own",
    "deep_nb.engines.lanes": "instructions for Numba's compiler; Python cannot call them",
    "deep_nb.engines.Relax": "a protocol: only what follows it can be called",
    "deep_nb.replication.execution.main": "the other end of `execute`, which alone starts it",
}


@functools.cache
def public():
    """Every public function, class and method of the package, by its full name."""
    found = {}
    for module in pkgutil.walk_packages(deep_nb.__path__, "deep_nb."):
        if module.name in EXEMPT or module.name == "deep_nb.__main__":
            continue
        content = importlib.import_module(module.name)
        for name, value in vars(content).items():
            full = f"{module.name}.{name}"
            own = getattr(value, "__module__", None) == module.name
            if name.startswith("_") or not own or not callable(value) or full in EXEMPT:
                continue
            if inspect.isroutine(value) or isinstance(value, type):
                found[full] = value
            if isinstance(value, type):
                for method in vars(value):
                    function = getattr(value, method)
                    # Properties take no argument; scikit-learn adds methods of its own.
                    own = getattr(function, "__module__", None) == module.name
                    if (
                        own
                        and method == getattr(function, "__name__", None)
                        and (not method.startswith("_") or method == "__call__")
                    ):
                        found[f"{full}.{method}"] = function
    return found


def fresh(make):
    """Mark a good argument that is made anew for each call."""
    return functools.partial(make)


@functools.cache
def world():
    """What good arguments are made of."""
    w = types.SimpleNamespace()
    w.run = deep_nb.train("DEEP", "xor", seeds=range(2), hyper=SHORT, record=("weights",))
    leaky = deep_nb.DEEP.replace(name="leaky", leak=5.0)
    w.certified = deep_nb.train(leaky, "xor", seeds=range(2), hyper=SHORT)
    w.experiment = Problem.of("DEEP", "xor", SHORT)
    w.layout = w.experiment.layout
    w.W, w.B = w.run["W"].values, w.run["b"].values
    w.relax = get_engine("reference", w.layout.n_free, "hard_sigmoid")
    w.field = w.experiment.fields(w.W, w.B)[0]
    w.S = np.full((2, 4, w.layout.n_free), 0.05)
    w.phase = dynamics.Phase(0.05, 3, stop=1e-9, stdp=(0.0, 1.0))
    w.relaxation = w.relax(w.field, w.S, w.phase)
    w.lesson = learning.Lesson(
        w.experiment.model, w.experiment.hyper, w.W, w.experiment.X, w.experiment.Y, w.field,
        w.relaxation, w.phase, w.relax,
    )  # fmt: skip
    w.J = stability.jacobian(w.certified)
    w.claims = claims.read_claims()[:2]
    settings_of = {"pruned": False, "n_epochs": 3, "learned": True, "epochs": 1.0, "seed": [0, 1]}
    more = {"learned_after": True, "sparsity": 0.5, "gershgorin": False}
    w.networks = pd.concat(
        pd.DataFrame({"model": model, "task": "xor", **settings_of, **more})
        for model in ("DEEP", "EP_asym")
    )
    place = {"N_H": 2, "beta": 1.0, "dt_W_factor": 1.0}
    w.grid = w.networks.assign(**place).drop(columns=["pruned", *more])
    w.table = claims.evaluation(w.claims, w.networks, w.grid)
    write_notebook(Path("tiny.ipynb"), "print(n)")
    Path("experiments.yml").write_text(
        "experiments:\n  - {name: tiny, notebook: tiny.ipynb, quick: {n: 3}}\n"
    )
    w.job = experiments.read_jobs("experiments.yml")[0]
    w.folder = Path("batch")
    for name in ("tiny", "claims"):
        (w.folder / name).mkdir(parents=True)
    origin = {"parameters": {"n": 3}, "started": "then", "seconds": 1.0, "error": ""}
    notebook = nbformat.read("tiny.ipynb", as_version=4)
    notebook.metadata["deep_nb"] = {**provenance.provenance(), **origin}
    nbformat.write(notebook, w.folder / "tiny" / "tiny.ipynb")
    w.table.to_csv(w.folder / "claims" / "claims.csv", index=False)
    verification.write_checksums(w.folder)
    w.record = records.Record(error="", origin=origin, fingerprint=w.job.fingerprint, files={})
    records.write_record(w.record, w.folder / "tiny")
    Path("page.md").write_text("<!-- claims: begin -->\n<!-- claims: end -->\n")
    Path("file.txt").write_text("text")
    deep_nb.save(w.run, "run.nc")
    w.set = threading.Event()
    w.set.set()
    return w


@functools.cache
def table():
    """Good arguments of every public function, by its full name."""
    w = world()
    model, hyper = w.experiment.model, w.experiment.hyper
    X, Y, mask, W, B, J = w.experiment.X, w.experiment.Y, w.experiment.mask, w.W, w.B, w.J
    axes = fresh(lambda: Figure().subplots())
    drawn = fresh(lambda: Figure().subplots().plot([1, 2])[0].axes)
    stream = fresh(lambda: np.random.RandomState(0))
    run, lesson, layout = {"run": w.run}, {"lesson": w.lesson}, {"layout": w.layout}
    relaxing = {"field": w.field, "S": w.S, "phase": w.phase}
    plot = {**run, "ax": axes}
    curve = {"ax": axes, "colour": "red", "line": "-", "label": "x"}
    small = {"model": "EP_asym", "N_H": 2, "n_epochs": 1, "T1": 3, "T2": 2, "random_state": 0}
    samples, labels = np.linspace(0, 1, 16).reshape(8, 2), [0, 1] * 4
    fitted = fresh(lambda: deep_nb.DEEPClassifier(**small).fit(samples, labels))
    settled = learning.Change(w.relaxation, W, B)
    return {
        "alignment.rule_change": {**run, "rule": "asymep", "epoch": 2, "hyper": {"beta": 1.0}},
        "alignment.alignment": {
            **run, "rules": ("asymep", "stdp"), "epochs": (-1, 2), "hyper": {"beta": 1.0},
        },
        "checkpoints.kept": {
            "folder": "kept", "what": {"n": 1}, "make": lambda: xr.Dataset({"n": 1}),
        },
        "kinds.short": {"value": [1]},
        "kinds.Kind": {"words": "a text", "accepts": callable, "sizes": callable},
        "kinds.Kind.check": {"self": kinds.TEXT, "value": "text", "what": "word"},
        "kinds.Parts": {"words": "x", "accepts": callable, "sizes": callable, "parts": {}},
        "kinds.Parts.check": {"self": dynamics.PHASE, "value": w.phase, "what": "phase"},
        "checks.one_of": {"value": "xor", "allowed": ["xor", "and"], "what": "task"},
        "kinds.did_you_mean": {"value": "xo", "words": ["xor", "and"]},
        "kinds.plain": {"value": np.float64(1.0)},
        "checks.finite_array": {"value": X, "what": "X", "ndim": 2},
        "kinds.unchecked": {"function": learning.stdp},
        "checks.real_array": {"value": X, "what": "X"},
        "kinds.as_path": {"value": "file", "what": "path"},
        "kinds.check_executor": {"value": None},
        "checks.mapping": {"value": {"a": 1}, "what": "hyper"},
        "checks.select": {"items": [w.job], "key": "name", "only": "t*", "what": "experiment"},
        "checks.Frozen": {"name": 1},
        "checks.Frozen.replace": {"self": model, "leak": 0.5, "hyper": dict(hyper)},
        "claims.Networks": {"model": "DEEP", "pruned": True},
        "claims.Side": {"above": 0.5, "below": None},
        "claims.Side.verdict": {
            "self": claims.Side(above=0.5), "estimate": claims.Estimate(1.0, 0.5, 1.5), "p": 0.1,
        },
        "claims.Claim": dict(w.claims[0]),
        "claims.read_claims": {"text": "claims: []"},
        "claims.measure_all": {"claims": w.claims[:1], "seeds": [1]},
        "claims.Evidence": {"estimate": 1.0, "p": 0.5, "networks": 2, "bound": ""},
        "claims.OverGrid": {"settings": 1, "reproduced_at": 1},
        "claims.evaluation": {"claims": w.claims, "networks": w.networks, "grid": w.grid},
        "claims.markdown": {"table": w.table},
        "classifier.Batches": {"batch_size": 2, "W_scale": 0.1, "noise": 0.0},
        "classifier.DEEPClassifier": {
            **small, "rule": "asymep", "beta": 1.0, "dt_W": 0.1, "batch_size": 4, "dt": 0.5,
            "W_scale": 0.1, "noise": 0.1,
        },
        "classifier.DEEPClassifier.fit": {"self": fitted, "X": samples, "y": labels},
        "classifier.DEEPClassifier.partial_fit": {
            "self": fresh(lambda: deep_nb.DEEPClassifier(**small)),
            "X": samples, "y": labels, "classes": [0, 1],
        },
        "classifier.DEEPClassifier.prune": {"self": fitted, "keep": 0.5},
        "classifier.DEEPClassifier.decision_function": {"self": fitted, "X": samples},
        "classifier.DEEPClassifier.predict_proba": {"self": fitted, "X": samples},
        "classifier.DEEPClassifier.predict": {"self": fitted, "X": samples},
        "dynamics.hard_sigmoid": {"x": X, "out": fresh(lambda: np.zeros_like(X))},
        "dynamics.hard_sigmoid_derivative": {"x": X},
        "dynamics.sigmoid": {"x": X, "out": fresh(lambda: np.zeros_like(X))},
        "dynamics.tanh": {"x": X, "out": fresh(lambda: np.zeros_like(X))},
        "dynamics.Field": w.field._asdict(),
        "dynamics.free_field": {"W": W, "b": B, "X": X, "model": model},
        "dynamics.ordered_product": {"left": X, "right": X.T},
        "dynamics.nudged_field": {"field": w.field, "beta": 1.0, "Y": Y},
        "dynamics.vector_field": {"field": w.field, "S": w.S},
        "dynamics.euler_step": {"S": w.S, "dS": w.S, "dt": 0.1, "rho": np.tanh},
        "dynamics.Phase": w.phase._asdict(),
        "dynamics.Relaxation": w.relaxation._asdict(),
        "dynamics.join_samples": {"first": w.relaxation, "second": w.relaxation},
        "dynamics.join": {"ensembles": [w.relaxation, w.relaxation]},
        "engines.choose_engine": {"name": "auto", "n": 3, "activation": "tanh"},
        "engines.get_engine": {"name": "auto", "n": 3, "activation": "tanh", "threads": 1},
        "engines.blas.relax": relaxing,
        "engines.reference.relax": relaxing,
        "engines.compiled.Compiled": {"threads": 1},
        "engines.compiled.Compiled.__call__": {
            "self": get_engine("numba", 3, "tanh", 1), **relaxing,
        },
        "ensembles.measure": {
            "model": "DEEP", "task": "xor", "seeds": [1], "pruned": True, "hyper": SHORT,
        },
        "ensembles.sweep": {
            "seeds": [1], "N_H": [1], "beta": [1.0], "dt_W_factor": [1.0], "n_epochs": [1],
            "checkpoint": None,
        },
        "ensembles.best_settings": {"grid": w.grid},
        "ensembles.best_networks": {"settings": {(1,): w.grid}},
        "execution.Outcome": {"name": "x", "folder": None, "origin": {}, "error": ""},
        "execution.execute": {
            "job": w.job, "fingerprint": {}, "working": w.folder, "checkpoint": w.folder,
            "stop": w.set,
        },
        "experiment.Flags": {"sparse": True, "sign": False},
        "experiment.Problem": {
            field.name: getattr(w.experiment, field.name)
            for field in dataclasses.fields(w.experiment)
        },
        "experiment.Problem.of": {
            "model": "DEEP", "task": "xor", "hyper": SHORT, "flags": Flags(), "topology": mask,
        },
        "experiment.Problem.fields": {"self": w.experiment, "W": W, "B": B},
        "experiments.Entry": {
            "name": "x", "notebook": "x.ipynb", "parameters": {"n": 1}, "matrix": {"m": [1]},
            "quick": {}, "full": {}, "timeout": 5,
        },
        "experiments.Job": {
            "name": "x", "notebook": Path("x"), "parameters": {"n": 1}, "timeout": 5,
        },
        "experiments.literal": {"path": Path("x{}")},
        "experiments.read_jobs": {
            "experiments": "experiments.yml", "profile": "quick", "only": "t*",
        },
        "files.check_writable": {"target": Path("file.txt")},
        "notebooks.read_notebook": {"path": Path("tiny.ipynb")},
        "files.replacing": {"target": Path("file.txt")},
        "files.write_text": {"target": Path("file.txt"), "text": "text"},
        "files.flush": {"path": Path("file.txt")},
        "files.sha256": {"path": Path("file.txt")},
        "inference.predict": {**run, "X": [[0, 1]], "engine": "reference"},
        "inference.decision_map": {**run, "n": 3, "engine": "numba"},
        "inference.trajectory": {**run, "engine": "blas"},
        "learning.Lesson": w.lesson._asdict(),
        "learning.Lesson.nudge": {
            "self": w.lesson, "field": w.field, "beta": 1.0, "stdp": (0.0, 1.0),
        },
        "learning.Change": settled._asdict(),
        "learning.stdp": lesson,
        "learning.contrastive": lesson,
        "learning.centered": lesson,
        "learning.asymep": lesson,
        "learning.adjoint": lesson,
        "learning.learn": {
            "model": model, "hyper": hyper, "mask": mask, "W": W, "b": B, "X": X, "Y": Y,
            "start": w.S, "phase": w.phase, "relax": w.relax,
        },
        "learning.transposed_field": {"field": w.field, "S": w.S},
        "learning.saturated": {"field": w.field, "S": w.S},
        "learning.at_corner": {"field": w.field, "S": w.S, "tolerance": 1e-6},
        "learning.adjoint_states": {"field": w.field, "S": w.S, "Y": Y},
        "learning.descent": {**lesson, "delta": w.S},
        "learning.updated_weights": {"W": W, "dW": W, "dt_W": 0.1, "reg_W": 0.1},
        "matrices.square_matrices": {"value": J, "what": "J"},
        "matrices.Spectrum": stability.spectrum(J)._asdict(),
        "matrices.spectrum": {"J": J},
        "matrices.Gershgorin": stability.gershgorin(J)._asdict(),
        "matrices.gershgorin": {"J": J},
        "matrices.lyapunov_matrix": {"J": J, "Q": np.eye(J.shape[-1])},
        "matrices.comparison_matrix": {"J": J},
        "matrices.diagonal_certificate": {"J": J},
        "matrices.certificates": {"J": J},
        "matrices.contraction_rate": {"J": J, "dt": 0.05, "D": np.ones(J.shape[:-1])},
        "matrices.max_stable_dt": {"J": J},
        "matrices.certifying_leak": {
            "W": w.field.W, "outflow": 1.0, "absolute_outflow": True, "tolerance": 1e-3,
        },
        "models.Hyperparameters": dict(hyper),
        "models.Model": dict(model),
        "models.get_model": {"model": "DEEP"},
        "models.get_hyperparameters": {"hyper": SHORT, "model": model},
        "plotting.comparisons.plot_shares": {
            "x": [0.0, 1.0], "successes": [1, 2], "total": 3, **curve,
        },
        "plotting.comparisons.plot_reached": {"epochs": [1.0, np.nan], "n_epochs": 3, **curve},
        "plotting.comparisons.plot_robustness": {
            "grid": w.grid, "model": "DEEP", "published": (2, 1.0, 3),
        },
        "plotting.networks.plot_weights": {**plot, "seed": 1},
        "plotting.networks.plot_network": {**plot, "seed": 1},
        "plotting.networks.plot_survivors": plot,
        "plotting.networks.plot_decision_map": {**plot, "seed": 1, "n": 3},
        "plotting.networks.plot_discs": {**plot, "seed": 1, "epoch": 2},
        "plotting.runs.plot_residual": plot,
        "plotting.runs.plot_weight_change": plot,
        "plotting.runs.plot_mse": plot,
        "plotting.runs.plot_class_error": plot,
        "plotting.runs.plot_mse_networks": plot,
        "plotting.runs.plot_sparsity": plot,
        "plotting.runs.plot_energy": {"run": w.certified, "ax": axes},
        "plotting.style.save_figure": {
            "figure": fresh(lambda: Figure(figsize=(0.3, 0.3))),
            "folder": "figures", "name": "figure", "caption": "text",
        },
        "plotting.style.new_axes": plot,
        "plotting.style.alive_networks": plot,
        "plotting.style.one_network": {**run, "seed": 1},
        "plotting.style.draw_median": {
            **curve, "x": np.arange(3), "values": np.ones((2, 3)), "lw": 1.5,
        },
        "plotting.style.over": {"alive": w.run},
        "plotting.style.log_scale": {"ax": drawn},
        "plotting.style.finish": {"ax": axes, "xlabel": "x", "ylabel": "y", "title": "z"},
        "provenance.provenance": {},
        "provenance.code": {},
        "provenance.differences": {"old": {"a": 1}, "new": {"a": 2}, "what": "x"},
        "provenance.stamp": {"path": Path("run.nc"), "origin": {"a": 1}},
        "pruning.pruning_probabilities": {"W": W, "tol_W": 0.1, "temp": 1.0},
        "pruning.prune": {"W": W, "draws": np.abs(W), "tol_W": 0.1, "temp": 1.0},
        "randomness.check_seeds": {"seeds": [1, 2]},
        "randomness.initial_weights": {"stream": stream, **layout, "learned_bias": True},
        "randomness.initial_states": {"stream": stream, "M": 2, **layout},
        "randomness.probe_states": {"seeds": [1, 2], "M": 2, **layout},
        "randomness.pruning_draws": {"stream": stream, **layout},
        "records.Record": dict(w.record),
        "records.State": {"name": "x", "status": "done", "why": []},
        "records.write_record": {"record": w.record, "folder": w.folder / "tiny"},
        "records.read_record": {"folder": w.folder / "tiny"},
        "records.state": {"job": w.job, "folder": w.folder / "tiny"},
        "records.damage": {"folder": w.folder / "tiny", "files": {"tiny.ipynb": "0"}},
        "replication.replicate": {
            "jobs": [], "output": Path("out"), "processes": 1, "executor": None, "force": False,
        },
        "replication.collect_figures": {
            "names": ["tiny"], "source": w.folder, "target": Path("collected"),
        },
        "report.Figure": {"caption": "x", "source": "y"},
        "report.Section": {
            "name": "x", "title": "y", "pages": [], "parameters": {}, "started": "", "error": "",
            "seconds": 1.0, "provenance": {}, "figures": [],
        },
        "report.read_sections": {"folder": w.folder},
        "report.read_table": {"folder": w.folder},
        "report.write_report": {"folder": w.folder, "target": "report.html"},
        "report.insert_claims": {"page": Path("page.md"), "table": w.table},
        "results.check_record": {"record": ("weights",)},
        "results.empty_run": {
            "experiment": w.experiment, "seeds": [1], "record": (), "engine": "blas",
        },
        "results.settings": run,
        "results.problem_of": run,
        "results.save": {**run, "path": "saved.nc"},
        "results.check_target": {"path": "saved.nc"},
        "results.load": {"path": "run.nc"},
        "stability.weights_after": {**run, "epoch": 2},
        "stability.field_after": {**run, "epoch": 2, "phase": "nudged"},
        "stability.jacobian": {**run, "epoch": 2, "phase": "nudged"},
        "stability.RestPoint": {"S": w.S, "speed": 1.0, "found": True},
        "stability.rest_point": {"field": w.field, "dt": 0.05, "tolerance": 1e-9, "start": w.S},
        "stability.energy": {
            "path": deep_nb.trajectory(w.certified), "run": w.certified,
            "P": np.array([np.eye(J.shape[-1])] * 2),
        },
        "stability.report": {**run, "epoch": 2},
        "statistics.learned": run,
        "statistics.epochs_to_criterion": {**run, "n_epochs": 2},
        "statistics.Estimate": {"value": 1.0, "low": 0.0, "high": 2.0},
        "statistics.epochs_array": {"values": [1.0, np.nan], "what": "epochs"},
        "statistics.share": {"successes": 1, "total": 2},
        "statistics.difference_of_shares": {"first": (1, 2), "second": (2, 3)},
        "statistics.median": {"values": [1.0, 2.0, 3.0]},
        "statistics.difference_of_medians": {"first": [1.0, 2.0], "second": [2.0, 3.0]},
        "statistics.log_rank": {"first": [1.0, np.nan], "second": [2.0, 3.0], "n_epochs": 5},
        "statistics.wilson": {"successes": [1, 2], "total": 3, "confidence": 0.9},
        "statistics.turnover": run,
        "statistics.network_table": run,
        "tasks.Task": {"name": "x", "X": [[0], [1]], "Y": [[1], [0]]},
        "tasks.one_hot": {"Y": Y},
        "tasks.get_task": {"task": "xor"},
        "tasks.mean_squared_error": {"outputs": Y, "Y": Y},
        "tasks.predicted_labels": {"outputs": Y, "one_hot": True},
        "tasks.classification_error": {"predicted": Y, "true": Y},
        "topology.Layout": {"n_inputs": 1, "bias": True, "N_H": (2, 1), "N_Y": 1},
        "topology.Layout.clamp": {"self": w.layout, "X": w.experiment.task.X},
        "topology.complete": layout,
        "topology.layered": layout,
        "topology.custom": {"topology": topology.complete(w.layout), **layout},
        "topology.constrain_weights": {"W": W, "mask": mask},
        "training.train": {
            "model": "DEEP", "task": "xor", "seeds": [1], "hyper": SHORT, "regularized": True,
            "sparse": True, "stop_criterion": True, "layered": False, "sign": False,
            "topology": mask, "engine": "numba", "threads": 1, "record": ("weights",),
            "progress": False, "executor": None, "checkpoint": "checkpoint", "block": 1,
        },
        "training.two_phases": {
            "experiment": w.experiment, "relax": w.relax, "W": W, "B": B, "start": w.S,
            "trajectory": True,
        },
        "training.free_phase": {"experiment": w.experiment, "trajectory": True},
        "verification.write_checksums": {"folder": w.folder, "suffixes": [".csv"]},
        "verification.read_checksums": {"folder": w.folder},
        "verification.verify": {"folder": w.folder},
        "verification.compare": {
            "folder": w.folder, "against": w.folder, "rtol": 1e-6, "atol": 1e-9,
        },
    }  # fmt: skip


#: Each kind of name: what is called with it, and what is meant.
MISSPELT = {
    "model": (lambda: deep_nb.train("DEPE", "xor", seeds=0), "DEEP"),
    "task": (lambda: deep_nb.train("DEEP", "xro", seeds=0), "xor"),
    "engine": (lambda: deep_nb.train("DEEP", "xor", seeds=0, engine="nubma"), "numba"),
    "record": (lambda: deep_nb.train("DEEP", "xor", seeds=0, record=["weight"]), "weights"),
    "hyperparameter": (
        lambda: deep_nb.train("DEEP", "xor", seeds=0, hyper={"betta": 1.0}),
        "beta",
    ),
    "flag": (lambda: Flags(spars=True), "sparse"),
    "part of a model": (lambda: deep_nb.DEEP.replace(leek=1.0), "leak"),
    "rule": (lambda: deep_nb.DEEP.replace(rule="contrastiv"), "contrastive"),
    "activation": (lambda: deep_nb.DEEP.replace(activation="sigmod"), "sigmoid"),
    "rule of an alignment": (lambda: alignment.rule_change(world().run, "asymepp"), "asymep"),
    "rule of the classifier": (
        lambda: deep_nb.DEEPClassifier(rule="stpd").fit([[0.0], [1.0]], [0, 1]),
        "stdp",
    ),
    "phase": (lambda: stability.jacobian(world().run, phase="nugded"), "nudged"),
    "neuron": (
        lambda: deep_nb.train("DEEP", "xor", seeds=0, topology=nx.DiGraph([("x0", "hh0")])),
        "h0",
    ),
    "profile": (lambda: experiments.read_jobs("experiments.yml", "quik"), "quick"),
    "experiment": (lambda: experiments.read_jobs("experiments.yml", only="tinny"), "tiny"),
    "parameter of a notebook": (
        lambda: experiments.read_jobs("misspelt.yml"),
        "n_epochs",
    ),
    "name in the experiments file": (
        lambda: experiments.Entry(name="x", notebook="x.ipynb", matix={}),
        "matrix",
    ),
    "statistic of a claim": (
        lambda: claims.Claim(**{**dict(world().claims[0]), "quantity": "differense"}),
        "difference",
    ),
    "measure of a claim": (
        lambda: claims.Claim(**{**dict(world().claims[0]), "measure": "learnt"}),
        "learned",
    ),
    "side of a claim": (lambda: claims.Side(abovee=1.0), "above"),
    "model of an ensemble": (lambda: ensembles.measure("DEEP_ho", "xor", 1), "DEEP_oh"),
    "model on a grid": (
        lambda: plotting.comparisons.plot_robustness(world().grid, "EP_asymm", (2, 1.0, 3)),
        "EP_asym",
    ),
    "engine of an answer": (lambda: deep_nb.predict(world().run, [[0, 1]], "blass"), "blas"),
    "activation of a phase": (
        lambda: world().relax(
            world().field, world().S, world().phase._replace(activation="hard_sigmod")
        ),
        "hard_sigmoid",
    ),
    "claim": (lambda: checks.select(claims.read_claims(), "id", "1aa", "claim"), "1a"),
}

#: Called instead of the class: its arguments are looked at only then.
INSTEAD = {
    "deep_nb.classifier.DEEPClassifier": lambda **values: deep_nb.DEEPClassifier(**values).fit(
        np.linspace(0, 1, 16).reshape(8, 2), [0, 1] * 4
    ),
}

#: Arguments that are not replaced: most are written by the package itself, in its own checks.
WRITTEN = {
    "deep_nb.checks.one_of": {"allowed", "what"},
    "deep_nb.kinds.did_you_mean": {"words"},
    "deep_nb.checks.finite_array": {"what", "ndim"},
    "deep_nb.checks.real_array": {"what"},
    "deep_nb.kinds.as_path": {"what"},
    "deep_nb.checks.mapping": {"what"},
    "deep_nb.checks.select": {"items", "key", "what"},
    "deep_nb.kinds.Kind.check": {"what"},
    "deep_nb.kinds.Parts.check": {"what"},
    "deep_nb.analysis.matrices.square_matrices": {"what"},
    "deep_nb.analysis.statistics.epochs_array": {"what"},
    # Without a stop that is set, a notebook runs: seconds a case.
    "deep_nb.replication.execution.execute": {"stop"},
    # These make kinds, from what stands in the code.
    **{f"deep_nb.kinds.{name}": ... for name in (
        "takes", "parts", "a", "array", "number", "integer", "word", "sequence", "table",
    )},
}  # fmt: skip

NAMES = sorted(name for name in public() if WRITTEN.get(name) is not ...)


class Odd:
    """Nothing that any function wants."""


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
    if isinstance(value, dynamics.Field | dynamics.Phase | dynamics.Relaxation | claims.Estimate):
        part = draw(st.sampled_from(value._fields))
        return value._replace(**{part: draw(rubbish() | spoiled(getattr(value, part)))})
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


def documented(function, section):
    """The names under a section of a docstring, such as Raises."""
    text = inspect.getdoc(function) or ""
    match = re.search(rf"^{section}\n-+\n(.*?)(?=^\S[^\n]*\n-+\n|\Z)", text, re.M | re.S)
    lines = match[1].splitlines() if match else ()
    return {name.strip() for line in lines if line[:1].strip() for name in line.split(",")}


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
    elif isinstance(result, contextlib.AbstractContextManager) and name.endswith(".replacing"):
        with result as partial:
            partial.write_text("text")


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


def test_nothing_public_is_missing():
    assert {f"deep_nb.{name}" for name in table()} == set(NAMES)


def test_the_long_profile_makes_ten_thousand_cases():
    assert len(FUZZED) * LONG >= 10_000


def test_docstrings_are_read():
    assert documented(deep_nb.train, "Raises") == {"ValueError", "RuntimeError", "OSError"}
    assert documented(deep_nb.train, "Warns") == {"RuntimeWarning"}
    assert documented(experiments.read_jobs, "Raises") >= {"FileNotFoundError", "ValueError"}
    assert documented(kinds.plain, "Raises") == set()


@pytest.mark.parametrize("name", NAMES)
def test_good_arguments_are_good(name):
    if name not in ("deep_nb.checks.Frozen", "deep_nb.claims.evaluation.read_claims"):
        call(name, good_arguments(name))
    plt.close("all")


FUZZED = [name for name in NAMES if inspect.signature(public()[name]).parameters]
#: What an argument is called where it is refused, if not by its name; "" is in every message.
CALLED = {
    ("kinds.check_executor", "value"): "executor",
    ("engines.choose_engine", "name"): "engine",
    ("engines.get_engine", "name"): "engine",
    # The words of scikit-learn and NumPy:
    ("classifier.DEEPClassifier", "random_state"): "RandomState",
    **{
        (f"classifier.DEEPClassifier.{method}", "X"): ""
        for method in ("fit", "partial_fit", "decision_function", "predict_proba", "predict")
    },
    **{
        (f"dynamics.{name}", argument): ""
        for name in ("hard_sigmoid", "hard_sigmoid_derivative", "sigmoid", "tanh")
        for argument in ("x", "out")
    },
}


@pytest.mark.parametrize("name", FUZZED)
def test_what_is_refused_is_named(name):
    """In the place of each argument, something that no function wants."""
    good, key = good_arguments(name), name.removeprefix("deep_nb.")
    for argument in {*good} - {"self"} - WRITTEN.get(name, set()):
        message = None
        try:
            call(name, {**good_arguments(name), argument: Odd()})
        except (ValueError, TypeError) as error:
            message = str(error)
        told = good["what"] if argument in ("value", "values") and "what" in good else argument
        called = CALLED.get((key, argument), told.removesuffix("s"))
        assert message is None or called in message
        plt.close("all")


@pytest.mark.parametrize("kind", MISSPELT)
def test_a_misspelt_name_is_answered_with_the_nearest(kind):
    world()
    write_notebook(Path("trained.ipynb"), "print(n_epochs)", "n_epochs = 1\noutput = ''")
    Path("misspelt.yml").write_text(
        "experiments:\n  - {name: x, notebook: trained.ipynb, quick: {n_epoch: 3}}\n"
    )
    misspelt, meant = MISSPELT[kind]
    with pytest.raises(ValueError, match=rf"did you mean '{meant}'\?"):
        misspelt()


#: These compute what NumPy computes: whether inf and NaN warn is up to `numpy.errstate`.
ARITHMETIC = ("dynamics", "learning", "engines", "tasks", "pruning", "topology", "experiment")


@pytest.mark.parametrize("name", FUZZED)
@settings(
    max_examples=CASES,
    suppress_health_check=list(HealthCheck),
)
@given(data=st.data())
def test_rubbish_is_refused_as_documented(name, data):
    arguments = good_arguments(name)
    candidates = sorted({*arguments} - {"self"} - WRITTEN.get(name, set()))
    count = min(data.draw(st.sampled_from([1, 1, 1, 2])), len(candidates))
    for chosen in data.draw(st.permutations(candidates))[:count]:
        bad = data.draw(rubbish() | spoiled(arguments[chosen]), label=chosen)
        arguments[chosen] = bad.copy() if isinstance(bad, np.ndarray) else bad
    before = {key: snapshot(value) for key, value in arguments.items() if key != "out"}
    function = public()[name]
    quiet = name.split(".")[1] in ARITHMETIC
    try:
        with (
            warnings.catch_warnings(record=True) as seen,
            np.errstate(all="ignore") if quiet else contextlib.nullcontext(),
        ):
            warnings.simplefilter("always")
            call(name, arguments)
    except Exception as error:
        if not is_documented(error, documented(function, "Raises")) or not is_short(error):
            raise
    finally:
        plt.close("all")
    undocumented = [w for w in seen if not is_documented(w.message, documented(function, "Warns"))]
    assert not undocumented, undocumented[0].message
    assert {key: snapshot(arguments[key]) for key in before} == before


#: Found once, and mended: what is called, and what is said.
MENDED = {
    "whole array printed": (
        lambda: good_arguments("deep_nb.classifier.DEEPClassifier.prune")["self"].prune(
            np.zeros(100_000)
        ),
        "keep must be a number from 0 to 1, got an array of float64",
    ),
    "threads": (lambda: tiny(threads=[]), "threads must be None or an integer"),
    "progress": (lambda: tiny(progress="yes"), "progress must be True or False"),
    "executor": (lambda: tiny(executor=object()), r"executor must have submit\(\)"),
    "block": (lambda: tiny(block=None), "block must be an integer of at least 1"),
    "checkpoint": (lambda: tiny(checkpoint=[]), "checkpoint must be a path"),
    "kept": (
        lambda: good("checkpoints.kept", folder=[]),
        "folder must be a path, a string or a pathlib.Path, got \\[\\]",
    ),
    "alignment of no run": (lambda: good("alignment.alignment", run=None), "expected a run"),
    "alignment with rules": (
        lambda: good("alignment.alignment", rules=5),
        "rules must be a sequence of names",
    ),
    "alignment with epochs": (
        lambda: good("alignment.alignment", epochs=None),
        "epochs must be a sequence",
    ),
    "alignment with hyper": (
        lambda: good("alignment.alignment", hyper=[1]),
        "hyper must be a mapping",
    ),
    "change with hyper": (
        lambda: good("alignment.rule_change", hyper="beta"),
        "hyper must be a mapping",
    ),
    "labels": (
        lambda: good("classifier.DEEPClassifier.fit", y=[1e308] * 8),
        "y must hold classes",
    ),
    "stop": (lambda: good("execution.execute", stop=True), "stop must be of type Event or None"),
    "labels in part": (
        lambda: good("classifier.DEEPClassifier.partial_fit", y=[1e308] * 8),
        "y must hold classes",
    ),
    "classes None": (
        lambda: good("classifier.DEEPClassifier.partial_fit", classes=[None, None]),
        "classes must be",
    ),
    "classes NaN": (
        lambda: good("classifier.DEEPClassifier.partial_fit", classes=[0.0, 1.0, np.nan]),
        "classes must hold classes",
    ),
    "jobs": (
        lambda: good("experiments.read_jobs", experiments=None),
        "experiments must be a path",
    ),
    "record": (lambda: good("records.read_record", folder=None), "folder must be a path"),
    "verify": (lambda: good("verification.verify", folder=None), "folder must be a path"),
    "compare": (lambda: good("verification.compare", against=None), "against must be a path"),
    "rtol": (lambda: good("verification.compare", rtol=None), "tolerances must be 0 or more"),
    "atol": (lambda: good("verification.compare", atol=np.nan), "tolerances must be 0 or more"),
    "draws": (
        lambda: good("pruning.prune", draws=np.zeros((9, 9))),
        r"draws and W must have one shape, got \(9, 9\)",
    ),
    "columns of X": (
        lambda: world().layout.clamp(np.zeros((4, 5))),
        "X must have 2 columns, got an array of float64 of shape",
    ),
    "a ragged topology": (
        lambda: tiny(topology=[[True], [True, False]]),
        "topology must be a boolean matrix",
    ),
    "a path of another run": (
        lambda: good("stability.energy", path=deep_nb.trajectory(world().run.isel(seed=[0]))),
        "path must be of this run: S of shape",
    ),
    "what is no path of states": (
        lambda: good("stability.energy", path=world().run),
        "path must be a dataset as from deep_nb.trajectory",
    ),
    "origin": (
        lambda: good("provenance.stamp", origin={"a": {1, 2}}),
        "origin must be made of JSON types",
    ),
    "a record of sets": (
        lambda: good("records.write_record", record=world().record.replace(origin={"a": {1}})),
        "record must be made of JSON types",
    ),
    "a table of texts": (
        lambda: good("claims.markdown", table=world().table.assign(estimate="1")),
        "table must be a table",
    ),
    "a table without": (
        lambda: good("claims.markdown", table=world().table.drop(columns="low")),
        "table must be a table",
    ),
    "a table with infinity": (
        lambda: good("claims.markdown", table=world().table.assign(high=np.inf)),
        "table must be a table",
    ),
    "NaN": (lambda: tiny(hyper={"beta": np.nan}), "beta = nan: it should be a finite number"),
    "infinity": (lambda: tiny(hyper={"dt": np.inf}), "dt = inf: it should be a finite number"),
    "hours of work": (lambda: tiny(hyper={"n_epochs": 10**9}), "n_epochs = 1000000000: it should"),
    "no such machine": (
        lambda: tiny(hyper={"n_epochs": 10**6, "N_H": 1000}, topology=None, record=("weights",)),
        "this run would take",
    ),
}


def good(name, **bad):
    """Call a function with good arguments but for some."""
    call(f"deep_nb.{name}", {**good_arguments(f"deep_nb.{name}"), **bad})


def tiny(**bad):
    good("training.train", **bad)


@pytest.mark.parametrize("what", MENDED)
def test_what_was_found_once_is_said_clearly(what):
    bad, said = MENDED[what]
    with pytest.raises(ValueError, match=said) as caught:
        bad()
    assert is_short(caught.value)
