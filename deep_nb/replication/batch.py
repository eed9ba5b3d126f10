"""A batch of experiments that resumes after any interruption.

Only one batch at a time uses a folder of results. Experiments run in working folders; when one
ends, the batch moves its files into place and writes its record last. An experiment with a valid
record is done and does not run again.
"""

import contextlib
import dataclasses
import shutil
import threading
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import filelock
from jupyter_client.kernelspec import KernelSpecManager

from deep_nb._files import flush, replacing, sha256
from deep_nb._provenance import provenance
from deep_nb._validation import as_path, check_executor, file_name, flag, instance, integer, items
from deep_nb.replication.execution import KERNEL, Outcome, execute
from deep_nb.replication.jobs import Job
from deep_nb.replication.records import RECORD, Record, state, write_record
from deep_nb.replication.verification import write_checksums

#: Suffixes of the files that belong to the repository's figures, and of all files that an
#: experiment leaves.
FIGURES = (".svg", ".png", ".csv", ".gz", ".md", ".ipynb")
OUTPUTS = (*FIGURES, ".nc", ".html")

#: Names in the folder of a batch, next to its experiments.
LOCK, WORKING, CHECKPOINTS = ".lock", ".working", ".checkpoints"


def replicate(
    jobs: Sequence[Job],
    output: str | Path,
    processes: int = 1,
    *,
    executor: Executor | None = None,
    force: bool = False,
) -> Generator[Outcome]:
    """Execute the jobs that are not done, each in a separate process, and yield their outcomes.

    The folder ``output / job.name`` receives the executed notebook, its HTML page, everything that
    the notebook writes (figures, tables, runs), and ``record.json``. A job that fails keeps its
    notebook with the error, and the other jobs continue. ``SHA256SUMS`` in `output` is updated
    after every job. The jobs start when the returned generator is iterated.

    Parameters
    ----------
    jobs : list of Job
        From `read_jobs`.
    output : path-like
        Folder, created if necessary.
    processes : int
        Number of simultaneous jobs on this machine.
    executor : concurrent.futures.Executor, optional
        Runs the jobs instead of this machine, and decides how many at a time. Its workers need
        this package, the notebooks and `output` under the same paths.
    force : bool
        Whether to run jobs that are done, too.

    Yields
    ------
    Outcome
        With the attributes ``name``, ``status`` ("done" or "failed"), ``error``, ``seconds``,
        ``folder`` and ``origin``, in the order in which the jobs end.

    Raises
    ------
    ValueError
        If an argument is not valid.
    RuntimeError
        If the Jupyter kernel is not installed, or another batch uses `output`.
    OSError
        If `output` cannot be written.

    See Also
    --------
    read_jobs : Read jobs from the experiments file.
    state : Tell whether a job is done.
    verify : Check the files of a batch.

    Examples
    --------
    >>> import tempfile
    >>> import deep_nb
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for outcome in deep_nb.replication.replicate([], folder):
    ...         print(outcome.name, outcome.status)
    ...     print(deep_nb.replication.verify(folder))
    (0, [])
    """
    jobs = [instance(job, f"jobs[{i}]", Job) for i, job in enumerate(items(jobs, "jobs", 0))]
    output = as_path(output, "output").absolute()  # the jobs may start in another folder
    processes = integer(processes, "processes", 1)
    check_executor(executor)
    force = flag(force, "force")
    if KERNEL not in KernelSpecManager().find_kernel_specs():
        raise RuntimeError(
            f"Jupyter has no kernel {KERNEL!r}; install it with: "
            "python -m pip install ipykernel && python -m ipykernel install --sys-prefix"
        )
    return _replicate(jobs, output, processes, executor, force)


def _replicate(
    jobs: list[Job], output: Path, processes: int, executor: Executor | None, force: bool
) -> Generator[Outcome]:
    with _locked(output):
        if (output / WORKING).exists():  # of a batch that was killed
            shutil.rmtree(output / WORKING)
        (output / WORKING).mkdir()
        try:
            write_checksums(output)  # a killed batch may have left them out of date
            wanted = [
                job for job in jobs if force or state(job, output / job.name).status != "done"
            ]
            yield from _run(wanted, output, processes, executor)
        finally:
            # A worker on another machine may still write there; its files are not needed.
            shutil.rmtree(output / WORKING, ignore_errors=executor is not None)


@contextlib.contextmanager
def _locked(output: Path) -> Iterator[None]:
    """Lock the folder; the operating system releases the lock when the process exits."""
    output.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(output / LOCK)
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        raise RuntimeError(
            f"another batch is using {output}: wait until it ends, or choose another folder with "
            "--output"
        ) from None
    try:
        yield
    finally:
        lock.release()


def _run(
    jobs: list[Job], output: Path, processes: int, executor: Executor | None
) -> Iterator[Outcome]:
    """Execute the jobs and store the files of each, in the order in which they end."""
    stop = None if executor else threading.Event()
    pool = executor or ThreadPoolExecutor(processes, thread_name_prefix="deep_nb")
    futures = {}
    try:
        for job in jobs:
            fingerprint = job.fingerprint
            checkpoint = output / CHECKPOINTS / job.name
            place = output / WORKING
            future = pool.submit(execute, job, fingerprint, place, checkpoint, stop)
            futures[future] = job, fingerprint
        for future in as_completed(futures):
            job, fingerprint = futures[future]
            try:
                outcome = future.result()
            except Exception as failure:  # of the worker, not of the experiment
                error = f"{type(failure).__name__}: {failure}"
                outcome = Outcome(job.name, None, {**provenance(), "error": error}, error)
            try:
                outcome = _store(outcome, fingerprint, output)
            except (OSError, ValueError) as failure:  # such as a full disk
                error = f"{type(failure).__name__}: {failure}"
                outcome = dataclasses.replace(outcome, error=error)
            yield outcome
    finally:
        if stop is not None:
            stop.set()
            pool.shutdown(cancel_futures=True)
        for future in futures:
            future.cancel()


def _store(outcome: Outcome, fingerprint: dict[str, Any], output: Path) -> Outcome:
    """Move an experiment's files into place, then write its record, which completes it."""
    folder = output / outcome.name
    folder.mkdir(exist_ok=True)
    (folder / RECORD).unlink(missing_ok=True)
    for old in folder.iterdir():
        if old.suffix in OUTPUTS:
            old.unlink()
    files = {}
    for path in sorted(outcome.folder.iterdir()) if outcome.folder else ():
        flush(path)
        files[path.name] = sha256(path)
        path.replace(folder / path.name)
    flush(folder)
    write_record(
        Record(error=outcome.error, origin=outcome.origin, fingerprint=fingerprint, files=files),
        folder,
    )
    if not outcome.error and (output / CHECKPOINTS / outcome.name).is_dir():
        shutil.rmtree(output / CHECKPOINTS / outcome.name)
    write_checksums(output)
    return dataclasses.replace(outcome, folder=folder)


def collect_figures(names: Sequence[str], source: str | Path, target: str | Path) -> list[Path]:
    """Copy figures, tables, notebooks and records of experiments, and write their checksums.

    Parameters
    ----------
    names : list of str
        Experiments that are done.
    source, target : path-like
        Folders that contain one folder per experiment; `target` also receives ``SHA256SUMS``.

    Returns
    -------
    list of Path
        The copies.

    Raises
    ------
    ValueError
        If an argument is not valid.
    OSError
        If a folder is missing, or cannot be read or written.

    See Also
    --------
    replicate : Execute the experiments.
    verify : Check the copies.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import deep_nb
    >>> with tempfile.TemporaryDirectory() as name:
    ...     source, target = pathlib.Path(name, "batch"), pathlib.Path(name, "figures")
    ...     (source / "xor").mkdir(parents=True)
    ...     for file in ("mse.svg", "run.nc"):
    ...         (source / "xor" / file).touch()
    ...     copies = deep_nb.replication.collect_figures(["xor"], source, target)
    >>> [copy.name for copy in copies]
    ['mse.svg']
    """
    names = [file_name(name, f"names[{i}]") for i, name in enumerate(items(names, "names", 0))]
    source, target = as_path(source, "source"), as_path(target, "target")
    copies = []
    for name in names:
        folder = target / name
        folder.mkdir(parents=True, exist_ok=True)
        for path in sorted((source / name).iterdir()):
            if path.suffix in FIGURES or path.name == RECORD:
                with replacing(folder / path.name) as partial:
                    shutil.copyfile(path, partial)
                copies.append(folder / path.name)
    write_checksums(target, FIGURES)
    return copies
