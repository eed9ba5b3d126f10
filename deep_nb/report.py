"""The report: one self-contained HTML page about a finished batch."""

import base64
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote
from xml.etree import ElementTree

import jinja2
import pandas as pd
from pydantic import Field

from deep_nb._files import storable, write_text
from deep_nb._reading import read_bytes, read_csv, read_text
from deep_nb._validation import Frozen, as_path, mapping, table
from deep_nb.claims import verdict_table
from deep_nb.claims.evaluation import COLUMNS, OPTIONAL, TEXTS
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

#: Where an experiment leaves the table of models, tasks, learning and certificates.
CONTRACTING = "contracting/learned_and_certified.md"

#: Where an experiment leaves one sentence about real data.
REAL_DATA = "real_data/verdict.md"


@dataclass(frozen=True)
class Figure:
    """A figure with its caption; `source` is a data URI."""

    caption: str
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
        figures=[_figure(figure) for figure in sorted(path.parent.rglob("*.svg"))],
    )


def _figure(path: Path) -> Figure:
    content = read_bytes(path)
    try:
        caption = ElementTree.fromstring(content).findtext(f".//{_DESCRIPTION}") or path.stem
    except (ElementTree.ParseError, LookupError, ValueError) as error:  # or unknown encodings
        raise ValueError(f"{path} is not a complete SVG figure: {error}") from None
    encoded = base64.b64encode(content).decode("ascii")
    return Figure(caption, f"data:image/svg+xml;base64,{encoded}")


def read_table(folder: Path) -> pd.DataFrame | None:
    """Return the claims table of a batch, or None if the batch did not evaluate the claims."""
    path = folder / "claims" / "claims.csv"
    if not path.is_file():
        return None
    try:
        claims = read_csv(path, dtype=dict.fromkeys(TEXTS, str))
        claims = claims[list(COLUMNS)].fillna(dict.fromkeys(OPTIONAL, ""))
        return table(claims, "it", NUMBERS, " ".join(TEXTS))
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
    claims = read_table(folder)
    root = target.resolve().parent
    page = environment.get_template("report.html.j2").render(
        claims=[] if claims is None else claims.to_dict("records"),
        sections=sections,
        models={name: dict(model) | dict(model.hyper) for name, model in MODELS.items()},
        origins=_origins(sections),
        link=lambda path: _link(path.resolve(), root),
    )
    write_text(target, storable(page))
    return target


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
