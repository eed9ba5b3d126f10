"""Lines that cannot be printed cost no result, whatever stdout and stderr are."""

import contextlib
import io
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

import deep_nb
from deep_nb import _printing, cli, replication
from deep_nb._printing import Lenient, notice
from deep_nb._start import skip_iri_grammar
from deep_nb.replication.execution import Outcome

from .conftest import SHORT, assert_same
from .test_replication import write_notebook

TINY = ["train", "DEEP", "xor", "--seeds=4", "--set=n_epochs=2", "--set=T1=9", "--set=T2=9"]


@contextlib.contextmanager
def nobody_reads():
    """A text stream into a pipe whose other end is closed."""
    reading, writing = os.pipe()
    os.close(reading)
    with contextlib.suppress(BrokenPipeError), os.fdopen(writing, "w") as stream:
        yield stream


@contextlib.contextmanager
def closed():
    with open(os.devnull, "w") as stream:
        pass
    yield stream


#: Streams to which nothing can be written.
DEAD = {"nobody reads": nobody_reads, "closed": closed, "none": contextlib.nullcontext}
dead = pytest.mark.parametrize("stream", DEAD.values(), ids=DEAD)


@dead
def test_a_lenient_stream_does_not_raise(stream):
    with stream() as broken:
        lenient = Lenient(broken)
        assert (lenient.write("one\n"), lenient.write("second\n")) == (4, 7)
        assert not lenient.isatty()
        with pytest.raises(TypeError, match="expected a string, got bytes"):
            lenient.write(b"")


@pytest.mark.parametrize(
    ("encoding", "printed"),
    [
        ("utf-8", "β − \\udcff\n"),
        ("cp1252", "\\u03b2 \\u2212 \\udcff\n"),
        ("ascii", "\\u03b2 \\u2212 \\udcff\n"),
    ],
)
def test_characters_that_an_encoding_lacks_are_escaped(encoding, printed):
    file = io.BytesIO()
    lenient = Lenient(io.TextIOWrapper(file, encoding=encoding))
    lenient.write("β − \udcff\n")
    assert file.getvalue().decode(encoding) == printed
    assert (lenient.encoding, lenient.lost) == (encoding, None)


@dead
@pytest.mark.parametrize("checkpoint", [False, True])
def test_training_survives_its_progress_bar(stream, checkpoint, tmp_path, monkeypatch):
    wanted = {"model": "DEEP", "task": "xor", "seeds": range(2), "hyper": SHORT}
    whole = deep_nb.train(**wanted)
    kept = {"checkpoint": tmp_path} if checkpoint else {}
    with stream() as broken:
        monkeypatch.setattr(sys, "stderr", broken)
        notice("compiling")
        run = deep_nb.train(**wanted, progress=True, **kept)
        monkeypatch.undo()
    assert_same(run, whole)


def command(*words, stdout, stderr):
    """Run a command in this process with these streams; return its exit status."""
    with (
        contextlib.redirect_stdout(stdout),
        contextlib.redirect_stderr(stderr),
        pytest.raises(SystemExit) as end,
    ):
        cli.main([*map(str, words)], prog_name="deep-nb")
    return end.value.code


@dead
def test_a_command_keeps_its_results(stream, tmp_path):
    expected = deep_nb.train("DEEP", "xor", seeds=4, hyper={"n_epochs": 2, "T1": 9, "T2": 9})
    for output in ("stdout", "stderr", "both"):
        path = tmp_path / f"{output}.nc"
        other = io.StringIO()
        with stream() as broken:
            out = other if output == "stderr" else broken
            err = other if output == "stdout" else broken
            status = command(*TINY, "-o", path, stdout=out, stderr=err)
        assert status == (1 if stream is closed and output != "stderr" else 0)
        assert_same(deep_nb.load(path), expected)
        if output == "stderr":
            assert other.getvalue().endswith(f"saved {path}\n")


def test_a_full_disk_under_stdout_is_reported_once_the_results_are_saved(tmp_path):
    errors = io.StringIO()
    with contextlib.suppress(OSError), open("/dev/full", "w") as full:
        status = command(*TINY, "-o", tmp_path / "run.nc", stdout=full, stderr=errors)
    assert status == 1
    assert errors.getvalue() == "Error: cannot print: [Errno 28] No space left on device\n"
    assert deep_nb.load(tmp_path / "run.nc")["seed"].values.tolist() == [4]


@dead
def test_a_batch_runs_to_its_end(stream, tmp_path, monkeypatch):
    """The first line about an experiment cannot be printed; the others run all the same."""
    write_notebook(tmp_path / "tiny.ipynb", "print(n)")
    text = "experiments: [{name: 'n{n}', notebook: tiny.ipynb, matrix: {n: [1, 2, 3]}}]"
    (tmp_path / "experiments.yml").write_text(text)
    ran = []

    def replicate(jobs, folder, *arguments, **named):
        for job in jobs:
            ran.append(job.name)
            yield Outcome(
                job.name, folder / job.name, {}, "ValueError: no" if job.name == "n2" else ""
            )

    monkeypatch.setattr(replication, "replicate", replicate)
    monkeypatch.chdir(tmp_path)
    with stream() as broken:
        assert command("replicate", stdout=broken, stderr=broken) == 1  # n2 failed
    assert ran == ["n1", "n2", "n3"]


def shell(code, redirection):
    """Run Python code in a shell; return its exit status, stdout and stderr."""
    words = f"{sys.executable} -c '{code}' {redirection}; echo ${{PIPESTATUS[0]}}"
    ended = subprocess.run(["bash", "-c", words], capture_output=True, text=True, check=True)
    *printed, status = ended.stdout.splitlines()
    return int(status), printed, ended.stderr


FULL = "Error: cannot print: [Errno 28] No space left on device\n"


@pytest.mark.system
@pytest.mark.parametrize("work", ["print(1)", "print(1); sys.exit(3)"])
@pytest.mark.parametrize(
    ("redirection", "status", "printed", "stderr"),
    [
        ("", 0, ["1"], ""),
        ("2>&-", 0, ["1"], ""),
        ("<&- >&- 2>&-", 0, [], ""),
        ("2>&1 | true", 0, [], ""),
        (">/dev/full", 1, [], FULL),
        (">/dev/full 2>&1", 1, [], ""),
    ],
)
def test_a_process_ends_without_complaints(work, redirection, status, printed, stderr):
    """Python flushes stdout and stderr when it exits; what they hold is lost before."""
    code = (
        "import sys; from deep_nb._printing import lenient_output\n"
        f"with lenient_output(): {work}; sys.exit(0)"
    )
    if "exit(3)" in work:
        status, stderr = 3, ""
    assert shell(code, redirection) == (status, printed, stderr)


@pytest.mark.system
def test_a_file_does_not_take_the_place_of_stderr():
    """What libraries print would go into it."""
    code = (
        "import os; from deep_nb._printing import lenient_output\n"
        "with lenient_output(): print([open(os.devnull).fileno() > 2, os.fstat(2).st_rdev > 0])"
    )
    assert shell(code, "2>&-") == (0, ["[True, True]"], "")


@pytest.mark.system
@pytest.mark.parametrize(
    ("words", "index", "completed"),
    [("deep-nb tr", "1", "plain,train\n"), ("deep-nb train --engine n", "3", "plain,numba\n")],
)
def test_shells_complete_commands_and_words(words, index, completed):
    """Click writes these as bytes."""
    asked = {"_DEEP_NB_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": index}
    result = CliRunner().invoke(cli.main, [], prog_name="deep-nb", env=asked)
    assert (result.stdout, result.exit_code) == (completed, 0)


@pytest.mark.slow
def test_a_command_into_a_pipe_that_nobody_reads():
    ended = subprocess.run(
        ["bash", "-o", "pipefail", "-c", f"{sys.executable} -m deep_nb list --only claims | true"],
        capture_output=True,
        text=True,
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


def test_closed_descriptors_are_opened_for_reading_and_writing(monkeypatch):
    """0 and 2 are closed; what is opened would take their numbers."""
    opened = []

    def fstat(descriptor):
        if descriptor != 1:
            raise OSError

    monkeypatch.setattr(_printing.os, "fstat", fstat)
    monkeypatch.setattr(_printing.os, "open", lambda *arguments: opened.append(arguments))
    _printing._open_closed_descriptors()
    monkeypatch.undo()
    assert opened == [(os.devnull, os.O_RDWR)] * 2


def test_what_a_stream_still_holds_is_discarded(tmp_path):
    with (tmp_path / "x").open("w") as stream:
        stream.write("still in the buffer")
        _printing._discard(stream)
    assert (tmp_path / "x").read_text() == ""


@pytest.mark.parametrize("failure", [OSError, ValueError])
def test_nothing_is_discarded_of_a_stream_that_is_not_a_file(failure):
    def fileno():
        raise failure

    _printing._discard(SimpleNamespace(fileno=fileno))
    with pytest.raises(TypeError):
        _printing._discard(SimpleNamespace(fileno=lambda: None))


def test_the_grammar_of_addresses_is_left_out_unless_it_is_loaded(monkeypatch):
    monkeypatch.delitem(sys.modules, "rfc3987_syntax", raising=False)
    skip_iri_grammar()
    assert sys.modules["rfc3987_syntax"] is None
    monkeypatch.setitem(sys.modules, "rfc3987_syntax", sys)
    skip_iri_grammar()
    assert sys.modules["rfc3987_syntax"] is sys
