import itertools

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb
from PIL import Image

import deep_nb
from deep_nb import plotting
from deep_nb.analysis import matrices, stability

#: These draw numbers from many ensembles instead of a run.
COMPARISONS = ("plot_shares", "plot_reached", "plot_robustness")
PANELS = {
    name: getattr(plotting, name)
    for name in dir(plotting)
    if name.startswith("plot_") and name not in COMPARISONS
}
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


def test_network_shows_strength_as_opacity_and_sparsity_in_its_title(short_run):
    run = short_run.copy(deep=True)
    run["W"][:] = 0.0
    run["W"].loc[{"pre": "h0", "post": "y0"}] = 2.0
    run["W"].loc[{"pre": "x0", "post": "h1"}] = -0.5
    ax = plotting.plot_network(run)
    alphas = sorted(patch.get_edgecolor()[3] for patch in ax.patches)
    assert alphas == [0.25, 1.0]
    colours = {patch.get_edgecolor()[3]: patch.get_edgecolor()[:3] for patch in ax.patches}
    assert colours == {1.0: to_rgb(plotting.VERMILION), 0.25: to_rgb(plotting.BLUE)}
    assert "sparsity 96%" in ax.get_title()  # 2 of 48 synapses are left


def test_curves_are_the_run(short_run):
    free, nudged = plotting.plot_mse(short_run).get_lines()
    np.testing.assert_allclose(free.get_ydata(), np.median(short_run["mse_free"], axis=0))
    np.testing.assert_allclose(nudged.get_ydata(), np.median(short_run["mse_nudged"], axis=0))
    (line,) = plotting.plot_sparsity(short_run).get_lines()
    assert (line.get_ydata() == 0).all()
    _median, mean = plotting.plot_mse_networks(short_run).get_lines()
    np.testing.assert_allclose(mean.get_ydata(), short_run["mse_free"].mean(axis=0))


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


def test_other_axes_are_refused(short_run):
    with pytest.raises(ValueError, match="ax must be a matplotlib Axes or None, got str"):
        plotting.plot_mse(short_run, "ax")


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


def test_discs_are_drawn_where_they_are(short_run):
    ax = plotting.plot_discs(short_run, seed=1, epoch=0)
    discs = matrices.gershgorin(stability.jacobian(short_run, 0))
    x = ax.get_lines()[0].get_xdata()
    assert (x.max() + x.min()) / 2 == pytest.approx(discs.centres[1, 0], abs=1e-3)
    assert (x.max() - x.min()) / 2 == pytest.approx(discs.row_radii[1, 0], rel=1e-3)


def test_shares_have_their_intervals():
    ax = plotting.plot_shares([0, 1], [0, 22], 100, plt.subplots()[1], plotting.BLUE, "-", "DEEP")
    assert ax.get_lines()[0].get_ydata().tolist() == [0, 0.22]
    band = ax.collections[0].get_paths()[0].vertices[:, 1]
    assert band.max() == pytest.approx(0.3107, abs=1e-4)


def test_reached_rises_where_networks_reach_the_criterion():
    ax = plotting.plot_reached([2, np.nan, 0, 2], 4, plt.subplots()[1], plotting.BLUE, "-", "four")
    line = ax.get_lines()[0]
    assert line.get_xdata().tolist() == [0, 1, 2, 3]
    assert line.get_ydata().tolist() == [0.25, 0.25, 0.75, 0.75]


def test_survivors_are_shares_of_networks(short_run):
    run = short_run.copy(deep=True)
    run["W"].loc[{"seed": [0, 1], "pre": "h0", "post": "h1"}] = 0
    ax = plotting.plot_survivors(run)
    edges = list(zip(*np.nonzero(run["mask"].values), strict=True))
    labels = run["pre"].values.tolist()
    colours = [tuple(patch.get_edgecolor()) for patch in ax.patches]
    shade = plt.get_cmap("viridis_r")
    changed = edges.index((labels.index("h0"), labels.index("h1")))
    assert colours[changed] == pytest.approx(shade(1 / 3))
    assert all(c == pytest.approx(shade(1.0)) for k, c in enumerate(colours) if k != changed)


def test_heat_maps_show_the_share_of_each_setting():
    rows = itertools.product(("xor", "id"), (2, 5), (1.0, 10.0), (0.1, 1.0), (50, 200), range(4))
    names = ["task", "N_H", "beta", "dt_W_factor", "n_epochs", "seed"]
    grid = pd.DataFrame(rows, columns=names).assign(model="DEEP")
    at = (grid[["task", "N_H", "beta", "dt_W_factor", "n_epochs"]] == ["id", 5, 10, 1, 200]).all(
        axis=1
    )
    grid["learned"] = at & (grid["seed"] < 3)
    figure = plotting.plot_robustness(grid, "DEEP", (5, 10.0, 200))
    panels = figure.axes[:8]
    shares = [panel.get_images()[0].get_array() for panel in panels]
    assert [share.sum() for share in shares] == [0] * 7 + [0.75]
    assert shares[7][1, 1] == 0.75  # β = 10 is the second row, dt_W_factor 1 the second column
    assert [len(panel.patches) for panel in panels] == [0, 0, 0, 1] * 2
    assert panels[7].patches[0].get_xy() == (0.5, 0.5)
