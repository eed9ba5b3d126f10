"""A batch of experiments that resumes after any interruption.

Only one batch at a time uses a folder of results. Experiments run in working folders; when one
ends, the batch moves its files into place and writes its record last. An experiment with a valid
record is done and does not run again.
"""

import contextlib
import dataclasses
import errno
import importlib
import os
import shutil
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import filelock

from deep_nb._extras import needed_by
from deep_nb._files import (
    check_writable,
    contents,
    flush,
    is_regular,
    remove_partials,
    replacing,
    set_aside,
    sha256,
)
from deep_nb._provenance import provenance
from deep_nb._validation import as_path, check_executor, file_name, flag, instance, integer, items
from deep_nb.replication.execution import (
    Outcome,
    described,
    execute,
    is_own,
    joined,
    open_up,
)
from deep_nb.replication.jobs import Job
from deep_nb.replication.names import CHECKPOINTS, CHECKSUMS, LOCK, PENDING, RECORD, WORKING
from deep_nb.replication.records import Record, read_record, state, write_record
from deep_nb.replication.verification import listed_before, write_checksums

#: Suffixes of the files that belong to the repository's figures.
FIGURES = (".svg", ".png", ".gif", ".csv", ".gz", ".md", ".ipynb")


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
    notebook with the error, and the other jobs continue. A job whose folder is a link or a file, or
    cannot be written, fails before it runs. ``SHA256SUMS`` in `output` is updated
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
        If another batch uses `output`.
    ModuleNotFoundError
        If the Jupyter kernel is not installed.
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
    with needed_by("deep_nb.replication.replicate"):
        importlib.import_module("ipykernel")
    return _replicate(jobs, output, processes, executor, force)


def _replicate(
    jobs: list[Job], output: Path, processes: int, executor: Executor | None, force: bool
) -> Generator[Outcome]:
    with _locked(output):
        _remove(output / WORKING)  # of a batch that was killed
        (output / WORKING).mkdir()
        try:
            remove_partials(output)
            wanted = [
                job for job in jobs if force or state(job, output / job.name).status != "done"
            ]
            write_checksums(output)  # a killed batch may have left them out of date
            able, inputs = [], _folders_of_inputs(jobs)
            for job in wanted:
                try:
                    _check_place(output / job.name, inputs)
                    able.append(job)
                except OSError as failure:
                    yield _failed(job, failure)
            yield from _run(able, output, processes, executor)
        finally:
            # A worker on another machine may still write there; its files are not needed.
            shutil.rmtree(output / WORKING, ignore_errors=executor is not None)


@contextlib.contextmanager
def _locked(output: Path) -> Iterator[None]:
    """Lock the folder; the operating system releases the lock when the process exits."""
    output.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(output / LOCK, thread_local=False)  # may be released in another thread
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        raise RuntimeError(
            f"another batch is using {output}: wait until it ends, or choose another folder with "
            "--output"
        ) from None
    except (OSError, NotImplementedError) as error:
        if getattr(error, "errno", errno.ENOSYS) not in (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP):
            raise
        raise RuntimeError(
            f"the file system of {output} has no locks: choose a folder elsewhere with --output"
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
            future = pool.submit(execute, job, fingerprint, output, stop)
            futures[future] = job, fingerprint
        for future in as_completed(futures):
            job, fingerprint = futures[future]
            try:
                outcome = future.result()
            except Exception as failure:  # of the worker, not of the experiment
                outcome = _failed(job, failure)
            try:
                outcome = _store(outcome, fingerprint, output)
            except (OSError, ValueError) as failure:  # such as a full disk
                outcome = dataclasses.replace(outcome, error=joined(outcome.error, failure))
            yield outcome
    finally:
        if stop is not None:
            stop.set()
            pool.shutdown(cancel_futures=True)
        for future in futures:
            future.cancel()


def _failed(job: Job, failure: Exception) -> Outcome:
    """Return the outcome of a job that has not run."""
    error = described(failure)
    return Outcome(job.name, None, {**provenance(), "error": error}, error)


def _store(outcome: Outcome, fingerprint: dict[str, Any], output: Path) -> Outcome:
    """Move an experiment's files into place, then write its record, which completes it."""
    files = {}
    if outcome.folder:
        for path in filter(is_own, contents(outcome.folder)):
            flush(path)
            files[path.relative_to(outcome.folder).as_posix()] = path
    record = Record(
        error=outcome.error,
        origin=outcome.origin,
        fingerprint=fingerprint,
        files={name: sha256(path) for name, path in files.items()},
    )
    _place(record, files, output / outcome.name, os.replace)
    if not outcome.error:
        _remove(output / CHECKPOINTS / outcome.name)
    write_checksums(output)
    return dataclasses.replace(outcome, folder=output / outcome.name)


def _place(
    record: Record, files: dict[str, Path], folder: Path, put: Callable[[Path, Path], object]
) -> None:
    """Put files into an experiment's folder in place of those of earlier runs, the record last.

    Meanwhile the record has another name, so that the next run finds the files of an interrupted
    one.
    """
    _check_free(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name in (RECORD, PENDING):
        if os.path.lexists(folder / name) and not is_regular(folder / name):
            set_aside(folder / name)
    if (folder / RECORD).exists():
        (folder / RECORD).replace(folder / PENDING)
        flush(folder)
    _remove_earlier(folder)
    for name in files:  # before a record lists them, as whose files they would be removed
        _make_way(folder, name)
    write_record(record, folder, PENDING)
    for name, path in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        put(path, folder / name)
    for place in {parent for name in files for parent in Path(name).parents}:
        flush(folder / place)
    (folder / PENDING).replace(folder / RECORD)
    flush(folder)


def _remove_earlier(folder: Path) -> None:
    """Remove the files that the record lists or, if it is damaged or lost, ``SHA256SUMS``.

    Remove what an interruption while writing has left, too.
    """
    remove_partials(folder)
    try:
        record = read_record(folder, PENDING)
    except ValueError:
        record = None
    listed = record.files if record else listed_before(folder.parent).get(folder.name, {})
    for path in contents(folder):
        if path.relative_to(folder).as_posix() in listed:
            path.unlink()
    for place, _, _ in os.walk(folder, topdown=False):
        with contextlib.suppress(OSError):  # it contains other files
            os.rmdir(place)


def _make_way(folder: Path, name: str) -> None:
    """Set aside what is in the way of a file, or of a folder that it is in."""
    for parent in Path(name).parents[-2::-1]:  # without "."
        if _is_taken(folder / parent):
            set_aside(folder / parent)
    if os.path.lexists(folder / name):
        set_aside(folder / name)


def _remove(path: Path) -> None:
    """Remove a folder of the batch, or what is in its place; of a link, only the link."""
    if path.is_dir() and not path.is_symlink():
        open_up(path)
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def check_places(jobs: Sequence[Job], folder: Path) -> None:
    """Refuse a folder in which the files of these jobs cannot be put, before they run."""
    folder.mkdir(parents=True, exist_ok=True)
    check_writable(folder / CHECKSUMS)
    inputs = _folders_of_inputs(jobs)
    for job in jobs:
        _check_place(folder / job.name, inputs)


def _folders_of_inputs(jobs: Sequence[Job]) -> dict[Path, Path]:
    """Return an input of an experiment for each folder that holds one."""
    inputs = {path.resolve() for job in jobs for path in job.inputs}
    return {folder: path for path in sorted(inputs) for folder in path.parents}


def _check_place(place: Path, inputs: dict[Path, Path]) -> None:
    """Refuse a place for results that cannot be written, or that holds an input."""
    _check_free(place)
    path = inputs.get(place.resolve())
    if path is not None:
        raise FileExistsError(
            f"{place} is for results, but {path.name} of an experiment is in it: choose another "
            "folder"
        )
    if place.exists():
        check_writable(place / "result")


def _check_free(place: Path) -> None:
    """Refuse a link or a file in place of an experiment's folder."""
    if _is_taken(place):
        kind = "a link" if place.is_symlink() else "not a folder"
        raise FileExistsError(f"{place} is {kind}: move it away, or choose another folder")


def _is_taken(place: Path) -> bool:
    """Return whether a link or a file is in the place of a folder."""
    return place.is_symlink() or (place.exists() and not place.is_dir())


def collect_figures(names: Sequence[str], source: str | Path, target: str | Path) -> list[Path]:
    """Copy figures, tables, notebooks and records of experiments, and write their checksums.

    The copies replace those of earlier runs. If `source` and `target` are the same folder, nothing
    is copied.

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
        If an argument is not valid, or a record is damaged.
    FileNotFoundError, OSError
        If an experiment has not finished, a folder cannot be read or written, or a link or a file
        is in place of an experiment's folder.

    See Also
    --------
    replicate : Execute the experiments.
    verify : Check the copies.

    Examples
    --------
    >>> import json, pathlib, tempfile
    >>> import deep_nb
    >>> record = {"error": "", "origin": {}, "fingerprint": {}}
    >>> record["files"] = {"mse.svg": "0" * 64, "run.nc": "1" * 64}
    >>> with tempfile.TemporaryDirectory() as name:
    ...     source, target = pathlib.Path(name, "batch"), pathlib.Path(name, "figures")
    ...     (source / "xor").mkdir(parents=True)
    ...     _ = (source / "xor" / "record.json").write_text(json.dumps(record))
    ...     for file in record["files"]:
    ...         (source / "xor" / file).touch()
    ...     copies = deep_nb.replication.collect_figures(["xor"], source, target)
    >>> [copy.name for copy in copies]
    ['mse.svg', 'record.json']
    """
    names = [file_name(name, f"names[{i}]") for i, name in enumerate(items(names, "names", 0))]
    source, target = as_path(source, "source"), as_path(target, "target")
    same = target.exists() and source.exists() and target.samefile(source)
    copies = []
    for name in names:
        record = read_record(source / name)
        if record is None:
            raise FileNotFoundError(f"no {RECORD} in {source / name}: it has not finished")
        files = {file: source / name / file for file in record.files if _is_figure(file)}
        copies += [target / name / file for file in (*files, RECORD)]
        if not same:
            _place(record, files, target / name, _copy)
    if not same:
        remove_partials(target)
        write_checksums(target, FIGURES)
    return copies


def _is_figure(name: str) -> bool:
    return Path(name).suffix in FIGURES


def _copy(path: Path, target: Path) -> None:
    with replacing(target) as partial:
        shutil.copyfile(path, partial)
