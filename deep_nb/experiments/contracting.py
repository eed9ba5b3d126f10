r"""Contracting DEEP: what it learns, on which architectures, and under which constraints.

With the outflow :math:`\sum_k |W_{jk}|` and a leak λ > 0, the free phase contracts at rate λ in the
ℓ1 norm for all weights (``docs/stability.md``). Whatever is done to the weights of such a network,
it keeps its certificate; whether it keeps what it has learned is measured here.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import networkx as nx
import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Bool, Float, Int
from matplotlib.axes import Axes

from deep_nb._validation import integer, items, number
from deep_nb.analysis import (
    certified_throughout,
    epochs_to_criterion,
    euler_factor_l1,
    learned,
    network_table,
    share,
    stability_report,
)
from deep_nb.analysis.stability import field_after, linear_part
from deep_nb.dynamics import hard_sigmoid, vector_field
from deep_nb.experiments.common import check_counts, check_tasks, parity, percent
from deep_nb.models import DEEP, PUBLISHED, Model, contracting_DEEP, fast_contracting_DEEP
from deep_nb.plotting import BLUE, GREEN, GREY, VERMILION
from deep_nb.plotting.style import legend_below, task_title
from deep_nb.problem import Problem
from deep_nb.rest import settle
from deep_nb.run import problem_of
from deep_nb.topology import Layout, complete, layered
from deep_nb.training import train, train_constrained

#: Leaky DEEP, with the rule and the leak that serve it best on XOR.
LEAKY = DEEP.replace(
    name="leaky DEEP", leak=0.5, rule="asymep", hyper=DEEP.hyper.replace(beta=3.0, dt_W=0.5)
)
#: The models that are compared.
COMPARED = [*PUBLISHED.values(), LEAKY, contracting_DEEP, fast_contracting_DEEP]

#: Hyperparameters for the parity of each number of bits, chosen on seeds 1000–1029.
PARITY: dict[int, dict[str, Any]] = {
    2: {},
    3: {"N_H": 20, "dt_W": 0.6, "n_epochs": 1000},
    4: {"N_H": 30, "dt_W": 0.6, "n_epochs": 1500, "T1": 600, "T2": 600},
}
#: What each architecture changes in contracting DEEP, chosen on seeds 1000–1029: with 30 % of the
#: synapses, hidden neurons have few inputs, and more of them are needed.
SUITED: dict[str, dict[str, Any]] = {
    "random": {"leak": 0.15, "N_H": 40, "beta": 0.135, "dt_W": 0.3, "n_epochs": 600},
    "acyclic": {"dt_W": 0.03, "n_epochs": 1500},
}
#: The same for fast contracting DEEP, of three settings on seeds 1000–1014.
SUITED_FAST: dict[str, dict[str, Any]] = {
    "random": {"N_H": 38, "beta": 1.0, "dt_W": 1.0, "n_epochs": 300},
}
#: Share of synapses that a random architecture has, and that of hidden synapses rewired in a small
#: world.
DENSITY, REWIRED = 0.3, 0.2
#: Maximum number of bits of a quantised weight, and maximum relative noise.
MAX_BITS, MAX_NOISE = 16, 10.0


def check(
    tasks: Any,
    architecture_tasks: Any,
    bits: Any,
    noises: Any,
    kicks: Any,
    parity_bits: Any,
    **counts: int,
) -> None:
    """Refuse parameters of the notebook that cannot work, before any network is trained."""
    check_counts(**counts)
    for name, names in {"tasks": tasks, "architecture_tasks": architecture_tasks}.items():
        check_tasks(name, names)
        if len({*names}) < len(names):
            raise ValueError(f"{name} must contain distinct values, got {names}")
    for value in items(bits, "bits"):
        integer(value, "each entry of bits", 2, MAX_BITS)
    for name, values in {"noises": noises, "kicks": kicks}.items():
        for value in items(values, name):
            number(value, f"each entry of {name}", 0, MAX_NOISE)
    for value in items(parity_bits, "parity_bits"):
        integer(value, "each entry of parity_bits", min(PARITY), max(PARITY))


def verdicts(run: xr.Dataset) -> xr.Dataset:
    """Return whether each network has learned its task, is certified, and comes to rest.

    ``certified``: every phase of every epoch is proved to contract; ``certified_free``: those that
    answer and nudge at +β, without the one at −β.
    """
    phases = ["free"] if problem_of(run).model.rule == "adjoint" else ["free", "+β"]
    certified = certified_throughout(run)
    values = {
        "learned": learned(run).values[:, -1],
        "certified": certified.values,
        "certified_free": (
            certified if certified.all() else certified_throughout(run, phases)
        ).values,
        "at_rest": stability_report(run)["at_rest"].values,
    }
    return xr.Dataset(
        {name: ("seed", value) for name, value in values.items()}, {"seed": run["seed"].values}
    )


def compare(models: Sequence[Model], tasks: Sequence[str], seeds: Sequence[int]) -> pd.DataFrame:
    """Train every model on every task, and count the verdicts on its networks.

    One row per model and task, with the number that have ``learned``, are ``certified`` in every
    phase of every epoch, are so ``but for −β``, end ``at rest``, and ``all`` of these (learned,
    certified and at rest); and the median ``epochs`` to the criterion, where networks that never
    reach it count as infinitely late.
    """
    rows = []
    for model, task in itertools.product(models, tasks):
        run = train(model, task, seeds=seeds, record=("weights",))
        found = verdicts(run)
        together = found["learned"] & found["certified"] & found["at_rest"]
        counts = [int(found[name].sum()) for name in ("certified", "certified_free", "at_rest")]
        epochs = np.median(np.nan_to_num(epochs_to_criterion(run), nan=np.inf))
        row = [model.name, task, int(found["learned"].sum()), *counts, int(together.sum()), epochs]
        rows.append(row)
    columns = ["model", "task", "learned", "certified", "but for −β", "at rest", "all", "epochs"]
    return pd.DataFrame(rows, columns=columns)


def readme_table(table: pd.DataFrame, total: int) -> str:
    """Return `compare`'s counts in Markdown: learned · certified · at rest of `total` networks."""
    counts = zip(table["learned"], table["certified"], table["at rest"], strict=True)
    cells = table.assign(cell=[" · ".join(map(str, of)) for of in counts])
    tasks = list(dict.fromkeys(table["task"]))
    lines = [["model", *map(str.upper, tasks)], ["---"] * (1 + len(tasks))]
    for model, of in cells.groupby("model", sort=False):
        by_task = of.set_index("task")["cell"]
        lines.append([str(model), *(by_task[task] for task in tasks)])
    rows = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    rest = f"at rest within the {DEEP.hyper.T1} steps of the free phase"
    return f"{rows}\n\nlearned · certified · {rest}, of {total} networks\n"


def architecture(kind: str, layout: Layout, seed: int) -> Bool[np.ndarray, "N N"]:
    """Return the mask of an architecture; `seed` draws the random ones.

    In ``ring`` and ``small world``, inputs send to all free neurons, hidden neurons and outputs to
    each other, and hidden neurons among each other along a ring of both directions, or one of whose
    synapses a share is rewired at random (D. J. Watts, S. H. Strogatz, 1998). ``random`` keeps
    each synapse of the complete network with the same probability. ``acyclic`` keeps those from a
    neuron to a later one in a random order of the hidden neurons, the outputs last.
    """
    return ARCHITECTURES[kind](layout, np.random.default_rng(seed))


def _hidden(layout: Layout) -> slice:
    return slice(layout.N_X, layout.N - layout.N_Y)


def _ring(layout: Layout, rng: np.random.Generator) -> Bool[np.ndarray, "N N"]:
    return _with_hidden(layout, nx.cycle_graph(sum(layout.N_H)))


def _small_world(layout: Layout, rng: np.random.Generator) -> Bool[np.ndarray, "N N"]:
    graph = nx.watts_strogatz_graph(sum(layout.N_H), 4, REWIRED, seed=int(rng.integers(2**31)))
    return _with_hidden(layout, graph)


def _with_hidden(layout: Layout, graph: nx.Graph) -> Bool[np.ndarray, "N N"]:
    """Return the complete mask, but for the hidden neurons, which the graph connects both ways."""
    mask, hidden = complete(layout), _hidden(layout)
    mask[hidden, hidden] = nx.to_numpy_array(graph, dtype=bool)
    return mask


def _random(layout: Layout, rng: np.random.Generator) -> Bool[np.ndarray, "N N"]:
    return complete(layout) & (rng.random((layout.N, layout.N)) < DENSITY)


def _acyclic(layout: Layout, rng: np.random.Generator) -> Bool[np.ndarray, "N N"]:
    hidden = _hidden(layout)
    rank = np.arange(layout.N)
    rank[hidden] = hidden.start + rng.permutation(sum(layout.N_H))
    return complete(layout) & (rank[:, None] < rank[None, :])


ARCHITECTURES: dict[str, Callable[[Layout, np.random.Generator], Bool[np.ndarray, "N N"]]] = {
    "complete": lambda layout, rng: complete(layout),
    "layered": lambda layout, rng: layered(layout),
    "ring": _ring,
    "small world": _small_world,
    "random": _random,
    "acyclic": _acyclic,
}
#: Architectures that are the same for every seed.
FIXED = ("complete", "layered", "ring")


def suited(model: Model, kind: str) -> Model:
    """Return the model with what suits an architecture, by `SUITED` or `SUITED_FAST`."""
    changes = dict(_suits(model)[kind])
    leak = changes.pop("leak", model.leak)
    return model.replace(leak=leak, hyper=model.hyper.replace(**changes))


def _suits(model: Model) -> dict[str, dict[str, Any]]:
    return SUITED_FAST if model.rule == "onesided" else SUITED


def learn_on(kind: str, model: Model, task: str, seeds: Sequence[int]) -> xr.Dataset:
    """Train networks on an architecture, a random one drawn for each; return `verdicts`."""
    layout = Problem.of(model, task).layout
    groups = [list(seeds)] if kind in FIXED else [[seed] for seed in seeds]
    found = []
    for group in groups:
        mask = architecture(kind, layout, group[0])
        run = train(model, task, seeds=group, topology=mask, record=("weights",))
        found.append(verdicts(run))
    return xr.concat(found, "seed")


def compare_architectures(model: Model, tasks: Sequence[str], seeds: Sequence[int]) -> pd.DataFrame:
    """Count the networks that learn each task on each architecture, and those certified.

    Where another setting suits an architecture (`suited`), both are tried.
    """
    rows = []
    for kind in ARCHITECTURES:
        settings = {"the model's": model}
        if kind in _suits(model):
            settings["suited"] = suited(model, kind)
        for (setting, own), task in itertools.product(settings.items(), tasks):
            found = learn_on(kind, own, task, seeds)
            both = int((found["learned"] & found["certified"]).sum())
            counts = [int(found[name].sum()) for name in ("learned", "certified")]
            rows.append([kind, setting, task, *counts, both])
    columns = ["architecture", "setting", "task", "learned", "certified", "both"]
    return pd.DataFrame(rows, columns=columns)


def draw_architectures(table: pd.DataFrame, total: int, ax: Axes) -> None:
    """Draw the shares of `compare_architectures` that learn and are certified, with intervals."""
    places = table[["architecture", "setting"]].drop_duplicates()
    names = [
        kind if setting == "the model's" else f"{kind}\n{setting}"
        for kind, setting in places.itertuples(index=False)
    ]
    tasks = table["task"].unique()
    looks = zip(tasks, itertools.cycle((BLUE, VERMILION, GREEN, GREY)), "osD^v", strict=False)
    for column, (task, colour, marker) in enumerate(looks):
        shares = [share(n, total) for n in table.loc[table["task"] == task, "both"]]
        middle = np.array([one.value for one in shares])
        below = middle - [one.low for one in shares]
        above = np.array([one.high for one in shares]) - middle
        x = np.arange(len(names)) + 0.14 * (column - (len(tasks) - 1) / 2)
        look: dict[str, Any] = {"fmt": marker, "ms": 4, "lw": 1, "color": colour}
        ax.errorbar(x, middle, yerr=[below, above], label=task_title(task), **look)
    ax.set(ylim=(-0.03, 1.03), ylabel="share learned and certified")
    ax.set_xticks(range(len(names)), names)
    legend_below(ax)


def learn_parity(model: Model, bits: Sequence[int], seeds: Sequence[int]) -> pd.DataFrame:
    """Train the model on the parity of each number of bits, at `PARITY`'s hyperparameters."""
    rows = []
    for n in bits:
        run = train(model, parity(n), seeds=seeds, hyper=PARITY[n], record=("weights",))
        found = verdicts(run)
        epochs = np.median(np.nan_to_num(epochs_to_criterion(run), nan=np.inf))
        reached = percent(share(int(found["learned"].sum()), len(seeds)))
        rows.append([n, reached, int(found["certified"].sum()), epochs])
    return pd.DataFrame(rows, columns=["bits", "learned", "certified", "median epochs"])


def dale_signs(layout: Layout, inputs: bool) -> Int[np.ndarray, " N"]:
    """Return the sign of each neuron's synapses: +1, −1, or 0 where both may occur.

    Hidden neurons alternate, outputs are excitatory; with `inputs`, inputs are excitatory as well,
    and the bias neuron still sends both.
    """
    signs = np.zeros(layout.N, dtype=int)
    hidden = _hidden(layout)
    signs[hidden] = np.where(np.arange(sum(layout.N_H)) % 2, -1, 1)
    signs[hidden.stop :] = 1
    if inputs:
        signs[: layout.n_inputs] = 1
    return signs


def obey(
    signs: Int[np.ndarray, " N"], W: Float[np.ndarray, "k N N"], networks: Int[np.ndarray, " k"]
) -> Float[np.ndarray, "k N N"]:
    """Return the weights with 0 for those of the wrong sign: Dale's law."""
    return np.where(W * signs[:, None] < 0, 0.0, W)


def learn_under_dale(model: Model, tasks: Sequence[str], seeds: Sequence[int]) -> pd.DataFrame:
    """Train networks whose neurons have one sign each, and count their verdicts."""
    rows = []
    for (name, inputs), task in itertools.product(
        {"hidden and outputs": False, "inputs as well": True}.items(), tasks
    ):
        problem = Problem.of(model, task)
        constrain = partial(obey, dale_signs(problem.layout, inputs))
        run = train_constrained(problem, list(seeds), constrain, ("weights",))
        found = verdicts(run)
        reached = percent(share(int(found["learned"].sum()), len(seeds)))
        rows.append([name, task, reached, int(found["certified"].sum())])
    return pd.DataFrame(rows, columns=["one sign for", "task", "learned", "certified"])


def with_noise(run: xr.Dataset, noise: float) -> xr.Dataset:
    """Return the run with every weight times 1 + noise · N(0, 1), drawn by each network's seed."""
    W = run["W"].values
    draws = [
        np.random.default_rng(seed).standard_normal(W.shape[1:]) for seed in run["seed"].values
    ]
    return run.assign(W=run["W"].copy(data=W * (1 + noise * np.array(draws))))


def quantised(run: xr.Dataset, bits: int) -> xr.Dataset:
    """Return the run with weights rounded to 2^bits − 1 levels between ±max |W| of each network."""
    W = run["W"].values
    step = np.abs(W).max(axis=(1, 2), keepdims=True) / (2 ** (bits - 1) - 1)
    rounded = np.round(np.divide(W, step, out=np.zeros_like(W), where=step > 0)) * step
    return run.assign(W=run["W"].copy(data=rounded))


def after_change(
    run: xr.Dataset, changes: Mapping[str, Callable[[xr.Dataset], xr.Dataset]]
) -> pd.DataFrame:
    """Test trained networks after each change of their weights.

    Counts those that still meet the ``criterion`` (MSE < 0.01 and all labels right), those whose
    ``labels`` are all right, and those whose free phase is ``certified``.
    """
    rows = []
    for name, change in changes.items():
        changed = change(run)
        table = network_table(changed)
        right = int((table["misclassified"] == 0).sum())
        certified = int(stability_report(changed)["certified"].sum())
        rows.append([name, int(table["learned"].sum()), right, certified])
    return pd.DataFrame(rows, columns=["weights", "criterion", "labels", "certified"])


def displacement(run: xr.Dataset, changed: xr.Dataset) -> xr.Dataset:
    r"""Return how far each rest point moves in ℓ1 when the weights change, and its bound.

    .. math:: \lVert s'^* - s^* \rVert_1 \le \lVert F'(s^*) - F(s^*) \rVert_1 / \lambda

    with F' the field of the changed weights: it contracts at rate λ, too.
    """
    field, other = field_after(run), field_after(changed)
    problem = problem_of(run)
    rest, moved = (settle(f, problem.hyper.dt) for f in (field, other))
    pushed = np.abs(vector_field(other, rest.S) - vector_field(field, rest.S)).sum(axis=2)
    dims = ("seed", "sample")
    return xr.Dataset(
        {
            "distance": (dims, np.abs(moved.S - rest.S).sum(axis=2)),
            "bound": (dims, pushed / problem.model.leak),
        }
    )


def kicked(run: xr.Dataset, kick: float) -> xr.Dataset:
    r"""Let each network rest while every state is kicked in every step, and follow its distance.

    A kick is uniform in ±`kick`, drawn anew for each state and step by the network's seed. With
    :math:`\lVert \xi \rVert_1 \le n \cdot \text{kick}`, the distance from rest stays below
    :math:`n \cdot \text{kick} / (1 - \rho)`, ρ the ℓ1 factor of a step. Over (seed, sample): the
    largest ``distance`` in T1 steps from rest, its ``bound``, and whether the ``label`` at the last
    step is right.
    """
    problem, field = problem_of(run), field_after(run)
    dt = problem.hyper.dt
    rest = settle(field, dt).S
    S, farthest = rest, np.zeros(rest.shape[:2])
    streams = [np.random.default_rng(seed) for seed in run["seed"].values]
    for _ in range(problem.hyper.T1):
        xi = np.array([stream.uniform(-kick, kick, rest.shape[1:]) for stream in streams])
        S = hard_sigmoid(S + dt * vector_field(field, S) + xi)
        farthest = np.maximum(farthest, np.abs(S - rest).sum(axis=2))
    n, factor = rest.shape[2], euler_factor_l1(linear_part(field), dt)
    right = (S[..., -problem.layout.N_Y :] >= 0.5) == (problem.Y >= 0.5)
    dims = ("seed", "sample")
    bound = np.broadcast_to((n * kick / (1 - factor))[:, None], farthest.shape)
    return xr.Dataset(
        {
            "distance": (dims, farthest),
            "bound": (dims, bound.copy()),
            "right": (dims, right.all(axis=2)),
        }
    )


def shake(run: xr.Dataset, kicks: Sequence[float]) -> pd.DataFrame:
    """Tabulate `kicked`: the farthest any network gets, the bound, and those with right labels."""
    rows = []
    for kick in kicks:
        found = kicked(run, kick)
        right = int(found["right"].all("sample").sum())
        middle, farthest = float(found["distance"].median()), float(found["distance"].max())
        rows.append([kick, middle, farthest, float(found["bound"].max()), right])
    columns = ["kick", "median", "farthest", "bound", "labels right"]
    return pd.DataFrame(rows, columns=columns).round(4)
