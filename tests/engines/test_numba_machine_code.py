"""What engine numba compiles is kept on disk: for the user alone, checked, the same bits; arrays that do not fit are refused."""

import ctypes
import errno
import math
import os
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import llvmlite
import numpy as np
import pytest
from numba import types

from rnnflow.engines.numba import machine_code, object_code, target
from rnnflow.engines.numba.machine_code import Kernel
from rnnflow.engines.numba.simd import kernel
from rnnflow.runtime.provenance import ROOT

TRAIN = """
import hashlib, sys
from tests.training.test_loop import toy_split, training
from rnnflow.params.models import ModelParams
for cell in ("rnn", "lstm", "gru"):
    model = ModelParams(cell=cell, hidden_size=20, num_layers=2, dropout=0.2, bidirectional=True, pooling="mean_max")
    run = training(model, toy_split(100), engine="numba", epochs=3)
    run.run()
    print(hashlib.sha256(run.weights.tobytes()).hexdigest())
print("imported:", *sorted({"numba", "scipy", "torch"} & set(sys.modules)))
"""


def test_compiled_code_that_cannot_be_kept_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("RNNFLOW_CACHE", str(tmp_path / "file"))
    machine_code.can_be_kept.cache_clear()
    assert not machine_code.can_be_kept()
    assert capsys.readouterr().err.startswith(f"{tmp_path}/file: ")
    machine_code.can_be_kept.cache_clear()


def double(numbers, matrix, factor, offset):
    for index in range(len(numbers)):
        numbers[index] = np.float32(2.0) * numbers[index] + matrix[1, 0] * factor + offset


def tangent(numbers):
    numbers[0] = math.tan(numbers[0])


_FLOATS = types.float32[::1]
DOUBLE = types.void(_FLOATS, types.float64[:, ::1], types.int64, types.float64)
MATRIX = np.array([[0.0], [10.0]])


@pytest.fixture(autouse=True)
def kernels(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setitem(object_code.KERNELS, "double", (kernel(double), DOUBLE))
    monkeypatch.setitem(object_code.KERNELS, "tangent", (kernel(tangent), types.void(types.float64[::1])))
    yield
    machine_code.can_be_kept.cache_clear()


@pytest.fixture
def code_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for compiled code that nothing was kept in before."""
    monkeypatch.setenv("RNNFLOW_CACHE", str(tmp_path))
    return tmp_path / machine_code._key()


def doubled() -> Kernel:
    """A kernel that is compiled or loaded, as in a new process."""
    machine_code.can_be_kept.cache_clear()
    return machine_code.kernel.__wrapped__("double")


def result(function: Kernel) -> list[float]:
    numbers = np.array([21.0, -1.0], np.float32)
    function(numbers, MATRIX, 3, 0.5)
    found: list[float] = numbers.tolist()
    return found


def test_the_kernels_that_the_engine_calls_are_those_that_there_are() -> None:
    assert set(machine_code.NAMES) == object_code.KERNELS.keys() - {"double", "tangent"}


@pytest.mark.usefixtures("code_folder")
def test_compiled_and_kept_code_compute_the_same_and_kept_code_is_not_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    assert result(doubled()) == [72.5, 28.5]
    monkeypatch.delitem(object_code.KERNELS, "double")
    assert result(doubled()) == [72.5, 28.5]


@pytest.mark.usefixtures("code_folder")
@pytest.mark.parametrize(
    ("arguments", "wrong"),
    [
        ((np.zeros(2), MATRIX, 3, 0.5), 1),
        ((np.zeros(2, ">f4"), MATRIX, 3, 0.5), 1),
        ((np.zeros((2, 1), np.float32), MATRIX, 3, 0.5), 1),
        ((np.zeros(4, np.float32)[::2], MATRIX, 3, 0.5), 1),
        ((np.frombuffer(b"12345678", np.float32), MATRIX, 3, 0.5), 1),  # read-only
        ((np.frombuffer(bytearray(9), np.uint8)[1:].view(np.float32), MATRIX, 3, 0.5), 1),  # not aligned
        ((np.zeros(2, np.float32), np.asfortranarray(np.zeros((2, 2))), 3, 0.5), 2),
        ((np.zeros(2, np.float32), MATRIX.astype(np.int64), 3, 0.5), 2),
    ],
)
def test_an_array_that_the_code_was_not_compiled_for_is_refused(arguments: tuple[Any, ...], wrong: int) -> None:
    before = arguments[0].tobytes()
    with pytest.raises(TypeError, match=rf"^kernel double: argument {wrong} is of another type, shape or order"):
        doubled()(*arguments)
    assert arguments[0].tobytes() == before


def test_a_numba_that_hands_on_arrays_in_another_way_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(object_code, "_parts", lambda builder, array, kind: [object_code._POINTER(None)])
    with pytest.raises(RuntimeError, match=r"^kernel double takes .*: this Numba hands on arrays in another way$"):
        object_code.emit("double")


@pytest.mark.usefixtures("code_folder")
@pytest.mark.parametrize("array", [None, [1.0, 2.0], np.float32(1)])
def test_what_is_no_array_is_refused(array: Any) -> None:
    with pytest.raises(TypeError, match=r"^kernel double: argument 1 is no array: "):
        doubled()(array, MATRIX, 3, 0.5)


@pytest.mark.usefixtures("code_folder")
@pytest.mark.parametrize("number", [2.5, None, np.zeros(1)])
def test_what_is_no_number_is_refused(number: Any) -> None:
    with pytest.raises((ctypes.ArgumentError, TypeError)):
        doubled()(np.zeros(2, np.float32), MATRIX, number, 0.5)


def test_a_kernel_that_calls_what_may_not_be_there_when_it_is_loaded_is_not_made() -> None:
    with pytest.raises(RuntimeError, match=r"^kernel tangent calls tan, which is not in C_LIBRARY"):
        object_code.emit("tangent")


@pytest.mark.parametrize("damage", [lambda content: content[:100], lambda content: content[:-1] + b"?", lambda _: b""])
def test_a_damaged_file_of_compiled_code_is_said_and_made_anew(
    code_folder: Path, capsys: pytest.CaptureFixture[str], damage: Callable[[bytes], bytes]
) -> None:
    doubled()
    (file,) = code_folder.iterdir()
    file.write_bytes(damage(file.read_bytes()))
    capsys.readouterr()
    assert result(doubled()) == [72.5, 28.5]
    assert f"{file}: the file is damaged; compiling anew\n" in capsys.readouterr().err
    assert result(doubled()) == [72.5, 28.5]
    assert "damaged" not in capsys.readouterr().err


def test_compiled_code_is_kept_for_the_user_alone(code_folder: Path) -> None:
    doubled()
    assert stat.S_IMODE(code_folder.stat().st_mode) == 0o700


def test_a_folder_that_others_can_write_to_is_not_used(code_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    doubled()
    code_folder.chmod(0o770)
    capsys.readouterr()
    assert result(doubled()) == [72.5, 28.5]
    assert f"{code_folder.name} in it belongs to another user, or others may write" in capsys.readouterr().err


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder away")
def test_the_folder_of_another_user_is_not_used(code_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    doubled()
    os.chown(code_folder, 12345, 12345)
    capsys.readouterr()
    assert result(doubled()) == [72.5, 28.5]
    assert f"{code_folder.name} in it belongs to another user" in capsys.readouterr().err


def test_a_full_disk_is_said_and_the_code_runs(
    code_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", full)
    assert result(doubled()) == [72.5, 28.5]
    assert "No space left on device; what was compiled is not kept" in capsys.readouterr().err
    assert list(code_folder.iterdir()) == []


@pytest.mark.parametrize(
    ("place", "name"),
    [
        (llvmlite, "__version__"),
        (target, "TRIPLE"),
        (target, "PROCESSOR"),
        (target, "FEATURES"),
    ],
)
def test_each_compiler_and_processor_has_code_of_its_own(
    monkeypatch: pytest.MonkeyPatch, place: Any, name: str
) -> None:
    before = machine_code._key.__wrapped__()
    monkeypatch.setattr(place, name, "another")
    assert machine_code._key.__wrapped__() != before


@pytest.mark.slow
def test_code_that_was_just_compiled_and_code_from_disk_give_the_same_bits(tmp_path: Path) -> None:
    def run(**environment: str) -> list[str]:
        program = [sys.executable, "-c", TRAIN]
        names = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), **environment}
        return subprocess.run(
            program, check=True, cwd=ROOT, env=names, capture_output=True, text=True
        ).stdout.splitlines()

    *cold, _ = run()
    files = {file: file.stat().st_mtime_ns for file in (tmp_path / ".cache" / "rnnflow").rglob("*.o")}
    assert len(files) == 1
    *warm, imported = run()
    assert warm == cold
    assert imported == "imported:"
    assert {file: file.stat().st_mtime_ns for file in files} == files
