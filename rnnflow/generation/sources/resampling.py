"""Recordings at one rate: steps at equal distances, counted from the first step of each recording."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np

from rnnflow.generation.sources.recording_chunk import RecordingChunk, SourceLocation
from rnnflow.params.generate import ResampleParams
from rnnflow.runtime.array_types import Float32, Int64

Times = Int64[np.ndarray, " step"]
"""Microseconds since the recording's first step."""
NewSteps = Int64[np.ndarray, " new_step"]


def resampled(
    location: SourceLocation, chunks: Iterable[RecordingChunk], params: ResampleParams
) -> Iterator[RecordingChunk]:
    """Yield the chunks of a file with steps at `params.seconds` from each other.

    Raises:
        InputError: steps have no times.
    """
    resampler = _Resampler(round(1e6 * params.seconds), params.method)
    waiting: RecordingChunk | None = None
    for chunk in chunks:
        if chunk.times is None:
            raise location.error("generate.files.resample needs the time of each step")
        joined = chunk if waiting is None else waiting.joined(chunk)
        if joined.num_recordings:
            made, waiting = resampler.take(joined)
            if made.is_open and made.offsets[-1] == made.offsets[-2]:  # its first step is not known yet
                made = made.without_last()
            if len(made.values):
                yield made
    if waiting is not None and waiting.num_recordings:
        made, _ = resampler.take(waiting.closed())
        if len(made.values):
            yield made


class _Resampler:
    """Knows where the recording goes on that the last chunk left open; its period is in microseconds."""

    def __init__(self, period: int, method: str) -> None:
        self.period = period
        self.method = method
        self.num_made = 0
        """Steps that the open recording has by now."""

    def take(self, chunk: RecordingChunk) -> tuple[RecordingChunk, RecordingChunk]:
        """Return the steps that are complete, and those of the chunk that later ones will need."""
        first_times = chunk.known("first_time")
        assert chunk.times is not None
        assert first_times is not None
        values, labels, times = [], [], []
        kept = 0
        for recording, first_time in enumerate(first_times):
            steps = slice(*chunk.offsets[recording : recording + 2])
            is_open = chunk.is_open and recording == chunk.num_recordings - 1
            own = chunk.times[steps] - first_time
            made = self._made(own, is_open)
            rows = self._rows(own, made)
            values.append(
                chunk.values[steps][rows] if self.method == "nearest" else self._means(chunk, steps, own, made)
            )
            labels.append(chunk.labels[steps][rows])
            times.append(made + first_time)
            self.num_made = self.num_made + len(made) if is_open else 0
            kept = max(0, int(np.searchsorted(own, self.num_made * self.period)) - 1)
        complete = replace(
            chunk,
            offsets=np.concatenate(([0], np.cumsum([len(made) for made in times]))),
            values=np.concatenate(values),
            labels=np.concatenate(labels),
            times=np.concatenate(times),
            first_steps=np.zeros(chunk.num_recordings, np.int64),
        )
        return complete, chunk.from_recording(chunk.num_recordings - chunk.is_open, kept if chunk.is_open else 0)

    def _made(self, times: Times, is_open: bool) -> NewSteps:
        """Return the new steps of a recording: a mean is known once its period is over."""
        stop = times[-1] // self.period + (0 if is_open and self.method == "mean" else 1)
        return np.arange(self.num_made, stop, dtype=np.int64) * self.period

    def _rows(self, times: Times, made: NewSteps) -> NewSteps:
        """Return the step that is nearest to each new one, or for means the last one of its period."""
        if self.method == "mean":
            return np.maximum(np.searchsorted(times, made + self.period) - 1, 0)
        after = np.minimum(np.searchsorted(times, made), len(times) - 1)
        before = np.maximum(after - 1, 0)
        return np.where(np.abs(times[before] - made) <= np.abs(times[after] - made), before, after)

    def _means(
        self, chunk: RecordingChunk, steps: slice, times: Times, made: NewSteps
    ) -> Float32[np.ndarray, "new_step feature"]:
        periods = times // self.period - self.num_made
        is_complete = (periods >= 0) & (periods < len(made))
        means = np.full((len(made), chunk.values.shape[1]), np.nan, np.float32)
        for feature, column in enumerate(chunk.values[steps].T.astype(np.float64)):
            known = is_complete & ~np.isnan(column)
            counts = np.bincount(periods[known], minlength=len(made))
            sums = np.bincount(periods[known], weights=column[known], minlength=len(made))
            means[counts > 0, feature] = sums[counts > 0] / counts[counts > 0]
        return means
