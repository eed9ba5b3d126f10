"""The animation of one network that settles and learns."""

import numpy as np
import pytest
from PIL import Image

import deep_nb
from deep_nb import plotting
from deep_nb.plotting import animation

HYPER = {"n_epochs": 3, "T1": 60, "T2": 30, "dt_W": 500.0}


@pytest.fixture(scope="module")
def run():
    return deep_nb.train("DEEP", "xor", seeds=[4, 2], hyper=HYPER, record=("weights",))


@pytest.fixture
def shown(monkeypatch):
    """What the figure is told to show, in order."""
    calls = []
    for name in ("show_weights", "show_states"):
        show = getattr(animation._Stage, name)

        def call(stage, *arguments, name=name, show=show):
            calls.append((name, *arguments))
            show(stage, *arguments)

        monkeypatch.setattr(animation._Stage, name, call)
    return calls


@pytest.mark.slow
def test_the_network_settles_with_the_weights_of_each_epoch(run, shown, tmp_path):
    file = plotting.animate_learning(run, tmp_path / "new", "xor", "XOR & β", seed=2)
    assert file == tmp_path / "new" / "xor.gif"
    starts = [k for k, (name, *_) in enumerate(shown) if name == "show_weights"]
    assert [shown[k][1] for k in starts] == [0, 1, 2, 3]
    steps = [0, 1, 4, 11, 19, 30, 44, 60]  # 60 (k / 7)²
    for k, epoch in zip(starts, range(4), strict=True):
        _, _, W, score = shown[k]
        expected = run["W_epochs"].sel(seed=2, snapshot=epoch)
        np.testing.assert_array_equal(W, expected)
        at = run.sel(seed=[2])
        at = at.assign(W=at["W"].copy(data=expected.values[None]))
        np.testing.assert_array_equal(score, deep_nb.decision_map(at, 30)["score"].values[0])
        S = deep_nb.trajectory(at)["S"].values[0]
        assert [step for _, step, _ in shown[k + 1 : k + 9]] == steps
        for _, step, states in shown[k + 1 : k + 9]:
            np.testing.assert_array_equal(states, S[step])
    pauses = []
    with Image.open(file) as image:
        assert (image.n_frames, image.size) == (32, (840, 432))
        assert (image.info["loop"], image.info["comment"].decode()) == (0, "XOR & β")
        for frame in range(image.n_frames):
            image.seek(frame)
            pauses.append(image.info["duration"])
    assert pauses == [*([150] * 7 + [700]) * 3, *[150] * 7, 4000]


def test_it_ends_soon_after_the_network_has_learned():
    run = deep_nb.train("DEEP", "xor", seeds=5, record=("weights",))
    first = int(deep_nb.analysis.epochs_to_criterion(run)[0])
    epochs = animation._shown_epochs(run)
    assert (epochs[0], epochs[-1], len(epochs)) == (0, first + 1, 12)


@pytest.mark.slow
def test_the_same_run_gives_the_same_bytes_and_its_pictures_differ(run, tmp_path):
    files = [plotting.animate_learning(run, tmp_path, name, "XOR") for name in "ab"]
    assert files[0].read_bytes() == files[1].read_bytes()
    pictures = []
    with Image.open(files[0]) as image:
        for frame in (0, 7, 31):
            image.seek(frame)
            pictures.append(np.asarray(image.convert("RGB")))
    assert not (pictures[0] == pictures[1]).all()
    assert not (pictures[1] == pictures[2]).all()


@pytest.mark.slow
def test_the_darkest_state_is_0_and_the_brightest_1(run):
    network = run.isel(seed=[0])
    stage = animation._Stage(network, deep_nb.run.problem_of(network))
    stage.show_weights(0, network["W"].values[0], np.zeros((31, 31)))
    states = np.linspace(0, 1, 4 * 9).reshape(4, 9)
    stage.show_states(7, states)
    stage.picture()
    brightness = np.array([neurons.get_facecolor()[:, :3].sum(axis=1) for neurons in stage.neurons])
    assert (np.diff(brightness.ravel()) > 0).all()
    assert stage.figure.get_suptitle().endswith("after 0 epochs, step 7")
    W = network["W"].values[0][network["mask"].values]
    dashed = [style[1] is not None for style in stage.synapses[0].get_linestyle()]
    assert dashed == (W <= 0).tolist()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"task": "not"}, "the task of the run must have two inputs and one label"),
        ({"record": ()}, "record"),
    ],
)
def test_runs_that_cannot_be_animated_are_refused(change, message, tmp_path):
    given = {"task": "xor", "record": ("weights",), **change}
    run = deep_nb.train("DEEP", seeds=0, hyper=HYPER, **given)
    with pytest.raises(ValueError, match=message):
        plotting.animate_learning(run, tmp_path / "new", "a", "A")
    assert not (tmp_path / "new").exists()
