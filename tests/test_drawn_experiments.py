"""What the figures of the notebooks draw, against numbers by hand."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from matplotlib.collections import PathCollection
from matplotlib.colors import to_rgb
from statsmodels.stats.proportion import proportion_confint

import deep_nb
from deep_nb import plotting
from deep_nb.experiments import (
    claims,
    corrections,
    errata,
    gradients,
    real_data,
    sparsity,
    stability,
)

from .test_drawn_runs import assert_fit_for_a_paper, edges

BLUE, VERMILION, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#7F7F7F"


@pytest.fixture
def ax():
    with plt.style.context(plotting.STYLE):
        yield (ax := plt.subplots()[1])
        assert_fit_for_a_paper(ax.figure)


def words(ax):
    """The labels of the axes, and the title."""
    return ax.get_xlabel(), ax.get_ylabel(), ax.get_title()


def looks(ax):
    """Label, colour, style and marker of each line."""
    return [
        (line.get_label(), line.get_color(), line.get_linestyle(), line.get_marker())
        for line in ax.get_lines()
    ]


def points(ax):
    """The points of each line."""
    return [line.get_xydata().tolist() for line in ax.get_lines()]


def legend(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def assert_band(area, colour, x, low, high):
    """A band between two curves, which lets what is behind it be seen."""
    places, bottom, top = edges(area)
    order = np.argsort(x)
    np.testing.assert_array_equal(places, np.take(x, order))
    np.testing.assert_allclose(bottom, np.take(low, order), rtol=1e-12)
    np.testing.assert_allclose(top, np.take(high, order), rtol=1e-12)
    assert to_rgb(area.get_facecolor()[0]) == to_rgb(colour)
    assert 0 < area.get_alpha() < 0.5


def ordered(values):
    """Lower quartile, median and upper quartile of five networks: three of the sorted values."""
    assert len(values) == 5
    return np.sort(values, axis=0)[1:4]


# Claims


def test_the_share_that_has_reached_the_criterion_is_drawn_without_pruned_networks(ax):
    rows = [
        ("DEEP", "xor", False, 4, 2.0),
        ("DEEP", "xor", False, 4, np.nan),
        ("DEEP", "xor", True, 4, 0.0),
        ("DEEP", "or", False, 4, 0.0),
        ("EP_asym", "xor", False, 4, np.nan),
        ("EP_asym", "or", False, 4, 3.0),
        ("DEEP_oh", "xor", False, 4, 0.0),
    ]
    networks = pd.DataFrame(rows, columns=["model", "task", "pruned", "n_epochs", "epochs"])
    networks = pd.concat([networks.assign(layered=False), networks.assign(layered=True)])
    claims.draw_reached(networks, "xor", ax)
    shares = {"DEEP": [0, 0, 0.5, 0.5], "EP_asym": [0, 0, 0, 0], "DEEP_oh": [1, 1, 1, 1]}
    assert points(ax) == [[[t, y] for t, y in enumerate(share)] for share in shares.values()]
    assert [look[:3] for look in looks(ax)] == [
        ("DEEP", BLUE, "-"),
        ("EP_asym", VERMILION, "--"),
        ("DEEP_oh", GREEN, ":"),
    ]
    assert words(ax) == ("epoch", "share that has learned", "XOR")
    assert legend(ax) == [*shares]


def test_models_without_networks_on_a_task_are_not_drawn(ax):
    row = {"model": "DEEP", "task": "or", "pruned": False, "layered": False, "n_epochs": 2}
    claims.draw_reached(pd.DataFrame([{**row, "epochs": 1.0}]), "or", ax)
    assert legend(ax) == ["DEEP"]


@pytest.mark.slow
def test_published_curves_are_drawn_over_our_band(ax):
    of = {"epoch": [2, 1, 3], "low": [0.1, 0.2, 0.0], "middle": [0.15, 0.3, 0.1]}
    of |= {"high": [0.2, 0.4, 0.15], "published": [0.12, 0.5, np.nan]}
    table = pd.DataFrame({**of, "inside": [True, False, False], "statistic": "mean"})
    claims.draw_curves(pd.concat([table, table.assign(statistic="median", low=9)]), "mean", ax)
    middle, published, outside = ax.get_lines()
    assert middle.get_xydata().tolist() == [[1, 0.3], [2, 0.15], [3, 0.1]]
    assert published.get_xydata()[:2].tolist() == [[1, 0.5], [2, 0.12]]
    assert np.isnan(published.get_ydata()[2])
    assert outside.get_xydata().tolist() == [[1, 0.5]]
    band, wider = ax.collections
    assert_band(band, GREY, of["epoch"], of["low"], of["high"])
    ends = np.array(of["low"]) - 0.004, np.array(of["high"]) + 0.004
    assert_band(wider, GREY, of["epoch"], *ends)
    assert ax.get_legend_handles_labels()[1] == [
        "central 95 % of our ensembles of ten", "with ±0.004, the precision of the reading",
        "their middle", "published ten networks", "outside",
    ]  # fmt: skip
    assert words(ax) == ("epoch", "mean MSE", "")
    assert (ax.get_xlim(), ax.get_ylim()[0]) == ((1, 3), 0)


# Errata


def test_sizes_and_changes_are_drawn_as_medians(ax):
    of = {"size": [[8.0, 9.0], [1.0, 5.0], [6.0, 2.0]], "change": [[2.0, 1.0], [9, 0.25], [1, 0.5]]}
    sizes = xr.Dataset({k: (("seed", "epoch"), v) for k, v in of.items()}, {"epoch": [3, 7]})
    errata.draw_sizes_and_changes(sizes, ax)
    assert points(ax) == [[[3, 6.0], [7, 5.0]], [[3, 2.0], [7, 0.5]]]
    labels = ["‖W‖₁, what was plotted", "‖$dt_W$ ΔW‖₁, what was meant"]
    assert [look[:3] for look in looks(ax)] == [
        (labels[0], VERMILION, "--"),
        (labels[1], BLUE, "-"),
    ]
    assert words(ax) == ("epoch", "L1 norm, median", "")
    assert (ax.get_xscale(), ax.get_yscale(), legend(ax)) == ("linear", "log", labels)


# Gradients

RULES = [
    ("stdp", GREY, ":", "o"),
    ("contrastive", VERMILION, "--", "o"),
    ("centered", GREEN, "-.", "o"),
    ("asymep", BLUE, "-", "o"),
]


def over_rules(values, **coords):
    """Values over rules, which are not in the order in which they are drawn."""
    rules = [rule for rule, *_ in RULES][::-1]
    return xr.DataArray(values, dims=("rule", *coords), coords={"rule": rules, **coords})


def test_errors_of_rules_are_drawn_over_beta_beside_a_slope_of_one(ax):
    values = [[0.0, 1e-6], [1e-4, 2e-2], [0.5, 0.6], [0.8, 0.9]]
    gradients.draw_gradient_error(over_rules(values, beta=[1e-3, 1e-1]), ax)
    *curves, slope = points(ax)
    assert curves == [[[1e-3, y], [1e-1, z]] for y, z in values[:0:-1]] + [
        [[1e-3, 1e-13], [1e-1, 1e-6]]
    ]  # 0 as the least that the axis shows
    assert slope == [[1e-3, 1e-3], [1e-1, 1e-1]]
    assert looks(ax) == [*RULES, ("linear", "black", ":", "None")]
    assert words(ax) == ("β", "relative error of ΔW", "")
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")


def test_angles_are_drawn_as_medians_and_quartiles_where_they_exist(rng, ax):
    values = rng.uniform(0, 180, (4, 3, 5))
    values[1] = np.nan  # centered
    values[2, 1] = np.nan  # contrastive in epoch 5
    angles = over_rules(np.insert(values, 2, np.nan, axis=2), snapshot=[0, 5, 20], seed=range(6))
    gradients.draw_angles(angles, ax)
    *curves, level = ax.get_lines()
    assert looks(ax)[:-1] == [RULES[0], RULES[1], RULES[3]]
    for line, area, row, epochs in zip(
        curves, ax.collections, (3, 2, 0), ([0, 5, 20], [0, 20], [0, 5, 20]), strict=True
    ):
        of = values[row][np.isfinite(values[row]).all(axis=1)]
        low, middle, high = ordered(of.T)
        np.testing.assert_array_equal(line.get_xdata(), epochs)
        np.testing.assert_allclose(line.get_ydata(), middle, rtol=1e-12)
        assert_band(area, line.get_color(), epochs, low, high)
    assert (list(level.get_ydata()), level.get_color()) == ([90, 90], "black")
    assert (ax.get_ylim(), ax.get_yticks().tolist()) == ((0, 180), [0, 45, 90, 135, 180])


def test_angles_over_symmetry_are_drawn_as_medians(ax):
    values = np.arange(24.0).reshape(4, 2, 3)[::-1]
    values[..., 1] = 170
    angles = over_rules(values, alpha=[0.25, 1.0], seed=range(3))
    gradients.draw_symmetry(angles, ax)
    assert looks(ax) == RULES
    expected = [[2.0, 5.0], [8.0, 11.0], [14.0, 17.0], [20.0, 23.0]]
    assert points(ax) == [[[0.25, y], [1.0, z]] for y, z in expected]
    ax.clear()
    gradients.draw_symmetry(angles.isel(seed=[]), ax)
    assert not ax.get_lines()


def judged(learned, angle, certified):
    """What `gradients.judge` returns of one model, with the rules in another order."""
    rows = [("adjoint", 0.1, 3, 0.0, 4)]
    for rule, *cells in zip(
        [rule for rule, *_ in RULES][::-1], learned, angle, certified, strict=True
    ):
        rows += [(rule, beta, *values) for beta, *values in zip([0.1, 3.0], *cells, strict=True)]
    return pd.DataFrame(rows, columns=["rule", "beta", "learned", "angle", "certified"])


@pytest.fixture
def of_a_model():
    learned = [[4, 3], [2, 1], [0, 0], [1, 4]]
    angle = [[1.0, 20.0], [10.0, 100.0], [30.0, np.nan], [40.0, 50.0]]
    certified = [[4, 0], [4, 3], [4, 4], [0, 4]]
    return judged(learned, angle, certified)


def faces(ax):
    """Place of each point, and whether it is filled, for each collection of points."""
    return [
        [
            (*place, tuple(face[:3]) == tuple(edge[:3]))
            for place, face, edge in zip(
                of.get_offsets().tolist(),
                of.get_facecolors(),
                np.resize(of.get_edgecolors(), (2, 4)),
                strict=True,
            )
        ]
        for of in ax.collections
        if isinstance(of, PathCollection)
    ]


def test_shares_that_learned_are_filled_where_all_networks_are_certified(of_a_model, ax):
    gradients.draw_learned(of_a_model, 4, ax)
    *curves, reference = ax.get_lines()
    assert [look[:3] for look in looks(ax)][:-1] == [look[:3] for look in RULES]
    shares = [[0.25, 1.0], [0.0, 0.0], [0.5, 0.25], [1.0, 0.75]]
    assert [list(line.get_ydata()) for line in curves] == shares
    assert list(reference.get_ydata()) == [0.75, 0.75]
    assert reference.get_label() == "adjoint"
    filled = [[False, True], [True, True], [True, False], [True, False]]
    assert faces(ax) == [
        [(beta, y, full) for beta, y, full in zip([0.1, 3.0], of, row, strict=True)]
        for of, row in zip(shares, filled, strict=True)
    ]
    assert legend(ax) == [look[0] for look in RULES]  # the last curve's; figures share one
    bands = [area for area in ax.collections if not isinstance(area, PathCollection)]
    low, high = proportion_confint([1, 4], 4, method="wilson")
    assert_band(bands[0], GREY, [0.1, 3.0], low, high)
    assert (ax.get_xscale(), ax.get_ylim()) == ("log", (-0.05, 1.05))


def test_angles_over_beta_are_filled_where_all_networks_are_certified(of_a_model, ax):
    gradients.draw_angle(of_a_model, 4, ax)
    *curves, level = ax.get_lines()
    assert [look[:3] for look in looks(ax)][:-1] == [look[:3] for look in RULES]
    angles = [[40.0, 50.0], [30.0, np.nan], [10.0, 100.0], [1.0, 20.0]]
    np.testing.assert_array_equal([line.get_ydata() for line in curves], angles)
    assert all(list(line.get_xdata()) == [0.1, 3.0] for line in curves)
    assert [full for *_, full in faces(ax)[3]] == [True, False]
    assert list(level.get_ydata()) == [90, 90]
    assert (ax.get_xscale(), ax.get_yticks().tolist()) == ("log", [0, 45, 90, 135, 180])


def test_shares_of_masks_are_drawn_for_each_rule_with_intervals(ax):
    rules = [*corrections.RULES]
    rows = [(rule, part, k + 2 * (part > 0)) for k, rule in enumerate(rules) for part in (0.0, 0.5)]
    table = pd.DataFrame(rows, columns=["rule", "reciprocal", "learned"])
    corrections.draw(table, 8, ax)
    assert [bars.get_label() for bars in ax.containers] == ["0% reciprocal", "50% reciprocal"]
    for bars, colour, shift, more in zip(
        ax.containers, (VERMILION, GREY), (-0.2, 0.0), (0, 2), strict=True
    ):
        line, _, (spans,) = bars
        counts = np.arange(7) + more
        assert line.get_color() == colour
        np.testing.assert_allclose(line.get_xdata(), np.arange(7) + shift)
        np.testing.assert_allclose(line.get_ydata(), counts / 8)
        low, high = proportion_confint(counts, 8, method="wilson")
        ends = np.array([segment[:, 1] for segment in spans.get_segments()])
        np.testing.assert_allclose(ends, np.column_stack([low, high]), atol=1e-12)
    assert [text.get_text() for text in ax.get_xticklabels()] == rules
    (background,) = ax.patches
    assert (background.get_x(), background.get_width()) == (2.5, 4.0)  # the last four
    assert ax.get_ylim() == (-0.05, 1.05)


# Real data


def test_confusions_are_drawn_with_digits_downwards_and_answers_to_the_right(ax):
    matrix = np.array([[40, 9, 0], [10, 36, 1], [2, 25, 16]])
    real_data.draw_confusions(matrix, ax)
    (image,) = ax.get_images()
    assert (image.origin, image.get_cmap().name) == ("upper", "cividis")
    np.testing.assert_allclose(image.get_array(), [[r**0.5 for r in row] for row in matrix])
    numbers = {text.get_position(): text for text in ax.texts}
    assert len(numbers) == 9
    for (digit, answer), count in np.ndenumerate(matrix):
        number = numbers[answer, digit]
        assert number.get_text() == str(count)
        assert number.get_color() == ("white" if count < 10 else "black")
        place = number.get_horizontalalignment(), number.get_verticalalignment()
        assert place == ("center", "center")
    assert words(ax) == ("answer", "digit", "92 of 139 right")
    assert list(ax.get_xticks()) == list(ax.get_yticks()) == [0, 1, 2]


def test_accuracies_are_drawn_in_percent_with_their_intervals(ax):
    rows = [
        ("Iris", "contracting DEEP", 0.9, 0.85, 0.95),
        ("Wine", "contracting DEEP", 0.5, 0.4, 0.6),
        ("Iris", "leaky DEEP", 0.8, 0.7, 0.9),
        ("Iris", "MLP", 0.99, np.nan, np.nan),
    ]
    table = pd.DataFrame(rows, columns=["data", "model", "accuracy", "low", "high"])
    real_data.draw_accuracies(table, "Iris", ax)
    lines = ax.get_lines()
    (rule,) = [line for line in lines if line.get_linestyle() == ":"]
    marks = [line for line in lines if line.get_marker() == "o"]
    intervals = [line for line in lines if line not in (rule, *marks)]
    assert rule.get_xdata() == pytest.approx([90, 90])
    np.testing.assert_allclose(
        [line.get_xydata() for line in intervals],
        [[[85, 0], [95, 0]], [[70, 1], [90, 1]], [[np.nan, 2], [np.nan, 2]]],
    )
    np.testing.assert_allclose(
        [line.get_xydata()[0] for line in marks], [[90, 0], [80, 1], [99, 2]]
    )
    for lines in (intervals, marks):
        assert [line.get_color() for line in lines] == [VERMILION, BLUE, GREY]
    assert words(ax) == ("test accuracy / %", "", "Iris")
    names = [label.get_text() for label in ax.get_yticklabels()]
    assert names == ["contracting DEEP", "leaky DEEP", "MLP"]
    assert list(ax.get_yticks()) == [0, 1, 2]
    assert ax.get_ylim() == (2.5, -0.5)


def test_learning_curves_are_drawn_over_passes(ax):
    curve = pd.DataFrame({"training part": [0.5, 0.9], "test part": [0.4, 0.8]}, index=[1, 2])
    curve["factor"] = 0.95
    real_data.draw_learning_curve(curve, ax)
    assert points(ax) == [[[1, 0.5], [2, 0.9]], [[1, 0.4], [2, 0.8]]]
    assert [look[:3] for look in looks(ax)] == [
        ("training part", BLUE, "-"),
        ("test part", VERMILION, "--"),
    ]
    assert words(ax) == ("passes", "accuracy", "Learning curve")
    assert legend(ax) == ["training part", "test part"]


SHARES = [1.0, 0.7, 0.4, 0.2, 0.1, 0.07, 0.05, 0.03, 0.02, 0.01]


def test_accuracies_after_cuts_are_drawn_as_means_and_ranges(rng, ax):
    values = rng.uniform(0.1, 0.9, (2, 3, 10))
    ways = ["one cut", "learning on after each cut"]
    both = np.stack([values, 0 * values], axis=2)
    coords = {"way": ways, "part": ["test", "validation"]}
    accuracy = xr.DataArray(both, dims=("way", "seed", "part", "share"), coords=coords)
    real_data.draw_cuts(xr.Dataset({"accuracy": accuracy}), ax)
    assert looks(ax) == [(ways[1], BLUE, "-", "o"), (ways[0], VERMILION, "--", "o")]
    for line, area, of in zip(ax.get_lines(), ax.collections, values[::-1], strict=True):
        np.testing.assert_array_equal(line.get_xdata(), SHARES)
        np.testing.assert_allclose(line.get_ydata(), sum(of) / 3, rtol=1e-12)
        low, _, high = np.sort(of, axis=0)
        assert_band(area, line.get_color(), SHARES, low, high)
    assert words(ax) == ("share of synapses left", "test accuracy", "")
    assert (ax.get_xscale(), ax.get_ylim()) == ("log", (0, 1.03))
    ticks = [label.get_text() for label in ax.get_xticklabels()]
    assert ticks == ["1 %", "3 %", "10 %", "30 %", "100 %"]
    assert list(ax.get_xticks()) == [0.01, 0.03, 0.1, 0.3, 1]
    assert legend(ax) == ways[::-1]


# Sparsity


def test_connections_are_drawn_as_medians_and_quartiles_with_their_sparsity(rng, ax):
    epochs = [1, 2, 5]
    counts = {name: rng.integers(0, 13, (5, 3)) for name in [*sparsity.FLAGS][::-1]}
    mask = ~np.eye(4, dtype=bool)
    runs = {
        name: xr.Dataset(
            {"n_connections": (("seed", "epoch"), of), "mask": (("pre", "post"), mask)},
            coords={"epoch": epochs},
        )
        for name, of in counts.items()
    }
    sparsity.draw_connections(runs, ax)
    assert [look[:3] for look in looks(ax)] == [
        ("neither", GREY, "-."),
        ("L1 only", BLUE, ":"),
        ("pruning only", GREEN, "--"),
        ("L1 and pruning", VERMILION, "-"),
    ]
    for line, area in zip(ax.get_lines(), ax.collections, strict=True):
        low, middle, high = ordered(counts[line.get_label()])
        assert line.get_xydata().tolist() == [[*pair] for pair in zip(epochs, middle, strict=True)]
        assert_band(area, line.get_color(), epochs, low, high)
    assert words(ax) == ("epoch", "connections", "")
    assert ax.get_ylim() == (0, 14)
    _, right = ax.figure.axes
    assert right.get_ylabel() == "sparsity"
    assert right.spines["right"].get_visible()
    for count, share in ((0, 1), (3, 0.75), (12, 0)):  # of 12 possible connections
        height = ax.transData.transform((0, count))[1]
        assert right.transData.inverted().transform((0, height))[1] == pytest.approx(share)


MARKERS = {
    "reg_W": (r"$\mathrm{reg}_W$", BLUE, "-", "o"),
    "tol_W": (r"$\mathrm{tol}_W$", VERMILION, "-", "s"),
    "temp": ("temp", GREEN, "-", "^"),
}


def test_the_trade_off_is_drawn_with_its_intervals():
    columns = ["varied", "sparsity", "sparsity_low", "sparsity_high"]
    columns += ["learned", "learned_low", "learned_high", "mse"]
    rows = [
        ("temp", 0.9, 0.85, 0.97, 0.2, 0.1, 0.45, 0.2),
        ("tol_W", 0.7, 0.6, 0.72, 0.5, 0.4, 0.8, 0.1),
        ("reg_W", 0.1, 0.05, 0.3, 1.0, 0.9, 1.0, 0.01),
        ("reg_W", 0.5, 0.4, 0.7, 0.8, 0.6, 0.85, 0.02),
    ]
    table = pd.DataFrame(rows, columns=columns)
    upper, lower = plt.subplots(2)[1]
    sparsity.draw_trade_off(table, upper, lower)
    for bars, (name, look) in zip(upper.containers, MARKERS.items(), strict=True):
        line, _, (across, upwards) = bars.lines
        of = table[table["varied"] == name]
        assert line.get_xydata().tolist() == of[["sparsity", "learned"]].to_numpy().tolist()
        ends = of[["sparsity_low", "learned", "sparsity_high", "learned"]].to_numpy()
        np.testing.assert_allclose(across.get_segments(), ends.reshape(-1, 2, 2))
        ends = of[["sparsity", "learned_low", "sparsity", "learned_high"]].to_numpy()
        np.testing.assert_allclose(upwards.get_segments(), ends.reshape(-1, 2, 2))
        assert bars.get_label() == look[0]
        assert (line.get_color(), line.get_linestyle(), line.get_marker()) == look[1:]
        assert all(to_rgb(part.get_color()[0]) == to_rgb(look[1]) for part in (across, upwards))
    assert looks(lower) == [*MARKERS.values()]
    assert points(lower) == [
        table.loc[table["varied"] == name, ["sparsity", "mse"]].to_numpy().tolist()
        for name in MARKERS
    ]
    assert words(upper) == ("sparsity", "share of networks that learn", "")
    assert words(lower) == ("sparsity", "median MSE", "")
    assert (upper.get_ylim(), lower.get_ylim()) == ((-0.03, 1.03), (-0.005, 0.26))
    assert legend(lower) == [look[0] for look in MARKERS.values()]
    plt.close("all")


def test_removed_and_regrown_synapses_are_drawn_as_means(ax):
    of = {"regrown": [[0, 1], [4, 2], [2, 6]], "removed": [[9, 3], [3, 0], [0, 3]]}
    counts = xr.Dataset({k: (("seed", "epoch"), v) for k, v in of.items()}, {"epoch": [4, 5]})
    sparsity.draw_turnover(counts, ax)
    assert points(ax) == [[[4, 4.0], [5, 2.0]], [[4, 2.0], [5, 3.0]]]
    assert [look[:3] for look in looks(ax)] == [
        ("removed", VERMILION, "-"),
        ("regrown", BLUE, "--"),
    ]
    assert words(ax) == ("epoch", "synapses per network and epoch", "")
    assert legend(ax) == ["removed", "regrown"]


def test_the_formula_is_drawn_beside_the_observations(ax):
    columns = ["size", "expected", "observed", "error"]
    rows = [[0.1, 0.3, 0.35, 0.02], [0.2, 0.2, 0.19, 0.01]]
    sparsity.draw_removals(pd.DataFrame(rows, columns=columns), ax)
    (bars,) = ax.containers
    line, _, (upwards,) = bars.lines
    assert line.get_xydata().tolist() == [[0.1, 0.35], [0.2, 0.19]]
    expected = [[[x, y - 1.96 * error], [x, y + 1.96 * error]] for x, _, y, error in rows]
    np.testing.assert_allclose(upwards.get_segments(), expected)
    formula = ax.get_lines()[-1]
    assert formula.get_xydata().tolist() == [[0.1, 0.3], [0.2, 0.2]]
    assert bars.get_label() == "observed, ± 1.96 σ"
    assert looks(ax)[0][1:] == (BLUE, "None", "o")
    assert looks(ax)[-1] == ("formula", VERMILION, "None", "x")
    assert words(ax) == ("|W|", "share of draws that remove it", "")
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "linear")
    assert legend(ax) == ["formula", "observed, ± 1.96 σ"]


# Stability


def test_activities_are_drawn_with_their_lines_for_four_inputs(ax):
    samples = ["0 0", "0 1", "1 0", "1 1", "2 2"]
    activity, line = np.arange(10.0).reshape(2, 5), 20 + np.arange(10.0).reshape(2, 5)
    dims = ("step", "sample")
    coords = {"time": ("step", [0.5, 2.0]), "sample": samples}
    data = xr.Dataset({"activity": (dims, activity), "line": (dims, line)}, coords)
    stability.draw_activity(data, ax)
    drawn = [values[:, k] for k in range(4) for values in (activity, line)]
    assert points(ax) == [[[0.5, y], [2.0, z]] for y, z in drawn]
    colours = [BLUE, VERMILION, GREEN, GREY]
    assert looks(ax)[::2] == [
        (f"x = {x}", c, "-", m) for x, c, m in zip(samples, colours, "os^D", strict=False)
    ]
    assert [look[1:3] for look in looks(ax)[1::2]] == [(c, "--") for c in colours]
    assert words(ax) == ("time $t$ (τ)", r"activity $\Sigma_j s_j$", "")
    assert (ax.get_xlim(), ax.get_ylim()) == ((0, 20), (-0.2, 6.2))
    assert legend(ax) == [f"x = {sample}" for sample in samples[:4]]


def test_leaks_are_drawn_as_the_share_at_or_below(ax):
    leaks = {
        "leaky DEEP": np.array([0.2]),
        "EP_asym": np.array([3.0, 1.0]),
        "DEEP": np.array([0.3, 0.1, 0.2, 0.5]),
        "DEEP_oh": np.array([1.0, 0.5]),
    }
    stability.draw_leaks(leaks, ax)
    assert points(ax) == [
        [[0.2, 1.0]],
        [[1.0, 0.5], [3.0, 1.0]],
        [[0.1, 0.25], [0.2, 0.5], [0.3, 0.75], [0.5, 1.0]],
        [[0.5, 0.5], [1.0, 1.0]],
    ]
    assert [look[:3] for look in looks(ax)] == [
        ("leaky DEEP", GREY, ":"),
        ("EP_asym", VERMILION, "--"),
        ("DEEP", BLUE, "-"),
        ("DEEP_oh", GREEN, "-."),
    ]
    assert {line.get_drawstyle() for line in ax.get_lines()} == {"steps-post"}
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "linear")
    assert words(ax) == ("smallest certifying leak λ (1/τ)", "share of networks at or below", "")
    assert legend(ax) == [*leaks]


def test_leaks_too_small_for_the_axis_are_drawn_at_its_least(ax):
    given = np.array([0.5, 0.0, 0.0002, 0.002])
    stability.draw_leaks({"DEEP": given}, ax)
    assert stability.LEAST_LEAK == 0.001
    assert points(ax) == [[[0.001, 0.25], [0.001, 0.5], [0.002, 0.75], [0.5, 1.0]]]
    assert given.tolist() == [0.5, 0.0, 0.0002, 0.002]


def test_all_models_of_the_notebook_have_a_look_of_their_own():
    drawn = {*deep_nb.MODELS, "leaky DEEP"}
    assert {*stability.STYLES} == drawn
    assert len({look[1:] for look in stability.STYLES.values()}) == len(drawn)  # without colours


def test_distances_from_rest_are_drawn_as_medians_with_the_loosest_bound(rng):
    V = rng.uniform(0.1, 1, (5, 3, 4))
    bound = V + rng.uniform(0, 1, V.shape)
    V[:, 1, 3] = bound[:, 1, 3] = np.nan  # a phase of fewer steps
    dims = ("seed", "phase", "step")
    found = xr.Dataset({"V": (dims, V), "bound": (dims, bound)}, {"phase": ["free", "+β", "-β"]})
    axes = plt.subplots(1, 3)[1]
    stability.draw_distances(found, axes)
    titles = "free, ℓ1", "+β, ℓ∞", "-β, ℓ∞"
    for k, (ax, title) in enumerate(zip(axes, titles, strict=True)):
        steps = 3 if k == 1 else 4
        relative, of = V[:, k, :steps] / V[:, k, :1], bound[:, k, :steps] / V[:, k, :1]
        low, middle, high = ordered(relative)
        labels = ["networks: median, quartiles", "bound, loosest"]
        assert [look[:3] for look in looks(ax)] == [
            (labels[0], BLUE, "-"),
            (labels[1], VERMILION, ":"),
        ]
        for line, values in zip(ax.get_lines(), (middle, of.max(axis=0)), strict=True):
            np.testing.assert_array_equal(line.get_xdata(), range(steps))
            np.testing.assert_allclose(line.get_ydata(), values, rtol=1e-12)
        assert_band(ax.collections[0], BLUE, range(steps), low, high)
        assert words(ax) == ("Euler step $t$", "" if k else "‖s − s*‖ / its first value", title)
        assert (ax.get_xscale(), ax.get_yscale(), ax.get_ylim()) == ("linear", "log", (1e-16, 10))
        assert legend(ax) == labels
    plt.close("all")


def test_the_price_of_a_leak_is_drawn(ax):
    cost = pd.DataFrame({"leak": [0.0, 0.5], "certified": [0, 3], "learned": [4, 2]})
    stability.draw_cost(cost, 4, ax)
    assert points(ax) == [[[0, 0], [0.5, 0.75]], [[0, 1], [0.5, 0.5]]]
    labels = ["certified throughout", "learned"]
    assert [look[:3] for look in looks(ax)] == [
        (labels[0], BLUE, "-"),
        (labels[1], VERMILION, "--"),
    ]
    for area, counts in zip(ax.collections, ((0, 3), (4, 2)), strict=True):
        _, low, high = edges(area)
        intervals = [proportion_confint(count, 4, method="wilson") for count in counts]
        np.testing.assert_allclose([*zip(low, high, strict=True)], intervals, atol=1e-12)
    assert words(ax)[0] == "leak λ (1/τ)"
    assert ax.get_ylim() == (-0.03, 1.03)
    assert legend(ax) == labels
