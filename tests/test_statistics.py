import itertools

import numpy as np
import pytest
import scipy.optimize
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.duration.survfunc import survdiff

import deep_nb
from deep_nb.analysis.criterion import epochs_to_criterion, learned, network_table, turnover
from deep_nb.analysis.statistics import (
    difference_of_medians,
    difference_of_shares,
    holm,
    log_rank,
    mcnemar,
    median,
    paired_difference,
    share,
    tango,
    wilson,
)


def test_labels_alone_never_decide(short_run):
    run = short_run.copy(deep=True)
    run["mse_free"][:, -1] = [0.009, 0.01, 0.009]
    run["class_error_free"][:, -1] = [0.0, 0.0, 0.25]
    assert learned(run)[:, -1].values.tolist() == [True, False, False]


def test_the_table_is_about_the_final_weights():
    run = deep_nb.train("DEEP", "xor", seeds=range(12), hyper={"n_epochs": 30})
    table = network_table(run)
    X, Y = run["X"].values, run["Y"].values[:, 0]
    for seed in range(12):
        answer = deep_nb.predict(run.sel(seed=[seed]), X)
        outputs = answer["output"].values[0, :, 0]
        mse = ((outputs - Y) ** 2).sum() / 8
        wrong = (answer["label"].values[0, :, 0] != Y).mean()
        assert table.loc[seed, "MSE"] == pytest.approx(mse, abs=1e-12)
        assert table.loc[seed, "misclassified"] == wrong
        assert table.loc[seed, "learned"] == (mse < 0.01 and wrong == 0)
    assert table["learned"].any()
    assert not table["learned"].all()
    assert (table["connections"] == 48).all()


def test_the_table_has_each_network_under_its_seed():
    """One-hot outputs, of networks that lost synapses, beside one that diverged."""
    run = deep_nb.train("DEEP_oh", "and", seeds=[4, 7, 1], hyper={"n_epochs": 20})
    run["diverged"][1] = True
    run["W"].loc[{"seed": 1, "pre": "h0"}] = 0.0
    table = network_table(run)
    assert table.index.tolist() == [4, 7, 1]
    assert table["diverged"].tolist() == [False, True, False]
    assert table.loc[7, ["MSE", "misclassified"]].isna().all()
    assert not table.loc[7, "learned"]
    for seed in (4, 1):
        answer = deep_nb.predict(run.sel(seed=[seed]), run["X"].values)
        outputs, labels = answer["output"].values[0], answer["label"].values[0, :, 0]
        targets = [[1, 0], [1, 0], [1, 0], [0, 1]]  # AND
        assert table.loc[seed, "MSE"] == pytest.approx(((outputs - targets) ** 2).sum() / 8)
        assert table.loc[seed, "misclassified"] == (labels != [0, 0, 0, 1]).mean()
    alive = [(run["W"].sel(seed=seed) != 0).sum() for seed in (4, 7, 1)]
    assert table["connections"].tolist() == alive
    assert alive[2] < alive[0] == run["mask"].sum()


def test_a_diverged_network_has_not_learned(diverged_run):
    table = network_table(diverged_run)
    assert not table["learned"].any()
    assert table["diverged"].all()
    assert np.isnan(table["MSE"]).all()


def test_wilson_intervals_are_the_formula():
    """(p + z²/2n ± z √(p (1 − p)/n + z²/4n²)) / (1 + z²/n), Wilson 1927."""
    n, z = 100, 1.959963984540054
    k = np.array([[0, 22], [50, 100]])
    p = k / n
    half = z * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2)) / (1 + z**2 / n)
    middle = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    np.testing.assert_allclose(wilson(k, n), [p, middle - half, middle + half], atol=1e-12)
    assert share(22, 100) == tuple(wilson(k, n)[:, 0, 1])
    with pytest.raises(ValueError, match="successes must be an integer from 0 to 100, got 101"):
        share(101, 100)


def test_epochs_to_criterion_are_the_first_or_censored(short_run):
    run = short_run.copy(deep=True)
    run["mse_free"][:] = [[0.1, 0.009, 0.1, 0.009], [0.1, 0.1, 0.1, 0.009], [0.1] * 4]
    run["class_error_free"][:] = 0.0
    np.testing.assert_array_equal(epochs_to_criterion(run), [1, 3, np.nan])
    np.testing.assert_array_equal(epochs_to_criterion(run, 3), [1, np.nan, np.nan])


def test_difference_of_shares_is_newcombes_own_example():
    """Newcombe 1998, Statistics in Medicine 17:873, table II (a): 56/70 − 48/80, method 10."""
    estimate = difference_of_shares((56, 70), (48, 80))
    assert estimate == pytest.approx((0.2, 0.0524, 0.3339), abs=5e-5)
    assert difference_of_shares((0, 100), (0, 100)).low < 0 < share(0, 100).high


def pairs(both, first, second, neither):
    """Outcomes of which so many are of each kind."""
    a = [True] * (both + first) + [False] * (second + neither)
    b = [True] * both + [False] * first + [True] * second + [False] * neither
    return a, b


def test_mcnemar_is_the_exact_test_of_a_worked_example():
    """Armitage and Berry 1994, p. 127, two media for cultures: 12 against 2 of 50, p = 0.0129."""
    a, b = pairs(20, 12, 2, 16)
    assert mcnemar(a, b) == mcnemar(b, a) == pytest.approx(0.0129, abs=5e-5)
    assert mcnemar(a, b) == pytest.approx(2 * scipy.stats.binom.cdf(2, 14, 0.5), rel=1e-12)
    assert mcnemar(*pairs(5, 0, 0, 5)) == 1.0
    assert mcnemar(*pairs(3, 1, 1, 0)) == 1.0
    assert mcnemar(*pairs(10, 4, 13, 73)) == pytest.approx(0.049, abs=5e-5)


def score_by_likelihood(b, c, n, difference):
    """The score of a difference with the likelihood maximised numerically, given the difference."""

    def minus_log_likelihood(q):
        return -sum(
            count * np.log(p)
            for count, p in ((b, q + difference), (c, q), (n - b - c, 1 - difference - 2 * q))
            if count
        )

    inside = max(0.0, -difference) + 1e-13, (1 - difference) / 2 - 1e-13
    options = {"xatol": 1e-13}
    q = scipy.optimize.minimize_scalar(
        minus_log_likelihood, bounds=inside, method="bounded", options=options
    ).x
    variance = n * (2 * q + difference - difference**2)
    return (b - c - n * difference) / np.sqrt(variance)


@pytest.mark.parametrize(
    "counts", [(1, 1, 7, 12), (20, 12, 2, 16), (0, 40, 20, 100), (10, 4, 13, 73), (43, 0, 1, 0)]
)
def test_paired_intervals_end_where_the_score_is_196(counts):
    """Tango 1998: the ends are the differences that the score test just does not reject."""
    a, b = pairs(*counts)
    n, first, second = len(a), counts[1], counts[2]
    value, low, high = paired_difference(a, b)
    assert value == (first - second) / n
    for end, z in ((low, 1.959964), (high, -1.959964)):
        assert score_by_likelihood(first, second, n, end) == pytest.approx(z, abs=1e-4)
        assert tango(first, second, n, end) == pytest.approx(z, abs=1e-6)
    assert paired_difference(b, a) == pytest.approx((-value, -high, -low), abs=1e-9)
    assert tango(first, second, n, 0.0) == pytest.approx((first - second) / np.sqrt(first + second))


@pytest.mark.parametrize("n", [1, 5, 100])
def test_paired_intervals_without_discordant_pairs_have_a_closed_form(n):
    """q̂ = 0 for Δ > 0, so n Δ / (1 − Δ) = z²: the ends are ± z² / (n + z²)."""
    z2 = 1.959963984540054**2
    agree = [True] * n
    assert paired_difference(agree, agree) == pytest.approx((0, -z2 / (n + z2), z2 / (n + z2)))
    value, low, high = paired_difference(agree, [False] * n)
    assert (value, high) == (1.0, 1.0)
    assert -1 < low < 1


@settings(max_examples=50)
@given(st.tuples(*[st.integers(0, 30)] * 4).filter(any))
def test_paired_intervals_hold_the_estimate(counts):
    value, low, high = paired_difference(*pairs(*counts))
    assert -1 <= low <= value <= high <= 1


@pytest.mark.slow
def test_paired_intervals_cover():
    """Of 400 samples of 100 correlated pairs, 95 % of the intervals hold the truth, ± 4 σ."""
    rng = np.random.default_rng(3)
    kinds = rng.multinomial(100, [0.1, 0.05, 0.12, 0.73], size=400)
    covered = 0
    for both, first, second, neither in kinds:
        _, low, high = paired_difference(*pairs(both, first, second, neither))
        covered += low <= 0.05 - 0.12 <= high
    assert abs(covered - 380) <= 4 * np.sqrt(400 * 0.95 * 0.05)


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        ([True], [True, False], "first and second must have the same length, got 1 and 2"),
        ([0.5], [1], "first must be a 1-D array of True or False"),
        ([1], [], "second must be a 1-D array of True or False"),
        ([[1]], [[1]], "first must be a 1-D array of True or False"),
        ([np.nan], [1], "first must be a 1-D array of True or False"),
        (["a"], [1], "first must be"),
    ],
)
def test_outcomes_that_are_not_paired_are_refused(first, second, message):
    for function in (mcnemar, paired_difference):
        with pytest.raises(ValueError, match=f"^{message}"):
            function(first, second)


@pytest.mark.slow
def test_holm_is_the_step_down_procedure():
    """Holm 1979, by hand: the smallest p times n, the next times n − 1, never decreasing."""
    given_p = np.array([0.01, 0.04, 0.03, 0.005])
    np.testing.assert_allclose(holm(given_p), [0.03, 0.06, 0.06, 0.02], rtol=1e-12)
    assert holm([0.3]).tolist() == [0.3]
    assert holm([0.6, 0.9]).tolist() == [1.0, 1.0]
    for bad in ([], [1.5], [-0.1], [np.nan], [[0.1]]):
        with pytest.raises(ValueError, match="p_values must"):
            holm(bad)


@pytest.mark.slow
def test_bootstrap_intervals_are_repeatable_and_cover():
    """Of 200 samples of a known median, 95 % intervals hold it 95 % of the time, ± 4 σ."""
    rng = np.random.default_rng(1)
    samples = rng.exponential(size=(200, 50))
    intervals = [median(sample) for sample in samples]
    covered = sum(low < np.log(2) < high for _, low, high in intervals)
    assert 200 * 0.95 - 4 * 3.1 <= covered <= 200
    assert median(samples[0]) == median(samples[0])
    shifted = difference_of_medians(samples[0] + 5, samples[0])
    assert shifted.value == pytest.approx(5)
    assert shifted.low < 5 < shifted.high
    for bad in ([1.0], [1.0, np.nan], [[1.0, 2.0]]):
        with pytest.raises(ValueError, match="two or more finite values"):
            median(bad)


def of_resampled_median(n):
    """The probability of each of n distinct values, n odd, to be the median of a resample.

    A median is at most the k-th value if more than half of n draws are (B. Efron, 1979, Annals of
    Statistics 7:1).
    """
    return np.diff(scipy.stats.binom.sf((n - 1) // 2, n, np.arange(n + 1) / n))


@pytest.mark.parametrize("n", [7, 17, 19, 27])
def test_the_median_of_resamples_has_its_exact_interval(n):
    values = 2.0 ** np.arange(n)
    sums = np.cumsum(of_resampled_median(n))
    ends = [values[np.searchsorted(sums, end)] for end in (0.025, 0.975)]
    # Of 4999 resamples, the share below an end is within 4 σ of its probability.
    assert np.abs(sums[:, None] - [0.025, 0.975]).min() > 4 * np.sqrt(0.025 * 0.975 / 4999)
    assert median(np.random.default_rng(n).permutation(values)) == (values[n // 2], *ends)


def test_two_samples_are_resampled_independently():
    """Every pair of resamples, one by one."""
    first, second = (1.0, 2.0, 4.0, 9.0), (0.0, 1.0, 1.5, 5.0)
    medians = [
        np.array([np.median(draw) for draw in itertools.product(sample, repeat=4)])
        for sample in (first, second)
    ]
    differences = np.sort(np.subtract.outer(*medians).ravel())
    ends = []
    for end in (0.025, 0.975):
        near = differences[(len(differences) * np.array([end - 0.006, end + 0.006])).astype(int)]
        ends.append((near[0] - 1e-12, near[1] + 1e-12))
    estimate = difference_of_medians(first, second)
    assert estimate.value == 3.0 - 1.25
    assert ends[0][0] <= estimate.low <= ends[0][1]
    assert ends[1][0] <= estimate.high <= ends[1][1]
    assert ends[0][1] < ends[1][0]


@pytest.mark.parametrize(
    ("first", "second", "horizon"),
    [
        ([4, 5, 5, 6], [9, 12, np.nan, 15], 20),
        ([0, 3, 3, np.nan, 8, np.nan, 19], [3, 8, 8, np.nan, np.nan], 20),
        ([7, np.nan, 2, 2, 2, 9], [np.nan, np.nan, 9, 19, 4, 2, 2, 11], 20),
        ([9, np.nan], [9, 9, np.nan, 1], 10),
        ([10, 3, 7], [2, 10, np.nan, 10], 10),
    ],
)
def test_log_rank_is_the_one_of_statsmodels(first, second, horizon):
    times = np.array([*first, *second])
    status = ~np.isnan(times)
    group = np.repeat([0, 1], [len(first), len(second)])
    _, p = survdiff(np.where(status, times, horizon), status, group)
    assert log_rank(first, second, horizon) == pytest.approx(p, rel=1e-9)
    assert log_rank(second, first, horizon) == pytest.approx(p, rel=1e-9)


def test_log_rank_counts_censored_networks():
    """By hand: events at 1 and 2 against none; O − E = 2 − (1/2 + 1/3), V = 1/4 + 2/9."""
    z = (2 - 5 / 6) / np.sqrt(1 / 4 + 2 / 9)
    p = 2 * scipy.stats.norm.sf(z)
    assert log_rank([1, 2], [np.nan, np.nan], 10) == pytest.approx(p)
    assert log_rank([np.nan] * 3, [np.nan] * 3, 10) == 1.0
    assert log_rank([4, 4], [4, 4, 4], 10) == 1.0


def test_turnover_counts_what_is_removed_and_what_grows_back(short_run):
    run = short_run.isel(seed=[2, 0]).copy(deep=True)
    run["W_epochs"].loc[{"seed": 2, "pre": "h0", "post": ["h1", "y0"], "snapshot": [2, 3]}] = 0
    run["W_epochs"].loc[{"seed": 0, "pre": "x0", "post": "h1", "snapshot": [4]}] = 0
    run["W_epochs"].loc[{"seed": 0, "pre": ["x1", "h1"], "post": "h2", "snapshot": [0]}] = 0
    counts = turnover(run)
    assert counts["seed"].values.tolist() == [2, 0]
    assert counts["removed"].values.tolist() == [[0, 2, 0, 0], [0, 0, 0, 1]]
    assert counts["regrown"].values.tolist() == [[0, 0, 0, 2], [2, 0, 0, 0]]
    with pytest.raises(ValueError, match="weights"):
        turnover(run.drop_vars(["W_epochs", "b_epochs"]).assign_attrs(record="[]"))


def test_turnover_is_labelled_like_its_run(short_run):
    counts = turnover(short_run)
    for counted in counts.values():
        assert counted.dims == ("seed", "epoch")
    assert counts["epoch"].values.tolist() == short_run["epoch"].values.tolist()
    assert {*counts.coords} == {"seed", "epoch"}
    assert counts.attrs == short_run.attrs
