"""The report of a small executed batch: a figure, a failure, and a claims table."""

import base64
import csv
import html
import json
import os
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import nbformat
import pandas as pd
import pytest
import yaml
from bs4 import BeautifulSoup

from deep_nb._provenance import provenance
from deep_nb.claims.evaluation import COLUMNS
from deep_nb.replication import read_jobs, replicate
from deep_nb.replication.verification import write_checksums
from deep_nb.report import read_sections, what_to_see, write_report

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
    other |= {"estimate": -0.123456, "low": -0.2, "high": 0.05, "settings": 0, "runaway": 13}
    other |= {"note": "but", "p_holm": 0.000246, "nearest": None, "within": None}
    other |= {"rule": "above -0.1 (fails below 0)", "verdict": "inconclusive"}
    third = {**row, "id": "3", "within": 3.1623, "estimate": None, "networks": 0}
    third |= {"verdict": "inconclusive"}
    more = {**row, "id": "3", "task": "and", "rule": "below 0.4", "within": 3.1623}
    more |= {"verdict": "reproduced", "near_reproduced": 3, "refuted_at": None}
    narrow = {**more, "task": "or", "within": 1, "rule": "all are", "low": 0.22, "high": 0.22}
    narrow |= {"near_reproduced": 2, "refuted_at": "dt_W ÷ 3.2", "beside": "after T1 steps: 7"}
    rows = [row, other, third, more, narrow]
    pd.DataFrame(rows).to_csv(claims / "claims.csv", index=False)
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


def test_tables_are_headed_by_what_they_hold(folder, tmp_path):
    page = report(folder, tmp_path)
    assert ["claim", "XOR", "AND", "OR"] in page.rows
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
    assert "#estimates" not in page
    parts = re.split('<h3 id="experiment-', page)[1:]
    titles = [re.sub("<[^>]*>", "", part.split(">", 1)[1].split("</h3>")[0]) for part in parts]
    assert titles == ["n0: Title of n0", "n7: Title of n7"]
    image = '<img src="data:image/svg.xml;base64,(.*?)" alt="(.*?)"[^<]*</div>'
    shown = [re.findall(rf"{image}\s<figcaption><b>(.*?)<", part) for part in parts]
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


def soup(folder, tmp_path):
    """Return the parsed report of a folder."""
    text = write_report(folder, tmp_path / "page.html").read_text(encoding="utf-8")
    return BeautifulSoup(text, "html.parser")


def words(tag):
    return " ".join(tag.get_text().split())


def card(page, number):
    """Return what a cell of the matrix opens: its title, and its entries by name."""
    of = page.find(id=f"verdict-{number}")
    assert of.has_attr("popover")
    entries = [words(tag) for tag in of.find_all(["dt", "dd"])]
    return words(of.h3), dict(zip(entries[::2], entries[1::2], strict=True))


def test_each_cell_opens_what_the_table_has(folder, tmp_path):
    page = soup(folder, tmp_path)
    claim = {"Claim": "DEEP learns <XOR>", "Evidence": "“e” (p)", "Quantity": "share"}
    command = {"Command": "deep-nb c"}
    assert card(page, 0) == ("1a on XOR: ✗ not reproduced", claim | {
        "Reproduced if": "above 0.5", "Estimate [95 %]": "22 % [15, 31]",
        "Networks or points": "100", "Settings around": "reproduced at 0, not reproduced at 8, "
        "of 9; not at the published one",
        "Nearest settings": "within a factor of 3.2: reproduced at 0 of 3; not reproduced at "
        "β × 3.2",
    } | command)  # fmt: skip
    assert card(page, 1) == ("2b on AND: ~ inconclusive", claim | {
        "It leaves open": "but", "Reproduced if": "above -0.1 (fails below 0)",
        "Estimate [95 %]": "−12.3 % [−20, 5]", "Networks or points": "100, and 13 runaways apart",
        "p against the line": "1.2e-04; after Holm's correction 2.5e-04",
        "Each at its best": "reproduced",
    } | command)  # fmt: skip
    title, entries = card(page, 2)
    assert (title, entries["Estimate [95 %]"]) == ("3 on XOR: ~ inconclusive", "no networks")
    assert entries["Networks or points"] == "0"
    assert entries["Settings around"].endswith("of 9; at all within a factor of 3.2")
    title, entries = card(page, 3)
    assert title == "3 on AND: ✓✓ reproduced"
    assert entries["Nearest settings"] == "within a factor of 3.2: reproduced at 3 of 3"
    title, entries = card(page, 4)
    assert title == "3 on OR: (✓) reproduced"
    assert entries["Settings around"].endswith(
        "at the published one, but not at all of its neighbours"
    )
    assert entries["Estimate [95 %]"] == "22 %; after T1 steps: 7"


def matrix(page):
    """Return the cells of the matrix: claim and task, what they show, and what they open."""
    rows = page.find(class_="matrix").find_all("tr")
    tasks = [words(head) for head in rows[0].find_all("th")][1:]
    cells = {}
    for row in rows[1:]:
        claim = words(row.th.strong)
        for task, cell in zip(tasks, row.find_all("td"), strict=True):
            for button in cell.find_all("button"):
                assert (claim, task) not in cells
                shown = words(button.b), words(button).removeprefix(words(button.b))
                cells[claim, task] = (*shown, button["popovertarget"])
    return cells


def test_the_matrix_has_a_cell_for_each_verdict(folder, tmp_path):
    page = soup(folder, tmp_path)
    assert matrix(page) == {
        ("1a", "XOR"): ("✗", "22 %", "verdict-0"), ("2b", "AND"): ("~", "−12.3 %", "verdict-1"),
        ("3", "XOR"): ("~", "no networks", "verdict-2"), ("3", "AND"): ("✓✓", "22 %", "verdict-3"),
        ("3", "OR"): ("(✓)", "22 %", "verdict-4"),
    }  # fmt: skip
    assert (
        "✓ reproduced at the published setting · ✓✓ and at every setting within a factor 3.2 of β, "
        "dt_W and N_H (rounded) · (✓) reproduced, but refuted at some setting within that factor · "
        "~ inconclusive · ✗ not reproduced. Each cell opens" in words(page)
    )
    buttons = page.find(class_="matrix").find_all("button")
    assert buttons[0]["aria-label"] == "1a, XOR: not reproduced, 22 % [15, 31]"


def drawn(svg):
    """Return what a row of the forest plot shows, in per cent of its width."""

    def place(tag, name):
        return float(tag[name].removesuffix("%"))

    band, interval, estimate = (svg.find(class_=name) for name in ("holds", "interval", "estimate"))
    lines = {
        name: [place(line, "x1") for line in svg.find_all(class_=name)]
        for name in ("tick", "bound", "fails")
    }
    for line in svg.find_all("line", class_=["tick", "bound", "fails"]):
        assert line["x1"] == line["x2"]
    return lines | {
        "holds": band and (place(band, "x"), place(band, "x") + place(band, "width")),
        "interval": interval and (place(interval, "x1"), place(interval, "x2")),
        "estimate": estimate and (place(estimate, "x"), next(estimate.children).name),
    }


def test_the_forest_plot_draws_each_estimate_where_it_is(folder, tmp_path):
    forest = soup(folder, tmp_path).find(class_="forest")
    ticks = {text.string: float(text["x"].rstrip("%")) for text in forest.thead.find_all("text")}
    assert list(ticks) == ["−20", "0", "20", "40", "60", "80", "100"]
    assert [*ticks.values()] == pytest.approx([100 * k / 6 for k in range(7)], abs=0.001)

    def at(value):  # per cent of the axis, from −0.2 to 1
        return pytest.approx(100 * (value + 0.2) / 1.2, abs=0.002)

    bodies = forest.find_all("tbody")
    assert [words(body.th) for body in bodies] == [
        "1a DEEP learns <XOR> (above 50 %)",
        "2b DEEP learns <XOR> (above −10 % (fails below 0 %))",
        "3 DEEP learns <XOR> (above 50 %)",
    ]
    rows = [row for body in bodies for row in body.find_all("tr")[1:]]
    first, second, third, more, narrow = (drawn(row.svg) for row in rows)
    assert first == {
        "tick": [*ticks.values()], "bound": [at(0.5)], "fails": [], "holds": (at(0.5), 100),
        "interval": (at(0.15), at(0.31)), "estimate": (at(0.22), "path"),
    }  # fmt: skip
    assert second == first | {
        "bound": [at(-0.1)], "fails": [at(0)], "holds": (at(-0.1), 100),
        "interval": (0, at(0.05)), "estimate": (at(-0.123456), "path"),
    }  # fmt: skip
    assert third == first | {"interval": None, "estimate": None}
    assert more == first | {
        "bound": [at(0.4)], "holds": (0, at(0.4)), "estimate": (at(0.22), "circle"),
    }  # fmt: skip
    assert (narrow["bound"], narrow["interval"]) == ([at(1)], (at(0.22), at(0.22)))
    shapes = {words(row.td): row.svg.find(class_="estimate") for row in rows[:2]}
    assert str(shapes["XOR"].path) != str(shapes["AND"].path)  # not by colour alone
    assert [words(row.find_all("td")[2]) for row in rows] == [
        "22 % [15, 31]", "−12.3 % [−20, 5]", "no networks", "22 % [15, 31]", "22 %",
    ]  # fmt: skip


ROOT = Path(__file__).parent.parent


def test_the_report_of_the_stored_run_shows_its_table(tmp_path):
    page = soup(ROOT / "figures", tmp_path)
    with (ROOT / "figures" / "claims" / "claims.csv").open(encoding="utf-8") as file:
        table = list(csv.DictReader(file))
    cells, forest = matrix(page), page.find(class_="forest")
    ticks = {
        float(text.string.replace("−", "-")) / 100: float(text["x"].rstrip("%"))
        for text in forest.thead.find_all("text")
    }
    (start, first), (end, last) = list(ticks.items())[:: len(ticks) - 1]
    rows = [row for row in forest.find_all("tr") if row.find(class_="bound")]
    assert len(cells) == len(rows) == len(table) > 50
    for number, (entry, row) in enumerate(zip(table, rows, strict=True)):
        symbol, _, opened = cells[entry["id"], entry["task"].upper()]
        plain = {"reproduced": "✓", "inconclusive": "~", "not reproduced": "✗"}[entry["verdict"]]
        if plain == "✓" and int(entry["settings"]):
            if entry["near_reproduced"] == entry["near_settings"]:
                plain = "✓✓"
            elif entry["refuted_at"]:
                plain = "(✓)"
        assert (symbol, opened) == (plain, f"verdict-{number}")
        entries = card(page, number)[1]
        assert [entries[name] for name in ("Claim", "Quantity", "Reproduced if", "Command")] == [
            entry[name] for name in ("statement", "quantity", "rule", "command")
        ]
        shown = drawn(row.svg)
        for place, name in zip(
            (shown["estimate"][0], *shown["interval"]), ("estimate", "low", "high"), strict=True
        ):
            value = start + (place - first) / (last - first) * (end - start)
            assert value == pytest.approx(float(entry[name]), abs=1e-4)
        low, high = shown["interval"]
        inside = shown["holds"][0] <= low <= high <= shown["holds"][1]
        assert inside or entry["verdict"] != "reproduced"
    assert len(page.find(class_="findings").find_all("li")) == 5
    # Experiments that share a notebook come last.
    names = [tag["id"].removeprefix("experiment-") for tag in page.find_all("h3", id=True)]
    names = [name for name in names if not name.startswith("title-")]
    assert names[:2] == ["claims", "contracting"]
    assert names[-15:] == [
        f"{model}-{task}"
        for model in ("DEEP", "DEEP_oh", "EP_asym")
        for task in ("and", "id", "not", "or", "xor")
    ]
    for contents in page.find_all("nav"):
        links = [words(link) for link in contents.ul.ul.find_all("a")]
        assert links == names
    links = page.find(class_="findings").find_all("a")
    for link in [*links, *forest.find_all("a")]:
        assert words(page.find(id=link["href"].removeprefix("#")).strong) == words(link)


def test_every_figure_says_what_to_see():
    aids = yaml.safe_load((ROOT / "deep_nb" / "report.yml").read_text(encoding="utf-8"))
    used = set()
    for section in read_sections(ROOT / "figures"):
        for figure in section.figures:
            assert figure.see, (section.name, figure.caption)
            used.add(figure.see)
    used.add(aids["logical_operations"]["sparsity"])  # of runs with pruning
    assert used == {text for of_notebook in aids.values() for text in of_notebook.values()}
    assert what_to_see("claims", "robustness_EP_asym").startswith("Compare the framed cell")
    assert what_to_see("claims", "other") == what_to_see("other", "error") == ""


def test_texts_of_the_table_are_shown_and_not_run(folder, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    evil = "</script></style>'\"><script>alert(1)</script><img src=x onerror=alert(1)>"
    path = copy / "claims" / "claims.csv"
    claims = pd.read_csv(path, dtype={"id": str})
    texts = ["id", "statement", "evidence", "note", "task", "quantity", "rule", "at_best"]
    claims[[*texts, "command"]] = evil
    claims.to_csv(path, index=False)
    sign(copy)
    page, plain = soup(copy, tmp_path), soup(folder, tmp_path)
    for tag in ("script", "style", "img"):
        assert len(page.find_all(tag)) == len(plain.find_all(tag))
    assert all(not name.startswith("on") for tag in page.find_all() for name in tag.attrs)
    entries = card(page, 0)[1]
    assert {entries[name] for name in ("Claim", "Evidence", "Quantity", "Command")} == {evil}


def test_a_part_of_the_claims_makes_a_report(folder, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    path = copy / "claims" / "claims.csv"
    claims = pd.read_csv(path, dtype={"id": str}).iloc[:1]
    claims.assign(quantity="share of DEEP: learned").to_csv(path, index=False)
    for figure in copy.rglob("*.svg"):
        figure.unlink()
    sign(copy)
    page = soup(copy, tmp_path)
    assert [words(item) for item in page.find(class_="findings").find_all("li")] == [
        "Verdicts. Of 1 verdict on 1 claim, 0 are “reproduced”, 1 “not reproduced” and 0 "
        "“inconclusive”; 1 of them could not have been refuted, by algebra.",
        "XOR. DEEP learns XOR in 22 % [15, 31] of networks. (1a)",
        "Tasks and architectures. DEEP learns in 22 % [15, 31] (XOR) of networks. (1a)",
    ]
    assert list(matrix(page)) == [("1a", "XOR")]
    assert "The experiments of this batch left no figures." in words(page)
    shutil.rmtree(copy / "claims")
    sign(copy)
    page = soup(copy, tmp_path)
    assert page.find(class_="matrix") is page.find(class_="forest") is None
    assert "This batch did not evaluate the claims." in words(page)


def test_the_explorer_is_in_the_report(folder, tmp_path):
    page = soup(folder, tmp_path)
    (script,) = page.find_all("script")
    assert not script.has_attr("src")
    start, rest = script.string.split('mount(document.querySelector("#explorer"), ...')
    assert "export function mount(root, catalogue, given" in start
    catalogue, given = json.loads(rest.strip().removesuffix(");"))
    assert (given["model"]["name"], given["task"]["name"]) == ("DEEP", "xor")
    assert "contracting DEEP" in catalogue["models"]
    assert page.find(id="explorer").find_parent("main")


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


def test_texts_of_experiments_are_shown_and_cannot_run(folder, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    (copy / "n7" / "table.md").write_text(
        "| a | b |\n|---|---|\n| 1<br>2 | `x` <script>alert(1)</script> |\n\n"
        "[there](javascript:alert(1))\n",
        encoding="utf-8",
    )
    (copy / "claims" / "claims.md").write_text("| not | shown |\n", encoding="utf-8")
    sign(copy)
    page = soup(copy, tmp_path)
    (note,) = page.find_all(class_="note")
    assert note.find_previous("h3")["id"] == "experiment-n7"
    assert [words(cell) for cell in note.find_all("th")] == ["a", "b"]
    first, second = note.find_all("td")
    assert [*first.stripped_strings] == ["1", "2"]
    assert second.code.get_text() == "x"
    assert not note.find_all("script")
    assert "<script>alert(1)</script>" in second.get_text()
    assert all("javascript" not in link["href"] for link in note.find_all("a"))
