"""Replication: a batch of experiments that survives what happens to it.

A folder of results belongs to one batch at a time. Experiments run in working folders; when one has
ended, its files are moved to its place and its record is written last. An experiment whose record
holds is done, and is not run again.
"""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
import threading
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import CancelledError, Executor, ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import filelock
from jupyter_client.kernelspec import KernelSpecManager

from deep_nb._files import flush, replacing, sha256
from deep_nb._provenance import provenance
from deep_nb.kinds import FLAG, NAMES, PATHLIB, a, check_executor, integer, plain, sequence, takes
from deep_nb.replication.execution import KERNEL, Outcome, execute
from deep_nb.replication.jobs import Job
from deep_nb.replication.records import RECORD, Record, state, write_record
from deep_nb.replication.verification import write_checksums

#: Endings of what belongs into the repository's figures, and of all that an experiment leaves.
FIGURES = (".svg", ".png", ".csv", ".gz", ".md", ".ipynb")
OUTPUTS = (*FIGURES, ".nc", ".html")

#: In the folder of a batch, beside its experiments.
LOCK, WORKING, CHECKPOINTS = ".lock", ".working", ".checkpoints"


@takes(
    jobs=sequence(a(Job), 0),
    output=PATHLIB,
    processes=integer(1),
    force=FLAG,
)
def replicate(
    jobs: list[Job],
    output: Path,
    processes: int = 1,
    *,
    executor: Executor | None = None,
    force: bool = False,
) -> Generator[Outcome]:
    """Execute the jobs that are not done, each in a process of its own, and yield their outcomes.

    Into ``output / job.name`` go the executed notebook, its HTML, what the notebook writes there:
    figures (SVG and PNG), tables and results (netCDF), and ``record.json``. A job that fails leaves
    its notebook with the error in it and does not stop the others. ``SHA256SUMS`` in `output` is
    renewed after each.

    Parameters
    ----------
    jobs : list of Job
        As from `deep_nb.replication.jobs.read_jobs`.
    output : Path
        Folder, made if need be.
    processes : int
        Jobs at a time on this machine, at least 1.
    executor : concurrent.futures.Executor, optional
        Runs the jobs instead, with as many at a time as it likes; its workers need this package,
        the notebooks and `output` under the same paths.
    force : bool
        Whether to run what is done, too.

    Raises
    ------
    ValueError
        If `jobs` is no list of jobs, `output` no path, or `processes` no integer of at least 1.
    RuntimeError
        If the Jupyter kernel is not installed, or another batch is at work on `output`.
    OSError
        If `output` cannot be written to, or the disk is full.
    """
    check_executor(executor)
    processes = plain(processes)
    if KERNEL not in KernelSpecManager().find_kernel_specs():
        raise RuntimeError(
            f"Jupyter has no kernel {KERNEL!r}; install it with: "
            "python -m pip install ipykernel && python -m ipykernel install --sys-prefix"
        )
    with _locked(output):
        if (output / WORKING).exists():  # of a batch that was killed
            shutil.rmtree(output / WORKING)
        (output / WORKING).mkdir()
        try:
            write_checksums(output)  # a kill may have left it behind the records
            wanted = [
                job for job in jobs if force or state(job, output / job.name).status != "done"
            ]
            yield from _run(wanted, output, processes, executor)
        finally:
            # What a worker elsewhere may still write there is nobody's any more.
            shutil.rmtree(output / WORKING, ignore_errors=executor is not None)


@contextlib.contextmanager
def _locked(output: Path) -> Iterator[None]:
    """Hold the folder; the system lets go of it when this process ends, however it does."""
    output.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(output / LOCK)
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        raise RuntimeError(
            f"another batch is at work on {output}: wait until it has ended, or choose another "
            "folder with --output"
        ) from None
    try:
        yield
    finally:
        lock.release()


def _run(
    jobs: list[Job], output: Path, processes: int, executor: Executor | None
) -> Iterator[Outcome]:
    """Execute the jobs and put away what each leaves, in the order in which they end."""
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
            except (Exception, CancelledError) as failure:  # not the experiment's, its worker's
                error = f"{type(failure).__name__}: {failure}"
                outcome = Outcome(job.name, None, {**provenance(), "error": error}, error)
            try:
                yield _put_away(outcome, fingerprint, output)
            except (OSError, ValueError) as failure:  # a full disk, or something in the way
                yield dataclasses.replace(outcome, error=f"{type(failure).__name__}: {failure}")
    finally:
        if stop is not None:
            stop.set()
            pool.shutdown(cancel_futures=True)
        for future in futures:
            future.cancel()


def _put_away(outcome: Outcome, fingerprint: dict[str, Any], output: Path) -> Outcome:
    """Move an experiment's files to their place, then write its record: only now it is done."""
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


@takes(names=NAMES, source=PATHLIB, target=PATHLIB)
def collect_figures(names: Iterable[str], source: Path, target: Path) -> list[Path]:
    """Copy figures, tables, notebooks and records of experiments, with checksums.

    Parameters
    ----------
    names : iterable of str
        Experiments that are done.
    source, target : Path
        Folders with one folder an experiment; ``SHA256SUMS`` in `target` is renewed.

    Returns
    -------
    list of Path
        The copies.

    Raises
    ------
    ValueError
        If `names` is no sequence of names, or `source` or `target` no path.
    OSError
        If a folder is missing, or cannot be read or written to.
    """
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
