"""The explorer's JavaScript computes what Python computes, and its page is complete."""

import contextlib
import itertools
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import deep_nb
from deep_nb.analysis import euler_factor_l1, jacobian
from deep_nb.cli import main
from deep_nb.explorer.page import SCRIPT, STYLE, catalogue, module, setting, write_page
from deep_nb.models import MODELS
from deep_nb.problem import Problem
from deep_nb.rules import RULES
from deep_nb.tasks import TASKS, get_task

from .conftest import SHORT, refused

node = pytest.mark.skipif(not shutil.which("node"), reason="needs Node.js, to run JavaScript")

#: Sums of a few numbers of at most 200 in another order: the two agree to the last digits.
close = {"rtol": 1e-12, "atol": 1e-12}

DRIVER = f"""
import * as js from {json.dumps(SCRIPT.as_uri())};
import {{ readFileSync }} from "node:fs";
const answer = (text, given) => Function("js", "given", `return (${{text}})`)(js, given);
const cases = JSON.parse(readFileSync(0, "utf8"));
const plain = (key, value) => (ArrayBuffer.isView(value) ? [...value] : value);
console.log(JSON.stringify(cases.map(([e, given]) => answer(e, given)), plain));
"""


def javascript(*cases):
    """Evaluate expressions of the module `js`, each with something given, in one process."""
    command = ["node", "--input-type=module", "-e", DRIVER]
    ran = subprocess.run(command, input=json.dumps(cases), capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


COLUMNS = ([0, 1, 2], [0, 0, 0], [0.2, 0.5, 0.8], [-1, 0, 1], [0, 1, 10_000], [0, 1, 9999])
TARGETS = [[[y] for y in column] for column in COLUMNS]
TARGETS += [[[0, 1], [1, 0]], [[0, 1], [1, 1]], [[0, 2], [1, 0]], [[0, 0], [1, 0]]]


def suits(model, Y, tmp_path):
    """Whether `train`, `explore` and `write_page` take targets; all refuse with one message."""
    task = deep_nb.Task("own", np.zeros((len(Y), 1)), Y)
    try:
        Problem.of(model, task)
    except ValueError as error:
        for show in (deep_nb.explore, lambda *given: write_page(tmp_path / "page.html", *given)):
            with refused(str(error)):
                show(model, task)
        return False
    deep_nb.explore(model, task)
    return True


@pytest.mark.slow
@node
def test_a_model_is_offered_for_the_targets_that_train_takes(tmp_path):
    given = [(model, Y) for model in ("DEEP", "DEEP_oh") for Y in TARGETS]
    cases = [["js.suits(...given)", [{"one_hot": MODELS[m].one_hot}, {"Y": Y}]] for m, Y in given]
    expected = [suits(model, Y, tmp_path) for model, Y in given]
    assert javascript(*cases) == expected
    assert expected.count(False) == 6


TRAIN = """(() => {
  const network = new js.Network(given), W_epochs = [network.W], b_epochs = [network.b], S = [];
  for (let k = 0; k < given.model.hyper.n_epochs; k++) {
    network.epoch();
    W_epochs.push(network.W);
    b_epochs.push(network.b);
    S.push(network.free);
  }
  return { ...network, W_epochs, b_epochs, S, problem: null, stream: null };
})()"""


def variant(model, rule, activation, **hyper):
    """A model with another rule and activation, for a few short epochs."""
    hyper = MODELS[model].hyper.replace(**SHORT, **hyper)
    return MODELS[model].replace(rule=rule, activation=activation, hyper=hyper)


CASES = [
    (variant(model, rule, activation), task, seed, flags)
    for seed, (model, rule, activation) in enumerate(
        itertools.product(MODELS, RULES, ("hard_sigmoid", "sigmoid", "tanh"))
    )
    if activation == "hard_sigmoid" or rule not in ("onesided", "asymep", "adjoint")
    for task, flags in (("xor", {}), (["not", "and"][seed % 2], {"sparse": True}))
]
CLASSES = deep_nb.Task("three classes", [[0, 1, 0.5], [1, 0, 0], [1, 1, -1]], [[2], [0], [1]])
CASES += [(variant("DEEP_oh", rule, "hard_sigmoid", N_H=(2, 3)), CLASSES, 3, {}) for rule in RULES]
CASES += [(variant("DEEP", "stdp", "hard_sigmoid"), "or", 2**32 - 1, {"regularized": True})]


@pytest.fixture(scope="module")
def trained():
    """Every model, rule and activation, trained in JavaScript."""
    given = [{**setting(m, get_task(t), seed), **flags} for m, t, seed, flags in CASES]
    return javascript(*[[TRAIN, one] for one in given])


@pytest.mark.slow
@node
@pytest.mark.parametrize("k", range(len(CASES)))
def test_javascript_trains_the_network_that_python_trains(trained, k):
    model, task, seed, flags = CASES[k]
    run = deep_nb.train(
        model, task, seeds=seed, engine="reference", record=("weights", "trajectories"), **flags
    ).isel(seed=0)
    got = trained[k]
    W = run["W_epochs"].values
    np.testing.assert_allclose(np.reshape(got["W_epochs"], W.shape), W, **close)
    np.testing.assert_allclose(got["b_epochs"], run["b_epochs"], **close)
    N_X = run["S_free"].shape[-1] - np.size(got["S"][0]) // len(run["S_free"])
    S = run["S_epochs"].values[:, SHORT["T1"], :, N_X:]
    np.testing.assert_allclose(np.reshape(got["S"], S.shape), S, **close)
    np.testing.assert_allclose(got["mse"], run["mse_free"], **close)
    np.testing.assert_array_equal(np.divide(got["errors"], S.shape[1]), run["class_error_free"])
    assert not got["diverged"]


@node
def test_the_compared_networks_learn(trained):
    """Equal weights that never change would show little; saturated tanh networks may not move."""
    moved = [np.abs(np.diff(got["W_epochs"], axis=0)).max() > 0 for got in trained]
    assert sum(moved) >= len(CASES) - 2


@pytest.mark.slow
@node
def test_a_diverged_network_keeps_its_last_weights():
    model = deep_nb.DEEP.replace(
        hyper=deep_nb.DEEP.hyper.replace(**SHORT, dt_W=1e308, reg_W=1.7e308)
    )
    given = {**setting(model, TASKS["xor"], 0), "regularized": True}
    expression = """(() => {
      const network = new js.Network(given), before = network.W;
      network.epoch();
      network.epoch();
      return [network.diverged, network.W === before, network.mse.length];
    })()"""
    got = javascript([expression, given])[0]
    with pytest.warns(RuntimeWarning, match="1 of 1 networks diverged"):
        run = deep_nb.train(model, "xor", seeds=0, regularized=True)
    epochs = int(run["diverged_epoch"][0])
    assert got == [True, epochs == 0, epochs]


@node
def test_random_numbers_are_numpys():
    expression = """(() => {
      const stream = new js.RandomState(given);
      const take = (count, draw) => Array.from({ length: count }, draw);
      return [take(700, () => stream.random()), take(701, () => stream.normal()),
              stream.random(), take(4, () => stream.normal())];
    })()"""
    seeds = (0, 7, 2**32 - 1)
    for seed, got in zip(seeds, javascript(*[[expression, k] for k in seeds]), strict=True):
        stream = np.random.RandomState(seed)
        assert got[0] == stream.random_sample(700).tolist()
        # log and sqrt may differ in their last bit from those of C.
        np.testing.assert_allclose(got[1], stream.normal(size=701), rtol=1e-14, atol=1e-15)
        assert got[2] == stream.random_sample()
        np.testing.assert_allclose(got[3], stream.normal(size=4), rtol=1e-14, atol=1e-15)


FOLLOW = """(() => {
  const network = Object.assign(new js.Network(given.setting), { W: given.W, b: given.b });
  const path = js.follow(network, given);
  const field = js.freeField(network.problem, given.W, given.b);
  const settling = js.decisionMap(network, given.start, given.clamped, 3);
  let parts = 0, part;
  while (!(part = settling.next()).done) parts += 1;
  return { ...path, map: part.value, parts, free: js.eulerFactor(field, network.problem.hyper.dt) };
})()"""


@pytest.fixture(scope="module", params=["contracting DEEP", "DEEP_oh", "EP_asym"])
def followed(request):
    """A run of one network, what it is shown by hand, and what JavaScript makes of that."""
    hyper = {"N_H": 3, "n_epochs": 2, "T1": 1200, "T2": 1000}
    run = deep_nb.train(request.param, "xor", seeds=5, hyper=hyper)
    model = MODELS[request.param].replace(hyper=MODELS[request.param].hyper.replace(**hyper))
    n = 5 if model.one_hot else 4
    shown = {
        "x": [0.25, 0.75],
        "y": [0, 1] if model.one_hot else [1],
        "beta": 0.7,
        "start": [0.1, 0.9, 0.3, 0.5, 0.6][:n],
        "clamped": [0, 1, 0, 0, 0][:n],
    }
    given = {
        "setting": setting(model, TASKS["xor"], 5),
        "W": run["W"].values.ravel().tolist(),
        "b": run["b"].values.ravel().tolist(),
        **shown,
    }
    return run, shown, javascript([FOLLOW, given])[0]


@node
def test_javascript_follows_the_path_that_python_follows(followed):
    run, shown, got = followed
    start = shown["start"]
    path = deep_nb.trajectory(
        run, "reference", X=[shown["x"]], Y=[shown["y"]], beta=shown["beta"], start=start,
        clamp={"h1": start[1]}, energy=True,
    )  # fmt: skip
    S = path["S"].values[0, :, 0, -len(start) :]
    np.testing.assert_allclose(np.reshape(got["states"], S.shape), S, **close)
    assert (S[:, 1] == 0.9).all()
    residual = np.array(got["residual"], dtype=float)
    np.testing.assert_allclose(residual, path["projected_residual"].values[0], **close)
    if json.loads(run.attrs["model"])["leak"]:  # without, it need not come to rest
        V = path["energy"].values[0, :, 0]
        # Each search for the rest point ends at a speed of 1e-9, or 1e-12 in JavaScript.
        np.testing.assert_allclose(np.array(got["V"], dtype=float), V, rtol=0, atol=1e-8)
        bound = np.array(got["bound"], dtype=float)
        assert (bound + 1e-8 >= V).all()


@node
def test_javascripts_factor_is_the_library_s(followed):
    run, _, got = followed
    dt = json.loads(run.attrs["hyper"])["dt"]
    np.testing.assert_allclose(got["free"], euler_factor_l1(jacobian(run), dt)[0], **close)


@node
def test_javascripts_map_is_that_of_python(followed):
    run, shown, got = followed
    axis = [0, 0.5, 1]
    grid = [[x0, x1] for x1 in axis for x0 in axis]
    answer = deep_nb.predict(run, grid, start=shown["start"], clamp={"h1": shown["start"][1]})
    y = answer["output"].values[0]
    expected = (1 + y[:, 1] - y[:, 0]) / 2 if y.shape[1] == 2 else y[:, 0]
    np.testing.assert_allclose(got["map"], expected, **close)
    assert got["parts"] == len(grid)  # a page can do something else after each


@node
def test_the_map_covers_the_inputs_of_the_task():
    """From min(0, the least) to max(1, the largest) of each input."""
    task = deep_nb.Task("own", [[-1, 0.5], [-1, 3], [1, 0.5], [1, 3]], [[0], [1], [1], [0]])
    run = deep_nb.train("EP_asym", task, seeds=5, hyper={"n_epochs": 2})
    given = {
        "setting": setting(deep_nb.EP_asym, task, 5),
        "W": run["W"].values.ravel().tolist(),
        "b": run["b"].values.ravel().tolist(),
        "x": [1, 3],
        "y": [0],
        "beta": 1,
        "start": [0.1] * 6,
        "clamped": [0] * 6,
    }
    got = javascript([FOLLOW, given])[0]
    grid = [[x0, x1] for x1 in (0, 1.5, 3) for x0 in (-1, 0, 1)]
    expected = deep_nb.predict(run, grid, start=given["start"])["output"].values[0, :, 0]
    assert len({*expected.round(6)}) >= 5
    np.testing.assert_allclose(got["map"], expected, **close)


def test_a_widget_follows_its_controls():
    explorer = deep_nb.explore("DEEP_oh", "and", seed=4)
    assert repr(explorer) == "Explorer('DEEP_oh', 'and', seed=4)"
    changed = json.loads(json.dumps(explorer.setting))
    changed["model"]["hyper"]["beta"], changed["sparse"], changed["seed"] = 0.5, True, 6
    explorer.setting = changed
    arguments = explorer.arguments()
    assert arguments["model"] == deep_nb.DEEP_oh.replace(
        hyper=deep_nb.DEEP_oh.hyper.replace(beta=0.5)
    )
    assert (arguments["seeds"], arguments["sparse"], arguments["regularized"]) == (6, True, False)
    np.testing.assert_array_equal(arguments["task"].Y, TASKS["and"].Y)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": -5}, "seed must be an integer from 0 to 4294967295, got -5"),
        ({"sparse": 1}, "sparse must be True or False, got 1"),
        ({"regularized": None}, "regularized must be True or False, got None"),
        ({"model": "DEEP"}, "model must be a mapping from names to values, got 'DEEP'"),
        ({"model": {}}, "Model needs a value for 'name'"),
        ({"task": {"name": "own"}}, "task must have the names name, X, Y, got ['name']"),
        (
            {"task": {"name": "own", "X": [[0], [1]], "Y": [[0.5], [1]]}},
            "one-hot targets in one column must be class numbers 0, 1, … below 10000",
        ),
        (
            {"epochs": 3},
            "setting must have the names model, task, seed, regularized, sparse, "
            "got ['model', 'task', 'seed', 'regularized', 'sparse', 'epochs']",
        ),
    ],
)
def test_a_setting_is_checked_when_it_is_assigned(change, message):
    explorer = deep_nb.explore("DEEP_oh", "and", seed=4)
    before = explorer.setting
    with pytest.raises(ValueError, match=rf"\A{re.escape(message)}"):
        explorer.setting = before | change
    assert explorer.setting == before
    assert repr(explorer) == "Explorer('DEEP_oh', 'and', seed=4)"


def test_an_empty_setting_is_refused():
    explorer = deep_nb.explore()
    with refused("setting must have the names model, task, seed, regularized, sparse, got []"):
        explorer.setting = {}
    assert explorer.arguments()["model"] == deep_nb.contracting_DEEP


def test_a_model_and_a_task_of_ones_own_can_be_explored():
    nand = deep_nb.Task("nand </script>", TASKS["and"].X, 1 - TASKS["and"].Y)
    explorer = deep_nb.explore(deep_nb.DEEP.replace(name="mine", leak=2.0), nand)
    assert explorer.setting["model"]["leak"] == 2.0
    assert explorer.catalogue["models"]["mine"]["leak"] == 2.0
    assert explorer.catalogue["tasks"]["nand </script>"]["Y"] == [[1], [1], [1], [0]]
    assert {*MODELS} < {*explorer.catalogue["models"]}


def test_by_default_a_contracting_network_of_seed_0_learns_xor():
    assert repr(deep_nb.explore()) == "Explorer('contracting DEEP', 'xor', seed=0)"


@pytest.mark.parametrize("given", [-1, 2**32, 0.5, "0", True])
def test_a_seed_is_one_of_numpys(given, tmp_path):
    message = f"seed must be an integer from 0 to 4294967295, got {given!r}"
    with refused(message):
        deep_nb.explore(seed=given)
    with refused(message):
        write_page(tmp_path / "page.html", "DEEP", "xor", given)
    assert not list(tmp_path.iterdir())


def test_the_largest_seed_is_shown(tmp_path):
    assert deep_nb.explore(seed=2**32 - 1).setting["seed"] == 4294967295
    page = write_page(tmp_path / "page.html", "DEEP", "xor", 2**32 - 1)
    assert '"seed": 4294967295' in page.read_text(encoding="utf-8")


def test_without_anywidget_it_says_which_extra_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "anywidget", None)
    monkeypatch.delitem(sys.modules, "deep_nb.explorer.widget", raising=False)
    message = "deep_nb.explore needs anywidget: pip install 'deep-nb[explore]'"
    with refused(message, ModuleNotFoundError):
        deep_nb.explore()


def test_another_error_of_an_import_is_not_hidden(monkeypatch):
    monkeypatch.setitem(sys.modules, "deep_nb.explorer.page", None)
    monkeypatch.delitem(sys.modules, "deep_nb.explorer.widget", raising=False)
    with pytest.raises(ImportError, match=r"import of deep_nb\.explorer\.page halted"):
        deep_nb.explore()


def test_a_setting_has_the_names_that_the_script_reads():
    given = setting(deep_nb.DEEP, TASKS["and"], 3)
    assert {*given} == {"model", "task", "seed", "regularized", "sparse"}
    assert given["task"] == {"name": "and", "X": TASKS["and"].X.tolist(), "Y": [[0], [0], [0], [1]]}
    chosen = catalogue()
    assert {*chosen} == {"models", "tasks", "rules", "activations", "about"}
    assert chosen["about"]["beta"] == "nudging strength β, not 0"
    script = SCRIPT.read_text(encoding="utf-8")
    for name in ({*given} | {*chosen}) - {"X", "Y"}:
        assert re.search(rf"\b{name}\b", script), name


def test_a_module_is_the_script_and_a_call():
    task = deep_nb.Task("a < b", TASKS["and"].X, TASKS["and"].Y)
    script = SCRIPT.read_text(encoding="utf-8")
    made = module("#here", "DEEP", task, 2)
    assert made.startswith(script)
    call = made.removeprefix(script).strip()
    assert call.startswith('mount(document.querySelector("#here"), ...[{')
    assert '"name": "a \\u003c b"' in call
    given = json.loads(call[call.index("...") + 3 :].removesuffix(");"))
    assert given == [catalogue([deep_nb.DEEP], [task]), setting(deep_nb.DEEP, task, 2)]


def test_the_page_holds_the_style(tmp_path):
    page = write_page(tmp_path / "page.html", "DEEP", "xor").read_text(encoding="utf-8")
    assert f"<style>{STYLE.read_text(encoding='utf-8')}</style>" in page


def test_the_page_needs_no_other_file(tmp_path):
    nand = deep_nb.Task("</script>", TASKS["and"].X, 1 - TASKS["and"].Y)
    page = write_page(tmp_path / "page.html", "DEEP", nand).read_text(encoding="utf-8")
    assert page.count("</script>") == 1  # the task's name does not end the script
    assert not re.findall(r"""(?:src|href)=["'](?!https://arxiv)|url\(|@import|import """, page)
    assert "fetch(" not in page


def test_the_page_is_of_the_model_task_and_seed_asked_for(tmp_path):
    with contextlib.chdir(tmp_path):
        result = CliRunner().invoke(
            main, ["explore", "--model", "EP_asym", "--task", "not", "--seed", "9"]
        )
        assert result.exit_code == 0
        assert result.output == "wrote explore.html\n"
        page = Path("explore.html").read_text(encoding="utf-8")
    given = json.loads(re.search(r"mount\(.*, \.\.\.(.*)\);", page)[1])
    assert given[1] == setting(deep_nb.EP_asym, TASKS["not"], 9)
    assert given[0]["rules"] == list(RULES)
