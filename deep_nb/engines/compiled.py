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
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any

import numba
import numpy as np
from jaxtyping import Float

from deep_nb._printing import notice
from deep_nb.dynamics import Field, Phase, Relaxation, join, join_samples
from deep_nb.kernels.epochs import (
    ASYMEP,
    CENTERED,
    CONTRASTIVE,
    ONESIDED,
    STDP,
    Log,
    Settings,
    train_lanes,
    train_wide,
)
from deep_nb.kernels.phases import relax_lanes, relax_wide
from deep_nb.kernels.vectors import LANES
from deep_nb.kernels.wide import HARD_SIGMOID, SAMPLES, SIGMOID, TANH

#: Multiply–adds in one chunk of a thread's work, where several networks or samples make it up.
CHUNK = 500_000_000

#: Multiply–adds that are made sooner than handed to a thread.
LITTLE = 20_000_000

#: Largest number of neurons for which trajectories share a vector.
FEW = 40

#: A limit of Σ ds² that stops no phase.
NEVER = -1.0

#: Samples of a network that a thread relaxes at a time.
MANY = 256

#: Networks that a thread trains at a time.
NETWORKS = 64

#: STDP sums (one a trajectory and pair of neurons) held at a time: 64 MB.
SUMS = 8_000_000

KERNEL_ACTIVATIONS = {"hard_sigmoid": HARD_SIGMOID, "sigmoid": SIGMOID, "tanh": TANH}
KERNEL_RULES = {
    "stdp": STDP,
    "contrastive": CONTRASTIVE,
    "centered": CENTERED,
    "onesided": ONESIDED,
    "asymep": ASYMEP,
}


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
        limit = NEVER if stop is None else float(stop)
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
            np.zeros((K * M if stdp else 1, n, n)),
            np.zeros((K * M if stdp else 1, n)),
        )
        steps = np.full(K, T)
        states = np.full((K, T + 1 if phase.trajectory else 0, M, n), np.nan)
        head, plastic = (A, drive, S), stdp is not None
        cost = T * n * n * (1 + plastic)
        together = stop is not None or phase.trajectory
        if phase.activation == "hard_sigmoid" and n <= FEW and not together:
            self._run(relax_lanes, head, K * M, LANES, cost, (T, dt, betas, plastic, out))
        else:
            parts = 1 if self.threads <= K else self.threads
            size = M if together else min(SAMPLES * -(-M // (SAMPLES * parts)), MANY)
            activation = KERNEL_ACTIVATIONS[phase.activation]
            tail = (T, dt, size, activation, limit, betas, plastic, steps, states, out)
            self._run(relax_wide, head, K * -(-M // size), 1, size * cost, tail)
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

    def train(
        self,
        settings: Settings,
        log: dict[str, np.ndarray],
        keys: np.ndarray,
        positions: np.ndarray,
        progress: Callable[[float], object],
    ) -> None:
        """Train networks, given a run's variables with their initial weights; see `epochs`.

        Row k of `keys` and entry k of `positions` are the state of network k's Mersenne Twister.
        `progress` is called several times a second with the mean number of epochs done.
        """
        K, M, n = len(keys), len(settings.X), len(settings.mask) - settings.X.shape[1]
        together = settings.stop != NEVER or "S_epochs" in log
        few = settings.activation == HARD_SIGMOID and n <= FEW and not together
        kernel = train_lanes if few else train_wide
        chunk = max(1, min(-(-K // self.threads), NETWORKS, SUMS // (M * n * n)))
        done = np.zeros(K, np.int64)
        head = (settings, Log.of(log), keys, positions)
        with self._running(kernel, head, K, chunk, (done,)) as futures:
            while wait(futures, timeout=0.1).not_done:
                progress(done.mean())
        progress(settings.n_epochs)

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
        if kernel.overloads and size * cost < LITTLE:
            kernel(*head, 0, size, np.zeros(1, np.int64), *tail)
            return
        with self._running(kernel, head, size, chunk, tail):
            pass

    @contextlib.contextmanager
    def _running(
        self, kernel: Any, head: tuple[Any, ...], size: int, chunk: int, tail: tuple[Any, ...]
    ) -> Iterator[list[Future[Any]]]:
        """Work on the chunks of the range 0 … size − 1, to the end or until an exception."""
        halt = np.zeros(1, np.int64)
        if not kernel.overloads:
            with _notice_of_compiling(kernel):
                kernel(*head, 0, 0, halt, *tail)
        futures: list[Future[Any]] = []
        try:
            for first in range(0, size, chunk):
                last = min(first + chunk, size)
                futures.append(self._pool.submit(kernel, *(*head, first, last, halt, *tail)))
            yield futures
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
        # It may be loading instead. If its file is damaged, the cache has said so.
        if getattr(kernel._cache, "missing", True):
            notice("compiling the numba engine; the machine code is kept for the next time")

    timer = threading.Timer(2.0, say)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
