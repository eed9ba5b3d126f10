"""Training in one kernel, against the loop over epochs that defines it: the same bits."""

import warnings

import numpy as np
import pytest

import deep_nb
from deep_nb import training
from deep_nb.engines import compiled
from deep_nb.kernels import epochs

from .test_training import bits

SHORT = {"n_epochs": 8, "T1": 40, "T2": 25}

FLAGS = [
    {}, {"sparse": True}, {"regularized": True}, {"sign": True}, {"layered": True},
    {"stop_criterion": True}, {"record": ["weights", "trajectories"]},
    {"stop_criterion": True, "record": ["trajectories"], "sparse": True},
]  # fmt: skip


def variants():
    """Published models, and each rule with both dynamics, of which the one has a leak."""
    models = {name: deep_nb.MODELS[name] for name in ("DEEP", "DEEP_oh", "EP_asym")}
    for rule in ("stdp", "contrastive", "centered", "onesided", "asymep"):
        hyper = deep_nb.DEEP.hyper.replace(beta=0.5, dt_W=3.0, beta_0=0.3)
        deep = deep_nb.DEEP.replace(rule=rule, leak=0.7, absolute_outflow=True, hyper=hyper)
        models[f"DEEP {rule}"] = deep
        models[f"EP {rule}"] = deep_nb.EP_asym.replace(rule=rule)
    for activation in ("sigmoid", "tanh"):
        models[activation] = deep_nb.DEEP.replace(activation=activation)
    return models


@pytest.fixture
def compare(monkeypatch):
    """Train in the kernel and epoch by epoch, assert the same bits, and return the run."""

    def train(model, task, seeds=(3, 1, 7), hyper=(), **options):
        arguments = {"seeds": seeds, "hyper": {**SHORT, **dict(hyper)}, "engine": "numba"}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # networks diverge
            by_epochs, in_kernel = training._train_epoch_by_epoch, training._train_in_kernel
            monkeypatch.setattr(training, "_train_epoch_by_epoch", None)
            run = deep_nb.train(model, task, **arguments, **options)
            monkeypatch.setattr(
                training, "_train_in_kernel", lambda log, *rest: by_epochs(log, *rest)
            )
            loop = deep_nb.train(model, task, **arguments, **options)
            monkeypatch.setattr(training, "_train_epoch_by_epoch", by_epochs)
            monkeypatch.setattr(training, "_train_in_kernel", in_kernel)
        assert bits(run) == bits(loop)
        return run

    return train


@pytest.mark.slow
@pytest.mark.parametrize("flags", FLAGS, ids=str)
@pytest.mark.parametrize("model", variants().values(), ids=variants())
def test_every_rule_and_flag(model, flags, compare):
    run = compare(model, "xor", hyper={"stop": 0.5, "tol_W": 0.05}, **flags)
    assert (run["dW_norm"].values[:, 0] > 0).all()
    if flags.get("stop_criterion"):
        assert (run["steps_free"].values < 40).any()


@pytest.mark.parametrize("compiled_for", ["few", "many"])
@pytest.mark.parametrize("hyper", [
    {"N_H": []}, {"N_H": [1]}, {"N_H": [2, 3]}, {"N_H": [12]}, {"N_H": [45]}, {"T1": 1, "T2": 1},
    {"T1": 17, "T2": 33}, {"beta": -2.0}, {"beta_0": 0.2}, {"n_epochs": 1}, {"dt": 5.0},
], ids=str)  # fmt: skip
def test_sizes_and_numbers(hyper, compiled_for, compare, monkeypatch):
    monkeypatch.setattr(compiled, "FEW", 100 if compiled_for == "few" else 0)
    compare("DEEP", "and", hyper=hyper)


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 3, 2), (11, 1, 3), (150, 3, 1)])
def test_tasks_of_any_size(shape, compare, rng):
    """Sums over many samples and neurons run in NumPy's order: in halves, eight at a time."""
    M, n_inputs, N_Y = shape
    task = deep_nb.Task("t", rng.uniform(size=(M, n_inputs)), rng.integers(0, 2, (M, N_Y)))
    for model in ("DEEP", "EP_asym"):
        compare(model, task, hyper={"N_H": [9], "dt_W": 0.5})
        compare(model, task, hyper={"N_H": [9], "dt_W": 0.5}, regularized=True, sparse=True)


def test_arrays_of_another_order_need_no_other_machine_code(compare, rng):
    """Columns of a table are in Fortran's order; compiling would take a while, without a word."""
    compare("EP_asym", deep_nb.Task("t", rng.uniform(size=(7, 3)), rng.integers(0, 2, (7, 2))))
    known = len(epochs.train_lanes.signatures)
    X, Y = rng.uniform(size=(3, 7)).T, rng.integers(0, 2, (2, 7)).T
    compare("EP_asym", deep_nb.Task("t", X, Y))
    assert len(epochs.train_lanes.signatures) == known


def test_many_networks_in_threads(compare, monkeypatch):
    monkeypatch.setattr(compiled, "NETWORKS", 5)
    run = compare("DEEP", "xor", seeds=range(23), threads=2)
    assert run["seed"].size == 23


@pytest.mark.parametrize("dt_W", [1e154, 1e308])
@pytest.mark.parametrize("activation", ["hard_sigmoid", "tanh"])
def test_networks_diverge_alike(activation, dt_W, compare):
    """Some at once and some later: the others go on, and weights and states stay as they were."""
    model = deep_nb.DEEP.replace(activation=activation)
    hyper = {"dt_W": dt_W, "n_epochs": 6}
    run = compare(model, "xor", seeds=range(9), hyper=hyper, record=["weights"])
    epochs = {*run["diverged_epoch"].values.tolist()}
    assert epochs == {1} if dt_W == 1e308 else epochs > {-1, 3}


def test_a_task_of_classes_is_judged_by_the_largest_output(compare, rng):
    task = deep_nb.Task(
        "t", rng.uniform(size=(7, 2)), np.array([[0], [1], [2], [0], [1], [2], [2]])
    )
    run = compare("DEEP_oh", task, hyper={"N_H": [4], "beta": 0.5, "dt_W": 1.0})
    assert len(set(run["class_error_free"].values.ravel())) > 2


def test_many_outputs_are_nudged_in_the_transposed_field(compare, rng):
    """Of several outputs and as many hidden neurons as a lane has not, so in both kernels."""
    task = deep_nb.Task("t", rng.uniform(size=(6, 3)), rng.integers(0, 2, (6, 3)))
    model = deep_nb.fast_contracting_DEEP.replace(rule="onesided")
    for N_H in (3, 45):
        run = compare(model, task, hyper={"N_H": [N_H], "beta": 3.0, "dt_W": 0.3})
        assert (run["dW_norm"].values > 0).any()


def test_random_numbers_are_those_of_numpy():
    """Beyond the 624 words that the generator makes at a time, from any position in them."""
    task = deep_nb.Task("t", np.zeros((50, 2)), np.zeros((50, 1)))
    run = deep_nb.train("DEEP", task, seeds=[5], engine="numba", record=["trajectories"],
                        hyper={"n_epochs": 9, "T1": 1, "T2": 1})  # fmt: skip
    stream = np.random.RandomState(5)
    stream.normal(size=(9, 9))
    for epoch in range(9):
        expected = stream.uniform(0, 0.1, (50, 6))
        assert run["S_epochs"].values[0, epoch, 0, :, 3:].tobytes() == expected.tobytes()


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 7, 8, 9, 128, 129, 136, 1000, 4225])
def test_sums_are_those_of_numpy(count, rng):
    terms = rng.normal(size=count) * 10.0 ** rng.integers(-8, 8, count)
    unused = np.empty(1)
    stacks = np.empty((64, 3), np.int64), np.empty(64), np.empty(64, np.int64)
    room = epochs.Room(*(unused,) * 6, terms, *(unused,) * 4, *stacks)
    assert epochs._sum(room, count) == terms.sum()
