"""What each option of the command line changes: what reaches the package's functions, and exits.

No network is trained and no notebook runs here; the functions behind the commands note their
arguments.
"""

import os

import pandas as pd
import pytest
import xarray as xr

import deep_nb
from deep_nb import analysis, replication
from deep_nb._printing import Lenient
from deep_nb.problem import Flags
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
    table = analysis.network_table(deep_nb.train().assign_coords(seed=[7, 3, 9]))
    numbers = table.select_dtypes("float").dropna(axis=1)
    assert numbers.shape[1] >= 1
    for (_, row), line in zip(numbers.iterrows(), lines[-4:-1], strict=True):
        assert {f"{number:.4f}" for number in row} <= set(line.split())


# claims


def test_claims_are_measured_on_the_seeds_and_each_number_is_printed_in_its_place(monkeypatch):
    asked = []
    row = {
        "id": "1a", "task": "xor", "statement": "DEEP learns", "quantity": "share", "bound": "≥ ",
        "estimate": 0.25, "low": 0.125, "high": 0.5, "p": float("nan"), "networks": 40,
        "rule": "above 0.5", "verdict": "not reproduced",
    }  # fmt: skip
    table = pd.DataFrame([row, row | {"id": "2b", "p": 0.03}])
    unstable = {"model": "DEEP_oh", "task": "or", "unstable": 13, "networks": 40, "learned": 5}
    steps = pd.DataFrame([unstable | {"pruned": False}, unstable | {"pruned": True}])

    def measure_all(chosen, seeds):
        asked.append(([claim.id for claim in chosen], list(seeds)))
        return "networks"

    monkeypatch.setattr(deep_nb.claims, "measure_all", measure_all)
    monkeypatch.setattr(deep_nb.claims, "evaluate", lambda chosen, networks: table)
    monkeypatch.setattr(deep_nb.claims, "unstable_steps", lambda networks: steps)
    result = run("claims", "--only=1a", "--only=2*", "--seeds=4-6")
    assert result.stdout.splitlines() == [
        "1a  xor  DEEP learns",
        "         share: ≥ 0.25 [0.125, 0.5], 40 networks",
        "         reproduced if above 0.5: NOT REPRODUCED",
        "2b  xor  DEEP learns",
        "         share: ≥ 0.25 [0.125, 0.5], log-rank p = 3.0e-02, 40 networks",
        "         reproduced if above 0.5: NOT REPRODUCED",
        "DEEP_oh on or: the Euler step is beyond its stable range in 13 of 40 networks, of which "
        "5 learned",
        "DEEP_oh pruned on or: the Euler step is beyond its stable range in 13 of 40 networks, of "
        "which 5 learned",
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
