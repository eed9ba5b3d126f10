"""Records: what proves that an experiment is done, and from what."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal, NamedTuple

from deep_nb._files import sha256, write_text
from deep_nb._provenance import differences
from deep_nb.checks import Frozen, mapping
from deep_nb.kinds import MAPPING, TEXT, a, as_path, takes
from deep_nb.replication.jobs import Job

#: The record's name in an experiment's folder. It is written last: without it nothing is done.
RECORD = "record.json"


class Record(Frozen):
    """How an experiment ended, and the files it left.

    Attributes
    ----------
    error : str
        Empty if it went well.
    origin : dict
        Provenance, parameters, start and duration.
    fingerprint : dict
        As of `deep_nb.replication.jobs.Job.fingerprint`.
    files : dict
        From each file's name to its SHA-256.

    Raises
    ------
    ValueError
        If a value is missing or of the wrong type.
    """

    error: str
    origin: dict[str, Any]
    fingerprint: dict[str, Any]
    files: dict[str, str]


class State(NamedTuple):
    """Where an experiment stands.

    Attributes
    ----------
    name : str
    status : str
        "done", "stale", "failed" or "missing".
    why : list of str
        What changed or went wrong, a line each; empty if done.
    """

    name: str
    status: Literal["done", "stale", "failed", "missing"]
    why: list[str]


@takes(record=a(Record))
def write_record(record: Record, folder: Path) -> None:
    """Write an experiment's record into its folder, in one step.

    Raises
    ------
    ValueError
        If `record` is none, or holds other than JSON types, or `folder` is no path.
    OSError
        If it cannot be written.
    """
    try:
        text = json.dumps(dict(record), indent=1, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"record must be made of JSON types: {error}") from None
    write_text(as_path(folder, "folder") / RECORD, text + "\n")


def read_record(folder: Path) -> Record | None:
    """Read an experiment's record; None if there is none.

    Raises
    ------
    ValueError
        If it is damaged, or `folder` is no path.
    OSError
        If it cannot be read.
    """
    path = as_path(folder, "folder") / RECORD
    if not path.is_file():
        return None
    try:
        return Record(**mapping(json.loads(path.read_text(encoding="utf-8")), "a record"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is damaged: {error}") from None


@takes(job=a(Job))
def state(job: Job, folder: Path) -> State:
    """Return where a job stands whose results belong into a folder.

    Done means: it went well, its files are there with the right checksums, and neither notebook,
    parameters, package nor versions have changed since.

    Raises
    ------
    ValueError
        If `job` is none, its notebook none, or `folder` is no path.
    OSError
        If a file cannot be read.
    """
    folder = as_path(folder, "folder")
    try:
        record = read_record(folder)
    except ValueError as error:
        return State(job.name, "stale", [str(error)])
    if record is None:
        return State(job.name, "missing", ["it has not run to its end yet"])
    if record.error:
        return State(job.name, "failed", record.error.strip().splitlines())
    why = damage(folder, record.files) + differences(record.fingerprint, job.fingerprint)
    return State(job.name, "stale" if why else "done", why)


@takes(files=MAPPING)
def damage(folder: Path, files: dict[str, str]) -> list[str]:
    """Return, a line each, which files are not there or not what their SHA-256 says.

    Raises
    ------
    ValueError
        If `folder` is no path, or `files` no mapping from names to texts.
    OSError
        If a file cannot be read.
    """
    folder = as_path(folder, "folder")
    for name, digest in files.items():
        TEXT.check(digest, f"files[{name!r}]")
    lines = []
    for name, digest in files.items():
        path = folder / name
        if not path.is_file():
            lines.append(f"{name} is not there")
        elif sha256(path) != digest:
            lines.append(f"{name} is damaged: its SHA-256 is not the one recorded")
    return lines
