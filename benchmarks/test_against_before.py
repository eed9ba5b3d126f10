"""Rows against version 0.2.0 before its kernels trained whole epochs: both in turn, in one run."""

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

#: The commit that the rows are measured against.
BEFORE = "6a09e68941"

#: A process that does the jobs named on its standard input, and says what each took.
CHILD = """
import inspect, json, sys, time
import numpy as np
import deep_nb

rng = np.random.default_rng(0)

def classify(samples, features, N_H, **given):
    X = rng.uniform(size=(samples, features))
    y = np.arange(samples) % 10
    return lambda: deep_nb.DEEPClassifier(N_H=N_H, n_epochs=1, random_state=0, **given).fit(X, y)

# Before, there was one precision.
known = inspect.signature(deep_nb.DEEPClassifier).parameters
single = {"dtype": "float32"} if "dtype" in known else {}

jobs = {
    "one": lambda: deep_nb.train("DEEP", "xor", seeds=0),
    "hundred": lambda: deep_nb.train("DEEP", "xor", seeds=range(100)),
    "hundred on one thread": lambda: deep_nb.train("DEEP", "xor", seeds=range(100), threads=1),
    "N=65": lambda: deep_nb.train("DEEP", "xor", seeds=range(10), hyper={"n_epochs": 5, "N_H": 61}),
    "digits": classify(1797, 64, 100),
    "digits in float32": classify(1797, 64, 100, **single),
    "mnist": classify(960, 784, 500),
    "mnist in float32": classify(960, 784, 500, **single),
    "adjoint": classify(160, 64, 100, rule="adjoint"),
}
for job in jobs.values():
    job()
for line in sys.stdin:
    wall, cpu = time.perf_counter(), time.process_time()
    jobs[line.strip()]()
    print(json.dumps([time.perf_counter() - wall, time.process_time() - cpu]), flush=True)
"""

#: Rows: job, whether wall time (0) or that of all cores together (1) counts, name and target.
ROWS = [
    ("one", 0, "one DEEP network on XOR, 200 epochs", 12.0),
    ("hundred", 0, "100 networks, all cores, wall time", 2.5),
    ("hundred on one thread", 1, "100 networks, one thread, CPU time", 1.9),
    ("N=65", 0, "10 networks of N = 65, `auto`", 4.0),
    ("digits", 0, "`DEEPClassifier`, 64–100–10, 1797 samples, a pass", 3.5),
    ("digits in float32", 0, "the same in float32 now", 6.0),
    ("mnist", 0, "`DEEPClassifier`, 784–500–10, 960 samples, a pass", 2.8),
    ("mnist in float32", 0, "the same in float32 now", 5.0),
    ("adjoint", 0, "`DEEPClassifier`, 64–100–10, rule `adjoint`, 160 samples", None),
]


@pytest.fixture(scope="module")
def before(tmp_path_factory):
    """A checkout of that commit."""
    folder = tmp_path_factory.mktemp("before") / "checkout"
    git = ["git", "-C", str(ROOT), "worktree"]
    subprocess.run([*git, "add", "--quiet", "--detach", str(folder), BEFORE], check=True)
    yield folder
    subprocess.run([*git, "remove", "--force", str(folder)], check=True)


@pytest.fixture(scope="module")
def times(before):
    """The least wall and CPU time of each job, before and now."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    command = [sys.executable, "-c", CHILD]
    sides = [subprocess.Popen(command, cwd=path, **pipes) for path in (before, ROOT)]
    best = {job: [[float("inf")] * 2, [float("inf")] * 2] for job, *_ in ROWS}
    for job, measured in best.items():
        for _ in range(5):
            for side, (process, least) in enumerate(zip(sides, measured, strict=True)):
                process.stdin.write(job + "\n")
                process.stdin.flush()
                took = json.loads(process.stdout.readline())
                measured[side] = [min(pair) for pair in zip(least, took, strict=True)]
    for process in sides:
        process.communicate()
    return best


@pytest.mark.parametrize(("job", "clock", "name", "target"), ROWS, ids=[job for job, *_ in ROWS])
def test_against_before(times, job, clock, name, target, benchmark, row):
    benchmark.pedantic(lambda: None, rounds=1)
    then, now = (side[clock] for side in times[job])
    ratio = then / now
    row(f"{name}, against commit {BEFORE}", f"≥ {target}×" if target else "—",
        f"{ratio:.1f}× ({1000 * then:.1f} → {1000 * now:.1f} ms)",
        target and ratio >= target, before=then, now=now, ratio=ratio)  # fmt: skip


def cpu_seconds(command, folder, **environment):
    """Return the CPU time of a Python process, in a folder that it imports from."""
    at_first = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = os.environ | {"PYTHONPATH": str(folder)} | environment
    subprocess.run([sys.executable, *command], cwd=folder, env=environment, check=True,
                   capture_output=True)  # fmt: skip
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime - at_first.ru_utime - at_first.ru_stime


#: What a process does at its start, and the most seconds of CPU beyond those of Python's own.
STARTS = [
    ("`import deep_nb`", ["-c", "import deep_nb"], 0.1),
    ("`deep-nb --help`", ["-m", "deep_nb", "--help"], 0.2),
    ("`deep-nb train --help`", ["-m", "deep_nb", "train", "--help"], None),
]


@pytest.mark.parametrize(("name", "command", "most"), STARTS, ids=[name for name, *_ in STARTS])
def test_start(before, name, command, most, benchmark, row):
    benchmark.pedantic(lambda: None, rounds=1)
    least = [float("inf")] * 3
    for _ in range(5):
        took = (cpu_seconds(["-c", ""], ROOT), cpu_seconds(command, before),
                cpu_seconds(command, ROOT))  # fmt: skip
        least = [min(pair) for pair in zip(least, took, strict=True)]
    then, now = least[1] - least[0], least[2] - least[0]
    row(f"{name}, CPU time beyond Python's own", f"≤ {most} s" if most else "—",
        f"{now:.2f} s (commit {BEFORE}: {then:.2f} s)", most and now <= most,
        before=then, now=now)  # fmt: skip


def test_compiling(before, benchmark, row, tmp_path):
    """The first training of a fresh checkout, with an empty cache of machine code."""
    benchmark.pedantic(lambda: None, rounds=1)
    train = ["-c", "import deep_nb; deep_nb.train('DEEP', 'xor', seeds=0)"]
    then, now = (
        cpu_seconds(train, folder, NUMBA_CACHE_DIR=str(tmp_path / name))
        for folder, name in ((before, "before"), (ROOT, "now"))
    )
    row("compiling: the first training with an empty cache, CPU time", "≤ 1 × before",
        f"{now:.1f} s (commit {BEFORE}: {then:.1f} s)", now <= then,
        before=then, now=now)  # fmt: skip
