"""Files that are complete or absent: written next to the target, flushed to disk, then renamed."""

import contextlib
import errno
import hashlib
import itertools
import os
import re
import uuid
from collections.abc import Iterator
from pathlib import Path

from deep_nb._printing import notice


def contents(folder: Path) -> list[Path]:
    """Return everything below a folder except folders, sorted; links are not followed."""
    return sorted(path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir())


@contextlib.contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """Yield a path to write to; the file written there replaces the target in one step.

    The target keeps its content until then, and also if writing fails or the process dies.
    """
    partial = _partial(target)
    try:
        yield partial
        flush(partial)
        partial.replace(target)
        flush(target.parent)
    finally:
        partial.unlink(missing_ok=True)


def _partial(target: Path) -> Path:
    if target.exists() and not target.is_file():
        raise FileExistsError(f"{target} exists and is not a regular file")
    return target.with_name(f".{target.name}.{uuid.uuid4().hex}.partial")


def remove_partials(folder: Path) -> None:
    """Remove what interrupted processes have left of `replacing` in a folder and its subfolders."""
    for path in folder.rglob(".*.partial"):
        if re.fullmatch(r"\..+\.[0-9a-f]{32}\.partial", path.name):
            path.unlink()


def is_regular(path: Path) -> bool:
    """Return whether a path is a regular file, and not a link to one."""
    return path.is_file() and not path.is_symlink()


def set_aside(path: Path) -> None:
    """Rename a file, link or folder of others that is in the way: ``x.csv`` to ``x.csv.~1~``."""
    names = (path.with_name(f"{path.name}.~{i}~") for i in itertools.count(1))
    free = next(other for other in names if not os.path.lexists(other))
    path.rename(free)
    flush(path.parent)
    notice(f"{path} was in the way and is now {free.name}")


def check_writable(target: Path) -> None:
    """Fail early with the error that `replacing` would raise later, about the target."""
    partial = _partial(target)
    try:
        partial.touch(exist_ok=False)
        flush(partial)
        flush(target.parent)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(target)) from None
    finally:
        partial.unlink(missing_ok=True)


def write_bytes(target: Path, content: bytes) -> None:
    """Write a file as `replacing` does; create its folder if necessary."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with replacing(target) as partial:
        partial.write_bytes(content)


def write_text(target: Path, text: str) -> None:
    """Write a UTF-8 text file as `write_bytes` does; lines end as in the text."""
    write_bytes(target, text.encode("utf-8"))


def storable(text: str) -> str:
    """Return a text with its lone surrogates, which no file can hold, as escapes of JSON."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def flush(path: Path) -> None:
    """Flush a file, or the entries of a folder, from the system's buffers to the disk."""
    if path.is_dir() and os.name != "posix":
        return  # other systems cannot open folders, and rename safely without
    descriptor = os.open(path, os.O_RDONLY if os.name == "posix" else os.O_RDWR)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # not every file system can flush
            raise
    finally:
        os.close(descriptor)


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file's content in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
