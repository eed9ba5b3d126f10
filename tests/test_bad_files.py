"""Damaged and malicious files: one clear error, and their code does not run."""

import pickle
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import deep_nb
from deep_nb._blocks import kept
from deep_nb.claims import read_claims
from deep_nb.claims.evaluation import COLUMNS, TEXTS
from deep_nb.replication import compare, read_jobs, replicate, state, verify
from deep_nb.replication.records import read_record
from deep_nb.report import insert_claims, read_sections, read_table, write_report

from .test_replication import sign, write_notebook

pytestmark = pytest.mark.system

SOURCE = """
import deep_nb
from deep_nb import plotting
run = deep_nb.train("DEEP", "xor", seeds=range(n), hyper={"n_epochs": 3, "T1": 9, "T2": 9})
deep_nb.save(run, f"{output}/run.nc")
plotting.save_figure(plotting.plot_mse(run).figure, output, "mse", "MSE over epochs")
print(run["mse_free"].values[:, -1])
"""


def jobs(root):
    return read_jobs(root / "experiments.yml")


def against(root):
    return compare(root / "out", root / "good"), compare(root / "good", root / "out")


def sections(root):
    return read_sections(root / "out")


def block(root):
    return kept(root / "blocks", {"a": 1}, lambda: deep_nb.load(root / "good" / "n" / "run.nc"))


#: The files of a batch, each with the functions that read it.
READERS = {
    "experiments.yml": [jobs],
    "tiny.ipynb": [jobs],
    "claims.yml": [lambda root: read_claims((root / "claims.yml").read_text(encoding="utf-8"))],
    "page.md": [lambda root: insert_claims(root / "page.md", read_table(root / "good"))],
    "out/SHA256SUMS": [lambda root: verify(root / "out"), lambda root: write_report(root / "out")],
    "out/n/record.json": [
        lambda root: read_record(root / "out" / "n"),
        lambda root: state(jobs(root)[0], root / "out" / "n"),
    ],
    "out/n/tiny.ipynb": [sections, against],
    "out/n/run.nc": [lambda root: deep_nb.load(root / "out" / "n" / "run.nc"), against],
    "out/n/mse.svg": [sections],
    "out/claims/claims.csv": [lambda root: read_table(root / "out"), against],
    "blocks": [block],
}


@pytest.fixture(scope="module")
def batch(tmp_path_factory):
    """A finished batch with a claims table, a checkpoint, and an undamaged copy."""
    root = tmp_path_factory.mktemp("files")
    write_notebook(root / "tiny.ipynb", SOURCE)
    (root / "experiments.yml").write_text("experiments: [{name: n, notebook: tiny.ipynb}]\n")
    assert [o.status for o in replicate(jobs(root), root / "out")] == ["done"]
    shutil.copytree(root / "out" / "n", root / "out" / "claims")
    row = dict.fromkeys(COLUMNS, 1) | dict.fromkeys(TEXTS, "xor")
    pd.DataFrame([row]).to_csv(root / "out" / "claims" / "claims.csv", index=False)
    sign(root / "out")
    shutil.copytree(root / "out", root / "good")
    shutil.copy(Path(deep_nb.__file__).parent / "claims" / "claims.yml", root)
    (root / "page.md").write_text("<!-- claims: begin -->\n<!-- claims: end -->\n")
    block(root)
    return root


class Bomb:
    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return open, (self.path, "w")


def bombs(path):
    """Return files that write to a path if executed, or exhaust the memory if expanded."""
    array = np.array([Bomb(path)], dtype=object)
    entities = "".join(f'<!ENTITY a{i} "{f"&a{i - 1};" * 10}">' for i in range(1, 12))
    unfolds = f'<!DOCTYPE svg [<!ENTITY a0 "ha">{entities}]><svg><desc>&a11;</desc></svg>'
    aliases = "a0: &a0 [ha]\n" + "".join(
        f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 12)
    )
    return [
        pickle.dumps(Bomb(path)),
        pickle.dumps(Bomb(path), protocol=0),
        array.dumps(),
        f"!!python/object/apply:builtins.open [{path}, w]\n".encode(),
        f"experiments: !!python/object/apply:builtins.open [{path}, w]\n".encode(),
        unfolds.encode(),
        aliases.encode(),
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"<a>" * 100_000,
    ]


@st.composite
def damaged(draw, good, path):
    """Return a damaged version of a file."""
    place = st.integers(0, max(len(good) - 1, 0))
    content = bytearray(good)
    match draw(st.sampled_from(["cut", "flip", "insert", "overwrite", "whole", "bomb", "words"])):
        case "cut":
            del content[draw(place) :]
        case "flip":
            for where in draw(st.lists(place, min_size=1, max_size=20)) if good else ():
                content[where] ^= 1 << draw(st.integers(0, 7))
        case "insert":
            content[draw(place) : 0] = draw(st.binary(max_size=40))
        case "overwrite":
            where = draw(place)
            content[where : where + draw(st.integers(0, 300))] = draw(st.binary(max_size=300))
        case "whole":
            content[:] = draw(st.binary(max_size=300))
        case "bomb":
            content[:] = draw(st.sampled_from(bombs(path)))
        case "words":  # other values in a file that stays well formed
            numbers = [b"null", b"-1", b"1e999", b"NaN", b"[]", b"{}", b'""', b"true", b"9" * 5000]
            some = draw(st.sampled_from([b"1", b"0", b"true", b"false", b'"', b"{}", b"[]", b"n"]))
            content = content.replace(some, draw(st.sampled_from(numbers)), draw(st.integers(1, 3)))
    return bytes(content)


def error_of(read, batch):
    try:
        read(batch)
    except (ValueError, OSError) as error:
        return error
    return None


@pytest.mark.parametrize("name", READERS)
@settings(max_examples=settings.default.max_examples // 4)
@given(data=st.data())
def test_a_damaged_file_gives_one_clear_error(batch, name, data):
    path, marker = batch / name, batch / "executed"
    if path.is_dir():
        (path,) = path.iterdir()
    good = path.read_bytes()
    path.write_bytes(data.draw(damaged(good, marker)))
    try:
        for read in READERS[name]:
            error = error_of(read, batch)
            assert error is None or 10 < len(str(error)) < 2000
    finally:
        path.write_bytes(good)
        assert not marker.exists()
