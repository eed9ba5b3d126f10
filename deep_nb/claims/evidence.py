"""What is known of the published material: its words, stored outputs and figures, and where."""

import functools
from importlib.resources import files
from typing import Self

import pandas as pd
from pydantic import model_validator

from deep_nb._reading import read_yaml
from deep_nb._validation import Frozen, mapping, one_of


class Source(Frozen):
    """One source; the comments in ``evidence.yml`` explain each name.

    Raises
    ------
    ValueError
        If a name is unknown, a value is of the wrong type, or there is neither text nor curve.

    See Also
    --------
    read_sources : All of them.

    Examples
    --------
    >>> import deep_nb
    >>> source = deep_nb.claims.read_sources()["DEEP 2019 results"]
    >>> print(source)
    DEEP notebook of 2019, commit 9e07bd1, cell 8
    >>> source.text.splitlines()[-1]
    'Gershgorin by column: False (fails in 6 columns)'
    """

    place: str
    file: str = ""
    commit: str = ""
    cell: int | None = None
    text: str = ""
    curve: str = ""

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not self.text and not self.curve:
            raise ValueError("a source needs a 'text' or a 'curve'")
        return self

    def __str__(self) -> str:
        commit = f", commit {self.commit}" if self.commit else ""
        return self.place + commit + ("" if self.cell is None else f", cell {self.cell}")


def read_sources() -> dict[str, Source]:
    """Return the published sources that claims and errata name, by their names.

    See Also
    --------
    published_curves : The curves of a source.
    read_claims : The claims that rest on them.

    Examples
    --------
    >>> import deep_nb
    >>> sources = deep_nb.claims.read_sources()
    >>> "prune irrelevant connections" in sources["abstract"].text
    True
    """
    return dict(_sources())


@functools.cache
def _sources() -> dict[str, Source]:
    text = files("deep_nb").joinpath("claims/evidence.yml").read_text(encoding="utf-8")
    content = mapping(mapping(read_yaml(text), "the evidence")["sources"], "sources")
    return {name: Source(**mapping(value, name)) for name, value in content.items()}


def published_curves(source: str) -> pd.DataFrame:
    """Return the curves that were read off a published figure, to ±0.004.

    Parameters
    ----------
    source : str
        Name of a source that is a figure: ``"DEEP 2019 figure"`` or ``"EP 2019 figure"``.

    Returns
    -------
    pandas.DataFrame
        One row per epoch, from 1: ``mse_mean`` and ``mse_median`` of ten networks after the free
        phase, NaN where the figure does not show them.

    Raises
    ------
    ValueError
        If there is no such figure.

    See Also
    --------
    compare_curves : Lays them over ensembles of this package.

    Examples
    --------
    >>> import deep_nb
    >>> curves = deep_nb.claims.published_curves("DEEP 2019 figure")
    >>> curves["mse_median"].dropna().iloc[-1].item()
    0.1276
    """
    figures = {name: found.curve for name, found in _sources().items() if found.curve}
    path = files("deep_nb").joinpath("claims/data", figures[one_of(source, figures, "source")])
    with path.open(encoding="utf-8") as file:
        return pd.read_csv(file)
