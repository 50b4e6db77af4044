"""Stage evaluate: calibrates a checkpoint on the validation split and says how well it does on the test split."""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np
import torch

from rnnflow.classifier import model
from rnnflow.classifier.checkpoint import Description
from rnnflow.classifier.model import Classifier
from rnnflow.classifier.predict_split import predict
from rnnflow.evaluation.scores import tables
from rnnflow.evaluation.scores.answers import Answers, groups_and_times
from rnnflow.evaluation.scores.calibration import NEVER, Calibration, choose_threshold, fit_temperature
from rnnflow.params.evaluate import EvaluateParams
from rnnflow.params.section import load as load_section
from rnnflow.runtime.atomic_writes import atomic_folders, write_json
from rnnflow.runtime.errors import InputError, exit_on_input_error
from rnnflow.sequences import dataset


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m stages.evaluate", description=__doc__)
    parser.add_argument("--params", type=Path, required=True, help="params.yaml")
    parser.add_argument("--checkpoint", type=Path, required=True, help="the trained model")
    for split in ("validation", "test"):
        parser.add_argument(f"--{split}", type=Path, required=True, help=f"folder of the {split} split")
    parser.add_argument("--output", type=Path, required=True, help="folder for metrics and tables, to be written")
    arguments = parser.parse_args(argv)
    with exit_on_input_error():
        evaluate(arguments, load_section(arguments.params, EvaluateParams, "evaluate"))


def evaluate(arguments: argparse.Namespace, settings: EvaluateParams) -> None:
    """Write `metrics.json`, `calibration.json`, and `tables/`, `curves/`, `matrices/` with what the metrics' folder gives.

    The temperature is fitted here and not by stage train, whose checkpoint it leaves alone, nor by stage export, which comes
    after the metrics: these are of the probabilities that the ONNX file gives.
    """
    torch.set_num_threads(1)  # their number could change the last bits of the metrics
    classifier, description = model.load(arguments.checkpoint)
    answer = partial(_answers, classifier, description, settings)
    calibration, on_validation = Calibration(), None
    if not description.final_fit:
        calibration, on_validation = _calibrated(classifier, answer, arguments.validation, settings)
    elif settings.max_error_share is not None:
        raise InputError(
            "evaluate.max_error_share: the validation split is among what this model was trained on, so no threshold can "
            "be chosen by it; set train.final_fit to false, or max_error_share to null"
        )
    answers = answer(arguments.test)
    baseline = float((answers.labels == np.argmax(description.class_counts)).mean())
    with atomic_folders(arguments.output) as (folder,):
        found, slices = tables.write(folder, answers, settings.num_resamples)
        accuracy, low, high = found["accuracy"][:, 0].tolist()
        # Validation comes first, since choices are made by it alone.
        figures: dict[str, object] = {"validation": on_validation} if on_validation else {}
        figures |= tables.figures(answers, calibration) | {"accuracy_low": low, "accuracy_high": high}
        write_json(folder / "metrics.json", figures | {"baseline_accuracy": baseline}, is_sorted=False)
        write_json(folder / "calibration.json", asdict(calibration))
    worst = tables.worst(slices)
    print(
        f"{description.name}: accuracy {accuracy:.4f} (95 %: {low:.4f} to {high:.4f}) on {len(answers):,} test sequences, "
        f"baseline {baseline:.4f}, temperature {calibration.temperature:g}"
    )
    if worst["by"] != "all":
        print(
            f"{description.name}: worst {worst['by']} {worst['slice']}: {worst['accuracy']:.4f} of {worst['count']:,}"
        )
    if calibration.threshold == NEVER:
        print(f"{description.name}: errs too often for evaluate.max_error_share at any threshold, and answers nothing")


def _calibrated(
    classifier: Classifier, answer: Callable[[Path], Answers], validation: Path, settings: EvaluateParams
) -> tuple[Calibration, dict[str, object]]:
    """Return what the validation split decides, and the figures on it; the classifier has its temperature then."""
    answers = answer(validation)
    temperature = fit_temperature(answers) if settings.temperature else 1.0
    if temperature != 1:
        classifier.divide_logits(temperature)
        answers = answer(validation)
    calibration = Calibration(temperature, choose_threshold(answers, settings.max_error_share))
    return calibration, tables.figures(answers, calibration)


def _answers(classifier: Classifier, description: Description, settings: EvaluateParams, folder: Path) -> Answers:
    """Return what the classifier makes of a split."""
    split = dataset.load(folder, description.classes, description.features, settings.memory_budget_mb)
    if description.model.missing == "refuse":
        dataset.refuse_missing(split, folder.name)
    probabilities = predict(classifier.logits, classifier.preparation, split, settings.batch_size)
    groups, names, times = groups_and_times(folder)
    known = split.labels, probabilities, split.classes, split.lengths, groups, names, times
    return Answers(*known, settings.num_calibration_bins, settings.num_length_slices)


if __name__ == "__main__":
    main()
