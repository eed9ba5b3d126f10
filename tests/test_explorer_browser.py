"""The explorer in Chromium: as a page, and as a widget in JupyterLab.

`make test-browser` installs what these tests need, and prints how long a slider takes.
"""

import contextlib
import os
import shutil
import socket
import statistics
import subprocess
import sys
import time
import urllib.request

import nbformat
import pytest

import deep_nb
from deep_nb.explorer.page import write_page

playwright = pytest.importorskip(
    "playwright.sync_api", reason="needs Playwright: make test-browser"
)

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")

pytestmark = [
    pytest.mark.browser,
    pytest.mark.system,
    pytest.mark.skipif(not CHROMIUM, reason="needs Chromium, such as Debian's package chromium"),
]


@pytest.fixture(scope="module")
def chromium():
    with playwright.sync_playwright() as tool:
        browser = tool.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    return write_page(tmp_path_factory.mktemp("page") / "page.html", "DEEP", "xor", 5).as_uri()


@contextlib.contextmanager
def visit(chromium, address, width=1440, **options):
    """Open a page; fail if it logs an error or asks for anything outside."""
    context = chromium.new_context(viewport={"width": width, "height": 900}, **options)
    page, wrong = context.new_page(), []
    page.set_default_timeout(20_000)
    page.on("console", lambda said: said.type == "error" and wrong.append(said.text))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("request", lambda asked: asked.url != address and wrong.append(asked.url))
    page.goto(address)
    page.wait_for_function("document.querySelector('main').dataset.milliseconds")
    yield page
    assert wrong == []
    context.close()


def drawn(page, name):
    """What a panel shows."""
    return page.locator("figure", has_text=name).locator("canvas").evaluate("c => c.toDataURL()")


def alternative(page, name):
    """The text in place of a panel."""
    return page.locator("figure", has_text=name).locator("canvas").get_attribute("aria-label")


PANELS = ("States", "Energy", "Network", "Decision map", "Weights", "Error")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1440])
def test_the_page_fits_and_has_text_alternatives(chromium, address, width, scheme):
    with visit(chromium, address, width, color_scheme=scheme) as page:
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        background = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert background == {"light": "rgb(255, 255, 255)", "dark": "rgb(28, 28, 30)"}[scheme]
        for name in PANELS:
            assert alternative(page, name).startswith(f"{name}: ")
            box = page.locator("figure", has_text=name).locator("canvas").bounding_box()
            assert box["width"] >= 280
        unnamed = page.locator("input, select, button").evaluate_all(
            "all => all.filter(e => !e.labels?.length && !e.textContent.trim()).length"
        )
        assert unnamed == 0


def test_a_key_moves_a_slider_and_what_is_drawn(chromium, address):
    with visit(chromium, address) as page:
        before = {name: drawn(page, name) for name in PANELS}
        slider = page.get_by_label("Input x0")
        slider.focus()
        page.keyboard.press("ArrowRight")
        assert slider.input_value() == "0.01"
        after = {name: drawn(page, name) for name in PANELS}
        moved = {name for name in PANELS if before[name] != after[name]}
        assert moved == {"States", "Energy", "Network", "Decision map"}
        assert alternative(page, "Decision map").endswith("the cross is at 0.01, 1")


def test_an_epoch_in_the_page_is_that_of_python(chromium, address):
    run = deep_nb.train("DEEP", "xor", seeds=5, hyper={"n_epochs": 3})
    wrong = round(4 * run["class_error_free"].values[0, -1])
    with visit(chromium, address) as page:
        for _ in range(3):
            page.get_by_role("button", name="One epoch").click()
        said = page.get_by_role("status").inner_text()
        assert (
            said == f"Epoch 3 · MSE {run['mse_free'].values[0, -1]:.3g} · {4 - wrong} of 4 correct"
        )
        page.get_by_role("button", name="Reset").click()
        assert page.get_by_role("status").inner_text() == "Not trained yet"


def test_it_learns_until_it_is_paused(chromium, address):
    with visit(chromium, address) as page:
        page.get_by_label("Model").select_option("fast contracting DEEP")
        page.get_by_role("button", name="Start").click()
        page.wait_for_function("""() => {
          const said = document.querySelector('[role=status]').textContent;
          return /MSE (0|0\\.00\\d*|\\S*e-\\d+) · 4 of 4 correct/.test(said);
        }""")
        page.get_by_role("button", name="Pause").click()
        said = page.get_by_role("status").inner_text()
        page.evaluate("new Promise(done => setTimeout(done, 100))")
        assert page.get_by_role("status").inner_text() == said
        assert "contracts" not in alternative(page, "Error")
        assert alternative(page, "States").count("0.99") + alternative(page, "States").count(
            "y0 = 1"
        )


def test_a_click_on_a_neuron_clamps_it(chromium, address):
    with visit(chromium, address) as page:
        canvas = page.locator("figure", has_text="Network").locator("canvas")
        box = canvas.bounding_box()
        output = {"x": box["width"] - 24, "y": box["height"] / 2}
        for clamped in ("y0, clamped at 1", "y0, clamped at 0", "y0, free"):
            canvas.click(position=output)
            assert page.get_by_role("button", name=clamped).is_visible()
            end = alternative(page, "States").split(";")[0]
            assert ("free" in clamped) or f"y0 = {clamped[-1]}" in end


def test_the_cross_can_be_dragged(chromium, address):
    with visit(chromium, address) as page:
        canvas = page.locator("figure", has_text="Decision map").locator("canvas")
        box = canvas.bounding_box()
        page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 6 + (box["height"] - 34) / 2)
        page.mouse.down()
        assert alternative(page, "Decision map").endswith("the cross is at 0.5, 0.5")
        page.mouse.move(box["x"] + 1, box["y"] + 1)
        page.mouse.up()
        assert alternative(page, "Decision map").endswith("the cross is at 0, 1")
        assert page.get_by_label("Input x0").input_value() == "0"


def test_every_choice_can_be_made(chromium, address):
    """No model, task, rule or activation breaks the page."""
    with visit(chromium, address) as page:
        for name in ("Model", "Task", "Rule", "Activation"):
            control = page.get_by_label(name)
            for option in control.locator("option:enabled").all_inner_texts():
                control.select_option(option)
                page.get_by_role("button", name="One epoch").click()
                assert "Epoch" in page.get_by_role("status").inner_text()
        assert page.get_by_label("Rule").locator("option:disabled").count() == 3


def test_a_task_of_ones_own_with_three_inputs_has_no_map(chromium, tmp_path):
    task = deep_nb.Task("</script>", [[0, 1, 0.5], [1, 0, 0], [1, 1, -1]], [[2], [0], [1]])
    page = write_page(tmp_path / "own.html", "DEEP_oh", task)
    with visit(chromium, page.as_uri()) as page:
        page.get_by_role("button", name="One epoch").click()
        assert page.get_by_role("status").inner_text().startswith("Epoch 1 · MSE ")
        assert alternative(page, "Decision map").endswith(
            "more than two inputs, or more than one label"
        )
        assert page.get_by_label("Input x2").is_visible()
        assert alternative(page, "States").count("y2 = ") == 2


#: Milliseconds from a slider's event to the end of drawing, and to the next frame of the screen.
LATENCY = """async (slider) => {
  const times = [];
  for (let k = 0; k < 50; k++) {
    await new Promise(requestAnimationFrame);
    const start = performance.now();
    slider.value = (k % 10) / 10;
    slider.dispatchEvent(new Event("input", { bubbles: true }));
    const drawn = performance.now() - start;
    await new Promise(requestAnimationFrame);
    times.push([drawn, performance.now() - start]);
  }
  return times;
}"""


def report(where, times):
    drawn, shown = (statistics.median(of) for of in zip(*times, strict=True))
    print(f"\na slider {where}: drawn after {drawn:.1f} ms, next frame after {shown:.1f} ms")


def test_each_move_of_a_slider_is_drawn(chromium, address):
    with visit(chromium, address) as page:
        times = page.get_by_label("Input x0").evaluate(LATENCY)
        assert alternative(page, "Decision map").endswith("the cross is at 0.9, 1")
        report("of the page", times)


#: The programs that show notebooks, and where each shows one.
HOSTS = {"jupyterlab": "lab/tree", "notebook": "notebooks"}


@pytest.fixture(scope="module", params=HOSTS)
def host(request, tmp_path_factory):
    """JupyterLab or Notebook with a notebook of three cells, in a workspace of its own."""
    folder = tmp_path_factory.mktemp("lab")
    cells = ["import deep_nb\nexplorer = deep_nb.explore('DEEP')\nexplorer",
             "print('leak', explorer.arguments()['model'].leak)",
             "explorer.setting = explorer.setting | {'seed': 7, 'sparse': True}"]  # fmt: skip
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    notebook.metadata.kernelspec = {
        "name": "python3",
        "display_name": "Python 3",
        "language": "python",
    }
    nbformat.write(notebook, folder / "explore.ipynb")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    own = {"JUPYTER_CONFIG_DIR": "config", "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
           "JUPYTER_RUNTIME_DIR": "runtime"}  # fmt: skip
    environment = {**os.environ, **{name: str(folder / path) for name, path in own.items()}}
    for name in ("PYTHONWARNINGS", "COVERAGE_PROCESS_CONFIG"):
        environment.pop(name, None)
    command = [sys.executable, "-m", request.param, "--no-browser", "--allow-root"]
    command += [f"--port={port}", "--ServerApp.port_retries=0", "--IdentityProvider.token=key"]
    log = folder / "log"
    with log.open("w") as out:
        server = subprocess.Popen(command, cwd=folder, env=environment, stdout=out, stderr=out)
    try:
        for _ in range(600):
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"http://127.0.0.1:{port}/api", timeout=5).close()
                break
            assert server.poll() is None, log.read_text()
            time.sleep(0.1)
        yield (
            request.param,
            f"http://127.0.0.1:{port}/{HOSTS[request.param]}/explore.ipynb?token=key",
        )
    finally:
        server.terminate()
        server.wait(30)


def test_the_widget_works_in_jupyter(chromium, host):
    name, address = host
    context = chromium.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()
    page.goto(address, timeout=120_000)
    first, second, third = (page.locator(".jp-CodeCell").nth(k) for k in range(3))
    first.locator(".cm-content").click(timeout=120_000)
    page.keyboard.press("Shift+Enter")
    slider = first.get_by_label("Leak λ")
    slider.focus(timeout=120_000)
    for _ in range(5):
        page.keyboard.press("ArrowRight")
    assert slider.input_value() == "0.05"
    bound = first.get_by_role("img").nth(1).get_attribute("aria-label")
    assert bound.startswith("Energy: the free phase ")
    second.locator(".cm-content").click()
    page.keyboard.press("Shift+Enter")
    second.get_by_text("leak 0.05").wait_for(timeout=60_000)
    third.locator(".cm-content").click()
    page.keyboard.press("Shift+Enter")
    playwright.expect(first.get_by_label("Seed")).to_have_value("7", timeout=60_000)
    assert first.get_by_label("Pruning").is_checked()
    report(f"in {name}", first.get_by_label("Input x0").evaluate(LATENCY))
    folder = os.environ.get("SCREENSHOTS")
    if folder:
        page.screenshot(path=f"{folder}/explore_{name}.png")
    context.close()
