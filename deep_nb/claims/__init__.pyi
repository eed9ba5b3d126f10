from .claim import Claim, read_claims
from .ensembles import (
    best_settings,
    compare_curves,
    measure,
    measure_all,
    measure_best,
    sweep,
    unstable_steps,
)
from .evaluation import evaluate
from .evidence import Source, published_curves, read_sources
from .table import claims_table, verdict_table

__all__ = [
    "Claim",
    "Source",
    "best_settings",
    "claims_table",
    "compare_curves",
    "evaluate",
    "measure",
    "measure_all",
    "measure_best",
    "published_curves",
    "read_claims",
    "read_sources",
    "sweep",
    "unstable_steps",
    "verdict_table",
]
