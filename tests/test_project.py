"""The repository agrees with itself: two lists of dependencies, floors, notebooks without code."""

import ast
import re
import tomllib
from pathlib import Path

import nbformat
import pytest
import yaml

from deep_nb.replication.jobs import read_jobs

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
notebooks = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def test_environment_yml_equals_pyproject():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    expected = {*project["dependencies"], *project["optional-dependencies"]["test"]}
    expected.add("python" + project["requires-python"])
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    listed = {item for item in environment if isinstance(item, str)} - {"pip"}
    # conda-forge's matplotlib without its Qt window is named matplotlib-base.
    assert {item.replace("matplotlib-base", "matplotlib") for item in listed} == expected
    assert environment[-1] == {"pip": ["--editable ."]}


#: From the ground up; a room may import from rooms before its own only.
FLOORS = [
    ["kinds"],
    ["checks"],
    ["matrices", "files"],
    ["provenance"],
    ["checkpoints"],
    ["tasks", "topology", "models"],
    ["randomness", "dynamics", "pruning"],
    ["experiment"],
    ["engines.lanes"],
    ["engines.reference", "engines.blas", "engines.compiled"],
    ["engines"],
    ["learning", "results"],
    ["training", "classifier"],
    ["inference"],
    ["stability", "statistics"],
    ["alignment", "ensembles"],
    ["plotting.style"],
    ["plotting.runs", "plotting.networks", "plotting.comparisons"],
    ["plotting", "claims", "notebooks"],
    ["experiments"],
    ["records"],
    ["execution", "verification", "report"],
    ["replication"],
    ["cli"],
    ["__main__"],
]


def test_imports_run_downward_only():
    level = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
    package = ROOT / "deep_nb"
    for path in package.rglob("*.py"):
        room = ".".join(path.relative_to(package).with_suffix("").parts).removesuffix(".__init__")
        if room == "__init__":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("deep_nb"):
                names = [node.module.removeprefix("deep_nb").lstrip(".")]
                if names == [""] or names == ["engines"]:
                    inner = [f"{names[0]}.{alias.name}".lstrip(".") for alias in node.names]
                    names = [name if name in level else names[0] for name in inner]
                for name in names:
                    assert level[name] <= level[room], f"{room} imports {name}"
                    assert name, f"{room} imports the package root"
            elif isinstance(node, ast.Import):
                roots = [alias.name for alias in node.names if alias.name.startswith("deep_nb")]
                assert not roots or room == "cli", f"{room} imports {roots}"


@notebooks
def test_notebooks_hold_parameters_and_no_definitions(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    tags = [cell.metadata.get("tags", []) for cell in notebook.cells]
    assert sum("parameters" in tag for tag in tags) == 1
    for cell in notebook.cells:
        if cell.cell_type == "code":
            kinds = (ast.FunctionDef, ast.ClassDef, ast.Lambda)
            defined = [n for n in ast.walk(ast.parse(cell.source)) if isinstance(n, kinds)]
            assert not defined, cell.source
            assert cell.execution_count, f"not executed: {cell.source}"
            assert all(output.output_type != "error" for output in cell.outputs)
            assert not re.search(r"/(home|root|tmp|Users)/", str(cell.outputs))


@notebooks
def test_every_notebook_is_replicated(path):
    for profile in ("quick", "full"):
        assert path in [job.notebook for job in read_jobs(ROOT / "experiments.yml", profile)]


def test_the_published_grid_is_replicated():
    names = {job.name for job in read_jobs(ROOT / "experiments.yml")}
    models, tasks = ("DEEP", "DEEP_oh", "EP_asym"), ("xor", "and", "or", "not", "id")
    assert {f"{model}-{task}" for model in models for task in tasks} <= names
