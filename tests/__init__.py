"""The tests, and `check_shapes` for jaxtyping's import hook, named in pyproject.toml."""

from .shapes import check as check_shapes

__all__ = ["check_shapes"]
