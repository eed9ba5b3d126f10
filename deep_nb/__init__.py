"""Equilibrium propagation for complete directed neural networks (DEEP), reproducibly.

The public names are those of ``__init__.pyi`` here and in `deep_nb.analysis`, `deep_nb.plotting`,
`deep_nb.claims` and `deep_nb.replication`. Each is imported when it is first used (PEP 562).
"""

from deep_nb._extras import attach

__getattr__, __dir__, __all__ = attach(__name__, __file__)
