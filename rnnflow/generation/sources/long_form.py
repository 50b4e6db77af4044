"""Tables with a row a time step: the rows of one recording stand together, in the order of time."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from rnnflow.generation.sources import columns
from rnnflow.generation.sources.layout import Layout
from rnnflow.generation.sources.recording_chunk import RecordingChunk, SourceLocation
from rnnflow.generation.sources.times import Times, read_times
from rnnflow.generation.sources.values import numbers, refuse
from rnnflow.params.generate import FilesParams
from rnnflow.runtime.array_types import Bool, Float32, Int64
from rnnflow.runtime.errors import InputError

MAX_CLASSES = 10000
NOT_SORTED = "; sort the rows of each recording by time; where a clock was set back, write times in UTC"
NOT_READ = "; generate.files.columns.time: null reads no times"


@dataclass
class LongForm:
    """Reads the rows of one file, batch after batch.

    Args:
        location: the file.
        layout: what its columns are.
        files: the params.
    """

    location: SourceLocation
    layout: Layout
    files: FilesParams
    zone_is_known: bool | None = None
    """Whether times have a time zone; known after the first batch."""
    _classes: list[str] = field(default_factory=list)
    _last: dict[str, object] = field(default_factory=dict)
    """What the last row of the batch before said, by part."""
    _last_time: int | None = None
    _num_rows: int = 0

    def chunks(self, batches: Iterable[pa.RecordBatch]) -> Iterator[RecordingChunk]:
        """Yield the rows of each batch; every chunk is open but the last, which is empty.

        Raises:
            InputError: a value is missing or no number, times do not rise, a group or split changes in a recording.
        """
        for batch in batches:
            if batch.num_rows:
                yield self._chunk(batch)
                self._num_rows += batch.num_rows

    def _chunk(self, batch: pa.RecordBatch) -> RecordingChunk:
        parts = self.layout.parts
        texts = {name: self._text(batch, name) for name in ("id", "label", "group", "split") if name in parts}
        begins = _changes(texts["id"], self._last.get("id"))
        starts = np.flatnonzero(begins)
        if not len(starts) or starts[0] != 0:  # the recording of the last batch goes on
            starts = np.concatenate([[0], starts])
        for name in ("group", "split"):
            if name in texts:
                self._refuse_change(name, texts[name], begins, texts["id"])
        times = self._times(batch, begins, texts["id"])
        values = self._values(batch)
        if self.files.time_since_last_step:
            values = np.column_stack([values, self._since_last_step(times, begins)])
        first_steps = np.zeros(len(starts), dtype=np.int64)
        chunk = RecordingChunk(
            ids=texts["id"].take(pa.array(starts)),
            offsets=np.append(starts, batch.num_rows).astype(np.int64),
            values=values,
            labels=class_indices(self.location, texts["label"], self._classes),
            classes=self._classes,
            first_steps=first_steps,
            groups=texts["group"].take(pa.array(starts)) if "group" in texts else None,
            splits=texts["split"].take(pa.array(starts)) if "split" in texts else None,
            times=times.microseconds if times else None,
            first_times=times.microseconds[starts] if times else None,
            is_open=True,
        )
        self._last = {name: entries[-1].as_py() for name, entries in texts.items()}
        if times:
            self._last_time = int(times.microseconds[-1])
        return chunk

    def _text(self, batch: pa.RecordBatch, name: str) -> pa.StringArray:
        return columns.text(self.location, self.layout.parts[name], batch, self._num_rows)

    def _values(self, batch: pa.RecordBatch) -> Float32[np.ndarray, "row feature"]:
        names = self.layout.columns
        found = [numbers(self.location, name, batch.column(name), self._num_rows) for name in names]
        return np.column_stack(found)

    def _times(self, batch: pa.RecordBatch, begins: Bool[np.ndarray, " row"], ids: pa.StringArray) -> Times | None:
        name = self.layout.parts["time"].column if "time" in self.layout.parts else None
        if name is None:
            return None
        times = read_times(self.location, name, batch.column(name), self.files, self._num_rows)
        if self.zone_is_known not in (None, times.has_zone):
            what = "has a time zone" if times.has_zone else "has no time zone"
            refuse(self.location, self._num_rows, [True], f"column {name!r} {what}, unlike the rows above")
        self.zone_is_known = times.has_zone
        gaps = self._gaps(times)
        same, back = "has the same time as the row above, in sequence", "goes back in time, in sequence"
        self._refuse((gaps == 0) & ~begins, f"column {name!r} {same}", ids, NOT_READ)
        self._refuse((gaps < 0) & ~begins, f"column {name!r} {back}", ids, NOT_SORTED)
        return times

    def _gaps(self, times: Times) -> Int64[np.ndarray, " row"]:
        """Microseconds since the row above; 1 for the first row of a file."""
        before = int(times.microseconds[0]) - 1 if self._last_time is None else self._last_time
        return np.diff(times.microseconds, prepend=np.int64(before))

    def _since_last_step(self, times: Times | None, begins: Bool[np.ndarray, " row"]) -> Float32[np.ndarray, " row"]:
        if times is None:
            raise InputError(needs_times(self.location))
        return (np.where(begins, 0, self._gaps(times)) / 1e6).astype(np.float32)

    def _refuse_change(
        self, part: str, entries: pa.Array, begins: Bool[np.ndarray, " row"], ids: pa.StringArray
    ) -> None:
        what = f"column {self.layout.parts[part].column!r} changes within sequence"
        self._refuse(_changes(entries, self._last.get(part)) & ~begins, what, ids)

    def _refuse(self, is_bad: Bool[np.ndarray, " row"], what: str, ids: pa.StringArray, advice: str = "") -> None:
        if is_bad.any():
            name = ids[int(is_bad.argmax())].as_py()
            refuse(self.location, self._num_rows, is_bad, f"{what} {name!r}{advice}")


def _changes(entries: pa.Array, before: object) -> Bool[np.ndarray, " row"]:
    """Return where an entry differs from the one above; `before` stands above the first."""
    changes = np.empty(len(entries), dtype=bool)
    changes[0] = entries[0].as_py() != before
    changes[1:] = pc.not_equal(entries[1:], entries[:-1]).to_numpy(zero_copy_only=False)
    return changes


def needs_times(location: SourceLocation) -> str:
    return f"{location.path}: generate.files.time_since_last_step needs the time of each step, in a column or a list column"


def class_indices(location: SourceLocation, labels: pa.StringArray, classes: list[str]) -> np.ndarray:
    """Return the index of each label in `classes`, to which new ones are added."""
    encoded = labels.dictionary_encode()
    names = encoded.dictionary.to_pylist()
    known = {name: index for index, name in enumerate(classes)}
    classes.extend(name for name in names if name not in known)
    if len(classes) > MAX_CLASSES:
        raise InputError(
            f"{location.path}: more than {MAX_CLASSES:,} classes; generate.files.columns.label names the column"
        )
    known = {name: index for index, name in enumerate(classes)}
    places = np.array([known[name] for name in names], dtype=np.int32)
    return places[encoded.indices.to_numpy(zero_copy_only=False)]
