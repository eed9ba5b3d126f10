"""The readable engine: NumPy, any number of networks, any size."""

from __future__ import annotations

import numpy as np

from deep_nb.dynamics import (
    ACTIVATIONS,
    FIELD,
    PHASE,
    Field,
    Phase,
    Relaxation,
    euler_step,
    vector_field,
)
from deep_nb.kinds import array, takes


@takes(field=FIELD, S=array("K M n"), phase=PHASE)
@np.errstate(over="ignore", invalid="ignore")
def relax(field: Field, S: np.ndarray, phase: Phase) -> Relaxation:
    """Integrate one phase of K networks; see `deep_nb.engines.Relax`.

    Raises
    ------
    ValueError
        If an argument is something else, or their shapes do not fit.
    """
    dt, T, activation, stop, stdp, trajectory = phase
    rho = ACTIVATIONS[activation]
    K, M, n = S.shape
    running = np.ones(K, dtype=bool)
    steps = np.zeros(K, dtype=np.int64)
    residual, projected = np.zeros(K), np.zeros(K)
    pairing = np.zeros((K, n, n)) if stdp else None
    change = np.zeros((K, M, n)) if stdp else None
    states = np.full((K, T + 1, M, n), np.nan) if trajectory else None
    if states is not None:
        states[:, 0] = S

    for t in range(1, T + 1):
        dS = vector_field(field, S)
        S_next = np.where(running[:, None, None], euler_step(S, dS, dt, rho), S)
        steps += running
        if stdp:
            v = stdp[0] * S_next + stdp[1] * (S_next - S)
            v[~running] = 0.0
            pairing += S_next.transpose(0, 2, 1) @ v
            change += v
        if states is not None:
            states[running, t] = S_next[running]
        if stop is not None or t == T:
            squares = (dS**2).sum(axis=(1, 2))
            moved = (((S_next - S) / dt) ** 2).sum(axis=(1, 2))
            residual[running] = squares[running] / M
            projected[running] = moved[running] / M
            if stop is not None:
                running &= ~(squares <= stop)
        S = S_next
        if not running.any():
            break
    return Relaxation(S, steps, residual, projected, pairing, change, states)
