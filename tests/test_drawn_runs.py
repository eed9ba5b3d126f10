"""What the plots of a run draw, against numbers computed otherwise."""

import matplotlib.pyplot as plt
import networkx as nx
import numpy as np
import pytest
from matplotlib.colors import to_rgba
from PIL import Image

import deep_nb
from deep_nb import plotting
from deep_nb.analysis import energies, matrices, stability

from .conftest import SHORT

BLUE, VERMILION = "#0072B2", "#D55E00"
FREE, NUDGED = ("free phase", BLUE, "-"), ("nudged phase", VERMILION, "--")

#: The curves of each plot, with the variable that each is the median of.
CURVES = {
    "plot_mse": {"mse_free": FREE, "mse_nudged": NUDGED},
    "plot_class_error": {"class_error_free": FREE, "class_error_nudged": NUDGED},
    "plot_weight_change": {"dW_norm": ("‖ΔW‖₁", BLUE, "-"), "db_norm": ("‖Δb‖₁", VERMILION, "--")},
    "plot_sparsity": {"n_connections": ("median, quartiles", BLUE, "-")},
}

#: Label of x, label and scale of y, and title of each plot.
WORDS = {
    "plot_mse": ("epoch", "MSE", "linear", "Error of both phases"),
    "plot_class_error": ("epoch", "share misclassified", "linear", "Classification error"),
    "plot_weight_change": ("epoch", "L1 norm, before $dt_W$", "log", "Change of weights"),
    "plot_sparsity": ("epoch", "share of synapses at 0", "linear", "Sparsity"),
    "plot_mse_networks": ("epoch", "MSE", "linear", "Error over 5 networks, free phase"),
    "plot_residual": (
        "Euler step $t$", "squared speed per sample (1/τ²)", "log", "Residual at the final weights",
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def ensemble():
    """Networks with made-up errors, of which the second diverged."""
    run = deep_nb.train("EP_asym", "and", seeds=[7, 3, 5, 11, 2, 4], hyper=SHORT).copy(deep=True)
    rng = np.random.default_rng(5)
    for name in ("mse", "class_error"):
        for phase in ("free", "nudged"):
            run[f"{name}_{phase}"][:] = rng.uniform(0.1, 1, (6, 4))
    for name in ("dW_norm", "db_norm"):
        run[name][:] = rng.uniform(1, 9, (6, 4))
    run["n_connections"][:] = rng.integers(0, run["mask"].values.sum() + 1, (6, 4))
    run["diverged"][1] = True
    return run


def edges(area):
    """Return the places of a band, and its lower and upper edge."""
    x, y = area.get_paths()[0].vertices.T
    places = np.unique(x)
    return (
        places,
        [y[x == place].min() for place in places],
        [y[x == place].max() for place in places],
    )


def assert_fit_for_a_paper(figure):
    """Legends are in the figure, on no axes and no text; lines differ in more than their colour."""
    figure.draw_without_rendering()
    legends = [*figure.legends, *filter(None, (ax.get_legend() for ax in figure.axes))]
    places = [legend.get_window_extent() for legend in legends]
    others = [ax.bbox for ax in figure.axes]
    for ax in figure.axes:
        parts = [ax.title] if ax.get_title() else []
        parts += [ax.xaxis, ax.yaxis] if ax.axison else []
        others += [part.get_tightbbox() for part in parts]
    for k, place in enumerate(places):
        assert figure.bbox.padded(1).contains(*place.min)
        assert figure.bbox.padded(1).contains(*place.max)
        for other in filter(None, [*others, *places[:k]]):
            assert not place.overlaps(other)
    for ax in figure.axes:
        lines = [line for line in ax.get_lines() if not line.get_label().startswith("_")]
        looks = [
            (line.get_linestyle(), line.get_marker(), line.get_linewidth(), line.get_drawstyle())
            for line in lines
        ]
        assert len({*looks}) == len(looks)


def assert_curve(line, area, x, values, label, colour, style):
    """The median of five networks with their quartiles, which are the 2nd, 3rd and 4th of them."""
    assert len(values) == 5
    low, middle, high = np.sort(values, axis=0)[1:4]
    np.testing.assert_array_equal(line.get_xdata(), x)
    np.testing.assert_allclose(line.get_ydata(), middle, rtol=1e-12)
    assert (line.get_label(), line.get_color(), line.get_linestyle()) == (label, colour, style)
    places, below, above = edges(area)
    np.testing.assert_array_equal(places, x)
    np.testing.assert_allclose(below, low, rtol=1e-12)
    np.testing.assert_allclose(above, high, rtol=1e-12)
    assert tuple(area.get_facecolor()[0]) == to_rgba(colour, 0.2)


def alive(run, name):
    return run[name].values[[0, 2, 3, 4, 5]]


@pytest.mark.parametrize("name", CURVES)
def test_curves_are_medians_and_quartiles_of_the_networks_that_are_left(ensemble, name):
    ax = getattr(plotting, name)(ensemble)
    curves = CURVES[name]
    for line, area, (variable, look) in zip(
        ax.get_lines(), ax.collections, curves.items(), strict=True
    ):
        values = alive(ensemble, variable)
        if variable == "n_connections":
            values = 1 - values / np.count_nonzero(ensemble["mask"])
        assert_curve(line, area, [0, 1, 2, 3], values, *look)
    legend = [text.get_text() for text in ax.get_legend().get_texts()]
    assert legend == [look[0] for look in curves.values()]
    assert ax.texts[0].get_text() == "1 of 6 networks diverged"


@pytest.mark.slow
@pytest.mark.parametrize("name", [*WORDS, "plot_energy", "plot_discs", "plot_decision_map"])
def test_legends_hide_nothing_and_lines_differ_without_colours(name):
    leaky = deep_nb.DEEP.replace(name="leaky", leak=1.5, learned_bias=True)
    run = deep_nb.train(leaky, "not", seeds=range(3), hyper=SHORT)
    plot = getattr(plotting, name)
    with plt.style.context(plotting.STYLE):
        assert_fit_for_a_paper(plot(run).figure)
        size = plotting.TWO_COLUMNS, 5
        figure, axes = plt.subplots(2, 2, figsize=size)
        for ax in axes.flat:
            plot(run, ax)
        figure.suptitle(plotting.describe(run))
        assert_fit_for_a_paper(figure)
        plotting.share_legend(figure)
        assert_fit_for_a_paper(figure)
    (legend,) = figure.legends
    shown = [text.get_text() for text in legend.get_texts()]
    assert shown == axes[0, 0].get_legend_handles_labels()[1]
    assert not any(ax.get_legend() for ax in axes.flat)


def test_figures_without_labels_share_no_legend():
    figure = plt.figure()
    plotting.share_legend(figure)
    assert not figure.legends


@pytest.mark.slow
def test_titles_of_figures_say_model_task_and_setting():
    named = deep_nb.DEEP.replace(name="$m_", hyper=deep_nb.DEEP.hyper.replace(dt_W=0.5))
    own = deep_nb.Task("my $ task", [[0.0], [1.0]], [[1.0], [0.0]])
    runs = {
        "DEEP_oh on XOR, seed 4": deep_nb.train("DEEP_oh", "xor", seeds=4),
        "EP_asym on ID, 2 networks, regularized, layered, n_epochs = 4, T1 = 40": deep_nb.train(
            "EP_asym", "id", seeds=[3, 5], regularized=True, layered=True,
            hyper={"T1": 40, "n_epochs": 4},
        ),
        "$m_ on my $ task, seed 0, own topology, N_H = 2, 1, n_epochs = 4, beta = 0.25": (
            deep_nb.train(
                named, own, seeds=0, hyper={"n_epochs": 4, "beta": 0.25, "N_H": [2, 1]},
                topology=nx.DiGraph([("x0", "h0"), ("h0", "y0")]),
            )
        ),
    }  # fmt: skip
    for title, run in runs.items():
        figure = plotting.plot_mse(run).figure
        figure.draw_without_rendering()
        assert plotting.describe(run) == figure.get_suptitle() == title


@pytest.mark.parametrize("name", WORDS)
def test_axes_are_named_and_hold_what_is_drawn(ensemble, name):
    ax = getattr(plotting, name)(ensemble)
    assert (ax.get_xlabel(), ax.get_ylabel(), ax.get_yscale(), ax.get_title()) == WORDS[name]
    bottom, top = ax.get_ylim()
    drawn = np.concatenate([line.get_ydata() for line in ax.get_lines()])
    assert bottom < drawn[drawn > 0].min()
    assert drawn.max() < top
    if name in ("plot_class_error", "plot_sparsity"):
        assert (bottom, top) == (-0.03, 1.03)


def test_errors_of_networks_have_their_extremes_and_their_mean(ensemble):
    ax = plotting.plot_mse_networks(ensemble)
    values = alive(ensemble, "mse_free")
    middle, mean = ax.get_lines()
    whole, quartiles = ax.collections
    assert_curve(middle, quartiles, [0, 1, 2, 3], values, "median, quartiles", BLUE, "-")
    np.testing.assert_allclose(mean.get_ydata(), sum(values) / 5, rtol=1e-12)
    assert (mean.get_label(), mean.get_color(), mean.get_linestyle()) == ("mean", VERMILION, "--")
    places, low, high = edges(whole)
    ordered = np.sort(values, axis=0)
    assert (places.tolist(), low, high) == ([0, 1, 2, 3], [*ordered[0]], [*ordered[-1]])
    assert whole.get_label() == "min to max"
    legend = [text.get_text() for text in ax.get_legend().get_texts()]
    assert legend == ["min to max", "median, quartiles", "mean"]


@pytest.mark.parametrize(
    ("networks", "words", "bands"), [(1, "the one network", 0), (2, "median, quartiles", 1)]
)
def test_one_network_has_no_quartiles(ensemble, networks, words, bands):
    ax = plotting.plot_sparsity(ensemble.isel(seed=slice(2, 2 + networks)))
    assert [line.get_label() for line in ax.get_lines()] == [words]
    assert len(ax.collections) == bands


def test_infinite_errors_are_left_out(ensemble):
    run = ensemble.copy(deep=True)
    run["mse_free"][[2, 3], 1] = np.inf
    line = plotting.plot_mse(run).get_lines()[0]
    assert line.get_ydata()[1] == sorted(run["mse_free"].values[[0, 4, 5], 1])[1]


def test_biases_that_are_not_learned_are_not_drawn(short_run):
    labels = [line.get_label() for line in plotting.plot_weight_change(short_run).get_lines()]
    assert labels == ["‖ΔW‖₁"]


def test_residuals_are_the_speeds_of_the_states():
    """Σ (Δs / dt)² / M from the states; before the clip they move faster."""
    run = deep_nb.train("DEEP", "xor", seeds=[4, 2, 9, 1, 6], hyper=SHORT)
    ax = plotting.plot_residual(run)
    path = deep_nb.trajectory(run)
    S, dt = path["S"].values, 0.05
    speed = np.full(S.shape[:2], np.nan)
    for step in range(1, S.shape[1]):
        for network in range(5):
            moved = (S[network, step] - S[network, step - 1]) / dt
            speed[network, step] = (moved**2).sum() / 4
    before = path["residual"].values
    assert (before[:, 1:] >= speed[:, 1:] * (1 - 1e-9)).all()
    assert (np.median(before, axis=0)[1:] > 1.01 * np.median(speed, axis=0)[1:]).any()
    lines, areas = ax.get_lines(), ax.collections
    assert len(areas) == 2
    phases = ((slice(1, 41), FREE), (slice(41, 71), NUDGED))
    for k, (steps, look) in enumerate(phases):
        x = np.arange(71)[steps]
        label = f"{look[0]}, ‖Δs/dt‖²"
        assert_curve(lines[2 * k], areas[k], x, speed[:, steps], label, *look[1:])
        thin = lines[2 * k + 1]
        np.testing.assert_array_equal(thin.get_xdata(), x)
        np.testing.assert_allclose(thin.get_ydata(), np.sort(before[:, steps], axis=0)[2])
        assert thin.get_label() == f"{look[0]}, ‖F‖²"
        assert (thin.get_color(), thin.get_linestyle()) == look[1:]
        assert thin.get_linewidth() < lines[2 * k].get_linewidth()


def test_energies_start_at_one_and_have_the_bound_of_their_phase():
    leaky = deep_nb.DEEP.replace(name="leaky", leak=1.5)
    run = deep_nb.train(leaky, "or", seeds=[3, 8, 5, 1, 7], hyper=SHORT)
    ax = plotting.plot_energy(run)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("Euler step $t$", "V(t) / V at the phase's start")
    assert (ax.get_yscale(), *ax.get_ylim()) == ("log", 1e-32, 10)
    V = energies.energy(deep_nb.trajectory(run), run).values
    D = matrices.diagonal_certificate(stability.jacobian(run))
    lines, areas = ax.get_lines(), ax.collections
    assert len(lines) == 6
    for k, (phase, steps) in enumerate({"free": range(1, 41), "nudged": range(41, 71)}.items()):
        J = stability.jacobian(run, phase=phase)
        curves, bounds = np.empty((2, 5, len(steps)))
        for n in range(5):
            root = np.diag(np.sqrt(D[n]))
            step = root @ (np.eye(len(root)) + 0.05 * J[n]) @ np.linalg.inv(root)
            rho = np.linalg.svd(step)[1].max()
            for t, at in enumerate(steps):
                curves[n, t] = sum(V[n, at]) / sum(V[n, steps[0]])
                bounds[n, t] = rho**t * rho**t
        look = (FREE, NUDGED)[k]
        energy, middle, loosest = lines[3 * k : 3 * k + 3]
        assert_curve(energy, areas[k], steps, curves, *look)
        np.testing.assert_allclose(middle.get_ydata(), np.sort(bounds, axis=0)[2], rtol=1e-9)
        np.testing.assert_allclose(loosest.get_ydata(), np.sort(bounds, axis=0)[4], rtol=1e-9)
        for line, words in ((middle, "median"), (loosest, "loosest")):
            np.testing.assert_array_equal(line.get_xdata(), steps)
            assert line.get_label() == f"{phase}: bound, {words}"
            assert (line.get_color(), line.get_linestyle()) == (look[1], (":", "-.")[k])


def at_rest(run, networks):
    """The run with networks whose outputs reach the targets of ID exactly, and stay there.

    s* = min(W x / λ, 1) for a synapse of more than λ from the input to the output.
    """
    run = run.copy(deep=True)
    for k in networks:
        run["W"][k] = 0.0
        run["W"][k].loc[{"pre": "x0", "post": "y0"}] = 2.0
    return run


def test_networks_that_begin_a_phase_at_rest_are_left_out_of_it():
    leaky = deep_nb.DEEP.replace(name="leaky", leak=1.5)
    hyper = {**SHORT, "T1": 1000}
    run = deep_nb.train(leaky, "id", seeds=[3, 8, 5, 1], hyper=hyper)
    others = plotting.plot_energy(run.isel(seed=[0, 3])).get_lines()
    ax = plotting.plot_energy(at_rest(run, [1, 2]))
    assert ax.get_title() == "Energy: 4 of 4 networks certified"
    labels = [line.get_label() for line in ax.get_lines()]
    assert labels == [
        "free phase", "free: bound, median", "free: bound, loosest",
        "nudged phase", "nudged: bound, median", "nudged: bound, loosest",
    ]  # fmt: skip
    for line, same in zip(ax.get_lines()[3:], others[3:], strict=True):
        np.testing.assert_allclose(line.get_ydata(), same.get_ydata(), rtol=1e-12)
    free = ax.get_lines()[0].get_ydata()
    assert not np.allclose(free, others[0].get_ydata())  # there, all four move


def test_a_phase_in_which_every_network_is_at_rest_is_not_drawn():
    leaky = deep_nb.DEEP.replace(name="leaky", leak=1.5)
    run = deep_nb.train(leaky, "id", seeds=[3, 8], hyper={**SHORT, "T1": 1000})
    ax = plotting.plot_energy(at_rest(run, [0, 1]))
    labels = [line.get_label() for line in ax.get_lines()]
    assert labels == ["free phase", "free: bound, median", "free: bound, loosest"]


def test_networks_without_a_certificate_are_counted_but_not_drawn():
    leaky = deep_nb.DEEP.replace(name="leaky", leak=1.5)
    run = deep_nb.train(leaky, "or", seeds=range(3), hyper=SHORT).copy(deep=True)
    run["W"][1] *= 100
    run["diverged"][2] = True
    ax = plotting.plot_energy(run)
    assert ax.get_title() == "Energy: 1 of 3 networks certified"
    alone = plotting.plot_energy(run.isel(seed=[0]))
    for line, same in zip(ax.get_lines(), alone.get_lines(), strict=True):
        np.testing.assert_array_equal(line.get_ydata(), same.get_ydata())


def test_notes_count_diverged_and_runaway_networks(short_run):
    run = short_run.copy(deep=True)
    run["W"][0] *= 1000
    run["diverged"][2] = True
    (note,) = plotting.plot_mse(run).texts
    assert note.get_text() == (
        "1 of 3 networks diverged\n1 of 3: Euler step\nbeyond its stable range"
    )
    assert note.get_color() == VERMILION
    assert note.get_transform() == note.axes.transAxes
    x, y = note.get_position()
    assert 1 < x < 1.1  # beside the axes, half way up
    assert (y, note.get_rotation(), note.get_verticalalignment()) == (0.5, 90, "center")


def test_saved_figures_have_the_size_and_resolution_of_the_style(short_run, tmp_path):
    figure = plotting.plot_mse(short_run).figure
    svg, png = plotting.save_figure(figure, tmp_path, "mse", "Errors")
    with Image.open(png) as image:
        assert image.size == (680, 520)  # 3.4 × 2.6 inches, 200 dots each
        assert image.info["Description"] == "Errors"
    assert 'width="244.8pt" height="187.2pt"' in svg.read_text()
    assert "<!-- MSE -->" in svg.read_text()
    assert "<text" not in svg.read_text()  # outlines, which need no font
