"""Figures of an ensemble: errors, residuals, sparsity and energy over epochs and steps."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from deep_nb.analysis import matrices, stability
from deep_nb.inference import trajectory
from deep_nb.plotting.style import (
    BLUE,
    PALE,
    PHASES,
    VERMILION,
    alive_networks,
    draw_median,
    finish,
    log_scale,
    new_axes,
    over,
)
from deep_nb.run import problem_of


def plot_residual(run: xr.Dataset, ax: Axes | None = None) -> Axes:
    """Draw the residuals over the iterations of both phases, at the final weights.

    Bold: the projected residual Σ (Δs / dt)² / M, which is 0 at rest. Thin: the published
    Σ (ds/dt)² / M, which is not while neurons push against the clip. With early stop, a step's
    median is over the networks that still run.

    Raises
    ------
    ValueError
        If `run` is none, or `ax` no Axes.
    """
    ax = new_axes(run, ax)
    alive = alive_networks(run, ax)
    if alive.sizes["seed"]:
        path = trajectory(alive)
        for phase, (colour, line) in PHASES.items():
            part = path.sel(step=(path["phase"] == phase) & (path["step"] > 0))
            steps = part["step"].values
            label = f"{phase} phase"
            draw_median(ax, steps, part["projected_residual"].values, colour, line, label)
            before = part["residual"].values
            draw_median(ax, steps, before, colour, line, f"{label}, before the clip", lw=0.7)
        log_scale(ax)
    return finish(
        ax, "Euler step", "squared speed per sample (1/τ²)", "Residual at the final weights"
    )


def plot_weight_change(run: xr.Dataset, ax: Axes | None = None) -> Axes:
    """Draw the rule's ‖ΔW‖₁ and, where biases are learned, ‖Δb‖₁, before dt_W, over epochs.

    Raises
    ------
    ValueError
        If `run` is none, or `ax` no Axes.
    """
    ax = new_axes(run, ax)
    alive = alive_networks(run, ax)
    if alive.sizes["seed"]:
        epochs = alive["epoch"].values
        draw_median(ax, epochs, alive["dW_norm"].values, BLUE, "-", "‖ΔW‖₁")
        if problem_of(run).model.learned_bias:
            draw_median(ax, epochs, alive["db_norm"].values, VERMILION, "--", "‖Δb‖₁")
        log_scale(ax)
    return finish(ax, "epoch", "L1 norm, before dt_W", "Change of weights")


def plot_mse(run: xr.Dataset, ax: Axes | None = None) -> Axes:
    """Draw the MSE after each phase over epochs.

    Raises
    ------
    ValueError
        If `run` is none, or `ax` no Axes.
    """
    ax = _both_phases(run, ax, "mse")
    return finish(ax, "epoch", "MSE", "Error of both phases")


def plot_class_error(run: xr.Dataset, ax: Axes | None = None) -> Axes:
    """Draw the share of misclassified samples after each phase over epochs.

    Raises
    ------
    ValueError
        If `run` is none, or `ax` no Axes.
    """
    ax = _both_phases(run, ax, "class_error")
    ax.set_ylim(-0.03, 1.03)
    return finish(ax, "epoch", "share misclassified", "Classification error")


def plot_mse_networks(run: xr.Dataset, ax: Axes | None = None) -> Axes:
    """Draw the free phase's MSE over networks: mean, median, quartiles and extremes.

    Raises
    ------
    ValueError
        If `run` is none, or `ax` no Axes.
    """
    ax = new_axes(run, ax)
    alive = alive_networks(run, ax)
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
        If `run` is none, or `ax` no Axes.
    """
    ax = new_axes(run, ax)
    alive = alive_networks(run, ax)
    if alive.sizes["seed"]:
        share = 1 - alive["n_connections"].values / alive["mask"].values.sum()
        draw_median(ax, alive["epoch"].values, share, BLUE, "-", over(alive))
        ax.set_ylim(-0.03, 1.03)
    return finish(ax, "epoch", "share of synapses at 0", "Sparsity")


def plot_energy(run: xr.Dataset, ax: Axes | None = None) -> Axes:
    """Draw the Lyapunov energy along both phases, certified networks only.

    Summed over samples and divided by its value at each phase's first step. Dotted, the bound
    ρ^(2t) that the certificates prove: bold of the median network, thin of the loosest.

    Raises
    ------
    ValueError
        If `run` is none, or `ax` no Axes.
    """
    ax = new_axes(run, ax)
    alive = alive_networks(run, ax)
    certified = alive
    if alive.sizes["seed"]:
        certified = alive.isel(seed=stability.stability_report(alive)["certified"].values)
    if certified.sizes["seed"]:
        V = stability.energy(trajectory(certified), certified).sum("sample", skipna=False)
        D = matrices.diagonal_certificate(stability.jacobian(certified))
        dt = problem_of(run).hyper.dt
        for phase, (colour, line) in PHASES.items():
            values = V.sel(step=(V["phase"] == phase) & (V["step"] > 0))
            steps = values["step"].values
            curves = values.values / values.values[:, :1]
            rho = matrices.contraction_rate(stability.jacobian(certified, phase=phase), dt, D)
            bounds = rho[:, None] ** (2 * (steps - steps[0]))
            draw_median(ax, steps, curves, colour, line, f"{phase} phase")
            ax.plot(
                steps,
                np.median(bounds, axis=0),
                color=colour,
                ls=":",
                label=f"{phase}: bound, median",
            )
            ax.plot(
                steps,
                bounds.max(axis=0),
                color=colour,
                ls=":",
                lw=0.7,
                label=f"{phase}: bound, largest",
            )
        log_scale(ax)
        ax.set_ylim(1e-32, 10)
    count = f"{certified.sizes['seed']} of {run.sizes['seed']} networks certified"
    return finish(ax, "Euler step", "V(t) / V at the phase's start", f"Energy: {count}")


def _both_phases(run: xr.Dataset, ax: Axes | None, name: str) -> Axes:
    ax = new_axes(run, ax)
    alive = alive_networks(run, ax)
    if alive.sizes["seed"]:
        for (phase, (colour, line)), suffix in zip(PHASES.items(), ("free", "nudged"), strict=True):
            values = alive[f"{name}_{suffix}"].values
            draw_median(ax, alive["epoch"].values, values, colour, line, f"{phase} phase")
    return ax
