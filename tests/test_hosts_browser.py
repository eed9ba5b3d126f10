"""JupyterLab, Notebook 7 and Voilà in Chromium: notebooks run, and the explorer answers.

`make test-browser` installs what these tests need, and prints how long a slider takes.
"""

import contextlib
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections import namedtuple
from pathlib import Path

import nbformat
import pytest

from .browser import (
    PAPER,
    PATIENCE,
    assert_it_follows_into_the_dark,
    assert_keys_move_what_is_drawn,
    keep_picture,
    new_page,
    paper,
)

pytestmark = [pytest.mark.browser, pytest.mark.system]

NOTEBOOKS = Path(__file__).parent.parent / "notebooks"

#: Where each program shows a notebook; JupyterLab in a workspace of its own.
PLACES = {"jupyterlab": "lab/workspaces/{0}/tree/{0}.ipynb", "notebook": "notebooks/{0}.ipynb"}

EXPLORE = (
    "import deep_nb\nexplorer = deep_nb.explore('DEEP')\nexplorer",
    "now = explorer.arguments()\nprint('seed', now['seeds'], 'leak', now['model'].leak)",
    "explorer.setting = explorer.setting | {'seed': 7, 'sparse': True}",
)

Host = namedtuple("Host", "name folder origin")


@contextlib.contextmanager
def serving(folder, *command):
    """Start a program of Jupyter without settings of the user, and return its address."""
    pytest.importorskip(command[0], reason=f"needs {command[0]}: make test-browser")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    own = ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR")
    environment = {**os.environ, **{name: str(folder / name) for name in own}}
    for name in ("PYTHONWARNINGS", "COVERAGE_PROCESS_CONFIG"):
        environment.pop(name, None)
    log = folder / "log"
    with log.open("w") as out:
        server = subprocess.Popen(
            [sys.executable, "-m", *command, "--no-browser", f"--port={port}"],
            cwd=folder, env=environment, stdout=out, stderr=out,
        )  # fmt: skip
    try:
        for _ in range(PATIENCE // 100):
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port)).close()
                break
            assert server.poll() is None, log.read_text()
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(60)


@pytest.fixture(scope="module")
def quickstart():
    """The notebook for the first minutes, with its outputs."""
    return nbformat.read(NOTEBOOKS / "quickstart.ipynb", as_version=4)


@pytest.fixture(scope="module", params=PLACES)
def host(request, tmp_path_factory, quickstart):
    """JupyterLab or Notebook 7 with two notebooks that have not run."""
    folder = tmp_path_factory.mktemp(request.param)
    cells = [cell.source for cell in quickstart.cells if cell.cell_type == "code"]
    for name, sources in (("quickstart", cells), ("explore", EXPLORE)):
        new = nbformat.v4.new_notebook(metadata=quickstart.metadata)
        new.cells = [nbformat.v4.new_code_cell(source) for source in sources]
        nbformat.write(new, folder / f"{name}.ipynb")
    options = ["--allow-root", "--ServerApp.port_retries=0", "--IdentityProvider.token="]
    with serving(folder, request.param, *options) as origin:
        yield Host(request.param, folder, origin)


@contextlib.contextmanager
def open_and_run(chromium, host, name):
    """Open a notebook, and run it with a kernel that restarts: one that starts loses requests."""
    with new_page(chromium) as page:
        page.goto(f"{host.origin}/{PLACES[host.name].format(name)}")
        page.locator("[data-status=idle]").wait_for()
        choose(page, "Run", "Restart Kernel and Run All Cells…")
        page.locator(".jp-Dialog .jp-mod-accept").click()
        yield page


def choose(page, *names):
    """Choose from the menus."""
    for name in names:
        label = page.locator(".lm-MenuBar-itemLabel, .lm-Menu-itemLabel")
        label.filter(has_text=re.compile(f"^{name}$")).click()


def wait_for_run(page, number):
    """Wait for the end of the cell that runs as the kernel's n-th."""
    page.locator(".jp-InputPrompt", has_text=f"[{number}]:").wait_for(state="attached")


def shown(cell):
    """What a cell printed, and the kinds of its other outputs; stderr may say what is compiled."""
    printed = "".join(output.text for output in cell.outputs if output.get("name") == "stdout")
    others = [sorted(output.data) for output in cell.outputs if "data" in output]
    return cell.execution_count, printed, others


def test_quickstart_runs_to_the_end(chromium, host, quickstart):
    expected = [shown(cell) for cell in quickstart.cells if cell.cell_type == "code"]
    with open_and_run(chromium, host, "quickstart") as page:
        wait_for_run(page, len(expected))
        saved = "PUT", f"{host.origin}/api/contents/quickstart.ipynb"
        with page.expect_response(lambda got: (got.request.method, got.url.split("?")[0]) == saved):
            page.keyboard.press("Control+s")
        keep_picture(page, f"quickstart_{host.name}")
    ran = nbformat.read(host.folder / "quickstart.ipynb", as_version=4)
    assert [shown(cell) for cell in ran.cells] == expected


def test_the_explorer_answers_in_jupyter(chromium, host):
    with open_and_run(chromium, host, "explore") as page:
        wait_for_run(page, 3)
        first, second, third = (page.locator(".jp-CodeCell").nth(k) for k in range(3))
        explorer = first.locator(".deep-nb")
        assert_keys_move_what_is_drawn(explorer, f"in {host.name}")
        slider, seed = explorer.get_by_label("Leak λ"), explorer.get_by_label("Seed")
        slider.focus()
        for _ in range(5):
            page.keyboard.press("ArrowRight")
        assert slider.input_value() == "0.05"
        seed.focus()
        page.keyboard.type("00")  # in Jupyter, these keys restart the kernel
        page.keyboard.press("Tab")
        assert seed.input_value() == "700"
        second.locator(".cm-content").click()
        page.keyboard.press("Shift+Enter")
        second.get_by_text("seed 700 leak 0.05").wait_for()
        third.locator(".cm-content").click()
        page.keyboard.press("Shift+Enter")
        page.wait_for_function("document.querySelector('.deep-nb [type=number]').value === '7'")
        assert explorer.get_by_label("Pruning").is_checked()
        assert_it_follows_into_the_dark(
            explorer, lambda: choose(page, "Settings", "Theme", "JupyterLab Dark")
        )
        keep_picture(page, f"explore_{host.name}")


def test_voila_serves_the_explorer(chromium, tmp_path):
    shutil.copy(NOTEBOOKS / "explore.ipynb", tmp_path)
    with (
        serving(tmp_path, "voila", "explore.ipynb") as origin,
        new_page(chromium) as page,
    ):
        page.goto(f"{origin}/?theme=dark")
        page.get_by_text("networks learned").wait_for()
        explorer = page.locator(".deep-nb")
        assert_keys_move_what_is_drawn(explorer, "in Voilà")
        assert paper(explorer) == PAPER["dark"]
        keep_picture(page, "explore_voila")
