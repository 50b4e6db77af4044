"""The sequences that tuning may see, and the parts of them that are held out in turn: whole groups, or what came later."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from rnnflow.runtime.array_types import Int64
from rnnflow.runtime.errors import InputError
from rnnflow.sequences import dataset
from rnnflow.sequences.dataset import SequenceDataset
from rnnflow.sequences.parquet import shards


@dataclass(frozen=True)
class Fold:
    """What is trained on, and what is held out, as rows of the data."""

    train: Int64[np.ndarray, " train"]
    held_out: Int64[np.ndarray, " held_out"]


def load(train: Path, validation: Path) -> tuple[SequenceDataset, pa.Table]:
    """Return all sequences but those of the test split, and their columns `group` and `time` as far as there are such.

    Raises:
        InputError: a split is missing or damaged.
    """
    for folder in (train, validation):
        if not folder.is_dir():
            raise InputError(f"{folder}: no such folder; run `dvc repro generate` first")
    first = dataset.load(train)
    both = dataset.joined(first, dataset.load(validation, first.classes, first.features))
    files = [path for folder in (train, validation) for path in shards(folder)]
    columns = [name for name in ("group", "time") if all(name in pq.read_schema(path).names for path in files)]
    return both, pa.concat_tables([pq.read_table(path, columns=columns) for path in files])


def is_later(one: Path, other: Path) -> bool:
    """Return whether all sequences of a split begin after those of another one, as where the split is by time."""
    spans = []
    for folder in (one, other):
        files = shards(folder)
        if any("time" not in pq.read_schema(path).names for path in files):
            return False
        times = pa.concat_tables([pq.read_table(path, columns=["time"]) for path in files])["time"]
        spans.append(pc.min_max(times.cast(pa.int64())).as_py())
    return all(None not in span.values() for span in spans) and spans[0]["min"] > spans[1]["max"]


def make(
    labels: np.ndarray, columns: pa.Table, num_folds: int, is_by_time: bool, num_deals: int = 1
) -> list[list[Fold]]:
    """Return the folds: by time, each held out after what is trained on; else by group; else at random, class by class.

    The sequences are dealt into folds several times, each time anew, but by time only once.

    Raises:
        InputError: there are fewer groups than folds, or only one sequence of every class.
    """
    from sklearn.model_selection import StratifiedGroupKFold, TimeSeriesSplit

    if is_by_time and "time" in columns.column_names:
        order = np.argsort(columns["time"].cast(pa.int64()).to_numpy(), kind="stable")
        return [[Fold(order[rest], order[held_out]) for rest, held_out in TimeSeriesSplit(num_folds).split(order)]]
    rows = np.zeros(len(labels))
    if "group" in columns.column_names:
        groups = columns["group"].to_numpy()
        if len(np.unique(groups)) < num_folds:
            raise InputError(
                f"tune: {len(np.unique(groups))} groups for {num_folds} folds; expected as many or more (--folds)"
            )
        dealers = [StratifiedGroupKFold(num_folds, shuffle=True, random_state=seed) for seed in range(num_deals)]
        return [[Fold(*part) for part in dealer.split(rows, labels, groups)] for dealer in dealers]
    return [list(_by_class(labels, num_folds, seed)) for seed in range(num_deals)]


def _by_class(labels: np.ndarray, num_folds: int, seed: int) -> Iterator[Fold]:
    """Deal each class out over the folds, going on where the one before ended; the only one of a class is never held out.

    scikit-learn's folds would hold it out, and of a class of two perhaps both at once.
    """
    rng = np.random.default_rng(seed)
    classes = [rng.permutation(np.flatnonzero(labels == label)) for label in np.unique(labels)]
    several = [rows for rows in classes if len(rows) > 1]
    if not several:
        raise InputError(
            "tune: there is one sequence of each class, so that no fold can both train on a class and hold it out; "
            "bring two of a class or more"
        )
    dealt = np.concatenate(several)
    fold_of = np.full(len(labels), -1)
    fold_of[dealt] = np.arange(len(dealt)) % num_folds
    for fold in range(min(num_folds, len(dealt))):
        yield Fold(np.flatnonzero(fold_of != fold), np.flatnonzero(fold_of == fold))


def subset(whole: SequenceDataset, rows: Int64[np.ndarray, " row"]) -> SequenceDataset:
    """Return some sequences of a data set, in the order of `rows`."""
    values = [whole.values[whole.offsets[row] : whole.offsets[row + 1]] for row in rows]
    offsets = np.concatenate([[0], np.cumsum([len(value) for value in values])])
    return SequenceDataset(np.concatenate(values), offsets, whole.labels[rows], whole.features, whole.classes)
