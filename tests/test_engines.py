from dataclasses import replace

import numpy as np
import pytest

import deep_nb
from deep_nb.dynamics import ACTIVATIONS, Field, Phase, euler_step, vector_field
from deep_nb.engines import ENGINES, get_engine


@pytest.fixture(params=ENGINES.values(), ids=ENGINES)
def relax(request):
    return request.param(2)


def problem(rng, K=3, M=4, n=5):
    field = Field(
        W=rng.normal(0, 0.5, (K, n, n)),
        drive=rng.normal(0, 0.3, (K, M, n)),
        decay=rng.uniform(0.5, 1.5, (K, n)),
    )
    return field, rng.uniform(size=(K, M, n))


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_a_phase_equals_its_steps(relax, activation, rng):
    field, S = problem(rng)
    beta_0, beta_1, T, dt = 0.3, 0.7, 50, 0.1
    result = relax(field, S, Phase(dt=dt, T=T, activation=activation, stdp=(beta_0, beta_1),
                   trajectory=True))  # fmt: skip
    pairing, states = np.zeros_like(field.W), [S]
    for _ in range(T):
        dS = vector_field(field, states[-1])
        states.append(euler_step(states[-1], dS, dt, ACTIVATIONS[activation]))
        v = beta_0 * states[-1] + beta_1 * (states[-1] - states[-2])
        pairing += np.einsum("kmi,kmj->kij", states[-1], v)
    trajectory = np.stack(states, axis=1)
    change = beta_0 * trajectory[:, 1:].sum(axis=1) + beta_1 * (states[-1] - S)
    moved = ((states[-1] - states[-2]) / dt) ** 2
    close = {"rtol": 0, "atol": 1e-12}  # rounding of 50 contracting steps
    np.testing.assert_allclose(result.trajectory, trajectory, **close)
    np.testing.assert_allclose(result.S, states[-1], **close)
    np.testing.assert_allclose(result.pairing, pairing, **close)
    np.testing.assert_allclose(result.change, change, **close)
    np.testing.assert_allclose(result.residual, (dS**2).sum(axis=(1, 2)) / 4, **close)
    np.testing.assert_allclose(result.projected_residual, moved.sum(axis=(1, 2)) / 4, **close)
    assert (result.steps == T).all()


@pytest.mark.parametrize("activation", ["hard_sigmoid", "sigmoid", "tanh"])
def test_early_stop_ends_after_the_first_quiet_step(relax, activation, rng):
    field, S = problem(rng)
    field = replace(field, W=0.1 * field.W)
    common = {"dt": 0.1, "activation": activation, "stdp": (0.5, 1.0), "trajectory": True}
    full = relax(field, S, Phase(T=200, **common))
    squares = np.array([(vector_field(field, full.trajectory[:, t]) ** 2).sum(axis=(1, 2))
                        for t in range(200)])  # fmt: skip
    stop = 1.001 * squares[120].max()  # clear of rounding
    stopped = relax(field, S, Phase(T=200, stop=stop, **common))
    first = [int(np.argmax(squares[:, k] <= stop)) + 1 if (squares[:, k] <= stop).any() else 200
             for k in range(3)]  # fmt: skip
    assert stopped.steps.tolist() == first
    for k, steps in enumerate(first):
        np.testing.assert_array_equal(
            stopped.trajectory[k, : steps + 1], full.trajectory[k, : steps + 1]
        )
        assert np.isnan(stopped.trajectory[k, steps + 1 :]).all()
        one = field.of(slice(k, k + 1))
        alone = relax(one, S[k : k + 1], Phase(T=steps, **common))
        np.testing.assert_array_equal(stopped.S[k], alone.S[0])
        np.testing.assert_array_equal(stopped.pairing[k], alone.pairing[0])
        np.testing.assert_array_equal(stopped.change[k], alone.change[0])
        np.testing.assert_array_equal(stopped.residual[k], alone.residual[0])


def test_a_speed_of_exactly_the_limit_stops(relax):
    """The drive equals the decay, so the first speed is 0."""
    field = Field(W=np.zeros((1, 1, 1)), drive=np.ones((1, 1, 1)), decay=np.ones((1, 1)))
    stopped = relax(field, np.ones((1, 1, 1)), Phase(dt=0.5, T=9, activation="tanh", stop=0.0))
    assert stopped.steps.tolist() == [1]


def test_inputs_do_not_change(relax, rng):
    field, S = problem(rng)
    arrays = field.W, field.drive, field.decay, S
    before = [array.copy() for array in arrays]
    relax(field, S, Phase(dt=0.1, T=3, activation="hard_sigmoid", stdp=(0.0, 1.0), stop=0.1))
    for old, new in zip(before, arrays, strict=True):
        np.testing.assert_array_equal(old, new)


def test_unknown_engine_suggests():
    with pytest.raises(ValueError, match=r"unknown engine 'refrence'.*did you mean 'reference'"):
        get_engine("refrence", 6, "tanh")
    with pytest.raises(ValueError, match="unknown engine 7"):
        deep_nb.train("DEEP", "xor", seeds=0, engine=7)


def test_only_what_is_asked_for_is_made(relax, rng):
    field, S = problem(rng)
    bare = relax(field, S, Phase(dt=0.1, T=5))
    assert (bare.pairing, bare.trajectory) == (None, None)
    full = relax(field, S, Phase(dt=0.1, T=5, stdp=(0.0, 1.0), trajectory=True))
    assert full.pairing.shape == field.W.shape
    assert full.trajectory.shape == (3, 6, 4, 5)
    np.testing.assert_array_equal(bare.S, full.S)
