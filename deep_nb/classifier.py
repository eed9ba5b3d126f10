r"""A scikit-learn classifier: one complete directed network, learning in mini-batches.

It uses the same dynamics and rules as `deep_nb.train`, with one output neuron per class, and adds
what larger data sets need: mini-batches in random order, a learning rate that falls along a half
cosine, and optional noise on the inputs.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Annotated, Any, Self

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped
from numpy.typing import ArrayLike
from pydantic import BeforeValidator, Field
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from deep_nb._validation import LARGEST, Frozen, finite_array, number, plain, short
from deep_nb.dynamics import Phase, free_field
from deep_nb.engines import Relax, get_engine
from deep_nb.models import (
    Count,
    Hyperparameters,
    Model,
    NonNegative,
    Positive,
    get_model,
)
from deep_nb.problem import Problem
from deep_nb.rules import State, learn
from deep_nb.tasks import Task, mean_squared_error
from deep_nb.topology import complete

#: Maximum length of scikit-learn's messages about bad samples.
LONGEST_MESSAGE = 1000

#: Start of every free neuron: the mean of the published U(0, 0.1).
START = 0.05


class Settings(Frozen):
    """The classifier's settings that are not hyperparameters of the model."""

    batch_size: Count
    W_scale: Positive
    noise: NonNegative = Field(description="standard deviation, in units of the inputs")
    early_stopping: Annotated[bool, BeforeValidator(plain)]
    validation_fraction: Annotated[Positive, Field(lt=1)]
    n_iter_no_change: Count
    tol: NonNegative


class DEEPClassifier(ClassifierMixin, BaseEstimator):
    r"""Classify with one complete directed network that learns by two local phases.

    Scale the features to [0, 1] first (`sklearn.preprocessing`): the neurons' states live there.
    Features far beyond, or a `dt` or `dt_W` that is too large, saturate the outputs, and the
    network then learns nothing better than chance, without an error. The rule ``adjoint`` has no
    gradient where outputs are saturated, and seldom learns at all.

    Parameters
    ----------
    model : str or Model
        The dynamics: a name in `deep_nb.MODELS` or a model of your own.
    rule : str
        "stdp", "contrastive", "centered", "asymep" or "adjoint".
    N_H : int or tuple of int
        Hidden neurons.
    beta : float
        Nudging strength β.
    dt_W : float
        Learning rate at the start; in `fit` it falls to 0 along a half cosine.
    n_epochs : int
        Passes over the samples in `fit`.
    batch_size : int
        Samples per weight change.
    T1, T2 : int
        Euler steps of the free and of each nudged phase.
    dt : float
        Euler step.
    W_scale : float
        Standard deviation of the initial weights.
    noise : float
        Standard deviation of Gaussian noise on the inputs, drawn anew for each batch.
    random_state : int, RandomState or None
        Seeds initial weights, order of samples, noise and the validation part. An int gives the
        same bits each time on one machine.
    class_weight : dict, "balanced" or None
        Weight of each class, 1 where a dict has none; "balanced": inversely proportional to its
        number of samples. Multiplies the weights of the samples.
    early_stopping : bool
        Whether `fit` sets a part of the samples aside, ends when the accuracy on it no longer
        improves, and returns to the weights of the best pass. Without it, `fit` makes all passes.
    validation_fraction : float
        Share of the samples set aside, the same of each class, between 0 and 1.
    n_iter_no_change : int
        Number of passes without an improvement after which one more ends `fit`.
    tol : float
        Smallest improvement of the accuracy that counts.

    Attributes
    ----------
    classes_ : ndarray
    n_features_in_ : int
    model_ : Model
        The dynamics and the rule.
    hyper_ : Hyperparameters
        Those of the last pass; answers use its T1 and dt.
    n_iter_ : int
        Passes made.
    loss_curve_ : list of float
        The loss :math:`\tfrac12 \lVert y - s \rVert^2` of each pass: the weighted mean over
        samples, each with the network before the change that it takes part in.
    validation_scores_ : list of float or None
        Accuracy on the samples set aside after each pass; None without early stopping.
    best_validation_score_ : float or None
        The largest of these.
    layout_ : Layout
        Order and names of the neurons.
    W_ : ndarray, shape (N, N)
        Weights, from the first axis to the second.
    b_ : ndarray, shape (N,)
        Biases.
    mask_ : ndarray of bool, shape (N, N)
        Which synapses exist: all, until `prune` removes some.

    Raises
    ------
    ValueError
        In `fit` and `partial_fit`, if a parameter or the data are out of range.
    FloatingPointError
        If weights or states stop being finite: dt_W or the features are too large.

    See Also
    --------
    deep_nb.train : Ensembles of networks, full-batch.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.preprocessing import minmax_scale
    >>> from deep_nb import DEEPClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> model = DEEPClassifier(N_H=10, random_state=0).fit(minmax_scale(X), y)
    >>> bool(model.score(minmax_scale(X), y) > 0.9)
    True
    """

    W_: Float[np.ndarray, "N N"]
    b_: Float[np.ndarray, " N"]
    hyper_: Hyperparameters
    mask_: Bool[np.ndarray, "N N"]
    loss_curve_: list[float]
    validation_scores_: list[float] | None
    best_validation_score_: float | None

    def __init__(
        self,
        model: str | Model = "EP_asym",
        rule: str = "asymep",
        N_H: int | tuple[int, ...] = 100,
        beta: float = 1.5,
        dt_W: float = 0.4,
        n_epochs: int = 50,
        batch_size: int = 16,
        T1: int = 25,
        T2: int = 10,
        dt: float = 0.5,
        W_scale: float = 0.05,
        noise: float = 0.0,
        random_state: Any = None,
        class_weight: Any = None,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 10,
        tol: float = 1e-4,
    ) -> None:
        self.model = model
        self.rule = rule
        self.N_H = N_H
        self.beta = beta
        self.dt_W = dt_W
        self.n_epochs = n_epochs
        self.batch_size = batch_size
        self.T1 = T1
        self.T2 = T2
        self.dt = dt
        self.W_scale = W_scale
        self.noise = noise
        self.random_state = random_state
        self.class_weight = class_weight
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol

    def fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Learn from new weights for `n_epochs` passes, or fewer with early stopping.

        `sample_weight` has one number ≥ 0 per sample. A sample counts in each change in proportion
        to its weight over the mean weight: one of weight 0 is left out, and in a single batch of
        all samples one of weight 2 counts like the same sample twice. In smaller batches this holds
        on average. As everywhere in scikit-learn, rows of `X`, `y` and `sample_weight` belong
        together by their position: the index of a DataFrame or Series is ignored.

        Raises
        ------
        ValueError, TypeError
            If a parameter is out of range, `X` is not a finite matrix, or `y` or `sample_weight`
            does not have one label or weight per row.
        FloatingPointError
            If weights stop being finite: dt_W or the features are too large.
        """
        model, hyper, settings = self._settings()
        if hasattr(self, "W_"):
            del self.W_  # if fitting fails, nothing is fitted
        samples, labels = self._validated(X, y=y)
        _check_labels(labels, "y")
        classes = np.unique(labels)
        problem = _problem(samples, labels, classes, model, hyper)
        given = _sample_weights(sample_weight, len(samples))
        weights = given * self._class_weights(classes, labels)
        part, stream = _counting(weights), check_random_state(self.random_state)
        if settings.early_stopping:
            share, among = settings.validation_fraction, labels[part]
            part, aside = train_test_split(
                part, test_size=share, stratify=among, random_state=stream
            )
        self._start(problem, classes, settings, stream)
        if not settings.early_stopping:
            for rates in _cosine(hyper, len(part), settings.batch_size):
                self._pass(problem.select(part), settings, rates, weights[part])
            return self
        scores: list[float] = []
        highest, best, waited = -np.inf, (self.W_, self.b_), 0
        for rates in _cosine(hyper, len(part), settings.batch_size):
            self._pass(problem.select(part), settings, rates, weights[part])
            score = self._accuracy(problem.select(aside), given[aside])
            scores.append(score)
            waited = waited + 1 if score < highest + settings.tol else 0
            if score > highest:
                highest, best = score, (self.W_, self.b_)
            if waited > settings.n_iter_no_change:
                break
        self.W_, self.b_ = best
        self.validation_scores_, self.best_validation_score_ = scores, highest
        return self

    def partial_fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        classes: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> Self:
        """Learn for one more pass, at the full learning rate.

        The first call needs `classes`, all classes that will ever occur. `sample_weight` is as in
        `fit`, over the mean weight of this call.

        Raises
        ------
        ValueError, TypeError
            As `fit`, or if `classes` is missing in the first call, contains None or NaN, or
            changes, or with early stopping or balanced classes, which need all samples.
        FloatingPointError
            As `fit`.
        """
        model, hyper, settings = self._settings()
        if settings.early_stopping:
            raise ValueError("partial_fit does not support early_stopping=True")
        if isinstance(self.class_weight, str):
            raise ValueError(
                f"partial_fit does not support class_weight {short(self.class_weight)}: it needs "
                "all samples; give a dict"
            )
        first = not hasattr(self, "W_")
        samples, labels = self._validated(X, y=y, reset=first)
        _check_labels(labels, "y")
        if first and classes is None:
            raise ValueError("the first call of partial_fit needs all classes")
        known = self.classes_ if classes is None else _distinct(classes)
        if not first and not np.array_equal(known, self.classes_):
            raise ValueError(
                f"classes cannot change from {short(list(self.classes_))}, got {short(classes)}"
            )
        unknown = sorted({*labels.tolist()} - {*known.tolist()}, key=str)
        if unknown:
            raise ValueError(f"y holds {short(unknown)}, which is not among the classes")
        problem = _problem(samples, labels, known, model, hyper)
        weights = _sample_weights(sample_weight, len(samples))
        weights = weights * self._class_weights(known, labels)
        counting = _counting(weights)
        if first:
            self._start(problem, known, settings, check_random_state(self.random_state))
        elif (model, hyper.N_H) != (self.model_, self.layout_.N_H):
            raise ValueError(
                "model, rule and N_H cannot change after the first pass; call fit to start again"
            )
        n_batches = -(-len(counting) // settings.batch_size)
        rates = np.full(n_batches, hyper.dt_W)
        self._pass(problem.select(counting), settings, rates, weights[counting])
        return self

    def prune(self, keep: float) -> Self:
        """Remove the weakest synapses; they stay removed in later calls of `partial_fit`.

        `keep` is the share of all synapses of the complete network that stays, from 0 to 1: those
        with the largest absolute weight.

        Raises
        ------
        ValueError
            If `keep` is not a number from 0 to 1.
        NotFittedError
            If `fit` has not been called, or has failed.
        """
        check_is_fitted(self, "W_")
        left = round(number(keep, "keep", 0, 1) * np.count_nonzero(complete(self.layout_)))
        strongest = np.argsort(-np.abs(np.where(self.mask_, self.W_, 0.0)), axis=None)[:left]
        kept = np.zeros(self.mask_.size, dtype=bool)
        kept[strongest] = True
        self.mask_ = self.mask_ & kept.reshape(self.mask_.shape)
        self.W_ = np.where(self.mask_, self.W_, 0.0)
        return self

    def decision_function(self, X: ArrayLike) -> Float[np.ndarray, "M ..."]:
        """Return the outputs after T1 steps, shape (M, classes); for two classes y1 − y0, (M,).

        Raises
        ------
        ValueError, TypeError
            If `X` is not a finite matrix with the features of `fit`.
        NotFittedError
            If `fit` has not been called, or has failed.
        FloatingPointError
            If states overflow: scale the features.
        """
        outputs = self._outputs(X)
        return outputs[:, 1] - outputs[:, 0] if len(self.classes_) == 2 else outputs

    def predict_proba(self, X: ArrayLike) -> Float[np.ndarray, "M classes"]:
        """Return the outputs over their sum, shape (M, classes); equal shares where all are 0.

        Outputs below 0, which an activation such as tanh can give, count as 0.

        Raises
        ------
        ValueError, TypeError, NotFittedError, FloatingPointError
            As `decision_function`.
        """
        outputs = np.maximum(self._outputs(X), 0.0)
        total = outputs.sum(axis=1, keepdims=True)
        share = 1 / outputs.shape[1]
        return np.divide(outputs, total, out=np.full_like(outputs, share), where=total > 0)

    def predict(self, X: ArrayLike) -> Shaped[np.ndarray, " M"]:
        """Return the class of the largest output, shape (M,).

        Raises
        ------
        ValueError, TypeError, NotFittedError, FloatingPointError
            As `decision_function`.
        """
        outputs = self._outputs(X)
        return self.classes_[outputs.argmax(axis=1)]

    def _validated(self, X: ArrayLike, **given: Any) -> Any:
        """Let scikit-learn check the samples, and shorten its message about huge ones."""
        try:
            return validate_data(self, X, dtype=float, **given)
        except (OverflowError, ValueError) as error:
            text = str(error)
            if isinstance(error, OverflowError) or len(text) > LONGEST_MESSAGE:
                raise ValueError(f"X must hold numbers: {text:.200}") from None
            raise

    def _settings(self) -> tuple[Model, Hyperparameters, Settings]:
        """Return the parameters, checked."""
        model = get_model(self.model).replace(rule=self.rule, one_hot=True)
        hyper = model.hyper.replace(
            N_H=self.N_H,
            beta=self.beta,
            dt_W=self.dt_W,
            n_epochs=self.n_epochs,
            T1=self.T1,
            T2=self.T2,
            dt=self.dt,
        )
        own = {name: getattr(self, name) for name in Settings.model_fields}
        return model, hyper, Settings(**own)

    def _class_weights(self, classes: np.ndarray, labels: np.ndarray) -> Float[np.ndarray, " M"]:
        """Return the weight of each sample's class."""
        of_each = compute_class_weight(self.class_weight, classes=classes, y=labels)
        return _not_negative(of_each, "class_weight")[np.searchsorted(classes, labels)]

    def _start(
        self,
        problem: Problem,
        classes: np.ndarray,
        settings: Settings,
        stream: np.random.RandomState,
    ) -> None:
        """Draw new weights."""
        self.classes_ = classes
        self.model_, self.layout_, self.mask_ = problem.model, problem.layout, problem.mask
        self._stream = stream
        N = self.layout_.N
        drawn = self._stream.normal(0, settings.W_scale, (N, N))
        self.W_ = np.where(self.mask_, drawn, 0.0)
        self.b_ = np.zeros(N)
        self.n_iter_ = 0
        self.loss_curve_ = []
        self.validation_scores_ = self.best_validation_score_ = None

    @np.errstate(over="ignore", invalid="ignore")  # divergence is detected and reported
    def _pass(
        self,
        problem: Problem,
        settings: Settings,
        rates: Float[np.ndarray, " batches"],
        weights: Float[np.ndarray, " M"],
    ) -> None:
        """Learn from every sample once; one learning rate per batch."""
        problem = replace(problem, mask=self.mask_)
        n_inputs, loss, M = self.layout_.n_inputs, 0.0, len(problem.X)
        relax = self._relax(problem.model)
        equal = (weights == weights[0]).all()
        weights = np.ones(M) if equal else weights / weights.mean()
        for chosen, rate in zip(self._order(M, settings.batch_size), rates, strict=True):
            X, Y = problem.X[chosen], problem.Y[chosen]
            if settings.noise:
                X[:, :n_inputs] += self._stream.normal(0, settings.noise, (len(chosen), n_inputs))
            dW, db, of_batch = self._change(problem.batch(X, Y), weights[chosen], relax)
            loss += of_batch * len(chosen) / M
            self.W_ = self.W_ + rate * dW
            self.b_ = self.b_ + rate * db
            if not (np.isfinite(self.W_).all() and np.isfinite(self.b_).all()):
                del self.W_  # the estimator is no longer fitted
                raise FloatingPointError(
                    f"weights are no longer finite in pass {self.n_iter_}: "
                    f"lower dt_W (now {self.dt_W}) or scale the features"
                )
        self.n_iter_ += 1
        self.loss_curve_.append(float(loss))
        self.hyper_ = problem.hyper

    def _change(
        self, problem: Problem, weights: Float[np.ndarray, " M"], relax: Relax
    ) -> tuple[Float[np.ndarray, "N N"], Float[np.ndarray, " N"], float]:
        """Return ΔW, Δb and the loss of a batch: weighted sums over its samples, divided by M.

        A rule gives means over samples, so samples of equal weight learn together.
        """
        M = len(weights)
        total: list[Any] = []
        for weight in np.unique(weights):
            chosen = weights == weight
            part = problem if chosen.all() else problem.select(np.flatnonzero(chosen))
            start = np.full((1, len(part.X), self.layout_.n_free), START)
            free, change = learn(part, State(self.W_[None], self.b_[None], start), relax)
            loss = mean_squared_error(free.S[..., -self.layout_.N_Y :], part.Y)[0]
            share = weight * len(part.X) / M
            terms = [share * term for term in (change.dW[0], change.db[0], loss)]
            total = [a + b for a, b in zip(total, terms, strict=True)] if total else terms
        return total[0], total[1], total[2]

    def _accuracy(self, problem: Problem, weights: Float[np.ndarray, " M"]) -> float:
        """Return the weighted share of samples classified correctly, while fitting."""
        try:
            answers = self._relaxed(problem.X, problem.hyper).argmax(axis=1)
        except FloatingPointError:
            del self.W_  # the estimator is no longer fitted
            raise
        return float(np.average(answers == problem.Y.argmax(axis=1), weights=weights))

    def _order(self, M: int, size: int) -> Iterator[np.ndarray]:
        order = self._stream.permutation(M)
        return (order[first : first + size] for first in range(0, M, size))

    def _relax(self, model: Model) -> Relax:
        return get_engine("auto", self.layout_.n_free, model.activation)

    def _outputs(self, X: ArrayLike) -> Float[np.ndarray, "M classes"]:
        """Return the outputs after a free phase, shape (M, classes)."""
        check_is_fitted(self, "W_")
        return self._relaxed(self.layout_.clamp(self._validated(X, reset=False)), self.hyper_)

    @np.errstate(over="ignore", invalid="ignore")  # overflow is detected and reported
    def _relaxed(
        self, clamped: Float[np.ndarray, "M N_X"], hyper: Hyperparameters
    ) -> Float[np.ndarray, "M classes"]:
        """Return the outputs of clamped states after a free phase."""
        relaxation = self._relax(self.model_)(
            free_field(self.W_[None], self.b_[None], clamped, self.model_),
            np.full((1, len(clamped), self.layout_.n_free), START),
            Phase(hyper.dt, hyper.T1, self.model_.activation),
        )
        outputs = relaxation.S[0, :, -self.layout_.N_Y :]
        if not np.isfinite(outputs).all():
            raise FloatingPointError("states overflow on these features: scale them")
        return outputs


def _problem(
    X: np.ndarray, y: np.ndarray, classes: np.ndarray, model: Model, hyper: Hyperparameters
) -> Problem:
    """Return the problem of these samples, with one output per class."""
    if len(classes) < 2:
        raise ValueError(
            f"a classifier needs two classes or more, got one class: {short(list(classes))}"
        )
    targets = np.eye(len(classes))[np.searchsorted(classes, y)]
    return Problem.of(model, Task("classification", X, targets), hyper)


def _cosine(
    hyper: Hyperparameters, M: int, batch_size: int
) -> Iterator[Float[np.ndarray, " batches"]]:
    """Yield the learning rates of the batches of each pass, along a half cosine."""
    per_epoch = -(-M // batch_size)
    total = hyper.n_epochs * per_epoch
    for epoch in range(hyper.n_epochs):
        done = epoch * per_epoch + np.arange(per_epoch)
        yield hyper.dt_W * ((1 + np.cos(np.pi * done / total)) / 2)


def _sample_weights(given: ArrayLike | None, M: int) -> Float[np.ndarray, " M"]:
    """Return one weight per sample, 1 by default."""
    if given is None:
        return np.ones(M)
    weights = _not_negative(given, "sample_weight")
    if len(weights) != M:
        raise ValueError(f"sample_weight must have one number per sample, {M}, got {len(weights)}")
    return weights


def _not_negative(values: ArrayLike, what: str) -> Float[np.ndarray, " M"]:
    weights = finite_array(values, what, 1)
    if (weights < 0).any():
        raise ValueError(f"{what} must not be negative, got {weights.min():g}")
    return weights


def _counting(weights: Float[np.ndarray, " M"]) -> Int[np.ndarray, " counting"]:
    """Return the indices of the samples of a positive weight."""
    if not weights.any():
        raise ValueError("at least one sample must have a weight other than zero")
    return np.flatnonzero(weights)


def _check_labels(labels: np.ndarray, what: str) -> None:
    """Refuse labels that are not classes."""
    if labels.dtype.kind == "f" and not (np.abs(labels.astype(float)) <= LARGEST).all():
        raise ValueError(f"{what} must hold classes, got numbers that are NaN or beyond ±1e100")
    check_classification_targets(labels)


def _distinct(classes: ArrayLike) -> np.ndarray:
    """Return the classes, each once and in order."""
    try:
        found = np.unique(np.asarray(classes))
    except (TypeError, ValueError) as error:
        raise ValueError(f"classes must be labels of one kind: {error}") from None
    _check_labels(found, "classes")
    return found
