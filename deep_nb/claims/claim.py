"""One claim of the paper as data, and the list of all of them."""

from collections.abc import Iterable, Mapping
from importlib.resources import files
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from deep_nb._reading import read_yaml
from deep_nb._validation import Frozen, mapping, short
from deep_nb._validation import text as check_text
from deep_nb.analysis.statistics import Estimate

SIGNIFICANT = 0.05

Verdict = Literal["reproduced", "not reproduced", "inconclusive"]


class Networks(Frozen):
    """Which networks a claim is about."""

    model: Literal["DEEP", "DEEP_oh", "EP_asym"]
    pruned: bool = Field(False, description="L1 and stochastic pruning on")


class Side(Frozen):
    """The side of a number on which the whole interval must lie."""

    above: float | None = None
    below: float | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.above is None) == (self.below is None):
            raise ValueError("give either 'above' or 'below'")
        return self

    def __str__(self) -> str:
        return f"above {self.above:g}" if self.above is not None else f"below {self.below:g}"

    def verdict(self, estimate: Estimate, p: float = 0.0) -> Verdict:
        """Decide by the interval, and by a p-value where there is one."""
        if p >= SIGNIFICANT:
            return "inconclusive"
        if self.above is not None:
            yes, no = estimate.low > self.above, estimate.high < self.above
        else:
            assert self.below is not None
            yes, no = estimate.high < self.below, estimate.low > self.below
        return "reproduced" if yes else "not reproduced" if no else "inconclusive"


class Claim(Frozen):
    """One claim; the comments in ``claims.yml`` explain each name.

    Raises
    ------
    ValueError
        If a name is unknown, a value is of the wrong type, or two contradict each other.

    See Also
    --------
    read_claims : The paper's claims.
    evaluate : Decides claims.

    Examples
    --------
    >>> import deep_nb
    >>> claim = deep_nb.claims.Claim(
    ...     id="1a", statement="DEEP learns XOR", quantity="share", of={"model": "DEEP"},
    ...     tasks=["xor"], holds={"above": 0.5},
    ... )
    >>> claim.measure, str(claim.holds)
    ('learned', 'above 0.5')
    """

    id: str
    statement: str
    quantity: Literal["share", "difference", "median", "earlier"]
    measure: Literal["learned", "learned_after", "gershgorin", "sparsity"] = "learned"
    of: Networks
    against: Networks | None = None
    tasks: list[Literal["xor", "and", "or", "not", "id"]] = Field(min_length=1)
    holds: Side
    grid: Literal["most", "every", "best"] | None = None
    grid_N_H: int | None = None

    @field_validator("of", "against", "holds", mode="before")
    @classmethod
    def _names(cls, value: Any) -> Any:
        return mapping(value, "it") if isinstance(value, Mapping) else value

    @model_validator(mode="after")
    def _has_what_it_compares(self) -> Self:
        compares = self.quantity in ("difference", "earlier")
        if compares != (self.against is not None):
            needs = "needs" if compares else "does not take"
            raise ValueError(f"quantity {self.quantity!r} {needs} 'against'")
        if self.grid == "best" and self.against is None:
            raise ValueError("grid 'best' needs 'against'")
        if self.grid and self.measure != "learned":
            raise ValueError(f"grid needs the measure 'learned', got {self.measure!r}")
        return self


def read_claims(text: str | None = None) -> list[Claim]:
    """Read the claims from a YAML text, by default from the package's ``claims.yml``.

    Raises
    ------
    ValueError
        If the text is not a list of claims under ``claims``, or two have the same id.

    See Also
    --------
    measure_all : Trains the networks that claims are about.
    evaluate : Decides claims.

    Examples
    --------
    >>> import deep_nb
    >>> claims = deep_nb.claims.read_claims()
    >>> claims[0].id, claims[0].statement
    ('1a', 'DEEP learns XOR')
    """
    if text is None:
        text = files("deep_nb").joinpath("claims/claims.yml").read_text(encoding="utf-8")
    check_text(text, "text")
    try:
        content = read_yaml(text)
    except ValueError as error:
        raise ValueError(f"the claims are not YAML: {error}") from None
    content = mapping(content, "the claims")
    if list(content) != ["claims"] or not isinstance(content["claims"], list):
        raise ValueError("the claims must be one list named 'claims'")
    claims = [Claim(**mapping(item, "a claim")) for item in content["claims"]]
    ids = [claim.id for claim in claims]
    if len(set(ids)) < len(ids):
        raise ValueError(f"two claims have the same id: {', '.join(ids)}")
    return claims


def check_claims(claims: Iterable[Claim]) -> list[Claim]:
    """Return claims as a list, at least one."""
    try:
        given = list(claims)
    except TypeError:
        given = []
    if not given or not all(isinstance(claim, Claim) for claim in given):
        raise ValueError(
            f"claims must be one or more claims, as returned by read_claims, got {short(claims)}"
        )
    return given
