"""Flush-to-zero for the duration of a compiled call.

Over some 150 steps back in time gradients vanish into denormal numbers, on which a CPU is many times slower: trainings
on sequences of length 1,000 took four to fourteen times as long. Numbers that small change no weight. As zeros they cost
nothing, and the bits no longer depend on whether another library has set the mode for this thread before.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

_WORD, _NOTHING = ir.IntType(64), ir.VoidType()
_MEMORY = "~{memory}"
"""The compiler moves no load or store across such an instruction, and so no arithmetic on what is loaded."""


@dataclass(frozen=True)
class _Control:
    """How a processor's control register of floating-point arithmetic is read and written."""

    flushes: int
    """The bits that make denormal results and operands zero."""
    read: Callable[[Any], Any]
    write: Callable[[Any, Any], None]


def _read_mxcsr(builder: Any) -> Any:
    place = builder.alloca(ir.IntType(32))
    kind = ir.FunctionType(_NOTHING, [place.type])
    builder.asm(kind, "stmxcsr ($0)", f"r,{_MEMORY}", [place], side_effect=True)
    return builder.zext(builder.load(place), _WORD)


def _write_mxcsr(builder: Any, mode: Any) -> None:
    place = builder.alloca(ir.IntType(32))
    builder.store(builder.trunc(mode, ir.IntType(32)), place)
    kind = ir.FunctionType(_NOTHING, [place.type])
    builder.asm(kind, "ldmxcsr ($0)", f"r,{_MEMORY}", [place], side_effect=True)


def _read_fpcr(builder: Any) -> Any:
    return builder.asm(ir.FunctionType(_WORD, []), "mrs $0, fpcr", f"=r,{_MEMORY}", [], side_effect=True)


def _write_fpcr(builder: Any, mode: Any) -> None:
    builder.asm(ir.FunctionType(_NOTHING, [_WORD]), "msr fpcr, $0", f"r,{_MEMORY}", [mode], side_effect=True)


_X86 = _Control(flushes=1 << 15 | 1 << 6, read=_read_mxcsr, write=_write_mxcsr)  # FTZ and DAZ
_ARM = _Control(flushes=1 << 24, read=_read_fpcr, write=_write_fpcr)  # FZ, which is both
_CONTROLS = {"x86_64": _X86, "amd64": _X86, "aarch64": _ARM, "arm64": _ARM}


def _control() -> _Control | None:
    """Return that of this processor; none where it is unknown, and denormal numbers stay what they are."""
    return _CONTROLS.get(llvm.get_process_triple().split("-")[0])


llvm.initialize_native_asmparser()  # or LLVM aborts at the first of these instructions


@intrinsic
def flush_denormals(typing_context):
    """Have this thread compute with zeros instead of denormal numbers, and return how it computed before."""

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        control = _control()
        if control is None:
            return ir.Constant(_WORD, 0)
        before = control.read(builder)
        control.write(builder, builder.or_(before, ir.Constant(_WORD, control.flushes)))
        return before

    return types.int64(), emit


@intrinsic
def restore_denormals(typing_context, before):
    """Have this thread compute as it did before `flush_denormals`."""

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        control = _control()
        if control is not None:
            control.write(builder, args[0])
        return context.get_dummy_value()

    return types.void(types.int64), emit
