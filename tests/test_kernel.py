"""What runs an experiment: this Python and package, its own files, and no settings of the user.

One batch with hostile surroundings runs two notebooks: the first tells what it found, the second
leaves what it must not leave.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import nbformat
import pytest
import zmq
from ipykernel.kernelapp import IPKernelApp

from deep_nb._files import sha256, write_text
from deep_nb._provenance import PACKAGE, code, provenance
from deep_nb.replication import execution, kernel, read_jobs, state, verify
from deep_nb.replication.batch import WORKING
from deep_nb.replication.execution import _environment, execute
from deep_nb.replication.records import read_record
from deep_nb.replication.scratch import CONNECTION, ORIGIN, REQUEST, SITE

from .test_replication import write_notebook

pytestmark = pytest.mark.system

TELLS = """
import builtins, json, locale, os, sys, time
import deep_nb, helper
import matplotlib.pyplot as plt
facts = {
    "package": deep_nb.__file__,
    "python": sys.executable,
    "inline": "inline" in plt.get_backend(),
    "linewidth": plt.rcParams["lines.linewidth"],
    "startup": sorted({"profile", "config", "python"} & {*globals()}),
    "text": helper.TEXT,
    "hour": time.localtime(0).tm_hour,
    "warnings": sys.warnoptions,
    "locale": locale.setlocale(locale.LC_ALL, ""),
    "customized": [name for name in dir(builtins) if "customize" in name],
}
os.makedirs(f"{output}/sub/deep")
open(f"{output}/sub/deep/facts.json", "w").write(json.dumps(facts))
plt.plot([0, 1])
plt.savefig(f"{output}/sub/line.svg")
"""

#: Ends early with status 0, after links, a pipe, and folders that cannot be written.
LEAVES = """
import os, sys
os.makedirs("closed/empty")
open("closed/kept.csv", "w").write("1")
os.symlink(f"{others}/a.nc", "soft.nc")
os.link(f"{others}/b.nc", "hard.nc")
os.link(f"{others}/c.svg", "closed/c.svg")
os.symlink(others, "folder")
os.symlink(f"{others}/d.html", "b.html")
os.mkfifo("pipe")
for folder in ("closed", "."):
    os.chmod(folder, 0o500)
sys.exit(0)
"""


@pytest.fixture(scope="module")
def surroundings(tmp_path_factory):
    """A second clone, others' files, and settings that would change what notebooks do."""
    root = tmp_path_factory.mktemp("kernel")
    shutil.copytree(PACKAGE, root / "clone" / "deep_nb", ignore=shutil.ignore_patterns("*pycache*"))
    with (root / "clone" / "deep_nb" / "pruning.py").open("a") as module:
        module.write("# another version\n")
    (root / "others").mkdir()
    for name in ("a.nc", "b.nc", "c.svg", "d.html"):
        (root / "others" / name).write_text("<svg></svg>")
    profile = root / "ipython" / "profile_default"
    (profile / "startup").mkdir(parents=True)
    (profile / "startup" / "00.py").write_text("profile = 1")
    (profile / "ipython_config.py").write_text("c.InteractiveShellApp.exec_lines = ['config = 1']")
    (root / "startup.py").write_text("python = 1")
    (root / "matplotlibrc").write_text("lines.linewidth: 9\n")
    (root / "jupyter" / "kernels" / "python3").mkdir(parents=True)
    (root / "site").mkdir()
    for name in ("sitecustomize", "usercustomize"):
        (root / "site" / f"{name}.py").write_text(f"import builtins\nbuiltins.{name} = 1")
    other = {"argv": ["false"], "display_name": "other", "language": "python"}
    (root / "jupyter" / "kernels" / "python3" / "kernel.json").write_text(json.dumps(other))
    settings = {
        "IPYTHONDIR": root / "ipython",
        "JUPYTER_PATH": root / "jupyter",
        "MATPLOTLIBRC": root / "matplotlibrc",
        "MPLBACKEND": "pdf",
        "PYTHONPATH": root / "site",
        "PYTHONSTARTUP": root / "startup.py",
        "PYTHONWARNINGS": "ignore",
        "LC_ALL": "de_DE.UTF-8",
        "TZ": "Asia/Tokyo",
    }
    return root, {**os.environ, **{name: str(value) for name, value in settings.items()}}


@pytest.fixture(scope="module")
def batch(surroundings):
    root, environment = surroundings
    (root / "data").mkdir()
    (root / "data" / "x.txt").write_text("from the file")
    (root / "helper.py").write_text("TEXT = open('data/x.txt').read()")
    write_notebook(root / "a.ipynb", TELLS, "output = ''\ncheckpoint = ''")
    write_notebook(root / "b.ipynb", LEAVES, "others = ''\noutput = ''")
    (root / "experiments.yml").write_text(
        "experiments:\n"
        "  - {name: a, notebook: a.ipynb, files: [helper.py, data/x.txt]}\n"
        f"  - {{name: b, notebook: b.ipynb, parameters: {{others: {root / 'others'}}}}}\n"
    )
    words = ["replicate", "--experiments", root / "experiments.yml", "--output", root / "out"]
    with tempfile.TemporaryDirectory(prefix="t") as short:
        result = subprocess.run(
            [sys.executable, "-m", "deep_nb", *map(str, words)],
            cwd=root / "clone",
            env={**environment, "TMPDIR": short},
            capture_output=True,
            text=True,
        )
        assert "b failed" in result.stderr, result.stderr
        assert [*Path(short).glob("deep-nb-*")] == []
    return root


def test_the_kernel_runs_this_python_and_the_batchs_package_without_the_users_settings(batch):
    facts = json.loads((batch / "out" / "a" / "sub" / "deep" / "facts.json").read_text())
    assert facts == {
        "package": str(batch / "clone" / "deep_nb" / "__init__.py"),
        "python": sys.executable,
        "inline": True,
        "linewidth": 1.5,
        "startup": [],
        "text": "from the file",
        "hour": 0,
        "warnings": [],
        "locale": "C",
        "customized": [],
    }
    record = read_record(batch / "out" / "a")
    package = record.fingerprint["package"]
    assert package["pruning.py"] == sha256(batch / "clone" / "deep_nb" / "pruning.py")
    assert record.origin["commit"] == ""  # of the clone, which git does not know
    (job, _) = read_jobs(batch / "experiments.yml")
    assert state(job, batch / "out" / "a").why == ["package pruning.py changed"]


def test_the_executed_notebook_has_no_path_of_this_machine(batch):
    text = (batch / "out" / "a" / "a.ipynb").read_text()
    given = nbformat.reads(text, as_version=4).metadata["papermill"]["parameters"]
    assert given == {"output": ".", "checkpoint": "../../.checkpoints/a"}
    assert str(batch) not in text
    assert tempfile.gettempdir() not in text


def test_declared_files_are_in_the_fingerprint_but_not_among_the_results(batch):
    record = read_record(batch / "out" / "a")
    assert record.fingerprint["files"] == {
        name: sha256(batch / name) for name in ("helper.py", "data/x.txt")
    }
    assert sorted(record.files) == ["a.html", "a.ipynb", "sub/deep/facts.json", "sub/line.svg"]
    (job, _) = read_jobs(batch / "experiments.yml")
    (batch / "data" / "x.txt").write_text("changed")
    try:
        assert "files data/x.txt changed" in state(job, batch / "out" / "a").why
    finally:
        (batch / "data" / "x.txt").write_text("from the file")


def test_subfolders_are_kept_stamped_and_verified(batch):
    output = batch / "out"
    assert verify(output)[1] == []
    assert "dc:source" in (output / "a" / "sub" / "line.svg").read_text()
    assert "a/sub/deep/facts.json" in (output / "SHA256SUMS").read_text()
    facts = output / "a" / "sub" / "deep" / "facts.json"
    good = facts.read_text()
    try:
        facts.write_text("{}")
        (output / "a" / "sub" / "more.csv").write_text("")
        assert verify(output)[1] == [
            "a/sub/deep/facts.json: differs from its SHA-256", "a/sub/more.csv: not listed",
        ]  # fmt: skip
    finally:
        facts.write_text(good)
        (output / "a" / "sub" / "more.csv").unlink()


def test_an_early_exit_is_an_error_and_links_are_refused_without_touching_their_files(batch):
    output = batch / "out"
    record = read_record(output / "b")
    assert record.error == (
        "SystemExit: 0 (in cell 3); ValueError: it left 'b.html', 'closed/c.svg', 'folder', "
        "'hard.nc', 'pipe'; an experiment may leave regular files with printable names, but no "
        "links, and must not write its input or files of the batch"
    )
    assert sorted(record.files) == ["b.html", "b.ipynb", "closed/kept.csv"]
    assert {path.read_text() for path in (batch / "others").iterdir()} == {"<svg></svg>"}
    assert len([*(batch / "others").iterdir()]) == 4
    notebook = nbformat.read(output / "b" / "b.ipynb", as_version=4)
    assert notebook.metadata["deep_nb"]["error"] == record.error
    assert (output / "b" / "b.html").stat().st_size > 1000


def request(folder, **fingerprint):
    write_text(folder / REQUEST, json.dumps({"fingerprint": {**code(), **fingerprint}}))
    return ["-f", str(folder / CONNECTION)]


def test_a_kernel_with_other_code_does_not_start(tmp_path):
    package = {**code()["package"], "pruning.py": "0" * 64}
    with pytest.raises(SystemExit, match=r"the kernel runs other code, from .*pruning\.py changed"):
        kernel.main(request(tmp_path, package=package))
    told = json.loads((tmp_path / ORIGIN).read_text())
    assert told["error"].endswith("package pruning.py changed")
    assert told["provenance"] == provenance()


def test_the_kernel_drops_no_output(monkeypatch):
    """Of 10 000 lines that are flushed one by one, ZeroMQ would drop a third."""
    limits = []

    def init_iopub(app, context):
        with context.socket(zmq.PUB) as socket:
            limits.append(socket.get(zmq.SNDHWM))

    monkeypatch.setattr(IPKernelApp, "init_iopub", init_iopub)
    with zmq.Context() as context:
        kernel.Kernel().init_iopub(context)
    assert limits == [0]  # no limit


def test_the_kernel_reads_no_configuration(surroundings):
    app = kernel.Kernel()
    app.config_file_paths = [str(surroundings[0] / "ipython" / "profile_default")]
    app.load_config_file()
    assert "InteractiveShellApp" not in app.config
    IPKernelApp.load_config_file(app)
    assert app.config["InteractiveShellApp"]["exec_lines"] == ["config = 1"]


@pytest.fixture
def job(tmp_path):
    write_notebook(tmp_path / "tiny.ipynb", "print(n)")
    (tmp_path / "experiments.yml").write_text("experiments: [{name: n, notebook: tiny.ipynb}]")
    return read_jobs(tmp_path / "experiments.yml")[0]


def test_a_stopped_experiment_leaves_no_temporary_files(tmp_path, job, monkeypatch):
    with tempfile.TemporaryDirectory(prefix="t") as short:
        monkeypatch.setattr(tempfile, "tempdir", short)
        (tmp_path / "out" / WORKING).mkdir(parents=True)
        stop, watch, modules = threading.Event(), execution._watch, {}

        def stopped(process, *arguments):
            site = Path(process.args[-1]) / SITE
            modules.update((path.name, path.read_text()) for path in site.iterdir())
            return watch(process, *arguments)

        stop.set()
        monkeypatch.setattr(execution, "_watch", stopped)
        outcome = execute(job, job.fingerprint, tmp_path / "out", stop)
        assert outcome.error == "InterruptedError: the batch was stopped"
        assert modules == {"sitecustomize.py": "", "usercustomize.py": ""}
        assert os.listdir(short) == []
    assert sorted(p.name for p in outcome.folder.iterdir()) == ["tiny.html", "tiny.ipynb"]


def test_a_process_without_its_parent_ends_its_kernel_and_removes_its_temporary_files(
    tmp_path, monkeypatch
):
    ended = []
    monkeypatch.setattr(execution, "_kill_children", ended.append)
    monkeypatch.setattr(os, "_exit", ended.append)
    scratch = tmp_path / "scratch"
    (scratch / "ipython").mkdir(parents=True)
    with open(os.devnull) as closed:
        monkeypatch.setattr(sys, "stdin", closed)
        execution._end_with_parent(scratch)
    assert ended == [os.getpid(), 1]
    assert not scratch.exists()


def test_the_kernel_finds_modules_on_the_paths_of_the_batch(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(["mine", "", "/other"]))
    monkeypatch.setenv("PYTHONOPTIMIZE", "1")
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    made = _environment(tmp_path)
    paths = made["PYTHONPATH"].split(os.pathsep)
    assert paths[-2:] == [str(tmp_path / "mine"), "/other"]
    assert paths[:-2] in ([str(tmp_path / SITE), str(PACKAGE.parent)], [str(tmp_path / SITE)])
    assert "PYTHONOPTIMIZE" not in made
    assert made["OMP_NUM_THREADS"] == "3"
    assert Path(made["IPYTHONDIR"]).parent == tmp_path
