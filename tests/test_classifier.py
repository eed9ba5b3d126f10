import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import deep_nb
from deep_nb import DEEPClassifier
from deep_nb.dynamics import Phase, free_field
from deep_nb.engines import get_engine
from deep_nb.topology import complete

SMALL = DEEPClassifier(N_H=20, n_epochs=30, random_state=0)


@parametrize_with_checks([SMALL])
def test_scikit_learns_own_checks(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def iris():
    X, y = load_iris(return_X_y=True, as_frame=False)
    return MinMaxScaler().fit_transform(X), np.array(["setosa", "versicolor", "virginica"])[y]


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
    with pytest.raises(ValueError, match="model, rule and N_H cannot change"):
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
