"""Real data and parity: accuracy, confusions, learning curve, and how few synapses are enough."""

import copy
import itertools
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Int
from matplotlib.axes import Axes
from scipy import stats
from sklearn.datasets import fetch_openml, load_breast_cancer, load_digits, load_iris, load_wine
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import confusion_matrix
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import MinMaxScaler

from deep_nb._validation import flag, integer, number
from deep_nb.classifier import DEEPClassifier
from deep_nb.experiments import gradients
from deep_nb.experiments.common import check_counts, entries, learned_share, percent
from deep_nb.plotting import BLUE, VERMILION
from deep_nb.tasks import Task
from deep_nb.training import train

LOADERS = {
    "Iris": load_iris,
    "Wine": load_wine,
    "Breast cancer": load_breast_cancer,
    "Digits": load_digits,
}
#: Data sets of pictures, which `DEEPClassifier` also learns with noise on the inputs.
PICTURES = ("Digits", "MNIST")
#: Names of the networks without and with noise on the inputs.
PLAIN, NOISY = "DEEPClassifier", "DEEPClassifier, noise"
#: Maximum standard deviation of the noise, and maximum number of bits of a parity.
MAX_NOISE, MAX_BITS = 100.0, 10
#: Shares of synapses that are left after each cut.
LEFT = (1.0, 0.7, 0.4, 0.2, 0.1, 0.07, 0.05, 0.03, 0.02, 0.01)
#: Models that learn parities by `asymep`, with the setting at which most networks learn XOR.
PARITY = {
    "leaky DEEP": {"beta": 3.0, "dt_W": 0.5},
    "EP dynamics": {"beta": 4.0, "dt_W": 3.5},
}
#: Ways to learn after a cut, with their colour and line.
WAYS = {"learning on after each cut": (BLUE, "-"), "one cut": (VERMILION, "--")}

Samples = tuple[np.ndarray, np.ndarray]
Fitted = dict[tuple[str, str, int], Pipeline]


def check(prune_epochs: int, noise: float, parity_bits: Any, mnist: bool, **counts: int) -> None:
    """Refuse parameters of the notebook that cannot work, before anything is learned."""
    check_counts(**counts)
    check_counts(0, prune_epochs=prune_epochs)
    number(noise, "noise", 0, MAX_NOISE)
    for bits in entries(parity_bits, "parity_bits"):
        integer(bits, "each entry of parity_bits", 1, MAX_BITS)
    flag(mnist, "mnist")


def load_data(mnist: bool) -> dict[str, Samples]:
    """Return the samples and labels of each data set, MNIST by download."""
    data = {name: loader(return_X_y=True) for name, loader in LOADERS.items()}
    if mnist:
        data["MNIST"] = fetch_openml("mnist_784", version=1, return_X_y=True, as_frame=False)
    return data


def split(samples: Samples, seed: int) -> list[np.ndarray]:
    """Return training and test samples, training and test labels: 20 % of each class to test."""
    X, y = samples
    return train_test_split(X, y, test_size=0.2, stratify=y, random_state=seed)


def classifiers(name: str, seed: int, N_H: int, n_epochs: int, noise: float) -> dict[str, Any]:
    """Return the classifiers that are compared on a data set, unfitted."""
    settings: dict[str, Any] = {"N_H": N_H, "n_epochs": n_epochs, "random_state": seed}
    models = {PLAIN: DEEPClassifier(**settings)}
    if name in PICTURES:
        models[NOISY] = DEEPClassifier(**settings, noise=noise)
    return models | {
        "logistic regression": LogisticRegression(max_iter=5000),
        "MLP": MLPClassifier((N_H,), max_iter=1000, random_state=seed),
    }


def fit_all(
    data: Mapping[str, Samples], seeds: int, N_H: int, n_epochs: int, noise: float
) -> tuple[pd.DataFrame, Fitted]:
    """Fit every classifier to every data set, with one split per seed.

    Returns the test ``accuracy`` of each ``data``, ``model`` and ``seed``, and the fitted
    pipelines, which scale features to [0, 1] first, by (data, model, seed).
    """
    rows, fitted = [], {}
    for name, samples in data.items():
        for seed in range(seeds):
            X_train, X_test, y_train, y_test = split(samples, seed)
            for kind, model in classifiers(name, seed, N_H, n_epochs, noise).items():
                pipeline = make_pipeline(MinMaxScaler(), model)
                with warnings.catch_warnings():
                    # The perceptron may reach its maximum number of passes.
                    warnings.simplefilter("ignore", ConvergenceWarning)
                    pipeline.fit(X_train, y_train)
                rows.append([name, kind, seed, pipeline.score(X_test, y_test)])
                fitted[name, kind, seed] = pipeline
    return pd.DataFrame(rows, columns=["data", "model", "seed", "accuracy"]), fitted


def accuracy_table(scores: pd.DataFrame) -> pd.DataFrame:
    """Return the mean accuracy over seeds of each data set and model, with its 95 % t-interval.

    The interval is NaN with a single seed.
    """
    rows = []
    for (name, kind), of in scores.groupby(["data", "model"], sort=False):
        values = of["accuracy"].to_numpy()
        mean, n = np.mean(values), len(values)
        half = np.nan
        if n > 1:
            half = stats.t.ppf(0.975, n - 1) * np.std(values, ddof=1) / np.sqrt(n)
        rows.append([name, kind, mean, mean - half, np.minimum(1.0, mean + half)])
    return pd.DataFrame(rows, columns=["data", "model", "accuracy", "low", "high"])


def confusions(fitted: Fitted, samples: Samples) -> Int[np.ndarray, "classes classes"]:
    """Return the confusion matrix of the noisy networks on Digits, all test parts together."""
    true, answers = [], []
    for (name, kind, seed), pipeline in fitted.items():
        if (name, kind) == ("Digits", NOISY):
            _, X_test, _, y_test = split(samples, seed)
            true.append(y_test)
            answers.append(pipeline.predict(X_test))
    return confusion_matrix(np.concatenate(true), np.concatenate(answers))


def draw_confusions(matrix: Int[np.ndarray, "classes classes"], ax: Axes) -> None:
    """Draw a confusion matrix with its counts; shades are square roots."""
    ax.imshow(np.sqrt(matrix), cmap="cividis")
    for (row, column), count in np.ndenumerate(matrix):
        colour = "white" if count < matrix.max() / 4 else "black"
        ax.text(column, row, str(count), ha="center", va="center", fontsize=6, color=colour)
    ticks = range(len(matrix))
    title = f"Digits: {np.trace(matrix)} of {matrix.sum()} right"
    ax.set(xlabel="answer", ylabel="digit", xticks=ticks, yticks=ticks, title=title)


def learning_curve(samples: Samples, N_H: int, noise: float, n_epochs: int) -> pd.DataFrame:
    """Return the accuracy on both parts of Digits after each pass at a constant learning rate."""
    X, y = samples
    X_train, X_test, y_train, y_test = split((X / 16, y), 0)
    learner, rows = DEEPClassifier(N_H=N_H, noise=noise, random_state=0), []
    for _ in range(n_epochs):
        learner.partial_fit(X_train, y_train, classes=range(10))
        rows.append((learner.score(X_train, y_train), learner.score(X_test, y_test)))
    index = pd.RangeIndex(1, n_epochs + 1, name="passes")
    return pd.DataFrame(rows, index=index, columns=["training part", "test part"])


def draw_learning_curve(curve: pd.DataFrame, ax: Axes) -> None:
    """Draw both accuracies of `learning_curve` over passes."""
    for (name, values), colour, line in zip(
        curve.items(), (BLUE, VERMILION), ("-", "--"), strict=True
    ):
        ax.plot(curve.index, values, color=colour, ls=line, label=name)
    ax.set(xlabel="passes", ylabel="accuracy", title="Digits: learning curve")
    ax.legend()


def accuracy_after_cuts(
    fitted: Fitted, samples: Samples, seeds: int, prune_epochs: int
) -> xr.DataArray:
    """Remove the weakest synapses of the noisy networks on Digits, and test what is left.

    Test accuracy over (way, seed, share), for each share in `LEFT` and two ways: `prune_epochs`
    passes after each cut, at a learning rate that falls to 0; or one cut and no more learning.
    """
    accuracies = np.empty((len(WAYS), seeds, len(LEFT)))
    for seed in range(seeds):
        X_train, X_test, y_train, y_test = split(samples, seed)
        scaler, network = fitted["Digits", NOISY, seed]
        X_train, X_test = scaler.transform(X_train), scaler.transform(X_test)
        taught, cut = copy.deepcopy(network), copy.deepcopy(network)
        for column, left in enumerate(LEFT):
            taught.prune(left)
            for dt_W in np.linspace(0.2, 0, prune_epochs, endpoint=False) if left < 1 else ():
                taught.set_params(dt_W=dt_W).partial_fit(X_train, y_train)
            scores = taught.score(X_test, y_test), cut.prune(left).score(X_test, y_test)
            accuracies[:, seed, column] = scores
    coords = {"way": list(WAYS), "seed": range(seeds), "share": list(LEFT)}
    return xr.DataArray(accuracies, dims=("way", "seed", "share"), coords=coords)


def mean_after_cuts(accuracies: xr.DataArray) -> pd.DataFrame:
    """Return the means over seeds of `accuracy_after_cuts`, one column per way."""
    means = {way: accuracies.sel(way=way).values.mean(axis=0) for way in WAYS}
    return pd.DataFrame(means, index=pd.Index(LEFT, name="share"))


def draw_cuts(accuracies: xr.DataArray, ax: Axes) -> None:
    """Draw `accuracy_after_cuts` over the share of synapses left: mean and range over seeds."""
    for way, (colour, line) in WAYS.items():
        of = accuracies.sel(way=way)
        ax.plot(LEFT, of.mean("seed"), color=colour, ls=line, marker="o", ms=3, label=way)
        ax.fill_between(LEFT, of.min("seed"), of.max("seed"), color=colour, alpha=0.15, lw=0)
    ax.set(xscale="log", xlabel="share of synapses left", ylabel="test accuracy", ylim=(0, 1.03))
    ax.set_xticks([0.01, 0.03, 0.1, 0.3, 1], ["1 %", "3 %", "10 %", "30 %", "100 %"])
    ax.legend(loc="lower right")


def count_synapses(fitted: Fitted) -> int:
    """Return the number of synapses of a complete directed network on Digits."""
    return int(np.count_nonzero(fitted["Digits", NOISY, 0][-1].mask_))


def fewest_synapses(mean: pd.Series) -> float:
    """Return the smallest share of synapses whose accuracy is within one point of all of them."""
    return float(mean.index[mean >= mean[1.0] - 0.01].min())


def parity(n: int) -> Task:
    """Return the task of the parity of n bits, over all 2ⁿ inputs."""
    X = np.array(list(itertools.product((0, 1), repeat=n)))
    return Task(f"{n}-bit parity", X, X.sum(axis=1, keepdims=True) % 2)


def learn_parity(bits: Sequence[int], num_net: int, n_epochs: int) -> pd.DataFrame:
    """Train both models with `asymep` and 20 hidden neurons on the parity of each number of bits.

    One row per number of bits and model: the share that ``learned`` as text, and the median share
    ``misclassified`` in the last epoch.
    """
    rows = []
    for n, (name, setting) in itertools.product(bits, PARITY.items()):
        hyper = {**setting, "N_H": [20], "n_epochs": n_epochs, "T1": 400, "T2": 400}
        run = train(gradients.MODELS[name], parity(n), seeds=range(num_net), hyper=hyper)
        wrong = float(run["class_error_free"][:, -1].median())
        rows.append([n, name, percent(learned_share(run), 4), wrong])
    return pd.DataFrame(rows, columns=["bits", "model", "learned", "misclassified"])
