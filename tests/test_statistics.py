import numpy as np
import pytest

import deep_nb
from deep_nb.statistics import learned, network_table, wilson


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
    with pytest.raises(ValueError, match="k"):
        wilson(101, 100)
