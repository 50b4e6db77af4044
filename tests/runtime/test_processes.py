"""Training by several processes: the same steps as by one, and a clean end when one of them dies."""

import os
import re
import signal
import subprocess
import sys
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import psutil
import pytest

from rnnflow.classifier import checkpoint
from rnnflow.runtime import processes
from rnnflow.runtime.errors import InputError
from rnnflow.runtime.provenance import file_md5
from stages import train
from tests import toys
from tests.flows.services import running, wait_for_deaths, wait_until

FEATURES = ["value"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("processes")
    rng = np.random.default_rng(0)
    for split, num_sequences in (("train", 300), ("validation", 50)):
        lengths = rng.integers(3, 12, num_sequences)
        sequences = [rng.standard_normal((length, 1), dtype=np.float32) for length in lengths]
        labels = ["positive" if sequence.sum() > 0 else "negative" for sequence in sequences]
        toys.write_sequences(folder / split / "part-00000.parquet", sequences, labels, FEATURES)
    return folder


def options(folder: Path, output: Path, **recipe: object) -> list[str]:
    """Arguments of the stage; the last batch of an epoch has fewer sequences than there are processes."""
    content = {"epochs": 8, "batch_size": 23, "jitter": 0.1, "learning_rate": 0.02, "num_processes": 2, **recipe}
    model = {"cell": "gru", "hidden_size": 8, "dropout": 0.2, "num_layers": 2, "bidirectional": True}
    output.mkdir(parents=True)
    params = toys.write_params(output, train=content, models={"toy": model})
    return [
        "toy",
        f"--params={params}",
        f"--train={folder}/train",
        f"--validation={folder}/validation",
        f"--checkpoint={output}/checkpoint.safetensors",
        f"--log={output}/log",
    ]


def start(arguments: list[str], state: Path) -> AbstractContextManager[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "stages.train", *arguments]
    environment = os.environ | {"RNNFLOW_STATE": str(state)}
    return running(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def run(arguments: list[str], state: Path) -> tuple[int, str, str]:
    with start(arguments, state) as process:
        printed, said = process.communicate()
    return process.returncode, printed, said


def wait_for_first_epoch(process: subprocess.Popen[str], state: Path) -> list[psutil.Process]:
    """Return the processes that a training has started, once the first epoch is done and kept."""

    def is_kept() -> bool:
        assert process.poll() is None, "the training has ended"
        return any(state.glob("resume/*.safetensors"))

    wait_until(is_kept, "the first epoch")
    return psutil.Process(process.pid).children(recursive=True)


def weights(output: Path) -> np.ndarray:
    arrays, _ = checkpoint.load(output / "checkpoint.safetensors")
    return np.concatenate([array.ravel() for array in arrays.values()])


@pytest.fixture(scope="module")
def whole(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder of an undisturbed training by two processes, and what it printed."""
    output = tmp_path_factory.mktemp("whole") / "output"
    status, printed, said = run(options(folder, output), output / "state")
    assert status == 0, said
    return output, printed


@pytest.mark.slow
def test_two_processes_end_where_one_does(
    folder: Path, whole: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RNNFLOW_STATE", str(tmp_path / "state"))
    train.main(options(folder, tmp_path / "one", num_processes=1))
    np.testing.assert_allclose(weights(whole[0]), weights(tmp_path / "one"), atol=2e-3)


@pytest.mark.slow
def test_the_first_process_alone_prints(whole: tuple[Path, str]) -> None:
    advice, *lines = whole[1].splitlines()
    assert re.match(
        r"toy: warning: train.num_processes: 2 share 0\.\d million multiply-adds a batch and take longer", advice
    )
    assert len(lines) == 8
    assert len(set(lines)) == 8


@pytest.mark.slow
def test_a_killed_process_ends_the_stage_and_a_retry_ends_with_the_same_bytes(
    folder: Path, whole: tuple[Path, str], tmp_path: Path
) -> None:
    arguments, state = options(folder, tmp_path / "killed"), tmp_path / "state"
    with start(arguments, state) as process:
        members = wait_for_first_epoch(process, state)
        ranks = [member for member in members if "stages.train" in member.cmdline()]
        ranks[-1].send_signal(signal.SIGKILL)
        _, said = process.communicate()
        wait_for_deaths(members)
    assert process.returncode == 128 + signal.SIGKILL
    assert "ended with signal 9" in said.splitlines()[-1]
    assert not (tmp_path / "killed/checkpoint.safetensors").exists()
    status, _, said = run(arguments, state)
    assert status == 0, said
    name = "checkpoint.safetensors"
    assert file_md5(tmp_path / "killed" / name) == file_md5(whole[0] / name)


@pytest.mark.slow
def test_processes_whose_launcher_is_killed_end(folder: Path, tmp_path: Path) -> None:
    with start(options(folder, tmp_path / "orphans", epochs=100_000), tmp_path / "state") as process:
        members = wait_for_first_epoch(process, tmp_path / "state")
        process.kill()
        process.communicate()
        wait_for_deaths(members)


@pytest.mark.slow
def test_a_mistake_is_said_once(folder: Path, tmp_path: Path) -> None:
    status, _, said = run(options(folder, tmp_path / "output", learning_rate=1e37), tmp_path / "state")
    assert status == 2
    assert [line for line in said.splitlines() if line.startswith("error: ")] == [
        line for line in said.splitlines() if "training: the loss is" in line
    ]
    assert said.count("error: ") == 1


def test_more_processes_than_sequences_in_a_batch_are_refused(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        train.main(options(folder, tmp_path / "output", num_processes=24))
    assert end.value.code == 2
    assert "num_processes 24, more than the 23 sequences of a batch" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"WORLD_SIZE": "abc"}, "WORLD_SIZE: expected a number that torchrun sets, got 'abc'"),
        ({"RANK": "-1"}, "RANK: expected a number that torchrun sets, got '-1'"),
        ({"RANK": "5"}, "RANK: expected 0 to 0, as WORLD_SIZE is 1, got 5"),
        ({"RANK": "2", "WORLD_SIZE": "2"}, "RANK: expected 0 to 1, as WORLD_SIZE is 2, got 2"),
    ],
)
def test_variables_that_cannot_be_right_are_refused(
    variables: dict[str, str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a rank alone, that a job scheduler left, a training ended well and wrote nothing."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(InputError, match=re.escape(message)):
        processes.check()
