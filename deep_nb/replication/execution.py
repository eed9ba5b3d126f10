"""Execution: each notebook in a separate process, so that a crash cannot affect the others.

`execute` starts ``python -m deep_nb.replication.execution`` and watches it: a timeout or the death
of the process becomes the experiment's error. The process watches its parent in turn, and ends
when the parent dies.
"""

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
from deep_nb.replication.jobs import CHECKPOINT, OUTPUT, Job, literal
from deep_nb.replication.notebooks import read_notebook
from deep_nb.replication.records import RECORD

KERNEL = "python3"

#: Files in the working folder through which the two processes communicate.
REQUEST, ANSWER, LOG = ".request.json", ".answer.json", ".log"

#: Maximum length of the path for temporary files, so that the paths of the kernel's sockets stay
#: within the system's limit of 107 characters.
LONGEST_TMP = 50

#: Seconds between two checks of the process.
POLL = 0.1


@dataclass(frozen=True)
class Outcome:
    """How one experiment ended.

    Attributes
    ----------
    name : str
    folder : Path or None
        Contains its files; None if it left no files.
    origin : dict
        Provenance, parameters, start and duration.
    error : str
        Empty after success.
    """

    name: str
    folder: Path | None
    origin: dict[str, Any]
    error: str

    @property
    def seconds(self) -> float:
        """Duration of the execution; 0 if unknown."""
        return float(self.origin.get("seconds", 0.0))

    @property
    def status(self) -> str:
        """The word "failed" or "done"."""
        return "failed" if self.error else "done"


def execute(
    job: Job,
    fingerprint: dict[str, Any],
    working: Path,
    checkpoint: Path,
    stop: threading.Event | None = None,
) -> Outcome:
    """Execute a notebook in a separate process, in a new folder inside `working`.

    The process refuses to run if the job no longer has this fingerprint. `checkpoint` is the
    folder for the notebook's checkpoints. Setting `stop` ends the process.

    The outcome's folder contains the executed notebook up to the first error, its HTML page, and
    the files that it wrote.
    """
    folder = Path(tempfile.mkdtemp(prefix=f"{job.name}-", dir=working)).resolve()
    request = {
        "name": job.name,
        "notebook": str(job.notebook),
        "parameters": job.parameters,
        "timeout": job.timeout,
        "fingerprint": fingerprint,
        # Relative, so that the executed notebook does not contain a path of this machine.
        "checkpoint": os.path.relpath(checkpoint.resolve(), folder),
    }
    write_text(folder / REQUEST, json.dumps(request))
    started, clock = datetime.now(UTC), time.monotonic()
    error = _run_process(folder, job.timeout, stop)
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


def _run_process(folder: Path, timeout: int, stop: threading.Event | None) -> str:
    """Run the process that executes the request in the folder; return its error."""
    with (folder / LOG).open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "deep_nb.replication.execution", str(folder)],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
        )
        try:
            error = _watch(process, timeout, stop)
        finally:
            _kill(process)
    return error or _answer(folder, process.returncode)


def _watch(process: subprocess.Popen[bytes], timeout: int, stop: threading.Event | None) -> str:
    """Wait until the process ends; return the reason if it must be killed."""
    deadline = time.monotonic() + timeout
    while process.poll() is None:
        if time.monotonic() > deadline:
            return f"TimeoutError: it exceeded its timeout of {timeout} s"
        if stop is not None and stop.is_set():
            return "InterruptedError: the batch was stopped"
        time.sleep(POLL)
    return ""


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kill the process and all its descendants."""
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
    output = f"; its last output:\n{last}" if last else ""
    return f"RuntimeError: its process died ({how}){output}"


def _finish(job: Job, folder: Path, origin: dict[str, Any]) -> str:
    """Write the notebook, its HTML page, and the origin into every file; return an error."""
    for name in (REQUEST, ANSWER, LOG):
        (folder / name).unlink(missing_ok=True)
    notebook = folder / job.notebook.name
    try:
        content = read_notebook(notebook)
    except (OSError, ValueError):  # not started, or killed while writing
        content = read_notebook(job.notebook)
        for cell in content.cells:
            if cell.cell_type == "code":
                cell.outputs, cell.execution_count = [], None
    content.metadata["deep_nb"] = origin
    content.metadata["papermill"] = {
        **content.metadata.get("papermill", {}),  # whose paths contain folders of this machine
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
    except Exception as failure:  # with its files: the experiment fails, the batch continues
        return f"{type(failure).__name__}: {failure}"
    return ""


def _refuse(folder: Path) -> str:
    """Remove what a notebook must not leave: folders, a record, unprintable names."""
    error = ""
    for path in sorted(folder.iterdir()):
        if path.is_file() and path.name.isprintable() and path.name != RECORD:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
        error = f"ValueError: it left {path.name!r}; only files with printable names are allowed"
    return error


def main(folder: Path) -> None:
    """Execute the request in the folder and write the answer."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    request = json.loads((folder / REQUEST).read_text(encoding="utf-8"))
    error = ""
    try:
        _run(request, folder)
    except PapermillExecutionError as failure:  # the notebook contains the traceback
        error = f"{failure.ename}: {failure.evalue} (in cell {failure.exec_count})"
    except Exception as failure:  # any other error also belongs to the experiment
        error = f"{type(failure).__name__}: {failure}"
    write_text(folder / ANSWER, json.dumps({"error": error}))


def _end_with_parent() -> None:
    """End this process and its kernel when the parent closes its end of the pipe."""
    os.read(sys.stdin.fileno(), 1)
    _kill_children(os.getpid())
    os._exit(1)


def _run(request: dict[str, Any], folder: Path) -> None:
    job = Job(request["name"], Path(request["notebook"]), request["parameters"], request["timeout"])
    changed = differences(request["fingerprint"], job.fingerprint)
    if changed:
        raise RuntimeError("changed since the batch started: " + "; ".join(changed))
    given = {**job.parameters, OUTPUT: "."}
    if CHECKPOINT in job.defaults:
        given[CHECKPOINT] = request["checkpoint"]
    # The system limits the length of a socket's path; TMPDIR on a cluster may be too long.
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
        raise RuntimeError("changed while the notebook ran: " + "; ".join(changed))


def _kernel_config(folder: str) -> Config:
    """Let the kernel listen on sockets in this folder; kernels would compete for free ports."""
    if os.name != "posix":
        return Config()
    return Config({"KernelManager": {"transport": "ipc", "ip": f"{folder}/kernel"}})


if __name__ == "__main__":
    main(Path(sys.argv[1]))
