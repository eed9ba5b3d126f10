"""What drives learning: how rules follow the gradient, and the nudging at which they learn."""

import itertools
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Bool
from matplotlib.axes import Axes

from deep_nb._validation import integer, items, number, short
from deep_nb.analysis import (
    angle_to_gradient,
    contraction_rate,
    diagonal_certificate,
    epochs_to_criterion,
    jacobian,
    rule_change,
    share,
)
from deep_nb.experiments.common import Hyper, check_counts, learned_count, percent
from deep_nb.models import DEEP, EP_asym, contracting_DEEP
from deep_nb.plotting import BLUE, GREEN, GREY, VERMILION, plot_shares
from deep_nb.run import problem_of
from deep_nb.training import train

Checkpoint = str | os.PathLike[str] | None
#: Number of networks that learned, and median epochs to the criterion.
Tried = tuple[int, float]

#: The local rules, with their colour and line.
STYLES = {
    "stdp": (GREY, ":"),
    "contrastive": (VERMILION, "--"),
    "centered": (GREEN, "-."),
    "asymep": (BLUE, "-"),
}
LOCAL = tuple(STYLES)
#: Phases that are long enough for networks to come to rest.
LONG = {"T1": 5000, "T2": 5000}
#: Rules whose updates need a nudged phase at −β, too.
TWO_SIDED = ("centered", "asymep")

MODELS = {
    "contracting DEEP": contracting_DEEP,
    "leaky DEEP": DEEP.replace(name="leaky DEEP", leak=0.5, rule="asymep"),
    "EP dynamics": EP_asym.replace(name="EP dynamics", rule="asymep"),
}
#: Nudging strengths of the search.
BETAS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
#: The learning rates that the search tries for every rule at every β are from 0.01 to 10, as
#: `rate` returns them for these; see `setting` for their unit.
POWERS = range(-4, 3)
#: What `search` and `choose` find on XOR: a rate for each of `BETAS`.
TUNED: dict[str, dict[str, tuple[float, ...]]] = {
    "contracting DEEP": {
        "stdp": (0.01, 0.01, 0.01, 0.01, 3.0, 3.0, 10.0),
        "contrastive": (0.01, 0.01, 0.01, 0.01, 0.01, 0.01, 0.01),
        "centered": (0.3, 1.0, 1.0, 1.0, 3.0, 3.0, 30.0),
        "asymep": (0.3, 0.1, 0.1, 1.0, 0.3, 3.0, 30.0),
        "adjoint": (0.3,),
    },
    "leaky DEEP": {
        "stdp": (0.03, 0.03, 0.1, 0.03, 0.3, 3.0, 10.0),
        "contrastive": (0.03, 0.03, 0.1, 0.1, 0.1, 0.3, 1.0),
        "centered": (0.03, 0.01, 0.3, 0.03, 0.3, 3.0, 10.0),
        "asymep": (0.01, 0.01, 0.01, 0.03, 0.3, 1.0, 3.0),
        "adjoint": (0.1,),
    },
    "EP dynamics": {
        "stdp": (1.0, 1.0, 1.0, 1.0, 3.0, 10.0, 10.0),
        "contrastive": (1.0, 1.0, 1.0, 1.0, 1.0, 3.0, 10.0),
        "centered": (1.0, 1.0, 1.0, 1.0, 0.3, 3.0, 10.0),
        "asymep": (0.3, 0.3, 0.3, 1.0, 0.3, 10.0, 30.0),
        "adjoint": (1.0,),
    },
}
#: β at which `asymep` trains the networks of the figures on alignment.
OWN_BETA = {"contracting DEEP": 0.1, "leaky DEEP": 0.3, "EP dynamics": 0.1}
#: Last epoch whose weights the notebook makes symmetric.
LAST_LOOK = 20


def check(
    n_epochs: int, nudges: Any, betas: Any, align_epochs: Any, search_num_net: int, **num_net: int
) -> None:
    """Refuse parameters of the notebook that cannot work, before any network is trained."""
    check_counts(n_epochs=n_epochs, **num_net)
    check_counts(0, search_num_net=search_num_net)
    for beta in items(nudges, "nudges"):
        if beta not in BETAS:
            raise ValueError(f"each entry of nudges must be one of {BETAS}, got {short(beta)}")
    for beta in items(betas, "betas"):
        number(beta, "each entry of betas", above=0)
    epochs = [integer(n, "each entry of align_epochs") for n in items(align_epochs, "align_epochs")]
    if max(epochs) < LAST_LOOK:
        raise ValueError(
            f"align_epochs must reach epoch {LAST_LOOK}, at which asymmetry is measured, "
            f"got {align_epochs}"
        )


def setting(rule: str, rate: float, beta: float) -> dict[str, float]:
    """Return β, and the dt_W that belongs to a learning rate.

    They are the same but for `stdp`, whose ΔW is about β/T2 times that of `contrastive`: its dt_W
    is the rate times T2/β.
    """
    dt_W = rate * DEEP.hyper.T2 / beta if rule == "stdp" else rate
    return {"beta": beta, "dt_W": dt_W}


def tuned(name: str, rule: str, beta: float) -> dict[str, float]:
    """Return the setting of a model and rule at one of `BETAS`, as the search found it."""
    rates = TUNED[name][rule]
    return setting(rule, rates[0 if rule == "adjoint" else BETAS.index(beta)], beta)


def gradient_error(run: xr.Dataset, betas: Sequence[float], epoch: int = 10) -> xr.DataArray:
    """Return each local rule's relative error ‖ΔW − g‖ / ‖g‖ against the gradient g, over β.

    The median over the networks that have a gradient after `epoch` epochs, over (rule, beta); NaN
    without any.
    Updates of `stdp` and `contrastive` are scaled to the length of g: only their direction counts.
    """
    gradient = _updates(run, "adjoint", epoch, LONG)
    size = np.linalg.norm(gradient, axis=1)
    errors = np.full((len(LOCAL), len(betas)), np.nan)
    for (row, rule), (column, beta) in itertools.product(enumerate(LOCAL), enumerate(betas)):
        change = _updates(run, rule, epoch, {**LONG, "beta": beta})
        if rule in ("stdp", "contrastive"):
            length = np.linalg.norm(change, axis=1)
            scale = np.divide(size, length, out=np.zeros_like(size), where=length > 0)
            change = change * scale[:, None]
        distance = np.linalg.norm(change - gradient, axis=1)
        if (size > 0).any():
            errors[row, column] = np.median(distance[size > 0] / size[size > 0])
    coords = {"rule": list(LOCAL), "beta": list(betas)}
    return xr.DataArray(errors, dims=("rule", "beta"), coords=coords)


def _updates(run: xr.Dataset, rule: str, epoch: int, hyper: Hyper) -> np.ndarray:
    """Return a rule's ΔW, one row per network."""
    change = rule_change(run, rule, epoch, hyper)
    return change.dW.reshape(len(change.dW), -1)


def draw_gradient_error(errors: xr.DataArray, ax: Axes) -> None:
    """Draw the errors of `gradient_error` over β, and a line of slope 1."""
    betas = errors["beta"].values
    for rule, (colour, line) in STYLES.items():
        values = np.maximum(errors.sel(rule=rule), 1e-13)
        ax.plot(betas, values, color=colour, ls=line, marker="o", ms=3, label=rule)
    ax.plot(betas, betas, color="black", lw=0.8, ls=":", label="linear")
    ax.set(xscale="log", yscale="log", xlabel="β", ylabel="relative error of ΔW")


def angles_over_epochs(run: xr.Dataset, epochs: Sequence[int]) -> xr.DataArray:
    """Return each local rule's angle to the gradient, over (rule, snapshot, seed)."""
    return angle_to_gradient(run, LOCAL, epochs, LONG)


def draw_angles(angles: xr.DataArray, ax: Axes) -> None:
    """Draw `angles_over_epochs`: median and quartiles of the networks that have a gradient."""
    epochs = angles["snapshot"].values
    for rule, (colour, line) in STYLES.items():
        values = angles.sel(rule=rule).values
        some = np.isfinite(values).any(axis=1)
        if some.any():
            low, middle, high = np.nanpercentile(values[some], [25, 50, 75], axis=1)
            ax.plot(epochs[some], middle, color=colour, ls=line, marker="o", ms=3, label=rule)
            ax.fill_between(epochs[some], low, high, color=colour, alpha=0.12, lw=0)
    ax.axhline(90, color="black", lw=0.8)
    ax.set(ylim=(0, 180), yticks=range(0, 181, 45))


def symmetrized(run: xr.Dataset, epoch: int, alpha: float) -> xr.Dataset:
    """Return the run with (1 − α/2) W + (α/2) Wᵀ among free neurons, from the weights of an epoch.

    α = 0 leaves them as they are, α = 1 makes them symmetric.
    """
    free = run["pre"].str.match("[hy]").values
    W = run["W_epochs"].sel(snapshot=epoch).values
    mixed = (1 - alpha / 2) * W + alpha / 2 * W.transpose(0, 2, 1)
    return run.assign(
        W=run["W"].copy(data=np.where(np.outer(free, free), mixed, W)),
        b=run["b"].copy(data=run["b_epochs"].sel(snapshot=epoch).values),
    )


def angles_over_symmetry(
    run: xr.Dataset, epoch: int, alphas: Sequence[float], beta: float = 1e-3
) -> xr.DataArray:
    """Return each local rule's angle to the gradient as the weights are made symmetric.

    Over (alpha, rule, seed), of the networks that have a gradient at every α.
    """
    hyper = {**LONG, "beta": beta}
    angles = [
        angle_to_gradient(symmetrized(run, epoch, alpha), LOCAL, hyper=hyper).isel(snapshot=0)
        for alpha in alphas
    ]
    return xr.concat(angles, pd.Index(alphas, name="alpha")).dropna("seed")


def draw_symmetry(angles: xr.DataArray, ax: Axes) -> None:
    """Draw the median over networks of `angles_over_symmetry`, if there are any networks."""
    for rule, (colour, line) in STYLES.items() if angles.sizes["seed"] else ():
        medians = angles.sel(rule=rule).median("seed")
        ax.plot(angles["alpha"], medians, color=colour, ls=line, marker="o", ms=3, label=rule)


def search(
    names: Sequence[str],
    betas: Sequence[float],
    seeds: Sequence[int],
    n_epochs: int,
    checkpoint: Checkpoint = None,
) -> pd.DataFrame:
    """Train networks of each model on XOR with every rule at every β and learning rate.

    One row per setting: the number of networks that ``learned``, and the median ``epochs`` to the
    criterion, where networks that never reach it count as `n_epochs`. The rates are `RATES`, and
    further ones as long as the best is the smallest or the largest. `adjoint`, which does not
    depend on β, is trained at the first one only.
    """
    rows = []
    for name, (rule, beta) in itertools.product(names, rules_and_betas(betas)):

        def tried(power: int, name: str = name, rule: str = rule, beta: float = beta) -> Tried:
            hyper = {**setting(rule, rate(power), beta), "n_epochs": n_epochs}
            model = MODELS[name].replace(rule=rule)
            run = train(model, "xor", seeds=seeds, hyper=hyper, checkpoint=checkpoint)
            epochs = np.median(np.nan_to_num(epochs_to_criterion(run), nan=n_epochs))
            return learned_count(run), float(epochs)

        found = extended(tried)
        rows += [[name, rule, beta, rate(power), *found[power]] for power in sorted(found)]
    return pd.DataFrame(rows, columns=["model", "rule", "beta", "rate", "learned", "epochs"])


def rate(power: int) -> float:
    """Return a learning rate of the log grid: 1, 3, 10, … for 0, 1, 2, …."""
    return float(f"{10 ** (power / 2):.0e}")


def extended(tried: Callable[[int], Tried]) -> dict[int, Tried]:
    """Try all of `POWERS`, and further ones as long as the best is the smallest or the largest."""
    found = {power: tried(power) for power in POWERS}
    while found[power := best(found)][0] > 0 and power in (min(found), max(found)):
        power += 1 if power == max(found) else -1
        found[power] = tried(power)
    return found


def best(found: Mapping[int, Tried]) -> int:
    """Return where most networks learn; the fewest epochs, then the smallest rate, break ties."""
    return min(found, key=lambda power: (-found[power][0], found[power][1], power))


def rules_and_betas(betas: Sequence[float]) -> list[tuple[str, float]]:
    """Return every local rule with every β, and `adjoint` with the first."""
    return [*itertools.product(LOCAL, betas), ("adjoint", betas[0])]


def choose(found: pd.DataFrame) -> pd.DataFrame:
    """Return the best rate of a search for each rule, β, and what else it varies, as in `best`."""
    order = found.sort_values(["learned", "epochs", "rate"], ascending=[False, True, True])
    cells = found.columns.difference(["rate", "learned", "epochs"])
    return order.drop_duplicates(cells).sort_index().reset_index(drop=True)


def looks(n_epochs: int) -> list[int]:
    """Return the epochs after which angles and certificates are taken: five, evenly on a log axis.

    >>> looks(500)
    [5, 15, 50, 158, 500]
    """
    first = min(5, n_epochs)
    return sorted({int(epoch) for epoch in np.geomspace(first, n_epochs, 5).round(9)})


def judge(
    names: Sequence[str], betas: Sequence[float], seeds: Sequence[int], n_epochs: int
) -> pd.DataFrame:
    """Train networks of each model on XOR with every rule at every β, at its own tuned dt_W.

    One row per setting: the number of networks that have ``learned`` in the last epoch; the median
    ``angle`` of the rule's update to the gradient in degrees, over networks and `looks`, and the
    share of them ``with gradient``; and the number of networks ``certified`` at every look.
    """
    rows = []
    for name, (rule, beta) in itertools.product(names, rules_and_betas(betas)):
        model = MODELS[name].replace(rule=rule)
        hyper = tuned(name, rule, beta)
        run = train(
            model, "xor", seeds=seeds, hyper={**hyper, "n_epochs": n_epochs}, record=("weights",)
        )
        epochs = looks(n_epochs)
        angles = angle_to_gradient(run, [rule], epochs, LONG).values
        some = np.isfinite(angles)
        angle = np.median(angles[some]) if some.any() else np.nan
        proved = int(certified(run, epochs).sum())
        rows.append(
            [name, rule, beta, hyper["dt_W"], learned_count(run), angle, some.mean(), proved]
        )
    columns = ["model", "rule", "beta", "dt_W", "learned", "angle", "with gradient", "certified"]
    return pd.DataFrame(rows, columns=columns)


def certified(run: xr.Dataset, epochs: Sequence[int]) -> Bool[np.ndarray, " seed"]:
    """Return which networks contract in every phase of their own rule, after each of the epochs.

    In a diagonal norm, by the comparison matrix of the phase whose nudging adds least to the decay;
    at the phase's Euler step. The corrected phases of `asymep` have the transposed Jacobians, which
    contract by the same rate in the norm of the inverse diagonal.
    """
    problem = problem_of(run)
    rule, beta = problem.model.rule, problem.hyper.beta
    nudges = [0.0] if rule == "adjoint" else [0.0, beta, -beta][: 3 if rule in TWO_SIDED else 2]
    outputs = np.diag(np.arange(problem.layout.n_free) >= sum(problem.layout.N_H))
    proved = ~run["diverged"].values
    for epoch in epochs:
        J = jacobian(run, epoch)
        D = diagonal_certificate(J - min(nudges) * outputs)
        for nudge in nudges:
            proved &= contraction_rate(J - nudge * outputs, problem.hyper.dt, D) < 1
    return proved


def show(judged: pd.DataFrame, total: int) -> pd.DataFrame:
    """Return the rows of `judge` as text, with the interval of each share of `total` networks."""
    nudges = judged["beta"].map("{:g}".format).where(judged["rule"] != "adjoint", "any")
    table = {
        "model": judged["model"],
        "rule": judged["rule"],
        "β": nudges,
        "dt_W": [f"{dt_W:.6g}" for dt_W in judged["dt_W"]],
        f"learned of {total}": [percent(share(count, total)) for count in judged["learned"]],
        "angle": [f"{a:.0f}°" if np.isfinite(a) else "none" for a in judged["angle"]],
        "exists": [f"{part:.0%}" for part in judged["with gradient"]],
        "certified": [f"{count / total:.0%}" for count in judged["certified"]],
    }
    return pd.DataFrame(table)


def draw_learned(judged: pd.DataFrame, total: int, ax: Axes) -> None:
    """Draw one model's share of networks that learned over β, filled where all are certified."""
    for rule, (colour, line) in STYLES.items():
        of = judged[judged["rule"] == rule]
        betas, counts = of["beta"].tolist(), of["learned"].tolist()
        plot_shares(betas, counts, total, ax, colour, line, rule)
        _mark(of, of["learned"] / total, total, ax)
    reference = judged.loc[judged["rule"] == "adjoint", "learned"].item() / total
    ax.axhline(reference, color="black", lw=0.8, ls=(0, (6, 3)), label="adjoint")
    ax.set(xscale="log", ylim=(-0.05, 1.05))


def draw_angle(judged: pd.DataFrame, total: int, ax: Axes) -> None:
    """Draw one model's median angle to the gradient over β, filled where all are certified."""
    for rule, (colour, line) in STYLES.items():
        of = judged[judged["rule"] == rule]
        ax.plot(of["beta"], of["angle"], color=colour, ls=line, label=rule)
        _mark(of, of["angle"], total, ax)
    ax.axhline(90, color="black", lw=0.8)
    ax.set(xscale="log", ylim=(-5, 185), yticks=range(0, 181, 45))


def _mark(of: pd.DataFrame, y: pd.Series, total: int, ax: Axes) -> None:
    """Draw a rule's points: filled where every network is certified, else open."""
    colour = STYLES[of["rule"].iloc[0]][0]
    faces = [colour if count == total else "white" for count in of["certified"]]
    ax.scatter(of["beta"], y, s=16, c=faces, edgecolors=colour, zorder=3)
