"""A file as a table of whatever layout, and as the sequences in it."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import pyarrow as pa

from rnnflow.generation.sources.cutting import Cutter
from rnnflow.generation.sources.recording_chunk import SourceLocation


@dataclass(frozen=True)
class SourceTable:
    """A file as a table, which is what the readers of all formats return."""

    location: SourceLocation
    schema: pa.Schema
    batches: Callable[[list[str]], Iterable[pa.RecordBatch]]
    """Reads the columns of these names."""
    features: tuple[str, ...] | None = None
    """Their names, where the file itself says them."""


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
    cutter: Cutter | None = None
    """What makes the sequences, which knows which recordings were too short."""
