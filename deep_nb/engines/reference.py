"""The readable engine: NumPy, any number of networks, any size."""

import numpy as np
from jaxtyping import Float

from deep_nb.dynamics import ACTIVATIONS, Field, Phase, Relaxation, euler_step, vector_field


@np.errstate(over="ignore", invalid="ignore")
def relax(field: Field, S: Float[np.ndarray, "K M n"], phase: Phase) -> Relaxation:
    """Integrate one phase of K networks; see `deep_nb.engines.Relax`."""
    dt, stop, stdp = phase.dt, phase.stop, phase.stdp
    rho = ACTIVATIONS[phase.activation]
    K, M, n = S.shape
    running = np.ones(K, dtype=bool)
    steps = np.zeros(K, dtype=np.int64)
    residual, projected = np.zeros(K), np.zeros(K)
    pairing = np.zeros((K, n, n)) if stdp else None
    change = np.zeros((K, M, n)) if stdp else None
    states = np.full((K, phase.T + 1, M, n), np.nan) if phase.trajectory else None
    if states is not None:
        states[:, 0] = S

    for t in range(1, phase.T + 1):
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
        if stop is not None or t == phase.T:
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
