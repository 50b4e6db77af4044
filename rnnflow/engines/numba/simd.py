"""Sixteen float32 numbers as one value in compiled code, and the tile of a matrix product that is made of them.

Loops over single numbers are vectorised where the compiler sees that they may be; where arrays might overlap, it falls
back without a word. A `Float32x16` is a vector whatever it sees: arithmetic works on each of the sixteen and rounds as
IEEE 754 says, so that a CPU with short vectors computes the same bits as one with long ones.

Matrices are kept in *panels*: sixteen columns, one row of them after another, then the next sixteen.
"""

import functools
import inspect
import operator
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.core.imputils import lower_builtin
from numba.core.typing.templates import ConcreteTemplate, infer_global, signature
from numba.extending import intrinsic, models, register_model

from rnnflow.engines.numba.target import ROWS, WIDTH

ZERO, HALF, ONE = np.float32(0.0), np.float32(0.5), np.float32(1.0)

_FLOAT = ir.FloatType()
_VECTOR = ir.VectorType(_FLOAT, WIDTH)
_INDEX = ir.IntType(64)
_SHUFFLE_INDEX = ir.IntType(32)

_ALIGNMENT = 4
"""Bytes: vectors are read and written at any number."""

Start = Literal["zero", "sum", "bias"]


class Float32x16Type(types.Type):
    """Numba's type of sixteen float32 numbers."""

    def __init__(self) -> None:
        super().__init__(name="Float32x16")


FLOAT32X16 = Float32x16Type()


@register_model(Float32x16Type)
class _Float32x16Model(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, _VECTOR)


def _define(function: Callable, instruction: str) -> None:
    """Let an operator on vectors stand for an instruction."""

    @infer_global(function)
    class _Template(ConcreteTemplate):
        cases = [signature(FLOAT32X16, FLOAT32X16, FLOAT32X16)]  # noqa: RUF012 - as Numba wants it

    @lower_builtin(function, FLOAT32X16, FLOAT32X16)
    def _lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return getattr(builder, instruction)(*args)


_define(operator.add, "fadd")
_define(operator.sub, "fsub")
_define(operator.mul, "fmul")
_define(operator.truediv, "fdiv")


def _data(context: Any, builder: Any, kind: Any, array: Any) -> Any:
    return context.make_array(kind)(context, builder, array).data


def _vector_at(builder: Any, data: Any, index: Any) -> Any:
    return builder.bitcast(builder.gep(data, [index]), _VECTOR.as_pointer())


def _load(builder: Any, address: Any) -> Any:
    return builder.load(address, align=_ALIGNMENT)


def _store(builder: Any, value: Any, address: Any) -> None:
    builder.store(value, address, align=_ALIGNMENT)


def _splat(builder: Any, value: Any) -> Any:
    undefined = ir.Constant(_VECTOR, ir.Undefined)
    # One element, then sixteen copies of it: the pattern that LLVM turns into a broadcast.
    first = builder.insert_element(undefined, value, ir.Constant(_SHUFFLE_INDEX, 0))
    return builder.shuffle_vector(first, undefined, ir.Constant(ir.VectorType(_SHUFFLE_INDEX, WIDTH), [0] * WIDTH))


def _fma(builder: Any) -> Any:
    kind = ir.FunctionType(_VECTOR, [_VECTOR] * 3)
    return cgutils.get_or_insert_function(builder.module, kind, f"llvm.fma.v{WIDTH}f32")


@intrinsic
def load(typing_context, array, index):
    """Return sixteen numbers of an array from `index` on."""

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return _load(builder, _vector_at(builder, _data(context, builder, sig.args[0], args[0]), args[1]))

    return FLOAT32X16(array, types.intp), emit


@intrinsic
def store(typing_context, array, index, vector):
    """Write sixteen numbers into an array from `index` on."""

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        _store(builder, args[2], _vector_at(builder, _data(context, builder, sig.args[0], args[0]), args[1]))
        return context.get_dummy_value()

    return types.void(array, types.intp, FLOAT32X16), emit


@intrinsic
def broadcast(typing_context, number):
    """Return one number sixteen times."""

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return _splat(builder, args[0])

    return FLOAT32X16(types.float32), emit


@intrinsic
def fma(typing_context, a, b, c):
    """Return `a * b + c`, rounded once."""

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.call(_fma(builder), args)

    return FLOAT32X16(FLOAT32X16, FLOAT32X16, FLOAT32X16), emit


@intrinsic
def larger(typing_context, a, b):
    """Return the larger of each two numbers; NaN where either is."""

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        first, second = args
        keeps = builder.fcmp_ordered(">=", first, second)
        is_nan = builder.fcmp_unordered("uno", first, first)
        return builder.select(builder.or_(keeps, is_nan), first, second)

    return FLOAT32X16(FLOAT32X16, FLOAT32X16), emit


@intrinsic
def where_equal(typing_context, a, b, value, other):
    """Return `value` where `a` is `b`, else `other`."""

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.select(builder.fcmp_ordered("==", args[0], args[1]), args[2], args[3])

    return FLOAT32X16(FLOAT32X16, FLOAT32X16, FLOAT32X16, FLOAT32X16), emit


@intrinsic
def clamp(typing_context, vector, bound):
    """Return numbers no further from zero than `bound`; NaN stays NaN."""

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        high, low = _splat(builder, args[1]), _splat(builder, builder.fneg(args[1]))
        value = builder.select(builder.fcmp_ordered(">", args[0], high), high, args[0])
        return builder.select(builder.fcmp_ordered("<", value, low), low, value)

    return FLOAT32X16(FLOAT32X16, types.float32), emit


@intrinsic
def transpose(typing_context, source, start, stride, target, to, to_stride):
    """Copy sixteen rows of sixteen numbers, `stride` apart, to where they are columns, `to_stride` apart."""

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        source, start, stride, target, to, to_stride = args
        read, written = _data(context, builder, sig.args[0], source), _data(context, builder, sig.args[3], target)
        at = lambda first, apart, row: builder.add(first, builder.mul(apart, ir.Constant(_INDEX, row)))  # noqa: E731
        rows = [_load(builder, _vector_at(builder, read, at(start, stride, row))) for row in range(WIDTH)]
        # Of two rows that are `size` apart, the blocks off the diagonal change places; after 8, 4, 2 and 1 all have.
        for size in (8, 4, 2, 1):
            for row in [row for row in range(WIDTH) if not row & size]:
                pair = rows[row], rows[row + size]
                for place, offset in ((row, 0), (row + size, size)):
                    chosen = [
                        column + offset if not column & size else WIDTH + column + offset - size
                        for column in range(WIDTH)
                    ]
                    rows[place] = builder.shuffle_vector(
                        *pair, ir.Constant(ir.VectorType(_SHUFFLE_INDEX, WIDTH), chosen)
                    )
        for row, vector in enumerate(rows):
            _store(builder, vector, _vector_at(builder, written, at(to, to_stride, row)))
        return context.get_dummy_value()

    index = types.intp
    return types.void(source, index, index, target, index, index), emit


def kernel(function: Callable) -> Any:
    """Let Numba compile a function when it is called, without what a type checker may have wrapped around it.

    It can neither make an array nor raise an exception, for which machine code would need Numba; see `object_code.py`.
    """
    options = {"_nrt": False, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
    return njit(error_model="numpy", **options)(inspect.unwrap(function))


def tile(start: Start, is_transposed: bool, num_panels: int) -> Any:
    """Return the compiled product of `ROWS` rows with panels of B: it adds up `depth` terms in registers, in their order.

    The function it returns takes `(work, c, c_stride, a, a_stride, b, b_stride, depth, bias)`: all in one array, by their
    places in it, strides from one panel to the next. In every step it reads sixteen numbers of each panel of B, multiplies
    them by one number of each row of A and adds the products to the row's sums, rounding once.

    Args:
        start: what the terms are added to: zero, what is in C, or the sixteen numbers a panel from `bias` on.
        is_transposed: whether the rows of the product are columns of A, within one panel.
        num_panels: of B and C.
    """
    places = [(row, panel) for row in range(ROWS) for panel in range(num_panels)]

    @intrinsic
    def compiled(typing_context, work, c, c_stride, a, a_stride, b, b_stride, depth, bias):
        def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            data = _data(context, builder, sig.args[0], args[0])
            _, c, c_stride, a, a_stride, b, b_stride, depth, bias = args
            number = lambda value: ir.Constant(_INDEX, value)  # noqa: E731
            at = lambda *terms: _vector_at(builder, data, functools.reduce(builder.add, terms))  # noqa: E731
            c_panels = [builder.add(c, builder.mul(c_stride, number(panel))) for panel in range(num_panels)]
            b_panels = [builder.add(b, builder.mul(b_stride, number(panel))) for panel in range(num_panels)]
            targets = [at(c_panels[panel], number(row * WIDTH)) for row, panel in places]
            if start == "bias":
                biases = [_load(builder, at(bias, number(panel * WIDTH))) for panel in range(num_panels)]
                begin = [biases[panel] for _, panel in places]
            elif start == "sum":
                begin = [_load(builder, target) for target in targets]
            else:
                begin = [ir.Constant(_VECTOR, [0.0] * WIDTH)] * len(places)

            # A loop in LLVM's form: the head chooses between the body and the end, and the phi nodes say what the step
            # and the sums are there, depending on where it was entered from. Sums that are phi nodes stay in registers.
            before = builder.block
            head, body, end = (builder.append_basic_block(f"tile.{name}") for name in ("head", "body", "end"))
            builder.branch(head)

            builder.position_at_end(head)
            step = builder.phi(_INDEX)
            step.add_incoming(number(0), before)
            sums = [builder.phi(_VECTOR) for _ in places]
            for total, first in zip(sums, begin, strict=True):
                total.add_incoming(first, before)
            builder.cbranch(builder.icmp_signed("<", step, depth), body, end)

            builder.position_at_end(body)
            row_of_b = builder.shl(step, number(4))  # (depth, 16)
            terms = [_load(builder, at(panel, row_of_b)) for panel in b_panels]
            if is_transposed:  # (depth, 16), of which the tile's rows are ROWS columns side by side
                first, apart = builder.add(a, row_of_b), 1
            else:  # (depth / 16, rows, 16), of which they are ROWS rows one below the other
                panel_of_a, column = builder.ashr(step, number(4)), builder.and_(step, number(WIDTH - 1))
                first, apart = builder.add(a, builder.add(builder.mul(panel_of_a, a_stride), column)), WIDTH
            factors = [
                _splat(builder, builder.load(builder.gep(data, [builder.add(first, number(row * apart))])))
                for row in range(ROWS)
            ]
            for (row, panel), total in zip(places, sums, strict=True):
                total.add_incoming(builder.call(_fma(builder), [factors[row], terms[panel], total]), body)
            step.add_incoming(builder.add(step, number(1)), body)
            builder.branch(head)

            builder.position_at_end(end)
            for total, target in zip(sums, targets, strict=True):
                _store(builder, total, target)
            return context.get_dummy_value()

        index = types.intp
        return types.void(work, *[index] * 8), emit

    return compiled
