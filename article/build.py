"""Make the article from the stored results: Jinja writes the text, pandoc and Typst the PDF.

Every number of a result is a placeholder of a template. A sentence that is true of some results
only comes after a premise, ``{{ premise(...) }}``: from results that contradict it no article is
made, and the error says what has to be written anew.
"""

import argparse
import json
import math
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
import yaml

from deep_nb import claims
from deep_nb._files import write_bytes, write_text
from deep_nb.analysis.criterion import MSE_LEARNED
from deep_nb.analysis.stability import REST_SPEED
from deep_nb.claims.ensembles import BAND_SEEDS, READING
from deep_nb.claims.evaluation import ENSEMBLE, SIGNIFICANT
from deep_nb.claims.table import legend, symbol
from deep_nb.experiments.contracting import COMPARED, DENSITY
from deep_nb.experiments.errata import ERRATA
from deep_nb.experiments.real_data import ASIDE, FOLDS
from deep_nb.randomness import STATE_SCALE, WEIGHT_SCALE
from deep_nb.replication.notebooks import read_notebook
from deep_nb.report import read_table

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
FIGURES = ROOT / "figures"
BUILD = HERE / "build"

#: Numbers of the package that templates use: published settings, and those of our criteria.
CONSTANTS: dict[str, Any] = {
    "models": {model.name: model for model in COMPARED},
    "sources": claims.read_sources(),
    "errata": ERRATA,
    "golden": len([*ROOT.glob("tests/data/golden/*.npz")]),
    "MSE_LEARNED": MSE_LEARNED,
    "REST_SPEED": REST_SPEED,
    "BAND_SEEDS": BAND_SEEDS,
    "READING": READING,
    "ENSEMBLE": ENSEMBLE,
    "SIGNIFICANT": SIGNIFICANT,
    "ASIDE": ASIDE,
    "DENSITY": DENSITY,
    "FOLDS": FOLDS,
    "STATE_SCALE": STATE_SCALE,
    "WEIGHT_SCALE": WEIGHT_SCALE,
}

#: All p-values below this are shown alike.
LEAST_P = 1e-6


class Results:
    """The stored results of a full run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        found = read_table(folder)
        if found is None:
            raise FileNotFoundError(f"no claims table in {folder}")
        self.claims = found
        self._tables: dict[str, pd.DataFrame] = {}

    def rows(self, path: str, **where: Any) -> pd.DataFrame:
        """Return the rows of a table that have these values."""
        if path not in self._tables:
            self._tables[path] = pd.read_csv(self.folder / path)
        table = self._tables[path]
        return table[(table[list(where)] == list(where.values())).all(axis=1)]

    def row(self, path: str, **where: Any) -> pd.Series:
        """Return the one row of a table that has these values."""
        return _only(self.rows(path, **where), f"row of {path} with {where}")

    def claim(self, of: str, task: str = "xor") -> pd.Series:
        """Return a claim's row for a task."""
        table = self.claims
        return _only(table[(table["id"] == of) & (table["task"] == task)], f"row of {of}, {task}")

    def verdict(self, of: str, *tasks: str) -> str:
        """Return the verdict on a claim, or all verdicts if tasks have different ones."""
        table = self.claims[self.claims["id"] == of]
        found = (table[table["task"].isin(tasks)] if tasks else table)["verdict"]
        return ", ".join(found.unique())

    def count(self, model: str, task: str, what: str = "learned") -> int:
        """Return how many networks have learned, are certified, or come to rest."""
        return self.row("contracting/learned_and_certified.csv", model=model, task=task)[what]

    def printed(self, experiment: str, pattern: str) -> list[str]:
        """Return the groups of the only match of a pattern in what an experiment's cells print."""
        (path,) = (self.folder / experiment).glob("*.ipynb")
        outputs = [o for cell in read_notebook(path).cells for o in cell.get("outputs", [])]
        text = "".join(o["text"] for o in outputs if o["output_type"] == "stream")
        return [*_only([*re.finditer(pattern, text)], f"{pattern!r} in {path}").groups()]

    def text(self, path: str) -> str:
        """Return a text that an experiment wrote."""
        return (self.folder / path).read_text(encoding="utf-8").strip()

    def parameters(self, experiment: str) -> dict[str, Any]:
        """Return the parameters with which an experiment ran."""
        record = (self.folder / experiment / "record.json").read_text()
        return json.loads(record)["origin"]["parameters"]

    def origins(self) -> pd.DataFrame:
        """Return where the results of each experiment come from."""
        paths = sorted(self.folder.glob("*/record.json"))
        return pd.DataFrame([json.loads(path.read_text())["origin"] for path in paths])


def _only(found: Any, what: str) -> Any:
    if len(found) != 1:
        raise ValueError(f"the text needs exactly one {what}; there are {len(found)}")
    return found.iloc[0] if isinstance(found, pd.DataFrame) else found[0]


def premise(holds: bool, words: str) -> str:
    """Return nothing if the results are such that the next sentences are true."""
    if not holds:
        raise ValueError(f"the results contradict the text where it says that {words}")
    return ""


def percent(value: float) -> str:
    """Return a share in per cent, with a space at which no line ends."""
    return f"{100 * value:.3g}\N{NO-BREAK SPACE}%"


def interval(row: pd.Series, name: str = "estimate") -> str:
    """Return a share and its 95 % interval in per cent."""
    low, high = (f"{100 * row[end]:.3g}" for end in ("low", "high"))
    text = percent(row[name]) + (f" [{low}, {high}]" if low != high else "")
    return text.replace("-", "−").replace(" ", "\N{NO-BREAK SPACE}")


def named(text: str) -> str:
    """Return a text with the models' names in words, and minus signs that are ones."""
    words = {"DEEP_oh": "one-hot DEEP", "EP_asym": "asymmetric EP", " -": " −"}
    for name, word in words.items():
        text = text.replace(name, word)
    return text


def respaced(text: str) -> str:
    """Return shares that a table holds as text, such as 97% [92%, 99%], as `interval` does."""
    spaced = re.sub(r"(\d+)% \[(\d+)%, (\d+)%\]", r"\1 % [\2, \3]", text)
    return spaced.replace(" ", "\N{NO-BREAK SPACE}")


def respaced_percent(text: str) -> str:
    """Return a text with a space, at which no line ends, before its per cent signs."""
    return re.sub(r"(?<=\d)%", "\N{NO-BREAK SPACE}%", text)


def p_value(p: float) -> str:
    """Return a p-value as a formula, alike for all below `LEAST_P`."""
    if p < LEAST_P:
        return f"$< {power(LEAST_P)}$"
    digit, exponent = f"{p:.0e}".split("e")
    if p >= 0.001:
        return f"${p:.1g}$"
    return rf"${digit} \cdot {power(10 ** int(exponent))}$".replace(r"$1 \cdot ", "$")


def power(value: float) -> str:
    """Return a power of ten as a formula."""
    return f"10^{{{round(math.log10(value))}}}"


def points(value: float) -> str:
    """Return a difference of shares in percentage points, with a minus sign that is one."""
    return f"{100 * value:.1f}".replace("-", "−")


def between(values: Iterable[Any], form: str = "") -> str:
    """Return the smallest and the largest value, or the only one, in per cent or in a format."""
    show = form.format if form else percent
    return " to ".join(dict.fromkeys((show(min(values)), show(max(values)))))


def counted(counts: dict[str, int]) -> str:
    """Return words with their counts, such as 45 reproduced, 4 inconclusive."""
    return ", ".join(f"{count} {word}" for word, count in counts.items())


def environment(results: Results) -> jinja2.Environment:
    """Return what renders templates: every name must exist, and every value must be known."""

    def known(value: Any) -> Any:
        if value is None or (isinstance(value, float) and value != value):
            raise ValueError(f"a placeholder of the text is {value}")
        return value

    found = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE),
        undefined=jinja2.StrictUndefined,
        finalize=known,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        comment_start_string="{!",  # {# begins an identifier of pandoc
        comment_end_string="!}",
    )
    found.filters.update(
        between=between,
        counted=counted,
        interval=interval,
        named=named,
        p_value=p_value,
        percent=percent,
        points=points,
        power=power,
        respaced=respaced,
        respaced_percent=respaced_percent,
    )
    found.globals.update(CONSTANTS, results=results, premise=premise, symbol=symbol)
    found.globals.update(legend=legend(results.claims))
    return found


def render(name: str, folder: Path = FIGURES) -> str:
    """Return the text of a template with the results of a folder."""
    return environment(Results(folder)).get_template(name).render()


def metadata(folder: Path = FIGURES) -> dict[str, Any]:
    """Return the metadata with the abstract and the date of the results."""
    found = yaml.safe_load((HERE / "metadata.yaml").read_text(encoding="utf-8"))
    last = max(map(datetime.fromisoformat, Results(folder).origins()["started"]))
    return {**found, "date": f"{last:%Y-%m-%d}", "abstract": render("abstract.md.j2", folder)}


def write_paper(folder: Path = FIGURES) -> None:
    """Write the short paper, which is Markdown and nothing else."""
    write_text(HERE / "paper.md", render("paper.md.j2", folder))


def write_sources(folder: Path = FIGURES) -> tuple[Path, datetime]:
    """Write metadata, Markdown and Typst of the article; return the last and the results' date."""
    import pypandoc

    found = metadata(folder)
    head = yaml.safe_dump(found, allow_unicode=True, sort_keys=False)
    text = f"---\n{head}---\n\n{render('article.md.j2', folder)}"
    template = ["--standalone", f"--template={HERE / 'template.typ'}"]
    typst = pypandoc.convert_text(text, "typst", format="markdown", extra_args=template)
    write_text(BUILD / "metadata.yaml", head)
    write_text(BUILD / "article.md", text)
    write_text(BUILD / "article.typ", typst)
    return BUILD / "article.typ", datetime.fromisoformat(found["date"]).replace(tzinfo=UTC)


def pdf(source: Path, date: datetime) -> bytes:
    """Return the article as PDF, with no fonts but those of Typst and Matplotlib."""
    import matplotlib as mpl
    import typst

    content, warnings = typst.compile_with_warnings(
        str(source),
        root=str(ROOT),
        font_paths=[str(Path(mpl.get_data_path()) / "fonts" / "ttf")],
        ignore_system_fonts=True,
        format="pdf",
        timestamp=date,
    )
    if warnings:
        raise ValueError(f"Typst warns: {'; '.join(map(str, warnings))}")
    return content


def main() -> None:
    """Make paper.md and article.pdf from the results in figures/."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--text", action="store_true", help="only paper.md; needs no pandoc")
    only_text = parser.parse_args().text
    write_paper()
    if not only_text:
        write_bytes(HERE / "article.pdf", pdf(*write_sources()))


if __name__ == "__main__":
    main()
