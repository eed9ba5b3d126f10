"""Notebooks of others: which run, what their parameters cell declares, and what is refused."""

import json

import pytest

from deep_nb.replication import read_jobs
from deep_nb.replication.notebooks import declared_parameters, read_notebook

from .test_replication import write_notebook


@pytest.fixture
def path(tmp_path):
    return tmp_path / "tiny.ipynb"


def given(path, **parameters):
    """Read an experiment that gives parameters to a notebook."""
    entry = {"name": "a", "notebook": path.name, "parameters": parameters}
    (path.parent / "e.yml").write_text(json.dumps({"experiments": [entry]}))
    (job,) = read_jobs(path.parent / "e.yml")
    return job


@pytest.mark.parametrize(
    ("source", "defaults"),
    [
        ("n: int = 5", {"n": 5}),
        ("a, n = 1, 2", {"a": 1, "n": 2}),
        ("a, (n, b) = x, [2.5, None]", {"a": "x", "n": 2.5, "b": None}),
        ("a, n = f()", {"a": "f()[0]", "n": "f()[1]"}),
        ("a, n = 1, 2, 3", {"a": "(1, 2, 3)[0]", "n": "(1, 2, 3)[1]"}),  # fails when it runs
        ("[a, *b] = 1, 2, 3\nn = 7", {"n": 7}),
        ("a = n = [1, 2]", {"a": [1, 2], "n": [1, 2]}),
        ("n = 5  # published: n = 5", {"n": 5}),
        ("n = 'a=b'  # c=d", {"n": "a=b"}),
        ('n = "#1"', {"n": "#1"}),
        ("n = 1; m = -2", {"n": 1, "m": -2}),
        ("n = [\n    1,  # first\n    2,\n]", {"n": [1, 2]}),
        ('n = """a\nb = 3"""', {"n": "a\nb = 3"}),
        ("n = {'k': (1, 2)}", {"n": {"k": (1, 2)}}),
        ("n = {1, 2}\nm = 2 ** 3", {"n": "{1, 2}", "m": "2 ** 3"}),
        ("%matplotlib inline\nimport math\n'''Parameters.'''\nn = 3", {"n": 3}),
        ("n = 1\nn = 2", {"n": 2}),
        ("d = {}\nd['n'] = 1\nn = 3", {"d": {}, "n": 3}),
        ("n = 3\nm = f('n')\n%cd nn\n!ls nn", {"n": 3, "m": "f('n')"}),
        ("µ = 1\nn = True", {"μ": 1, "n": True}),
    ],
)
def test_a_parameters_cell_is_read_as_python(path, source, defaults):
    write_notebook(path, "1", source + "\noutput = ''")
    assert given(path, n=9).parameters == {"n": 9}
    assert declared_parameters(path).defaults == {**defaults, "output": ""}


@pytest.mark.parametrize(
    ("source", "line"),
    [
        ("n = 1\nn += 1", r"line 2, 'n \+= 1'"),
        ("n = 1\nm = 2 * n", "line 2, 'm = 2 \\* n'"),
        ("n = 1\nm: n = 2", "line 2, 'm: n = 2'"),
        ("if True:\n    n = 5", "line 1, 'if True:'"),
        ("n = {}\nn['k'] = 5", r"line 2, \"n\['k'\] = 5\""),
        ("n = 1\n\nprint(n)", "line 3, 'print\\(n\\)'"),
        ("for n in range(3): pass", "line 1, 'for n in range"),
        ("m, *n = 1, 2, 3", r"line 1, 'm, \*n = 1, 2, 3'"),
        ("m = (n := 3)", "line 1, 'm = \\(n := 3\\)'"),
        ("n: int", "line 1, 'n: int'"),
        ("n = 1\ndel n", "line 2, 'del n'"),
        ("n = 1\nn += 1\nprint(n)", r"line 2, 'n \+= 1', does more"),
        ("n = 5\n%time m = 2*n", "line 2, .*'time', 'm = 2\\*n'"),
        ("n = 5\nm = %timeit -o n", "line 2, .m = get_ipython.*'timeit', '-o n'"),
        ("%time n = 5", "line 1, .*'time', 'n = 5'"),
        ("n = 5\n!echo $n", r"line 2, .*system\('echo \$n'\)"),
        ("n = 5\nm = !echo {n+1}", r"line 2, .*getoutput\('echo \{n\+1\}'\)"),
        ("n = 5\nif m:\n    %env M=$n", "line 2, 'if m:'"),
        ("n = 5\nm = eval('2*n')", "line 2, .*eval"),
        ("n = 5\nexec(f'{x} = n')", "line 2, .*exec"),
        ("n = 5\nm = 2 * globals()['n']", "line 2, .*globals"),
    ],
)
def test_a_parameter_that_cannot_be_overridden_is_refused(path, source, line):
    write_notebook(path, "1", source + "\noutput = ''")
    with pytest.raises(ValueError, match=line) as caught:
        given(path, n=9)
    assert str(caught.value).startswith(
        "experiment 'a': the parameters cell of tiny.ipynb may use 'n' only as in 'n = value', "
    )
    assert "\n" not in str(caught.value)
    assert given(path).parameters == {}  # as long as the experiment does not give it


@pytest.mark.parametrize("magic", ["%%capture", "\n%%time -x", "%%bash"])
def test_a_parameters_cell_for_another_reader_is_refused(path, magic):
    write_notebook(path, "1", f"{magic}\nn = 5\noutput = ''")
    first = magic.split()[0]
    with pytest.raises(ValueError, match=f"{path.name} begins with '{first}', which hides what"):
        given(path, n=7)


def test_the_folders_that_the_batch_gives_must_be_overridable_too(path):
    write_notebook(path, "1", "output = ''\nfigures = output + '/figures'")
    with pytest.raises(ValueError, match="may use 'output' only as in 'output = value'"):
        given(path)
    write_notebook(path, "1", "output = checkpoint = ''\ncheckpoint += 'x'")
    with pytest.raises(ValueError, match="may use 'checkpoint' only as in"):
        given(path)


CELL = {
    "cell_type": "code", "id": "one", "execution_count": None, "outputs": [],
    "metadata": {"tags": ["parameters"]}, "source": ["n = 1\n", "output = ''"],
}  # fmt: skip
PYTHON = {"language_info": {"name": "python"}}
KERNEL = {"name": "x", "display_name": "X"}
INJECTED = {**CELL, "id": "two", "metadata": {"tags": ["injected-parameters"]}}


def notebook(*cells, minor=5, **metadata):
    return {
        "cells": list(cells), "metadata": metadata or PYTHON, "nbformat": 4, "nbformat_minor": minor
    }  # fmt: skip


def old(version):
    code = {"cell_type": "code", "language": "python", "input": "n = 1", "outputs": []}
    sheet = {"cells": [{**code, "collapsed": False, "prompt_number": 1}]}
    return {
        "nbformat": version,
        "nbformat_minor": 0,
        "metadata": {"name": ""},
        "worksheets": [sheet],
    }


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "tiny.ipynb is not a notebook: it is not JSON"),
        ("import numpy", "is not a notebook: it is not JSON"),
        ("[" * 100_000, "is not a notebook: it is not JSON"),
        ("[3]", "is not a notebook: it does not name its nbformat"),
        ("null", "is not a notebook: it does not name its nbformat"),
        ("{}", "is not a notebook: it does not name its nbformat"),
        (old(2), "is not a notebook of format 4, but of format 2; convert it with: jupyter"),
        (old(3), "is not a notebook of format 4, but of format 3; convert it with: jupyter"),
        ({**notebook(CELL), "nbformat": 5}, "but of format 5"),
        ({**notebook(CELL), "nbformat": "4"}, "but of format '4'"),
        ({"nbformat": 4}, "is not a notebook: "),
        ({**notebook(), "cells": [3]}, "is not a notebook: "),
        ({**notebook(CELL), "metadata": {"kernelspec": {}}}, "is not a notebook: "),
        (notebook(), "tiny.ipynb has no cells"),
        (notebook(CELL, name="x"), "does not name its language: open it in Jupyter"),
        (notebook(CELL, kernelspec=KERNEL), "does not name its language: open it in Jupyter"),
        (notebook(CELL, language_info={"name": "R"}), "is a notebook in 'R', not in 'python'"),
        (notebook(CELL, kernelspec={**KERNEL, "language": "julia"}), "is a notebook in 'julia'"),
        (notebook(CELL, **PYTHON, kernelspec={**KERNEL, "language": "sas"}), "notebook in 'sas'"),
        (notebook({**CELL, "metadata": {}}), "must have one code cell tagged 'parameters'.* none"),
        (notebook(CELL, {**CELL, "id": "2"}), "must have one code cell tagged .* has 2"),
        (notebook({"cell_type": "markdown", "id": "1", "source": "n = 1",
                   "metadata": {"tags": ["parameters"]}}), "must have one code cell tagged"),
        (notebook(INJECTED, CELL), "a cell tagged 'injected-parameters' that does not follow"),
        (notebook({**CELL, "source": "n = = 1"}), "the parameters cell of .* is not Python"),
        (notebook({**CELL, "source": "n = 1"}), "tiny.ipynb has no parameter 'output'"),
    ],
)  # fmt: skip
def test_a_notebook_that_cannot_run_is_refused_in_one_line(path, content, message):
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(ValueError, match=message) as caught:
        given(path)
    assert "\n" not in str(caught.value)
    assert "tiny.ipynb" in str(caught.value)


@pytest.mark.parametrize(
    "content",
    [
        notebook(CELL, language_info={"name": "python"}),
        notebook(CELL, kernelspec={**KERNEL, "language": "python"}),
        notebook({name: CELL[name] for name in CELL if name != "id"}),
        notebook({name: CELL[name] for name in CELL if name != "id"}, minor=2),
        notebook(CELL, {**CELL, "metadata": {}}, {**CELL, "metadata": {}}),
        notebook(CELL, INJECTED),
    ],
)
def test_other_python_notebooks_are_read(path, content):
    """Without a kernelspec, without ids or with repeated ones, of older minor formats."""
    path.write_text(json.dumps(content))
    assert given(path, n=9).defaults == {"n": 1, "output": ""}
    ids = [cell.get("id") for cell in read_notebook(path).cells]
    assert len({*ids}) == len(ids)


def test_a_notebook_of_another_encoding_or_size_is_refused(path):
    path.write_bytes(json.dumps(notebook(CELL)).encode("utf-16"))
    with pytest.raises(ValueError, match=r"tiny\.ipynb is not a UTF-8 text"):
        read_notebook(path)
    with path.open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(ValueError, match=r"tiny\.ipynb is too large"):
        read_notebook(path)
