"""What a lean install can do, and what is said where an extra is missing."""

import json
import re
import subprocess
import sys
import tomllib
from importlib.metadata import distribution, packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import deep_nb
from deep_nb._extras import EXTRAS, explained, needed_by

from .conftest import refused
from .test_replication import run

PROJECT = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text())["project"]


def installed_with(lines, found=None):
    """The names of all distributions that a list of requirements installs."""
    found = set() if found is None else found
    for requirement in map(Requirement, lines):
        name = canonicalize_name(requirement.name)
        if requirement.marker and not any(
            requirement.marker.evaluate({"extra": extra}) for extra in requirement.extras or {""}
        ):
            continue
        if name == "deep-nb":
            for extra in requirement.extras:
                installed_with(PROJECT["optional-dependencies"][extra], found)
        elif name not in found:
            found.add(name)
            installed_with(distribution(name).requires or [], found)
    return found


CORE = installed_with(PROJECT["dependencies"])

#: Makes a Python process that has the packages of a lean install only.
LEAN = """
import sys
from importlib.machinery import PathFinder

class Lean(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        absent = name.partition(".")[0] in {absent}
        return None if absent else super().find_spec(name, path, target)

sys.meta_path[sys.meta_path.index(PathFinder)] = Lean
"""

TRAIN = """
import json, pathlib, pydoc, tempfile
import deep_nb
exec("from deep_nb import *", starred := {})
from click.testing import CliRunner
from deep_nb.cli import main

run = deep_nb.train("DEEP", "not", seeds=range(2), hyper={"n_epochs": 3}, record=("weights",))
path = deep_nb.save(run, pathlib.Path(tempfile.mkdtemp()) / "run.nc")
run = deep_nb.load(path)
table = CliRunner().invoke(main, "train DEEP not --seeds 0-1 --set n_epochs=3".split()).stdout
print(json.dumps({
    "mse": run["mse_free"].values.tolist(),
    "label": deep_nb.predict(run, [[0], [1]])["label"].values.ravel().tolist(),
    "steps": deep_nb.trajectory(run)["S"].sizes["step"],
    "certified": deep_nb.analysis.stability_report(run)["certified"].values.tolist(),
    "claims": len(deep_nb.claims.read_claims()),
    "dir": [dir(deep_nb), dir(deep_nb.claims)],
    "starred": [name for name in starred if name != "__builtins__"],
    "helped": deep_nb.train.__doc__.splitlines()[0] in pydoc.render_doc(deep_nb),
    "printed": table,
}))
"""

SAY = """
import json
import deep_nb
from click.testing import CliRunner
from deep_nb.cli import main

said = {}
for words in json.loads(sys.argv[1]):
    if words.startswith("deep-nb "):
        result = CliRunner().invoke(main, words.split()[1:])
        said[words] = f"{result.exit_code} {result.stderr}"
    else:
        try:
            eval(words)
        except ModuleNotFoundError as error:
            said[words] = str(error)
print(json.dumps(said))
"""


def lean(code, *words):
    """What a process that has only the packages of the core prints, as JSON."""
    absent = {
        name
        for name, owners in packages_distributions().items()
        if not CORE & {canonicalize_name(owner) for owner in owners} and name != "deep_nb"
    }
    absent -= {name for name in absent if name in sys.stdlib_module_names}
    words = [sys.executable, "-c", LEAN.format(absent=absent) + code, *words]
    result = subprocess.run(words, capture_output=True, text=True, check=True)
    return json.loads(result.stdout)


@pytest.mark.system
def test_a_lean_install_trains_predicts_and_judges():
    given = {"hyper": {"n_epochs": 3}, "record": ("weights",)}
    here = deep_nb.train("DEEP", "not", seeds=range(2), **given)
    there = lean(TRAIN)
    assert there["mse"] == here["mse_free"].values.tolist()
    labels = deep_nb.predict(here, [[0], [1]])["label"].values.ravel().tolist()
    assert there["label"] == labels
    assert there["steps"] == 2001
    assert there["certified"] == [False, False]
    assert there["claims"] == 18
    assert {*dir(deep_nb)} - {*there["dir"][0]} == {"DEEPClassifier", "write_report"}
    assert {*dir(deep_nb.claims)} - {*there["dir"][1]} == {"evaluate"}
    assert sorted(there["starred"]) == sorted(there["dir"][0])
    assert there["helped"]
    table = deep_nb.analysis.network_table(here).to_string(float_format="{:.4f}".format)
    assert there["printed"] == table + "\n"


@pytest.mark.system
def test_what_is_missing_is_said_in_one_line_with_its_extra():
    needs = {
        "deep_nb.plotting.plot_mse": "deep_nb.plotting.plot_mse needs matplotlib[plot]",
        "deep_nb.DEEPClassifier": "deep_nb.DEEPClassifier needs sklearn[classifier]",
        "deep_nb.analysis.mcnemar([True], [False])":
            "deep_nb.analysis.mcnemar needs statsmodels[report]",
        "deep_nb.analysis.holm([0.5])": "deep_nb.analysis.holm needs statsmodels[report]",
        "deep_nb.analysis.difference_of_shares((1, 2), (1, 2))":
            "deep_nb.analysis.difference_of_shares needs statsmodels[report]",
        "deep_nb.claims.evaluate": "deep_nb.claims.evaluate needs statsmodels[report]",
        "deep_nb.write_report": "deep_nb.write_report needs jinja2[report]",
        "deep_nb.replication.replicate": "deep_nb.replication.replicate needs filelock[notebooks]",
        "deep_nb.explore()": "deep_nb.explore needs anywidget[explore]",
        "deep_nb.analysis.certificate([[-1.0]], 'sdp')": "the method 'sdp' needs cvxpy[sdp]",
        "deep-nb replicate": "deep-nb replicate needs nbformat[notebooks]",
        "deep-nb list": "deep-nb list needs nbformat[notebooks]",
        "deep-nb report x": "deep-nb report needs jinja2[report]",
    }  # fmt: skip
    expected = {
        words: re.sub(r"\[(\w+)\]$", r": pip install 'deep-nb[\1]'", line)
        for words, line in needs.items()
    }
    said = lean(SAY, json.dumps([*needs]))
    assert said == {
        words: f"1 Error: {line}\n" if words.startswith("deep-nb") else line
        for words, line in expected.items()
    }


@pytest.mark.slow
def test_each_extra_installs_the_libraries_for_which_it_is_named():
    owned = packages_distributions()
    installed = {extra: installed_with([f"deep-nb[{extra}]"]) for extra in {*EXTRAS.values()}}
    for library, extra in EXTRAS.items():
        owners = {canonicalize_name(owner) for owner in owned[library]}
        assert owners <= installed[extra], library
        assert not owners & CORE, library


def test_a_scheduler_needs_dask(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    root = Path(__file__).parent.parent
    result = run("replicate", "--scheduler=h:1", f"--experiments={root / 'experiments.yml'}")
    assert (result.exit_code, result.stderr) == (
        1, "Error: --scheduler needs distributed: pip install 'deep-nb[distributed]'\n"
    )  # fmt: skip


def test_the_error_keeps_the_name_of_the_library():
    with pytest.raises(ModuleNotFoundError) as raised, needed_by("this"):
        raise ModuleNotFoundError("No module named 'sklearn.base'", name="sklearn.base")
    assert raised.value.name == "sklearn"
    assert str(raised.value) == "this needs sklearn: pip install 'deep-nb[classifier]'"


def test_no_extra_is_named_for_other_modules():
    for name in ("numpy", None):
        error = ModuleNotFoundError("gone", name=name)
        assert explained(error, "this") is error
        with refused("gone", ModuleNotFoundError), needed_by("this"):
            raise error


def test_a_command_without_a_library_of_the_core_fails_in_one_line(monkeypatch):
    monkeypatch.setattr(deep_nb, "train", lambda *_, **__: __import__("no_such_library"))
    result = run("train", "DEEP", "xor")
    assert (result.exit_code, result.stderr) == (1, "Error: No module named 'no_such_library'\n")
