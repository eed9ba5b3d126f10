"""Files that others may have written: read only if they are regular and of limited size."""

import contextlib
import gzip
import io
import math
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import psutil
import yaml

from deep_nb._netcdf import NETCDF
from deep_nb._validation import short

if TYPE_CHECKING:
    import netCDF4

#: Maximum size in bytes of a file that is read as a whole, after decompression.
LARGEST_FILE = 2**26
#: Maximum number of columns in a table; pandas takes minutes for a million.
MOST_COLUMNS = 10_000
#: Maximum number of characters in a YAML text with its aliases expanded.
LARGEST_YAML = 1_000_000


def check_regular(path: Path) -> None:
    """Refuse a missing file, and folders, pipes and devices, which may never end."""
    if not path.exists():
        raise FileNotFoundError(f"no such file: {path}")
    if not path.is_file():
        raise ValueError(f"{path} is not a regular file")


def read_bytes(path: Path, most: int = LARGEST_FILE) -> bytes:
    """Return the content of a regular file; one that ends in ``.gz`` is decompressed."""
    check_regular(path)
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            content = file.read(most + 1)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ValueError(f"{path} is not a complete gzip file: {error}") from None
    if len(content) > most:
        raise ValueError(f"{path} is too large: it may have at most {most} bytes")
    return content


def read_text(path: Path, most: int = LARGEST_FILE) -> str:
    """Return the text of a UTF-8 file as `read_bytes` does, each line ended by a newline."""
    content = io.BytesIO(read_bytes(path, most))
    try:
        return io.TextIOWrapper(content, encoding="utf-8").read()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not a UTF-8 text: {error}") from None


def read_csv(path: Path, **options: Any) -> pd.DataFrame:
    """Return a table from a CSV file that `read_bytes` can read, with the options of pandas."""
    content = io.BytesIO(read_bytes(path))
    if any(line.count(b",") >= MOST_COLUMNS for line in content):
        raise ValueError(f"{path} is too large: it may have at most {MOST_COLUMNS} columns")
    content.seek(0)
    return pd.read_csv(content, **options)


class _Loader(yaml.SafeLoader):
    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """Return the value of a node; refuse scalars that PyYAML does not check, as `!!bool x`."""
        try:
            return super().construct_object(node, deep)
        except (ValueError, LookupError, AttributeError, ArithmeticError):
            kind = node.tag.rpartition(":")[2]
            raise ValueError(f"{_line(node)}: {short(node.value)} is not a valid {kind}") from None


def read_yaml(text: str) -> Any:
    """Return what a YAML text holds; refuse duplicate keys and aliases that expand to too much."""
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            return None
        _measure(node, {})
        return loader.construct_document(node)
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(" ".join(str(error).split())) from None


def _measure(node: yaml.Node, sizes: dict[int, int | None]) -> int:
    """Return the number of characters of a node with its aliases expanded, after checking it."""
    if id(node) in sizes:
        known = sizes[id(node)]
        if known is None:
            raise ValueError(f"{_line(node)} contains itself")
        return known
    sizes[id(node)] = None
    if isinstance(node, yaml.ScalarNode):
        size = 1 + len(node.value)
    elif isinstance(node, yaml.MappingNode):
        _check_keys(node)
        size = 1 + sum(_measure(part, sizes) for pair in node.value for part in pair)
    else:
        size = 1 + sum(_measure(part, sizes) for part in node.value)
    if size > LARGEST_YAML:
        raise ValueError(f"{_line(node)} expands to more than {LARGEST_YAML} characters")
    sizes[id(node)] = size
    return size


def _check_keys(node: yaml.MappingNode) -> None:
    """Refuse a key that is given twice, of which YAML would keep the last."""
    lines: dict[tuple[str, str], str] = {}
    for key, _ in node.value:
        if isinstance(key, yaml.ScalarNode):
            name = key.tag, key.value
            if name in lines:
                raise ValueError(
                    f"{_line(key)} gives {short(key.value)} again, after {lines[name]}"
                )
            lines[name] = _line(key)


def _line(node: yaml.Node) -> str:
    return f"line {node.start_mark.line + 1}"


def check_netcdf(path: Path) -> None:
    """Refuse a netCDF file that does not fit into the free memory, as it is or when it is read.

    A few kilobytes can declare terabytes.
    """
    import netCDF4

    check_regular(path)
    needed = path.stat().st_size
    unreadable = contextlib.suppress(OSError, RuntimeError, UnicodeError)  # for its reader, too
    with NETCDF, unreadable, netCDF4.Dataset(path) as dataset:
        needed = max(needed, sum(map(_nbytes, dataset.variables.values())))
    free = psutil.virtual_memory().available
    if needed > free:
        raise ValueError(
            f"{path} is too large: it needs {needed / 1e9:.0f} GB of memory, and "
            f"{free / 1e9:.0f} GB are free"
        )


def _nbytes(variable: "netCDF4.Variable[Any]") -> int:
    """Return the size of a variable in memory; a string counts as a pointer."""
    width = getattr(variable.dtype, "itemsize", 8)
    return math.prod(map(int, variable.shape)) * int(width)
