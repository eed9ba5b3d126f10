"""Claims at the published settings: how many networks reach the criterion, and when."""

import pandas as pd
from matplotlib.axes import Axes

from deep_nb.plotting import BLUE, GREEN, VERMILION, plot_reached

STYLES = {"DEEP": (BLUE, "-"), "EP_asym": (VERMILION, "--"), "DEEP_oh": (GREEN, ":")}


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
