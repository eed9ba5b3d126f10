"""Comparison of two batches, and of files with their checksums."""

import gzip
import os
import re
import shutil

import nbformat
import netCDF4
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from deep_nb._provenance import stamp
from deep_nb.replication import compare, verify
from deep_nb.replication.verification import (
    _difference,
    _parameters,
    _printed,
    read_checksums,
    write_checksums,
)

from .conftest import refused
from .test_replication import run, sign


def write(root, name="a", printed="MSE 0.25 of 3\n", parameters=None, x=(1.0, np.nan), n=(3, 4)):
    """Write an experiment like a batch does: notebook, run, table, text."""
    folder = root / name
    folder.mkdir(parents=True)
    cell = new_code_cell("print()", outputs=[new_output("stream", name="stdout", text=printed)])
    logged = new_output("stream", name="stderr", text=str(np.random.default_rng().random()))
    notebook = new_notebook(cells=[cell, new_code_cell("log()", outputs=[logged])])
    notebook.metadata["deep_nb"] = {"parameters": parameters or {"n": 3}, "started": name}
    nbformat.write(notebook, folder / "x.ipynb")
    xr.Dataset({"x": ("i", np.array(x)), "word": ("j", ["a", "b"])}).to_netcdf(folder / "run.nc")
    pd.DataFrame({"n": n, "verdict": ["yes", "no"]}).to_csv(folder / "t.csv", index=False)
    (folder / "t.md").write_text(f"| {n[0]} |\n|---|\n")
    sign(root)


@pytest.fixture
def one(tmp_path):
    write(tmp_path / "one")
    return tmp_path / "one"


def test_equal_numbers_agree(one, tmp_path):
    """Within the tolerance; NaN, the width of printed columns and the provenance do not count."""
    write(tmp_path / "two", x=(1.0 + 1e-8, np.nan), printed="MSE   0.250000001  of 3\n")
    for path in (tmp_path / "two" / "a").iterdir():
        if path.suffix == ".nc":
            stamp(path, {"where": "elsewhere"})
    assert compare(one, tmp_path / "two") == (4, [])
    count, different = compare(one, tmp_path / "two", rtol=0, atol=0)
    assert count == 4
    assert different == [
        "a/run.nc: x: 1 of 2 differ, most 1.0 against 1.00000001",
        "a/x.ipynb: cell 0, numbers: 1 of 2 differ, most 0.25 against 0.250000001",
    ]


@pytest.mark.parametrize(
    ("change", "lines"),
    [
        ({"x": (1.0, 2.0)}, ["a/run.nc: x: 1 of 2 differ, most nan against 2.0"]),
        ({"x": (3.0, np.nan)}, ["a/run.nc: x: 1 of 2 differ, most 1.0 against 3.0"]),
        ({"x": (1.0, np.nan, 0.0)}, ["a/run.nc: x: shape (2,) against (3,)"]),
        ({"printed": "MSE 0.25 of 4\n"}, ["a/x.ipynb: cell 0, numbers: 1 of 2 differ, most 3.0"]),
        ({"printed": "error 0.25 of 3\n"}, ["a/x.ipynb: cell 0, words: 1 of 1 differ"]),
        ({"n": (5, 4)}, ["a/t.csv: column n: 1 of 2 differ, most 3.0 against 5.0", "a/t.md: text"]),
        ({"parameters": {"n": 4}}, ["a/x.ipynb: other parameters, not compared: n: 3 → 4"]),
    ],
)
def test_each_difference_is_reported(one, tmp_path, change, lines):
    write(tmp_path / "two", **change)
    different = compare(one, tmp_path / "two")[1]
    assert len(different) == len(lines)
    for line, start in zip(different, lines, strict=True):
        assert line.startswith(start)


def test_files_on_one_side_only_are_reported(one, tmp_path):
    write(tmp_path / "two")
    write(tmp_path / "two", name="b")
    (tmp_path / "two" / "a" / "t.md").unlink()
    (tmp_path / "two" / "a" / "run.nc").unlink()  # allowed: figures are kept without it
    table = tmp_path / "two" / "a" / "t.csv"
    pd.read_csv(table).rename(columns={"verdict": "answer"}).to_csv(table, index=False)
    count, different = compare(one, tmp_path / "two")
    assert (count, compare(tmp_path / "two", one)[0]) == (2, 2)
    assert different == [
        f"b: only in {tmp_path / 'two'}",
        "a/t.csv: column answer on one side only",
        "a/t.csv: column verdict on one side only",
        "a/t.md: on one side only",
    ]


@pytest.mark.parametrize("origin", [3, {"parameters": [3]}])
def test_a_notebook_without_a_mapping_of_parameters_is_refused(one, tmp_path, origin):
    write(tmp_path / "two")
    path = tmp_path / "two" / "a" / "x.ipynb"
    notebook = nbformat.read(path, as_version=4)
    notebook.metadata["deep_nb"] = origin
    nbformat.write(notebook, path)
    with pytest.raises(ValueError, match=r"x\.ipynb: .* must be a mapping"):
        compare(one, tmp_path / "two")


def test_the_command_shows_differences_and_exits_with_1(one, tmp_path):
    write(tmp_path / "two", x=(9.0, np.nan))
    words = ["verify", one, "--against", tmp_path / "two"]
    result = run(*words)
    assert result.exit_code == 1
    assert result.stdout == "a/run.nc: x: 1 of 2 differ, most 1.0 against 9.0\n"
    assert "1 differences in 4 files" in result.stderr
    result = run(*words, "--rtol", 1)
    assert result.exit_code == 0
    assert result.stdout == f"4 files in {one} and {tmp_path / 'two'} contain the same numbers\n"


def test_checksums_find_changed_missing_and_additional_files(one):
    assert verify(one) == (5, [])
    (one / "a" / "t.csv").write_text("n\n3\n")
    (one / "a" / "t.md").unlink()
    (one / "a" / "new.csv").write_text("")
    assert verify(one) == (
        5,
        ["a/t.csv: differs from its SHA-256", "a/t.md: missing", "a/new.csv: not listed"],
    )
    result = run("verify", one)
    assert result.exit_code == 1
    assert len(result.stdout.splitlines()) == 3


@pytest.mark.parametrize(
    "line",
    [
        *(f"{'0' * 64}  {name}" for name in ("../../etc/passwd", "/etc/passwd", "a/../x", "x")),
        *(f"{'0' * 64}  {name}" for name in ("a/./x", "a//x", "a/x/", "a/\x1b[31m", "a" * 256)),
        "0" * 63 + "  a/x",
        f"{'1' * 64}  a/x\n{'0' * 64}  a/x",
        "\0",
    ],
)
def test_checksums_of_files_outside_the_folder_are_refused(one, line):
    (one / "SHA256SUMS").write_text(line + "\n")
    with pytest.raises(ValueError, match="SHA256SUMS is damaged: not a line of checksums"):
        verify(one)


def test_checksums_can_be_restricted_to_some_suffixes(one):
    write_checksums(one, [".csv", ".md"])
    assert list(read_checksums(one)) == ["a/record.json", "a/t.csv", "a/t.md"]


@pytest.mark.parametrize("damage", ["{", None])
def test_a_damaged_or_lost_record_is_reported_and_its_files_stay_listed(one, damage):
    write(one, name="b")
    listed = read_checksums(one)
    if damage:
        (one / "a" / "record.json").write_text(damage)
    else:
        (one / "a" / "record.json").unlink()
    write_checksums(one)
    assert read_checksums(one) == listed
    fault = "differs from its SHA-256" if damage else "missing"
    assert verify(one) == (10, [f"a/record.json: {fault}"])
    (one / "a" / ".record.json").touch()  # an interrupted run may have replaced its files
    (one / "a" / "record.json").unlink(missing_ok=True)
    write_checksums(one)
    assert {name.partition("/")[0] for name in read_checksums(one)} == {"b"}
    shutil.rmtree(one / "b")
    write_checksums(one)
    assert read_checksums(one) == {}


@pytest.mark.parametrize("text", ["not a list\n", f"{'0' * 64}  a/t.csv\n", f"{'0' * 64}  x\n"])
def test_checksums_that_no_batch_has_written_are_renamed(one, text):
    (one / "SHA256SUMS").write_text(text)
    write_checksums(one)
    assert verify(one) == (5, [])
    assert (one / "SHA256SUMS.~1~").read_text() == text


def test_everything_that_is_not_listed_is_reported(one):
    (one / "a" / "sub" / "deep").mkdir(parents=True)
    for name in ("sub/x.txt", "sub/deep/x.csv", ".hidden", "sub/empty"):
        (one / "a" / name).touch()
    (one / "a" / "link").symlink_to(one / "a" / "t.csv")
    (one / "a" / "folder").symlink_to(one / "a" / "sub")
    (one / "a" / "gone").symlink_to(one / "nothing")
    os.mkfifo(one / "a" / "pipe.svg")
    for name in ("copied/t.csv", "copied/p.png", "deep/p.png", "deep/.sub/x.csv"):
        (one / name).parent.mkdir(parents=True, exist_ok=True)
        (one / name).touch()
    (one / "elsewhere").symlink_to(one / "a")
    (one / "file").symlink_to("/etc/passwd")
    (one / "loose").symlink_to(one / "nothing")
    (one / "experiments.yml").touch()  # not in a folder
    (one / "benchmarks").mkdir()  # holds figures, but no experiment
    (one / "benchmarks" / "growth.svg").touch()
    (one / ".working").mkdir()  # of the batch
    (one / ".working" / "t.csv").touch()
    assert verify(one) == (5, [
        "a/.hidden: not listed", "a/folder: not listed", "a/gone: not listed",
        "a/link: not listed", "a/pipe.svg: not listed", "a/sub/deep/x.csv: not listed",
        "a/sub/empty: not listed", "a/sub/x.txt: not listed", "copied/p.png: not listed",
        "copied/t.csv: not listed", "deep/.sub/x.csv: not listed", "deep/p.png: not listed",
        "elsewhere: is a link", "file: is a link", "loose: is a link",
    ])  # fmt: skip


def test_a_link_to_checksums_is_reported(one, tmp_path):
    (one / "SHA256SUMS").rename(tmp_path / "sums")
    (one / "SHA256SUMS").symlink_to(tmp_path / "sums")
    assert verify(one) == (5, ["SHA256SUMS: is a link"])


def test_files_in_sub_folders_are_listed_verified_and_compared(one, tmp_path):
    write(tmp_path / "two")
    for root, mse in ((one, 1), (tmp_path / "two", 2)):
        (root / "a" / "sub").mkdir()
        (root / "a" / "sub" / "mse.csv").write_text(f"mse\n{mse}\n")
        other = new_notebook(metadata={"deep_nb": {"parameters": {"n": mse}}})  # not this one's
        nbformat.write(other, root / "a" / "sub" / "x.ipynb")
        sign(root)
        assert "a/sub/mse.csv" in read_checksums(root)
        assert verify(root) == (7, [])
    (one / "a" / ".ipynb_checkpoints").mkdir()
    (one / "a" / ".ipynb_checkpoints" / "t.csv").write_text("n\n5\n")
    count, different = compare(one, tmp_path / "two")
    assert count == 6
    assert different == ["a/sub/mse.csv: column mse: 1 of 1 differ, most 1.0 against 2.0"]
    (one / "a" / "sub" / "mse.csv").write_text("mse\n3\n")
    assert verify(one)[1] == [
        "a/sub/mse.csv: differs from its SHA-256", "a/.ipynb_checkpoints/t.csv: not listed",
    ]  # fmt: skip


def test_what_replaces_a_listed_file_is_reported(one, tmp_path):
    write(one, name="b")
    sign(one)
    (one / "a" / "t.csv").rename(tmp_path / "same.csv")
    (one / "a" / "t.csv").symlink_to(tmp_path / "same.csv")
    (one / "a" / "t.md").unlink()
    os.mkfifo(one / "a" / "t.md")
    (one / "b").rename(tmp_path / "b")
    (one / "b").symlink_to(tmp_path / "b")
    wrong = verify(one)[1]
    assert wrong[:2] == ["a/t.csv: is a link", "a/t.md: is not a regular file"]
    assert wrong[2:] == [
        *(f"b/{name}: is a link" for name in ("record.json", "run.nc", "t.csv", "t.md", "x.ipynb")),
        "b: is a link",
    ]


def test_names_cannot_control_the_terminal(one, tmp_path):
    (one / "a" / "\x1b[31mred.csv").write_text("n\n3\n")
    write(tmp_path / "two")
    for line in (verify(one)[1][0], compare(one, tmp_path / "two")[1][0]):
        assert line.startswith(r"a/\x1b[31mred.csv: ")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["t.csv.gz", "t.csv", "x.ipynb", "t.md"])
def test_files_that_expand_to_too_much_are_refused(one, tmp_path, name):
    write(tmp_path / "two")
    (tmp_path / "two" / "a" / name).touch()
    if name.endswith(".gz"):
        with gzip.open(one / "a" / name, "wb", compresslevel=1) as file:
            file.write(b"n\n" + bytes(2**26))
        assert (one / "a" / name).stat().st_size < 2**20
    else:
        os.truncate(one / "a" / name, 2**40)  # sparse: a terabyte on paper
    with pytest.raises(ValueError, match=f"{name} is too large: it may have at most 67108864"):
        compare(one, tmp_path / "two")


@pytest.mark.parametrize("text", ["n{}\n3\n", "n\n3{}\n"])
def test_a_table_of_too_many_columns_is_refused(one, tmp_path, text):
    write(tmp_path / "two")
    for root in (one, tmp_path / "two"):
        (root / "a" / "t.csv").write_text(text.format("," * 4_000_000))
    with pytest.raises(ValueError, match=r"t\.csv is too large: it may have at most 10000 columns"):
        compare(one, tmp_path / "two")


def test_a_huge_netcdf_variable_is_refused_before_it_is_read(one, tmp_path):
    write(tmp_path / "two")
    with netCDF4.Dataset(one / "a" / "run.nc", "a") as dataset:
        dataset.createDimension("huge", 2**42)
        dataset.createVariable("bomb", "f8", ("huge",), chunksizes=(2**20,))
    assert (one / "a" / "run.nc").stat().st_size < 2**20
    with pytest.raises(ValueError, match=r"run\.nc is too large: it needs 35184 GB of memory"):
        compare(one, tmp_path / "two")


def test_a_damaged_table_is_refused(one, tmp_path):
    write(tmp_path / "two")
    for root in (one, tmp_path / "two"):
        (root / "a" / "t.csv.gz").write_bytes(gzip.compress(b"n\n3\n")[:-9])
    with pytest.raises(ValueError, match=r"t\.csv\.gz is not a complete gzip file"):
        compare(one, tmp_path / "two")


# Tolerances


@pytest.mark.parametrize(
    ("ours", "theirs", "tolerances", "agree"),
    [
        (1.0, 1.8, {"rtol": 0.5, "atol": 0}, True),  # 0.8 of 1.8, the number in against
        (1.8, 1.0, {"rtol": 0.5, "atol": 0}, False),
        (3.0, 3.2, {"rtol": 0, "atol": 0.25}, True),
        (3.0, 3.2, {"rtol": 0.01, "atol": 0}, False),
        (3e9, 3e9 + 2000, {}, True),
        (3e9, 3e9 + 4000, {}, False),
        (0.0, 0.9e-9, {}, True),
        (0.0, 1.1e-9, {}, False),
    ],
)
def test_two_numbers_agree_within_the_tolerances(tmp_path, ours, theirs, tolerances, agree):
    for side, value in {"ours": ours, "theirs": theirs}.items():
        write(tmp_path / side, x=(value, 0.0))
    different = compare(tmp_path / "ours", tmp_path / "theirs", **tolerances)[1]
    assert (different == []) == agree


def test_the_largest_difference_is_shown_whatever_its_sign(one, tmp_path):
    write(tmp_path / "two", x=(9.0, np.nan), n=(9, 3))
    line = "a/t.csv: column n: 2 of 2 differ, most 3.0 against 9.0"
    assert compare(one, tmp_path / "two")[1][1] == line


# What counts as equal, and what is said where it is not


def test_what_a_notebook_shows_is_compared(one, tmp_path):
    """Text, tables in Markdown and results; not pages, pictures and addresses of objects."""

    def shown(number):
        table = f"| {number}0 | −{number}.5e-1 |"
        data = {"text/plain": "a table", "text/markdown": table}
        return [
            new_output("display_data", data=data),
            new_output("stream", name="stdout", text=f"first {number}\n"),
            new_output("execute_result", data={"text/plain": f"-.{number}, step-size"}),
            new_output("display_data", data={"text/html": f"<p>{number}</p>"}),
            new_output("display_data", data={"text/plain": f"<Figure at 0x{number}>"}),
            new_output("error", ename="E", evalue=f"{number}"),
        ]

    pieces = {}
    for side, number in ((one, 3), (tmp_path / "two", 4)):
        (side / "a").mkdir(parents=True, exist_ok=True)
        cells = [new_markdown_cell(f"# {number}"), new_code_cell("1", outputs=shown(number))]
        cells.append(new_code_cell(f"{number}"))  # without outputs
        nbformat.write(new_notebook(cells=cells), side / "a" / "x.ipynb")
        pieces[number] = dict(_printed(side / "a" / "x.ipynb"))
    assert [*pieces[3]] == [f"cell {k}, {what}" for k in range(3) for what in ("numbers", "words")]
    for number, found in pieces.items():
        expected = [10 * number, -(number + 0.5) / 10, number, -number / 10]
        assert found["cell 1, numbers"].dtype == float
        assert found["cell 1, numbers"].tolist() == pytest.approx(expected, rel=1e-15)
        assert found["cell 1, words"].tolist() == ["| # | # |first # #, step size"]
        for place in (0, 2):
            assert found[f"cell {place}, numbers"].dtype == float
            assert found[f"cell {place}, numbers"].size == 0
            assert found[f"cell {place}, words"].tolist() == [""]
    different = compare(one, tmp_path / "two")[1]
    assert "a/x.ipynb: cell 1, numbers: 4 of 4 differ, most 30.0 against 40.0" in different


def test_experiments_of_one_side_and_files_of_all_others_are_counted(one, tmp_path):
    write(one, name="b")
    write(one, name="c")
    for name in ("b", "c", "d"):
        write(tmp_path / "two", name=name)
    assert compare(one, tmp_path / "two") == (
        8, [f"a: only in {one}", f"d: only in {tmp_path / 'two'}"],
    )  # fmt: skip


def test_two_infinities_are_equal_unless_their_signs_differ(one, tmp_path):
    for name, x in (("two", (np.inf, -np.inf)), ("three", (np.inf, np.inf))):
        write(tmp_path / name, x=x)
    assert compare(tmp_path / "two", tmp_path / "two")[1] == []
    line = "a/run.nc: x: 1 of 2 differ, most -inf against inf"
    assert compare(tmp_path / "two", tmp_path / "three")[1] == [line]
    line = "a/run.nc: x: 2 of 2 differ, most nan against inf"
    assert compare(one, tmp_path / "three")[1] == [line]


@pytest.mark.parametrize(
    ("one", "other", "line"),
    [
        ([True, False], [True, True], "1 of 2 differ, most 0.0 against 1.0"),
        ([1, 2], [1.0, 2.5], "1 of 2 differ, most 2.0 against 2.5"),
        ([[1, 2], [3, 4]], [[1, 3], [3, 9]], "2 of 4 differ, most 4.0 against 9.0"),
        (["a", "b"], ["a", "c"], "1 of 2 differ, most b against c"),
        ([1, 2], ["1", "3"], "1 of 2 differ, most 2 against 3"),
        (["x" * 90], ["y" * 90], f"1 of 1 differ, most {'x' * 60} against {'y' * 60}"),
        ([1.0], [1.0, 2.0], "shape (1,) against (2,)"),
        ([1.0, np.nan], [1.0, np.nan], ""),
        ([1 + 2**-20], [1.0], ""),
        ([1 + 2**-18], [1.0], f"1 of 1 differ, most {1 + 2**-18} against 1.0"),
    ],
)
def test_a_difference_is_described_by_its_count_and_its_largest(one, other, line):
    assert _difference(np.array(one), np.array(other), 1e-6, 1e-9) == line


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rtol": -1}, "rtol must be a finite number of at least 0, got -1"),
        ({"rtol": np.inf}, "rtol must be a finite number of at least 0, got inf"),
        ({"atol": "x"}, "atol must be a finite number of at least 0, got 'x'"),
        ({"folder": 3}, "folder must be a valid path (str or os.PathLike), got 3"),
        ({"against": 3}, "against must be a valid path (str or os.PathLike), got 3"),
    ],
)
def test_arguments_of_a_comparison_are_named(one, arguments, message):
    with refused(message):
        compare(**{"folder": one, "against": one, **arguments})


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("run.nc", b"", "{} is not a readable netCDF file: "),
        ("t.csv", b'n\n"3\n', "{} is not a readable table: "),
        ("x.ipynb", b"{", "{} is not a notebook: "),
    ],
)
def test_a_damaged_file_is_named(one, name, content, message):
    (one / "a" / name).write_bytes(content)
    start = re.escape(message.format(one / "a" / name))
    with pytest.raises(ValueError, match=rf"\A{start}\S"):
        compare(one, one)


def test_folders_without_a_batch_are_named(one, tmp_path):
    with refused("folder must be a valid path (str or os.PathLike), got 3"):
        verify(3)
    (tmp_path / "empty").mkdir()
    message = f"no SHA256SUMS in {tmp_path / 'empty'}: is it an output folder of deep-nb replicate?"
    with refused(message, FileNotFoundError):
        verify(tmp_path / "empty")
    for sides in ([one, tmp_path / "empty"], [tmp_path / "empty", one]):
        with refused(f"no executed notebooks in {tmp_path / 'empty'}", FileNotFoundError):
            compare(*sides)
    line = "0" * 64 + "  " + "x" * 99
    (one / "SHA256SUMS").write_text(line)
    message = f"{one / 'SHA256SUMS'} is damaged: not a line of checksums, or a second one: "
    with refused(message + repr(line[:100])):
        verify(one)


@pytest.mark.parametrize("missing", ["deep_nb", "parameters"])
def test_a_notebook_of_unknown_parameters_agrees_with_one_without_any(one, tmp_path, missing):
    write(tmp_path / "two")
    for side in (one, tmp_path / "two"):
        path = side / "a" / "x.ipynb"
        notebook = nbformat.read(path, as_version=4)
        del (notebook.metadata if missing == "deep_nb" else notebook.metadata["deep_nb"])[missing]
        nbformat.write(notebook, path)
        assert _parameters(path) == {}
    assert compare(one, tmp_path / "two") == (4, [])
