"""The report of a small executed batch: a figure, a failure, and a claims table."""

import re
import shutil
from html.parser import HTMLParser

import nbformat
import pandas as pd
import pytest

from deep_nb._provenance import provenance
from deep_nb.claims.evaluation import COLUMNS
from deep_nb.replication import read_jobs, replicate
from deep_nb.report import read_sections

from .test_replication import run, write_notebook

pytestmark = [pytest.mark.system, pytest.mark.xdist_group("report")]

FIGURE = """
import matplotlib.pyplot as plt
from deep_nb.plotting import save_figure
figure, axis = plt.subplots()
save_figure(figure, output, "empty", "An <empty> figure")
print(1 / n)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("report")
    write_notebook(root / "drawing.ipynb", FIGURE)
    experiments = root / "experiments.yml"
    experiments.write_text(
        "experiments:\n  - {name: 'n{n}', notebook: drawing.ipynb, matrix: {n: [0, 7]}}\n"
    )
    assert len(list(replicate(read_jobs(experiments), root / "out", 2))) == 2
    claims = root / "out" / "claims"
    claims.mkdir()
    row = {"id": "1a", "statement": "DEEP learns <XOR>", "source": "s", "task": "xor"}
    row |= {"quantity": "share", "estimate": 0.22, "low": 0.15, "high": 0.31}
    row |= {"bound": None, "p": None}
    row |= {"networks": 100, "rule": "above 0.5", "verdict": "not reproduced", "settings": 9}
    row |= {"reproduced_at": 0, "not_reproduced_at": 8, "at_best": None, "command": "deep-nb c"}
    pd.DataFrame([row]).to_csv(claims / "claims.csv", index=False)
    return root / "out"


class Page(HTMLParser):
    """The addresses and the text of an HTML page."""

    def __init__(self, text):
        super().__init__()
        self.addresses, self.words = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.addresses += [value for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data):
        self.words.append(data)


def test_the_report_is_self_contained_and_shows_the_provenance(folder, tmp_path):
    readme = tmp_path / "page.md"
    readme.write_text("before\n<!-- claims: begin -->\nold\n<!-- claims: end -->\nafter\n")
    page = tmp_path / "report.html"
    result = run("report", folder, "-o", page, "--readme", readme)
    assert result.exit_code == 0, result.output
    text = page.read_text()
    parsed = Page(text)
    words = re.sub(r"\s+", " ", " ".join(parsed.words))
    outside = [a for a in parsed.addresses if not a.startswith(("data:image/svg+xml;base64,", "#"))]
    # Page and notebook of two experiments, in the table and above the figures.
    assert len(outside) == 8
    assert all((page.parent / link).is_file() for link in outside)
    assert "http" not in text.replace("http://www.w3.org", "")
    assert "DEEP learns <XOR>" in words
    assert "not reproduced" in words
    assert "An <empty> figure" in words
    assert "failed: ZeroDivisionError: division by zero" in words
    origin = provenance()
    for name in ("deep_nb", "python", "platform", "cpu"):
        assert origin[name] in words
    for version in origin["versions"].values():
        assert version in words
    assert "n = 7" in words
    assert str(folder.parent) not in (folder / "n7" / "drawing.ipynb").read_text()
    written = readme.read_text()
    assert "old" not in written
    assert "| 1a | DEEP learns <XOR> | ✗ |" in written
    assert not re.search(r"\bnan\b", text.split("<body>")[1].split("<figure>")[0])
    assert written.startswith("before\n")
    assert written.endswith("after\n")


def test_experiments_with_different_code_are_marked(folder, tmp_path):
    notebook = nbformat.read(folder / "n7" / "drawing.ipynb", as_version=4)
    kept = (folder / "n7" / "drawing.ipynb").read_text()
    notebook.metadata["deep_nb"]["commit"] = "0" * 40 + "+"
    nbformat.write(notebook, folder / "n7" / "drawing.ipynb")
    result = run("report", folder, "-o", tmp_path / "r.html")
    (folder / "n7" / "drawing.ipynb").write_text(kept)
    assert result.exit_code == 0
    text = (tmp_path / "r.html").read_text()
    assert "did not all run with the same code" in text
    assert "with uncommitted changes" in text


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("n7/empty.svg", "<svg><g>", "not a complete SVG figure"),
        ("n7/drawing.ipynb", "[]", "not a notebook"),
        ("n7/drawing.ipynb", '{"cells": [], "nbformat": 4, "nbformat_minor": 5, "metadata": '
         '{"deep_nb": {"parameters": {}, "error": "", "started": "", "seconds": null}}}',
         "not an executed notebook"),
        ("n7/drawing.ipynb", '{"cells": [], "nbformat": 4, "nbformat_minor": 5, "metadata": '
         '{"deep_nb": {"parameters": [3]}}}', "not an executed notebook"),
        ("claims/claims.csv", "id,task\n1a,xor\n", "not a claims table"),
        ("claims/claims.csv", f"{','.join(COLUMNS)}\n{','.join('x' * len(COLUMNS))}\n",
         "not a claims table: it must have finite numbers"),
    ],
)  # fmt: skip
def test_errors_name_damaged_files(folder, tmp_path, file, content, message):
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    (copy / file).write_text(content)
    result = run("report", copy)
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit), result.exception
    assert file.split("/")[1] in result.output
    assert re.search(message, result.output)


def test_a_folder_without_executed_notebooks_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="deep-nb replicate"):
        read_sections(tmp_path)
    (tmp_path / "a").mkdir()
    write_notebook(tmp_path / "a" / "plain.ipynb", "1")
    with pytest.raises(ValueError, match="not an executed notebook of deep-nb replicate"):
        read_sections(tmp_path)
    result = run("report", tmp_path / "nowhere")
    assert result.exit_code == 1
    assert "no executed notebooks" in result.output
