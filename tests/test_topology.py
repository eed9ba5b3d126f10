import networkx as nx
import numpy as np
import pytest

import deep_nb
from deep_nb.topology import Layout, complete, custom, layered

XOR = Layout(n_inputs=2, bias=True, N_H=(2,), N_Y=1)
DEEPER = Layout(n_inputs=2, bias=True, N_H=(2, 3), N_Y=2)


def edges(mask, layout):
    return {(layout.labels[i], layout.labels[j]) for i, j in np.argwhere(mask)}


def test_labels_follow_the_order_of_neurons():
    assert XOR.labels == ["x0", "x1", "bias", "h0", "h1", "y0"]
    assert DEEPER.layer.tolist() == [0, 0, 0, 1, 1, 2, 2, 2, 3, 3]


@pytest.mark.parametrize("build", [complete, layered])
@pytest.mark.parametrize("layout", [XOR, DEEPER, Layout(1, False, (), 1)])
def test_no_self_loops_and_no_synapses_onto_inputs(build, layout):
    mask = build(layout)
    assert not mask.diagonal().any()
    assert not mask[:, : layout.N_X].any()


def test_complete_has_every_other_synapse():
    assert complete(XOR).sum() == 6 * 3 - 3


def test_layered_connects_neighbours_and_the_bias_to_all():
    assert edges(layered(XOR), XOR) == {
        ("x0", "h0"), ("x0", "h1"), ("x1", "h0"), ("x1", "h1"),
        ("bias", "h0"), ("bias", "h1"), ("bias", "y0"),
        ("h0", "y0"), ("h1", "y0"), ("y0", "h0"), ("y0", "h1"),
    }  # fmt: skip
    between = edges(layered(DEEPER), DEEPER)
    assert ("h0", "y0") not in between
    assert {("h0", "h2"), ("h2", "h0"), ("bias", "h4"), ("bias", "y1")} <= between


def test_layered_without_bias_neuron_lets_no_input_skip():
    layout = Layout(n_inputs=2, bias=False, N_H=(3,), N_Y=1)
    assert ("x1", "y0") not in edges(layered(layout), layout)


def train_on(topology, **more):
    hyper = {"N_H": [2], "n_epochs": 2, "T1": 9, "T2": 9}
    return deep_nb.train("DEEP", "xor", seeds=1, hyper=hyper, topology=topology, **more)


def test_a_graph_gives_the_mask_of_its_adjacency_matrix():
    graph = nx.DiGraph([("x0", "h0"), ("h0", "y0"), ("bias", "y0"), (4, "y0")])
    mask = np.zeros((6, 6), dtype=bool)
    mask[[0, 3, 2, 4], [3, 5, 5, 5]] = True
    assert train_on(graph).equals(train_on(mask))


def test_a_topology_is_copied():
    mask = complete(XOR)
    made = custom(mask, XOR)
    mask[3, 5] = False
    assert made[3, 5]


def test_absent_synapses_stay_absent():
    mask = complete(XOR)
    mask[3, 5] = False
    run = train_on(mask, record=("weights",), regularized=True, sparse=True, sign=True)
    assert (run["W_epochs"].sel(pre="h0", post="y0") == 0).all()
    assert run["n_connections"].max() <= mask.sum()


@pytest.mark.parametrize(
    ("topology", "message"),
    [
        (np.ones((6, 6), dtype=bool), "forbidden synapses, the first from x0 to x0"),
        (np.zeros((5, 5), dtype=bool), r"shape \(6, 6\).*got ndarray of bool and shape \(5, 5\)"),
        (np.zeros((6, 6)), "boolean matrix.*float64"),
        ("complete", "boolean matrix"),
        (nx.Graph([("x0", "h0")]), "directed graph"),
        (nx.DiGraph([("x0", "h9")]), r"unknown neurons \['h9'\]; allowed: x0, x1, bias"),
        (nx.DiGraph([("h0", "x1")]), "the first from h0 to x1"),
    ],
)
def test_bad_topologies_are_refused(topology, message):
    with pytest.raises(ValueError, match=message):
        train_on(topology)


def test_layered_and_a_topology_contradict():
    with pytest.raises(ValueError, match="not both"):
        train_on(complete(XOR), layered=True)
