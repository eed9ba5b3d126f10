"""The report: one self-contained HTML page about a finished batch."""

import base64
import math
import os
import re
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import quote
from xml.etree import ElementTree

import jinja2
import mistune
import numpy as np
import pandas as pd
from matplotlib.ticker import MaxNLocator
from pydantic import Field

from deep_nb._files import storable, write_text
from deep_nb._reading import read_bytes, read_csv, read_text, read_yaml
from deep_nb._validation import Frozen, as_path, mapping, table
from deep_nb.claims import verdict_table
from deep_nb.claims.evaluation import COLUMNS, OPTIONAL, TEXTS
from deep_nb.claims.findings import findings
from deep_nb.claims.table import (
    check_verdicts,
    legend,
    symbol,
    with_interval,
)
from deep_nb.explorer import page as explorer
from deep_nb.models import MODELS
from deep_nb.replication.names import CHECKSUMS
from deep_nb.replication.notebooks import read_notebook
from deep_nb.replication.verification import verify

_DESCRIPTION = "{http://purl.org/dc/elements/1.1/}description"

#: Columns of the claims table that hold numbers; those with "?" may be empty.
NUMBERS = (
    "estimate? low? high? p? p_holm? networks runaway settings reproduced_at not_reproduced_at "
    "nearest? within?"
)

#: Entries of an origin that experiments with the same code, versions and machine share.
PROVENANCE = ("deep_nb", "commit", "python", "versions", "platform", "cpu", "cores")

#: A number in a rule of the claims table.
_BOUND = r"-?\d{1,9}(?:\.\d+)?"

#: Where an experiment leaves the table of models, tasks, learning and certificates.
CONTRACTING = "contracting/learned_and_certified.md"

#: Where an experiment leaves one sentence about real data.
REAL_DATA = "real_data/verdict.md"


@dataclass(frozen=True)
class Figure:
    """A figure with its caption, and where to look; `source` is a data URI."""

    caption: str
    see: str
    source: str


class Origin(Frozen):
    """What the batch writes into an executed notebook, checked because others may change it."""

    parameters: dict[str, Any]
    started: str
    seconds: float = Field(ge=0)
    error: str
    deep_nb: str
    commit: str
    python: str
    versions: dict[str, str]
    platform: str
    cpu: str
    cores: int


@dataclass(frozen=True)
class Section:
    """One experiment of a batch, read from its executed notebook."""

    name: str
    title: str
    pages: list[Path]
    parameters: dict[str, Any]
    started: str
    seconds: float
    error: str
    provenance: dict[str, Any]
    notes: list[str]
    figures: list[Figure]


def read_sections(folder: Path) -> list[Section]:
    """Read every experiment of a batch."""
    notebooks = sorted(folder.glob("[!.]*/*.ipynb"))
    if not notebooks:
        raise FileNotFoundError(
            f"no executed notebooks in {folder}: make them with deep-nb replicate"
        )
    return [_section(path) for path in notebooks]


def _section(path: Path) -> Section:
    notebook = read_notebook(path)
    try:
        given = mapping(notebook.metadata.get("deep_nb"), "deep_nb")
        origin = Origin(**{name: given[name] for name in Origin.model_fields if name in given})
    except ValueError as wrong:
        what = f"{path} is not an executed notebook of deep-nb replicate"
        raise ValueError(f"{what}: {wrong}") from None
    headings = [
        match[1]
        for cell in notebook.cells
        if cell.cell_type == "markdown"
        for match in re.finditer(r"^# (.+)$", cell.source, re.MULTILINE)
    ]
    return Section(
        name=path.parent.name,
        title=headings[0] if headings else path.stem,
        pages=[page for page in (path.with_suffix(".html"), path) if page.is_file()],
        parameters=origin.parameters,
        started=origin.started,
        seconds=origin.seconds,
        error=origin.error,
        provenance=origin.model_dump(include=set(PROVENANCE)),
        notes=[
            _markdown(read_text(note))
            for note in sorted(path.parent.glob("*.md"))
            if note.name != "claims.md"  # the verdicts show it
        ],
        figures=[_figure(figure, path.stem) for figure in sorted(path.parent.rglob("*.svg"))],
    )


def _markdown(text: str) -> str:
    """Return the HTML of a text in Markdown; of HTML in it only ``<br>`` has a meaning."""
    html = mistune.create_markdown(escape=True, plugins=["table"])(storable(text))
    return str(html).replace("&lt;br&gt;", "<br>")


def _figure(path: Path, notebook: str) -> Figure:
    content = read_bytes(path)
    try:
        caption = ElementTree.fromstring(content).findtext(f".//{_DESCRIPTION}") or path.stem
    except (ElementTree.ParseError, LookupError, ValueError) as error:  # or unknown encodings
        raise ValueError(f"{path} is not a complete SVG figure: {error}") from None
    encoded = base64.b64encode(content).decode("ascii")
    return Figure(caption, what_to_see(notebook, path.stem), f"data:image/svg+xml;base64,{encoded}")


def what_to_see(notebook: str, figure: str) -> str:
    """Return where to look in a figure of a notebook, as ``report.yml`` has it, or nothing."""
    patterns = _reading_aids().get(notebook, {})
    return next((text for pattern, text in patterns.items() if fnmatch(figure, pattern)), "")


@cache
def _reading_aids() -> dict[str, dict[str, str]]:
    return read_yaml(files("deep_nb").joinpath("report.yml").read_text(encoding="utf-8"))


def read_table(folder: Path) -> pd.DataFrame | None:
    """Return the claims table of a batch, or None if the batch did not evaluate the claims."""
    path = folder / "claims" / "claims.csv"
    if not path.is_file():
        return None
    try:
        claims = read_csv(path, dtype=dict.fromkeys(TEXTS, str))
        claims = claims[list(COLUMNS)].fillna(dict.fromkeys(OPTIONAL, ""))
        checked = table(claims, "it", NUMBERS, " ".join(TEXTS))
        check_verdicts(checked)
        return checked
    except (KeyError, ValueError) as error:
        raise ValueError(f"{path} is not a claims table: {error}") from None


def write_report(folder: str | Path, target: str | Path | None = None) -> Path:
    """Write the report of a finished batch: one HTML page that works offline.

    Parameters
    ----------
    folder : path-like
        The output folder of `deep_nb.replication.replicate`, or its figures.
    target : path-like, optional
        By default ``report.html`` in the folder. Links to the executed notebooks are relative.

    Returns
    -------
    Path
        The page.

    Raises
    ------
    FileNotFoundError, OSError
        If the folder does not contain ``SHA256SUMS`` or any executed notebook, a file cannot be
        read, or the page cannot be written.
    ValueError
        If an argument is not a path, a file is damaged, or the files of the experiments do not
        agree with ``SHA256SUMS``.

    See Also
    --------
    deep_nb.replication.replicate : Execute the experiments.
    deep_nb.replication.verify : List the files that do not agree with ``SHA256SUMS``.
    deep_nb.claims.evaluate : Make the claims table that the report shows.

    Examples
    --------
    >>> import hashlib, pathlib, tempfile
    >>> import deep_nb, nbformat
    >>> origin = {"parameters": {"n": 1}, "started": "2020-06-14", "seconds": 1.5, "error": ""}
    >>> origin |= {"deep_nb": "0.2.0", "commit": "", "python": "3.11", "versions": {}}
    >>> origin |= {"platform": "Linux", "cpu": "unknown", "cores": 2}
    >>> notebook = nbformat.v4.new_notebook(metadata={"deep_nb": origin})
    >>> with tempfile.TemporaryDirectory() as name:
    ...     path = pathlib.Path(name, "xor", "xor.ipynb")
    ...     path.parent.mkdir()
    ...     nbformat.write(notebook, path)
    ...     digest = hashlib.sha256(path.read_bytes()).hexdigest()
    ...     _ = pathlib.Path(name, "SHA256SUMS").write_text(f"{digest}  xor/xor.ipynb")
    ...     page = deep_nb.write_report(name)
    ...     "<td>done</td>" in page.read_text()
    True
    """
    folder = as_path(folder, "folder")
    target = folder / "report.html" if target is None else as_path(target, "target")
    _check_files(folder)
    sections = read_sections(folder)
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("deep_nb", "."),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["kind"] = lambda verdict: verdict.replace(" ", "-")
    claims = read_table(folder)
    root = target.resolve().parent
    page = environment.get_template("report.html.j2").render(
        **({} if claims is None else _verdicts(claims)),
        evaluated=claims is not None,
        explorer_style=explorer.STYLE.read_text(encoding="utf-8"),
        explorer_script=explorer.module("#explorer", "DEEP", "xor"),
        sections=_in_order(sections),
        models={name: dict(model) | dict(model.hyper) for name, model in MODELS.items()},
        origins=_origins(sections),
        link=lambda path: _link(path.resolve(), root),
    )
    write_text(target, storable(page))
    return target


def _in_order(sections: list[Section]) -> list[Section]:
    """Put experiments of one notebook with many settings after the others."""
    notebooks = [section.pages[-1].stem for section in sections]
    return sorted(sections, key=lambda s: (notebooks.count(s.pages[-1].stem) > 1, s.name))


def _check_files(folder: Path) -> None:
    """Refuse a batch whose files are not those that its experiments left."""
    _, wrong = verify(folder)
    if wrong:
        more = f", and {len(wrong) - 1} more" if len(wrong) > 1 else ""
        raise ValueError(
            f"the files in {folder} do not agree with {CHECKSUMS}: {wrong[0]}{more}; deep-nb "
            "verify lists them"
        )


def _link(path: Path, root: Path) -> str:
    """Return the relative address of a file, in which a name cannot act as a scheme or query."""
    return quote(os.fsencode(Path(os.path.relpath(path, root)).as_posix()))


def _origins(sections: list[Section]) -> list[tuple[dict[str, Any], list[str]]]:
    """Return each distinct provenance with the names of its experiments."""
    origins: list[tuple[dict[str, Any], list[str]]] = []
    for section in sections:
        for provenance, names in origins:
            if provenance == section.provenance:
                names.append(section.name)
                break
        else:
            origins.append((section.provenance, [section.name]))
    return origins


def _verdicts(claims: pd.DataFrame) -> dict[str, Any]:
    """Return what the page shows of the claims table."""
    bounds = [bound for rule in claims["rule"] for _, bound in _sides(rule)]
    ends = np.r_[0, 1, bounds, claims[["estimate", "low", "high"]].to_numpy(float).ravel()]
    locator = MaxNLocator(6, steps=[1, 2, 2.5, 5, 10])
    ticks = [float(tick) for tick in locator.tick_values(np.nanmin(ends), np.nanmax(ends))]
    scale = Scale(ticks[0], ticks[-1])
    by_claim: dict[str, list[dict[Any, Any]]] = {}
    for number, row in enumerate(claims.to_dict("records")):
        shown = {"number": number, "symbol": symbol(row)} | _in_words(row)
        by_claim.setdefault(row["id"], []).append({**row, **shown, **_places(row, scale)})
    return {
        "claims": list(by_claim.values()),
        "numbers": {claim: number for number, claim in enumerate(by_claim)},
        "tasks": list(dict.fromkeys(claims["task"])),
        "findings": findings(claims),
        "legend": legend(claims),
        "ticks": [(scale(tick), _percent(tick).removesuffix(" %")) for tick in ticks],
    }


def _in_words(row: dict[Any, Any]) -> dict[str, str]:
    """Return the estimate and the rule of a claim in per cent."""
    return {
        "shown": _minus(with_interval(row)) if row["networks"] else "no networks",
        "condition": re.sub(_BOUND, lambda bound: _percent(float(bound[0])), row["rule"]),
    }


def _percent(value: float) -> str:
    return _minus(f"{100 * value:.3g} %")


def _minus(text: str) -> str:
    return text.replace("-", "−")


@dataclass(frozen=True)
class Scale:
    """Places of numbers between two ends of an axis, in per cent of its length."""

    first: float
    last: float

    def __call__(self, value: float) -> float | None:
        """Return the place of a number, or None for NaN."""
        if math.isnan(value):
            return None
        return round(100 * (value - self.first) / (self.last - self.first), 3)


def _places(row: dict[Any, Any], scale: Scale) -> dict[str, Any]:
    """Return where the forest plot has the interval of a claim and the sides of its rule."""
    return {
        "place": {name: scale(row[name]) for name in ("estimate", "low", "high")},
        "sides": [(side, scale(bound)) for side, bound in _sides(row["rule"])],
    }


def _sides(rule: str) -> list[tuple[str, float]]:
    """Return the side and the number of a rule, and those of its "fails" if it has one."""
    if rule == "all are":
        return [("above", 1.0)]
    found = re.findall(f"(above|below) ({_BOUND})", rule)
    return [(side, float(bound)) for side, bound in found]


def insert_claims(page: Path, claims: pd.DataFrame) -> None:
    """Put the table of verdicts between the marks of a Markdown page."""
    _insert(page, "claims", verdict_table(claims))


def insert_contracting(page: Path, folder: Path) -> None:
    """Put the table of what each model learns and what is certified there, if the batch has it."""
    if (table := folder / CONTRACTING).exists():
        _insert(page, "contracting", read_text(table))


def insert_real_data(page: Path, folder: Path) -> None:
    """Put the sentence about real data between its marks, if the batch has it."""
    if (sentence := folder / REAL_DATA).exists():
        _insert(page, "real_data", read_text(sentence))


def _insert(page: Path, name: str, text: str) -> None:
    marks = f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->\n"
    content = read_text(page)
    before, begin, rest = content.partition(marks[0])
    _, end, after = rest.partition(marks[1])
    if not begin or not end:
        raise ValueError(f"{page} must contain {marks[0].strip()!r} and {marks[1].strip()!r}")
    write_text(page, f"{before}{begin}\n{text}\n{end}{after}")
