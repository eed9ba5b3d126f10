import numpy as np
import pytest

import deep_nb
from deep_nb.analysis.alignment import _angle, angle_to_gradient, rule_change
from deep_nb.analysis.stability import REST_SPEED

LEAKY = deep_nb.DEEP.replace(name="leaky DEEP", leak=1.0, rule="asymep")
LONG = {"T1": 4000, "T2": 4000}


@pytest.fixture(scope="module")
def run():
    hyper = {"n_epochs": 20, "beta": 3.0, "dt_W": 0.7}
    return deep_nb.train(LEAKY, "or", seeds=range(6), hyper=hyper, record=("weights",))


def test_the_runs_own_rule_gives_the_change_of_training(run):
    """ΔW by its own rule, from other starting states but the same rest points."""
    change = rule_change(run, "asymep", epoch=19, hyper=LONG)
    W = run["W_epochs"].values
    np.testing.assert_allclose(0.7 * change.dW, W[:, 20] - W[:, 19], atol=1e-6)


def test_only_asymep_follows_the_gradient(run):
    angles = angle_to_gradient(run, epochs=(10, 20), hyper={**LONG, "beta": 1e-4})
    assert angles.dims == ("rule", "snapshot", "seed")
    assert np.nanmax(angles.sel(rule="asymep")) < 0.1
    assert angles.sel(rule="centered").median() > 1
    assert angles.sel(rule="stdp").median() > 5


def test_the_angle_equals_the_arccosine(run):
    a, b = (rule_change(run, rule).dW.reshape(6, -1) for rule in ("centered", "adjoint"))
    moved = b.any(axis=1)
    assert moved.any()
    a, b = a[moved], b[moved]
    cosine = (a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    angles = angle_to_gradient(run, rules=["centered"])[0, 0, moved]
    np.testing.assert_allclose(angles, np.degrees(np.arccos(cosine)), atol=1e-5)


def test_biases_count_in_the_angle():
    run = deep_nb.train("EP_asym", "or", seeds=range(2), hyper={"n_epochs": 150})
    exact, gradient = (rule_change(run, rule, hyper=LONG) for rule in ("contrastive", "adjoint"))
    both = [np.hstack([c.dW.reshape(2, -1), c.db]) for c in (exact, gradient)]
    cosine = (both[0] * both[1]).sum(axis=1)
    cosine /= np.linalg.norm(both[0], axis=1) * np.linalg.norm(both[1], axis=1)
    assert gradient.db.any()
    angles = angle_to_gradient(run, rules=["contrastive"], hyper=LONG)[0, 0]
    np.testing.assert_allclose(angles, np.degrees(np.arccos(cosine)), atol=1e-5)


def test_a_network_that_does_not_rest_has_no_gradient(run):
    assert angle_to_gradient(run, rules=["asymep"], hyper={"T1": 5}).isnull().all()
    assert angle_to_gradient(run, rules=["asymep"], hyper=LONG).notnull().any()


def test_a_network_rests_when_all_its_samples_together_do(run):
    """√Σ (Δs / dt)² over neurons and samples; just before it is small enough, there is no angle."""
    S = deep_nb.trajectory(run)["S"].values[:, :1001]
    speeds = np.sqrt(((np.diff(S, axis=1) / 0.05) ** 2).sum(axis=(2, 3)))
    tried = 0
    for network in range(6):
        resting = np.flatnonzero(speeds[network] < REST_SPEED)
        if not resting.size:
            continue
        steps = resting[0] + 1  # of which the last is slow enough
        one = run.isel(seed=[network])
        looks = [
            angle_to_gradient(one, ["asymep"], hyper={**LONG, "T1": int(T1)}).item()
            for T1 in (steps - 1, steps)
        ]
        if np.isfinite(looks[1]):
            assert np.isnan(looks[0])
            tried += 1
    assert tried >= 2


def test_angles_are_labelled_as_they_were_asked_for(run):
    some = run.isel(seed=[4, 1, 3]).copy(deep=True)
    some["diverged"][1] = True
    small = {**LONG, "beta": 1e-3}
    angles = angle_to_gradient(some, ["stdp", "centered"], epochs=[20, 10], hyper=small)
    assert angles["seed"].values.tolist() == [4, 1, 3]
    assert angles["snapshot"].values.tolist() == [20, 10]
    assert angles["rule"].values.tolist() == ["stdp", "centered"]
    assert angles.attrs["units"] == "degree"
    assert angles.sel(seed=1).isnull().all()
    for seed, epoch, rule in ((4, 10, "stdp"), (3, 20, "centered")):
        alone = angle_to_gradient(some.sel(seed=[seed]), [rule], [epoch], small)
        assert angles.sel(seed=seed, snapshot=epoch, rule=rule) == alone.item()
    assert angles.notnull().any()


def test_at_a_corner_of_the_clip_there_is_no_angle():
    """Without a bias yet, NOT of 0 leaves every neuron at 0 with nothing that pushes."""
    run = deep_nb.train(
        "EP_asym", "not", seeds=range(4), hyper={"n_epochs": 10}, record=("weights",)
    )
    assert angle_to_gradient(run, epochs=[0], hyper=LONG).isnull().all()
    assert angle_to_gradient(run, epochs=[10], hyper=LONG).notnull().any()


def test_rule_changes_ignore_the_sign_flag():
    hyper = {"n_epochs": 3, "beta": 3.0, "dt_W": 0.01}
    signed = deep_nb.train(LEAKY, "or", seeds=range(3), hyper=hyper, sign=True)
    sizes = np.abs(rule_change(signed, "asymep").dW)
    assert ((sizes > 0) & (sizes != 1)).any()


def test_without_a_gradient_the_angle_is_nan(diverged_run, run):
    assert angle_to_gradient(diverged_run, rules=["stdp"]).isnull().all()
    with pytest.raises(ValueError, match="unknown rule 'asymepp'"):
        angle_to_gradient(run, rules=["asymepp"])
    with pytest.raises(ValueError, match="rules must be a sequence"):
        angle_to_gradient(run, rules="asymep")
    with pytest.raises(ValueError, match="beta"):
        angle_to_gradient(run, hyper={"beta": 0.0})


def test_angles_of_rows_by_hand():
    """Right, acute, straight, none; a row may be as small or as large as numbers are."""
    a = np.array([[1.0, 0.0], [1e-150, 0.0], [0.0, 2.0], [0.0, 0.0], [3.0, 4.0]])
    b = np.array([[0.0, 5.0], [1e150, 1e150], [0.0, -3.0], [1.0, 0.0], [0.0, 0.0]])
    np.testing.assert_allclose(_angle(a, b), [90.0, 45.0, 180.0, np.nan, np.nan], rtol=1e-14)
