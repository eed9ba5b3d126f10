"""Provenance names the checkout that holds the package, whatever git's environment says."""

import os
import shutil
import subprocess

import pytest

from deep_nb._provenance import _commit

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
