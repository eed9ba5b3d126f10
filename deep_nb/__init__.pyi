from . import analysis, claims, plotting, replication
from .classifier import DEEPClassifier
from .explorer import explore
from .inference import decision_map, predict, trajectory
from .models import (
    DEEP,
    MODELS,
    PUBLISHED,
    DEEP_oh,
    EP_asym,
    Flags,
    Hyperparameters,
    Model,
    contracting_DEEP,
    fast_contracting_DEEP,
)
from .report import write_report
from .run import concat, load, save, settings
from .tasks import TASKS, Task
from .training import train

__all__ = [
    "DEEP",
    "MODELS",
    "PUBLISHED",
    "TASKS",
    "DEEPClassifier",
    "DEEP_oh",
    "EP_asym",
    "Flags",
    "Hyperparameters",
    "Model",
    "Task",
    "analysis",
    "claims",
    "concat",
    "contracting_DEEP",
    "decision_map",
    "explore",
    "fast_contracting_DEEP",
    "load",
    "plotting",
    "predict",
    "replication",
    "save",
    "settings",
    "train",
    "trajectory",
    "write_report",
]
