"""Replication: batches of notebooks that resume, with records and checksums of every result."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
