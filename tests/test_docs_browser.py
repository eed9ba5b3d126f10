"""The documentation site in Chromium: every page, from the disk, without a network.

`make docs` builds the site. With SCREENSHOTS=FOLDER, pictures of the pages are kept there.
"""

import contextlib
import os
import shutil
from pathlib import Path

import pytest

playwright = pytest.importorskip(
    "playwright.sync_api", reason="needs Playwright: make test-browser"
)

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
SITE = Path(__file__).parent.parent / "docs" / "_build" / "html"

#: Every page with text.
PAGES = sorted(
    path.relative_to(SITE).as_posix()
    for folder in ("docs", "notebooks", "benchmarks")
    for path in SITE.glob(f"{folder}/**/*.html")
)

pytestmark = [
    pytest.mark.browser,
    pytest.mark.system,
    pytest.mark.skipif(not CHROMIUM, reason="needs Chromium, such as Debian's package chromium"),
    pytest.mark.skipif(not PAGES, reason="needs the site: make docs"),
]


@pytest.fixture(scope="module")
def chromium():
    with playwright.sync_playwright() as tool:
        browser = tool.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@contextlib.contextmanager
def visit(chromium, address, width=1440, **options):
    """Open a page with its equations set; fail if it logs an error or asks for anything outside."""
    context = chromium.new_context(viewport={"width": width, "height": 1000}, **options)
    page, wrong = context.new_page(), []
    page.set_default_timeout(20_000)
    page.on("console", lambda said: said.type == "error" and wrong.append(said.text))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("requestfailed", lambda asked: wrong.append(asked.url))
    inside = (SITE.as_uri(), "data:", "blob:", "about:")
    page.on("request", lambda asked: asked.url.startswith(inside) or wrong.append(asked.url))
    page.goto(f"{SITE.as_uri()}/{address}")
    page.evaluate("window.MathJax?.startup.promise.then(() => null)")
    yield page
    assert wrong == []
    context.close()


@pytest.mark.parametrize("width", [360, 1440])
@pytest.mark.parametrize("address", PAGES)
def test_a_page_fits_and_is_complete(chromium, address, width):
    with visit(chromium, address, width) as page:
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.locator("h1").count() == 1
        assert page.locator(".math:not(:has(mjx-container))").count() == 0
        assert page.locator("mjx-merror, .math [data-mml-node=merror]").count() == 0
        missing = page.locator("img:not([loading=lazy])").evaluate_all(
            "all => all.filter(image => !image.naturalWidth).map(image => image.src)"
        )
        assert missing == []
        if folder := os.environ.get("SCREENSHOTS"):
            name = address.removesuffix(".html").replace("/", "_")
            page.screenshot(path=f"{folder}/{name}_{width}.png")


def test_there_are_equations(chromium):
    with visit(chromium, "docs/theory.html") as page:
        assert page.locator("mjx-container").count() > 100
        alternative = page.locator("mjx-assistive-mml math").first
        assert alternative.text_content() == "Wij"


def test_the_first_page_leads_to_the_text(chromium):
    with visit(chromium, "docs/gallery.html") as page:
        page.goto(f"{SITE.as_uri()}/index.html")
        page.wait_for_url("**/docs/index.html")
        page.get_by_role("link", name="A first quarter of an hour").first.click()
        assert page.locator("h1").inner_text().startswith("A first quarter of an hour")


def test_the_gallery_loads_each_figure_when_it_is_reached(chromium):
    with visit(chromium, "docs/gallery.html") as page:
        figures = page.locator("figure img")
        assert figures.count() > 70
        for k in range(0, figures.count(), 10):
            figures.nth(k).scroll_into_view_if_needed()
            loaded = "image => image.complete && image.naturalWidth > 0"
            page.wait_for_function(loaded, arg=figures.nth(k).element_handle())


def test_the_search_finds_a_function_without_a_server(chromium):
    with visit(chromium, "search.html?q=certifying_leak") as page:
        page.locator("#search-results li a", has_text="certifying_leak").first.wait_for()


def test_an_example_is_copied_without_its_prompts(chromium):
    given = {"permissions": ["clipboard-read", "clipboard-write"]}
    with visit(chromium, "docs/howto.html", **given) as page:
        block = page.locator("div.highlight", has_text="nx.DiGraph").first
        block.hover()
        block.get_by_role("button").click()
        page.wait_for_function("navigator.clipboard.readText().then(text => text.includes('ring'))")
        copied = page.evaluate("navigator.clipboard.readText()")
        assert copied.splitlines()[0] == "import networkx as nx"
        assert ">>>" not in copied


def test_the_explorer_learns_on_its_page(chromium):
    with visit(chromium, "docs/explorer.html") as page:
        explorer = page.frame_locator("iframe.explorer")
        explorer.get_by_role("button", name="One epoch").click()
        assert explorer.get_by_role("status").inner_text().startswith("Epoch 1 · MSE ")
