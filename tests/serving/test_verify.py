"""Flipped bits: every file with a checksum is refused, or gives what it gave before."""

import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from rnnflow import cli
from rnnflow.classifier import checkpoint
from rnnflow.params.models import ModelParams
from rnnflow.runtime.errors import InputError
from rnnflow.sequences import dataset
from rnnflow.serving.predictor import Predictor
from rnnflow.serving.verify import verify
from tests import toys

SEQUENCES = toys.random_sequences([5, 9, 3])


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, its checkpoint, and a split of 200 sequences."""
    folder = tmp_path_factory.mktemp("written")
    model = toys.random_classifier(ModelParams(cell="gru", hidden_size=8))
    toys.exported(folder, model)
    toys.save_checkpoint(folder / "checkpoint.safetensors", model)
    lengths = [20] * 200
    toys.write_sequences(folder / "part.parquet", toys.random_sequences(lengths), ["up", "down"] * 100)
    return folder


def read_model(path: Path) -> list[Any]:
    predictor = Predictor(path)
    return [predictor.probabilities(SEQUENCES), predictor.metadata]


def read_checkpoint(path: Path) -> list[Any]:
    arrays, description = checkpoint.load(path)
    return [description, *arrays.values()]


def read_split(path: Path) -> list[Any]:
    split = dataset.load(path.parent)
    return [split.values, split.offsets, split.labels, split.features, split.classes]


READERS = [("model.onnx", read_model), ("checkpoint.safetensors", read_checkpoint), ("part.parquet", read_split)]


def count_wrong(file: Path, read: Callable[[Path], list[Any]], folder: Path, places: list[int]) -> int:
    """Flip one random bit at each place in turn; return how often what was read is not what the file held."""
    expected, content = read(file), file.read_bytes()
    damaged = folder / file.name
    rng, num_wrong = random.Random(0), 0
    for place in places:
        changed = bytearray(content)
        changed[place] ^= 1 << rng.randrange(8)
        damaged.write_bytes(changed)
        try:
            found = read(damaged)
        except InputError:
            continue
        num_wrong += any(not np.array_equal(a, b, equal_nan=isinstance(a, np.ndarray) and a.dtype.kind == "f")
                         for a, b in zip(found, expected, strict=True))  # fmt: skip
    return num_wrong


@pytest.mark.parametrize(("name", "read"), READERS)
def test_a_flipped_bit_is_refused_or_changes_nothing(
    written: Path, tmp_path: Path, name: str, read: Callable[[Path], list[Any]]
) -> None:
    size = (written / name).stat().st_size
    assert count_wrong(written / name, read, tmp_path, random.Random(1).sample(range(size), 60)) == 0


@pytest.mark.slow
@pytest.mark.parametrize(("name", "read"), READERS)
def test_none_of_a_thousand_flipped_bits_gives_another_answer(
    written: Path, tmp_path: Path, name: str, read: Callable[[Path], list[Any]]
) -> None:
    size = (written / name).stat().st_size
    evenly = list(range(0, size, max(1, size // 700)))
    ends = [*range(150), *range(size - 150, size)]  # headers and footers
    assert count_wrong(written / name, read, tmp_path, evenly + ends) == 0


def test_the_command_says_that_all_is_well(written: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(["verify", str(written)])
    assert capsys.readouterr().out == "3 files are as they were written\n"


def test_the_command_names_each_damaged_file(written: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(written, tmp_path, dirs_exist_ok=True)
    for name in ("model.onnx", "part.parquet"):
        content = bytearray((tmp_path / name).read_bytes())
        content[len(content) // 2] ^= 1
        (tmp_path / name).write_bytes(content)
    with pytest.raises(SystemExit) as exit_:
        cli.main(["verify", str(tmp_path)])
    assert exit_.value.code == 2
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith(f"error: {tmp_path / 'model.onnx'}: changed or damaged since its export")
    assert second.startswith(f"error: {tmp_path / 'part.parquet'}: damaged after row 0")


@pytest.mark.parametrize(("name", "message"), [("none", "no such file"), ("file.txt", "expected .onnx")])
def test_the_command_refuses_what_it_cannot_verify(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "file.txt").touch()
    with pytest.raises(InputError, match=message):
        list(verify([tmp_path / name]))


def test_a_model_whose_graph_was_changed_is_refused(written: Path, tmp_path: Path) -> None:
    proto = onnx.load(written / "model.onnx")
    proto.graph.initializer[0].raw_data = bytes(len(proto.graph.initializer[0].raw_data))
    onnx.save(proto, tmp_path / "model.onnx")
    with pytest.raises(InputError, match="does not match the checksum"):
        Predictor(tmp_path / "model.onnx")
