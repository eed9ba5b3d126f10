"""The explorer as a page, in Chromium.

`make test-browser` installs what these tests need, and prints how long a slider takes.
"""

import re

import numpy as np
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
    drawn,
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
        page.get_by_label("Model").select_option("contracting DEEP")
        press_right(page.get_by_label("T1"), "of the page, of a contracting network")


#: Set a slider to some values, to each when a map of the one before is shown, if only a coarse one.
#: Returns what the panels show at once after each, and all that the map shows from the last one on.
SLIDE = """async ([slider, values]) => {
  const all = [...document.querySelectorAll("canvas")], at_once = [];
  const map = document.querySelector("canvas[aria-busy]"), shown = [];
  const change = () => new Promise((done) => {
    const observer = new MutationObserver(() => { observer.disconnect(); done(); });
    observer.observe(map, { attributeFilter: ["aria-busy"] });
  });
  for (const value of values) {
    slider.value = value;
    slider.dispatchEvent(new Event("input"));
    at_once.push([map.ariaBusy, ...all.map((canvas) => canvas.toDataURL())]);
    if (map.ariaBusy === "true") await change();
  }
  while (true) {
    shown.push(map.toDataURL());
    if (map.ariaBusy === "false") return { at_once, shown };
    await change();
  }
}"""


def slide(page, label, *values):
    """See `SLIDE`."""
    slider = page.get_by_label(label).element_handle()
    got = page.evaluate(SLIDE, [slider, values])
    return [dict(zip(("busy", *PANELS), one, strict=True)) for one in got["at_once"]], got["shown"]


def test_a_slider_draws_the_states_at_once_and_then_whole_maps_alone(chromium, tmp_path):
    def page_of(leak):
        model = deep_nb.contracting_DEEP.replace(leak=leak)
        return visit(chromium, write_page(tmp_path / f"{leak}.html", model, "xor", 5).as_uri())

    expected = {}
    for leak in (0.5, 1.0):
        with page_of(leak) as page:
            expected[leak] = drawn(page)
    with page_of(0.25) as page:
        before = drawn(page)
        (first, second), shown = slide(page, "Leak λ", 0.5, 1.0)
        assert drawn(page) == expected[1.0]
    with page_of(0.25) as page:
        assert drawn(page) == before
        alone, shown_alone = slide(page, "Leak λ", 1.0)
    for leak, at_once in ((0.5, first), (1.0, second)):
        assert at_once["busy"] == "true"
        for name in ("States", "Energy", "Network"):
            assert at_once[name] == expected[leak][name] != before[name]
    assert first["Decision map"] == alone[0]["Decision map"] == before["Decision map"]
    coarse = second["Decision map"]
    assert coarse not in (before["Decision map"], expected[0.5]["Decision map"])
    assert shown == shown_alone
    assert len({*shown, coarse}) == 3
    assert shown[-1] == expected[1.0]["Decision map"]


#: The colours in the middle of the 19 × 19 cells of the map, row by row from the bottom.
CELLS = """canvas => {
  const size = Math.min(canvas.height - 34, canvas.width - 60), left = (canvas.width - size) / 2;
  const middle = (k) => ((k + 0.5) * size) / 19, ctx = canvas.getContext("2d");
  const colour = (i, j) => ctx.getImageData(left + middle(i), 6 + size - middle(j), 1, 1).data;
  return Array.from({ length: 361 }, (_, k) => [...colour(k % 19, Math.floor(k / 19))].slice(0, 3));
}"""


def test_the_map_in_the_page_is_that_of_python(chromium, tmp_path):
    run = deep_nb.train("fast contracting DEEP", "xor", seeds=5, hyper={"n_epochs": 60})
    score = deep_nb.decision_map(run, n=18)["score"].values[0].T
    with visit(
        chromium, write_page(tmp_path / "p.html", "fast contracting DEEP", "xor", 5).as_uri()
    ) as page:
        for _ in range(60):
            page.get_by_role("button", name="One epoch").click()
        page.locator("canvas[aria-busy=false]").wait_for()
        share = round(100 * (score >= 0.5).mean())
        said = alternative(page, "Decision map")
        assert said.startswith(f"Decision map: the answer is 1 on {share} % of the inputs; ")
        cells = np.reshape(canvas(page, "Decision map").evaluate(CELLS), (19, 19, 3))
    depth = np.clip(1.6 * (score - 0.5), -1, 1)[..., None]
    ink = np.where(depth < 0, [0, 114, 178], [213, 94, 0])
    expected = 255 + np.abs(depth) * (ink - 255)
    inside = np.s_[1:-1, 1:-1]  # samples and the cross hide the corners
    assert np.ptp(score) > 0.3
    np.testing.assert_allclose(cells[inside], expected[inside], rtol=0, atol=3)


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


def test_it_pauses_after_the_model_s_epochs_and_goes_on_when_asked(chromium, tmp_path):
    model = deep_nb.DEEP.replace(hyper=deep_nb.DEEP.hyper.replace(n_epochs=7))
    with visit(chromium, write_page(tmp_path / "own.html", model, "xor", 5).as_uri()) as page:
        start, status = page.get_by_role("button", name="Start"), page.get_by_role("status")
        start.click()
        page.wait_for_function("document.querySelector('button').textContent === 'Start'")
        assert status.inner_text().startswith("Epoch 7 · ")
        start.click()
        page.wait_for_function(
            "+document.querySelector('[role=status]').textContent.split(' ')[1] > 9"
        )
        page.get_by_role("button", name="Pause").click()


def test_it_learns_until_it_is_paused(chromium, tmp_path):
    model = deep_nb.fast_contracting_DEEP
    model = model.replace(hyper=model.hyper.replace(n_epochs=1_000_000))
    with visit(chromium, write_page(tmp_path / "own.html", model, "xor", 5).as_uri()) as page:
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


def test_a_finger_drags_the_cross(chromium, address):
    with visit(chromium, address, has_touch=True) as page:
        box = canvas(page, "Decision map").bounding_box()
        x, y = box["x"] + box["width"] / 2, box["y"] + 6
        size = box["height"] - 34
        finger = page.context.new_cdp_session(page)

        def touch(kind, *points):
            touches = [{"x": x, "y": y + size * share} for share in points]
            finger.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": touches})

        touch("touchStart", 0.25)
        for step in range(1, 6):
            touch("touchMove", 0.25 + step / 10)
        touch("touchEnd")
        assert alternative(page, "Decision map").endswith("the cross is at 0.5, 0.25")


def test_sliders_and_the_map_cover_the_inputs_of_the_task(chromium, tmp_path):
    task = deep_nb.Task("signs", [[-1, -1], [-1, 1], [1, -1], [1, 1]], [[0], [1], [1], [0]])
    with visit(chromium, write_page(tmp_path / "own.html", "DEEP", task).as_uri()) as page:
        slider = page.get_by_label("Input x1")
        assert (slider.get_attribute("min"), slider.get_attribute("max")) == ("-1", "1")
        assert alternative(page, "Decision map").endswith("the cross is at -1, 1")
        decisions = canvas(page, "Decision map")
        box = decisions.bounding_box()
        size = box["height"] - 34
        x0 = {"x": box["width"] / 2 + size / 4, "y": 6 + size}
        decisions.click(position=x0)
        assert alternative(page, "Decision map").endswith("the cross is at 0.5, -1")
        assert slider.input_value() == "-1"
        # The sample at 1, −1 is drawn in its corner of the map.
        corner = f"{(box['width'] + size) / 2}, {6 + size}"
        ink = f"c => [...c.getContext('2d').getImageData({corner}, 1, 1).data]"
        assert decisions.evaluate(ink) == [34, 34, 34, 255]
        canvas(page, "Network").click(position={"x": 24, "y": 24})
        assert page.get_by_label("Input x0").input_value() == "-1"


def test_the_slider_of_beta_moves_beta_by_hand_and_what_is_drawn(chromium, address):
    with visit(chromium, address) as page:
        page.get_by_label("Input x0").press("End")  # the target is 0 there, and the output 1
        before = drawn(page)
        page.locator("label", has_text=re.compile(r"^β\d")).locator("input").press("Home")
        by_hand = page.get_by_label("β by hand")
        assert by_hand.get_attribute("aria-valuetext") == "0.01"
        assert by_hand.get_attribute("max") == "0.02"
        after = drawn(page)
        assert {name for name in PANELS if before[name] != after[name]} == {"States", "Energy"}


def test_sliders_reach_a_negative_beta_and_no_learning(chromium, tmp_path):
    model = deep_nb.DEEP.replace(hyper=deep_nb.DEEP.hyper.replace(beta=-1.0, dt_W=0.0))
    with visit(chromium, write_page(tmp_path / "own.html", model, "xor").as_uri()) as page:
        ends = "slider => [slider.min, slider.value, slider.max].map(Number)"
        assert page.get_by_label("β by hand").evaluate(ends) == [-2, -1, 0]
        beta, rate = (
            page.locator("label", has_text=re.compile(rf"^{name}")).locator("input")
            for name in (r"β\W?\d", "dt_W")
        )
        least, value, most = beta.evaluate(ends)
        assert (least, most) == (-2, -0.02)
        assert value == pytest.approx(-1, abs=0.01)
        assert rate.evaluate(ends) == [0, 0, 1]
        beta.press("Home")
        assert page.get_by_label("β by hand").evaluate(ends) == [-4, -2, 0]
        page.get_by_label("Model").select_option("EP_asym")
        assert beta.evaluate(ends) == [-2, 1, 2]  # powers of ten


def test_one_epoch_is_a_dot_in_the_panel_of_the_error(chromium, address):
    with visit(chromium, address) as page:
        before = drawn(page)["Error"]
        page.get_by_role("button", name="One epoch").click()
        assert drawn(page)["Error"] != before


def test_the_legend_of_the_energy_is_in_its_caption(chromium, address):
    with visit(chromium, address) as page:
        caption = page.locator("figcaption", has_text="Energy")
        assert caption.inner_text().startswith("Energy V₁ = ‖s − s*‖₁, no bound: ‖I + dt J‖₁ = 1.")
        page.get_by_label("Model").select_option("contracting DEEP")
        assert "‖₁, bound 0.9875ᵗ V₁(0), residual" in caption.inner_text()


def test_without_javascript_the_page_says_what_it_lacks(chromium, address):
    with visit(chromium, address, java_script_enabled=False) as page:
        assert "JavaScript, which is switched off" in page.locator("body").inner_text()


def test_more_has_the_numbers_without_a_slider(chromium, address):
    hyper = {"n_epochs": 2, "beta_0": 0.5, "beta_1": -1.0, "temp": 2.0}
    with visit(chromium, address) as page:
        page.get_by_text("More", exact=True).click()
        for name, value in hyper.items():
            page.get_by_label(name).fill(str(value))
        page.get_by_label("outflow", exact=True).fill("0.5")
        page.get_by_label("Outflow Σ|W|").check()
        page.get_by_label("reg_W").fill("-1")
        page.get_by_label("reg_W").blur()
        assert page.get_by_label("reg_W").input_value() == "0.00015"
        page.get_by_role("button", name="Start").click()
        page.wait_for_function("document.querySelector('button').textContent === 'Start'")
        said = page.get_by_role("status").inner_text()
    model = deep_nb.DEEP.replace(outflow=0.5, absolute_outflow=True)
    run = deep_nb.train(model, "xor", seeds=5, hyper=hyper)
    assert said.startswith(f"Epoch 2 · MSE {run['mse_free'].values[0, -1]:.3g} · ")


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


def test_models_and_tasks_that_do_not_suit_cannot_be_chosen(chromium, tmp_path):
    mean = deep_nb.Task("mean", [[0, 0], [0, 1], [1, 0], [1, 1]], [[0.2], [0.5], [0.5], [0.8]])
    with visit(chromium, write_page(tmp_path / "own.html", "DEEP", mean).as_uri()) as page:
        models, tasks = (page.get_by_label(name) for name in ("Model", "Task"))
        assert models.locator("option:disabled").all_inner_texts() == ["DEEP_oh"]
        assert tasks.locator("option:disabled").count() == 0
        tasks.select_option("xor")
        models.select_option("DEEP_oh")
        assert tasks.locator("option:disabled").all_inner_texts() == ["mean"]


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
