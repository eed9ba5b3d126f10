"""Limits of what is read, at their boundaries, and what may reach a terminal."""

import gzip
import types

import netCDF4
import psutil
import pytest

from deep_nb import _reading
from deep_nb._reading import check_netcdf, read_bytes, read_csv, read_text, read_yaml
from deep_nb._validation import as_path, printable
from deep_nb.replication import jobs, read_jobs

from .test_replication import write_notebook


@pytest.mark.parametrize("name", ["a.bin", "a.gz"])
def test_a_file_may_have_exactly_the_most_bytes(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(gzip.compress(b"\x00" * 1000) if name == "a.gz" else b"\x00" * 1000)
    assert read_bytes(path, 1000) == b"\x00" * 1000
    with pytest.raises(ValueError, match=rf"{path} is too large: it may have at most 999 bytes"):
        read_bytes(path, 999)


def test_only_regular_files_are_read(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no such file: .*none"):
        read_bytes(tmp_path / "none")
    with pytest.raises(ValueError, match="is not a regular file"):
        read_bytes(tmp_path)
    (tmp_path / "a.gz").write_bytes(b"n\n3\n")
    with pytest.raises(ValueError, match=r"a\.gz is not a complete gzip file"):
        read_bytes(tmp_path / "a.gz")


def test_lines_of_every_system_are_read(tmp_path):
    (tmp_path / "a").write_bytes("é\r\nb\rc\n".encode())
    assert read_text(tmp_path / "a") == "é\nb\nc\n"
    (tmp_path / "a").write_bytes(b"\xff")
    with pytest.raises(ValueError, match="is not a UTF-8 text"):
        read_text(tmp_path / "a")


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("abc", 4),
        ("[a, bc]", 6),
        ("{a: bc}", 6),
        ("[&x abc, *x, *x]", 13),
        ("[&x [a], &y [*x, *x], *y, *y]", 1 + 3 + 3 * 7),
        ("{a: &x {b: c}, d: {<<: *x}}", 1 + 2 + 5 + 2 + 1 + 3 + 5),
    ],
)
def test_the_size_of_yaml_counts_what_aliases_expand_to(monkeypatch, text, size):
    monkeypatch.setattr(_reading, "LARGEST_YAML", size)
    read_yaml(text)
    monkeypatch.setattr(_reading, "LARGEST_YAML", size - 1)
    with pytest.raises(ValueError, match=f"expands to more than {size - 1} characters"):
        read_yaml(text)


def test_yaml_is_read_as_before():
    assert read_yaml("") is None
    assert read_yaml("a: [1, 2.5, x, null, true]\nb: &b {c: d}\ne: *b") == {
        "a": [1, 2.5, "x", None, True], "b": {"c": "d"}, "e": {"c": "d"},
    }  # fmt: skip
    assert read_yaml("{1: a, '1': b}") == {1: "a", "1": "b"}  # two keys
    assert read_yaml("a: &x {b: 1, c: 2}\nd: {<<: *x, b: 3}")["d"] == {"b": 3, "c": 2}


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("maybe", "bool"),
        ("''", "int"),
        ("0b", "int"),
        ("1:x", "int"),
        ("''", "float"),
        ("x", "timestamp"),
        ("2001-99-99", "timestamp"),
    ],
)
def test_values_of_another_type_than_their_tag_are_refused_with_their_line(text, kind):
    with pytest.raises(ValueError, match=f"^line 2: '?{text}'? is not a valid {kind}$"):
        read_yaml(f"a:\n- {{b: !!{kind} {text}}}")
    with pytest.raises(ValueError, match=r"^line 1: '2001-02-30' is not a valid timestamp$"):
        read_yaml("2001-02-30: 1")
    assert read_yaml("[!!bool yes, !!int '12', !!float 1]") == [True, 12, 1.0]


@pytest.mark.parametrize("text", ["a,b,c\n1,2,3\n", "a\n1,2,3\n"])
def test_a_table_may_have_exactly_the_most_columns(tmp_path, monkeypatch, text):
    (tmp_path / "a.csv").write_text(text)
    monkeypatch.setattr(_reading, "MOST_COLUMNS", 3)
    assert read_csv(tmp_path / "a.csv").reset_index().to_numpy()[0, -1] == 3
    monkeypatch.setattr(_reading, "MOST_COLUMNS", 2)
    with pytest.raises(ValueError, match=r"a\.csv is too large: it may have at most 2 columns"):
        read_csv(tmp_path / "a.csv")


def test_a_netcdf_file_may_need_exactly_the_free_memory(tmp_path, monkeypatch):
    with netCDF4.Dataset(tmp_path / "a.nc", "w") as dataset:
        dataset.createDimension("x", 3000)
        dataset.createDimension("y", 4000)
        dataset.createVariable("a", "f8", ("x", "y"), chunksizes=(1, 4000))
        dataset.createVariable("b", "i2", ("x",))
        dataset.createVariable("c", str, ("y",))
        dataset.createVariable("d", "f4")
    declared = 3000 * 4000 * 8 + 3000 * 2 + 4000 * 8 + 4
    (tmp_path / "b.nc").write_bytes(b"not netCDF")
    free = types.SimpleNamespace()
    monkeypatch.setattr(psutil, "virtual_memory", lambda: free)
    for name, need in (("a.nc", declared), ("b.nc", 10)):
        free.available = need
        check_netcdf(tmp_path / name)
        free.available = need - 1
        with pytest.raises(ValueError, match=f"{name} is too large: it needs .* GB of memory"):
            check_netcdf(tmp_path / name)


def test_the_number_of_experiments_and_the_length_of_names_are_bounded(tmp_path, monkeypatch):
    write_notebook(tmp_path / "tiny.ipynb", "1")
    path = tmp_path / "experiments.yml"
    monkeypatch.setattr(jobs, "MAX_JOBS", 3)
    entry = "{name: '%s', notebook: tiny.ipynb, matrix: {n: [%s]}}"
    path.write_text(f"experiments: [{entry % ('a{n}', '1, 2')}, {entry % ('é' * 100, 1)}]")
    assert [job.name for job in read_jobs(path)] == ["a1", "a2", "é" * 100]
    path.write_text(f"experiments: [{entry % ('a{n}', '1, 2')}, {entry % ('b{n}', '1, 2')}]")
    with pytest.raises(ValueError, match="has 4 experiments, more than 3"):
        read_jobs(path)


def test_parts_of_a_path_are_measured_in_bytes():
    for name in ("x" * 255, "é" * 127 + "x", "a/" + "x" * 255, "\udcff"):
        assert str(as_path(name, "it")) == name
    for name in ("x" * 256, "é" * 128, "a/" + "x" * 256, "\ud800"):
        with pytest.raises(ValueError, match="it must be a valid path"):
            as_path(name, "it")


def test_control_characters_and_surrogates_are_escaped():
    assert printable("plain: é → µ\n\tnext") == "plain: é → µ\n\tnext"
    assert printable("\x1b[31m\x00\x07\r\x7f\x9b\u202e\ud800") == (
        r"\x1b[31m\x00\x07\r\x7f\x9b\u202e\ud800"
    )


def test_the_options_of_pandas_are_passed_on(tmp_path):
    (tmp_path / "x.csv").write_text("id,n\n007,1\n")
    table = read_csv(tmp_path / "x.csv", dtype={"id": str})
    assert table.to_dict("records") == [{"id": "007", "n": 1}]
