"""Compiles a kernel to an object file that needs nothing but the C library, neither Numba nor Python.

Numba's own functions take arrays apart into their address, shape and strides. An entry before each of them does that here:
it reads the fields of a NumPy array as `numpy/ndarraytypes.h` has laid them out in every version so far, and refuses an array
of another type or order, on which compiled code would compute nonsense.
"""

from typing import Any

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from numba import types

from rnnflow.engines.numba import adamw, kernels, target
from rnnflow.engines.numba.stem import passes

KERNELS = {
    "run": (kernels.run, kernels.RUN),
    "clipped_adamw": (adamw.clipped_adamw, adamw.CLIPPED_ADAMW),
    "stem_forward": (passes.stem_forward, passes.STEM_FORWARD),
    "stem_backward": (passes.stem_backward, passes.STEM_BACKWARD),
}
"""What the engine calls, and of which types."""
C_LIBRARY = {"exp", "log", "pow", "sqrt", "sqrtf", "memset", "memcpy", "memmove"}
"""What compiled code may call: where a name is unknown when it is loaded, the process ends."""
ARRAY, INTEGER, NUMBER = "array", "int64", "float64"

_BYTE, _INT, _WORD, _DOUBLE = ir.IntType(8), ir.IntType(32), ir.IntType(64), ir.DoubleType()
_POINTER = _BYTE.as_pointer()
_HEAD = object.__basicsize__
"""Bytes of what every Python object begins with."""
_DATA, _NUM_AXES, _SHAPE, _STRIDES, _TYPE, _FLAGS = _HEAD, _HEAD + 8, _HEAD + 16, _HEAD + 24, _HEAD + 40, _HEAD + 48
"""Where an array has these."""
_BYTE_ORDER, _TYPE_NUMBER = _HEAD + 10, _HEAD + 12
"""Where its type has these."""
_NEEDED_FLAGS = 0x1 | 0x100 | 0x400
"""NumPy's C_CONTIGUOUS, ALIGNED and WRITEABLE."""


def emit(name: str) -> tuple[list[str], bytes]:
    """Return the kinds of a kernel's arguments, and the object file that has its entry under its name.

    Args:
        name: in `KERNELS`.
    """
    function, signature = KERNELS[name]
    function.compile(signature)
    (overload,) = function.overloads.values()
    native = overload.fndesc.llvm_func_name
    module = llvm.parse_assembly(function.inspect_llvm(signature.args))
    entry = llvm.parse_assembly(str(_entry(name, native, signature.args)))
    taken, given = ([str(part.type) for part in each.get_function(native).arguments] for each in (module, entry))
    if taken != given:
        raise RuntimeError(f"kernel {name} takes {taken}, expected {given}: this Numba hands on arrays in another way")
    module.link_in(entry)
    module.verify()
    foreign = {part.name for part in module.functions if part.is_declaration and not part.name.startswith("llvm.")}
    if foreign - C_LIBRARY:
        raise RuntimeError(f"kernel {name} calls {', '.join(sorted(foreign - C_LIBRARY))}, which is not in C_LIBRARY")
    return [_kind(argument) for argument in signature.args], target.machine().emit_object(module)


def _kind(argument: types.Type) -> str:
    return ARRAY if isinstance(argument, types.Array) else str(argument)


def _entry(name: str, native: str, arguments: tuple[types.Type, ...]) -> ir.Module:
    """Return a function that takes arrays as Python has them and calls the native one.

    It returns 0, or the number of the first array that is not what the kernel was compiled for, from 1.
    """
    module = ir.Module(name)
    given = [{ARRAY: _POINTER, INTEGER: _WORD, NUMBER: _DOUBLE}[_kind(argument)] for argument in arguments]
    entry = ir.Function(module, ir.FunctionType(_INT, given), name)
    builder = ir.IRBuilder(entry.append_basic_block())
    parts: list[Any] = [
        builder.alloca(_POINTER),
        builder.alloca(_POINTER),
    ]  # of a result and an exception; there is none
    for number, (argument, value) in enumerate(zip(arguments, entry.args, strict=True), 1):
        if isinstance(argument, types.Array):
            with builder.if_then(builder.not_(_is_as_expected(builder, value, argument)), likely=False):
                builder.ret(_INT(number))
            parts += _parts(builder, value, argument)
        else:
            parts.append(value)
    kind = ir.FunctionType(_INT, [part.type for part in parts])
    builder.call(ir.Function(module, kind, native), parts)
    builder.ret(_INT(0))
    return module


def _field(builder: ir.IRBuilder, start: Any, offset: int, kind: ir.Type) -> Any:
    return builder.load(builder.bitcast(builder.gep(start, [_WORD(offset)]), kind.as_pointer()))


def _is_as_expected(builder: ir.IRBuilder, array: Any, expected: types.Array) -> Any:
    its_type = _field(builder, array, _TYPE, _POINTER)
    flags = builder.and_(_field(builder, array, _FLAGS, _INT), _INT(_NEEDED_FLAGS))
    comparisons = (
        (flags, _NEEDED_FLAGS),
        (_field(builder, array, _NUM_AXES, _INT), expected.ndim),
        (_field(builder, its_type, _TYPE_NUMBER, _INT), np.dtype(str(expected.dtype)).num),
        (_field(builder, its_type, _BYTE_ORDER, _BYTE), ord("=")),
    )
    answer = ir.IntType(1)(1)
    for value, wanted in comparisons:
        answer = builder.and_(answer, builder.icmp_signed("==", value, value.type(wanted)))
    return answer


def _parts(builder: ir.IRBuilder, array: Any, kind: types.Array) -> list[Any]:
    """Return what Numba takes an array apart into: owner, parent, size, size of an item, address, shape and strides."""
    nothing = _POINTER(None)
    lists = [_field(builder, array, offset, _POINTER) for offset in (_SHAPE, _STRIDES)]
    shape, strides = ([_field(builder, each, 8 * axis, _WORD) for axis in range(kind.ndim)] for each in lists)
    size = _WORD(1)
    for length in shape:
        size = builder.mul(size, length)
    item_size = _WORD(np.dtype(str(kind.dtype)).itemsize)
    return [nothing, nothing, size, item_size, _field(builder, array, _DATA, _POINTER), *shape, *strides]
