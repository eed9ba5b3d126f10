"""Figures: each ``plot_*`` takes a run, or numbers of many, and draws one panel.

Free phase blue and solid, nudged phase vermilion and dashed, in the colour-blind safe palette of
M. Okabe and K. Ito (2008). Lines are medians over networks, bands quartiles. Diverged networks
are left out, and their number is written on the panel.
"""

from deep_nb.plotting.comparisons import plot_reached, plot_robustness, plot_shares
from deep_nb.plotting.networks import (
    plot_decision_map,
    plot_discs,
    plot_network,
    plot_survivors,
    plot_weights,
)
from deep_nb.plotting.runs import (
    plot_class_error,
    plot_energy,
    plot_mse,
    plot_mse_networks,
    plot_residual,
    plot_sparsity,
    plot_weight_change,
)
from deep_nb.plotting.style import (
    BLUE,
    GREEN,
    GREY,
    PALE,
    PHASES,
    STYLE,
    VERMILION,
    save_figure,
)

__all__ = [
    "BLUE",
    "GREEN",
    "GREY",
    "PALE",
    "PHASES",
    "STYLE",
    "VERMILION",
    "plot_class_error",
    "plot_decision_map",
    "plot_discs",
    "plot_energy",
    "plot_mse",
    "plot_mse_networks",
    "plot_network",
    "plot_reached",
    "plot_residual",
    "plot_robustness",
    "plot_shares",
    "plot_sparsity",
    "plot_survivors",
    "plot_weight_change",
    "plot_weights",
    "save_figure",
]
