"""The compiled engine: ensembles of small networks, many trajectories in one vector register.

A trajectory is one sample of one network. `LANES` of them move at a time; one that has come to
rest, or made its last step, hands its lane to the next. A lane's arithmetic does not depend on its
neighbours, so no bit of a result depends on the ensemble, the threads or their order. With the hard
sigmoid, none depends on the machine either; tanh is that of the machine's C library.

A trajectory rests when a step changes no bit of its state: the remaining steps change nothing. If
β_0 = 0, they add nothing to the STDP sums either, and are skipped.
"""

import contextlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numba
import numpy as np
from jaxtyping import Float

from deep_nb._printing import notice
from deep_nb.dynamics import Field, Phase, Relaxation, join, join_samples
from deep_nb.engines.cache import KernelCache
from deep_nb.engines.lanes import LANES, clip, differing, fill, load, repeat, store

#: Steps that lanes make together before STDP sums are updated and rest is looked for.
BURST = 16

#: Multiply–adds in one chunk of a thread's work, where several networks or samples make it up.
CHUNK = 500_000_000

#: STDP sums (one a trajectory and pair of neurons) held at a time: 64 MB.
SUMS = 8_000_000

_HARD_SIGMOID, _SIGMOID, _TANH = range(3)
_ACTIVATIONS = {"hard_sigmoid": _HARD_SIGMOID, "sigmoid": _SIGMOID, "tanh": _TANH}

_OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy"}


# Part of the kernels that call them, and cached with those only: Numba's disk cache confuses
# functions that are generated from the same source line, as in `_block_functions`.
_inner = numba.njit(**_OPTIONS)


def _kernel(function: Callable[..., Any]) -> Any:
    """Compile on first use; keep the machine code on disk where a folder can be written to."""
    kernel = _inner(function)
    with contextlib.suppress(RuntimeError):  # Numba found no folder for its cache
        kernel._cache = KernelCache(function)
    return kernel


def _block_functions(width: int) -> tuple[Any, Any]:
    """Return the two inner loops for `width` neurons at a time: their sums stay in registers."""

    @_inner
    def step(n, A, drive, path, row, j, dt):
        """Make one Euler step of neurons j, j + 1, …, from ``row`` to ``row + n``."""
        speed = load(drive, j, width)
        for i in range(n):
            speed = speed + load(A, i * n + j, width) * repeat(load(path, row + i, 1), width)
        state = load(path, row + j, width) + fill(dt, width) * speed
        store(path, row + n + j, clip(state))

    @_inner
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


@_inner
def _steps(n, A, drive, path, dt, count):
    """Make `count` Euler steps: rows t·n … of the path to rows (t + 1)·n …."""
    for t in range(count):
        for j in range(0, n - 3, 4):
            _step4(n, A, drive, path, t * n, j, dt)
        if n % 4 >= 2:
            _step2(n, A, drive, path, t * n, n // 4 * 4, dt)
        if n % 2:
            _step1(n, A, drive, path, t * n, n - 1, dt)


@_inner
def _plasticity(n, path, v, pairing, change, beta_0, beta_1, count):
    """Add `count` steps to the STDP sums, in their order."""
    for j in range(n):
        total = load(change, j, 1)
        for t in range(count):
            s, before = load(path, (t + 1) * n + j, 1), load(path, t * n + j, 1)
            value = fill(beta_0, 1) * s + fill(beta_1, 1) * (s - before)
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


@_inner
def _fetch(q, lane, M, A, drive, S, work):
    """Put trajectory q into a lane."""
    n = S.shape[2]
    k, m = q // M, q % M
    A_lanes, drive_lanes, path, _, pairing, change = work
    for i in range(n):
        path[i, lane] = S[k, m, i]
        drive_lanes[i, lane] = drive[k, m, i]
        change[i, lane] = 0.0
        for j in range(n):
            A_lanes[i * n + j, lane] = A[k, i, j]
            pairing[i * n + j, lane] = 0.0


@_inner
def _activate(x, activation):
    if activation == _TANH:
        return np.tanh(x)
    if activation == _SIGMOID:
        return 0.5 * (1.0 + np.tanh(0.5 * x))
    if x < 0.0:
        return 0.0
    return 1.0 if x > 1.0 else x  # NaN stays NaN


@_inner
def _speed(n, A, drive, s, j):
    speed = drive[j]
    for i in range(n):
        speed = speed + A[i, j] * s[i]
    return speed


@_inner
def _finish(q, lane, M, A, drive, dt, betas, plastic, work, out):
    """Make a trajectory's last step, as plain scalars, and write down where it ended."""
    S_out, squares, moved, pairing_out, change_out = out
    n = S_out.shape[2]
    k, m = q // M, q % M
    _, _, path, _, pairing, change = work
    before = path[:n, lane].copy()
    after = S_out[k, m]
    squares[q] = 0.0
    moved[q] = 0.0
    for j in range(n):
        ds = _speed(n, A[k], drive[k, m], before, j)
        after[j] = _activate(before[j] + dt * ds, _HARD_SIGMOID)
        squares[q] += ds * ds
        moved[q] += ((after[j] - before[j]) / dt) ** 2
    if plastic:
        for j in range(n):
            v = betas[0] * after[j] + betas[1] * (after[j] - before[j])
            change_out[q, j] = change[j, lane] + v
            for i in range(n):
                pairing_out[q, i, j] = pairing[i * n + j, lane] + after[i] * v


@_kernel
def _relax_lanes(A, drive, S, first, last, halt, T, dt, betas, plastic, out):
    """Relax trajectories first … last − 1 with the hard sigmoid.

    Returns the multiply–adds made; ends early, its results of no use, once ``halt[0]`` is set.
    """
    M, n = S.shape[1], S.shape[2]
    path = np.zeros(((BURST + 1) * n, LANES))
    work = (
        np.zeros((n * n, LANES)), np.zeros((n, LANES)), path, np.zeros((BURST * n, LANES)),
        np.zeros((n * n, LANES)), np.zeros((n, LANES)),
    )  # fmt: skip
    rests = not plastic or betas[0] == 0.0
    who, age = np.full(LANES, -1), np.zeros(LANES, np.int64)
    upcoming, busy, operations = first, 0, 0
    for lane in range(LANES):
        if upcoming < last:
            _fetch(upcoming, lane, M, A, drive, S, work)
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
            _steps(n, work[0], work[1], path, dt, count)
            operations += count * busy * n * n
            if plastic:
                _plasticity(n, path, work[3], work[4], work[5], betas[0], betas[1], count)
                operations += count * busy * n * n
            moving = 0
            for j in range(n):
                s = load(path, count * n + j, 1)
                moving |= differing(s, load(path, (count - 1) * n + j, 1))
                store(path, j, s)
        for lane in range(LANES):
            if who[lane] < 0:
                continue
            age[lane] += count
            if age[lane] == T - 1 or (rests and not (moving >> lane) & 1):
                _finish(who[lane], lane, M, A, drive, dt, betas, plastic, work, out)
                if upcoming < last:
                    _fetch(upcoming, lane, M, A, drive, S, work)
                    who[lane], age[lane] = upcoming, 0
                    upcoming += 1
                else:
                    who[lane] = -1
                    busy -= 1
    return operations


@_kernel
def _relax_networks(
    A, drive, S, first, last, halt, T, dt, activation, stop, betas, plastic, steps, states, out
):
    """Relax networks first … last − 1 one by one, all samples step by step.

    Serves what lanes do not: early stop (`stop` ≥ 0, else −1), other activations, and
    trajectories (`states` of T + 1 steps, else of none). Sums run in the same order.
    """
    S_out, squares = out[0], out[1]
    M, n = S.shape[1], S.shape[2]
    rests = not plastic or betas[0] == 0.0
    ds, resting = np.empty(n), np.empty(M, np.bool_)
    for k in range(first, last):
        S_out[k] = S[k]
        resting[:] = False
        if states.shape[1]:
            states[k, 0] = S[k]
        for t in range(1, T + 1):
            for m in range(M):
                q, s = k * M + m, S_out[k, m]
                if not resting[m]:
                    for j in range(n):
                        ds[j] = _speed(n, A[k], drive[k, m], s, j)
                    resting[m] = _step(s, ds, dt, activation, betas, plastic, q, out) and rests
                if states.shape[1]:
                    states[k, t, m] = s
            steps[k] = t
            total = 0.0
            for m in range(M):
                total += squares[k * M + m]
            if halt[0]:
                return
            if total <= stop or (resting.all() and stop < 0 and not states.shape[1]):
                break
        if stop < 0:
            steps[k] = T


@_inner
def _step(s, ds, dt, activation, betas, plastic, q, out):
    """Make one step of one sample in place; return whether it changed nothing."""
    _, squares, moved, pairing, change = out
    n, unchanged = len(s), True
    squares[q], moved[q] = 0.0, 0.0
    before = s.copy()
    for j in range(n):
        s[j] = _activate(before[j] + dt * ds[j], activation)
        unchanged &= s[j] == before[j]
        squares[q] += ds[j] * ds[j]
        moved[q] += ((s[j] - before[j]) / dt) ** 2
    if plastic:
        for j in range(n):
            v = betas[0] * s[j] + betas[1] * (s[j] - before[j])
            change[q, j] += v
            for i in range(n):
                pairing[q, i, j] += s[i] * v
    return unchanged


def _sum_samples(values: np.ndarray, K: int, M: int) -> np.ndarray:
    """Return the sums over each network's samples, one after the other (no pairwise order)."""
    values = values.reshape(K, M, *values.shape[1:])
    if values.ndim == 2:
        return values.cumsum(axis=1)[:, -1]
    total = values[:, 0].copy()
    for m in range(1, M):
        total += values[:, m]
    return total


class Compiled:
    """The compiled engine, called as `deep_nb.engines.Relax` says.

    By default it uses as many threads as Numba: NUMBA_NUM_THREADS, or one per core.
    """

    def __init__(self, threads: int | None = None) -> None:
        if numba.config.DISABLE_JIT:
            raise ValueError("engine 'numba' cannot run while NUMBA_DISABLE_JIT is set")
        self.threads = threads or numba.config.NUMBA_NUM_THREADS
        self._pool = ThreadPoolExecutor(self.threads, thread_name_prefix="deep_nb")

    @np.errstate(over="ignore", invalid="ignore")
    def __call__(self, field: Field, S: Float[np.ndarray, "K M n"], phase: Phase) -> Relaxation:
        """Relax; see `deep_nb.engines.Relax`."""
        assert field.drive.shape == S.shape  # the kernels do not check bounds
        dt, T, stop, stdp = phase.dt, phase.T, phase.stop, phase.stdp
        limit = -1.0 if stop is None else float(stop)
        K, M, n = S.shape
        if stdp and K * M * n * n > SUMS and (K > 1 or (M > 1 and stop is None)):
            return self._in_halves(field, S, phase)
        A = field.W.astype(float, order="C")
        A[:, np.arange(n), np.arange(n)] -= field.decay
        drive, S = (np.ascontiguousarray(part, dtype=float) for part in (field.drive, S))
        betas = (float(stdp[0]), float(stdp[1])) if stdp else (0.0, 0.0)
        out = (
            np.empty_like(S),
            np.empty(K * M),
            np.empty(K * M),
            np.zeros((K * M if stdp else 0, n, n)),
            np.zeros((K * M if stdp else 0, n)),
        )
        steps = np.full(K, T)
        states = np.full((K, T + 1 if phase.trajectory else 0, M, n), np.nan)
        head, plastic = (A, drive, S), stdp is not None
        cost = T * n * n * (1 + plastic)
        if stop is None and not phase.trajectory and phase.activation == "hard_sigmoid":
            self._run(_relax_lanes, head, K * M, LANES, cost, (T, dt, betas, plastic, out))
        else:
            activation = _ACTIVATIONS[phase.activation]
            tail = (T, dt, activation, limit, betas, plastic, steps, states, out)
            self._run(_relax_networks, head, K, 1, 8 * M * cost, tail)  # 8: scalars
        S_out, squares, moved, pairing, change = out
        return Relaxation(
            S=S_out,
            steps=steps,
            residual=_sum_samples(squares, K, M) / M,
            projected_residual=_sum_samples(moved, K, M) / M,
            pairing=_sum_samples(pairing, K, M) if stdp else None,
            change=change.reshape(K, M, n) if stdp else None,
            trajectory=states if phase.trajectory else None,
        )

    def _in_halves(self, field: Field, S: np.ndarray, phase: Phase) -> Relaxation:
        """Relax half of the networks, then the others; or, of one network, of its samples.

        Whether a network's samples are parted depends on that network alone, and so do its bits.
        """
        K, M, _ = S.shape
        if K > 1:
            halves = (slice(0, K // 2), slice(K // 2, K))
            return join([self(field.of(half), S[half], phase) for half in halves])
        halves = (slice(0, M // 2), slice(M // 2, M))
        first, second = (
            self(Field(field.W, field.drive[:, half], field.decay), S[:, half], phase)
            for half in halves
        )
        return join_samples(first, second)

    def _run(
        self,
        kernel: Any,
        head: tuple[Any, ...],
        size: int,
        least: int,
        cost: int,
        tail: tuple[Any, ...],
    ) -> None:
        """Share the range 0 … size − 1 among the threads, in chunks of bounded cost."""
        chunk = max(least, min(-(-size // self.threads), CHUNK // cost))
        halt = np.zeros(1, np.int64)
        if not kernel.overloads:
            with _notice_of_compiling(kernel):
                kernel(*head, 0, 0, halt, *tail)
        futures = [
            self._pool.submit(kernel, *(*head, first, min(first + chunk, size), halt, *tail))
            for first in range(0, size, chunk)
        ]
        try:
            for future in futures:
                future.result()
        except BaseException:  # Ctrl-C among them: let the threads end at their next burst
            halt[0] = 1
            for future in futures:
                future.cancel()
            raise


@contextlib.contextmanager
def _notice_of_compiling(kernel: Any) -> Iterator[None]:
    """Say on stderr that a kernel is being compiled, if that takes more than two seconds."""

    def say() -> None:
        if not getattr(kernel._cache, "damaged", False):  # then the cache has said it
            notice("compiling the numba engine; the machine code is kept for the next time")

    timer = threading.Timer(2.0, say)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
