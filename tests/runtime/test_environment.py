import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import get_args

import pytest
import torch

from rnnflow import engines
from rnnflow.params.train import Engine
from rnnflow.runtime import environment
from rnnflow.runtime.errors import InputError
from tests.flows.services import running

ENGINES = get_args(Engine)


@pytest.mark.parametrize("engine", ENGINES)
def test_the_device_is_the_processor_where_asked_for(monkeypatch: pytest.MonkeyPatch, engine: Engine) -> None:
    monkeypatch.setenv("RNNFLOW_DEVICE", "cpu")
    assert environment.wanted_device() == "cpu"
    assert engines.device(engine) == "cpu"


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("wanted", [None, "auto"])
def test_auto_takes_a_gpu_where_there_is_one_for_the_engine(
    monkeypatch: pytest.MonkeyPatch, engine: Engine, wanted: str | None
) -> None:
    monkeypatch.delenv("RNNFLOW_DEVICE", raising=False)
    if wanted:
        monkeypatch.setenv("RNNFLOW_DEVICE", wanted)
    assert environment.wanted_device() == "auto"
    assert engines.device(engine) == ("cuda" if engine == "torch" and torch.cuda.is_available() else "cpu")


@pytest.mark.parametrize("engine", ENGINES)
def test_an_unknown_device_is_refused(monkeypatch: pytest.MonkeyPatch, engine: Engine) -> None:
    monkeypatch.setenv("RNNFLOW_DEVICE", "gpu")
    with pytest.raises(InputError, match="RNNFLOW_DEVICE: expected auto, cpu or cuda, got 'gpu'"):
        engines.device(engine)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_gpu_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RNNFLOW_DEVICE", "cuda")
    assert environment.wanted_device() == "cuda"
    with pytest.raises(InputError, match="finds no GPU"):
        engines.device("torch")


def test_a_gpu_is_refused_by_an_engine_for_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RNNFLOW_DEVICE", "cuda")
    with pytest.raises(InputError, match=r"RNNFLOW_DEVICE is cuda, but train\.engine numba runs on the CPU"):
        engines.device("numba")


def test_the_state_of_a_training_is_known_by_what_it_is_made_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RNNFLOW_STATE", str(tmp_path))
    one = environment.resume_file({"data": "1", "code": "2"})
    assert one == environment.resume_file({"code": "2", "data": "1"})
    assert one != environment.resume_file({"data": "1", "code": "3"})
    assert one != environment.resume_file({"data": "1", "code": "2", "device": "cuda"})
    assert one.is_relative_to(tmp_path)


def test_scratch_space_is_a_folder_beside_the_states(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RNNFLOW_STATE", str(tmp_path / "state"))
    folder = environment.scratch_folder()
    assert folder.is_dir()
    assert folder.is_relative_to(tmp_path / "state")
    assert folder != environment.resume_file({}).parent
    assert environment.scratch_folder() == folder


def test_the_end_of_a_training_removes_its_state_and_forgotten_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RNNFLOW_STATE", str(tmp_path))
    own, forgotten, other = (environment.resume_file({"data": name}) for name in ("1", "2", "3"))
    own.parent.mkdir()
    for file in (own, forgotten, other):
        file.touch()
    os.utime(forgotten, (0, 0))
    environment.end_resume(own)
    assert list(own.parent.iterdir()) == [other]


END_BESIDE_OTHERS = """
import sys
from pathlib import Path
from rnnflow.runtime.environment import end_resume
for number in range(300):
    for name in range(10):
        (Path(sys.argv[1]) / f"{number % 7}-{name}").touch()
    end_resume(Path(sys.argv[1]) / f"{sys.argv[2]}.safetensors")
"""


def test_trainings_that_end_side_by_side_do_not_stumble_over_files_that_others_remove(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = END_BESIDE_OTHERS.replace("import sys\n", "import sys\nfrom rnnflow.runtime import environment\n", 1)
    program = program.replace("for number", "environment.MAX_STATE_AGE_SECONDS = 0\nfor number", 1)
    command = [sys.executable, "-c", program, str(tmp_path)]
    with running([*command, "one"]) as one, running([*command, "two"]) as two:
        assert (one.wait(), two.wait()) == (0, 0)


def test_a_lock_is_waited_for_said_and_gone_afterwards(tmp_path: Path) -> None:
    file = tmp_path / "resume" / "key.safetensors"
    program = (
        "import sys; from pathlib import Path; from rnnflow.runtime.environment import held\n"
        "with held(Path(sys.argv[1]), lambda: print('waits', flush=True)): print('has it', flush=True)\n"
    )
    with ExitStack() as stack:
        with environment.held(file, lambda: None):
            command = [sys.executable, "-c", program, str(file)]
            other = stack.enter_context(running(command, stdout=subprocess.PIPE))
            assert other.stdout is not None
            assert other.stdout.readline() == "waits\n"
            assert other.poll() is None
        printed, _ = other.communicate()
    assert (printed, other.returncode) == ("has it\n", 0)
    assert not [*file.parent.iterdir()]
