"""The engines: interchangeable ways to relax an ensemble through one phase.

An engine is one function, `Relax`. Everything random, and every change of a weight, happens
outside of it, in `deep_nb.training`.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from deep_nb.checks import one_of
from deep_nb.dynamics import Field, Relaxation
from deep_nb.engines import reference


class Relax(Protocol):
    """Integrate T Euler steps of K networks.

    Parameters
    ----------
    field : Field
        The vector field, constant during the phase.
    S : ndarray, shape (K, M, n)
        States at the start.
    dt : float
        Step.
    T : int
        Number of steps.
    activation : str
        A name in `deep_nb.dynamics.ACTIVATIONS`.
    stop : float or None
        A network ends after its first step with Σ ds² ≤ stop over samples and free neurons.
    stdp : tuple of float or None
        (β_0, β_1), to accumulate ``pairing`` and ``change``.
    trajectory : bool
        Whether to keep every state.
    """

    def __call__(
        self,
        field: Field,
        S: np.ndarray,
        *,
        dt: float,
        T: int,
        activation: str,
        stop: float | None = None,
        stdp: tuple[float, float] | None = None,
        trajectory: bool = False,
    ) -> Relaxation:
        """Relax; see the class."""


#: The engines by their names.
ENGINES: dict[str, Relax] = {"reference": reference.relax}


def get_engine(name: str) -> Relax:
    """Return the engine of that name; "auto" takes the fastest that serves.

    Raises
    ------
    ValueError
        If there is no such engine.
    """
    return ENGINES["reference" if one_of(name, ["auto", *ENGINES], "engine") == "auto" else name]
