"""The report: one self-contained HTML page of a finished replicate."""

from __future__ import annotations

import base64
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import jinja2
import pandas as pd

from deep_nb._files import write_text
from deep_nb.claims.evaluation import COLUMNS, TEXTS
from deep_nb.claims.table import claims_table
from deep_nb.kinds import as_path, short
from deep_nb.models import MODELS
from deep_nb.replication.notebooks import read_notebook

_DESCRIPTION = "{http://purl.org/dc/elements/1.1/}description"
#: What a provenance must tell to be shown.
ORIGIN = ("deep_nb", "commit", "python", "versions", "platform", "cpu", "cores")

_MARKS = "<!-- claims: begin -->\n", "<!-- claims: end -->\n"


@dataclass(frozen=True)
class Figure:
    """A figure with its caption; `source` is a data URI."""

    caption: str
    source: str


@dataclass(frozen=True)
class Section:
    """One experiment of a replicate, as its executed notebook tells it."""

    name: str
    title: str
    pages: list[Path]
    parameters: dict[str, Any]
    started: str
    seconds: float
    error: str
    provenance: dict[str, Any]
    figures: list[Figure]


def read_sections(folder: str | Path) -> list[Section]:
    """Read every experiment of a replicate.

    Parameters
    ----------
    folder : path-like
        As `deep_nb.replication.batch.replicate` leaves it.

    Raises
    ------
    FileNotFoundError, OSError
        If there is no executed notebook in it, or a file cannot be read.
    ValueError
        If `folder` is no path, or a notebook is not one that was executed by `replicate`.
    """
    notebooks = sorted(as_path(folder, "folder").glob("*/*.ipynb"))
    if not notebooks:
        raise FileNotFoundError(
            f"no executed notebooks in {folder}: make them with deep-nb replicate"
        )
    return [_section(path) for path in notebooks]


def _section(path: Path) -> Section:
    notebook = read_notebook(path)
    cells = notebook.cells
    try:
        provenance = dict(notebook.metadata["deep_nb"])
        parameters, failure = provenance["parameters"], str(provenance["error"])
        started, seconds = str(provenance["started"]), float(provenance["seconds"])
        origin = {name: provenance[name] for name in ORIGIN}
    except (KeyError, TypeError, ValueError) as error:
        what = f"{path} is not an executed notebook of deep-nb replicate"
        raise ValueError(f"{what}: {short(error)}") from None
    headings = [
        match[1]
        for cell in cells
        if cell.cell_type == "markdown"
        for match in re.finditer(r"^# (.+)$", cell.source, re.MULTILINE)
    ]
    return Section(
        name=path.parent.name,
        title=headings[0] if headings else path.stem,
        pages=[page for page in (path.with_suffix(".html"), path) if page.is_file()],
        parameters=parameters,
        started=started,
        seconds=seconds,
        error=failure,
        provenance=origin,
        figures=[_figure(figure) for figure in sorted(path.parent.glob("*.svg"))],
    )


def _figure(path: Path) -> Figure:
    content = path.read_bytes()
    try:
        caption = ElementTree.fromstring(content).findtext(f".//{_DESCRIPTION}") or path.stem
    except ElementTree.ParseError as error:
        raise ValueError(f"{path} is not a whole SVG figure: {error}") from None
    encoded = base64.b64encode(content).decode("ascii")
    return Figure(caption, f"data:image/svg+xml;base64,{encoded}")


def read_table(folder: str | Path) -> pd.DataFrame | None:
    """Return a replicate's claims table, or None where its claims were not run.

    Raises
    ------
    ValueError
        If `folder` is no path, or the file no claims table.
    OSError
        If the file cannot be read.
    """
    path = as_path(folder, "folder") / "claims" / "claims.csv"
    if not path.is_file():
        return None
    try:
        table = pd.read_csv(path, dtype=dict.fromkeys(TEXTS, str))
        return table[list(COLUMNS)].fillna({"at_best": "", "bound": ""})
    except (KeyError, ValueError) as error:
        raise ValueError(f"{path} is not a claims table: {error}") from None


def write_report(folder: str | Path, target: str | Path | None = None) -> Path:
    """Write the report of a finished replicate, readable offline.

    Parameters
    ----------
    folder : path-like
        The replicate.
    target : path-like, optional
        By default ``report.html`` in the folder. Links to the executed notebooks are relative.

    Returns
    -------
    Path
        The page.

    Raises
    ------
    FileNotFoundError, OSError, ValueError
        As `read_sections` and `read_table`, or if `target` is no path or cannot be written.
    """
    folder = as_path(folder, "folder")
    target = folder / "report.html" if target is None else as_path(target, "target")
    sections = read_sections(folder)
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("deep_nb", "."),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    table = read_table(folder)
    root = target.resolve().parent
    page = environment.get_template("report.html.j2").render(
        claims=[] if table is None else table.to_dict("records"),
        sections=sections,
        models={name: dict(model) | dict(model.hyper) for name, model in MODELS.items()},
        origins=_origins(sections),
        link=lambda path: Path(os.path.relpath(path.resolve(), root)).as_posix(),
    )
    write_text(target, page)
    return target


def _origins(sections: list[Section]) -> list[tuple[dict[str, Any], list[str]]]:
    """Return each provenance with the experiments that have it: one, if all ran alike."""
    origins: list[tuple[dict[str, Any], list[str]]] = []
    for section in sections:
        for provenance, names in origins:
            if provenance == section.provenance:
                names.append(section.name)
                break
        else:
            origins.append((section.provenance, [section.name]))
    return origins


def insert_claims(page: Path, table: pd.DataFrame) -> None:
    """Put the claims table between the marks of a Markdown page.

    Raises
    ------
    ValueError
        If `page` is no path, `table` no claims table, or the page does not have both marks.
    OSError
        If the page cannot be read or written.
    """
    page, rows = as_path(page, "page"), claims_table(table)
    text = page.read_text(encoding="utf-8")
    before, begin, rest = text.partition(_MARKS[0])
    _, end, after = rest.partition(_MARKS[1])
    if not begin or not end:
        raise ValueError(f"{page} has no lines {_MARKS[0].strip()!r} and {_MARKS[1].strip()!r}")
    write_text(page, f"{before}{begin}\n{rows}\n{end}{after}")
