"""Stage evaluate: how well a checkpoint does on the test split."""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from rnnflow.classifier import model
from rnnflow.classifier.checkpoint import Description
from rnnflow.classifier.model import SequenceClassifier
from rnnflow.classifier.predict_split import predict
from rnnflow.evaluation import tables
from rnnflow.evaluation.answers import Answers, groups_and_times
from rnnflow.params.evaluate import EvaluateParams
from rnnflow.params.section import load as load_section
from rnnflow.runtime.atomic_writes import atomic_folders, write_json
from rnnflow.runtime.errors import exit_on_input_error
from rnnflow.sequences import dataset


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m stages.evaluate", description=__doc__)
    parser.add_argument("--params", type=Path, required=True, help="params.yaml")
    parser.add_argument("--checkpoint", type=Path, required=True, help="the trained model")
    parser.add_argument("--test", type=Path, required=True, help="folder of the test split")
    parser.add_argument("--output", type=Path, required=True, help="folder for metrics and tables, to be written")
    arguments = parser.parse_args(argv)
    with exit_on_input_error():
        settings = load_section(arguments.params, EvaluateParams, "evaluate")
        evaluate(settings, arguments.checkpoint, arguments.test, arguments.output)


def evaluate(settings: EvaluateParams, checkpoint_file: Path, test: Path, output: Path) -> None:
    """Write `metrics.json`, and `tables/`, `curves/` and `matrices/` with what the folder of the metrics gives."""
    torch.set_num_threads(1)  # their number could change the last bits of the metrics
    classifier, description = model.load(checkpoint_file)
    answers = _answers(classifier, description, test, settings)
    majority = int(np.argmax(description.class_counts))
    with atomic_folders(output) as (folder,):
        found, slices = tables.write(folder, answers, settings.num_resamples)
        write_json(folder / "metrics.json", tables.figures(found, answers, majority))
    accuracy, low, high = found["accuracy"][:, 0]
    worst = tables.worst(slices)
    print(
        f"{description.name}: accuracy {accuracy:.4f} (95 %: {low:.4f} to {high:.4f}) on {len(answers):,} test sequences, "
        f"baseline {(answers.labels == majority).mean():.4f}"
    )
    if worst["by"] != "all":
        print(
            f"{description.name}: worst {worst['by']} {worst['slice']}: {worst['accuracy']:.4f} of {worst['count']:,}"
        )


def _answers(
    classifier: SequenceClassifier, description: Description, folder: Path, settings: EvaluateParams
) -> Answers:
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
