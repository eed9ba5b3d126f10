"""The type checker of jaxtyping's import hook: beartype, for arrays with a shape.

The hook hands it every function of the package. Annotations without a shape are left out: public
functions refuse bad input with errors of their own, and mypy checks the rest. A check takes longer
than most functions, so only the first of a test are made.
"""

import functools
from typing import get_args

from beartype import beartype
from jaxtyping import AbstractArray, config

#: Calls that are checked in each test.
CALLS = 500

_left = 0


def renew():
    """Check the next calls again."""
    global _left
    _left = CALLS
    config.update("jaxtyping_disable", False)


def has_shape(hint):
    """Whether an annotation is, or contains, an array with a shape."""
    if isinstance(hint, type) and issubclass(hint, AbstractArray):
        return True
    return any(has_shape(part) for part in get_args(hint))


def check(function):
    """Return the function, which now checks the shapes in its signature."""
    hints = function.__annotations__
    function.__annotations__ = {name: hint for name, hint in hints.items() if has_shape(hint)}
    if not function.__annotations__:
        return function
    checked = beartype(function)

    @functools.wraps(checked)
    def counted(*args, **kwargs):
        global _left
        _left -= 1
        if _left < 0:
            config.update("jaxtyping_disable", True)
        return checked(*args, **kwargs)

    return counted
