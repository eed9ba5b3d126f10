"""Neurons side by side: the kernel's inner loops for what lanes of trajectories do not serve.

A vector holds `LANES` neighbouring neurons of one sample. `SAMPLES` samples of a network move at a
time and share each weight that is loaded. A neuron's sum runs over the presynaptic neurons in
their order, as in `deep_nb.kernels.lanes`, so that both give the same bits.

Arrays have rows of `LANES` numbers; a sample's n neurons take `blocks` rows, the last one filled up
with neurons that stay 0.
"""

from typing import Any

import numpy as np

from deep_nb.kernels.lanes import BURST, inner, rows_of_zeros, viewing
from deep_nb.kernels.vectors import LANES, clip, differing, fill, load, store

#: Samples that move together.
SAMPLES = 4

HARD_SIGMOID, SIGMOID, TANH = range(3)


def _block_functions(width: int) -> tuple[Any, Any]:
    """Return the two inner loops for `width` rows at a time: their sums stay in registers."""

    @viewing
    def speeds(n, blocks, A, drive, states, first, speed, j):
        """Write ds of rows j, j + 1, … of each sample; its state begins at ``first`` and so on."""
        size = blocks * LANES
        ds0, ds1 = load(drive, j, width), load(drive, blocks + j, width)
        ds2, ds3 = load(drive, 2 * blocks + j, width), load(drive, 3 * blocks + j, width)
        for i in range(first, first + n):
            weights = load(A, (i - first) * blocks + j, width)
            ds0 = ds0 + weights * fill(states[i], width)
            ds1 = ds1 + weights * fill(states[i + size], width)
            ds2 = ds2 + weights * fill(states[i + 2 * size], width)
            ds3 = ds3 + weights * fill(states[i + 3 * size], width)
        store(speed, j, ds0)
        store(speed, blocks + j, ds1)
        store(speed, 2 * blocks + j, ds2)
        store(speed, 3 * blocks + j, ds3)

    @viewing
    def pair(states, first, v, row, sums, sum_row, count, blocks):
        """Add Σ_t s_i(t) v_j(t), v_(j+1)(t), … over `count` steps to the sums."""
        total = load(sums, sum_row, width)
        for t in range(count):
            s = fill(states[first + t * SAMPLES * blocks * LANES], width)
            total = total + s * load(v, row + t * SAMPLES * blocks, width)
        store(sums, sum_row, total)

    return speeds, pair


_speeds4, _pair4 = _block_functions(4)
_speeds2, _pair2 = _block_functions(2)
_speeds1, _pair1 = _block_functions(1)


@viewing
def _activate(x, activation):
    if activation == TANH:
        return np.tanh(x)
    if activation == SIGMOID:
        return 0.5 * (1.0 + np.tanh(0.5 * x))
    if x < 0.0:
        return 0.0
    return 1.0 if x > 1.0 else x  # NaN stays NaN


@inner
def _step(n, blocks, A, drive, path, t, dt, activation, speed):
    """Make one Euler step of `SAMPLES` samples, from step t of the path to step t + 1."""
    states, rows = path.ravel(), SAMPLES * blocks
    first = t * rows * LANES
    for j in range(0, blocks - 3, 4):
        _speeds4(n, blocks, A, drive, states, first, speed, j)
    if blocks % 4 >= 2:
        _speeds2(n, blocks, A, drive, states, first, speed, blocks // 4 * 4)
    if blocks % 2:
        _speeds1(n, blocks, A, drive, states, first, speed, blocks - 1)
    for row in range(rows):
        state = load(path, t * rows + row, 1) + fill(dt, 1) * load(speed, row, 1)
        store(path, (t + 1) * rows + row, clip(state) if activation == HARD_SIGMOID else state)
    if activation != HARD_SIGMOID:
        for m in range(SAMPLES):
            begin = ((t + 1) * SAMPLES + m) * blocks * LANES
            for j in range(begin, begin + n):
                states[j] = _activate(states[j], activation)


@inner
def _plasticity(n, blocks, path, v, pairing, change, betas, count):
    """Add `count` steps to the STDP sums of `SAMPLES` samples, in their order."""
    states, rows = path.ravel(), SAMPLES * blocks
    for row in range(rows):
        total = load(change, row, 1)
        for t in range(row, row + count * rows, rows):
            s, before = load(path, t + rows, 1), load(path, t, 1)
            value = fill(betas[0], 1) * s + fill(betas[1], 1) * (s - before)
            store(v, t, value)
            total = total + value
        store(change, row, total)
    for m in range(SAMPLES):
        for i in range(n):
            s, row, to = (rows + m * blocks) * LANES + i, m * blocks, (m * n + i) * blocks
            for j in range(0, blocks - 3, 4):
                _pair4(states, s, v, row + j, pairing, to + j, count, blocks)
            if blocks % 4 >= 2:
                j = blocks // 4 * 4
                _pair2(states, s, v, row + j, pairing, to + j, count, blocks)
            if blocks % 2:
                j = blocks - 1
                _pair1(states, s, v, row + j, pairing, to + j, count, blocks)


@inner
def relax_samples(A, drive, S, halt, T, dt, activation, stop, betas, plastic, states, out):
    """Relax samples of one network through a phase, step by step; return the number of steps.

    With `stop` ≥ 0 the phase ends after the first step with Σ ds² ≤ stop over all of them. `states`
    has T + 1 steps to be written, or none. `out` has S, Σ_j ds_j² and Σ_j ((s_j(T) − s_j(T−1)) /
    dt)² of each sample's last step, and the STDP sums of each sample.
    """
    S_out, squares, moved, pairing_out, change_out = out
    M, n = S.shape
    blocks, groups = -(-n // LANES), -(-M // SAMPLES)
    rows = SAMPLES * blocks
    rests = not plastic or betas[0] == 0.0
    burst, sums = 1 if stop >= 0.0 else BURST, groups if plastic else 0
    weights, speed, v = rows_of_zeros(n * blocks), rows_of_zeros(rows), rows_of_zeros(burst * rows)
    push = rows_of_zeros(groups * rows).reshape((groups, rows, LANES))
    path = rows_of_zeros(groups * (burst + 1) * rows).reshape((groups, (burst + 1) * rows, LANES))
    pairing = rows_of_zeros(sums * rows * n).reshape((sums, rows * n, LANES))
    change = rows_of_zeros(sums * rows).reshape((sums, rows, LANES))
    for i in range(n):
        weights[i * blocks : (i + 1) * blocks].ravel()[:n] = A[i]
    for m in range(M):
        g, row = m // SAMPLES, m % SAMPLES * blocks
        push[g, row : row + blocks].ravel()[:n] = drive[m]
        path[g, row : row + blocks].ravel()[:n] = S[m]
    if len(states):
        states[0] = S
    resting, t = np.zeros(groups, np.bool_), 0
    while t < T and not halt[0]:
        count = min(burst, T - t)
        for g in range(groups):
            samples = range(g * SAMPLES, min((g + 1) * SAMPLES, M))
            kept = count if len(states) else 0
            if resting[g]:
                for m in samples:
                    for step in range(t, t + kept):
                        states[step + 1, m] = states[step, m]
                continue
            for step in range(count):
                _step(n, blocks, weights, push[g], path[g], step, dt, activation, speed)
            if plastic:
                _plasticity(n, blocks, path[g], v, pairing[g], change[g], betas, count)
            numbers, last = path[g].ravel(), count * rows * LANES
            for m in samples:
                begin = m % SAMPLES * blocks * LANES
                for step in range(kept):
                    first = (step + 1) * rows * LANES + begin
                    states[t + step + 1, m] = numbers[first : first + n]
                squares[m], moved[m] = 0.0, 0.0
                for j in range(begin, begin + n):
                    ds, after = speed.ravel()[j], numbers[last + j]
                    squares[m] += ds * ds
                    moved[m] += ((after - numbers[last - rows * LANES + j]) / dt) ** 2
                    S_out[m, j - begin] = after
            moving = 0
            for row in range(rows):
                s = load(path[g], count * rows + row, 1)
                moving |= differing(s, load(path[g], (count - 1) * rows + row, 1))
                store(path[g], row, s)
            resting[g] = rests and not moving
        t += count
        total = 0.0
        for m in range(M):
            total += squares[m]
        if (stop >= 0.0 and total <= stop) or (resting.all() and stop < 0 and not len(states)):
            break
    if plastic:
        for m in range(M):
            g, first = m // SAMPLES, m % SAMPLES * blocks
            change_out[m] = change[g, first : first + blocks].ravel()[:n]
            for i in range(n):
                row = (m % SAMPLES * n + i) * blocks
                pairing_out[m, i] = pairing[g, row : row + blocks].ravel()[:n]
    return t if stop >= 0.0 else T
