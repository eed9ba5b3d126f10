"""Records and runs that were damaged or made by others, and files that would never end."""

import json
import os

import pytest
import xarray as xr
from click.testing import CliRunner

import deep_nb
from deep_nb import replication
from deep_nb._files import sha256
from deep_nb.claims import read_claims
from deep_nb.cli import main
from deep_nb.replication import read_jobs, records, replicate, state, verify
from deep_nb.replication.execution import Outcome
from deep_nb.replication.names import RECORD
from deep_nb.replication.notebooks import read_notebook
from deep_nb.replication.records import Record, read_record, write_record
from deep_nb.replication.verification import read_checksums, write_checksums

from .conftest import SHORT
from .test_replication import run, write_notebook

DIGEST = "0" * 64


@pytest.fixture
def job(tmp_path):
    """A job whose record in ``out`` says that it is done."""
    write_notebook(tmp_path / "tiny.ipynb", "1")
    (tmp_path / "experiments.yml").write_text("experiments: [{name: n, notebook: tiny.ipynb}]")
    (job,) = read_jobs(tmp_path / "experiments.yml")
    folder = tmp_path / "out" / "n"
    folder.mkdir(parents=True)
    write_record(Record(error="", origin={}, fingerprint=job.fingerprint, files={}), folder)
    assert state(job, folder).status == "done"
    return job


def change(folder, **entries):
    record = json.loads((folder / RECORD).read_text())
    (folder / RECORD).write_text(json.dumps(record | entries))


@pytest.mark.parametrize(
    "name",
    [
        "\ud800", "\udcff",  # noqa: PT014
        "x" * 5000, "x" * 256, "é" * 128, "a/" * 2500 + "a", "", ".", "..",
        "../tiny.ipynb", "a/../../tiny.ipynb", "/etc/passwd", "//etc/passwd", "./a", "a//b", "a/",
        "a\0b", "a\nb", "\x1b[31m", "a\u2028b",
    ],
    ids=range(20),
)  # fmt: skip
def test_a_hostile_name_makes_a_record_stale(job, tmp_path, name):
    change(tmp_path / "out" / "n", files={name: DIGEST})
    at = state(job, tmp_path / "out" / "n")
    assert at.status == "stale"
    assert at.why[0].startswith("its record cannot be used: ")
    assert all(line.isprintable() and len(line) < 600 for line in at.why)
    result = run("status", "--experiments", tmp_path / "experiments.yml", "--output",
                 tmp_path / "out", "--why")  # fmt: skip
    assert (result.exit_code, result.stdout.split()[:2]) == (0, ["n", "stale"])
    write_checksums(tmp_path / "out")
    assert read_checksums(tmp_path / "out") == {}
    assert verify(tmp_path / "out")[1] == ["n/record.json: not listed"]


@pytest.mark.parametrize(
    "digest", ["", "0" * 63, "0" * 65, "0" * 64 + "\n", "g" * 64, "x\n" + DIGEST, 3, None]
)
def test_a_checksum_of_another_form_makes_a_record_stale(job, tmp_path, digest):
    change(tmp_path / "out" / "n", files={"a": digest})
    at = state(job, tmp_path / "out" / "n")
    assert at.status == "stale"
    assert at.why[0].startswith("its record cannot be used: ")


@pytest.mark.parametrize(
    "entries",
    [
        {"error": 3}, {"files": ["a"]}, {"files": 3}, {"fingerprint": "x"}, {"origin": None},
        {"more": 1}, {"fingerprint": {"parameters": {"\ud800": "\ud800"}}},
        {"fingerprint": {"notebook": {"a": {"b": [[[[1]]]]}}}},
    ],
)  # fmt: skip
def test_an_entry_of_another_type_makes_a_record_stale(job, tmp_path, entries):
    change(tmp_path / "out" / "n", **entries)
    at = state(job, tmp_path / "out" / "n")
    assert at.status == "stale"
    assert all(line.isprintable() for line in at.why)


def test_a_file_in_a_sub_folder_is_part_of_a_record(job, tmp_path):
    folder = tmp_path / "out" / "n"
    (folder / "sub").mkdir()
    (folder / "sub" / "a b.csv").write_text("n\n")
    change(folder, files={"sub/a b.csv": sha256(folder / "sub" / "a b.csv")})
    assert state(job, folder) == ("n", "done", [])
    (folder / "sub" / "a b.csv").write_text("m\n")
    assert state(job, folder).why == ["sub/a b.csv: differs from its SHA-256"]
    (folder / "sub" / "a b.csv").rename(tmp_path / "elsewhere")
    assert state(job, folder).why == ["sub/a b.csv: missing"]
    (folder / "sub" / "a b.csv").symlink_to(tmp_path / "elsewhere")
    assert state(job, folder).why == ["sub/a b.csv: is a link"]


@pytest.mark.parametrize("name", ["n", f"n/{RECORD}"])
def test_a_link_to_a_record_is_stale(job, tmp_path, name):
    path = tmp_path / "out" / name
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    fault = "is a link" if name == "n" else "is not a regular file"
    assert state(job, tmp_path / "out" / "n").why == [f"its record cannot be used: {path} {fault}"]
    write_checksums(tmp_path / "out")
    assert read_checksums(tmp_path / "out") == {}


def test_a_huge_run_is_refused(tmp_path):
    (tmp_path / "run.nc").touch()
    os.truncate(tmp_path / "run.nc", 2**42)
    with pytest.raises(ValueError, match=r"run\.nc is too large: it needs 4398 GB of memory"):
        deep_nb.load(tmp_path / "run.nc")


@pytest.mark.slow
def test_a_huge_file_is_stale_without_being_read(job, tmp_path):
    folder = tmp_path / "out" / "n"
    change(folder, files={"a": DIGEST})
    (folder / "a").touch()
    os.truncate(folder / "a", 2**42)
    assert state(job, folder).why == ["a: is larger than 68719476736 bytes"]
    os.truncate(folder / RECORD, 2**42)
    assert "too large" in state(job, folder).why[0]


def test_an_unreadable_file_makes_a_record_stale(job, tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    change(tmp_path / "out" / "n", files={"a": DIGEST})
    (tmp_path / "out" / "n" / "a").touch()
    monkeypatch.setattr("deep_nb.replication.records.sha256", refuse)
    assert state(job, tmp_path / "out" / "n").why == ["a: cannot be read: Permission denied"]
    monkeypatch.setattr("deep_nb.replication.records.read_text", refuse)
    assert state(job, tmp_path / "out" / "n").status == "stale"


def test_files_of_up_to_the_limit_are_read(job, tmp_path, monkeypatch):
    folder = tmp_path / "out" / "n"
    monkeypatch.setattr(records, "LARGEST_RESULT", 5)
    for text, why in [("x" * 5, []), ("x" * 6, ["a: is larger than 5 bytes"])]:
        (folder / "a").write_text(text)
        change(folder, files={"a": sha256(folder / "a")})
        assert state(job, folder).why == why


def test_each_ingredient_that_changed_is_named_with_both_values(job, tmp_path):
    """Recorded first, present second; the files come before."""
    folder = tmp_path / "out" / "n"
    fingerprint = job.fingerprint
    python = fingerprint["versions"]["python"]
    for changed, line in [
        ({"notebook": "1"}, "notebook changed"),
        ({"parameters": {"n": 3}}, "parameters n: 3 → absent"),
        ({"files": {"x": "1"}}, 'files x: "1" → absent'),
        ({"versions": {**fingerprint["versions"], "python": "3"}},
         f'versions python: "3" → "{python}"'),
        ({"package": {**fingerprint["package"], "cli.py": "1"}}, "package cli.py changed"),
    ]:  # fmt: skip
        change(folder, fingerprint={**fingerprint, **changed}, files={})
        assert state(job, folder) == ("n", "stale", [line])
        change(folder, files={"gone": DIGEST})
        assert state(job, folder).why == ["gone: missing", line]
        change(folder, error="KeyError: 3\nat 5")
        assert state(job, folder) == ("n", "failed", ["KeyError: 3", "at 5"])
        change(folder, error="")
    change(folder, fingerprint=fingerprint, files={})
    assert state(job, folder) == ("n", "done", [])
    (folder / RECORD).unlink()
    assert state(job, folder) == ("n", "missing", ["it has not finished yet"])


def test_the_error_of_a_record_cannot_control_the_terminal(job, tmp_path):
    change(tmp_path / "out" / "n", error="\x1b]0;title\x07bad\r\n\tsecond\ud800\x9b31m")
    assert state(job, tmp_path / "out" / "n").why == [
        r"\x1b]0;title\x07bad\r", "\tsecond" + r"\ud800\x9b31m",
    ]  # fmt: skip


def test_what_commands_print_cannot_control_the_terminal(job, tmp_path, monkeypatch):
    def fail(*_, **__):
        raise ValueError("\x1b[2J\x1b[31mred\nsecond\ud800")

    def replicate(*_, **__):
        yield Outcome("n", None, {}, "ValueError: \x1b]0;title\x07")

    runner, words = CliRunner(), ["--experiments", str(tmp_path / "experiments.yml")]
    (tmp_path / "experiments.yml").write_text(
        'experiments: [{name: n, notebook: tiny.ipynb, quick: {n: "\\e[31m"}}]'
    )
    monkeypatch.setattr(replication, "verify", fail)
    monkeypatch.setattr(replication, "replicate", replicate)
    result = runner.invoke(main, ["verify", "x"], color=True)
    assert result.stderr == "Error: \\x1b[2J\\x1b[31mred\nsecond\\ud800\n"
    result = runner.invoke(main, ["list", *words], color=True)
    assert result.stdout.split() == ["n", "tiny.ipynb", r"n=\x1b[31m"]
    result = runner.invoke(main, ["replicate", *words, "--output", str(tmp_path)], color=True)
    assert result.stderr.splitlines()[-1] == r"n failed: ValueError: \x1b]0;title\x07"


@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_nothing_waits_for_a_pipe_or_a_device(job, tmp_path, kind):
    def replace(path):
        path.unlink(missing_ok=True)
        if kind == "pipe":
            os.mkfifo(path)
        else:
            path.symlink_to("/dev/zero")

    folder = tmp_path / "out" / "n"
    replace(folder / RECORD)
    with pytest.raises(ValueError, match=r"record\.json is not a regular file"):
        read_record(folder)
    assert state(job, folder).status == "stale"
    write_checksums(tmp_path / "out")
    replace(tmp_path / "out" / "SHA256SUMS")
    with pytest.raises(FileNotFoundError, match="no SHA256SUMS"):
        verify(tmp_path / "out")
    for name in ("tiny.ipynb", "experiments.yml", "run.nc"):
        replace(tmp_path / name)
    with pytest.raises(FileNotFoundError, match="no experiments file"):
        read_jobs(tmp_path / "experiments.yml")
    with pytest.raises(ValueError, match=r"run\.nc is not a regular file"):
        deep_nb.load(tmp_path / "run.nc")
    (tmp_path / "e.yml").write_text("experiments: [{name: n, notebook: tiny.ipynb}]")
    with pytest.raises(FileNotFoundError, match="no notebook at"):
        read_jobs(tmp_path / "e.yml")


@pytest.mark.system
def test_a_batch_runs_a_hostile_experiment_again(job, tmp_path):
    """The notebook is one of others: it has no kernelspec, no ids, and unpacks its parameters."""
    write_notebook(tmp_path / "tiny.ipynb", "print(a, n)", "a, n = 1, 2\noutput: str = ''")
    notebook = json.loads((tmp_path / "tiny.ipynb").read_text())
    notebook["metadata"] = {"language_info": {"name": "python"}}
    for cell in notebook["cells"]:
        del cell["id"]
    (tmp_path / "tiny.ipynb").write_text(json.dumps(notebook))
    (tmp_path / "experiments.yml").write_text(
        "experiments: [{name: n, notebook: tiny.ipynb, quick: {n: 9}}]"
    )
    (job,) = read_jobs(tmp_path / "experiments.yml")
    change(tmp_path / "out" / "n", files={"../../tiny.ipynb": DIGEST, "\ud800": DIGEST})
    (outcome,) = replicate([job], tmp_path / "out")
    assert outcome.error == ""
    assert outcome.origin["parameters"] == {"a": 1, "n": 9}
    assert read_notebook(tmp_path / "out" / "n" / "tiny.ipynb").cells[-1].outputs[0].text == "1 9\n"
    assert state(job, tmp_path / "out" / "n").status == "done"
    assert json.loads((tmp_path / "tiny.ipynb").read_text()) == notebook


ALIASES = "z0: &a0 [ha]\n" + "".join(
    f"z{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 12)
)
MERGES = "z0: &a0 {k: ha}\n" + "".join(
    f"z{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 10)}]}}\n" for i in range(1, 12)
)


def entry(parameters):
    lines = "".join(f"      {line}\n" for line in parameters.splitlines())
    return "experiments:\n  - name: n\n    notebook: tiny.ipynb\n    parameters:\n" + lines


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "message"),
    [
        (entry(ALIASES), "line 11 expands to more than 1000000 characters"),
        (entry(MERGES), r"line \d+ expands to more than 1000000 characters"),
        (entry(f"a: &a {'x' * 9999}\nb: [{', '.join(['*a'] * 999)}]"), "line 6 expands to more"),
        (entry("a: &a [1, *a]"), "line 5 contains itself"),
        (entry("a: &a {b: *a}"), "line 5 contains itself"),
        (entry("n: 1\nm: 2\nn: 3"), "line 7 gives 'n' again, after line 5"),
        (entry("n: {a: 1, 'a': 2}"), "line 5 gives 'a' again, after line 5"),
        (entry("n:\n  - a: 1\n    a: 1"), "line 7 gives 'a' again, after line 6"),
        ("experiments: []\nexperiments: []", "line 2 gives 'experiments' again, after line 1"),
        ("experiments:\n  - name: n\n    notebook: a\n    name: n", "line 4 gives 'name' again"),
        ("experiments: [{name: n, notebook: tiny.ipynb, matrix: {"
         + ", ".join(f"p{i}: [{', '.join('0123456789')}]" for i in range(8)) + "}}]",
         "has 100000000 experiments, more than 10000"),
        ("experiments:\n  - {name: n, notebook: t, matrix: {n: &n [" + "1, " * 99 + "1], m: *n}}\n"
         "  - {name: n, notebook: t}\n", "has 10001 experiments, more than 10000"),
        ("[" * 100_000, "is not an experiments file: "),
        (entry('n: "\\ud800"'), "n must be a finite number"),
        (entry('n: {"\\ud800": 1}'), "n must be a finite number"),
        ('experiments: [{name: n, notebook: "\\ud800.ipynb"}]', "notebook must be a valid path"),
        ('experiments: [{name: n, notebook: "a\\0b.ipynb"}]', "notebook must be a valid path"),
        (f"experiments: [{{name: n, notebook: {'x' * 5000}}}]", "notebook must be a valid path"),
    ],
    ids=range(18),
)  # fmt: skip
def test_experiments_that_expand_or_contradict_are_refused_at_once(job, tmp_path, text, message):
    path = tmp_path / "experiments.yml"
    path.write_text(text)
    with pytest.raises(ValueError, match=message) as caught:
        read_jobs(path)
    assert "\n" not in str(caught.value)


def test_a_huge_experiments_file_is_refused(job, tmp_path):
    os.truncate(tmp_path / "experiments.yml", 2**42)
    with pytest.raises(ValueError, match=r"experiments\.yml is too large"):
        read_jobs(tmp_path / "experiments.yml")


def test_aliases_and_merges_within_the_limit_are_read(job, tmp_path):
    (tmp_path / "experiments.yml").write_text(
        "experiments:\n"
        "  - &first {name: n, notebook: tiny.ipynb, quick: &q {n: 2}, full: *q}\n"
        "  - {<<: *first, name: m}\n"
    )
    assert [(j.name, j.parameters) for j in read_jobs(tmp_path / "experiments.yml", "full")] == [
        ("n", {"n": 2}), ("m", {"n": 2}),
    ]  # fmt: skip


def test_claims_are_read_with_the_same_care():
    with pytest.raises(
        ValueError, match="the claims are not YAML: line 2 gives 'claims' again, after"
    ):
        read_claims("claims: []\nclaims: []")
    with pytest.raises(ValueError, match="expands to more than 1000000 characters"):
        read_claims(ALIASES)
    with pytest.raises(ValueError, match=r"^the claims must be a mapping"):
        read_claims("[]")


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    run = deep_nb.train("DEEP", "xor", seeds=[0], hyper=SHORT, record=("weights", "trajectories"))
    return run, tmp_path_factory.mktemp("runs") / "run.nc"


def with_hyper(run, **changes):
    return run.assign_attrs(hyper=json.dumps({**json.loads(run.attrs["hyper"]), **changes}))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda run: with_hyper(run, n_epochs=5), "4 of the dimension 'epoch'.* give 5"),
        (lambda run: with_hyper(run, n_epochs=1_000_000), "4 of the dimension 'epoch'"),
        (lambda run: with_hyper(run, T1=41), "71 of the dimension 'step'.* give 72"),
        (lambda run: with_hyper(run, T1=39, T2=31), "took 40 steps in a free phase.* give 39"),
        (lambda run: with_hyper(run, T1=41, T2=29), "took 30 steps in a nudged phase.* give 29"),
        (lambda run: with_hyper(run, N_H=[4]), "9 of the dimension 'pre'.* give 8"),
        (lambda run: with_hyper(run, N_H=[10_000] * 200), "9 of the dimension 'pre'"),
        (lambda run: run.isel(step=slice(5)), "5 of the dimension 'step'"),
        (lambda run: run.drop_vars("epoch").isel(epoch=[0]), "1 of the dimension 'epoch'"),
        (lambda run: run.drop_vars("snapshot").isel(snapshot=[0]), "1 of the dimension 'snapshot'"),
    ],
)
def test_a_run_whose_sizes_and_settings_disagree_is_refused(saved, change, message):
    run, path = saved
    change(run).to_netcdf(path, engine="netcdf4")
    with pytest.raises(ValueError, match=message):
        deep_nb.load(path)
    run.to_netcdf(path, engine="netcdf4")
    xr.testing.assert_identical(deep_nb.load(path), run)
