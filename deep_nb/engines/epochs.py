"""Training in one kernel: what `deep_nb.training` and `deep_nb.rules` do, epoch by epoch.

The functions have the names of those in NumPy that they follow, operation for operation: the
results have the same bits. A network goes on to its next phase or epoch when its own samples are
ready, whatever the others do.
"""

from typing import Any, NamedTuple

import numpy as np

from deep_nb.engines.lanes import BURST, advance, fetch, finish, inner, new_lanes
from deep_nb.engines.vectors import LANES
from deep_nb.engines.wide import relax_samples

STDP, CONTRASTIVE, CENTERED, ASYMEP = range(4)

#: Numbers that NumPy adds without halving, and how often it halves at most.
RUN, DEPTH = 128, 64


class Settings(NamedTuple):
    """What the networks of an ensemble have in common."""

    n_epochs: int
    T: tuple[int, int]
    dt: float
    stop: float  # < 0: none
    beta: float
    betas: tuple[float, float]
    dt_W: float
    reg_W: float
    tol_W: float
    temp: float
    leak: float
    outflow: float
    absolute_outflow: bool
    learned_bias: bool
    one_hot: bool
    sparse: bool
    sign: bool
    activation: int
    rule: int
    scale: float  # of the initial states
    X: Any  # (M, N_X)
    Y: Any  # (M, N_Y)
    labels: Any  # (M, n_labels)
    mask: Any  # (N, N)


class Log(NamedTuple):
    """The variables of a run; those of both phases as pairs."""

    W: Any
    b: Any
    mse: Any
    class_error: Any
    residual: Any
    projected_residual: Any
    steps: Any
    S: Any
    dW_norm: Any
    db_norm: Any
    n_connections: Any
    diverged: Any
    diverged_epoch: Any
    W_epochs: Any  # of no network if not recorded, as the next two
    b_epochs: Any
    S_epochs: Any


class Networks(NamedTuple):
    """The state of each network: its random stream and the phases of its epoch.

    Phase 0 is the free one, 1 the one at +β, 2 the one at −β.
    """

    key: Any  # (K, 624)
    position: Any  # (K,)
    epoch: Any  # (K,)
    decay: Any  # (K, n)
    A: Any  # (K, phases, n, n)
    drive: Any  # (K, phases, M, n)
    start: Any  # (K, M, n)
    S: Any  # (K, phases, M, n)
    squares: Any  # (K, phases, M)
    moved: Any  # (K, phases, M)
    steps: Any  # (K, phases)
    pairing: Any  # (K, M, n, n), of STDP
    change: Any  # (K, M, n), of STDP


class Room(NamedTuple):
    """Room for the end of an epoch of one network."""

    dW: Any
    db: Any
    W: Any
    b: Any
    delta: Any
    ones: Any
    terms: Any
    sums: Any
    residual: Any
    projected_residual: Any


@inner
def new_networks(settings, keys, positions):
    """Return networks before their first epoch, and room for the end of one."""
    K = len(keys)
    M, N_X = settings.X.shape
    N, N_Y = len(settings.mask), settings.Y.shape[1]
    n = N - N_X
    phases = 3 if settings.rule >= CENTERED else 2
    sums = K if settings.rule == STDP else 1
    networks = Networks(
        keys, positions, np.zeros(K, np.int64), np.empty((K, n)), np.empty((K, phases, n, n)),
        np.empty((K, phases, M, n)), np.empty((K, M, n)), np.empty((K, phases, M, n)),
        np.zeros((K, phases, M)), np.zeros((K, phases, M)), np.zeros((K, phases), np.int64),
        np.empty((sums, M, n, n)), np.empty((sums, M, n)),
    )  # fmt: skip
    room = Room(
        np.zeros((N, N)), np.zeros(N), np.empty((N, N)), np.empty(N), np.empty((M, n)),
        np.ones((M, n)), np.empty(max(N * N, M * N_Y)), np.empty(N), np.empty(2), np.empty(2),
    )  # fmt: skip
    return networks, room


@inner
def _word(key, position, k):
    """Return the next 32 bits of network k's Mersenne Twister."""
    if position[k] == 624:
        state = key[k]
        for i in range(624):
            upper, lower = np.int64(state[i]), np.int64(state[(i + 1) % 624])
            y = (upper & 0x80000000) | (lower & 0x7FFFFFFF)
            twisted = np.int64(state[(i + 397) % 624]) ^ (y >> 1)
            state[i] = twisted ^ 0x9908B0DF if y & 1 else twisted
        position[k] = 0
    y = np.int64(key[k, position[k]])
    position[k] += 1
    y ^= y >> 11
    y ^= (y << 7) & 0x9D2C5680
    y ^= (y << 15) & 0xEFC60000
    return y ^ (y >> 18)


@inner
def _random(key, position, k):
    """Return what network k's RandomState.random_sample() would."""
    upper, lower = _word(key, position, k) >> 5, _word(key, position, k) >> 6
    return (upper * 67108864.0 + lower) / 9007199254740992.0


@inner
def _sum(terms, count):
    """Return the sum of the first terms as NumPy adds contiguous numbers: halves of halves.

    Numba cannot keep machine code of functions that call themselves, hence the two stacks: parts
    that are still to be added, and sums that wait for the other half, by their depth.
    """
    if count <= RUN:
        return 0.0 + _run_sum(terms, 0, count)
    parts, sums = np.empty((DEPTH, 3), np.int64), np.empty(DEPTH)
    depths = np.empty(DEPTH, np.int64)
    parts[0, 0], parts[0, 1], parts[0, 2] = 0, count, 0
    n_parts, n_sums = 1, 0
    while n_parts > 0:
        n_parts -= 1
        first, count, depth = parts[n_parts]
        if count > RUN:
            half = count // 2 - count // 2 % 8
            for part, size in ((first + half, count - half), (first, half)):
                parts[n_parts, 0], parts[n_parts, 1], parts[n_parts, 2] = part, size, depth + 1
                n_parts += 1
            continue
        total = _run_sum(terms, first, count)
        while n_sums > 0 and depths[n_sums - 1] == depth:
            n_sums -= 1
            total, depth = sums[n_sums] + total, depth - 1
        sums[n_sums], depths[n_sums] = total, depth
        n_sums += 1
    return 0.0 + sums[0]


@inner
def _run_sum(terms, first, count):
    if count < 8:
        total = 0.0
        for i in range(first, first + count):
            total += terms[i]
        return total
    r0, r1, r2, r3, r4, r5, r6, r7 = (
        terms[first], terms[first + 1], terms[first + 2], terms[first + 3], terms[first + 4],
        terms[first + 5], terms[first + 6], terms[first + 7],
    )  # fmt: skip
    whole = first + count - count % 8
    for i in range(first + 8, whole, 8):
        r0, r1, r2, r3 = r0 + terms[i], r1 + terms[i + 1], r2 + terms[i + 2], r3 + terms[i + 3]
        r4, r5, r6, r7 = r4 + terms[i + 4], r5 + terms[i + 5], r6 + terms[i + 6], r7 + terms[i + 7]
    total = ((r0 + r1) + (r2 + r3)) + ((r4 + r5) + (r6 + r7))
    for i in range(whole, first + count):
        total += terms[i]
    return total


@inner
def _over_samples(first, second, j, terms):
    """Return Σ_m of the product of two columns, as NumPy sums over an axis."""
    M, n = second.shape
    for m in range(M):
        terms[m] = first[m, j] * second[m, j]
    if n == 1:
        return _sum(terms, M)
    total = 0.0
    for m in range(M):
        total += terms[m]
    return total


@inner
def _sign(x):
    return 1.0 if x > 0.0 else -1.0 if x < 0.0 else 0.0 if x == 0.0 else x


@inner
def begin_epoch(c, W, b, settings, networks, room):
    """Draw the initial states, and build the field of the free phase."""
    X = settings.X
    M, N_X = X.shape
    N = len(b)
    n = N - N_X
    A, drive = networks.A[c, 0], networks.drive[c, 0]
    for m in range(M):
        for j in range(n):
            draw = _random(networks.key, networks.position, c)
            networks.start[c, m, j] = settings.scale * draw
    for j in range(n):
        for i in range(N):
            weight = W[N_X + j, i]
            room.terms[i] = abs(weight) if settings.absolute_outflow else weight
        networks.decay[c, j] = settings.leak + settings.outflow * _sum(room.terms, N)
        A[j] = W[N_X + j, N_X:]
        A[j, j] -= networks.decay[c, j]
    for m in range(M):
        for j in range(n):
            product = X[m, 0] * W[0, N_X + j]
            for i in range(1, N_X):
                product += X[m, i] * W[i, N_X + j]
            drive[m, j] = b[N_X + j] + product


@inner
def nudge(c, W, settings, networks):
    """Build the fields of the nudged phases from the states of the free one."""
    X, Y = settings.X, settings.Y
    M, N_X = X.shape
    n, N_Y = len(W) - N_X, Y.shape[1]
    S = networks.S[c, 0]
    W = W[N_X:, N_X:]
    if settings.rule == ASYMEP:
        W = W.T
    for phase in range(1, networks.A.shape[1]):
        A, drive = networks.A[c, phase], networks.drive[c, phase]
        beta = settings.beta if phase == 1 else -settings.beta
        drive[:] = networks.drive[c, 0]
        for j in range(n):
            for i in range(n):
                A[i, j] = W[i, j]
            decay = networks.decay[c, j]
            A[j, j] -= decay if j < n - N_Y else decay + beta
        for m in range(M):
            for j in range(n if settings.rule == ASYMEP else 0):
                product = S[m, 0] * (W[j, 0] - W[0, j])
                for i in range(1, n):
                    product += S[m, i] * (W[j, i] - W[i, j])
                drive[m, j] += product
            for j in range(N_Y):
                drive[m, n - N_Y + j] += beta * Y[m, j]


@inner
def stdp(c, settings, networks, room):
    """Write ΔW and Δb of STDP."""
    X, pairing, change = settings.X, networks.pairing[c], networks.change[c]
    M, N_X = X.shape
    n, scale = change.shape[1], M * settings.T[1]
    _hebbian(X, change, room.dW[:N_X, N_X:])
    for j in range(n):
        for i in range(n):
            total = pairing[0, i, j]
            for m in range(1, M):
                total += pairing[m, i, j]
            room.dW[N_X + i, N_X + j] = total / scale
        for i in range(N_X):
            room.dW[i, N_X + j] /= scale
        room.db[N_X + j] = _over_samples(room.ones, change, j, room.terms) / scale


@inner
def _hebbian(S, delta, dW):
    """Write Σ_m s_i δ_j."""
    for i in range(S.shape[1]):
        for j in range(delta.shape[1]):
            total = S[0, i] * delta[0, j]
            for m in range(1, len(S)):
                total += S[m, i] * delta[m, j]
            dW[i, j] = total


@inner
def contrast(c, W, settings, networks, room):
    """Write ΔW and Δb of the rules that compare rest points."""
    X, S, delta = settings.X, networks.S[c], room.delta
    M, n = delta.shape
    N_X, beta = X.shape[1], settings.beta
    for m in range(M):
        for j in range(n):
            if settings.rule == CONTRASTIVE:
                delta[m, j] = (S[1, m, j] - S[0, m, j]) / (beta * M)
            else:
                delta[m, j] = (S[1, m, j] - S[2, m, j]) / (2 * beta) / M
    _hebbian(X, delta, room.dW[:N_X, N_X:])
    _hebbian(S[0], delta, room.dW[N_X:, N_X:])
    for j in range(n):
        room.db[N_X + j] = _over_samples(room.ones, delta, j, room.terms)
        if settings.rule != CONTRASTIVE:
            own = settings.outflow * _over_samples(S[0], delta, j, room.terms)
            for i in range(N_X, N_X + n):
                sign = _sign(W[N_X + j, i]) if settings.absolute_outflow else 1.0
                room.dW[N_X + j, i] -= own * sign


@inner
def learn(c, W, b, settings, networks, room):
    """Write ΔW and Δb, and weights and biases after the change."""
    if settings.rule == STDP:
        stdp(c, settings, networks, room)
    else:
        contrast(c, W, settings, networks, room)
    for i in range(len(b)):
        for j in range(len(b)):
            dW = room.dW[i, j] if settings.mask[i, j] else 0.0
            dW = _sign(dW) if settings.sign else dW
            room.dW[i, j] = dW
            room.W[i, j] = W[i, j] + settings.dt_W * dW - settings.reg_W * _sign(W[i, j])
        db = room.db[i] if settings.learned_bias else 0.0
        room.db[i] = _sign(db) if settings.sign else db
        room.b[i] = b[i] + settings.dt_W * room.db[i]


@inner
def prune(c, settings, networks, room):
    """Set weak synapses to 0 at random."""
    N = len(room.b)
    for j in range(N):
        room.sums[j] = 0.0
    for i in range(N):
        for j in range(N):
            room.terms[i * N + j] = np.exp(abs(room.W[i, j]) / -settings.temp)
            room.sums[j] += room.terms[i * N + j]
    for i in range(N):
        for j in range(N):
            draw = _random(networks.key, networks.position, c)
            weak = abs(room.W[i, j]) <= settings.tol_W
            if draw < (room.terms[i * N + j] / room.sums[j] if weak else 0.0):
                room.W[i, j] = 0.0


@inner
def _finite(numbers):
    for x in numbers.flat:
        if not np.isfinite(x):
            return False
    return True


@inner
def end_epoch(c, k, settings, networks, room, log):
    """Learn, and write the epoch down; return whether the network has another one before it."""
    epoch, M = networks.epoch[c], len(settings.X)
    W, b = log.W[k], log.b[k]
    learn(c, W, b, settings, networks, room)
    finite = _finite(room.W) and _finite(room.b)
    for phase in range(2):
        squares, moved = networks.squares[c, phase, 0], networks.moved[c, phase, 0]
        for m in range(1, M):
            squares += networks.squares[c, phase, m]
            moved += networks.moved[c, phase, m]
        room.residual[phase], room.projected_residual[phase] = squares / M, moved / M
        finite = finite and np.isfinite(squares / M) and _finite(networks.S[c, phase])
    if not finite:
        log.diverged[k], log.diverged_epoch[k] = True, epoch
        return False
    if settings.sparse:
        prune(c, settings, networks, room)
    W[:], b[:] = room.W, room.b
    for phase in range(2):
        _write_phase(c, k, phase, settings, networks, room, log)
    N = len(b)
    log.n_connections[k, epoch] = np.count_nonzero(W)
    for i in range(N):
        for j in range(N):
            room.terms[i * N + j] = abs(room.dW[i, j])
    log.dW_norm[k, epoch] = _sum(room.terms, N * N)
    for i in range(N):
        room.terms[i] = abs(room.db[i])
    log.db_norm[k, epoch] = _sum(room.terms, N)
    if len(log.W_epochs):
        log.W_epochs[k, epoch + 1], log.b_epochs[k, epoch + 1] = W, b
    networks.epoch[c] += 1
    return networks.epoch[c] < settings.n_epochs


@inner
def _write_phase(c, k, phase, settings, networks, room, log):
    """Write down how a phase ended: 0 the free, 1 the nudged one."""
    epoch, S, Y = networks.epoch[c], networks.S[c, phase], settings.Y
    M, N_Y = Y.shape
    N_X, first, wrong = settings.X.shape[1], S.shape[1] - N_Y, 0
    log.S[phase][k, :, :N_X], log.S[phase][k, :, N_X:] = settings.X, S
    for m in range(M):
        differs = settings.one_hot and S[m, first:].argmax() != settings.labels[m, 0]
        for j in range(N_Y):
            output = S[m, first + j]
            room.terms[m * N_Y + j] = (output - Y[m, j]) ** 2
            if not settings.one_hot:
                differs |= (output >= 0.5) != settings.labels[m, j]
        wrong += differs
    log.mse[phase][k, epoch] = _sum(room.terms, M * N_Y) / 2 / M
    log.class_error[phase][k, epoch] = wrong / M
    log.residual[phase][k, epoch] = room.residual[phase]
    log.projected_residual[phase][k, epoch] = room.projected_residual[phase]
    log.steps[phase][k, epoch] = networks.steps[c, phase]


@inner
def train_in_lanes(settings, log, networks, room, first, halt, done):
    """Train networks of few neurons with the hard sigmoid, whose phases never end early.

    Trajectories wait in two queues, those of STDP's phase in the second. A free lane takes the
    next one; the lanes of the fuller queue move.
    """
    K, M = len(networks.epoch), len(settings.X)
    n, phases = networks.decay.shape[1], networks.A.shape[1]
    waiting = np.empty((2, K * M * (phases - 1)), np.int64)
    head, tail = np.zeros(2, np.int64), np.zeros(2, np.int64)
    left = np.zeros(K, np.int64)  # trajectories of the network's phases that are not done
    lanes = (new_lanes(n), new_lanes(n))
    who, age = np.full((2, LANES), -1), np.zeros((2, LANES), np.int64)
    busy = np.zeros(2, np.int64)
    for phase in range(2):
        networks.steps[:, phase] = settings.T[phase]
    for c in range(K):
        begin_epoch(c, log.W[first + c], log.b[first + c], settings, networks, room)
        left[c] = _wait(c, 0, M, waiting[0], tail, 0)
    while not halt[0]:
        for q in range(2):
            if busy[q] == LANES or head[q] == tail[q]:
                continue
            for lane in range(LANES):
                if who[q, lane] < 0 and head[q] < tail[q]:
                    next_one = waiting[q, head[q] % waiting.shape[1]]
                    c, phase, m = _which(next_one, M)
                    s = networks.S[c, 0, m] if phase else networks.start[c, m]
                    fetch(lane, networks.A[c, phase], networks.drive[c, phase, m], s, lanes[q])
                    who[q, lane], age[q, lane] = next_one, 0
                    head[q] += 1
                    busy[q] += 1
        q = 1 if busy[1] > busy[0] else 0
        if busy[q] == 0:
            return
        plastic = q == 1
        rests = not plastic or settings.betas[0] == 0.0
        count = BURST
        for lane in range(LANES):
            if who[q, lane] >= 0:
                T = settings.T[min(who[q, lane] // M % 3, 1)]
                count = min(count, T - 1 - age[q, lane])
        moving = -1
        if count > 0:
            if plastic:
                moving = advance(n, count, settings.dt, settings.betas, True, lanes[1])
            else:
                moving = advance(n, count, settings.dt, settings.betas, False, lanes[0])
        for lane in range(LANES):
            if who[q, lane] < 0:
                continue
            age[q, lane] += count
            c, phase, m = _which(who[q, lane], M)
            T = settings.T[min(phase, 1)]
            if age[q, lane] < T - 1 and ((moving >> lane) & 1 or not rests):
                continue
            p = c if plastic else 0
            networks.squares[c, phase, m], networks.moved[c, phase, m] = finish(
                lane, networks.A[c, phase], networks.drive[c, phase, m], settings.dt,
                settings.betas, plastic, lanes[q], networks.S[c, phase, m],
                networks.pairing[p, m], networks.change[p, m],
            )  # fmt: skip
            who[q, lane] = -1
            busy[q] -= 1
            left[c] -= 1
            if left[c] > 0:
                continue
            k = first + c
            if phase == 0:
                nudge(c, log.W[k], settings, networks)
                into = 1 if settings.rule == STDP else 0
                for phase in range(1, phases):
                    left[c] += _wait(c, phase, M, waiting[into], tail, into)
            elif end_epoch(c, k, settings, networks, room, log):
                done[first + c] += 1
                begin_epoch(c, log.W[k], log.b[k], settings, networks, room)
                left[c] = _wait(c, 0, M, waiting[0], tail, 0)


@inner
def _wait(c, phase, M, waiting, tail, q):
    """Queue the trajectories of a network's phase; return their number."""
    for m in range(M):
        waiting[tail[q] % len(waiting)] = (c * 3 + phase) * M + m
        tail[q] += 1
    return M


@inner
def _which(trajectory, M):
    """Return the network, the phase and the sample of a trajectory in a queue."""
    return trajectory // M // 3, trajectory // M % 3, trajectory % M


@inner
def train_one_by_one(settings, log, networks, room, first, halt, done):
    """Train networks of any kind, one after the other."""
    stop, records = settings.stop, len(log.S_epochs) > 0
    M, N_X = settings.X.shape
    n, T = networks.decay.shape[1], settings.T
    for c in range(len(networks.epoch)):
        k, another = first + c, True
        while another and not halt[0]:
            begin_epoch(c, log.W[k], log.b[k], settings, networks, room)
            epoch = networks.epoch[c]
            path = np.full((T[0] + T[1] + 1 if records else 0, M, n), np.nan)
            for phase in range(networks.A.shape[1]):
                if phase == 1:
                    nudge(c, log.W[k], settings, networks)
                plastic = phase == 1 and settings.rule == STDP
                p, S = c if plastic else 0, networks.S[c]
                out = (
                    S[phase], networks.squares[c, phase], networks.moved[c, phase],
                    networks.pairing[p], networks.change[p],
                )  # fmt: skip
                networks.steps[c, phase] = relax_samples(
                    networks.A[c, phase], networks.drive[c, phase],
                    S[0] if phase else networks.start[c], halt, T[min(phase, 1)], settings.dt,
                    settings.activation, stop, settings.betas, plastic,
                    path[: T[0] + 1] if phase == 0 else path[T[0] :] if phase == 1 else path[:0],
                    out,
                )  # fmt: skip
                if phase == 0 and records:
                    last = path[T[0]].copy()
            another = end_epoch(c, k, settings, networks, room, log)
            done[first + c] += 1
            if records and not log.diverged[k]:
                path[T[0]] = last
                for t in range(len(path)):
                    for m in range(M):
                        log.S_epochs[k, epoch, t, m, N_X:] = path[t, m]
                        if np.isfinite(path[t, m]).all():
                            log.S_epochs[k, epoch, t, m, :N_X] = settings.X[m]
