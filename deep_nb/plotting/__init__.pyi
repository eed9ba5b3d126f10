from .comparisons import plot_reached, plot_robustness, plot_shares
from .networks import (
    plot_decision_map,
    plot_discs,
    plot_network,
    plot_survivors,
    plot_weights,
)
from .output import Output
from .runs import (
    plot_class_error,
    plot_energy,
    plot_mse,
    plot_mse_networks,
    plot_residual,
    plot_sparsity,
    plot_weight_change,
)
from .style import (
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
    "Output",
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
