"""The explorer as a widget of Jupyter."""

from typing import Any

import anywidget
import traitlets

from deep_nb._validation import flag, mapping, short
from deep_nb.explorer.page import SCRIPT, STYLE, catalogue, checked, setting
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

    @traitlets.validate("setting")
    def _checked(self, proposal: Any) -> dict[str, Any]:
        arguments(proposal["value"])
        return proposal["value"]

    def arguments(self) -> dict[str, Any]:
        """Return the arguments with which `deep_nb.train` trains the network of the controls."""
        return arguments(self.setting)


def arguments(given: Any) -> dict[str, Any]:
    """Return a setting as arguments of `deep_nb.train`; raise a `ValueError` where that does."""
    given = _with_names(given, "setting", "model", "task", "seed", "regularized", "sparse")
    task = _with_names(given["task"], "task", "name", "X", "Y")
    own = Model(**mapping(given["model"], "model")), Task(**task)
    parts = dict(zip(("model", "task", "seeds"), checked(*own, given["seed"]), strict=True))
    return parts | {name: flag(given[name], name) for name in ("regularized", "sparse")}


def _with_names(value: Any, what: str, *names: str) -> dict[str, Any]:
    given = mapping(value, what)
    if given.keys() != {*names}:
        raise ValueError(f"{what} must have the names {', '.join(names)}, got {short([*given])}")
    return given
