"""Alignment: the angle between a rule's weight change and the gradient."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Float

from deep_nb._validation import integer, items, mapping, one_of
from deep_nb.analysis.stability import REST_SPEED, field_after, weights_after
from deep_nb.dynamics import Relaxation
from deep_nb.engines import get_engine
from deep_nb.models import MAX_COUNT
from deep_nb.randomness import probe_states
from deep_nb.rules import RULES, Change, State, at_corner, learn
from deep_nb.run import problem_of


def rule_change(
    run: xr.Dataset, rule: str, epoch: int = -1, hyper: Mapping[str, Any] | None = None
) -> Change:
    """Return the change that a rule makes to a run's networks, whatever rule trained them.

    Parameters
    ----------
    run : xarray.Dataset
        As from `deep_nb.train`.
    rule : str
        "stdp", "contrastive", "centered", "onesided", "asymep" or "adjoint".
    epoch : int
        Epochs trained, −1 for all; others need ``record=("weights",)``.
    hyper : mapping, optional
        Replace some of the run's hyperparameters, such as β or the length of the phases.

    Returns
    -------
    Change
        ``dW (seed, pre, post)`` on existing synapses and ``db (seed, post)`` where biases are
        learned, before dt_W; ``nudged`` the nudged phase.

    Raises
    ------
    ValueError
        If `run` is not a run, `rule` or a hyperparameter is unknown or out of range, or the run has
        no weights of that epoch.

    See Also
    --------
    angle_to_gradient : Compare rules with the gradient.

    Examples
    --------
    >>> import deep_nb
    >>> run = deep_nb.train("EP_asym", "or", seeds=[0, 1], hyper={"n_epochs": 5})
    >>> deep_nb.analysis.rule_change(run, "asymep", hyper={"beta": 0.01}).dW.shape
    (2, 8, 8)
    """
    one_of(rule, RULES, "rule")
    return _look(run, rule, epoch, {} if hyper is None else mapping(hyper, "hyper"))[1]


def _look(
    run: xr.Dataset, rule: str, epoch: int, hyper: dict[str, Any]
) -> tuple[Relaxation, Change]:
    """Return the free phase and the rule's change, at the weights after `epoch` epochs."""
    if "N_H" in hyper:
        raise ValueError("hyper must not contain N_H: the run's networks have their sizes")
    trained = problem_of(run)
    problem = dataclasses.replace(
        trained,
        model=trained.model.replace(rule=rule),
        hyper=trained.hyper.replace(**hyper),
        flags=trained.flags.replace(sign=False),
    )
    W, b = weights_after(run, epoch)
    start = probe_states(run["seed"].values, len(problem.X), problem.layout)
    relax = get_engine("auto", problem.layout.n_free, problem.model.activation)
    return learn(problem, State(W, b, start), relax)


def angle_to_gradient(
    run: xr.Dataset,
    rules: Sequence[str] = ("stdp", "contrastive", "centered", "asymep"),
    epochs: Sequence[int] = (-1,),
    hyper: Mapping[str, Any] | None = None,
) -> xr.DataArray:
    r"""Return the angle between each rule's change Δ and that of `adjoint`, the gradient g.

    .. math:: \theta = \arccos \frac{\langle \Delta, g \rangle}
                                     {\lVert \Delta \rVert \lVert g \rVert}

    over all weights and biases together. Below 90° a small step lowers the loss.

    Parameters
    ----------
    run : xarray.Dataset
        As from `deep_nb.train`.
    rules : sequence of str
        Names of rules, as in `rule_change`.
    epochs : sequence of int
        Epochs trained, −1 for all.
    hyper : mapping, optional
        As in `rule_change`.

    Returns
    -------
    xarray.DataArray, over (rule, snapshot, seed)
        In degrees. NaN where the gradient or the change is 0, the network diverged, or the
        gradient does not exist: the free phase does not end at rest (choose T1 long enough), or it
        ends at a corner of the clip, with a neuron on a bound that nothing pushes against it.

    Raises
    ------
    ValueError
        As `rule_change`, or if `rules` or `epochs` is not a sequence.

    See Also
    --------
    rule_change : The changes themselves.

    Examples
    --------
    >>> import deep_nb
    >>> model = deep_nb.EP_asym.replace(rule="asymep")
    >>> run = deep_nb.train(model, "or", seeds=range(3), hyper={"n_epochs": 5})
    >>> small = {"beta": 1e-3, "T1": 3000, "T2": 3000}
    >>> angles = deep_nb.analysis.angle_to_gradient(run, ["asymep"], hyper=small)
    >>> bool((angles < 0.1).all())
    True
    """
    rules = [one_of(rule, RULES, "rule") for rule in items(rules, "rules")]
    epochs = [integer(epoch, "each epoch", -1, MAX_COUNT) for epoch in items(epochs, "epochs")]
    laid_over = {} if hyper is None else mapping(hyper, "hyper")
    problem_of(run)
    angles = np.full((len(rules), len(epochs), run.sizes["seed"]), np.nan)
    for column, epoch in enumerate(epochs):
        free, change = _look(run, "adjoint", epoch, laid_over)
        gradient = _flat(change)
        moving = np.sqrt(free.projected_residual * free.S.shape[1]) >= REST_SPEED
        corner = at_corner(field_after(run, epoch), free.S, REST_SPEED).any(axis=(1, 2))
        gradient[moving | corner] = 0.0
        for row, rule in enumerate(rules):
            angles[row, column] = _angle(_flat(_look(run, rule, epoch, laid_over)[1]), gradient)
    angles[..., run["diverged"].values] = np.nan
    return xr.DataArray(
        angles,
        dims=("rule", "snapshot", "seed"),
        coords={"rule": rules, "snapshot": epochs, "seed": run["seed"].values},
        attrs={"units": "degree", "long_name": "angle between the rule's change and the gradient"},
    )


def _flat(change: Change) -> Float[np.ndarray, "K entries"]:
    """Return all weight and bias changes of each network in one row."""
    return np.concatenate([change.dW.reshape(len(change.dW), -1), change.db], axis=1)


def _angle(
    a: Float[np.ndarray, "K entries"], b: Float[np.ndarray, "K entries"]
) -> Float[np.ndarray, " K"]:
    """Return the angle between the rows in degrees, NaN where a row is 0.

    By atan2 of the two diagonals of the rhombus of unit vectors: arccos loses half of the digits
    near 0 (W. Kahan, "How Futile are Mindless Assessments of Roundoff", 2006).
    """
    sizes = [np.linalg.norm(x, axis=1, keepdims=True) for x in (a, b)]
    a, b = (
        np.divide(x, s, out=np.full_like(x, np.nan), where=s > 0)
        for x, s in zip((a, b), sizes, strict=True)
    )
    halves = np.linalg.norm(a - b, axis=1), np.linalg.norm(a + b, axis=1)
    return np.degrees(2 * np.arctan2(*halves))
