"""Files that are whole or not there: written beside their place, flushed to disk, then renamed."""

from __future__ import annotations

import contextlib
import hashlib
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

from deep_nb.kinds import PATHLIB, TEXT, takes


@takes(target=PATHLIB)
@contextlib.contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """Give a path to write to; what was written there takes the target's place in one step.

    Until then, and if writing fails or the process dies, the target stays what it was.

    Parameters
    ----------
    target : Path
        Its folder exists.

    Raises
    ------
    ValueError
        If `target` is no path to a file.
    OSError
        If the disk is full or the folder cannot be written to.
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
        raise FileExistsError(f"{target} is no file that could be replaced")
    return target.with_name(f".{target.name}.{uuid.uuid4().hex}.partial")


@takes(target=PATHLIB)
def check_writable(target: Path) -> None:
    """Raise at once what `replacing` would raise after the work.

    Raises
    ------
    ValueError
        If `target` is no Path.
    OSError
        If its folder cannot be written to, or something else than a file stands there.
    """
    partial = _partial(target)
    partial.touch(exist_ok=False)
    partial.unlink()


@takes(target=PATHLIB, text=TEXT)
def write_text(target: Path, text: str) -> None:
    """Write a UTF-8 text file as `replacing` does, its folder made if need be.

    Raises
    ------
    ValueError
        If `target` is no path to a file, or `text` no text that UTF-8 can write.
    OSError
        As `replacing`.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with replacing(target) as partial:
        partial.write_text(text, encoding="utf-8")


@takes(path=PATHLIB)
def flush(path: Path) -> None:
    """Have the system write a file, or the names in a folder, to the disk itself.

    Raises
    ------
    ValueError
        If `path` is no path.
    OSError
        If there is nothing, or the disk is full.
    """
    if path.is_dir() and os.name != "posix":
        return  # elsewhere folders cannot be opened, and renaming is safe without
    descriptor = os.open(path, os.O_RDONLY if os.name == "posix" else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@takes(path=PATHLIB)
def sha256(path: Path) -> str:
    """Return the SHA-256 of a file's content, in hexadecimal.

    Raises
    ------
    ValueError
        If `path` is no path.
    OSError
        If the file cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
