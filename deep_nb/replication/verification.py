"""Verification: files against their checksums, and two batches number by number."""

import contextlib
import os
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from deep_nb._files import contents, is_regular, set_aside, sha256, write_text
from deep_nb._netcdf import read_netcdf
from deep_nb._provenance import differences
from deep_nb._reading import check_netcdf, read_csv, read_text
from deep_nb._validation import as_path, check_name, mapping, number, printable
from deep_nb.replication.names import CHECKSUMS, PENDING, RECORD
from deep_nb.replication.notebooks import read_notebook
from deep_nb.replication.records import damage, read_record

_LINE = re.compile(r"([0-9a-f]{64}) [ *](.+)")
_NUMBER = re.compile(r"[-+−]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")

#: The pieces of a file that are compared, each with its name.
Pieces = Iterator[tuple[str, np.ndarray]]


def write_checksums(folder: Path, suffixes: Sequence[str] | None = None) -> None:
    """Write ``SHA256SUMS`` from the records of a batch, for files with these suffixes or all.

    An experiment whose record is damaged or missing keeps its lines, so that `verify` reports it,
    and the next run knows which files it left.
    """
    earlier = listed_before(folder)
    target, sums = folder / CHECKSUMS, {}
    empty = is_regular(target) and target.stat().st_size == 0
    if not earlier and not empty and os.path.lexists(target):
        set_aside(target)
    for path in folder.glob("[!.]*/"):
        try:
            experiment = check_name(path.name)
            record = read_record(path)
        except ValueError:
            record = None
        if record is not None:
            for name, digest in record.files.items():
                if suffixes is None or Path(name).suffix in suffixes:
                    sums[f"{experiment}/{name}"] = digest
            sums[f"{experiment}/{RECORD}"] = sha256(path / RECORD)
        elif not os.path.lexists(path / PENDING):
            for name, digest in earlier.get(path.name, {}).items():
                sums[f"{path.name}/{name}"] = digest
    write_text(target, "".join(f"{sums[name]}  {name}\n" for name in sorted(sums)))


def listed_before(folder: Path) -> dict[str, dict[str, str]]:
    """Return the SHA-256 of each file of each experiment in ``SHA256SUMS``, if a batch wrote it.

    A batch lists the record of each experiment.
    """
    experiments: dict[str, dict[str, str]] = {}
    with contextlib.suppress(FileNotFoundError, ValueError):
        for path, digest in read_checksums(folder).items():
            experiment, _, name = path.partition("/")
            experiments.setdefault(experiment, {})[name] = digest
    return experiments if all(RECORD in files for files in experiments.values()) else {}


def read_checksums(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of each file in ``SHA256SUMS``; refuse paths outside the folder."""
    path = folder / CHECKSUMS
    if not path.is_file():
        raise FileNotFoundError(
            f"no {CHECKSUMS} in {folder}: is it an output folder of deep-nb replicate?"
        )
    sums = {}
    for line in read_text(path).splitlines():
        match = _LINE.fullmatch(line)
        try:
            if not match or "/" not in check_name(match[2]) or match[2] in sums:
                raise ValueError
        except ValueError:
            raise ValueError(
                f"{path} is damaged: not a line of checksums, or a second one: {line[:100]!r}"
            ) from None
        sums[match[2]] = match[1]
    return sums


def verify(folder: str | Path) -> tuple[int, list[str]]:
    """Check the files of a batch, or of its figures, against ``SHA256SUMS``.

    Parameters
    ----------
    folder : path-like
        Contains ``SHA256SUMS`` and one folder per experiment.

    Returns
    -------
    checked : int
        Number of files in the list.
    wrong : list of str
        One line per file that is missing, differs from its checksum, is a link, or is not in the
        list. Other files count if they are in the folder of an experiment, or in another folder
        with tables, notebooks, runs or texts, or in any below it; links count anywhere.

    Raises
    ------
    FileNotFoundError, OSError
        If the list is missing, or a file cannot be read.
    ValueError
        If `folder` is not a path, or the list is damaged.

    See Also
    --------
    compare : Compare the numbers of two batches.
    state : Tell whether one experiment is done.

    Examples
    --------
    >>> import hashlib, pathlib, tempfile
    >>> import deep_nb
    >>> digest = hashlib.sha256(b"0.25").hexdigest()
    >>> with tempfile.TemporaryDirectory() as name:
    ...     experiment = pathlib.Path(name) / "xor"
    ...     experiment.mkdir()
    ...     _ = pathlib.Path(name, "SHA256SUMS").write_text(f"{digest}  xor/mse.csv")
    ...     for content in ("0.25", "0.26"):
    ...         _ = (experiment / "mse.csv").write_text(content)
    ...         print(deep_nb.replication.verify(name))
    (1, [])
    (1, ['xor/mse.csv: differs from its SHA-256'])
    """
    folder = as_path(folder, "folder")
    sums = read_checksums(folder)
    wrong = damage(folder, sums)
    listed = {Path(name).parts[0] for name in sums}
    for path in sorted(folder.glob("[!.]*")):
        if path.is_symlink():
            wrong.append(f"{path.name}: is a link")
            continue
        found = contents(path)
        if path.name in listed or any(map(_is_of_experiment, found)):
            names = (file.relative_to(folder).as_posix() for file in found)
            wrong += [f"{name}: not listed" for name in names if name not in sums]
    return len(sums), [printable(line) for line in wrong]


def _is_of_experiment(path: Path) -> bool:
    return path.name == RECORD or _reader(path) is not None


def _entries(folder: Path) -> list[str]:
    """Return the sorted relative paths of all files and links below a folder."""
    return sorted(path.relative_to(folder).as_posix() for path in contents(folder))


def compare(
    folder: str | Path, against: str | Path, rtol: float = 1e-6, atol: float = 1e-9
) -> tuple[int, list[str]]:
    r"""Compare two batches, or their figures, number by number.

    The comparison covers netCDF variables, tables (CSV), and the printed output of executed
    notebooks, in experiments that exist in both batches with the same parameters. It leaves out
    figures, which show the same numbers, and the provenance.

    Parameters
    ----------
    folder, against : path-like
        Each contains one folder per experiment.
    rtol, atol : float
        Two numbers agree if they differ by at most ``atol + rtol * |number in against|``;
        NaN agrees with NaN.

    Returns
    -------
    compared : int
        Number of files compared.
    different : list of str
        One line per difference: where, how many numbers, and the largest.

    Raises
    ------
    FileNotFoundError, OSError
        If a folder does not contain any executed notebook, or a file cannot be read.
    ValueError
        If an argument is not valid, or a file is damaged.

    See Also
    --------
    verify : Check files against their checksums.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import deep_nb, nbformat
    >>> with tempfile.TemporaryDirectory() as name:
    ...     batches = [pathlib.Path(name, which) for which in ("ours", "yours")]
    ...     for batch, mse in zip(batches, (0.25, 0.26)):
    ...         (batch / "xor").mkdir(parents=True)
    ...         nbformat.write(nbformat.v4.new_notebook(), batch / "xor" / "xor.ipynb")
    ...         _ = (batch / "xor" / "mse.csv").write_text(f"mse\n{mse}")
    ...     compared, different = deep_nb.replication.compare(*batches)
    >>> compared, different
    (2, ['xor/mse.csv: column mse: 1 of 1 differ, most 0.25 against 0.26'])
    """
    rtol, atol = number(rtol, "rtol", 0), number(atol, "atol", 0)
    sides = [as_path(folder, "folder"), as_path(against, "against")]
    found = [{path.parent.name for path in side.glob("[!.]*/*.ipynb")} for side in sides]
    for side, names in zip(sides, found, strict=True):
        if not names:
            raise FileNotFoundError(f"no executed notebooks in {side}")
    compared = 0
    different = [f"{name}: only in {sides[0]}" for name in sorted(found[0] - found[1])]
    different += [f"{name}: only in {sides[1]}" for name in sorted(found[1] - found[0])]
    for name in sorted(found[0] & found[1]):
        count, lines = _compare_experiments([side / name for side in sides], rtol, atol)
        compared += count
        different += [f"{name}/{line}" for line in lines]
    return compared, [printable(line) for line in different]


def _compare_experiments(sides: list[Path], rtol: float, atol: float) -> tuple[int, list[str]]:
    names = [set(_compared(side)) for side in sides]
    shared = sorted(names[0] & names[1])
    for name in shared:
        if name.endswith(".ipynb") and "/" not in name:
            one, other = (_parameters(side / name) for side in sides)
            if changed := differences(one, other):
                return 0, [f"{name}: other parameters, not compared: {'; '.join(changed)}"]
    lines = []
    for name in shared:
        differing = _compare_files([side / name for side in sides], rtol, atol)
        lines += [f"{name}: {line}" for line in differing]
    # Figures are kept without the netCDF files of their batch.
    for name in sorted(n for n in names[0] ^ names[1] if not n.endswith(".nc")):
        lines.append(f"{name}: on one side only")
    return len(shared), lines


def _compared(folder: Path) -> Iterator[str]:
    """Return the names of the regular files of an experiment that are compared."""
    for name in _entries(folder):
        hidden = any(part.startswith(".") for part in Path(name).parts)
        if not hidden and _reader(folder / name) and (folder / name).is_file():
            yield name


def _compare_files(paths: list[Path], rtol: float, atol: float) -> list[str]:
    read = _reader(paths[0])
    assert read
    one, other = (dict(read(path)) for path in paths)
    lines = []
    for key in sorted({*one, *other}):
        if key not in one or key not in other:
            lines.append(f"{key} on one side only")
        elif difference := _difference(one[key], other[key], rtol, atol):
            lines.append(f"{key}: {difference}")
    return lines


def _difference(one: np.ndarray, other: np.ndarray, rtol: float, atol: float) -> str:
    """Describe the difference of two arrays: how many entries, and the largest; empty if equal."""
    if one.shape != other.shape:
        return f"shape {one.shape} against {other.shape}"
    if all(side.dtype.kind in "biuf" for side in (one, other)):
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


def _reader(path: Path) -> Callable[[Path], Pieces] | None:
    """Return the function that reads the pieces of a file; None if the file is not compared."""
    by_suffix = {".nc": _netcdf, ".csv": _table, ".ipynb": _printed, ".md": _text}
    return _table if path.name.endswith(".csv.gz") else by_suffix.get(path.suffix)


def _netcdf(path: Path) -> Pieces:
    check_netcdf(path)
    try:
        dataset = read_netcdf(path)
        pieces = {str(name): np.asarray(dataset[name].values) for name in dataset.variables}
    except Exception as error:  # of any type: xarray trusts what it reads
        raise ValueError(f"{path} is not a readable netCDF file: {error}") from None
    yield from pieces.items()


def _table(path: Path) -> Pieces:
    try:
        table = read_csv(path)
    except ValueError as error:
        raise ValueError(f"{path} is not a readable table: {error}") from None
    for name in table.columns:
        yield f"column {name}", table[name].to_numpy()


def _text(path: Path) -> Pieces:
    return _numbers_and_words(read_text(path), "text")


def _printed(path: Path) -> Pieces:
    for place, cell in enumerate(read_notebook(path).cells):
        texts = [
            output.get("text", "") or _shown(output.get("data", {}))
            for output in cell.get("outputs", [])
            if output.get("name") != "stderr"
        ]
        yield from _numbers_and_words("".join(texts), f"cell {place}")


def _shown(data: dict[str, str]) -> str:
    """Return the text of a displayed result, or an empty string if it contains an address."""
    text = data.get("text/markdown") or data.get("text/plain", "")
    return "" if " at 0x" in text else text


def _numbers_and_words(text: str, where: str) -> Pieces:
    numbers = [float(n.replace("−", "-")) for n in _NUMBER.findall(text)]
    words = re.sub(r"[\s\-]+", " ", _NUMBER.sub("#", text))  # the width of columns may differ
    yield f"{where}, numbers", np.array(numbers, dtype=float)
    yield f"{where}, words", np.array([words])


def _parameters(path: Path) -> dict[str, Any]:
    """Return the parameters of an executed notebook."""
    origin = mapping(read_notebook(path).metadata.get("deep_nb", {}), f"{path}: deep_nb")
    return mapping(origin.get("parameters", {}), f"{path}: parameters")
