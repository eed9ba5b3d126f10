"""Parameters of the notebooks: odd values work, or are refused at the start in one sentence.

The cells run in this process, without a kernel.
"""

import contextlib
import io
import json
import re
from pathlib import Path
from unittest import mock

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

import deep_nb
from deep_nb.experiments import (
    claims,
    common,
    contracting,
    corrections,
    gradients,
    real_data,
    sparsity,
    stability,
)

from .conftest import SHORT

NOTEBOOKS = Path(__file__).parent.parent / "notebooks"


def execute(name, parameters, cells=None):
    """Run the code cells of a notebook, by default all, and return what they print."""
    content = json.loads((NOTEBOOKS / f"{name}.ipynb").read_text(encoding="utf-8"))
    code = ["".join(cell["source"]) for cell in content["cells"] if cell["cell_type"] == "code"]
    namespace, printed = {}, io.StringIO()
    with plt.rc_context(), contextlib.redirect_stdout(printed):
        exec(code[0], namespace)
        assert set(parameters) <= set(namespace)
        namespace.update(parameters)
        for cell in code[1:cells]:
            exec(cell, namespace)
            plt.close("all")
    return printed.getvalue()


@pytest.mark.parametrize(
    ("name", "parameter", "value", "message"),
    [
        ("claims", "num_net", 1, "an integer from 2"),
        ("claims", "num_net", 1001, "at most 1000"),
        ("claims", "band_num_net", 9, "an integer from 10"),
        ("claims", "grid_num_net", 1, "an integer from 2"),
        ("claims", "grid_num_net", 1001, "at most 1000"),
        ("claims", "grid_factors", [], "not be empty"),
        ("claims", "grid_factors", 10.0, "sequence"),
        ("claims", "grid_factors", ["10"], "a finite number"),
        ("claims", "grid_factors", [1.0], "above 1"),
        ("claims", "grid_factors", [0.5], "from 1"),
        ("claims", "grid_factors", [3.0, 3.0], "distinct"),
        ("claims", "grid_N_H_factors", 2.0, "sequence"),
        ("claims", "grid_N_H_factors", [2.0, 2.0], "distinct"),
        ("contracting", "num_net", 0, "from 1"),
        ("contracting", "tasks", [], "not empty"),
        ("contracting", "tasks", ["xor", "nor"], "unknown task in tasks 'nor'"),
        ("contracting", "tasks", ["xor", "xor"], "distinct"),
        ("contracting", "architecture_tasks", "xor", "sequence"),
        ("contracting", "architecture_tasks", ["andd"], "did you mean 'and'"),
        ("contracting", "architecture_tasks", ["or", "id", "or"], "distinct"),
        ("contracting", "architecture_num_net", 2.0, "from 1"),
        ("contracting", "parity_bits", [], "not empty"),
        ("contracting", "parity_bits", [3, 5], "an integer from 2 to 4"),
        ("contracting", "parity_bits", [3.0], "an integer from 2 to 4"),
        ("contracting", "parity_bits", [[3]], "an integer from 2 to 4"),
        ("contracting", "parity_num_net", True, "from 1"),
        ("contracting", "noises", [], "not empty"),
        ("contracting", "noises", [0.1, -0.1], "each entry of noises"),
        ("contracting", "noises", [10.1], "from 0 to 10"),
        ("contracting", "bits", [1], "an integer from 2 to 16"),
        ("contracting", "bits", [4, 17], "an integer from 2 to 16"),
        ("contracting", "bits", 4, "sequence"),
        ("contracting", "kicks", [float("nan")], "each entry of kicks"),
        ("contracting", "kicks", ["0.1"], "each entry of kicks"),
        ("errata", "num_net", 0, "from 1"),
        ("errata", "num_net", 2.0, "from 1"),
        ("gradients", "num_net", 0, "from 1"),
        ("gradients", "n_epochs", 0, "from 1"),
        ("gradients", "nudges", [], "not empty"),
        ("gradients", "nudges", [0.1, 0.2], "must be one of"),
        ("gradients", "nudges", ["0.1"], "must be one of"),
        ("gradients", "betas", [], "not empty"),
        ("gradients", "betas", [0.1, 0.0], "above 0"),
        ("gradients", "align_epochs", [], "not empty"),
        ("gradients", "align_epochs", [20, -1], "each entry of align_epochs"),
        ("gradients", "align_epochs", [0, 19], "must reach epoch 20"),
        ("gradients", "mask_num_net", 0, "from 1"),
        ("gradients", "reciprocal", [], "not empty"),
        ("gradients", "reciprocal", [0.0, 0.3], "must be one of"),
        ("gradients", "search_num_net", -1, "from 0"),
        ("logical_operations", "num_net", 0, "from 1"),
        ("logical_operations", "num_net", True, "from 1"),
        ("logical_operations", "first_seed", -1, "from 0"),
        ("logical_operations", "first_seed", 2**32 - 9, "from 0"),
        ("real_data", "seeds", 0, "from 1"),
        ("real_data", "n_epochs", 0, "from 1"),
        ("real_data", "N_H", 0, "from 1"),
        ("real_data", "prune_epochs", -1, "from 0"),
        ("real_data", "n_jobs", 0, "from 1"),
        ("real_data", "n_jobs", -1, "from 1"),
        ("real_data", "mnist", 1, "True or False"),
        ("sparsity", "model", "deep", "did you mean 'DEEP'"),
        ("sparsity", "tasks", [], "not empty"),
        ("sparsity", "num_net", 1, "from 2"),
        ("sparsity", "n_epochs", 0, "from 1"),
        ("sparsity", "reg_W", [-1.0], "greater than or equal to 0"),
        ("sparsity", "tol_W", 0.1, "sequence"),
        ("sparsity", "temp", [0.0], "greater than 0"),
        ("sparsity", "draws", 0, "from 1"),
        ("stability", "num_net", 0, "from 1"),
        ("stability", "n_epochs", 0, "from 1"),
        ("stability", "leak", -1.0, "from 0"),
        ("stability", "leaks", [], "not empty"),
        ("stability", "leaks", [0.0, -1.0], "from 0"),
        ("stability", "task", "nor", "unknown task 'nor'"),
    ],
)
def test_values_that_cannot_work_are_refused_before_any_training(name, parameter, value, message):
    no_work = mock.Mock(side_effect=AssertionError("work was done"))
    with (
        mock.patch.object(deep_nb.training, "_train", no_work),
        pytest.raises(ValueError, match=message) as caught,
    ):
        execute(name, {parameter: value}, cells=2)
    assert re.search(rf"\b{parameter}\b", str(caught.value))
    assert "\n" not in str(caught.value)


def test_the_least_that_can_work_is_accepted():
    claims.check(2, 10, 2, 2, [1.001], [])
    claims.check(1000, 10, 1000, 1000, [10, 100], (2,))
    gradients.check(1, [10.0], [1e-9], [20], 0, num_net=1)
    corrections.check([0.5], mask_num_net=1)
    counts = {"num_net": 1, "architecture_num_net": 1, "parity_num_net": 1}
    contracting.check(["id"], ("or",), [2, 16], [0.0, 10.0], [0.0, 10], [2, 4], **counts)
    real_data.check(0, 1, False, seeds=1)
    real_data.check(0, 2, True, seeds=1)
    sparsity.check("DEEP", ["id"], {"reg_W": []}, 2, n_epochs=1)
    stability.check(0.0, [0.0], "id", num_net=1)


BRIEF = {"n_epochs": 2, "T1": 30, "T2": 20}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "parameters", "line"),
    [
        ("logical_operations", {"num_net": 1, "hyper": BRIEF}, "learned: 0 of 1 networks"),
        (
            "logical_operations",
            {"num_net": 1, "first_seed": 2**32 - 1, "hyper": BRIEF, "model": "DEEP_oh"},
            "smallest MSE: seed 4294967295",
        ),
        ("quickstart", {"n_epochs": 1}, "MSE in epoch 1, the last"),
        ("errata", {"num_net": 1}, "here, seed 0 twice: the same bits: True"),
        (
            "stability",
            {"num_net": 1, "n_epochs": 1, "leak": 0.0, "leaks": [0.0], "task": "id"},
            "certified: 0 of 1\n",
        ),
        (
            "contracting",
            {
                "num_net": 1, "tasks": ["id"], "architecture_tasks": ["id"],
                "architecture_num_net": 1, "parity_bits": [2], "parity_num_net": 1,
                "noises": [0.0, 0.0005, 10.0], "bits": [2, 16], "kicks": [0.0, 10.0],
            },
            "noise 0.05%",
        ),
        (
            "sparsity",
            {
                "num_net": 2, "n_epochs": 1, "draws": 1, "tasks": ["id"],
                "reg_W": [], "tol_W": [], "temp": [], "model": "EP_asym",
            },
            "EP_asym networks, 1 epochs",
        ),
        (
            "gradients",
            {
                "num_net": 1, "n_epochs": 1, "nudges": [0.01], "betas": [1.0],
                "align_epochs": [20], "mask_num_net": 1, "reciprocal": [0.5],
            },
            "leaky DEEP       asymep       median error at β = 1: ",
        ),
    ],
)  # fmt: skip
def test_odd_values_work(name, parameters, line):
    assert line in execute(name, parameters)


def test_a_single_split_has_no_interval():
    scores = pd.DataFrame({"data": ["Iris"], "model": ["MLP"], "seed": [0], "accuracy": [0.9]})
    scores = scores.assign(n_train=120, n_test=30, certified=None)
    row = real_data.accuracy_table(scores).iloc[0]
    assert row["accuracy"] == 0.9
    assert np.isnan([row["low"], row["high"]]).all()


def test_groups_that_a_model_does_not_have_are_left_out():
    run = deep_nb.train("EP_asym", "or", seeds=[0, 1], hyper=SHORT)
    kept = sparsity.kept_by_group(run)
    assert set(kept.index) == set(sparsity.GROUPS) - {"from the bias"}
    assert kept.notna().all()


def test_without_a_gradient_there_is_no_error():
    run = deep_nb.train("DEEP", "or", seeds=[0, 1], hyper=SHORT, record=("weights",))
    still = run.assign(W_epochs=0 * run["W_epochs"], W=0 * run["W"])
    assert np.isnan(gradients.gradient_error(still, [0.1], epoch=0)).all()


def test_lists_may_be_empty_where_that_has_a_meaning():
    assert common.entries([], "x") == common.entries((), "x") == []
    assert common.entries([1, 2], "x") == [1, 2]
    for value in ("ab", 3, None, {}):
        with pytest.raises(ValueError, match="x must be a sequence"):
            common.entries(value, "x")
