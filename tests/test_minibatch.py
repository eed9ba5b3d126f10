"""The classifier's engine against the rules that define it, in every precision and library."""

import os
import subprocess
import sys

import array_api_strict
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import deep_nb
from deep_nb.engines import get_engine
from deep_nb.minibatch import RULES, Network, to_numpy
from deep_nb.problem import Problem
from deep_nb.rules import RULES as DEFINITIONS
from deep_nb.rules import State, learn
from deep_nb.topology import complete

MODELS = {
    "EP_asym": deep_nb.EP_asym,
    "leaky": deep_nb.DEEP.replace(name="leaky", leak=0.5),
    "absolute": deep_nb.DEEP.replace(name="absolute", leak=0.5, absolute_outflow=True),
    "sigmoid": deep_nb.EP_asym.replace(name="sigmoid", activation="sigmoid"),
    "tanh": deep_nb.EP_asym.replace(name="tanh", activation="tanh"),
}
CASES = [
    (model, rule)
    for model in MODELS
    for rule in RULES
    if MODELS[model].activation == "hard_sigmoid" or rule not in ("onesided", "asymep", "adjoint")
]

#: Batch sizes around the 16 samples that move together.
SIZES = [1, 5, 16, 17, 40]


def problem_of(model, rule, M, N_H=(9, 4), seed=0):
    """A problem of M samples with three features and three classes, and weights of a network."""
    rng = np.random.default_rng(seed)
    targets = np.eye(3)[rng.integers(0, 3, M)]
    targets[0] = 0, 0, 1  # all three classes, whatever is drawn
    task = deep_nb.Task("drawn", rng.uniform(size=(M, 3)), targets)
    hyper = {"T1": 60, "T2": 12, "dt": 0.2, "beta": 0.7, "beta_0": 0.1, "N_H": list(N_H)}
    model = MODELS[model].replace(rule=rule, one_hot=True)
    problem = Problem.of(model, task, {**dict(model.hyper), **hyper})
    mask = complete(problem.layout) & (rng.random(problem.mask.shape) < 0.8)
    problem = Problem.of(model, task, problem.hyper, topology=mask)
    W = np.where(problem.mask, rng.normal(0.05, 0.3, mask.shape), 0.0)
    b = rng.normal(0.1, 0.2, len(W)) * (np.arange(len(W)) >= problem.layout.N_X)
    return problem, W, b * model.learned_bias


def defined(problem, W, b, rate, weights):
    """The weights, biases and loss that the readable rules give: each sample's change, weighted."""
    relax = get_engine("reference", problem.layout.n_free, problem.model.activation)
    M, dW, db, loss = len(problem.X), np.zeros_like(W), np.zeros_like(b), 0.0
    for m in range(M):
        task = deep_nb.Task("one", problem.task.X[[m]], problem.Y[[m]])
        one = Problem.of(problem.model, task, problem.hyper, topology=problem.mask)
        start = np.full((1, 1, problem.layout.n_free), 0.05)
        free, change = learn(one, State(W[None], b[None], start), relax)
        dW += weights[m] / M * change.dW[0]
        db += weights[m] / M * change.db[0]
        loss += weights[m] * ((free.S[0, 0, -3:] - one.Y[0]) ** 2).sum() / 2
    return W + rate * dW, b + rate * db, loss


def learned(problem, W, b, rate, weights, dtype="float64", xp=np):
    """The same by the classifier's engine, as arrays of NumPy."""
    parts = [xp.asarray(a.astype(dtype)) for a in (W, b, problem.X, problem.Y, weights)]
    mask = xp.asarray(problem.mask)
    network = Network.of(*parts[:2], mask, problem.layout.N_X, problem.model, problem.hyper)
    loss = network.learn(*parts[2:4], rate, parts[4])
    found = network.weights()
    assert all(array.dtype == getattr(xp, dtype) for array in (*found, loss))
    return [to_numpy(array) for array in (*found, loss)]


def test_every_rule_has_its_counterpart():
    assert list(RULES) == list(DEFINITIONS)


@pytest.mark.parametrize("M", SIZES)
@pytest.mark.parametrize(("model", "rule"), CASES)
def test_a_batch_learns_what_the_rule_says(model, rule, M):
    """To the rounding of sums in another order: 1e-16, times the condition of the adjoint."""
    problem, W, b = problem_of(model, rule, M)
    weights = np.linspace(0.5, 1.5, M)
    expected = defined(problem, W, b, 3.0, weights)
    found = learned(problem, W, b, 3.0, weights)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-11 if rule == "adjoint" else 1e-13)
    assert np.abs(found[0] - W).max() > 1e-3
    assert not found[0][~problem.mask].any()


@pytest.mark.slow
@given(
    st.sampled_from(["centered", "onesided", "asymep"]),
    st.integers(1, 40),
    st.integers(1, 30),
    st.integers(),
)
def test_of_any_size(rule, M, N_H, seed):
    problem, W, b = problem_of("EP_asym", rule, M, (N_H,), seed % 1000)
    weights = np.ones(M)
    expected = defined(problem, W, b, 1.0, weights)
    for one, other in zip(learned(problem, W, b, 1.0, weights), expected, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-12)


@pytest.mark.slow
def test_networks_whose_products_are_made_in_parts():
    """1017 free neurons: products of more than a million multiply–adds."""
    problem, W, b = problem_of("EP_asym", "asymep", 3, (1000, 14))
    W = W / 20
    expected = defined(problem, W, b, 1.0, np.ones(3))
    for one, other in zip(learned(problem, W, b, 1.0, np.ones(3)), expected, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-12)


@pytest.mark.parametrize(("model", "rule"), CASES)
def test_single_precision_is_double_precision_rounded(model, rule):
    """The difference of two states, each rounded to 6e-8, is divided by 2β: 1e-7 a sample.

    60 + 12 steps add up rounding errors, which the leak forgets: less than ten times as much. The
    adjoint multiplies by the condition number instead, here below 100.
    """
    problem, W, b = problem_of(model, rule, 17)
    weights = np.linspace(0.5, 1.5, 17)
    single = learned(problem, W, b, 1.0, weights, "float32")
    double = learned(problem, W, b, 1.0, weights)
    for one, other in zip(single, double, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-5 if rule == "adjoint" else 1e-6)
    assert np.abs(single[0] - double[0]).max() > 1e-9  # it is another precision


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(("model", "rule"), CASES)
def test_another_array_library_computes_the_same(model, rule, dtype):
    """`array_api_strict` offers what the standard has, and nothing more."""
    problem, W, b = problem_of(model, rule, 5)
    weights = np.linspace(0.5, 1.5, 5)
    here = learned(problem, W, b, 1.0, weights, dtype)
    there = learned(problem, W, b, 1.0, weights, dtype, array_api_strict)
    tolerance = {"float64": 1e-11, "float32": 1e-5}[dtype]  # as above
    for one, other in zip(there, here, strict=True):
        np.testing.assert_allclose(one, other, atol=tolerance)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(("model", "rule"), CASES)
def test_torch_computes_the_same(model, rule, dtype):
    """Not installed for the tests: PyPI's PyTorch for Linux comes with gigabytes of CUDA."""
    torch = pytest.importorskip("torch")
    problem, W, b = problem_of(model, rule, 5)
    weights = np.linspace(0.5, 1.5, 5)
    here = learned(problem, W, b, 1.0, weights, dtype)
    there = learned(problem, W, b, 1.0, weights, dtype, torch)
    tolerance = {"float64": 1e-11, "float32": 1e-5}[dtype]
    for one, other in zip(there, here, strict=True):
        np.testing.assert_allclose(one, other, atol=tolerance)


#: scikit-learn lets arrays of other libraries through in a process that SciPy has been told of.
DISPATCHED = """
import sys
import array_api_strict as strict
import numpy as np
import pytest
import sklearn
from sklearn.datasets import load_iris
from sklearn.utils import estimator_checks
from deep_nb import DEEPClassifier
from deep_nb.minibatch import to_numpy

small = DEEPClassifier(N_H=8, n_epochs=5, noise=0.1, random_state=0)
if hasattr(estimator_checks, "check_array_api_same_namespace"):  # older ones ask for other things
    for name in ("input", "input_and_values", "same_namespace"):
        check = getattr(estimator_checks, f"check_array_api_{name}")
        check("DEEPClassifier", small, "array_api_strict")

sklearn.set_config(array_api_dispatch=True)
X, y = load_iris(return_X_y=True)
X = X / 8
names = np.array(["a", "b", "c"])[y]
there = strict.asarray(X, device=strict.Device("device1"))
for labels in (strict.asarray(y), y, names):
    for given in ({}, {"early_stopping": True}, {"dtype": "float32"}):
        model = sklearn.clone(small).set_params(**given)
        other = sklearn.clone(model).fit(X, to_numpy(labels))
        model.fit(there, labels)
        assert model.W_.device == there.device
        tolerance = 1e-5 if given.get("dtype") else 1e-12
        np.testing.assert_allclose(to_numpy(model.W_), other.W_, atol=tolerance)
        answers = model.predict(there)
        assert (to_numpy(answers) == other.predict(X)).all()
        assert isinstance(answers, np.ndarray) == (labels is names)
        shares = model.predict_proba(there)
        assert shares.device == there.device
        np.testing.assert_allclose(to_numpy(shares), other.predict_proba(X), atol=tolerance)
        assert to_numpy(model.prune(0.3).mask_).sum() == other.prune(0.3).mask_.sum()
        if not model.early_stopping:
            model.partial_fit(there, labels)
            with pytest.raises(ValueError, match="partial_fit.. must use the same namespace"):
                model.partial_fit(X, to_numpy(labels))
print("done")
"""


@pytest.mark.system
def test_scikit_learns_dispatch():
    environment = os.environ | {"SCIPY_ARRAY_API": "1"}
    command = [sys.executable, "-W", "error::RuntimeWarning", "-c", DISPATCHED]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.stdout.endswith("done\n"), done.stderr
