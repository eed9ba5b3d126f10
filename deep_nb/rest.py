"""Rest points: where a phase ends if it is given the time."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from deep_nb.dynamics import Field, Phase
from deep_nb.engines import get_engine


@dataclass(frozen=True, eq=False)
class RestPoint:
    """Rest points of K networks, as returned by `deep_nb.analysis.rest_point`.

    Attributes
    ----------
    S
        States of the free neurons, for each of M samples.
    speed
        Remaining projected speed ‖Δs‖ / dt over all samples, in 1/τ.
    found
        Whether that is within the tolerance.
    """

    S: Float[np.ndarray, "K M n"]
    speed: Float[np.ndarray, " K"]
    found: Bool[np.ndarray, " K"]


def settle(
    field: Field,
    dt: float,
    tolerance: float = 1e-9,
    start: Float[np.ndarray, "K M n"] | None = None,
    activation: str = "hard_sigmoid",
) -> RestPoint:
    """Search for the rest point of a field from a start, by default 0.5.

    `deep_nb.analysis.rest_point` has the details.
    """
    S = np.full(field.drive.shape, 0.5) if start is None else start
    relax = get_engine("auto", S.shape[-1], activation)
    for _ in range(20):
        relaxation = relax(field, S, Phase(dt, 10_000, activation))
        S = relaxation.S
        speed = np.sqrt(relaxation.projected_residual * S.shape[1])
        if (speed == 0).all():
            break
    return RestPoint(S, speed, speed <= tolerance)
