"""Verdicts on every phase that a rule learns from, and the distance from rest along it."""

import dataclasses
import sys

import numpy as np
import pytest

import deep_nb
from deep_nb.analysis import (
    certificate,
    certified_throughout,
    contraction_rate,
    contraction_rate_l1,
    contraction_rate_linf,
    energy,
    euler_factor_l1,
    euler_factor_linf,
    jacobian,
    phase_energy,
    phase_report,
    rest_point,
    stability_report,
    step_is_stable,
)
from deep_nb.analysis.stability import field_after, linear_part, rule_fields
from deep_nb.dynamics import hard_sigmoid, vector_field
from deep_nb.engines import get_engine
from deep_nb.randomness import probe_states
from deep_nb.rules import State, learn
from deep_nb.run import problem_of

from .conftest import SHORT

CONTRACTING = deep_nb.DEEP.replace(
    name="contracting", leak=0.2, absolute_outflow=True, rule="asymep"
)
PHASES = {
    "stdp": ["free", "+β"],
    "contrastive": ["free", "+β"],
    "centered": ["free", "+β", "-β"],
    "onesided": ["free", "+β"],
    "asymep": ["free", "+β", "-β"],
    "adjoint": ["free"],
}
rules = pytest.mark.parametrize("rule", PHASES)


def trained(rule="asymep", task="xor", beta=0.15, n_epochs=6, model=CONTRACTING, **options):
    hyper = {"n_epochs": n_epochs, "beta": beta, "dt_W": 0.3, "T1": 300, "T2": 200}
    return deep_nb.train(
        model.replace(rule=rule), task, seeds=range(4), hyper=hyper, record=("weights",), **options
    )


@pytest.fixture(scope="module")
def contracting_run():
    return trained()


def by_hand(W, beta=0.1, dt=0.05, leak=0.2, rule="asymep", **other):
    """A run of one network whose free neurons, two hidden and one output, have the weights W."""
    model = CONTRACTING.replace(leak=leak, rule=rule, **other)
    hyper = {"N_H": [2], "n_epochs": 1, "T1": 1, "T2": 1, "beta": beta, "dt": dt, "dt_W": 0.0}
    run = deep_nb.train(model, "or", seeds=7, hyper=hyper, record=("weights",))
    run["W"][0, 3:, 3:] = W
    run["W_epochs"][0, :, 3:, 3:] = W
    run["n_connections"][:] = np.count_nonzero(run["W"])
    return run


@rules
def test_the_fields_are_those_in_which_the_rule_relaxes(rule, contracting_run):
    """Every phase of `learn`, with the free states that it reached."""
    trained_on = problem_of(contracting_run)
    problem = dataclasses.replace(trained_on, model=trained_on.model.replace(rule=rule))
    W, b = contracting_run["W"].values, contracting_run["b"].values
    start = probe_states(range(4), len(problem.X), problem.layout)
    relax, seen = get_engine("auto", problem.layout.n_free, "hard_sigmoid"), []

    def watched(field, S, phase):
        seen.append(field)
        return relax(field, S, phase)

    free, _ = learn(problem, State(W, b, start), watched)
    fields = rule_fields(problem, W, b, free.S)
    assert list(fields) == PHASES[rule]
    assert len(seen) == len(fields) + (rule == "adjoint")
    for field, expected in zip(fields.values(), seen, strict=rule != "adjoint"):
        for name in ("W", "drive", "decay"):
            np.testing.assert_array_equal(getattr(field, name), getattr(expected, name))


@rules
def test_a_report_judges_the_phases_of_the_rule(rule):
    run = trained(rule)
    for epoch in (-1, 0, 3):
        report = phase_report(run, epoch)
        assert report["phase"].values.tolist() == PHASES[rule]
        assert report["seed"].values.tolist() == [0, 1, 2, 3]
        assert report.attrs == {**run.attrs, "epochs_trained": epoch}
        J, nudge = jacobian(run, epoch), np.diag([0.0] * 5 + [0.15])
        corrected = rule in ("onesided", "asymep")
        own = J.swapaxes(1, 2) if corrected else J
        linear = {"free": J, "+β": own - nudge, "-β": own + nudge}
        for phase in PHASES[rule]:
            at = report.sel(phase=phase)
            for name, expected in (
                ("contraction_rate_l1", contraction_rate_l1(linear[phase])),
                ("contraction_rate_linf", contraction_rate_linf(linear[phase])),
                ("euler_factor_l1", euler_factor_l1(linear[phase], 0.05)),
                ("euler_factor_linf", euler_factor_linf(linear[phase], 0.05)),
            ):
                np.testing.assert_allclose(at[name], expected, rtol=1e-13, atol=1e-14)
        assert report["certified"].values.all()
        assert (report["method"].sel(phase="free") == "l1").all()
        if rule != "adjoint":
            # A phase may happen to contract in ℓ1, which comes first.
            assert {*report["method"].sel(phase="+β").values} <= {"l1", "linf"}
        if "-β" in PHASES[rule]:
            best = report["euler_factor_linf" if corrected else "euler_factor_l1"]
            np.testing.assert_allclose(best.sel(phase="-β"), 1 - 0.05 * 0.05, rtol=1e-12)
    for variable in report.data_vars.values():
        assert variable.dims == ("seed", "phase")
        assert variable.attrs["units"] == "1"
        assert variable.attrs["long_name"][0].islower()


def test_the_factor_is_that_of_the_method(contracting_run):
    report = phase_report(contracting_run)
    for method in ("l1", "linf"):
        chosen = report["method"] == method
        factor = report[f"euler_factor_{method}"].where(chosen)
        assert chosen.any()
        np.testing.assert_array_equal(report["factor"].where(chosen), factor)
    assert (report["factor"] < 1).all()


ZERO = [[0, 0, 0], [0, 0, 0], [0, 0, 0]]
ROTATION = [[0, 5, 0], [-5, 0, 0], [0, 0, 0]]
#: Certified by the comparison matrix alone: a chain, which no unscaled norm sees.
CHAIN = [[0, 3, 0], [0, 0, 3], [0, 0, 0]]
#: Certified by the semidefinite program alone.
PROGRAM = [[0, 4, 0.5], [-2, 0, 8], [0, -1.0, 0]]


@pytest.mark.parametrize(
    ("W", "settings", "methods"),
    [
        (ZERO, {"leak": 1.0}, ("l1", "l1")),
        (ROTATION, {"leak": 1.0, "outflow": 0.0}, ("identity", "identity")),
        (CHAIN, {"leak": 1.0, "outflow": 0.0}, ("comparison", "comparison")),
        (CHAIN, {"leak": 0.0, "outflow": 0.0}, ("", "")),
        (PROGRAM, {"leak": 1.0, "outflow": 0.0, "dt": 0.01}, ("sdp", "sdp")),
        # A certificate of the flow that does not prove an Euler step of this size.
        (ROTATION, {"leak": 1.0, "outflow": 0.0, "dt": 0.1}, ("", "")),
        (ZERO, {"leak": 1.0, "dt": 2.1}, ("", "")),
        (ZERO, {"leak": 1.0, "dt": 1.9}, ("l1", "")),  # 1 − dt (1 + β) = −1.09
        (ZERO, {"leak": 1.0, "beta": -0.5}, ("l1", "l1")),
        (ZERO, {"leak": 1.0, "beta": -1.5}, ("l1", "")),
    ],
)
def test_each_method_is_tried_in_its_order(W, settings, methods):
    run = by_hand(W, rule="stdp", **settings)
    report = phase_report(run)
    assert tuple(report["method"].values[0]) == methods
    assert (report["certified"] == (report["method"] != "")).all()
    assert (report["factor"].isnull() == (report["method"] == "")).all()
    assert certified_throughout(run).values.tolist() == ["" not in methods]
    J = jacobian(run)
    if methods[0] in ("identity", "comparison", "sdp"):
        D = certificate(J, methods[0]).D
        rho = contraction_rate(J, problem_of(run).hyper.dt, D)
        np.testing.assert_allclose(report["factor"][:, 0], rho, rtol=1e-6)  # the solver's D


@pytest.mark.slow
def test_corrected_phases_contract_for_all_weights_if_beta_is_below_the_leak(rng):
    """And beyond, for W = 0, at no step."""
    for _ in range(20):
        W = rng.normal(size=(3, 3)) * rng.choice([0.1, 1.0, 3.0]) * (1 - np.eye(3))
        assert phase_report(by_hand(W, beta=0.19))["certified"].all()
    for beta in (0.2, 0.21, 3.0):
        report = phase_report(by_hand(ZERO, beta=beta))
        assert report["certified"].values.tolist() == [[True, True, False]]
        assert report["contraction_rate_linf"][0, 2] == pytest.approx(beta - 0.2, abs=1e-15)
    assert phase_report(by_hand(W * 1e3, beta=0.19))["certified"].values.tolist() == [[False] * 3]


@pytest.mark.parametrize("beta", [0.19, 3.0])
def test_the_one_sided_rule_is_certified_at_every_beta(beta, rng):
    """Its phase at +β contracts in ℓ∞ at the rate λ at least: the hidden neurons' rows give −λ."""
    for _ in range(20):
        W = rng.normal(size=(3, 3)) * rng.choice([0.1, 1.0, 3.0]) * (1 - np.eye(3))
        report = phase_report(by_hand(W, beta=beta, rule="onesided"))
        assert report["certified"].values.tolist() == [[True, True]]
        rate = report["contraction_rate_linf"].sel(phase="+β")
        assert rate.item() == pytest.approx(-0.2, abs=1e-14)
    for task in ("xor", "not"):
        run = trained("onesided", task=task, beta=beta, n_epochs=40)
        assert certified_throughout(run).all()
        assert (run["dW_norm"] > 0).any()


@pytest.mark.slow
@pytest.mark.parametrize("rule", ["asymep", "stdp"])
@pytest.mark.parametrize("leak", [0.2, 0.6, 1.0])
def test_throughout_means_in_every_epoch(rule, leak):
    """Leaky DEEP, certified in some epochs only."""
    run = trained(rule, beta=0.5, model=deep_nb.DEEP.replace(name="leaky", leak=leak), n_epochs=12)
    reports = [phase_report(run, epoch)["certified"].all("phase").values for epoch in range(13)]
    found = certified_throughout(run)
    assert found.values.tolist() == np.all(reports, axis=0).tolist()
    assert found.dims == ("seed",)
    assert found["seed"].values.tolist() == [0, 1, 2, 3]
    assert found.attrs["units"] == "1"


def test_one_epoch_without_a_certificate_is_enough(contracting_run):
    assert certified_throughout(contracting_run).all()
    for epoch in (0, 4):
        changed = contracting_run.copy(deep=True)
        changed["W_epochs"][2, epoch, 3:, 3:] *= 1e4
        assert certified_throughout(changed).values.tolist() == [True, True, False, True]
    after = contracting_run.copy(deep=True)
    for W in (after["W"], after["W_epochs"][:, -1]):
        W[1, 3:, 3:] *= 1e4
    assert certified_throughout(after).values.tolist() == [True, False, True, True]


def over_epochs(W, **settings):
    """A run of one network that had the weights W after each number of epochs."""
    run = by_hand(ZERO, **settings)
    hyper = problem_of(run).hyper.replace(n_epochs=len(W) - 1)
    kept = deep_nb.settings(run) | {"hyper": hyper, "record": ("weights",)}
    run = deep_nb.train(**kept)
    run["W_epochs"][0, :, 3:, 3:] = W
    run["W"][0, 3:, 3:] = W[-1]
    return run


#: Of 24 epochs, those with which the search in parts begins and ends, and some between them.
EPOCHS = [0, 1, 7, 8, 9, 12, 15, 16, 17, 22, 23]


@pytest.mark.slow
@pytest.mark.parametrize("proved", [ZERO, CHAIN], ids=["closed form", "certificate"])
def test_an_epoch_without_a_certificate_is_noticed_wherever_it_is(proved):
    settings = {"rule": "adjoint", "leak": 1.0, "outflow": 0.0}
    good = np.array([CHAIN] * 23 + [proved], dtype=float)
    assert certified_throughout(over_epochs(good, **settings)).all()
    run = over_epochs(good, **settings)
    for epoch in EPOCHS:
        changed = run.copy(deep=True)
        # A loop of gain 4 among decays of 1: an eigenvalue of +1, so nothing can prove it.
        changed["W_epochs"][0, epoch, 3:, 3:] = [[0, 2, 0], [2, 0, 0], [0, 0, 0]]
        assert not certified_throughout(changed).any(), epoch


@pytest.mark.parametrize("proved", [ZERO, CHAIN], ids=["closed form", "certificate"])
@pytest.mark.parametrize("size", [np.inf, np.nan, 1.7e308])
def test_an_epoch_that_is_not_finite_is_noticed_wherever_it_is(size, proved):
    """Weights of 1.7e308 are finite, but not the Jacobian: their sum overflows."""
    run = over_epochs(np.array([proved] * 24, dtype=float), rule="adjoint", leak=1.0)
    for epoch in (0, 11, 23):
        changed = run.copy(deep=True)
        changed["W_epochs"][0, epoch, 3, 4:6] = size
        assert not certified_throughout(changed).any()


def test_every_method_counts_in_every_part_of_the_search():
    """Closed forms, the identity, the comparison matrix, in turn, over 24 epochs."""
    settings = {"rule": "adjoint", "leak": 1.0, "outflow": 0.0}
    W = np.array([ZERO, ROTATION, CHAIN] * 8, dtype=float)
    run = over_epochs(W, **settings)
    methods = [phase_report(run, epoch)["method"].item() for epoch in range(24)]
    assert methods == ["l1", "identity", "comparison"] * 8
    assert certified_throughout(run).all()


def test_phases_count_as_asked():
    """At β = 3, far above λ, no phase at −β is certified, but all others are."""
    run = trained(beta=3.0)
    for phases, expected in (
        (None, False),
        (["free"], True),
        (("free", "+β"), True),
        (["-β"], False),
    ):
        found = certified_throughout(run, phases)
        assert (found == expected).all()
    assert found.attrs["long_name"] == "whether -β are certified in every epoch"
    with pytest.raises(ValueError, match="unknown phase 'nudged'; allowed: free"):
        certified_throughout(run, ["nudged"])
    with pytest.raises(ValueError, match="phases must be a sequence"):
        certified_throughout(run, "free")


def test_throughout_needs_the_weights_of_every_epoch():
    hyper = {**SHORT, "beta": 0.1, "dt_W": 0.1}
    run = deep_nb.train(CONTRACTING, "or", seeds=0, hyper=hyper)
    with pytest.raises(ValueError, match=r"needs a run trained with record=\('weights',\)$"):
        certified_throughout(run)


def test_diverged_networks_are_not_certified(diverged_run):
    """Their last finite weights may be."""
    kept = deep_nb.settings(diverged_run) | {"model": CONTRACTING, "record": ("weights",)}
    kept["hyper"] = {**dict(kept["hyper"]), "beta": 0.1}
    with pytest.warns(RuntimeWarning, match="2 of 2 networks diverged"):
        run = deep_nb.train(**kept)
    assert phase_report(run)["certified"].all()
    assert not certified_throughout(run).any()


@pytest.mark.parametrize("size", [1e160, 1.7e308])
@pytest.mark.parametrize("rule", ["asymep", "stdp"])
def test_weights_that_overflow_are_not_certified(size, rule):
    run = by_hand(size * (1 - np.eye(3)), rule=rule)
    report = phase_report(run)
    assert not report["certified"].any()
    assert not report["contraction_rate_l1"].isnull().any()
    assert (report["euler_factor_l1"] > 1e100).all()
    assert (report["euler_factor_linf"] > 1e100).all()
    assert not certified_throughout(run).any()


def test_without_cvxpy_the_other_methods_are_tried(monkeypatch):
    monkeypatch.setitem(sys.modules, "cvxpy", None)  # importing it fails
    for W, method in ((ROTATION, "identity"), (CHAIN, "comparison"), (PROGRAM, "")):
        run = by_hand(W, rule="adjoint", leak=1.0, outflow=0.0, dt=0.01)
        assert phase_report(run)["method"].values.tolist() == [[method]]


@pytest.mark.parametrize("task", ["xor", "not"])
@pytest.mark.parametrize("one_hot", [False, True])
@pytest.mark.parametrize("layered", [False, True])
def test_all_tasks_and_topologies_are_certified(task, one_hot, layered):
    run = trained(task=task, model=CONTRACTING.replace(one_hot=one_hot), layered=layered)
    assert certified_throughout(run).all()


@rules
def test_distances_from_rest_fall_by_the_factor(rule):
    run = trained(rule)
    report = phase_report(run)
    for phase in PHASES[rule]:
        for norm in ("l1", "linf"):
            V = phase_energy(run, phase, norm=norm)
            assert (V.name, V.dims) == ("V", ("seed", "step", "sample"))
            assert V.attrs == {"long_name": "distance from rest", "units": "1"}
            assert V.sizes["step"] == (301 if phase == "free" else 201)
            for k, seed in enumerate(V["seed"].values):
                factor = report[f"euler_factor_{norm}"].sel(phase=phase, seed=seed).item()
                if factor < 1:
                    # s* is known to 1e-9 / (1 − factor) at worst.
                    rounding = 1e-9 / (1 - factor)
                    assert (V[k, 1:].values <= factor * V[k, :-1].values + 2 * rounding).all()
                    assert V[k, 0].max() > 100 * rounding


@pytest.mark.slow
@pytest.mark.parametrize("epoch", [-1, 2])
def test_distances_are_those_of_the_states(contracting_run, epoch):
    run, problem = contracting_run, problem_of(contracting_run)
    W = run["W_epochs"].values[:, epoch]
    field = field_after(run, epoch)
    S = np.array([np.random.RandomState(seed).uniform(0, 0.1, (4, 6)) for seed in range(4)])
    paths = {"free": [S]}
    for _ in range(300):
        paths["free"].append(hard_sigmoid(paths["free"][-1] + 0.05 * vector_field(field, S)))
        S = paths["free"][-1]
    fields = rule_fields(problem, W, run["b"].values, S)
    A = (jacobian(run, epoch) - jacobian(run, epoch).swapaxes(1, 2)) / 2
    paths["-β"], free = [S], S
    for _ in range(200):  # F(s) + β ∇C − 2 A (s − s*)
        dS = vector_field(field, S) - 2 * (S - free) @ A.swapaxes(1, 2)
        dS[..., -1:] -= 0.15 * (problem.Y - S[..., -1:])
        S = hard_sigmoid(S + 0.05 * dS)
        paths["-β"].append(S)
    for phase, states in paths.items():
        J, drive = linear_part(fields[phase]), fields[phase].drive
        away = np.stack(states, axis=1)
        V = phase_energy(run, phase, epoch)
        sup = phase_energy(run, phase, epoch, norm="linf")
        assert (sup <= V + 1e-12).all()
        # The rest point has V = 0 and solves the clipped equation; find it by its residual.
        rest = away[:, -1]
        for _ in range(20_000):
            rest = hard_sigmoid(rest + 0.05 * (rest @ J.swapaxes(1, 2) + drive))
        expected = np.abs(away - rest[:, None]).sum(axis=-1)
        np.testing.assert_allclose(V, expected, atol=1e-8)
        np.testing.assert_allclose(sup, np.abs(away - rest[:, None]).max(axis=-1), atol=1e-8)


def test_phases_that_a_rule_does_not_have_are_refused(contracting_run):
    said = "unknown phase 'nudged'; allowed: free, \\+β, -β"
    with pytest.raises(ValueError, match=said):
        phase_energy(contracting_run, "nudged")
    with pytest.raises(ValueError, match="unknown phase '-β'"):
        phase_energy(trained("stdp", n_epochs=1), "-β")
    with pytest.raises(ValueError, match="unknown norm 'l2'"):
        phase_energy(contracting_run, norm="l2")
    with pytest.raises(ValueError, match="epoch must be -1 or an integer from 0 to 6"):
        phase_report(contracting_run, 7)
    smooth = deep_nb.DEEP.replace(name="smooth", activation="tanh")
    run = deep_nb.train(smooth, "or", seeds=0, hyper=SHORT, record=("weights",))
    for function in (phase_report, certified_throughout, phase_energy):
        with pytest.raises(ValueError, match="stability needs the activation 'hard_sigmoid'"):
            function(run)


def test_distances_do_not_exist_without_rest(contracting_run):
    """Two neurons circle around 0.4, which nothing damps."""
    run = by_hand(ROTATION, leak=0.0, outflow=0.0)
    for W in (run["W"][0], run["W_epochs"][0, 1]):
        W[2, 3:5] = [2.0, -2.0]
    assert not rest_point(run).found.any()
    assert phase_energy(run).isnull().all()
    assert phase_energy(contracting_run).notnull().all()


def test_steps_that_early_stop_saves_have_no_distance():
    run = trained(stop_criterion=True)
    V = phase_energy(run)
    assert V.notnull().all()
    settings = deep_nb.settings(run)
    hyper = {**dict(problem_of(run).hyper), "stop": 1e3}  # after the first step
    ended = phase_energy(deep_nb.train(**{**settings, "hyper": hyper}))
    assert ended[:, :2].notnull().all()
    assert ended[:, 2:].isnull().all()


def test_diverged_networks_have_no_distance(diverged_run):
    assert phase_energy(diverged_run).isnull().all()


@pytest.mark.parametrize("norm", ["l1", "linf"])
def test_energies_in_a_norm(contracting_run, norm):
    """Along the model's own phases; both contract in ℓ1."""
    path = deep_nb.trajectory(contracting_run)
    V = energy(path, contracting_run, norm=norm)
    assert V.dims == ("seed", "step", "sample")
    for phase in ("free", "nudged"):
        steps = V["phase"].values == phase
        rest = rest_point(contracting_run, phase=phase)
        away = np.abs(path["S"].values[:, steps][..., 3:] - rest.S[:, None])
        expected = away.sum(axis=-1) if norm == "l1" else away.max(axis=-1)
        np.testing.assert_array_equal(V.values[:, steps], expected)
        if norm == "l1":
            assert (np.diff(expected, axis=1) <= 1e-8).all()
            assert (expected <= (1 - 0.05 * 0.2) ** np.arange(steps.sum())[:, None] * 6).all()


def test_a_matrix_is_for_the_quadratic_energy_only(contracting_run):
    path, P = deep_nb.trajectory(contracting_run), np.broadcast_to(np.eye(6), (4, 6, 6))
    with pytest.raises(ValueError, match=r"give P or norm='l1'$"):
        energy(path, contracting_run, P, norm="l1")
    with pytest.raises(ValueError, match="unknown norm 'l2'; allowed: quadratic, l1, linf"):
        energy(path, contracting_run, norm="l2")
    quadratic = energy(path, contracting_run, P)
    assert (quadratic <= energy(path, contracting_run, norm="l1") ** 2 + 1e-15).all()
    assert (quadratic >= energy(path, contracting_run, norm="linf") ** 2 - 1e-15).all()


def test_the_report_of_the_free_phase_has_the_rates(contracting_run):
    report = stability_report(contracting_run)
    np.testing.assert_allclose(report["contraction_rate_l1"], -0.2, rtol=1e-13)
    J = jacobian(contracting_run)
    np.testing.assert_array_equal(report["contraction_rate_linf"], contraction_rate_linf(J))
    symmetric = np.linalg.eigvalsh(J + J.swapaxes(1, 2)).max(axis=1) < 0
    assert (report["certified_identity"] == symmetric).all()
    rotation = stability_report(by_hand(ROTATION, leak=1.0, outflow=0.0))
    assert rotation["certified_identity"].all()
    assert not rotation["certified"].any()
    assert rotation["hurwitz"].all()


@pytest.mark.parametrize(
    ("rule", "stable"),
    [
        ("asymep", False),
        ("centered", False),
        ("onesided", True),
        ("stdp", True),
        ("adjoint", True),
    ],
)
def test_a_step_must_be_stable_at_minus_beta_too(rule, stable):
    """The output's μ at −β, 24 − 1, times 0.05 is 1.15; at +β, −25 times 0.05 is −1.25."""
    run = by_hand(ZERO, leak=1.0, beta=24.0, rule=rule)
    assert step_is_stable(run).values.tolist() == [stable]
    assert step_is_stable(by_hand(ZERO, leak=1.0, beta=20.0, rule=rule)).all()


def test_the_nudged_phase_of_adjoint_is_judged_although_it_teaches_nothing():
    assert not step_is_stable(by_hand(ZERO, leak=1.0, beta=40.0, rule="adjoint")).any()
