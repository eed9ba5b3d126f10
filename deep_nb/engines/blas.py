"""The engine for large networks: one matrix product per step, into preallocated arrays."""

import contextlib
import functools
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
from jaxtyping import Float
from threadpoolctl import ThreadpoolController

from deep_nb.dynamics import ACTIVATIONS, Field, Phase, Relaxation, join


class _OneThread:
    """Limits BLAS to one thread while at least one call needs that, from whichever thread.

    The limit applies to the whole process, except in OpenBLAS built with OpenMP, where each thread
    has its own.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._calls = 0
        self._before: list[int] = []

    @contextlib.contextmanager
    def __call__(self) -> Iterator[None]:
        """Limit BLAS; the last call to end restores what the first one found."""
        libraries = _libraries()
        with self._lock:
            own = [library.num_threads for library in libraries]
            if self._calls == 0:
                self._before = own
            self._calls += 1
            for library in libraries:
                _set_threads(library, 1)
        try:
            yield
        finally:
            with self._lock:
                self._calls -= 1
                for library, mine, first in zip(libraries, own, self._before, strict=True):
                    if library.internal_api == "openblas" and library.threading_layer == "openmp":
                        _set_threads(library, mine)
                    elif self._calls == 0:
                        _set_threads(library, first)


@functools.cache
def _libraries() -> list[Any]:
    import scipy.linalg.cython_blas  # noqa: F401  # its BLAS serves compiled products

    return ThreadpoolController().select(user_api="blas").lib_controllers


def _set_threads(library: Any, number: int) -> None:
    """Set the number of threads; threadpoolctl 3.8 lets only one thread at a time do that."""
    getattr(library, "_real_set_num_threads", library.set_num_threads)(number)


#: Limits BLAS, and LAPACK with it, to one thread: more make small matrices slower, not faster.
one_thread = _OneThread()


@np.errstate(over="ignore", invalid="ignore")
def relax(field: Field, S: Float[np.ndarray, "K M n"], phase: Phase) -> Relaxation:
    r"""Integrate one phase of K networks, one after the other; see `deep_nb.engines.Relax`.

    With :math:`G = 1 + dt (W - \operatorname{diag} \kappa)`, a step is
    :math:`s \leftarrow \rho(s G + dt\, I)`. BLAS runs on one thread: with more, the order of its
    sums depends on their number.
    """
    with one_thread():
        networks = zip(field.W, field.drive, field.decay, S, strict=True)
        return join([_relax_one(*network, phase) for network in networks])


def _relax_one(
    W: Float[np.ndarray, "n n"],
    drive: Float[np.ndarray, "M n"],
    decay: Float[np.ndarray, " n"],
    S: Float[np.ndarray, "M n"],
    phase: Phase,
) -> Relaxation:
    dt, T, stop, stdp = phase.dt, phase.T, phase.stop, phase.stdp
    rho = ACTIVATIONS[phase.activation]
    M, n = S.shape
    G = dt * W
    G[np.arange(n), np.arange(n)] += 1.0 - dt * decay
    push = dt * drive
    S, S_next, v = S.astype(float), np.empty(S.shape), np.empty(S.shape)
    pairing, change = np.zeros((n, n)), np.zeros((M, n))
    product, scratch = np.empty((n, n)), np.empty_like(S)
    states = np.full((T + 1, M, n), np.nan) if phase.trajectory else None
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
            squares = float(((S @ W + drive - S * decay) ** 2).sum())
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
