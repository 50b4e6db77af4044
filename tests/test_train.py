"""The stage train as a process: killed at any moment, run again, the same bytes."""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML
from safetensors import safe_open

from rnnflow.provenance import ROOT, file_md5
from stages import generate, train

MODEL = "gru"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("train")
    content = YAML(typ="safe").load((ROOT / "params.yaml").read_text())
    content["generate"]["num_sequences"] = {"train": 300, "validation": 50, "test": 50}
    content["train"]["epochs"] = 60
    YAML().dump(content, folder / "params.yaml")
    generate.main(
        ["--params", str(folder / "params.yaml"), "--raw", str(folder), "--output", str(folder / "sequences")]
    )
    return folder


def options(folder: Path, output: Path, name: str = MODEL) -> list[str]:
    return [
        name,
        *("--params", str(folder / "params.yaml")),
        *("--train", str(folder / "sequences/train")),
        *("--validation", str(folder / "sequences/validation")),
        *("--checkpoint", str(output / "checkpoint.safetensors")),
        *("--log", str(output / "log")),
    ]


def start(folder: Path, output: Path, state: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "stages.train", *options(folder, output)],
        cwd=ROOT,
        env=os.environ | {"RNNFLOW_STATE": str(state)},
        stdout=subprocess.PIPE,
        text=True,
    )


def files(output: Path) -> dict[str, str]:
    return {str(path.relative_to(output)): file_md5(path) for path in output.rglob("*") if path.is_file()}


def test_a_training_killed_in_a_random_epoch_and_repeated_writes_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    whole = start(folder, tmp_path / "whole", tmp_path / "state_of_whole")
    whole.communicate()
    assert whole.returncode == 0

    seed = random.SystemRandom().randrange(10**6)
    print(f"random seed {seed}")
    state = tmp_path / "state"
    process = start(folder, tmp_path / "killed", state)
    wait_for_epochs(process, state, random.Random(seed).randint(1, 40))
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    (saved,) = (state / "resume").glob("*.safetensors")
    assert not (tmp_path / "killed/checkpoint.safetensors").exists()

    again = start(folder, tmp_path / "killed", state)
    again.communicate()
    assert again.returncode == 0
    assert files(tmp_path / "killed") == files(tmp_path / "whole")
    assert not saved.exists()


def wait_for_epochs(process: subprocess.Popen[str], state: Path, num_epochs: int) -> None:
    """Return once the state holds so many epochs."""
    while process.poll() is None:
        for path in state.glob("resume/*.safetensors"):
            with contextlib.suppress(FileNotFoundError), safe_open(path, "np") as file:
                if len(json.loads(file.metadata()["rnnflow"])["history"]) >= num_epochs:
                    return
    pytest.fail("the training ended before it could be killed")


def test_the_log_holds_every_epoch_and_no_time(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RNNFLOW_STATE", str(tmp_path / "state"))
    train.main(options(folder, tmp_path))
    losses = (tmp_path / "log/plots/metrics/train/loss.tsv").read_text().splitlines()
    assert losses[0] == "step\tloss"
    assert len(losses) == 61


def test_an_unknown_model_is_refused(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        train.main(options(folder, tmp_path, "transformer"))
    assert end.value.code == 2
    assert "models: no entry 'transformer', there are rnn, lstm, gru" in capsys.readouterr().err
    assert not (tmp_path / "checkpoint.safetensors").exists()


def test_a_training_that_fails_leaves_nothing(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RNNFLOW_STATE", str(tmp_path / "state"))
    content = YAML(typ="safe").load(folder / "params.yaml")
    content["train"]["learning_rate"] = 1e37
    YAML().dump(content, tmp_path / "params.yaml")
    with pytest.raises(SystemExit) as end:
        train.main([*options(folder, tmp_path / "out"), "--params", str(tmp_path / "params.yaml")])
    assert end.value.code == 2
    assert "error: training: the loss is" in capsys.readouterr().err
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and path.name != "params.yaml"]
