"""Records: how each experiment ended, what it depended on, and which files it left."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

from deep_nb._files import sha256, write_text
from deep_nb._provenance import differences
from deep_nb._validation import Frozen, as_path, instance, mapping
from deep_nb.replication.jobs import Job

#: Name of the record in an experiment's folder. It is written last and completes the experiment.
RECORD = "record.json"
#: Its name while the batch puts the files away.
PENDING = ".record.json"


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
        SHA-256 by path, relative to the experiment's folder.
    """

    error: str
    origin: dict[str, Any]
    fingerprint: dict[str, Any]
    files: dict[str, str]


class State(NamedTuple):
    """Whether an experiment is done, and the reasons if it is not, one per line."""

    name: str
    status: Literal["done", "stale", "failed", "missing"]
    why: list[str]


def write_record(record: Record, folder: Path, name: str = RECORD) -> None:
    """Write the record into an experiment's folder in one step."""
    write_text(folder / name, json.dumps(dict(record), indent=1, ensure_ascii=False) + "\n")


def read_record(folder: Path, name: str = RECORD) -> Record | None:
    """Read the record of an experiment; None if it is missing, ValueError if it is damaged."""
    path = folder / name
    if not path.is_file():
        return None
    try:
        return Record(**mapping(json.loads(path.read_text(encoding="utf-8")), "a record"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is damaged: {error}") from None


def state(job: Job, folder: str | Path) -> State:
    """Return whether the results of a job in a folder are done, stale, failed or missing.

    An experiment is done if it ended without an error, its files have the recorded checksums, and
    its fingerprint (notebook, parameters, package, versions) has not changed since.

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
        If a file cannot be read.

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
    try:
        record = read_record(folder)
    except ValueError as error:
        return State(job.name, "stale", [str(error)])
    if record is None:
        return State(job.name, "missing", ["it has not finished yet"])
    if record.error:
        return State(job.name, "failed", record.error.strip().splitlines())
    why = damage(folder, record.files) + differences(record.fingerprint, job.fingerprint)
    return State(job.name, "stale" if why else "done", why)


def damage(folder: Path, files: Mapping[str, str]) -> list[str]:
    """Return one line per file that is missing or differs from its SHA-256."""
    lines = []
    for name, digest in files.items():
        if not (folder / name).is_file():
            lines.append(f"{name}: missing")
        elif sha256(folder / name) != digest:
            lines.append(f"{name}: differs from its SHA-256")
    return lines
