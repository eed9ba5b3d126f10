"""Labelled data is taken by its labels, or refused; never by position against its labels."""

import time

import networkx as nx
import numpy as np
import pandas as pd
import pytest
import xarray as xr

import deep_nb
from deep_nb import analysis, plotting
from deep_nb._validation import in_order
from deep_nb.randomness import check_seeds

from .conftest import SHORT


@pytest.fixture(scope="module")
def mask():
    """Of a network of two inputs and two hidden neurons; not symmetric under any exchange."""
    run = deep_nb.train("DEEP", "or", seeds=0, hyper={**SHORT, "N_H": [2]})
    mask = run["mask"].copy()
    mask.loc[{"pre": "x0", "post": "h0"}] = False
    mask.loc[{"pre": "h1", "post": "y0"}] = False
    return mask


def trained(topology):
    return deep_nb.train("DEEP", "or", seeds=3, hyper={**SHORT, "N_H": [2]}, topology=topology)


def indexed(mask):
    return mask.to_pandas().set_axis(range(6), axis=0).set_axis(range(6), axis=1)


@pytest.mark.parametrize(
    "of",
    [
        lambda mask: mask,
        lambda mask: mask.T,
        lambda mask: mask[::-1, [3, 1, 0, 2, 5, 4]],
        lambda mask: mask[::-1].T,
        lambda mask: mask.variable.T,
        lambda mask: mask.rename(pre="a", post="b")[::-1, ::-1],
        lambda mask: mask.to_pandas(),
        lambda mask: mask.to_pandas().iloc[::-1, ::-1],
        lambda mask: mask.to_pandas().sort_index(axis=1),
        lambda mask: indexed(mask),
        lambda mask: indexed(mask).iloc[[2, 0, 1, 5, 4, 3], ::-1],
        lambda mask: nx.DiGraph([
            (str(mask["pre"].values[i]), str(mask["post"].values[j]))
            for i, j in np.argwhere(mask.values)[::-1]
        ]),
    ],
)  # fmt: skip
def test_a_topology_is_taken_by_its_labels(of, mask):
    expected = trained(mask.values)
    run = trained(of(mask))
    assert (run["mask"].values == mask.values).all()
    assert run.equals(expected)


@pytest.mark.parametrize(
    ("of", "message"),
    [
        (lambda mask: mask.to_pandas().rename(columns={"h0": "q"}), "post labels .*in any order"),
        (lambda mask: mask.to_pandas().rename(index={"h0": "h1"}), "pre labels .*in any order"),
        (lambda mask: mask.rename(post="to"), r"axes \('pre', 'to'\)"),
        (lambda mask: mask.to_pandas().iloc[:3], r"shape \(3, 6\)"),
        (lambda mask: mask.to_pandas().set_axis([True, False, 2, 3, 4, 5]), "pre labels"),
        (lambda mask: nx.DiGraph([(False, True), (2, 3)]), "has unknown neurons"),
    ],
)
def test_a_topology_with_other_labels_is_refused(of, message, mask):
    with pytest.raises(ValueError, match=f"^topology .*{message}"):
        trained(of(mask))


ROWS = [[0.1, 0.9], [0.3, 0.2], [1.0, 0.4]]


@pytest.mark.parametrize(
    "of",
    [
        lambda X: X,
        lambda X: X[["x1", "x0"]],
        lambda X: X.set_axis(list("cab"))[["x1", "x0"]],
        lambda X: X.set_axis([0, 1], axis=1)[[1, 0]],
        lambda X: X.rename_axis("sample").rename_axis("input", axis=1).unstack().to_xarray(),
        lambda X: X[["x1", "x0"]].rename_axis("sample").rename_axis("input", axis=1)
        .unstack().to_xarray().T,
    ],
)  # fmt: skip
def test_inputs_are_taken_by_the_names_of_their_columns(of, short_run):
    answer = deep_nb.predict(short_run, of(pd.DataFrame(ROWS, columns=["x0", "x1"])))
    assert (answer["S"] == deep_nb.predict(short_run, ROWS)["S"]).all()


def test_square_inputs_are_not_taken_for_their_transpose(short_run):
    X = short_run["X"].isel(sample=[1, 3])
    assert (deep_nb.predict(short_run, X.T)["S"] == deep_nb.predict(short_run, X.values)["S"]).all()


def test_nullable_columns_of_pandas_are_numbers(short_run, mask):
    """As `DataFrame.convert_dtypes` makes them."""
    whole, real = pd.array([1, 0], dtype="Int64"), pd.array([0.5, 1.0], dtype="Float64")
    table = pd.DataFrame({"x1": whole, "x0": real})
    expected = deep_nb.predict(short_run, [[0.5, 1], [1, 0]])
    xr.testing.assert_identical(deep_nb.predict(short_run, table), expected)
    labels = pd.DataFrame({"y0": [True, False]}).convert_dtypes()
    task = deep_nb.Task("nullable", table, labels)
    assert (task.X.tolist(), task.Y.tolist()) == ([[0.5, 1], [1, 0]], [[1], [0]])
    nullable = trained(mask.to_pandas().iloc[::-1].astype("boolean"))
    xr.testing.assert_equal(nullable["W"], trained(mask)["W"])


@pytest.mark.parametrize(
    "column",
    [pd.array([1, None], dtype="Int64"), pd.array([None, 1.5], dtype="Float64"), ["1", "0"],
     pd.array(["1", "0"], dtype="string"), [None, 1]],
    ids=str,
)  # fmt: skip
def test_columns_with_missing_numbers_or_of_other_types_are_refused(column, short_run):
    table = pd.DataFrame({"x0": [0.5, 1.0], "x1": column})
    with pytest.raises(ValueError, match=r"X .* must be (a plain array of real numbers|finite)"):
        deep_nb.predict(short_run, table)
    with pytest.raises(ValueError, match=r"X .* must be (a plain array of real numbers|finite)"):
        deep_nb.Task("refused", table, [[0], [1]])


def test_a_masked_topology_is_refused(mask):
    """The mask of a masked array hides entries, which would still be synapses."""
    masked = np.ma.array(mask.values, mask=True)
    with pytest.raises(ValueError, match=r"topology must be a boolean matrix .*, got MaskedArray"):
        trained(masked)


@pytest.mark.parametrize("columns", [["a", "b"], ["x1", "x2"], ["x0", "x0"], ["X0", "X1"]])
def test_inputs_of_other_names_are_refused(columns, short_run):
    X = pd.DataFrame(ROWS, columns=columns)
    with pytest.raises(ValueError, match=r"^X has the input labels .*'x1'\] in any order"):
        deep_nb.predict(short_run, X)
    assert deep_nb.predict(short_run, X.to_numpy())["label"].shape == (3, 3, 1)


def test_a_task_is_taken_by_its_labels():
    X = pd.DataFrame([[0, 1], [1, 1], [0, 0]], columns=["x0", "x1"], index=list("abc"))
    Y = pd.DataFrame([[1, 0], [0, 1], [1, 1]], columns=["y0", "y1"], index=list("abc"))
    for inputs, targets in (
        (X, Y),
        (X[["x1", "x0"]], Y[["y1", "y0"]]),
        (X.to_numpy(), Y[::-1].loc[list("abc")]),
        (X.set_axis(["left", "right"], axis=1), Y.set_axis(["y", "z"], axis=1)),
    ):
        task = deep_nb.Task("t", inputs, targets)
        assert task.X.tolist() == X.to_numpy().tolist()
        assert task.Y.tolist() == Y.to_numpy().tolist()
    with pytest.raises(ValueError, match="X and Y have different row labels"):
        deep_nb.Task("t", X, Y[::-1])
    with pytest.raises(ValueError, match="X and Y have different row labels"):
        deep_nb.Task("t", X, Y.reset_index(drop=True))
    with pytest.raises(ValueError, match=r"X has the input labels \['x1', 'x2'\]"):
        deep_nb.Task("t", X.set_axis(["x1", "x2"], axis=1), Y)


def test_a_task_of_a_runs_own_arrays(short_run):
    X, Y = short_run["X"], short_run["Y"]
    for inputs, targets in ((X, Y), (X.T, Y.T), (X[:, ::-1], Y)):
        task = deep_nb.Task("t", inputs, targets)
        assert (X.values == task.X).all()
        assert (Y.values == task.Y).all()
    with pytest.raises(ValueError, match="X and Y have different row labels"):
        deep_nb.Task("t", X, Y[::-1])


def test_matrices_with_contradicting_labels_are_refused(short_run):
    free = ["h0", "h1", "y0"]
    W = short_run["W"].sel(pre=free, post=free)
    needed = analysis.certifying_leak(W)
    assert (needed == analysis.certifying_leak(W.values)).all()
    for changed, message in (
        (W.transpose("seed", "post", "pre"), "axes pre and post last"),
        (W.isel(post=[1, 0, 2]), "same labels in rows and columns"),
        (W.isel(seed=0).to_pandas()[["h1", "h0", "y0"]], "same labels in rows and columns"),
    ):
        with pytest.raises(ValueError, match=f"^W must have the {message}"):
            analysis.certifying_leak(changed)
    J = W.transpose("seed", "post", "pre") - np.eye(3)
    assert (analysis.gershgorin(J).centres == -1).all()
    with pytest.raises(ValueError, match=r"^J must have the axes post and pre last"):
        analysis.spectrum(W - np.eye(3))


@pytest.fixture(scope="module")
def certified():
    """Jacobians of three networks with six neurons, and their certificates."""
    leaky = deep_nb.DEEP.replace(name="leaky", leak=5.0)
    run = deep_nb.train(leaky, "or", seeds=[3, 1, 2], hyper=SHORT)
    coords = {"seed": [3, 1, 2], "post": list("abcdef"), "pre": list("abcdef")}
    J = xr.DataArray(analysis.jacobian(run), coords=coords)
    return J, J[..., 0].drop_vars("pre").copy(data=analysis.diagonal_certificate(J.values))


def test_a_certificate_has_the_labels_of_its_jacobian(certified):
    J, D = certified
    rate = analysis.contraction_rate(J.values, 0.1, D.values)
    for given, weights in (
        (J, D),
        (J, D.to_pandas()),
        (J.values, D[::-1].copy(data=D.values)),
        (J, D.values),
        (J.drop_vars("seed"), D),
    ):
        assert (analysis.contraction_rate(given, 0.1, weights) == rate).all()
    one = J[0].to_pandas(), D[0].to_pandas()
    assert analysis.contraction_rate(one[0], 0.1, one[1]) == rate[0]
    for given, weights, message in (
        (one[0], one[1].iloc[[5, 0, 1, 2, 3, 4]], "J and D have different row labels"),
        (one[0].iloc[::-1, ::-1], one[1], "J and D have different row labels"),
        (one[0], one[1].reset_index(drop=True), "J and D have different row labels"),
        (J, D[::-1], "J and D have different matrix labels"),
        (J, D.to_pandas().iloc[::-1], "J and D have different matrix labels"),
        (J, D[:, ::-1], "J and D have different row labels"),
        (J[:, 3:, 3:].values, D[:, 3:].T, "D must have the axis post last"),
        (J, D[0], r"D must have shape \(3, 6\)"),
    ):
        with pytest.raises(ValueError, match=f"^{message}"):
            analysis.contraction_rate(given, 0.1, weights)


def test_a_weight_of_the_lyapunov_equation_has_the_labels_of_its_jacobian(certified):
    J, _ = certified
    Q = pd.DataFrame(np.diag(np.arange(1.0, 7)), index=J["post"], columns=J["pre"])
    P = analysis.lyapunov_matrix(J.values, Q.to_numpy())
    for given, weights in ((J, Q), (J.values, Q), (J, Q.to_numpy())):
        assert (analysis.lyapunov_matrix(given, weights) == P).all()
    with pytest.raises(ValueError, match=r"^J and Q have different column labels"):
        analysis.lyapunov_matrix(J, Q.iloc[::-1, ::-1])
    with pytest.raises(ValueError, match=r"^J and Q have different column labels"):
        analysis.lyapunov_matrix(J[0].to_pandas(), Q.iloc[[1, 0, 2, 3, 4, 5], [1, 0, 2, 3, 4, 5]])


def test_a_trajectory_is_taken_only_in_its_order():
    leaky = deep_nb.DEEP.replace(name="leaky", leak=5.0)
    run = deep_nb.train(leaky, "xor", seeds=range(2), hyper=SHORT)
    path = deep_nb.trajectory(run)
    analysis.energy(path, run)
    for changed in (
        path.isel(sample=[1, 0, 2, 3]),
        path.isel(neuron=[0, 1, 2, 4, 3, 5, 6, 7, 8]),
        path.drop_vars("neuron"),
    ):
        with pytest.raises(ValueError, match=r"^path must be of this run, with its neurons"):
            analysis.energy(changed, run)


def test_shares_are_not_drawn_over_the_places_of_others(short_run):
    ax = plotting.plot_mse(short_run)
    x, counts = pd.Series([0.0, 1.0]), pd.Series([5, 6], index=[1, 0])
    with pytest.raises(ValueError, match="x and successes have different row labels"):
        plotting.plot_shares(x, counts, 9, ax, "red", "-", "x")


@pytest.mark.parametrize(
    "seeds",
    [
        pd.Index([4, 2]),
        pd.Series([4, 2], index=[9, 8]),
        pd.Series([4, 2], dtype="Int64"),
        pd.DataFrame({"n": [1, 2]}, index=pd.Index([4, 2], name="seed")).index,
        pd.DataFrame({"n": [1, 2]}, index=pd.Index([4, 2], name="seed")).to_xarray()["seed"],
        np.array([4, 2]),
        (4, np.int64(2)),
    ],
)
def test_seeds_come_in_any_one_dimensional_container(seeds):
    run = deep_nb.train("DEEP", "id", seeds=seeds, hyper=SHORT)
    assert run["seed"].values.tolist() == [4, 2]
    again = deep_nb.train("DEEP", "id", seeds=run["seed"], hyper=SHORT)
    assert again.equals(run)
    assert deep_nb.train("DEEP", "id", seeds=run["seed"][1], hyper=SHORT).equals(run.isel(seed=[1]))
    assert plotting.plot_weights(run, seed=run["seed"][1]).get_title().startswith("Weights, seed 2")


@pytest.mark.parametrize(
    "seeds",
    [
        pd.Index([1.0, 2.0]),
        pd.Series([True, False]),
        pd.Series([1, None], dtype="Int64"),
        pd.DataFrame({"seed": [1, 2]}),
        pd.MultiIndex.from_tuples([(1, 2)]),
        pd.Index([], dtype=int),
        pd.Index([-1]),
        pd.Index([3, 3]),
        pd.RangeIndex(10**12),
        pd.Series,
    ],
)
def test_other_seeds_are_refused(seeds):
    with pytest.raises(ValueError, match="seed"):
        deep_nb.train("DEEP", "id", seeds=seeds, hyper=SHORT)


def test_the_matrices_of_an_energy_are_taken_by_their_labels(short_run, rng):
    free = short_run["post"].values[-6:]
    run = short_run.assign(W=0.1 * short_run["W"])
    coords = {"seed": run["seed"].values, "post": free, "pre": free}
    P = xr.DataArray(rng.uniform(size=(3, 6, 6)), dims=list(coords), coords=coords)
    path = deep_nb.trajectory(run)
    V = analysis.energy(path, run, P.values)
    assert np.isfinite(V).any(axis=(1, 2)).all()
    for other in (P, P[[2, 0, 1]], P[:, ::-1], P.transpose("pre", "seed", "post")[::-1]):
        xr.testing.assert_identical(analysis.energy(path, run, other), V)
    with pytest.raises(ValueError, match="P has the seed labels"):
        analysis.energy(path, run, P.assign_coords(seed=[4, 5, 6]))
    others = run.assign_coords(seed=[6, 7, 8])
    with pytest.raises(
        ValueError, match=r"P has the seed labels \[2, 1, 0\], expected \[6, 7, 8\]"
    ):
        analysis.energy(path.assign_coords(seed=[6, 7, 8]), others, P.assign_coords(seed=[2, 1, 0]))


def test_many_labels_are_ordered_and_compared_at_once():
    """Not in quadratic time, which would take half a minute."""
    n = 40_000
    table = pd.DataFrame(np.arange(2 * n).reshape(2, n), columns=range(n))
    start = time.perf_counter()
    ordered = in_order(table.iloc[:, ::-1], "X", sample=None, input="x")
    with pytest.raises(ValueError, match=f"seeds must be distinct, got {n - 1} more than once"):
        check_seeds([*range(n), n - 1])
    assert time.perf_counter() - start < 5
    assert (ordered == table.to_numpy()).all()
