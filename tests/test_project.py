"""The repository agrees with itself: dependencies, notebooks without code, pages for people."""

import ast
import contextlib
import datetime
import os
import re
import subprocess
import tomllib
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest
import yaml
from packaging.specifiers import Specifier

import conftest
from deep_nb.replication import verify
from deep_nb.replication.jobs import read_jobs
from deep_nb.replication.records import read_record

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
notebooks = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


#: Extras for those who change the package.
DEVELOPERS = {"article", "browser", "dist", "docs", "mutants", "test"}


def lines_of(extra, extras):
    """The requirements of an extra and of the extras that it names."""
    for line in extras[extra]:
        named = re.fullmatch(r"deep-nb\[(.*)\]", line)
        if named:
            for other in named[1].split(","):
                yield from lines_of(other, extras)
        else:
            yield line


def test_environment_yml_equals_pyproject():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    expected = {*project["dependencies"], *lines_of("test", project["optional-dependencies"])}
    expected.add("python" + project["requires-python"])
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    listed = {item for item in environment if isinstance(item, str)} - {"pip"}
    # conda-forge's matplotlib without its Qt window is named matplotlib-base.
    assert {item.replace("matplotlib-base", "matplotlib") for item in listed} == expected
    assert environment[-1] == {"pip": ["--editable ."]}


def test_binder_has_one_version_of_python_and_installs_what_users_need():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    environment = yaml.safe_load((ROOT / ".binder" / "environment.yml").read_text())
    (version,) = re.findall(r"^python=(3\.\d+)$", "\n".join(environment["dependencies"]), re.M)
    assert Specifier(project["requires-python"]).contains(version)
    assert f"Programming Language :: Python :: {version}" in project["classifiers"]
    script = ROOT / ".binder" / "postBuild"
    assert os.access(script, os.X_OK)
    (extra,) = re.findall(r"--editable '\.\[(\w+)\]'$", script.read_text(), re.M)
    # Everything but what changes the package.
    named = {name for name in project["optional-dependencies"] if name not in DEVELOPERS}
    listed = {*lines_of(extra, project["optional-dependencies"])}
    assert listed == {
        line for name in named for line in lines_of(name, project["optional-dependencies"])
    }


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
def test_figures_of_notebooks_have_one_of_two_widths(path):
    """Figures without a size have the default one, of one column."""
    code = "\n".join(
        cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"
    )
    widths = re.findall(r"\b(?:fig)?size ?= ?\(([^,]+),", code)
    assert len(widths) == len(re.findall(r"\bfigsize\b", code))
    assert {*widths} <= {"plotting.ONE_COLUMN", "plotting.TWO_COLUMNS"}


@notebooks
def test_every_notebook_is_replicated(path):
    if path.stem == "explore":  # shown by a browser: it makes no figure
        return
    for profile in ("quick", "full"):
        assert path in [job.notebook for job in read_jobs(ROOT / "experiments.yml", profile)]


def test_the_published_grid_is_replicated():
    names = {job.name for job in read_jobs(ROOT / "experiments.yml")}
    models, tasks = ("DEEP", "DEEP_oh", "EP_asym"), ("xor", "and", "or", "not", "id")
    assert {f"{model}-{task}" for model in models for task in tasks} <= names


def test_the_figures_are_of_the_full_profile():
    jobs = {job.name: job.all_parameters for job in read_jobs(ROOT / "experiments.yml", "full")}
    records = {path.parent.name: read_record(path.parent) for path in ROOT.glob("figures/*/*.json")}
    assert {name: record.origin["parameters"] for name, record in records.items()} == jobs


def test_the_quick_profile_is_the_full_one_with_less():
    """Ten networks instead of a hundred; no number is larger, and no list longer."""
    quick, full = (read_jobs(ROOT / "experiments.yml", profile) for profile in ("quick", "full"))
    for small, large in zip(quick, full, strict=True):
        assert (small.name, small.notebook, small.timeout) == (
            large.name, large.notebook, large.timeout,
        )  # fmt: skip
        for name, value in small.all_parameters.items():
            more = large.all_parameters[name]
            if isinstance(value, list):
                assert len(value) <= len(more), name
            elif isinstance(value, int | float):
                assert value <= more, name
            else:
                assert value == more, name
        if "-" in small.name:
            assert (small.parameters["num_net"], large.parameters["num_net"]) == (10, 100)


@pytest.mark.slow
@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="needs a checkout")
def test_a_clone_on_windows_has_the_same_bytes_and_verifies_its_figures(tmp_path):
    files = {}
    for convert in ("false", "true"):
        folder = tmp_path / convert
        settings = ["safe.directory=*", f"core.autocrlf={convert}"]
        settings += ["core.eol=crlf"] if convert == "true" else []
        words = ["git", *(word for setting in settings for word in ("-c", setting))]
        words += ["-C", str(ROOT), "checkout-index", "--all", f"--prefix={folder}/"]
        subprocess.run(words, check=True)
        paths = [path for path in folder.rglob("*") if path.is_file()]
        files[convert] = {path.relative_to(folder): path.read_bytes() for path in paths}
    assert len(files["true"]) > 300
    assert files["true"] == files["false"]
    assert verify(tmp_path / "true" / "figures")[1] == []


def test_each_planted_fault_changes_one_place():
    for fault in yaml.safe_load((ROOT / "tests" / "planted.yml").read_text(encoding="utf-8")):
        text = (ROOT / fault["file"]).read_text(encoding="utf-8")
        assert text.count(fault["old"]) == 1, fault
        assert fault["old"] != fault["new"]


def test_stored_figures_need_no_font():
    for path in (ROOT / "figures").rglob("*.svg"):
        assert "<text" not in path.read_text(encoding="utf-8"), path


def test_committed_notebooks_have_no_paths_of_a_machine():
    for path in (ROOT / "figures").glob("*/*.ipynb"):
        text = path.read_text(encoding="utf-8")
        assert not re.findall(r"""["' ](?:/(?:home|root|tmp|Users|work)/|[A-Z]:\\\\).*""", text)


def test_notebooks_are_tested_without_settings_of_the_user(monkeypatch):
    """With a backend such as agg, a kernel shows no figure."""
    names = ("MPLBACKEND", "MATPLOTLIBRC", "IPYTHONDIR")
    for name in names:
        monkeypatch.setenv(name, "mine")
    for suffix, present in ((".py", True), (".ipynb", False)):
        hook = conftest.pytest_runtest_setup(SimpleNamespace(path=Path("x" + suffix)))
        next(hook)
        assert all((name in os.environ) == present for name in names)
        with contextlib.suppress(StopIteration):
            hook.send(None)
        assert all(os.environ[name] == "mine" for name in names)


def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_the_citation_has_the_version_and_its_date():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == project()["project"]["version"]
    assert type(citation["date-released"]) is datetime.date
    assert citation["authors"] == project()["project"]["authors"]
    lines = (ROOT / "CHANGELOG.md").read_text().splitlines()
    newest = next(line for line in lines if line.startswith("## "))
    dated = {"unreleased", str(citation["date-released"])}
    assert newest in {f"## {citation['version']} - {date}" for date in dated}
    (author,) = citation["authors"]
    entry = (ROOT / "README.md").read_text().split("@software{deep_nb,\n")[1].split("\n}")[0]
    assert dict(re.findall(r"(\w+) *= \{(.*)\}", entry)) == {
        "author": f"{{{author['name']}}}",
        "title": citation["title"],
        "version": citation["version"],
        "year": str(citation["date-released"].year),
    }


def test_the_changelog_keeps_its_format():
    """Versions with dates, newest first, and the same few headings in the same order in each."""
    text = (ROOT / "CHANGELOG.md").read_text()
    versions = re.split(r"^## (.*)\n", text, flags=re.MULTILINE)[1:]
    names, parts = versions[::2], versions[1::2]
    numbers, dates = zip(*(name.split(" - ") for name in names), strict=True)
    assert [*numbers] == sorted(numbers, key=lambda n: [*map(int, n.split("."))], reverse=True)
    assert "unreleased" not in dates[1:]
    days = [datetime.date.fromisoformat(date) for date in dates if date != "unreleased"]
    assert days == sorted(days, reverse=True)
    order = ["Added", "Changed", "Removed", "Fixed"]
    for part in parts:
        before, *headings = re.split(r"^### (.*)\n", part, flags=re.MULTILINE)
        assert not before.strip()
        assert headings[::2] == [name for name in order if name in headings[::2]]
        assert all(bullets.startswith("\n- ") for bullets in headings[1::2])


def test_pictures_in_the_readme_exist_have_a_text_and_load_fast():
    shown = re.findall(r"!\[([^]]*)\]\(([^)]+)\)", (ROOT / "README.md").read_text())
    assert len(shown) == 5
    for alternative, path in shown:
        assert len(alternative) > 20
        assert (ROOT / path).stat().st_size < 1.5e6, path


#: What each type of field in a form needs besides its label.
FIELDS = {"textarea": set(), "input": set(), "dropdown": {"options"}, "checkboxes": {"options"}}


@pytest.mark.parametrize("name", ["bug", "question", "claim"])
def test_a_form_for_issues_can_be_filled_in(name):
    form = yaml.safe_load((ROOT / f".github/ISSUE_TEMPLATE/{name}.yml").read_text())
    assert {*form} == {"name", "description", "labels", "body"}
    ids = [field["id"] for field in form["body"]]
    assert len({*ids}) == len(ids) >= 4
    for field in form["body"]:
        assert field["attributes"]["label"]
        assert FIELDS[field["type"]] <= {*field["attributes"]}
    assert any(field.get("validations", {}).get("required") for field in form["body"])


def test_the_map_for_contributors_has_the_layers_that_are_checked():
    rows = re.findall(r"^\| (`\w+`(?:, `\w+`)*) \|", (ROOT / "CONTRIBUTING.md").read_text(), re.M)
    shown = [re.findall(r"\w+", row) for row in rows]
    layers = project()["tool"]["importlinter"]["contracts"][0]["layers"]
    assert shown == [layer.split(" | ") for layer in layers]


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "CODE_OF_CONDUCT.md", "SECURITY.md"])
def test_pages_for_people_name_what_exists(page):
    """Files, targets of make, commands, and names in the files that are named beside them."""
    text = (ROOT / page).read_text()
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text)
    code = re.findall(r"`([^`\n]+)`", text) + re.findall(r"^[^#\n]*", "\n".join(blocks(text)), re.M)
    words = {word for piece in code for word in piece.split()}
    paths = {
        word for word in words if re.fullmatch(r"[\w.-]+/[\w./-]*|[\w.-]+\.(?:md|yml|toml)", word)
    }
    outputs = (".venv/", "article/")  # made by make
    for path in {*links, *paths}:
        if not path.startswith(outputs) and path not in ("name.svg", "name.png"):
            places = [ROOT / path, ROOT / "notebooks" / path]
            assert any(place.exists() for place in places), path
    targets = set(re.findall(r"^(\w[\w-]*):", (ROOT / "Makefile").read_text(), re.M))
    assert {*re.findall(r"\bmake (\w+)`", text)} <= targets


def blocks(text):
    return re.findall(r"^```sh\n(.*?)^```", text, re.M | re.S)


def test_the_names_in_the_recipes_exist():
    text = (ROOT / "CONTRIBUTING.md").read_text()
    for path, names in {
        "deep_nb/experiments/common.py": ["parity"],
        "deep_nb/models.py": ["MODELS", "PUBLISHED", "RuleName"],
        "deep_nb/experiments/stability.py": ["STYLES"],
        "deep_nb/rules.py": ["contrastive", "_hebbian", "descent", "RULES", "lesson.nudge"],
        "deep_nb/minibatch.py": ["RULES"],
        "deep_nb/explorer/explore.js": ["RULES"],
        "deep_nb/analysis/stability.py": ["rule_fields"],
        "tests/test_phases.py": ["PHASES"],
        "deep_nb/engines/compiled.py": ["KERNEL_RULES"],
        "tests/test_claims.py": ["test_the_claims_are_all_there"],
    }.items():
        assert f"`{path}`" in text
        source = (ROOT / path).read_text()
        for name in names:
            assert f"`{name}`" in text
            assert re.search(rf"\b{re.escape(name)}\b", source), name


def test_hooks_before_a_commit_use_what_make_installs():
    content = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    hooks = [hook for repo in content["repos"] for hook in repo["hooks"]]
    tools = {hook["entry"].split()[0] for hook in hooks if hook["language"] == "system"}
    assert tools == {".venv/bin/ruff", ".venv/bin/lint-imports"}
    needed = project()["project"]["optional-dependencies"]["test"]
    assert {"ruff", "import-linter"} <= {item.split(">=")[0] for item in needed}
    pins = {pin for hook in hooks for pin in hook.get("additional_dependencies", [])}
    assert all("==" in pin for pin in pins)
    assert not any("nbstripout" in str(hook) for hook in hooks)


def test_every_command_of_make_has_a_rule():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    told = re.findall(r'@echo "make (\S+)', makefile)
    (phony,) = re.findall(r"^\.PHONY: (.*)$", makefile, re.M)
    rules = re.findall(r"^([a-z][\w-]*):", makefile, re.M)
    assert sorted([*told, "help"]) == sorted(phony.split()) == sorted(rules)
