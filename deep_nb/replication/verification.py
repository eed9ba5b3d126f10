"""Verification: whether files are what they were, and two batches say the same numbers."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from deep_nb._files import sha256, write_text
from deep_nb._provenance import differences
from deep_nb.kinds import NOTHING, TEXT, as_path, number, sequence, short, takes
from deep_nb.replication.notebooks import read_notebook
from deep_nb.replication.records import RECORD, read_record

CHECKSUMS = "SHA256SUMS"

_LINE = re.compile(r"([0-9a-f]{64}) [ *](.+)")
_NUMBER = re.compile(r"[-+−]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")


@takes(suffixes=sequence(TEXT) | NOTHING)
def write_checksums(folder: Path, suffixes: Sequence[str] | None = None) -> None:
    """Write ``SHA256SUMS`` from the records of a batch; ``sha256sum --check`` reads it.

    An experiment whose record is damaged is left out, which `verify` tells of.

    Parameters
    ----------
    folder : Path
        With one folder an experiment.
    suffixes : sequence of str, optional
        Endings of the files that are listed beside the records, such as ``".svg"``; all by default.

    Raises
    ------
    ValueError
        If `folder` is no path, or `suffixes` no sequence of texts.
    OSError
        If a record cannot be read or the list not be written.
    """
    folder = as_path(folder, "folder")
    sums = {}
    for path in folder.glob(f"*/{RECORD}"):
        with contextlib.suppress(ValueError):
            record = read_record(path.parent)
            for name, digest in record.files.items() if record else ():
                if suffixes is None or Path(name).suffix in suffixes:
                    sums[f"{path.parent.name}/{name}"] = digest
            sums[f"{path.parent.name}/{RECORD}"] = sha256(path)
    write_text(folder / CHECKSUMS, "".join(f"{sums[name]}  {name}\n" for name in sorted(sums)))


def read_checksums(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of each file that ``SHA256SUMS`` lists.

    Raises
    ------
    FileNotFoundError, OSError
        If there is no such list, or it cannot be read.
    ValueError
        If it is damaged, or names files outside of the folder, or `folder` is no path.
    """
    folder = as_path(folder, "folder")
    path = folder / CHECKSUMS
    if not path.is_file():
        raise FileNotFoundError(f"no {CHECKSUMS} in {folder}: is it a folder of deep-nb replicate?")
    sums = {}
    try:
        for line in path.read_text(encoding="utf-8").splitlines():
            match = _LINE.fullmatch(line)
            parts = Path(match[2]).parts if match else ()
            if not match or ".." in parts or Path(match[2]).is_absolute() or len(parts) != 2:
                raise ValueError(f"not a line of checksums: {line[:100]!r}")
            sums[match[2]] = match[1]
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error}") from None
    return sums


def verify(folder: str | Path) -> tuple[int, list[str]]:
    """Check the files of a batch, or of its figures, against ``SHA256SUMS``.

    Parameters
    ----------
    folder : path-like

    Returns
    -------
    checked : int
        How many files are listed.
    wrong : list of str
        A line for each that is not there, differs, or stands beside them without being listed.

    Raises
    ------
    FileNotFoundError, OSError, ValueError
        As `read_checksums`.
    """
    folder = as_path(folder, "folder")
    sums = read_checksums(folder)
    wrong = []
    for name, digest in sums.items():
        if not (folder / name).is_file():
            wrong.append(f"{name}: is not there")
        elif sha256(folder / name) != digest:
            wrong.append(f"{name}: differs from its SHA-256")
    recorded = {path.parent.name for path in folder.glob(f"*/{RECORD}")}
    for experiment in sorted({Path(name).parts[0] for name in sums} | recorded):
        for file in _files(folder / experiment):
            if f"{experiment}/{file.name}" not in sums:
                wrong.append(f"{experiment}/{file.name}: is not listed")
    return len(sums), wrong


def _files(folder: Path) -> list[Path]:
    """Return the files of an experiment, without hidden ones."""
    if not folder.is_dir():
        return []
    files = [path for path in folder.iterdir() if path.is_file()]
    return sorted(path for path in files if not path.name.startswith("."))


def compare(
    folder: str | Path, against: str | Path, rtol: float = 1e-6, atol: float = 1e-9
) -> tuple[int, list[str]]:
    """Compare two batches, or their figures, number by number.

    Compared are netCDF variables, tables (CSV) and what executed notebooks print, in experiments
    that both have and that ran with the same parameters. Figures show these numbers, and are not
    compared; nor is where results come from.

    Parameters
    ----------
    folder, against : path-like
        With one folder an experiment.
    rtol, atol : float
        Two numbers are the same if they differ by at most ``atol + rtol * |number in against|``;
        NaN is the same as NaN.

    Returns
    -------
    compared : int
        How many files have been compared.
    different : list of str
        A line for each difference: what, how many numbers, and the largest.

    Raises
    ------
    FileNotFoundError, OSError
        If a folder holds no experiment, or a file cannot be read.
    ValueError
        If `folder` or `against` is no path, a tolerance is negative or no number, or a file is not
        what its name says.
    """
    if not (number(0).accepts(rtol) and number(0).accepts(atol)):
        raise ValueError(
            f"tolerances must be 0 or more, got rtol={short(rtol)}, atol={short(atol)}"
        )
    rtol, atol = float(rtol), float(atol)
    sides = [as_path(folder, "folder"), as_path(against, "against")]
    found = [{path.parent.name for path in side.glob("*/*.ipynb")} for side in sides]
    for side, names in zip(sides, found, strict=True):
        if not names:
            raise FileNotFoundError(f"no executed notebooks in {side}")
    compared = 0
    different = [f"{name}: only in {sides[0]}" for name in sorted(found[0] - found[1])]
    different += [f"{name}: only in {sides[1]}" for name in sorted(found[1] - found[0])]
    for name in sorted(found[0] & found[1]):
        count, lines = _compare_experiments(sides[0] / name, sides[1] / name, rtol, atol)
        compared += count
        different += [f"{name}/{line}" for line in lines]
    return compared, different


def _compare_experiments(one: Path, other: Path, rtol: float, atol: float) -> tuple[int, list[str]]:
    compared, lines = 0, []
    names = [{p.name for p in _files(side) if _reader(p)} for side in (one, other)]
    for path in sorted(one.glob("*.ipynb")):
        if path.name in names[1]:
            parameters = [
                _metadata(side / path.name).get("parameters", {}) for side in (one, other)
            ]
            changed = differences(*parameters)
            if changed:
                return 0, [f"{path.name}: other parameters, not compared: {'; '.join(changed)}"]
    for name in sorted(names[0] & names[1]):
        compared += 1
        pieces = [dict(_reader(side / name)(side / name)) for side in (one, other)]
        for key in sorted({*pieces[0], *pieces[1]}):
            if key not in pieces[0] or key not in pieces[1]:
                lines.append(f"{name}: {key} on one side only")
                continue
            difference = _difference(pieces[0][key], pieces[1][key], rtol, atol)
            if difference:
                lines.append(f"{name}: {key}: {difference}")
    # Figures of a batch are kept without its netCDF files.
    for name in sorted(n for n in names[0] ^ names[1] if not n.endswith(".nc")):
        lines.append(f"{name}: on one side only")
    return compared, lines


def _difference(one: np.ndarray, other: np.ndarray, rtol: float, atol: float) -> str:
    """Say how two arrays differ, in the number and size of their differences; empty if not."""
    if one.shape != other.shape:
        return f"shape {one.shape} against {other.shape}"
    numeric = [side.dtype.kind in "biuf" for side in (one, other)]
    if all(numeric):
        one, other = one.astype(float), other.astype(float)
        same = np.isclose(one, other, rtol=rtol, atol=atol, equal_nan=True)
        with np.errstate(invalid="ignore"):
            size = np.where(same, 0.0, np.nan_to_num(np.abs(one - other), nan=np.inf))
    else:
        same = one.astype(str) == other.astype(str)
        size = (~same).astype(float)
    if same.all():
        return ""
    worst = np.unravel_index(size.argmax(), size.shape)
    example = f"{one[worst]!s:.60} against {other[worst]!s:.60}"
    return f"{np.count_nonzero(~same)} of {same.size} differ, most {example}"


def _reader(path: Path) -> Any:
    """Return how the numbers of a file are read, None where it holds none to compare."""
    suffixes = {".nc": _netcdf, ".csv": _table, ".ipynb": _printed, ".md": _text}
    return _table if path.name.endswith(".csv.gz") else suffixes.get(path.suffix)


def _netcdf(path: Path) -> Iterator[tuple[str, np.ndarray]]:
    try:
        with xr.open_dataset(path, engine="netcdf4") as dataset:
            for name in dataset.variables:
                yield str(name), np.asarray(dataset[name].values)
    except Exception as error:  # of whatever kind: xarray takes what it reads on trust
        raise ValueError(f"{path} is not a readable netCDF file: {error}") from None


def _table(path: Path) -> Iterator[tuple[str, np.ndarray]]:
    try:
        table = pd.read_csv(path)
    except (OSError, EOFError, ValueError) as error:
        raise ValueError(f"{path} is not a readable table: {error}") from None
    for name in table.columns:
        yield f"column {name}", table[name].to_numpy()


def _text(path: Path) -> Iterator[tuple[str, np.ndarray]]:
    return _numbers_and_words(path.read_text(encoding="utf-8"), "text")


def _printed(path: Path) -> Iterator[tuple[str, np.ndarray]]:
    cells = read_notebook(path).cells
    for place, cell in enumerate(cells):
        texts = [
            output.get("text", "") or _shown(output.get("data", {}))
            for output in cell.get("outputs", [])
            if output.get("name") != "stderr"
        ]
        yield from _numbers_and_words("".join(texts), f"cell {place}")


def _shown(data: dict[str, str]) -> str:
    """Return the text of a result that is displayed, unless it tells an address in memory."""
    text = data.get("text/markdown") or data.get("text/plain", "")
    return "" if " at 0x" in text else text


def _numbers_and_words(text: str, where: str) -> Iterator[tuple[str, np.ndarray]]:
    numbers = [float(n.replace("−", "-")) for n in _NUMBER.findall(text)]
    words = re.sub(r"[\s\-]+", " ", _NUMBER.sub("#", text))  # columns may be wider or narrower
    yield f"{where}, numbers", np.array(numbers, dtype=float)
    yield f"{where}, words", np.array([words])


def _metadata(path: Path) -> dict[str, Any]:
    return dict(read_notebook(path).metadata.get("deep_nb", {}))
