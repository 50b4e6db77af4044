"""Classifiers that any model has to beat: the most frequent class, logistic regression on summaries, MiniRocket."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from rnnflow.evaluation.comparison.logistic_regression import LogisticRegression
from rnnflow.evaluation.comparison.paired_bootstrap import macro_f1
from rnnflow.evaluation.scores.intervals import wilson
from rnnflow.evaluation.scores.scoring import Scores, labelled_batches
from rnnflow.params.compare import Baseline
from rnnflow.runtime.array_types import Float32, Float64, Int32
from rnnflow.runtime.errors import InputError

MAX_SEQUENCES = 100_000
"""Of the train split: a baseline learns little from more."""
MAX_ROCKET_SEQUENCES = 10_000
"""MiniRocket holds 10,000 features of each."""
ROCKET_LENGTH = 100
"""Steps to which sequences are stretched or squeezed, since MiniRocket needs one length."""
SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class _Split:
    features: Float32[np.ndarray, "sequence feature"]
    labels: Int32[np.ndarray, " sequence"]


def measure(
    kinds: Sequence[Baseline], folders: Mapping[str, Path], classes: tuple[str, ...], features: tuple[str, ...]
) -> dict[str, dict[str, Any]]:
    """Return the figures of each baseline on the validation and the test split.

    Args:
        kinds: of the baselines.
        folders: of the splits, by their names.
        classes: in the order of the labels.
        features: of a time step.

    Raises:
        InputError: MiniRocket is asked for and not installed.
    """
    found: dict[str, dict[str, Any]] = {}
    for kind in kinds:
        summary = _stretched if kind == "minirocket" else _summary
        limit = MAX_ROCKET_SEQUENCES if kind == "minirocket" else MAX_SEQUENCES
        train, *others = (
            _read(folders[name], classes, features, summary, limit if name == "train" else None) for name in SPLITS
        )
        classifier = _classifier(kind, len(features)).fit(train.features, train.labels)
        found[kind] = {
            name: _figures(classifier, split, len(classes)) for name, split in zip(SPLITS[1:], others, strict=True)
        }
    return found


def lost(accuracy: float, baselines: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return a remark for each baseline that is as accurate on the test split as a model with this accuracy."""
    return [
        f"the challenger does no better than the baseline {name!r}: accuracy {accuracy:.4f} against "
        f"{figures['test']['accuracy']:.4f} on the test split"
        for name, figures in baselines.items()
        if figures["test"]["accuracy"] >= accuracy
    ]


class _Majority:
    def fit(self, rows: np.ndarray, labels: np.ndarray) -> "_Majority":
        self.classes_, counts = np.unique(labels, return_counts=True)
        self.shares = counts / len(rows)
        return self

    def predict_proba(self, rows: np.ndarray) -> np.ndarray:
        return np.tile(self.shares, (len(rows), 1))


class _Rocket:
    """MiniRocket (Dempster et al., 2021) with logistic regression behind it."""

    def __init__(self, num_features: int) -> None:
        try:
            from aeon.transformations.collection.convolution_based import MiniRocket
        except ImportError:
            raise InputError(
                "compare.baselines: minirocket needs aeon: pip install 'rnnflow[archives]', or leave it out"
            ) from None
        self.num_features = num_features
        self.kernels: Any = MiniRocket(random_state=0)
        self.logistic = LogisticRegression()

    def fit(self, rows: np.ndarray, labels: np.ndarray) -> "_Rocket":
        self.logistic.fit(np.asarray(self.kernels.fit_transform(self._series(rows), labels)), labels)
        self.classes_ = self.logistic.classes_
        return self

    def predict_proba(self, rows: np.ndarray) -> np.ndarray:
        return self.logistic.predict_proba(np.asarray(self.kernels.transform(self._series(rows))))

    def _series(self, rows: np.ndarray) -> np.ndarray:
        return rows.reshape(len(rows), self.num_features, ROCKET_LENGTH)


def _classifier(kind: Baseline, num_features: int) -> Any:
    if kind == "minirocket":
        return _Rocket(num_features)
    return _Majority() if kind == "majority" else LogisticRegression()


def _figures(classifier: Any, split: _Split, num_classes: int) -> dict[str, float]:
    probabilities = np.zeros((len(split.labels), num_classes), np.float32)
    probabilities[:, classifier.classes_] = classifier.predict_proba(split.features)
    scores = Scores.of(probabilities, split.labels)
    accuracy = scores.accuracy(split.labels)
    low, high = map(float, wilson(accuracy * len(split.labels), len(split.labels)))
    return {
        "accuracy": accuracy,
        "accuracy_low": low,
        "accuracy_high": high,
        "macro_f1": macro_f1(split.labels, scores.predictions, num_classes),
        "log_loss": scores.log_loss(),
    }


def _read(folder: Path, classes: tuple[str, ...], features: tuple[str, ...], summary: Any, limit: int | None) -> _Split:
    """Return a split's sequences as rows of numbers, and their labels; the first ones if there is a limit."""
    rows, labels, num_read = [], [], 0
    for values, offsets, found in labelled_batches(folder, classes, features):
        rows.append(summary(values, offsets))
        labels.append(found)
        num_read += len(found)
        if limit and num_read >= limit:
            break
    return _Split(np.concatenate(rows)[:limit], np.concatenate(labels)[:limit])


def _summary(values: np.ndarray, offsets: np.ndarray) -> Float32[np.ndarray, "sequence feature"]:
    """Return mean, deviation, extremes, first and last value of each feature, and the length. Missing values are left out."""
    starts, lengths = offsets[:-1], np.diff(offsets)
    known = np.maximum(np.add.reduceat(~np.isnan(values), starts, dtype=np.float64), 1)
    numbers: Float64[np.ndarray, "steps feature"] = np.nan_to_num(values).astype(np.float64)
    mean = np.add.reduceat(numbers, starts) / known
    square = np.add.reduceat(numbers**2, starts) / known
    extremes = [np.fmin.reduceat(values, starts), np.fmax.reduceat(values, starts)]
    ends = [values[starts], values[offsets[1:] - 1]]
    spread = np.sqrt(np.maximum(square - mean**2, 0))
    return np.column_stack([mean, spread, *extremes, *ends, lengths]).astype(np.float32)


def _stretched(values: np.ndarray, offsets: np.ndarray) -> Float32[np.ndarray, "sequence feature"]:
    """Return each sequence at one length, feature after feature; a missing value is 0."""
    numbers = np.nan_to_num(values)
    places = np.linspace(0, 1, ROCKET_LENGTH)
    rows = [
        [np.interp(places * (end - start - 1), np.arange(end - start), column) for column in numbers[start:end].T]
        for start, end in pairwise(offsets.tolist())
    ]
    return np.array(rows, np.float32).reshape(len(rows), -1)
