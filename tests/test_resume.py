"""Batches resume where they stopped, and report the state of each experiment."""

import json
import shutil

import nbformat
import pytest

from deep_nb._provenance import differences
from deep_nb.replication import read_jobs, replicate, state, verify
from deep_nb.replication.records import read_record

from .test_replication import run, write_notebook

pytestmark = pytest.mark.system

SOURCE = """
import numpy as np
np.savetxt(output + "/n.csv", [n], header="n", comments="")
open(output + "/n.svg", "w").write("<svg></svg>")
print(100 // n)
"""


def write_batch(folder, second=7):
    write_notebook(folder / "tiny.ipynb", SOURCE)
    text = f"experiments: [{{name: 'n{{n}}', notebook: tiny.ipynb, matrix: {{n: [5, {second}]}}}}]"
    (folder / "experiments.yml").write_text(text)
    return folder / "experiments.yml"


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    root = tmp_path_factory.mktemp("finished")
    experiments = write_batch(root)
    assert [o.status for o in replicate(read_jobs(experiments), root / "out", 2)] == ["done"] * 2
    return root


@pytest.fixture
def batch(finished, tmp_path):
    """A copy of a finished batch: experiments file and output folder."""
    shutil.copytree(finished, tmp_path / "batch")
    return tmp_path / "batch" / "experiments.yml", tmp_path / "batch" / "out"


def states(batch):
    return {job.name: state(job, batch[1] / job.name) for job in read_jobs(batch[0])}


def test_done_experiments_do_not_run_again(batch):
    assert list(replicate(read_jobs(batch[0]), batch[1])) == []
    result = run("replicate", "--experiments", batch[0], "--output", batch[1])
    assert result.exit_code == 0, result.output
    assert [line.split()[:3] for line in result.stdout.splitlines()[1:]] == [
        ["n5", "done", "before"], ["n7", "done", "before"],
    ]  # fmt: skip
    forced = list(replicate(read_jobs(batch[0], only="n5"), batch[1], force=True))
    assert [outcome.name for outcome in forced] == ["n5"]


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (lambda data: data[: len(data) // 2], "n.csv: differs from its SHA-256"),
        (lambda data: bytes([data[0] ^ 1]) + data[1:], "n.csv: differs from its SHA-256"),
        (None, "n.csv: missing"),
    ],
    ids=["truncated", "flipped", "deleted"],
)
def test_a_damaged_file_is_reported(batch, damage, why):
    path = batch[1] / "n5" / "n.csv"
    path.write_bytes(damage(path.read_bytes())) if damage else path.unlink()
    assert states(batch)["n5"].status == "stale"
    assert states(batch)["n7"].status == "done"
    assert why in states(batch)["n5"].why[0]
    assert any(line.startswith("n5/n.csv: ") for line in verify(batch[1])[1])


def test_a_stale_experiment_runs_again(batch):
    path = batch[1] / "n5" / "n.csv"
    good = path.read_bytes()
    path.write_bytes(good[:2])
    assert [o.name for o in replicate(read_jobs(batch[0]), batch[1])] == ["n5"]
    assert path.read_bytes() == good
    assert verify(batch[1])[1] == []


def test_status_shows_what_changed(batch):
    experiments, output = batch
    shutil.rmtree(output / "n7")
    record = json.loads((output / "n5" / "record.json").read_text())
    record["fingerprint"]["versions"]["numpy"] = "1.26"
    record["fingerprint"]["package"]["pruning.py"] = "0" * 64
    record["fingerprint"]["parameters"] = {"n": 4}
    (output / "n5" / "record.json").write_text(json.dumps(record))
    result = run("status", "--experiments", experiments, "--output", output, "--why")
    lines = [line.strip() for line in result.stdout.splitlines()]
    assert lines[0].split() == ["n5", "stale"]
    assert "parameters n: 4 → 5" in lines
    assert "package pruning.py changed" in lines
    assert any(line.startswith('versions numpy: "1.26" →') for line in lines)
    assert lines[-2].split() == ["n7", "missing"]
    short = run("status", "--experiments", experiments, "--output", output)
    assert short.stdout.split() == ["n5", "stale", "n7", "missing"]


def test_the_fingerprint_covers_the_sources_of_the_notebook(batch):
    path = batch[0].parent / "tiny.ipynb"
    write_notebook(path, SOURCE + "\n# another comment")
    assert {s.status for s in states(batch).values()} == {"stale"}
    assert states(batch)["n5"].why == ["notebook changed"]
    write_notebook(path, SOURCE)
    assert {s.status for s in states(batch).values()} == {"done"}


def test_a_failed_experiment_is_recorded_and_runs_again(batch):
    experiments, output = batch
    write_batch(experiments.parent, second=0)
    (outcome,) = replicate(read_jobs(experiments), output)
    assert outcome.error == "ZeroDivisionError: integer division or modulo by zero (in cell 3)"
    at = states(batch)["n0"]
    assert (at.status, at.why) == ("failed", [outcome.error])
    assert read_record(output / "n0").files.keys() >= {"tiny.ipynb", "tiny.html", "n.csv"}
    assert [o.name for o in replicate(read_jobs(experiments), output)] == ["n0"]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"error": 3}', "[" * 100_000])
def test_a_damaged_record_is_stale(batch, text):
    (batch[1] / "n5" / "record.json").write_text(text)
    at = states(batch)["n5"]
    assert at.status == "stale"
    assert "record.json is damaged" in at.why[0]


def test_a_notebook_changed_before_its_turn_is_refused(batch):
    """The notebook changes between the start of the batch and its execution."""
    experiments, output = batch
    changed = experiments.parent / "tiny.ipynb"
    outcomes = replicate(read_jobs(experiments), output, force=True)
    next(outcomes)
    assert states(batch)  # the second may have started and read the notebook
    write_notebook(changed, SOURCE + "\n'changed'")
    for outcome in outcomes:
        assert outcome.status == "done" or "notebook changed" in outcome.error
    statuses = {at.status for at in states(batch).values()}
    assert "done" not in statuses


@pytest.mark.parametrize(("before", "after"), [(1, True), (1, 1.0), (0, False)])
def test_equal_values_of_different_types_differ(before, after):
    assert len(differences({"n": before}, {"n": after})) == 1


def test_an_absent_value_differs_from_null():
    assert differences({}, {"n": None}) == ["n: absent → null"]
    assert differences({"a": {"n": 1}}, {"a": {"n": 1}}) == []


@pytest.mark.parametrize("damage", ["", "not a list\n", None])
def test_outdated_checksums_of_a_killed_batch_are_updated(batch, damage):
    experiments, output = batch
    whole = (output / "SHA256SUMS").read_text()
    if damage is None:
        (output / "SHA256SUMS").unlink()
    else:
        (output / "SHA256SUMS").write_text(damage)
    if damage == "":
        assert len(verify(output)[1]) == len(whole.splitlines())
    assert list(replicate(read_jobs(experiments), output)) == []
    assert (output / "SHA256SUMS").read_text() == whole
    assert verify(output)[1] == []


def test_checksums_keep_the_recorded_value_of_a_damaged_file(batch):
    experiments, output = batch
    (output / "n5" / "n.csv").write_text("n\n6\n")
    assert [o.name for o in replicate(read_jobs(experiments, only="n7"), output, force=True)]
    assert verify(output)[1] == ["n5/n.csv: differs from its SHA-256"]


def test_a_forbidden_file_fails_only_its_experiment(tmp_path):
    forbidden = [
        "open(f'{output}/a\\nb.csv', 'w')", "open(f'{output}/record.json', 'w')",
        "open(os.fsencode(output) + b'/\\xff.csv', 'w')",
    ]  # fmt: skip
    entries = []
    for name, leave in zip("abcz", [*forbidden, "print(n)"], strict=True):
        write_notebook(tmp_path / f"{name}.ipynb", f"import os\n{leave}")
        entries.append(f"{{name: {name}, notebook: {name}.ipynb}}")
    (tmp_path / "experiments.yml").write_text(f"experiments: [{', '.join(entries)}]")
    jobs = read_jobs(tmp_path / "experiments.yml")
    errors = {o.name: o.error for o in replicate(jobs, tmp_path, 2)}
    assert errors.pop("z") == ""
    assert len(errors) == 3
    for name, error in errors.items():
        assert error.startswith("ValueError: it left ")
        notebook = nbformat.read(tmp_path / name / f"{name}.ipynb", as_version=4)
        assert notebook.metadata["deep_nb"]["error"] == error
    assert verify(tmp_path)[1] == []
    found = {
        name: at.status for name, at in states((tmp_path / "experiments.yml", tmp_path)).items()
    }
    assert found == {**dict.fromkeys("abc", "failed"), "z": "done"}


def test_a_notebook_that_changes_during_its_run_fails(batch):
    experiments, output = batch
    path = experiments.parent / "tiny.ipynb"
    change = f"p = pathlib.Path({str(path)!r})\np.write_text(p.read_text().replace('(n)', '(9)'))"
    write_notebook(path, f"import pathlib\n{change}\nprint(n)")
    (outcome,) = replicate(read_jobs(experiments, only="n5"), output)
    assert outcome.error == "RuntimeError: changed while the notebook ran: notebook changed"
