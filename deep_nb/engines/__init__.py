"""The engines: interchangeable ways to relax an ensemble through one phase.

An engine is one function, `Relax`. Everything random, and every change of a weight, happens
outside of it, in `deep_nb.training`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np

from deep_nb.checks import one_of
from deep_nb.dynamics import ACTIVATIONS, Field, Phase, Relaxation
from deep_nb.engines import blas, reference
from deep_nb.engines.compiled import THREADS, Compiled
from deep_nb.kinds import integer, plain


class Relax(Protocol):
    """Integrate the Euler steps of one phase of K networks.

    An overflow is no warning here: it stands as inf or NaN in what is returned.

    Parameters
    ----------
    field : Field
        The vector field, constant during the phase.
    S : ndarray, shape (K, M, n)
        States at the start.
    phase : Phase
        Step, number of steps, activation, and what to stop at, accumulate and keep.

    Raises
    ------
    ValueError
        If an argument is something else, or their shapes do not fit.
    """

    def __call__(
        self,
        field: Field,
        S: np.ndarray,
        phase: Phase,
    ) -> Relaxation:
        """Relax; see the class."""


#: The engines by their names, each made with a number of threads (None: as many as it likes).
ENGINES: dict[str, Callable[[int | None], Relax]] = {
    "reference": lambda threads: reference.relax,
    "blas": lambda threads: blas.relax,
    "numba": Compiled,
}


#: Up to how many free neurons "auto" takes the compiled engine; see benchmarks/README.md for the
#: measured crossover. Nothing else may decide, or a network would depend on its ensemble.
CROSSOVER = {"hard_sigmoid": 48, "sigmoid": 16, "tanh": 16}


def choose_engine(name: str, n: int, activation: str) -> str:
    """Return the engine's name; for "auto" the fastest for n free neurons.

    Raises
    ------
    ValueError
        If there is no such engine or activation, or no such number of neurons.
    """
    integer(0).check(n, "n")
    one_of(activation, ACTIVATIONS, "activation")
    if one_of(name, ["auto", *ENGINES], "engine") != "auto":
        return name
    return "numba" if n <= CROSSOVER[activation] else "blas"


def get_engine(name: str, n: int, activation: str, threads: int | None = None) -> Relax:
    """Return the engine of that name, or "auto" for n free neurons.

    Raises
    ------
    ValueError
        As `choose_engine`, or if `threads` is neither None nor an integer from 1 to 1024.
    """
    THREADS.check(threads, "threads")
    return ENGINES[choose_engine(name, n, activation)](plain(threads))
