"""Whether a streaming file answers as the whole-sequence file does, however its sequences are cut."""

import numpy as np

from rnnflow.export.rounding import Batches
from rnnflow.runtime.array_types import Float32, Int64
from rnnflow.serving.predictor import Predictor
from rnnflow.serving.streaming_model import StreamingModel

NUM_PREFIXES = 4
"""Of each sequence, the whole one among them."""
GARBAGE = (np.nan, 1e6)
"""In the padding."""


class InPieces:
    """A streaming model that is given each sequence in random pieces, some of them empty."""

    def __init__(self, model: StreamingModel) -> None:
        self._model = model
        self._rng = np.random.default_rng(0)

    def run(
        self, sequences: Float32[np.ndarray, "batch time feature"], lengths: Int64[np.ndarray, " batch"]
    ) -> Float32[np.ndarray, "batch class"]:
        """Return the probabilities after the last piece of each sequence."""
        rng, (batch, num_steps, _) = self._rng, sequences.shape
        rows, done = np.arange(batch)[:, None], np.zeros(batch, np.int64)
        state = self._model.new_states(batch)
        probabilities = np.full((batch, len(self._model.classes)), np.nan, np.float32)
        while (done < lengths).any():
            width = int(rng.choice([1, 2, 5, num_steps // 4 + 1, num_steps]))
            counts = np.minimum(rng.integers(0, width + 1, batch), lengths - done)
            steps = sequences[rows, np.minimum(done[:, None] + np.arange(width), num_steps - 1)]
            steps[np.arange(width) >= counts[:, None]] = rng.choice(GARBAGE)
            probabilities, state = self._model.run(steps, counts, state)
            done += counts
        return probabilities


def prefixes(batches: Batches) -> Batches:
    """Yield each sequence of each batch several times, ending at steps of its own choice."""
    rng = np.random.default_rng(0)
    for sequences, lengths in batches:
        drawn = rng.integers(1, lengths + 1, (NUM_PREFIXES - 1, len(lengths)))
        yield np.tile(sequences, (NUM_PREFIXES, 1, 1)), np.concatenate([lengths, drawn.ravel()])


def largest_difference(whole: Predictor, pieces: InPieces, batches: Batches) -> float:
    """Return the largest difference of their probabilities; infinite where one alone answers with a number."""
    largest = 0.0
    for sequences, lengths in batches:
        expected, found = whole.run(sequences, lengths), pieces.run(sequences, lengths)
        if (np.isnan(expected) != np.isnan(found)).any():
            return np.inf
        largest = max(largest, float(np.nan_to_num(np.abs(expected - found)).max(initial=0.0)))
    return largest
