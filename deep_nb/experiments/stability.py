"""Stability: drift, the cost of a leak, distances from rest, and verdicts over training."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes

from deep_nb._validation import items, number, one_of
from deep_nb.analysis import (
    contraction_rate,
    diagonal_certificate,
    energy,
    jacobian,
    learned,
    phase_energy,
    phase_report,
    stability_report,
)
from deep_nb.analysis.stability import field_after
from deep_nb.experiments.common import (
    check_counts,
    free_states,
    learned_count,
)
from deep_nb.inference import trajectory
from deep_nb.models import DEEP
from deep_nb.plotting import BLUE, GREEN, GREY, VERMILION, plot_shares
from deep_nb.plotting.style import legend_below
from deep_nb.run import problem_of
from deep_nb.tasks import TASKS
from deep_nb.training import train

#: Colour, line and marker of each model.
STYLES = {
    "DEEP": (BLUE, "-", "o"),
    "DEEP_oh": (GREEN, "-.", "s"),
    "EP_asym": (VERMILION, "--", "^"),
    "leaky DEEP": (GREY, ":", "v"),
    "contracting DEEP": ("black", "-", "D"),
    "fast contracting DEEP": ("black", "--", "x"),
}
#: Norm in which each phase of `asymep` contracts, with its symbol.
NORMS = {"free": ("l1", "1"), "+β": ("linf", "∞"), "-β": ("linf", "∞")}
#: Colour and line of each phase.
LOOKS = ((BLUE, "-"), (VERMILION, "--"), (GREEN, ":"))
#: Columns of `stability_report` that are followed over training, with their titles.
VERDICTS = {
    "hurwitz": "Hurwitz",
    "gershgorin_columns": "pass Gershgorin (columns)",
    "certified": "certified",
    "at_rest": "at rest",
}
#: Maximum leak λ of the notebook.
MAX_LEAK = 100.0
#: Leaks below this are drawn there, on a logarithmic axis.
LEAST_LEAK = 0.001
#: Energies that differ by less are equal up to rounding, and distances.
ROUNDING, ROUNDED = 1e-20, 1e-12


def check(leak: Any, leaks: Any, task: str, **counts: int) -> None:
    """Refuse parameters of the notebook that cannot work, before any network is trained."""
    check_counts(**counts)
    number(leak, "leak", 0, MAX_LEAK)
    for value in items(leaks, "leaks"):
        number(value, "each entry of leaks", 0, MAX_LEAK)
    one_of(task, TASKS, "task")


def total_energy(run: xr.Dataset) -> xr.DataArray:
    """Return the Lyapunov energy of certified networks, summed over samples: (seed, step)."""
    return energy(trajectory(run), run).sum("sample", skipna=False)


def energy_verdicts(V: xr.DataArray, run: xr.Dataset) -> pd.DataFrame:
    """Compare the energies of all networks with what their certificates prove, for each phase.

    Columns: ``falls``, at every step, and ``bounded``, by ρ^(2t) V(0), both up to rounding.
    """
    D, dt = diagonal_certificate(jacobian(run)), problem_of(run).hyper.dt
    rows = {}
    for phase in ("free", "nudged"):
        values = V.sel(step=V["phase"] == phase).values
        rho = contraction_rate(jacobian(run, phase=phase), dt, D)
        bound = values[:, :1] * rho[:, None] ** (2 * np.arange(values.shape[1]))
        rows[phase] = {
            "falls": np.diff(values, axis=1).max() < ROUNDING,
            "bounded": (values - bound).max() < ROUNDING,
        }
    return pd.DataFrame.from_dict(rows, orient="index")


def distances(run: xr.Dataset, epoch: int) -> xr.Dataset:
    """Follow the distance from rest along each phase of `asymep`, in its norm of `NORMS`.

    With the weights after `epoch` epochs.

    Over (seed, phase, step), summed over samples: ``V`` and its ``bound``, q^t V(0), with q the
    factor of an Euler step in that norm; NaN after the end of the shorter phases.
    """
    report = phase_report(run, epoch)
    V, bounds = [], []
    for phase, (norm, _) in NORMS.items():
        values = phase_energy(run, phase, epoch, norm).sum("sample", skipna=False)
        q = report[f"euler_factor_{norm}"].sel(phase=phase)
        V.append(values)
        bounds.append(values.isel(step=0, drop=True) * q ** values["step"])
    phases = pd.Index(NORMS, name="phase")
    joined = {
        name: xr.concat(of, phases, join="outer", coords="minimal", compat="override")
        for name, of in {"V": V, "bound": bounds}.items()
    }
    return xr.Dataset(joined).transpose("seed", "phase", "step")


def distance_verdicts(found: xr.Dataset) -> pd.DataFrame:
    """Compare `distances` with the theorem, for each phase and all networks.

    Columns: ``falls``, at every step, and ``bounded``, both up to rounding.
    """
    rises = found["V"].diff("step").max(["seed", "step"])
    above = (found["V"] - found["bound"]).max(["seed", "step"])
    verdicts = {"falls": rises.values < ROUNDED, "bounded": above.values < ROUNDED}
    return pd.DataFrame(verdicts, index=found["phase"].values)


def draw_distances(found: xr.Dataset, axes: Sequence[Axes]) -> None:
    """Draw `distances` over V(0), one phase per Axes: median, quartiles, and the loosest bound."""
    for ax, (phase, (_, symbol)) in zip(axes, NORMS.items(), strict=True):
        of = found.sel(phase=phase).dropna("step", how="all")
        relative = of / of["V"].isel(step=0)
        low, middle, high = relative["V"].quantile([0.25, 0.5, 0.75], "seed").values
        ax.plot(middle, color=BLUE, label="networks: median, quartiles")
        ax.fill_between(np.arange(len(middle)), low, high, color=BLUE, alpha=0.2, lw=0)
        bound = relative["bound"].max("seed")
        ax.plot(bound, color=VERMILION, ls=":", label="bound, loosest")
        ax.set(yscale="log", ylim=(1e-16, 10), xlabel="Euler step $t$", title=f"{phase}, ℓ{symbol}")
        legend_below(ax)
    axes[0].set_ylabel("‖s − s*‖ / its first value")


def count_phases(run: xr.Dataset, epochs: Sequence[int]) -> pd.DataFrame:
    """Count the networks whose phases are certified after each number of epochs, a column each."""
    reports = [phase_report(run, epoch)["certified"].sum("seed") for epoch in epochs]
    counts = [report.values for report in reports]
    names = reports[0]["phase"].values
    return pd.DataFrame(counts, index=pd.Index(epochs, name="epoch"), columns=names)


def residual_summary(run: xr.Dataset) -> dict[str, float]:
    """Return the share of free states at 0 or 1, and the medians of the last residuals.

    ``residual`` is the published one, before the clip, ``projected`` that of the step made.
    """
    states = free_states(run["S_free"])
    last = run[["residual_free", "projected_residual_free"]].isel(epoch=-1).median()
    return {
        "saturated": float(states.isin([0, 1]).mean()),
        "residual": float(last["residual_free"]),
        "projected": float(last["projected_residual_free"]),
    }


def count_verdicts(run: xr.Dataset, epochs: Sequence[int]) -> pd.DataFrame:
    """Count the networks that pass each test after each number of epochs.

    Columns are those of `VERDICTS`, and ``gershgorin_rows``.
    """
    columns = [*VERDICTS, "gershgorin_rows"]
    reports = [stability_report(run, epoch)[columns] for epoch in epochs]
    counts = [[int(report[name].sum()) for name in columns] for report in reports]
    return pd.DataFrame(counts, index=pd.Index(epochs, name="epoch"), columns=columns)


def total_activity(run: xr.Dataset) -> xr.Dataset:
    """Follow the total free activity of the first network through the free phase.

    Over (step, sample): ``activity`` Σ_j s_j; the ``line`` that it would follow without the clip,
    at the constant rate 1ᵀI(x); and whether it is ``unclipped``: no neuron has reached 0 or 1 yet.
    """
    network = run.isel(seed=[0])
    path = trajectory(network)
    states = free_states(path["S"]).isel(seed=0).sel(step=path["phase"] == "free").values
    activity = states.sum(axis=2)
    rate = field_after(network).drive[0].sum(axis=1)
    time = problem_of(run).hyper.dt * np.arange(len(activity))
    inside = ((states > 0) & (states < 1)).all(axis=2)
    dims = ("step", "sample")
    return xr.Dataset(
        {
            "activity": (dims, activity),
            "line": (dims, activity[0] + rate * time[:, None]),
            "unclipped": (dims, np.logical_and.accumulate(inside, axis=0)),
        },
        coords={
            "time": ("step", time),
            "sample": [" ".join(f"{x:.0f}" for x in row) for row in run["X"].values],
        },
    )


def draw_activity(activity: xr.Dataset, ax: Axes) -> None:
    """Draw `total_activity` for each input: solid the activity, dashed its line."""
    time, every = activity["time"], max(activity.sizes["step"] // 20, 1)
    colours = (BLUE, VERMILION, GREEN, GREY)
    for sample, colour, marker in zip(activity["sample"].values, colours, "os^D", strict=False):
        of = activity.sel(sample=sample)
        look: dict[str, Any] = {"color": colour, "marker": marker, "ms": 3, "markevery": every}
        ax.plot(time, of["activity"], label=f"x = {sample}", **look)
        ax.plot(time, of["line"], color=colour, ls="--", lw=0.8)
    ax.set(ylim=(-0.2, 6.2), xlim=(0, 20), xlabel="time $t$ (τ)", ylabel=r"activity $\Sigma_j s_j$")
    legend_below(ax)


def draw_leaks(leaks: Mapping[str, np.ndarray], ax: Axes) -> None:
    """Draw the share of each model's networks that are certified at a leak, over the leak.

    `leaks` holds the smallest certifying leak of every network, by model; those below 0.001 are
    drawn there.
    """
    for name, values in leaks.items():
        colour, line, _ = STYLES[name]
        shares = np.arange(1, len(values) + 1) / len(values)
        in_order = np.maximum(np.sort(values), LEAST_LEAK)
        ax.step(in_order, shares, where="post", color=colour, ls=line, label=name)
    ax.set(xscale="log", xlabel="smallest certifying leak λ (1/τ)")
    ax.set_ylabel("share of networks at or below")
    legend_below(ax)


def cost_of_leak(
    task: str,
    leaks: Sequence[float],
    seeds: Sequence[int],
    n_epochs: int,
    epochs: Sequence[int],
) -> pd.DataFrame:
    """Train DEEP with each leak, and count what is certified and what is learned.

    One row per leak: networks ``certified`` at each of the `epochs`; networks that have
    ``learned`` in the last epoch; and ``median``, the epochs to the first that meets the
    criterion, counted from 1, where networks that never do count as `n_epochs` + 1.
    """
    rows = []
    for leak in leaks:
        model = DEEP.replace(leak=leak)
        hyper = {"n_epochs": n_epochs}
        run = train(model, task, seeds=seeds, hyper=hyper, record=("weights",))
        certified = [stability_report(run, epoch)["certified"].values for epoch in epochs]
        reached = learned(run).values
        first = np.where(reached.any(axis=1), reached.argmax(axis=1) + 1, n_epochs + 1)
        always = int(np.all(certified, axis=0).sum())
        rows.append([leak, always, learned_count(run), np.median(first)])
    return pd.DataFrame(rows, columns=["leak", "certified", "learned", "median"])


def draw_cost(cost: pd.DataFrame, total: int, ax: Axes) -> None:
    """Draw the shares of `total` networks that `cost_of_leak` counts, over the leak."""
    leaks = cost["leak"].tolist()
    certified, reached = cost["certified"].tolist(), cost["learned"].tolist()
    plot_shares(leaks, certified, total, ax, BLUE, "-", "certified throughout")
    plot_shares(leaks, reached, total, ax, VERMILION, "--", "learned")
    ax.set(xlabel="leak λ (1/τ)")
