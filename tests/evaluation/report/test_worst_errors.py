from pathlib import Path

import numpy as np

from rnnflow.evaluation.report.worst_errors import worst_errors
from rnnflow.serving.predictor import Predictor


def test_the_worst_of_each_confusion_comes_before_the_second_of_any(template: Path) -> None:
    predictor = Predictor(template / "models/good/model.onnx")
    num_errors, errors = worst_errors(predictor, template / "test", 1000)
    assert num_errors == len(errors) > 0
    confusions = [(error.actual, error.predicted) for error in errors]
    num_kinds = len(set(confusions))
    assert num_kinds > 1
    assert len(set(confusions[:num_kinds])) == num_kinds
    for kind in set(confusions):
        own = [of_actual(predictor, error) for error in errors if (error.actual, error.predicted) == kind]
        assert own == sorted(own)


def of_actual(predictor: Predictor, error: object) -> float:
    return float(error.probabilities[-1, predictor.classes.index(error.actual)])  # type: ignore[attr-defined]


def test_the_last_step_is_what_the_model_answers_to_the_whole_sequence(template: Path) -> None:
    predictor = Predictor(template / "models/good/model.onnx")
    _, errors = worst_errors(predictor, template / "test", 4)
    for error in errors:
        assert error.steps.tolist() == list(range(1, len(error.values) + 1))
        np.testing.assert_allclose(error.probabilities[-1], predictor.probabilities([error.values])[0], atol=1e-6)
        assert predictor.predict([error.values]) == [error.predicted] != [error.actual]
