"""Execution: one notebook in a process of its own, which cannot take others down with it.

`execute` starts ``python -m deep_nb.replication.execution`` and watches it: a limit on its time, and its death,
end as the experiment's error. The process in turn watches its parent and ends when that dies.
"""

from __future__ import annotations

import html
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import nbconvert
import nbformat
import papermill
import psutil
from papermill.exceptions import PapermillExecutionError
from traitlets.config import Config

from deep_nb._files import write_text
from deep_nb._provenance import code, differences, provenance, stamp
from deep_nb.kinds import MAPPING, NOTHING, PATHLIB, a, takes
from deep_nb.replication.jobs import CHECKPOINT, OUTPUT, Job, literal
from deep_nb.replication.notebooks import read_notebook
from deep_nb.replication.records import RECORD

KERNEL = "python3"

#: What the processes tell each other, in the experiment's working folder.
REQUEST, ANSWER, LOG = ".request.json", ".answer.json", ".log"

#: Of the folder for temporary files; what is added to it makes a path of at most 107 letters.
LONGEST_TMP = 50

#: Seconds between two looks at the process.
LOOK = 0.1


@dataclass(frozen=True)
class Outcome:
    """How one experiment ended: `error` is empty if it went well.

    Attributes
    ----------
    name : str
    folder : Path or None
        Where its files are; None if there are none.
    origin : dict
        Provenance, parameters, start and duration.
    error : str
    """

    name: str
    folder: Path | None
    origin: dict[str, Any]
    error: str

    @property
    def seconds(self) -> float:
        """How long it took, 0 where that is not known."""
        return float(self.origin.get("seconds", 0.0))

    @property
    def status(self) -> str:
        """In one word."""
        return "failed" if self.error else "done"


@takes(
    job=a(Job),
    fingerprint=MAPPING,
    working=PATHLIB,
    checkpoint=PATHLIB,
    stop=a(threading.Event) | NOTHING,
)
def execute(
    job: Job,
    fingerprint: dict[str, Any],
    working: Path,
    checkpoint: Path,
    stop: threading.Event | None = None,
) -> Outcome:
    """Execute a notebook in a process of its own.

    Parameters
    ----------
    job : Job
    fingerprint : dict
        What its results are to depend on, `deep_nb.replication.jobs.Job.fingerprint`.
    working : Path
        A new folder is made in it for the files.
    checkpoint : Path
        Folder for the finished blocks of seeds of a notebook that keeps them.
    stop : threading.Event, optional
        Once set, the process is ended.

    Returns
    -------
    Outcome
        With the executed notebook as far as it went, its HTML page, and what it wrote.

    Raises
    ------
    ValueError
        If an argument is something else, or `fingerprint` not made of JSON types.
    OSError
        If `working` cannot be written to.
    """
    folder = Path(tempfile.mkdtemp(prefix=f"{job.name}-", dir=working)).resolve()
    request = {
        "name": job.name,
        "notebook": str(job.notebook),
        "parameters": job.parameters,
        "timeout": job.timeout,
        "fingerprint": fingerprint,
        "checkpoint": os.path.relpath(checkpoint.resolve(), folder),  # no path of this machine
    }
    try:
        text = json.dumps(request)
    except (TypeError, ValueError, RecursionError) as wrong:
        raise ValueError(f"fingerprint must be made of JSON types: {wrong}") from None
    write_text(folder / REQUEST, text)
    started, clock = datetime.now(UTC), time.monotonic()
    with (folder / LOG).open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "deep_nb.replication.execution", str(folder)],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
        )
        try:
            error = _watch(process, job.timeout, stop)
        finally:
            _kill(process)
    error = error or _answer(folder, process.returncode)
    refused = _refuse(folder)
    error = error or refused
    origin = {
        **provenance(),
        "parameters": job.all_parameters,
        "started": started.isoformat(timespec="seconds"),
        "seconds": round(time.monotonic() - clock, 3),
        "error": error,
    }
    error = _finish(job, folder, origin) or error
    return Outcome(job.name, folder, {**origin, "error": error}, error)


def _watch(process: subprocess.Popen[bytes], timeout: float, stop: threading.Event | None) -> str:
    """Wait for the process; return why it has to be ended, if it has."""
    deadline = time.monotonic() + timeout
    while process.poll() is None:
        if time.monotonic() > deadline:
            return f"TimeoutError: it took longer than its timeout of {timeout} s"
        if stop is not None and stop.is_set():
            return "InterruptedError: the batch was stopped"
        time.sleep(LOOK)
    return ""


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End the process and all that it started."""
    _kill_children(process.pid)
    process.kill()
    process.communicate()


def _kill_children(pid: int) -> None:
    try:
        children = psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return
    for child in children:
        try:
            child.kill()
        except psutil.NoSuchProcess:
            continue


def _answer(folder: Path, status: int) -> str:
    """Return the error that the process reports, or how it died."""
    answer = folder / ANSWER
    if status == 0 and answer.is_file():
        return str(json.loads(answer.read_text(encoding="utf-8"))["error"])
    how = signal.Signals(-status).name if status < 0 else f"exit status {status}"
    last = (folder / LOG).read_text(encoding="utf-8", errors="replace").strip()[-2000:]
    return f"RuntimeError: its process died ({how})" + (f"; it last said:\n{last}" if last else "")


def _finish(job: Job, folder: Path, origin: dict[str, Any]) -> str:
    """Leave a notebook in any case, its page, and the origin in every file; return an error."""
    for name in (REQUEST, ANSWER, LOG):
        (folder / name).unlink(missing_ok=True)
    notebook = folder / job.notebook.name
    try:
        content = read_notebook(notebook)
    except (OSError, ValueError):  # not begun, or cut off in the middle of being written
        content = read_notebook(job.notebook)
        for cell in content.cells:
            if cell.cell_type == "code":
                cell.outputs, cell.execution_count = [], None
    content.metadata["deep_nb"] = origin
    content.metadata["papermill"] = {
        **content.metadata.get("papermill", {}),  # without the paths of this machine
        "input_path": job.notebook.name,
        "output_path": notebook.name,
    }
    try:
        nbformat.write(content, notebook)
        for path in sorted(folder.iterdir()):
            if path.is_file():
                stamp(path, origin)
        page, _ = nbconvert.HTMLExporter().from_notebook_node(content)
        source = html.escape(json.dumps(origin, ensure_ascii=False))
        page = page.replace("<head>", f'<head><meta name="source" content="{source}">', 1)
        notebook.with_suffix(".html").write_text(page, encoding="utf-8")
    except Exception as failure:  # what goes wrong with an experiment's files is its own error
        return f"{type(failure).__name__}: {failure}"
    return ""


def _refuse(folder: Path) -> str:
    """Remove what a notebook may not leave: a record, folders, names of several lines."""
    error = ""
    for path in sorted(folder.iterdir()):
        if path.is_file() and path.name.isprintable() and path.name != RECORD:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
        error = f"ValueError: it left {path.name!r}, where only files with plain names may stand"
    return error


def main(folder: Path) -> None:
    """Execute what the request in the folder asks for, and answer."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    request = json.loads((folder / REQUEST).read_text(encoding="utf-8"))
    error = ""
    try:
        _run(request, folder)
    except PapermillExecutionError as failure:  # its traceback stands in the notebook
        error = f"{failure.ename}: {failure.evalue} (in cell {failure.exec_count})"
    except Exception as failure:  # whatever else may go wrong is the experiment's outcome, too
        error = f"{type(failure).__name__}: {failure}"
    write_text(folder / ANSWER, json.dumps({"error": error}))


def _end_with_parent() -> None:
    """End this process and its kernel once the parent's end of the pipe is closed."""
    os.read(sys.stdin.fileno(), 1)
    _kill_children(os.getpid())
    os._exit(1)


def _run(request: dict[str, Any], folder: Path) -> None:
    job = Job(request["name"], Path(request["notebook"]), request["parameters"], request["timeout"])
    changed = differences(request["fingerprint"], job.fingerprint)
    if changed:
        raise RuntimeError(
            "here it would not run what the batch was started with: " + "; ".join(changed)
        )
    given = {**job.parameters, OUTPUT: "."}
    if CHECKPOINT in job.defaults:
        given[CHECKPOINT] = request["checkpoint"]
    # The system bounds the length of a socket's path, and a cluster's TMPDIR may be long.
    root = "/tmp" if os.name == "posix" and len(tempfile.gettempdir()) > LONGEST_TMP else None
    with tempfile.TemporaryDirectory(prefix="deep-nb-", dir=root) as sockets:
        papermill.execute_notebook(
            literal(job.notebook),
            literal(folder / job.notebook.name),
            given,
            cwd=folder,
            kernel_name=KERNEL,
            progress_bar=False,
            start_timeout=120,
            config=_kernel_config(sockets),
        )
    code.cache_clear()
    changed = differences(request["fingerprint"], job.fingerprint)
    if changed:
        raise RuntimeError("this changed while it ran: " + "; ".join(changed))


def _kernel_config(folder: str) -> Config:
    """Have the kernel listen on sockets in a folder of its own: no two can race for a port."""
    if os.name != "posix":
        return Config()
    return Config({"KernelManager": {"transport": "ipc", "ip": f"{folder}/kernel"}})


if __name__ == "__main__":
    main(Path(sys.argv[1]))
