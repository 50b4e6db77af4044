"""A trained classifier that the engine answers for, beside PyTorch's."""

from typing import get_args

import numpy as np
import pytest

from rnnflow import engines
from rnnflow.classifier.checkpoint import Description
from rnnflow.engines.trained import BATCH_SIZE, TrainedClassifier
from rnnflow.params.models import Cell, ModelParams, MultiScaleStemParams, Pooling
from tests import toys
from tests.training.test_loop import COMPILED_CELLS

NUM_SEQUENCES = BATCH_SIZE + 5
LENGTHS = np.random.default_rng(0).permutation(np.arange(NUM_SEQUENCES) % 9 + 1)


def description(model: ModelParams) -> Description:
    return Description("toy", model, toys.FEATURES, toys.CLASSES, (1, 1, 1), (1, 5, 9), 1, {})


@pytest.mark.parametrize("cell", COMPILED_CELLS)
@pytest.mark.parametrize("pooling", get_args(Pooling))
@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["equal lengths", "lengths"])
def test_it_answers_as_pytorch_does_and_after_each_step_of_any_sequence(
    cell: Cell, pooling: Pooling, lengths: np.ndarray | None
) -> None:
    model = ModelParams(cell=cell, hidden_size=20, num_layers=2, pooling=pooling)
    reference = toys.random_classifier(model)
    trained = TrainedClassifier(toys.arrays(reference), description(model), "numba")
    prepared = np.random.default_rng(1).standard_normal((NUM_SEQUENCES, 9, 2), dtype=np.float32)
    for classifier in (reference, trained):
        classifier.divide_logits(0.7)
    np.testing.assert_allclose(trained.logits(prepared, lengths), reference.logits(prepared, lengths), atol=1e-5)
    of_steps, expected = (each.step_logits(prepared, lengths) for each in (trained, reference))
    is_valid = np.arange(9) < (np.full(NUM_SEQUENCES, 9) if lengths is None else lengths)[:, None]
    np.testing.assert_allclose(of_steps[is_valid], expected[is_valid], atol=1e-5)


def test_it_answers_in_both_directions_as_pytorch_does() -> None:
    model = ModelParams(cell="gru", hidden_size=5, bidirectional=True)
    reference = toys.random_classifier(model)
    trained = TrainedClassifier(toys.arrays(reference), description(model), "numba")
    prepared = np.random.default_rng(1).standard_normal((NUM_SEQUENCES, 9, 2), dtype=np.float32)
    np.testing.assert_allclose(trained.logits(prepared, LENGTHS), reference.logits(prepared, LENGTHS), atol=1e-5)


@pytest.mark.parametrize(
    ("engine", "model", "expected"),
    [
        ("numba", ModelParams(cell="lstm"), True),
        ("torch", ModelParams(cell="lstm"), False),
        ("numba", ModelParams(cell="mingru"), False),
        ("numba", ModelParams(cell="lstm", members=2), False),
        ("numba", ModelParams(cell="lstm", stem=MultiScaleStemParams(kind="multi_scale", kernel_sizes=[3])), False),
    ],
)
def test_models_for_which_the_engine_cannot_answer_are_left_to_pytorch(
    engine: str, model: ModelParams, expected: bool
) -> None:
    assert engines.answers_for(engine, model) == expected


def test_weights_of_another_model_are_refused() -> None:
    arrays = toys.arrays(toys.random_classifier(ModelParams(cell="gru", hidden_size=4)))
    with pytest.raises(ValueError, match=r"head\.weight has shape"):
        TrainedClassifier(arrays, description(ModelParams(cell="gru", hidden_size=5)), "numba")
