"""The documentation site in Chromium: every page, from the disk, without a network.

`make docs` builds the site.
"""

import contextlib
from pathlib import Path

import pytest

from .browser import (
    assert_it_follows_into_the_dark,
    assert_keys_move_what_is_drawn,
    keep_picture,
    visit,
    width_of,
)

ROOT = Path(__file__).parent.parent
SITE = ROOT / "docs" / "_build" / "html"

#: Every page with text.
PAGES = sorted(
    path.relative_to(SITE).as_posix()
    for folder in ("docs", "notebooks", "benchmarks")
    for path in SITE.glob(f"{folder}/**/*.html")
)

pytestmark = [
    pytest.mark.browser,
    pytest.mark.system,
    pytest.mark.skipif(not PAGES, reason="needs the site: make docs"),
]


@contextlib.contextmanager
def visit_page(chromium, address, **options):
    """Visit a page of the site with its equations set."""
    site = SITE.as_uri()
    with visit(chromium, f"{site}/{address}", within=site, **options) as page:
        page.evaluate("window.MathJax?.startup.promise.then(() => null)")
        yield page


@pytest.mark.parametrize("address", PAGES)
def test_a_page_fits_and_is_complete(chromium, address):
    with visit_page(chromium, address) as page:
        assert page.locator("h1").count() == 1
        assert page.locator(".math:not(:has(mjx-container))").count() == 0
        assert page.locator("mjx-merror, .math [data-mml-node=merror]").count() == 0
        missing = page.locator("img:not([loading=lazy])").evaluate_all(
            "all => all.filter(image => !image.naturalWidth).map(image => image.src)"
        )
        assert missing == []
        for width in (360, 1440):
            page.set_viewport_size({"width": width, "height": 900})
            assert width_of(page) == width
            keep_picture(page, f"{address.removesuffix('.html').replace('/', '_')}_{width}")


def test_there_are_equations(chromium):
    with visit_page(chromium, "docs/theory.html") as page:
        assert page.locator("mjx-container").count() > 100
        alternative = page.locator("mjx-assistive-mml math").first
        assert alternative.text_content() == "Wij"


def test_the_first_page_leads_to_the_text(chromium):
    with visit_page(chromium, "docs/gallery.html") as page:
        page.goto(f"{SITE.as_uri()}/index.html")
        page.wait_for_url("**/docs/index.html")
        page.get_by_role("link", name="A first quarter of an hour").first.click()
        assert page.locator("h1").inner_text().startswith("A first quarter of an hour")


def test_the_gallery_loads_each_figure_when_it_is_reached(chromium):
    with visit_page(chromium, "docs/gallery.html") as page:
        figures = page.locator("figure img")
        drawn = [path for kind in ("svg", "gif") for path in (ROOT / "figures").rglob(f"*.{kind}")]
        assert figures.count() == len(drawn)
        for k in range(0, figures.count(), 10):
            figures.nth(k).scroll_into_view_if_needed()
            loaded = "image => image.complete && image.naturalWidth > 0"
            page.wait_for_function(loaded, arg=figures.nth(k).element_handle())


def test_the_search_finds_a_function_without_a_server(chromium):
    with visit_page(chromium, "search.html?q=certifying_leak") as page:
        page.locator("#search-results li a", has_text="certifying_leak").first.wait_for()


def test_an_example_is_copied_without_its_prompts(chromium):
    given = {"permissions": ["clipboard-read", "clipboard-write"]}
    with visit_page(chromium, "docs/howto.html", **given) as page:
        block = page.locator("div.highlight", has_text="nx.DiGraph").first
        block.hover()
        block.get_by_role("button").click()
        page.wait_for_function("navigator.clipboard.readText().then(text => text.includes('ring'))")
        copied = page.evaluate("navigator.clipboard.readText()")
        assert copied.splitlines()[0] == "import networkx as nx"
        assert ">>>" not in copied


def test_the_explorer_answers_on_its_page_and_follows_the_colour_scheme(chromium):
    with visit_page(chromium, "docs/explorer.html") as page:
        explorer = page.frame_locator("iframe.explorer").locator("main")
        assert_keys_move_what_is_drawn(explorer, "on its page of the site")
        assert_it_follows_into_the_dark(explorer, lambda: page.emulate_media(color_scheme="dark"))


def test_the_explorer_follows_the_button_of_the_theme(chromium):
    with visit_page(chromium, "docs/explorer.html", color_scheme="null") as page:
        explorer = page.frame_locator("iframe.explorer").locator("main")
        explorer.wait_for()
        assert_it_follows_into_the_dark(explorer, page.locator(".theme-toggle:visible").click)
        assert page.locator("body").get_attribute("data-theme") == "dark"
