"""Errata: what each defect of the published notebooks does, next to what was meant."""

import warnings

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from deep_nb.analysis import jacobian, learned
from deep_nb.analysis.stability import REST_SPEED
from deep_nb.claims import read_sources
from deep_nb.inference import decision_map, trajectory
from deep_nb.plotting import BLUE, VERMILION
from deep_nb.plotting.style import legend_below
from deep_nb.run import problem_of, sealed
from deep_nb.training import train

#: The published threshold of early stop, on ‖ds‖².
STOP = 1e-10


#: Each defect: what it is, in which notebooks, and words of ``claims/evidence.yml`` that show it.
ERRATA: list[tuple[str, str, dict[str, str]]] = [
    (
        "the stored output of 2020 diverged (NaN after epoch 2), and its batch test comes from "
        "another run; the notebook of 2019 holds a sound run",
        "DEEP of 2020",
        {
            "DEEP 2020 training": "RuntimeWarning: overflow encountered in square",
            "DEEP 2020 results": "W_min = nan, W_max = nan",
            "DEEP 2020 batch test": "Y_out_free: [0. 1. 1. 0.]",
            "DEEP 2019 results": "W_min = -0.441, W_max = 0.404",
        },
    ),
    (
        "`dW_epochs` is a copy of `W_epochs`",
        "one-hot",
        {"one-hot change": "dW_epochs = np.array(W_epochs)"},
    ),
    (
        "with early stop, the logged MSE is 0 after the stop",
        "all of 2020",
        {"early stop": "mses_free = np.zeros((n_epochs,T1))"},
    ),
    (
        "the batch test integrates with twice the step",
        "DEEP, one-hot",
        {"batch test": "S_t[:,N_X:] += dt*dS_t[:,N_X:]/0.5"},
    ),
    (
        "early stop uses an undefined name",
        "one-hot",
        {"one-hot stop": "if magnitude<=stop:"},
    ),
    (
        "they do not run on current NumPy and networkx",
        "all",
        {
            "class error": "r += int(x[i]!=y[i])",
            "networkx": "nx.from_numpy_matrix(W_plot,create_using=nx.DiGraph)",
        },
    ),
    (
        "no random seed is set",
        "all",
        {"initial weights": "W_values = np.random.normal(0,0.05,(n,n))"},
    ),
    (
        "the strict Gershgorin tests cannot pass",
        "DEEP, one-hot",
        {
            "stability tests": "second_row = np.all(b1_row<np.abs(b0))\n[…]\n"
            "second_column = np.all(b1_column<np.abs(b0))",
            "DEEP 2019 results": "Gershgorin by row: False (fails in 5 rows)\n"
            "Gershgorin by column: False (fails in 6 columns)",
            "DEEP_oh 2020 results": "Gershgorin by row: False (fails in 4 rows)\n"
            "Gershgorin by column: False (fails in 3 columns)",
        },
    ),
    (
        "‖ds‖² does not measure rest, yet early stop depends on it",
        "all of 2020",
        {"early stop": "error_free[t1] = np.sum(dS[:,N_X:]**2)"},
    ),
    (
        "layered: the last *real* input skips layers as if it were the bias",
        "asymmetric EP of 2020",
        {"layered mask": "W[:N_cum[0]-1,N_cum[1]:] = 0"},
    ),
    (
        "the README calls the one-hot DEEP notebook an implementation of asymmetric EP",
        "README",
        {
            "readme": "contains the asymmetric EP's implementation for learning logic operations "
            "with onehot encoding",
            "one-hot dynamics": "dS = S@W-S*(np.sum(W,axis=1))",
            "EP dynamics": "dS = S@W+B-S",
        },
    ),
]


def errata_table() -> str:
    """Return the defects in Markdown, each with the notebooks that have it and its evidence."""
    sources = read_sources()
    lines = ["|  | defect | where | evidence |", "|---|---|---|---|"]
    for number, (defect, where, evidence) in enumerate(ERRATA, 1):
        parts = [
            f"{sources[name]}: {', '.join(f'`{line}`' for line in words.splitlines())}"
            for name, words in evidence.items()
        ]
        lines.append(f"| {number} | {defect} | {where} | {'<br>'.join(parts)} |")
    return "\n".join(lines) + "\n"


def extreme_weights(run: xr.Dataset) -> tuple[float, float]:
    """Return the medians, over networks that learned, of the extreme weights of all epochs."""
    of = run["W_epochs"][learned(run)[:, -1].values]
    if not of.sizes["seed"]:
        return np.nan, np.nan
    axes = ["snapshot", "pre", "post"]
    return float(of.min(axes).median()), float(of.max(axes).median())


def train_absurdly() -> tuple[xr.Dataset, str]:
    """Train one network with settings at which weights overflow; return it and the warning."""
    hyper = {"dt_W": 1.7e308, "reg_W": 1.7e308, "n_epochs": 3}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run = train("DEEP", "xor", seeds=2, hyper=hyper, regularized=True, sign=True)
    return run, str(caught[0].message)


def sizes_and_changes(run: xr.Dataset) -> xr.Dataset:
    """Return ‖W‖₁ at the start of each epoch as ``size``, and ‖dt_W ΔW‖₁ as ``change``."""
    size = abs(run["W_epochs"][:, :-1]).sum(["pre", "post"]).rename(snapshot="epoch")
    change = run["dW_norm"] * problem_of(run).hyper.dt_W
    return xr.Dataset({"size": size, "change": change})


def draw_sizes_and_changes(sizes: xr.Dataset, ax: Axes) -> None:
    """Draw the medians of `sizes_and_changes` over epochs."""
    curves = {
        "size": ("‖W‖₁, what was plotted", VERMILION, "--"),
        "change": ("‖$dt_W$ ΔW‖₁, what was meant", BLUE, "-"),
    }
    for name, (label, colour, line) in curves.items():
        ax.plot(sizes["epoch"], sizes[name].median("seed"), color=colour, ls=line, label=label)
    ax.set(xlabel="epoch", ylabel="L1 norm, median", yscale="log")
    legend_below(ax)


def published_log(run: xr.Dataset) -> xr.Dataset:
    """Follow the first network's free phase with early stop, and log its MSE as published.

    Over ``step``: the ``mse``, NaN after the phase stopped, and the published ``log``, made of
    zeros and filled step by step.
    """
    path = trajectory(run.isel(seed=[0])).isel(seed=0)
    free = path["mse"].sel(step=path["phase"] == "free")[1:]
    return xr.Dataset({"mse": free, "log": free.fillna(0.0)})


def effect_of_double_step(run: xr.Dataset, n: int = 20) -> xr.Dataset:
    """Answer a grid of inputs with the step dt and with 2 dt, with the same networks.

    For each network: the largest ``difference`` of the outputs, and the share of the grid whose
    label is ``flipped``.
    """
    hyper = problem_of(run).hyper
    doubled = sealed(run.assign_attrs(hyper=hyper.replace(dt=2 * hyper.dt).model_dump_json()))
    once, twice = decision_map(run, n), decision_map(doubled, n)
    difference = abs(once["score"] - twice["score"]).max(["x0", "x1"])
    flipped = (once["label"] != twice["label"]).mean(["x0", "x1"])
    return xr.Dataset({"difference": difference, "flipped": flipped})


def early_stops(run: xr.Dataset) -> xr.Dataset:
    """Return which free phases ``stopped`` early, and whether all did at Σ ds² ≤ stop, ``obeyed``.

    Over (seed, epoch); a phase that did not stop early obeys.
    """
    hyper = problem_of(run).hyper
    stopped = run["steps_free"] < hyper.T1
    residual = run["residual_free"] * run.sizes["sample"]
    return xr.Dataset({"stopped": stopped, "obeyed": residual.where(stopped, 0) <= hyper.stop})


def array_becomes_int() -> bool:
    """Return whether NumPy still converts an array of one element to int without a warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            int(np.array([[1.0]]))
        except (TypeError, DeprecationWarning):
            return False
    return True


def largest_column_sum(run: xr.Dataset) -> float:
    """Return the largest absolute column sum of the free Jacobians of all networks."""
    return float(np.abs(jacobian(run).sum(axis=1)).max())


def rest_and_residual(run: xr.Dataset) -> xr.Dataset:
    """Return which networks end at ``rest``, and which of those have ‖ds‖²/M ``above`` `STOP`.

    The phase is the free one of the last epoch, before the last weight change. A network is at rest
    if its projected speed is below `REST_SPEED`, as in `deep_nb.analysis.stability_report`.
    """
    last = run[["residual_free", "projected_residual_free"]].isel(epoch=-1)
    rest = np.sqrt(last["projected_residual_free"] * run.sizes["sample"]) < REST_SPEED
    return xr.Dataset({"rest": rest, "above": rest & (last["residual_free"] > STOP)})


def published_layered_mask(run: xr.Dataset) -> np.ndarray:
    """Return the mask of a layered run on XOR, with the published synapse from x1 to y0 added."""
    mask = run["mask"].copy()
    mask.loc[{"pre": "x1", "post": "y0"}] = True
    return mask.values
