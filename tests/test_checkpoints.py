"""Blocks of seeds: the same bits whoever trains them, and nothing trained twice."""

import json
import threading
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context

import numpy as np
import pytest
import xarray as xr

import deep_nb
from deep_nb import _blocks
from deep_nb._blocks import kept
from deep_nb._files import sha256
from deep_nb.claims import read_claims
from deep_nb.claims.ensembles import sweep

from .conftest import SHORT, assert_same

WANTED = {"model": "DEEP", "task": "xor", "seeds": range(7), "hyper": SHORT}


@pytest.fixture(scope="module")
def whole():
    return deep_nb.train(**WANTED, record=("weights",))


class Here(Executor):
    """The least that an executor can be: it runs at once, in this process."""

    def __init__(self):
        self.calls = []

    def submit(self, function, /, *arguments, **named):
        self.calls.append(arguments)
        future = Future()
        try:
            future.set_result(function(*arguments, **named))
        except RuntimeError as error:
            future.set_exception(error)
        return future


@pytest.mark.parametrize("size", [1, 3, 7, 100])
def test_any_executor_gives_the_same_bits(whole, size):
    here = Here()
    run = deep_nb.train(**WANTED, record=("weights",), executor=here, block=size)
    assert_same(run, whole)
    assert [seeds for (seeds,) in here.calls] == [
        list(range(first, min(first + size, 7))) for first in range(0, 7, size)
    ]


def test_a_block_has_32_networks_by_default():
    here = Here()
    deep_nb.train("DEEP", "not", seeds=range(40), hyper={"n_epochs": 1, "T1": 1}, executor=here)
    assert [len(seeds) for (seeds,) in here.calls] == [32, 8]


@pytest.mark.parametrize("executor", [None, Here()])
@pytest.mark.parametrize("threads", [None, 3])
@pytest.mark.parametrize("checkpoint", [False, True])
def test_threads_reach_the_engine(executor, threads, checkpoint, monkeypatch, tmp_path):
    """Where there are workers, one each by default."""
    made, get_engine = [], deep_nb.training.get_engine

    def get(*arguments):
        made.append(arguments)
        return get_engine(*arguments)

    monkeypatch.setattr(deep_nb.training, "get_engine", get)
    kept = {"checkpoint": tmp_path} if checkpoint else {}
    deep_nb.train(**WANTED, executor=executor, threads=threads, **kept)
    assert made[-1] == ("numba", 6, "hard_sigmoid", threads or (1 if executor else None))


@pytest.mark.system
def test_threads_and_processes_give_the_same_bits():
    threads, processes = ThreadPoolExecutor(2), ProcessPoolExecutor(2, get_context("spawn"))
    with threads, processes:
        for engine in ("reference", "blas", "numba"):
            wanted = {**WANTED, "engine": engine, "sparse": True}
            alone = deep_nb.train(**wanted)
            for pool in (threads, processes):
                assert_same(deep_nb.train(**wanted, executor=pool, block=2), alone)


def test_divergence_is_reported_once_for_all_blocks():
    hyper = {**SHORT, "dt_W": 1.7e308, "reg_W": 1.7e308}
    with pytest.warns(RuntimeWarning, match="4 of 4 networks diverged") as warned:
        run = deep_nb.train(
            "DEEP", "xor", seeds=range(4), hyper=hyper, sign=True, regularized=True,
            executor=Here(), block=3,
        )  # fmt: skip
    assert len(warned) == 1
    assert run["diverged"].all()


def test_blocks_tell_which_networks_diverged_and_when():
    """A learning rate at which some diverge: every number is that of training without blocks."""
    wanted = {**WANTED, "hyper": {**SHORT, "n_epochs": 6, "dt_W": 1e153}, "sign": True}
    with pytest.warns(RuntimeWarning, match="networks diverged"):
        whole = deep_nb.train(**wanted)
    assert 0 < whole["diverged"].sum() < 7
    assert whole["diverged_epoch"].max() > 0
    with pytest.warns(RuntimeWarning, match="networks diverged"):
        assert_same(deep_nb.train(**wanted, executor=Here(), block=3), whole)


def test_an_interrupted_ensemble_resumes(whole, tmp_path):
    class Stopping(Here):
        def submit(self, function, /, *arguments, **named):
            if len(self.calls) == 2:
                raise KeyboardInterrupt
            return super().submit(function, *arguments, **named)

    wanted = {**WANTED, "record": ("weights",), "block": 2, "checkpoint": tmp_path}
    with pytest.raises(KeyboardInterrupt):
        deep_nb.train(**wanted, executor=Stopping())
    before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert len(before) == 2
    assert_same(deep_nb.train(**wanted), whole)
    assert len(list(tmp_path.iterdir())) == 4
    assert {path: path.stat().st_mtime_ns for path in before} == before


@pytest.mark.slow
def test_blocks_of_other_settings_are_not_reused(tmp_path):
    deep_nb.train(**WANTED, checkpoint=tmp_path)
    n = len(list(tmp_path.iterdir()))
    for other in (
        {"task": deep_nb.Task("xor", [[0, 0], [0, 1]], [[0], [1]])},
        {"hyper": {**SHORT, "beta": 2.0}},
        {"model": "DEEP_oh"},
        {"seeds": range(1, 8)},
        {"seeds": WANTED["seeds"][::-1]},
        {"sparse": True},
        {"layered": True},
        {"engine": "reference"},
        {"record": ("weights",)},
    ):
        wanted = {**WANTED, **other}
        assert_same(deep_nb.train(**wanted, checkpoint=tmp_path), deep_nb.train(**wanted))
        n += 1
        assert len(list(tmp_path.iterdir())) == n, other


@pytest.mark.parametrize("damage", ["cut", "flip", "empty"])
def test_a_damaged_block_is_made_again(whole, tmp_path, damage):
    wanted = {**WANTED, "record": ("weights",), "block": 4, "checkpoint": tmp_path}
    deep_nb.train(**wanted)
    victim = sorted(tmp_path.iterdir())[0]
    good = victim.read_bytes()
    middle = len(good) // 2
    flipped = good[:middle] + bytes([good[middle] ^ 1]) + good[middle + 1 :]
    victim.write_bytes({"cut": good[:middle], "flip": flipped, "empty": b""}[damage])
    assert_same(deep_nb.train(**wanted), whole)
    assert len(list(tmp_path.iterdir())) == 2


def test_a_worker_with_other_code_is_refused(monkeypatch):
    here = Here()
    submit = here.submit

    def elsewhere(function, /, *arguments):
        other = json.loads(json.dumps(_blocks.code()))
        other["versions"].update(numba="0.1", numpy="1.0")
        monkeypatch.setattr(_blocks, "code", lambda: other)
        return submit(function, *arguments)

    here.submit = elsewhere
    both = r"^worker .* numba: .* → \"0.1\"; .* numpy: .* → \"1.0\"$"
    with pytest.raises(RuntimeError, match=both):
        deep_nb.train(**WANTED, executor=here)


def test_blocks_that_have_not_begun_are_cancelled_when_one_fails():
    futures = []

    class Failing:
        def submit(self, function, /, *arguments):
            futures.append(Future())
            if len(futures) == 2:
                futures[1].set_exception(KeyError("worker"))
            return futures[-1]

    with pytest.raises(KeyError, match="worker"):
        deep_nb.train(**WANTED, executor=Failing(), block=2)
    assert [future.cancelled() for future in futures] == [True, False, True, True]


@pytest.mark.slow
def test_an_interrupted_sweep_resumes(tmp_path):
    (claim,) = (claim for claim in read_claims() if claim.id == "1c")
    alone = sweep([claim], 2, [10.0], [2.0])
    first = sweep([claim], 2, [10.0], checkpoint=tmp_path)
    times = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert len(times) == 9
    assert first.equals(sweep([claim], 2, [10.0]))
    assert sweep([claim], 2, [10.0], [2.0], checkpoint=tmp_path).equals(alone)
    assert len(list(tmp_path.iterdir())) == 27
    assert {path: path.stat().st_mtime_ns for path in times} == times


def test_pieces_are_kept_by_what_they_depend_on(tmp_path):
    made = []

    def make():
        made.append(1)
        return xr.Dataset({"x": ("i", np.array([0.1, np.nan, -0.0]))})

    expected = make()
    for count in (2, 2):  # made once, then read
        xr.testing.assert_identical(kept(tmp_path / "new", {"a": 1}, make), expected)
        assert len(made) == count
    for count, (folder, what) in enumerate(
        [(tmp_path / "new", {"a": 2}), (None, {"a": 2}), (None, {"a": 2})], start=3
    ):
        xr.testing.assert_identical(kept(folder, what, make), expected)
        assert len(made) == count


def test_a_piece_of_other_code_or_versions_is_made_again(tmp_path, monkeypatch):
    made = []
    code = _blocks.code()

    def make():
        made.append(1)
        return xr.Dataset({"x": 3.0})

    for part, changed in [
        ("package", {"cli.py": "0" * 64}),
        ("versions", {"python": "3.0"}),
        ("versions", {"numba": "0.1"}),
    ]:
        kept(tmp_path, {"a": 1}, make)
        other = {**code, part: {**code[part], **changed}}
        monkeypatch.setattr(_blocks, "code", lambda other=other: other)
        for _ in range(2):
            kept(tmp_path, {"a": 1}, make)
        monkeypatch.undo()
    assert len(made) == len(list(tmp_path.iterdir())) == 4


def test_a_piece_that_cannot_be_written_leaves_no_file(tmp_path, monkeypatch):
    def full(piece, path):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(_blocks, "write_netcdf", full)
    with pytest.raises(OSError, match="No space left"):
        kept(tmp_path / "blocks", {}, lambda: xr.Dataset({"x": 3.0}))
    assert list((tmp_path / "blocks").iterdir()) == []


def test_a_piece_under_another_checksum_is_removed_and_made_again(tmp_path):
    made = []
    for count in (1, 2):
        kept(tmp_path, {}, lambda: made.append(1) or xr.Dataset({"x": 3.0}))
        (path,) = tmp_path.iterdir()
        assert path.name == f"{path.name[:32]}-{sha256(path)}.nc"
        assert len(made) == count
        path.rename(tmp_path / f"{path.name[:32]}-{'0' * 64}.nc")


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"block": 0}, "block must be an integer of at least 1, got 0"),
        ({"block": 2.5}, "block must be"),
        ({"block": True}, "block must be"),
        ({"executor": "dask"}, "executor must be an object with submit"),
        ({"executor": Here(), "threads": 0}, "threads must be an integer from 1 to 1024"),
    ],
)
def test_bad_arguments_are_named(bad, message):
    with pytest.raises(ValueError, match=message):
        deep_nb.train(**WANTED, **bad)


def test_a_checkpoint_that_cannot_be_written_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        deep_nb.train(**WANTED, checkpoint=tmp_path / "file" / "folder")


def test_two_processes_can_make_the_same_piece_at_once(tmp_path):
    meet = threading.Barrier(2)

    def make():
        meet.wait(60)
        return xr.Dataset({"x": ("i", np.arange(3.0))})

    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(kept, tmp_path, {"a": 1}, make) for _ in range(2)]
        assert all(future.result().identical(both[0].result()) for future in both)
    assert len(list(tmp_path.glob("*.nc"))) == 1


class Client:
    """As Dask's: its futures are of another kind."""

    def submit(self):
        raise AssertionError

    get_executor = submit


@pytest.mark.parametrize(
    ("executor", "said"),
    [
        (ThreadPoolExecutor, r": ThreadPoolExecutor\(\), not the class, got <class"),
        (Client(), r": client.get_executor\(pure=False\) of Dask, got <.*Client object"),
        (Client, r": Client\(\), not the class"),
        (print, "got <built-in function print>"),
    ],
)
def test_the_error_for_an_executor_says_what_to_pass(executor, said):
    with pytest.raises(ValueError, match="executor must be an object with .*" + said):
        deep_nb.train(**WANTED, executor=executor)
    with pytest.raises(ValueError, match=said):
        deep_nb.replication.replicate([], "out", executor=executor)


def test_a_piece_is_found_in_whatever_order_its_dependencies_are_written(tmp_path):
    place = tmp_path / "a" / "b" / "c"  # made with its parents
    first = kept(place, {"a": 1, "b": 2}, lambda: xr.Dataset({"x": 3.0}))
    assert kept(place, {"b": 2, "a": 1}, pytest.fail).identical(first)
    assert len(list(place.iterdir())) == 1
