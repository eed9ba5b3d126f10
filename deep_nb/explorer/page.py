"""What the explorer shows, and the page that contains it."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, get_args

from deep_nb._files import write_text
from deep_nb._validation import integer
from deep_nb.dynamics import ACTIVATIONS
from deep_nb.models import MODELS, Hyperparameters, Model, RuleName
from deep_nb.problem import Problem
from deep_nb.tasks import TASKS, Task

FOLDER = Path(__file__).parent
SCRIPT, STYLE = FOLDER / "explore.js", FOLDER / "explore.css"


def checked(model: str | Model, task: str | Task, seed: int) -> tuple[Model, Task, int]:
    """Return model, task and seed; raise a `ValueError` where `deep_nb.train` does."""
    problem = Problem.of(model, task)
    return problem.model, problem.task, integer(seed, "seed", 0, 2**32 - 1)


def catalogue(models: Iterable[Model] = (), tasks: Iterable[Task] = ()) -> dict[str, Any]:
    """Return what can be chosen, as JSON's types: the package's models and tasks, and others."""
    of_tasks = {task.name: task for task in (*TASKS.values(), *tasks)}
    return {
        "models": {m.name: m.model_dump(mode="json") for m in (*MODELS.values(), *models)},
        "tasks": {name: {"X": t.X.tolist(), "Y": t.Y.tolist()} for name, t in of_tasks.items()},
        "rules": list(get_args(RuleName)),
        "activations": list(ACTIVATIONS),
        "about": {name: field.description for name, field in Hyperparameters.model_fields.items()},
    }


def setting(model: Model, task: Task, seed: int) -> dict[str, Any]:
    """Return the setting of one network, as JSON's types."""
    chosen = catalogue([model], [task])
    return {
        "model": chosen["models"][model.name],
        "task": {"name": task.name, **chosen["tasks"][task.name]},
        "seed": seed,
        "regularized": False,
        "sparse": False,
    }


def module(place: str, model: str | Model, task: str | Task, seed: int = 0) -> str:
    """Return a JavaScript module that shows the explorer in the place with this CSS selector."""
    model, task, seed = checked(model, task, seed)
    given = json.dumps([catalogue([model], [task]), setting(model, task, seed)])
    given = given.replace("<", r"\u003c")  # "</script>" in a name would end the script
    script = SCRIPT.read_text(encoding="utf-8")
    return f"{script}\nmount(document.querySelector({json.dumps(place)}), ...{given});"


def write_page(target: Path, model: str | Model, task: str | Task, seed: int = 0) -> Path:
    """Write one HTML page with the explorer: no other file, no Python, no request."""
    script = module("main", model, task, seed)
    write_text(target, PAGE.format(style=STYLE.read_text(encoding="utf-8"), script=script))
    return target


PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>deep_nb explorer</title>
<style>{style}</style>
</head>
<body class="deep-nb-page">
<h1>Directed equilibrium propagation</h1>
<p>One network of <a href="https://arxiv.org/abs/2006.08798">DEEP</a> or a relative settles twice
per epoch: freely, then with β pulling its outputs towards the targets. Its synapses learn from the
difference. Weights are vermilion where positive, blue
where negative.</p>
<noscript><p>The explorer is computed by JavaScript, which is switched off here.</p></noscript>
<main></main>
<script type="module">
{script}
</script>
</body>
</html>
"""
