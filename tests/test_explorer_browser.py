"""The explorer as a page, in Chromium.

`make test-browser` installs what these tests need, and prints how long a slider takes.
"""

import pytest

import deep_nb
from deep_nb.explorer.page import write_page

from .browser import (
    PANELS,
    PAPER,
    alternative,
    assert_it_follows_into_the_dark,
    assert_keys_move_what_is_drawn,
    canvas,
    keep_picture,
    paper,
    press_right,
    visit,
    width_of,
)

pytestmark = [pytest.mark.browser, pytest.mark.system]


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    return write_page(tmp_path_factory.mktemp("page") / "page.html", "DEEP", "xor", 5).as_uri()


@pytest.mark.parametrize("width", [360, 1440])
def test_the_page_fits_and_has_text_alternatives(chromium, address, width):
    with visit(chromium, address, width) as page:
        assert width_of(page) == width
        for name in PANELS:
            assert alternative(page, name).startswith(f"{name}: ")
            assert canvas(page, name).bounding_box()["width"] >= 280
        unnamed = page.locator("input, select, button").evaluate_all(
            "all => all.filter(e => !e.labels?.length && !e.textContent.trim()).length"
        )
        assert unnamed == 0
        keep_picture(page, f"explorer_{width}")


def test_the_page_follows_the_colour_scheme(chromium, address):
    with visit(chromium, address) as page:
        assert paper(page.locator("body")) == PAPER["light"]
        assert_it_follows_into_the_dark(
            page.locator("main"), lambda: page.emulate_media(color_scheme="dark")
        )
        assert paper(page.locator("body")) == PAPER["dark"]


def test_keys_move_a_slider_and_what_is_drawn(chromium, address):
    with visit(chromium, address) as page:
        assert_keys_move_what_is_drawn(page.locator("main"), "of the page")
        press_right(page.get_by_label("Leak λ"), "of the page that changes the decision map, too")


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
        network = canvas(page, "Network")
        box = network.bounding_box()
        output = {"x": box["width"] - 24, "y": box["height"] / 2}
        for clamped in ("y0, clamped at 1", "y0, clamped at 0", "y0, free"):
            network.click(position=output)
            assert page.get_by_role("button", name=clamped).is_visible()
            end = alternative(page, "States").split(";")[0]
            assert ("free" in clamped) or f"y0 = {clamped[-1]}" in end


def test_the_cross_can_be_dragged(chromium, address):
    with visit(chromium, address) as page:
        box = canvas(page, "Decision map").bounding_box()
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
