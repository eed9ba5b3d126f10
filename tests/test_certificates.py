"""Diagonal certificates: three methods, each verified, from the fastest to the exact."""

import sys

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import deep_nb
from deep_nb.analysis import certificates
from deep_nb.analysis.certificates import certificate, certifying_leak
from deep_nb.analysis.matrices import contraction_rate, diagonal_certificate

from .conftest import refused
from .test_stability import dominant, weights

some = settings(max_examples=40)


@st.composite
def dissipative(draw):
    """A Jacobian whose symmetric part is negative definite, and any antisymmetric one."""
    n = draw(st.integers(2, 6))
    A = draw(arrays(float, (n, n), elements=st.floats(-2, 2)))
    B = draw(arrays(float, (n, n), elements=st.floats(-20, 20)))
    return -A @ A.T - draw(st.floats(0.01, 2)) * np.eye(n) + (B - B.T)


def is_certified(J, method):
    return bool(np.isfinite(certificate(J, method).D).all())


def largest_eigenvalue(J, D):
    """Of D^½ J D^−½ + its transpose, another way than the package: by a generalised problem."""
    product = D[:, None] * J
    values = np.linalg.eigvals((product + product.T) / D[:, None])
    return values.real.max()


def random_jacobians(n, count=60, seed=0, shift=1.2):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(count, n, n)) - shift * np.sqrt(n) * np.eye(n)


@pytest.mark.slow
@some
@given(dominant())
def test_the_program_certifies_what_the_comparison_matrix_does(J):
    assert is_certified(J, "comparison")
    assert is_certified(J, "sdp")


@pytest.mark.slow
@some
@given(dissipative())
def test_the_program_certifies_what_the_identity_does(J):
    assert is_certified(J, "identity")
    assert is_certified(J, "sdp")


@pytest.mark.slow
@given(weights, st.floats(0, 6))
def test_every_certificate_is_negative_definite(J, shift):
    J = (J - shift * np.eye(len(J))).round(9)  # the check below is another one, less exact
    for method in ("identity", "comparison", "sdp", "auto"):
        found = certificate(J, method)
        if found.method == "":
            assert np.isnan(found.D).all()
            continue
        assert found.method.item() == method or method == "auto"
        assert (found.D > 0).all()
        assert found.D.max() == 1
        margin = -largest_eigenvalue(J, found.D)
        assert margin > 0
        assert np.linalg.eigvals(J).real.max() < 1e-2  # defective eigenvalues: ε^(1/7)
        root = np.sqrt(found.D)
        size = np.linalg.norm(root[:, None] * J / root, 2)
        if margin > 1e-6 * size:  # then ρ² ≤ 1 − margin² / 4 size² is below 1 beyond rounding
            assert contraction_rate(J, margin / (2 * size**2), found.D) < 1


@pytest.mark.slow
@pytest.mark.parametrize("n", range(2, 7))
def test_methods_on_random_matrices(n):
    """D = I and the comparison matrix each certify some that the other does not."""
    J = random_jacobians(n)
    by = {
        method: np.isfinite(certificate(J, method).D).all(axis=1)
        for method in ("identity", "comparison", "sdp", "auto")
    }
    assert (by["sdp"] >= (by["identity"] | by["comparison"])).all()
    assert (by["auto"] == by["sdp"]).all()
    assert (by["sdp"] & ~by["identity"] & ~by["comparison"]).any()
    assert (by["identity"] & ~by["comparison"]).any()
    assert not by["sdp"].all()
    scaled = J * np.array([1.0, 50.0, 1.0, 0.02, 1.0, 9.0])[:n]  # other columns, the same matrices
    comparison = np.isfinite(certificate(scaled, "comparison").D).all(axis=1)
    assert (comparison == by["comparison"]).all()
    assert (np.isfinite(certificate(scaled, "sdp").D).all(axis=1) == by["sdp"]).all()
    assert not (np.isfinite(certificate(scaled, "identity").D).all(axis=1) == by["identity"]).all()


@pytest.mark.slow
@pytest.mark.parametrize("n", [3, 5])
def test_what_the_program_does_not_certify_nothing_does(n):
    """Either D exists, or some X ≽ 0, X ≠ 0, has (J X)_jj ≥ 0 for all j: the alternative."""
    import cvxpy as cp

    J = random_jacobians(n, count=25, seed=1, shift=0.9)
    methods = certificate(J, "sdp").method
    assert 0 < (methods == "").sum() < 25
    for matrix, method in zip(J, methods, strict=True):
        X, least = cp.Variable((n, n), PSD=True), cp.Variable()
        program = cp.Problem(cp.Maximize(least), [cp.trace(X) == 1, cp.diag(matrix @ X) >= least])
        program.solve(solver="SCS", eps=1e-9)
        assert (method == "sdp") == (least.value < 0)
        assert abs(least.value) > 1e-6  # well above the solver's tolerance


@pytest.mark.slow
@some
@given(weights)
def test_the_methods_of_a_stack_are_those_of_its_members(J):
    stack = np.stack([J - 3 * np.eye(len(J)), J, -np.eye(len(J)), J - 30 * np.eye(len(J))])
    for method in ("auto", "identity", "comparison", "sdp"):
        whole, parts = certificate(stack, method), [certificate(one, method) for one in stack]
        assert whole.method.tolist() == [part.method.item() for part in parts]
        np.testing.assert_allclose(whole.D, [part.D for part in parts], rtol=1e-9)
    deeper = certificate(stack[None], "comparison")
    assert deeper.D.shape == (1, 4, len(J))
    assert deeper.method.shape == (1, 4)
    np.testing.assert_array_equal(deeper.D[0], diagonal_certificate(stack))


def test_auto_takes_the_first_that_certifies():
    needs_all = random_jacobians(4)
    found = certificate(needs_all)
    identity, comparison = (
        np.isfinite(certificate(needs_all, method).D).all(axis=1)
        for method in ("identity", "comparison")
    )
    expected = np.where(identity, "identity", np.where(comparison, "comparison", "sdp"))
    has_one = found.method != ""
    assert (found.method[has_one] == expected[has_one]).all()
    assert {"identity", "sdp", ""} == {*found.method}
    assert (found.D[found.method == "identity"] == 1).all()


@pytest.mark.parametrize("scale", [1e-100, 1e-9, 1e9, 1e100])
def test_certificates_do_not_depend_on_units(scale):
    J = np.array([[[-1.0, 5.0], [-5.0, -1.0]], [[-2.0, 3.0], [0.0, -1.0]], [[-1.0, 2.0]] * 2])
    for method in ("auto", "identity", "comparison", "sdp"):
        found, scaled = certificate(J, method), certificate(scale * J, method)
        assert scaled.method.tolist() == found.method.tolist()
        np.testing.assert_allclose(scaled.D, found.D, rtol=1e-6)  # the solver's tolerance


def test_a_matrix_beyond_the_range_of_numbers_is_not_certified():
    J = np.array([[-1e-300, 1e300], [-1.0, -1.0]])
    assert certificate(J, "sdp").method == ""
    assert certificate(np.zeros((2, 2))).method == ""
    assert certificate(-np.eye(1)).D.tolist() == [1.0]


def test_a_singular_matrix_is_never_certified_by_the_solvers_tolerance(rng):
    """Published DEEP: the columns of J sum to 0."""
    W = rng.normal(size=(50, 6, 6)) * ~np.eye(6, dtype=bool)
    J = W.swapaxes(1, 2) - W.sum(axis=2)[:, None] * np.eye(6)
    J[:, range(6), range(6)] = -np.abs(W).sum(axis=2)  # negative, unlike most of DEEP's
    J = np.abs(J) * (1 - 2 * np.eye(6))
    assert np.abs(J.sum(axis=1)).max() < 1e-14
    for method in ("identity", "comparison", "sdp", "auto"):
        assert (certificate(J, method).method == "").all()


@pytest.mark.slow
@settings(max_examples=15)
@given(weights, st.sampled_from([0.0, 1.0]), st.booleans())
@example(np.full((2, 2), 1.0), 0.0, False)
def test_certifying_leaks_are_ordered(W, outflow, absolute):
    np.fill_diagonal(W, 0.0)
    leaks = {
        method: certifying_leak(W, outflow, absolute, 1e-8, method).item()
        for method in ("identity", "comparison", "sdp", "auto")
    }
    assert leaks["sdp"] <= min(leaks["identity"], leaks["comparison"])
    assert leaks["auto"] == leaks["sdp"]
    out = outflow * (np.abs(W) if absolute else W).sum(axis=1)
    J = W.T - np.diag(out)
    symmetric = max(0.0, np.linalg.eigvalsh((J + J.T) / 2).max())
    assert leaks["identity"] == pytest.approx(symmetric, abs=1e-7 * (1 + symmetric))
    for method in ("identity", "comparison"):
        assert is_certified(J - leaks[method] * np.eye(len(W)), method)
    assert is_certified(J - leaks["auto"] * np.eye(len(W)), "auto")
    below = 0.99 * leaks["sdp"] - 1e-3
    if below > 0:
        assert not is_certified(J - below * np.eye(len(W)), "auto")


@pytest.mark.slow
@given(arrays(float, (2, 2), elements=st.floats(-2, 2, allow_subnormal=False)))
@settings(max_examples=30)
def test_the_exact_leak_of_two_neurons_is_known_in_closed_form(W):
    """2 × 2: D exists if and only if the diagonal is negative and the determinant positive."""
    np.fill_diagonal(W, 0.0)
    a, d = -W.sum(axis=1)
    product = W[0, 1] * W[1, 0]
    assume(abs(product) > 1e-3)
    inside = (a - d) ** 2 / 4 + product
    roots = (a + d) / 2 + np.sqrt(max(inside, 0.0)) if inside > 0 else -np.inf
    exact = max(0.0, a, d, roots)
    found = certifying_leak(W, method="sdp", tolerance=1e-9).item()
    assert found == pytest.approx(exact, abs=2e-5)  # the solver's 1e-8, and a double root


def test_the_leak_of_a_hub_is_bracketed():
    """One neuron sends 10 to 29 others: the symmetric part has the eigenvalue 10 √29 / 2."""
    W = np.zeros((30, 30))
    W[0, 1:] = 10.0
    for star in (W, W.T):
        found = certifying_leak(star, outflow=0.0, method="identity").item()
        assert found == pytest.approx(5 * np.sqrt(29), rel=1e-9)
        assert is_certified(star.T - found * np.eye(30), "identity")


@pytest.mark.slow
def test_the_solvers_tolerance_costs_no_leak():
    """The comparison matrix is exact here, to more digits than the solver."""
    W = np.array([[0.0, 1.0, 0.3], [2.0, 0.0, 1.0], [0.1, 0.7, 0.0]])
    comparison, sdp = (
        certifying_leak(W, 0.0, tolerance=1e-14, method=method).item()
        for method in ("comparison", "sdp")
    )
    assert comparison == pytest.approx(np.linalg.eigvals(W).real.max(), rel=1e-12)
    assert comparison - 1e-6 < sdp <= comparison


@pytest.mark.slow
def test_leaks_of_a_stack_are_those_of_its_members(rng):
    W = rng.normal(size=(2, 3, 4, 4)) * ~np.eye(4, dtype=bool)
    for method in ("identity", "comparison", "sdp"):
        leaks = certifying_leak(W, method=method, tolerance=1e-6)
        assert leaks.shape == (2, 3)
        alone = [[certifying_leak(w, method=method, tolerance=1e-6) for w in row] for row in W]
        np.testing.assert_allclose(leaks, alone, rtol=1e-5)
    assert (certifying_leak(W) == certifying_leak(W, method="comparison")).all()


@pytest.mark.slow
def test_exact_leaks_of_learned_networks_are_smaller():
    """DEEP trained on XOR: the comparison matrix needs about 1.5 times the exact leak."""
    run = deep_nb.train("DEEP", "xor", seeds=range(20), hyper={"n_epochs": 50})
    W = run["W"].values[:, 3:, 3:]
    leaks = {m: certifying_leak(W, method=m, tolerance=1e-6) for m in certificates.METHODS}
    ratio = np.median(leaks["comparison"] / leaks["sdp"])
    assert 1.2 < ratio < 2.5
    assert (leaks["identity"] < leaks["comparison"]).any()
    assert (leaks["identity"] > leaks["comparison"]).any()


def test_without_cvxpy_only_the_program_is_missing(monkeypatch):
    J = random_jacobians(4)
    W = np.array([[0.0, 1.0], [-1.0, 0.0]])
    with_it = certificate(J)
    monkeypatch.setitem(sys.modules, "cvxpy", None)  # importing it fails
    without = certificate(J)
    found = with_it.method != "sdp"
    assert (without.method[found] == with_it.method[found]).all()
    assert (without.method[~found] == "").all()
    assert np.isnan(without.D[~found]).all()
    said = r"^the method 'sdp' needs cvxpy: pip install 'deep-nb\[sdp\]'$"
    for needs in (lambda: certificate(J, "sdp"), lambda: certifying_leak(W, method="sdp")):
        with pytest.raises(ModuleNotFoundError, match=said):
            needs()
    simple = [certifying_leak(W, method=method) for method in ("identity", "comparison")]
    assert certifying_leak(W, method="auto") == min(simple)


def test_an_unknown_method_is_answered_with_the_nearest():
    said = (
        r"^unknown method 'spd' \(did you mean 'sdp'\?\); allowed: auto, identity, comparison, sdp"
    )
    for call in (
        lambda: certificate(-np.eye(2), "spd"),
        lambda: certifying_leak(np.zeros((2, 2)), method="spd"),
    ):
        with pytest.raises(ValueError, match=said):
            call()


@pytest.mark.parametrize(
    "J",
    [
        [[-1, 1e100, 0], [0, -1, 1e100], [0, 0, -1]],
        [[-1, 1e200], [0, -1]],
        [[-1e300, 1e308], [1e308, -1e300]],
    ],
)
def test_entries_that_overflow_are_not_certified(J):
    assert np.isnan(diagonal_certificate(J)).all()
    assert certificate(J).method.tolist() == ""


@pytest.mark.parametrize("method", ["comparison", "identity"])
@pytest.mark.parametrize("size", [1e12, 1e17, 1e20])
def test_the_leak_certifies_however_large_the_weights(size, method):
    W = np.array([[0.0, size], [size, 0.0]])
    leak = float(certifying_leak(W, absolute_outflow=True, method=method))
    J = W - (size + leak) * np.eye(2)
    assert np.isfinite(certificate(J, method).D).all()
    assert leak <= 1 or leak / size < 1e-13  # no more than rounding asks for


def test_an_outflow_that_overflows_is_refused():
    with pytest.raises(ValueError, match="the outflow overflows: W or outflow is too large"):
        certifying_leak([[0, 1e308], [1e308, 0]], outflow=100.0)


def test_a_matrix_that_is_not_square_is_named():
    with refused("J must be square matrices, got shape (2, 3)"):
        certificate(np.zeros((2, 3)))


@pytest.mark.parametrize("method", ["identity", "comparison", "sdp"])
def test_without_need_of_a_leak_it_is_exactly_0(method):
    """A ring of two with more outflow than inflow: J = [[-2, 1], [1, -2]]."""
    W = [[[0.0, 1.0], [1.0, 0.0]], [[0.0, 9.0], [9.0, 0.0]]]
    assert certifying_leak(W, outflow=2.0, method=method).tolist() == [0.0, 0.0]


def test_the_program_has_no_solution_where_there_is_none():
    """All eigenvalues are negative, but no diagonal D makes DJ + JᵀD negative definite."""
    J = [[-1.0, 3.0, 0.0], [0.0, -1.0, 3.0], [-3.0, 0.0, -1.0]]
    assert np.linalg.eigvals(J).real.max() > -1  # a cycle of gain 27, beyond sec(π/3)³ = 8
    found = certificate(J, "sdp")
    assert np.isnan(found.D).all()
    assert found.method == ""
