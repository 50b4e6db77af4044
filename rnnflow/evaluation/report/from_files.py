"""A page about ONNX files on any labelled split, whether or not stages made them."""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from rnnflow.evaluation.report import page
from rnnflow.evaluation.report.results import ModelResults, Results
from rnnflow.evaluation.report.worst_errors import worst_errors
from rnnflow.evaluation.scores import tables
from rnnflow.evaluation.scores.answers import Answers, groups_and_times
from rnnflow.evaluation.scores.calibration import Calibration
from rnnflow.runtime.atomic_writes import atomic_write, write_json
from rnnflow.runtime.errors import InputError
from rnnflow.sequences import dataset
from rnnflow.serving.predictor import Predictor

NUM_RESAMPLES = 1000
NUM_ERRORS = 9


def write(models: Sequence[Path], split: Path, output: Path) -> None:
    """Write the page.

    Args:
        models: ONNX files; the worst errors are those of the first.
        split: folder of Parquet files with labels.
        output: the HTML file.

    Raises:
        InputError: a model does not fit the split, or gives no probabilities for it.
    """
    predictors = [Predictor(path) for path in models]
    names = [str(predictor.metadata["name"]) for predictor in predictors]
    if len(set(names)) < len(names):
        names = [str(path) for path in models]
    with TemporaryDirectory() as folder:
        found = [
            ModelResults(name, path, Path(folder) / str(index))
            for index, (path, name) in enumerate(zip(models, names, strict=True))
        ]
        for predictor, model in zip(predictors, found, strict=True):
            _evaluate(predictor, split, model)
        num_errors, errors = worst_errors(predictors[0], split, NUM_ERRORS)
        with atomic_write(output) as temporary:
            temporary.write_text(page.html(Results(found), num_errors, errors), encoding="utf-8")


def _evaluate(predictor: Predictor, split: Path, model: ModelResults) -> None:
    """Write what stage evaluate would write."""
    loaded = dataset.load(split, predictor.classes, predictor.features)
    if refused := predictor.first_refused(loaded.values, loaded.offsets):
        raise InputError(f"{split}: {model.model} refuses missing values, and one of {refused[1]!r} is missing")
    probabilities = predictor.flat_probabilities(loaded.values, loaded.offsets)
    if np.isnan(probabilities).any():
        raise InputError(f"{model.model}: its probabilities are not numbers; train it again")
    known = loaded.labels, probabilities, predictor.classes, loaded.lengths, *groups_and_times(split)
    answers = Answers(*known)
    tables.write(model.evaluation, answers, NUM_RESAMPLES)
    figures = tables.figures(answers, Calibration(threshold=predictor.threshold))
    write_json(model.evaluation / "metrics.json", figures)
