"""Theorems as properties: hypothesis looks for a network that breaks one."""

import re

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from click.testing import CliRunner
from hypothesis import assume, example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import deep_nb
from deep_nb import claims, plotting
from deep_nb.analysis import stability
from deep_nb.analysis.certificates import certifying_leak
from deep_nb.analysis.energies import energy
from deep_nb.analysis.matrices import (
    comparison_matrix,
    contraction_rate,
    diagonal_certificate,
    gershgorin,
    lyapunov_matrix,
    max_stable_dt,
    spectrum,
)
from deep_nb.analysis.stability import (
    field_after,
    jacobian,
    rest_point,
    settle,
    stability_report,
    step_is_stable,
)
from deep_nb.cli import main
from deep_nb.dynamics import Field, hard_sigmoid, vector_field

from .conftest import SHORT, refused

EPS = np.finfo(float).eps
numbers = st.floats(-2, 2, allow_subnormal=False)
weights = st.integers(1, 7).flatmap(lambda n: arrays(float, (n, n), elements=numbers))
positive = st.floats(0.1, 10)


@st.composite
def dominant(draw):
    """A Jacobian that is strictly diagonally dominant after a scaling of its columns."""
    J = draw(weights)
    n = len(J)
    scale = draw(arrays(float, n, elements=positive))
    np.fill_diagonal(J, 0.0)
    J = J / scale[None, :]
    margin = draw(st.floats(0.01, 2))
    np.fill_diagonal(J, -(np.abs(J) @ scale / scale) - margin)
    return J


@st.composite
def certified_network(draw):
    """A field with a certificate, a step at which it contracts, and two starts in the box."""
    J = draw(dominant())
    n = len(J)
    dt = draw(st.floats(0.05, 0.5)) / np.abs(J).sum(axis=0).max()
    unit = arrays(float, (1, 2, n), elements=st.floats(0, 1))
    drive = draw(arrays(float, (1, 2, n), elements=numbers))
    W = J.T - np.diag(J.diagonal())
    return Field(W[None], drive, -J.diagonal()[None]), J, dt, draw(unit), draw(unit)


def is_certified(J):
    return np.isfinite(diagonal_certificate(J)).all()


def squared_norm(away, D):
    return (D * away**2).sum(axis=-1)


def step(field, S, dt):
    return hard_sigmoid(S + dt * vector_field(field, S))


@given(weights)
def test_every_eigenvalue_lies_in_a_disc(J):
    eigenvalues, discs = spectrum(J).eigenvalues, gershgorin(J)
    for radii in (discs.row_radii, discs.column_radii):
        distance = np.abs(eigenvalues[:, None] - discs.centres[None])
        # Defective eigenvalues are computed to about ε^(1/n) only.
        slack = 10 * (EPS * max(1.0, np.abs(J).max())) ** (1 / len(J))
        assert ((distance - radii[None]).min(axis=1) <= slack).all()


@given(weights)
def test_passed_gershgorin_tests_prove_hurwitz(J):
    discs = gershgorin(J)
    assert not (discs.rows or discs.columns) or spectrum(J).abscissa < 0


@given(dominant())
def test_the_certificate_is_negative_definite(J):
    D = diagonal_certificate(J)
    assert (D > 0).all()
    assert D.max() == 1
    assert np.linalg.eigvalsh(D[:, None] * J + (D[:, None] * J).T).max() < 0
    assert spectrum(J).hurwitz


@given(weights)
def test_the_certificate_exists_exactly_for_m_matrices(J):
    """M(J) is a nonsingular M-matrix iff −M(J), with J's own diagonal, has abscissa < 0."""
    metzler = np.abs(J)
    np.fill_diagonal(metzler, J.diagonal())
    abscissa = np.linalg.eigvals(metzler).real.max()
    if abs(abscissa) > 1e-6:  # clear of the rounding of a double eigenvalue
        assert is_certified(J) == (abscissa < 0)


@pytest.mark.slow
@given(certified_network())
def test_the_clipped_step_contracts_in_the_certificates_norm(network):
    field, J, dt, a, b = network
    D = diagonal_certificate(J)
    rho = contraction_rate(J, dt)
    before = np.sqrt(squared_norm(a - b, D))
    after = np.sqrt(squared_norm(step(field, a, dt) - step(field, b, dt), D))
    assert (after <= rho * before * (1 + 1e-9) + 1e-13).all()  # dt · drive ≤ 100, rounded


@pytest.mark.slow
@given(certified_network())
def test_energy_falls_at_every_clipped_step_below_its_bound(network):
    field, J, dt, S, other = network
    D, rho = diagonal_certificate(J), contraction_rate(J, dt)
    rest = settle(field, dt, start=S)
    assume(rest.found.all() and rho < 1)
    V = squared_norm(S - rest.S, D)
    first = V
    for t in range(1, 60):
        S = step(field, S, dt)
        V, previous = squared_norm(S - rest.S, D), V
        # s* is known to 1e-9 / (1 − ρ) at worst; energies below its square are rounding.
        floor = (1e-8 / (1 - rho)) ** 2
        assert (previous + floor >= V).all()
        assert (rho ** (2 * t) * first * (1 + 1e-9) + floor >= V).all()
    again = settle(field, dt, start=other)
    assume(again.found.all())
    assert np.abs(again.S - rest.S).max() <= 1e-7 / (1 - rho)


@given(dominant())
def test_lyapunov_matrix_solves_its_equation(J):
    n = len(J)
    P = lyapunov_matrix(J)
    residual = J.T @ P + P @ J + np.eye(n)
    assert np.abs(residual).max() <= 1e-9 * (1 + np.abs(P).max() * np.abs(J).max())
    assert np.linalg.eigvalsh((P + P.T) / 2).min() > 0


@given(dominant())
def test_max_stable_dt_is_where_the_iteration_loses_stability(J):
    dt = max_stable_dt(J)
    radius = [np.abs(np.linalg.eigvals(np.eye(len(J)) + f * dt * J)).max() for f in (0.99, 1.01)]
    assert radius[0] < 1 + 1e-9
    assert radius[1] > 1 - 1e-9


@pytest.mark.slow
@given(weights, st.sampled_from([0.0, 0.5, 1.0]), st.booleans())
def test_certifying_leak_is_minimal(W, outflow, absolute):
    """It is also the Perron root of |W|' minus the outflow, where that is positive."""
    np.fill_diagonal(W, 0.0)
    n = len(W)
    leak = certifying_leak(W, outflow, absolute)
    out = outflow * (np.abs(W) if absolute else W).sum(axis=1)
    J = W.T - np.diag(out)
    root = np.linalg.eigvals(np.abs(W).T - np.diag(out)).real.max()
    assert leak == pytest.approx(max(root, 0.0), abs=1e-5)
    assert is_certified(J - leak * np.eye(n))
    if leak > 1e-3:
        assert not is_certified(J - 0.999 * leak * np.eye(n))


@given(weights)
@example(np.full((2, 2), 1e-299))
@example(np.array([[0.0, 2.0], [2e-299, 0.0]]))
def test_published_deep_is_never_certified(W):
    """λ = 0, γ = 1: the columns of J sum to 0, whatever the weights."""
    np.fill_diagonal(W, 0.0)
    J = W.T - np.diag(W.sum(axis=1))
    assert np.abs(J.sum(axis=0)).max() <= 10 * EPS * np.abs(J).sum()
    discs = gershgorin(J)
    assert not discs.rows
    assert not discs.columns
    assert not spectrum(J).hurwitz
    assert not is_certified(J)
    assert max_stable_dt(J) == 0


def test_stacks_are_their_members(rng):
    J = rng.normal(size=(20, 4, 4)) - 3 * np.eye(4)
    stacked = diagonal_certificate(J)
    assert 0 < np.isnan(stacked).any(axis=1).sum() < 20
    for k in range(20):
        alone = diagonal_certificate(J[k])
        np.testing.assert_allclose(stacked[k], alone, rtol=1e-12)
        assert np.isnan(alone).all() == np.isnan(contraction_rate(J, 0.1)[k])
        np.testing.assert_allclose(lyapunov_matrix(J)[k], lyapunov_matrix(J[k]), rtol=1e-12)
        assert spectrum(J).hurwitz[k] == spectrum(J[k]).hurwitz
    W = rng.normal(size=(5, 4, 4)) * ~np.eye(4, dtype=bool)
    np.testing.assert_allclose(certifying_leak(W), [certifying_leak(w) for w in W], rtol=1e-9)


def test_comparison_matrix_by_hand():
    J = np.array([[-2.0, 1.0], [-0.5, 3.0]])
    assert comparison_matrix(J).tolist() == [[2, -1], [-0.5, 3]]


@pytest.fixture(scope="module")
def leaky_run():
    leaky = deep_nb.DEEP.replace(name="leaky DEEP", leak=1.5)
    hyper = {"n_epochs": 5, "T1": 400, "T2": 300}
    return deep_nb.train(leaky, "or", seeds=range(6), hyper=hyper, record=("weights",))


def test_energy_along_a_run_falls_in_both_phases(leaky_run):
    path = deep_nb.trajectory(leaky_run)
    V = energy(path, leaky_run)
    assert (V.name, V.dims) == ("V", ("seed", "step", "sample"))
    assert V.attrs == {"long_name": "Lyapunov energy", "units": "1"}
    assert np.isfinite(V).all()
    for phase in ("free", "nudged"):
        values = V.sel(step=V["phase"] == phase).values
        assert (np.diff(values, axis=1) <= 1e-17).all()
        assert (values[:, -1] < 1e-6 * values[:, 0].max()).all()
    D = diagonal_certificate(jacobian(leaky_run))
    S, rest = path["S"].values[2, 7, 3, 3:], settle(field_after(leaky_run), 0.05)
    assert V.values[2, 7, 3] == pytest.approx((D[2] * (S - rest.S[2, 3]) ** 2).sum(), rel=1e-9)


def test_energy_is_nan_where_nothing_certifies(short_run):
    assert np.isnan(energy(deep_nb.trajectory(short_run), short_run)).all()


def test_the_nudged_jacobian_takes_beta_from_the_outputs(leaky_run):
    difference = jacobian(leaky_run) - jacobian(leaky_run, phase="nudged")
    expected = np.zeros((6, 6))
    expected[-1, -1] = 10.0
    np.testing.assert_allclose(difference, np.broadcast_to(expected, (6, 6, 6)), atol=1e-14)


def test_report_gathers_the_verdicts(leaky_run):
    for epoch in (-1, 0, 3):
        whole, J = stability_report(leaky_run, epoch), jacobian(leaky_run, epoch)
        eigen, discs = spectrum(J), gershgorin(J)
        assert (whole["hurwitz"] == eigen.hurwitz).all()
        assert (whole["spectral_abscissa"] == eigen.abscissa).all()
        assert (whole["max_stable_dt"] == max_stable_dt(J)).all()
        for name in ("negative_diagonal", "failing_rows", "failing_columns"):
            assert (whole[name] == getattr(discs, name)).all()
        assert (whole["gershgorin_rows"] == discs.rows).all()
        assert (whole["gershgorin_columns"] == discs.columns).all()
        assert (whole["certified"] == ~np.isnan(diagonal_certificate(J)).any(axis=1)).all()
        np.testing.assert_array_equal(whole["contraction_rate"], contraction_rate(J, 0.05))
        assert (whole["certified"] == (whole["certifying_leak"] < 1.5)).all()
    initial = leaky_run["W_epochs"].values[:, 0]
    np.testing.assert_array_equal(
        stability_report(leaky_run, 0)["certifying_leak"], certifying_leak(initial[:, 3:, 3:])
    )
    assert (
        stability_report(leaky_run, 5).drop_attrs() == stability_report(leaky_run).drop_attrs()
    ).all()


def test_the_report_says_what_it_holds(leaky_run):
    whole = stability_report(leaky_run, 3)
    assert whole.attrs == {**leaky_run.attrs, "epochs_trained": 3}
    units = {
        "spectral_abscissa": "1/τ", "eigenvalue_real": "1/τ", "eigenvalue_imag": "1/τ",
        "certifying_leak": "1/τ", "max_stable_dt": "τ",
        "contraction_rate_l1": "1/τ", "contraction_rate_linf": "1/τ",
    }  # fmt: skip
    for name, variable in whole.data_vars.items():
        assert variable.dims == ("seed", "mode")[: 1 + name.startswith("eigenvalue")]
        assert variable.attrs["units"] == "1"
        match = re.search(r", in (1/τ|τ)(?=;|$)", variable.attrs["long_name"])
        assert (match[1] if match else "1") == units.get(name, "1")
        assert variable.attrs["long_name"][0].islower()  # continues after the name


def network(W, leak, outflow, **other):
    """A run whose free neurons, two hidden and one output, have the weights W."""
    model = deep_nb.DEEP.replace(name="by hand", leak=leak, outflow=outflow, **other)
    run = deep_nb.train(model, "or", seeds=7, hyper={"N_H": [2], "n_epochs": 1, "T1": 1, "T2": 1})
    run["W"][0, 3:, 3:] = W
    return run


@pytest.mark.parametrize(
    ("W", "leak", "proof"),
    [
        ([[0, 1, 0], [-1, 0, 0], [0, 0, 0]], 0.1, None),
        ([[0, 0.5, -0.5], [0, 0, 1], [0, 1, 0]], 1e-20, "gershgorin_rows"),
        ([[0, 0, 0], [0.5, 0, 1], [0.5, 1, 0]], 1e-20, "gershgorin_columns"),
    ],
)
def test_any_of_the_tests_proves_hurwitz(W, leak, proof):
    """A test may prove the sign of an eigenvalue as small as the rounding of the others."""
    run = network(W, leak, outflow=0.0 if proof is None else 5.0)
    whole, J = stability_report(run), jacobian(run)
    assert whole["hurwitz"].sel(seed=7)
    assert spectrum(J).hurwitz[0] == (proof is None)
    for name in ("gershgorin_rows", "gershgorin_columns", "certified"):
        assert whole[name].item() == (name == proof)


def test_the_certifying_leak_depends_on_the_kind_of_outflow():
    W = np.array([[0.0, -1.0, 0.5], [2.0, 0.0, 0.0], [0.0, -0.5, 0.0]])
    leaks = [certifying_leak(W, 0.5, absolute).item() for absolute in (False, True)]
    assert leaks[0] != leaks[1]
    for absolute, leak in enumerate(leaks):
        run = network(W, 1.0, 0.5, absolute_outflow=bool(absolute))
        assert stability_report(run)["certifying_leak"].item() == pytest.approx(leak, rel=1e-9)


def test_arguments_that_do_not_fit_are_refused(leaky_run):
    plain = leaky_run.drop_vars(["W_epochs", "b_epochs"]).assign_attrs(record="[]")
    with pytest.raises(ValueError, match=r"epoch 2 needs a run trained with record=\('weights',\)"):
        stability_report(plain, 2)
    with pytest.raises(ValueError, match="epoch must be -1 or an integer from 0 to 5, got 6"):
        jacobian(leaky_run, 6)
    with pytest.raises(ValueError, match="unknown phase 'weak'; allowed: free, nudged"):
        jacobian(leaky_run, phase="weak")
    with pytest.raises(ValueError, match="Q must be symmetric positive definite"):
        lyapunov_matrix(-np.eye(2), -np.eye(2))
    with pytest.raises(ValueError, match=r"dt must be a finite number above 0, at most .*, got 0"):
        contraction_rate(-np.eye(2), 0)
    for function in (spectrum, gershgorin, lyapunov_matrix, diagonal_certificate, max_stable_dt):
        with pytest.raises(ValueError, match="J must be"):
            function([[1.0, np.nan], [0.0, 1.0]])
    with pytest.raises(ValueError, match="W must be"):
        certifying_leak([1.0])


CYCLE = Field(
    np.array([[[0.0, 4.0], [-4.0, 0.0]]]), np.array([[[2.0, -2.0]]]), np.array([[0.0, 0.0]])
)


def test_a_path_that_never_comes_to_rest_is_flagged():
    """It circles the rest point at (½, ½), and finds it only if it starts there."""
    assert settle(CYCLE, 0.05, tolerance=0.0).found.all()
    assert not settle(CYCLE, 0.05, start=np.array([[[0.2, 0.9]]])).found.any()


def test_the_rest_points_of_a_run_are_those_of_its_fields(leaky_run):
    for epoch, phase in ((-1, "free"), (2, "nudged")):
        rest = rest_point(leaky_run, epoch, phase)
        expected = settle(field_after(leaky_run, epoch, phase), 0.05)
        np.testing.assert_array_equal(rest.S, expected.S)
        assert rest.found.all()
        assert (rest.speed <= 1e-9).all()
    with pytest.raises(ValueError, match="tolerance must be a finite number of at least 0"):
        rest_point(leaky_run, tolerance=-1.0)


def test_rest_of_a_run_is_judged_by_the_tolerance():
    """Steps of 1e-6 τ do not come to rest."""
    run = deep_nb.train("EP_asym", "not", seeds=[0, 1], hyper={**SHORT, "dt": 1e-6})
    slow, fast = sorted(rest_point(run).speed)
    assert 1e-3 < slow < fast
    for tolerance, found in ((fast, 2), (slow, 1), (slow / 2, 0)):
        assert rest_point(run, tolerance=tolerance).found.sum() == found


def test_the_tolerance_decides_what_counts_as_rest():
    """Neurons that decay at 1e-5 a step: after 200 000 steps their speed is known."""
    M, n = 3, 2
    field = Field(np.zeros((1, n, n)), np.full((1, M, n), 0.25e-4), np.full((1, n), 1e-4))
    result = settle(field, 0.1, start=np.ones((1, M, n)))
    assert result.speed[0] == pytest.approx(np.sqrt(M * n) * 0.75e-4 * np.exp(-2.0), rel=1e-4)
    assert not result.found[0]
    for tolerance, found in ((3e-5, True), (2e-5, False)):
        assert settle(field, 0.1, tolerance, np.ones((1, M, n))).found[0] == found


def test_lyapunov_matrix_with_a_given_q():
    J, Q = np.array([[-1.0, 2.0], [0.0, -3.0]]), np.array([[2.0, 0.5], [0.5, 1.0]])
    P = lyapunov_matrix(J, Q)
    np.testing.assert_allclose(J.T @ P + P @ J, -Q, atol=1e-13)


def test_contraction_rate_by_hand():
    """D = diag(4, 1): D^½ (1 + dt J) D^−½ = [[0.9, 2 · 0.02], [0, 0.8]]."""
    J, D = np.array([[-1.0, 0.2], [0.0, -2.0]]), np.array([4.0, 1.0])
    expected = np.linalg.svd([[0.9, 0.04], [0.0, 0.8]], compute_uv=False)[0]
    assert contraction_rate(J, 0.1, D) == pytest.approx(expected, rel=1e-14)


def test_only_certificates_of_the_comparison_matrix_are_found():
    """D = 1 certifies this J, whose comparison matrix is not an M-matrix."""
    assert not is_certified([[-1.0, 5.0], [-5.0, -1.0]])


@pytest.mark.slow
def test_at_rest_compares_the_final_speed_with_the_limit(leaky_run, monkeypatch):
    """After the run's own T1, with limits just above and below the speeds."""
    early = deep_nb.train(**{**deep_nb.settings(leaky_run), "hyper": {"n_epochs": 5, "T1": 180}})
    for epoch in (0, 2, -1):
        field = field_after(early, epoch)
        S = np.array([np.random.RandomState(seed).uniform(0, 0.1, (4, 6)) for seed in range(6)])
        for _ in range(180):
            S, before = step(field, S, 0.05), S
        speed = np.sqrt((((S - before) / 0.05) ** 2).sum(axis=(1, 2)))
        assert speed.min() > 1e-9
        assert (stability_report(leaky_run, epoch)["at_rest"]).all()
        for limit in (1e-6, *(0.99 * speed), *(1.01 * speed)):
            monkeypatch.setattr(stability, "REST_SPEED", limit)
            assert (
                stability_report(early, epoch)["at_rest"].values.tolist()
                == (speed < limit).tolist()
            )
        monkeypatch.undo()


def test_the_report_knows_divergence_and_imaginary_parts(diverged_run, leaky_run):
    assert stability_report(diverged_run)["diverged"].all()
    whole = stability_report(leaky_run)
    assert not whole["diverged"].any()
    eigenvalues = spectrum(jacobian(leaky_run)).eigenvalues
    np.testing.assert_array_equal(whole["eigenvalue_imag"], eigenvalues.imag)
    np.testing.assert_array_equal(whole["eigenvalue_real"], eigenvalues.real)


def test_energy_is_nan_where_no_rest_was_found(short_run):
    """Published DEEP may not come to rest, whatever P is given."""
    path = deep_nb.trajectory(short_run)
    V = energy(path, short_run, P=np.broadcast_to(np.eye(6), (3, 6, 6)))
    for phase in ("free", "nudged"):
        found = rest_point(short_run, phase=phase).found
        values = V.sel(step=V["phase"] == phase).values
        assert (np.isfinite(values).all(axis=(1, 2)) == found).all()


def test_other_activations_are_refused():
    smooth = deep_nb.DEEP.replace(name="smooth", leak=3.0, activation="sigmoid")
    run = deep_nb.train(smooth, "or", seeds=0, hyper=SHORT)
    for function in (stability_report, jacobian, lambda run: energy(deep_nb.trajectory(run), run)):
        with pytest.raises(ValueError, match="stability needs the activation"):
            function(run)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([[5.0]],), "W must not contain self-loops"),
        (([[0.0, 1.0], [1.0, 0.0]], -1.0), "outflow must be a finite number from 0 to"),
        (
            ([[0.0, 1.0], [1.0, 0.0]], 1.0, False, 1e-17),
            "tolerance must be a finite number from 1e-14 to 1",
        ),
        ((np.ma.array([[0.0]], mask=[[True]]),), "MaskedArray"),
    ],
)
def test_weights_that_do_not_fit_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        certifying_leak(*arguments)
    with pytest.raises(ValueError, match="D must be positive"):
        contraction_rate(-np.eye(2), 0.1, np.array([1.0, 0.0]))


def test_extreme_scales_stay_finite():
    J = np.array([[-2.0, 1.0], [1.0, -2.0]])
    for scale in (1e-200, 1.0, 1e200):
        assert max_stable_dt(scale * J) == pytest.approx(2 / 3 / scale)
    leak = certifying_leak([[0.0, 1e20], [1e20, 0.0]], 0.0)
    assert is_certified([[-leak, 1e20], [1e20, -leak]])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda path: None, r"^path must be a dataset as from deep_nb\.trajectory, got None$"),
        (lambda path: path.drop_vars("S"), "^path must be a dataset as from"),
        (lambda path: path.drop_vars("seed"), "^path must be a dataset as from"),
        (lambda path: path.drop_vars("step"), "^path must be a dataset as from"),
        (lambda path: path.drop_vars("phase"), "^path must be a dataset as from"),
        (lambda path: path.isel(step=0), "^path must be a dataset as from"),
        (
            lambda path: path.isel(seed=[0]),
            r"^path must be of this run: S of shape \(2, 71, 4, 9\), got",
        ),
        (lambda path: path.assign(S=path["S"].astype(str)), "^path must be of this run"),
        *(
            (
                lambda path, name=name: path.assign_attrs({name: "another"}),
                "^path must be of this run, with the same settings and seeds$",
            )
            for name in ("model", "task", "hyper")
        ),
    ],
)
def test_paths_that_do_not_fit_are_refused(change, said):
    leaky = deep_nb.DEEP.replace(name="leaky", leak=5.0)
    run = deep_nb.train(leaky, "xor", seeds=range(2), hyper=SHORT)
    with pytest.raises(ValueError, match=said):
        energy(change(deep_nb.trajectory(run)), run)


@pytest.mark.parametrize(
    ("P", "message"),
    [
        (np.eye(6),
         "P must be finite and of shape (2, 6, 6), got an array of float64 of shape (6, 6)"),
        (np.zeros((1, 6, 6)),
         "P must be finite and of shape (2, 6, 6), got an array of float64 of shape (1, 6, 6)"),
        (np.full((2, 6, 6), np.nan),
         "P must be finite and of shape (2, 6, 6), got an array of float64 of shape (2, 6, 6)"),
        ("P", "P must be a plain array of real numbers, got ndarray of <U1"),
    ],
)  # fmt: skip
def test_matrices_that_do_not_fit_are_refused(P, message):
    run = deep_nb.train("DEEP", "xor", seeds=range(2), hyper=SHORT)
    with refused(message):
        energy(deep_nb.trajectory(run), run, P)


@pytest.mark.parametrize(
    ("epoch", "said"),
    [
        (-2, "^epoch must be an integer from -1 to "),
        (1.5, "^epoch must be an integer"),
        (5, "^epoch must be -1 or an integer from 0 to 4, got 5$"),
    ],
)
def test_missing_epochs_are_refused(epoch, said):
    run = deep_nb.train("DEEP", "xor", seeds=0, hyper=SHORT, record=("weights",))
    with pytest.raises(ValueError, match=said):
        stability.weights_after(run, epoch)
    W, B = stability.weights_after(run, 4)
    np.testing.assert_array_equal(W, run["W"])
    np.testing.assert_array_equal(B, run["b"])


def test_an_unknown_phase_is_answered_with_the_nearest():
    run = deep_nb.train("DEEP", "xor", seeds=0, hyper=SHORT)
    said = r"^unknown phase 'nuged' \(did you mean 'nudged'\?\); allowed: free, nudged$"
    with pytest.raises(ValueError, match=said):
        jacobian(run, phase="nuged")


@pytest.mark.slow
def test_published_one_hot_networks_run_away_on_xor():
    """Their weights follow the step, not the flow; all other published networks are inside."""
    for name, seeds in (("DEEP_oh", [4, 9, 10, 18, 28, 29, 37, 49, 55, 56, 70, 74, 83]),
                        ("DEEP", []), ("EP_asym", [])):  # fmt: skip
        run = deep_nb.train(name, "xor", seeds=range(100))
        stable = step_is_stable(run)
        assert stable["seed"].values[~stable.values].tolist() == seeds
        size = np.abs(run["W"].values).max(axis=(1, 2))
        assert (~stable.values == (size > 20)).all()
        report = stability_report(run)
        assert (report["step_is_stable"] == stable).all()
        steps = np.eye(jacobian(run).shape[1]) + 0.05 * jacobian(run)
        radius = np.abs(np.linalg.eigvals(steps)).max(axis=1)
        np.testing.assert_allclose(report["step_radius"], radius, rtol=1e-9)
        assert ((radius > 2) == ~stable.values).all()


@pytest.mark.parametrize(
    ("W", "leak", "stable"),
    [
        ((0, 0), 29.9, True),  # the output's μ in the nudged phase, −39.9, times 0.05 is −1.995
        ((0, 0), 30.1, False),
        ((19, 19), 0, True),  # μ = ±19: growth that the step follows
        ((21, 21), 0, False),
        ((-19, 19), 0, True),  # μ = ±19i
        ((-21, 21), 0, False),
        ((-19, 19), 19, True),  # outside |z| ≤ 1, inside |1 + z| ≤ 1
        ((-25, 25), 19, False),  # outside both, though the flow decays
        ((15, -15), 29, True),
    ],
)
def test_a_step_is_stable_where_modes_shrink_or_are_followed(W, leak, stable):
    (first, second), free = W, np.zeros((3, 3))
    free[0, 1], free[1, 0] = first, second
    run = network(free, float(leak), outflow=0.0)
    assert step_is_stable(run).values.tolist() == [stable]
    assert step_is_stable(run).dtype == bool


@pytest.mark.parametrize("size", [1e160, 1.7e308])
def test_a_step_that_overflows_is_beyond_its_range(size):
    run = network(np.full((3, 3), size) * (1 - np.eye(3)), 1.0, outflow=1.0)
    assert step_is_stable(run).values.tolist() == [False]


def test_steps_are_judged_after_each_number_of_epochs():
    hyper = {"n_epochs": 200}
    run = deep_nb.train("DEEP_oh", "xor", seeds=[4, 5], hyper=hyper, record=("weights",))
    assert step_is_stable(run, 0).values.tolist() == [True, True]
    assert step_is_stable(run).values.tolist() == [False, True]
    assert step_is_stable(run, 200).values.tolist() == [False, True]
    with pytest.raises(ValueError, match="epoch must be"):
        step_is_stable(run, 201)
    tanh = deep_nb.DEEP.replace(name="tanh", activation="tanh")
    run = deep_nb.train(tanh, "xor", seeds=0, hyper=SHORT)
    with pytest.raises(ValueError, match="needs the activation 'hard_sigmoid'"):
        step_is_stable(run)


@pytest.mark.slow
def test_runaway_networks_are_counted_apart():
    run = deep_nb.train("DEEP_oh", "xor", seeds=range(11))
    for plot in (plotting.plot_mse, plotting.plot_survivors, plotting.plot_residual):
        assert [text.get_text() for text in plot(run).texts if "step" in text.get_text()] == [
            "3 of 11: Euler step\nbeyond its stable range"
        ]
    alone = run.isel(seed=[0, 1])
    assert not plotting.plot_mse(alone).texts
    networks = claims.measure("DEEP_oh", "xor", range(11))
    assert networks["step_is_stable"].tolist() == step_is_stable(run).values.tolist()
    more = claims.measure("DEEP", "id", range(3), hyper={"n_epochs": 20})
    both = pd.concat([more, networks])
    expected = {"model": "DEEP_oh", "task": "xor", "pruned": False, "layered": False}
    expected |= {"networks": 11, "unstable": 3, "learned": 0}
    assert claims.unstable_steps(both).to_dict("records") == [expected]
    assert claims.unstable_steps(more).empty
    more["step_is_stable"] = [True, False, False]
    more["learned"] = [True, True, False]
    counts = claims.unstable_steps(more).iloc[0]
    assert (counts["networks"], counts["unstable"], counts["learned"]) == (3, 2, 1)


@pytest.mark.slow
def test_the_command_line_tells_of_runaway_networks(monkeypatch):
    line = "the Euler step is beyond its stable range in {} of {} networks, {}"
    for seeds, text in (("3-5", line.format(1, 3, "seeds 4")), ("5-6", None)):
        result = CliRunner().invoke(main, ["train", "DEEP_oh", "xor", "--seeds", seeds])
        assert result.exit_code == 0
        assert (text in result.output) if text else ("stable" not in result.output)
    (claim,) = (claim for claim in claims.read_claims() if claim.id == "4")
    monkeypatch.setattr(claims, "read_claims", lambda: [claim.replace(tasks=["xor"])])
    result = CliRunner().invoke(main, ["claims", "--seeds", "3-5"])
    assert "0 [0, 0.658], p = 5.0e-01, 2 networks, 1 runaways apart\n" in result.output


def test_the_labels_of_a_stack_are_not_those_of_its_matrices():
    """Of four axes; a = −1, −2, … gives P = 1 / −2a by hand."""
    rates = np.arange(1.0, 7).reshape(3, 2)
    J = xr.DataArray(
        -rates[..., None, None] * np.eye(2),
        dims=("seed", "snapshot", "post", "pre"),
        coords={"seed": [5, 6, 7], "snapshot": [0, 9], "post": ["a", "b"], "pre": ["a", "b"]},
    )
    expected = 0.5 / rates[..., None, None] * np.eye(2)
    np.testing.assert_allclose(lyapunov_matrix(J), expected, rtol=1e-14)
    Q = pd.DataFrame(2 * np.eye(2), index=["a", "b"], columns=["a", "b"])
    np.testing.assert_allclose(lyapunov_matrix(J, Q), 2 * expected, rtol=1e-14)


def test_a_neuron_without_decay_has_no_diagonal_certificate():
    """Nor has one that grows; the others of a stack are not affected."""
    D = diagonal_certificate([np.diag([-1.0, 0.0]), np.diag([-1.0, -2.0]), np.diag([1.0, -2.0])])
    assert np.isnan(D).all(axis=1).tolist() == [True, False, True]


def test_a_matrix_that_is_not_square_is_named():
    for of in (lambda J: contraction_rate(J, 0.1), diagonal_certificate, gershgorin, spectrum):
        with pytest.raises(ValueError, match=r"\AJ must be square matrices, got shape \(2, 3\)\Z"):
            of(np.zeros((2, 3)))
