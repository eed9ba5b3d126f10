"""References for Numba: a named tuple that compiled functions take as one address.

Numba hands a tuple over number by number, and an array is ten of them: a function of four tuples of
arrays would take half a thousand arguments, which costs more time than what it does, and much more
to compile.
"""

from __future__ import annotations

import hashlib
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.typing.templates import AttributeTemplate
from numba.extending import infer_getattr, intrinsic, lower_getattr_generic, models, register_model


class ReferenceType(types.Type):
    """Numba's type of a reference to a named tuple."""

    def __init__(self, kind: Any) -> None:
        self.kind = kind
        digest = hashlib.sha256(str(kind).encode()).hexdigest()[:16]  # short: it is part of symbols
        super().__init__(name=f"Reference({kind.instance_class.__name__}-{digest})")


@register_model(ReferenceType)
class ReferenceModel(models.PrimitiveModel):
    """Its representation: the address of the tuple on the stack."""

    def __init__(self, manager: Any, reference: ReferenceType) -> None:
        super().__init__(manager, reference, ir.IntType(8).as_pointer())


@infer_getattr
class ReferenceAttributes(AttributeTemplate):
    """The fields of the tuple."""

    key = ReferenceType

    def generic_resolve(self, reference: ReferenceType, name: str) -> Any:
        """Return the type of a field."""
        return reference.kind.types[reference.kind.fields.index(name)]


@lower_getattr_generic(ReferenceType)
def _load_field(context: Any, builder: Any, kind: Any, address: Any, name: str) -> Any:
    index, zero = kind.kind.fields.index(name), ir.Constant(ir.IntType(32), 0)
    fields = builder.bitcast(address, context.get_value_type(kind.kind).as_pointer())
    value = builder.load(builder.gep(fields, [zero, ir.Constant(ir.IntType(32), index)]))
    if context.enable_nrt:
        context.nrt.incref(builder, kind.kind.types[index], value)
    return value


@intrinsic
def reference(typing_context: Any, values: Any) -> Any:
    """Return a reference to a named tuple, valid in this function and in those that it calls.

    It does not keep the tuple's arrays alive: see `alive`.
    """

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        slot = cgutils.alloca_once(builder, args[0].type)
        builder.store(args[0], slot)
        return builder.bitcast(slot, ir.IntType(8).as_pointer())

    return ReferenceType(values)(values), generate


@intrinsic
def alive(typing_context: Any, *values: Any) -> Any:
    """Return 0; the arrays of these tuples live until then."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return ir.Constant(ir.IntType(64), 0)

    return types.int64(types.StarArgTuple(values)), generate
