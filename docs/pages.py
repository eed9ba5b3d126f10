"""The pages of the site that are not typed: the gallery, the public names, the explorer."""

import importlib
import inspect
import re
import typing
from itertools import groupby
from pathlib import Path
from xml.etree import ElementTree

import api
import nbformat
from PIL import Image

from deep_nb._validation import Frozen
from deep_nb.explorer.page import write_page
from deep_nb.replication import read_jobs

HERE = Path(__file__).parent
ROOT = HERE.parent
FIGURES = ROOT / "figures"

#: What makes the figures that no experiment makes, by path.
OTHERS = {
    "benchmarks/growth": "`make bench` makes this figure.",
    "model": "This figure is drawn by hand.",
}

#: The first page of the site is in a folder, as in the repository.
FORWARD = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>deep_nb</title>
<meta http-equiv="refresh" content="0; url=docs/index.html">
<a href="docs/index.html">deep_nb</a>
</html>
"""


def write():
    """Write all of them into folders and files that git ignores."""
    _write(HERE / "gallery.md", gallery())
    for package in api.PACKAGES:
        _write(HERE / "api" / f"{package}.rst", package_page(package))
    _write(HERE / "_extra" / "index.html", FORWARD)
    write_page(HERE / "_extra" / "explorer.html", "contracting DEEP", "xor")


def _write(path, text):
    """Write a page if it has changed, so that Sphinx reads only such pages again."""
    path.parent.mkdir(exist_ok=True)
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")


def gallery():
    """Return the page of all figures, with the command that makes each."""
    jobs = read_jobs(ROOT / "experiments.yml", "full")
    parts = [
        "# Gallery",
        "Every figure of the full profile, with the command that makes it and the notebook that "
        "draws it. `figures/` has each as PNG and SVG.",
    ]
    for notebook, group in groupby(jobs, key=lambda job: job.notebook):
        parts.append(f"## {_title(notebook)}")
        parts.append(f"Notebook: [{notebook.name}](../notebooks/{notebook.name})")
        for job in group:
            command = f"deep-nb replicate --profile full --figures figures --only {job.name}"
            parts += [f"### {job.name}", f"```sh\n{command}\n```"]
            parts += map(_figure, sorted((FIGURES / job.name).glob("*.svg")))
            parts += map(_animation, sorted((FIGURES / job.name).glob("*.gif")))
    parts.append("## Other figures")
    for name, origin in OTHERS.items():
        parts += [origin, _figure(FIGURES / f"{name}.svg")]
    return "\n\n".join(parts) + "\n"


def _title(notebook):
    """Return the first heading of a notebook."""
    return re.search("^# (.+)$", nbformat.read(notebook, as_version=4).cells[0].source, re.M)[1]


def _figure(path):
    """Return a figure with the caption that it carries."""
    drawing = ElementTree.parse(path).getroot()
    caption = drawing.findtext(".//{*}description") or drawing.findtext("{*}title")
    picture = path.with_suffix(".png")
    return _shown(picture if picture.is_file() else path, caption)


def _animation(path):
    """Return an animation with the caption that it carries."""
    with Image.open(path) as image:
        return _shown(path, image.info["comment"].decode())


def _shown(path, caption):
    """Return a picture above its caption, loaded when a reader comes to it."""
    source = path.relative_to(ROOT).as_posix()
    return f":::{{figure}} ../{source}\n:loading: lazy\n:alt: {caption}\n\n{caption}\n:::"


def linked_names():
    """Return the list of public names with links to their descriptions."""
    links = r"| {py:obj}`\1 <PACKAGE.\1>` |"
    parts = re.split(r"^## (\S+)$", api.page(), flags=re.M)
    text = parts[0]
    for package, part in zip(parts[1::2], parts[2::2], strict=True):
        linked = re.sub(r"^\| `(\w+)` \|", links.replace("PACKAGE", package), part, flags=re.M)
        text += f"## [{package}](api/{package}.rst){linked}"
    names = "\n".join(f"api/{package}" for package in api.PACKAGES)
    return f"{text}\n```{{toctree}}\n:hidden:\n\n{names}\n```\n"


def package_page(package):
    """Return the page of a package: what its docstrings say of each public name."""
    title = package.replace("_", r"\_")
    summary = inspect.getdoc(importlib.import_module(package))
    parts = [f"{title}\n{'=' * len(title)}", f".. py:module:: {package}", summary]
    results = {}
    for name, found in api.public(package).items():
        if inspect.isclass(found):
            parts.append(_class(f"{package}.{name}", found))
        elif callable(found):
            parts.append(f".. autofunction:: {package}.{name}")
            results |= _results(found)
        else:
            text = api.line(found).replace("`", "``")
            parts.append(f".. py:data:: {name}\n\n   {text}")
    if results:
        parts.append("Results\n-------\n\nWhat the functions above return.")
        parts += [_class(f"{kind.__module__}.{kind.__name__}", kind) for kind in results.values()]
    return "\n\n".join(parts) + "\n"


def _results(function):
    """Return the classes of this package that a function returns and that are not public."""
    returned = inspect.signature(function).return_annotation
    public = [found for package in api.PACKAGES for found in api.public(package).values()]
    return {
        kind.__name__: kind
        for kind in (returned, *typing.get_args(returned))
        if inspect.isclass(kind) and kind.__module__.startswith("deep_nb.") and kind not in public
    }


def _class(path, found):
    """Describe a class with its methods, and settings with the defaults and meanings of fields."""
    lines = [f".. autoclass:: {path}"]
    if not issubclass(found, Frozen):
        return "\n".join([*lines, "   :members:"])
    described = {name: field for name, field in found.model_fields.items() if field.description}
    if described:
        lines += ["", "   .. list-table::", "      :header-rows: 1", ""]
        lines += ["      * - name", "        - default", "        - meaning"]
    for name, field in described.items():
        default = "" if field.is_required() else f"``{field.default!r}``"
        meaning = field.description.replace("|", r"\|")
        lines += [f"      * - ``{name}``", f"        - {default}".rstrip(), f"        - {meaning}"]
    return "\n".join([*lines, "", "   .. automethod:: replace"])


def cite(app, what, name, found, options, lines):
    """Turn the citations of a docstring, such as [P]_, into links to the bibliography."""
    lines[:] = [re.sub(r"\[(\w+)\]_(?!\w)", r":cite:p:`\1`", line) for line in lines]
