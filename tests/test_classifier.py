import itertools
import pickle
from unittest import mock

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler, scale
from sklearn.utils.estimator_checks import (
    check_class_weight_classifiers,
    check_sample_weight_equivalence_on_dense_data,
    parametrize_with_checks,
)

import deep_nb
from deep_nb import DEEPClassifier, analysis, minibatch
from deep_nb.dynamics import Phase, free_field
from deep_nb.engines import get_engine
from deep_nb.rules import RULES
from deep_nb.topology import complete

from .conftest import refused

SMALL = DEEPClassifier(N_H=20, n_epochs=30, random_state=0)
SINGLE = clone(SMALL).set_params(dtype="float32")


def out_of_reach(estimator):
    """Checks that cannot pass at these settings; the next test has settings at which they do."""
    return {
        "check_sample_weight_equivalence_on_dense_data": "batches of repeated samples are others",
        "check_class_weight_classifiers": "features up to 60 saturate the outputs at this dt_W",
    }


@pytest.mark.slow
@parametrize_with_checks([SMALL, SINGLE], expected_failed_checks=out_of_reach)
def test_scikit_learns_own_checks(estimator, check):
    check(estimator)


def test_scikit_learns_checks_of_weights():
    one_batch = clone(SMALL).set_params(batch_size=1000)
    check_sample_weight_equivalence_on_dense_data("DEEPClassifier", one_batch)
    check_class_weight_classifiers("DEEPClassifier", clone(SMALL).set_params(dt_W=0.01))


@pytest.fixture(scope="module")
def iris():
    X, y = load_iris(return_X_y=True, as_frame=False)
    return MinMaxScaler().fit_transform(X), np.array(["setosa", "versicolor", "virginica"])[y]


@pytest.mark.slow
def test_it_learns_in_a_pipeline_a_grid_search_and_cross_validation(iris):
    X, y = iris
    pipeline = make_pipeline(MinMaxScaler(), clone(SMALL).set_params(n_epochs=100))
    assert cross_val_score(pipeline, X, y, cv=3).mean() > 0.9
    grid = {"deepclassifier__rule": ["asymep", "adjoint"]}
    search = GridSearchCV(pipeline, grid, cv=2).fit(X, y)
    assert search.best_score_ > 0.9
    assert search.best_estimator_[-1].n_iter_ == 100


def test_answers_are_the_rest_points_of_the_models_own_field(iris):
    X, y = iris
    model = DEEPClassifier(model="EP_asym", N_H=10, n_epochs=5, T1=200, random_state=1).fit(X, y)
    field = free_field(model.W_[None], model.b_[None], X, deep_nb.EP_asym)
    relax = get_engine("reference", 13, "hard_sigmoid")
    S = relax(field, np.full((1, len(X), 13), 0.3), Phase(0.1, 2000)).S[0, :, -3:]
    np.testing.assert_allclose(model.decision_function(X), S, atol=1e-6)
    assert (model.predict(X) == model.classes_[S.argmax(axis=1)]).all()
    np.testing.assert_allclose(model.predict_proba(X).sum(axis=1), 1)


def test_two_classes_and_other_models(iris):
    X, y = iris
    X, y = X[:100], y[:100]
    leaky = deep_nb.DEEP.replace(name="leaky DEEP", leak=1.0)
    for model in (leaky, "EP_asym"):
        fitted = DEEPClassifier(model, N_H=5, n_epochs=20, random_state=0).fit(X, y)
        assert fitted.score(X, y) == 1.0
        scores = fitted.decision_function(X)
        assert scores.shape == (100,)
        assert ((scores > 0) == (fitted.predict(X) == "versicolor")).all()


def test_the_same_seed_gives_the_same_bits_and_survives_pickling(iris):
    X, y = iris
    first, second = (DEEPClassifier(N_H=8, n_epochs=3, noise=0.1, random_state=4) for _ in "ab")
    assert (first.fit(X, y).W_ == second.fit(X, y).W_).all()
    again = pickle.loads(pickle.dumps(first))
    assert (again.predict_proba(X) == first.predict_proba(X)).all()
    other = DEEPClassifier(N_H=8, n_epochs=3, noise=0.1, random_state=5).fit(X, y)
    assert (other.W_ != first.W_).any()
    quiet = DEEPClassifier(N_H=8, n_epochs=3, noise=0.0, random_state=4).fit(X, y)
    assert (quiet.W_ != first.W_).any()
    assert not first.W_[~complete(first.layout_)].any()  # no self-loops, nothing onto inputs


def test_partial_fit_continues(iris):
    X, y = iris
    model = DEEPClassifier(N_H=20, random_state=0)
    with pytest.raises(ValueError, match="first call of partial_fit needs all classes"):
        model.partial_fit(X, y)
    with pytest.raises(ValueError, match="not among the classes"):
        model.partial_fit(X, y, classes=["setosa", "virginica"])
    scores = []
    for _ in range(20):
        model.partial_fit(X, y, classes=np.unique(y))
        scores.append(model.score(X, y))
    assert model.n_iter_ == 20
    assert scores[-1] > 0.9 > scores[0]
    with pytest.raises(ValueError, match="classes cannot change from"):
        model.partial_fit(X, y, classes=["a", "b"])
    with pytest.raises(ValueError, match="not among the classes"):
        model.partial_fit(X[:2], ["rose", "setosa"])
    before = model.predict_proba(X)
    model.set_params(model="DEEP")
    assert (model.predict_proba(X) == before).all()  # with the dynamics it learned with
    with pytest.raises(ValueError, match="model, rule, N_H and dtype cannot change"):
        model.partial_fit(X, y)


def test_pruned_synapses_are_the_weakest_and_never_grow_back(iris):
    X, y = iris
    model = DEEPClassifier(N_H=10, n_epochs=20, random_state=0).fit(X, y)
    whole, n_synapses = model.W_.copy(), np.count_nonzero(complete(model.layout_))
    model.prune(0.25)
    left = model.W_ != 0
    assert left.sum() == round(0.25 * n_synapses)
    assert (model.W_[left] == whole[left]).all()
    assert np.abs(whole[left]).min() >= np.abs(whole[~left]).max()
    model.partial_fit(X, y)
    assert (model.W_[left] != whole[left]).any()
    assert not model.W_[~left].any()
    assert np.count_nonzero(model.prune(0.5).W_) == left.sum()  # what is gone stays gone
    assert np.count_nonzero(model.prune(0.1).W_) == round(0.1 * n_synapses)
    assert not model.prune(0).W_.any()
    for keep in (-0.1, 1.1, np.nan, "half", True, None):
        with pytest.raises(ValueError, match="keep must be a finite number from 0 to 1"):
            model.prune(keep)
    assert model.fit(X, y).mask_.sum() == n_synapses
    with pytest.raises(NotFittedError):
        DEEPClassifier().prune(0.5)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"N_H": 0}, "N_H"),
        ({"rule": "asymepp"}, "rule = 'asymepp'"),
        ({"model": "EP_sym"}, "did you mean 'EP_asym'"),
        ({"beta": 0.0}, "beta"),
        ({"batch_size": 0}, "batch_size"),
        ({"noise": -1.0}, "noise"),
        ({"W_scale": "big"}, "W_scale"),
        ({"early_stopping": 1}, "early_stopping"),
        ({"validation_fraction": 0.0}, "validation_fraction"),
        ({"validation_fraction": 1.0}, "validation_fraction"),
        ({"n_iter_no_change": 0}, "n_iter_no_change"),
        ({"tol": -1e-4}, "tol"),
        ({"dtype": "float16"}, "dtype = 'float16'.*did you mean 'float"),
        ({"dtype": np.float32}, "dtype"),
        ({"class_weight": "balance"}, "class_weight"),
        ({"class_weight": {"setosa": -1.0}}, "class_weight must not be negative"),
        ({"class_weight": {"rose": 2.0}}, "not in class_weight"),
    ],
)
def test_bad_parameters_are_named(iris, parameters, message):
    with pytest.raises(ValueError, match=message):
        DEEPClassifier(**parameters).fit(*iris)


def test_divergence_is_an_error_not_an_answer(iris):
    X, y = iris
    model = DEEPClassifier(dt_W=1e307, W_scale=1e-3, N_H=5, random_state=0)
    with pytest.raises(FloatingPointError, match="lower dt_W"):
        model.fit(1000 * X, y)
    with pytest.raises(NotFittedError):
        model.predict(X)
    fitted = clone(SMALL).fit(X, y)
    fitted.W_ = 1e300 * fitted.W_
    with pytest.raises(FloatingPointError, match="states overflow"):
        fitted.predict(1e300 * X)
    with pytest.raises(ValueError, match="two classes or more"):
        SMALL.fit(X[:20], y[:20])


def test_a_fit_that_fails_leaves_nothing_half_fitted(iris):
    X, y = iris
    model = clone(SMALL).fit(X, y)
    answers = model.predict(X)
    with pytest.raises(ValueError, match="n_epochs"):
        model.set_params(n_epochs=0).fit(X[:, :2], y)
    assert (model.set_params(n_epochs=30).predict(X) == answers).all()
    with pytest.raises(ValueError, match="two classes or more"):
        model.fit(X[:20, :2], y[:20])
    with pytest.raises(NotFittedError):
        model.predict(X[:, :2])


def test_answers_do_not_depend_on_parameters_set_after_fit(iris):
    X, y = iris
    model = clone(SMALL).fit(X, y)
    before = model.predict_proba(X)
    model.set_params(T1=1, dt=0.01, rule="rubbish", n_epochs=-5)
    assert (model.predict_proba(X) == before).all()


def test_shares_are_probabilities_where_outputs_can_be_negative(iris):
    X, y = iris
    tanh = deep_nb.EP_asym.replace(name="tanh", activation="tanh")
    model = DEEPClassifier(tanh, "contrastive", N_H=10, n_epochs=30, random_state=0).fit(X, y)
    assert (model.decision_function(X) < 0).any()
    shares = model.predict_proba(X)
    assert (shares >= 0).all()
    np.testing.assert_allclose(shares.sum(axis=1), 1)


def test_it_learns_from_standardised_features(iris):
    X, y = iris
    scaled = make_pipeline(StandardScaler(), DEEPClassifier(N_H=20, n_epochs=30, random_state=0))
    assert scaled.fit(X, y).score(X, y) > 0.9


def test_single_precision_is_kept_and_answers_as_double_precision_does(iris):
    """After ten passes, weights that start from the same draws still agree to 1e-4."""
    X, y = iris
    single, double = (
        DEEPClassifier(N_H=10, n_epochs=10, random_state=0, dtype=dtype).fit(X, y)
        for dtype in ("float32", "float64")
    )
    for array in (single.W_, single.b_, single.predict_proba(X), single.decision_function(X)):
        assert array.dtype == np.float32
    assert double.W_.dtype == double.predict_proba(X).dtype == np.float64
    np.testing.assert_allclose(single.W_, double.W_, atol=1e-4)
    np.testing.assert_allclose(single.predict_proba(X), double.predict_proba(X), atol=1e-4)
    assert np.abs(single.W_ - double.W_).max() > 1e-8
    assert single.prune(0.5).W_.dtype == np.float32
    assert (single.set_params(dtype="float64").predict_proba(X).dtype) == np.float32
    with pytest.raises(ValueError, match="dtype cannot change"):
        single.partial_fit(X, y)


def test_a_rule_that_minibatch_lacks_is_refused(iris):
    message = (
        "unknown rule of DEEPClassifier 'stdp'; "
        "allowed: contrastive, centered, onesided, asymep, adjoint"
    )
    with mock.patch.dict(minibatch.RULES):
        del minibatch.RULES["stdp"]
        with refused(message):
            DEEPClassifier(rule="stdp").fit(*iris)


# Weights of samples and classes


def fitted(X, y, sample_weight=None, **other):
    """Fitted in single batches, so that samples may be repeated."""
    given = {"N_H": 6, "n_epochs": 4, "batch_size": 1000, "random_state": 3, **other}
    return DEEPClassifier(**given).fit(X, y, sample_weight)


@pytest.mark.parametrize("rule", list(RULES))
def test_a_weight_of_two_is_the_sample_twice(iris, rule):
    X, y = iris[0][::5], iris[1][::5]
    weights = np.arange(len(X)) % 4  # some are left out
    weighted = fitted(X, y, weights, rule=rule)
    repeated = fitted(X.repeat(weights, axis=0), y.repeat(weights), rule=rule)
    np.testing.assert_allclose(weighted.W_, repeated.W_, atol=1e-10)
    np.testing.assert_allclose(weighted.b_, repeated.b_, atol=1e-10)
    np.testing.assert_allclose(weighted.loss_curve_, repeated.loss_curve_, rtol=1e-10)
    assert np.abs(weighted.W_ - fitted(X, y, rule=rule).W_).max() > 1e-4


def test_weights_count_in_proportion(iris):
    X, y = iris[0][::5], iris[1][::5]
    plain, weights = fitted(X, y, batch_size=16), np.arange(30) % 3 + 1.0
    for equal in (np.full(30, 0.1), [3] * 30, np.float32([2] * 30)):
        assert (fitted(X, y, equal, batch_size=16).W_ == plain.W_).all()
    once, tenfold = (fitted(X, y, k * weights, batch_size=16).W_ for k in (1, 10))
    np.testing.assert_allclose(tenfold, once, atol=1e-12)
    assert np.abs(once - plain.W_).max() > 1e-4


def test_samples_of_weight_zero_are_left_out_of_every_batch(iris):
    X, y = iris
    weights = (np.arange(150) % 3 > 0).astype(float)
    chosen = weights > 0
    without = fitted(X[chosen], y[chosen], batch_size=16, noise=0.1)
    assert (fitted(X, y, weights, batch_size=16, noise=0.1).W_ == without.W_).all()
    none = fitted(X, y, y != "virginica", batch_size=16)
    assert none.classes_.tolist() == ["setosa", "versicolor", "virginica"]
    assert "virginica" not in none.predict(X)


def test_weights_of_classes_multiply_those_of_samples(iris):
    X, y = iris[0][:90], iris[1][:90]  # 50 and 40
    of = {"setosa": 3.0, "versicolor": 0.5}
    weights = np.arange(90) % 2 + 1
    by_class = fitted(X, y, weights, class_weight=of)
    by_hand = fitted(X, y, weights * np.where(y == "setosa", 3.0, 0.5))
    assert (by_class.W_ == by_hand.W_).all()
    balanced = fitted(X, y, class_weight="balanced")
    by_hand = fitted(X, y, np.where(y == "setosa", 90 / 2 / 50, 90 / 2 / 40))
    np.testing.assert_allclose(balanced.W_, by_hand.W_, atol=1e-12)
    halved = fitted(X, y, class_weight={"versicolor": 0.5})
    np.testing.assert_allclose(
        halved.W_, fitted(X, y, np.where(y == "setosa", 2, 1)).W_, atol=1e-12
    )


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (np.zeros(150), "weight other than zero"),
        (-np.ones(150), "sample_weight must not be negative, got -1"),
        (np.ones(149), "one number per sample, 150, got 149"),
        (np.ones((150, 1)), "1 dimension"),
        (np.full(150, np.nan), "finite"),
        (["a"] * 150, "sample_weight"),
        (2.0, "1 dimension"),
    ],
)
def test_bad_weights_are_refused(iris, weights, message):
    for learn in (SMALL.fit, SMALL.partial_fit):
        given = {} if learn == SMALL.fit else {"classes": np.unique(iris[1])}
        with pytest.raises(ValueError, match=message):
            learn(*iris, sample_weight=weights, **given)


def test_partial_fit_takes_weights_of_samples_and_classes(iris):
    X, y = iris[0][::5], iris[1][::5]
    weights = np.arange(len(X)) % 3
    of = {"classes": np.unique(y)}
    given = {"N_H": 6, "batch_size": 1000, "random_state": 3}
    weighted = DEEPClassifier(**given).partial_fit(X, y, sample_weight=weights, **of)
    repeated = DEEPClassifier(**given).partial_fit(
        X.repeat(weights, axis=0), y.repeat(weights), **of
    )
    np.testing.assert_allclose(weighted.W_, repeated.W_, atol=1e-12)
    classes = {"setosa": 0.0, "versicolor": 1.0, "virginica": 1.0}
    some = DEEPClassifier(**given, class_weight=classes).partial_fit(X, y, **of)
    without = DEEPClassifier(**given).partial_fit(X[y != "setosa"], y[y != "setosa"], **of)
    assert (some.W_ == without.W_).all()
    only = y == "virginica"
    some.partial_fit(X[only], y[only])  # a batch need not have every class
    for parameter, value in (("class_weight", "balanced"), ("early_stopping", True)):
        with pytest.raises(ValueError, match=f"partial_fit does not support {parameter}"):
            DEEPClassifier(**given, **{parameter: value}).partial_fit(X, y, **of)


# Losses and early stopping


def test_the_loss_is_that_of_the_free_phase_before_each_change(iris):
    X, y = iris
    model, losses = DEEPClassifier(N_H=6, batch_size=1000, random_state=0), []
    targets = np.eye(3)[np.unique(y, return_inverse=True)[1]]
    model.partial_fit(X, y, classes=np.unique(y))
    for _ in range(3):
        outputs = model.decision_function(X)
        losses.append(((targets - outputs) ** 2).sum(axis=1).mean() / 2)
        model.partial_fit(X, y)
    np.testing.assert_allclose(model.loss_curve_[1:], losses, rtol=1e-10)
    whole = DEEPClassifier(N_H=6, n_epochs=5, random_state=0).fit(X, y)
    assert len(whole.loss_curve_) == whole.n_iter_ == 5
    assert whole.loss_curve_[-1] < whole.loss_curve_[0]
    assert whole.validation_scores_ is whole.best_validation_score_ is None


@pytest.mark.parametrize("size", [1, 7, 50])
def test_the_loss_of_a_pass_is_that_of_all_samples_whatever_the_batches(iris, size):
    """At a learning rate that changes nothing."""
    X, y = iris
    given = {"N_H": 6, "dt_W": 1e-100, "random_state": 0}
    batches, whole = (
        DEEPClassifier(batch_size=n, **given).partial_fit(X, y, classes=np.unique(y))
        for n in (size, 1000)
    )
    np.testing.assert_allclose(batches.loss_curve_, whole.loss_curve_, rtol=1e-10)


def test_early_stopping_ends_when_the_accuracy_no_longer_improves(iris):
    X, y = iris
    given = {"N_H": 10, "n_epochs": 60, "random_state": 1}
    early = {"early_stopping": True, "n_iter_no_change": 4, "validation_fraction": 0.2}
    model = DEEPClassifier(**given, **early).fit(X, y)
    scores = model.validation_scores_
    assert len(scores) == len(model.loss_curve_) == model.n_iter_ < 60
    assert model.best_validation_score_ == max(scores) > 0.8
    best, waited = -np.inf, []
    for score in scores:  # as in scikit-learn's MLPClassifier
        waited.append(waited[-1] + 1 if waited and score < best + 1e-4 else 0)
        best = max(best, score)
    assert waited[-1] == 5
    assert max(waited[:-1]) == 4
    assert all(round(30 * score, 9) % 1 == 0 for score in scores)  # of 30 samples
    again = DEEPClassifier(**given, **early).fit(X, y)
    assert (again.W_ == model.W_).all()


def set_aside(y, seed):
    """The indices of the samples learned from, and of those set aside."""
    return train_test_split(np.arange(len(y)), test_size=0.1, stratify=y, random_state=seed)


def test_early_stopping_returns_to_the_best_pass(iris, monkeypatch):
    """The samples set aside are those of scikit-learn's own split, of each class alike."""
    X, y = iris
    model = DEEPClassifier(N_H=10, n_epochs=30, dt_W=3.0, random_state=5)
    model.set_params(early_stopping=True, n_iter_no_change=6)
    passed, accuracy = [], model._accuracy

    def record(problem, weights):
        passed.append((model.W_, model.b_))
        return accuracy(problem, weights)

    monkeypatch.setattr(model, "_accuracy", record)
    model.fit(X, y)
    scores = np.array(model.validation_scores_)
    best = scores.argmax()  # the first, where later ones are equal
    assert model.n_iter_ == len(passed) < 30
    assert 0 < best < len(passed) - 1
    assert (passed[best][0] == model.W_).all()
    assert (model.b_ == passed[best][1]).all()
    _, aside = set_aside(y, 5)
    assert np.unique(y[aside], return_counts=True)[1].tolist() == [5, 5, 5]
    for (model.W_, model.b_), score in zip(passed, scores, strict=True):
        assert model.score(X[aside], y[aside]) == score


def test_samples_set_aside_count_by_their_weight(iris):
    X, y = iris
    weights = np.where(y == "setosa", 8.0, 1.0)
    given = {"N_H": 4, "n_epochs": 1, "dt_W": 1e-9, "random_state": 2, "early_stopping": True}
    model = DEEPClassifier(**given).fit(X, y, weights)
    _, aside = set_aside(y, 2)
    right = model.predict(X[aside]) == y[aside]
    assert model.validation_scores_ == [pytest.approx(np.average(right, weights=weights[aside]))]
    assert model.best_validation_score_ != pytest.approx(right.mean())


def test_early_stopping_with_too_few_samples_is_refused(iris):
    X, y = iris
    model = DEEPClassifier(early_stopping=True, random_state=0)
    with pytest.raises(ValueError, match="test_size"):
        model.fit(X[::15], y[::15])
    with pytest.raises(NotFittedError):
        model.predict(X)


def test_divergence_while_scoring_leaves_nothing_fitted(iris, monkeypatch):
    X, y = iris
    model = DEEPClassifier(early_stopping=True, N_H=5, n_epochs=1, random_state=0)
    overflow = mock.Mock(side_effect=FloatingPointError("states overflow"))
    monkeypatch.setattr(model, "_relaxed", overflow)
    with pytest.raises(FloatingPointError, match="states overflow"):
        model.fit(X, y)
    with pytest.raises(NotFittedError):
        model.predict(X)


# Contraction

PHASES = {
    "stdp": ["free", "+β"],
    "contrastive": ["free", "+β"],
    "centered": ["free", "+β", "-β"],
    "asymep": ["free", "+β", "-β"],
    "adjoint": ["free"],
}


@pytest.mark.parametrize("rule", PHASES)
@pytest.mark.parametrize("name", ["EP_asym", "DEEP", "contracting DEEP"])
def test_factors_are_those_of_the_analysis(iris, name, rule):
    """Of the linear part of each phase, in the better of two norms; see docs/stability.md."""
    model = DEEPClassifier(name, rule, N_H=6, n_epochs=2, beta=0.4, dt=0.2, random_state=0)
    model.fit(*iris)
    W = model.W_[model.layout_.N_X :, model.layout_.N_X :]
    outgoing = np.abs(W) if model.model_.absolute_outflow else W
    J = W.T - np.diag(model.model_.leak + model.model_.outflow * outgoing.sum(axis=1))
    outputs = np.diag([0.0] * 6 + [1.0] * 3)
    linear = {"free": J, "+β": J - 0.4 * outputs, "-β": J + 0.4 * outputs}
    if rule == "asymep":
        linear = {phase: part.T if phase != "free" else part for phase, part in linear.items()}
    found = model.contraction()
    assert [*found] == PHASES[rule]
    for phase, factor in found.items():
        norms = (analysis.euler_factor_l1, analysis.euler_factor_linf)
        assert factor == pytest.approx(min(float(norm(linear[phase], 0.2)) for norm in norms))
    assert model.contraction_curve_[-1] == max(found.values())


def test_a_certificate_is_that_of_the_phase_report():
    """The same weights, as a network of `train` and as a classifier's."""
    model = deep_nb.contracting_DEEP.replace(one_hot=True)
    for beta in (0.2, 0.3):  # below the leak, 0.25, and above
        hyper = {"N_H": 4, "n_epochs": 20, "beta": beta, "dt": 0.1}
        run = deep_nb.train(model, "or", seeds=[3], hyper=hyper)
        report = analysis.phase_report(run).sel(seed=3)
        given = {"N_H": 4, "beta": beta, "dt": 0.1, "n_epochs": 1, "random_state": 0}
        network = DEEPClassifier(model, **given).fit(run["X"].values, run["Y"].values[:, 0])
        network.W_ = run["W"].values[0]
        found = network.contraction()
        assert [*found] == report["phase"].values.tolist()
        by_norm = report["method"].isin(["l1", "linf"]).values
        assert (np.array([*found.values()]) < 1).tolist() == by_norm.tolist()
        assert network.certified_ == by_norm.all() == (beta < 0.25)
        for factor, proved in zip(found.values(), report["factor"].values, strict=True):
            if factor < 1:  # the report takes the first norm that proves it, not the better one
                assert factor <= proved * (1 + 1e-12)


def test_contracting_networks_learn_and_are_certified_at_every_pass(iris):
    X, y = scale(iris[0]), iris[1]
    network = DEEPClassifier.contracting(N_H=10, random_state=0).fit(X, y)
    assert network.score(X, y) > 0.95
    assert network.certified_
    # 1 − dt (λ − β) at −β, and 1 − dt λ in the other phases
    assert network.contraction() == pytest.approx({"free": 0.95, "+β": 0.95, "-β": 0.975})
    assert len(network.contraction_curve_) == network.n_iter_ == 50
    assert max(network.contraction_curve_) == pytest.approx(0.975)
    before = network.contraction_curve_[-1]
    network.partial_fit(X, y)
    assert len(network.contraction_curve_) == 51
    assert network.prune(0.2).certified_
    assert max(network.contraction().values()) <= before + 1e-12
    network.W_ = 50 * network.W_  # dt (λ + 2 o) is beyond 2
    assert not network.certified_
    assert not DEEPClassifier(N_H=10, random_state=0).fit(X, y).certified_
    with pytest.raises(NotFittedError):
        DEEPClassifier.contracting().contraction()
    assert not hasattr(DEEPClassifier(), "certified_")


def test_two_starts_of_a_certified_network_approach_by_its_factor(iris):
    X, y = scale(iris[0]), iris[1]
    network = DEEPClassifier.contracting(N_H=10, n_epochs=5, random_state=0).fit(X, y)
    clamped = np.c_[X, np.ones(len(X))]
    model = network.model_
    field = free_field(network.W_[None], network.b_[None], clamped, model)
    relax = get_engine("reference", 13, "hard_sigmoid")
    factor, distances = network.contraction()["free"], []
    starts = [np.full((1, len(X), 13), value) for value in (0.0, 1.0)]
    for _ in range(30):
        starts = [relax(field, S, Phase(network.dt, 1)).S for S in starts]
        distances.append(np.abs(starts[0] - starts[1]).sum(axis=2))
    for before, after in itertools.pairwise(distances):
        assert (after <= factor * before + 1e-14).all()


def test_settings_of_contracting_networks_can_be_replaced():
    network = DEEPClassifier.contracting(N_H=7, dt=0.02, random_state=1)
    assert (network.N_H, network.dt, network.beta, network.random_state) == (7, 0.02, 0.5, 1)
    assert network.model.name == "contracting DEEP"
    assert (network.model.leak, network.model.absolute_outflow) == (1.0, True)
    other = DEEPClassifier.contracting(model=deep_nb.contracting_DEEP.replace(leak=2.0), beta=1.5)
    assert (other.model.leak, other.beta) == (2.0, 1.5)
    assert clone(other).get_params() == other.get_params()
    assert DEEPClassifier().get_params()["model"] == "EP_asym"
    with pytest.raises(TypeError, match="unexpected keyword argument 'nois'"):
        DEEPClassifier.contracting(nois=0.1)
