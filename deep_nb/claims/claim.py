"""One claim of the paper as data, and the list of all of them."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.resources import files
from typing import Any, Literal, Self

import numpy as np
import yaml
from pydantic import Field, model_validator

from deep_nb.analysis.statistics import Estimate
from deep_nb.checks import Frozen, mapping
from deep_nb.kinds import NOTHING, TEXT, a, number, sequence, takes

SIGNIFICANT = 0.05

Verdict = Literal["reproduced", "not reproduced", "inconclusive"]
TaskName = Literal["xor", "and", "or", "not", "id"]


class Networks(Frozen):
    """Which networks a claim is about.

    Raises
    ------
    ValueError
        If a name is unknown, or a value is of the wrong type.
    """

    model: Literal["DEEP", "DEEP_oh", "EP_asym"]
    pruned: bool = Field(False, description="L1 and stochastic pruning on")


class Side(Frozen):
    """The side of a number on which the whole interval has to lie.

    Raises
    ------
    ValueError
        If it is not one of the two, and a finite number.
    """

    above: float | None = None
    below: float | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.above is None) == (self.below is None):
            raise ValueError("give one of above and below")
        return self

    def __str__(self) -> str:
        return f"above {self.above:g}" if self.above is not None else f"below {self.below:g}"

    @takes(estimate=a(Estimate), p=number(0, 1))
    def verdict(self, estimate: Estimate, p: float = 0.0) -> Verdict:
        """Decide by the interval, and by a p-value where there is one.

        Raises
        ------
        ValueError
            If `estimate` is none, or `p` no number from 0 to 1.
        """
        if p >= SIGNIFICANT:
            return "inconclusive"
        if self.above is not None:
            yes, no = estimate.low > self.above, estimate.high < self.above
        else:
            assert self.below is not None
            yes, no = estimate.high < self.below, estimate.low > self.below
        return "reproduced" if yes else "not reproduced" if no else "inconclusive"


class Claim(Frozen):
    """One claim; ``claims.yml`` says what each name means.

    Raises
    ------
    ValueError
        If a name is unknown, a value is of the wrong type, or two do not fit together.
    """

    id: str
    statement: str
    quantity: Literal["share", "difference", "median", "earlier"]
    measure: Literal["learned", "learned_after", "gershgorin", "sparsity"] = "learned"
    of: Networks
    against: Networks | None = None
    tasks: list[TaskName] = Field(min_length=1)
    holds: Side
    grid: Literal["most", "every", "best"] | None = None
    grid_N_H: int | None = None

    @model_validator(mode="after")
    def _has_what_it_compares(self) -> Self:
        if (self.quantity in ("difference", "earlier")) != (self.against is not None):
            raise ValueError(f"quantity {self.quantity!r} and 'against' do not fit together")
        if self.grid == "best" and self.against is None:
            raise ValueError("grid 'best' needs 'against'")
        return self


def read_claims(text: str | None = None) -> list[Claim]:
    """Return the claims of a YAML text, by default the package's own.

    Raises
    ------
    ValueError
        If the text is not a list of claims under ``claims``, or two have the same id.
    """
    (TEXT | NOTHING).check(text, "text")
    if text is None:
        text = files("deep_nb").joinpath("claims/claims.yml").read_text(encoding="utf-8")
    try:
        content = mapping(yaml.safe_load(text), "the claims")
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(f"the claims are not YAML: {error}") from None
    if list(content) != ["claims"] or not isinstance(content["claims"], list):
        raise ValueError("the claims must be one list named 'claims'")
    claims = [_claim(item) for item in content["claims"]]
    ids = [claim.id for claim in claims]
    if len(set(ids)) < len(ids):
        raise ValueError(f"two claims have the same id: {', '.join(ids)}")
    return claims


def _claim(item: Any) -> Claim:
    values = mapping(item, "a claim")
    for name, kind in (("of", Networks), ("against", Networks), ("holds", Side)):
        if name in values:
            given = mapping(values[name], f"claim {values.get('id')}: {name}")
            if kind is Side:  # YAML's 0 is an integer
                given = {k: float(v) if type(v) is int else v for k, v in given.items()}
            values[name] = kind(**given)
    return Claim(**values)


def checked(claims: Iterable[Claim]) -> list[Claim]:
    """Return claims as a list, one at least."""
    iterates = isinstance(claims, Iterable) and not isinstance(claims, np.ndarray)
    given = list(claims) if iterates else claims
    sequence(a(Claim)).check(given, "claims")
    return list(given)
