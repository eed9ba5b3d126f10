"""Equilibrium propagation for complete directed neural networks (DEEP), reproducibly."""

from deep_nb.classifier import DEEPClassifier
from deep_nb.experiment import Flags
from deep_nb.inference import decision_map, predict, trajectory
from deep_nb.models import DEEP, MODELS, DEEP_oh, EP_asym, Hyperparameters, Model
from deep_nb.results import load, save, settings
from deep_nb.tasks import TASKS, Task
from deep_nb.training import train

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
    "decision_map",
    "load",
    "predict",
    "save",
    "settings",
    "train",
    "trajectory",
]
