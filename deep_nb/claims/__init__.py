"""The papers' claims as data, with their evidence, and the rule that decides each.

``claims.yml`` beside this file states every claim: its evidence, which ``evidence.yml`` quotes,
what is measured, for which networks, and on which side of which number the 95 % interval must lie.
`evaluate` decides them; `claims_table` shows the verdicts.
"""

from deep_nb._extras import attach

__getattr__, __dir__, __all__ = attach(__name__, __file__)
