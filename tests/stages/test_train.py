"""The stage train as a process: killed at any moment, run again, the same bytes."""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import weakref
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ruamel.yaml import YAML
from safetensors import safe_open

from rnnflow.classifier import checkpoint
from rnnflow.runtime.errors import InputError
from rnnflow.runtime.provenance import ROOT, file_md5
from rnnflow.sequences import dataset
from rnnflow.sequences.dataset import SequenceDataset
from rnnflow.training.loop import Training
from stages import train
from tests import toys
from tests.flows.services import running

MODEL = "gru"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("train")
    content = YAML(typ="safe").load((ROOT / "params.yaml").read_text())
    content["train"]["epochs"] = 60
    YAML().dump(content, folder / "params.yaml")
    rng = np.random.default_rng(0)
    for split, num_sequences in (("train", 300), ("validation", 50)):
        sequences = [*rng.standard_normal((num_sequences, 10, 1), dtype=np.float32)]
        labels = ["positive" if sequence.sum() > 0 else "negative" for sequence in sequences]
        toys.write_sequences(folder / f"sequences/{split}/part-00000.parquet", sequences, labels, ["value"])
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


def start(
    folder: Path, output: Path, state: Path, params: Path | None = None
) -> AbstractContextManager[subprocess.Popen[str]]:
    chosen = ["--params", str(params)] if params else []
    command = [sys.executable, "-m", "stages.train", *options(folder, output), *chosen]
    return running(command, env=os.environ | {"RNNFLOW_STATE": str(state)}, stdout=subprocess.PIPE)


def run(folder: Path, output: Path, state: Path, params: Path | None = None) -> str:
    """Return what an undisturbed training prints."""
    with start(folder, output, state, params) as process:
        printed, _ = process.communicate()
    assert process.returncode == 0
    return printed


def kill_after(num_epochs: int, process: subprocess.Popen[str], state: Path) -> None:
    wait_for_epochs(process, state, num_epochs)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL


def files(output: Path) -> dict[str, str]:
    return {str(path.relative_to(output)): file_md5(path) for path in output.rglob("*") if path.is_file()}


def test_a_training_killed_in_a_random_epoch_and_repeated_writes_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    run(folder, tmp_path / "whole", tmp_path / "state_of_whole")
    seed = random.SystemRandom().randrange(10**6)
    print(f"random seed {seed}")
    state = tmp_path / "state"
    with start(folder, tmp_path / "killed", state) as process:
        kill_after(random.Random(seed).randint(2, 40), process, state)
    (saved,) = (state / "resume").glob("*.safetensors")
    assert not (tmp_path / "killed/checkpoint.safetensors").exists()

    with safe_open(saved, "np") as content:
        num_done = len(json.loads(content.metadata()["rnnflow"])["description"]["history"])
    first, *others = [line for line in run(folder, tmp_path / "killed", state).splitlines() if MODEL in line]
    assert first == f"{MODEL} on cpu: continues at epoch {num_done + 1}"
    assert all(int(line.split("epoch ")[1].split("/")[0]) > num_done for line in others)
    assert files(tmp_path / "killed") == files(tmp_path / "whole")
    assert not saved.exists()


@pytest.fixture(scope="module")
def params_of_final_fit(folder: Path) -> Path:
    content = YAML(typ="safe").load(folder / "params.yaml")
    content["train"] |= {"final_fit": True, "epochs": 40}
    YAML().dump(content, folder / "final_fit.yaml")
    return folder / "final_fit.yaml"


@pytest.fixture(scope="module")
def final_fit(folder: Path, params_of_final_fit: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Return the folder of a final fit that was never interrupted, and what it printed."""
    output = tmp_path_factory.mktemp("final_fit")
    printed = run(folder, output / "whole", output / "state", params_of_final_fit)
    assert not [*output.glob("state/resume/*")]
    return output / "whole", printed


@pytest.mark.parametrize("with_final_fit", [False, True])
def test_while_it_trains_only_what_is_still_needed_is_in_memory(
    folder: Path, params_of_final_fit: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, with_final_fit: bool
) -> None:
    made: list[tuple[str, weakref.ref[np.ndarray]]] = []

    def noted(name: str, make: Callable[..., SequenceDataset]) -> Callable[..., SequenceDataset]:
        def call(*arguments: object, **named: object) -> SequenceDataset:
            split = make(*arguments, **named)
            made.append((name if name == "joined" else f"{arguments[0]}".rpartition("/")[2], weakref.ref(split.values)))
            return split

        return call

    alive = []

    def run(training: Training, *arguments: Any) -> dict[str, np.ndarray]:
        alive.append([name for name, values in made if values() is not None])
        return whole_run(training, *arguments)

    whole_run = Training.run
    monkeypatch.setattr(Training, "run", run)
    monkeypatch.setattr(dataset, "load", noted("load", dataset.load))
    monkeypatch.setattr(dataset, "joined", noted("joined", dataset.joined))
    monkeypatch.setenv("RNNFLOW_STATE", str(tmp_path / "state"))
    chosen = ["--params", str(params_of_final_fit)] if with_final_fit else []
    train.main([*options(folder, tmp_path), *chosen])
    assert alive == ([["train", "validation"], []] if with_final_fit else [["validation"]])


@pytest.mark.slow
@pytest.mark.parametrize("phase", [0, 1])
def test_a_final_fit_killed_in_either_phase_and_repeated_writes_the_same_bytes(
    folder: Path, params_of_final_fit: Path, final_fit: tuple[Path, str], tmp_path: Path, phase: int
) -> None:
    output, _ = final_fit
    state = tmp_path / "state"
    with start(folder, tmp_path / "killed", state, params_of_final_fit) as process:
        kill_after(40 * phase + random.SystemRandom().randint(1, 25), process, state)
    assert len([*state.glob("resume/*.safetensors")]) == 1 + phase
    run(folder, tmp_path / "killed", state, params_of_final_fit)
    assert files(tmp_path / "killed") == files(output)
    assert not [*state.glob("resume/*")]


def test_a_final_fit_is_said_in_a_line_and_described_by_what_it_was_trained_on(
    folder: Path, final_fit: tuple[Path, str], tmp_path: Path
) -> None:
    output, printed = final_fit
    assert f"{MODEL}: final fit, 40 epochs on train and validation" in printed.splitlines()
    content = YAML(typ="safe").load(folder / "params.yaml")
    content["train"]["epochs"] = 40
    YAML().dump(content, tmp_path / "params.yaml")
    assert "final fit" not in run(folder, tmp_path / "first", tmp_path / "state", tmp_path / "params.yaml")
    assert files(tmp_path / "first/log") == files(output / "log")  # what is logged is the first fit's
    arrays, descriptions = zip(
        *(checkpoint.load(path / "checkpoint.safetensors") for path in (tmp_path / "first", output)), strict=True
    )
    assert not np.array_equal(arrays[0]["head.weight"], arrays[1]["head.weight"])
    assert [sum(description.class_counts) for description in descriptions] == [300, 350]
    splits = [dataset.load(folder / "sequences" / name) for name in ("train", "validation")]
    np.testing.assert_allclose(
        arrays[1]["preparation.mean"], np.concatenate([split.values for split in splits]).mean(0), rtol=1e-4, atol=1e-6
    )


def wait_for_epochs(process: subprocess.Popen[str], state: Path, num_epochs: int) -> None:
    """Return once the state holds so many epochs, those of all fits together."""
    while process.poll() is None:
        num_done = 0
        for path in state.glob("resume/*.safetensors"):
            with contextlib.suppress(FileNotFoundError), safe_open(path, "np") as file:
                num_done += len(json.loads(file.metadata()["rnnflow"])["description"]["history"])
        if num_done >= num_epochs:
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


def test_a_final_fit_that_fails_leaves_nothing(
    folder: Path,
    params_of_final_fit: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("RNNFLOW_STATE", str(tmp_path / "state"))

    def fail(*_: object) -> None:
        raise InputError("training: no second time")

    monkeypatch.setattr(dataset, "joined", fail)
    with pytest.raises(SystemExit) as end:
        train.main([*options(folder, tmp_path / "out"), "--params", str(params_of_final_fit)])
    assert end.value.code == 2
    assert "error: training: no second time" in capsys.readouterr().err
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_file()]


def test_a_final_fit_has_as_many_epochs_as_the_best_weights_of_the_first_had(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RNNFLOW_STATE", str(tmp_path / "state"))
    content = YAML(typ="safe").load(folder / "params.yaml")
    content["train"] |= {"final_fit": True, "early_stopping_patience": 2, "learning_rate": 0.3}
    YAML().dump(content, tmp_path / "params.yaml")
    train.main([*options(folder, tmp_path), "--params", str(tmp_path / "params.yaml")])
    _, *lines = (tmp_path / "log/plots/metrics/validation/loss.tsv").read_text().splitlines()
    losses = [float(line.split("\t")[1]) for line in lines]
    best = 1 + losses.index(min(losses))
    assert best == len(losses) - 2
    assert f"{MODEL}: final fit, {best} epochs on train and validation" in capsys.readouterr().out.splitlines()
