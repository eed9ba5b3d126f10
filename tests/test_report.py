"""The report of a small executed batch: a figure, a failure, and a claims table."""

import base64
import html
import json
import os
import re
import shutil
from html.parser import HTMLParser
from urllib.parse import unquote, urlsplit

import nbformat
import pandas as pd
import pytest

from deep_nb._provenance import provenance
from deep_nb.claims.evaluation import COLUMNS
from deep_nb.replication import read_jobs, replicate
from deep_nb.replication.verification import write_checksums
from deep_nb.report import read_sections, write_report

from .test_replication import run, sign, write_notebook

pytestmark = pytest.mark.system

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
    row = {"id": "1a", "statement": "DEEP learns <XOR>", "evidence": "“e” (p)", "task": "xor"}
    row |= {"note": None, "quantity": "share", "estimate": 0.22, "low": 0.15, "high": 0.31}
    row |= {"p": None, "p_holm": None, "runaway": 0, "nearest": 3.1623, "within": 0}
    row |= {"networks": 100, "rule": "above 0.5", "verdict": "not reproduced", "settings": 9}
    row |= {"reproduced_at": 0, "not_reproduced_at": 8, "at_best": None, "command": "deep-nb c"}
    row |= {"near_settings": 3, "near_reproduced": 0, "refuted_at": "β × 3.2", "beside": None}
    other = {**row, "id": "2b", "task": "and", "p": 0.000123, "at_best": "reproduced"}
    other |= {"estimate": -12.3456, "low": -20, "high": -1.5, "settings": 0, "runaway": 13}
    other |= {"note": "but", "p_holm": 0.000246, "nearest": None, "within": None}
    last = {**row, "id": "3", "within": 3.1623, "estimate": None, "networks": 0}
    pd.DataFrame([row, other, last]).to_csv(claims / "claims.csv", index=False)
    sign(root / "out")
    return root / "out"


class Page(HTMLParser):
    """The addresses, ids, text and rows of tables of an HTML page."""

    def __init__(self, text):
        super().__init__()
        self.addresses, self.ids, self.words, self.rows = [], [], [], []
        self.inside = False  # of a cell
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.addresses += [value for name, value in attrs if name in ("src", "href")]
        self.ids += [value for name, value in attrs if name == "id"]
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")
            self.inside = True

    def handle_data(self, data):
        self.words.append(data)
        if self.inside:
            self.rows[-1][-1] += data

    def handle_endtag(self, tag):
        if tag in ("td", "th"):
            self.inside = False
            self.rows[-1][-1] = " ".join(self.rows[-1][-1].split())
        elif tag == "table":
            self.rows.append([])

    def row(self, *first):
        """Return the other cells of the only row that starts with these."""
        (found,) = [r for r in self.rows if r[: len(first)] == list(first)]
        return found[len(first) :]


def report(folder, tmp_path):
    """Return the report of a folder, read from the page that the command writes."""
    result = run("report", folder, "-o", tmp_path / "page.html")
    assert result.exit_code == 0, result.output
    return Page((tmp_path / "page.html").read_text())


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
    assert all((page.parent / unquote(link)).is_file() for link in outside)
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


def test_columns_and_rows_are_headed_by_what_they_hold(folder, tmp_path):
    page = report(folder, tmp_path)
    assert [
        "", "claim", "evidence", "what it leaves open", "task", "quantity", "estimate",
        "95 % interval", "networks or points", "runaways apart", "reproduced if", "p", "p, Holm",
        "verdict", "settings: yes, no, of", "within", "at best", "command",
    ] in page.rows  # fmt: skip
    heads = ["experiment", "title", "settings", "started", "seconds", "status"]
    assert [*heads, "executed notebook"] in page.rows
    text = " ".join(" ".join(page.words).split())
    assert (
        "has p < 0.05 after Holm's correction for all tests in this table; not reproduced if "
        "both hold for the other side"
    ) in text
    assert "This batch did not evaluate the claims." not in text


def test_provenance_is_shown_by_name_and_only_differences_are_marked(folder, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    origin = {
        "deep_nb": "0.9", "commit": "a" * 40, "python": "3.99.1", "platform": "Plan-9",
        "cpu": "Abacus 3", "cores": 77, "versions": {"numpy": "4.5.6", "scipy": "7.8.9"},
    }  # fmt: skip
    for name in ("n0", "n7"):
        change(copy / name / "drawing.ipynb", **origin)
    sign(copy)
    page = report(copy, tmp_path)
    start = page.rows.index(["experiments", "n0, n7"])
    assert page.rows[start + 1 : page.rows.index([], start)] == [
        ["deep_nb", "0.9, commit " + "a" * 40], ["Python", "3.99.1"], ["numpy", "4.5.6"],
        ["scipy", "7.8.9"], ["platform", "Plan-9"], ["processor", "Abacus 3, 77 cores"],
    ]  # fmt: skip
    assert "did not all run with the same" not in " ".join(page.words)
    change(copy / "n7" / "drawing.ipynb", cores=8, commit="")
    change(copy / "n0" / "drawing.ipynb", commit="")
    sign(copy)
    page = report(copy, tmp_path)
    assert "did not all run with the same" in " ".join(page.words)
    assert [row[1] for row in page.rows if row[:1] == ["experiments"]] == ["n0", "n7"]
    assert [row[1] for row in page.rows if row[:1] == ["processor"]] == [
        "Abacus 3, 77 cores", "Abacus 3, 8 cores",
    ]  # fmt: skip
    assert [row[1] for row in page.rows if row[:1] == ["deep_nb"]] == ["0.9, commit unknown"] * 2


SVG = "<svg xmlns='http://www.w3.org/2000/svg'>{}</svg>"
CAPTION = "<metadata><d:description xmlns:d='http://purl.org/dc/elements/1.1/'>{}</d:description></metadata>"


def test_figures_stand_with_their_captions_under_their_experiment(folder, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    shutil.rmtree(copy / "claims")
    for name, figures in {
        "n0": {"b": "", "a": "First & <second>"},
        "n7": {"empty": "Last"},
    }.items():
        notebook = nbformat.read(copy / name / "drawing.ipynb", 4)
        notebook.cells.insert(1, nbformat.v4.new_markdown_cell(f"text\n# Title of {name}\n# More"))
        nbformat.write(notebook, copy / name / "drawing.ipynb")
        for figure, caption in figures.items():
            inside = CAPTION.format(caption.replace("&", "&amp;").replace("<", "&lt;"))
            content = SVG.format(inside * bool(caption))
            (copy / name / f"{figure}.svg").write_text(content)
    (copy / "n0" / "empty.svg").unlink(missing_ok=True)
    sign(copy)
    assert run("report", copy, "-o", tmp_path / "page.html").exit_code == 0
    page = (tmp_path / "page.html").read_text()
    assert "This batch did not evaluate the claims." in page
    parts = re.split('<h2 id="experiment-', page)[1:]
    titles = [re.sub("<[^>]*>", "", part.split(">", 1)[1].split("</h2>")[0]) for part in parts]
    assert titles == ["n0: Title of n0", "n7: Title of n7"]
    shown = [
        re.findall(
            '<img src="data:image/svg.xml;base64,(.*?)" alt="(.*?)"><figcaption>(.*?)<', part
        )
        for part in parts
    ]
    captions = [[html.unescape(figure[2]) for figure in part] for part in shown]
    assert captions == [["First & <second>", "b"], ["Last"]]
    files = [["n0/a.svg", "n0/b.svg"], ["n7/empty.svg"]]
    for part, names in zip(shown, files, strict=True):
        assert [base64.b64decode(figure[0]) for figure in part] == [
            (copy / name).read_bytes() for name in names
        ]
        assert [figure[1] for figure in part] == [figure[2] for figure in part]
    assert Page(page).row("n0")[0] == "Title of n0"


def change(path, **origin):
    """Change the metadata of an executed notebook."""
    notebook = json.loads(path.read_text())
    notebook["metadata"]["deep_nb"] |= origin
    path.write_text(json.dumps(notebook))


def test_experiments_with_different_code_are_marked(folder, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    change(copy / "n7" / "drawing.ipynb", commit="0" * 40 + "+")
    sign(copy)
    text = " ".join(report(copy, tmp_path).words)
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
    sign(copy)
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
    assert "no SHA256SUMS" in result.output
    write_checksums(tmp_path / "nowhere")
    result = run("report", tmp_path / "nowhere")
    assert result.exit_code == 1
    assert "no executed notebooks" in result.output


#: What the published code sets, from its notebooks; every model has the last line.
PUBLISHED = {
    "leak": ("0.0", "0.0", "1.0"), "outflow": ("1.0", "1.0", "0.0"),
    "bias_neuron": ("True", "True", "False"), "learned_bias": ("False", "False", "True"),
    "one_hot": ("False", "True", "False"), "rule": ("stdp", "stdp", "contrastive"),
    "N_H": ("(5,)", "(2,)", "(5,)"), "beta": ("10.0", "1.0", "10.0"),
    "dt_W": ("100.0", "200.0", "1.0"),
}  # fmt: skip
SHARED = {
    "absolute_outflow": "False", "activation": "hard_sigmoid", "n_epochs": "200", "T1": "1000",
    "T2": "1000", "dt": "0.05", "stop": "1e-10", "beta_0": "0.0", "beta_1": "1.0",
    "reg_W": "0.00015", "tol_W": "0.01", "temp": "5.0",
}  # fmt: skip


def test_the_report_shows_the_settings_of_each_model(folder, tmp_path):
    page = report(folder, tmp_path)
    head = ["", "DEEP", "DEEP_oh", "EP_asym", "contracting DEEP", "fast contracting DEEP"]
    start = page.rows.index(head) + 1
    rows = {row[0]: tuple(row[1:]) for row in page.rows[start : page.rows.index([], start)]}
    shown = {name: values[:3] for name, values in rows.items()}
    assert shown == PUBLISHED | {name: (value,) * 3 for name, value in SHARED.items()}
    assert rows["leak"][3:] == ("0.25", "0.2")
    assert rows["absolute_outflow"][3:] == ("True", "True")


def test_the_report_shows_each_claim_as_the_table_has_it(folder, tmp_path):
    page = report(folder, tmp_path)
    assert page.row("1a") == [
        "DEEP learns <XOR>", "“e” (p)", "", "XOR", "share", "0.22", "0.15 to 0.31", "100", "0",
        "above 0.5", "", "", "not reproduced", "0, 8, 9", "nowhere", "", "deep-nb c",
    ]  # fmt: skip
    assert page.row("2b") == [
        "DEEP learns <XOR>", "“e” (p)", "but", "AND", "share", "-12.3", "-20 to -1.5", "100", "13",
        "above 0.5", "1.2e-04", "2.5e-04", "not reproduced", "", "", "reproduced", "deep-nb c",
    ]  # fmt: skip
    assert page.row("3") == [
        "DEEP learns <XOR>", "“e” (p)", "", "XOR", "share", "", "0.15 to 0.31", "0", "0",
        "above 0.5", "", "", "not reproduced", "0, 8, 9", "3.2", "", "deep-nb c",
    ]  # fmt: skip


def test_the_report_shows_each_experiment_with_its_settings_and_duration(folder, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    change(copy / "n0" / "drawing.ipynb", seconds=62.04, started="2020-10-02T09:30:00+00:00")
    shutil.copytree(copy / "n7", copy / ".ipynb_checkpoints")  # of no experiment
    change(copy / "n7" / "drawing.ipynb", seconds=45.96, parameters={"n": 7, "lr": 0.5})
    (copy / "n7" / "sub").mkdir()
    shutil.copy(copy / "n7" / "empty.svg", copy / "n7" / "sub")
    sign(copy)
    page = report(copy, tmp_path)
    assert sum(address.startswith("data:") for address in page.addresses) == 3
    assert page.row("n0")[1:] == [
        "n = 0", "2020-10-02T09:30:00", "62.0",
        "failed: ZeroDivisionError: division by zero (in cell 3)",
        "drawing.html drawing.ipynb",
    ]  # fmt: skip
    cells = page.row("n7")
    assert (cells[1], *cells[3:5]) == ("n = 7 lr = 0.5", "46.0", "done")
    assert "2 experiments, 1.8 minutes of execution, 1 failed" in " ".join(
        " ".join(page.words).split()
    )
    assert page.row("experiments") == ["n0, n7"]


@pytest.mark.parametrize("name", ["claims", "javascript:alert(1)", "a b#c?d%41&e=<'\">", "n0"])
def test_every_link_leads_to_its_file_or_place(folder, tmp_path, name):
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    if name == "claims":  # as the heading of the claims
        shutil.copy(copy / "n0" / "drawing.ipynb", copy / "claims")
        shutil.copy(copy / "n0" / "empty.svg", copy / "claims")
    else:
        (copy / "n0").rename(copy / name)
    sign(copy)
    page = report(copy, tmp_path)
    assert len({*page.ids}) == len(page.ids)
    assert f"experiment-{name}" in page.ids
    for address in page.addresses:
        parts = urlsplit(address)
        if parts.scheme == "data":
            continue
        assert (parts.scheme, parts.netloc, parts.query) == ("", "", "")
        if parts.path:
            assert (tmp_path / unquote(parts.path)).is_file()
        else:
            assert unquote(parts.fragment) in page.ids
    links = [unquote(address) for address in page.addresses]
    assert f"copy/{name}/drawing.ipynb" in links


@pytest.mark.parametrize("file", ["n7/empty.svg", "n7/drawing.ipynb", "claims/claims.csv"])
def test_files_are_verified_before_they_are_read(folder, tmp_path, file):
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    (copy / file).write_bytes((copy / file).read_bytes() + b" ")
    result = run("report", copy)
    assert result.exit_code == 1
    assert result.stderr == (
        f"Error: the files in {copy} do not agree with SHA256SUMS: {file}: differs from its "
        "SHA-256; deep-nb verify lists them\n"
    )
    assert not (copy / "report.html").exists()
    (copy / "n0" / "new.md").touch()
    assert f"{file}: differs from its SHA-256, and 1 more; " in run("report", copy).stderr


@pytest.mark.parametrize(
    "file", ["n7/new.svg", "n7/new.ipynb", "claims/claims.csv", "evil/x.ipynb"]
)
def test_a_pipe_does_not_stop_the_report(folder, tmp_path, file):
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    (copy / file).parent.mkdir(exist_ok=True)
    (copy / file).unlink(missing_ok=True)
    os.mkfifo(copy / file)
    result = run("report", copy)
    assert result.exit_code == 1
    assert re.search(f"{file}: (not listed|is not a regular file)", result.stderr)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("seconds", "1"), ("seconds", None), ("seconds", -1), ("seconds", [1]), ("started", 3),
        ("error", None), ("error", {"a": 1}), ("parameters", [["n", 1]]), ("parameters", "n"),
        ("versions", ["numpy"]), ("versions", {"numpy": 2}), ("commit", 3), ("cores", "2"),
        ("platform", None), ("cpu", {}), ("python", 3.11), ("deep_nb", ["0.2"]),
    ],
)  # fmt: skip
def test_metadata_of_another_type_is_refused_in_one_line(folder, tmp_path, name, value):
    path = tmp_path / "n7" / "drawing.ipynb"
    path.parent.mkdir()
    shutil.copy(folder / "n7" / "drawing.ipynb", path)
    change(path, **{name: value})
    with pytest.raises(
        ValueError, match=f"is not an executed notebook .*: Origin.{name}"
    ) as caught:
        read_sections(tmp_path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("depth", [100, 900, 5000])
def test_deeply_nested_metadata_are_shown_or_refused_by_name(folder, tmp_path, depth):
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    path = copy / "n7" / "drawing.ipynb"
    change(path, parameters={"n": "nested"})
    text = path.read_text().replace('"nested"', "[" * depth + "1" + "]" * depth)
    path.write_text(text)
    sign(copy)
    if depth == 100:
        assert report(copy, tmp_path).row("n7")[1] == f"n = {'[' * depth}1{']' * depth}"
    else:
        with pytest.raises(ValueError, match=rf"^{re.escape(str(path))} is not a notebook"):
            write_report(copy)


def test_metadata_that_is_missing_is_named(folder, tmp_path):
    path = tmp_path / "n7" / "drawing.ipynb"
    path.parent.mkdir()
    for metadata, message in (({}, "deep_nb must be a mapping"), ({"deep_nb": 3}, "got 3")):
        nbformat.write(nbformat.v4.new_notebook(metadata=metadata), path)
        with pytest.raises(ValueError, match=message):
            read_sections(tmp_path)


@pytest.mark.parametrize(
    "svg",
    [
        b"<?xml version='1.0' encoding='klingon'?><svg/>",
        b"<?xml version='1.0' encoding='shift_jis'?><svg/>",
        b"",
        b"\x00" * 9,
        b'<!DOCTYPE svg [<!ENTITY a "&b;"><!ENTITY b "&a;">]><svg>&a;</svg>',
    ],
)
def test_a_hostile_figure_is_refused_by_name(folder, tmp_path, svg):
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    (copy / "n7" / "empty.svg").write_bytes(svg)
    with pytest.raises(ValueError, match=r"empty\.svg is not a complete SVG figure"):
        read_sections(copy)


def test_texts_that_no_file_can_hold_are_escaped(folder, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    change(copy / "n7" / "drawing.ipynb", parameters={"n": "\ud800"}, error="\udfff")
    sign(copy)
    page = report(copy, tmp_path)
    assert page.row("n7")[1] == r"n = \ud800"
    assert page.row("n7")[4] == r"failed: \udfff"
    assert " 2 failed." in " ".join(" ".join(page.words).split())
