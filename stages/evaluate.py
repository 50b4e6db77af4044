"""Stage evaluate: how well a checkpoint does on the test split."""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from rnnflow.classifier import model
from rnnflow.classifier.predict_split import predict
from rnnflow.evaluation.metrics import calibration, confusion, length_slices, overall, per_class
from rnnflow.params.evaluate import EvaluateParams
from rnnflow.params.section import load as load_section
from rnnflow.runtime.atomic_writes import atomic_folders, write_json, write_rows
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
    """Write `metrics.json`, `classes.csv`, `confusion.csv`, `calibration.csv` and `lengths.csv`."""
    torch.set_num_threads(1)  # their number could change the last bits of the metrics
    classifier, description = model.load(checkpoint_file)
    split = dataset.load(test, description.classes, description.features, settings.memory_budget_mb)
    if description.model.missing == "refuse":
        dataset.refuse_missing(split, "test")
    probabilities = predict(classifier.logits, classifier.preparation, split, settings.batch_size)
    labels, lengths, classes = split.labels, split.lengths, split.classes
    del split  # its values, before the metrics take copies
    metrics = overall(labels, probabilities, majority=int(np.argmax(description.class_counts)))
    slices = length_slices(labels, probabilities, lengths, settings.num_length_slices)
    with atomic_folders(output) as (folder,):
        write_json(folder / "metrics.json", metrics)
        write_rows(folder / "classes.csv", per_class(labels, probabilities, classes))
        write_rows(folder / "confusion.csv", confusion(labels, probabilities, classes))
        bins = calibration(labels, probabilities, settings.num_calibration_bins)
        write_rows(folder / "calibration.csv", bins)
        write_rows(folder / "lengths.csv", slices)
    interval = f"{metrics['accuracy_low']:.4f} to {metrics['accuracy_high']:.4f}"
    print(
        f"{description.name}: accuracy {metrics['accuracy']:.4f} (95 %: {interval}) on {len(labels):,} test sequences, "
        f"baseline {metrics['baseline_accuracy']:.4f}"
    )


if __name__ == "__main__":
    main()
