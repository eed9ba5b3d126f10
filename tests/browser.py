"""What the tests in Chromium share: the browser, visits, and how to use the explorer.

A plugin of pytest, named in conftest.py. `make test-browser` installs what these tests need. With
SCREENSHOTS=FOLDER, pictures of what they visit are kept there.
"""

import contextlib
import os
import shutil
import statistics

import pytest

#: Milliseconds to wait for what comes at once, unless the machine is busy.
PATIENCE = 120_000

PANELS = ("States", "Energy", "Network", "Decision map", "Weights", "Error")

#: The panels that a slider of "By hand" changes.
BY_HAND = {"States", "Energy", "Network", "Decision map"}

#: The paper of the page, the report and the explorer.
PAPER = {"light": "rgb(255, 255, 255)", "dark": "rgb(28, 28, 30)"}


@pytest.fixture(scope="module")
def chromium():
    """Chromium of the system, or a skip that says what is missing."""
    tool = pytest.importorskip("playwright.sync_api", reason="needs Playwright: make test-browser")
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if not program:
        pytest.skip("needs Chromium, such as Debian's package chromium")
    arguments = ["--no-sandbox", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"]
    with tool.sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=program, args=arguments)


@contextlib.contextmanager
def new_page(chromium, width=1440, **options):
    """An empty page in a context of its own."""
    with chromium.new_context(viewport={"width": width, "height": 900}, **options) as context:
        context.set_default_timeout(PATIENCE)
        yield context.new_page()


@contextlib.contextmanager
def visit(chromium, address, width=1440, within=None, **options):
    """Open a page; fail if it logs an error, or asks for anything but itself and what is within."""
    inside = (within or address, "data:", "blob:", "about:")
    wrong = []
    with new_page(chromium, width, **options) as page:
        page.on("console", lambda said: said.type == "error" and wrong.append(said.text))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda asked: asked.url.startswith(inside) or wrong.append(asked.url))
        page.goto(address)
        yield page
    assert wrong == []


def width_of(page):
    """The width of what a page shows; more than the window's if it overflows."""
    return page.evaluate("document.documentElement.scrollWidth")


def paper(place):
    """The colour behind an element."""
    return place.evaluate("element => getComputedStyle(element).backgroundColor")


def keep_picture(page, name):
    """Keep a picture of what the window shows, if someone asked for it."""
    if folder := os.environ.get("SCREENSHOTS"):
        page.screenshot(path=f"{folder}/{name}.png")


def canvas(explorer, panel):
    """The canvas of a panel."""
    return explorer.locator("figure", has_text=panel).locator("canvas")


def drawn(explorer):
    """What each panel shows when the decision map has settled."""
    explorer.locator("canvas[aria-busy=false]").wait_for()
    pictures = {name: canvas(explorer, name).evaluate("c => c.toDataURL()") for name in PANELS}
    assert "data:," not in pictures.values()  # a canvas without pixels
    return pictures


def alternative(explorer, panel):
    """The text in place of a panel."""
    return canvas(explorer, panel).get_attribute("aria-label")


#: Keep, for each key, the milliseconds to the end of drawing and to the next frame of the screen.
WATCH = """slider => {
  let pressed;
  slider.times = [];
  addEventListener("keydown", (event) => { pressed = event.timeStamp; }, true);
  slider.addEventListener("input", () => {
    const start = pressed, drawn = performance.now() - start;
    requestAnimationFrame(() => slider.times.push([drawn, performance.now() - start]));
  });
}"""


def press_right(slider, where):
    """Press an arrow key thirty times, each of which draws, and print how long that takes."""
    slider.evaluate(WATCH)
    slider.focus()
    for _ in range(30):
        slider.page.keyboard.press("ArrowRight")
    times = slider.evaluate("s => new Promise(requestAnimationFrame).then(() => s.times)")
    assert len(times) == 30
    to_drawn, to_frame = (statistics.median(of) for of in zip(*times, strict=True))
    print(f"\na slider {where}: drawn after {to_drawn:.1f} ms, next frame after {to_frame:.1f} ms")


def assert_keys_move_what_is_drawn(explorer, where):
    """Press arrow keys on the slider of an input: what depends on inputs is drawn anew."""
    slider, key = explorer.get_by_label("Input x0"), explorer.page.keyboard
    before = drawn(explorer)
    press_right(slider, where)
    assert slider.input_value() == "0.3"
    after = drawn(explorer)
    assert {name for name in PANELS if before[name] != after[name]} == BY_HAND
    assert alternative(explorer, "Decision map").endswith("the cross is at 0.3, 1")
    for name, value in (("ArrowLeft", "0.29"), ("ArrowUp", "0.3"), ("ArrowDown", "0.29")):
        key.press(name)
        assert slider.input_value() == value
    for name in PANELS:
        assert alternative(explorer, name).startswith(f"{name}: ")
    explorer.get_by_role("button", name="One epoch").focus()
    key.press("Enter")
    assert explorer.get_by_role("status").inner_text().startswith("Epoch 1 · MSE ")


#: Wait until a panel changes, but not for ever.
REDRAWN = """async (root, before) => {
  const canvas = root.querySelector("canvas");
  for (let frame = 0; frame < 1000 && canvas.toDataURL() === before; frame++)
    await new Promise(requestAnimationFrame);
}"""


def assert_it_follows_into_the_dark(explorer, darken):
    """Make dark what shows the explorer: its paper and every panel follow."""
    light = drawn(explorer)
    assert paper(explorer) == PAPER["light"]
    darken()
    explorer.evaluate(REDRAWN, light["States"])
    assert paper(explorer) == PAPER["dark"]
    dark = drawn(explorer)
    assert [name for name in PANELS if light[name] == dark[name]] == []
