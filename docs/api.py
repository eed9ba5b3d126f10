"""Write docs/api.md: every public name, read from the packages' lists, with its first line."""

import importlib
import inspect
import re
import sys
from pathlib import Path
from types import ModuleType

from deep_nb import PUBLISHED

PACKAGES = (
    "deep_nb",
    *(f"deep_nb.{wing}" for wing in ("analysis", "plotting", "claims", "replication")),
)


def public(package):
    """Return the public names of a package with their objects, without its subpackages."""
    module = importlib.import_module(package)
    objects = {name: getattr(module, name) for name in module.__all__}
    return {name: found for name, found in objects.items() if not isinstance(found, ModuleType)}


def line(found):
    """Describe a public object in one line."""
    if callable(found):
        text = inspect.getdoc(found).splitlines()[0]
        return re.sub(r":math:`(.+?)`", r"$\1$", re.sub(r" \[\w+\]_", "", text))
    if isinstance(found, dict):
        return f"A dict with the keys {', '.join(f'`{key}`' for key in found)}."
    name = getattr(found, "name", "")
    if not name:
        return f"A constant of type `{type(found).__name__}`."
    return f"The {'published ' if name in PUBLISHED else ''}model {name}."


HEADING = """# Public names

Written by `make api` from the lists in the `__init__.pyi` files. `help(name)` has the details.
"""


def page():
    """Return the text of docs/api.md."""
    parts = [HEADING]
    for package in PACKAGES:
        summary = inspect.getdoc(importlib.import_module(package)).splitlines()[0]
        rows = ["| name | |", "|---|---|"]
        for name, found in public(package).items():
            text = line(found).replace("|", r"\|")
            rows.append(f"| `{name}` | {text} |")
        parts.append("\n".join([f"## {package}", "", summary, "", *rows, ""]))
    return "\n".join(parts)


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(page(), encoding="utf-8")
