"""The engine for large networks: one matrix product a step, into arrays made beforehand."""

from __future__ import annotations

import functools

import numpy as np
from threadpoolctl import ThreadpoolController

from deep_nb.dynamics import (
    ACTIVATIONS,
    FIELD,
    PHASE,
    Field,
    Phase,
    Relaxation,
    join,
    vector_field,
)
from deep_nb.kinds import array, takes


@takes(field=FIELD, S=array("K M n"), phase=PHASE)
@np.errstate(over="ignore", invalid="ignore")
def relax(field: Field, S: np.ndarray, phase: Phase) -> Relaxation:
    r"""Integrate one phase of K networks, one after the other; see `deep_nb.engines.Relax`.

    With :math:`G = 1 + dt (W - \operatorname{diag} \kappa)`, a step is
    :math:`s \leftarrow \rho(s G + dt\, I)`. BLAS keeps to one thread: with more, it sums in an
    order that depends on how many.

    Raises
    ------
    ValueError
        If an argument is something else, or their shapes do not fit.
    """
    with _controller().limit(limits=1, user_api="blas"):
        parts = [
            _relax_one(Field(*network), states, phase)
            for *network, states in zip(*field, S, strict=True)
        ]
    return join(parts)


@functools.cache
def _controller() -> ThreadpoolController:
    return ThreadpoolController()


def _relax_one(field: Field, S: np.ndarray, phase: Phase) -> Relaxation:
    dt, T, activation, stop, stdp, trajectory = phase
    rho = ACTIVATIONS[activation]
    M, n = S.shape
    G = dt * field.W
    G[np.arange(n), np.arange(n)] += 1.0 - dt * field.decay
    push = dt * field.drive
    S, S_next, v = S.astype(float), np.empty(S.shape), np.empty(S.shape)
    pairing, change = np.zeros((n, n)), np.zeros((M, n))
    product, scratch = np.empty((n, n)), np.empty_like(S)
    states = np.full((T + 1, M, n), np.nan) if trajectory else None
    if states is not None:
        states[0] = S
    for t in range(1, T + 1):
        np.matmul(S, G, out=S_next)
        np.add(S_next, push, out=S_next)
        rho(S_next, S_next)
        if stdp:
            np.subtract(S_next, S, out=v)
            np.multiply(v, stdp[1], out=v)
            if stdp[0]:
                v += np.multiply(S_next, stdp[0], out=scratch)
            change += v
            pairing += np.matmul(S_next.T, v, out=product)
        if states is not None:
            states[t] = S_next
        if stop is not None or t == T:
            squares = float((vector_field(field, S) ** 2).sum())
            moved = float((((S_next - S) / dt) ** 2).sum())
        S, S_next = S_next, S
        if stop is not None and squares <= stop:
            break
    return Relaxation(
        S=S[None],
        steps=np.array([t]),
        residual=np.array([squares / M]),
        projected_residual=np.array([moved / M]),
        pairing=pairing[None] if stdp else None,
        change=change[None] if stdp else None,
        trajectory=None if states is None else states[None],
    )
