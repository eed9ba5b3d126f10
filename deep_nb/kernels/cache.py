"""The machine code of the kernels on the disk: valid for the sources that it was compiled from.

Numba looks only at the file of the kernel itself, and trusts what it finds.
"""

import contextlib
import hashlib
import os
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import llvmlite
import numba
from numba.core.caching import FunctionCache, IndexDataCacheFile

from deep_nb._printing import notice
from deep_nb._reading import read_bytes


def kernel(function: Callable[..., Any]) -> Any:
    """Compile on first use; keep the machine code on disk where a folder can be written to."""
    compiled = numba.njit(nogil=True, error_model="numpy")(function)
    with contextlib.suppress(RuntimeError):  # Numba found no folder for its cache
        compiled._cache = KernelCache(function)
    return compiled


class KernelCache(FunctionCache):
    """Numba's cache of one kernel; files that it cannot use cost a line on stderr, no result."""

    def __init__(self, function: Any) -> None:
        super().__init__(function)
        self._cache_file = _Sealed(self._cache_path, self._impl.filename_base, compiled_in())
        self.missing = False

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Return the machine code, or None if it must be compiled."""
        try:
            found = super().load_overload(sig, target_context)
            self.missing = found is None
            return found
        except Exception as error:  # of any type: Numba trusts what it reads
            name = self._py_func.__name__
            notice(f"compiling {name} anew: its machine code on the disk is damaged ({error})")
            self._attempt(self._remove)
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep the machine code if possible."""
        self._attempt(super().save_overload, sig, data)

    def _remove(self) -> None:
        for path in Path(self._cache_path).glob(f"{self._impl.filename_base}.*"):
            path.unlink(missing_ok=True)

    def _attempt(self, change: Callable[..., None], *arguments: Any) -> None:
        try:
            change(*arguments)
        except Exception as error:  # of any type, as above
            notice(f"cannot keep the machine code of {self._py_func.__name__}: {error}")


class _Sealed(IndexDataCacheFile):
    """Numba's files, each ending in a hash of its content and of what was compiled."""

    def _dump(self, obj: Any) -> bytes:
        data = super()._dump(obj)
        return data + self._seal(data)

    def _load_index(self) -> Any:
        if os.path.lexists(self._index_path):
            read_bytes(Path(self._index_path))  # refuses what Numba would read without an end
        return super()._load_index()

    def _load_data(self, name: str) -> Any:
        content = read_bytes(Path(self._data_path(name)))
        size = hashlib.sha256().digest_size
        if content[-size:] != self._seal(content[:-size]):
            raise ValueError(f"{name} is incomplete or changed")
        return super()._load_data(name)

    def _seal(self, data: bytes) -> bytes:
        return hashlib.sha256(self._source_stamp.encode() + data).digest()


def compiled_in() -> str:
    """Return a hash of everything that machine code depends on but Numba does not look at."""
    sources = [path for path in files(__package__).iterdir() if path.name.endswith(".py")]
    parts = [path.name.encode() + path.read_bytes() for path in sorted(sources, key=str)]
    config = numba.config
    options = [config.OPT, config.LOOP_VECTORIZE, config.SLP_VECTORIZE, config.BOUNDSCHECK]
    parts.append(f"{llvmlite.__version__} {options} {config.USING_SVML}".encode())
    return hashlib.sha256(b"\0".join(parts)).hexdigest()
