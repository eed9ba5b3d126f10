"""Provenance names the checkout that holds the package, and gets into files anywhere."""

import os
import shutil
import subprocess
from pathlib import Path

import netCDF4
import pytest

import deep_nb
from deep_nb._provenance import _commit, stamp

pytestmark = pytest.mark.skipif(not shutil.which("git"), reason="needs git")


def git(folder, *words):
    settings = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "safe.directory=*"]
    words = ["git", *settings, "-C", str(folder), *words]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()


def checkout(folder, content):
    """Make a checkout with one file and return its commit."""
    folder.mkdir()
    (folder / "code.py").write_text(content)
    git(folder, "init", "--quiet")
    git(folder, "add", "code.py")
    git(folder, "commit", "--quiet", "--message", content)
    return git(folder, "rev-parse", "HEAD")


def test_the_commit_is_marked_while_tracked_files_differ(tmp_path):
    commit = checkout(tmp_path / "a", "1")
    assert len(commit) == 40
    (tmp_path / "a" / "untracked.py").write_text("2")
    assert _commit(tmp_path / "a") == commit
    (tmp_path / "a" / "code.py").write_text("2")
    assert _commit(tmp_path / "a") == commit + "+"
    (tmp_path / "a" / "code.py").write_text("1")
    assert _commit(tmp_path / "a") == commit
    git(tmp_path / "a", "rm", "--quiet", "--cached", "code.py")
    assert _commit(tmp_path / "a") == commit + "+"
    assert _commit(tmp_path) == ""


@pytest.mark.parametrize("name", ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR"])
def test_the_environment_of_git_does_not_name_another_checkout(tmp_path, monkeypatch, name):
    commit, _ = checkout(tmp_path / "a", "1"), checkout(tmp_path / "b", "2")
    other = {"GIT_WORK_TREE": "b", "GIT_INDEX_FILE": "b/.git/index"}.get(name, "b/.git")
    monkeypatch.setenv(name, str(tmp_path / other))
    assert _commit(tmp_path / "a") == commit


@pytest.mark.skipif(os.name != "posix" or os.getuid(), reason="needs the right to give files away")
def test_a_checkout_of_another_owner_is_named(tmp_path):
    commit = checkout(tmp_path / "a", "1")
    for path in [tmp_path / "a", *(tmp_path / "a").rglob("*")]:
        os.chown(path, 12345, 12345)
    plain = subprocess.run(["git", "-C", str(tmp_path / "a"), "status"], capture_output=True)
    assert b"dubious ownership" in plain.stderr
    assert _commit(tmp_path / "a") == commit


def test_a_commit_that_git_cannot_tell_is_unknown(tmp_path, monkeypatch):
    checkout(tmp_path / "outer", "1")
    (tmp_path / "outer" / "a" / ".git").mkdir(parents=True)
    assert _commit(tmp_path / "outer" / "a").startswith("unknown: fatal: not a git repository")
    checkout(tmp_path / "b", "1")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert _commit(tmp_path / "b").startswith("unknown: ")
    assert _commit(tmp_path) == ""


def test_a_netcdf_file_is_stamped_where_the_file_system_has_no_locks(
    short_run, tmp_path, monkeypatch
):
    path = deep_nb.save(short_run, tmp_path / "run.nc")
    (tmp_path / "damaged.nc").write_text("damaged")
    opened = netCDF4.Dataset

    def without_locks(path, *arguments):
        if tmp_path in Path(path).parents:
            raise OSError(37, "No locks available", str(path))
        return opened(path, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(netCDF4, "Dataset", without_locks)
        stamp(path, {"n": 1})
        with pytest.raises(OSError, match="NetCDF: Unknown file format"):
            stamp(tmp_path / "damaged.nc", {"n": 1})
    stamped = deep_nb.load(path)
    assert stamped.attrs["provenance"] == '{"n": 1}'
    assert stamped.equals(short_run)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["damaged.nc", "run.nc"]
