import numpy as np
import pytest
import scipy.stats

import deep_nb
from deep_nb.analysis.criterion import epochs_to_criterion, learned, network_table, turnover
from deep_nb.analysis.statistics import (
    difference_of_medians,
    difference_of_shares,
    log_rank,
    median,
    share,
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


def test_log_rank_counts_censored_networks():
    """By hand: events at 1 and 2 against none; O − E = 2 − (1/2 + 1/3), V = 1/4 + 2/9."""
    z = (2 - 5 / 6) / np.sqrt(1 / 4 + 2 / 9)
    p = 2 * scipy.stats.norm.sf(z)
    assert log_rank([1, 2], [np.nan, np.nan], 10) == pytest.approx(p)
    assert log_rank([np.nan] * 3, [np.nan] * 3, 10) == 1.0


def test_turnover_counts_what_is_removed_and_what_grows_back(short_run):
    run = short_run.isel(seed=[0]).copy(deep=True)
    run["W_epochs"].loc[{"pre": "h0", "post": "h1", "snapshot": [2, 3]}] = 0
    counts = turnover(run)
    assert counts["removed"].values.tolist() == [[0, 1, 0, 0]]
    assert counts["regrown"].values.tolist() == [[0, 0, 0, 1]]
    with pytest.raises(ValueError, match="weights"):
        turnover(run.drop_vars(["W_epochs", "b_epochs"]).assign_attrs(record="[]"))
