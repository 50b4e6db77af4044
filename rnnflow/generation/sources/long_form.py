"""Tables with one row per time step: the rows of one recording stand together, in the order of time."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from rnnflow.generation.sources.recording_chunk import RecordingChunk
from rnnflow.generation.sources.row_reader import RowReader
from rnnflow.generation.sources.times import read_times
from rnnflow.generation.sources.values import numbers
from rnnflow.runtime.array_types import Bool, Int64

NOT_SORTED = "; sort the rows of each recording by time; where a clock was set back, write times in UTC"
NOT_READ = "; generate.files.columns.time: null reads no times"


@dataclass
class LongForm(RowReader):
    """Every chunk is open, since the recording of the last row may go on."""

    _last: dict[str, Any] = field(default_factory=dict)
    """What the last row of the batch before said, by part."""

    def chunk(self, batch: pa.RecordBatch) -> RecordingChunk:
        texts = self.texts(batch)
        begins = _changes(texts["id"], self._last.get("id"))
        starts = np.flatnonzero(begins)
        if not len(starts) or starts[0] != 0:  # the recording of the last batch goes on
            starts = np.concatenate([[0], starts])
        for name in ("group", "split"):
            if name in texts:
                what = f"column {self.layout.parts[name].column!r} changes within sequence"
                self._refuse(_changes(texts[name], self._last.get(name)) & ~begins, what, texts["id"])
        times, gaps = self._times(batch, begins, texts["id"])
        names = self.layout.columns
        values = np.column_stack([numbers(self.location, name, batch.column(name), self.num_rows) for name in names])
        recordings = {name: texts[name].take(pa.array(starts)) for name in texts if name != "label"}
        chunk = RecordingChunk(
            recordings=pa.RecordBatch.from_pydict(
                recordings | ({} if times is None else {"first_time": pa.array(times[starts])})
            ),
            offsets=np.append(starts, batch.num_rows).astype(np.int64),
            values=self.with_gaps(values, gaps, begins),
            labels=self.class_indices(texts["label"]),
            classes=self._classes,
            first_steps=np.zeros(len(starts), dtype=np.int64),
            times=times,
            is_open=True,
        )
        self._last = {name: entries[-1].as_py() for name, entries in texts.items()}
        self._last |= {} if times is None else {"time": times[-1]}
        return chunk

    def _times(
        self, batch: pa.RecordBatch, begins: Bool[np.ndarray, " row"], ids: pa.StringArray
    ) -> tuple[Int64[np.ndarray, " row"] | None, Int64[np.ndarray, " row"] | None]:
        """Return the times of the rows, and how long after the row above each is."""
        name = self.layout.parts["time"].column if "time" in self.layout.parts else None
        if name is None:
            return None, None
        found = read_times(self.location, name, batch.column(name), self.files, self.num_rows)
        if self.zone_is_known not in (None, found.has_zone):
            what = "has a time zone" if found.has_zone else "has no time zone"
            self.refuse(np.array([True]), f"column {name!r} {what}, unlike the rows above")
        self.zone_is_known = found.has_zone
        times = found.microseconds
        gaps = np.diff(times, prepend=np.int64(self._last.get("time", times[0] - 1)))
        same, back = "has the same time as the row above, in sequence", "goes back in time, in sequence"
        self._refuse((gaps == 0) & ~begins, f"column {name!r} {same}", ids, NOT_READ)
        self._refuse((gaps < 0) & ~begins, f"column {name!r} {back}", ids, NOT_SORTED)
        return times, gaps

    def _refuse(self, is_bad: Bool[np.ndarray, " row"], what: str, ids: pa.StringArray, advice: str = "") -> None:
        if is_bad.any():
            self.refuse(is_bad, f"{what} {ids[int(is_bad.argmax())].as_py()!r}{advice}")


def _changes(entries: pa.Array, before: object) -> Bool[np.ndarray, " row"]:
    """Return where an entry differs from the one above; `before` stands above the first."""
    changes = np.empty(len(entries), dtype=bool)
    changes[0] = entries[0].as_py() != before
    changes[1:] = pc.not_equal(entries[1:], entries[:-1]).to_numpy(zero_copy_only=False)
    return changes
