"""Trajectories side by side: the kernel's inner loops for networks of a few neurons.

A trajectory is one sample of one network. `LANES` of them move at a time, one in each lane of the
vectors, each with its own weights. A lane's arithmetic does not depend on its neighbours.
"""

from typing import Any, NamedTuple

import numba
import numpy as np

from deep_nb.kernels.vectors import LANES, clip, differing, fill, load, repeat, store

#: Steps made together before STDP sums are updated and rest is looked for.
BURST = 16

# Part of the kernels that call them, and cached with those only: Numba's disk cache confuses
# functions that are generated from the same source line, as in `_block_functions`.
inner = numba.njit(nogil=True, error_model="numpy")

#: The same for functions that make no array, only views. Numba does not count these then: counting
#: would cost more than what is done with them, above all if threads count views of the same array.
viewing = numba.njit(nogil=True, error_model="numpy", _nrt=False)


def _block_functions(width: int) -> tuple[Any, Any]:
    """Return the two inner loops for `width` neurons at a time: their sums stay in registers."""

    @viewing
    def step(n, A, drive, path, row, j, dt):
        """Make one Euler step of neurons j, j + 1, …, from ``row`` to ``row + n``."""
        speed = load(drive, j, width)
        for i in range(n):
            speed = speed + load(A, i * n + j, width) * repeat(load(path, row + i, 1), width)
        state = load(path, row + j, width) + fill(dt, width) * speed
        store(path, row + n + j, clip(state))

    @viewing
    def pair(n, path, v, sums, count, i, j):
        """Add Σ_t s_i(t) v_j(t), v_(j+1)(t), … over `count` steps to the sums."""
        total = load(sums, i * n + j, width)
        for t in range(count):
            s = repeat(load(path, (t + 1) * n + i, 1), width)
            total = total + s * load(v, t * n + j, width)
        store(sums, i * n + j, total)

    return step, pair


_step4, _pair4 = _block_functions(4)
_step2, _pair2 = _block_functions(2)
_step1, _pair1 = _block_functions(1)


@inner
def rows_of_zeros(rows):
    """Return an array of rows of `LANES` zeros that begins at a cache line, as each row then does.

    A vector that lies across two lines takes twice as long to read.
    """
    numbers = np.zeros((rows + 1) * LANES)
    first = -numbers.ctypes.data // 8 % LANES
    return numbers[first : first + rows * LANES].reshape((rows, LANES))


class Lanes(NamedTuple):
    """Room for `LANES` trajectories, one a column."""

    A: Any  # row i·n + j, the weight from i to j
    drive: Any
    path: Any  # row t·n + j, the state of j after t steps of a burst
    v: Any  # what STDP multiplies with s_i
    pairing: Any  # row i·n + j, STDP's sum
    change: Any


@inner
def new_lanes(n):
    """Return empty lanes for networks of n neurons."""
    return Lanes(
        rows_of_zeros(n * n), rows_of_zeros(n), rows_of_zeros((BURST + 1) * n),
        rows_of_zeros(BURST * n), rows_of_zeros(n * n), rows_of_zeros(n),
    )  # fmt: skip


@viewing
def fetch(lane, A, drive, s, lanes):
    """Put a trajectory into a lane: its weights, drive and first state."""
    n = len(s)
    for i in range(n):
        lanes.path[i, lane] = s[i]
        lanes.drive[i, lane] = drive[i]
        lanes.change[i, lane] = 0.0
        for j in range(n):
            lanes.A[i * n + j, lane] = A[i, j]
            lanes.pairing[i * n + j, lane] = 0.0


@viewing
def _steps(n, A, drive, path, dt, count):
    """Make `count` Euler steps: rows t·n … of the path to rows (t + 1)·n …."""
    for t in range(count):
        for j in range(0, n - 3, 4):
            _step4(n, A, drive, path, t * n, j, dt)
        if n % 4 >= 2:
            _step2(n, A, drive, path, t * n, n // 4 * 4, dt)
        if n % 2:
            _step1(n, A, drive, path, t * n, n - 1, dt)


@viewing
def advance(n, count, dt, betas, plastic, lanes):
    """Make `count` steps; return a bit mask of the lanes that the last one changed."""
    path = lanes.path
    _steps(n, lanes.A, lanes.drive, path, dt, count)
    if plastic:
        _plasticity(n, path, lanes.v, lanes.pairing, lanes.change, betas, count)
    moving = 0
    for j in range(n):
        s = load(path, count * n + j, 1)
        moving |= differing(s, load(path, (count - 1) * n + j, 1))
        store(path, j, s)
    return moving


@viewing
def _plasticity(n, path, v, pairing, change, betas, count):
    """Add `count` steps to the STDP sums, in their order."""
    for j in range(n):
        total = load(change, j, 1)
        for t in range(count):
            s, before = load(path, (t + 1) * n + j, 1), load(path, t * n + j, 1)
            value = fill(betas[0], 1) * s + fill(betas[1], 1) * (s - before)
            store(v, t * n + j, value)
            total = total + value
        store(change, j, total)
    for i in range(n):
        for j in range(0, n - 3, 4):
            _pair4(n, path, v, pairing, count, i, j)
        if n % 4 >= 2:
            _pair2(n, path, v, pairing, count, i, n // 4 * 4)
        if n % 2:
            _pair1(n, path, v, pairing, count, i, n - 1)


@viewing
def finish(lane, A, drive, dt, betas, plastic, lanes, after, pairing_out, change_out):
    """Make a trajectory's last step, as plain scalars, and write down where it ended.

    Returns Σ_j ds_j² and Σ_j ((s_j(T) − s_j(T−1)) / dt)².
    """
    n = len(after)
    before, pairing, change = lanes.path[:, lane], lanes.pairing, lanes.change
    squares, moved = 0.0, 0.0
    for j in range(n):
        ds = drive[j]
        for i in range(n):
            ds = ds + A[i, j] * before[i]
        x = before[j] + dt * ds
        after[j] = 0.0 if x < 0.0 else 1.0 if x > 1.0 else x  # NaN stays NaN
        squares += ds * ds
        moved += ((after[j] - before[j]) / dt) ** 2
    if plastic:
        for j in range(n):
            v = betas[0] * after[j] + betas[1] * (after[j] - before[j])
            change_out[j] = change[j, lane] + v
            for i in range(n):
                pairing_out[i, j] = pairing[i * n + j, lane] + after[i] * v
    return squares, moved
