"""The experiments file: which notebook runs with which parameters."""

import functools
import hashlib
import itertools
import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field

from deep_nb._files import sha256
from deep_nb._provenance import code
from deep_nb._reading import LARGEST_YAML, read_text, read_yaml
from deep_nb._validation import (
    Frozen,
    as_path,
    check_name,
    did_you_mean,
    mapping,
    one_of,
    select,
    short,
)
from deep_nb.replication.names import PROFILES
from deep_nb.replication.notebooks import Declared, declared_parameters, read_notebook

#: Parameters of a notebook that the batch sets: the folder for its results and, if the notebook
#: has it, the folder for its checkpoints.
OUTPUT, CHECKPOINT = "output", "checkpoint"

#: Maximum timeout in seconds, about three years.
MAX_TIMEOUT = 100_000_000
#: Maximum number of experiments, and of bytes in the name of each, which names a folder.
MAX_JOBS, LONGEST_JOB = 10_000, 200

#: A point must be inside a number, so that no name is hidden, a path, or has a suffix.
_NAME = re.compile(r"(?:[\w=+-]|(?<=\d)\.(?=\d))+")


class Entry(Frozen):
    """One entry of the experiments file."""

    name: str = Field(pattern=r"^[\w{}.=+-]+$", description="may hold {parameter} of the matrix")
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

    @property
    def inputs(self) -> list[Path]:
        """The notebook and the files that it uses."""
        return [self.notebook, *(self.notebook.parent / name for name in self.files)]

    @functools.cached_property
    def declared(self) -> Declared:
        """What the notebook's parameters cell declares."""
        return declared_parameters(self.notebook)

    @property
    def defaults(self) -> dict[str, Any]:
        """The notebook's own parameters and their default values."""
        return self.declared.defaults

    @property
    def all_parameters(self) -> dict[str, Any]:
        """Every parameter of the execution except those that the batch sets."""
        given = {**self.defaults, **self.parameters}
        return {name: value for name, value in given.items() if name not in (OUTPUT, CHECKPOINT)}

    @property
    def fingerprint(self) -> dict[str, Any]:
        """Everything that the results depend on: notebook, files, parameters, package, versions.

        The notebook counts with the types, sources and tags of its cells, without the outputs
        stored in it. Tags tell papermill where to put parameters, and which cells to skip.
        """
        cells = read_notebook(self.notebook).cells
        sources = json.dumps(
            [[c.cell_type, c.source, sorted(c.metadata.get("tags", []))] for c in cells]
        )
        return {
            "notebook": hashlib.sha256(sources.encode()).hexdigest(),
            "files": {name: sha256(self.notebook.parent / name) for name in self.files},
            "parameters": self.parameters,
            **code(),
        }


def literal(path: Path) -> str:
    """Return a path with braces escaped: papermill formats paths with the parameters."""
    return str(path).replace("{", "{{").replace("}", "}}")


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
        If an argument is not valid, the file gives a key twice or describes more than 10 000 jobs,
        an entry is malformed, two jobs have one name, no name matches `only`, or a notebook is not
        in Python, lacks a parameter, or uses one before the batch sets it.

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
    count = sum(math.prod(map(len, entry.matrix.values())) for entry in entries)
    if count > MAX_JOBS:
        raise ValueError(f"{experiments} has {count} experiments, more than {MAX_JOBS}")
    jobs = [job for entry in entries for job in _jobs_of(entry, experiments.parent, profile)]
    for name, times in Counter(job.name for job in jobs).items():
        if times > 1:
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
            f"no experiments file at {experiments}: lay one out with deep-nb init FOLDER, or name "
            "one with --experiments"
        )
    text = read_text(experiments, LARGEST_YAML)
    try:
        content = mapping(read_yaml(text), "the file")
    except ValueError as error:
        raise ValueError(f"{experiments} is not an experiments file: {error}") from None
    if list(content) != ["experiments"] or not isinstance(content["experiments"], list):
        raise ValueError(f"{experiments} must hold one list named 'experiments'")
    return [Entry(**mapping(item, "an experiment")) for item in content["experiments"]]


def _jobs_of(entry: Entry, root: Path, profile: str) -> Iterator[Job]:
    notebook = as_path(entry.notebook, f"experiment {entry.name!r}: its notebook")
    for values in itertools.product(*entry.matrix.values()):
        combination = dict(zip(entry.matrix, values, strict=True))
        yield Job(
            name=_name(entry, combination),
            notebook=(root / notebook).resolve(),
            parameters={**entry.parameters, **getattr(entry, profile), **combination},
            timeout=entry.timeout,
            files=tuple(entry.files),
        )


def _name(entry: Entry, combination: dict[str, Any]) -> str:
    """Return the name of one experiment of a matrix."""
    try:
        name = re.sub(r"\{(\w*)\}", lambda match: str(combination[match[1]]), entry.name)
    except KeyError:
        raise ValueError(
            f"experiment {entry.name!r}: a name in braces must be one of its matrix: "
            f"{', '.join(entry.matrix) or 'none'}"
        ) from None
    if not _NAME.fullmatch(name) or len(name.encode()) > LONGEST_JOB:
        raise ValueError(
            f"experiment {entry.name!r}: {short(name)} names a folder and may hold only letters, "
            f"digits, '_', '-', '=', '+', and a point between digits, at most {LONGEST_JOB} bytes"
        )
    return name


def _check_parameters(job: Job) -> None:
    """Refuse parameters that the notebook does not have; papermill would only warn."""
    if not job.notebook.is_file():
        raise FileNotFoundError(f"experiment {job.name!r}: no notebook at {job.notebook}")
    if job.notebook.suffix != ".ipynb":
        raise ValueError(f"{job.notebook} is not a notebook: its name does not end in .ipynb")
    known, uses = list(job.defaults), job.declared.uses
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
    for name in [*job.parameters, OUTPUT, *({CHECKPOINT} & {*known})]:
        if name in uses:
            raise ValueError(
                f"experiment {job.name!r}: the parameters cell of {job.notebook.name} may use "
                f"{name!r} only as in '{name} = value', because the batch sets it after this cell; "
                f"{uses[name]}, does more"
            )
        if name not in known:
            raise ValueError(
                f"experiment {job.name!r}: {job.notebook.name} has no parameter {name!r}"
                f"{did_you_mean(name, known)}; allowed: {', '.join(known) or 'none'}"
            )


def _check_files(job: Job) -> None:
    for name in job.files:
        try:
            if check_name(name) == job.notebook.name:
                raise ValueError
        except ValueError:
            raise ValueError(
                f"experiment {job.name!r}: files must be paths inside the folder of "
                f"{job.notebook.name}, such as data.csv or data/x.csv, got {short(name)}"
            ) from None
        if not (job.notebook.parent / name).is_file():
            raise FileNotFoundError(
                f"experiment {job.name!r}: no file at {job.notebook.parent / name}"
            )


def _survives_json(value: Any) -> bool:
    try:
        text = json.dumps(value, allow_nan=False, ensure_ascii=False)
        text.encode()  # a lone surrogate fits into no file
        return bool(json.loads(text) == value)
    except (TypeError, ValueError):
        return False
