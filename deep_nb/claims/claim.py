"""One claim of the paper as data, with its evidence, and the list of all claims."""

from collections.abc import Iterable, Mapping
from importlib.resources import files
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from deep_nb._reading import read_yaml
from deep_nb._validation import Frozen, mapping, one_of, short
from deep_nb._validation import text as check_text
from deep_nb.analysis.statistics import Estimate
from deep_nb.claims.evidence import read_sources
from deep_nb.models import PUBLISHED, Model, NonNegative, RuleName

Verdict = Literal["reproduced", "not reproduced", "inconclusive"]


class Networks(Frozen):
    """Which networks a claim is about: a published model, or a variant of one."""

    model: Literal["DEEP", "DEEP_oh", "EP_asym"]
    pruned: bool = Field(False, description="L1 and stochastic pruning on")
    layered: bool = Field(False, description="layered instead of complete")
    leak: NonNegative | None = Field(None, description="leak λ instead of the published one")
    rule: RuleName | None = Field(None, description="learning rule instead of the published one")
    hyper: dict[str, Any] = Field({}, description="hyperparameters instead of the published ones")

    @model_validator(mode="after")
    def _makes_a_model(self) -> Self:
        _ = self.variant
        return self

    @property
    def variant(self) -> Model:
        """The model, with what is changed in its name."""
        model = PUBLISHED[self.model]
        changes = {"leak": self.leak, "rule": self.rule}
        changes = {name: value for name, value in changes.items() if value is not None}
        if not changes and not self.hyper:
            return model
        symbols = {"leak": "λ"}
        words = [f"{symbols.get(name, name)} = {value}" for name, value in changes.items()]
        words += [f"{name} = {value}" for name, value in self.hyper.items()]
        hyper = model.hyper.replace(**self.hyper)
        return model.replace(name=", ".join([model.name, *words]), hyper=hyper, **changes)

    @property
    def key(self) -> tuple[str, bool, bool]:
        """What names the ensemble in tables of networks: model, pruned, layered."""
        return self.variant.name, self.pruned, self.layered

    def __str__(self) -> str:
        words = [self.variant.name, *("layered",) * self.layered, *("pruned",) * self.pruned]
        return " ".join(words)


class Side(Frozen):
    """The side of a number on which the whole interval must lie."""

    above: float | None = None
    below: float | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.above is None) == (self.below is None):
            raise ValueError("give either 'above' or 'below'")
        return self

    @property
    def bound(self) -> float:
        """The number."""
        return self.above if self.above is not None else self.below or 0.0

    @property
    def opposite(self) -> "Side":
        """The other side of the same number."""
        return Side(below=self.above) if self.above is not None else Side(above=self.below)

    def __str__(self) -> str:
        return f"above {self.above:g}" if self.above is not None else f"below {self.below:g}"

    def contains(self, estimate: Estimate) -> bool:
        """Return whether the whole interval is on this side."""
        if self.above is not None:
            return estimate.low > self.above
        return estimate.high < self.bound


class Evidence(Frozen):
    """Where the claim is made: a source, and its words or its curve."""

    source: str
    words: str = ""

    @model_validator(mode="after")
    def _is_there(self) -> Self:
        sources = read_sources()
        source = sources[one_of(self.source, sources, "source")]
        if source.curve and self.words:
            raise ValueError(f"the source {self.source!r} is a figure, which has no 'words'")
        if not source.curve and (not self.words or self.words not in source.text):
            raise ValueError(f"'words' must be literally in the source {self.source!r}")
        return self

    def __str__(self) -> str:
        words = f"“{self.words}”" if self.words else "figure"
        return f"{words} ({read_sources()[self.source]})"


class Claim(Frozen):
    """One claim; the comments in ``claims.yml`` explain each name.

    Raises
    ------
    ValueError
        If a name is unknown, a value is of the wrong type, two contradict each other, or the
        evidence is not in the published sources.

    See Also
    --------
    read_claims : The paper's claims.
    read_sources : The sources that evidence may name.
    evaluate : Decides claims.

    Examples
    --------
    >>> import deep_nb
    >>> words = "prune irrelevant connections"
    >>> claim = deep_nb.claims.Claim(
    ...     id="p", statement="Pruning spares most", quantity="share", measure="learned_after",
    ...     of={"model": "DEEP", "pruned": True}, tasks=["xor"], holds={"above": 0.5},
    ...     evidence=[{"source": "abstract", "words": words}],
    ... )
    >>> str(claim.of), str(claim.holds)
    ('DEEP pruned', 'above 0.5')
    """

    id: str
    statement: str
    evidence: list[Evidence] = Field(min_length=1)
    note: str = ""
    quantity: Literal["share", "ensemble", "difference", "paired", "kept", "median", "curves"]
    measure: Literal[
        "learned", "learned_after", "gershgorin", "comes_to_rest", "certified", "sparsity"
    ] = "learned"
    of: Networks
    against: Networks | None = None
    tasks: list[Literal["xor", "and", "or", "not", "id"]] = Field(min_length=1)
    holds: Side
    fails: Side | None = None
    by_algebra: bool = False
    grid: bool = False
    vary_N_H: bool = True

    @field_validator("of", "against", "holds", "fails", mode="before")
    @classmethod
    def _names(cls, value: Any) -> Any:
        return mapping(value, "it") if isinstance(value, Mapping) else value

    @field_validator("evidence", mode="before")
    @classmethod
    def _named(cls, value: Any) -> Any:
        if not isinstance(value, list):
            return value
        return [Evidence(**mapping(item, "it")) if isinstance(item, Mapping) else item
                for item in value]  # fmt: skip

    @model_validator(mode="after")
    def _has_what_it_compares(self) -> Self:
        compares = self.quantity in ("difference", "paired", "kept")
        if compares != (self.against is not None):
            needs = "needs" if compares else "does not take"
            raise ValueError(f"quantity {self.quantity!r} {needs} 'against'")
        if (self.quantity == "median") != (self.measure == "sparsity"):
            raise ValueError("the quantity 'median' and the measure 'sparsity' need each other")
        if self.grid and (self.measure != "learned" or self.of.variant.name not in PUBLISHED):
            raise ValueError("grid needs the measure 'learned' and a published model")
        if self.quantity == "curves" and not any(
            read_sources()[item.source].curve for item in self.evidence
        ):
            raise ValueError("the quantity 'curves' needs a published figure as evidence")
        return self

    @property
    def figure(self) -> str:
        """Name of the source with the published curves, or an empty string."""
        sources = read_sources()
        return next((item.source for item in self.evidence if sources[item.source].curve), "")


def verdict(claim: Claim, estimate: Estimate) -> Verdict:
    """Decide a claim by the interval alone."""
    if claim.holds.contains(estimate):
        return "reproduced"
    fails = claim.fails or claim.holds.opposite
    return "not reproduced" if fails.contains(estimate) else "inconclusive"


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
    >>> claims[1].id, claims[1].statement
    ('1b', 'Our question: do most DEEP networks learn XOR?')
    >>> print(claims[5].evidence[0])
    figure (asymmetric EP notebook of 2019, commit 9e07bd1, cell 13)
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
