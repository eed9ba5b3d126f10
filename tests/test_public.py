"""Every public name explains itself: summary, example, neighbours, citations."""

import importlib.util
import inspect
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

spec = importlib.util.spec_from_file_location("api", ROOT / "docs" / "api.py")
api = importlib.util.module_from_spec(spec)
spec.loader.exec_module(api)

#: The public functions and classes, by their full names.
CALLABLES = {
    f"{package}.{name}": found
    for package in api.PACKAGES
    for name, found in api.public(package).items()
    if inspect.isroutine(found) or inspect.isclass(found)
}
public = pytest.mark.parametrize("name", CALLABLES)


def section(found, heading):
    """The lines of a section of a docstring."""
    text = inspect.getdoc(found) or ""
    match = re.search(rf"^{heading}\n-+\n(.*?)(?=^\S[^\n]*\n-+\n|\Z)", text, re.M | re.S)
    return match[1].splitlines() if match else []


def test_the_page_of_public_names_is_up_to_date():
    assert (ROOT / "docs" / "api.md").read_text(encoding="utf-8") == api.page()


@public
def test_a_public_name_has_a_summary_and_an_example(name):
    summary = inspect.getdoc(CALLABLES[name]).splitlines()[0]
    assert re.match(r"[A-Z]", summary)
    assert summary.endswith(".")
    assert any(line.startswith(">>> ") for line in section(CALLABLES[name], "Examples"))


@public
def test_a_public_name_names_its_neighbours(name):
    home = name.rpartition(".")[0]
    lines = [line for line in section(CALLABLES[name], "See Also") if line.strip()]
    neighbours = [word for line in lines for word in line.partition(" : ")[0].split(", ")]
    assert neighbours
    for neighbour in neighbours:
        full = neighbour if neighbour.startswith("deep_nb.") else f"{home}.{neighbour}"
        package, _, last = full.rpartition(".")
        assert last in api.public(package), neighbour


def test_every_citation_is_defined_once():
    text = "\n".join(path.read_text(encoding="utf-8") for path in ROOT.glob("deep_nb/**/*.py"))
    cited = set(re.findall(r"\[(\w+)\]_(?!\w)", text))
    defined = re.findall(r"^\.\. \[(\w+)\] ", text, re.M)
    assert cited == set(defined)
    assert len(defined) == len(set(defined))
