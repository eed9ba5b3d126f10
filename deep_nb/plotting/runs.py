"""Figures of an ensemble: errors, residuals, sparsity and energy over epochs and steps."""

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from deep_nb._validation import LARGEST
from deep_nb.analysis import energies, matrices, stability
from deep_nb.inference import trajectory
from deep_nb.plotting.style import (
    BLUE,
    PALE,
    PHASES,
    VERMILION,
    draw_median,
    ensemble_axes,
    finish,
    log_scale,
    over,
)
from deep_nb.run import problem_of


def plot_residual(run: xr.Dataset, ax: Axes | None = None) -> Axes:
    """Draw the residuals over the iterations of both phases, with the final weights.

    Bold: the projected residual ‖Δs/dt‖² per sample, which is 0 at rest. Thin: the published
    ‖F‖² per sample, which stays positive while neurons push against the clip. With early stop, the
    median of a step is over the networks that are still running.

    Raises
    ------
    ValueError
        If `run` is not a run, or `ax` is not an Axes.

    See Also
    --------
    deep_nb.trajectory : The data.
    plot_energy : The distance to the rest point instead of the speed.

    Examples
    --------
    >>> import deep_nb
    >>> run = deep_nb.train("DEEP", "xor", seeds=range(3), hyper={"n_epochs": 5})
    >>> ax = deep_nb.plotting.plot_residual(run)
    >>> ax.get_xlabel(), ax.get_yscale()
    ('Euler step $t$', 'log')
    """
    ax, alive = ensemble_axes(run, ax)
    if alive.sizes["seed"]:
        path = trajectory(alive)
        for phase, (colour, line) in PHASES.items():
            part = path.sel(step=(path["phase"] == phase) & (path["step"] > 0))
            steps = part["step"].values
            moved, field = (f"{phase} phase, ‖{what}‖²" for what in ("Δs/dt", "F"))
            draw_median(ax, steps, part["projected_residual"].values, colour, line, moved)
            draw_median(ax, steps, part["residual"].values, colour, line, field, lw=0.6)
    log_scale(ax)
    return finish(
        ax, "Euler step $t$", "squared speed per sample (1/τ²)", "Residual at the final weights"
    )


def plot_weight_change(run: xr.Dataset, ax: Axes | None = None) -> Axes:
    """Draw the rule's ‖ΔW‖₁ and, for learned biases, ‖Δb‖₁ over epochs, both before dt_W.

    Raises
    ------
    ValueError
        If `run` is not a run, or `ax` is not an Axes.

    See Also
    --------
    plot_mse : The error over the same epochs.

    Examples
    --------
    >>> import deep_nb
    >>> run = deep_nb.train("EP_asym", "not", seeds=range(3), hyper={"n_epochs": 5})
    >>> ax = deep_nb.plotting.plot_weight_change(run)
    >>> [line.get_label() for line in ax.get_lines()]
    ['‖ΔW‖₁', '‖Δb‖₁']
    """
    ax, alive = ensemble_axes(run, ax)
    epochs = alive["epoch"].values
    draw_median(ax, epochs, alive["dW_norm"].values, BLUE, "-", "‖ΔW‖₁")
    if problem_of(run).model.learned_bias:
        draw_median(ax, epochs, alive["db_norm"].values, VERMILION, "--", "‖Δb‖₁")
    log_scale(ax)
    return finish(ax, "epoch", "L1 norm, before $dt_W$", "Change of weights")


def plot_mse(run: xr.Dataset, ax: Axes | None = None) -> Axes:
    """Draw the MSE after each phase over epochs.

    Raises
    ------
    ValueError
        If `run` is not a run, or `ax` is not an Axes.

    See Also
    --------
    plot_mse_networks : How the networks differ.
    plot_class_error : Labels instead of outputs.

    Examples
    --------
    >>> import deep_nb
    >>> run = deep_nb.train("DEEP", "xor", seeds=range(3), hyper={"n_epochs": 5})
    >>> ax = deep_nb.plotting.plot_mse(run)
    >>> [line.get_label() for line in ax.get_lines()]
    ['free phase', 'nudged phase']
    """
    ax = _both_phases(run, ax, "mse")
    return finish(ax, "epoch", "MSE", "Error of both phases")


def plot_class_error(run: xr.Dataset, ax: Axes | None = None) -> Axes:
    """Draw the share of misclassified samples after each phase over epochs.

    Raises
    ------
    ValueError
        If `run` is not a run, or `ax` is not an Axes.

    See Also
    --------
    plot_mse : Outputs instead of labels.

    Examples
    --------
    >>> import deep_nb
    >>> run = deep_nb.train("DEEP", "xor", seeds=range(3), hyper={"n_epochs": 5})
    >>> deep_nb.plotting.plot_class_error(run).get_ylabel()
    'share misclassified'
    """
    ax = _both_phases(run, ax, "class_error")
    ax.set_ylim(-0.03, 1.03)
    return finish(ax, "epoch", "share misclassified", "Classification error")


def _both_phases(run: xr.Dataset, ax: Axes | None, name: str) -> Axes:
    ax, alive = ensemble_axes(run, ax)
    for phase, (colour, line) in PHASES.items():
        values = alive[f"{name}_{phase}"].values
        draw_median(ax, alive["epoch"].values, values, colour, line, f"{phase} phase")
    return ax


def plot_mse_networks(run: xr.Dataset, ax: Axes | None = None) -> Axes:
    """Draw the free phase's MSE over networks: mean, median, quartiles and extremes.

    Raises
    ------
    ValueError
        If `run` is not a run, or `ax` is not an Axes.

    See Also
    --------
    plot_mse : Both phases.

    Examples
    --------
    >>> import deep_nb
    >>> run = deep_nb.train("DEEP", "xor", seeds=range(3), hyper={"n_epochs": 5})
    >>> deep_nb.plotting.plot_mse_networks(run).get_title()
    'Error over 3 networks, free phase'
    """
    ax, alive = ensemble_axes(run, ax)
    if alive.sizes["seed"]:
        epochs, mse = alive["epoch"].values, alive["mse_free"].values
        ax.fill_between(epochs, mse.min(0), mse.max(0), color=PALE, lw=0, label="min to max")
        draw_median(ax, epochs, mse, BLUE, "-", over(alive))
        ax.plot(epochs, mse.mean(axis=0), color=VERMILION, ls="--", label="mean")
    title = f"Error over {alive.sizes['seed']} networks, free phase"
    return finish(ax, "epoch", "MSE", title)


def plot_sparsity(run: xr.Dataset, ax: Axes | None = None) -> Axes:
    """Draw the share of possible synapses that are 0 over epochs.

    Raises
    ------
    ValueError
        If `run` is not a run, or `ax` is not an Axes.

    See Also
    --------
    plot_survivors : Which synapses remain.
    deep_nb.analysis.turnover : Removed and regrown synapses.

    Examples
    --------
    >>> import deep_nb
    >>> run = deep_nb.train("DEEP", "xor", seeds=range(3), hyper={"n_epochs": 5}, sparse=True)
    >>> deep_nb.plotting.plot_sparsity(run).get_title()
    'Sparsity'
    """
    ax, alive = ensemble_axes(run, ax)
    sparsity = 1 - alive["n_connections"].values / alive["mask"].values.sum()
    draw_median(ax, alive["epoch"].values, sparsity, BLUE, "-", over(alive))
    ax.set_ylim(-0.03, 1.03)
    return finish(ax, "epoch", "share of synapses at 0", "Sparsity")


#: Energies up to this consist of rounding errors.
ROUNDING = 1e-20
#: Lines of the bounds of each phase.
BOUNDS = {"free": ":", "nudged": "-."}


def plot_energy(run: xr.Dataset, ax: Axes | None = None) -> Axes:
    """Draw the Lyapunov energy along both phases, for certified networks only.

    Summed over samples and divided by its value at each phase's first step. Dotted in the free
    phase and dash-dotted in the nudged one, the bound ρ^(2t) that the certificates prove: bold for
    the median network, thin for the loosest bound.
    Networks that begin a phase at rest, up to rounding, are left out of it: nudging does not move
    outputs that have reached their targets.

    Raises
    ------
    ValueError
        If `run` is not a run with the hard sigmoid, or `ax` is not an Axes.

    See Also
    --------
    deep_nb.analysis.energy, deep_nb.analysis.contraction_rate : The data.

    Examples
    --------
    >>> import deep_nb
    >>> leaky = deep_nb.DEEP.replace(name="leaky", leak=1.5)
    >>> run = deep_nb.train(leaky, "or", seeds=range(3), hyper={"n_epochs": 5})
    >>> deep_nb.plotting.plot_energy(run).get_title()
    'Energy: 3 of 3 networks certified'
    """
    ax, _ = ensemble_axes(run, ax)
    D = matrices.diagonal_certificate(stability.jacobian(run))
    certified = np.isfinite(D).all(axis=1) & ~run["diverged"].values
    if certified.any():
        _draw_energies(ax, run.isel(seed=certified))
        log_scale(ax)
        ax.set_ylim(1e-32, 10)
    title = f"Energy: {certified.sum()} of {certified.size} networks certified"
    return finish(ax, "Euler step $t$", "V(t) / V at the phase's start", title)


def _draw_energies(ax: Axes, run: xr.Dataset) -> None:
    V = energies.energy(trajectory(run), run).sum("sample", skipna=False)
    D = matrices.diagonal_certificate(stability.jacobian(run))
    for phase, (colour, line) in PHASES.items():
        values = V.sel(step=(V["phase"] == phase) & (V["step"] > 0))
        steps, curves = values["step"].values, values.values
        away = ~(curves[:, 0] <= ROUNDING)  # NaN without a rest point: only the bound is drawn
        if not away.any():
            continue
        curves = curves[away] / curves[away, :1]
        J = stability.jacobian(run, phase=phase)
        rho = matrices.contraction_rate(J, problem_of(run).hyper.dt, D)[away]
        with np.errstate(over="ignore"):  # a step beyond its stable range; off the axis
            bounds = np.minimum(rho[:, None] ** (2 * (steps - steps[0])), LARGEST)
        draw_median(ax, steps, curves, colour, line, f"{phase} phase")
        middle, label = np.median(bounds, axis=0), f"{phase}: bound"
        look: dict[str, Any] = {"color": colour, "ls": BOUNDS[phase]}
        ax.plot(steps, middle, label=f"{label}, median", **look)
        ax.plot(steps, bounds.max(axis=0), lw=0.6, label=f"{label}, loosest", **look)
