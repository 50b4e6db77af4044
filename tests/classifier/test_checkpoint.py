from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from rnnflow.classifier import checkpoint, safetensors_files
from rnnflow.classifier.model import load
from rnnflow.params.models import Cell, ModelParams, StemParams
from rnnflow.runtime.errors import InputError
from stages import evaluate, export
from tests import toys

LSTM = ModelParams(cell="lstm", hidden_size=4, stem=StemParams(channels=3))


@pytest.mark.parametrize(
    ("cell", "bidirectional", "num_layers", "scaling"), [*product(toys.CELLS, [False, True], [1, 2], toys.SCALINGS)]
)
def test_load_returns_what_was_saved(
    tmp_path: Path, cell: Cell, bidirectional: bool, num_layers: int, scaling: Any
) -> None:
    params = ModelParams(
        cell=cell, hidden_size=4, num_layers=num_layers, bidirectional=bidirectional, scaling=scaling, dropout=0.5
    )
    model = toys.random_classifier(params)
    saved = toys.save_checkpoint(tmp_path / "checkpoint.safetensors", model)
    arrays, description = checkpoint.load(tmp_path / "checkpoint.safetensors")
    assert description == saved
    assert arrays.keys() == toys.arrays(model).keys()
    for name, array in toys.arrays(model).items():
        np.testing.assert_array_equal(arrays[name], array, strict=True)
    loaded, description = load(tmp_path / "checkpoint.safetensors")
    assert description == saved
    assert not loaded.training
    sequences = np.stack(toys.random_sequences([5, 5]))
    assert torch.equal(loaded(sequences, None), model(sequences, None))


def test_equal_models_give_equal_bytes(tmp_path: Path) -> None:
    toys.save_checkpoint(tmp_path / "here", toys.random_classifier(LSTM))
    toys.save_checkpoint(tmp_path / "again", toys.random_classifier(LSTM))
    assert (tmp_path / "again").read_bytes() == (tmp_path / "here").read_bytes()


def test_weights_that_are_views_of_one_vector_are_saved_as_any_others(tmp_path: Path) -> None:
    model = toys.random_classifier(LSTM)
    toys.save_checkpoint(tmp_path / "apart", model)
    vector = torch.nn.utils.parameters_to_vector(model.parameters()).detach()
    torch.nn.utils.vector_to_parameters(vector, model.parameters())
    assert model.head.weight.untyped_storage().data_ptr() == vector.data_ptr()
    arrays = toys.arrays(model)
    assert np.shares_memory(arrays["head.weight"], vector.numpy())
    toys.save_checkpoint(tmp_path / "views", model)
    assert (tmp_path / "views").read_bytes() == (tmp_path / "apart").read_bytes()


def test_saving_over_a_checkpoint_that_is_in_use_leaves_the_loaded_weights_alone(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.safetensors"
    toys.save_checkpoint(path, toys.random_classifier(LSTM))
    loaded, description = load(path)
    before = toys.arrays(loaded)["head.weight"].copy()
    checkpoint.save(path, toys.arrays(toys.random_classifier(LSTM, seed=1)), description)
    np.testing.assert_array_equal(toys.arrays(loaded)["head.weight"], before)
    assert not np.array_equal(toys.arrays(load(path)[0])["head.weight"], before)


def missing(path: Path) -> None:
    path.unlink()


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def empty(path: Path) -> None:
    path.write_bytes(b"")


def cut_in_the_description(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:100])


def cut_in_the_weights(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def text(path: Path) -> None:
    path.write_text("weights, in words\n" * 100)


def of_another_program(path: Path) -> None:
    save_file({"weight": torch.zeros(3)}, path)


def of_another_version(path: Path) -> None:
    arrays, description = safetensors_files.read(path)
    assert isinstance(description, dict)
    safetensors_files.write(path, arrays, description | {"version": 1})


def with_one_weight_changed(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


DAMAGES = [
    (missing, "no such file"),
    (folder, "not a file but a folder"),
    (empty, "not a complete safetensors file"),
    (cut_in_the_description, "not a complete safetensors file"),
    (cut_in_the_weights, "not a complete safetensors file"),
    (text, "not a complete safetensors file"),
    (of_another_program, "not a checkpoint of rnnflow"),
    (of_another_version, "checkpoint version 1, this program reads version 4"),
    (with_one_weight_changed, "damaged: its content does not match the checksum"),
]


@pytest.mark.parametrize(("damage", "message"), DAMAGES)
@pytest.mark.parametrize("stage", [evaluate, export])
def test_a_stage_ends_with_one_line_on_a_checkpoint_it_cannot_use(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], stage: Any, damage: Any, message: str
) -> None:
    path = tmp_path / "checkpoint.safetensors"
    toys.save_checkpoint(path, toys.random_classifier(LSTM))
    damage(path)
    toys.write_params(tmp_path)
    toys.write_evaluation(tmp_path)
    toys.write_sequences(tmp_path / "test" / "part-00000.parquet", toys.random_sequences([3]), ["up"])
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(SystemExit) as exit_:
        stage.main(toys.export_arguments(tmp_path) if stage is export else toys.evaluate_arguments(tmp_path))
    assert exit_.value.code == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith(f"error: {path}: {message}")
    assert sorted(tmp_path.rglob("*")) == before


def test_a_file_cut_anywhere_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.safetensors"
    toys.save_checkpoint(path, toys.random_classifier(ModelParams(cell="rnn", hidden_size=1)))
    content = path.read_bytes()
    for size in range(0, len(content), 7):
        path.write_bytes(content[:size])
        with pytest.raises(InputError, match="not a complete safetensors file"):
            checkpoint.load(path)
