"""Real data: accuracy beside other classifiers, certificates, and how few synapses are enough.

Every classifier chooses its settings by cross-validation on the training part of a split, among the
same number of candidates, and is judged once on the test part; scikit-learn's support-vector
machine also takes part as it is, at its defaults on raw features. Training parts of different
splits overlap, so intervals and tests are corrected for that [NB]_.

References
----------
.. [NB] C. Nadeau, Y. Bengio, "Inference for the Generalization Error", Machine Learning 52:239–281,
   2003.
"""

import copy
from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from numpy.typing import ArrayLike
from scipy import stats
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.datasets import fetch_openml, load_breast_cancer, load_digits, load_iris, load_wine
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import confusion_matrix
from sklearn.model_selection import GridSearchCV, StratifiedKFold, train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from sklearn.utils import check_random_state
from sklearn.utils.parallel import Parallel, delayed
from statsmodels.stats.multitest import multipletests

from deep_nb._validation import flag, integer
from deep_nb.analysis.statistics import Estimate
from deep_nb.classifier import DEEPClassifier
from deep_nb.engines.blas import one_thread
from deep_nb.experiments.common import check_counts
from deep_nb.models import DEEP
from deep_nb.plotting import BLUE, GREY, VERMILION
from deep_nb.plotting.style import SMALL, legend_below

LOADERS = {
    "Iris": load_iris,
    "Wine": load_wine,
    "Breast cancer": load_breast_cancer,
    "Digits": load_digits,
}
#: The network whose accuracy the others' are compared with.
OWN = "contracting DEEP"
#: Names of the other dynamics of directed networks, and of the other classifiers.
DYNAMICS = ("EP dynamics", "leaky DEEP", "DEEP")
OTHERS = ("logistic regression", "MLP", "default SVM", "tuned SVM")
#: Standard deviations of the noise on standardised inputs, of the networks and the perceptron.
NOISE = [0.0, 0.3]
#: Candidates of each classifier: all combinations of these values, four for each. A classifier
#: without candidates keeps its defaults, and gets raw features.
GRIDS: dict[str, dict[str, list[float]]] = {
    OWN: {"noise": NOISE, "dt_W": [1.0, 2.0]},
    "EP dynamics": {"noise": NOISE, "dt_W": [0.2, 0.4]},
    "leaky DEEP": {"noise": NOISE, "dt_W": [0.3, 1.0]},
    "DEEP": {"noise": NOISE, "dt_W": [0.5, 1.5]},
    "logistic regression": {"C": [0.01, 0.1, 1.0, 10.0]},
    "MLP": {"noise": NOISE, "learning_rate_init": [0.001, 0.003]},
    "tuned SVM": {"C": [1.0, 10.0], "gamma": [0.01, 0.1]},
}
#: Folds of the cross-validation that chooses among them.
FOLDS = 3
#: Share of each class that is set aside, for testing and for validation.
ASIDE = 0.2
#: Samples in a batch of the networks and the perceptron.
BATCH = 16
#: Maximum number of processes.
MAX_JOBS = 1024
#: Shares of synapses that are left after each cut.
LEFT = (1.0, 0.7, 0.4, 0.2, 0.1, 0.07, 0.05, 0.03, 0.02, 0.01)
#: A share of synapses is enough if it loses at most this much accuracy on the validation part.
LOSS = 0.01
#: Ways to learn after a cut, with their colour and line.
WAYS = {"learning on after each cut": (BLUE, "-"), "one cut": (VERMILION, "--")}

Samples = tuple[np.ndarray, np.ndarray]
Fitted = dict[tuple[str, str, int], Pipeline]


def check(prune_epochs: int, n_jobs: int, mnist: bool, **counts: int) -> None:
    """Refuse parameters of the notebook that cannot work, before anything is learned."""
    check_counts(**counts)
    check_counts(0, prune_epochs=prune_epochs)
    integer(n_jobs, "n_jobs", 1, MAX_JOBS)
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
    return train_test_split(X, y, test_size=ASIDE, stratify=y, random_state=seed)


class NoisyPerceptron(ClassifierMixin, BaseEstimator):
    """scikit-learn's multilayer perceptron, with the same noise on its inputs as our networks.

    It makes as many passes as they do, in batches of the same size; noise is drawn anew in each.
    """

    def __init__(
        self,
        N_H: int = 50,
        n_epochs: int = 40,
        noise: float = 0.0,
        learning_rate_init: float = 0.001,
        random_state: int = 0,
    ) -> None:
        self.N_H = N_H
        self.n_epochs = n_epochs
        self.noise = noise
        self.learning_rate_init = learning_rate_init
        self.random_state = random_state

    def fit(self, X: Float[np.ndarray, "M n"], y: np.ndarray) -> Self:
        """Learn from new weights for `n_epochs` passes."""
        self.classes_ = np.unique(y)
        self.perceptron_ = MLPClassifier(
            (self.N_H,),
            batch_size=min(BATCH, len(X)),
            learning_rate_init=self.learning_rate_init,
            random_state=self.random_state,
        )
        stream = check_random_state(self.random_state)
        for _ in range(self.n_epochs):
            noisy = X + stream.normal(0, self.noise, X.shape) if self.noise else X
            self.perceptron_.partial_fit(noisy, y, classes=self.classes_)
        return self

    def predict(self, X: Float[np.ndarray, "M n"]) -> np.ndarray:
        """Return the classes of the samples."""
        return self.perceptron_.predict(X)


def classifiers(seed: int, N_H: int, n_epochs: int) -> dict[str, Any]:
    """Return the classifiers that are compared, unfitted."""
    same: dict[str, Any] = {"N_H": N_H, "n_epochs": n_epochs, "random_state": seed}
    ours = same | {"batch_size": BATCH, "dtype": "float32"}
    phases: dict[str, Any] = {"dt": 0.1, "T1": 30, "T2": 15}
    leaky = DEEP.replace(name="leaky DEEP", leak=1.0)
    return {
        OWN: DEEPClassifier.contracting(**ours),
        "EP dynamics": DEEPClassifier(**ours),
        "leaky DEEP": DEEPClassifier(leaky, beta=0.5, **phases, **ours),
        "DEEP": DEEPClassifier(DEEP, rule="stdp", beta=3.0, **phases, **ours),
        "logistic regression": LogisticRegression(max_iter=5000),
        "MLP": NoisyPerceptron(**same),
        "default SVM": SVC(),
        "tuned SVM": SVC(),
    }


def fit_best(
    model: Any, grid: Mapping[str, list[float]] | None, samples: Samples, seed: int
) -> tuple[Pipeline, dict[str, Any]]:
    """Fit a classifier to a training part, with the settings that cross-validation on it chooses.

    Returns the pipeline, which standardises features first, and the settings. Without a grid, the
    classifier keeps its settings and gets raw features.
    """
    if grid is None:
        with one_thread():
            return Pipeline([("model", model)]).fit(*samples), {}
    pipeline = Pipeline([("scaler", StandardScaler()), ("model", model)])
    candidates = {f"model__{key}": values for key, values in grid.items()}
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    with one_thread():
        search = GridSearchCV(pipeline, candidates, cv=folds, error_score="raise").fit(*samples)
    chosen = {key.removeprefix("model__"): value for key, value in search.best_params_.items()}
    return search.best_estimator_, chosen


def fit_all(
    data: Mapping[str, Samples], seeds: int, N_H: int, n_epochs: int, n_jobs: int
) -> tuple[pd.DataFrame, Fitted]:
    """Fit every classifier to every data set, with one split per seed, in `n_jobs` processes.

    Returns one row per ``data``, ``model`` and ``seed``: the test ``accuracy``; the sizes
    ``n_train`` and ``n_test`` of the parts; whether all phases are ``certified`` after every pass
    (None where there are none); the settings ``chosen``. And the fitted pipelines, by (data, model,
    seed).
    """
    cases = [
        (name, kind, seed, model)
        for name in data
        for seed in range(seeds)
        for kind, model in classifiers(seed, N_H, n_epochs).items()
    ]
    parts = {(name, seed): split(data[name], seed) for name in data for seed in range(seeds)}
    found = Parallel(n_jobs=n_jobs)(
        delayed(fit_best)(model, GRIDS.get(kind), tuple(parts[name, seed][::2]), seed)
        for name, kind, seed, model in cases
    )
    rows, fitted = [], {}
    for (name, kind, seed, _), (pipeline, chosen) in zip(cases, found, strict=True):
        X_train, X_test, _, y_test = parts[name, seed]
        with one_thread():
            accuracy = pipeline.score(X_test, y_test)
        sizes = len(X_train), len(X_test)
        rows.append([name, kind, seed, accuracy, *sizes, certified(pipeline[-1]), chosen])
        fitted[name, kind, seed] = pipeline
    columns = ["data", "model", "seed", "accuracy", "n_train", "n_test", "certified", "chosen"]
    return pd.DataFrame(rows, columns=columns), fitted


def certified(model: Any) -> bool | None:
    """Return whether all phases of a network are certified after every pass, None for others."""
    if not isinstance(model, DEEPClassifier):
        return None
    return model.certified_ and max(model.contraction_curve_) < 1


def corrected_mean(values: ArrayLike, n_train: int, n_test: int) -> tuple[Estimate, float]:
    r"""Return the mean over splits with its 95 % interval, and the p-value against a mean of 0.

    The corrected resampled t-test [NB]_: with J splits of mean m and sample variance s²,

    .. math:: t = \frac{m}{\sqrt{(1/J + n_\text{test} / n_\text{train})\, s^2}}

    has about Student's distribution with J − 1 degrees of freedom. Without the second term, which
    stands for the overlap of training parts, intervals would be too short. A single split, or equal
    values, say nothing about the variance: the interval is then NaN, and the p-value 1.
    """
    array = np.asarray(values, dtype=float)
    n, mean = len(array), float(np.mean(array))
    if n < 2 or np.ptp(array) < 1e-9:  # accuracies are multiples of 1 / samples
        return Estimate(mean, np.nan, np.nan), 1.0
    error = float(np.sqrt((1 / n + n_test / n_train) * np.var(array, ddof=1)))
    half = float(stats.t.ppf(0.975, n - 1)) * error
    p = 2 * float(stats.t.sf(abs(mean) / error, n - 1))
    return Estimate(mean, mean - half, mean + half), p


def accuracy_table(scores: pd.DataFrame) -> pd.DataFrame:
    """Return the mean accuracy over splits of each data set and model, with its 95 % interval.

    ``certified`` counts the networks whose phases are all certified after every pass.
    """
    rows = []
    for (name, kind), of in scores.groupby(["data", "model"], sort=False):
        mean, low, high = corrected_mean(of["accuracy"], *_sizes(of))[0]
        known = of["certified"].dropna()
        count = f"{int(known.sum())} of {len(known)}" if len(known) else ""
        rows.append([name, kind, mean, np.maximum(0.0, low), np.minimum(1.0, high), count])
    return pd.DataFrame(rows, columns=["data", "model", "accuracy", "low", "high", "certified"])


def chosen_table(scores: pd.DataFrame) -> pd.DataFrame:
    """Return how many splits chose each setting, one row per data set and model."""
    rows = []
    for (name, kind), of in scores.groupby(["data", "model"], sort=False):
        texts = [
            ", ".join(f"{key}={value:g}" for key, value in row.items()) or "defaults"
            for row in of["chosen"]
        ]
        counts = pd.Series(texts).value_counts(sort=False)
        rows.append([name, kind, "; ".join(f"{n} × {text}" for text, n in counts.items())])
    return pd.DataFrame(rows, columns=["data", "model", "settings"])


def differences(scores: pd.DataFrame, others: Sequence[str]) -> pd.DataFrame:
    """Return the accuracy of contracting DEEP minus that of other models, on the same splits.

    One row per data set and model: the mean ``difference`` with its 95 % interval, the p-value
    ``p``, and ``p_holm``, adjusted by Holm's method (S. Holm, 1979) for all rows together.
    """
    rows = []
    for name, of in scores.groupby("data", sort=False):
        by_model = of.pivot(index="seed", columns="model", values="accuracy")
        for other in others:
            estimate, p = corrected_mean(by_model[OWN] - by_model[other], *_sizes(of))
            rows.append([name, other, *estimate, p])
    table = pd.DataFrame(rows, columns=["data", "model", "difference", "low", "high", "p"])
    table["p_holm"] = multipletests(table["p"], method="holm")[1]
    return table


def _word(row: Any) -> str:
    """Return how contracting DEEP compares in a row of `differences`, by its own interval."""
    if row["low"] > 0:
        return "better than"
    return "worse than" if row["high"] < 0 else "not shown to differ from"


#: How a difference is shown.
BY = "by the interval not corrected for the number of comparisons"


def verdicts(table: pd.DataFrame, against: pd.DataFrame) -> list[str]:
    """Return one sentence per data set: contracting DEEP beside the models of `differences`.

    A difference counts if its own interval excludes 0, without a correction for the number of
    comparisons; the p-value with it is given beside. Numbers in brackets are differences in
    percentage points; where none is shown, with the smallest one that the interval would show.
    """
    sentences = []
    for name, of in against.groupby("data", sort=False):
        accuracy = table.loc[(table["data"] == name) & (table["model"] == OWN), "accuracy"].item()
        groups: dict[str, list[str]] = {}
        for _, other in of.sort_values("difference").iterrows():
            word, half = _word(other), other["high"] - other["difference"]
            points = f"{100 * other['difference']:+.1f}"
            if word != "not shown to differ from":
                points += f", p = {other['p']:.2g}, corrected {other['p_holm']:.2g}"
            elif half == half:
                points += f", detectable from {100 * half:.1f}"
            groups.setdefault(word, []).append(f"{other['model']} ({points})")
        said = f"{BY}, " + "; ".join(f"{word} {', '.join(who)}" for word, who in groups.items())
        sentences.append(f"{name}: {OWN} is right in {accuracy:.1%} of test samples; {said}.")
    return sentences


def verdict(table: pd.DataFrame, against: pd.DataFrame) -> str:
    """Return one sentence about all data sets: where contracting DEEP is worse, better, or neither.

    `table` is that of `accuracy_table`, `against` that of `differences`.
    """
    accuracy = table.set_index(["data", "model"])["accuracy"]
    groups: dict[str, list[str]] = {"worse than": [], "better than": []}
    halves = []
    for _, row in against.iterrows():
        word = _word(row)
        if word in groups:
            own, other = (accuracy[row["data"], model] for model in (OWN, row["model"]))
            groups[word].append(f"{row['model']} on {row['data']} ({own:.1%} against {other:.1%})")
        else:
            halves.append(row["high"] - row["difference"])
    parts = [f"{word} {', '.join(found)}" for word, found in groups.items() if found]
    said = f"{BY[0].upper()}{BY[1:]}, {OWN} is "
    said += " and ".join(parts) if parts else "not shown to differ"
    if halves:
        where = f"; in the other {len(halves)}" if parts else f" in {len(halves)}"
        said += f"{where} comparisons" + (" it is not shown to differ" if parts else "")
        if not np.isnan(halves).all():
            low, high = 100 * np.nanmin(halves), 100 * np.nanmax(halves)
            said += f" (differences are detectable from {low:.1f} to {high:.1f} points)"
    sure = int((against["p_holm"] < 0.05).sum())
    return f"{said}; after Holm's correction, {sure} of {len(against)} differ."


def _sizes(scores: pd.DataFrame) -> tuple[int, int]:
    """Return the sizes of the training and test parts of one data set."""
    return int(scores["n_train"].iloc[0]), int(scores["n_test"].iloc[0])


def draw_accuracies(table: pd.DataFrame, name: str, ax: Axes) -> None:
    """Draw the accuracies of all models on a data set, with their intervals."""
    of = table[table["data"] == name]
    colours = {OWN: VERMILION} | dict.fromkeys(DYNAMICS, BLUE)
    percents = 100 * of[["low", "accuracy", "high"]].to_numpy()
    for place, (model, (low, value, high)) in enumerate(zip(of["model"], percents, strict=True)):
        colour = colours.get(model, GREY)
        ax.plot([low, high], [place, place], color=colour)
        ax.plot(value, place, color=colour, marker="o", ms=4)
        if model == OWN:
            ax.axvline(value, color=colour, lw=0.7, ls=":")
    ax.set(xlabel="test accuracy / %", title=name, ylim=(len(of) - 0.5, -0.5))
    ax.set_yticks(range(len(of)), list(of["model"]))


def confusions(fitted: Fitted, samples: Samples) -> Int[np.ndarray, "classes classes"]:
    """Return the confusion matrix of contracting DEEP on Digits, all test parts together."""
    true, answers = [], []
    for (name, kind, seed), pipeline in fitted.items():
        if (name, kind) == ("Digits", OWN):
            _, X_test, _, y_test = split(samples, seed)
            true.append(y_test)
            answers.append(pipeline.predict(X_test))
    return confusion_matrix(np.concatenate(true), np.concatenate(answers))


def draw_confusions(matrix: Int[np.ndarray, "classes classes"], ax: Axes) -> None:
    """Draw a confusion matrix with its counts; shades are square roots."""
    ax.imshow(np.sqrt(matrix), cmap="cividis")
    for (row, column), count in np.ndenumerate(matrix):
        colour = "white" if count < matrix.max() / 4 else "black"
        ax.text(column, row, str(count), ha="center", va="center", fontsize=SMALL, color=colour)
    ticks = range(len(matrix))
    title = f"{np.trace(matrix)} of {matrix.sum()} right"
    ax.set(xlabel="answer", ylabel="digit", xticks=ticks, yticks=ticks, title=title)


def learning_curve(fitted: Fitted, samples: Samples, n_epochs: int) -> pd.DataFrame:
    """Return the accuracy of contracting DEEP on both parts of Digits after each pass.

    The network has the settings chosen on the split of seed 0 and a constant learning rate. The
    column ``factor`` is the largest factor per Euler step of all phases.
    """
    X_train, X_test, y_train, y_test = split(samples, 0)
    scaler, network = fitted["Digits", OWN, 0]
    X_train, X_test = scaler.transform(X_train), scaler.transform(X_test)
    learner, rows = clone(network), []
    for _ in range(n_epochs):
        learner.partial_fit(X_train, y_train, classes=np.unique(y_train))
        scores = learner.score(X_train, y_train), learner.score(X_test, y_test)
        rows.append((*scores, learner.contraction_curve_[-1]))
    index = pd.RangeIndex(1, n_epochs + 1, name="passes")
    return pd.DataFrame(rows, index=index, columns=["training part", "test part", "factor"])


def draw_learning_curve(curve: pd.DataFrame, ax: Axes) -> None:
    """Draw both accuracies of `learning_curve` over passes."""
    looks = {"training part": (BLUE, "-"), "test part": (VERMILION, "--")}
    for name, (colour, line) in looks.items():
        ax.plot(curve.index, curve[name], color=colour, ls=line, label=name)
    ax.set(xlabel="passes", ylabel="accuracy", title="Learning curve")
    legend_below(ax)


def cut_all(
    fitted: Fitted, samples: Samples, seeds: int, prune_epochs: int, n_jobs: int
) -> xr.Dataset:
    """Remove the weakest synapses of contracting DEEP on Digits, and test what is left.

    New networks learn from four fifths of each training part, with the settings that
    cross-validation on these fifths chooses; the rest is for validation. ``accuracy`` over (way,
    seed, part, share) for each share in `LEFT` and two ways: `prune_epochs` passes after each cut,
    at a learning rate that falls to 0; or one cut and no more learning. ``certified`` over (way,
    seed, share) says whether all phases are. The attributes ``n_learn`` and ``n_test`` are the
    sizes of the parts learned from and for testing.
    """
    found = Parallel(n_jobs=n_jobs)(
        delayed(_cut)(clone(fitted["Digits", OWN, seed]), samples, seed, prune_epochs)
        for seed in range(seeds)
    )
    accuracy, sure = (np.stack(arrays, axis=1) for arrays in zip(*found, strict=True))
    coords = {"way": list(WAYS), "seed": range(seeds), "share": list(LEFT)}
    variables = {
        "accuracy": (("way", "seed", "part", "share"), accuracy),
        "certified": (("way", "seed", "share"), sure),
    }
    X_train, X_test, y_train, _ = split(samples, 0)
    attrs = {"n_learn": len(split((X_train, y_train), 0)[0]), "n_test": len(X_test)}
    return xr.Dataset(variables, coords=coords | {"part": ["validation", "test"]}, attrs=attrs)


def _cut(
    pipeline: Pipeline, samples: Samples, seed: int, prune_epochs: int
) -> tuple[Float[np.ndarray, "ways 2 shares"], np.ndarray]:
    """Return the accuracies on both parts, and whether all phases are certified, of one split."""
    X_train, X_test, y_train, y_test = split(samples, seed)
    X_learn, X_valid, y_learn, y_valid = split((X_train, y_train), seed)
    accuracy = np.empty((len(WAYS), 2, len(LEFT)))
    sure = np.empty((len(WAYS), len(LEFT)), dtype=bool)
    with one_thread():
        scaler, network = fit_best(pipeline[-1], GRIDS[OWN], (X_learn, y_learn), seed)[0]
        X_learn, X_valid, X_test = map(scaler.transform, (X_learn, X_valid, X_test))
        taught, cut = copy.deepcopy(network), copy.deepcopy(network)
        for column, left in enumerate(LEFT):
            taught.prune(left)
            cut.prune(left)
            for rate in np.linspace(0.5, 0, prune_epochs, endpoint=False) if left < 1 else ():
                taught.set_params(dt_W=rate * network.dt_W).partial_fit(X_learn, y_learn)
            for way, one in enumerate((taught, cut)):
                accuracy[way, 0, column] = one.score(X_valid, y_valid)
                accuracy[way, 1, column] = one.score(X_test, y_test)
                sure[way, column] = one.certified_
    return accuracy, sure


def mean_after_cuts(cuts: xr.Dataset) -> pd.DataFrame:
    """Return the mean test accuracy over seeds of `cut_all`, one column per way."""
    test = cuts["accuracy"].sel(part="test")
    means = {way: test.sel(way=way).values.mean(axis=0) for way in WAYS}
    return pd.DataFrame(means, index=pd.Index(LEFT, name="share"))


def draw_cuts(cuts: xr.Dataset, ax: Axes) -> None:
    """Draw the test accuracy over the share of synapses left: mean and range over seeds."""
    for way, (colour, line) in WAYS.items():
        of = cuts["accuracy"].sel(way=way, part="test")
        ax.plot(LEFT, of.mean("seed"), color=colour, ls=line, marker="o", ms=3, label=way)
        ax.fill_between(LEFT, of.min("seed"), of.max("seed"), color=colour, alpha=0.15, lw=0)
    ax.set(xscale="log", xlabel="share of synapses left", ylabel="test accuracy", ylim=(0, 1.03))
    ax.set_xticks([0.01, 0.03, 0.1, 0.3, 1], ["1 %", "3 %", "10 %", "30 %", "100 %"])
    legend_below(ax)


def count_synapses(fitted: Fitted) -> int:
    """Return the number of synapses of a complete directed network on Digits."""
    return int(np.count_nonzero(fitted["Digits", OWN, 0][-1].mask_))


def enough_synapses(cuts: xr.Dataset) -> pd.DataFrame:
    """Choose the share of synapses on the validation part, and judge it on the test part.

    Per way, over seeds: the mean, smallest and largest of the smallest ``share`` whose validation
    accuracy is within one point of that with all synapses; the mean test accuracy with it minus
    that with ``all``, as ``change`` with its corrected 95 % interval; how many are ``certified``.
    """
    sizes, rows = (cuts.attrs["n_learn"], cuts.attrs["n_test"]), []
    for way in WAYS:
        shares, before, after, sure = [], [], [], 0
        for seed in cuts["seed"].values:
            of = cuts.sel(way=way, seed=seed)
            validation = of["accuracy"].sel(part="validation").values
            # Accuracies are multiples of 1 / samples: rounding must not decide.
            column = np.flatnonzero(validation >= validation[0] - LOSS - 1e-9).max()
            test = of["accuracy"].sel(part="test").values
            shares.append(LEFT[column])
            before.append(test[0])
            after.append(test[column])
            sure += bool(of["certified"].values[column])
        estimate, _ = corrected_mean(np.subtract(after, before), *sizes)
        range_ = np.mean(shares), min(shares), max(shares)
        rows.append([way, *range_, np.mean(before), *estimate, f"{sure} of {len(shares)}"])
    columns = ["way", "share", "smallest", "largest", "all", "change", "low", "high", "certified"]
    return pd.DataFrame(rows, columns=columns)
