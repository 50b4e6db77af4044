"""Sequences on their way to Parquet files: gathered by split, shuffled, written in files of a fixed number of rows."""

from collections import Counter
from collections.abc import Mapping
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from rnnflow.generation import threads
from rnnflow.generation.splitting import SPLITS, TRAIN, UNASSIGNED, VALIDATION, SplitIndices
from rnnflow.runtime.array_types import Int64
from rnnflow.sequences import parquet

SHARD_VALUES = 2**24
"""Values after which a file is full, however few its rows: 64 MiB."""


def _num_values(table: pa.Table) -> int:
    return sum(len(chunk.flatten()) for chunk in table["sequence"].chunks)


def part_name(index: int) -> str:
    """Return the name of a split's file."""
    return f"part-{index:05d}.parquet"


def _write_file(path: Path, shard: pa.Table, order: Int64[np.ndarray, " row"] | None) -> None:
    parquet.write_table(path, (shard if order is None else shard.take(order)).combine_chunks())


class ShardWriter:
    """Writes the sequences of one source file after another; two source files never share one.

    Files are encoded in threads; used in a `with`, none of them writes any more when the block ends.

    Args:
        folders: of each split, and of the unassigned sequences until it is known where they belong.
        shard_rows: sequences in a file.
    """

    def __init__(self, folders: Mapping[int, Path], shard_rows: int) -> None:
        self.folders = folders
        self.shard_rows = shard_rows
        self.num_files: Counter[int] = Counter()
        self.num_rows: Counter[int] = Counter()
        self.num_labels: dict[int, Counter[str]] = {split: Counter() for split in folders}
        self._waiting: dict[int, list[pa.Table]] = {split: [] for split in folders}
        self._rng: np.random.Generator | None = None
        self._calls = threads.Calls[None]()

    def __enter__(self) -> "ShardWriter":
        self._calls.__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        self._calls.__exit__(*exception)

    def begin(self, seed: int | None) -> None:
        """Begin a source file; `seed` decides the order of its rows, none leaves it as it is."""
        self._rng = None if seed is None else np.random.default_rng(seed)

    def add(self, table: pa.Table, splits: SplitIndices) -> None:
        """Take sequences in the contract's schema, each for its split."""
        for split in self.folders:
            rows = table if (splits == split).all() else table.filter(pa.array(splits == split))
            if not len(rows):
                continue
            self._waiting[split].append(rows)
            waiting = self._waiting[split]
            if sum(map(len, waiting)) >= self.shard_rows or sum(_num_values(part) for part in waiting) >= SHARD_VALUES:
                self._write(split, keeps_rest=True)

    def end(self) -> None:
        """Write what is left of a source file."""
        for split, waiting in self._waiting.items():
            if waiting:
                self._write(split, keeps_rest=False)

    def place_unassigned(self) -> int:
        """Give the unassigned files to the validation split if it has none, else to the train split; return which.

        All files are complete then.
        """
        for _ in self._calls.results():
            pass
        split = TRAIN if self.num_rows[VALIDATION] else VALIDATION
        for index in range(self.num_files[UNASSIGNED]):
            file = self.folders[UNASSIGNED] / part_name(index)
            file.replace(self.folders[split] / part_name(self.num_files[split] + index))
        self.num_files[split] += self.num_files.pop(UNASSIGNED, 0)
        self.num_rows[split] += self.num_rows.pop(UNASSIGNED, 0)
        self.num_labels[split].update(self.num_labels.pop(UNASSIGNED))
        return split

    def _write(self, split: int, keeps_rest: bool) -> None:
        rows = pa.concat_tables(self._waiting[split])
        stops = self._stops(rows, keeps_rest)
        for first, stop in pairwise([0, *stops]):
            shard = rows.slice(first, stop - first)
            order = None if self._rng is None else self._rng.permutation(len(shard))
            path = self.folders[split] / part_name(self.num_files[split])
            self._calls.add(_num_values(shard), partial(_write_file, path, shard, order))
            self.num_files[split] += 1
            self.num_rows[split] += len(shard)
            counts = shard["label"].value_counts().to_pylist()
            self.num_labels[split].update({entry["values"]: entry["counts"] for entry in counts})
        rest = rows.slice(stops[-1] if stops else 0)
        self._waiting[split] = [rest] if len(rest) else []

    def _stops(self, rows: pa.Table, keeps_rest: bool) -> list[int]:
        """Return where shards end: each has as many rows as it may, or is the first to reach so many values."""
        ends = np.cumsum(pc.list_value_length(rows["sequence"]).to_numpy())
        stops = [0]
        while stops[-1] < len(rows):
            before = ends[stops[-1] - 1] if stops[-1] else 0
            full = int(np.searchsorted(ends, before + SHARD_VALUES)) + 1
            stop = min(full, stops[-1] + self.shard_rows)
            if stop > len(rows) and keeps_rest:
                break
            stops.append(min(stop, len(rows)))
        return stops[1:]

    @property
    def class_counts(self) -> Mapping[str, Counter[str]]:
        """Sequences of each class, by split."""
        return {name: self.num_labels[split] for split, name in enumerate(SPLITS)}
