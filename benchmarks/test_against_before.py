"""Rows against version 0.2.0 before its kernels trained whole epochs: both in turn, in one run."""

import json
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
def times(tmp_path_factory):
    """The least wall and CPU time of each job, before and now."""
    folder = tmp_path_factory.mktemp("before") / "checkout"
    git = ["git", "-C", str(ROOT), "worktree"]
    subprocess.run([*git, "add", "--quiet", "--detach", str(folder), BEFORE], check=True)
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    command = [sys.executable, "-c", CHILD]
    sides = [subprocess.Popen(command, cwd=path, **pipes) for path in (folder, ROOT)]
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
    subprocess.run([*git, "remove", "--force", str(folder)], check=True)
    return best


@pytest.mark.parametrize(("job", "clock", "name", "target"), ROWS, ids=[job for job, *_ in ROWS])
def test_against_before(times, job, clock, name, target, benchmark, row):
    benchmark.pedantic(lambda: None, rounds=1)
    before, now = (side[clock] for side in times[job])
    ratio = before / now
    row(f"{name}, against commit {BEFORE}", f"≥ {target}×" if target else "—",
        f"{ratio:.1f}× ({1000 * before:.1f} → {1000 * now:.1f} ms)",
        target and ratio >= target, before=before, now=now, ratio=ratio)  # fmt: skip
