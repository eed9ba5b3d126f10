"""What `deep-nb init` lays out, from a checkout and from a wheel."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import hatchling.build
import pytest

from deep_nb.replication import read_jobs, starter

from .test_replication import run

ROOT = Path(__file__).parent.parent


def contents(folder):
    """The bytes of each file below a folder."""
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


SOURCES = [ROOT / "experiments.yml", *(ROOT / "notebooks").glob("*.ipynb")]
EXPECTED = {path.relative_to(ROOT).as_posix(): path.read_bytes() for path in SOURCES}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty working folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "wrote", "step"),
    [
        ("my nets", "my nets/experiments.yml and 10 notebooks in my nets/notebooks",
         "cd 'my nets' && "),
        ("a/b", "a/b/experiments.yml and 10 notebooks in a/b/notebooks", "cd a/b && "),
        (".", "experiments.yml and 10 notebooks in notebooks", ""),
    ],
)  # fmt: skip
def test_a_new_or_empty_folder_receives_notebooks_and_experiments(folder, name, wrote, step):
    result = run("init", name)
    assert (result.exit_code, result.output) == (
        0, f"wrote {wrote}\nnext: {step}deep-nb replicate --only quickstart\n"
    )  # fmt: skip
    assert contents(folder / name) == EXPECTED
    jobs = read_jobs(folder / name / "experiments.yml", "full")
    there, here = ({job.name: job.fingerprint for job in given} for given in (
        jobs, read_jobs(ROOT / "experiments.yml", "full")
    ))  # fmt: skip
    assert there == here


def test_what_is_in_the_way_is_left_as_it_was(folder):
    (folder / "full").mkdir()
    (folder / "full" / ".hidden").write_text("mine")
    (folder / "file").write_text("mine")
    for name, what in (("full", "is not empty"), ("file", "is a file")):
        result = run("init", name)
        assert (result.exit_code, result.output) == (
            1, f"Error: {name} {what}: choose another folder\n"
        )  # fmt: skip
    assert contents(folder) == {"full/.hidden": b"mine", "file": b"mine"}


def test_a_wheel_has_its_own_copies(folder, monkeypatch):
    (folder / "starter" / "notebooks").mkdir(parents=True)
    (folder / "starter" / "experiments.yml").write_text("e")
    for name in ("b.ipynb", "a.ipynb", "a.ipynb.orig"):
        (folder / "starter" / "notebooks" / name).write_text(name)
    monkeypatch.setattr(starter, "STARTER", folder / "starter")
    copies = [path.relative_to("new").as_posix() for path in starter.lay_out(Path("new"))]
    assert copies == ["experiments.yml", "notebooks/a.ipynb", "notebooks/b.ipynb"]
    assert contents(folder / "new")["notebooks/b.ipynb"] == b"b.ipynb"


@pytest.mark.system
def test_the_wheel_is_useful_alone(folder, monkeypatch):
    """It holds every file of the package, lays out the notebooks, and counts as the same code."""
    monkeypatch.chdir(ROOT)
    name = hatchling.build.build_wheel(str(folder))
    monkeypatch.chdir(folder)
    zipfile.ZipFile(name).extractall("wheel")
    package = {
        path: data for path, data in contents(ROOT / "deep_nb").items() if "__pycache__" not in path
    }
    packed = contents(folder / "wheel" / "deep_nb")
    assert {path: packed.get(path) for path in package} == package
    code = (
        "import sys; from deep_nb import _provenance, cli\n"
        "if sys.argv[1] == 'init': cli.main()\n"
        "else: print([_provenance.PACKAGE.parent.name, *sorted(_provenance.code()['package'])])"
    )

    def alone(*words):
        environment = os.environ | {"PYTHONPATH": str(folder / "wheel")}
        words = [sys.executable, "-c", code, *words]
        return subprocess.run(words, capture_output=True, text=True, check=True, env=environment)

    assert alone("init", "new").stdout.startswith("wrote new")
    assert contents(folder / "new") == EXPECTED
    sources = sorted(path for path in package if path.endswith((".py", ".yml", ".j2")))
    assert alone("code").stdout == f"{['wheel', *sources]}\n"
