"""The experiments file: which notebook runs with which parameters."""

import ast
import functools
import hashlib
import itertools
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import papermill
import yaml
from pydantic import Field

from deep_nb._files import sha256
from deep_nb._provenance import code
from deep_nb._validation import Frozen, as_path, did_you_mean, mapping, one_of, select, short
from deep_nb.replication.notebooks import read_notebook

PROFILES = ("quick", "full")

#: Parameters of a notebook that the batch sets: the folder for its results and, if the notebook
#: has it, the folder for its checkpoints.
OUTPUT, CHECKPOINT = "output", "checkpoint"

#: Maximum timeout in seconds, about three years.
MAX_TIMEOUT = 100_000_000


class Entry(Frozen):
    """One entry of the experiments file."""

    name: str = Field(pattern=r"^[\w{}-]+$", description="may hold {parameter} of the matrix")
    notebook: str = Field(description="path, relative to the experiments file")
    parameters: dict[str, Any] = Field({}, description="in every profile")
    matrix: dict[str, list[Any]] = Field({}, description="one experiment per combination")
    quick: dict[str, Any] = Field({}, description="parameters of the quick profile")
    full: dict[str, Any] = Field({}, description="parameters of the full profile")
    files: list[str] = Field([], description="beside the notebook; copied for each experiment")
    timeout: int = Field(7200, gt=0, le=MAX_TIMEOUT, description="in seconds")


@dataclass(frozen=True)
class Job:
    """One notebook to execute with its parameters; `timeout` in seconds.

    `files` are paths relative to the notebook, of the data and modules that it uses.
    """

    name: str
    notebook: Path
    parameters: dict[str, Any]
    timeout: int
    files: tuple[str, ...] = ()

    @functools.cached_property
    def defaults(self) -> dict[str, Any]:
        """The notebook's own parameters and their default values."""
        read_notebook(self.notebook)
        known = papermill.inspect_notebook(literal(self.notebook))
        return {name: _value(given["default"]) for name, given in known.items()}

    @property
    def all_parameters(self) -> dict[str, Any]:
        """Every parameter of the execution except those that the batch sets."""
        given = {**self.defaults, **self.parameters}
        return {name: value for name, value in given.items() if name not in (OUTPUT, CHECKPOINT)}

    @property
    def fingerprint(self) -> dict[str, Any]:
        """Everything that the results depend on: notebook, files, parameters, package, versions.

        The notebook counts with the sources of its cells, without the outputs stored in it.
        """
        cells = read_notebook(self.notebook).cells
        sources = json.dumps([[cell.cell_type, cell.source] for cell in cells])
        return {
            "notebook": hashlib.sha256(sources.encode()).hexdigest(),
            "files": {name: sha256(self.notebook.parent / name) for name in self.files},
            "parameters": self.parameters,
            **code(),
        }


def literal(path: Path) -> str:
    """Return a path with braces escaped: papermill formats paths with the parameters."""
    return str(path).replace("{", "{{").replace("}", "}}")


def _value(source: str) -> Any:
    """Return the value of a literal that JSON can hold, else the source text."""
    try:
        value = ast.literal_eval(source)
        json.dumps(value)
    except (SyntaxError, TypeError, ValueError):
        return source
    return value


def read_jobs(
    experiments: str | Path, profile: str = "quick", only: str | Sequence[str] | None = None
) -> list[Job]:
    """Read the experiments file and return its jobs, each checked against its notebook.

    Parameters
    ----------
    experiments : str or Path
        YAML file with a list ``experiments``. An entry has a ``name``, a ``notebook`` (path
        relative to the file), and optionally ``parameters``, ``matrix`` (one job per combination
        of its values; ``{parameter}`` in ``name`` is replaced by its value), ``quick`` and ``full``
        (parameters of one profile), ``files`` (data and modules beside the notebook, which are
        copied into the folder where it runs), and ``timeout`` in seconds (default 7200).
    profile : str
        "quick" or "full".
    only : str or sequence of str, optional
        Shell patterns for the names, such as ``DEEP-*``.

    Returns
    -------
    list of Job
        With the attributes ``name``, ``notebook``, ``parameters``, ``timeout`` and ``files``.

    Raises
    ------
    FileNotFoundError, OSError
        If the experiments file, a notebook or one of its files is missing or cannot be read.
    ValueError
        If an argument is not valid, an entry is malformed, two jobs have one name, no name matches
        `only`, or a notebook lacks a parameter.

    See Also
    --------
    replicate : Execute jobs.
    state : Tell whether a job is done.

    Examples
    --------
    >>> import deep_nb
    >>> jobs = deep_nb.replication.read_jobs("experiments.yml", only="DEEP-x*")
    >>> [(job.name, job.parameters) for job in jobs]
    [('DEEP-xor', {'num_net': 10, 'model': 'DEEP', 'task': 'xor'})]
    """
    experiments = as_path(experiments, "experiments")
    one_of(profile, PROFILES, "profile")
    entries = _read_entries(experiments)
    jobs = [job for entry in entries for job in _jobs_of(entry, experiments.parent, profile)]
    names = [job.name for job in jobs]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"{experiments} has two experiments named {name!r}")
    if not jobs:
        raise ValueError(f"{experiments} does not describe any experiment")
    chosen = select(jobs, "name", only, "experiment")
    for job in chosen:
        _check_parameters(job)
        _check_files(job)
    return chosen


def _read_entries(experiments: Path) -> list[Entry]:
    if not experiments.is_file():
        raise FileNotFoundError(
            f"no experiments file at {experiments}: run this in a clone of the repository, or "
            "name a file with --experiments"
        )
    try:
        content = mapping(yaml.safe_load(experiments.read_text(encoding="utf-8")), "the file")
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ValueError(f"{experiments} is not an experiments file: {error}") from None
    if list(content) != ["experiments"] or not isinstance(content["experiments"], list):
        raise ValueError(f"{experiments} must hold one list named 'experiments'")
    return [Entry(**mapping(item, "an experiment")) for item in content["experiments"]]


def _jobs_of(entry: Entry, root: Path, profile: str) -> Iterator[Job]:
    for values in itertools.product(*entry.matrix.values()):
        combination = dict(zip(entry.matrix, values, strict=True))
        try:
            name = entry.name.format(**combination)
        except (KeyError, IndexError, ValueError):
            raise ValueError(
                f"experiment {entry.name!r}: a name in braces must be one of its matrix: "
                f"{', '.join(entry.matrix) or 'none'}"
            ) from None
        if not re.fullmatch(r"[\w-]+", name):
            raise ValueError(
                f"experiment {entry.name!r}: {name!r} names a folder and may hold only letters, "
                "digits, '_' and '-'"
            )
        yield Job(
            name=name,
            notebook=(root / entry.notebook).resolve(),
            parameters={**entry.parameters, **getattr(entry, profile), **combination},
            timeout=entry.timeout,
            files=tuple(entry.files),
        )


def _check_parameters(job: Job) -> None:
    """Refuse parameters that the notebook does not have; papermill would only warn."""
    if not job.notebook.is_file():
        raise FileNotFoundError(f"experiment {job.name!r}: no notebook at {job.notebook}")
    if job.notebook.suffix != ".ipynb":
        raise ValueError(f"{job.notebook} is not a notebook: its name does not end in .ipynb")
    known = list(job.defaults)
    for name in (OUTPUT, CHECKPOINT):
        if name in job.parameters:
            raise ValueError(
                f"experiment {job.name!r}: the batch sets {name!r}; remove it from the file"
            )
    for name, value in job.parameters.items():
        if not _survives_json(value):
            raise ValueError(
                f"experiment {job.name!r}: {name} must be a finite number, a string, true, false, "
                f"null, or a list or mapping of these, got {short(value)}"
            )
    for name in [*job.parameters, OUTPUT]:
        if name not in known:
            raise ValueError(
                f"experiment {job.name!r}: {job.notebook.name} has no parameter {name!r}"
                f"{did_you_mean(name, known)}; allowed: {', '.join(known) or 'none'}"
            )


def _check_files(job: Job) -> None:
    for name in job.files:
        as_path(name, f"experiment {job.name!r}: each of its files")
        path = PurePosixPath(name)
        if (
            not name.isprintable()
            or path.as_posix() != name
            or path.is_absolute()
            or ".." in path.parts
            or name in (".", job.notebook.name)
        ):
            raise ValueError(
                f"experiment {job.name!r}: files must be paths inside the folder of "
                f"{job.notebook.name}, such as data.csv or data/x.csv, got {short(name)}"
            )
        if not (job.notebook.parent / name).is_file():
            raise FileNotFoundError(
                f"experiment {job.name!r}: no file at {job.notebook.parent / name}"
            )


def _survives_json(value: Any) -> bool:
    try:
        return bool(json.loads(json.dumps(value, allow_nan=False)) == value)
    except (TypeError, ValueError):
        return False
