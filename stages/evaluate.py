"""Stage evaluate: calibrates a checkpoint on the validation split and says how well it does on the test split."""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np

from rnnflow import engines
from rnnflow.classifier import checkpoint
from rnnflow.classifier.checkpoint import Description
from rnnflow.classifier.predict_split import Answering, StepProbabilities, predict, predict_steps
from rnnflow.engines.trained import TrainedClassifier
from rnnflow.evaluation.scores import tables
from rnnflow.evaluation.scores.answers import Answers, groups_and_times
from rnnflow.evaluation.scores.calibration import NEVER, Calibration, choose_threshold, fit_temperature
from rnnflow.evaluation.scores.early import EarlyAnswers, early_answers, fit_early_rule
from rnnflow.evaluation.scores.intervals import fewest_to_show
from rnnflow.params.evaluate import EvaluateParams
from rnnflow.params.section import load as load_section
from rnnflow.params.train import Engine
from rnnflow.runtime import json_text, provenance
from rnnflow.runtime.atomic_writes import atomic_folders, rounded, write_json, write_rows
from rnnflow.runtime.errors import InputError, exit_on_input_error
from rnnflow.runtime.unchanged import unchanged_files, unchanged_params
from rnnflow.sequences import dataset
from rnnflow.sequences.dataset import SequenceDataset
from rnnflow.serving.early_rule import EarlyRule


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m stages.evaluate", description=__doc__)
    parser.add_argument("--params", type=Path, required=True, help="params.yaml")
    parser.add_argument("--checkpoint", type=Path, required=True, help="the trained model")
    parser.add_argument("--engine", required=True, help="the one that trained it, which answers where it can")
    for split in ("validation", "test"):
        parser.add_argument(f"--{split}", type=Path, required=True, help=f"folder of the {split} split")
    parser.add_argument("--output", type=Path, required=True, help="folder for metrics and tables, to be written")
    arguments = parser.parse_args(argv)
    load = partial(load_section, arguments.params, EvaluateParams, "evaluate")
    with (
        exit_on_input_error(),
        unchanged_params(load, arguments.params) as settings,
        unchanged_files(arguments.checkpoint, arguments.validation, arguments.test),
    ):
        evaluate(arguments, settings)


def evaluate(arguments: argparse.Namespace, settings: EvaluateParams) -> None:
    """Write `metrics.json`, `calibration.json`, and `tables/`, `curves/`, `matrices/` with what the metrics' folder gives.

    The temperature is fitted here and not by stage train, whose checkpoint it leaves alone, nor by stage export, which comes
    after the metrics: these are of the probabilities that the ONNX file gives.
    """
    classifier, description = _load(arguments.checkpoint, arguments.engine)
    read = partial(_Split.read, classifier, description, settings)
    calibration, on_validation = Calibration(), None
    if not description.final_fit:
        calibration, on_validation = _calibrated(classifier, read(arguments.validation), settings)
    elif settings.max_error_share is not None:
        raise InputError(
            "evaluate.max_error_share: the validation split is among what this model was trained on, so no threshold can "
            "be chosen by it; set train.final_fit to false, or max_error_share to null"
        )
    test = read(arguments.test)
    answers, early = test.answers(), test.early_answers(calibration)
    baseline = float((answers.labels == np.argmax(description.class_counts)).mean())
    with atomic_folders(arguments.output) as (folder,):
        found, slices = tables.write(folder, answers, settings.num_resamples)
        accuracy, low, high = found["accuracy"][:, 0].tolist()
        # Validation comes first, since choices are made by it alone.
        figures: dict[str, object] = {"validation": on_validation} if on_validation else {}
        figures |= tables.figures(answers, calibration, early) | {"accuracy_low": low, "accuracy_high": high}
        figures, chosen = rounded(figures | {"baseline_accuracy": baseline}), rounded(asdict(calibration))
        write_json(folder / "metrics.json", figures, is_sorted=False)
        if early:
            write_rows(folder / "curves" / "early_answers.csv", early.curve())
        # The checksum is here, and not in a file that others draw or compare.
        chosen["tables"] = {
            kind.name: provenance.folder_md5(kind) for kind in sorted(folder.iterdir()) if kind.is_dir()
        }
        write_json(folder / "calibration.json", json_text.sealed(chosen, figures))
    if on_validation and early and not calibration.early and settings.max_early_loss is not None:
        print(
            f"{description.name}: live streams are decided at their end: that an earlier decision loses less than "
            f"{settings.max_early_loss:g} of accuracy (evaluate.max_early_loss) is not shown by the validation split of "
            f"{on_validation['num_sequences']:,} sequences; it takes {fewest_to_show(settings.max_early_loss):,} at least"
        )
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


def _load(path: Path, engine: Engine) -> tuple[Answering, Description]:
    """Return a checkpoint's classifier, which the engine answers for or else PyTorch, and its description."""
    arrays, description = checkpoint.load(path)
    if engines.answers_for(engine, description.model):
        try:
            return TrainedClassifier(arrays, description, engine), description
        except ValueError as error:
            raise InputError(f"{path}: weights do not fit their description: {error}") from None
    import torch  # takes longer to load than all of the above to run

    from rnnflow.classifier import model

    torch.set_num_threads(1)  # their number could change the last bits of the metrics
    return model.load(path)


def _calibrated(
    classifier: Answering, validation: "_Split", settings: EvaluateParams
) -> tuple[Calibration, dict[str, object]]:
    """Return what the validation split decides, and the figures on it; the classifier has its temperature then."""
    answers = validation.answers()
    temperature = fit_temperature(answers) if settings.temperature else 1.0
    if temperature != 1:
        classifier.divide_logits(temperature)
        answers = validation.answers()
    threshold = choose_threshold(answers, settings.max_error_share)
    calibration = Calibration(temperature, threshold, validation.early_rule(threshold))
    return calibration, tables.figures(answers, calibration, validation.early_answers(calibration))


@dataclass(frozen=True)
class _Split:
    """A split, and what the classifier makes of it."""

    classifier: Answering
    settings: EvaluateParams
    folder: Path
    sequences: SequenceDataset

    @classmethod
    def read(cls, classifier: Answering, description: Description, settings: EvaluateParams, folder: Path) -> "_Split":
        sequences = dataset.load(folder, description.classes, description.features, settings.memory_budget_mb)
        if description.model.missing == "refuse":
            dataset.refuse_missing(sequences, folder.name)
        return cls(classifier, settings, folder, sequences)

    def answers(self) -> Answers:
        split, settings, preparation = self.sequences, self.settings, self.classifier.preparation
        probabilities = predict(self.classifier.logits, preparation, split, settings.batch_size)
        wrong = np.flatnonzero(~np.isfinite(probabilities).all(1))
        if len(wrong):
            raise InputError(
                f"{self.folder}: the model's probabilities of {len(wrong):,} sequences are no numbers: some of their values are "
                "too large for it; leave them out, or train with another models.<name>.scaling"
            )
        groups, names, times = groups_and_times(self.folder)
        known = split.labels, probabilities, split.classes, split.lengths, groups, names, times
        return Answers(*known, settings.num_calibration_bins, settings.num_length_slices)

    def early_rule(self, threshold: float | None) -> EarlyRule | None:
        """Return when streams are decided before their end, with this threshold for `unknown`."""
        max_loss = self.settings.max_early_loss
        if max_loss is None or not self.can_stream:
            return None
        longest = -(-int(self.sequences.lengths.max()) // self.block_size)
        return fit_early_rule(self._steps(), self.sequences.labels, longest, self.block_size, max_loss, threshold)

    def early_answers(self, calibration: Calibration) -> EarlyAnswers | None:
        """Return the answers before the end; none where the model cannot give any."""
        if not self.can_stream:
            return None
        labels, (rule, threshold) = self.sequences.labels, (calibration.early, calibration.threshold)
        return early_answers(self._steps(), labels, self.block_size, rule, threshold)

    @property
    def can_stream(self) -> bool:
        return self.classifier.params.streaming_obstacle is None

    @property
    def block_size(self) -> int:
        return self.classifier.params.num_averaged

    def _steps(self) -> Iterator[StepProbabilities]:
        preparation, batch_size = self.classifier.preparation, self.settings.batch_size
        return predict_steps(self.classifier.step_logits, preparation, self.sequences, batch_size)


if __name__ == "__main__":
    main()
