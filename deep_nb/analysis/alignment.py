"""Alignment: the angle between what a rule does to the weights and the gradient."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from deep_nb.analysis.stability import REST_SPEED, field_after, weights_after
from deep_nb.checks import mapping, one_of
from deep_nb.dynamics import Relaxation
from deep_nb.engines import get_engine
from deep_nb.kinds import TEXT, integer, plain, sequence, short
from deep_nb.models import MAX_COUNT
from deep_nb.randomness import probe_states
from deep_nb.rules import RULES, Change, at_corner
from deep_nb.run import problem_of
from deep_nb.training import two_phases


def rule_change(
    run: xr.Dataset, rule: str, epoch: int = -1, hyper: Mapping[str, Any] | None = None
) -> Change:
    """Return what a rule would do to a run's networks, whatever rule they were trained with.

    Parameters
    ----------
    run : xarray.Dataset
        As from `deep_nb.train`, of a model with the hard sigmoid.
    rule : str
        A name in `deep_nb.rules.RULES`.
    epoch : int
        Epochs trained, −1 for all; others need ``record=("weights",)``.
    hyper : mapping, optional
        Hyperparameters laid over the run's, such as another β or longer phases.

    Returns
    -------
    Change
        ΔW on existing synapses and Δb where biases are learned.

    Raises
    ------
    ValueError
        If `run` is none, `rule` or a hyperparameter is unknown or out of range, or there are no
        weights of that epoch.
    """
    return _look(run, rule, epoch, hyper)[1]


def _look(
    run: xr.Dataset, rule: str, epoch: int, hyper: Mapping[str, Any] | None
) -> tuple[Relaxation, Change]:
    one_of(rule, RULES, "rule")
    laid_over = {} if hyper is None else mapping(hyper, "hyper")
    trained = problem_of(run)
    problem = dataclasses.replace(
        trained,
        model=trained.model.replace(rule=rule),
        hyper=trained.hyper.replace(**laid_over),
        flags=trained.flags.replace(sign=False),
    )
    W, B = weights_after(run, epoch)
    start = probe_states(run["seed"].values, len(problem.X), problem.layout)
    relax = get_engine("auto", problem.layout.n_free, problem.model.activation)
    return two_phases(problem, relax, W, B, start)


def angle_to_gradient(
    run: xr.Dataset,
    rules: Sequence[str] = ("stdp", "contrastive", "centered", "asymep"),
    epochs: Sequence[int] = (-1,),
    hyper: Mapping[str, Any] | None = None,
) -> xr.DataArray:
    r"""Return the angle between each rule's change and that of `adjoint`, the gradient.

    .. math:: \theta = \arccos \frac{\langle \Delta, g \rangle}
                                     {\lVert \Delta \rVert \lVert g \rVert}

    over all weights and biases together. Below 90° a small step lowers the loss.

    Parameters
    ----------
    run : xarray.Dataset
        As from `deep_nb.train`.
    rules : sequence of str
        Names in `deep_nb.rules.RULES`.
    epochs : sequence of int
        Epochs trained, −1 for all.
    hyper : mapping, optional
        As in `rule_change`.

    Returns
    -------
    xarray.DataArray, over (rule, snapshot, seed)
        In degrees; NaN where the gradient or the change is 0, or the network diverged, and where
        there is no gradient: the free phase does not end at rest (choose T1 long enough), or it
        ends at a corner of the clip (`deep_nb.rules.at_corner`).

    Raises
    ------
    ValueError
        As `rule_change`, or if `rules` or `epochs` is no sequence.
    """
    if not sequence(TEXT).accepts(rules):
        raise ValueError(
            f"rules must be a sequence of names such as ('asymep',), got {short(rules)}"
        )
    sequence(integer(-1, MAX_COUNT)).check(epochs, "epochs")
    rules, epochs = list(rules), [plain(epoch) for epoch in epochs]
    problem_of(run)
    angles = np.full((len(rules), len(epochs), run.sizes["seed"]), np.nan)
    for column, epoch in enumerate(epochs):
        free, change = _look(run, "adjoint", epoch, hyper)
        gradient = _flat(change)
        moving = np.sqrt(free.projected_residual * free.S.shape[1]) >= REST_SPEED
        corner = at_corner(field_after(run, epoch), free.S, REST_SPEED).any(axis=(1, 2))
        gradient[moving | corner] = 0.0
        for row, rule in enumerate(rules):
            angles[row, column] = _angle(_flat(rule_change(run, rule, epoch, hyper)), gradient)
    angles[..., run["diverged"].values] = np.nan
    return xr.DataArray(
        angles,
        dims=("rule", "snapshot", "seed"),
        coords={"rule": rules, "snapshot": epochs, "seed": run["seed"].values},
        attrs={"units": "degree", "long_name": "angle between the rule's change and the gradient"},
    )


def _flat(change: Change) -> np.ndarray:
    """Return all of a change, shape (K, N² + N)."""
    return np.concatenate([change.dW.reshape(len(change.dW), -1), change.db], axis=1)


def _angle(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the angle between the rows in degrees, NaN where one is 0.

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
