"""Where results come from: code, versions and machine, and how files carry this information."""

import functools
import importlib.metadata
import json
import os
import platform
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import psutil

from deep_nb._files import replacing, sha256
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
    "papermill",
)

PACKAGE = Path(__file__).parent


@functools.cache
def provenance() -> dict[str, Any]:
    """Return the code, versions and machine of this process, as JSON types.

    Returns
    -------
    dict
        ``deep_nb``: the version; ``commit``: of the git checkout that holds the package, followed
        by "+" if tracked files differ from it, "unknown: " and the reason if git cannot tell, or ""
        outside a checkout; ``python``; ``versions`` of the libraries; ``platform``; ``cpu``;
        ``cores``.
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
    sources = [p for p in sorted(PACKAGE.rglob("*")) if p.suffix in (".py", ".yml", ".j2")]
    return {
        "package": {path.relative_to(PACKAGE).as_posix(): sha256(path) for path in sources},
        "versions": {"python": platform.python_version(), **_versions()},
    }


def _versions() -> dict[str, str]:
    return {name: importlib.metadata.version(name) for name in LIBRARIES}


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
    """Write the origin of a file, as JSON, into its own metadata; replace an earlier one.

    netCDF files carry it as the attribute ``provenance``, PNG and SVG figures as their ``Source``.
    Files of other kinds do not change.
    """
    text = _json(origin)
    if path.suffix == ".nc":
        _stamp_netcdf(path, text)
    elif path.suffix == ".png":
        from PIL import Image
        from PIL.PngImagePlugin import PngInfo

        with Image.open(path) as image, replacing(path) as partial:
            kept = {str(k): v for k, v in image.info.items() if isinstance(v, str)}
            info = PngInfo()
            for name, value in {**kept, "Source": text}.items():
                info.add_itxt(name, value)
            image.save(partial, format="png", pnginfo=info, dpi=image.info.get("dpi"))
    elif path.suffix == ".svg":
        with replacing(path) as partial:
            stamped = _stamped_svg(path.read_text(encoding="utf-8"), text)
            partial.write_text(stamped, encoding="utf-8", newline="\n")


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
