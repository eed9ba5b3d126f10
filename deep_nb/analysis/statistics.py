"""From a run to numbers: which networks learned, and how sure that is."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import scipy.stats
from numpy.typing import ArrayLike
from statsmodels.stats.proportion import confint_proportions_2indep

from deep_nb.checks import finite_array, real_array
from deep_nb.kinds import integer, number, plain, sequence, short, takes
from deep_nb.models import MAX_COUNT

#: Numbers that a bootstrap holds at a time: 160 MB.
MAX_DRAWN = 20_000_000

#: Bound of counts, which become floating-point numbers.
MAX_TOTAL = 1_000_000_000
EPOCHS = integer(1, MAX_COUNT)


def epochs_array(values: Any, what: str) -> np.ndarray:
    """Return epochs to the criterion as an array, NaN where they are censored.

    Raises
    ------
    ValueError
        If they are not numbers from 0 on, or NaN, in one dimension.
    """
    array = np.asarray(real_array(values, what), dtype=float)
    if array.ndim != 1 or not array.size or not (np.isnan(array) | (array >= 0)).all():
        raise ValueError(f"{what} must be epochs from 0 on, or NaN, in a row, got {short(array)}")
    return array


class Estimate(NamedTuple):
    """A number with its 95 % interval."""

    value: float
    low: float
    high: float


@takes(successes=integer(0, MAX_TOTAL))
def share(successes: int, total: int) -> Estimate:
    """Return a share with its 95 % Wilson score interval, as `wilson`.

    Raises
    ------
    ValueError
        If `total` is no count, or `successes` none up to it.
    """
    return Estimate(*(float(number) for number in wilson(successes, total)))


def difference_of_shares(first: tuple[int, int], second: tuple[int, int]) -> Estimate:
    """Return the first share minus the second, by R. G. Newcombe (1998), from statsmodels.

    Parameters
    ----------
    first, second : tuple of int
        (successes, total) of two independent samples. For the same seeds in both it errs on the
        wide side, since networks that start alike fare alike.

    Raises
    ------
    ValueError
        If one is no pair of counts, of which the second is at least 1 and the first at most that.
    """
    for name, pair in (("first", first), ("second", second)):
        sequence(integer(0, MAX_TOTAL), 2).check(pair, name)
        if len(pair) != 2 or not 0 <= pair[0] <= pair[1] or pair[1] == 0:
            raise ValueError(f"{name} must be (successes, total), got {short(pair)}")
    low, high = confint_proportions_2indep(*first, *second, compare="diff", method="newcomb")
    return Estimate(first[0] / first[1] - second[0] / second[1], float(low), float(high))


def median(values: ArrayLike) -> Estimate:
    """Return the median with its 95 % percentile-bootstrap interval, from SciPy.

    The resamples are drawn with a fixed seed: the same values give the same interval.

    Raises
    ------
    ValueError
        If `values` are not two or more finite numbers, at most 1e100 in size.
    """
    return _bootstrap((_sample(values, "values"),), np.median)


def difference_of_medians(first: ArrayLike, second: ArrayLike) -> Estimate:
    """Return the first median minus the second, with an interval as of `median`.

    Raises
    ------
    ValueError
        If a sample is not two or more finite numbers, at most 1e100 in size.
    """
    samples = _sample(first, "first"), _sample(second, "second")
    return _bootstrap(samples, _median_minus_median)


def _median_minus_median(first: np.ndarray, second: np.ndarray, axis: int) -> np.ndarray:
    return np.median(first, axis=axis) - np.median(second, axis=axis)


def _sample(values: ArrayLike, what: str) -> np.ndarray:
    """Return values to be drawn from, checked."""
    needed = f"a bootstrap needs two or more finite values in one dimension; {what}"
    array = finite_array(values, needed, 1)
    if array.size < 2:
        raise ValueError(f"{needed} has {array.size}")
    return array


def _bootstrap(samples: tuple[np.ndarray, ...], statistic: Any) -> Estimate:
    interval = scipy.stats.bootstrap(
        samples,
        statistic,
        n_resamples=4999,
        method="percentile",
        vectorized=True,
        batch=max(1, MAX_DRAWN // sum(values.size for values in samples)),
        rng=np.random.default_rng(0),
    ).confidence_interval
    value = float(statistic(*samples, axis=0))
    return Estimate(value, float(interval.low), float(interval.high))


def log_rank(first: ArrayLike, second: ArrayLike, n_epochs: int) -> float:
    """Return the two-sided p-value of the log-rank test between two samples of epochs, by SciPy.

    Parameters
    ----------
    first, second : array_like
        As from `epochs_to_criterion`: NaN is censored at `n_epochs`.
    n_epochs : int
        For how long every network was watched.

    Returns
    -------
    float
        1 if no network of either sample reached the criterion, or all in the same epoch.

    Raises
    ------
    ValueError
        If a sample is not of numbers of epochs or NaN, in one dimension, or `n_epochs` no number.
    """
    EPOCHS.check(n_epochs, "n_epochs")
    samples = []
    for values in (epochs_array(first, "first"), epochs_array(second, "second")):
        censored = np.isnan(values)
        times = np.where(censored, n_epochs, values)
        samples.append(scipy.stats.CensoredData.right_censored(times, censored))
    if not any(sample.num_censored() < len(sample) for sample in samples):
        return 1.0
    with np.errstate(invalid="ignore"):  # 0 / 0 where all reach it in one epoch
        pvalue = float(scipy.stats.logrank(samples[0], samples[1]).pvalue)
    return 1.0 if np.isnan(pvalue) else pvalue


def wilson(successes: Any, total: int, confidence: float = 0.95) -> np.ndarray:
    """Return shares with their Wilson score intervals (E. B. Wilson, 1927), by SciPy.

    Parameters
    ----------
    successes : array_like of int
        How often, each from 0 to `total`.
    total : int
        Out of how many, at least 1.
    confidence : float
        Of each interval, between 0 and 1.

    Returns
    -------
    ndarray, shape (3, ...)
        Estimate, lower and upper end, in [0, 1].

    Raises
    ------
    ValueError
        If a count is not between 0 and `total`, or `confidence` not between 0 and 1.
    """
    integer(1, MAX_TOTAL).check(total, "total")
    number(0, 1, without_low=True).check(confidence, "confidence")
    if confidence == 1:
        raise ValueError("confidence must be below 1")
    counts = finite_array(successes, "successes", None)
    if not ((counts >= 0) & (counts <= plain(total)) & (counts == np.floor(counts))).all():
        raise ValueError(f"successes k must be integers from 0 to {total}, got {short(successes)}")
    result = np.empty((3, *counts.shape))
    for index in np.ndindex(counts.shape):
        test = scipy.stats.binomtest(int(counts[index]), int(total))
        interval = test.proportion_ci(confidence, method="wilson")
        result[(slice(None), *index)] = test.statistic, interval.low, interval.high
    return result
