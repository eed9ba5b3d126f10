"""The paper's claims as data, the networks they are about, and the rule that decides each.

``claims.yml`` beside this file states every claim: what is measured, of which networks, and on
which side of which number its 95 % interval must lie. `evaluate` decides them.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
