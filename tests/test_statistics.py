import numpy as np

from deep_nb.statistics import learned, network_table


def test_labels_alone_never_decide(short_run):
    run = short_run.copy(deep=True)
    run["mse_free"][:, -1] = [0.009, 0.01, 0.009]
    run["class_error_free"][:, -1] = [0.0, 0.0, 0.25]
    assert learned(run)[:, -1].values.tolist() == [True, False, False]
    table = network_table(run)
    assert table["learned"].tolist() == [True, False, False]
    assert table.index.tolist() == [0, 1, 2]
    assert table["MSE"].tolist() == [0.009, 0.01, 0.009]
    assert table["misclassified"].tolist() == [0, 0, 0.25]
    assert table["connections"].tolist() == run["n_connections"][:, -1].values.tolist()


def test_a_diverged_network_has_not_learned(diverged_run):
    table = network_table(diverged_run)
    assert not table["learned"].any()
    assert table["diverged"].all()
    assert np.isnan(table["MSE"]).all()
