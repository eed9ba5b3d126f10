from dataclasses import asdict, replace

import numpy as np
import pytest

from deep_nb.dynamics import (
    ACTIVATIONS,
    Field,
    Phase,
    euler_step,
    free_field,
    hard_sigmoid,
    join,
    join_samples,
    nudged_field,
    sigmoid,
    tanh,
    vector_field,
)
from deep_nb.engines.reference import relax
from deep_nb.models import DEEP, EP_asym

MODELS = [
    DEEP,
    EP_asym,
    DEEP.replace(leak=0.3, outflow=0.7),
    DEEP.replace(absolute_outflow=True),
]


def test_activations():
    x = np.array([-np.inf, -1.0, 0.0, 0.3, 1.0, 2.0, np.inf])
    assert hard_sigmoid(x).tolist() == [0, 0, 0, 0.3, 1, 1, 1]
    np.testing.assert_allclose(sigmoid(x[1:-1]), 1 / (1 + np.exp(-x[1:-1])), rtol=1e-14)
    assert sigmoid(x)[[0, -1]].tolist() == [0, 1]
    np.testing.assert_array_equal(tanh(x), np.tanh(x))
    for rho in (hard_sigmoid, sigmoid, tanh):
        here = x.copy()
        assert rho(here, here) is here
        np.testing.assert_array_equal(here, rho(x))
    assert np.isnan([rho(np.array([np.nan]))[0] for rho in ACTIVATIONS.values()]).all()


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("beta", [0.0, 2.5])
def test_the_field_equals_the_equation(model, beta, rng):
    """ds_j = Σ_i W_ij s_i + b_j − s_j (λ + γ Σ_k W_jk) + β (y_j − s_j), term by term."""
    N_X, n, N_Y, M = 2, 4, 2, 3
    N = N_X + n
    W, b = rng.normal(size=(N, N)), rng.normal(size=N)
    W[:, :N_X] = 0.0
    np.fill_diagonal(W, 0.0)
    X, S, Y = rng.uniform(size=(M, N_X)), rng.uniform(size=(M, n)), rng.uniform(size=(M, N_Y))
    expected = np.zeros((M, n))
    for m in range(M):
        s = [*X[m], *S[m]]
        for j in range(N_X, N):
            out = sum(abs(W[j, k]) if model.absolute_outflow else W[j, k] for k in range(N))
            ds = sum(W[i, j] * s[i] for i in range(N)) + b[j]
            ds -= s[j] * (model.leak + model.outflow * out)
            if j >= N - N_Y:
                ds += beta * (Y[m, j - (N - N_Y)] - s[j])
            expected[m, j - N_X] = ds
    field = nudged_field(free_field(W[None], b[None], X, model), beta, Y)
    np.testing.assert_allclose(vector_field(field, S[None])[0], expected, atol=1e-13)


def test_nudging_leaves_the_free_field_as_it_was(rng):
    field = free_field(rng.normal(size=(1, 3, 3)), np.zeros((1, 3)), np.ones((1, 1)), DEEP)
    before = field.drive.copy(), field.decay.copy()
    nudged_field(field, 3.0, np.ones((1, 1)))
    np.testing.assert_array_equal(field.drive, before[0])
    np.testing.assert_array_equal(field.decay, before[1])


def test_euler_step_clips_after_the_step():
    S, dS = np.array([0.5, 0.5, 0.5]), np.array([10.0, -10.0, 1.0])
    assert euler_step(S, dS, 0.1, hard_sigmoid).tolist() == [1.0, 0.0, 0.6]


def test_total_free_activity_drifts_at_the_inputs_rate(rng):
    """λ = 0, γ = 1: Σ_j ds_j = Σ_j I_j whatever the state, since the columns of J sum to 0."""
    N_X, n = 2, 5
    W = rng.normal(size=(1, N_X + n, N_X + n))
    W[:, :, :N_X] = 0.0
    X, S = rng.uniform(size=(4, N_X)), rng.uniform(size=(1, 4, n))
    total = vector_field(free_field(W, np.zeros((1, N_X + n)), X, DEEP), S).sum(axis=2)
    np.testing.assert_allclose(total[0], X @ W[0, :N_X, N_X:].sum(axis=1), atol=1e-13)


@pytest.mark.parametrize("stdp", [None, (0.3, 0.7)])
@pytest.mark.parametrize("trajectory", [False, True])
def test_joined_parts_equal_the_whole(trajectory, stdp, rng):
    """Three networks of four neurons, three samples, apart by networks and by samples."""
    field = Field(
        rng.normal(size=(3, 4, 4)), rng.normal(size=(3, 3, 4)), rng.uniform(1, 2, size=(3, 4))
    )
    S, phase = rng.uniform(size=(3, 3, 4)), Phase(0.1, 5, stdp=stdp, trajectory=trajectory)
    whole = relax(field, S, phase)
    networks = [relax(field.of(k), S[k], phase) for k in (slice(2), slice(2, 3))]
    samples = [
        relax(replace(field, drive=field.drive[:, m]), S[:, m], phase)
        for m in (slice(1), slice(1, 3))
    ]
    for joined in (join(networks), join_samples(*samples)):
        for name, expected in asdict(whole).items():
            if expected is None:
                assert getattr(joined, name) is None
            else:
                np.testing.assert_allclose(getattr(joined, name), expected, atol=1e-14)
