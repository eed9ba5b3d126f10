from . import analysis, claims, plotting, replication
from .classifier import DEEPClassifier
from .inference import decision_map, predict, trajectory
from .models import DEEP, MODELS, DEEP_oh, EP_asym, Hyperparameters, Model
from .problem import Flags
from .report import write_report
from .run import concat, load, save, settings
from .tasks import TASKS, Task
from .training import train

__all__ = [
    "DEEP",
    "MODELS",
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
    "decision_map",
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
