r"""A scikit-learn classifier: one complete directed network, learning in mini-batches.

It uses the same dynamics and rules as `deep_nb.train`, with one output neuron per class, and adds
what larger data sets need: mini-batches in random order, a learning rate that falls along a half
cosine, and optional noise on the inputs. The default is the dynamics of EP with the rule
``asymep``; `DEEPClassifier.contracting` has those of contracting DEEP.
"""

from collections.abc import Iterator
from typing import Annotated, Any, Literal, NamedTuple, Self

import numpy as np
from array_api_compat import device, is_array_api_obj
from jaxtyping import Bool, Float, Int, Shaped
from numpy.typing import ArrayLike
from pydantic import BeforeValidator, Field
from sklearn import get_config
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from deep_nb._validation import LARGEST, Frozen, finite_array, number, one_of, plain, short
from deep_nb.dynamics import Array
from deep_nb.engines.blas import one_thread
from deep_nb.minibatch import RULES, Network, namespace, to_numpy
from deep_nb.models import (
    Count,
    Hyperparameters,
    Model,
    NonNegative,
    Positive,
    contracting_DEEP,
    get_model,
)
from deep_nb.topology import Layout, complete

#: A factor per Euler step proves contraction if it is below 1 by this much: beyond rounding, since
#: a factor is a sum of at most 20 000 numbers below 2, each rounded by 1e-16.
MARGIN = 1e-9

#: Maximum length of scikit-learn's messages about bad samples.
LONGEST_MESSAGE = 1000


class Settings(Frozen):
    """The classifier's settings that are not hyperparameters of the model."""

    batch_size: Count
    W_scale: Positive
    noise: NonNegative = Field(description="standard deviation, in units of the inputs")
    early_stopping: Annotated[bool, BeforeValidator(plain)]
    validation_fraction: Annotated[Positive, Field(lt=1)]
    n_iter_no_change: Count
    tol: NonNegative
    dtype: Literal["float32", "float64"]


class Samples(NamedTuple):
    """Clamped states and targets of samples."""

    X: Float[Array, "M N_X"]
    Y: Float[Array, "M classes"]

    def take(self, chosen: Int[Array, " m"]) -> "Samples":
        """Return some of the samples."""
        xp = namespace(self.X)
        return Samples(*(xp.take(array, chosen, axis=0) for array in self))


class DEEPClassifier(ClassifierMixin, BaseEstimator):
    r"""Classify with one complete directed network that learns by two local phases.

    The defaults are not DEEP: they are the dynamics of asymmetric EP (leak 1, no outflow) with the
    rule ``asymep``. They learn from features between 0 and 1 as they are, but nothing proves that
    their phases come to rest. `DEEPClassifier.contracting` returns a classifier of contracting
    DEEP, in which every phase does; ``notebooks/real_data.ipynb`` compares both.

    Scale the features to [0, 1] first (`sklearn.preprocessing`): the neurons' states live there.
    Features far beyond, or a `dt` or `dt_W` that is too large, saturate the outputs, and the
    network then learns nothing better than chance, without an error. The rule ``adjoint`` has no
    gradient where outputs are saturated, and seldom learns at all.

    Parameters
    ----------
    model : str or Model
        The dynamics: a name in `deep_nb.MODELS` or a model of your own.
    rule : str
        "stdp", "contrastive", "centered", "onesided", "asymep" or "adjoint".
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
    dtype : str
        "float64", or "float32", which takes about half the time; see benchmarks/README.md for what
        it does to the accuracy.

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
    certified_ : bool
        Whether every phase that the rule learns from is proved to contract, with the weights as
        they are: each factor of `contraction` is below 1, beyond rounding.
    contraction_curve_ : list of float
        The largest factor of `contraction` after each pass.
    layout_ : Layout
        Order and names of the neurons.
    W_ : ndarray, shape (N, N)
        Weights, from the first axis to the second.
    b_ : ndarray, shape (N,)
        Biases.
    mask_ : ndarray of bool, shape (N, N)
        Which synapses exist: all, until `prune` removes some.

    Notes
    -----
    With scikit-learn's ``array_api_dispatch``, samples may be an array of another library with the
    array API standard, such as PyTorch or CuPy. Learning and answering then run on its device, and
    ``W_``, ``b_``, ``mask_`` and the answers are arrays of that library, too, except classes that
    are not numbers. Random numbers are drawn by NumPy, so that a seed means the same everywhere.
    The tests use array-api-strict, and PyTorch on the CPU where it is installed.

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

    W_: Float[Array, "N N"]
    b_: Float[Array, " N"]
    hyper_: Hyperparameters
    mask_: Bool[Array, "N N"]
    loss_curve_: list[float]
    contraction_curve_: list[float]
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
        dtype: str = "float64",
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
        self.dtype = dtype

    @classmethod
    def contracting(cls, **parameters: Any) -> Self:
        r"""Return a classifier of contracting DEEP, whose phases all contract.

        The leak λ is 1 and β = 0.5 < λ, so that every phase of every pass contracts whatever is
        learned (``docs/stability.md``), as long as :math:`dt (\lambda + \beta + 2 o) < 2` with
        :math:`o = \max_j \sum_k |W_{jk}|` over free neurons j, k. `certified_` says whether that
        holds. It may not with several hundred hidden neurons or a large `dt_W`: then lower `dt`,
        and raise `T1` and `T2` in proportion. Centre the features, for example with scikit-learn's
        ``StandardScaler``: these networks learn little from features between 0 and 1.

        Parameters
        ----------
        **parameters
            Replace single settings. Another leak is
            ``model=deep_nb.contracting_DEEP.replace(leak=...)``; keep β below it.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from sklearn.preprocessing import scale
        >>> from deep_nb import DEEPClassifier
        >>> X, y = load_iris(return_X_y=True)
        >>> network = DEEPClassifier.contracting(N_H=10, random_state=0).fit(scale(X), y)
        >>> bool(network.score(scale(X), y) > 0.9), network.certified_
        (True, True)
        """
        given: dict[str, Any] = {
            "model": contracting_DEEP.replace(leak=1.0),
            "N_H": 50,
            "beta": 0.5,
            "dt_W": 2.0,
            "T1": 60,
            "T2": 30,
            "dt": 0.05,
        }
        return cls(**(given | parameters))

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
        X, labels = self._validated(X, settings.dtype, y=to_numpy(y))
        _check_labels(labels, "y")
        classes = np.unique(labels)
        samples = _samples(X, labels, classes, model)
        given = _sample_weights(sample_weight, len(labels))
        weights = given * self._class_weights(classes, labels)
        part, stream = _counting(weights), check_random_state(self.random_state)
        if settings.early_stopping:
            share, among = settings.validation_fraction, labels[part]
            part, aside = train_test_split(
                part, test_size=share, stratify=among, random_state=stream
            )
        self._start(samples, classes, model, hyper, settings, stream)
        network = self._network(hyper)
        if not settings.early_stopping:
            for rates in _cosine(hyper, len(part), settings.batch_size):
                self._pass(network, samples, part, settings, rates, weights[part])
            return self
        apart = samples.take(_on_device(aside, X))
        scores: list[float] = []
        highest, best, waited = -np.inf, (self.W_, self.b_), 0
        for rates in _cosine(hyper, len(part), settings.batch_size):
            self._pass(network, samples, part, settings, rates, weights[part])
            score = self._accuracy(apart, given[aside])
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
        X, labels = self._validated(X, settings.dtype, y=to_numpy(y), reset=first)
        if not first:
            self._check_library(X, "partial_fit")
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
        samples = _samples(X, labels, known, model)
        weights = _sample_weights(sample_weight, len(labels))
        weights = weights * self._class_weights(known, labels)
        counting = _counting(weights)
        if first:
            stream = check_random_state(self.random_state)
            self._start(samples, known, model, hyper, settings, stream)
        elif (model, hyper.N_H, samples.X.dtype) != (self.model_, self.layout_.N_H, self.W_.dtype):
            raise ValueError(
                "model, rule, N_H and dtype cannot change after the first pass; call fit to start "
                "again"
            )
        n_batches = -(-len(counting) // settings.batch_size)
        rates = np.full(n_batches, hyper.dt_W)
        self._pass(self._network(hyper), samples, counting, settings, rates, weights[counting])
        return self

    def contraction(self) -> dict[str, float]:
        r"""Return a factor per Euler step by which each phase contracts, below 1 if it does.

        The keys are the phases of the rule: "free"; "+β", except for ``adjoint``; "-β" for
        ``centered`` and ``asymep``. With :math:`d_j` the decay of the free neuron j, its leak and
        outflow, and β = 0 in the free phase, the factor is the smaller of two norms of the linear
        part of an Euler step, ℓ1 and ℓ∞:

        .. math:: \min_{o} \max_j \big(|1 - dt (d_j \pm \beta_j)| + dt\, o_j\big), \qquad
                  o_j = \sum_k |W_{jk}| \text{ or } \sum_k |W_{kj}|

        over free neurons, with :math:`\beta_j = \beta` on outputs and 0 elsewhere. The activation
        moves no component of two states further apart, so a factor below 1 proves that the phase
        has one rest point for each sample, and approaches it by that factor at every step from
        every start. A factor above 1 proves nothing. With absolute outflow, as in contracting
        DEEP, the factor in ℓ1 falls or stays when synapses are removed by `prune`.

        Raises
        ------
        NotFittedError
            If `fit` has not been called, or has failed.
        """
        check_is_fitted(self, "W_")
        return self._network(self.hyper_).contraction(self.layout_.N_Y)

    @property
    def certified_(self) -> bool:
        """Whether every phase is proved to contract."""
        return max(self.contraction().values()) < 1 - MARGIN

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
        mask, W = to_numpy(self.mask_), to_numpy(self.W_)
        strongest = np.argsort(-np.abs(np.where(mask, W, 0.0)), axis=None)[:left]
        kept = np.zeros(mask.size, dtype=bool)
        kept[strongest] = True
        mask = mask & kept.reshape(mask.shape)
        self.mask_ = _on_device(mask, self.W_)
        self.W_ = _on_device(np.where(mask, W, W.dtype.type(0)), self.W_)
        return self

    def decision_function(self, X: ArrayLike) -> Float[Array, "M ..."]:
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
        outputs = self._outputs(X, "decision_function")
        return outputs[:, 1] - outputs[:, 0] if len(self.classes_) == 2 else outputs

    def predict_proba(self, X: ArrayLike) -> Float[Array, "M classes"]:
        """Return the outputs over their sum, shape (M, classes); equal shares where all are 0.

        Outputs below 0, which an activation such as tanh can give, count as 0.

        Raises
        ------
        ValueError, TypeError, NotFittedError, FloatingPointError
            As `decision_function`.
        """
        outputs = self._outputs(X, "predict_proba")
        xp = namespace(outputs)
        outputs = xp.where(outputs > 0, outputs, xp.zeros_like(outputs))
        total = xp.sum(outputs, axis=1, keepdims=True)
        outputs = xp.where(total > 0, outputs, xp.ones_like(outputs))
        return outputs / xp.sum(outputs, axis=1, keepdims=True)

    def predict(self, X: ArrayLike) -> Shaped[Array, " M"]:
        """Return the class of the largest output, shape (M,).

        Raises
        ------
        ValueError, TypeError, NotFittedError, FloatingPointError
            As `decision_function`.
        """
        outputs = self._outputs(X, "predict")
        chosen = to_numpy(namespace(outputs).argmax(outputs, axis=1))
        answers = self.classes_[chosen]
        return _on_device(answers, outputs) if answers.dtype.kind in "biuf" else answers

    def __sklearn_tags__(self) -> Any:
        """Tell scikit-learn that arrays of other libraries stay on their device."""
        tags = super().__sklearn_tags__()
        tags.array_api_support = True
        return tags

    def _validated(self, X: Any, dtype: str, **given: Any) -> Any:
        """Let scikit-learn check the samples, and shorten its message about huge ones."""
        foreign = get_config()["array_api_dispatch"] and is_array_api_obj(X)
        xp = namespace(X) if foreign else np
        try:
            return validate_data(self, X, dtype=getattr(xp, dtype), **given)
        except (OverflowError, ValueError) as error:
            text = str(error)
            if isinstance(error, OverflowError) or len(text) > LONGEST_MESSAGE:
                raise ValueError(f"X must hold numbers: {text:.200}") from None
            raise

    def _settings(self) -> tuple[Model, Hyperparameters, Settings]:
        """Return the parameters, checked."""
        model = get_model(self.model).replace(rule=self.rule, one_hot=True)
        one_of(model.rule, RULES, "rule of DEEPClassifier")
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
        samples: Samples,
        classes: np.ndarray,
        model: Model,
        hyper: Hyperparameters,
        settings: Settings,
        stream: np.random.RandomState,
    ) -> None:
        """Draw new weights."""
        layout = Layout(self.n_features_in_, model.bias_neuron, hyper.N_H, len(classes))
        self.classes_, self.model_, self.layout_ = classes, model, layout
        self._stream = stream
        mask = complete(layout)
        drawn = self._stream.normal(0, settings.W_scale, mask.shape)
        W = np.where(mask, drawn, 0.0).astype(settings.dtype)
        self.mask_, self.W_ = _on_device(mask, samples.X), _on_device(W, samples.X)
        self.b_ = namespace(self.W_).zeros_like(self.W_[0, :])
        self.n_iter_ = 0
        self.loss_curve_, self.contraction_curve_ = [], []
        self.validation_scores_ = self.best_validation_score_ = None

    def _network(self, hyper: Hyperparameters) -> Network:
        """Return a network that starts with these weights."""
        return Network.of(self.W_, self.b_, self.mask_, self.layout_.N_X, self.model_, hyper)

    @np.errstate(over="ignore", invalid="ignore")  # divergence is detected and reported
    @one_thread()
    def _pass(
        self,
        network: Network,
        samples: Samples,
        part: Int[np.ndarray, " M"],
        settings: Settings,
        rates: Float[np.ndarray, " batches"],
        weights: Float[np.ndarray, " M"],
    ) -> None:
        """Learn from every sample of a part once; one learning rate per batch."""
        M, size, noise = len(part), settings.batch_size, settings.noise
        order = self._stream.permutation(M)
        weights = np.ones(M) if (weights == weights[0]).all() else weights / weights.mean()
        chosen = _on_device(part[order], samples.X)
        shares = _on_device(weights[order].astype(settings.dtype), samples.X)
        loss: Any = 0.0
        for k, rate in enumerate(rates.tolist()):
            batch = slice(k * size, min((k + 1) * size, M))
            X, Y = samples.take(chosen[batch])
            if noise:
                drawn = self._stream.normal(0, noise, (Y.shape[0], self.layout_.n_inputs))
                X = _noisy(X, _on_device(drawn.astype(settings.dtype), X))
            loss = loss + network.learn(X, Y, rate, shares[batch])
        self.W_, self.b_ = network.weights()
        if not (np.isfinite(to_numpy(self.W_)).all() and np.isfinite(to_numpy(self.b_)).all()):
            del self.W_  # the estimator is no longer fitted
            raise FloatingPointError(
                f"weights are no longer finite in pass {self.n_iter_}: "
                f"lower dt_W (now {self.dt_W}) or scale the features"
            )
        self.n_iter_ += 1
        self.loss_curve_.append(float(loss) / M)
        self.contraction_curve_.append(max(network.contraction(self.layout_.N_Y).values()))
        self.hyper_ = network.hyper

    def _accuracy(self, samples: Samples, weights: Float[np.ndarray, " M"]) -> float:
        """Return the weighted share of samples classified correctly, while fitting."""
        try:
            answers = to_numpy(self._relaxed(samples.X, self.hyper_)).argmax(axis=1)
        except FloatingPointError:
            del self.W_  # the estimator is no longer fitted
            raise
        return float(np.average(answers == to_numpy(samples.Y).argmax(axis=1), weights=weights))

    def _outputs(self, X: ArrayLike, method: str) -> Float[Array, "M classes"]:
        """Return the outputs after a free phase, shape (M, classes), for a public method."""
        check_is_fitted(self, "W_")
        X = self._validated(X, str(to_numpy(self.b_).dtype), reset=False)
        self._check_library(X, method)
        return self._relaxed(_clamped(X, self.layout_.bias), self.hyper_)

    def _check_library(self, X: Array, method: str) -> None:
        """Refuse samples of another array library or device than those of `fit`."""
        fitted, given = [(namespace(x).__name__, str(device(x))) for x in (self.W_, X)]
        if fitted != given:
            raise ValueError(
                f"X passed to {type(self).__name__}.{method}() must use the same namespace and "
                f"device as in fit(): {' on '.join(fitted)}, got {' on '.join(given)}"
            )

    @np.errstate(over="ignore", invalid="ignore")  # overflow is detected and reported
    @one_thread()
    def _relaxed(
        self, clamped: Float[Array, "M N_X"], hyper: Hyperparameters
    ) -> Float[Array, "M classes"]:
        """Return the outputs of clamped states after a free phase."""
        drive, _, S = self._network(hyper).free(clamped)
        xp = namespace(S)
        if not xp.all(xp.isfinite(drive) & xp.isfinite(S)):
            raise FloatingPointError("states overflow on these features: scale them")
        return S[:, -self.layout_.N_Y :]


def _samples(
    X: Float[Array, "M n_inputs"], y: np.ndarray, classes: np.ndarray, model: Model
) -> Samples:
    """Return clamped states and targets, with one output per class."""
    if len(classes) < 2:
        raise ValueError(
            f"a classifier needs two classes or more, got one class: {short(list(classes))}"
        )
    xp = namespace(X)
    if xp.any(xp.abs(X) > min(LARGEST, float(xp.finfo(X.dtype).max))):
        raise ValueError(f"X must be at most {LARGEST:g} in absolute value")
    eye = xp.eye(len(classes), dtype=X.dtype, device=device(X))
    targets = xp.take(eye, _on_device(np.searchsorted(classes, y), X), axis=0)
    return Samples(_clamped(X, model.bias_neuron), targets)


def _clamped(X: Float[Array, "M n_inputs"], bias: bool) -> Float[Array, "M N_X"]:
    """Return the clamped states: the inputs, followed by the bias neuron's 1."""
    xp = namespace(X)
    return xp.concat([X, xp.ones_like(X[:, :1])], axis=1) if bias else X


def _noisy(X: Float[Array, "m N_X"], noise: Float[Array, "m n_inputs"]) -> Float[Array, "m N_X"]:
    """Return clamped states with noise on the inputs."""
    n = noise.shape[1]
    return namespace(X).concat([X[:, :n] + noise, X[:, n:]], axis=1)


def _on_device(array: np.ndarray, like: Array) -> Array:
    """Return an array of NumPy as one of the library and on the device of another."""
    return namespace(like).asarray(array, device=device(like))


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
