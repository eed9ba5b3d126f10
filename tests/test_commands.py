"""What each option of the command line changes: what reaches the package's functions, and exits.

No network is trained and no notebook runs here; the functions behind the commands note their
arguments.
"""

import importlib.metadata
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import click
import pandas as pd
import pytest
import xarray as xr

import deep_nb
import deep_nb.report
from deep_nb import analysis, cli, replication
from deep_nb._printing import Lenient
from deep_nb.cli import _seeds
from deep_nb.models import MODELS, Flags, Hyperparameters
from deep_nb.replication.execution import Outcome
from deep_nb.replication.records import Record, state, write_record

from .test_replication import run, write_notebook


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A working folder with an experiments file of the default name."""
    monkeypatch.chdir(tmp_path)
    write_notebook(tmp_path / "tiny.ipynb", "1")
    (tmp_path / "experiments.yml").write_text(
        "experiments:\n"
        "  - {name: a, notebook: tiny.ipynb, quick: {n: 3}, full: {n: 4}}\n"
        "  - {name: b, notebook: tiny.ipynb, quick: {n: 5}, full: {n: 6}}\n"
    )
    return tmp_path


# train


@pytest.fixture
def asked(monkeypatch, short_run):
    """What `deep_nb.train` is asked for by each command; it returns the same run to all."""
    asked = []

    def train(*names, **arguments):
        asked.append((names, arguments))
        return short_run.assign_coords(seed=[7, 3, 9])

    monkeypatch.setattr(deep_nb, "train", train)
    return asked


PLAIN = {
    "seeds": [0], "hyper": {}, "engine": "auto", "threads": None, "record": (), "progress": False,
    "regularized": False, "sparse": False, "stop_criterion": False, "layered": False, "sign": False,
}  # fmt: skip


@pytest.mark.parametrize(
    ("words", "changed"),
    [
        ([], {}),
        (["--seeds=2-4,9"], {"seeds": [2, 3, 4, 9]}),
        (["--set=dt=0.5", "--set=N_H=[2, 3]"], {"hyper": {"dt": 0.5, "N_H": [2, 3]}}),
        (["--engine=blas"], {"engine": "blas"}),
        (["--threads=3"], {"threads": 3}),
        (["--record=weights", "--record=trajectories"], {"record": ("weights", "trajectories")}),
        *(([f"--{name.replace('_', '-')}"], {name: True}) for name in Flags.model_fields),
    ],
)  # fmt: skip
def test_each_option_of_train_is_one_argument_of_the_function(asked, words, changed):
    result = run("train", "EP_asym", "not", *words)
    assert result.exit_code == 0, result.output
    assert asked == [(("EP_asym", "not"), PLAIN | changed)]


def test_the_help_of_a_flag_is_its_own():
    text = " ".join(run("train", "--help").stdout.split())
    for name, field in Flags.model_fields.items():
        assert f"--{name.replace('_', '-')} {field.description}" in text


def test_bars_are_drawn_only_on_a_terminal(asked, monkeypatch):
    monkeypatch.setattr(Lenient, "isatty", lambda self: True)
    run("train", "DEEP", "xor")
    assert asked[0][1]["progress"] is True


def test_train_prints_the_table_of_networks_and_the_seeds_of_unstable_steps(asked, monkeypatch):
    stable = xr.DataArray([True, False, False], dims="seed")
    monkeypatch.setattr(analysis, "step_is_stable", lambda run: stable)
    lines = run("train", "DEEP", "xor").stdout.splitlines()
    assert lines[-1] == ("the Euler step is beyond its stable range in 2 of 3 networks, seeds 3, 9")
    table = analysis.network_table(deep_nb.train())
    numbers = table.select_dtypes("float").dropna(axis=1)
    assert numbers.shape[1] >= 1
    for (_, row), line in zip(numbers.iterrows(), lines[-4:-1], strict=True):
        assert {f"{number:.4f}" for number in row} <= set(line.split())


# models and tasks


def test_models_are_listed_with_their_dynamics_rule_and_meaning():
    lines = [re.split(r"  +", line) for line in run("models").stdout.splitlines()]
    assert lines[:7] == [
        ["model", "rule", "activation", "leak", "outflow", "meaning"],
        ["DEEP", "stdp", "hard_sigmoid", "0", "1 Σ W",
         "published: outflow instead of a leak, spike-timing-dependent plasticity"],
        ["DEEP_oh", "stdp", "hard_sigmoid", "0", "1 Σ W",
         "published: DEEP with one output per class"],
        ["EP_asym", "contrastive", "hard_sigmoid", "1", "0",
         "published: leak instead of an outflow, contrastive rule"],
        ["contracting DEEP", "asymep", "hard_sigmoid", "0.25", "1 Σ|W|",
         "each phase contracts for all weights if β < leak"],
        ["fast contracting DEEP", "onesided", "hard_sigmoid", "0.2", "1 Σ|W|",
         "each phase contracts for all weights and every β > 0"],
        [""],
    ]  # fmt: skip
    assert [line[0] for line in lines[1:6]] == [*MODELS]


def test_hyperparameters_are_listed_as_the_names_and_values_of_set():
    text = run("models").stdout
    header, *lines = [re.split(r"  +", line) for line in text.split("\n\n")[1].splitlines()]
    assert header == ["hyperparameter", *MODELS, "meaning"]
    assert lines[0] == ["N_H", "[5]", "[2]", "[5]", "[14]", "[14]", "neurons in each hidden layer"]
    assert lines[-3] == ["reg_W", *["0.00015"] * 5, "L1 decay of a weight per epoch"]
    assert {line[0]: line[-1] for line in lines} == {
        name: field.description for name, field in Hyperparameters.model_fields.items()
    }
    for place, model in enumerate(MODELS.values(), 1):
        pairs = tuple(f"{line[0]}={line[place]}" for line in lines)
        assert Hyperparameters(**cli._assignments(pairs)) == model.hyper


def test_tasks_are_listed_with_their_numbers_and_samples():
    assert run("tasks").stdout.splitlines() == [
        "task  inputs  outputs  samples  input → target",
        "xor   2       1        4        00→0 01→1 10→1 11→0",
        "and   2       1        4        00→0 01→0 10→0 11→1",
        "or    2       1        4        00→0 01→1 10→1 11→1",
        "not   1       1        2        0→1 1→0",
        "id    1       1        2        0→0 1→1",
    ]


# claims


def test_claims_are_measured_on_the_seeds_and_each_number_is_printed_in_its_place(monkeypatch):
    asked = []
    row = {
        "id": "1a", "task": "xor", "statement": "DEEP learns", "evidence": "“words” (place)",
        "quantity": "share", "estimate": 0.25, "low": 0.125, "high": 0.5, "p": 0.01, "p_holm": 0.03,
        "networks": 40, "runaway": 0, "rule": "above 0.5", "verdict": "not reproduced",
        "beside": "",
    }  # fmt: skip
    nan = float("nan")
    other = {"id": "2b", "p": nan, "p_holm": nan, "runaway": 13, "beside": "without: 3 of 4"}
    table = pd.DataFrame([row, row | other])

    def measure_all(chosen, seeds):
        asked.append(([claim.id for claim in chosen], list(seeds)))
        return "networks"

    def evaluate(chosen, networks, curves):
        assert (networks, curves) == ("networks", [claim.id for claim in chosen])
        return table

    monkeypatch.setattr(deep_nb.claims, "measure_all", measure_all)
    monkeypatch.setattr(deep_nb.claims, "compare_curves", lambda chosen: [c.id for c in chosen])
    monkeypatch.setattr(deep_nb.claims, "evaluate", evaluate)
    result = run("claims", "--only=1a", "--only=2*", "--seeds=4-6")
    assert result.stdout.splitlines() == [
        "p-values corrected for 1 verdict",
        "1a  xor  DEEP learns",
        "         evidence: “words” (place)",
        "         share: 0.25 [0.125, 0.5], p = 3.0e-02, 40 networks",
        "         reproduced if above 0.5: NOT REPRODUCED",
        "2b  xor  DEEP learns",
        "         evidence: “words” (place)",
        "         share: 0.25 [0.125, 0.5], 40 points, 13 runaways apart; without: 3 of 4",
        "         reproduced if above 0.5: NOT REPRODUCED",
    ]
    run("claims")
    assert asked == [
        (["1a", "2a", "2b"], [4, 5, 6]),
        ([claim.id for claim in deep_nb.claims.read_claims()], list(range(100))),
    ]


# Batches


@pytest.fixture
def batches(monkeypatch):
    """What `replicate` is asked for; b fails in all batches."""
    asked = []

    def replicate(jobs, output, processes, *, executor, force):
        named = [(job.name, job.parameters) for job in jobs]
        asked.append((named, str(output), processes, executor, force))
        for job in jobs:
            if force or state(job, output / job.name).status != "done":
                error = "ValueError: 3" if job.name == "b" else ""
                yield Outcome(job.name, output / job.name, {"seconds": 2.34}, error)

    monkeypatch.setattr(replication, "replicate", replicate)
    return asked


@pytest.fixture
def copied(monkeypatch):
    """What is copied by ``--figures``."""
    copied = []
    monkeypatch.setattr(replication, "collect_figures", lambda *given: copied.append(given))
    return copied


def finish(profile, name, folder):
    """Write the record of an experiment that is done."""
    (job,) = replication.read_jobs("experiments.yml", profile, name)
    record = Record(error="", origin={}, fingerprint=job.fingerprint, files={})
    (folder / name).mkdir(parents=True)
    write_record(record, folder / name)


QUICK, FULL = [("a", {"n": 3}), ("b", {"n": 5})], [("a", {"n": 4}), ("b", {"n": 6})]


@pytest.mark.parametrize(
    ("words", "asked"),
    [
        ([], (QUICK, "replication/quick", 7, None, False)),
        (["--profile=full"], (FULL, "replication/full", 7, None, False)),
        (["--output=out"], (QUICK, "out", 7, None, False)),
        (["--jobs=3"], (QUICK, "replication/quick", 3, None, False)),
        (["--force"], (QUICK, "replication/quick", 7, None, True)),
        (["--only=b"], (QUICK[1:], "replication/quick", 7, None, False)),
    ],
)
def test_each_option_of_replicate_is_one_argument(batches, monkeypatch, words, asked):
    monkeypatch.setattr(os, "cpu_count", lambda: 7)
    assert run("replicate", *words).exit_code == 1  # because of b
    assert batches == [asked]
    assert run("replicate", "--only=a").exit_code == 0


@pytest.mark.parametrize(("force", "todo"), [([], 1), (["--force"], 2)])
def test_what_is_to_do_is_counted_and_what_was_done_is_shown(batches, copied, folder, force, todo):
    finish("quick", "a", folder / "replication" / "quick")
    result = run("replicate", "--figures=figures", *force)
    assert result.exit_code == 1
    at = os.path.join("replication", "quick")
    seconds = "    2.3" if force else " before"
    assert result.stdout.splitlines() == [
        "experiment       status   seconds  folder",
        f"a                done     {seconds}  {os.path.join(at, 'a')}",
        f"b                failed       2.3  {os.path.join(at, 'b')}",
    ]
    lines = result.stderr.splitlines()
    assert f"failed b in 2.3 s ({todo} of {todo})" in lines
    assert lines[-1] == "b failed: ValueError: 3"
    ((names, source, target),) = copied
    assert (names, str(source), str(target)) == (["a"], at, "figures")


def test_the_bar_of_a_batch_counts_what_is_to_do(batches, folder, monkeypatch):
    monkeypatch.setattr(Lenient, "isatty", lambda self: True)
    finish("quick", "a", folder / "replication" / "quick")
    result = run("replicate")
    assert "1/1" in result.stderr
    assert "s (1 of 1)" not in result.stderr


def test_status_and_list_are_of_the_profile_and_its_folder(folder):
    finish("full", "a", folder / "replication" / "full")
    finish("quick", "b", folder / "elsewhere")
    for words, lines in [
        ([], ["a                missing", "b                missing"]),
        (["--profile=full"], ["a                done", "b                missing"]),
        (["--output=elsewhere"], ["a                missing", "b                done"]),
        (["--only=b", "--why"], ["b                missing", "    it has not finished yet"]),
    ]:
        assert run("status", *words).stdout.splitlines() == lines
    for words, values in [([], "35"), (["--profile=full"], "46"), (["--only=b"], "5")]:
        listed = run("list", *words).stdout.splitlines()
        assert [line.split()[-1] for line in listed] == [f"n={value}" for value in values]
    (folder / "experiments.yml").rename("other.yml")
    assert "no experiments file at experiments.yml" in run("list").stderr
    assert len(run("list", "--experiments=other.yml").stdout.splitlines()) == 2


# verify


def test_each_option_of_verify_is_one_argument(monkeypatch):
    asked = []

    def compare(*given):
        asked.append(given)
        return 2, asked[1:]

    monkeypatch.setattr(replication, "compare", lambda *given: compare(*map(str, given)))
    result = run("verify", "one", "--against=two")
    assert (result.exit_code, result.stdout) == (0, "2 files in one and two contain the same "
                                                    "numbers\n")  # fmt: skip
    assert run("verify", "one", "--against=two", "--rtol=0.5", "--atol=0.25").exit_code == 1
    assert asked == [("one", "two", "1e-06", "1e-09"), ("one", "two", "0.5", "0.25")]


@pytest.mark.parametrize(
    ("wrong", "code", "out", "err"),
    [
        ([], 0, "5 files in one agree with SHA256SUMS\n", ""),
        (["a/x: missing", "a/y: is a link"], 1, "a/x: missing\na/y: is a link\n",
         "Error: 2 differences in 5 files\n"),
    ],
)  # fmt: skip
def test_verify_counts_the_files_of_the_list(monkeypatch, wrong, code, out, err):
    monkeypatch.setattr(replication, "verify", lambda folder: (5, wrong))
    result = run("verify", "one")
    assert (result.exit_code, result.stdout, result.stderr) == (code, out, err)


@pytest.mark.parametrize("option", ["--rtol", "--atol"])
@pytest.mark.parametrize("value", ["1e-6", "1e-9", "0"])
def test_a_tolerance_without_a_batch_to_compare_is_refused(monkeypatch, option, value):
    monkeypatch.setattr(replication, "verify", lambda folder: (5, []))
    result = run("verify", "one", f"{option}={value}")
    assert result.exit_code == 2
    assert f"Error: {option} needs --against: checksums have no tolerance\n" in result.stderr


# report


def test_each_option_of_report_is_one_argument(folder, monkeypatch):
    asked, tables = [], ["table"]
    monkeypatch.setattr(deep_nb.report, "read_table", lambda at: tables[0])
    monkeypatch.setattr(
        deep_nb.report, "write_report", lambda *given: asked.append(("write", *given)) or "page"
    )
    monkeypatch.setattr(
        deep_nb.report, "insert_claims", lambda *given: asked.append(("insert", *given))
    )
    monkeypatch.setattr(
        deep_nb.report, "insert_contracting", lambda *given: asked.append(("contracting", *given))
    )
    monkeypatch.setattr(
        deep_nb.report, "insert_real_data", lambda *given: asked.append(("real_data", *given))
    )
    (folder / "x.md").write_text("")
    assert run("report", "out").stdout == "wrote page\n"
    run("report", "out", "-o", "new.html")
    run("report", "out", "--readme=x.md")
    expected = [
        ("write", Path("out"), None), ("write", Path("out"), Path("new.html")),
        ("write", Path("out"), None), ("insert", Path("x.md"), "table"),
        ("contracting", Path("x.md"), Path("out")),
        ("real_data", Path("x.md"), Path("out")),
    ]  # fmt: skip
    assert asked == expected
    tables[0] = None
    result = run("report", "out", "--readme=x.md")
    assert (result.exit_code, asked) == (1, expected)
    assert "out has no claims table: run deep-nb replicate --only claims" in result.stderr
    assert run("report", "out").exit_code == 0
    assert run("report", "out", "--readme=gone.md").exit_code == 2


# The rest


def test_every_failed_experiment_is_reported_and_no_figures_are_copied(monkeypatch, copied, folder):
    def replicate(jobs, output, *_, **__):
        for job in jobs:
            yield Outcome(job.name, None, {}, f"ValueError: {job.name}\x1b")

    monkeypatch.setattr(replication, "replicate", replicate)
    result = run("replicate", "--figures=deep/figures")
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-4:] == [
        "", "a failed: ValueError: a\\x1b", "", "b failed: ValueError: b\\x1b",
    ]  # fmt: skip
    assert [given[0] for given in copied] == [[]]
    assert list((folder / "deep" / "figures").iterdir()) == []


@pytest.mark.parametrize("words", [["--jobs=0"], ["--profile=fast"], ["--only"]])
def test_options_outside_their_range_exit_with_2(batches, words):
    assert run("replicate", *words).exit_code == 2
    assert batches == []


def test_the_version_is_that_of_the_package():
    assert run("--version").stdout.split()[-1] == importlib.metadata.version("deep-nb")


def test_a_million_seeds_at_once_are_allowed():
    assert _seeds(" 7 , 5-999 ,0-999999")[:3] == [7, 5, 6]
    assert len(_seeds("5-1000004")) == 1_000_000
    with pytest.raises(ValueError, match="--seeds must be numbers and ranges"):
        _seeds("5-1000005")


# --scheduler


@pytest.fixture
def dask(monkeypatch):
    """What clients are made and closed; certificates are known for TLS if `dask.ssl`."""
    made = []
    dask = SimpleNamespace(made=made, ssl=None)

    class Client:
        def __init__(self, *given, **named):
            made.append((given, named))

        def __enter__(self):
            return self

        def __exit__(self, *_):
            made.append("closed")

        def get_executor(self, pure):
            return f"executor, {pure=}"

    def security():
        return SimpleNamespace(get_connection_args=lambda role: {"ssl_context": dask.ssl})

    module = SimpleNamespace(Client=Client, Security=security)
    monkeypatch.setitem(sys.modules, "distributed", module)
    return dask


@pytest.mark.parametrize(
    "address", ["h:1", "10.0.0.1:65535", "tcp://a-b.c:8786", "tcp://[::1]:8786"]
)
def test_experiments_run_on_the_workers_of_the_scheduler(dask, batches, address):
    assert run("replicate", "--only=a", f"--scheduler={address}").exit_code == 0
    assert dask.made == [((address,), {"set_as_default": False}), "closed"]
    assert batches[0][3] == "executor, pure=False"


@pytest.mark.parametrize("address", ["h", "h:0", "h:65536", "http://h:1", "h:1/x", "h:٣", ""])
def test_other_addresses_are_refused(dask, batches, address):
    result = run("replicate", f"--scheduler={address}")
    assert result.exit_code == 1
    assert "--scheduler must be an address such as tcp://192.168.0.1:8786, got " in result.stderr
    assert (dask.made, batches) == ([], [])


def test_a_scheduler_with_tls_needs_certificates(dask, batches):
    words = ["replicate", "--only=a", "--scheduler=tls://h:1"]
    assert "tls://h:1 needs certificates" in run(*words).stderr
    assert dask.made == []
    dask.ssl = "context"
    assert run(*words).exit_code == 0
    assert len(dask.made) == 2


@pytest.mark.system
@pytest.mark.parametrize(("code", "loaded"), [
    ("import deep_nb, deep_nb.analysis", set()),
    ("import deep_nb.cli; deep_nb.cli.main(['train', '--help'], standalone_mode=False)",
     {"click", "pydantic"}),
], ids=["import", "help"])  # fmt: skip
def test_a_start_loads_no_library_that_it_does_not_need(code, loaded):
    """Each costs a tenth of a second or more, at every command."""
    code += "; import sys; print('loaded:', *sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    modules = set(result.stdout.rpartition("loaded:")[2].split())
    heavy = {
        "click", "dask", "distributed", "jaxtyping", "matplotlib", "nbformat", "netCDF4",
        "networkx", "numba", "numpy", "pandas", "papermill", "pydantic", "scipy", "sklearn",
        "statsmodels", "xarray",
    }  # fmt: skip
    assert modules & heavy == loaded


# What is said about bad input, in full


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("train DEEP xor --set T1", "--set must be NAME=VALUE, got 'T1'"),
        ("train DEEP xor --set T1=3 --set T1=4", "--set gives 'T1' more than once"),
        ("train DEEP xor --set T1=a=b",
         "--set needs a number or a list such as [5], got 'T1=a=b'"),
        (f"train DEEP xor --set T1={'x' * 77}y",
         f"--set needs a number or a list such as [5], got 'T1={'x' * 77}'"),
        ("train DEEP xor --set T1=[[[[",
         "--set needs a number or a list such as [5], got 'T1=[[[['"),
        *((f"{command} --seeds {seeds}",
           f"--seeds must be numbers and ranges such as 0-9,12, got {seeds!r}")
          for command in ("train DEEP xor", "claims")
          for seeds in ("x", "5-3,7", "3,", "3-", "1.5", "٣", "0-1000000", "9-1000009")),
        ("list --experiments none.yml",
         "no experiments file at none.yml: lay one out with deep-nb init FOLDER, or name one with "
         "--experiments"),
        ("list --only x", "no experiment matches 'x'; there are: a, b"),
        ("claims --only x",
         "no claim matches 'x'; there are: 1a, 1b, 1c, 1d, 2a, 2b, 3, 4, 5a, 5b, 5c, "
         "6a, 6b, 6c, 7, 8a, 8b, 8c"),
        ("verify empty", "no SHA256SUMS in empty: is it an output folder of deep-nb replicate?"),
        ("verify empty --against empty", "no executed notebooks in empty"),
        ("report empty --readme file",
         "empty has no claims table: run deep-nb replicate --only claims"),
        ("replicate --scheduler x",
         "--scheduler must be an address such as tcp://192.168.0.1:8786, got 'x'"),
    ],
)  # fmt: skip
def test_bad_words_are_one_line(folder, words, message):
    (folder / "empty").mkdir()
    (folder / "file").write_text("")
    result = run(*words.split())
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == f"Error: {message}\n"


NOT_A_PATH = "{} is not a path; for a file or folder of this name, put ./ before it"


@pytest.mark.parametrize(
    ("words", "name", "message"),
    [
        (["train", "DEEP", "xor", "-o", "--sparse"], "'-o' / '--output'",
         NOT_A_PATH.format("'--sparse'")),
        (["verify", "x", "--against", "-"], "'--against'", NOT_A_PATH.format("'-'")),
        (["verify", "--", "-x"], "'FOLDER'", NOT_A_PATH.format("'-x'")),
        (["train", "DEEP", "xor", "-o", ""], "'-o' / '--output'",
         "it must be a valid path (str or os.PathLike), got ''"),
        (["list", "--experiments", "a\0"], "'--experiments'",
         "it must be a valid path (str or os.PathLike), got 'a\\x00'"),
    ],
)  # fmt: skip
def test_an_option_that_is_not_a_path_is_named(words, name, message):
    result = run(*words)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(f"Usage: main {words[0]} [OPTIONS]")
    assert result.stderr.endswith(f"\n\nError: Invalid value for {name}: {message}\n")


def test_the_nearest_word_follows_the_message_of_click():
    result = run("list", "--profile", "ful")
    assert result.exit_code == 2
    assert result.stderr.endswith("'full' (did you mean 'full'?)\n")
    assert "Invalid value for '--profile': 'ful' is not one of 'quick', " in result.stderr
    assert run("list", "--profile", "x").stderr.endswith("'full'\n")


def test_a_path_knows_its_option(tmp_path):
    """Wherever it is converted, also outside of a command."""
    kind = cli.FilePath(dir_okay=False)
    option = click.Option(["--page"], type=kind)
    context = click.Context(click.Command("c"), info_name="c")
    assert kind.convert(str(tmp_path / "x"), option, context) == tmp_path / "x"
    for bad in ("-x", "", str(tmp_path)):
        with pytest.raises(click.BadParameter) as raised:
            kind.convert(bad, option, context)
        assert (raised.value.param, raised.value.ctx) == (option, context)


def test_a_value_may_contain_an_equals_sign():
    assert cli._assignments(("a=1", 'b="x=y"', "c=[1, 2]", "d=null")) == {
        "a": 1, "b": "x=y", "c": [1, 2], "d": None,
    }  # fmt: skip
    assert cli._seeds("0-2, 7 ,9-9") == [0, 1, 2, 7, 9]
