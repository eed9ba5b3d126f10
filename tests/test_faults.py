"""Faults of real machines, inflicted on a real batch in a separate process."""

import pickle
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import filelock
import nbformat
import pytest
import yaml

from deep_nb.replication import compare, read_jobs, state, verify
from deep_nb.replication.names import CHECKPOINTS, LOCK, WORKING

from .test_replication import write_notebook

pytestmark = pytest.mark.system

#: A notebook that trains in blocks and saves checkpoints, so that it can resume. It notes in a file
#: how many checkpoints it found.
TRAINING = """
import pathlib
import deep_nb
from deep_nb import plotting
pieces = pathlib.Path(checkpoint)
found = len(list(pieces.glob("*.nc")))
pieces.mkdir(parents=True, exist_ok=True)
with open(pieces.parent / f"found-{n}", "a") as file:
    print(found, file=file)
hyper = {"n_epochs": 30, "T1": 100, "T2": 100}
run = deep_nb.train("DEEP", "xor", seeds=range(n, n + 12), hyper=hyper, checkpoint=pieces, block=2)
deep_nb.save(run, f"{output}/run.nc")
plotting.save_figure(plotting.plot_mse(run).figure, output, "mse", "MSE over epochs")
print(run["mse_free"].values[:, -1])
"""


def write_batch(folder, *sources, **more):
    """Write one experiment per source, named a, b, …; add `more` to every entry."""
    entries = []
    for name, source in zip("abcd", sources, strict=False):
        write_notebook(folder / f"{name}.ipynb", source, "n = 1\noutput = ''\ncheckpoint = ''")
        parameters = {"n": 10 * len(entries)}
        entries.append({"name": name, "notebook": f"{name}.ipynb", "parameters": parameters})
        entries[-1].update(more)
    (folder / "experiments.yml").write_text(yaml.safe_dump({"experiments": entries}))
    return folder / "experiments.yml"


def command(experiments, output, *more):
    words = ["replicate", "--experiments", experiments, "--output", output, *more]
    return [sys.executable, "-m", "deep_nb", *map(str, words)]


def replicate(experiments, output, *more, **options):
    return subprocess.run(
        command(experiments, output, *more), capture_output=True, text=True, **options
    )


def states(experiments, output):
    return {job.name: state(job, output / job.name).status for job in read_jobs(experiments)}


def test_a_batch_killed_at_three_moments_gives_the_same_bits(undisturbed, tmp_path):
    experiments, whole = undisturbed
    output = tmp_path / "out"
    shutil.copytree(whole, output)
    shutil.rmtree(output / "b")  # to be done again; a is done
    (output / CHECKPOINTS / "found-10").unlink()
    record, pieces = output / "b" / "record.json", output / CHECKPOINTS / "b"

    for folder, pattern in ((output / WORKING, "b-*"), (pieces, "*.nc")):
        killed = kill_when(lambda f=folder, p=pattern: list(f.glob(p)), experiments, output)
        assert killed == -signal.SIGKILL
    assert states(experiments, output) == {"a": "done", "b": "missing"}

    result = replicate(experiments, output)
    assert result.returncode == 0, result.stderr
    found = [int(n) for n in (output / CHECKPOINTS / "found-10").read_text().split()]
    assert found[-1] > 0  # it continued
    assert compare(output, whole, rtol=0, atol=0) == (4, [])
    before = record.stat().st_mtime_ns

    def changed():
        return not record.exists() or record.stat().st_mtime_ns != before

    kill_when(changed, experiments, output, "--only", "b", "--force")  # or it has just ended
    assert len((output / CHECKPOINTS / "found-10").read_text().split()) == len(found) + 1
    now = states(experiments, output)
    assert now["a"] == "done"
    assert now["b"] in ("done", "missing")
    if now["b"] == "done":
        assert compare_one(output, whole, "b") == []

    assert replicate(experiments, output).returncode == 0
    assert compare(output, whole, rtol=0, atol=0) == (4, [])
    assert verify(output)[1] == []
    assert not (output / WORKING).exists()
    for name in "ab":
        pixels = [pixels_of(folder / name / "mse.png") for folder in (output, whole)]
        assert pixels[0] == pixels[1]


def kill_when(condition, experiments, output, *more):
    """Start a batch, kill it once the condition holds, and return its exit status."""
    process = subprocess.Popen(
        command(experiments, output, *more), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    wait_for(lambda: condition() or process.poll() is not None, every=0.002)
    process.send_signal(signal.SIGKILL)
    return process.wait()


def compare_one(output, other, name):
    copies = [folder.parent / f"{folder.name}-{name}" for folder in (output, other)]
    for folder, copy in zip((output, other), copies, strict=True):
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(folder / name, copy / name)
    return compare(*copies, rtol=0, atol=0)[1]


def pixels_of(path):
    from PIL import Image

    with Image.open(path) as image:
        return image.tobytes()


def test_the_processes_of_a_killed_batch_end(tmp_path):
    ends = "import os, time\nopen(output + '/pid', 'w').write(str(os.getpid()))\ntime.sleep(600)"
    experiments = write_batch(tmp_path, ends)
    process = subprocess.Popen(command(experiments, tmp_path / "out"))
    pid = wait_for(lambda: [int(p.read_text() or 0) for p in (tmp_path / "out").rglob("pid")])[0]
    process.send_signal(signal.SIGKILL)
    process.wait()
    wait_for(lambda: not alive(pid))


def alive(pid):
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False


def wait_for(condition, seconds=300, every=0.1):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = condition()
        if found:
            return found
        time.sleep(every)
    raise AssertionError("the condition did not become true")


def test_a_dead_kernel_and_a_timeout_fail_only_their_experiments(tmp_path):
    dies = "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)"
    hangs = "import signal, time\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\ntime.sleep(600)"
    experiments = write_batch(tmp_path, dies, hangs, "print(n)")
    text = experiments.read_text()
    experiments.write_text(text.replace("notebook: b.ipynb", "notebook: b.ipynb\n  timeout: 5"))
    output = tmp_path / "out"
    result = replicate(experiments, output, "--jobs", "2", timeout=240)
    assert result.returncode == 1
    assert "a failed: DeadKernelError: Kernel died" in result.stderr
    assert "b failed: TimeoutError: it exceeded its timeout of 5 s" in result.stderr
    assert states(experiments, output) == {"a": "failed", "b": "failed", "c": "done"}
    for name in "abc":  # the notebook up to the error, and its page
        notebook = nbformat.read(output / name / f"{name}.ipynb", as_version=4)
        assert bool(notebook.metadata["deep_nb"]["error"]) == (name != "c")
        assert (output / name / f"{name}.html").stat().st_size > 1000


def test_a_killed_process_fails_only_its_experiment(tmp_path):
    """As when memory runs out: the process that executes the notebook dies, not its kernel."""
    kills = "import os, signal, time\nos.kill(os.getppid(), signal.SIGKILL)\ntime.sleep(600)"
    experiments = write_batch(tmp_path, kills, "print(n)")
    result = replicate(experiments, tmp_path / "out", "--jobs", "1", timeout=120)
    assert result.returncode == 1
    assert "a failed: RuntimeError: its process died (SIGKILL)" in result.stderr
    assert states(experiments, tmp_path / "out") == {"a": "failed", "b": "done"}


def test_a_second_batch_on_the_same_folder_is_refused(undisturbed, tmp_path):
    experiments, whole = undisturbed
    output = tmp_path / "out"
    shutil.copytree(whole, output)
    with filelock.FileLock(output / LOCK):
        result = replicate(experiments, output)
    assert result.returncode == 1
    assert result.stderr.startswith(f"Error: another batch is using {output}: wait until")
    assert replicate(experiments, output).returncode == 0  # the lock is free again


@pytest.fixture
def small_disk(tmp_path):
    """Mount a file system of 400 kB; skip the test without the permission to mount."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(disk)]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("needs the permission to mount a file system")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


def test_a_full_disk_fails_one_experiment_and_keeps_finished_ones(tmp_path, small_disk):
    large = "open(output + '/x.csv', 'w').write('x\\n' + '1\\n' * 10**6)"
    experiments = write_batch(tmp_path, "print(n)", large)
    result = replicate(experiments, small_disk, "--jobs", "1", timeout=120)
    assert result.returncode == 1
    assert "No space left on device" in result.stderr
    assert "Traceback" not in result.stderr
    assert states(experiments, small_disk)["a"] == "done"
    assert states(experiments, small_disk)["b"] != "done"


def test_the_error_names_a_read_only_folder(tmp_path, small_disk):
    experiments = write_batch(tmp_path, "print(n)")
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    result = replicate(experiments, small_disk)
    assert result.returncode == 1
    assert result.stderr.startswith("Error: ")
    assert "Read-only file system" in result.stderr
    assert str(small_disk) in result.stderr


def test_the_error_for_a_missing_kernel_tells_how_to_install_it(tmp_path):
    """The batch runs in a copy of this Python environment without ipykernel."""
    experiments = write_batch(tmp_path, "print(n)")
    bare = tmp_path / "bare"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(bare)], check=True)
    packages = next((bare / "lib").glob("python*/site-packages"))
    paths = [p for p in sys.path if p.endswith("site-packages")]
    root = str(Path(__file__).parent.parent)
    (packages / "all.pth").write_text("\n".join([root, *paths]) + "\n")
    (packages / "ipykernel").mkdir()
    (packages / "ipykernel" / "__init__.py").write_text(
        "raise ModuleNotFoundError(name='ipykernel')"
    )
    words = command(experiments, tmp_path / "out")
    words[0] = str(bare / "bin" / "python")
    result = subprocess.run(words, capture_output=True, text=True)
    assert result.returncode == 1
    assert result.stderr == (
        "Error: deep-nb replicate needs ipykernel: pip install 'deep-nb[notebooks]'\n"
    )


class Malicious:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_a_pickle_in_place_of_a_result_is_not_executed(undisturbed, tmp_path):
    experiments, whole = undisturbed
    output = tmp_path / "out"
    shutil.copytree(whole, output)
    assert str(whole.parent) not in (output / "a" / "a.ipynb").read_text()  # paths of this machine
    content = pickle.dumps(Malicious(tmp_path / "executed"))
    for name in ("run.nc", "record.json"):
        (output / "a" / name).write_bytes(content)
        assert states(experiments, output)["a"] == "stale"
    shutil.copytree(output, tmp_path / "copy")
    with pytest.raises(ValueError, match=r"run\.nc is not a readable netCDF file"):
        compare(tmp_path / "copy", output)
    assert not (tmp_path / "executed").exists()
