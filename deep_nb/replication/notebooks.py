"""Notebooks as files, and the parameters that they declare."""

import ast
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat

from deep_nb._reading import read_text
from deep_nb._validation import short

#: The only version of the notebook format that is read; Jupyter has written it since 2015.
FORMAT = 4

#: Functions that reach names through strings. IPython's lines, as ``%time`` and ``!ls``, call the
#: first.
_BY_STRING = {"get_ipython", "eval", "exec", "globals", "locals", "vars"}


def read_notebook(path: Path) -> nbformat.NotebookNode:
    """Read a Jupyter notebook; raise ValueError if the file does not hold one."""
    text = read_text(path)
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError(f"{path} is not a notebook: it is not JSON") from None
    version = content.get("nbformat") if isinstance(content, dict) else None
    if version is None:
        raise ValueError(f"{path} is not a notebook: it does not name its nbformat")
    if version != FORMAT:
        raise ValueError(
            f"{path} is not a notebook of format {FORMAT}, but of format {short(version)}; convert "
            "it with: jupyter nbconvert --to notebook --inplace FILE"
        )
    try:
        notebook = nbformat.v4.to_notebook_json(content)
        _complete_ids(notebook)
        nbformat.validate(notebook)
    except Exception as error:  # of any type: nbformat trusts what it reads
        raise ValueError(f"{path} is not a notebook: {short(str(error))}") from None
    return notebook


def _complete_ids(notebook: nbformat.NotebookNode) -> None:
    """Give an id to each cell whose id is missing or used before; `validate` would warn."""
    used: set[str] = set()
    for place, cell in enumerate(notebook.cells):
        if notebook.nbformat_minor >= 5 and cell.get("id") in {None, *used}:
            cell["id"] = f"cell-{place}"
        used.add(cell.get("id"))


@dataclass(frozen=True)
class Declared:
    """What a notebook's parameters cell declares.

    Attributes
    ----------
    defaults : dict
        Default value by parameter; the source text where it is not a literal of JSON's types.
    uses : dict
        First line by name that does more with the name than ``name = value``, or may do so through
        a string. The batch sets parameters after this cell, so that this line would keep the
        default.
    """

    defaults: dict[str, Any]
    uses: dict[str, str]


def declared_parameters(path: Path) -> Declared:
    """Read the parameters cell of a Python notebook; raise ValueError if there is not one."""
    from IPython.core.inputtransformer2 import TransformerManager

    notebook = read_notebook(path)
    _check_language(notebook, path)
    if not notebook.cells:
        raise ValueError(f"{path} has no cells")
    tagged = [i for i, cell in enumerate(notebook.cells) if _has_tag(cell, "parameters")]
    if len(tagged) != 1 or notebook.cells[tagged[0]].cell_type != "code":
        raise ValueError(
            f"{path} must have one code cell tagged 'parameters', which assigns a default to each "
            f"parameter; it has {len(tagged) or 'none'}"
        )
    (place,) = tagged
    injected = [i for i, cell in enumerate(notebook.cells) if _has_tag(cell, "injected-parameters")]
    if injected not in ([], [place + 1]):  # where papermill replaces it
        raise ValueError(
            f"{path} has a cell tagged 'injected-parameters' that does not follow its parameters "
            "cell: remove it"
        )
    try:
        to_python = TransformerManager()  # type: ignore[no-untyped-call]
        source = to_python.transform_cell(notebook.cells[place].source)
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ValueError(f"the parameters cell of {path} is not Python: {error}") from None
    if source.startswith("get_ipython().run_cell_magic("):
        first = notebook.cells[place].source.split(maxsplit=1)[0]
        raise ValueError(
            f"the parameters cell of {path} begins with {short(first)}, which hides what it "
            "assigns: remove this line"
        )
    return _declared(tree, source.splitlines())


def _check_language(notebook: nbformat.NotebookNode, path: Path) -> None:
    kernel, info = (notebook.metadata.get(name, {}) for name in ("kernelspec", "language_info"))
    languages = [given for given in (kernel.get("language"), info.get("name")) if given]
    if not languages:
        raise ValueError(
            f"{path} does not name its language: open it in Jupyter, choose a Python kernel, and "
            "save it"
        )
    for language in languages:
        if language != "python":
            raise ValueError(f"{path} is a notebook in {short(language)}, not in 'python'")


def _has_tag(cell: nbformat.NotebookNode, tag: str) -> bool:
    return tag in cell.metadata.get("tags", [])


def _declared(tree: ast.Module, lines: list[str]) -> Declared:
    defaults: dict[str, Any] = {}
    uses: dict[str, str] = {}
    for statement in tree.body:
        rest: list[ast.AST] = []
        match statement:
            case ast.Assign(targets=targets, value=value):
                rest = [value]
            case ast.AnnAssign(target=target, annotation=annotation, value=ast.expr() as value):
                targets, rest = [target], [annotation, value]
            case _:
                targets, rest = [], [statement]
        for part, given in (pair for target in targets for pair in _unpacked(target, value)):
            if isinstance(part, ast.Name):
                defaults[part.id] = _value(given)
            else:  # such as d["n"] or *n
                rest.append(part)
        line = f"line {statement.lineno}, {short(lines[statement.lineno - 1].strip())}"
        for name in _names(rest):
            uses.setdefault(name, line)
    return Declared(defaults, uses)


def _names(parts: list[ast.AST]) -> set[str]:
    """Return the names that code uses, and all words in its strings if they may be names."""
    nodes = [node for part in parts for node in ast.walk(part)]
    names = {node.id for node in nodes if isinstance(node, ast.Name)}
    if names & _BY_STRING:
        for node in nodes:
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                names.update(re.findall(r"\w+", node.value))
    return names


def _unpacked(target: ast.expr, value: ast.expr) -> Iterator[tuple[ast.expr, ast.expr]]:
    """Return each part of an assignment's target with the expression that it receives."""
    parts = _elements(target)
    if not parts:
        yield target, value
        return
    given = _elements(value)
    if len(given) != len(parts):
        given = [ast.Subscript(value, ast.Constant(i)) for i in range(len(parts))]
    for part, expression in zip(parts, given, strict=True):
        yield from _unpacked(part, expression)


def _elements(node: ast.expr) -> list[ast.expr]:
    """Return the elements of a tuple or list; none if it has a starred one."""
    match node:
        case ast.Tuple(elts=elements) | ast.List(elts=elements):
            starred = any(isinstance(element, ast.Starred) for element in elements)
            return [] if starred else elements
    return []


def _value(node: ast.expr) -> Any:
    """Return the value of a literal that JSON can hold, else the source text."""
    try:
        value = ast.literal_eval(node)
        json.dumps(value)
    except (SyntaxError, TypeError, ValueError, RecursionError, MemoryError):
        return ast.unparse(node)
    return value
