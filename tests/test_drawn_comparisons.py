"""What the plots of many ensembles draw, and what `Output` keeps, against numbers by hand."""

import gzip
import itertools

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb, to_rgba
from PIL import Image
from statsmodels.stats.proportion import proportion_confint

from deep_nb import plotting

GREEN, VERMILION = "#009E73", "#D55E00"


def interval(count, total):
    return proportion_confint(count, total, alpha=0.05, method="wilson")


def test_shares_are_drawn_in_their_look_with_a_band_around_them():
    ax = plt.subplots()[1]
    plotting.plot_shares([2, 5, 9], [0, 22, 100], 100, ax, GREEN, "--", "these")
    (line,), (area,) = ax.get_lines(), ax.collections
    assert line.get_xydata().tolist() == [[2, 0], [5, 0.22], [9, 1]]
    assert (line.get_color(), line.get_linestyle(), line.get_label()) == (GREEN, "--", "these")
    x, y = area.get_paths()[0].vertices.T
    for place, count in ((2, 0), (5, 22), (9, 100)):
        low, high = interval(count, 100)
        assert y[x == place].min() == pytest.approx(low, abs=1e-12)
        assert y[x == place].max() == pytest.approx(high, abs=1e-12)
    assert to_rgb(area.get_facecolor()[0]) == to_rgb(GREEN)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["these"]
    bottom, top = ax.get_ylim()
    assert bottom < 0 < 1 < top


def test_reached_changes_at_the_epoch_and_not_before_it():
    """Between two epochs, line and band are those of the first."""
    ax = plt.subplots()[1]
    plotting.plot_reached([2, np.nan, 1, 2, 7], 5, ax, GREEN, ":", "five")
    (line,), (area,) = ax.get_lines(), ax.collections
    assert line.get_drawstyle() == "steps-post"
    assert line.get_xydata().tolist() == [[0, 0], [1, 0.2], [2, 0.6], [3, 0.6], [4, 0.6]]
    assert (line.get_color(), line.get_linestyle(), line.get_label()) == (GREEN, ":", "five")
    assert to_rgb(area.get_facecolor()[0]) == to_rgb(GREEN)
    for epoch, count in enumerate((0, 1, 3, 3)):
        low, high = interval(count, 5)
        inside = [(epoch + 0.5, low + 1e-6), (epoch + 0.5, high - 1e-6)]
        outside = [(epoch + 0.5, low - 1e-6), (epoch + 0.5, high + 1e-6)]
        assert area.get_paths()[0].contains_points(inside).all()
        assert not area.get_paths()[0].contains_points(outside).any()


@pytest.fixture(scope="module")
def grid():
    """Two models on two tasks; the number of four networks that learn differs everywhere."""
    rows = itertools.product(
        ("DEEP", "EP_asym"), ("xor", "id"), (5, 2), (1.0, 30.0, 10.0), (0.1, 1.0), (200, 50),
        range(8),
    )  # fmt: skip
    names = ["model", "task", "N_H", "beta", "dt_W_factor", "n_epochs", "seed"]
    grid = pd.DataFrame(rows, columns=names)
    grid["learned"] = [row.seed < learners(*row[1:-1]) for row in grid.itertuples()]
    return grid


def learners(model, task, N_H, beta, factor, n_epochs):
    """How many of eight networks learn."""
    number = {"DEEP": 1, "EP_asym": 2}[model] + 3 * (task == "id") + N_H + int(beta / 9)
    return (number + 5 * (factor == 1) + 2 * (n_epochs == 50)) % 9


def test_every_panel_shows_its_settings(grid):
    figure = plotting.plot_robustness(grid, "EP_asym", (5, 10.0, 50))
    *panels, bar = figure.axes
    assert len(panels) == 8
    columns = [(2, 50), (5, 50), (2, 200), (5, 200)]
    for panel, (task, (N_H, n_epochs)) in zip(
        panels, itertools.product(("xor", "id"), columns), strict=True
    ):
        first, last = (N_H, n_epochs) == columns[0], task == "id"
        assert panel.get_title() == ("" if last else f"{n_epochs} epochs\nN_H = {N_H}")
        assert panel.get_ylabel() == (f"{task.upper()}\nβ" if first else "")
        assert panel.get_xlabel() == ("dt_W / published" if last else "")
        assert [label.get_text() for label in panel.get_xticklabels()] == ["0.1", "1"]
        assert [label.get_text() for label in panel.get_yticklabels()] == ["1", "10", "30"]
        (image,) = panel.get_images()
        assert (image.origin, image.get_clim(), image.get_cmap().name) == (
            "lower",
            (0, 1),
            "cividis",
        )
        numbers = {text.get_position(): text for text in panel.texts}
        for row, beta in enumerate((1.0, 10.0, 30.0)):
            for column, factor in enumerate((0.1, 1.0)):
                share = learners("EP_asym", task, N_H, beta, factor, n_epochs) / 8
                assert image.get_array()[row, column] == share
                number = numbers[column, row]
                assert number.get_text() == f"{round(100 * share)}"
                dark = sum(to_rgba(image.cmap(share))[:3]) < 1.5
                assert number.get_color() == ("white" if dark else "black")
        frames = [
            (patch.get_xy(), patch.get_width(), patch.get_height()) for patch in panel.patches
        ]
        assert frames == ([((0.5, 0.5), 1, 1)] if (N_H, n_epochs) == (5, 50) else [])
        assert all(patch.get_edgecolor() == to_rgba(VERMILION) for patch in panel.patches)
    assert bar.get_ylabel() == "share of networks that learned"
    title = "EP_asym: per cent of networks that learn (framed: published setting)"
    assert figure.get_suptitle() == title


@pytest.mark.parametrize("beta", [3.0, 10.0])
def test_a_published_setting_that_is_not_on_the_grid_has_no_frame(grid, beta):
    part = grid[(grid["n_epochs"] == 50) & (grid["task"] == "xor") & (grid["N_H"] == 5)]
    if beta == 10:
        part = part[part["dt_W_factor"] != 1]
    figure = plotting.plot_robustness(part, "DEEP", (5, beta, 50))
    assert not figure.axes[0].patches


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


@pytest.mark.parametrize("label", ["$$", r"$\foo$", "$x_$"])
def test_math_that_cannot_be_drawn_is_refused_where_it_is_given(label):
    ax = plt.subplots()[1]
    with pytest.raises(ValueError, match=r"label is not math that Matplotlib can draw: .*Parse"):
        plotting.plot_shares([0, 1], [1, 2], 3, ax, "black", "-", label)
    assert ax.get_lines() == []
    plotting.plot_reached([0], 3, ax, "black", "-", f"{label[:-1]}\\$ and $x_1$")


def test_dollars_in_names_are_not_math(grid, tmp_path):
    """Names are those of the user; only labels are Matplotlib's."""
    model = grid["model"].iloc[0]
    names = {"model": {model: "$$"}, "task": {task: f"${task}$$" for task in set(grid["task"])}}
    figure = plotting.plot_robustness(grid.replace(names), "$$", (5, 10.0, 200))
    svg, _ = plotting.save_figure(figure, tmp_path, "robustness", "Dollars")
    assert ">$$: per cent of networks that learn" in svg.read_text()
