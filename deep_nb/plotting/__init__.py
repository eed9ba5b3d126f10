"""Figures: each ``plot_*`` draws one panel from a run, or from a summary of several.

Panels of a run are drawn on ``ax``, by default on new axes, which are returned. The free phase is
blue and solid, the nudged phase vermilion and dashed, in the colour-blind safe palette of M. Okabe
and K. Ito (2008). Lines are medians over networks, bands quartiles. Diverged networks are left out,
and their number is written on the panel. Panels of one network show that of ``seed``, by default
the first.
"""

from deep_nb._extras import attach

__getattr__, __dir__, __all__ = attach(__name__, __file__)
