"""Analysis of runs: learning criteria, statistics, stability, alignment with the gradient."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
