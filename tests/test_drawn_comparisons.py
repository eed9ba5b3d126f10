"""What the plots of many ensembles draw, and what `Output` keeps, against numbers by hand."""

import gzip
import itertools
import locale
import re
import sys

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from matplotlib.colors import to_rgb, to_rgba
from PIL import Image
from statsmodels.stats.proportion import proportion_confint

import deep_nb
from deep_nb import plotting

GREEN, VERMILION = "#009E73", "#D55E00"


def interval(count, total):
    return proportion_confint(count, total, alpha=0.05, method="wilson")


def test_shares_are_drawn_in_their_look_with_a_band_around_them():
    ax = plt.subplots()[1]
    plotting.plot_shares([2, 5, 9], [0, 22, 100], 100, ax, GREEN, "--", "these", "s")
    (line,), (area,) = ax.get_lines(), ax.collections
    assert line.get_xydata().tolist() == [[2, 0], [5, 0.22], [9, 1]]
    assert (line.get_color(), line.get_linestyle(), line.get_label()) == (GREEN, "--", "these")
    assert line.get_marker() == "s"
    x, y = area.get_paths()[0].vertices.T
    for place, count in ((2, 0), (5, 22), (9, 100)):
        low, high = interval(count, 100)
        assert y[x == place].min() == pytest.approx(low, abs=1e-12)
        assert y[x == place].max() == pytest.approx(high, abs=1e-12)
    assert to_rgb(area.get_facecolor()[0]) == to_rgb(GREEN)
    assert 0 < area.get_alpha() < 0.5  # what is behind it can be seen
    plotting.plot_shares([2, 5], [1, 0], 2, ax, VERMILION, "-", "a")
    assert ax.get_lines()[1].get_marker() == "o"
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["these", "a"]
    assert ax.get_ylim() == (-0.03, 1.03)


def test_reached_changes_at_the_epoch_and_not_before_it():
    """Between two epochs, line and band are those of the first."""
    ax = plt.subplots()[1]
    plotting.plot_reached([2, np.nan, 1, 2, 7], 5, ax, GREEN, ":", "five")
    (line,), (area,) = ax.get_lines(), ax.collections
    assert line.get_drawstyle() == "steps-post"
    assert line.get_xydata().tolist() == [[0, 0], [1, 0.2], [2, 0.6], [3, 0.6], [4, 0.6]]
    assert (line.get_color(), line.get_linestyle(), line.get_label()) == (GREEN, ":", "five")
    assert to_rgb(area.get_facecolor()[0]) == to_rgb(GREEN)
    assert 0 < area.get_alpha() < 0.5  # what is behind it can be seen
    for epoch, count in enumerate((0, 1, 3, 3)):
        low, high = interval(count, 5)
        inside = [(epoch + 0.5, low + 1e-6), (epoch + 0.5, high - 1e-6)]
        outside = [(epoch + 0.5, low - 1e-6), (epoch + 0.5, high + 1e-6)]
        assert area.get_paths()[0].contains_points(inside).all()
        assert not area.get_paths()[0].contains_points(outside).any()


def test_the_share_after_a_single_epoch_is_drawn():
    ax = plotting.plot_reached([0, np.nan], 1, plt.subplots()[1], GREEN, "-", "two")
    assert ax.get_lines()[0].get_xydata().tolist() == [[0, 0.5]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": [[0.0], [1.0]]}, "x must have 1 dimension, got shape (2, 1)"),
        ({"total": 0}, "total must be an integer from 1 to "),
        ({"total": 10**12}, "total must be an integer from 1 to "),
        ({"successes": [[1], [2]]}, "successes must have 1 dimension, got shape (2, 1)"),
        ({"successes": [0, 4]}, "successes must be integers from 0 to 3, got [0, 4]"),
        ({"successes": [-1, 2]}, "successes must be integers from 0 to 3, got [-1, 2]"),
        ({"successes": [0.5, 1]}, "successes must be integers from 0 to 3, got [0.5, 1]"),
        ({"successes": [1]}, "x and successes must have the same length, got 2 and 1"),
        ({"colour": "blau"}, "colour must be a colour of Matplotlib, got 'blau'"),
        ({"line": "~"}, "line must be a line style such as '-' or '--', got '~'"),
        ({"line": 1}, "line must be a line style such as '-' or '--', got 1"),
        ({"label": ""}, "label must be a text that does not begin with '_', got ''"),
        ({"label": "_x"}, "label must be a text that does not begin with '_', got '_x'"),
        ({"marker": "blob"}, "marker must be a marker such as 'o' or 's', got 'blob'"),
        ({"marker": 4}, "marker must be a marker such as 'o' or 's', got 4"),
        ({"label": None}, "label must be a text that does not begin with '_', got None"),
    ],
)
def test_shares_that_cannot_be_drawn_are_refused(change, message):
    ax = plt.subplots()[1]
    given = {"x": [0, 1], "successes": [1, 2], "total": 3, "ax": ax}
    look = {"colour": "black", "line": "-", "label": "these"}
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        plotting.plot_shares(**{**given, **look, **change})
    assert not ax.has_data()


@pytest.mark.parametrize(
    ("epochs", "n_epochs", "message"),
    [
        ([[1.0]], 3, "epochs must "),
        ([-1.0], 3, "epochs must "),
        ([1.0], 0, "n_epochs must be an integer from 1 to "),
        ([1.0], 10**12, "n_epochs must be an integer from 1 to "),
    ],
)
def test_epochs_that_cannot_be_drawn_are_refused(epochs, n_epochs, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        plotting.plot_reached(epochs, n_epochs, plt.subplots()[1], "black", "-", "these")


@pytest.fixture(scope="module")
def grid():
    """Two models on two tasks; the number of eight networks that learn differs everywhere."""
    rows = itertools.product(
        ("DEEP", "EP_asym"), ("xor", "id"), (2.0, 1.0), (1.0, 10.0, 0.316), (0.1, 1.0), range(8)
    )
    names = ["model", "task", "N_H_factor", "beta_factor", "dt_W_factor", "seed"]
    grid = pd.DataFrame(rows, columns=names)
    grid["learned"] = [row.seed < learners(*row[1:-1]) for row in grid.itertuples()]
    return grid.assign(N_H=(5 * grid["N_H_factor"]).astype(int))


def learners(model, task, size, beta, factor):
    """How many of eight networks learn."""
    number = {"DEEP": 1, "EP_asym": 2}[model] + 3 * (task == "id") + int(2 * size) + int(beta / 0.9)
    return (number + 5 * (factor == 1)) % 9


def test_every_panel_shows_its_settings(grid):
    figure = plotting.plot_robustness(grid, "EP_asym")
    *panels, bar = figure.axes
    assert len(panels) == 4
    for panel, (task, size) in zip(
        panels, itertools.product(("xor", "id"), (1.0, 2.0)), strict=True
    ):
        first, last = size == 1, task == "id"
        assert panel.get_title() == ("" if last else f"$N_H$ = {5 * size:.0f}")
        assert panel.get_ylabel() == (f"{task.upper()}\nβ / published" if first else "")
        assert panel.get_xlabel() == ("$dt_W$ / published" if last else "")
        assert [label.get_text() for label in panel.get_xticklabels()] == ["0.1", "1"]
        assert [label.get_text() for label in panel.get_yticklabels()] == ["0.32", "1", "10"]
        (image,) = panel.get_images()
        assert (image.origin, image.get_clim(), image.get_cmap().name) == (
            "lower",
            (0, 1),
            "cividis",
        )
        numbers = {text.get_position(): text for text in panel.texts}
        for row, beta in enumerate((0.316, 1.0, 10.0)):
            for column, factor in enumerate((0.1, 1.0)):
                share = learners("EP_asym", task, size, beta, factor) / 8
                assert image.get_array()[row, column] == share
                number = numbers[column, row]
                assert number.get_text() == f"{100 * share:.0f}"
                dark = sum(to_rgba(image.cmap(share))[:3]) < 1.5
                assert number.get_color() == ("white" if dark else "black")
                place = number.get_horizontalalignment(), number.get_verticalalignment()
                assert place == ("center", "center")
        frames = [
            (patch.get_xy(), patch.get_width(), patch.get_height()) for patch in panel.patches
        ]
        assert frames == ([((0.5, 0.5), 1, 1)] if size == 1 else [])
        assert all(patch.get_edgecolor() == to_rgba(VERMILION) for patch in panel.patches)
        assert not any(patch.get_fill() for patch in panel.patches)  # the number can be read
    assert bar.get_ylabel() == "share that learned"
    assert (bar._colorbar.cmap.name, *bar.get_ylim()) == ("cividis", 0, 1)
    assert figure.get_size_inches() == pytest.approx((7.0, 3.1))  # for 2 × 2 panels
    figure.draw_without_rendering()
    assert all(panel.get_position().x1 < bar.get_position().x0 for panel in panels)
    assert bar.get_position().y0 < panels[-1].get_position().y1
    assert bar.get_position().y1 > panels[0].get_position().y0  # it belongs to both rows
    one = grid.query("task == 'id' and N_H == 5")
    alone = plotting.plot_robustness(one, "EP_asym")
    assert alone.get_size_inches() == pytest.approx((3.4, 2.0))
    assert figure.get_suptitle() == "EP_asym: per cent that learn"


@pytest.mark.parametrize("gap", ["beta_factor", "dt_W_factor"])
def test_a_published_setting_that_is_not_on_the_grid_has_no_frame(grid, gap):
    part = grid[(grid["task"] == "xor") & (grid["N_H"] == 5) & (grid[gap] != 1)]
    figure = plotting.plot_robustness(part, "DEEP")
    assert not figure.axes[0].patches


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"grid": []}, "grid must be a table with rows and the columns N_H, N_H_factor, beta_fact"),
        ({"grid": {"task": 1}}, "grid must have strings in the column 'task'"),
        ({"model": "EP"}, "unknown model 'EP'"),
    ],
)
def test_grids_that_cannot_be_drawn_are_refused(grid, change, message):
    given = {"grid": grid, "model": "EP_asym", **change}
    if isinstance(given["grid"], dict):
        given["grid"] = grid.assign(**given["grid"])
    figures = plt.get_fignums()
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        plotting.plot_robustness(**given)
    assert plt.get_fignums() == figures


def test_output_keeps_what_it_is_given(short_run, tmp_path):
    output = plotting.Output(tmp_path / "kept")
    table = pd.DataFrame({"n": [1, 2]}, index=pd.Index(["a", "b"], name="row"))
    output.table(table, "plain.csv")
    output.table(table, "named.csv", index=True)
    output.table(table, "packed.csv.gz", index=True)
    packed = (output.folder / "packed.csv.gz").read_bytes()
    assert (output.folder / "plain.csv").read_text() == "n\n1\n2\n"
    assert (output.folder / "named.csv").read_text() == "row,n\na,1\nb,2\n"
    assert gzip.decompress(packed) == b"row,n\na,1\nb,2\n"
    assert packed[4:8] == bytes(4)  # no time, or the same table would have other bytes
    output.figure(plt.figure(), "empty", "Nothing & more")
    assert "Nothing &amp; more" in (output.folder / "empty.svg").read_text()
    with Image.open(output.folder / "empty.png") as image:
        assert image.info["Description"] == "Nothing & more"
    output.text("1 − 2\n", "n.md")
    assert (output.folder / "n.md").read_bytes() == "1 − 2\n".encode()
    output.run(short_run, "run.nc")
    xr.testing.assert_identical(deep_nb.load(output.folder / "run.nc"), short_run)


@pytest.mark.parametrize(
    ("keep", "message"),
    [
        (lambda to: to.table([1], "a.csv"), "table must be of type DataFrame, got [1]"),
        (lambda to: to.table(pd.DataFrame(), "a/b"), "name must be the name of a file or folder"),
        (lambda to: to.table(pd.DataFrame(), "a", index=1), "index must be True or False, got 1"),
        (lambda to: to.text("text", "../a"), "name must be the name of a file or folder"),
        (lambda to: to.text(b"text", "a.md"), "content must be a string, got b'text'"),
        (lambda to: to.run(None, "a/b.nc"), "name must be the name of a file or folder"),
        (lambda to: to.figure("plot", "a", "A"), "figure must be of type Figure, got 'plot'"),
        (lambda to: plotting.Output(3), "folder must be a valid path"),
    ],
)
def test_what_cannot_be_kept_is_refused(keep, message, tmp_path):
    output = plotting.Output(tmp_path)
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        keep(output)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.flags.utf8_mode, reason="Python writes UTF-8 in every locale")
def test_texts_are_utf_8_in_every_locale(tmp_path):
    before = locale.setlocale(locale.LC_CTYPE)
    locale.setlocale(locale.LC_CTYPE, "C")
    try:
        plotting.Output(tmp_path).text("β − 1", "n.md")
    finally:
        locale.setlocale(locale.LC_CTYPE, before)
    assert (tmp_path / "n.md").read_bytes() == "β − 1".encode()


@pytest.mark.parametrize("label", ["$$", r"$\foo$", "$x_$"])
def test_math_that_cannot_be_drawn_is_refused_where_it_is_given(label):
    ax = plt.subplots()[1]
    with pytest.raises(ValueError, match=r"label is not math that Matplotlib can draw: .*Parse"):
        plotting.plot_shares([0, 1], [1, 2], 3, ax, "black", "-", label)
    assert ax.get_lines() == []
    plotting.plot_reached([0], 3, ax, "black", "-", f"{label[:-1]}\\$ and $x_1$")


@pytest.mark.slow
def test_dollars_in_names_are_not_math(grid, tmp_path):
    """Names are those of the user; only labels are Matplotlib's."""
    model = grid["model"].iloc[0]
    names = {"model": {model: "$$"}, "task": {task: f"${task}$$" for task in set(grid["task"])}}
    figure = plotting.plot_robustness(grid.replace(names), "$$")
    plotting.save_figure(figure, tmp_path, "robustness", "Dollars")
    assert figure.get_suptitle() == "$$: per cent that learn"
