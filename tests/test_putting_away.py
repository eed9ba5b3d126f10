"""How the batch puts files away: an interruption at every step, old files, and the files of others.

No kernel runs here: the outcomes are made by hand.
"""

import builtins
import contextlib
import dataclasses
import errno
import gzip
import html
import json
import os
import re
import shutil
import sys
import tempfile
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import filelock
import nbformat
import pandas as pd
import pytest
from nbformat.v4 import new_output
from papermill.exceptions import PapermillExecutionError
from PIL import Image

import deep_nb
from deep_nb import _files, replication
from deep_nb._files import sha256, write_text
from deep_nb._provenance import stamp
from deep_nb.plotting import Output
from deep_nb.replication import batch, collect_figures, execution, read_jobs, state, verify
from deep_nb.replication.batch import _store, check_places
from deep_nb.replication.execution import Outcome, _tidy, execute
from deep_nb.replication.jobs import Job
from deep_nb.replication.names import CHECKPOINTS, LOCK, PENDING, RECORD, WORKING
from deep_nb.replication.notebooks import read_notebook
from deep_nb.replication.records import read_record
from deep_nb.replication.scratch import ANSWER, LOG, REQUEST, scratch_folder
from deep_nb.replication.verification import read_checksums, write_checksums

from .conftest import refused
from .test_replication import run, write_notebook


@pytest.mark.slow
def test_threads_may_stamp_save_and_load_netcdf_files(short_run, tmp_path):
    """HDF5 is not thread-safe: without one lock for all, this test ends the process."""
    for n in range(4):
        deep_nb.save(short_run, tmp_path / f"{n}.nc")

    def work(n):
        path = tmp_path / f"{n}.nc"
        for k in range(6):
            stamp(path, {"n": n, "k": k, "long": "x" * 200})
            stamped = deep_nb.load(path)
            assert json.loads(stamped.attrs["provenance"])["k"] == k
            assert stamped.equals(short_run)
            deep_nb.save(stamped, path)
        return stamped.attrs["provenance"]

    with ThreadPoolExecutor(4) as pool:
        origins = list(pool.map(work, range(4)))
    assert [json.loads(origin)["n"] for origin in origins] == list(range(4))


# Interruptions


class PowerCut(BaseException):
    """Nothing may catch it, as nothing survives a power cut."""


@contextlib.contextmanager
def power_cut(step, calls):
    """Cut the power at one of the system calls that change the disk; note them all."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("rename", "replace", "unlink", "mkdir", "rmdir"):
            patch.setattr(os, name, _counting(getattr(os, name), name, step, calls))
        for module in (_files, batch):
            patch.setattr(module, "flush", _counting(lambda path: None, "flush", step, calls))
        # Files are opened for writing by pathlib, which uses io.open.
        patch.setattr("io.open", _opening(builtins.open, step, calls))
        yield


def _counting(function, name, step, calls):
    def counted(*arguments, **options):
        if len(calls) == step:
            raise PowerCut
        calls.append((name, *map(str, arguments)))
        return function(*arguments, **options)

    return counted


def _opening(function, step, calls):
    def opened(path, mode="r", *arguments, **options):
        if "r" not in mode:
            if len(calls) == step:
                function(path, mode, *arguments, **options).close()  # empty
                raise PowerCut
            calls.append(("open", str(path)))
        return function(path, mode, *arguments, **options)

    return opened


@pytest.fixture
def job(tmp_path):
    write_notebook(tmp_path / "tiny.ipynb", "print(n)")
    text = "experiments: [{name: a, notebook: tiny.ipynb, parameters: {n: 2}}]"
    (tmp_path / "experiments.yml").write_text(text)
    return read_jobs(tmp_path / "experiments.yml")[0]


#: What runs with other parameters leave.
OLD = {"mse.svg": "<svg>1</svg>", "old.txt": "1", "sub/deep/old.csv": "1", "same.csv": "1"}
NEW = {"mse.svg": "<svg>2</svg>", "new.json": "2", "sub/new.md": "2", "same.csv": "1"}


def outcome(output, contents, error=""):
    """Return the outcome of an experiment that left files with these contents."""
    folder = output / WORKING / "a-123"
    shutil.rmtree(folder, ignore_errors=True)
    for name, text in contents.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return Outcome("a", folder, {"seconds": 1.0, "error": error}, error)


def found(folder):
    """Return the contents of the files in an experiment's folder except its records."""
    paths = [path for path in folder.rglob("*") if path.is_file()]
    texts = {path.relative_to(folder).as_posix(): path.read_text() for path in paths}
    return {name: text for name, text in texts.items() if name not in (RECORD, PENDING)}


def finish(job, output, contents):
    return _store(outcome(output, contents), job.fingerprint, output)


def steps_of(work):
    """Return the system calls of some work."""
    calls = []
    with power_cut(-1, calls):
        work()
    return calls


def in_order(calls, *wanted):
    """Whether some calls came in an order; None is any argument."""
    rest = iter(calls)
    return all(any(_matches(want, call) for call in rest) for want in wanted)


def _matches(want, call):
    return len(want) == len(call) and all(
        part is None or str(part) == given for part, given in zip(want, call, strict=True)
    )


@pytest.mark.slow
def test_an_interruption_at_any_step_leaves_the_experiment_missing_or_done(tmp_path, job):
    old = {**job.fingerprint, "parameters": {"n": 1}}
    start, output = tmp_path / "start", tmp_path / "out"
    start.mkdir()
    _store(outcome(start, OLD), old, start)
    mine = dict.fromkeys(["mine.txt", ".mine.partial"], "the user's")
    for name, text in mine.items():
        (start / "a" / name).write_text(text)
    (start / CHECKPOINTS / "a").mkdir(parents=True)
    assert state(job, start / "a").status == "stale"

    def begin():
        shutil.rmtree(output, ignore_errors=True)
        shutil.copytree(start, output)
        return outcome(output, NEW)

    made = begin()
    calls = steps_of(lambda: _store(made, job.fingerprint, output))
    folder, record = output / "a", output / "a" / RECORD
    for name in NEW:  # is on the disk, then in its place, then its name is on the disk
        assert in_order(
            calls,
            ("flush", made.folder / name),
            ("replace", made.folder / name, folder / name),
            ("flush", (folder / name).parent),
            ("replace", folder / PENDING, record),
            ("flush", folder),
            ("replace", None, output / "SHA256SUMS"),
        )
    assert in_order(
        calls,
        ("replace", record, folder / PENDING),
        ("flush", folder),
        ("unlink", folder / "old.txt"),
    )
    for i, call in enumerate(calls):
        if call[1].endswith(".partial") and call[0] == "replace":
            assert ("flush", call[1]) in calls[:i]
            assert ("flush", str(Path(call[2]).parent)) in calls[i:]
    seen = []
    for step in range(len(calls)):
        made = begin()
        with pytest.raises(PowerCut), power_cut(step, []):
            _store(made, job.fingerprint, output)
        now = state(job, output / "a")
        seen.append(now.status)
        if now.status == "done":
            assert found(output / "a") == {**NEW, **mine}
        elif now.status == "stale":  # as before, and nothing is lost
            assert found(output / "a") == {**OLD, **mine}
        # Then the experiment runs with other parameters again; only its own files remain.
        finish(job, output, {"other.svg": "<svg>3</svg>"})
        assert found(output / "a") == {"other.svg": "<svg>3</svg>", **mine}
        assert not (output / "a" / PENDING).exists()
        assert not (output / "a" / "sub").exists()
        count, wrong = verify(output)
        assert count == 2
        assert {*wrong} <= {f"a/{name}: not listed" for name in mine}
    assert [*dict.fromkeys(seen)] == ["stale", "missing", "done"]
    assert seen == sorted(seen, key=["stale", "missing", "done"].index)


@pytest.mark.slow
def test_a_record_is_never_seen_before_the_files_it_lists(tmp_path, job):
    """A reader that polls sees a complete experiment or none; a file is old, new or absent."""
    output = tmp_path / "out"
    texts = {str(k): {"x.svg": "<svg>" + str(k) * 10_000, "sub/x.csv": str(k)} for k in range(2)}
    output.mkdir()
    seen, ended = set(), threading.Event()

    def read():
        while not ended.is_set():
            with contextlib.suppress(FileNotFoundError):
                seen.add((output / "a" / RECORD).read_text())
                seen.add((output / "SHA256SUMS").read_text())
                seen.add((output / "a" / "x.svg").read_text())

    reader = threading.Thread(target=read)
    reader.start()
    whole = set()
    try:
        for k in [*texts] * 10:
            finish(job, output, texts[k])
            whole |= {(output / name).read_text() for name in (f"a/{RECORD}", "SHA256SUMS")}
    finally:
        ended.set()
        reader.join()
    assert len(seen) > 2
    assert seen <= whole | {text["x.svg"] for text in texts.values()}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["text", "run.nc", "x.png", "x.svg", "x.csv", "x.csv.gz", "x.md"])
def test_a_reader_never_sees_half_a_file(tmp_path, short_run, kind):
    path, output = tmp_path / kind, Output(tmp_path)
    if kind == "x.png":
        Image.new("RGB", (300, 300)).save(path)
    elif kind == "x.svg":
        path.write_text("<svg>" + "<g></g>" * 20_000 + "</svg>")

    def write(k):
        if kind == "text":
            write_text(path, str(k) * 100_000)
        elif kind == "run.nc":
            deep_nb.save(short_run.assign_attrs(provenance=str(k)), path)
        elif kind == "x.md":
            output.text(str(k) * 100_000, kind)
        elif "csv" in kind:
            output.table(pd.DataFrame({"k": range(k, 5000)}), kind)
        else:
            stamp(path, {"k": k})

    seen, ended = set(), threading.Event()

    def read():
        while not ended.is_set():
            seen.add(path.read_bytes())

    write(0)
    reader = threading.Thread(target=read)
    reader.start()
    whole = set()
    try:
        for k in [0, 1] * 8:
            write(k)
            whole.add(path.read_bytes())
    finally:
        ended.set()
        reader.join()
    assert seen <= whole
    assert [file.name for file in tmp_path.iterdir()] == [kind]


@pytest.mark.parametrize("name", ["x.csv", "x.csv.gz", "x.md"])
def test_results_replace_links_and_end_lines_alike_on_every_system(tmp_path, name, monkeypatch):
    monkeypatch.setattr(os, "linesep", "\r\n")
    output, other = Output(tmp_path / "out"), tmp_path / "other"
    for link in (os.link, os.symlink):
        other.write_text("others'")
        link(other, tmp_path / "out" / name)
        if name == "x.md":
            output.text("é\na,1\n", name)
        else:
            output.table(pd.DataFrame({"é": ["a"], "n": [1]}), name)
        expected = "é\na,1\n" if name == "x.md" else "é,n\na,1\n"
        content = (tmp_path / "out" / name).read_bytes()
        if name == "x.csv.gz":
            assert content[3:8] == bytes(5)  # without the name of a file, and a time
            content = gzip.decompress(content)
        assert content == expected.encode()
        assert other.read_text() == "others'"
        assert [path.name for path in (tmp_path / "out").iterdir()] == [name]
        (tmp_path / "out" / name).unlink()


# Figures


@pytest.mark.slow
def test_figures_of_other_parameters_are_replaced(tmp_path, job):
    output, figures = tmp_path / "out", tmp_path / "figures"
    output.mkdir()
    finish(job, output, OLD)
    names = [path.name for path in collect_figures(["a"], output, figures)]
    assert names == ["mse.svg", "same.csv", "old.csv", RECORD]
    assert found(figures / "a") == {n: OLD[n] for n in ("mse.svg", "same.csv", "sub/deep/old.csv")}
    (figures / "a" / "mine.txt").write_text("the user's")
    finish(job, output, NEW)
    kept = {n: NEW[n] for n in ("mse.svg", "same.csv", "sub/new.md")} | {"mine.txt": "the user's"}
    shutil.copytree(figures, tmp_path / "before")
    calls = steps_of(lambda: collect_figures(["a"], output, figures))
    assert found(figures / "a") == kept
    assert verify(figures) == (4, ["a/mine.txt: not listed"])
    for step in range(len(calls)):
        shutil.rmtree(figures)
        shutil.copytree(tmp_path / "before", figures)
        with pytest.raises(PowerCut), power_cut(step, []):
            collect_figures(["a"], output, figures)
        collect_figures(["a"], output, figures)
        assert found(figures / "a") == kept
        assert sorted(path.name for path in figures.iterdir()) == ["SHA256SUMS", "a"]
        assert verify(figures) == (4, ["a/mine.txt: not listed"])


def test_figures_in_the_folder_of_the_batch_are_left_there(tmp_path, job):
    output = tmp_path / "out"
    output.mkdir()
    finish(job, output, {**OLD, "run.nc": ""})
    listed = read_checksums(output)
    for target in (output, tmp_path / "out" / ".." / "out"):
        copies = collect_figures(["a"], output, target)
        assert [path.name for path in copies] == ["mse.svg", "same.csv", "old.csv", RECORD]
        assert read_checksums(output) == listed
        assert verify(output) == (6, [])
        assert state(job, output / "a").status == "done"


def test_figures_are_pictures_tables_texts_and_notebooks_but_not_runs_and_pages(tmp_path, job):
    output, figures = tmp_path / "out", tmp_path / "figures"
    output.mkdir()
    names = ["x.svg", "x.png", "x.gif", "x.csv", "x.csv.gz", "x.md", "x.ipynb"]
    finish(job, output, dict.fromkeys([*names, "x.nc", "x.html"], "content"))
    collect_figures(["a"], output, figures)
    assert sorted(found(figures / "a")) == sorted(names)


def test_figures_of_an_unfinished_experiment_are_refused(tmp_path):
    (tmp_path / "out" / "a").mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match=r"no record\.json in .*: it has not finished"):
        collect_figures(["a"], tmp_path / "out", tmp_path / "figures")


@pytest.mark.parametrize("damage", ["{", None])
def test_old_files_of_a_damaged_or_lost_record_are_those_in_the_checksums(tmp_path, job, damage):
    output = tmp_path / "out"
    output.mkdir()
    finish(job, output, OLD)
    (output / "a" / "mine.csv").write_text("the user's")
    if damage:
        (output / "a" / RECORD).write_text(damage)
    else:
        (output / "a" / RECORD).unlink()
    write_checksums(output)  # as a batch begins
    finish(job, output, {"new.svg": ""})
    assert found(output / "a") == {"new.svg": "", "mine.csv": "the user's"}
    assert verify(output)[1] == ["a/mine.csv: not listed"]


def in_the_way(folder, others):
    """Put something of others in the place of each kind of entry; return what is to be kept."""
    for name in ("mse.svg", "a/t.md", "a/b/t.csv", "copy.json"):
        (others / name).parent.mkdir(parents=True, exist_ok=True)
        (others / name).write_text("others'")
    shutil.rmtree(folder / "a")
    (folder / "a").symlink_to(others / "a")
    (folder / "same.csv").unlink()
    (folder / "same.csv" / "deep").mkdir(parents=True)
    (folder / "same.csv" / "deep" / "x").write_text("mine")
    (folder / "new.json").write_text("mine")
    (folder / "new").symlink_to(folder / "gone")
    (folder / "file").write_text("mine")


@pytest.mark.parametrize("record", ["kept", "pipe", "link", "folder", "pending"])
def test_what_is_in_the_way_and_not_in_the_record_is_renamed(tmp_path, job, record, capsys):
    output, others = tmp_path / "out", tmp_path / "others"
    output.mkdir()
    finish(job, output, {"a/t.md": "1", "a/b/t.csv": "1", "same.csv": "1"})
    folder = output / "a"
    in_the_way(folder, others)
    path = folder / (PENDING if record == "pending" else RECORD)
    if record != "kept":
        path.unlink(missing_ok=True)
        if record == "link":
            path.symlink_to(others / "copy.json")
        elif record == "folder":
            path.mkdir()
        else:
            os.mkfifo(path)
    new = ("a/t.md", "a/b/t.csv", "same.csv", "new.json", "new/x.csv", "file/x.csv")
    check_places([job], output)
    write_checksums(output)
    made = finish(job, output, dict.fromkeys(new, "2"))
    assert (made.error, state(job, folder).status) == ("", "done")
    kept = {"same.csv.~1~/deep/x": "mine", "new.json.~1~": "mine", "file.~1~": "mine"}
    texts = found(folder)
    assert {name: texts[name] for name in (*new, *kept)} == dict.fromkeys(new, "2") | kept
    assert (folder / "a.~1~").readlink() == others / "a"
    assert {p.read_text() for p in others.rglob("*.*")} == {"others'"}
    aside = [] if record in ("kept", "folder") else [f"{path.name}.~1~"]
    assert verify(output)[1] == [
        f"a/{name}: not listed" for name in sorted([*kept, *aside, "a.~1~", "new.~1~"])
    ]
    notice = f"deep_nb: {folder / 'new.json'} was in the way and is now new.json.~1~\n"
    assert notice in capsys.readouterr().err
    (folder / "x.csv").write_text("mine")
    (folder / "x.csv.~1~").write_text("mine")
    finish(job, output, {"x.csv": "3"})
    assert (folder / "x.csv.~2~").read_text() == "mine"


@pytest.mark.slow
def test_nothing_of_others_is_lost_when_an_interruption_comes_while_it_is_renamed(tmp_path, job):
    start, output, others = tmp_path / "start", tmp_path / "out", tmp_path / "others"
    finish(job, start, {"a/t.md": "1", "same.csv": "1"})
    in_the_way(start / "a", others)
    new = dict.fromkeys(("a/t.md", "same.csv", "new.json", "new/x.csv", "file/x.csv"), "2")

    def begin():
        shutil.rmtree(output, ignore_errors=True)
        shutil.copytree(start, output, symlinks=True)
        return outcome(output, new)

    made = begin()
    calls = steps_of(lambda: _store(made, job.fingerprint, output))
    renames = [i for i, call in enumerate(calls) if call[0] == "rename"]
    assert len(renames) == 5
    for i in renames:
        assert calls[i + 1] == ("flush", str(Path(calls[i][1]).parent))
    for step in range(len(calls)):
        made = begin()
        with pytest.raises(PowerCut), power_cut(step, []):
            _store(made, job.fingerprint, output)
        finish(job, output, new)
        texts = found(output / "a")
        assert sorted(texts.values()) == ["2"] * 5 + ["mine"] * 3
        assert [p.name for p in (output / "a").iterdir() if p.is_symlink()] != []
        assert {p.read_text() for p in others.rglob("*.*")} == {"others'"}
        assert state(job, output / "a").status == "done"


@pytest.mark.parametrize("kind", ["file", "link", "loose link", "input", "notebook"])
def test_a_place_for_results_that_is_taken_is_refused_before_the_work(tmp_path, job, kind):
    """In the output folder only its experiment fails; in that of figures nothing runs."""
    output, elsewhere = tmp_path / "output", tmp_path / "elsewhere"
    elsewhere.mkdir()
    output.mkdir()
    (elsewhere / "mine.csv").write_text("mine")
    place, other = output / "a", dataclasses.replace(job, name="b")
    message = re.escape(f"{place} is {'not a folder' if kind == 'file' else 'a link'}: move it")
    if kind == "file":
        place.write_text("mine")
    elif "link" in kind:
        place.symlink_to(elsewhere if kind == "link" else tmp_path / "gone")
    else:
        shutil.copytree(elsewhere, place)
        shutil.copy(job.notebook, place / "n.ipynb")
        path = place / "n.ipynb" if kind == "notebook" else job.notebook
        files = ("output/a/mine.csv",) if kind == "input" else ()
        other = dataclasses.replace(job, name="b", notebook=path, files=files)
        name = path.name if kind == "notebook" else "mine.csv"
        message = re.escape(f"{place} is for results, but {name} of an experiment is in it")
    before = sorted(output.rglob("*"))
    with pytest.raises(FileExistsError, match=message):
        check_places([job, other], output)
    assert sorted(output.rglob("*")) == before
    assert {p.read_text() for p in output.rglob("mine.csv")} <= {"mine"}
    assert (elsewhere / "mine.csv").read_text() == "mine"
    made = Outcome("b", None, {"seconds": 1.0}, "")
    told = list(batch.replicate([job, other], output, executor=Prepared(made)))
    assert [(outcome.name, outcome.status) for outcome in told] == [("a", "failed"), ("b", "done")]
    assert re.match(f"FileExistsError: {message}", told[0].error)
    if kind in ("file", "link"):
        finish(job, tmp_path / "batch", NEW)
        with pytest.raises(FileExistsError, match=message):
            collect_figures(["a"], tmp_path / "batch", output)
        result = run("replicate", "--experiments", tmp_path / "experiments.yml", "--output",
                     tmp_path / "new", "--figures", output)  # fmt: skip
        assert (result.exit_code, result.stdout) == (1, "")
        assert re.match(f"Error: {message}", result.stderr)


def test_files_of_others_stay_where_no_batch_was(tmp_path, job):
    for folder in (tmp_path / "out" / "a", tmp_path / "figures" / "a"):
        (folder / "sub").mkdir(parents=True)
        for name in ("mine.csv", "mine.ipynb", "sub/mine.svg", "mse.svg"):
            (folder / name).write_text("mine")
    finish(job, tmp_path / "out", NEW)
    collect_figures(["a"], tmp_path / "out", tmp_path / "figures")
    kept = dict.fromkeys(("mine.csv", "mine.ipynb", "sub/mine.svg", "mse.svg.~1~"), "mine")
    for root in (tmp_path / "out", tmp_path / "figures"):
        texts = found(root / "a")
        assert kept.items() <= texts.items()
        assert texts["mse.svg"] == NEW["mse.svg"]
        assert verify(root)[1] == [f"a/{name}: not listed" for name in sorted(kept)]


def test_a_place_that_cannot_be_written_is_refused(job, ordinary_user):
    place = ordinary_user / "a"
    place.mkdir()
    check_places([job], ordinary_user)
    place.chmod(0o500)
    with pytest.raises(PermissionError, match=re.escape(str(place))):
        check_places([job], ordinary_user)
    place.chmod(0o700)
    assert [path.name for path in ordinary_user.rglob("*")] == ["a"]


def test_outcomes_are_printed_before_figures_that_cannot_be_copied(tmp_path, job, monkeypatch):
    def fails(*_):
        raise OSError(28, "No space left on device")

    made = Outcome("a", None, {"seconds": 2.0}, "")
    monkeypatch.setattr(replication, "replicate", lambda *_, **__: (o for o in [made]))
    monkeypatch.setattr(replication, "collect_figures", fails)
    words = ["replicate", "--experiments", tmp_path / "experiments.yml"]
    result = run(*words, f"--output={tmp_path / 'out'}", f"--figures={tmp_path / 'figures'}")
    assert result.exit_code == 1
    assert result.stdout.splitlines()[1].split()[:3] == ["a", "done", "2.0"]
    assert result.stderr.endswith("Error: [Errno 28] No space left on device\n")


def test_of_links_to_folders_only_the_link_is_removed(tmp_path, job):
    output, others = tmp_path / "out", tmp_path / "others"
    (output / CHECKPOINTS).mkdir(parents=True)
    others.mkdir()
    (others / "mine").write_text("mine")
    for link in (output / WORKING, output / CHECKPOINTS / "a"):
        link.symlink_to(others)
    assert list(batch.replicate([], output)) == []
    assert finish(job, output, NEW).error == ""
    assert [*(output / CHECKPOINTS).iterdir()] == []
    assert (others / "mine").read_text() == "mine"
    shutil.rmtree(output / WORKING)
    (output / WORKING).symlink_to(tmp_path / "gone")
    assert list(batch.replicate([], output)) == []
    os.mkfifo(output / WORKING)
    assert list(batch.replicate([], output)) == []
    assert not (output / WORKING).exists()


def test_a_record_removes_only_files_in_its_folder(tmp_path, job):
    """Whoever wrote the record: a path that leads out of the folder, directly or by a link."""
    output = tmp_path / "out"
    output.mkdir()
    finish(job, output, OLD)
    (tmp_path / "others").mkdir()
    for name in ("x.csv", "y.csv"):
        (tmp_path / "others" / name).write_text("")
    (output / "a" / "link").symlink_to(tmp_path / "others")
    record = json.loads((output / "a" / RECORD).read_text())
    record["files"] |= dict.fromkeys(["../../others/x.csv", "link/y.csv", "link"], "0" * 64)
    (output / "a" / RECORD).write_text(json.dumps(record))
    finish(job, output, NEW)
    assert found(output / "a").items() >= NEW.items()
    assert len([*(tmp_path / "others").iterdir()]) == 2


# What an experiment leaves


def test_only_regular_files_of_the_experiment_are_kept(tmp_path, job):
    folder, others = tmp_path / "work", tmp_path / "others"
    others.mkdir()
    for name in "abc":
        (others / name).write_text("others'")
    (folder / "sub" / "__pycache__").mkdir(parents=True)
    (folder / "sub" / "__pycache__" / "helper.pyc").write_text("")
    for name in ("x.csv", "sub/y.csv", "data.csv", "changed.csv", "a\nb", "tiny.html", RECORD):
        (folder / name).write_text(name)
    (folder / "x.csv").chmod(0o400)
    os.link(others / "a", folder / "sub" / "hard.nc")
    (folder / "soft.png").symlink_to(others / "b")
    (folder / "folder").symlink_to(others)
    inputs = {"data.csv": sha256(folder / "data.csv"), "changed.csv": "0" * 64, "gone.csv": "0"}
    with pytest.raises(
        ValueError, match=r"it left 'a\\nb', 'changed.csv', 'folder', 'record.json'"
    ):
        _tidy(folder, job, inputs)
    assert sorted(path.name for path in folder.rglob("*")) == ["sub", "x.csv", "y.csv"]
    assert {path.read_text() for path in others.iterdir()} == {"others'"}
    assert len([*others.iterdir()]) == 3
    _tidy(folder, job, inputs)  # nothing is wrong now


@pytest.mark.parametrize("what", ["link", "file", "nothing"])
def test_a_working_folder_that_was_replaced_is_empty(tmp_path, job, what):
    folder, others = tmp_path / "work", tmp_path / "others"
    others.mkdir(mode=0o750)
    (others / "x.svg").write_text("<svg></svg>")
    if what == "link":
        folder.symlink_to(others)
    elif what == "file":
        folder.write_text("")
    with pytest.raises(ValueError, match="it removed the folder that it ran in"):
        _tidy(folder, job, {})
    assert folder.is_dir()
    assert not folder.is_symlink()
    assert [*folder.iterdir()] == []
    assert others.stat().st_mode & 0o777 == 0o750
    assert (others / "x.svg").exists()


def test_files_of_others_are_not_stamped_where_links_cannot_be_removed(tmp_path, job, monkeypatch):
    (tmp_path / "others.svg").write_text("<svg></svg>")
    (tmp_path / "out" / WORKING).mkdir(parents=True)

    def leaves(scratch, *_):
        folder = Path(json.loads((scratch / "request.json").read_text())["folder"])
        os.link(tmp_path / "others.svg", folder / "hard.svg")
        (folder / "soft.svg").symlink_to(tmp_path / "others.svg")
        (folder / "own.svg").write_text("<svg></svg>")
        return "ZeroDivisionError: division by zero (in cell 3)"

    def fails(*_):
        raise PermissionError("read-only")

    monkeypatch.setattr(execution, "_run_process", leaves)
    monkeypatch.setattr(execution, "_tidy", fails)
    made = execute(job, job.fingerprint, tmp_path / "out")
    assert made.error == (
        "ZeroDivisionError: division by zero (in cell 3); PermissionError: read-only"
    )
    assert "ZeroDivisionError" in (made.folder / "own.svg").read_text()
    assert (tmp_path / "others.svg").read_text() == "<svg></svg>"
    _store(made, job.fingerprint, tmp_path / "out")
    record = read_record(tmp_path / "out" / "a")
    assert sorted(record.files) == ["own.svg", "tiny.html", "tiny.ipynb"]
    assert record.error == made.error


class Prepared:
    """An executor whose work is done already."""

    def __init__(self, outcome):
        self.outcome = outcome

    def submit(self, *_):
        future = Future()
        future.set_result(self.outcome)
        return future


def test_a_folder_that_cannot_be_written_does_not_hide_the_notebooks_error(
    tmp_path, job, monkeypatch
):
    def fails(*_):
        raise PermissionError("read-only")

    output = tmp_path / "out"
    made = Outcome("a", None, {}, "ValueError: wrong (in cell 2)")
    monkeypatch.setattr(batch, "write_record", fails)
    (told,) = batch.replicate([job], output, executor=Prepared(made))
    assert told.error == "ValueError: wrong (in cell 2); PermissionError: read-only"
    assert state(job, output / "a").status == "missing"


def test_the_error_of_a_worker_is_recorded_with_the_provenance_of_the_batch(tmp_path, job):
    class Dead:
        def submit(self, *_):
            future = Future()
            future.set_exception(KeyError("no worker"))
            return future

    (told,) = batch.replicate([job], tmp_path / "out", executor=Dead())
    assert told.error == "KeyError: 'no worker'"
    record = read_record(tmp_path / "out" / "a")
    assert record.origin == {**deep_nb._provenance.provenance(), "error": told.error}
    assert (record.error, record.files) == (told.error, {})
    assert told.folder == tmp_path / "out" / "a"


@pytest.fixture
def ordinary_user():
    """A folder of a user who is not root, as whom the test goes on."""
    with tempfile.TemporaryDirectory(prefix="deep-nb-test-") as name:
        if os.getuid() == 0:
            os.chown(name, 12345, 12345)
            os.seteuid(12345)
        try:
            yield Path(name)
        finally:
            os.seteuid(os.getuid())


def test_protected_folders_of_a_killed_batch_are_removed(ordinary_user):
    closed = ordinary_user / WORKING / "a-123" / "closed" / "inner"
    closed.mkdir(parents=True)
    (closed / "x.csv").write_text("")
    for folder in (closed, closed.parent, closed.parent.parent):
        folder.chmod(0o000)
    with pytest.raises(PermissionError):
        shutil.rmtree(ordinary_user / WORKING)
    assert [*batch.replicate([], ordinary_user)] == []
    assert not (ordinary_user / WORKING).exists()


def test_what_an_experiment_protected_is_kept(job, ordinary_user):
    folder = ordinary_user / "work"
    (folder / "sub").mkdir(parents=True)
    for name in ("x.svg", "sub/y.svg"):
        (folder / name).write_text("<svg></svg>")
        (folder / name).chmod(0o000)
    for path in (folder / "sub", folder):
        path.chmod(0o000)
    _tidy(folder, job, {})
    for name in ("x.svg", "sub/y.svg"):
        stamp(folder / name, {"n": 1})
        assert '{"n": 1}' in (folder / name).read_text()


def test_the_batch_stays_in_its_folder_when_the_process_moves(tmp_path, job, monkeypatch):
    monkeypatch.chdir(tmp_path)
    outcomes = batch.replicate([job], "out", executor=Prepared(Outcome("a", None, {}, "wrong")))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")
    assert [told.folder for told in outcomes] == [tmp_path / "out" / "a"]
    assert [*(tmp_path / "elsewhere").iterdir()] == []


def test_a_batch_that_ends_in_another_thread_releases_its_folder(tmp_path, job, monkeypatch):
    """As `asyncio.to_thread` does."""

    class Kept(filelock.FileLock):
        def __init__(self, *arguments, **named):
            super().__init__(*arguments, **named)
            kept.append(self)  # else it would be released when it is collected

    def submit(*_):
        future = Future()
        future.set_exception(OSError("no worker"))
        return future

    kept, free = [], filelock.FileLock(tmp_path / "out" / LOCK, timeout=0)
    monkeypatch.setattr(filelock, "FileLock", Kept)
    executor = SimpleNamespace(submit=submit)
    outcomes = batch.replicate([job], tmp_path / "out", executor=executor)
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(next, outcomes).result().error == "OSError: no worker"
        outcomes.close()
        with free:
            assert len(kept) == 1


# What a batch asks of its workers


def jobs_named(job, *names):
    return [dataclasses.replace(job, name=name) for name in names]


def test_an_executor_receives_each_job_with_its_fingerprint_and_nothing_to_stop_it(tmp_path, job):
    asked = []

    class Asked(Prepared):
        def submit(self, *arguments):
            asked.append(arguments)
            return super().submit()

    jobs = jobs_named(job, "a", "b")
    output = tmp_path / "out"
    made = Outcome("a", None, {}, "wrong")
    assert len(list(batch.replicate(jobs, output, executor=Asked(made)))) == 2
    assert asked == [(execute, one, one.fingerprint, output, None) for one in jobs]


def test_one_job_at_a_time_is_executed_here_and_those_of_a_batch_that_ends_early_are_stopped(
    tmp_path, job, monkeypatch
):
    """The second is executed while the first is put away; the third is not begun."""
    asked, begun, stopped = [], threading.Semaphore(0), []

    def execute(job, *arguments):
        asked.append((job.name, arguments))
        begun.release()
        if job.name == "b":
            stopped.append(arguments[-1].wait(10))
        return Outcome(job.name, None, {}, "")

    monkeypatch.setattr(batch, "execute", execute)
    jobs = jobs_named(job, "a", "b", "c")
    outcomes = batch.replicate(jobs, tmp_path / "out")
    assert next(outcomes).name == "a"
    assert all(begun.acquire(timeout=10) for _ in range(2))
    names = [thread.name for thread in threading.enumerate()]
    assert sum(name.startswith("deep_nb") for name in names) == 1
    outcomes.close()
    assert stopped == [True]
    stop = asked[0][1][-1]
    assert isinstance(stop, threading.Event)
    assert asked == [(name, (job.fingerprint, tmp_path / "out", stop)) for name in "ab"]


def test_two_jobs_at_a_time_are_executed_where_two_are_asked_for(tmp_path, job, monkeypatch):
    meeting = threading.Barrier(2, timeout=10)

    def execute(job, *_):
        meeting.wait()
        return Outcome(job.name, None, {}, "")

    monkeypatch.setattr(batch, "execute", execute)
    outcomes = list(batch.replicate(jobs_named(job, "a", "b"), tmp_path / "out", 2))
    assert sorted((told.name, told.error) for told in outcomes) == [("a", ""), ("b", "")]


def test_only_what_is_not_done_runs_unless_forced(tmp_path, job, monkeypatch):
    ran = []

    def execute(job, *_):
        ran.append(job.name)
        return Outcome(job.name, None, {}, "wrong" if job.name == "b" else "")

    monkeypatch.setattr(batch, "execute", execute)
    jobs = jobs_named(job, "a", "b")
    for options, wanted in [
        ({}, "ab"),
        ({}, "b"),
        ({"force": True}, "ab"),
        ({"force": False}, "b"),
    ]:
        ran.clear()
        assert [told.name for told in batch.replicate(jobs, tmp_path / "out", **options)] == [
            *wanted
        ]
        assert ran == [*wanted]


@pytest.mark.parametrize("own", [True, False])
def test_a_working_folder_that_is_gone_is_an_error_unless_workers_elsewhere_may_write(
    tmp_path, job, monkeypatch, own
):
    def execute(*_):
        shutil.rmtree(tmp_path / "out" / WORKING)
        return Outcome("a", None, {}, "")

    class Remote:
        def submit(self, *_):
            future = Future()
            future.set_result(execute())
            return future

    monkeypatch.setattr(batch, "execute", execute)
    outcomes = batch.replicate([job], tmp_path / "out", executor=None if own else Remote())
    assert next(outcomes).status == "done"
    with pytest.raises(FileNotFoundError) if own else contextlib.nullcontext():
        assert list(outcomes) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"jobs": 3}, "jobs must be a sequence, got 3"),
        ({"jobs": [3]}, "jobs[0] must be of type Job, got 3"),
        ({"output": 3}, "output must be a valid path (str or os.PathLike), got 3"),
        ({"processes": 0}, "processes must be an integer of at least 1, got 0"),
        ({"processes": "1"}, "processes must be an integer of at least 1, got '1'"),
        ({"executor": 3},
         "executor must be an object with submit(), as in concurrent.futures, got 3"),
        ({"force": 1}, "force must be True or False, got 1"),
    ],
)  # fmt: skip
def test_arguments_of_a_batch_are_named_before_it_starts(tmp_path, arguments, message):
    with refused(message):
        batch.replicate(**{"jobs": [], "output": tmp_path / "out", **arguments})
    assert not (tmp_path / "out").exists()


def test_a_batch_needs_the_kernel_of_notebooks(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ipykernel", None)
    message = "deep_nb.replication.replicate needs ipykernel: pip install 'deep-nb[notebooks]'"
    with refused(message, ModuleNotFoundError):
        batch.replicate([], tmp_path / "out")


@pytest.mark.parametrize(
    ("failure", "expected", "message"),
    [
        (filelock.Timeout("x"), RuntimeError,
         "another batch is using {}: wait until it ends, or choose another folder with --output"),
        (OSError(errno.ENOLCK, "x"), RuntimeError,
         "the file system of {} has no locks: choose a folder elsewhere with --output"),
        (OSError(errno.ENOSYS, "x"), RuntimeError,
         "the file system of {} has no locks: choose a folder elsewhere with --output"),
        (OSError(errno.ENOTSUP, "x"), RuntimeError,
         "the file system of {} has no locks: choose a folder elsewhere with --output"),
        (NotImplementedError("x"), RuntimeError,
         "the file system of {} has no locks: choose a folder elsewhere with --output"),
        (OSError(errno.EACCES, "x"), PermissionError, f"[Errno {errno.EACCES}] x"),
    ],
)  # fmt: skip
def test_a_folder_that_cannot_be_locked_is_named(tmp_path, monkeypatch, failure, expected, message):
    def acquire(lock, timeout):
        assert timeout == 0
        raise failure

    monkeypatch.setattr(filelock.FileLock, "acquire", acquire)
    with refused(message.format(tmp_path / "out"), expected):
        list(batch.replicate([], tmp_path / "out"))


def test_a_place_for_results_with_an_input_is_named(tmp_path, job):
    place = tmp_path / "a"
    place.mkdir()
    notebook = place / "tiny.ipynb"
    shutil.copyfile(job.notebook, notebook)
    job = dataclasses.replace(job, notebook=notebook)
    message = (
        f"{place} is for results, but tiny.ipynb of an experiment is in it: choose another folder"
    )
    with refused(message, FileExistsError):
        check_places([job], tmp_path)
    with refused(f"no {RECORD} in {place}: it has not finished", FileNotFoundError):
        collect_figures(["a"], tmp_path, tmp_path / "figures")
    for arguments, message in [
        ((3, "a", "b"), "names must be a sequence, got 3"),
        ((["a/b"], "a", "b"), "names[0] must be the name of a file or folder, got 'a/b'"),
        (([], 3, "b"), "source must be a valid path (str or os.PathLike), got 3"),
        (([], "a", 3), "target must be a valid path (str or os.PathLike), got 3"),
    ]:
        with refused(message):
            collect_figures(*arguments)


@pytest.mark.parametrize("kind", ["a link", "not a folder"])
def test_a_taken_place_is_named(tmp_path, job, kind):
    place = tmp_path / "a"
    if kind == "a link":
        place.symlink_to(tmp_path)
    else:
        place.write_text("")
    message = f"{place} is {kind}: move it away, or choose another folder"
    with refused(message, FileExistsError):
        check_places([job], tmp_path)
    made = Prepared(Outcome("a", None, {}, ""))
    (told,) = batch.replicate([job], tmp_path, executor=made)
    assert (told.error, told.folder) == (f"FileExistsError: {message}", None)
    assert told.origin == {**deep_nb._provenance.provenance(), "error": told.error}


# What an execution records


@pytest.fixture
def clock(monkeypatch):
    """Time that passes only where a test says so: the list holds the seconds."""
    clock = [0]

    class Time:
        now = staticmethod(lambda zone: datetime(2020, 1, 1, 0, 0, clock[0], tzinfo=zone))
        monotonic = staticmethod(lambda: 100.0 + clock[0])
        sleep = staticmethod(lambda seconds: clock.__setitem__(0, clock[0] + 1))

    monkeypatch.setattr(execution, "datetime", Time)
    monkeypatch.setattr(execution, "time", Time)
    return clock


def test_the_origin_tells_parameters_start_and_duration_in_every_file(
    tmp_path, job, monkeypatch, clock
):
    """Of an experiment whose kernel did not start: its outputs are none, not those stored."""
    notebook = read_notebook(job.notebook)
    notebook.cells[1].outputs, notebook.cells[1].execution_count = [new_output("stream")], 8
    nbformat.write(notebook, job.notebook)
    (tmp_path / "out" / WORKING).mkdir(parents=True)
    job = dataclasses.replace(job, parameters={"n": 2}, timeout=33)
    seen = []

    def fails(scratch, timeout, stop):
        request = json.loads((scratch / REQUEST).read_text())
        seen.append((request["job"]["parameters"], timeout, stop))
        (Path(request["folder"]) / "x.svg").write_text("<svg></svg>")
        clock[0] = 9
        return "ValueError: <no> kernel"

    monkeypatch.setattr(execution, "_run_process", fails)
    stop = threading.Event()
    made = execute(job, job.fingerprint, tmp_path / "out", stop)
    assert seen == [({"n": 2}, 33, stop)]
    assert made.seconds == 9.0
    origin = made.origin
    told = {name: origin[name] for name in ("parameters", "started", "seconds", "error")}
    assert told == {
        "parameters": {"n": 2}, "started": "2020-01-01T00:00:00+00:00", "seconds": 9.0,
        "error": "ValueError: <no> kernel",
    }  # fmt: skip
    assert (made.error, made.status) == (origin["error"], "failed")
    assert origin["versions"] == deep_nb._provenance.provenance()["versions"]
    written = read_notebook(made.folder / "tiny.ipynb")
    assert (written.cells[1].outputs, written.cells[1].execution_count) == ([], None)
    assert written.metadata["deep_nb"] == origin
    page = (made.folder / "tiny.html").read_text()
    (source,) = re.findall('<meta name="source" content="([^"]*)">', page)
    assert json.loads(html.unescape(source)) == origin
    (source,) = re.findall("<dc:source>(.*)</dc:source>", (made.folder / "x.svg").read_text())
    assert json.loads(html.unescape(source)) == origin
    plain = dataclasses.replace(job, parameters={})
    assert execute(plain, plain.fingerprint, tmp_path / "out").origin["parameters"] == {"n": 1}


def test_what_no_file_can_hold_is_escaped_in_each_file(tmp_path, monkeypatch):
    """A lone surrogate in a default or an error; U+FFFF, which XML cannot hold."""
    write_notebook(tmp_path / "odd.ipynb", "1", 'n = "\\ud800é\\uffff"\noutput = ""')
    (tmp_path / "odd.yml").write_text("experiments: [{name: a, notebook: odd.ipynb}]")
    (job,) = read_jobs(tmp_path / "odd.yml")
    (tmp_path / "out" / WORKING).mkdir(parents=True)

    def leaves(scratch, *_):
        folder = Path(json.loads((scratch / REQUEST).read_text())["folder"])
        (folder / "x.svg").write_text("<svg/>")
        Image.new("RGB", (1, 1)).save(folder / "x.png")
        return "KeyError: '\udfff'"

    monkeypatch.setattr(execution, "_run_process", leaves)
    made = _store(
        execute(job, job.fingerprint, tmp_path / "out"), job.fingerprint, tmp_path / "out"
    )
    assert made.error == "KeyError: '\udfff'"
    assert state(job, made.folder) == ("a", "failed", [r"KeyError: '\udfff'"])
    origin = read_record(made.folder).origin
    assert origin["parameters"] == {"n": "\ud800é\uffff"}
    assert read_notebook(made.folder / "odd.ipynb").metadata["deep_nb"] == origin
    drawing = ElementTree.parse(made.folder / "x.svg")
    assert json.loads("".join(drawing.getroot().itertext())) == origin
    with Image.open(made.folder / "x.png") as image:
        assert json.loads(image.info["Source"]) == origin
    (source,) = re.findall(
        'name="source" content="([^"]*)">', (made.folder / "odd.html").read_text()
    )
    assert json.loads(html.unescape(source)) == origin


@pytest.mark.parametrize(
    ("status", "how"), [(3, "exit status 3"), (0, "exit status 0"), (-9, "SIGKILL")]
)
def test_the_error_of_a_dead_process_ends_with_its_last_lines(tmp_path, status, how):
    (tmp_path / LOG).write_text("")
    assert execution._answer(tmp_path, status) == f"RuntimeError: its process died ({how})"
    (tmp_path / LOG).write_text("first\n" + "x" * 3000 + "\nlast\n")
    error = execution._answer(tmp_path, status)
    assert error.startswith(f"RuntimeError: its process died ({how}); its last output:\nxxx")
    assert error.endswith("x\nlast")
    assert len(error.partition("\n")[2]) == 2000
    (tmp_path / ANSWER).write_text('{"error": "told"}')
    assert (execution._answer(tmp_path, status) == "told") == (status == 0)


@pytest.mark.parametrize(
    ("message", "told"),
    [("too small", "too small"), ("", "the notebook shows what the cell printed")],
)
def test_the_error_of_a_cell_says_what_and_where(message, told):
    failure = PapermillExecutionError(3, 7, "%nope", "UsageError", message, [])
    assert execution._of_cell(failure) == f"UsageError: {told} (in cell 7)"


@pytest.mark.parametrize(
    ("ends", "stops", "error", "at"),
    [
        (3, None, "", 3),
        (None, None, "TimeoutError: it exceeded its timeout of 5 s", 6),
        (None, 4, "InterruptedError: the batch was stopped", 4),
    ],
)
def test_a_process_is_watched_until_it_ends_or_must(clock, ends, stops, error, at):
    process = SimpleNamespace(poll=lambda: 0 if clock[0] == ends else None)
    stop = SimpleNamespace(is_set=lambda: clock[0] == stops)
    assert execution._watch(process, 5, stop) == error
    assert clock == [at]


@pytest.mark.parametrize("declared", ["output = ''", "output = checkpoint = ''"])
def test_the_notebook_receives_its_parameters_and_a_checkpoint_of_its_own(
    tmp_path, monkeypatch, declared
):
    class Stopped(Exception):
        pass

    given = []

    def execute_notebook(source, target, parameters, **options):
        given.append((source, target, parameters, options["cwd"]))
        copy = read_notebook(Path(source))
        assert [cell.source for cell in copy.cells] == [cell.source for cell in stored.cells]
        assert all(cell.outputs == [] for cell in copy.cells)
        assert "widgets" not in copy.metadata  # a state that nbconvert could refuse
        raise Stopped

    write_notebook(tmp_path / "tiny.ipynb", "1", "n = 1\n" + declared)
    stored = read_notebook(tmp_path / "tiny.ipynb")
    stored.metadata["widgets"] = {"application/vnd.jupyter.widget-state+json": {"a": {}}}
    stored.cells[-1].outputs = [new_output("stream", text="old")]
    nbformat.write(stored, tmp_path / "tiny.ipynb")
    job = Job("b", tmp_path / "tiny.ipynb", {"n": 7}, 9)
    folder = tmp_path / "out" / WORKING / "b-123"
    request = {
        "job": {**dataclasses.asdict(job), "notebook": str(job.notebook)},
        "folder": str(folder), "fingerprint": job.fingerprint,
    }  # fmt: skip
    monkeypatch.setattr(execution.papermill, "execute_notebook", execute_notebook)
    with pytest.raises(Stopped):
        execution._run(request, tmp_path)
    ((source, target, parameters, cwd),) = given
    assert source == target == str(tmp_path / "notebook.ipynb")
    assert cwd == folder
    own = parameters.pop("checkpoint", None)
    assert parameters == {"n": 7, "output": "."}
    assert (own is not None) == ("checkpoint" in declared)
    if own:
        assert Path(os.path.normpath(folder / own)) == tmp_path / "out" / CHECKPOINTS / "b"


def test_outputs_that_cannot_be_kept_fail_the_experiment(tmp_path, job, monkeypatch):
    """Such as of more bytes than are read."""

    def execute_notebook(source, target, *_, **__):
        Path(target).write_text("too large")
        return nbformat.v4.new_notebook()

    monkeypatch.setattr(execution.papermill, "execute_notebook", execute_notebook)
    named = {**dataclasses.asdict(job), "notebook": str(job.notebook)}
    request = {"job": named, "folder": str(tmp_path), "fingerprint": job.fingerprint}
    with pytest.raises(ValueError, match=r"what the cells printed cannot be kept: .*not JSON"):
        execution._run(request, tmp_path)


def test_hashes_text_and_figures_of_a_kernel_do_not_depend_on_the_environment(monkeypatch):
    gone = [
        "COLUMNS", "JPY_SESSION_NAME", "JUPYTER_PATH", "LANG", "LANGUAGE", "LC_NUMERIC", "LINES",
        "MPLBACKEND", "PANDAS_COPY_ON_WRITE", "PYTHONDEVMODE", "PYTHONINTMAXSTRDIGITS",
        "PYTHONOPTIMIZE", "PYTHONSTARTUP", "PYTHONWARNINGS", "PYTHON_GIL", "TZDIR",
    ]  # fmt: skip
    fixed = {
        "PYTHONHASHSEED": "0", "PYTHONUTF8": "1", "MATPLOTLIBRC": os.devnull,
        "IPYTHONDIR": os.path.join("scratch", "ipython"), "LC_ALL": "C", "TZ": "UTC",
    }  # fmt: skip
    kept = [
        "OMP_NUM_THREADS", "MY_DATA", "PYTHONHOME", "PYTHONUSERBASE", "PYTHONNOUSERSITE",
        "PYTHONPLATLIBDIR",
    ]  # fmt: skip
    for name in (*gone, *fixed, *kept):
        monkeypatch.setenv(name, "mine")
    found = execution._environment(Path("scratch"))
    assert (fixed | dict.fromkeys(kept, "mine")).items() <= found.items()
    assert not {*gone} & {*found}


@pytest.mark.parametrize("place", ["clone", "site-packages", "dist-packages"])
def test_a_kernel_finds_modules_where_the_batch_does(tmp_path, monkeypatch, place):
    """A package that is not installed comes before others of its name."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(["here", "", str(tmp_path / "there")]))
    monkeypatch.setattr(execution, "PACKAGE", tmp_path / place / "deep_nb")
    paths = execution._environment(Path("scratch"))["PYTHONPATH"].split(os.pathsep)
    own = [str(tmp_path / "clone")] if place == "clone" else []
    first = os.path.join("scratch", "site")
    assert paths == [first, *own, str(tmp_path / "here"), str(tmp_path / "there")]


@pytest.mark.skipif(os.name != "posix", reason="needs sockets with paths")
def test_temporary_files_have_short_paths(tmp_path, monkeypatch):
    folders = {"short": Path(tempfile.mkdtemp(dir="/tmp")), "long": tmp_path / ("x" * 50)}
    folders["long"].mkdir()
    for name, folder in folders.items():
        monkeypatch.setattr(tempfile, "tempdir", str(folder))
        with scratch_folder() as scratch:
            assert scratch.parent == (folder if name == "short" else Path("/tmp"))
            (scratch / "x").write_text("")
        assert not scratch.exists()
    folders["short"].rmdir()


# What stays and what goes


def test_checkpoints_stay_after_a_failure_and_go_after_success(tmp_path, job):
    output = tmp_path / "out"
    for name in ("a", "b"):
        (output / CHECKPOINTS / name).mkdir(parents=True)
    _store(outcome(output, NEW, "ValueError"), job.fingerprint, output)
    assert state(job, output / "a").status == "failed"
    assert sorted(path.name for path in (output / CHECKPOINTS).iterdir()) == ["a", "b"]
    assert {*read_checksums(output)} == {f"a/{name}" for name in (*NEW, RECORD)}
    _store(outcome(output, {"x.csv": ""}), job.fingerprint, output)
    assert [path.name for path in (output / CHECKPOINTS).iterdir()] == ["b"]
    assert {*read_checksums(output)} == {"a/x.csv", f"a/{RECORD}"}


def test_old_files_go_by_the_record_and_those_of_others_stay(tmp_path, job):
    output = tmp_path / "out"
    finish(job, output, {"listed.txt": "", "sub/listed.csv": "", "left/x.txt": ""})
    others = {"mine.txt": "", "sub/mine.csv": "", "left/deep/mine.svg": "", "dot.json": ""}
    suffixes = ("svg", "png", "csv", "csv.gz", "md", "ipynb", "nc", "html")
    others |= {f"old.{suffix}": "" for suffix in suffixes}
    for name in others:
        (output / "a" / name).parent.mkdir(parents=True, exist_ok=True)
        (output / "a" / name).write_text("")
    (output / "a" / "empty" / "deeper").mkdir(parents=True)
    finish(job, output, {"new.csv": ""})
    assert found(output / "a") == {"new.csv": "", **others}
    assert not (output / "a" / "empty").exists()
    assert verify(output)[1] == [f"a/{name}: not listed" for name in sorted(others)]


@pytest.mark.parametrize("suffix", ["svg", "png", "csv", "csv.gz", "md", "ipynb", "nc", "html"])
def test_figures_are_all_files_but_runs_and_pages(tmp_path, job, suffix):
    finish(job, tmp_path / "out", {f"x.{suffix}": ""})
    copies = collect_figures(["a"], tmp_path / "out", tmp_path / "figures")
    expected = [RECORD] if suffix in ("nc", "html") else [f"x.{suffix}", RECORD]
    assert copies == [tmp_path / "figures" / "a" / name for name in expected]
    assert sorted(read_checksums(tmp_path / "figures")) == sorted(f"a/{name}" for name in expected)
    assert verify(tmp_path / "figures") == (len(expected), [])


def test_a_batch_removes_what_interrupted_writing_has_left(tmp_path, job):
    """In its folder and in those of all experiments; other hidden files stay."""
    output = tmp_path / "out"
    finish(job, output, {"sub/x.csv": ""})
    left, others = f".SHA256SUMS.{'0f' * 16}.partial", (".mine.partial", f".{'0f' * 16}.csv")
    for folder in (output, output / "a", output / "a" / "sub", output / "gone"):
        folder.mkdir(exist_ok=True)
        for name in (left, *others):
            (folder / name).write_text("")
    (output / WORKING / "a-123").mkdir(exist_ok=True)
    assert list(batch.replicate([], output)) == []
    hidden = [path.relative_to(output) for path in output.rglob(".*") if path.name != ".lock"]
    folders = (".", "a", "a/sub", "gone")
    assert sorted(hidden) == sorted(Path(folder, name) for folder in folders for name in others)
