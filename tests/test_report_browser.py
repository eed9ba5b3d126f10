"""The report of the stored run in Chromium: it fits, is read by keyboard, and prints.

`make test-browser` installs what these tests need.
"""

import contextlib
import os
import shutil
from pathlib import Path

import pytest

from deep_nb.report import write_report

playwright = pytest.importorskip(
    "playwright.sync_api", reason="needs Playwright: make test-browser"
)

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")

pytestmark = [
    pytest.mark.browser,
    pytest.mark.system,
    pytest.mark.skipif(not CHROMIUM, reason="needs Chromium, such as Debian's package chromium"),
]

FIGURES = Path(__file__).parent.parent / "figures"


@pytest.fixture(scope="module")
def chromium():
    with playwright.sync_playwright() as tool:
        browser = tool.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    return write_report(FIGURES, tmp_path_factory.mktemp("report") / "report.html").as_uri()


@contextlib.contextmanager
def visit(chromium, address, width=1440, **options):
    """Open the report; fail if it logs an error or asks for anything outside."""
    context = chromium.new_context(viewport={"width": width, "height": 900}, **options)
    page, wrong = context.new_page(), []
    page.set_default_timeout(20_000)
    page.on("console", lambda said: said.type == "error" and wrong.append(said.text))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on(
        "request",
        lambda asked: (
            asked.url != address and not asked.url.startswith("data:") and wrong.append(asked.url)
        ),
    )
    page.goto(address)
    yield page
    assert wrong == []
    context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1100, 1440])
def test_the_report_fits_and_follows_the_colour_scheme(chromium, address, width, scheme):
    with visit(chromium, address, width, color_scheme=scheme) as page:
        assert page.evaluate("document.documentElement.scrollWidth") == width
        # What is wider scrolls in a box of its own.
        beyond = page.locator("main *").evaluate_all(
            """(all, width) => all.filter(e => e.checkVisibility() && !e.closest(".wide")
               && e.getBoundingClientRect().right > width).map(e => e.outerHTML.slice(0, 80))""",
            width,
        )
        assert beyond == []
        background = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert background == {"light": "rgb(255, 255, 255)", "dark": "rgb(28, 28, 30)"}[scheme]
        for picture in page.locator("main img").all()[:3]:
            assert picture.bounding_box()["width"] >= 600
            assert picture.evaluate("picture => picture.decode().then(() => picture.complete)")
        folder = os.environ.get("SCREENSHOTS")
        if folder:
            page.screenshot(path=f"{folder}/report_{width}_{scheme}.png")


def test_the_contents_stay_at_the_side_or_fold_on_top(chromium, address):
    with visit(chromium, address, 1100) as page:
        side, top = page.locator("nav.side"), page.locator("nav.top")
        assert side.is_visible()
        assert not top.is_visible()
        page.locator("#figures").scroll_into_view_if_needed()
        assert 0 <= side.bounding_box()["y"] < 100
        side.get_by_role("link", name="Verdicts").click()
        assert 0 <= page.locator("#verdicts").bounding_box()["y"] < 100
        page.set_viewport_size({"width": 1099, "height": 900})
        assert not side.is_visible()
        link = top.get_by_role("link", name="Verdicts")
        assert not link.is_visible()
        top.locator("summary").focus()
        page.keyboard.press("Enter")
        assert link.is_visible()


@pytest.mark.parametrize("script", [True, False])
def test_a_cell_opens_by_keyboard_even_without_javascript(chromium, address, script):
    with visit(chromium, address, 360, java_script_enabled=script) as page:
        cell = page.get_by_role("button", name="1b, XOR: not reproduced")
        card = page.locator(".card", has_text="DEEP learns XOR reliably")
        assert not card.is_visible()
        cell.focus()
        page.keyboard.press("Enter")
        assert card.is_visible()
        assert "share of DEEP: learned" in card.inner_text()
        assert page.locator(".card:visible").count() == 1
        box = card.bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 360
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")  # on its button "Close"
        assert not card.is_visible()
        page.keyboard.press("Space")
        assert card.is_visible()
        page.keyboard.press("Escape")
        assert not card.is_visible()


@pytest.mark.parametrize("width", [360, 1440])
def test_estimates_are_drawn_over_the_axis(chromium, address, width):
    with visit(chromium, address, width) as page:

        def middle(locator):
            box = locator.bounding_box()
            return box["x"] + box["width"] / 2

        axis = page.locator(".forest thead text")
        first, last = axis.first, axis.last
        ends = [float(text.inner_html().replace("−", "-")) for text in (first, last)]
        for claim in ("1a", "1b", "8b"):
            row = page.locator(".forest tbody", has_text=f"{claim} ").locator("tr").nth(1)
            estimate = float(row.locator("td").last.inner_text().split(" %")[0])
            share = (estimate - ends[0]) / (ends[1] - ends[0])
            expected = middle(first) + share * (middle(last) - middle(first))
            assert middle(row.locator(".estimate > *")) == pytest.approx(expected, abs=1)


def test_an_epoch_in_the_report(chromium, address):
    with visit(chromium, address) as page:
        page.get_by_role("button", name="One epoch").click()
        assert page.locator("#explorer [role=status]").inner_text().startswith("Epoch 1 · MSE ")


def test_print_shows_what_is_folded(chromium, address, tmp_path):
    with visit(chromium, address, color_scheme="dark") as page:
        models = page.locator("#models table")
        assert not models.is_visible()
        page.emulate_media(media="print")
        assert models.is_visible()
        assert page.locator("details table").evaluate_all(
            "all => all.every(table => table.getBoundingClientRect().height > 20)"
        )
        cards = page.locator(".card")
        assert cards.count() == page.locator(".matrix button").count()
        assert cards.evaluate_all("all => all.every(card => card.checkVisibility())")
        for hidden in ("nav.side", "nav.top", "#explorer"):
            assert not page.locator(hidden).is_visible()
        color = page.evaluate("getComputedStyle(document.querySelector('main')).color")
        assert color == "rgb(34, 34, 34)"
        page.pdf(path=tmp_path / "report.pdf", format="A4")
        assert (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF")
