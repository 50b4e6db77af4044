"""Sequences made from random numbers, for a first run and for measuring what a cell can learn."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from rnnflow.generation import threads
from rnnflow.generation.sources.source_file import SourceFile
from rnnflow.generation.splitting import SPLITS
from rnnflow.params.generate import GenerateParams
from rnnflow.runtime.array_types import Bool, Float32, Int64
from rnnflow.sequences import parquet

Offsets = Int64[np.ndarray, " sequence_plus_one"]
Values = Float32[np.ndarray, "steps feature"]
Task = Callable[[np.random.Generator, Offsets, int], tuple[Values, Bool[np.ndarray, " sequence"]]]
"""Takes where the sequences of a whole shard begin and end, and how many of them are wanted."""


def sum_sign(params: GenerateParams, raw: Path) -> Iterator[SourceFile]:
    """Yield sequences of N(0, 1), labelled by the sign of their sum: the example this project started from."""
    return _splits(params, _draw_sum_sign, features=["value"], names=("negative", "positive"))


def adding(params: GenerateParams, raw: Path) -> Iterator[SourceFile]:
    """Yield the adding problem (Hochreiter and Schmidhuber, 1997) as a task of two classes.

    Of the uniform values two are marked, one in each half of the sequence: is their sum above 1?
    """
    return _splits(params, _draw_adding, features=["value", "marker"], names=("at_most_one", "above_one"))


def _splits(params: GenerateParams, draw: Task, features: list[str], names: tuple[str, str]) -> Iterator[SourceFile]:
    for split in SPLITS:
        yield SourceFile(split, split, _shards(params, draw, features, names, split), is_synthetic=True)


def _shards(
    params: GenerateParams, draw: Task, features: list[str], names: tuple[str, str], split: str
) -> Iterator[pa.Table]:
    num_sequences = getattr(params.num_sequences, split)
    firsts = enumerate(range(0, num_sequences, params.shard_rows))

    def shard(place: tuple[int, int]) -> pa.Table:
        index, first = place
        rng = np.random.default_rng([params.seed, SPLITS.index(split), index])
        # What is drawn for a sequence must not depend on how many are wanted, so that rows stay the same while
        # the data set grows: lengths and marks are drawn for a whole shard, and the values, which are many, last.
        lengths = rng.integers(params.min_length or params.length, params.length + 1, params.shard_rows)
        offsets = np.concatenate(([0], np.cumsum(lengths)))
        num_rows = min(params.shard_rows, num_sequences - first)
        values, is_second = draw(rng, offsets, num_rows)
        columns = [
            _ids(split, first, num_rows),
            parquet.sequence_column(values, offsets[: num_rows + 1]),
            pa.array(names, pa.string()).take(pa.array(is_second.astype(np.int8))),
        ]
        return pa.Table.from_arrays(columns, schema=parquet.schema(features))

    return threads.in_order(shard, firsts, params.shard_rows * params.length * len(features))


def _ids(split: str, first: int, num_rows: int) -> pa.Array:
    numbers = pc.utf8_lpad(pa.array(np.arange(first, first + num_rows)).cast(pa.string()), 9, "0")
    return pc.binary_join_element_wise(f"{split}-", numbers, "")


def _draw_sum_sign(
    rng: np.random.Generator, offsets: Offsets, num_rows: int
) -> tuple[Values, Bool[np.ndarray, " sequence"]]:
    values = rng.standard_normal(offsets[num_rows], dtype=np.float32)
    return values[:, None], np.add.reduceat(values, offsets[:num_rows], dtype=np.float64) > 0


def _draw_adding(
    rng: np.random.Generator, offsets: Offsets, num_rows: int
) -> tuple[Values, Bool[np.ndarray, " sequence"]]:
    starts, ends = offsets[:-1], offsets[1:]
    middles = (starts + ends) // 2
    first, second = rng.integers(starts, middles)[:num_rows], rng.integers(middles, ends)[:num_rows]
    values = rng.random(offsets[num_rows], dtype=np.float32)
    markers = np.zeros_like(values)
    markers[first] = markers[second] = 1
    is_above = values[first].astype(np.float64) + values[second] > 1
    return np.stack([values, markers], axis=1), is_above
