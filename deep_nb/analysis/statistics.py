"""Estimates with 95 % intervals: shares, medians, differences; tests; many tests at a time."""

from typing import Any, NamedTuple

import numpy as np
import scipy.optimize
import scipy.stats
from jaxtyping import Bool, Float, Real
from numpy.typing import ArrayLike

from deep_nb._extras import needed_by
from deep_nb._validation import (
    check_same_labels,
    finite_array,
    integer,
    items,
    real_array,
    short,
)
from deep_nb.models import MAX_COUNT

#: Maximum number of values that a bootstrap draws at a time: 160 MB.
MAX_DRAWN = 20_000_000

#: Maximum number of networks, because counts become floating-point numbers.
MAX_TOTAL = 1_000_000_000


class Estimate(NamedTuple):
    """A number with its 95 % interval.

    Attributes
    ----------
    value : float
    low, high : float
        Ends of the interval.
    """

    value: float
    low: float
    high: float


def share(successes: int, total: int) -> Estimate:
    """Return a share with its 95 % Wilson score interval (E. B. Wilson, 1927).

    Parameters
    ----------
    successes : int
        From 0 to `total`.
    total : int
        At least 1.

    Raises
    ------
    ValueError
        If a count is out of range.

    See Also
    --------
    difference_of_shares : Compares two shares.
    deep_nb.plotting.plot_shares : Draws shares with their intervals.

    Examples
    --------
    >>> import deep_nb
    >>> estimate = deep_nb.analysis.share(90, 100)
    >>> [round(number, 3) for number in estimate]
    [0.9, 0.826, 0.945]
    """
    total = integer(total, "total", 1, MAX_TOTAL)
    successes = integer(successes, "successes", 0, total)
    return Estimate(*wilson(np.asarray(successes), total).tolist())


def wilson(successes: Real[np.ndarray, "..."], total: int) -> Float[np.ndarray, "3 ..."]:
    """Return shares with the lower and upper ends of their 95 % Wilson score intervals."""
    result = np.empty((3, *successes.shape))
    for index in np.ndindex(successes.shape):
        test = scipy.stats.binomtest(int(successes[index]), total)
        interval = test.proportion_ci(0.95, method="wilson")
        result[(slice(None), *index)] = test.statistic, interval.low, interval.high
    return result


def difference_of_shares(first: tuple[int, int], second: tuple[int, int]) -> Estimate:
    """Return the first share minus the second with Newcombe's 95 % interval, by statsmodels.

    R. G. Newcombe, 1998, Statistics in Medicine 17:873, method 10.

    Parameters
    ----------
    first, second : tuple of int
        (successes, total) of two independent samples. If both used the same seeds, the interval is
        too wide, because networks that start alike perform alike.

    Raises
    ------
    ValueError
        If either is not (successes, total) with 0 ≤ successes ≤ total and total ≥ 1.

    See Also
    --------
    share : One share.
    paired_difference : The same for networks that share their seeds.

    Examples
    --------
    >>> import deep_nb
    >>> estimate = deep_nb.analysis.difference_of_shares((56, 70), (48, 80))
    >>> [round(number, 3) for number in estimate]
    [0.2, 0.052, 0.334]
    """
    with needed_by("deep_nb.analysis.difference_of_shares"):
        from statsmodels.stats.proportion import confint_proportions_2indep

    first, second = _counts(first, "first"), _counts(second, "second")
    low, high = confint_proportions_2indep(*first, *second, compare="diff", method="newcomb")
    return Estimate(first[0] / first[1] - second[0] / second[1], float(low), float(high))


def _counts(pair: Any, what: str) -> tuple[int, int]:
    counts = [integer(count, what, 0, MAX_TOTAL) for count in items(pair, what, 2)]
    if len(counts) != 2 or not counts[0] <= counts[1] or counts[1] == 0:
        raise ValueError(f"{what} must be (successes, total), got {short(pair)}")
    return counts[0], counts[1]


def paired_difference(first: ArrayLike, second: ArrayLike) -> Estimate:
    r"""Return the share of the first minus that of the second of paired outcomes.

    The interval is Tango's score interval (T. Tango, 1998, Statistics in Medicine 17:891): with b
    pairs in which only the first holds, and c in which only the second does, of n, it contains each
    difference Δ for which

    .. math:: \frac{|b - c - n \Delta|}{\sqrt{n (2 \hat q + \Delta (1 - \Delta))}} \le 1.96,

    where :math:`\hat q` is the most likely probability of the second kind of pair, given Δ.

    Parameters
    ----------
    first, second : array_like of bool, shape (n,)
        Outcomes of the same networks (seeds) under two conditions.

    Raises
    ------
    ValueError
        If they are not outcomes, or differ in length.

    See Also
    --------
    mcnemar : The exact test of no difference.
    difference_of_shares : The same for independent samples.

    Examples
    --------
    >>> import deep_nb
    >>> pruned, unpruned = [True] * 10 + [False] * 13, [True] * 20 + [False] * 3
    >>> [round(number, 3) for number in deep_nb.analysis.paired_difference(pruned, unpruned)]
    [-0.435, -0.632, -0.229]
    """
    b, c, n = _discordant(first, second)
    value = (b - c) / n
    ends = []
    for end in (-1.0, 1.0):

        def beyond(difference: float, end: float = end) -> float:
            return tango(b, c, n, difference) + end * _Z

        outermost = beyond(end)
        found = outermost * beyond(value) < 0
        ends.append(scipy.optimize.brentq(beyond, value, end, xtol=1e-12) if found else end)
    return Estimate(value, *ends)


#: The two-sided 95 % quantile of the normal distribution.
_Z = float(scipy.stats.norm.ppf(0.975))


def tango(b: int, c: int, n: int, difference: float) -> float:
    """Return Tango's score of a paired difference, about standard normal if it is the true one."""
    linear = -b - c + (2 * n - b + c) * difference
    constant = -c * difference * (1 - difference)
    root = np.sqrt(max(0.0, linear**2 - 8 * n * constant))  # below 0 only by rounding
    q = (root - linear) / (4 * n)
    variance = n * (2 * q + difference * (1 - difference))
    distance = b - c - n * difference
    if variance <= 0:
        return 0.0 if distance == 0 else float(np.copysign(np.inf, distance))
    return float(distance / np.sqrt(variance))


def mcnemar(first: ArrayLike, second: ArrayLike) -> float:
    """Return the two-sided p-value of the exact McNemar test of paired outcomes, by statsmodels.

    Q. McNemar, 1947, Psychometrika 12:153; exact: the pairs that differ are a binomial sample.

    Parameters
    ----------
    first, second : array_like of bool, shape (n,)
        As in `paired_difference`.

    Raises
    ------
    ValueError
        If they are not outcomes, or differ in length.

    See Also
    --------
    paired_difference : How large the difference is.

    Examples
    --------
    >>> import deep_nb
    >>> pruned, unpruned = [True] * 10 + [False] * 13, [True] * 20 + [False] * 3
    >>> round(deep_nb.analysis.mcnemar(pruned, unpruned), 4)
    0.002
    """
    with needed_by("deep_nb.analysis.mcnemar"):
        from statsmodels.stats.contingency_tables import mcnemar

    b, c, _ = _discordant(first, second)
    return float(mcnemar([[0, b], [c, 0]], exact=True).pvalue)


def _discordant(first: ArrayLike, second: ArrayLike) -> tuple[int, int, int]:
    """Return how many pairs hold in the first only, in the second only, and how many there are."""
    a, b = _outcomes(first, "first"), _outcomes(second, "second")
    if len(a) != len(b):
        raise ValueError(f"first and second must have the same length, got {len(a)} and {len(b)}")
    check_same_labels(first, second, "first and second")
    return int((a & ~b).sum()), int((b & ~a).sum()), len(a)


def _outcomes(values: ArrayLike, what: str) -> Bool[np.ndarray, " n"]:
    array = np.asarray(real_array(values, what), dtype=float)
    if array.ndim != 1 or not array.size or not np.isin(array, (0, 1)).all():
        raise ValueError(f"{what} must be a 1-D array of True or False, got {short(array)}")
    return array == 1


def holm(p_values: ArrayLike) -> Float[np.ndarray, " n"]:
    """Return p-values corrected for their number by Holm's step-down method, by statsmodels.

    S. Holm, 1979, Scandinavian Journal of Statistics 6:65. If all hypotheses with a corrected
    p-value below α are rejected, the probability that any of them is true is at most α.

    Parameters
    ----------
    p_values : array_like, shape (n,)
        From 0 to 1.

    Raises
    ------
    ValueError
        If they are not a row of p-values.

    See Also
    --------
    mcnemar, log_rank : Tests that give p-values.

    Examples
    --------
    >>> import deep_nb
    >>> deep_nb.analysis.holm([0.01, 0.04, 0.03, 0.005])
    array([0.03, 0.06, 0.06, 0.02])
    """
    with needed_by("deep_nb.analysis.holm"):
        from statsmodels.stats.multitest import multipletests

    array = finite_array(p_values, "p_values must be finite numbers in one dimension; it", 1)
    if not array.size or not ((array >= 0) & (array <= 1)).all():
        raise ValueError(f"p_values must be one or more from 0 to 1, got {short(array)}")
    return np.asarray(multipletests(array, method="holm")[1])


def median(values: ArrayLike) -> Estimate:
    """Return the median with its 95 % percentile-bootstrap interval.

    B. Efron and R. J. Tibshirani, *An Introduction to the Bootstrap*, 1993, ch. 13. The resamples
    are drawn with a fixed seed: equal values give equal intervals.

    Parameters
    ----------
    values : array_like, shape (n,)
        At least two.

    Raises
    ------
    ValueError
        If `values` are not two or more finite numbers, at most 1e100 in absolute value.

    See Also
    --------
    difference_of_medians : Compares two medians.

    Examples
    --------
    >>> import deep_nb
    >>> deep_nb.analysis.median([3.0, 5.0, 4.0, 9.0, 5.0])
    Estimate(value=5.0, low=3.0, high=9.0)
    """
    return _bootstrap((_sample(values, "values"),), np.median)


def difference_of_medians(first: ArrayLike, second: ArrayLike) -> Estimate:
    """Return the first median minus the second, with an interval as in `median`.

    Parameters
    ----------
    first, second : array_like, shape (n,)
        Independent samples of at least two values.

    Raises
    ------
    ValueError
        If a sample is not two or more finite numbers, at most 1e100 in absolute value.

    See Also
    --------
    median : One median.
    log_rank : A test for censored epochs.

    Examples
    --------
    >>> import deep_nb
    >>> deep_nb.analysis.difference_of_medians([7.0, 8.0, 9.0], [1.0, 2.0, 3.0])
    Estimate(value=6.0, low=4.0, high=8.0)
    """
    samples = _sample(first, "first"), _sample(second, "second")
    return _bootstrap(samples, _median_minus_median)


def _median_minus_median(first: np.ndarray, second: np.ndarray, axis: int) -> Any:
    return np.median(first, axis=axis) - np.median(second, axis=axis)


def _sample(values: ArrayLike, what: str) -> Float[np.ndarray, " n"]:
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
    """Return the two-sided p-value of the log-rank test of two samples of epochs.

    N. Mantel, 1966, Cancer Chemotherapy Reports 50:163.

    Parameters
    ----------
    first, second : array_like, shape (n,)
        As returned by `epochs_to_criterion`: NaN is censored at `n_epochs`.
    n_epochs : int
        Number of epochs for which every network was observed.

    Returns
    -------
    float
        1 if all networks are censored, or all reach the criterion in the same epoch.

    Raises
    ------
    ValueError
        If a sample is not a row of epochs or NaN, or `n_epochs` is out of range.

    See Also
    --------
    epochs_to_criterion : The epochs of a run.
    difference_of_medians : How much earlier.

    Examples
    --------
    >>> import deep_nb
    >>> round(deep_nb.analysis.log_rank([4, 5, 5, 6], [9, 12, float("nan"), 15], 20), 4)
    0.0069
    """
    n_epochs = integer(n_epochs, "n_epochs", 1, MAX_COUNT)
    samples = []
    for values in (epochs_array(first, "first"), epochs_array(second, "second")):
        censored = np.isnan(values)
        times = np.where(censored, n_epochs, values)
        if (times > n_epochs).any():
            raise ValueError(f"epochs must be at most n_epochs, {n_epochs}, got {times.max():g}")
        samples.append(scipy.stats.CensoredData.right_censored(times, censored))
    if not any(sample.num_censored() < len(sample) for sample in samples):
        return 1.0
    with np.errstate(invalid="ignore"):  # 0 / 0 where all reach it in one epoch
        pvalue = float(scipy.stats.logrank(samples[0], samples[1]).pvalue)
    return 1.0 if np.isnan(pvalue) else pvalue


def epochs_array(values: ArrayLike, what: str) -> Float[np.ndarray, " n"]:
    """Check epochs to the criterion, NaN where they are censored."""
    array = np.asarray(real_array(values, what), dtype=float)
    known = array[~np.isnan(array)]
    if array.ndim != 1 or not array.size or not ((known >= 0) & (known < np.inf)).all():
        allowed = "a 1-D array of non-negative epochs or NaN"
        raise ValueError(f"{what} must be {allowed}, got {short(array)}")
    return array
