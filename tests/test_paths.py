"""Paths that users hand in, and file systems that lack something."""

import contextlib
import errno
import fcntl
import os
from pathlib import Path

import pytest
import xarray as xr

import deep_nb
from deep_nb._blocks import kept
from deep_nb._netcdf import read_netcdf, write_netcdf
from deep_nb._validation import as_path
from deep_nb.plotting import Output
from deep_nb.replication import replicate

from .conftest import SHORT, assert_same
from .test_replication import run

ONE_CLAIM = [claim for claim in deep_nb.claims.read_claims() if claim.id == "1c"]


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """A home folder, beside the working folder."""
    for name in ("home", "work"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "home"


def test_a_tilde_is_the_home_folder(home):
    assert as_path("~/a/b", "path") == home / "a" / "b"
    assert as_path(Path("~"), "path") == home
    assert as_path("a/~/b~", "path") == Path("a/~/b~")
    with pytest.raises(
        ValueError, match=r"path starts with the home folder of an unknown user, '~n"
    ):
        as_path("~nobody-at-all/x", "path")


def test_a_file_may_have_a_tilde_as_its_name(home):
    once = as_path("./~x.nc", "path")
    assert once == Path.cwd() / "~x.nc"
    assert as_path(once, "path") == once  # as where a command calls a function


@pytest.mark.slow
def test_every_path_of_python_may_begin_at_home(short_run, home):
    assert deep_nb.save(short_run, "~/run.nc") == home / "run.nc"
    assert_same(deep_nb.load("~/run.nc"), short_run)
    deep_nb.train("DEEP", "xor", seeds=0, hyper=SHORT, checkpoint="~/blocks")
    Output("~/results").text("x", "x.md")
    deep_nb.claims.sweep(ONE_CLAIM, [0], [10.0], checkpoint="~/sweep")
    assert list(replicate([], "~/batch")) == []
    names = {path.name for path in home.iterdir() if path.name != ".ipython"}
    assert names == {"run.nc", "blocks", "results", "sweep", "batch"}
    assert list(Path().iterdir()) == []


def test_every_path_of_a_command_may_begin_at_home(home):
    words = ["--set=n_epochs=1", "--set=T1=1", "--set=T2=1"]
    result = run("train", "DEEP", "xor", *words, "--output=~/run.nc")
    assert result.exit_code == 0, result.stderr
    assert result.stdout.endswith(f"saved {home / 'run.nc'}\n")
    (home / "batch").mkdir()
    (home / "batch" / "SHA256SUMS").write_text("")
    assert run("verify", "~/batch").stdout.startswith(f"0 files in {home / 'batch'} agree")
    for word in ["--output=", "--figures=", "--experiments="]:
        result = run("replicate", word)
        assert result.exit_code == 2
        assert "it must be a valid path (str or os.PathLike), got ''" in result.stderr
    assert list(Path().iterdir()) == []


def test_the_working_folder_may_change(tmp_path, monkeypatch):
    batch, output = replicate([], "batch"), Output("results")
    seen = []

    class Elsewhere:
        def submit(self, function, *arguments):
            seen.append(function.args[4])

    with pytest.raises(AttributeError):  # it returns no futures
        deep_nb.train(
            "DEEP", "xor", seeds=0, hyper=SHORT, executor=Elsewhere(), checkpoint="blocks"
        )
    start = Path.cwd()
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path / "other")
    list(batch)
    output.text("x", "x.md")
    assert list(Path().iterdir()) == []
    assert (start / "batch" / "SHA256SUMS").is_file()
    assert (start / "results" / "x.md").is_file()
    assert seen == [start / "blocks"]


def test_an_empty_checkpoint_is_refused():
    with pytest.raises(ValueError, match="checkpoint must be a valid path"):
        deep_nb.train("DEEP", "xor", seeds=0, hyper=SHORT, checkpoint="")
    with pytest.raises(ValueError, match="checkpoint must be a valid path"):
        deep_nb.claims.sweep(ONE_CLAIM, [0], [10.0], checkpoint="")
    assert list(Path().iterdir()) == []


@contextlib.contextmanager
def locked(path):
    """Refuse HDF5's lock on a file: another one is in its way."""
    with path.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield path


def test_netcdf_needs_no_lock(short_run):
    with locked(Path("run.nc")) as path:
        with pytest.raises(OSError, match=r"run\.nc"):
            short_run.to_netcdf(path, engine="netcdf4")
        write_netcdf(short_run, path)
        with pytest.raises(OSError, match=r"run\.nc"):
            xr.load_dataset(path, engine="netcdf4")
        loaded = read_netcdf(path)
    xr.testing.assert_identical(loaded, short_run)
    assert all(loaded[name].dtype == short_run[name].dtype for name in short_run.variables)
    xr.testing.assert_identical(deep_nb.load(path), short_run)


def test_runs_and_checkpoints_are_written_and_read_without_locks(short_run, monkeypatch):
    def refuse(*arguments, **named):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), "run.nc")

    monkeypatch.setattr(xr.Dataset, "to_netcdf", refuse)
    with locked(deep_nb.save(short_run, "run.nc")) as path:
        xr.testing.assert_identical(deep_nb.load(path), short_run)
    kept("kept", {"a": 1}, lambda: short_run)
    with locked(next(Path("kept").iterdir())):
        xr.testing.assert_identical(kept("kept", {"a": 1}, lambda: None), short_run)


def test_what_netcdf_cannot_write_is_said_by_the_system(short_run, monkeypatch):
    """HDF5 says only "HDF error" when the disk is full."""

    def fail(*arguments, **named):
        raise RuntimeError("NetCDF: HDF error")

    def full(*arguments):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(xr.Dataset, "to_netcdf", fail)
    xr.testing.assert_identical(deep_nb.load(deep_nb.save(short_run, "run.nc")), short_run)
    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left on device"):
        deep_nb.save(short_run, "run.nc")


def test_a_run_is_saved_under_any_name(short_run):
    """HDF5 takes only names in UTF-8."""
    path = deep_nb.save(short_run, os.fsdecode(b"\xff.nc"))
    assert os.listdir(b".") == [b"\xff.nc"]
    xr.testing.assert_identical(deep_nb.load(path), short_run)


@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOTSUP, errno.EIO, errno.ENOSPC])
def test_a_file_system_that_cannot_flush_keeps_the_file(short_run, code, monkeypatch):
    def fsync(descriptor):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", fsync)
    if code in (errno.EIO, errno.ENOSPC):
        with pytest.raises(OSError, match=os.strerror(code)):
            deep_nb.save(short_run, "run.nc")
        assert list(Path().iterdir()) == []
    else:
        xr.testing.assert_identical(deep_nb.load(deep_nb.save(short_run, "run.nc")), short_run)


def test_targets_are_tried_before_the_work(monkeypatch):
    """With the flush to the disk, which may be the first that fails."""
    made = []
    monkeypatch.setattr(deep_nb, "train", lambda *a, **k: made.append("run"))
    monkeypatch.setattr(deep_nb.replication, "replicate", lambda *a, **k: made.append("batch"))
    Path("file").write_text("")
    with pytest.raises(OSError, match="file"):
        kept("file/blocks", {}, lambda: made.append("block"))
    assert run("train", "DEEP", "xor", "-o", "file/run.nc").exit_code == 1
    experiments = Path(__file__).parent.parent / "experiments.yml"
    words = ["replicate", "--experiments", experiments, "--only=claims", "--figures"]
    assert "file" in run(*words, "file/figures").stderr

    def fsync(descriptor):
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(OSError, match="broken"):
        kept("blocks", {}, lambda: made.append("block"))
    with pytest.raises(OSError, match="broken"):
        Output("results")
    assert "broken" in run("train", "DEEP", "xor", "-o", "run.nc").stderr
    assert "broken" in run(*words, "figures").stderr
    assert made == []
    assert sorted(path.name for path in Path().rglob("*")) == [
        "blocks",
        "figures",
        "file",
        "results",
    ]


@pytest.mark.parametrize("refusal", [errno.ENOLCK, errno.ENOTSUP])
def test_a_batch_names_a_file_system_without_locks(refusal, monkeypatch):
    def flock(*_):
        raise OSError(refusal, os.strerror(refusal))

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(RuntimeError, match=r"the file system of .*out has no locks: choose"):
        next(deep_nb.replication.replicate([], "out"))
