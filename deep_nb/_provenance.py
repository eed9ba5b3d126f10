"""Where results come from: code, versions and machine, and how files carry this information."""

import codecs
import contextlib
import functools
import importlib.metadata
import json
import os
import platform
import re
import shutil
import struct
import subprocess
import tempfile
import zlib
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import psutil

from deep_nb._files import replacing, sha256, write_bytes
from deep_nb._netcdf import NETCDF

#: Libraries whose versions can change a result.
LIBRARIES = (
    "numpy",
    "scipy",
    "numba",
    "xarray",
    "pandas",
    "scikit-learn",
    "statsmodels",
    "networkx",
    "netcdf4",
    "matplotlib",
    "pillow",
    "papermill",
)

PACKAGE = Path(__file__).parent
#: Copies of the notebooks and the experiments file, in a wheel; they are not code.
STARTER = PACKAGE / "starter"

#: The first bytes of a PNG file, and the types of its texts.
_PNG, _TEXTS = b"\x89PNG\r\n\x1a\n", (b"tEXt", b"zTXt", b"iTXt")

#: The start of an SVG file up to the end of its first tag.
_ROOT = re.compile(
    r"""[^<]* (?: < (?: \?.*?\? | !--.*?-- | !DOCTYPE [^\[>]* (?: \[.*?\] \s* )? ) > [^<]* )*
    < (?P<name> (?: [\w.-]+: )? svg ) (?: \s+ [^\s=>"'/]+ \s*=\s* (?: "[^"]*" | '[^']*' ) )*
    \s* (?P<end> /?> )""",
    re.DOTALL | re.VERBOSE,
)


@functools.cache
def provenance() -> dict[str, Any]:
    """Return the code, versions and machine of this process, as JSON types.

    Returns
    -------
    dict
        ``deep_nb``: the version; ``commit``: of the git checkout that holds the package, followed
        by "+" if tracked files differ from it, "unknown: " and the reason if git cannot tell, or ""
        outside a checkout; ``python``; ``versions`` of the libraries that are installed;
        ``platform``; ``cpu``; ``cores``.
    """
    return {
        "deep_nb": importlib.metadata.version("deep-nb"),
        "commit": _commit(PACKAGE.parent),
        "python": platform.python_version(),
        "versions": _versions(),
        "platform": platform.platform(),
        "cpu": _cpu(),
        "cores": psutil.cpu_count() or 1,
    }


@functools.cache
def code() -> dict[str, Any]:
    """Return the part of a fingerprint that is common to all results of this installation.

    Returns
    -------
    dict
        ``package``: the SHA-256 of every source file of this package; ``versions``: of Python and
        the libraries.
    """
    files = [path for path in sorted(PACKAGE.rglob("*")) if STARTER not in path.parents]
    sources = [path for path in files if path.suffix in (".py", ".yml", ".j2")]
    return {
        "package": {path.relative_to(PACKAGE).as_posix(): sha256(path) for path in sources},
        "versions": {"python": platform.python_version(), **_versions()},
    }


def _versions() -> dict[str, str]:
    versions = {}
    for name in LIBRARIES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return versions


def differences(old: dict[str, Any], new: dict[str, Any], what: str = "") -> list[str]:
    """Return one line per entry of nested JSON dicts that has changed, with both values."""
    lines = []
    for name in sorted({*old, *new}):
        where = f"{what} {name}".strip()
        before, after = old.get(name), new.get(name)
        if isinstance(before, dict) and isinstance(after, dict):
            lines += differences(before, after, where)
            continue
        # Compared as JSON text: in Python 1, 1.0 and True are equal.
        shown = [_json(side[name]) if name in side else "absent" for side in (old, new)]
        if shown[0] != shown[1]:
            long = max(map(len, shown)) > 60
            lines.append(f"{where} changed" if long else f"{where}: {shown[0]} → {shown[1]}")
    return lines


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True)


def stamp(path: Path, origin: dict[str, Any]) -> None:
    """Write the origin of a file, as JSON in ASCII, into its own metadata; replace an earlier one.

    netCDF files carry it as the attribute ``provenance``, PNG and SVG figures as their ``Source``.
    Everything else in a file, and files of other kinds, do not change.
    """
    text = json.dumps(origin, sort_keys=True)
    if path.suffix == ".nc":
        _stamp_netcdf(path, text)
    elif path.suffix == ".png":
        try:
            stamped = _stamped_png(path.read_bytes(), text)
        except (ValueError, struct.error):
            raise ValueError(f"{path.name} is not a complete PNG file") from None
        write_bytes(path, stamped)
    elif path.suffix == ".svg":
        write_bytes(path, _stamped_svg(path.read_bytes(), text))


def _stamp_netcdf(path: Path, text: str) -> None:
    try:
        _set_provenance(path, text)
    except OSError:  # such as on a file system without locks; a damaged file fails again
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(shutil.copy(path, folder))
            _set_provenance(copy, text)
            with replacing(path) as partial:
                shutil.copyfile(copy, partial)


def _set_provenance(path: Path, text: str) -> None:
    import netCDF4

    with NETCDF, netCDF4.Dataset(path, "a") as dataset:
        dataset.setncattr("provenance", text)


def _stamped_png(png: bytes, text: str) -> bytes:
    """Return a PNG file with an ASCII text as its only ``Source``; no pixel changes.

    The format: https://www.w3.org/TR/png-3, 5.3 (chunks) and 11.3.3 (texts).
    """
    content = b"tEXtSource\0" + text.encode("ascii")
    source = struct.pack(">I", len(content) - 4) + content + struct.pack(">I", zlib.crc32(content))
    start, kind, parts = len(_PNG), b"", [_PNG]
    while kind != b"IEND":
        length, kind = struct.unpack_from(">I4s", png, start)
        chunk = png[start : start + length + 12]
        if not (kind in _TEXTS and chunk[8:].startswith(b"Source\0")):
            parts.append(chunk)
        if kind == b"IHDR":
            parts.append(source)
        start += length + 12
    if not png.startswith(_PNG) or start > len(png):
        raise ValueError
    return b"".join([*parts, png[start:]])


def _stamped_svg(svg: bytes, text: str) -> bytes:
    """Return an SVG file with an ASCII text as its source; a file of another kind does not change.

    ASCII is the same in all encodings but those of 16 bits, so that the others need not be known.
    """
    encoding = {codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}.get(svg[:2])
    drawing = svg.decode(encoding or "latin-1")
    source = f"<dc:source>{escape(text)}</dc:source>"
    stamped, count = re.subn(
        "<dc:source>.*?</dc:source>", lambda _: source, drawing, count=1, flags=re.DOTALL
    )
    root = _ROOT.match(drawing)
    if not count and root:
        metadata = f'<metadata xmlns:dc="http://purl.org/dc/elements/1.1/">{source}</metadata>'
        end = f">{metadata}</{root['name']}>" if root["end"] == "/>" else f">{metadata}"
        stamped = drawing[: root.start("end")] + end + drawing[root.end("end") :]
    return stamped.encode(encoding or "latin-1")


def _commit(root: Path) -> str:
    if not (root / ".git").exists():
        return ""
    try:
        commit = _git(root, "rev-parse", "HEAD")
        return commit + ("+" if _git(root, "status", "--porcelain", "-uno") else "")
    except subprocess.CalledProcessError as error:
        return "unknown: " + " ".join(error.stderr.split())
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"unknown: {error}"


def _git(root: Path, *arguments: str) -> str:
    """Return the output of git about the checkout in this folder, and no other."""
    # Trusts a checkout of another owner: this process runs its code already.
    command = ["git", "-C", str(root), "-c", "safe.directory=*", *arguments]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    environment |= {"GIT_CEILING_DIRECTORIES": str(root.resolve().parent)}
    environment |= {"GIT_OPTIONAL_LOCKS": "0"}  # leaves the index to other programs
    answer = subprocess.run(
        command, capture_output=True, errors="replace", check=True, timeout=30, env=environment
    )
    return answer.stdout.strip()


def _cpu() -> str:
    """Return the name of the processor, which Linux gives only in a file."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
