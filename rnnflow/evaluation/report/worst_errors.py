"""The sequences that a model gets most wrong, and what it answers after each of their steps."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rnnflow.evaluation.scores.scoring import score
from rnnflow.runtime.array_types import Float32, Int64
from rnnflow.sequences.parquet import SequenceFile, as_numpy, shards
from rnnflow.serving.predictor import Predictor

NUM_PREFIXES = 50
"""How many beginnings of a sequence the model is asked about."""


@dataclass(frozen=True)
class WorstError:
    """A sequence that is classified wrongly with confidence.

    Attributes:
        values: NaN where one is missing.
        steps: lengths of beginnings, the last of which is the whole.
        probabilities: what the model answers to each.
    """

    id: str
    actual: str
    predicted: str
    values: Float32[np.ndarray, "time feature"]
    steps: Int64[np.ndarray, " prefix"]
    probabilities: Float32[np.ndarray, "prefix class"]


def worst_errors(predictor: Predictor, split: Path, num_errors: int) -> tuple[int, list[WorstError]]:
    """Return how many sequences of a split are classified wrongly, and the worst of them.

    The one with the least probability of its class first; but the worst of each confusion of two classes before the
    second of any, so that they show different faults.
    """
    scored = score(split, {predictor.metadata["name"]: predictor})
    (scores,) = scored.scores.values()
    wrong = np.flatnonzero(scores.predictions != scored.labels)
    wrong = wrong[np.argsort(-scores.losses[wrong], kind="stable")]
    confusions = scored.labels[wrong].astype(np.int64) * len(scored.classes) + scores.predictions[wrong]
    rank = np.empty(len(wrong), dtype=np.int64)
    for confusion in np.unique(confusions):
        where = confusions == confusion
        rank[where] = np.arange(where.sum())
    chosen = wrong[np.argsort(rank, kind="stable")][:num_errors]
    rows = _rows(split, chosen)
    return len(wrong), [
        _asked(predictor, *rows[index], scored.classes[scored.labels[index]], scored.classes[scores.predictions[index]])
        for index in chosen.tolist()
    ]


def _rows(split: Path, indices: np.ndarray) -> Mapping[int, tuple[str, np.ndarray]]:
    """Return id and values of some rows of a split, by their place in it."""
    found, start = {}, 0
    for path in shards(split):
        file = SequenceFile.open(path)
        if not np.any((indices >= start) & (indices < start + file.num_rows)):
            start += file.num_rows
            continue
        for batch in file.batches(["id", "sequence"]):
            for index in indices[(indices >= start) & (indices < start + len(batch))].tolist():
                values = as_numpy(batch.column("sequence")[index - start].values)
                found[index] = batch.column("id")[index - start].as_py(), values.reshape(-1, len(file.features)).copy()
            start += len(batch)
    return found


def _asked(predictor: Predictor, name: str, values: np.ndarray, actual: str, predicted: str) -> WorstError:
    steps = np.unique(np.linspace(1, len(values), min(len(values), NUM_PREFIXES)).round().astype(np.int64))
    probabilities = np.concatenate([predictor.run(values[None, :step], np.array([step])) for step in steps])
    return WorstError(name, actual, predicted, values, steps, probabilities)
