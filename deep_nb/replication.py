"""Replication: from an experiments file through papermill to executed notebooks and figures."""

from __future__ import annotations

import ast
import itertools
import multiprocessing
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import nbconvert
import nbformat
import papermill
import yaml
from jupyter_client.kernelspec import KernelSpecManager
from pydantic import Field
from traitlets.config import Config

from deep_nb.checks import Frozen, did_you_mean, mapping, one_of, select
from deep_nb.provenance import provenance

PROFILES = ("quick", "full")
KERNEL = "python3"

#: Endings of what belongs into the repository's figures, and of all that an experiment leaves.
FIGURES = (".svg", ".png", ".csv", ".gz", ".md", ".ipynb")
OUTPUTS = (*FIGURES, ".nc", ".html")


class Entry(Frozen):
    """One entry of the experiments file."""

    name: str = Field(pattern=r"^[\w{}-]+$", description="may hold {parameter} of the matrix")
    notebook: str = Field(description="path, relative to the experiments file")
    parameters: dict[str, Any] = Field({}, description="in every profile")
    matrix: dict[str, list[Any]] = Field({}, description="one experiment a combination")
    quick: dict[str, Any] = Field({}, description="parameters of the quick profile")
    full: dict[str, Any] = Field({}, description="parameters of the full profile")
    cell_timeout: int = Field(1800, gt=0, description="seconds a cell may take")


@dataclass(frozen=True)
class Job:
    """One notebook to execute with its parameters."""

    name: str
    notebook: Path
    parameters: dict[str, Any]
    cell_timeout: int


@dataclass(frozen=True)
class Outcome:
    """How one job ended: `error` is empty if it went well."""

    name: str
    folder: Path
    seconds: float
    error: str

    @property
    def status(self) -> Literal["done", "failed"]:
        """In one word."""
        return "failed" if self.error else "done"


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
    FileNotFoundError
        If the experiments file or a notebook is missing.
    ValueError
        If an entry is malformed, a name stands twice, no name matches `only`, or a parameter is
        not one of the notebook's.
    """
    one_of(profile, PROFILES, "profile")
    experiments = Path(experiments)
    if not experiments.is_file():
        raise FileNotFoundError(
            f"no experiments file at {experiments}: run this in a clone of the repository, or "
            "name one with --experiments"
        )
    try:
        content = mapping(yaml.safe_load(experiments.read_text(encoding="utf-8")), "the file")
    except (yaml.YAMLError, ValueError) as error:
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
            cell_timeout=entry.cell_timeout,
        )


def _check_parameters(job: Job) -> None:
    """Refuse what papermill only warns about: parameters that the notebook does not have."""
    if not job.notebook.is_file():
        raise FileNotFoundError(f"experiment {job.name!r}: no notebook at {job.notebook}")
    if job.notebook.suffix != ".ipynb":
        raise ValueError(f"{job.notebook} is not a notebook: its name does not end in .ipynb")
    try:
        known = list(papermill.inspect_notebook(str(job.notebook)))
    except (nbformat.reader.NotJSONError, nbformat.ValidationError, AttributeError) as error:
        raise ValueError(f"{job.notebook} is not a notebook: {error}") from None
    if "output" in job.parameters:
        raise ValueError(f"experiment {job.name!r}: 'output' is set by the batch, not the file")
    for name in [*job.parameters, "output"]:
        if name not in known:
            raise ValueError(
                f"experiment {job.name!r}: {job.notebook.name} has no parameter {name!r}"
                f"{did_you_mean(name, known)}; allowed: {', '.join(known) or 'none'}"
            )


def replicate(jobs: list[Job], output: Path, processes: int = 1) -> Iterator[Outcome]:
    """Execute the jobs, each in a process of its own, and yield outcomes as they come.

    Into ``output / job.name`` go the executed notebook, its HTML, and what the notebook writes
    there: figures (SVG and PNG) and results (netCDF). A job that fails leaves its notebook with
    the error in it and does not stop the others.

    Parameters
    ----------
    jobs : list of Job
        As from `read_jobs`.
    output : Path
        Folder, made if need be.
    processes : int
        Jobs at a time, at least 1.

    Raises
    ------
    ValueError
        If `processes` is less than 1.
    RuntimeError
        If the Jupyter kernel is not installed.
    """
    if processes < 1:
        raise ValueError(f"processes must be at least 1, got {processes}")
    if KERNEL not in KernelSpecManager().find_kernel_specs():
        raise RuntimeError(
            f"Jupyter has no kernel {KERNEL!r}; install it with: "
            "python -m ipykernel install --sys-prefix"
        )
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, context, max_tasks_per_child=1) as executor:
        futures = {executor.submit(execute, job, output / job.name): job for job in jobs}
        for future in as_completed(futures):
            try:
                yield future.result()
            except BrokenProcessPool as failure:  # its process died, and those beside it
                job = futures[future]
                yield Outcome(job.name, output / job.name, 0.0, f"the process died: {failure}")


def execute(job: Job, folder: Path) -> Outcome:
    """Execute one job's notebook with papermill and convert it to HTML.

    Parameters
    ----------
    job : Job
    folder : Path
        Made if need be; outputs of an earlier run are removed.

    Returns
    -------
    Outcome
        With the error, if there was one, and the notebook as far as it went.
    """
    folder = folder.resolve()
    started = time.monotonic()
    error = ""
    try:
        _execute(job, folder)
    except Exception as failure:  # whatever a notebook may raise belongs to its outcome
        error = f"{type(failure).__name__}: {failure}"
    return Outcome(job.name, folder, time.monotonic() - started, error)


def _execute(job: Job, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for stale in folder.iterdir():
        if stale.suffix in OUTPUTS:
            stale.unlink()
    notebook = folder / job.notebook.name
    try:
        with tempfile.TemporaryDirectory(prefix="deep-nb-") as sockets:
            papermill.execute_notebook(
                job.notebook,
                notebook,
                {**job.parameters, "output": "."},
                cwd=folder,
                kernel_name=KERNEL,
                progress_bar=False,
                start_timeout=120,
                execution_timeout=job.cell_timeout,
                config=_kernel_config(sockets),
            )
    finally:
        if notebook.exists():
            content = nbformat.read(notebook, as_version=4)
            content.metadata["papermill"] |= {  # no paths of this machine
                "input_path": job.notebook.name,
                "output_path": notebook.name,
            }
            content.metadata["deep_nb"] = {**provenance(), "parameters": _parameters(job)}
            nbformat.write(content, notebook)
            exporter = nbconvert.HTMLExporter()
            html, _ = exporter.from_notebook_node(content)
            notebook.with_suffix(".html").write_text(html, encoding="utf-8")


def _parameters(job: Job) -> dict[str, Any]:
    """Return every parameter that the notebook ran with, its own defaults included."""
    known = papermill.inspect_notebook(str(job.notebook))
    defaults = {name: ast.literal_eval(given["default"]) for name, given in known.items()}
    return {n: v for n, v in {**defaults, **job.parameters}.items() if n != "output"}


def _kernel_config(folder: str) -> Config:
    """Have the kernel listen on sockets in a folder of its own: no two can race for a port."""
    if os.name != "posix":
        return Config()
    return Config({"KernelManager": {"transport": "ipc", "ip": f"{folder}/kernel"}})


def collect_figures(outcomes: list[Outcome], target: Path) -> list[Path]:
    """Copy figures, tables and notebooks of the jobs that went well to ``target / job.name``.

    Returns
    -------
    list of Path
        The copies.
    """
    copies = []
    for outcome in outcomes:
        if not outcome.error:
            for source in sorted(outcome.folder.iterdir()):
                if source.suffix in FIGURES:
                    copy = target / outcome.name / source.name
                    copy.parent.mkdir(parents=True, exist_ok=True)
                    copies.append(Path(shutil.copyfile(source, copy)))
    return copies
