"""A vector type for Numba: `LANES` numbers side by side in the processor's vector registers.

An array of rows has shape (rows, LANES). A vector of width w holds w consecutive rows, so that
``load(array, row, w)`` is one contiguous read; ``+``, ``-`` and ``*`` act on each element, rounded
as IEEE 754 says, without contraction into fused multiply–adds. Lanes never mix.
"""

from __future__ import annotations

import operator
from typing import Any

from llvmlite import ir
from numba import types
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic, lower_builtin, models, register_model

LANES = 8


class VectorType(types.Type):
    """Numba's type of a vector of `width` rows."""

    def __init__(self, width: int) -> None:
        self.width = width
        super().__init__(name=f"Vector({width}x{LANES})")


@register_model(VectorType)
class VectorModel(models.PrimitiveModel):
    """Its representation: one LLVM vector, which LLVM splits into registers."""

    def __init__(self, manager: Any, vector: VectorType) -> None:
        super().__init__(manager, vector, _llvm(vector))


def _llvm(vector: VectorType) -> ir.VectorType:
    return ir.VectorType(ir.DoubleType(), vector.width * LANES)


def _define(operation: Any, instruction: str) -> None:
    @infer_global(operation)
    class Template(AbstractTemplate):
        key = operation

        def generic(self, args: Any, kws: Any) -> Any:
            same = len(args) == 2 and isinstance(args[0], VectorType) and args[0] == args[1]
            return signature(args[0], *args) if same else None

    @lower_builtin(operation, VectorType, VectorType)
    def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return getattr(builder, instruction)(*args)


_define(operator.add, "fadd")
_define(operator.sub, "fsub")
_define(operator.mul, "fmul")


def _pointer(context: Any, builder: Any, array_type: Any, array: Any, row: Any, vector: Any) -> Any:
    data = context.make_array(array_type)(context, builder, array).data
    offset = builder.mul(row, ir.Constant(row.type, LANES))
    return builder.bitcast(builder.gep(data, [offset]), _llvm(vector).as_pointer())


@intrinsic
def load(typing_context: Any, array: Any, row: Any, width: Any) -> Any:
    """Return rows ``row`` to ``row + width − 1`` of an array; the width is a literal."""
    if not isinstance(width, types.IntegerLiteral):
        return None
    vector = VectorType(width.literal_value)

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        value = builder.load(_pointer(context, builder, sig.args[0], args[0], args[1], vector))
        value.align = 8
        return value

    return vector(array, types.intp, width), generate


@intrinsic
def store(typing_context: Any, array: Any, row: Any, vector: Any) -> Any:
    """Write a vector to the rows of an array from ``row`` on."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        pointer = _pointer(context, builder, sig.args[0], args[0], args[1], sig.args[2])
        builder.store(args[2], pointer).align = 8
        return context.get_dummy_value()

    return types.none(array, types.intp, vector), generate


@intrinsic
def repeat(typing_context: Any, vector: Any, width: Any) -> Any:
    """Return `width` copies of a single row."""
    if not isinstance(width, types.IntegerLiteral):
        return None
    wide = VectorType(width.literal_value)

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        pattern = ir.Constant(
            ir.VectorType(ir.IntType(32), wide.width * LANES), list(range(LANES)) * wide.width
        )
        return builder.shuffle_vector(args[0], ir.Constant(_llvm(vector), ir.Undefined), pattern)

    return wide(vector, width), generate


@intrinsic
def fill(typing_context: Any, value: Any, width: Any) -> Any:
    """Return a vector whose every element is `value`."""
    if not isinstance(width, types.IntegerLiteral):
        return None
    vector = VectorType(width.literal_value)

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        undefined = ir.Constant(_llvm(vector), ir.Undefined)
        one = builder.insert_element(undefined, args[0], ir.Constant(ir.IntType(32), 0))
        pattern = ir.Constant(ir.VectorType(ir.IntType(32), vector.width * LANES), None)
        return builder.shuffle_vector(one, undefined, pattern)

    return vector(types.float64, width), generate


@intrinsic
def clip(typing_context: Any, vector: Any) -> Any:
    """Return each element clipped to [0, 1]; NaN stays NaN."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        zero, one = (ir.Constant(_llvm(vector), [x] * vector.width * LANES) for x in (0.0, 1.0))
        (x,) = args
        x = builder.select(builder.fcmp_ordered("<", x, zero), zero, x)
        return builder.select(builder.fcmp_ordered(">", x, one), one, x)

    return vector(vector), generate


@intrinsic
def differing(typing_context: Any, first: Any, second: Any) -> Any:
    """Return a bit mask of the lanes in which two single rows differ (NaN does, from anything)."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        mask = builder.fcmp_unordered("!=", *args)
        return builder.zext(builder.bitcast(mask, ir.IntType(LANES)), ir.IntType(64))

    return types.int64(first, second), generate
