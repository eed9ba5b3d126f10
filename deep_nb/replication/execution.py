"""Execution: each notebook in a separate process, so that a crash cannot affect the others.

`execute` starts ``python -m deep_nb.replication`` and watches it: a timeout or the death
of the process becomes the experiment's error. The process watches its parent in turn, and ends
when the parent dies. It starts the notebook's kernel, `deep_nb.replication.kernel`.

The notebook runs in a working folder, which holds only what it makes. Everything else is in a
scratch folder.
"""

import dataclasses
import html
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

import nbconvert
import nbformat
import papermill
import psutil
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from papermill.exceptions import PapermillExecutionError
from traitlets.config import Config

from deep_nb._files import contents, sha256, storable, write_text
from deep_nb._provenance import PACKAGE, code, differences, provenance, stamp
from deep_nb.replication.jobs import CHECKPOINT, OUTPUT, Job, literal
from deep_nb.replication.names import CHECKPOINTS, PENDING, RECORD, WORKING
from deep_nb.replication.notebooks import read_notebook
from deep_nb.replication.scratch import (
    ANSWER,
    CONNECTION,
    IPYTHON,
    LOG,
    NOTEBOOK,
    ORIGIN,
    REQUEST,
    SITE,
    scratch_folder,
)

KERNEL = "python3"

#: Variables that the kernel does not inherit: settings of the user, not of the machine.
SETTINGS = (
    *("COLUMNS", "IPYTHON", "JPY_", "JUPYTER", "LANG", "LC_", "LINES", "MPLBACKEND", "PANDAS_"),
    *("PYTHON", "TZ"),
)
#: Variables of Python that it inherits: where Python is, and where its modules are.
PLACES = ("PYTHONHOME", "PYTHONNOUSERSITE", "PYTHONPATH", "PYTHONPLATLIBDIR", "PYTHONUSERBASE")
#: Modules that Python imports when it starts, if it finds them.
CUSTOM = ("sitecustomize.py", "usercustomize.py")

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
    job: Job, fingerprint: dict[str, Any], output: Path, stop: threading.Event | None = None
) -> Outcome:
    """Execute a notebook in a separate process, in a new working folder of the batch in `output`.

    The process refuses to run if the job no longer has this fingerprint. Setting `stop` ends the
    process.

    The outcome's folder contains the executed notebook up to the first error, its HTML page, and
    the files that it wrote.
    """
    folder = Path(tempfile.mkdtemp(prefix=f"{job.name}-", dir=output / WORKING)).resolve()
    request = {
        "job": {**dataclasses.asdict(job), "notebook": str(job.notebook)},
        "fingerprint": fingerprint,
        "folder": str(folder),
    }
    started, clock = datetime.now(UTC), time.monotonic()
    with scratch_folder() as scratch:
        write_text(scratch / REQUEST, json.dumps(request))
        error = _run_process(scratch, job.timeout, stop)
        origin = {
            **_provenance(scratch),
            "parameters": job.all_parameters,
            "started": started.isoformat(timespec="seconds"),
            "seconds": round(time.monotonic() - clock, 3),
            "error": error,
        }
        steps: list[Callable[[], None]] = [
            lambda: _tidy(folder, job, fingerprint["files"]),
            lambda: _stamp(folder, origin),
            lambda: _write_notebook(folder, scratch / NOTEBOOK, job, origin),
        ]
        for step in steps:
            try:
                step()
            except Exception as failure:  # with its files: the experiment fails, the batch goes on
                origin["error"] = joined(origin["error"], failure)
    return Outcome(job.name, folder, origin, origin["error"])


def joined(error: str, failure: Exception) -> str:
    """Return the error of an experiment with a failure that came after it."""
    return f"{error}; {described(failure)}" if error else described(failure)


def described(failure: Exception) -> str:
    """Return the type and the message of an error."""
    return f"{type(failure).__name__}: {failure}"


def _provenance(scratch: Path) -> dict[str, Any]:
    """Return the provenance of the kernel, or of this process if no kernel has started."""
    path = scratch / ORIGIN
    if not path.is_file():
        return provenance()
    return json.loads(path.read_text(encoding="utf-8"))["provenance"]


def _environment(scratch: Path) -> dict[str, str]:
    """Return this environment without settings of the user that change figures or results.

    The kernel imports the package of this process, and finds modules on the same paths although
    it runs in another folder. Before them comes the folder with empty modules for `CUSTOM`.
    """
    kept = {
        name: value
        for name, value in os.environ.items()
        if name in PLACES or not name.startswith(SETTINGS)
    }
    paths = [os.path.abspath(p) for p in kept.get("PYTHONPATH", "").split(os.pathsep) if p]
    if PACKAGE.parent.name not in ("site-packages", "dist-packages"):  # such as another clone
        paths.insert(0, str(PACKAGE.parent))
    return {
        **kept,
        "IPYTHONDIR": str(scratch / IPYTHON),
        "LC_ALL": "C",
        "MATPLOTLIBRC": os.devnull,
        "PYTHONHASHSEED": "0",
        "PYTHONPATH": os.pathsep.join([str(scratch / SITE), *paths]),
        "PYTHONUTF8": "1",
        "TZ": "UTC",
    }


def _run_process(scratch: Path, timeout: int, stop: threading.Event | None) -> str:
    """Run the process that executes the request in the scratch folder; return its error."""
    for name in CUSTOM:
        write_text(scratch / SITE / name, "")
    with (scratch / LOG).open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "deep_nb.replication", str(scratch)],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            env=_environment(scratch),
        )
        try:
            error = _watch(process, timeout, stop)
        finally:
            _kill(process)
    return error or _answer(scratch, process.returncode)


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


def _answer(scratch: Path, status: int) -> str:
    """Return the error that the process reports, or how it died."""
    answer = scratch / ANSWER
    if status == 0 and answer.is_file():
        return str(json.loads(answer.read_text(encoding="utf-8"))["error"])
    how = signal.Signals(-status).name if status < 0 else f"exit status {status}"
    last = (scratch / LOG).read_text(encoding="utf-8", errors="replace").strip()[-2000:]
    output = f"; its last output:\n{last}" if last else ""
    return f"RuntimeError: its process died ({how}){output}"


def _tidy(folder: Path, job: Job, inputs: dict[str, str]) -> None:
    """Remove from the working folder what the experiment did not make or must not leave.

    It may leave regular files of its own. A link leads to somebody else's file.
    """
    reserved = {RECORD, PENDING, job.notebook.name, f"{job.notebook.stem}.html"}
    if folder.is_symlink() or not folder.is_dir():
        folder.unlink(missing_ok=True)
        folder.mkdir()
        raise ValueError("it removed the folder that it ran in")
    wrong = []
    open_up(folder)
    for path in contents(folder):
        name = path.relative_to(folder).as_posix()
        own = is_own(path)
        if own:
            path.chmod(path.stat().st_mode | 0o600)
        if own and name in inputs and sha256(path) == inputs[name]:
            path.unlink()
        elif not own or not name.isprintable() or name in reserved or name in inputs:
            path.unlink()
            wrong.append(name)
    if wrong:
        raise ValueError(
            f"it left {', '.join(map(repr, wrong[:5]))}; an experiment may leave regular files "
            "with printable names, but no links, and must not write its input or files of the batch"
        )


def open_up(folder: Path) -> None:
    """Give access to a folder and its subfolders; remove Python's caches."""
    folder.chmod(0o700)
    for place, names, _ in os.walk(folder):
        for path in (Path(place, name) for name in names):
            if path.name == "__pycache__" and not path.is_symlink():
                shutil.rmtree(path)
            elif not path.is_symlink():
                path.chmod(0o700)


def is_own(path: Path) -> bool:
    """Return whether a path is a regular file without other names, and not a link."""
    status = path.lstat()
    return stat.S_ISREG(status.st_mode) and status.st_nlink == 1


def _stamp(folder: Path, origin: dict[str, Any]) -> None:
    for path in filter(is_own, contents(folder)):
        stamp(path, origin)


def _write_notebook(folder: Path, executed: Path, job: Job, origin: dict[str, Any]) -> None:
    """Write the notebook with its origin, and its HTML page."""
    notebook = folder / job.notebook.name
    try:
        content = read_notebook(executed)
    except (OSError, ValueError):  # not started, or killed while writing
        content = _without_outputs(job.notebook)
    content.metadata["deep_nb"] = origin
    content.metadata["papermill"] = {
        **content.metadata.get("papermill", {}),  # whose paths contain folders of this machine
        "input_path": job.notebook.name,
        "output_path": notebook.name,
    }
    write_text(notebook, storable(nbformat.writes(content)) + "\n")
    page, _ = nbconvert.HTMLExporter().from_notebook_node(content)
    source = html.escape(json.dumps(origin, ensure_ascii=False))
    page = page.replace("<head>", f'<head><meta name="source" content="{source}">', 1)
    write_text(notebook.with_suffix(".html"), storable(page))


def _without_outputs(path: Path) -> nbformat.NotebookNode:
    """Read a notebook without its stored outputs, and without the state of their widgets."""
    notebook = read_notebook(path)
    notebook.metadata.pop("widgets", None)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    return notebook


def main(scratch: Path) -> None:
    """Execute the request in the scratch folder and write the answer."""
    threading.Thread(target=_end_with_parent, args=(scratch,), daemon=True).start()
    request = json.loads((scratch / REQUEST).read_text(encoding="utf-8"))
    error = ""
    try:
        _run(request, scratch)
    except PapermillExecutionError as failure:  # the notebook contains the traceback
        error = _of_cell(failure)
    except Exception as failure:  # any other error also belongs to the experiment
        error = described(failure)
    write_text(scratch / ANSWER, json.dumps({"error": error}))


def _of_cell(failure: PapermillExecutionError) -> str:
    """Return the error of a cell; magic commands that fail have no message, but print one."""
    what = failure.evalue or "the notebook shows what the cell printed"
    return f"{failure.ename}: {what} (in cell {failure.exec_count})"


def _end_with_parent(scratch: Path) -> NoReturn:
    """End this process and its kernel when the parent closes its end of the pipe."""
    os.read(sys.stdin.fileno(), 1)
    _kill_children(os.getpid())
    shutil.rmtree(scratch, ignore_errors=True)
    os._exit(1)


class _Manager(AsyncKernelManager):
    """Starts the kernel of this package with this Python, whatever kernels Jupyter knows."""

    @property
    def kernel_spec(self) -> KernelSpec:
        command = [sys.executable, "-P", "-m", "deep_nb.replication.kernel"]
        return KernelSpec(argv=[*command, "-f", "{connection_file}"], language="python")


def _run(request: dict[str, Any], scratch: Path) -> None:
    job = Job(**{**request["job"], "notebook": Path(request["job"]["notebook"])})
    folder, fingerprint = Path(request["folder"]), request["fingerprint"]
    changed = differences(fingerprint, job.fingerprint)
    if changed:
        raise RuntimeError("changed since the batch started: " + "; ".join(changed))
    for name in job.files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(job.notebook.parent / name, folder / name)
    given = {**job.parameters, OUTPUT: "."}
    if CHECKPOINT in job.defaults:
        # Relative, so that the executed notebook does not contain a path of this machine.
        given[CHECKPOINT] = f"../../{CHECKPOINTS}/{job.name}"
    notebook = scratch / NOTEBOOK
    write_text(notebook, nbformat.writes(_without_outputs(job.notebook)))
    try:
        executed = papermill.execute_notebook(
            literal(notebook),
            literal(notebook),
            given,
            cwd=folder,
            kernel_name=KERNEL,
            kernel_manager_class=_Manager,
            progress_bar=False,
            start_timeout=120,
            config=_kernel_config(scratch),
        )
    except RuntimeError:
        if error := _kernel_error(scratch):
            raise RuntimeError(error) from None
        raise
    for index, cell in enumerate(executed.cells):
        for output in cell.get("outputs", []):
            if output.output_type == "error":  # papermill accepts SystemExit with status 0
                what = cell.execution_count, cell.source, output.ename, output.evalue
                raise PapermillExecutionError(index, *what, output.traceback)
    try:
        read_notebook(notebook)
    except ValueError as error:  # such as of more than LARGEST_FILE bytes
        raise ValueError(f"what the cells printed cannot be kept: {error}") from None
    code.cache_clear()
    changed = differences(fingerprint, job.fingerprint)
    if changed:
        raise RuntimeError("changed while the notebook ran: " + "; ".join(changed))


def _kernel_error(scratch: Path) -> str:
    """Return why the kernel has not started, if it says so."""
    path = scratch / ORIGIN
    return json.loads(path.read_text(encoding="utf-8"))["error"] if path.is_file() else ""


def _kernel_config(scratch: Path) -> Config:
    """Let the kernel listen on sockets in this folder; kernels would compete for free ports."""
    manager = {"connection_file": str(scratch / CONNECTION)}
    if os.name == "posix":
        manager |= {"transport": "ipc", "ip": str(scratch / "kernel")}
    return Config({"KernelManager": manager})
