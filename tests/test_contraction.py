"""Contraction in ℓ1 and ℓ∞: the theorem of docs/stability.md, which hypothesis tries to break."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import deep_nb
from deep_nb.analysis.contraction import (
    below_one,
    contraction_rate_l1,
    contraction_rate_linf,
    euler_factor_l1,
    euler_factor_linf,
    max_contracting_dt_l1,
    max_contracting_dt_linf,
)
from deep_nb.analysis.matrices import gershgorin, max_stable_dt, spectrum
from deep_nb.analysis.stability import linear_part, rule_fields, settle
from deep_nb.dynamics import Field, hard_sigmoid, vector_field
from deep_nb.problem import Problem

from .conftest import refused

EPS = np.finfo(float).eps
CONTRACTING = deep_nb.DEEP.replace(
    name="contracting", leak=0.2, absolute_outflow=True, rule="asymep"
)
#: The norm in which each phase of `asymep` contracts.
NORMS = {"free": 1, "+β": np.inf, "-β": np.inf}
few = settings(max_examples=30)


def norm(away, phase):
    return np.linalg.norm(away, NORMS[phase], axis=-1)


def rate(J, phase):
    return {1: contraction_rate_l1, np.inf: contraction_rate_linf}[NORMS[phase]](J)


def factor(J, phase, dt):
    return {1: euler_factor_l1, np.inf: euler_factor_linf}[NORMS[phase]](J, dt)


def step(field, S, dt):
    return hard_sigmoid(S + dt * vector_field(field, S))


class Network:
    """One network with weights of any size, its fields and its total outgoing weights o."""

    def __init__(self, W, X, Y, leak, beta, N_H):
        model = CONTRACTING.replace(leak=leak)
        task = deep_nb.Task("drawn", X, Y)
        self.problem = Problem.of(model, task, {"N_H": [N_H], "beta": beta})
        self.W = np.where(self.problem.mask, W, 0.0)[None]
        self.b = np.zeros((1, len(W)))
        self.leak, self.beta = leak, beta
        N_X = self.problem.layout.N_X
        self.out = np.abs(self.W[0, N_X:]).sum(axis=1)
        self.shape = (1, len(X), len(W) - N_X)

    def fields(self, S):
        return rule_fields(self.problem, self.W, self.b, S)

    def rates(self):
        """What the theorem says of each phase."""
        slowest = max(-self.leak, self.beta - self.leak)
        return {"free": -self.leak, "+β": -self.leak, "-β": slowest}


@st.composite
def networks(draw, sizes=(0.0, 1e-9, 1.0, 30.0, 1e6)):
    """A network whose weights are sparse, huge, equal or 0, with any numbers of neurons."""
    inputs, N_H, N_Y, M = (draw(st.integers(1, most)) for most in (3, 4, 3, 4))
    N_X = inputs + 1  # the bias neuron
    N = N_X + N_H + N_Y
    W = draw(arrays(float, (N, N), elements=st.floats(-1, 1, allow_subnormal=False)))
    W *= draw(arrays(bool, (N, N)))
    W[:N_X] *= 10  # the drive; more would only be clipped
    W[N_X:] *= draw(st.sampled_from(sizes))
    X = draw(arrays(float, (M, inputs), elements=st.floats(0, 1)))
    Y = draw(arrays(float, (M, N_Y), elements=st.sampled_from([0.0, 1.0])))
    leak = draw(st.floats(0.01, 2))
    return Network(W, X, Y, leak, draw(st.floats(0.01, 3)) * leak, N_H)


def states(network):
    """Starts in the box, many of them saturated."""
    inside = st.floats(0, 1) | st.sampled_from([0.0, 1.0])
    return arrays(float, network.shape, elements=inside)


@pytest.mark.slow
@given(networks(sizes=(0.0, 1e-9, 1.0, 30.0, 1e6, 1e12)))
def test_rates_are_the_leak_for_all_weights(network):
    """Sums of n terms are rounded: n ε of the largest."""
    rounding = 4 * network.shape[2] * EPS * (network.leak + network.beta + network.out.max())
    for phase, field in network.fields(np.zeros(network.shape)).items():
        found = rate(linear_part(field), phase).item()
        if phase == "+β":  # outputs decay faster
            assert found <= network.rates()[phase] + rounding
        else:
            assert found == pytest.approx(network.rates()[phase], abs=rounding, rel=0)


@pytest.mark.slow
@given(networks())
def test_the_published_column_test_passes_for_all_weights(network):
    J = linear_part(network.fields(np.zeros(network.shape))["free"])
    assert gershgorin(J).columns.all()
    assert (max_contracting_dt_l1(J) > 0).all()
    assert (max_stable_dt(J) >= max_contracting_dt_l1(J) * (1 - 1e-9)).all()


@given(arrays(float, (2, 6), elements=st.floats(-1e300, 1e300)))
def test_clipping_is_non_expansive(pair):
    """Rounding is monotone, so this holds to the last bit."""
    before, after = pair[0] - pair[1], hard_sigmoid(pair)[0] - hard_sigmoid(pair)[1]
    assert (np.abs(after) <= np.abs(before)).all()
    for order in (1, np.inf):
        with np.errstate(over="ignore"):
            assert np.linalg.norm(after, order) <= np.linalg.norm(before, order)


@pytest.mark.slow
@given(networks(), st.data(), st.floats(0.01, 1))
def test_two_starts_approach_each_other_at_every_step(network, data, part):
    """By 1 − dt λ, or 1 − dt (λ − β) at −β, as long as dt (λ + max o + β) ≤ 1."""
    dt = part / (network.leak + network.out.max() + network.beta)
    a, b = data.draw(states(network)), data.draw(states(network))
    for phase, field in network.fields(data.draw(states(network))).items():
        q, one, other = 1 + dt * network.rates()[phase], a, b
        for _ in range(20):
            before = norm(one - other, phase)
            one, other = step(field, one, dt), step(field, other, dt)
            # dt · drive ≤ 10 / λ ≤ 1000 is rounded, for each of at most 7 neurons.
            assert (norm(one - other, phase) <= q * before + 2e-12).all()


@pytest.mark.slow
@few
@given(networks(sizes=(0.0, 1.0, 30.0)), st.data(), st.floats(0.1, 0.9))
def test_the_distance_from_rest_falls_at_every_step_below_its_bound(network, data, part):
    """In every phase, for β < λ."""
    network.beta = part * network.leak
    network.problem = Problem.of(
        network.problem.model,
        network.problem.task,
        network.problem.hyper.replace(beta=network.beta),
    )
    dt = 1 / (network.leak + network.out.max() + network.beta)
    start, other = data.draw(states(network)), data.draw(states(network))
    S_free = settle(network.fields(start)["free"], dt).S
    for phase, field in network.fields(S_free).items():
        q = 1 + dt * network.rates()[phase]
        rest, again = settle(field, dt, start=start), settle(field, dt, start=other)
        # 200 000 steps at q, or as near as rounding lets the states come.
        known = q**200_000 * network.shape[2] + 1e-13 / (1 - q)
        assert (norm(rest.S - again.S, phase) <= 2 * known).all()
        S = start
        first = V = norm(start - rest.S, phase)
        for t in range(1, 40):
            S = step(field, S, dt)
            V, previous = norm(S - rest.S, phase), V
            assert (previous + 2 * known >= V).all()
            assert (q**t * first + 2 * known >= V).all()


@pytest.mark.slow
@given(networks())
def test_the_factor_is_below_one_up_to_the_largest_step(network):
    """dt (λ + 2 max o) < 2; with ∓ β on the outputs' diagonal in the corrected phases."""
    n, N_Y = network.shape[2], network.problem.layout.N_Y
    for phase, field in network.fields(np.zeros(network.shape)).items():
        J = linear_part(field)
        decay = network.leak + network.out.copy()
        decay[n - N_Y :] += {"free": 0, "+β": network.beta, "-β": -network.beta}[phase]
        largest = {1: max_contracting_dt_l1, np.inf: max_contracting_dt_linf}[NORMS[phase]](J)
        if network.rates()[phase] >= 0:
            assert largest == 0
            assert factor(J, phase, 1e-3).item() >= 1
            continue
        if -network.rates()[phase] < 1e-3 * network.leak:
            continue  # β is so near λ that rounding may decide
        limit = (2 / (decay + network.out)).min()
        assert largest.item() == pytest.approx(limit, rel=1e-9)  # sums of at most 7 terms
        assert factor(J, phase, 1.001 * limit).item() > 1
        below = factor(J, phase, 0.999 * limit)
        assert below.item() == pytest.approx(
            np.max(np.abs(1 - 0.999 * limit * decay) + 0.999 * limit * network.out)
        )
        assert below.item() < 1  # by dt (λ − β) ≥ 1e-12 at least


def test_with_beta_above_the_leak_a_corrected_phase_has_two_rest_points():
    """Without any synapse among free neurons, the output grows at β − λ from its start."""
    for beta, points in ((0.5, 2), (0.2, 2), (0.1, 1)):
        N_X, N = 3, 5
        W = np.zeros((N, N))
        W[2, 4] = -0.1 if beta > 0.2 else 0.0  # from the bias to the output
        X, Y = [[0.0, 0.0]], [[0.0]]
        network = Network(W, X, Y, 0.2, beta, 1)
        free = settle(network.fields(np.zeros((1, 1, 2)))["free"], 0.05)
        assert free.found.all()
        field = network.fields(free.S)["-β"]
        ends = [settle(field, 0.05, start=np.full((1, 1, N - N_X), value)) for value in (0.0, 1.0)]
        assert all(end.found.all() for end in ends)
        assert (len({round(end.S[0, 0, 1].item(), 6) for end in ends})) == points
        assert rate(linear_part(field), "-β").item() == pytest.approx(beta - 0.2, abs=1e-15)


def test_strong_synapses_may_stabilise_a_phase_beyond_the_leak():
    """β < λ is necessary for all weights together, not for each."""
    W = np.zeros((5, 5))
    W[3, 4] = W[4, 3] = 50.0
    network = Network(W, [[0.0, 0.0]], [[0.0]], 0.2, 0.3, 1)
    J = linear_part(network.fields(np.zeros((1, 1, 2)))["-β"])
    assert contraction_rate_linf(J).item() == pytest.approx(0.1, abs=1e-13)
    # The two neurons share the rates −λ and β − λ: their mean is −0.05.
    assert spectrum(J).abscissa.item() == pytest.approx(-0.05, abs=1e-3)


@pytest.mark.slow
@given(networks(sizes=(1.0, 1e3)))
def test_no_norm_proves_more_for_weights_above_zero(network):
    """−λ is then an eigenvalue: every column of J sums to it."""
    network.W = np.abs(network.W)
    J = linear_part(network.fields(np.zeros(network.shape))["free"])
    n = network.shape[2]
    shifted = J[0] + network.leak * np.eye(n)
    assert np.abs(shifted.sum(axis=0)).max() <= 8 * n * EPS * (network.leak + network.out.max())


@few
@given(networks(sizes=(0.0, 1.0, 30.0)), st.data(), st.floats(0, 0.3))
def test_noise_moves_the_rest_point_no_further_than_its_bound(network, data, size):
    """A constant push d by ‖d‖₁ / λ; weights by Σ over synapses, see docs/stability.md."""
    dt = 0.5 / (network.leak + 2 * (1 + size) * network.out.max())
    field = network.fields(np.zeros(network.shape))["free"]
    rest = settle(field, dt).S
    # Rest points are known as in the test above.
    known = (1 - dt * network.leak) ** 200_000 * network.shape[2] + 1e-12 / (dt * network.leak)
    push = size * data.draw(arrays(float, network.shape, elements=st.floats(-1, 1)))
    pushed = settle(Field(field.W, field.drive + push, field.decay), dt).S
    bound = np.abs(push).sum(axis=-1) / network.leak
    assert (np.abs(pushed - rest).sum(axis=-1) <= bound + 2 * known).all()

    relative = data.draw(arrays(float, network.W.shape, elements=st.floats(-1, 1)))
    noise = size * relative * network.W
    X, N_X = network.problem.X, network.problem.layout.N_X
    sent = np.abs(noise[0]).sum(axis=1)
    bound = (X @ sent[:N_X] + 2 * rest @ sent[N_X:]) / network.leak
    network.W = network.W + noise
    noisy = settle(network.fields(np.zeros(network.shape))["free"], dt).S
    assert (np.abs(noisy - rest).sum(axis=-1) <= bound + 2 * known).all()


square = st.integers(1, 6).flatmap(
    lambda n: arrays(float, (n, n), elements=st.floats(-3, 3, allow_subnormal=False))
)


@given(square, st.floats(0.01, 5))
def test_rates_and_factors_are_those_of_the_norms(J, dt):
    eye = np.eye(len(J))
    for order, mu, of in (
        (1, contraction_rate_l1, euler_factor_l1),
        (np.inf, contraction_rate_linf, euler_factor_linf),
    ):
        assert of(J, dt) == pytest.approx(np.linalg.norm(eye + dt * J, order), rel=1e-14)
        h = 2.0**-20  # with 1 + h J_jj > 0 the quotient is exact up to the rounding of 1
        assert mu(J) == pytest.approx((np.linalg.norm(eye + h * J, order) - 1) / h, abs=1e-8)
        assert spectrum(J).abscissa <= mu(J) + 1e-2  # defective eigenvalues: ε^(1/6)


@given(square)
def test_the_largest_step_separates_contraction_from_none(J):
    for mu, of, largest in (
        (contraction_rate_l1, euler_factor_l1, max_contracting_dt_l1),
        (contraction_rate_linf, euler_factor_linf, max_contracting_dt_linf),
    ):
        limit = largest(J)
        if mu(J) > -1e-9:  # not negative beyond rounding
            assert limit == 0 or mu(J) < 0
            continue
        assert of(J, 0.9 * limit) < 1
        assert of(J, limit) == pytest.approx(1, abs=1e-14)
        assert of(J, 1.1 * limit) > 1


def test_rates_by_hand():
    J = [[-3.0, 1.0], [-2.0, -4.0]]
    assert contraction_rate_l1(J) == -1.0
    assert contraction_rate_linf(J) == -2.0
    assert euler_factor_l1(J, 0.5) == 1.5
    assert euler_factor_linf(J, 0.5) == 2.0
    assert max_contracting_dt_l1(J) == 2 / 5
    assert max_contracting_dt_linf(J) == 2 / 6
    assert max_contracting_dt_l1([[-1.0, 2.0], [0.0, -1.0]]) == 0
    assert max_contracting_dt_linf(np.zeros((2, 2))) == 0


@pytest.mark.parametrize(
    "of",
    [
        contraction_rate_l1,
        contraction_rate_linf,
        lambda J: euler_factor_l1(J, 0.1),
        lambda J: euler_factor_linf(J, 0.1),
        max_contracting_dt_l1,
        max_contracting_dt_linf,
    ],
)
def test_a_matrix_that_is_not_square_is_named(of):
    with refused("J must be square matrices, got shape (2, 3)"):
        of(np.zeros((2, 3)))


def test_stacks_float32_and_tables_give_the_same():
    J = np.array([[[-3.0, 1.0], [-2.0, -4.0]], [[-1.0, 0.5], [0.25, -1.0]]])
    for of in (contraction_rate_l1, contraction_rate_linf):
        assert of(J).tolist() == [of(one) for one in J]
        assert of(J.astype(np.float32)).tolist() == of(J).tolist()
        assert of(J.astype(np.float32)).dtype == float
        assert of(pd.DataFrame(J[0])) == of(J[0])
    for of in (max_contracting_dt_l1, max_contracting_dt_linf):
        assert of(J).tolist() == [of(one) for one in J]
    for of in (euler_factor_l1, euler_factor_linf):
        assert of(J, 0.1).tolist() == [of(one, 0.1) for one in J]
        assert of(np.array(J, dtype=np.float32), 0.5).tolist() == of(J, 0.5).tolist()


@pytest.mark.filterwarnings("error")
def test_extreme_matrices_give_no_warning():
    huge, tiny = np.full((2, 2), 1.7e308), np.diag([-5e-324, -1.0])
    assert contraction_rate_l1(huge) == np.inf
    assert euler_factor_linf(huge, 1e100) == np.inf
    assert max_contracting_dt_l1(-huge) == 0
    assert max_contracting_dt_l1(tiny) == 2
    assert max_contracting_dt_linf([[-5e-324]]) == np.inf


def test_a_factor_within_rounding_of_one_proves_nothing():
    """W = 1e15 leaves of λ = 0.2 less than its rounding."""
    W = np.zeros((5, 5))
    W[3, 4], W[4, 3] = 1e15, 1e15
    network = Network(W, [[0.0, 0.0]], [[0.0]], 0.2, 0.1, 1)
    J = linear_part(network.fields(np.zeros((1, 1, 2)))["free"])
    assert not below_one(euler_factor_l1(J, 1e-15), 2).any()
    assert not gershgorin(J).columns.any()
    assert below_one(np.array([0.5, 1 - 1e-15, 1 - 1e-14, 1.0]), 2).tolist() == [
        True, False, True, False,
    ]  # fmt: skip


@pytest.mark.parametrize("of", [euler_factor_l1, euler_factor_linf])
@pytest.mark.parametrize("dt", [0, -1.0, np.inf, "0.1", True])
def test_steps_that_are_not_positive_are_refused(of, dt):
    with pytest.raises(ValueError, match=r"^dt must be a finite number above 0"):
        of(-np.eye(2), dt)
