r"""What the correction of AsymEP is worth: networks whose synapses lack an opposite one.

`asymep` turns J into its transpose during the nudged phases. For that, each synapse i → j uses the
weight of its opposite j → i (weight transport), and an opposite weight even where no opposite
synapse exists. The rules here are alternatives to it; they are trained epoch by epoch.

References
----------
[A26]_ of `deep_nb.rules`.

.. [LZ24] A. Laborieux, F. Zenke, "Improving equilibrium propagation without weight symmetry through
   Jacobian homeostasis", ICLR 2024, arXiv:2309.02214.
"""

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float
from matplotlib.axes import Axes

from deep_nb._validation import instance, items, short
from deep_nb.analysis import share
from deep_nb.analysis.criterion import MSE_LEARNED
from deep_nb.dynamics import Field, free_field
from deep_nb.engines import get_engine
from deep_nb.experiments.common import Hyper, check_counts, percent
from deep_nb.experiments.gradients import Tried, extended, rate
from deep_nb.models import contracting_DEEP
from deep_nb.plotting import BLUE, GREY, PALE, VERMILION
from deep_nb.problem import Problem
from deep_nb.randomness import initial_states, initial_weights
from deep_nb.rules import (
    Change,
    Lesson,
    Rule,
    adjoint,
    asymep,
    centered,
    contrastive,
    descent,
    onesided,
    updated_weights,
)
from deep_nb.tasks import classification_error, mean_squared_error, predicted_labels
from deep_nb.topology import Layout, complete

#: Number of hidden neurons.
N_H = 5
#: Shares of pairs that have both synapses: from an acyclic network to the complete one.
RECIPROCAL = (0.0, 0.5, 1.0)
#: Nudging strengths: below λ, where every phase is certified, and above.
BETAS = (0.2, 1.0)
#: What the search finds for each rule: a rate for each of `RECIPROCAL`, at each of `BETAS`.
TUNED: dict[str, tuple[tuple[float, ...], ...]] = {
    "contrastive": ((0.01, 0.01, 0.01), (0.01, 0.01, 0.01)),
    "centered": ((0.01, 1.0, 0.3), (0.01, 3.0, 3.0)),
    "homeostatic": ((0.01, 1.0, 0.3), (0.01, 1.0, 1.0)),
    "onesided": ((0.3, 0.3, 0.3), (1.0, 1.0, 0.3)),
    "dyadic": ((0.1, 0.3, 0.1), (0.3, 0.3, 0.3)),
    "asymep": ((0.03, 0.3, 0.3), (1.0, 1.0, 1.0)),
    "adjoint": ((0.03, 0.1, 0.1),),
}
#: Pull of `homeostatic` towards symmetric weights; of 0.003, 0.01, …, 0.3 this served best.
HOMEOSTASIS = 0.03


def graded_mask(layout: Layout, reciprocal: float, seed: int) -> Bool[np.ndarray, "N N"]:
    """Return a mask in which a share of the synapses among free neurons has an opposite one.

    Synapses from inputs are complete. Among the free neurons, every pair has the synapse along a
    random order that ends with the outputs, so that 0 gives an acyclic network; `reciprocal` of the
    pairs, drawn at random, also have the opposite synapse, so that 1 gives the complete network.
    """
    stream = np.random.RandomState(seed)
    hidden = layout.n_free - layout.N_Y
    order = np.append(stream.permutation(hidden), np.arange(hidden, layout.n_free))
    place = np.argsort(order)
    forward = place[:, None] < place
    pairs = np.argwhere(forward)
    chosen = stream.permutation(len(pairs))[: round(reciprocal * len(pairs))]
    free = forward.copy()
    free[pairs[chosen, 1], pairs[chosen, 0]] = True
    mask = complete(layout)
    mask[layout.N_X :, layout.N_X :] = free
    return mask


def dyadic(lesson: Lesson) -> Change:
    r"""Two states per neuron instead of two phases, after the dyadic form of AsymEP [A26]_.

    Their mean m follows the free field and their difference d its transpose,

    .. math:: \dot m = F(m), \qquad \dot d = J^\top d + \beta (y - m) \text{ on the outputs},

    so that δ = d / β is the gradient's at every β, as long as no state is clipped.
    """
    beta, Y = lesson.problem.hyper.beta, lesson.problem.Y
    n = lesson.free.S.shape[2]
    phase = lesson.problem.phases()[1]
    start = np.concatenate([lesson.free.S, lesson.free.S], axis=2)
    nudged = lesson.relax(dyadic_field(lesson.field, beta, Y), start, phase)
    upper, lower = nudged.S[..., :n], nudged.S[..., n:]
    return Change(nudged, *descent(lesson, (upper - lower) / beta))


def dyadic_field(field: Field, beta: float, Y: Float[np.ndarray, "M N_Y"]) -> Field:
    """Return the field of `dyadic` over both states: m + d/2 of all neurons, then m − d/2."""
    n, N_Y = field.W.shape[1], Y.shape[1]
    back = field.W.transpose(0, 2, 1)
    same, other = (field.W + back) / 2, (field.W - back) / 2
    W = np.concatenate(
        [np.concatenate([same, other], axis=2), np.concatenate([other, same], axis=2)], axis=1
    )
    outputs = np.arange(n - N_Y, n)
    W[:, n + outputs, outputs] -= beta / 4
    W[:, outputs, n + outputs] += beta / 4
    drive = np.concatenate([field.drive, field.drive], axis=2)
    drive[..., outputs] += beta / 2 * Y
    drive[..., n + outputs] -= beta / 2 * Y
    decay = np.concatenate([field.decay, field.decay], axis=1)
    decay[:, outputs] += beta / 4
    decay[:, n + outputs] -= beta / 4
    return Field(W, drive, decay)


def homeostatic(lesson: Lesson) -> Change:
    r"""`centered`, with a pull of J towards symmetry: Jacobian homeostasis [LZ24]_.

    Over noise ε of variance 1, :math:`\mathbb{E}\,[\lVert J\varepsilon \rVert^2 - \varepsilon^\top
    J^2 \varepsilon] = \lVert J - J^\top \rVert_F^2 / 2`, which a network can estimate from its
    responses to noise, without weight transport. Here the expectation itself is descended, as if
    the noise were averaged without end: W_ij loses `HOMEOSTASIS` (W_ij − W_ji), where an absent
    synapse counts as 0.
    """
    change = centered(lesson)
    N_X = lesson.problem.layout.N_X
    free = lesson.W[:, N_X:, N_X:]
    change.dW[:, N_X:, N_X:] -= HOMEOSTASIS * (free - free.transpose(0, 2, 1))
    return change


#: The rules by name. The last four use the weights of opposite synapses.
RULES: dict[str, Rule] = {
    "contrastive": contrastive,
    "centered": centered,
    "homeostatic": homeostatic,
    "onesided": onesided,
    "dyadic": dyadic,
    "asymep": asymep,
    "adjoint": adjoint,
}
TRANSPORT = ("onesided", "dyadic", "asymep", "adjoint")
#: Rules without a phase at −β.
ONE_PHASE = ("contrastive", "onesided", "adjoint")
#: Place beside the rule, colour and marker of each share of reciprocal pairs.
STYLES = {0.0: (-0.2, VERMILION, "s"), 0.5: (0.0, GREY, "^"), 1.0: (0.2, BLUE, "o")}


def train_by(
    rule: Rule, problem: Problem, masks: Bool[np.ndarray, "K N N"], seeds: Sequence[int]
) -> Bool[np.ndarray, "K n_epochs"]:
    """Train a network per seed and mask, and return whether each had learned in each epoch.

    As `deep_nb.train` does it, but by any rule and with a mask per network. A network whose weights
    stop being finite has not learned.

    Raises
    ------
    ValueError
        If the rule does not return a `Change` for every network and synapse.
    """
    layout, hyper, model = problem.layout, problem.hyper, problem.model
    streams = [np.random.RandomState(seed) for seed in seeds]
    W = np.array([initial_weights(stream, layout, model.learned_bias) for stream in streams])
    W, b = np.where(masks, W, 0.0), np.zeros((len(W), layout.N))
    relax = get_engine("auto", layout.n_free, model.activation)
    learned = np.empty((len(W), hyper.n_epochs), bool)
    for epoch in range(hyper.n_epochs):
        S = np.array([initial_states(stream, len(problem.X), layout) for stream in streams])
        field = free_field(W, b, problem.X, model)
        free = relax(field, S, problem.phases()[0])
        change = _checked(rule(Lesson(problem, W, field, free, relax)), W)
        W = updated_weights(W, np.where(masks, change.dW, 0.0), hyper.dt_W, 0.0)
        if model.learned_bias:
            b = b + hyper.dt_W * change.db
        outputs = free.S[..., -layout.N_Y :]
        wrong = classification_error(predicted_labels(outputs, model.one_hot), problem.labels)
        learned[:, epoch] = (mean_squared_error(outputs, problem.Y) < MSE_LEARNED) & (wrong == 0)
    return learned


def _checked(change: Any, W: Float[np.ndarray, "K N N"]) -> Change:
    """Return what a rule returned, if it fits the weights."""
    instance(change, "what a rule returns", Change)
    for name, shape in (("dW", W.shape), ("db", W.shape[:2])):
        given = np.shape(getattr(change, name))
        if given != shape:
            raise ValueError(f"{name} of a rule must have shape {shape}, got {given}")
    return change


def check(reciprocal: Any, **num_net: int) -> None:
    """Refuse parameters of the notebook that cannot work, before any network is trained."""
    check_counts(**num_net)
    for value in items(reciprocal, "reciprocal"):
        if value not in RECIPROCAL:
            allowed = f"must be one of {RECIPROCAL}"
            raise ValueError(f"each entry of reciprocal {allowed}, got {short(value)}")


def train_masked(
    rule: str, reciprocal: float, hyper: Hyper, seeds: Sequence[int]
) -> Bool[np.ndarray, "K n_epochs"]:
    """Train contracting DEEP on XOR, each network with the `graded_mask` of its own seed."""
    problem = Problem.of(contracting_DEEP, "xor", {"N_H": N_H, **hyper})
    masks = np.array([graded_mask(problem.layout, reciprocal, seed) for seed in seeds])
    return train_by(RULES[rule], problem, masks, seeds)


def search(reciprocal: Sequence[float], seeds: Sequence[int], n_epochs: int) -> pd.DataFrame:
    """Train networks of every mask with every rule, at every β and learning rate.

    The rows and rates are those of `gradients.search`, with the share ``reciprocal``.
    """
    rows = []
    for rule, part, beta in itertools.product(RULES, reciprocal, BETAS):
        if rule == "adjoint" and beta != BETAS[0]:
            continue

        def tried(power: int, rule: str = rule, part: float = part, beta: float = beta) -> Tried:
            hyper = {"beta": beta, "dt_W": rate(power), "n_epochs": n_epochs}
            learned = train_masked(rule, part, hyper, seeds)
            first = np.where(learned.any(axis=1), learned.argmax(axis=1), n_epochs)
            return int(learned[:, -1].sum()), float(np.median(first))

        found = extended(tried)
        rows += [[rule, part, beta, rate(power), *found[power]] for power in sorted(found)]
    columns = ["rule", "reciprocal", "beta", "rate", "learned", "epochs"]
    return pd.DataFrame(rows, columns=columns)


def judge(reciprocal: Sequence[float], seeds: Sequence[int], n_epochs: int) -> pd.DataFrame:
    """Train networks of every mask with every rule, at its own tuned dt_W, and count who learned.

    `adjoint` is trained at the first β, and counts for all.
    """
    rows: list[list[Any]] = []
    for rule, part, (row, beta) in itertools.product(RULES, reciprocal, enumerate(BETAS)):
        if rule == "adjoint" and row > 0:
            rows.append([*rows[-1][:2], beta, *rows[-1][3:]])
            continue
        dt_W = TUNED[rule][row][RECIPROCAL.index(part)]
        hyper = {"beta": beta, "dt_W": dt_W, "n_epochs": n_epochs}
        count = int(train_masked(rule, part, hyper, seeds)[:, -1].sum())
        rows.append([rule, part, beta, dt_W, count])
    return pd.DataFrame(rows, columns=["rule", "reciprocal", "beta", "dt_W", "learned"])


def show(judged: pd.DataFrame, total: int) -> pd.DataFrame:
    """Return the rows of `judge` as text: a row per rule and β, a column per mask.

    ``transport`` tells whether the rule uses the weights of opposite synapses, and ``proved``
    whether all of its phases contract, whatever the weights (docs/stability.md):
    those at −β do if β < λ, and those of `dyadic` are open.
    """
    names = [f"{part:.0%} reciprocal" for part in judged["reciprocal"]]
    texts = [
        f"{percent(share(count, total))} ({dt_W:g})"
        for count, dt_W in zip(judged["learned"].tolist(), judged["dt_W"].tolist(), strict=True)
    ]
    cells = judged.assign(mask=names, text=texts)
    rows = []
    for rule, beta in dict.fromkeys(zip(judged["rule"], judged["beta"], strict=True)):
        of = cells[(cells["rule"] == rule) & (cells["beta"] == beta)]
        proved = "yes" if rule in ONE_PHASE or beta < contracting_DEEP.leak else "not at −β"
        row = {
            "rule": rule,
            "transport": "yes" if rule in TRANSPORT else "no",
            "β": f"{beta:g}",
            "proved": "open" if rule == "dyadic" else proved,
        }
        rows.append(row | dict(zip(of["mask"], of["text"], strict=True)))
    return pd.DataFrame(rows)


def draw(judged: pd.DataFrame, total: int, ax: Axes) -> None:
    """Draw each rule's share of networks that learned at one β, a point per mask, with intervals.

    The background marks rules that use the weights of opposite synapses.
    """
    rules = list(judged["rule"].unique())
    for part in sorted(set(judged["reciprocal"].tolist())):
        of = judged[judged["reciprocal"] == part]
        shift, colour, marker = STYLES[part]
        shares = [share(count, total) for count in of["learned"].tolist()]
        values = np.array([[s.value, s.value - s.low, s.high - s.value] for s in shares]).T
        places = shift + np.array([rules.index(rule) for rule in of["rule"]])
        style: dict[str, Any] = {"color": colour, "marker": marker, "ms": 4, "ls": "none"}
        label = f"{part:.0%} reciprocal"
        # a share of 0 or 1 is at the end of its interval, up to rounding
        ax.errorbar(places, values[0], yerr=values[1:].clip(0), label=label, **style)
    ax.axvspan(rules.index(TRANSPORT[0]) - 0.5, len(rules) - 0.5, color=PALE, alpha=0.5, zorder=0)
    ax.set_xticks(range(len(rules)), rules, rotation=35, ha="right", rotation_mode="anchor")
    ax.set(ylim=(-0.05, 1.05), xlim=(-0.5, len(rules) - 0.5))
