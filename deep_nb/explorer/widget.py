"""The explorer as a widget of Jupyter."""

from typing import Any

import anywidget
import traitlets

from deep_nb.explorer.page import SCRIPT, STYLE, catalogue, setting
from deep_nb.models import Model
from deep_nb.tasks import Task


class Explorer(anywidget.AnyWidget):
    """One network to explore; its setting is that of the controls, in both directions."""

    _esm = SCRIPT
    _css = STYLE
    catalogue = traitlets.Dict().tag(sync=True)
    setting = traitlets.Dict().tag(sync=True)

    def __init__(self, model: Model, task: Task, seed: int) -> None:
        given = {"catalogue": catalogue([model], [task]), "setting": setting(model, task, seed)}
        super().__init__(**given)

    def __repr__(self) -> str:
        now = self.setting
        return f"Explorer({now['model']['name']!r}, {now['task']['name']!r}, seed={now['seed']})"

    def arguments(self) -> dict[str, Any]:
        """Return the arguments with which `deep_nb.train` trains the network of the controls."""
        now = self.setting
        return {
            "model": Model(**now["model"]),
            "task": Task(now["task"]["name"], now["task"]["X"], now["task"]["Y"]),
            "seeds": now["seed"],
            "regularized": now["regularized"],
            "sparse": now["sparse"],
        }
