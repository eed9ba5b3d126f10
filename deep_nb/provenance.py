"""Where a result comes from: code, versions and machine."""

from __future__ import annotations

import functools
import importlib.metadata
import platform
import subprocess
from pathlib import Path
from typing import Any

import psutil

#: The libraries whose versions may change a result.
LIBRARIES = (
    "numpy",
    "scipy",
    "numba",
    "xarray",
    "pandas",
    "statsmodels",
    "networkx",
    "netcdf4",
    "matplotlib",
    "papermill",
)


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
        "commit": _commit(Path(__file__).parent.parent),
        "python": platform.python_version(),
        "versions": {name: importlib.metadata.version(name) for name in LIBRARIES},
        "platform": platform.platform(),
        "cpu": _cpu(),
        "cores": psutil.cpu_count() or 1,
    }


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
