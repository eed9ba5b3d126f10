import os
import re

import hypothesis
import matplotlib as mpl
import numpy as np
import pytest
import xarray as xr

import deep_nb

mpl.use("agg")

#: A command, which needs mutmut.
collect_ignore = ["mutants.py"]

# mutmut counts the calls in this process; those that tests start could not tell it theirs.
if os.environ.get("MUTANT_UNDER_TEST") == "stats":
    del os.environ["MUTANT_UNDER_TEST"]

# The same cases every time; `--hypothesis-profile=long` looks for new ones, `few` is for mutants.
hypothesis.settings.register_profile("repeatable", deadline=None, derandomize=True)
hypothesis.settings.register_profile("long", deadline=None, max_examples=2000)
hypothesis.settings.register_profile("few", deadline=None, derandomize=True, max_examples=8)
hypothesis.settings.load_profile("repeatable")

#: Long enough to move weights, short enough to train in a blink.
SHORT = {"n_epochs": 4, "T1": 40, "T2": 30}


def assert_same(run, other):
    """Every bit and every attribute, but for when and where it was trained."""
    bare = [r.assign_attrs(provenance="") for r in (run, other)]
    xr.testing.assert_identical(*bare)


def refused(message, error=ValueError):
    """Expect an error with exactly this message."""
    return pytest.raises(error, match=rf"\A{re.escape(message)}\Z")


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def short_run():
    return deep_nb.train("DEEP", "xor", seeds=range(3), hyper=SHORT, record=("weights",))


@pytest.fixture(scope="session", params=["DEEP", "DEEP_oh", "EP_asym"])
def model_run(request):
    """One short run of each model, on tasks with one and two inputs."""
    task = "not" if request.param == "EP_asym" else "and"
    return deep_nb.train(request.param, task, seeds=range(2), hyper=SHORT)


@pytest.fixture(scope="session")
def diverged_run():
    """Every weight overflows in epoch 0: the change and the L1 term have opposite signs."""
    with pytest.warns(RuntimeWarning, match="2 of 2 networks diverged"):
        return deep_nb.train(
            "DEEP",
            "xor",
            seeds=range(2),
            hyper={**SHORT, "dt_W": 1.7e308, "reg_W": 1.7e308},
            sign=True,
            regularized=True,
        )


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory):
    """Two experiments that train, and the folder of a batch of them that nobody disturbed."""
    from .test_faults import TRAINING, write_batch

    root = tmp_path_factory.mktemp("undisturbed")
    experiments = write_batch(root, TRAINING, TRAINING)
    jobs = deep_nb.replication.read_jobs(experiments)
    errors = [outcome.error for outcome in deep_nb.replication.replicate(jobs, root / "out", 2)]
    assert errors == ["", ""]
    return experiments, root / "out"
