"""A real Dask scheduler with two workers on this machine gives the same bits as without."""

import signal
import subprocess
import sys
import threading

import distributed
import pytest

import deep_nb
from deep_nb.replication import compare, verify

from .conftest import SHORT, assert_same
from .test_faults import replicate, states, wait_for, write_batch

pytestmark = pytest.mark.system


class Cluster:
    """A cluster started with the commands ``dask scheduler`` and ``dask worker``."""

    def __init__(self, folder):
        self.folder = folder
        self.file = folder / "scheduler.json"
        self.scheduler = self._start(
            "scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard",
            "--scheduler-file", str(self.file),
        )  # fmt: skip
        wait_for(self.file.is_file)
        self.workers = []
        for name in "ab":
            self.add_worker(name)
        self.client = distributed.Client(scheduler_file=str(self.file), set_as_default=False)
        self.address = self.client.scheduler.address
        self.client.wait_for_workers(2, timeout=60)

    def add_worker(self, name):
        words = ["--scheduler-file", str(self.file), "--nthreads", "1", "--no-nanny"]
        words += ["--no-dashboard", "--name", name, "--local-directory", str(self.folder)]
        self.workers.append(self._start("worker", *words))

    def _start(self, what, *words):
        code = "import sys; from dask.__main__ import main; main()"
        return subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", code, what, *words],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def close(self):
        self.client.close()
        for process in (*self.workers, self.scheduler):
            process.kill()
            process.wait()


@pytest.fixture
def cluster(tmp_path):
    cluster = Cluster(tmp_path)
    yield cluster
    cluster.close()


def kill(worker, moment):
    """Kill a worker's process once a condition holds; return the waiting thread."""

    def wait_and_kill():
        try:
            wait_for(moment)
        finally:
            worker.kill()

    thread = threading.Thread(target=wait_and_kill)
    thread.start()
    return thread


def test_training_on_workers_gives_the_same_bits_even_if_one_is_killed(cluster, tmp_path):
    wanted = {"model": "DEEP", "task": "xor", "seeds": range(24), "sparse": True}
    wanted["hyper"] = {**SHORT, "n_epochs": 400, "T1": 400, "T2": 400}
    alone = deep_nb.train(**wanted)
    executor = cluster.client.get_executor(pure=False)
    assert_same(deep_nb.train(**wanted, executor=executor, block=8), alone)

    blocks = tmp_path / "blocks"
    killed = cluster.workers[0]
    at_kill = []
    killer = kill(killed, lambda: at_kill.extend(blocks.glob("*.nc")) or at_kill)
    run = deep_nb.train(**wanted, executor=executor, block=1, checkpoint=blocks)
    killer.join()
    assert killed.wait() == -signal.SIGKILL
    assert len(at_kill) < 24  # of 24 blocks
    assert_same(run, alone)


def test_a_batch_on_workers_gives_the_same_bits_even_if_one_is_killed(
    cluster, undisturbed, tmp_path
):
    experiments, here = undisturbed
    there = tmp_path / "there"
    killed = cluster.workers[1]
    killer = kill(killed, lambda: any(there.glob(".checkpoints/*/*.nc")))
    result = replicate(experiments, there, "--scheduler", cluster.address, timeout=240)
    killer.join()
    assert result.returncode == 0, result.stderr
    assert killed.wait() == -signal.SIGKILL
    assert states(experiments, there) == {"a": "done", "b": "done"}
    assert compare(here, there, rtol=0, atol=0) == (4, [])
    assert verify(there)[1] == []


def test_the_error_names_a_scheduler_that_does_not_answer(tmp_path, monkeypatch):
    monkeypatch.setenv("DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT", "1s")
    experiments = write_batch(tmp_path, "print(n)")
    result = replicate(experiments, tmp_path / "out", "--scheduler", "tcp://127.0.0.1:1")
    assert result.returncode == 1
    assert result.stderr.startswith("Error: no Dask scheduler answers at tcp://127.0.0.1:1")
