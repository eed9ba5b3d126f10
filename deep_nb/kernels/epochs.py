"""Training in one kernel: what `deep_nb.training` and `deep_nb.rules` do, epoch by epoch.

The functions have the names of those in NumPy that they follow, operation for operation: the
results have the same bits. A network goes on to its next phase or epoch when its own samples are
ready, whatever the others do.
"""

from typing import Any, NamedTuple

import numpy as np

from deep_nb.kernels.cache import kernel
from deep_nb.kernels.lanes import BURST, advance, fetch, finish, inner, new_lanes, viewing
from deep_nb.kernels.references import alive, reference
from deep_nb.kernels.vectors import LANES
from deep_nb.kernels.wide import relax_samples

#: The rules; those from CENTERED on have a phase at −β.
STDP, CONTRASTIVE, ONESIDED, CENTERED, ASYMEP = range(5)

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

    @classmethod
    def of(cls, variables: dict[str, Any]) -> "Log":
        """Return the log that writes into these arrays."""
        absent = {"W_epochs": 4, "b_epochs": 3, "S_epochs": 5}
        found = {name: np.empty((0,) * ndim) for name, ndim in absent.items()} | variables
        for name in ("mse", "class_error", "residual", "projected_residual", "steps", "S"):
            found[name] = found[f"{name}_free"], found[f"{name}_nudged"]
        return cls(**{name: found[name] for name in cls._fields})


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
    draws: Any
    sums: Any
    residual: Any
    projected_residual: Any
    parts: Any  # what `_sum` needs
    halves: Any
    depths: Any


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
        np.ones((M, n)), np.empty(max(N * N, M * N_Y)),
        np.empty(max(N * N, M * n)), np.empty(N), np.empty(2), np.empty(2),
        np.empty((DEPTH, 3), np.int64), np.empty(DEPTH), np.empty(DEPTH, np.int64),
    )  # fmt: skip
    return networks, room


@viewing
def _random(count, c, networks, out):
    """Write what network c's RandomState.random_sample(count) returns."""
    key, i = networks.key[c], networks.position[c]
    for k in range(count):
        if i == len(key):
            i = _twist(key)
        upper = _temper(np.int64(key[i])) >> 5
        if i + 1 == len(key):
            i = _twist(key) - 1
        lower = _temper(np.int64(key[i + 1])) >> 6
        i += 2
        out[k] = (upper * 67108864.0 + lower) / 9007199254740992.0
    networks.position[c] = i


@viewing
def _twist(key):
    """Make the next 624 words of the Mersenne Twister; return 0, the position of the first."""
    for i in range(len(key)):
        following, other = i + 1, i + 397
        following -= len(key) if following >= len(key) else 0
        other -= len(key) if other >= len(key) else 0
        y = (np.int64(key[i]) & 0x80000000) | (np.int64(key[following]) & 0x7FFFFFFF)
        key[i] = np.int64(key[other]) ^ (y >> 1) ^ (0x9908B0DF * (y & 1))
    return 0


@viewing
def _temper(y):
    y ^= y >> 11
    y ^= (y << 7) & 0x9D2C5680
    y ^= (y << 15) & 0xEFC60000
    return y ^ (y >> 18)


@viewing
def _sum(room, count):
    """Return the sum of the first terms as NumPy adds contiguous numbers: halves of halves.

    Numba cannot keep machine code of functions that call themselves, hence the two stacks: parts
    that are still to be added, and sums that wait for the other half, by their depth.
    """
    terms = room.terms
    if count <= RUN:
        return 0.0 + _run_sum(terms, 0, count)
    parts, sums, depths = room.parts, room.halves, room.depths
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


@viewing
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


@viewing
def _over_samples(first, second, j, room):
    """Return Σ_m of the product of two columns, as NumPy sums over an axis."""
    M, n = second.shape
    terms = room.terms
    for m in range(M):
        terms[m] = first[m, j] * second[m, j]
    if n == 1:
        return _sum(room, M)
    total = 0.0
    for m in range(M):
        total += terms[m]
    return total


@viewing
def _sign(x):
    return 1.0 if x > 0.0 else -1.0 if x < 0.0 else 0.0 if x == 0.0 else x


@viewing
def begin_epoch(c, W, b, settings, networks, room):
    """Draw the initial states, and build the field of the free phase."""
    X = settings.X
    M, N_X = X.shape
    N = len(b)
    n = N - N_X
    A, drive = networks.A[c, 0], networks.drive[c, 0]
    _random(M * n, c, networks, room.draws)
    for m in range(M):
        for j in range(n):
            networks.start[c, m, j] = settings.scale * room.draws[m * n + j]
    for j in range(n):
        for i in range(N):
            weight = W[N_X + j, i]
            room.terms[i] = abs(weight) if settings.absolute_outflow else weight
        networks.decay[c, j] = settings.leak + settings.outflow * _sum(room, N)
        for i in range(n):
            A[j, i] = W[N_X + j, N_X + i]
        A[j, j] -= networks.decay[c, j]
    for m in range(M):
        for j in range(n):
            product = X[m, 0] * W[0, N_X + j]
            for i in range(1, N_X):
                product += X[m, i] * W[i, N_X + j]
            drive[m, j] = b[N_X + j] + product


@viewing
def nudge(c, W, settings, networks):
    """Build the fields of the nudged phases from the states of the free one."""
    X, Y = settings.X, settings.Y
    M, N_X = X.shape
    n, N_Y = len(W) - N_X, Y.shape[1]
    S = networks.S[c, 0]
    W = W[N_X:, N_X:]
    transposed = settings.rule == ONESIDED or settings.rule == ASYMEP
    if transposed:
        W = W.T
    for phase in range(1, networks.A.shape[1]):
        A, drive = networks.A[c, phase], networks.drive[c, phase]
        beta = settings.beta if phase == 1 else -settings.beta
        for m in range(M):
            for j in range(n):
                drive[m, j] = networks.drive[c, 0, m, j]
        for j in range(n):
            for i in range(n):
                A[i, j] = W[i, j]
            decay = networks.decay[c, j]
            A[j, j] -= decay if j < n - N_Y else decay + beta
        for m in range(M):
            for j in range(n if transposed else 0):
                product = S[m, 0] * (W[j, 0] - W[0, j])
                for i in range(1, n):
                    product += S[m, i] * (W[j, i] - W[i, j])
                drive[m, j] += product
            for j in range(N_Y):
                drive[m, n - N_Y + j] += beta * Y[m, j]


@viewing
def stdp(c, settings, networks, room):
    """Write ΔW and Δb of STDP."""
    X, pairing, change = settings.X, networks.pairing[c], networks.change[c]
    M, N_X = X.shape
    n, scale = change.shape[1], M * settings.T[1]
    _hebbian(X, change, room.dW[:N_X, N_X:])
    for i in range(n):
        for j in range(n):
            total = pairing[0, i, j]
            for m in range(1, M):
                total += pairing[m, i, j]
            room.dW[N_X + i, N_X + j] = total / scale
    for j in range(n):
        for i in range(N_X):
            room.dW[i, N_X + j] /= scale
        room.db[N_X + j] = _over_samples(room.ones, change, j, room) / scale


@viewing
def _hebbian(S, delta, dW):
    """Write Σ_m s_i δ_j."""
    for i in range(S.shape[1]):
        for j in range(delta.shape[1]):
            total = S[0, i] * delta[0, j]
            for m in range(1, len(S)):
                total += S[m, i] * delta[m, j]
            dW[i, j] = total


@viewing
def contrast(c, W, settings, networks, room):
    """Write ΔW and Δb of the rules that compare rest points."""
    X, S, delta = settings.X, networks.S[c], room.delta
    M, n = delta.shape
    N_X, beta = X.shape[1], settings.beta
    for m in range(M):
        for j in range(n):
            if settings.rule == CONTRASTIVE:
                delta[m, j] = (S[1, m, j] - S[0, m, j]) / (beta * M)
            elif settings.rule == ONESIDED:
                delta[m, j] = (S[1, m, j] - S[0, m, j]) / beta / M
            else:
                delta[m, j] = (S[1, m, j] - S[2, m, j]) / (2 * beta) / M
    _hebbian(X, delta, room.dW[:N_X, N_X:])
    _hebbian(S[0], delta, room.dW[N_X:, N_X:])
    for j in range(n):
        room.db[N_X + j] = _over_samples(room.ones, delta, j, room)
        if settings.rule != CONTRASTIVE:
            own = settings.outflow * _over_samples(S[0], delta, j, room)
            for i in range(N_X, N_X + n):
                sign = _sign(W[N_X + j, i]) if settings.absolute_outflow else 1.0
                room.dW[N_X + j, i] -= own * sign


@viewing
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


@viewing
def prune(c, settings, networks, room):
    """Set weak synapses to 0 at random."""
    N = len(room.b)
    for j in range(N):
        room.sums[j] = 0.0
    for i in range(N):
        for j in range(N):
            room.terms[i * N + j] = np.exp(abs(room.W[i, j]) / -settings.temp)
            room.sums[j] += room.terms[i * N + j]
    _random(N * N, c, networks, room.draws)
    for i in range(N):
        for j in range(N):
            weak = abs(room.W[i, j]) <= settings.tol_W
            if room.draws[i * N + j] < (room.terms[i * N + j] / room.sums[j] if weak else 0.0):
                room.W[i, j] = 0.0


@viewing
def _finite(numbers):
    zero = 0.0
    for x in numbers.flat:
        zero += x * 0.0
    return zero == 0.0


@viewing
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
    N, connections = len(b), 0
    for i in range(N):
        b[i] = room.b[i]
        for j in range(N):
            W[i, j] = room.W[i, j]
            connections += W[i, j] != 0.0
            room.terms[i * N + j] = abs(room.dW[i, j])
    log.n_connections[k, epoch] = connections
    log.dW_norm[k, epoch] = _sum(room, N * N)
    for i in range(N):
        room.terms[i] = abs(room.db[i])
    log.db_norm[k, epoch] = _sum(room, N)
    for phase in range(2):
        _write_phase(c, k, phase, settings, networks, room, log)
    for i in range(N if len(log.W_epochs) else 0):
        log.b_epochs[k, epoch + 1, i] = b[i]
        for j in range(N):
            log.W_epochs[k, epoch + 1, i, j] = W[i, j]
    networks.epoch[c] += 1
    return networks.epoch[c] < settings.n_epochs


@viewing
def _write_phase(c, k, phase, settings, networks, room, log):
    """Write down how a phase ended: 0 the free, 1 the nudged one."""
    epoch, S, Y = networks.epoch[c], networks.S[c, phase], settings.Y
    M, N_Y = Y.shape
    N_X, first, wrong = settings.X.shape[1], S.shape[1] - N_Y, 0
    last = log.S[phase][k]
    for m in range(M):
        for i in range(N_X):
            last[m, i] = settings.X[m, i]
        for j in range(S.shape[1]):
            last[m, N_X + j] = S[m, j]
        differs = settings.one_hot and S[m, first:].argmax() != settings.labels[m, 0]
        for j in range(N_Y):
            output = S[m, first + j]
            room.terms[m * N_Y + j] = (output - Y[m, j]) ** 2
            if not settings.one_hot:
                differs |= (output >= 0.5) != settings.labels[m, j]
        wrong += differs
    log.mse[phase][k, epoch] = _sum(room, M * N_Y) / 2 / M
    log.class_error[phase][k, epoch] = wrong / M
    log.residual[phase][k, epoch] = room.residual[phase]
    log.projected_residual[phase][k, epoch] = room.projected_residual[phase]
    log.steps[phase][k, epoch] = networks.steps[c, phase]


class Queues(NamedTuple):
    """Trajectories that wait, and those in the lanes: without STDP (0) and with it (1)."""

    waiting: Any  # (2, room for trajectories), a ring
    head: Any  # (2,), number of trajectories taken from the queue
    tail: Any  # (2,), number of those that came into it
    left: Any  # (K,), trajectories of a network's phase that are not done
    busy: Any  # (2,), number of lanes that hold a trajectory
    who: Any  # (2, LANES), trajectory in a lane or −1
    ahead: Any  # (2, LANES), steps before its last; of an empty lane, BURST


@inner
def new_queues(settings, networks):
    """Return queues and lanes that are empty."""
    K, M, phases = len(networks.epoch), len(settings.X), networks.A.shape[1]
    return Queues(
        np.empty((2, K * M * (phases - 1)), np.int64), np.zeros(2, np.int64), np.zeros(2, np.int64),
        np.zeros(K, np.int64), np.zeros(2, np.int64), np.full((2, LANES), -1),
        np.full((2, LANES), BURST),
    )  # fmt: skip


@viewing
def train_in_lanes(settings, log, networks, room, first, halt, done, queues, still, stdp):
    """Train networks of few neurons with the hard sigmoid, whose phases never end early.

    A free lane takes the next trajectory; the lanes of the fuller queue move.
    """
    head, tail, left = queues.head, queues.tail, queues.left
    who, ahead, busy = queues.who, queues.ahead, queues.busy
    M, n, phases = len(settings.X), networks.decay.shape[1], networks.A.shape[1]
    for c in range(len(networks.epoch)):
        networks.steps[c, 0], networks.steps[c, 1] = settings.T
        begin_epoch(c, log.W[first + c], log.b[first + c], settings, networks, room)
        _wait(c, 0, M, queues, 0)
    while not halt[0]:
        for q in range(2):
            if busy[q] < LANES and head[q] < tail[q]:
                _fill(q, M, settings, networks, queues, stdp if q == 1 else still)
        q = 1 if busy[1] > busy[0] else 0
        if busy[q] == 0:
            return
        rests = q == 0 or settings.betas[0] == 0.0
        count = BURST
        for lane in range(LANES):
            count = min(count, ahead[q, lane])
        moving, plastic = -1, q == 1
        lanes = stdp if plastic else still
        if count > 0:
            moving = advance(n, count, settings.dt, settings.betas, plastic, lanes)
        for lane in range(LANES):
            if who[q, lane] < 0:
                continue
            ahead[q, lane] -= count
            if ahead[q, lane] > 0 and ((moving >> lane) & 1 or not rests):
                continue
            c, phase, m = _which(who[q, lane], M)
            A, drive, S = networks.A[c, phase], networks.drive[c, phase, m], networks.S[c, phase, m]
            p = c if plastic else 0
            squares, moved = finish(
                lane, A, drive, settings.dt, settings.betas, plastic, lanes, S,
                networks.pairing[p, m], networks.change[p, m],
            )  # fmt: skip
            busy[q] -= 1
            networks.squares[c, phase, m], networks.moved[c, phase, m] = squares, moved
            who[q, lane], ahead[q, lane] = -1, BURST
            left[c] -= 1
            if left[c] > 0:
                continue
            k = first + c
            if phase == 0:
                nudge(c, log.W[k], settings, networks)
                for nudged in range(1, phases):
                    _wait(c, nudged, M, queues, 1 if settings.rule == STDP else 0)
            elif end_epoch(c, k, settings, networks, room, log):
                done[k] += 1
                begin_epoch(c, log.W[k], log.b[k], settings, networks, room)
                _wait(c, 0, M, queues, 0)


@viewing
def _wait(c, phase, M, queues, q):
    """Queue the trajectories of a network's phase."""
    for m in range(M):
        queues.waiting[q, queues.tail[q] % queues.waiting.shape[1]] = (c * 3 + phase) * M + m
        queues.tail[q] += 1
    queues.left[c] += M


@viewing
def _which(trajectory, M):
    """Return the network, the phase and the sample of a trajectory in a queue."""
    return trajectory // M // 3, trajectory // M % 3, trajectory % M


@viewing
def _fill(q, M, settings, networks, queues, lanes):
    """Put trajectories that wait into empty lanes."""
    waiting, head, tail = queues.waiting, queues.head, queues.tail
    who, ahead = queues.who, queues.ahead
    for lane in range(LANES):
        if who[q, lane] < 0 and head[q] < tail[q]:
            trajectory = waiting[q, head[q] % waiting.shape[1]]
            head[q] += 1
            c, phase, m = _which(trajectory, M)
            s = networks.S[c, 0, m] if phase > 0 else networks.start[c, m]
            fetch(lane, networks.A[c, phase], networks.drive[c, phase, m], s, lanes)
            who[q, lane], ahead[q, lane] = trajectory, settings.T[min(phase, 1)] - 1
            queues.busy[q] += 1


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
            done[k] += 1
            if records and not log.diverged[k]:
                path[T[0]] = last
                for t in range(len(path)):
                    for m in range(M):
                        log.S_epochs[k, epoch, t, m, N_X:] = path[t, m]
                        if np.isfinite(path[t, m]).all():
                            log.S_epochs[k, epoch, t, m, :N_X] = settings.X[m]


@kernel
def train_lanes(settings, log, keys, positions, first, last, halt, done):
    """Train networks first … last − 1; see `train_in_lanes`."""
    networks, room = new_networks(settings, keys[first:last], positions[first:last])
    queues, n = new_queues(settings, networks), networks.decay.shape[1]
    still, stdp = new_lanes(n), new_lanes(n)
    train_in_lanes(
        reference(settings), reference(log), reference(networks), reference(room), first, halt,
        done, reference(queues), reference(still), reference(stdp),
    )  # fmt: skip
    return alive(networks, room, queues, still, stdp)


@kernel
def train_wide(settings, log, keys, positions, first, last, halt, done):
    """Train networks first … last − 1; see `train_one_by_one`."""
    networks, room = new_networks(settings, keys[first:last], positions[first:last])
    train_one_by_one(
        reference(settings), reference(log), reference(networks), reference(room), first, halt, done
    )
    return alive(networks, room)
