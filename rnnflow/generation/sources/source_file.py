"""A file of sequences, as every source yields them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pyarrow as pa


@dataclass(frozen=True)
class SourceFile:
    """The sequences of one file, or of one synthetic split."""

    name: str
    """Its path below `data/raw`, or the source's name; it decides the order of its rows."""
    place: str
    """For messages."""
    tables: Iterator[pa.Table]
    """In the contract's schema, with further columns that decide or check the split: see `cutting.sequences`."""
    is_synthetic: bool = False
    """The source made sequences that are independent, in random order, each table a shard, and gives their split."""
    num_left_out: Callable[[], int] = int
    """Recordings too short for a window, once the tables were read."""
