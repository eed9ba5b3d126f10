"""Equilibrium propagation for complete directed neural networks (DEEP), reproducibly."""

from typing import TYPE_CHECKING

from deep_nb.experiment import Flags
from deep_nb.inference import decision_map, predict, trajectory
from deep_nb.models import DEEP, MODELS, DEEP_oh, EP_asym, Hyperparameters, Model
from deep_nb.results import load, save, settings
from deep_nb.tasks import TASKS, Task
from deep_nb.training import train

if TYPE_CHECKING:
    from deep_nb.classifier import DEEPClassifier

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


def __getattr__(name: str) -> type["DEEPClassifier"]:
    """Import scikit-learn, with its second and 60 MB, only for those who use the classifier."""
    if name == "DEEPClassifier":
        from deep_nb.classifier import DEEPClassifier

        return DEEPClassifier
    raise AttributeError(f"module 'deep_nb' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
