"""The report of the stored run in Chromium: it fits, is read by keyboard, and prints.

`make test-browser` installs what these tests need.
"""

from pathlib import Path

import pytest

from deep_nb.report import write_report

from .browser import (
    PAPER,
    assert_it_follows_into_the_dark,
    assert_keys_move_what_is_drawn,
    keep_picture,
    paper,
    visit,
    width_of,
)

pytestmark = [pytest.mark.browser, pytest.mark.system]

FIGURES = Path(__file__).parent.parent / "figures"


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    return write_report(FIGURES, tmp_path_factory.mktemp("report") / "report.html").as_uri()


@pytest.mark.parametrize("width", [360, 1100, 1440])
def test_the_report_fits_and_follows_the_colour_scheme(chromium, address, width):
    with visit(chromium, address, width) as page:
        assert width_of(page) == width
        # What is wider scrolls in a box of its own.
        beyond = page.locator("main *").evaluate_all(
            """(all, width) => all.filter(e => e.checkVisibility() && !e.closest(".wide")
               && e.getBoundingClientRect().right > width).map(e => e.outerHTML.slice(0, 80))""",
            width,
        )
        assert beyond == []
        for picture in page.locator("main img").all()[:3]:
            assert picture.bounding_box()["width"] >= 600
            assert picture.evaluate("picture => picture.decode().then(() => picture.complete)")
        for scheme, colour in PAPER.items():
            page.emulate_media(color_scheme=scheme)
            assert paper(page.locator("body")) == colour
            keep_picture(page, f"report_{width}_{scheme}")


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
        card = page.locator(".card", has_text="do most DEEP networks learn XOR")
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


def test_the_explorer_answers_in_the_report(chromium, address):
    with visit(chromium, address) as page:
        explorer = page.locator("#explorer")
        assert_keys_move_what_is_drawn(explorer, "in the report")
        assert_it_follows_into_the_dark(explorer, lambda: page.emulate_media(color_scheme="dark"))


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
