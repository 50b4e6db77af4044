"""What ONNX models answer to a labelled split: predictions and losses, read and scored a chunk at a time."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa

from rnnflow.runtime.array_types import Float32, Int32, Int64, UInt64
from rnnflow.runtime.errors import InputError
from rnnflow.sequences.parquet import SequenceFile, as_numpy, list_lengths, list_values, shards
from rnnflow.serving.predictor import Predictor

Ids = UInt64[np.ndarray, " sequence"]


@dataclass(frozen=True)
class Scores:
    """Of one model, for each sequence.

    Attributes:
        predictions: the most probable class, as an index in the classes of the split.
        losses: minus the logarithm of the true class's probability.
    """

    predictions: Int32[np.ndarray, " sequence"]
    losses: Float32[np.ndarray, " sequence"]

    @classmethod
    def of(
        cls, probabilities: Float32[np.ndarray, "sequence class"], labels: Int32[np.ndarray, " sequence"]
    ) -> "Scores":
        right = probabilities[np.arange(len(labels)), labels]
        losses = -np.log(np.maximum(right, np.finfo(np.float32).tiny))
        return cls(probabilities.argmax(1).astype(np.int32), losses)

    def accuracy(self, labels: Int32[np.ndarray, " sequence"]) -> float:
        return float((self.predictions == labels).mean())

    def log_loss(self) -> float:
        return float(self.losses.mean(dtype=np.float64))

    def at(self, where: np.ndarray) -> "Scores":
        return Scores(self.predictions[where], self.losses[where])


@dataclass(frozen=True)
class ScoredSplit:
    """A split without its values, and what each model made of it.

    Attributes:
        labels: indices in `classes`.
        ids: a hash of each sequence's id.
        groups: a number for each group; none where the data has no groups.
        classes: their names.
        scores: by the model's name.
    """

    labels: Int32[np.ndarray, " sequence"]
    ids: Ids
    groups: Int64[np.ndarray, " sequence"] | None
    classes: tuple[str, ...]
    scores: Mapping[str, Scores]


@dataclass
class _Parts:
    labels: list[np.ndarray] = field(default_factory=list)
    ids: list[np.ndarray] = field(default_factory=list)
    groups: list[pa.Array] = field(default_factory=list)


def score(folder: Path, predictors: Mapping[str, Predictor]) -> ScoredSplit:
    """Run each model over a split.

    Args:
        folder: of the split.
        predictors: by the names that messages give them; of the same features and classes, in any order of these.

    Raises:
        InputError: the models do not fit each other or the split, or a probability is not a number.
    """
    first = next(iter(predictors.values()))
    orders = {name: _order(predictor, first, name, next(iter(predictors))) for name, predictor in predictors.items()}
    parts = _Parts()
    scores: dict[str, list[Scores]] = {name: [] for name in predictors}
    for place, batch in _batches(folder, first.features):
        labels = _labels(place, batch, first.classes)
        parts.labels.append(labels)
        parts.ids.append(hashed(batch.column("id")))
        if "group" in batch.schema.names:
            parts.groups.append(batch.column("group"))
        values, offsets = _values(batch, len(first.features))
        for name, predictor in predictors.items():
            probabilities = _probabilities(predictor, values, offsets, f"{place}: {name}")[:, orders[name]]
            scores[name].append(Scores.of(probabilities, labels))
    if not parts.labels:
        raise InputError(f"{folder}: no rows")
    groups = pa.chunked_array(parts.groups).combine_chunks().dictionary_encode() if parts.groups else None
    return ScoredSplit(
        np.concatenate(parts.labels),
        np.concatenate(parts.ids),
        None if groups is None else as_numpy(groups.indices).astype(np.int64),
        first.classes,
        {name: _joined(chunks) for name, chunks in scores.items()},
    )


def labelled_batches(
    folder: Path, classes: tuple[str, ...], features: tuple[str, ...]
) -> Iterator[tuple[np.ndarray, np.ndarray, Int32[np.ndarray, " batch"]]]:
    """Yield values (steps, feature), offsets in steps and labels of a split, a chunk at a time."""
    for place, batch in _batches(folder, features):
        yield *_values(batch, len(features)), _labels(place, batch, classes)


def identified_batches(
    folder: Path, features: tuple[str, ...]
) -> Iterator[tuple[np.ndarray, np.ndarray, UInt64[np.ndarray, " batch"]]]:
    """Yield values (steps, feature), offsets in steps and hashes of the ids of a split, a chunk at a time."""
    for _, batch in _batches(folder, features):
        yield *_values(batch, len(features)), hashed(batch.column("id"))


def ids_of(*folders: Path) -> Ids:
    """Return a hash of the id of each sequence of some splits, sorted."""
    found = [
        hashed(batch.column("id"))
        for folder in folders
        for path in shards(folder)
        for batch in SequenceFile.open(path).batches(["id"])
    ]
    return np.unique(np.concatenate([np.empty(0, np.uint64), *found]))


def hashed(ids: pa.Array) -> Ids:
    """Return 64 bits of each id's hash: among a million ids two are alike once in 37 million times."""
    digests = (hashlib.blake2b(name.encode(), digest_size=8).digest() for name in ids.to_pylist())
    return np.frombuffer(b"".join(digests), "<u8").astype(np.uint64)


def _joined(chunks: Sequence[Scores]) -> Scores:
    columns = ([chunk.predictions for chunk in chunks], [chunk.losses for chunk in chunks])
    return Scores(np.concatenate(columns[0]), np.concatenate(columns[1]))


def _order(predictor: Predictor, first: Predictor, name: str, first_name: str) -> list[int]:
    """Return where each class of the first model is among those of this one."""
    for what in ("features", "classes"):
        own, expected = getattr(predictor, what), getattr(first, what)
        if own != expected if what == "features" else set(own) != set(expected):
            raise InputError(
                f"{name} has the {what} {', '.join(own)}, {first_name} has {', '.join(expected)}: "
                "they cannot be compared"
            )
    return [predictor.classes.index(label) for label in first.classes]


def _batches(folder: Path, features: tuple[str, ...]) -> Iterator[tuple[str, pa.RecordBatch]]:
    """Yield the rows of a split, and where they are for messages."""
    paths = shards(folder)
    if not paths:
        raise InputError(f"{folder}: no Parquet file, expected part-00000.parquet and so on")
    for path in paths:
        file = SequenceFile.open(path)
        if file.features != features:
            raise InputError(f"{path}: features {', '.join(file.features)}, the models expect {', '.join(features)}")
        columns = [name for name in ("id", "sequence", "label", "group") if name in file.columns]
        for batch in file.batches(columns, encodes_labels=True):
            yield str(path), batch


def _labels(place: str, batch: pa.RecordBatch, classes: tuple[str, ...]) -> Int32[np.ndarray, " batch"]:
    places = {name: index for index, name in enumerate(classes)}
    labels = batch.column("label")
    known = np.array([places.get(name, -1) for name in labels.dictionary.to_pylist()], np.int32)
    found: Int32[np.ndarray, " batch"] = known[as_numpy(labels.indices)]
    if (found < 0).any():
        row = int(np.argmax(found < 0))
        raise InputError(
            f"{place}: id {batch.column('id')[row].as_py()!r}: label {batch.column('label')[row].as_py()!r} is unknown "
            f"to the models, which have {', '.join(classes)}"
        )
    return found


def _values(batch: pa.RecordBatch, num_features: int) -> tuple[np.ndarray, np.ndarray]:
    column = batch.column("sequence")
    lengths = list_lengths(column) // num_features
    offsets = np.concatenate(([0], np.cumsum(lengths, dtype=np.int64)))
    return as_numpy(list_values(column)).reshape(-1, num_features), offsets


def _probabilities(predictor: Predictor, values: np.ndarray, offsets: np.ndarray, place: str) -> np.ndarray:
    if refused := predictor.first_refused(values, offsets):
        raise InputError(f"{place} refuses missing values, and one of {refused[1]!r} is missing")
    probabilities = predictor.flat_probabilities(values, offsets)
    if np.isnan(probabilities).any():
        raise InputError(f"{place} gives probabilities that are not numbers; train it again")
    return probabilities
