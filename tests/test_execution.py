"""What an execution asks of its processes, and what it makes of their answers.

No kernel runs here: `papermill.execute_notebook` is replaced, or the process around it.
"""

import dataclasses
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from papermill.exceptions import PapermillExecutionError

from deep_nb._files import write_text
from deep_nb._provenance import provenance
from deep_nb.replication import execution, read_jobs
from deep_nb.replication.execution import execute
from deep_nb.replication.names import PENDING, RECORD, WORKING
from deep_nb.replication.notebooks import read_notebook
from deep_nb.replication.scratch import ANSWER, LOG, NOTEBOOK, ORIGIN, REQUEST, SITE

from .conftest import refused
from .test_replication import write_notebook


@pytest.fixture
def job(tmp_path):
    """An experiment with files in two folders, one inside the other."""
    root = tmp_path / "experiments"
    (root / "data" / "deep").mkdir(parents=True)
    for name in ("data/x.csv", "data/y.csv", "data/deep/z.csv"):
        (root / name).write_text(name)
    write_notebook(root / "tiny.ipynb", "print(n)")
    entry = "{name: a, notebook: tiny.ipynb, parameters: {n: 2}, timeout: 33, files: [%s]}"
    files = "data/x.csv, data/y.csv, data/deep/z.csv"
    (root / "experiments.yml").write_text(f"experiments: [{entry % files}]")
    return read_jobs(root / "experiments.yml")[0]


def request_of(job, folder):
    """Return what a process is asked for."""
    return {
        "job": {**dataclasses.asdict(job), "notebook": str(job.notebook)},
        "fingerprint": job.fingerprint,
        "folder": str(folder),
    }


# The process that starts others


@pytest.mark.slow
def test_each_execution_has_a_working_folder_of_the_batch_and_asks_for_all_of_its_job(
    tmp_path, job, monkeypatch
):
    asked = []

    def run_process(scratch, timeout, stop):
        asked.append((json.loads((scratch / REQUEST).read_text()), timeout, stop))
        write_text(scratch / ORIGIN, json.dumps({"provenance": {"cpu": "of the kernel"}}))
        return ""

    (tmp_path / "out" / WORKING).mkdir(parents=True)
    times = iter([100.0, 109.87654])
    monkeypatch.setattr(execution, "time", SimpleNamespace(monotonic=lambda: next(times)))
    monkeypatch.setattr(execution, "_run_process", run_process)
    stop = threading.Event()
    made = execute(job, job.fingerprint, tmp_path / "out", stop)
    assert made.folder.parent == (tmp_path / "out" / WORKING).resolve()
    assert made.folder.name.startswith("a-")
    expected = json.loads(json.dumps(request_of(job, made.folder)))
    assert asked == [(expected, 33, stop)]
    assert made.origin.pop("started")
    assert made.origin == {
        "cpu": "of the kernel", "parameters": {"n": 2}, "seconds": 9.877, "error": "",
    }  # fmt: skip
    assert (made.name, made.error, made.status, made.seconds) == ("a", "", "done", 9.877)


def test_each_failure_of_putting_away_is_told_and_hides_no_other(tmp_path, job, monkeypatch):
    def fails(step):
        def failing(*_):
            raise OSError(step)

        return failing

    (tmp_path / "out" / WORKING).mkdir(parents=True)
    monkeypatch.setattr(execution, "_run_process", lambda *_: "")
    for step in ("_tidy", "_stamp", "_write_notebook"):
        monkeypatch.setattr(execution, step, fails(step))
    made = execute(job, job.fingerprint, tmp_path / "out")
    assert made.error == "OSError: _tidy; OSError: _stamp; OSError: _write_notebook"
    assert made.origin["error"] == made.error


def test_the_provenance_is_the_kernels_or_without_a_kernel_that_of_this_process(tmp_path):
    assert execution._provenance(tmp_path) == provenance()
    assert execution._kernel_error(tmp_path) == ""
    told = {"provenance": {"cpu": "µ"}, "error": "too old"}
    (tmp_path / ORIGIN).write_text(json.dumps(told, ensure_ascii=False), encoding="utf-8")
    assert execution._provenance(tmp_path) == {"cpu": "µ"}
    assert execution._kernel_error(tmp_path) == "too old"


def test_without_python_paths_a_kernel_finds_the_package_of_the_batch(tmp_path, monkeypatch):
    monkeypatch.delenv("PYTHONPATH", raising=False)
    monkeypatch.setattr(execution, "PACKAGE", tmp_path / "clone" / "deep_nb")
    made = execution._environment(Path("scratch"))
    assert made["PYTHONPATH"].split(os.pathsep) == [f"scratch/{SITE}", str(tmp_path / "clone")]
    monkeypatch.setattr(execution, "PACKAGE", tmp_path / "site-packages" / "deep_nb")
    assert execution._environment(Path("scratch"))["PYTHONPATH"] == f"scratch/{SITE}"


def test_a_process_is_asked_for_its_end_ten_times_a_second(monkeypatch):
    slept, ends = [], iter([None, None, 0])
    time = SimpleNamespace(monotonic=lambda: 0.0, sleep=slept.append)
    monkeypatch.setattr(execution, "time", time)
    process = SimpleNamespace(poll=lambda: next(ends))
    assert execution._watch(process, 5, None) == ""
    assert slept == [0.1, 0.1]


def test_the_process_of_an_experiment_is_this_python_with_the_package_of_the_batch(
    tmp_path, monkeypatch
):
    """Its end of the pipe is open, its output is in the log, and it is killed at the end."""
    started, killed = [], []

    class Process:
        returncode = 7

        def __init__(self, command, **options):
            started.append((command, options))
            options["stdout"].write(b"last words \xff")

        def poll(self):
            return 7

    monkeypatch.setattr(execution.subprocess, "Popen", Process)
    monkeypatch.setattr(execution, "_kill", killed.append)
    error = execution._run_process(tmp_path, 5, None)
    assert error == (
        "RuntimeError: its process died (exit status 7); its last output:\nlast words \ufffd"
    )
    ((command, options),) = started
    assert command == [sys.executable, "-P", "-m", "deep_nb.replication", str(tmp_path)]
    assert options["stdin"] == subprocess.PIPE
    assert options["stdout"] is options["stderr"]
    assert options["stdout"].name == str(tmp_path / LOG)
    assert options["env"] == execution._environment(tmp_path)
    assert len(killed) == 1
    assert {path.name: path.read_text() for path in (tmp_path / SITE).iterdir()} == {
        "sitecustomize.py": "", "usercustomize.py": "",
    }  # fmt: skip


def test_a_process_is_killed_with_its_descendants():
    """A shell starts a process in the background, and waits for a line that does not come."""
    command = ["sh", "-c", "sleep 600 & echo $!; read line"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as shell:
        child = int(shell.stdout.readline())
        execution._kill(shell)
    assert shell.returncode == -signal.SIGKILL
    status = Path(f"/proc/{child}/stat")
    assert not status.exists() or status.read_text().split()[2] == "Z"
    execution._kill_children(shell.pid)  # which has none any more


def test_an_answer_counts_only_from_a_process_that_ended_well(tmp_path):
    (tmp_path / LOG).write_bytes(b" \xff\xc3\xa9\n")
    (tmp_path / ANSWER).write_text('{"error": "β"}', encoding="utf-8")
    assert execution._answer(tmp_path, 0) == "β"
    died = "RuntimeError: its process died ({}); its last output:\n\ufffdé"
    assert execution._answer(tmp_path, 1) == died.format("exit status 1")
    assert execution._answer(tmp_path, -15) == died.format("SIGTERM")


# What an experiment leaves


def test_the_error_names_five_of_the_files_that_an_experiment_must_not_leave(tmp_path, job):
    folder = tmp_path / "work"
    folder.mkdir()
    names = ["in.csv", "l1", "l2", "tiny.html", RECORD, PENDING]
    for name in names:
        (folder / name).symlink_to(folder / "nothing")
    with refused(
        "it left '.record.json', 'in.csv', 'l1', 'l2', 'record.json'; an experiment may leave "
        "regular files with printable names, but no links, and must not write its input or files "
        "of the batch"
    ):
        execution._tidy(folder, job, {})
    assert [*folder.iterdir()] == []
    folder.rmdir()
    with refused("it removed the folder that it ran in"):
        execution._tidy(folder, job, {})


def test_files_and_folders_of_an_experiment_can_be_read_and_written_by_their_owner(tmp_path, job):
    folder = tmp_path / "work"
    (folder / "sub" / "__pycache__").mkdir(parents=True)
    (tmp_path / "others").mkdir()
    (folder / "__pycache__").symlink_to(tmp_path / "others")
    for name in ("x.csv", "sub/y.csv"):
        (folder / name).write_text("")
        (folder / name).chmod(0o040)
    for path in (folder / "sub", folder):
        path.chmod(0o500)
    with pytest.raises(ValueError, match="it left '__pycache__'; "):
        execution._tidy(folder, job, {})
    modes = {path.name: path.stat().st_mode & 0o777 for path in (folder, *folder.rglob("*"))}
    assert modes == {"work": 0o700, "sub": 0o700, "x.csv": 0o640, "y.csv": 0o640}
    assert (tmp_path / "others").is_dir()


@pytest.mark.slow
def test_the_executed_notebook_and_its_page_tell_their_origin(tmp_path, job):
    """Once, although a cell shows a page of its own; in letters, not in escapes."""
    shown = new_output("display_data", data={"text/html": "<head></head>"})
    executed = new_notebook(cells=[new_code_cell("1", outputs=[shown])])
    executed.metadata["papermill"] = {"duration": 3, "input_path": "/tmp/notebook.ipynb"}
    nbformat.write(executed, tmp_path / NOTEBOOK)
    origin = {"error": 'µ < "1"'}
    folder = tmp_path / "work"
    execution._write_notebook(folder, tmp_path / NOTEBOOK, job, origin)
    written = read_notebook(folder / "tiny.ipynb")
    assert written.metadata == {
        "deep_nb": origin,
        "papermill": {"duration": 3, "input_path": "tiny.ipynb", "output_path": "tiny.ipynb"},
    }
    assert written.cells == executed.cells
    assert (folder / "tiny.ipynb").read_text().endswith("}\n")
    page = (folder / "tiny.html").read_text()
    source = "{&quot;error&quot;: &quot;µ &lt; \\&quot;1\\&quot;&quot;}"
    assert page.count(f'<head><meta name="source" content="{source}">') == 1
    assert page.count('name="source"') == 1


def test_a_notebook_that_was_not_executed_keeps_no_metadata_of_papermill(tmp_path, job):
    execution._write_notebook(tmp_path, tmp_path / NOTEBOOK, job, {})
    paths = {"input_path": "tiny.ipynb", "output_path": "tiny.ipynb"}
    assert read_notebook(tmp_path / "tiny.ipynb").metadata["papermill"] == paths


# The process that executes


@pytest.fixture
def process(tmp_path, job, monkeypatch):
    """The folders of a process that executes the job, and `papermill` with work of the test."""
    place = SimpleNamespace(scratch=tmp_path / "scratch", folder=tmp_path / "work", asked=[])
    place.scratch.mkdir()
    place.folder.mkdir()
    place.request = request_of(job, place.folder)
    place.work = new_notebook

    def execute_notebook(source, target, parameters, **options):
        place.asked.append((source, target, parameters, options))
        return place.work()

    monkeypatch.setattr(execution.papermill, "execute_notebook", execute_notebook)
    return place


def test_a_notebook_runs_beside_copies_of_its_files_in_the_kernel_of_this_package(process, job):
    execution._run(process.request, process.scratch)
    for name in job.files:
        assert (process.folder / name).read_text() == name
    notebook = str(process.scratch / NOTEBOOK)
    options = {
        "cwd": process.folder,
        "kernel_name": "python3",
        "kernel_manager_class": execution._Manager,
        "progress_bar": False,
        "start_timeout": 120,
        "config": execution._kernel_config(process.scratch),
    }
    assert process.asked == [(notebook, notebook, {"n": 2, "output": "."}, options)]
    assert read_notebook(Path(notebook)) == read_notebook(job.notebook)
    spec = execution._Manager().kernel_spec
    command = [sys.executable, "-P", "-m", "deep_nb.replication.kernel"]
    assert spec.argv == [*command, "-f", "{connection_file}"]


@pytest.mark.parametrize(
    ("system", "sockets"), [("posix", {"transport": "ipc", "ip": "{}/kernel"}), ("nt", {})]
)
def test_a_kernel_listens_on_sockets_in_the_scratch_folder(tmp_path, monkeypatch, system, sockets):
    with monkeypatch.context() as patch:
        patch.setattr(execution.os, "name", system)
        config = execution._kernel_config(tmp_path)
    manager = {"connection_file": "{}/kernel.json", **sockets}
    expected = {name: value.format(tmp_path) for name, value in manager.items()}
    assert config == {"KernelManager": expected}


@pytest.mark.parametrize("when", ["since the batch started", "while the notebook ran"])
def test_what_has_changed_is_refused(process, job, when):
    def change():
        (job.notebook.parent / "data" / "x.csv").write_text("2")
        write_notebook(job.notebook, "another")
        return new_notebook()

    if when == "while the notebook ran":
        process.work = change
    else:
        change()
    message = f"changed {when}: files data/x.csv changed; notebook changed"
    with refused(message, RuntimeError):
        execution._run(process.request, process.scratch)
    assert len(process.asked) == (when == "while the notebook ran")


def test_an_error_output_is_the_error_of_its_cell(process):
    """Even if papermill passes over it, as over SystemExit with status 0."""
    error = new_output("error", ename="SystemExit", evalue="0", traceback=["line 1"])
    printed = new_output("stream", text="done")
    cells = [
        new_markdown_cell("text"),
        new_code_cell("print()", execution_count=1, outputs=[printed]),
        new_code_cell("exit()", execution_count=2, outputs=[printed, error]),
    ]
    process.work = lambda: new_notebook(cells=cells)
    with pytest.raises(PapermillExecutionError) as raised:
        execution._run(process.request, process.scratch)
    failure = raised.value
    assert (failure.cell_index, failure.exec_count, failure.source) == (2, 2, "exit()")
    assert (failure.ename, failure.evalue, failure.traceback) == ("SystemExit", "0", ["line 1"])
    process.work = lambda: new_notebook(cells=cells[:2])
    execution._run(process.request, process.scratch)


@pytest.mark.parametrize("told", ["the kernel runs other code", "", None])
def test_a_kernel_that_does_not_start_says_why(process, told):
    def fail():
        raise RuntimeError("Kernel died before replying to kernel_info")

    if told is not None:
        write_text(process.scratch / ORIGIN, json.dumps({"error": told, "provenance": {}}))
    process.work = fail
    with refused(told or "Kernel died before replying to kernel_info", RuntimeError):
        execution._run(process.request, process.scratch)


@pytest.mark.parametrize(
    ("failure", "error"),
    [
        (None, ""),
        (PapermillExecutionError(0, 3, "1 / 0", "ZeroDivisionError", "by zero", []),
         "ZeroDivisionError: by zero (in cell 3)"),
        (KeyError("é"), "KeyError: 'é'"),
    ],
)  # fmt: skip
def test_the_answer_is_the_error_and_the_parent_is_watched(tmp_path, monkeypatch, failure, error):
    watched, given = queue.SimpleQueue(), []

    def run(request, scratch):
        given.append((request, scratch))
        if failure is not None:
            raise failure

    def end_with_parent(scratch):
        watched.put((scratch, threading.current_thread().daemon))

    monkeypatch.setattr(execution, "_run", run)
    monkeypatch.setattr(execution, "_end_with_parent", end_with_parent)
    (tmp_path / REQUEST).write_text('{"job": "β"}', encoding="utf-8")
    execution.main(tmp_path)
    assert json.loads((tmp_path / ANSWER).read_text()) == {"error": error}
    assert given == [({"job": "β"}, tmp_path)]
    assert watched.get(timeout=10) == (tmp_path, True)


def test_a_process_without_its_parent_ends_where_its_temporary_files_are_gone_already(
    tmp_path, monkeypatch
):
    ended = []
    monkeypatch.setattr(execution, "_kill_children", ended.append)
    monkeypatch.setattr(os, "_exit", ended.append)
    with open(os.devnull) as closed:
        monkeypatch.setattr(sys, "stdin", closed)
        execution._end_with_parent(tmp_path / "gone")
    assert ended == [os.getpid(), 1]
