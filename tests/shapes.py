"""The type checker of jaxtyping's import hook: beartype, for arrays with a shape.

The hook hands it every function of the package. Annotations without a shape are left out: public
functions refuse bad input with errors of their own, and mypy checks the rest.
"""

from typing import get_args

from beartype import beartype
from jaxtyping import AbstractArray


def has_shape(hint):
    """Whether an annotation is, or contains, an array with a shape."""
    if isinstance(hint, type) and issubclass(hint, AbstractArray):
        return True
    return any(has_shape(part) for part in get_args(hint))


def check(function):
    """Return the function, which now checks the shapes in its signature."""
    hints = function.__annotations__
    function.__annotations__ = {name: hint for name, hint in hints.items() if has_shape(hint)}
    return beartype(function) if function.__annotations__ else function
