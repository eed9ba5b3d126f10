"""Records: how each experiment ended, what it depended on, and which files it left."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import AfterValidator, Field

from deep_nb._files import is_regular, sha256, storable, write_text
from deep_nb._provenance import differences
from deep_nb._reading import read_text
from deep_nb._validation import Frozen, as_path, check_name, instance, mapping, printable
from deep_nb.replication.jobs import Job
from deep_nb.replication.names import RECORD

#: Maximum size in bytes of a file whose checksum is computed.
LARGEST_RESULT = 2**36


FileName = Annotated[str, AfterValidator(check_name)]
Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class Record(Frozen):
    """How an experiment ended, what it depended on, and the files it left.

    Attributes
    ----------
    error : str
        Empty after success.
    origin : dict
        Provenance, parameters, start and duration.
    fingerprint : dict
        Everything that the results depend on, `deep_nb.replication.jobs.Job.fingerprint`.
    files : dict
        SHA-256 by path, relative to the experiment's folder, with slashes.
    """

    error: str
    origin: dict[str, Any]
    fingerprint: dict[str, Any]
    files: dict[FileName, Digest]


class State(NamedTuple):
    """Whether an experiment is done, and the reasons if it is not, one per line."""

    name: str
    status: Literal["done", "stale", "failed", "missing"]
    why: list[str]


def write_record(record: Record, folder: Path, name: str = RECORD) -> None:
    """Write the record into an experiment's folder in one step."""
    text = json.dumps(dict(record), indent=1, ensure_ascii=False)
    write_text(folder / name, storable(text) + "\n")


def read_record(folder: Path, name: str = RECORD) -> Record | None:
    """Read the record of an experiment; None if it is missing, ValueError if it is damaged."""
    path = folder / name
    if folder.is_symlink():
        raise ValueError(f"{folder} is a link")
    if not os.path.lexists(path):
        return None
    if not is_regular(path):
        raise ValueError(f"{path} is not a regular file")
    try:
        return Record(**mapping(json.loads(read_text(path)), "a record"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is damaged: {error}") from None


def state(job: Job, folder: str | Path) -> State:
    """Return whether the results of a job in a folder are done, stale, failed or missing.

    An experiment is done if it ended without an error, its files have the recorded checksums, and
    its fingerprint (notebook, parameters, package, versions) has not changed since. A damaged
    record, one with names outside the folder, or a link in place of either makes it stale.

    Parameters
    ----------
    job : Job
        From `read_jobs`.
    folder : path-like
        The folder of this job, ``output / job.name`` of `replicate`.

    Returns
    -------
    State
        ``name``, ``status`` and ``why``: a list of reasons, empty if done.

    Raises
    ------
    ValueError
        If an argument is not valid, or the job's notebook is damaged.
    OSError
        If the job's notebook cannot be read.

    See Also
    --------
    replicate : Execute the jobs that are not done.

    Examples
    --------
    >>> import deep_nb
    >>> (job,) = deep_nb.replication.read_jobs("experiments.yml", only="quickstart")
    >>> deep_nb.replication.state(job, "no-batch/quickstart").status
    'missing'
    """
    instance(job, "job", Job)
    folder = as_path(folder, "folder")
    fingerprint = job.fingerprint
    try:
        record = read_record(folder)
        if record is None:
            return State(job.name, "missing", ["it has not finished yet"])
        if record.error:
            return State(job.name, "failed", printable(record.error).strip().splitlines())
        why = damage(folder, record.files) + differences(record.fingerprint, fingerprint)
    except (ValueError, OSError, RecursionError) as error:
        why = f"its record cannot be used: {error}".splitlines()
    return State(job.name, "stale" if why else "done", [printable(line) for line in why])


def damage(folder: Path, files: Mapping[str, str]) -> list[str]:
    """Return one line per file that is missing, no longer a file, or differs from its SHA-256."""
    return [f"{name}: {fault}" for name in files if (fault := _fault(folder, name, files[name]))]


def _fault(folder: Path, name: str, digest: str) -> str:
    path, parts = folder / name, Path(name).parts
    try:
        if any(folder.joinpath(*parts[: i + 1]).is_symlink() for i in range(len(parts))):
            return "is a link"
        if not path.exists():
            return "missing"
        if not path.is_file():
            return "is not a regular file"
        if path.stat().st_size > LARGEST_RESULT:
            return f"is larger than {LARGEST_RESULT} bytes"
        return "" if sha256(path) == digest else "differs from its SHA-256"
    except OSError as error:
        return f"cannot be read: {error.strerror}"
