"""What engine numba compiles is kept on disk: for the user alone, checked, the same bits."""

import os
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import llvmlite
import numba
import pytest
from numba import types

from rnnflow.engines.numba import cache
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
print("imported:", *sorted({"scipy.linalg", "torch"} & set(sys.modules)))
"""


def test_compiled_code_that_cannot_be_kept_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("RNNFLOW_CACHE", str(tmp_path / "file"))
    cache.can_be_kept.cache_clear()
    assert not cache.can_be_kept()
    assert capsys.readouterr().err.startswith(f"{tmp_path}/file: ")
    cache.can_be_kept.cache_clear()


@pytest.fixture
def cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder for compiled code that nothing was kept in before."""
    monkeypatch.setenv("RNNFLOW_CACHE", str(tmp_path))
    yield Path(cache.ContentLocator().get_cache_path())
    cache.can_be_kept.cache_clear()


def doubled() -> Any:
    """A new function each time, as in a new process."""
    cache.can_be_kept.cache_clear()
    return cache.compiled(kernel(double), types.float64(types.float64))


def double(number: float) -> float:
    return 2 * number


@pytest.mark.parametrize("pattern", ["*.nbi", "*.nbc"])
@pytest.mark.parametrize("damage", [lambda content: content[:100], lambda content: content[:-1] + b"?", lambda _: b""])
def test_a_damaged_file_of_compiled_code_is_said_and_made_anew(
    cache_folder: Path, capsys: pytest.CaptureFixture[str], pattern: str, damage: Callable[[bytes], bytes]
) -> None:
    doubled()
    (file,) = cache_folder.glob(pattern)
    file.write_bytes(damage(file.read_bytes()))
    capsys.readouterr()
    assert doubled()(21.0) == 42.0
    assert capsys.readouterr().err == f"{file}: the file is damaged; compiling anew\n"
    again = doubled()
    assert again(21.0) == 42.0
    assert sum(again.stats.cache_hits.values()) == 1
    assert not capsys.readouterr().err


@pytest.mark.parametrize("version", [numba.__version__, "0.99.0"])
@pytest.mark.usefixtures("cache_folder")
def test_kept_code_is_loaded_by_a_short_way_only_in_the_version_that_it_was_tried_with(
    monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    monkeypatch.setattr(numba, "__version__", version)
    doubled()
    again = doubled()
    assert again(21.0) == 42.0
    assert sum(again.stats.cache_hits.values()) == 1
    assert ("load_overload" in vars(again._cache)) == version.startswith(cache.TRIED_WITH)


def test_compiled_code_is_kept_for_the_user_alone(cache_folder: Path) -> None:
    doubled()
    assert stat.S_IMODE(cache_folder.stat().st_mode) == 0o700


def test_a_folder_that_others_can_write_to_is_not_used(cache_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    doubled()
    cache_folder.chmod(0o770)
    capsys.readouterr()
    assert not doubled().stats.cache_hits
    assert f"{cache_folder.name} in it belongs to another user, or others may write" in capsys.readouterr().err


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder away")
def test_the_folder_of_another_user_is_not_used(cache_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    doubled()
    os.chown(cache_folder, 12345, 12345)
    capsys.readouterr()
    assert not doubled().stats.cache_hits
    assert f"{cache_folder.name} in it belongs to another user" in capsys.readouterr().err


@pytest.mark.parametrize("package", [numba, llvmlite])
def test_each_version_of_the_compiler_keeps_its_own_code(monkeypatch: pytest.MonkeyPatch, package: Any) -> None:
    keys = [cache._key.__wrapped__()]
    monkeypatch.setattr(package, "__version__", "0.0.1")
    keys.append(cache._key.__wrapped__())
    assert keys[0] != keys[1]


@pytest.mark.slow
def test_code_that_was_just_compiled_and_code_from_disk_give_the_same_bits(tmp_path: Path) -> None:
    def run(**environment: str) -> str:
        program = [sys.executable, "-c", TRAIN]
        names = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), **environment}
        return subprocess.run(program, check=True, cwd=ROOT, env=names, capture_output=True, text=True).stdout

    cold = run()
    assert cold.splitlines()[-1] == "imported:"
    files = {file: file.stat().st_mtime_ns for file in (tmp_path / ".cache" / "rnnflow").rglob("*.nbc")}
    assert len(files) == 1
    assert run() == cold
    assert {file: file.stat().st_mtime_ns for file in files} == files
