"""The explorer: one network to move, to train and to look at, in a notebook or on a page.

`explore.js` holds the dynamics, the rules and the drawing. A notebook shows it through anywidget;
`write_page` puts it into one HTML file that needs neither Python nor a network.
"""

from typing import TYPE_CHECKING

from deep_nb._extras import needed_by
from deep_nb.explorer.page import checked
from deep_nb.models import Model, contracting_DEEP
from deep_nb.tasks import Task

if TYPE_CHECKING:
    from deep_nb.explorer.widget import Explorer


def explore(
    model: str | Model = contracting_DEEP, task: str | Task = "xor", seed: int = 0
) -> "Explorer":
    """Return a widget of Jupyter with one network to move, to train and to look at.

    It shows the states over both phases, the Lyapunov energy with its bound and the residual, the
    network, its decision map, its weights and its error. Model, task, rule, activation,
    hyperparameters and seed can be changed; inputs, β and clamped neurons are set by hand. The
    browser computes: a seed gives the network of `deep_nb.train`, up to rounding.
    ``deep-nb explore -o page.html`` writes the same as a page.

    Parameters
    ----------
    model : str or Model
        A name in `deep_nb.MODELS` or a model of your own.
    task : str or Task
        A name in `deep_nb.TASKS` or a task of your own.
    seed : int
        Seed of the network, from 0 to 2³² − 1.

    Returns
    -------
    Explorer
        Its dict ``setting`` follows the controls, and they follow it. Its method ``arguments()``
        returns arguments for `deep_nb.train`, such as
        ``deep_nb.train(**explorer.arguments() | {"seeds": range(100)})`` for an ensemble.

    Raises
    ------
    ValueError
        If an argument is unknown or out of range, or the task's targets do not suit the model.
    ModuleNotFoundError
        If anywidget is not installed.

    See Also
    --------
    train : Train networks in Python.
    trajectory : Both phases of trained networks.

    Examples
    --------
    >>> import deep_nb
    >>> explorer = deep_nb.explore("DEEP", "or", seed=3)
    >>> explorer.arguments()["model"] == deep_nb.DEEP
    True
    """
    given = checked(model, task, seed)
    with needed_by("deep_nb.explore"):
        from deep_nb.explorer.widget import Explorer

    return Explorer(*given)
