"""The processor that the kernels are compiled for, asked for without Numba, which takes a process long to load."""

import os
from contextlib import suppress

import llvmlite.binding as llvm

WIDTH = 16
"""Numbers that the kernels compute with at a time."""


def _host_features() -> str:
    with suppress(RuntimeError):  # LLVM does not know them of every processor
        return str(llvm.get_host_cpu_features().flatten())
    return ""


llvm.initialize_native_target()
llvm.initialize_native_asmprinter()
TRIPLE = llvm.get_process_triple()
_NAMED = os.environ.get("NUMBA_CPU_NAME")
PROCESSOR = _NAMED or llvm.get_host_cpu_name()
FEATURES = os.environ.get("NUMBA_CPU_FEATURES", "" if _NAMED else _host_features())
"""Besides those that a processor of this name has anyway. The variables are Numba's own."""
ROWS, PANELS = (8, 2) if "+avx512f" in FEATURES.split(",") else (4, 1)
"""Of a tile of a product. Its sums stay in registers: 16 of the 32 that AVX-512 has, 8 of 16 with AVX2, where sixteen numbers
fill two.

Two panels share the numbers of A that a step reads: with one, reading them takes as long as the arithmetic.
"""


def machine() -> llvm.TargetMachine:
    """Return what makes machine code for it."""
    target = llvm.Target.from_triple(TRIPLE)
    return target.create_target_machine(cpu=PROCESSOR, features=FEATURES, opt=3, codemodel="jitdefault", jit=True)
