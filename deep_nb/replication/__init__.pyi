from .batch import collect_figures, replicate
from .jobs import read_jobs
from .records import state
from .verification import compare, verify

__all__ = ["collect_figures", "compare", "read_jobs", "replicate", "state", "verify"]
