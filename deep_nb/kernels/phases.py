"""The kernels that relax an ensemble through one phase."""

import numpy as np

from deep_nb.kernels.cache import kernel
from deep_nb.kernels.lanes import BURST, advance, fetch, finish, new_lanes
from deep_nb.kernels.references import alive, reference
from deep_nb.kernels.vectors import LANES
from deep_nb.kernels.wide import relax_samples


@kernel
def relax_lanes(A, drive, S, first, last, halt, T, dt, betas, plastic, out):
    """Relax trajectories first … last − 1 with the hard sigmoid.

    Returns the multiply–adds made; ends early, its results of no use, once ``halt[0]`` is set.
    """
    S_out, squares, moved, pairing, change = out
    M, n = S.shape[1], S.shape[2]
    lanes = new_lanes(n)
    room = reference(lanes)
    rests = not plastic or betas[0] == 0.0
    who, age = np.full(LANES, -1), np.zeros(LANES, np.int64)
    upcoming, busy, operations = first, 0, 0
    for lane in range(LANES):
        if upcoming < last:
            k, m = upcoming // M, upcoming % M
            fetch(lane, A[k], drive[k, m], S[k, m], room)
            who[lane] = upcoming
            upcoming += 1
            busy += 1
    while busy > 0 and not halt[0]:
        count = BURST
        for lane in range(LANES):
            if who[lane] >= 0:
                count = min(count, T - 1 - age[lane])
        moving = -1
        if count > 0:
            moving = advance(n, count, dt, betas, plastic, room)
            operations += count * busy * n * n * (1 + plastic)
        for lane in range(LANES):
            q = who[lane]
            if q < 0:
                continue
            age[lane] += count
            if age[lane] == T - 1 or (rests and not (moving >> lane) & 1):
                k, m, p = q // M, q % M, q if plastic else 0
                squares[q], moved[q] = finish(
                    lane, A[k], drive[k, m], dt, betas, plastic, room, S_out[k, m], pairing[p],
                    change[p],
                )  # fmt: skip
                if upcoming < last:
                    k, m = upcoming // M, upcoming % M
                    fetch(lane, A[k], drive[k, m], S[k, m], room)
                    who[lane], age[lane] = upcoming, 0
                    upcoming += 1
                else:
                    who[lane] = -1
                    busy -= 1
    return operations + alive(lanes)


@kernel
def relax_wide(
    A, drive, S, first, last, halt, T, dt, size, activation, stop, betas, plastic, steps, states,
    out,
):  # fmt: skip
    """Relax parts first … last − 1, of `size` samples each, of networks of any size.

    Serves what lanes do not: many neurons, early stop (`stop` ≥ 0, else −1), other activations, and
    trajectories (`states` of T + 1 steps, else of none). Sums run in the same order.
    """
    S_out, squares, moved, pairing, change = out
    M = S.shape[1]
    parts = -(-M // size)
    for part in range(first, last):
        k, m = part // parts, part % parts * size
        q, p = k * M + m, k * M + m if plastic else 0
        of_part = (
            S_out[k, m : m + size], squares[q : q + size], moved[q : q + size],
            pairing[p : p + size], change[p : p + size],
        )  # fmt: skip
        kept = states[k, :, m : m + size]
        steps[k] = relax_samples(
            A[k], drive[k, m : m + size], S[k, m : m + size], halt, T, dt, activation, stop, betas,
            plastic, kept, of_part,
        )  # fmt: skip
        if halt[0]:
            return
