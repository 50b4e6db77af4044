"""Several classifiers as one: the mean of their probabilities, in PyTorch, in the ONNX file and through the stages."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rnnflow.classifier import model, parameters
from rnnflow.classifier.checkpoint import load
from rnnflow.export.parity import largest_difference
from rnnflow.params.models import ModelParams, MultiScaleStemParams
from rnnflow.runtime.errors import InputError
from rnnflow.serving import c_code
from rnnflow.serving.predictor import Predictor
from stages import evaluate, export
from tests import toys
from tests.export.test_parity import predictor

LSTM = {"cell": "lstm", "hidden_size": 4, "members": 3}
SEQUENCES = toys.random_sequences([9, 1, 4, 7, 8, 5])
LABELS = ["up", "down", "level", "up", "down", "level"]


def ensemble(**changes: Any) -> model.Ensemble:
    found = toys.random_ensemble(ModelParams.model_validate(LSTM | changes))
    assert isinstance(found, model.Ensemble)
    return found


@torch.inference_mode()
def probabilities(classifier: model.Classifier) -> torch.Tensor:
    return toys.alone(classifier, SEQUENCES).softmax(1)


def test_it_answers_with_the_mean_of_its_members_probabilities() -> None:
    found = ensemble()
    for member in found:
        member.preparation.restore(found.preparation.arrays())
    of_members = torch.stack([probabilities(member) for member in found])
    assert of_members.std(0).min() > 1e-3
    torch.testing.assert_close(probabilities(found), of_members.mean(0))


def test_a_temperature_divides_the_logarithms_of_the_mean() -> None:
    found = ensemble()
    before = probabilities(found)
    found.divide_logits(2.0)
    found.divide_logits(1.5)
    torch.testing.assert_close(probabilities(found), (before.log() / 3).softmax(1))


def test_a_checkpoint_holds_the_members_and_their_scaling_once(tmp_path: Path) -> None:
    found = ensemble()
    toys.save_checkpoint(tmp_path / "checkpoint.safetensors", found)
    arrays, _ = load(tmp_path / "checkpoint.safetensors")
    of_one = parameters.shapes(found.params, len(toys.FEATURES), len(toys.CLASSES))
    scaling = {"preparation.mean", "preparation.inverse_deviation"}
    assert set(arrays) == scaling | {f"members.{index}.{name}" for index in range(3) for name in of_one}
    again, description = model.load(tmp_path / "checkpoint.safetensors")
    assert description.num_parameters == 3 * parameters.count(of_one) == again.num_parameters
    assert torch.equal(probabilities(again), probabilities(found))


def test_it_multiplies_as_often_as_its_members() -> None:
    of_one = parameters.multiply_adds(ModelParams(cell="lstm", hidden_size=4), 2, 3, 10)
    assert parameters.multiply_adds(ModelParams.model_validate(LSTM), 2, 3, 10) == 3 * of_one


@pytest.mark.parametrize(
    "changes",
    [
        {"num_layers": 2, "bidirectional": True, "pooling": "mean_max"},
        {"cell": "gru", "missing": "refuse"},
        {"missing": "mask", "downsampling": 2, "differences": True},
        {"scaling": ["compressed", "sequence"], "stem": MultiScaleStemParams(kind="multi_scale", kernel_sizes=[3])},
    ],
)
def test_onnx_answers_as_pytorch_does(tmp_path: Path, changes: dict[str, Any]) -> None:
    found = ensemble(**changes)
    found.divide_logits(1.7)
    assert largest_difference(found, predictor(found, tmp_path), (1, 3), (9,)) <= 1e-5


def test_what_is_evaluated_is_what_the_files_answer(tmp_path: Path) -> None:
    found = ensemble()
    toys.write_params(tmp_path, evaluate={"num_resamples": 100}, export={"batch_sizes": [2], "lengths": [3]})
    toys.save_checkpoint(tmp_path / "checkpoint.safetensors", found)
    for split in ("validation", "test"):
        toys.write_sequences(tmp_path / split / "part-00000.parquet", SEQUENCES, LABELS)
    evaluate.main(toys.evaluate_arguments(tmp_path))
    for name in ("metrics", "calibration"):
        (tmp_path / "evaluation" / f"{name}.json").rename(tmp_path / f"{name}.json")
    toys.write_evaluation(tmp_path, toys.CALIBRATION | {"temperature": 2.5})
    export.main(toys.export_arguments(tmp_path))
    exported = Predictor(tmp_path / "model.onnx")
    expected = (probabilities(found).log() / 2.5).softmax(1)
    given = toys.padded(SEQUENCES, 9, np.nan)
    np.testing.assert_allclose(exported.run(*given), expected, atol=1e-6)
    assert exported.metadata["num_parameters"] == found.num_parameters
    assert json.loads((tmp_path / "streaming/state.json").read_text())["state_size"] == 3 * 2 * 4
    with pytest.raises(InputError, match="no C code for this model: members: 3, expected 1"):
        c_code.write(tmp_path / "model.onnx", tmp_path)
