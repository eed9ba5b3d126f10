"""The experiments file: which notebook runs with which parameters."""

from __future__ import annotations

import ast
import functools
import hashlib
import itertools
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import papermill
import yaml
from pydantic import Field

from deep_nb._provenance import code
from deep_nb.checks import Frozen, mapping, one_of, select
from deep_nb.kinds import MAPPING, PATHLIB, TEXT, as_path, did_you_mean, integer, short, takes
from deep_nb.replication.notebooks import read_notebook

PROFILES = ("quick", "full")

#: Parameters of a notebook that the batch sets: where it leaves its files, and finished blocks of
#: seeds (only where the notebook has it).
OUTPUT, CHECKPOINT = "output", "checkpoint"


#: Three years, in seconds.
MAX_TIMEOUT = 100_000_000


class Entry(Frozen):
    """One entry of the experiments file.

    Raises
    ------
    ValueError
        On an unknown name, or a value of the wrong type or out of range.
    """

    name: str = Field(pattern=r"^[\w{}-]+$", description="may hold {parameter} of the matrix")
    notebook: str = Field(description="path, relative to the experiments file")
    parameters: dict[str, Any] = Field({}, description="in every profile")
    matrix: dict[str, list[Any]] = Field({}, description="one experiment a combination")
    quick: dict[str, Any] = Field({}, description="parameters of the quick profile")
    full: dict[str, Any] = Field({}, description="parameters of the full profile")
    timeout: int = Field(7200, gt=0, le=MAX_TIMEOUT, description="seconds the experiment may take")


@dataclass(frozen=True)
class Job:
    """One notebook to execute with its parameters.

    Raises
    ------
    ValueError
        If `name` is no text, `notebook` no path, `parameters` no mapping, or `timeout` no integer
        of at least 1.
    """

    name: str
    notebook: Path
    parameters: dict[str, Any]
    timeout: int

    def __post_init__(self) -> None:
        TEXT.check(self.name, "name")
        PATHLIB.check(self.notebook, "notebook")
        MAPPING.check(self.parameters, "parameters")
        integer(1, MAX_TIMEOUT).check(self.timeout, "timeout")

    @functools.cached_property
    def defaults(self) -> dict[str, Any]:
        """The notebook's own parameters with their values; a value that is no literal as text."""
        read_notebook(self.notebook)
        known = papermill.inspect_notebook(literal(self.notebook))
        return {name: _value(given["default"]) for name, given in known.items()}

    @property
    def all_parameters(self) -> dict[str, Any]:
        """Every parameter that the notebook runs with, but those that the batch sets."""
        given = {**self.defaults, **self.parameters}
        return {name: value for name, value in given.items() if name not in (OUTPUT, CHECKPOINT)}

    @property
    def fingerprint(self) -> dict[str, Any]:
        """What its results depend on: notebook, parameters, package and versions.

        Of the notebook, the sources of its cells count, not the outputs stored in it.
        """
        cells = read_notebook(self.notebook).cells
        sources = json.dumps([[cell.cell_type, cell.source] for cell in cells])
        return {
            "notebook": hashlib.sha256(sources.encode()).hexdigest(),
            "parameters": self.parameters,
            **code(),
        }


@takes(path=PATHLIB)
def literal(path: Path) -> str:
    """Return a path that papermill, which formats it with the parameters, leaves as it is.

    Raises
    ------
    ValueError
        If `path` is none.
    """
    return str(path).replace("{", "{{").replace("}", "}}")


def _value(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def read_jobs(
    experiments: str | Path, profile: str = "quick", only: str | None = None
) -> list[Job]:
    """Read the experiments file and check every job against its notebook.

    Parameters
    ----------
    experiments : str or Path
        YAML file with a list ``experiments`` of `Entry`.
    profile : str
        "quick" or "full".
    only : str, optional
        Shell pattern for the names, such as ``DEEP-*``.

    Returns
    -------
    list of Job

    Raises
    ------
    FileNotFoundError, OSError
        If the experiments file or a notebook is missing or cannot be read.
    ValueError
        If `experiments` is no path, `profile` is unknown, an entry is malformed, a name
        stands twice, no name matches `only`, or a parameter is not one of the notebook's or no
        JSON type.
    """
    one_of(profile, PROFILES, "profile")
    experiments = as_path(experiments, "experiments")
    if not experiments.is_file():
        raise FileNotFoundError(
            f"no experiments file at {experiments}: run this in a clone of the repository, or "
            "name one with --experiments"
        )
    try:
        content = mapping(yaml.safe_load(experiments.read_text(encoding="utf-8")), "the file")
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ValueError(f"{experiments} is not an experiments file: {error}") from None
    if list(content) != ["experiments"] or not isinstance(content["experiments"], list):
        raise ValueError(f"{experiments} must hold one list named 'experiments'")
    entries = [Entry(**mapping(item, "an experiment")) for item in content["experiments"]]
    jobs = [job for entry in entries for job in _jobs_of(entry, experiments.parent, profile)]
    names = [job.name for job in jobs]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"{experiments} has two experiments named {name!r}")
    if not jobs:
        raise ValueError(f"{experiments} describes no experiment")
    chosen = select(jobs, "name", only, "experiment")
    for job in chosen:
        _check_parameters(job)
    return chosen


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
                f"experiment {entry.name!r}: {name!r} names a folder, and may hold letters, "
                "digits, '_' and '-' only"
            )
        yield Job(
            name=name,
            notebook=(root / entry.notebook).resolve(),
            parameters={**entry.parameters, **getattr(entry, profile), **combination},
            timeout=entry.timeout,
        )


def _check_parameters(job: Job) -> None:
    """Refuse what papermill only warns about: parameters that the notebook does not have."""
    if not job.notebook.is_file():
        raise FileNotFoundError(f"experiment {job.name!r}: no notebook at {job.notebook}")
    if job.notebook.suffix != ".ipynb":
        raise ValueError(f"{job.notebook} is not a notebook: its name does not end in .ipynb")
    known = list(job.defaults)
    for name in (OUTPUT, CHECKPOINT):
        if name in job.parameters:
            raise ValueError(f"experiment {job.name!r}: {name!r} is set by the batch, not the file")
    for name, value in job.parameters.items():
        try:
            same = json.loads(json.dumps(value, allow_nan=False)) == value
        except (TypeError, ValueError):
            same = False
        if not same:
            raise ValueError(
                f"experiment {job.name!r}: {name} must be a finite number, a text, a truth value, "
                f"or a list or mapping of those, got {short(value)}"
            )
    for name in [*job.parameters, OUTPUT]:
        if name not in known:
            raise ValueError(
                f"experiment {job.name!r}: {job.notebook.name} has no parameter {name!r}"
                f"{did_you_mean(name, known)}; allowed: {', '.join(known) or 'none'}"
            )
