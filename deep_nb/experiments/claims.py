"""Claims at the published settings: how many networks reach the criterion, and when."""

from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from deep_nb._validation import LARGEST, integer, items, number
from deep_nb.experiments.common import check_counts
from deep_nb.models import MAX_COUNT, MAX_SIZE
from deep_nb.plotting import BLUE, GREEN, VERMILION, plot_reached

STYLES = {"DEEP": (BLUE, "-"), "EP_asym": (VERMILION, "--"), "DEEP_oh": (GREEN, ":")}


def check(
    num_net: int,
    grid_num_net: int,
    grid_N_H: Any,
    grid_beta: Any,
    grid_dt_W: Any,
    grid_n_epochs: Any,
) -> None:
    """Refuse parameters of the notebook that cannot work, before any network is trained.

    A bootstrap needs two networks. In the grid, even seeds choose a setting and odd ones judge it.
    """
    check_counts(2, num_net=num_net)
    check_counts(4, grid_num_net=grid_num_net)
    grid: dict[str, list[Any]] = {
        "grid_N_H": [integer(n, "grid_N_H", 1, MAX_SIZE) for n in items(grid_N_H, "grid_N_H")],
        "grid_beta": [number(beta, "grid_beta") for beta in items(grid_beta, "grid_beta")],
        "grid_dt_W": [number(x, "grid_dt_W", 0, LARGEST) for x in items(grid_dt_W, "grid_dt_W")],
        "grid_n_epochs": [
            integer(n, "grid_n_epochs", 1, MAX_COUNT) for n in items(grid_n_epochs, "grid_n_epochs")
        ],
    }
    if 0 in grid["grid_beta"]:
        raise ValueError(f"grid_beta must not contain 0, got {grid_beta}")
    for name, values in grid.items():
        if len({*values}) < len(values):
            raise ValueError(f"{name} must contain distinct values, got {values}")


def draw_reached(networks: pd.DataFrame, task: str, ax: Axes) -> None:
    """Draw the share of networks that have reached the criterion, over epochs, for each model.

    `networks` is a table of `deep_nb.claims.measure_all`; pruned networks are left out.
    """
    chosen = networks[(networks["task"] == task) & ~networks["pruned"]]
    for model, (colour, line) in STYLES.items():
        of = chosen[chosen["model"] == model]
        plot_reached(of["epochs"].to_numpy(), int(of["n_epochs"].max()), ax, colour, line, model)
    ax.set(title=task.upper(), xlabel="epoch", ylabel="share that has reached the criterion")


def reached(networks: pd.DataFrame) -> pd.DataFrame:
    """Count, for each task and model, the networks that reach the criterion, with median epochs.

    The median is over those networks only. Pruned networks are left out, and so are models without
    any network that reaches the criterion.
    """
    found = networks[~networks["pruned"] & networks["epochs"].notna()]
    return found.groupby(["task", "model"], sort=False)["epochs"].agg(["count", "median"])
