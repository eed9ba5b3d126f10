"""Invalid input on the command line: one clear error message for every option."""

import contextlib

import click
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deep_nb.cli import main
from deep_nb.models import Hyperparameters
from deep_nb.replication import read_jobs, replicate

from .test_replication import run
from .test_resume import write_batch

pytestmark = pytest.mark.system

COMMANDS = {name: {p.name: p for p in c.params} for name, c in main.commands.items()}

#: Valid input of each command, fast, for a folder with a finished batch.
GOOD = {
    "train": {"model": "DEEP", "task": "xor", "hyper": "n_epochs=2"},
    "claims": {"only": "1b", "seeds": "0-1"},
    "explore": {"model": "DEEP", "seed": "1"},
    "init": {"folder": "new"},
    "list": {},
    "models": {},
    "tasks": {},
    "status": {"output": "out"},
    "replicate": {"output": "out"},
    "verify": {"folder": "out"},
    "report": {"folder": "out"},
}

WORDS = [
    "", " ", "-", "-1", "0", "3", "1.5", "1e400", "1e308", "nan", "-inf", "None", "true", "[]",
    "[[[", "{}", "'", '"', "\\", "\0", "..", "~", "*", "[!", "--help", "9" * 40, "x" * 300, "é",
    "Ω\n", "{n}", "%s", "a,b", "0-", "5-1", "0-99999999999", "0,0", "deep", "XOR",
    "out", "file", "file/below", "out/n5/n.csv", "/proc/none",
]  # fmt: skip
VALUES = [
    "", "-1", "0", "1e308", "-1e308", "NaN", "Infinity", "null", "true", '"x"', "{}", "[]",
    "[5]", "[0]", "[-1]", "[1e9]", "[[1]]", "1.5", "100000000000000", "[" * 100_000, "9" * 5000,
]  # fmt: skip
NAMES = [*Hyperparameters.model_fields, "beta_2", "BETA", "seeds", "", "=", " dt"]

words = st.sampled_from(WORDS) | st.text(max_size=12)
#: Input of options for which other words would start a long computation or a batch.
ONLY = {
    ("train", "seeds"): st.sampled_from(WORDS) | st.text("0123456789-, ", max_size=4),
    ("train", "hyper"): st.builds("{}={}".format, st.sampled_from(NAMES), st.sampled_from(VALUES)),
    ("claims", "seeds"): st.sampled_from(WORDS) | st.text("0123456789-, ", max_size=4),
    ("init", "folder"): st.sampled_from(["", "\0", "~", "file", "file/below", "out", "x" * 300]),
    ("replicate", "output"): st.sampled_from(["\0", "file", "file/below", "/proc/none", "x" * 300]),
    ("replicate", "scheduler"): st.sampled_from(["", "x", "tcp://", "x://y:1", "a:0", "a:99999"]),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("words") / "a" / "b"
    root.mkdir(parents=True)
    (root / "file").write_text("a file\n")
    assert len(list(replicate(read_jobs(write_batch(root)), root / "out", 2))) == 2
    return root


def run_command(folder, command, values):
    arguments = []
    for name, value in values.items():
        parameter = COMMANDS[command][name]
        option = isinstance(parameter, click.Option)
        arguments += [f"{parameter.opts[-1]}={value}"] if option else []
    arguments += ["--"] + [v for n, v in values.items() if COMMANDS[command][n].opts == [n]]
    with contextlib.chdir(folder):
        return run(command, *arguments)


@pytest.mark.parametrize("command", COMMANDS)
def test_valid_input_is_accepted(folder, command):
    result = run_command(folder, command, GOOD[command])
    assert result.exit_code == 0, result.stderr


@pytest.mark.parametrize("words", [[], *([command] for command in COMMANDS)], ids=" ".join)
@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help_exits_with_0(words, option):
    result = run(*words, option)
    assert result.exit_code == 0
    assert result.stdout.startswith("Usage: ")
    assert result.stderr == ""


@pytest.mark.parametrize(
    ("command", "name"), [(command, name) for command, names in COMMANDS.items() for name in names]
)
@pytest.mark.filterwarnings("ignore:.*networks diverged:RuntimeWarning")
@settings(max_examples=settings.default.max_examples // 4)
@given(data=st.data())
def test_invalid_input_ends_with_one_clear_error(folder, command, name, data):
    spoiled = {name: data.draw(ONLY.get((command, name), words))}
    result = run_command(folder, command, {**GOOD[command], **spoiled})
    if isinstance(COMMANDS[command][name], click.Option) and COMMANDS[command][name].is_flag:
        assert result.exit_code == 2  # a flag takes no value
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code in (0, 1, 2)
    if result.exit_code:
        message = result.stderr[result.stderr.index("Error: ") :]
        assert 10 < len(message) < 1500
        assert "Traceback" not in result.output


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        ("trian", "train"),
        ("train DEPP xor", "DEEP"),
        ("train DEEP xro", "xor"),
        ("train DEEP xor --sead=1", "--seeds"),
        ("train DEEP xor --set beta_2=1", "beta_1"),
        ("train DEEP xor --engine nunba", "numba"),
        ("train DEEP xor --record weigths", "weights"),
        ("train DEEP xor --sprase", "--sparse"),
        ("list --profile ful", "full"),
        ("replicate --profil full", "--profile"),
        ("verify out --agianst out", "--against"),
    ],
)
def test_the_error_for_a_misspelt_word_suggests_the_nearest(folder, words, meant):
    with contextlib.chdir(folder):
        result = run(*words.split())
    assert result.exit_code
    assert "did you mean" in result.stderr.lower()
    assert f"'{meant}'" in result.stderr


@pytest.mark.parametrize("words", ["train DEEP not -o --sparse", "train DEEP not -o -"])
def test_an_option_does_not_become_the_name_of_a_file(words, tmp_path):
    """As after a forgotten name."""
    with contextlib.chdir(tmp_path):
        result = run(*words.split(), "--set", "n_epochs=1")
    assert result.exit_code == 2
    assert "is not a path; for a file or folder of this name, put ./ before it" in result.stderr
    assert list(tmp_path.iterdir()) == []
