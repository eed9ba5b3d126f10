"""What the plots of one network and of synapses draw, against numbers computed otherwise."""

import itertools

import matplotlib.pyplot as plt
import networkx as nx
import numpy as np
import pytest
import xarray as xr
from matplotlib.colors import to_rgb, to_rgba

import deep_nb
from deep_nb import plotting
from deep_nb.analysis import stability

from .conftest import SHORT

BLUE, VERMILION, PALE = "#0072B2", "#D55E00", "#DDDDDD"
ORDER = ["bias", "x0", "x1", "h0", "h1", "h2", "h3", "h4", "y0"]


@pytest.fixture(scope="module")
def run():
    """Networks whose seeds are not their positions; the last diverged."""
    run = deep_nb.train("DEEP", "and", seeds=[5, 2, 0, 9], hyper=SHORT, record=("weights",))
    run["diverged"][3] = True
    run["diverged_epoch"][3] = 2
    return run


def key(ax):
    """Return the colour bar of a figure with one other panel."""
    (bar,) = (other for other in ax.figure.axes if other is not ax)
    return bar


def ends(patch):
    """Return where an arrow starts and where it points to."""
    start, end = patch._posA_posB
    return tuple(start), tuple(end)


def test_weights_are_read_from_the_row_to_the_column(run):
    ax = plotting.plot_weights(run, seed=2)
    (image,) = ax.get_images()
    assert image.origin == "upper"
    assert tuple(image.get_extent()) == (-0.5, 8.5, 8.5, -0.5)
    assert [label.get_text() for label in ax.get_xticklabels()] == ORDER
    assert [label.get_text() for label in ax.get_yticklabels()] == ORDER
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("to $j$", "from $i$")
    for row, pre in enumerate(ORDER):
        for column, post in enumerate(ORDER):
            shown = image.get_array()[row, column]
            if run["mask"].sel(pre=pre, post=post):
                assert shown == run["W"].sel(seed=2, pre=pre, post=post)
            else:
                assert shown is np.ma.masked
    assert {label.get_rotation() for label in ax.get_xticklabels()} == {90}  # none overlap
    assert not any(ax.spines[side].get_visible() for side in ("left", "bottom"))
    limit = abs(run["W"].sel(seed=2)).max()
    assert image.get_clim() == key(ax).get_ylim() == (-limit, limit)
    assert image.cmap.name == "RdBu_r"
    red, blue = image.cmap(1.0), image.cmap(0.0)
    assert red[0] > red[2]
    assert blue[2] > blue[0]
    assert image.cmap.get_bad().tolist() == [*to_rgba(PALE)]
    (dashes,) = ax.collections
    shown = run["W"].sel(seed=2, pre=ORDER, post=ORDER).values
    below = {(column, row): shown[row, column] for row, column in np.argwhere(shown < 0)}
    shades = [to_rgb("white" if w < -limit / 2 else "black") for w in below.values()]
    assert [tuple(place) for place in dashes.get_offsets()] == [*below]
    assert [tuple(shade) for shade in dashes.get_edgecolor()[:, :3]] == shades
    assert key(ax).get_ylabel() == "$W_{ij}$ (1/τ), with a dash below 0"
    assert ax.get_title() == "Weights, seed 2 (grey: no such synapse)"
    assert plotting.plot_weights(run).get_title().startswith("Weights, seed 5 ")  # the first


def test_a_seed_may_be_that_of_a_run(run):
    title = plotting.plot_weights(run, seed=run["seed"][1]).get_title()
    assert title.startswith("Weights, seed 2 ")
    many = deep_nb.train("DEEP", "not", seeds=range(5, 17), hyper={**SHORT, "n_epochs": 1})
    with pytest.raises(ValueError, match=r"no seed 0; it has \[5, 6, 7, 8, 9, .*, 14\]"):
        plotting.plot_weights(many, seed=0)


def test_synapses_that_the_topology_lacks_are_grey():
    topology = nx.DiGraph([("x0", "h1"), ("bias", "h0"), ("h0", "h1"), ("h1", "y0")])
    hyper = {**SHORT, "N_H": [2]}
    run = deep_nb.train("DEEP", "and", seeds=[0], hyper=hyper, topology=topology)
    shown = plotting.plot_weights(run).get_images()[0].get_array()
    names = ["bias", "x0", "x1", "h0", "h1", "y0"]
    there = {(names[row], names[column]) for row, column in np.argwhere(~shown.mask)}
    assert there == {*topology.edges}


def test_weights_of_zero_are_drawn_without_a_colour(run):
    still = run.assign(W=0 * run["W"])
    (image,) = plotting.plot_weights(still).get_images()
    assert image.get_clim() == (-1, 1)
    assert not plotting.plot_network(still).patches


def test_a_network_that_diverged_is_refused_with_its_epoch(run):
    with pytest.raises(ValueError, match="seed 9 diverged in epoch 2: choose another seed"):
        plotting.plot_network(run, seed=9)


def test_neurons_are_in_layers_from_left_to_right_and_from_top_to_bottom(run):
    ax = plotting.plot_network(run)
    at = {text.get_text(): text.get_position() for text in ax.texts}
    assert sorted(at) == sorted(ORDER)
    layers = [["x0", "x1", "bias"], ["h0", "h1", "h2", "h3", "h4"], ["y0"]]
    for left, right in itertools.pairwise(layers):
        assert max(at[name][0] for name in left) < min(at[name][0] for name in right)
    assert at["x0"][1] > at["x1"][1]
    heights = [at[f"h{k}"][1] for k in range(5)]
    assert heights == sorted(heights, reverse=True)
    assert sum(heights) == pytest.approx(0)


def test_arrows_lead_from_the_row_to_the_column(run):
    few = run.copy(deep=True)
    few["W"][:] = 0.0
    few["W"].loc[{"pre": "h0", "post": "y0"}] = 0.8
    few["W"].loc[{"pre": "x1", "post": "h3"}] = -0.2
    ax = plotting.plot_network(few, seed=0)
    at = {text.get_text(): text.get_position() for text in ax.texts}
    arrows = {ends(arrow): (arrow.get_edgecolor(), arrow.get_linestyle()) for arrow in ax.patches}
    assert arrows == {
        (at["h0"], at["y0"]): ((*to_rgb(VERMILION), 1.0), "-"),
        (at["x1"], at["h3"]): ((*to_rgb(BLUE), 0.25), "--"),
    }
    assert ax.get_title() == "Seed 0: sparsity 96% (dashed: W < 0)"


@pytest.mark.parametrize("plot", [plotting.plot_network, plotting.plot_survivors])
def test_graphs_are_drawn_on_the_axes_given_with_bent_arrows_between_white_circles(run, plot):
    ax, current = plt.subplots(1, 2)[1]
    plt.sca(current)
    plot(run, ax)
    assert not current.has_data()
    assert not current.texts
    assert not ax.axison
    (nodes,) = ax.collections
    colours = [to_rgb(of[0]) for of in (nodes.get_facecolor(), nodes.get_edgecolor())]
    assert colours == [(1, 1, 1), (0, 0, 0)]
    assert len(nodes.get_offsets()) == len(ax.texts) - (plot is plotting.plot_survivors) == 9
    # Else those of two neurons that excite each other would cover each other.
    assert all(patch.get_connectionstyle().rad > 0.05 for patch in ax.patches)


def test_survivors_are_coloured_by_the_networks_that_are_left(run):
    some = run.copy(deep=True)
    some["W"][:] = some["mask"].astype(float)
    some["W"].loc[{"seed": [2, 9], "pre": "h0", "post": "h1"}] = 0.0
    some["W"].loc[{"seed": [5, 2], "pre": "x0", "post": "h4"}] = 0.0
    ax = plotting.plot_survivors(some)
    at = {text.get_text(): text.get_position() for text in ax.texts if text.get_text() in ORDER}
    shade = plt.get_cmap("viridis_r")
    mask = some["mask"]
    expected = {
        (at[pre], at[post]): shade(1.0)
        for pre in ORDER
        for post in ORDER
        if mask.sel(pre=pre, post=post)
    }
    expected[at["h0"], at["h1"]] = shade(2 / 3)
    expected[at["x0"], at["h4"]] = shade(1 / 3)
    assert {ends(patch): tuple(patch.get_edgecolor()) for patch in ax.patches} == expected
    assert ax.get_title() == "Synapses left in 3 networks"
    bar = key(ax)
    assert bar.get_ylabel() == "share of networks that keep the synapse"
    assert (bar._colorbar.cmap.name, *bar.get_ylim()) == ("viridis_r", 0, 1)


def test_the_colour_of_a_survivor_does_not_depend_on_the_others(run):
    some = run.copy(deep=True)
    some["W"][:] = some["mask"].astype(float)
    some["W"].loc[{"seed": [2, 5]}] = 0.0
    ax = plotting.plot_survivors(some)
    colours = {tuple(patch.get_edgecolor()) for patch in ax.patches}
    assert colours == {plt.get_cmap("viridis_r")(1 / 3)}


def made_up(monkeypatch, score):
    """Let the map be made from the inputs by a function."""

    def decision_map(run, n):
        axis = np.linspace(0, 1, n + 1)
        dims = [f"x{k}" for k in range(run.sizes["input"])]
        values = score(*np.meshgrid(*[axis] * len(dims), indexing="ij"))
        return xr.Dataset(
            {"score": (("seed", *dims), values[None])}, coords=dict.fromkeys(dims, axis)
        )

    monkeypatch.setattr("deep_nb.plotting.networks.decision_map", decision_map)


def test_the_boundary_is_where_the_map_is_one_half(run, monkeypatch):
    made_up(monkeypatch, lambda x0, x1: 0.8 * x0 - 0.1 + 0 * x1)
    ax = plotting.plot_decision_map(run, n=20)
    mesh, boundary = ax.collections
    assert mesh.get_rasterized()  # or an SVG has a path for each point
    assert mesh.get_clim() == (0, 1)
    assert mesh.get_cmap().name == "cividis"
    points = np.concatenate([path.vertices for path in boundary.get_paths()])
    np.testing.assert_allclose(points[:, 0], 0.75)
    assert (points[:, 1].min(), points[:, 1].max()) == (0, 1)
    assert to_rgb(boundary.get_edgecolor()[0]) == (1, 1, 1)
    assert (ax.get_xlabel(), ax.get_ylabel(), ax.get_aspect()) == ("$x_0$", "$x_1$", 1)
    assert key(ax).get_ylabel() == "output $s_{y0}$, boundary in white"
    assert (key(ax)._colorbar.cmap.name, *key(ax).get_ylim()) == ("cividis", 0, 1)
    for note in ax.texts:
        assert (note.get_horizontalalignment(), note.get_verticalalignment()) == ("center",) * 2
        box = note.get_bbox_patch()
        assert (to_rgb(box.get_facecolor()), to_rgb(box.get_edgecolor())) == ((1,) * 3, (0,) * 3)
    samples = {tuple(note.xy): note.get_text() for note in ax.texts}
    assert samples == {(0, 0): "0", (0, 1): "0", (1, 0): "0", (1, 1): "1"}  # AND
    assert ax.get_title() == "Decision map, seed 5"


def test_samples_of_a_map_are_at_their_inputs(monkeypatch):
    """A task of one's own, which is not the same with its inputs swapped."""
    task = deep_nb.Task("mine", [[0.25, 0.0], [1.0, 0.5]], [[1.0], [0.0]])
    run = deep_nb.train("DEEP", task, seeds=[0], hyper=SHORT)
    ax = plotting.plot_decision_map(run, n=4)
    samples = {tuple(note.xy): note.get_text() for note in ax.texts}
    assert samples == {(0.25, 0): "1", (1, 0.5): "0"}


def test_a_map_shows_targets_between_0_and_1(monkeypatch):
    task = deep_nb.Task("mine", [[0.25, 0.0], [1.0, 0.5]], [[0.7], [0.3]])
    run = deep_nb.train("DEEP", task, seeds=[0], hyper=SHORT)
    made_up(monkeypatch, lambda x0, x1: x0 * x1)
    ax = plotting.plot_decision_map(run, n=4)
    samples = {tuple(note.xy): note.get_text() for note in ax.texts}
    assert samples == {(0.25, 0): "0.7", (1, 0.5): "0.3"}


@pytest.mark.parametrize(("low", "high"), [(0.0, 0.4), (0.1, 0.5), (0.5, 0.9)])
def test_without_a_boundary_there_is_no_line(run, monkeypatch, low, high):
    made_up(monkeypatch, lambda x0, x1: low + (high - low) * x0 * x1)
    assert len(plotting.plot_decision_map(run, n=4).collections) == 1


def test_a_map_is_of_the_seed_and_of_101_points_along_each_input(run):
    ax = plotting.plot_decision_map(run, seed=2)
    assert ax.get_title() == "Decision map, seed 2"
    score = deep_nb.decision_map(run.sel(seed=[2]), n=100)["score"][0].values
    shown = ax.collections[0].get_array()
    np.testing.assert_array_equal(np.reshape(shown, (101, 101)), score.T)


ONE_HOT = "$(1 + s_{y1} - s_{y0})$ / 2"


@pytest.mark.parametrize(("model", "name"), [("DEEP", "output $s_{y0}$"), ("DEEP_oh", ONE_HOT)])
def test_the_map_over_one_input_is_a_curve_with_the_targets(model, name, monkeypatch):
    task = "not"
    if model == "DEEP":
        task = deep_nb.Task("mine", [[1.0], [0.25]], [[0.3], [0.7]])
    run = deep_nb.train(model, task, seeds=[0], hyper=SHORT)
    made_up(monkeypatch, lambda x0: 1 - 0.9 * x0)
    ax = plotting.plot_decision_map(run, n=4)
    curve, boundary, targets = ax.get_lines()
    assert curve.get_xydata() == pytest.approx(
        np.array([[0, 1], [0.25, 0.775], [0.5, 0.55], [0.75, 0.325], [1, 0.1]])
    )
    assert list(boundary.get_ydata()) == [0.5, 0.5]
    expected = [[0, 1], [1, 0]] if task == "not" else [[1, 0.3], [0.25, 0.7]]
    assert targets.get_xydata().tolist() == expected
    assert (curve.get_color(), curve.get_linestyle()) == (BLUE, "-")
    assert (boundary.get_color(), boundary.get_linestyle()) == ("black", ":")
    look = targets.get_color(), targets.get_linestyle(), targets.get_marker()
    assert look == (VERMILION, "None", "o")
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("$x_0$", name)
    legend = [text.get_text() for text in ax.get_legend().get_texts()]
    assert legend == [name, "boundary", "target"]
    assert ax.get_ylim() == (-0.03, 1.03)


def test_a_one_hot_map_is_named_after_both_outputs(monkeypatch):
    run = deep_nb.train("DEEP_oh", "or", seeds=[0], hyper=SHORT)
    made_up(monkeypatch, lambda x0, x1: x0 * x1)
    ax = plotting.plot_decision_map(run, n=4)
    assert key(ax).get_ylabel() == f"{ONE_HOT}, boundary in white"
    samples = {tuple(note.xy): note.get_text() for note in ax.texts}
    assert samples == {(0, 0): "0", (0, 1): "1", (1, 0): "1", (1, 1): "1"}  # OR


def test_discs_have_the_sums_of_their_row_or_column_as_radius(run):
    ax = plotting.plot_discs(run, seed=2, epoch=1)
    J = stability.jacobian(run.sel(seed=[2]), 1)[0]
    n = len(J)
    assert not np.allclose(J, stability.jacobian(run.sel(seed=[2]))[0])
    lines = ax.get_lines()
    assert len(lines) == 2 * n + 2
    kinds = [(J[k], lines[k], BLUE, "-") for k in range(n)]
    kinds += [(J[:, k], lines[n + k], VERMILION, "--") for k in range(n)]
    for position, (entries, circle, colour, style) in enumerate(kinds):
        k = position % n
        radius = sum(abs(entry) for j, entry in enumerate(entries) if j != k)
        x, y = circle.get_data()
        np.testing.assert_allclose((x - J[k, k]) ** 2 + y**2, radius**2, rtol=1e-9, atol=1e-12)
        assert (x[0], y[0]) == pytest.approx((x[-1], y[-1]))
        sides = min(x), max(x), min(y), max(y)
        left, right = J[k, k] - radius, J[k, k] + radius
        assert sides == pytest.approx((left, right, -radius, radius), abs=5e-4 * radius)
        assert (circle.get_color(), circle.get_linestyle()) == (colour, style)
        name = "row discs" if style == "-" else "column discs"
        assert circle.get_label().startswith("_" if k else name)
    eigenvalues, zero = lines[-2:]
    found = eigenvalues.get_xdata() + 1j * eigenvalues.get_ydata()
    np.testing.assert_allclose(np.poly(found), np.poly(J), atol=1e-8)
    assert (eigenvalues.get_marker(), eigenvalues.get_linestyle()) == ("x", "None")
    assert list(zero.get_xdata()) == [0, 0]
    assert (eigenvalues.get_color(), zero.get_color()) == ("black", "#7F7F7F")
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("real part (1/τ)", "imaginary part (1/τ)")
    assert ax.get_title() == "Seed 2, after 1 epochs"
    legend = [text.get_text() for text in ax.get_legend().get_texts()]
    assert legend == ["row discs", "column discs", "eigenvalues"]
    assert (ax.get_aspect(), ax.get_adjustable()) == (1, "datalim")
    assert plotting.plot_discs(run, seed=2).get_title() == "Seed 2, after training"
