"""The engines: interchangeable ways to relax an ensemble through one phase.

An engine is one function, `Relax`. Engines draw no random numbers and change no weights; they
accumulate the sums that the rule STDP needs.
"""

from collections.abc import Callable
from typing import Protocol, cast, runtime_checkable

import numpy as np
from jaxtyping import Float

from deep_nb._validation import integer, one_of
from deep_nb.dynamics import Field, Phase, Relaxation
from deep_nb.engines import blas, reference
from deep_nb.engines.compiled import Compiled
from deep_nb.models import EngineName

#: Maximum number of threads of the compiled engine.
MAX_THREADS = 1024


@runtime_checkable
class Relax(Protocol):
    """Integrate the Euler steps of one phase of K networks.

    The field is constant during the phase; S holds the states at the start.
    Overflow does not warn; the result contains inf or NaN.
    """

    def __call__(self, field: Field, S: Float[np.ndarray, "K M n"], phase: Phase) -> Relaxation:
        """Relax; see the class."""


#: The engines by name, each made with a number of threads (None: one per core).
ENGINES: dict[EngineName, Callable[[int | None], Relax]] = {
    "reference": lambda threads: reference.relax,
    "blas": lambda threads: blas.relax,
    "numba": Compiled,
}

#: Largest number of free neurons for which "auto" takes the compiled engine; benchmarks/README.md
#: has the measured crossover. The choice must depend on these two only: otherwise a network
#: would depend on its ensemble.
CROSSOVER = {"hard_sigmoid": 512, "sigmoid": 16, "tanh": 16}


def choose_engine(name: str, n: int, activation: str) -> EngineName:
    """Return the engine's name; for "auto" the fastest for n free neurons."""
    if one_of(name, ["auto", *ENGINES], "engine") != "auto":
        return cast("EngineName", name)
    return "numba" if n <= CROSSOVER[activation] else "blas"


def get_engine(name: str, n: int, activation: str, threads: int | None = None) -> Relax:
    """Return the engine of that name, or "auto" for n free neurons."""
    if threads is not None:
        threads = integer(threads, "threads", 1, MAX_THREADS)
    return ENGINES[choose_engine(name, n, activation)](threads)
