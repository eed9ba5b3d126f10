from .claim import Claim, read_claims
from .ensembles import best_settings, measure, measure_all, sweep, unstable_steps
from .evaluation import evaluate
from .table import claims_table, verdict_table

__all__ = [
    "Claim",
    "best_settings",
    "claims_table",
    "evaluate",
    "measure",
    "measure_all",
    "read_claims",
    "sweep",
    "unstable_steps",
    "verdict_table",
]
