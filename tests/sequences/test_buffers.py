import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ruamel.yaml import YAML

from rnnflow.params.models import ModelParams
from rnnflow.runtime.errors import InputError
from rnnflow.runtime.provenance import ROOT
from rnnflow.sequences import buffers, dataset
from tests import toys
from tests.training.test_loop import AUGMENTATION, toy_split, training

NAMESPACE = ["unshare", "--map-root-user", "--mount"]
"""Runs a command that may mount what only it sees."""
MOUNT = [*NAMESPACE, "mount", "-t", "tmpfs", "none", "/mnt"]
CAN_MOUNT = bool(shutil.which("unshare")) and subprocess.run(MOUNT, capture_output=True, check=False).returncode == 0


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RNNFLOW_STATE", str(tmp_path / "state"))
    return tmp_path / "state"


def test_within_the_budget_it_is_memory_and_above_it_a_file_without_a_name(state: Path) -> None:
    for budget in (None, 2):
        assert not isinstance(buffers.empty((2**18, 2), budget), np.memmap)
    mapped = buffers.empty((2**18, 2), 1)
    assert isinstance(mapped, np.memmap)
    assert mapped.shape == (2**18, 2)
    mapped[:] = 7.0
    assert mapped.sum() == 7 * 2**19
    assert not any((state / "scratch").iterdir())


def test_a_full_disk_is_a_line_before_anything_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, "posix_fallocate", fail)
    message = r"scratch: 3 MiB of scratch space, above memory_budget_mb: No space left on device; free some, set RNNFLOW_STATE"
    with pytest.raises(InputError, match=message):
        buffers.empty((3 * 2**18,), 1)


@pytest.mark.skipif(not CAN_MOUNT, reason="no file system can be mounted here")
@pytest.mark.parametrize(("disk_mb", "what"), [(1, "the raw sequences"), (3, "the prepared ones beside them")])
def test_the_stage_train_on_a_full_disk_ends_with_a_line(tmp_path: Path, disk_mb: int, what: str) -> None:
    sequences = [*np.ones((23_000, 10, 1), np.float32)]
    for split, num_files in (("train", 2), ("validation", 1)):
        for index in range(num_files):
            path = tmp_path / split / f"part-{index:05d}.parquet"
            toys.write_sequences(path, sequences, ["up", "down"] * 11_500, ["value"])
    content = YAML(typ="safe").load((ROOT / "params.yaml").read_text())
    content["train"] |= {"memory_budget_mb": 1, "epochs": 1}
    YAML().dump(content, tmp_path / "params.yaml")
    disk = tmp_path / "state"
    disk.mkdir()
    stage = [
        *(sys.executable, "-m", "stages.train", "rnn", f"--params={tmp_path}/params.yaml"),
        *(f"--train={tmp_path}/train", f"--validation={tmp_path}/validation"),
        *(f"--checkpoint={tmp_path}/output/checkpoint.safetensors", f"--log={tmp_path}/output/log"),
    ]
    mount = f'mount -t tmpfs -o size={disk_mb}m none "$0" && exec "$@"'
    done = subprocess.run(
        [*NAMESPACE, "sh", "-c", mount, str(disk), *stage], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 75, (what, done.stderr)  # other runs give their scratch space back when they end
    (line,) = done.stderr.splitlines()
    assert line.startswith(
        f"error: {disk}/scratch: 2 MiB of scratch space, above memory_budget_mb: No space left on device;"
    )
    assert not [*(tmp_path / "output").rglob("*")]


def test_a_training_on_mapped_sequences_has_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    model = ModelParams(cell="gru", hidden_size=4, differences=True)
    inside = training(model, toy_split(80), **AUGMENTATION)
    monkeypatch.setattr(buffers, "MIB", 1)  # the budget, in bytes
    mapped = training(model, toy_split(80), memory_budget_mb=100, **AUGMENTATION)
    assert isinstance(mapped.batches.sequences.values, np.memmap)
    assert not isinstance(inside.batches.sequences.values, np.memmap)
    for run in (inside, mapped):
        run.run()
    assert inside.weights.tobytes() == mapped.weights.tobytes()


def test_a_split_above_the_budget_is_read_into_a_map(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sequences = toys.random_sequences([9, 4, 6])
    for index in range(3):
        toys.write_sequences(tmp_path / "train" / f"part-{index:05d}.parquet", sequences, ["up", "down", "up"])
    inside = dataset.load(tmp_path / "train")
    monkeypatch.setattr(buffers, "MIB", 1)
    mapped = dataset.load(tmp_path / "train", memory_budget_mb=200)
    assert isinstance(mapped.values.base, np.memmap)
    np.testing.assert_array_equal(mapped.values, inside.values)
    joined = dataset.joined(mapped, mapped, 200)
    assert isinstance(joined.values, np.memmap)


def test_a_budget_under_one_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    toys.write_sequences(tmp_path / "train" / "part-00000.parquet", toys.random_sequences([9, 4]), ["up", "down"])
    monkeypatch.setattr(buffers, "MIB", 1)
    message = r"^memory_budget_mb: 100, less than one file needs: .*part-00000\.parquet has 104 MiB; raise it"
    with pytest.raises(InputError, match=message):
        dataset.load(tmp_path / "train", memory_budget_mb=100)
