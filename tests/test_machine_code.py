"""The machine code on the disk: used only if whole, and compiled from the present sources."""

import itertools
import os
import shutil
from importlib.resources import files
from pathlib import Path

import numba
import pytest

from deep_nb.kernels import cache
from deep_nb.kernels.cache import kernel


def double(x):
    return 2 * x


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """The cache, empty."""
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


def loaded_from_disk():
    """Call the kernel as a new process would; return whether it was not compiled."""
    compiled = kernel(double)
    assert compiled(1.5) == 3.0
    return bool(compiled.stats.cache_hits)


def test_machine_code_is_kept(capsys):
    assert [loaded_from_disk() for _ in range(3)] == [False, True, True]
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("suffix", "damage"),
    [*itertools.product([".nbi", ".nbc"], ["empty", "cut", "other"]), (".nbc", "flip")],
)
def test_damaged_files_are_compiled_anew(folder, suffix, damage, capsys):
    loaded_from_disk()
    (path,) = folder.rglob(f"*{suffix}")
    good = path.read_bytes()
    middle = len(good) // 2
    flipped = good[:middle] + bytes([good[middle] ^ 1]) + good[middle + 1 :]
    bad = {"empty": b"", "cut": good[:middle], "other": b"rubbish", "flip": flipped}
    path.write_bytes(bad[damage])
    assert not loaded_from_disk()
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("deep_nb: compiling double anew: its machine code on the disk is d")
    assert len([*folder.rglob("*.nb?")]) == 2
    assert loaded_from_disk()
    assert capsys.readouterr().err == ""


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".nbi", ".nbc"])
@pytest.mark.parametrize("kind", ["pipe", "device", "link", "sparse"])
def test_nothing_waits_for_a_pipe_in_place_of_machine_code(folder, suffix, kind, capsys):
    loaded_from_disk()
    (path,) = folder.rglob(f"*{suffix}")
    if kind == "sparse":
        os.truncate(path, 10**9)
    else:
        path.unlink()
    if kind == "pipe":
        os.mkfifo(path)
    elif kind != "sparse":
        path.symlink_to("/dev/zero" if kind == "device" else path.parent)
    assert not loaded_from_disk()
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("deep_nb: compiling double anew: its machine code on the disk is d")
    why = "is too large: it may have" if kind == "sparse" else "is not a regular file)"
    assert f"{path.name} {why}" in line
    assert loaded_from_disk()
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("suffix", [".nbi", ".nbc"])
def test_files_that_cannot_be_replaced_cost_lines_only(folder, suffix, capsys):
    loaded_from_disk()
    (path,) = folder.rglob(f"*{suffix}")
    path.unlink()
    path.mkdir()
    assert not loaded_from_disk()
    assert "deep_nb: cannot keep the machine code of double: " in capsys.readouterr().err


def test_a_removed_folder_is_made_again(folder):
    compiled = kernel(double)
    shutil.rmtree(folder)
    assert compiled(1.5) == 3.0
    assert loaded_from_disk()


ENGINES = sorted(path.name for path in files(cache.__package__).iterdir() if ".py" in path.name)


@pytest.mark.parametrize("name", [name for name in ENGINES if name.endswith(".py")])
def test_a_change_of_any_engine_compiles_anew(name, tmp_path, monkeypatch, capsys):
    sources = tmp_path / "engines"
    shutil.copytree(Path(cache.__file__).parent, sources)
    monkeypatch.setattr(cache, "files", lambda package: sources)
    assert [loaded_from_disk(), loaded_from_disk()] == [False, True]
    good = (sources / name).read_text(encoding="utf-8")
    (sources / name).write_text(good + "\n# changed\n", encoding="utf-8")
    assert [loaded_from_disk(), loaded_from_disk()] == [False, True]
    (sources / name).write_text(good, encoding="utf-8")
    assert not loaded_from_disk()
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("option", ["OPT", "LOOP_VECTORIZE", "SLP_VECTORIZE", "BOUNDSCHECK"])
def test_the_options_of_the_compiler_count(option, monkeypatch):
    assert not loaded_from_disk()
    monkeypatch.setattr(numba.config, option, 0 if option == "LOOP_VECTORIZE" else 1)
    assert not loaded_from_disk()


def test_machine_code_of_other_sources_is_never_loaded(folder, monkeypatch):
    """As where another process, with other sources, writes after the index has been read."""
    loaded_from_disk()
    (data,) = folder.rglob("*.nbc")
    first = data.read_bytes()
    monkeypatch.setattr(cache, "compiled_in", lambda: "other")
    loaded_from_disk()
    data.write_bytes(first)
    assert not loaded_from_disk()
    assert loaded_from_disk()
