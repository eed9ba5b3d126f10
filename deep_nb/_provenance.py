"""Where a result comes from: code, versions and machine, and how it is written into files."""

from __future__ import annotations

import functools
import importlib.metadata
import json
import platform
import re
import subprocess
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import netCDF4
import psutil
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from deep_nb._files import replacing, sha256
from deep_nb.kinds import MAPPING, PATHLIB, TEXT, takes

#: The libraries whose versions may change a result.
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
    "papermill",
)

PACKAGE = Path(__file__).parent


@functools.cache
def provenance() -> dict[str, Any]:
    """Return what this process runs on, as JSON types.

    Returns
    -------
    dict
        ``deep_nb`` version; ``commit`` of the git checkout the package is imported from, with
        "+" behind it if files differ from it, or "" outside a checkout; ``python``; ``versions``
        of the libraries; ``platform``; ``cpu``; ``cores``.
    """
    return {
        "deep_nb": importlib.metadata.version("deep-nb"),
        "commit": _commit(PACKAGE.parent),
        "python": platform.python_version(),
        "versions": {name: importlib.metadata.version(name) for name in LIBRARIES},
        "platform": platform.platform(),
        "cpu": _cpu(),
        "cores": psutil.cpu_count() or 1,
    }


@functools.cache
def code() -> dict[str, Any]:
    """Return what may change a result from one run to the next on the same machine.

    Returns
    -------
    dict
        ``package``, the SHA-256 of every source file of this package; ``versions``, of Python
        and the libraries.
    """
    sources = [p for p in sorted(PACKAGE.rglob("*")) if p.suffix in (".py", ".yml", ".j2")]
    versions = {name: importlib.metadata.version(name) for name in LIBRARIES}
    return {
        "package": {path.relative_to(PACKAGE).as_posix(): sha256(path) for path in sources},
        "versions": {"python": platform.python_version(), **versions},
    }


@takes(old=MAPPING, new=MAPPING, what=TEXT)
def differences(old: dict[str, Any], new: dict[str, Any], what: str = "") -> list[str]:
    """Return, a line each, which names of nested dicts have changed, and how.

    Raises
    ------
    ValueError
        If `old` or `new` is no mapping from names to JSON types.
    """
    lines = []
    for name in sorted({*old, *new}):
        where = f"{what} {name}".strip()
        before, after = old.get(name), new.get(name)
        if isinstance(before, dict) and isinstance(after, dict):
            lines += differences(before, after, where)
            continue
        # As texts: 1, 1.0 and true are equal, and yet not the same.
        shown = [_json(side[name], where) if name in side else "nothing" for side in (old, new)]
        if shown[0] != shown[1]:
            long = max(map(len, shown)) > 60
            lines.append(f"{where} changed" if long else f"{where}: {shown[0]} → {shown[1]}")
    return lines


def _json(value: Any, what: str) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, sort_keys=True)
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"{what} must be made of JSON types: {error}") from None


@takes(path=PATHLIB, origin=MAPPING)
def stamp(path: Path, origin: dict[str, Any]) -> None:
    """Write where it comes from into a file's own metadata, in place of what stood there.

    A netCDF file holds it as the attribute ``provenance``, PNG and SVG figures as their ``Source``.
    Files of other kinds stay as they are.

    Parameters
    ----------
    path : Path
    origin : dict
        JSON types, such as `provenance` returns.

    Raises
    ------
    ValueError, OSError
        If an argument is something else, or the file is not what its name says, or cannot be
        written to.
    """
    text = _json(origin, "origin")
    if path.suffix == ".nc":
        with netCDF4.Dataset(path, "a") as dataset:
            dataset.setncattr("provenance", text)
    elif path.suffix == ".png":
        with Image.open(path) as image, replacing(path) as partial:
            kept = {str(k): v for k, v in image.info.items() if isinstance(v, str)}
            info = PngInfo()
            for name, value in {**kept, "Source": text}.items():
                info.add_itxt(name, value)
            image.save(partial, format="png", pnginfo=info, dpi=image.info.get("dpi"))
    elif path.suffix == ".svg":
        with replacing(path) as partial:
            partial.write_text(_stamped_svg(path.read_text(encoding="utf-8"), text), "utf-8")


def _stamped_svg(svg: str, text: str) -> str:
    source = f"<dc:source>{escape(text)}</dc:source>"
    stamped, count = re.subn(
        "<dc:source>.*?</dc:source>", lambda _: source, svg, count=1, flags=re.DOTALL
    )
    if count:
        return stamped
    metadata = f'<metadata xmlns:dc="http://purl.org/dc/elements/1.1/">{source}</metadata>'
    return re.sub(r"<svg\b[^>]*>", lambda match: match[0] + metadata, svg, count=1)


def _commit(root: Path) -> str:
    if not (root / ".git").exists():
        return ""
    commit = _git(root, "rev-parse", "HEAD")
    return commit + ("+" if commit and _git(root, "status", "--porcelain", "-uno") else "")


def _git(root: Path, *arguments: str) -> str:
    """Return what git says, or an empty string where it is missing or says nothing."""
    command = ["git", "-C", str(root), *arguments]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return answer.stdout.strip() if answer.returncode == 0 else ""


def _cpu() -> str:
    """Return the processor's name; Linux tells it in a file only."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
