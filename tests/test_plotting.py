import json
import re
from pathlib import Path
from xml.etree import ElementTree

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image

import deep_nb
from deep_nb import plotting
from deep_nb._provenance import provenance
from deep_nb.analysis import stability

#: These draw numbers from many ensembles instead of a run.
COMPARISONS = ("plot_shares", "plot_reached", "plot_robustness")
PANELS = {
    name: getattr(plotting, name)
    for name in dir(plotting)
    if name.startswith("plot_") and name not in COMPARISONS
}
DUBLIN_CORE = "{http://purl.org/dc/elements/1.1/}"
panels = pytest.mark.parametrize("plot", PANELS.values(), ids=PANELS.keys())
ONE_NETWORK = ("plot_weights", "plot_network", "plot_decision_map", "plot_discs")


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


@panels
def test_every_panel_draws_every_model(plot, model_run):
    ax = plot(model_run)
    assert ax.get_title()
    if ax.axison:
        assert ax.get_xlabel()
        assert ax.get_ylabel()
    ax.figure.canvas.draw()
    if (
        plot is plotting.plot_energy
        and not stability.stability_report(model_run)["certified"].any()
    ):
        return
    drawn = [np.ma.masked_invalid(np.asarray(line.get_ydata(), float)) for line in ax.get_lines()]
    assert all(values.count() for values in drawn)


@pytest.mark.slow
@panels
def test_panels_draw_on_the_given_axes(plot, model_run):
    ax = plt.subplots()[1]
    assert plot(model_run, ax) is ax
    assert plot(model_run, ax=ax) is ax


@panels
def test_diverged_networks_are_reported_not_drawn(plot, diverged_run):
    if plot.__name__ in ONE_NETWORK:
        with pytest.raises(ValueError, match="seed 0 diverged in epoch 0"):
            plot(diverged_run)
    else:
        ax = plot(diverged_run)
        assert [text.get_text() for text in ax.texts] == ["2 of 2 networks diverged"]
        assert not ax.get_lines()


def test_one_network_is_chosen_by_its_seed(short_run):
    image = plotting.plot_weights(short_run, seed=2).get_images()[0]
    shown = image.get_array()
    order = ["bias", "x0", "x1", "h0", "h1", "h2", "h3", "h4", "y0"]
    W = short_run["W"].sel(seed=2, pre=order, post=order).values
    mask = short_run["mask"].sel(pre=order, post=order).values
    np.testing.assert_array_equal(shown.filled(0), W)
    np.testing.assert_array_equal(~shown.mask, mask)
    assert image.norm.vmin == -image.norm.vmax == -np.abs(W).max()
    with pytest.raises(ValueError, match=r"no seed 7; it has \[0, 1, 2\]"):
        plotting.plot_network(short_run, seed=7)


def test_decision_map_draws_the_map_and_its_boundary(short_run):
    run = short_run.isel(seed=[0])
    score = deep_nb.decision_map(run, 10)["score"].values[0]
    mesh = plotting.plot_decision_map(run, n=10).collections[0]
    np.testing.assert_array_equal(np.asarray(mesh.get_array()).reshape(11, 11), score.T)


def test_the_phases_differ_in_lightness_and_line():
    (blue, solid), (vermilion, dashed) = plotting.PHASES.values()
    assert solid != dashed
    luminance = [np.dot(to_rgb(c), [0.2126, 0.7152, 0.0722]) for c in (blue, vermilion)]
    assert abs(luminance[0] - luminance[1]) > 0.05


@pytest.mark.slow
def test_saved_figures_are_the_same_bytes(short_run, tmp_path):
    written = []
    for folder in ("a", "b"):
        figure = plotting.plot_mse(short_run).figure
        written.append(plotting.save_figure(figure, tmp_path / folder, "mse", "MSE & so on"))
    assert [p.suffix for p in written[0]] == [".svg", ".png"]
    for first, second in zip(*written, strict=True):
        assert first.read_bytes() == second.read_bytes()
    assert "MSE &amp; so on" in written[0][0].read_text()
    with Image.open(written[0][1]) as image:
        assert image.info["Description"] == "MSE & so on"


def test_residual_of_networks_that_stop_early():
    run = deep_nb.train(
        "EP_asym", "id", seeds=range(3), hyper={"n_epochs": 2, "stop": 1e9}, stop_criterion=True
    )
    ax = plotting.plot_residual(run)
    assert [len(line.get_xdata()) for line in ax.get_lines()] == [1, 1, 1, 1]


def removed_axes():
    ax = plt.figure().add_subplot()
    ax.remove()
    return ax


@pytest.mark.parametrize(
    "make", [lambda: "ax", removed_axes, lambda: plt.figure().add_subplot(projection="3d")]
)
def test_other_axes_are_refused(make, short_run):
    with pytest.raises(ValueError, match="ax must be a two-dimensional Axes of a figure, got "):
        plotting.plot_mse(short_run, make())
    with pytest.raises(ValueError, match="ax must be a two-dimensional Axes of a figure, got "):
        plotting.plot_shares([0, 1], [1, 2], 3, make(), "black", "-", "these")


@pytest.mark.parametrize("character", ["\0", "\x0b", "\x1b", "\ud800", "\ufffe"])
def test_texts_that_svg_cannot_hold_are_refused(character, tmp_path):
    figure = plt.figure()
    with pytest.raises(ValueError, match="SVG cannot hold the characters of 'a"):
        plotting.save_figure(figure, tmp_path, "figure", f"a{character}b")
    figure.add_subplot().set_xlabel(f"a{character}b")
    with pytest.raises(ValueError, match="SVG cannot hold the characters of 'a"):
        plotting.save_figure(figure, tmp_path, "figure", "caption")
    assert list(tmp_path.iterdir()) == []


def test_a_figure_that_cannot_be_written_leaves_the_old_files(tmp_path, monkeypatch):
    figure = plt.figure()
    old = [(file, file.read_bytes()) for file in plotting.save_figure(figure, tmp_path, "a", "c")]

    def fail(figure, path, **_):
        Path(path).write_text("half of it")
        raise OSError("the disk is full")

    monkeypatch.setattr(Figure, "savefig", fail)
    with pytest.raises(OSError, match="the disk is full"):
        plotting.save_figure(figure, tmp_path, "a", "c")
    assert [(file, file.read_bytes()) for file in sorted(tmp_path.iterdir(), reverse=True)] == old


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"figure": "plot"}, "figure must be of type Figure, got 'plot'"),
        ({"folder": 3}, "folder must be a valid path"),
        ({"name": "a/b"}, "name must be the name of a file or folder, got 'a/b'"),
        ({"caption": b"A"}, "caption must be a string, got b'A'"),
    ],
)
def test_what_cannot_be_saved_is_refused(change, message, tmp_path):
    given = {"figure": plt.figure(), "folder": tmp_path / "new", "name": "a", "caption": "A"}
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        plotting.save_figure(**{**given, **change})
    assert list(tmp_path.iterdir()) == []


def test_figures_tell_what_made_them_and_nothing_of_the_time_or_of_matplotlib(tmp_path):
    svg, png = plotting.save_figure(plt.figure(), tmp_path / "a" / "b", "figure", "Nothing")
    parts = [part for part in ElementTree.parse(svg).iter() if part.tag.startswith(DUBLIN_CORE)]
    said = {part.tag.removeprefix(DUBLIN_CORE): part.text for part in parts}
    assert "date" not in said
    assert said["description"] == "Nothing"
    with Image.open(png) as image:
        assert {*image.info} == {"dpi", "Description", "Source"}
        assert image.info["Source"] == said["source"]
    assert json.loads(said["source"]) == provenance()


def test_every_other_text_survives_in_svg_and_png(tmp_path):
    caption = "tab\tline\n<&> ]]> -- é☃漢\U0001f600"
    svg, png = plotting.save_figure(plt.figure(), tmp_path, "figure", caption)
    assert ElementTree.parse(svg).findtext(f".//{DUBLIN_CORE}description") == caption
    with Image.open(png) as image:
        assert image.info["Description"] == caption


@pytest.mark.slow
def test_the_bound_of_a_runaway_step_leaves_the_axis(tmp_path):
    """A contraction rate above 1, to the power of twice the steps, would overflow."""
    run = deep_nb.train("EP_asym", "not", seeds=[0, 1], hyper={"n_epochs": 1, "dt": 10.0})
    ax = plotting.plot_energy(run)
    assert ax.get_title() == "Energy: 2 of 2 networks certified"
    assert max(line.get_ydata()[-1] for line in ax.get_lines()) == 1e100
    plotting.save_figure(ax.figure, tmp_path, "energy", "Energy")


def test_energy_lies_below_its_bound():
    leaky = deep_nb.DEEP.replace(name="leaky", leak=1.5)
    hyper = {"n_epochs": 5, "T1": 300, "T2": 200}
    run = deep_nb.train(leaky, "or", seeds=range(5), hyper=hyper)
    ax = plotting.plot_energy(run)
    assert ax.get_title() == "Energy: 5 of 5 networks certified"
    lines = ax.get_lines()
    for energy, largest in ((lines[0], lines[2]), (lines[3], lines[5])):
        V, bound = energy.get_ydata(), largest.get_ydata()
        assert V[0] == bound[0] == 1
        assert (bound + 1e-25 >= V).all()
        assert (np.diff(V) <= 0).all()
    run["diverged"][0] = True
    assert plotting.plot_energy(run).get_title() == "Energy: 4 of 5 networks certified"
