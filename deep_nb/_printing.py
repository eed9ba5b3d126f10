"""Printing that costs no result: lines that cannot be printed are lost, and the work continues."""

import contextlib
import io
import os
import sys
from collections.abc import Iterator
from typing import BinaryIO, TextIO


class Lenient(io.TextIOBase):
    """A text stream over another one, or over None, whose methods do not raise OSError.

    Characters that the encoding lacks are escaped. After an error nothing more is printed.

    Attributes
    ----------
    lost : OSError, ValueError or None
        The error.
    """

    errors = "backslashreplace"

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream
        self.lost: OSError | ValueError | None = None

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """The encoding of the stream."""
        return getattr(self._stream, "encoding", None) or "utf-8"

    @property
    def buffer(self) -> BinaryIO | None:
        """The binary stream below this one, if any; shell completions are written there."""
        return getattr(self._stream, "buffer", None)

    def isatty(self) -> bool:
        """Whether the stream is a terminal."""
        try:
            return self._stream is not None and self._stream.isatty()
        except ValueError:  # it is closed
            return False

    def write(self, text: str) -> int:
        """Write a text, and flush it to see whether that is possible."""
        if not isinstance(text, str):
            raise TypeError(f"expected a string, got {type(text).__name__}")
        if self._stream is not None and self.lost is None:
            try:
                self._write(self._stream, text)
            except (OSError, ValueError) as error:  # nobody reads, the disk is full, it is closed
                self.lost = error
        return len(text)

    def _write(self, stream: TextIO, text: str) -> None:
        try:
            stream.write(text)
        except UnicodeEncodeError:
            stream.write(text.encode(self.encoding, self.errors).decode(self.encoding))
        stream.flush()


@contextlib.contextmanager
def lenient_output() -> Iterator[None]:
    """Run a command to its end, whether or not its lines can be printed.

    Lines that nobody reads are not an error. If stdout loses lines otherwise, such as on a full
    disk, a successful command exits with an error after its work.
    """
    _open_closed_descriptors()
    given = sys.stdout, sys.stderr
    stdout, stderr = Lenient(sys.stdout), Lenient(sys.stderr)
    try:
        with contextlib.redirect_stdout(stdout), contextlib.redirect_stderr(stderr):
            yield
    except SystemExit as end:
        if end.code or stdout.lost is None or isinstance(stdout.lost, BrokenPipeError):
            raise
        stderr.write(f"Error: cannot print: {stdout.lost}\n")
        raise SystemExit(1) from None
    finally:
        for stream, printed in zip(given, (stdout, stderr), strict=True):
            if printed.lost:
                _discard(stream)


def _open_closed_descriptors() -> None:
    """Open the null device in place of a closed stdin, stdout or stderr.

    Otherwise the next file takes its number, and what libraries print goes into that file.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number


def _discard(stream: TextIO) -> None:
    """Send what a stream still holds to the null device: Python flushes it at the end."""
    with contextlib.suppress(OSError, ValueError), open(os.devnull, "wb") as null:
        os.dup2(null.fileno(), stream.fileno())  # fails for a stream that is not a file


def stderr() -> Lenient:
    """Return the present stderr, for progress bars and notices."""
    return Lenient(sys.stderr)


def notice(line: str) -> None:
    """Print a line on stderr."""
    print(f"deep_nb: {line}", file=stderr())
