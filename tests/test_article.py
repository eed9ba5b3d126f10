"""The article takes every number of a result from the stored results, and says nothing else."""

import importlib.util
import json
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest
import yaml
from fontTools.ttLib import TTFont
from matplotlib import font_manager

ROOT = Path(__file__).parent.parent
ARTICLE = ROOT / "article"
FIGURES = ROOT / "figures"
TEMPLATES = ("abstract.md.j2", "article.md.j2", "paper.md.j2", "shared.md.j2")

spec = importlib.util.spec_from_file_location("article_build", ARTICLE / "build.py")
build = importlib.util.module_from_spec(spec)
spec.loader.exec_module(build)


@pytest.fixture(scope="module")
def text():
    return build.render("article.md.j2")


@pytest.fixture(scope="module")
def everything(text):
    """The article with its abstract, and the paper, as they are shown."""
    return build.metadata()["abstract"] + text + build.render("paper.md.j2")


@pytest.fixture
def folder(tmp_path):
    """A copy of the stored tables, records and executed notebooks."""
    for path in FIGURES.glob("*/*"):
        if path.suffix in (".csv", ".gz", ".json", ".ipynb", ".md"):
            (tmp_path / path.parent.name).mkdir(exist_ok=True)
            shutil.copy(path, tmp_path / path.parent.name)
    return tmp_path


def change(folder, name, column, new, where):
    """Write another value into one row of a stored table."""
    table = pd.read_csv(folder / name)
    rows = (table[list(where)] == list(where.values())).all(axis=1)
    assert rows.sum() == 1
    table.loc[rows, column] = new
    table.to_csv(folder / name, index=False)


def test_the_paper_is_that_of_the_stored_results():
    assert (ARTICLE / "paper.md").read_text(encoding="utf-8") == build.render("paper.md.j2")


@pytest.mark.slow
def test_every_placeholder_is_filled(everything):
    assert not re.search(r"\{\{|\{%|\{!|Undefined|\bnan\b|\bNone\b(?! of)|\binf\b", everything)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "column", "value", "where", "shown"),
    [
        ("claims/claims.csv", "estimate", 0.231, {"id": "1b"}, "23.1 % [15, 31.1]"),
        ("claims/claims.csv", "high", 0.641, {"id": "5b", "task": "xor"}, "43.5 % [25.6, 64.1]"),
        ("claims/claims.csv", "p_holm", 0.0713, {"id": "7", "task": "or"}, "| 100 | $0.07$ |"),
        ("claims/claims.csv", "reproduced_at", 51, {"id": "1c"}, "holds at 51 settings"),
        ("claims/claims.csv", "verdict", "reproduced", {"id": "7", "task": "and"}, "✗ | ✓ | ✓ |"),
        ("claims/curves.csv", "published", 0.1414,
         {"source": "DEEP 2019 figure", "statistic": "median", "epoch": 158}, "is at 0.141"),
        ("contracting/learned_and_certified.csv", "learned", 98,
         {"model": "contracting DEEP", "task": "xor"}, "98 · 100 · 100"),
        ("contracting/learned_and_certified.csv", "all", 97,
         {"model": "contracting DEEP", "task": "xor"}, "97 learn XOR with every phase"),
        ("contracting/parity.csv", "learned", "84% [71%, 91%]", {"bits": 4}, "84 % [71, 91]"),
        ("gradients/drive.csv", "angle", "9°",
         {"model": "contracting DEEP", "rule": "asymep", "β": "0.1"}, "angle of 9°"),
        ("real_data/accuracy.csv", "accuracy", 0.9512,
         {"data": "Digits", "model": "contracting DEEP"}, "right in 95.1 % to 98.3 %"),
        ("sparsity/trade_off.csv", "value", 0.02,
         {"task": "xor", "varied": "reg_W", "value": 0.01}, "from 0 to 0.02"),
    ],
)  # fmt: skip
def test_other_results_give_another_text(folder, everything, name, column, value, where, shown):
    def plain(text):
        return " ".join(text.replace("\N{NO-BREAK SPACE}", " ").split())

    change(folder, name, column, value, where)
    other = build.metadata(folder)["abstract"] + build.render("article.md.j2", folder)
    assert shown in plain(other)
    assert shown not in plain(everything)


@pytest.mark.slow
def test_what_notebooks_print_and_records_hold_is_read_anew(folder, text):
    path = folder / "sparsity" / "sparsity.ipynb"
    printed = path.read_text(encoding="utf-8")
    assert "4314 of them" in printed
    path.write_text(printed.replace("4314 of them", "4000 of them"), encoding="utf-8")
    record = folder / "claims" / "record.json"
    content = json.loads(record.read_text())
    content["origin"]["seconds"] += 600
    record.write_text(json.dumps(content))
    other = build.render("article.md.j2", folder)
    assert f"{4000 / 5647:.1%}".replace("%", "\N{NO-BREAK SPACE}%") in other
    minutes = [int(re.search(r"take (\d+)\s+minutes", shown)[1]) for shown in (text, other)]
    assert minutes[1] == minutes[0] + 10


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "column", "value", "where", "words"),
    [
        ("claims/claims.csv", "verdict", "inconclusive", {"id": "2a"}, "both published figures"),
        ("claims/claims.csv", "verdict", "reproduced", {"id": "1b"}, "most DEEP networks do not"),
        ("claims/claims.csv", "verdict", "not reproduced", {"id": "5c", "task": "and"},
         "all claims on learning that fail"),
        ("claims/claims.csv", "at_best", "reproduced", {"id": "1d"}, "EP at its best"),
        ("contracting/learned_and_certified.csv", "certified", 99,
         {"model": "fast contracting DEEP", "task": "or"}, "every contracting network"),
        ("real_data/differences.csv", "p_holm", 0.04, {"data": "Digits", "model": "tuned SVM"},
         "no tuned classifier is shown to differ"),
    ],
)  # fmt: skip
def test_results_that_contradict_the_text_are_refused(folder, name, column, value, where, words):
    change(folder, name, column, value, where)
    with pytest.raises(ValueError, match=f"contradict the text where it says that .*{words}"):
        build.render("abstract.md.j2", folder) + build.render("article.md.j2", folder)


def test_a_row_that_is_missing_or_there_twice_is_refused(folder):
    results = build.Results(folder)
    with pytest.raises(ValueError, match="exactly one row of 9, xor; there are 0"):
        results.claim("9")
    with pytest.raises(ValueError, match=r"exactly one row of contracting/parity.csv .* are 3"):
        results.row("contracting/parity.csv", certified=50)
    with pytest.raises(ValueError, match=r"exactly one 'DEEP' in .*errata.ipynb; there are \d"):
        results.printed("errata", "DEEP")
    with pytest.raises(ValueError, match="a placeholder of the text is nan"):
        build.environment(results).from_string("{{ 0 * float }}").render(float=float("inf"))


@pytest.mark.parametrize(
    ("p", "shown"),
    [(0.196, "$0.2$"), (0.0135, "$0.01$"), (0.00344, "$0.003$"), (7.5e-4, r"$8 \cdot 10^{-4}$"),
     (9.6e-6, "$10^{-5}$"), (1e-6, "$10^{-6}$"), (9e-7, "$< 10^{-6}$"), (0.0, "$< 10^{-6}$")],
)  # fmt: skip
def test_p_values_have_one_digit(p, shown):
    assert build.p_value(p) == shown


#: Numbers that templates may hold because they are no results, with the words around them: years,
#: the level of intervals, published code, what we chose, and numbers of claims and of statements.
NOT_RESULTS = [
    "Farinha et al. (2020)", "in 2019 (commit", "in 2020 (", "notebooks of 2019",
    "notebook of 2019", "notebook of 2020", "95 %", "seeds from 1000 on", "0 to {{",
    "set to 0 with", "is always 1", "where the number is 0", "noise of 10 %", "below 1 if",
    "For 5,", "Python 3.11", "(6a to 6c)", "claims 8a to 8c", "Claims 2a and 2b", "(defect 4)",
]  # fmt: skip
CLAIM_IDS = r"\((?:claim )?\d[a-d]?[,)]|(?<=medians, )5a"


def test_no_number_of_a_result_is_typed():
    sources = {name: (ARTICLE / name).read_text(encoding="utf-8") for name in TEMPLATES}
    sources["metadata.yaml"] = build.yaml.safe_load((ARTICLE / "metadata.yaml").read_text())[
        "title"
    ]
    used = set()
    for name, source in sources.items():
        text = re.sub(r"^---\n.*?^---\n|^```.*?^```", "", source, flags=re.M | re.S)  # code
        text = re.sub(r"`[^`]*`|\[@[^\]]*\]|@\w+|\{#[^}]*\}|^\d\.|\{!.*?!\}", "", text, flags=re.M)
        text = " ".join(text.split())
        for words in NOT_RESULTS:
            used |= {words} if words in text else set()
            text = text.replace(words, re.sub(r"\d", "", words))
        text = re.sub(CLAIM_IDS, "", text)
        text = re.sub(r"\{\{.*?\}\}|\{%.*?%\}", "•", text)
        for formula in re.findall(r"\$\$?(.+?)\$\$?", text):  # 0, 1, 2 belong to mathematics
            assert {*re.findall(r"\d+(?:\.\d+)?", formula)} <= {"0", "1", "2", "10", "9"}, formula
            assert not re.search(r"10(?!\^\{-9\}|\^\{\})|(?<!-)9", formula), formula
        text = re.sub(r"\$\$?.+?\$\$?", "", text)
        assert not re.findall(r".{0,40}(?<![A-Za-z])\d.{0,20}", text), name
    assert used == {*NOT_RESULTS}


def test_what_is_cited_and_referred_to_exists(text):
    entries = (ARTICLE / "references.bib").read_text(encoding="utf-8")
    keys = re.findall(r"^@\w+\{(\w+),", entries, re.M)
    cited = {*re.findall(r"(?<![\w`])@(\w+)", text)}
    assert cited <= {*keys}
    assert {*re.findall(r"(?<![\w`])@(\w+)", build.render("paper.md.j2"))} <= cited
    # Every work but those that only docstrings cite.
    assert {*keys} - cited == {"L"}
    labels = re.findall(r"\{#((?:fig|tbl):[\w-]+)", text)
    assert {*re.findall(r"`@([\w:-]+)`", text)} == {*labels}
    assert len({*labels}) == len(labels)
    for path in re.findall(r"!\[[^\]]*\]\(/([^)]+)\)", text):
        assert (ROOT / path).is_file()


def test_the_references_are_those_of_the_package():
    sources = "\n".join(p.read_text(encoding="utf-8") for p in ROOT.glob("deep_nb/**/*.py"))
    entries = re.split(r"^@", (ARTICLE / "references.bib").read_text(encoding="utf-8"), flags=re.M)
    for entry in entries[1:]:
        name = re.search(r"author\s*=\s*\{+(?:Tristany )?(\w+)", entry)[1]
        assert name in sources, name
        for number in re.findall(r"arXiv:([\d.]+\d)", entry):
            assert number in sources, number


def test_the_metadata_have_the_form_of_the_journal():
    content = yaml.safe_load((ARTICLE / "metadata.yaml").read_text(encoding="utf-8"))
    assert {"title", "authors", "keywords", "code", "replication", "bibliography", "type",
            "domain", "language", "review", "contributors", "dates", "article", "journal",
            "contributions"} <= {*content}  # fmt: skip
    assert [author["name"] for author in content["authors"]] == ["The deep_nb developers"]
    assert content["title"].startswith("[Re] Equilibrium Propagation for Complete Directed")
    found = build.metadata()
    assert {**found, **content} == found
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", found["date"])


def test_every_character_has_a_glyph(everything):
    path = font_manager.findfont("DejaVu Sans")  # the last font of the article's list
    assert {ord(c) for c in everything} - {ord("\n")} <= {*TTFont(path).getBestCmap()}


@pytest.mark.slow
def test_the_article_becomes_a_pdf():
    """Typst has no warning; another run gives the same bytes."""
    pytest.importorskip("pypandoc")
    pytest.importorskip("typst")
    first = build.pdf(*build.write_sources())
    assert first.startswith(b"%PDF-")
    assert len(first) > 200_000
    assert build.pdf(*build.write_sources()) == first
    written = yaml.safe_load((build.BUILD / "metadata.yaml").read_text(encoding="utf-8"))
    assert written == build.metadata()
