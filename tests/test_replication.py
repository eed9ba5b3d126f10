"""Batches of tiny notebooks, executed for real, and the commands around them."""

import dataclasses
import json
import time
from pathlib import Path

import nbformat
import pytest
from click.testing import CliRunner
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

import deep_nb
from deep_nb._files import sha256
from deep_nb.cli import main
from deep_nb.replication import batch as batch_module
from deep_nb.replication import jobs, read_jobs, replicate
from deep_nb.replication.execution import Outcome
from deep_nb.replication.names import RECORD
from deep_nb.replication.records import Record, write_record
from deep_nb.replication.verification import write_checksums

from .conftest import assert_same, refused


def run(*arguments):
    """Run a command of ``deep-nb``."""
    return CliRunner().invoke(main, list(map(str, arguments)))


def write_notebook(path, source, parameters="n = 1\noutput = ''"):
    cells = [new_code_cell(source)]
    if parameters is not None:
        cells.insert(0, new_code_cell(parameters, metadata={"tags": ["parameters"]}))
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(new_notebook(cells=cells, metadata={"kernelspec": kernel}), path)


def sign(root):
    """Record the files of each experiment as they are, like a batch does."""
    for folder in (path for path in root.iterdir() if path.is_dir()):
        paths = [p for p in folder.rglob("*") if p.is_file() and p.name != RECORD]
        files = {path.relative_to(folder).as_posix(): sha256(path) for path in paths}
        write_record(Record(error="", origin={}, fingerprint={}, files=files), folder)
    write_checksums(root)


@pytest.fixture
def batch(tmp_path):
    """An experiments file with three experiments from one notebook; n0 fails."""
    write_notebook(
        tmp_path / "tiny.ipynb",
        "open(output + '/n.svg', 'w').write(str(n))\nprint(100 // n)",
    )
    experiments = tmp_path / "experiments.yml"
    experiments.write_text(
        "experiments:\n"
        "  - {name: 'n{n}', notebook: tiny.ipynb, matrix: {n: [0, 7]}}\n"
        "  - {name: last, notebook: tiny.ipynb, quick: {n: 3}, full: {n: 4}}\n"
    )
    return experiments


def test_jobs_combine_matrix_and_profile(batch):
    jobs = read_jobs(batch, "full")
    assert [(job.name, job.parameters) for job in jobs] == [
        ("n0", {"n": 0}), ("n7", {"n": 7}), ("last", {"n": 4}),
    ]  # fmt: skip
    assert [job.name for job in read_jobs(batch, only="n*")] == ["n0", "n7"]
    assert [job.name for job in read_jobs(batch, only=["last", "n7"])] == ["n7", "last"]
    assert len(read_jobs(batch, only=["*", "n7"])) == 3
    with pytest.raises(ValueError, match=r"no experiment matches 'lost' \(did you mean 'last'\?\)"):
        read_jobs(batch, only=["n*", "lost"])
    for bad in ([], 3, [3]):
        with pytest.raises(ValueError, match="only must be"):
            read_jobs(batch, only=bad)


def test_a_default_value_that_json_cannot_hold_is_kept_as_text(batch, tmp_path):
    write_notebook(tmp_path / "tiny.ipynb", "print(n)", "n = (1, 2)\ns = {1, 2}\noutput = ''")
    defaults = read_jobs(batch, only="last")[0].defaults
    assert (defaults["n"], defaults["s"]) == ((1, 2), "{1, 2}")


def test_numbers_of_a_matrix_can_be_in_a_name(batch):
    batch.write_text(
        "experiments:\n"
        "  - {name: 'lr={n}', notebook: tiny.ipynb, matrix: {n: [0.5, 1.0e-05, 2.0e+20, -3]}}\n"
        "  - {name: v1.5, notebook: tiny.ipynb}\n"
    )
    assert [(job.name, job.parameters) for job in read_jobs(batch)] == [
        ("lr=0.5", {"n": 0.5}), ("lr=1e-05", {"n": 1e-05}), ("lr=2e+20", {"n": 2e20}),
        ("lr=-3", {"n": -3}), ("v1.5", {}),
    ]  # fmt: skip
    assert [job.name for job in read_jobs(batch, only="lr=0.5")] == ["lr=0.5"]


@pytest.mark.system
def test_a_failed_experiment_keeps_its_notebook_and_the_others_run(batch, tmp_path):
    output = tmp_path / "out"
    figures = tmp_path / "figures"
    result = run(
        "replicate", "--experiments", batch, "--output", output, "--jobs", 2, "--figures", figures
    )
    assert result.exit_code == 1
    assert "ZeroDivisionError" in result.output
    status = dict(line.split()[:2] for line in result.stdout.splitlines() if line)
    assert (status["n0"], status["n7"], status["last"]) == ("failed", "done", "done")
    assert "(3 of 3)" in result.stderr
    for name, printed in (("n7", "14\n"), ("last", "33\n")):
        notebook = nbformat.read(output / name / "tiny.ipynb", as_version=4)
        assert notebook.cells[-1].outputs[0].text == printed
        assert (output / name / "tiny.html").stat().st_size > 1000
        assert (figures / name / "n.svg").exists()
    failed = nbformat.read(output / "n0" / "tiny.ipynb", as_version=4)
    assert any(o.output_type == "error" for cell in failed.cells for o in cell.get("outputs", []))
    assert (output / "n0" / "tiny.html").exists()
    assert not (figures / "n0").exists()


@pytest.mark.system
def test_only_outputs_of_an_earlier_run_are_removed(batch, tmp_path):
    folder = tmp_path / "out" / "n7"
    folder.mkdir(parents=True)
    (folder / "stale.png").write_text("")
    sign(tmp_path / "out")
    for name in ("mine.txt", "mine.png"):
        (folder / name).write_text("")
    (outcome,) = replicate(read_jobs(batch, only="n7"), tmp_path / "out")
    assert outcome.status == "done"
    names = sorted(path.name for path in folder.iterdir())
    assert names == ["mine.png", "mine.txt", "n.svg", "record.json", "tiny.html", "tiny.ipynb"]


@pytest.mark.system
def test_a_file_in_place_of_a_folder_fails_only_its_experiment(batch, tmp_path):
    output = tmp_path / "out"
    output.mkdir()
    (output / "n7").write_text("in the way")
    outcomes = {o.name: o for o in replicate(read_jobs(batch), output, processes=2)}
    assert "FileExistsError" in outcomes["n7"].error
    assert outcomes["last"].status == "done"


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("name: a, notebook: tiny.ipynb, parameters: {m: 1}",
         "experiment 'a': tiny.ipynb has no parameter 'm'; allowed: n, output"),
        ("name: a, notebook: tiny.ipynb, parameters: {outputs: 1}",
         "experiment 'a': tiny.ipynb has no parameter 'outputs' (did you mean 'output'?); "
         "allowed: n, output"),
        ("name: a, notebook: none.ipynb, parameters: {n: 1}",
         "experiment 'a': none.ipynb has no parameter 'n'; allowed: none"),
        ("name: a, notebook: bare.ipynb",
         "{root}/bare.ipynb must have one code cell tagged 'parameters', which assigns a default "
         "to each parameter; it has none"),
        ("name: a, notebook: uses.ipynb, parameters: {n: 2}",
         "experiment 'a': the parameters cell of uses.ipynb may use 'n' only as in 'n = value', "
         "because the batch sets it after this cell; line 2, 'm = n + 1', does more"),
        ("name: a, notebook: tiny.ipynb, profiles: {}",
         "unknown name 'profiles' in Entry (did you mean 'files'?); allowed: name, notebook, "
         "parameters, matrix, quick, full, files, timeout"),
        ("name: ../a, notebook: tiny.ipynb",
         r"Entry.name = '../a': String should match pattern '^[\w{}.=+-]+$'"),
        ("name: a", "Entry needs a value for 'notebook'"),
        ("notebook: tiny.ipynb, timeout: 0, quick: 3",
         "Entry needs a value for 'name'\n"
         "Entry.quick = 3: it should be a valid dictionary\n"
         "Entry.timeout = 0: it should be greater than 0"),
        ("name: a, notebook: ''",
         "experiment 'a': its notebook must be a valid path (str or os.PathLike), got ''"),
        ("name: '{m}', notebook: tiny.ipynb, matrix: {n: [1], k: [2]}",
         "experiment '{m}': a name in braces must be one of its matrix: n, k"),
        ("name: '{}', notebook: tiny.ipynb",
         "experiment '{}': a name in braces must be one of its matrix: none"),
        *((f"name: '{{n}}', notebook: tiny.ipynb, matrix: {{n: ['{name}']}}",
           f"experiment '{{n}}': {shown} names a folder and may hold only letters, digits, '_', "
           "'-', '=', '+', and a point between digits, at most 200 bytes")
          for name, shown in [
              *((name, repr(name)) for name in ("..", ".5", "1.", "report.html", "1..5", "a b")),
              ("../../x", "'../../x'"), ("x" * 201, f"'{'x' * 37}...{'x' * 38}'"),
              ("é" * 101, f"'{'é' * 37}...{'é' * 38}'"),
          ]),
        ("name: '{n.real}', notebook: tiny.ipynb, matrix: {n: [1]}",
         "experiment '{n.real}': '{n.real}' names a folder and may hold only letters, digits, '_', "
         "'-', '=', '+', and a point between digits, at most 200 bytes"),
        ("name: a, notebook: tiny.ipynb, parameters: {output: x}",
         "experiment 'a': the batch sets 'output'; remove it from the file"),
        ("name: a, notebook: tiny.ipynb, quick: {checkpoint: x}",
         "experiment 'a': the batch sets 'checkpoint'; remove it from the file"),
        ("name: a, notebook: tiny.ipynb, parameters: {n: .inf}",
         "experiment 'a': n must be a finite number, a string, true, false, null, or a list or "
         "mapping of these, got inf"),
        ("name: a, notebook: experiments.yml",
         "{root}/experiments.yml is not a notebook: its name does not end in .ipynb"),
    ],
)  # fmt: skip
def test_an_invalid_experiment_is_refused(batch, tmp_path, entry, message):
    write_notebook(tmp_path / "bare.ipynb", "1", parameters=None)
    write_notebook(tmp_path / "none.ipynb", "1", parameters="pass")
    write_notebook(tmp_path / "uses.ipynb", "1", parameters="n = 1\nm = n + 1\noutput = ''")
    batch.write_text(f"experiments: [{{{entry}}}]")
    with refused(message.replace("{root}", str(tmp_path))):
        read_jobs(batch)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("experiments: [3]", "an experiment must be a mapping from names to values, got 3"),
        ("experiments: [{name: a, notebook: tiny.ipynb}, {name: a, notebook: tiny.ipynb}]",
         "{path} has two experiments named 'a'"),
        ("experiments: 3", "{path} must hold one list named 'experiments'"),
        ("{experiments: [], more: []}", "{path} must hold one list named 'experiments'"),
        ("experiments: []", "{path} does not describe any experiment"),
        ("a", "{path} is not an experiments file: the file must be a mapping from names to values, "
         "got 'a'"),
        (f"experiments: [{{name: '{{n}}', notebook: tiny.ipynb, matrix: {{n: {[0] * 20_000}}}}}]",
         "{path} has 20000 experiments, more than 10000"),
    ],
    ids=["number", "twice", "no list", "more", "empty", "text", "many"],
)  # fmt: skip
def test_an_invalid_experiments_file_is_refused(batch, text, message):
    batch.write_text(text)
    with refused(message.replace("{path}", str(batch))):
        read_jobs(batch)


@pytest.mark.slow
def test_ten_thousand_experiments_are_allowed(batch):
    numbers = ", ".join(map(str, range(10_000)))
    batch.write_text(
        f"experiments: [{{name: 'n{{n}}', notebook: tiny.ipynb, matrix: {{n: [{numbers}]}}}}]"
    )
    assert [job.name for job in read_jobs(batch, only=["n0", "n9999"])] == ["n0", "n9999"]


def test_arguments_of_read_jobs_are_named(batch):
    with refused("experiments must be a valid path (str or os.PathLike), got 3"):
        read_jobs(3)
    with refused("unknown profile 'fuller' (did you mean 'full'?); allowed: quick, full"):
        read_jobs(batch, "fuller")
    with refused("no experiment matches 'x'; there are: n0, n7, last"):
        read_jobs(batch, only="x")
    batch.write_text("[")
    with pytest.raises(ValueError, match="is not an experiments file: while parsing a flow node"):
        read_jobs(batch)


def test_braces_in_paths_are_not_parameters():
    assert jobs.literal(Path("/{n}/a}b{")) == "/{{n}}/a}}b{{"


@pytest.mark.parametrize(
    "name", ["../x.csv", "/x.csv", ".", "", "./x.csv", "a//b", "~/x.csv", "a\nb", "tiny.ipynb"]
)
def test_files_outside_the_folder_of_the_notebook_are_refused(batch, name):
    entry = {"name": "a", "notebook": "tiny.ipynb", "files": [name]}
    batch.write_text(json.dumps({"experiments": [entry]}))
    message = (
        "experiment 'a': files must be paths inside the folder of tiny.ipynb, such as data.csv or "
        f"data/x.csv, got {name!r}"
    )
    with refused(message):
        read_jobs(batch)


def test_errors_name_missing_files(batch, tmp_path):
    message = (
        f"no experiments file at {tmp_path / 'none.yml'}: lay one out with deep-nb init FOLDER, "
        "or name one with --experiments"
    )
    with refused(message, FileNotFoundError):
        read_jobs(tmp_path / "none.yml")
    for entry, missing in [
        ("notebook: gone.ipynb", "no notebook at {root}/gone.ipynb"),
        ("notebook: tiny.ipynb, files: [data/x.csv]", "no file at {root}/data/x.csv"),
    ]:
        batch.write_text(f"experiments: [{{name: a, {entry}}}]")
        message = f"experiment 'a': {missing}".replace("{root}", str(tmp_path))
        with refused(message, FileNotFoundError):
            read_jobs(batch)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "x.csv").write_text("1")
    (job,) = read_jobs(batch)
    assert job.inputs == [tmp_path / "tiny.ipynb", tmp_path / "data" / "x.csv"]


def test_each_command_line_error_is_one_message(batch):
    for arguments, message in [
        (["replicate", "--experiments", batch, "--only", "x*"], "no experiment matches 'x*'"),
        (["train", "DEP", "xor"], "unknown model 'DEP' (did you mean 'DEEP'?)"),
        (["train", "DEEP", "xor", "--set", "T1=0"], "T1 = 0: it should be greater than"),
        (["train", "DEEP", "xor", "--set", "T1"], "--set must be NAME=VALUE, got 'T1'"),
        (
            ["train", "DEEP", "xor", "--set", "T1=a"],
            "--set needs a number or a list",
        ),
        (["train", "DEEP", "xor", "--seeds", "x"], "--seeds must be numbers and ranges"),
        (["train", "DEEP", "xor", "--seeds", "5-3,7"], "--seeds must be numbers and ranges"),
        (["train", "DEEP", "xor", "--seeds", "3-"], "--seeds must be numbers and ranges"),
        (["train", "DEEP", "xor", "--set", "T1=3", "--set", "T1=4"], "gives 'T1' more than once"),
        (["list", "--experiments", "none.yml"], "no experiments file at none.yml"),
    ]:
        result = run(*arguments)
        assert result.exit_code == 1
        assert result.stderr.startswith("Error: ")
        assert message in result.stderr


def test_list_shows_every_experiment(batch):
    assert run("list", "--experiments", batch).stdout.splitlines() == [
        "n0               tiny.ipynb                   n=0",
        "n7               tiny.ipynb                   n=7",
        "last             tiny.ipynb                   n=3",
    ]


@pytest.mark.slow
def test_only_may_be_repeated(batch):
    words = ["list", "--experiments", batch, "--only"]
    names = [line.split()[0] for line in run(*words, "n0", "--only", "l*").stdout.splitlines()]
    assert names == ["n0", "last"]
    assert "no experiment matches 'x'" in run(*words, "n0", "--only", "x").stderr
    status = run("status", *words[1:], "n7", "--only", "n0", "--output", batch.parent / "out")
    assert status.stdout.split() == ["n0", "missing", "n7", "missing"]
    lines = run("claims", "--seeds", "0-1", "--only", "1a", "--only", "1b").stdout.splitlines()
    assert lines[0] == "p-values corrected for 2 verdicts"
    assert [line.split()[0] for line in lines[1:] if line[0] != " "] == ["1a", "1b"]


def test_the_train_command_equals_the_function(tmp_path):
    words = [
        "train", "EP_asym", "not", "--seeds", "3,5-6", "--set", "n_epochs=2", "--set", "N_H=[4]",
        "--set", "T2=9", "--set", "dt=1e-2", "--stop-criterion", "--record", "weights",
        "-o", tmp_path / "run.nc",
    ]  # fmt: skip
    result = run(*words, "--set", "T1=1e1")
    assert result.exit_code == 1
    assert "T1 = 10.0: it should be a valid integer" in result.stderr
    result = run(*words, "--set", "T1=10")
    assert result.exit_code == 0, result.output
    hyper = {"n_epochs": 2, "N_H": [4], "T1": 10, "T2": 9, "dt": 0.01}
    expected = deep_nb.train(
        "EP_asym", "not", seeds=[3, 5, 6], hyper=hyper, stop_criterion=True, record=("weights",)
    )
    assert_same(deep_nb.load(tmp_path / "run.nc"), expected)
    assert "saved" in result.stdout
    assert [line.split()[0] for line in result.stdout.splitlines()[2:5]] == ["3", "5", "6"]


# What an entry of the experiments file changes


def test_a_matrix_overrides_a_profile_which_overrides_all(batch, tmp_path):
    """The notebook is beside the file, wherever the command runs."""
    write_notebook(tmp_path / "tiny.ipynb", "1", "n = m = k = j = 0\noutput = checkpoint = ''")
    batch.write_text(
        "experiments:\n"
        "  - name: a\n    notebook: tiny.ipynb\n    parameters: {n: 1, m: 1, k: 1}\n"
        "    quick: {n: 2, m: 2}\n    full: {k: 4}\n    matrix: {n: [3]}\n    timeout: 45\n"
        "  - {name: b, notebook: tiny.ipynb}\n"
    )
    a, b = read_jobs(batch)
    assert (a.parameters, b.parameters) == ({"n": 3, "m": 2, "k": 1}, {})
    assert read_jobs(batch, "full")[0].parameters == {"n": 3, "m": 1, "k": 4}
    assert a.all_parameters == {"n": 3, "m": 2, "k": 1, "j": 0}
    assert b.all_parameters == dict.fromkeys("nmkj", 0)
    assert (a.timeout, b.timeout) == (45, 7200)
    assert a.notebook == b.notebook == tmp_path / "tiny.ipynb"


def test_the_fingerprint_changes_with_each_ingredient(batch, tmp_path, monkeypatch):
    """Each alone; outputs stored in the notebook, the name and the timeout are not among them."""
    (tmp_path / "x.csv").write_text("1")
    (job,) = read_jobs(batch, only="last")
    job = dataclasses.replace(job, files=("x.csv",))
    known = [job.fingerprint]
    path = tmp_path / "tiny.ipynb"
    cells = nbformat.read(path, as_version=4).cells

    def write(*cells, job=job):
        nbformat.write(new_notebook(cells=list(cells)), path)
        known.append(dataclasses.replace(job).fingerprint)

    write(cells[0], new_code_cell("another"))
    write(cells[0], new_markdown_cell(cells[1].source))
    write(cells[1], cells[0])
    cells[1].metadata["tags"] = cells[0].metadata.pop("tags")
    write(*cells)
    cells[0].metadata["tags"] = cells[1].metadata.pop("tags")
    cells[1].metadata["tags"] = ["skip-execution"]
    write(*cells)
    del cells[1].metadata["tags"]
    write(*cells, job=dataclasses.replace(job, parameters={"n": 4}))
    (tmp_path / "x.csv").write_text("2")
    write(*cells)
    (tmp_path / "x.csv").write_text("1")
    code = jobs.code()
    for part in ("package", "versions"):
        monkeypatch.setattr(jobs, "code", lambda part=part: {**code, part: {"x": "1"}})
        write(*cells)
        monkeypatch.undo()
    for i, one in enumerate(known):
        assert all(one != other for other in known[:i]), i
    cells[1].outputs = [new_output("stream", text="1")]
    cells[1].metadata.update(collapsed=True, tags=[])
    write(*cells, job=dataclasses.replace(job, name="b", timeout=3))
    assert known[-1] == known[0]


@pytest.mark.slow
def test_as_many_experiments_run_at_a_time_as_asked_for(batch, tmp_path, monkeypatch):
    now, most = [], []

    def execute(job, *_):
        now.append(job.name)
        time.sleep(0.05)
        most.append(len(now))
        now.remove(job.name)
        return Outcome(job.name, None, {}, "")

    monkeypatch.setattr(batch_module, "execute", execute)
    for given, wanted in [((), 1), ((1,), 1), ((2,), 2), ((3,), 3)]:
        most.clear()
        done = replicate(read_jobs(batch), tmp_path / "out", *given, force=True)
        assert len(list(done)) == 3
        assert max(most) == wanted
