"""A verdict for every phase that a run's rule learns from, each with the rule's own field."""

from collections.abc import Sequence

import numpy as np
import xarray as xr
from jaxtyping import Float

from deep_nb._validation import items, one_of
from deep_nb.analysis.certificates import METHODS, methods
from deep_nb.analysis.contraction import (
    below_one,
    contraction_rate_l1,
    contraction_rate_linf,
    euler_factor_l1,
    euler_factor_linf,
)
from deep_nb.analysis.matrices import contraction_rate
from deep_nb.analysis.stability import clipped_problem_of, rule_jacobians, weights_after

#: Number of epochs for which certificates are sought before a failure is noticed.
SOUGHT = 8

#: Meaning of each variable of a phase report.
_VERDICTS = {
    "contraction_rate_l1": "matrix measure of the linear part in ℓ1, in 1/τ",
    "contraction_rate_linf": "matrix measure of the linear part in ℓ∞, in 1/τ",
    "euler_factor_l1": "factor per Euler step in ℓ1; below 1 means contraction",
    "euler_factor_linf": "factor per Euler step in ℓ∞; below 1 means contraction",
    "certified": "whether the clipped Euler iteration is proved to contract",
    "method": "what proves it: l1, linf, or the method of a diagonal certificate",
    "factor": "factor per Euler step that the method proves; NaN without one",
}


def phase_report(run: xr.Dataset, epoch: int = -1) -> xr.Dataset:
    r"""Judge every phase that the run's rule learns from, with the weights after an epoch.

    A phase is certified if its clipped Euler iteration, at the run's dt, is proved to contract
    beyond rounding: by :math:`\lVert I + dt J \rVert_1 < 1`, by
    :math:`\lVert I + dt J \rVert_\infty < 1`, or by a `certificate` D of J with
    :math:`\lVert D^{1/2} (I + dt J) D^{-1/2} \rVert_2 < 1`, tried in this order. It then has one
    rest point for each sample, and reaches it from every start. J is the linear part of the rule's
    own field: in the nudged phases of ``onesided`` and ``asymep`` it is the transpose of the free
    one, ∓ β on the outputs. Proofs and conditions are in ``docs/stability.md``. The method "sdp" is
    tried only if CVXPY is installed.

    Parameters
    ----------
    run : xarray.Dataset
        As returned by `deep_nb.train`, of a model with the hard sigmoid.
    epoch : int
        Number of epochs trained, −1 for all; others need ``record=("weights",)``.

    Returns
    -------
    xarray.Dataset
        Over ``seed`` and ``phase``, with meanings in attrs. Phases are "free"; "+β", except for
        ``adjoint``, whose nudged phase is only recorded; "-β" for ``centered`` and ``asymep``.
        Diverged networks are judged by their last finite weights.

    Raises
    ------
    ValueError
        If `run` is not such a run or has no weights of that epoch.

    See Also
    --------
    certified_throughout : Whether every phase of every epoch is certified.
    phase_energy : The distance from rest along a phase.
    stability_report : Tests of the free phase's Jacobian.

    Examples
    --------
    >>> import deep_nb
    >>> model = deep_nb.DEEP.replace(
    ...     name="contracting", leak=0.2, absolute_outflow=True, rule="asymep"
    ... )
    >>> hyper = {"n_epochs": 5, "beta": 0.1, "dt_W": 0.3}
    >>> run = deep_nb.train(model, "or", seeds=range(3), hyper=hyper)
    >>> report = deep_nb.analysis.phase_report(run)
    >>> report["phase"].values.tolist(), bool(report["certified"].all())
    (['free', '+β', '-β'], True)
    >>> report["contraction_rate_linf"].sel(phase="-β").round(9).values  # β − λ
    array([-0.1, -0.1, -0.1])
    """
    problem = clipped_problem_of(run)
    stacks = rule_jacobians(problem, *weights_after(run, epoch))
    columns = [_verdicts(J, problem.hyper.dt) for J in stacks.values()]
    variables = {
        name: (
            ("seed", "phase"),
            np.stack([column[name] for column in columns], axis=1),
            {"units": "1", "long_name": text},
        )
        for name, text in _VERDICTS.items()
    }
    coords = {"seed": run["seed"].values, "phase": list(stacks)}
    return xr.Dataset(variables, coords=coords, attrs={**run.attrs, "epochs_trained": epoch})


def certified_throughout(run: xr.Dataset, phases: Sequence[str] | None = None) -> xr.DataArray:
    """Return whether every phase of every epoch is certified, as in `phase_report`.

    The weights before the first epoch and those after the last count as well.

    Parameters
    ----------
    run : xarray.Dataset
        As returned by `deep_nb.train`, of a model with the hard sigmoid, with
        ``record=("weights",)``.
    phases : sequence of str, optional
        The phases that count, such as ("free", "+β"); by default all that the rule learns from.

    Returns
    -------
    xarray.DataArray
        Over ``seed``. False for diverged networks.

    Raises
    ------
    ValueError
        If `run` is not such a run, or its rule has no such phases.

    See Also
    --------
    phase_report : The verdicts on the phases of one epoch.

    Examples
    --------
    >>> import deep_nb
    >>> model = deep_nb.DEEP.replace(
    ...     name="contracting", leak=0.2, absolute_outflow=True, rule="asymep"
    ... )
    >>> for beta in (0.1, 3.0):  # below the leak, and far above
    ...     hyper = {"n_epochs": 5, "beta": beta, "dt_W": 0.3}
    ...     run = deep_nb.train(model, "or", seeds=range(3), hyper=hyper, record=("weights",))
    ...     print(deep_nb.analysis.certified_throughout(run).values)
    [ True  True  True]
    [False False False]
    """
    problem = clipped_problem_of(run)
    if "W_epochs" not in run:
        raise ValueError("certified_throughout needs a run trained with record=('weights',)")
    W, b = run["W_epochs"].values, run["b_epochs"].values
    known = list(rule_jacobians(problem, W[:1, 0], b[:1, 0]))
    if phases is not None:
        known = [one_of(phase, known, "phase") for phase in items(phases, "phases")]
    certified = ~run["diverged"].values
    for k in np.flatnonzero(certified):
        stacks = rule_jacobians(problem, W[k], b[k])
        certified[k] = all(_all_contract(stacks[phase], problem.hyper.dt) for phase in known)
    text = " and ".join(known)
    return xr.DataArray(
        certified,
        dims=("seed",),
        coords={"seed": run["seed"].values},
        attrs={"units": "1", "long_name": f"whether {text} are certified in every epoch"},
    )


def _all_contract(J: Float[np.ndarray, "epochs n n"], dt: float) -> bool:
    """Return whether the iterations of all epochs are proved to contract.

    Certificates are sought for those that no closed form proves; the last epochs come first,
    because trained networks are the least stable.
    """
    if not np.isfinite(J).all():
        return False
    factors = euler_factor_l1(J, dt), euler_factor_linf(J, dt)
    unsure = J[~np.logical_or(*(below_one(factor, J.shape[1]) for factor in factors))][::-1]
    parts = range(0, len(unsure), SOUGHT)
    return all((_proof(unsure[i : i + SOUGHT], dt)[0] != "").all() for i in parts)


def _verdicts(J: Float[np.ndarray, "K n n"], dt: float) -> dict[str, np.ndarray]:
    """Return the variables of a phase report; rates and factors of an infinite J are infinite."""
    finite = np.isfinite(J).all(axis=(1, 2))
    values = {name: np.full(len(J), np.inf) for name in list(_VERDICTS)[:4]}
    if finite.any():
        values["contraction_rate_l1"][finite] = contraction_rate_l1(J[finite])
        values["contraction_rate_linf"][finite] = contraction_rate_linf(J[finite])
        values["euler_factor_l1"][finite] = euler_factor_l1(J[finite], dt)
        values["euler_factor_linf"][finite] = euler_factor_linf(J[finite], dt)
    method, factor = _proof(J, dt)
    return {**values, "certified": method != "", "method": method, "factor": factor}


def _proof(J: Float[np.ndarray, "K n n"], dt: float) -> tuple[np.ndarray, np.ndarray]:
    """Return what proves that each iteration contracts, "" if nothing does, and the factor.

    The closed forms come first, then certificates for the matrices that remain.
    """
    method, factor = np.full(len(J), "", dtype="<U10"), np.full(len(J), np.nan)
    finite = np.isfinite(J).all(axis=(1, 2))
    for name in ("l1", "linf", *methods("auto")):
        left = finite & (method == "")
        if not left.any():
            break
        found = _factor(name, J[left], dt)
        proved = below_one(found, J.shape[1])
        method[left] = np.where(proved, name, "")
        factor[left] = np.where(proved, found, np.nan)
    return method, factor


def _factor(method: str, J: Float[np.ndarray, "k n n"], dt: float) -> Float[np.ndarray, " k"]:
    """Return the factor per Euler step by a method, NaN without a certificate."""
    if method == "l1":
        return euler_factor_l1(J, dt)
    if method == "linf":
        return euler_factor_linf(J, dt)
    return contraction_rate(J, dt, METHODS[method](J))
