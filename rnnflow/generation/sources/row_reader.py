"""What tables with one row per time step and tables with one row per sequence have in common when their rows are read."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from rnnflow.generation.sources import columns
from rnnflow.generation.sources.layout import Layout
from rnnflow.generation.sources.recording_chunk import RecordingChunk, SourceLocation
from rnnflow.generation.sources.values import refuse
from rnnflow.params.generate import FilesParams
from rnnflow.runtime.array_types import Bool, Float32, Int32, Int64

MAX_CLASSES = 10000


@dataclass
class RowReader:
    """Reads the rows of one file, batch after batch."""

    location: SourceLocation
    layout: Layout
    files: FilesParams
    zone_is_known: bool | None = None
    """Whether times have a time zone; known after the first batch."""
    num_rows: int = 0
    """In the batches before."""
    _classes: list[str] = field(default_factory=list)

    def chunks(self, batches: Iterable[pa.RecordBatch]) -> Iterator[RecordingChunk]:
        """Yield the rows of each batch.

        Raises:
            InputError: a row is not as it should be.
        """
        for batch in batches:
            if batch.num_rows:
                yield self.chunk(batch)
                self.num_rows += batch.num_rows

    def chunk(self, batch: pa.RecordBatch) -> RecordingChunk:
        raise NotImplementedError

    def texts(self, batch: pa.RecordBatch) -> dict[str, pa.StringArray]:
        """Return what each row says of its recording, by part, the id first."""
        parts = self.layout.parts
        known = {name: parts[name] for name in ("id", "label", "group", "split") if name in parts}
        return {name: columns.text(self.location, part, batch, self.num_rows) for name, part in known.items()}

    def class_indices(self, labels: pa.StringArray) -> Int32[np.ndarray, " row"]:
        """Return the index of each label among all classes, to which new ones are added."""
        encoded = labels.dictionary_encode()
        names = encoded.dictionary.to_pylist()
        known = {name: index for index, name in enumerate(self._classes)}
        for name in names:
            known.setdefault(name, len(known))
        self._classes.extend(list(known)[len(self._classes) :])
        if len(known) > MAX_CLASSES:
            raise self.location.error(
                f"more than {MAX_CLASSES:,} classes; generate.files.columns.label names the column"
            )
        places = np.array([known[name] for name in names], dtype=np.int32)
        return places[encoded.indices.to_numpy(zero_copy_only=False)]

    def with_gaps(
        self,
        values: Float32[np.ndarray, "step feature"],
        gaps: Int64[np.ndarray, " step"] | None,
        begins: Bool[np.ndarray, " step"],
    ) -> Float32[np.ndarray, "step more_features"]:
        """Return values with the time since the last step, if the params ask for it; `gaps` are in microseconds."""
        if not self.files.time_since_last_step:
            return values
        if gaps is None:
            raise self.location.error(
                "generate.files.time_since_last_step needs the time of each step, in a column or a list column"
            )
        return np.column_stack([values, (np.where(begins, 0, gaps) / 1e6).astype(np.float32)])

    def refuse(self, is_bad: pa.Array | np.ndarray, what: str) -> None:
        refuse(self.location, self.num_rows, is_bad, what)
