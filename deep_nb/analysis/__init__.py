"""Analysis of runs: learning criteria, statistics, stability, alignment with the gradient."""

from deep_nb._extras import attach

__getattr__, __dir__, __all__ = attach(__name__, __file__)
