"""Sequences on their way to Parquet files: gathered by split, shuffled, written in files of a fixed number of rows."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa

from rnnflow import parquet
from rnnflow.splitting import SPARE, SPLITS, TRAIN, VALIDATION, Sides


def part_name(index: int) -> str:
    """Return the name of a split's file."""
    return f"part-{index:05d}.parquet"


class ShardWriter:
    """Writes the sequences of one delivery after another; two deliveries never share a file.

    Args:
        folders: of each split, and of the spare sequences until it is known where they belong.
        shard_rows: sequences in a file.
    """

    def __init__(self, folders: Mapping[int, Path], shard_rows: int) -> None:
        self.folders = folders
        self.shard_rows = shard_rows
        self.num_files: Counter[int] = Counter()
        self.num_rows: Counter[int] = Counter()
        self.num_labels: dict[int, Counter[str]] = {side: Counter() for side in folders}
        self._waiting: dict[int, list[pa.Table]] = {side: [] for side in folders}
        self._rng: np.random.Generator | None = None

    def begin(self, seed: int | None) -> None:
        """Begin a delivery; `seed` decides the order of its rows, none leaves it as it is."""
        self._rng = None if seed is None else np.random.default_rng(seed)

    def add(self, table: pa.Table, sides: Sides) -> None:
        """Take sequences in the contract's schema, each for its side."""
        for side in self.folders:
            rows = table if (sides == side).all() else table.filter(pa.array(sides == side))
            if not len(rows):
                continue
            self._waiting[side].append(rows)
            if sum(map(len, self._waiting[side])) >= self.shard_rows:
                self._write(side, keeps_rest=True)

    def end(self) -> None:
        """Write what is left of a delivery."""
        for side, waiting in self._waiting.items():
            if waiting:
                self._write(side, keeps_rest=False)

    def settle_spare(self) -> int:
        """Give the spare files to the validation split if it has none, else to the train split; return which."""
        side = TRAIN if self.num_rows[VALIDATION] else VALIDATION
        for index in range(self.num_files[SPARE]):
            file = self.folders[SPARE] / part_name(index)
            file.replace(self.folders[side] / part_name(self.num_files[side] + index))
        self.num_files[side] += self.num_files.pop(SPARE, 0)
        self.num_rows[side] += self.num_rows.pop(SPARE, 0)
        self.num_labels[side].update(self.num_labels.pop(SPARE))
        return side

    def _write(self, side: int, keeps_rest: bool) -> None:
        rows = pa.concat_tables(self._waiting[side])
        stop = len(rows) // self.shard_rows * self.shard_rows if keeps_rest else len(rows)
        for first in range(0, stop, self.shard_rows):
            shard = rows.slice(first, min(self.shard_rows, stop - first))
            if self._rng is not None:
                shard = shard.take(self._rng.permutation(len(shard)))
            parquet.write_table(self.folders[side] / part_name(self.num_files[side]), shard.combine_chunks())
            self.num_files[side] += 1
            self.num_rows[side] += len(shard)
            counts = shard["label"].value_counts().to_pylist()
            self.num_labels[side].update({entry["values"]: entry["counts"] for entry in counts})
        self._waiting[side] = [rows.slice(stop)] if stop < len(rows) else []

    @property
    def class_counts(self) -> Mapping[str, Counter[str]]:
        """Sequences of each class, by split."""
        return {name: self.num_labels[side] for side, name in enumerate(SPLITS)}
