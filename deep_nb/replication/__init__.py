"""Replication: batches of notebooks that resume, with records and checksums of every result."""

from deep_nb._extras import attach

__getattr__, __dir__, __all__ = attach(__name__, __file__)
