"""Whether an ONNX file answers as the PyTorch model it was exported from."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from rnnflow.classifier.model import Classifier
from rnnflow.export.rounding import Batches
from rnnflow.runtime.array_types import Float32, Int64
from rnnflow.serving.predictor import Predictor

MISSING_SHARES = (0.02, 0.02, 0.3, 1.0)
"""Of the values of a sequence, one of them drawn for each."""
ORDERS_OF_MAGNITUDE = 5
"""Of the sizes of sequences, where they are scaled each by itself or compressed."""
LARGE = 1000.0
"""Size and offset of the largest of them, in deviations, where no feature is scaled over the train split."""
LARGEST = float(np.finfo(np.float32).max) / 2
"""Of all values."""


@torch.inference_mode()
def largest_difference(
    model: Classifier, predictor: Predictor, batch_sizes: Sequence[int], lengths: Sequence[int]
) -> float:
    """Return the largest difference between their probabilities.

    For each batch size and longest length, sequences of that length down to one step are run, drawn
    around the scaling's mean, few to all of their values missing. onnxruntime gets garbage (NaN, and large
    numbers) in the padding; PyTorch runs each sequence alone, without any padding. A model that refuses
    missing values gets the same sequences complete as well, and has to answer NaN where they are not. A model that
    compresses values or scales each sequence by itself also gets sequences of very different sizes and offsets.
    """
    largest = 0.0
    for sequences, lengths_of_batch in batches(model, batch_sizes, lengths):
        largest = max(largest, _difference(model, predictor, sequences, lengths_of_batch))
    return largest


def batches(model: Classifier, batch_sizes: Sequence[int], lengths: Sequence[int]) -> Batches:
    """Yield the sequences that both are asked about, and their lengths."""
    rng = np.random.default_rng(0)
    for batch_size in batch_sizes:
        for longest in lengths:
            for complete in _sequences(model, rng, batch_size, longest):
                share = rng.choice(MISSING_SHARES, (batch_size, 1, 1))
                incomplete = np.where(rng.random(complete.shape) < share, np.float32(np.nan), complete)
                valid = rng.integers(1, longest + 1, batch_size)
                valid[0] = longest
                for sequences in (complete, incomplete) if model.params.missing == "refuse" else (incomplete,):
                    yield sequences, valid


def _sequences(
    model: Classifier, rng: np.random.Generator, batch_size: int, num_steps: int
) -> Iterator[Float32[np.ndarray, "batch time feature"]]:
    """Yield sequences such as those of the train split, and others of all sizes where the scaling is made for them."""
    center, std = model.preparation.typical_values()
    shape = batch_size, num_steps, len(center)
    with np.errstate(over="ignore"):
        typical = rng.standard_normal(shape, dtype=np.float32) * std + center
    yield _finite(typical)
    kinds = model.params.scalings
    if "compressed" in kinds or "sequence" in kinds:
        each = batch_size, 1, len(center)
        # What is scaled over the train split as well may be smaller, not larger: that would only saturate the cells.
        sizes = 10 ** rng.uniform(-ORDERS_OF_MAGNITUDE, 0, each) * (1 if "global" in kinds else LARGE)
        offsets = rng.standard_normal(each) * (1 if "global" in kinds else LARGE)
        yield _finite((rng.standard_normal(shape) * sizes + offsets) * std + center)


def _finite(values: np.ndarray) -> Float32[np.ndarray, "batch time feature"]:
    """Return values that may be too large for float32 as values that are not, even if rounding moves them."""
    return np.clip(values, -LARGEST, LARGEST).astype(np.float32)


def _difference(
    model: Classifier,
    predictor: Predictor,
    sequences: Float32[np.ndarray, "batch time feature"],
    lengths: Int64[np.ndarray, " batch"],
) -> float:
    """Infinite where one of them answers with a number and the other does not, or where none has to be refused."""
    alone = [
        model(sequence[None, :length], None).softmax(1).numpy()
        for sequence, length in zip(sequences, lengths, strict=True)
    ]
    expected = np.concatenate(alone)
    is_valid = np.arange(sequences.shape[1]) < lengths[:, None]
    is_refused = np.isnan(sequences).any(2, where=is_valid[:, :, None]).any(1) & (model.params.missing == "refuse")
    largest = 0.0
    for garbage in (np.nan, 1e6):
        answered = predictor.run(np.where(is_valid[:, :, None], sequences, np.float32(garbage)), lengths)
        for probabilities in (expected, answered):
            if (np.isnan(probabilities) != is_refused[:, None]).any():
                return np.inf
        difference = np.abs(answered - expected)[~is_refused].max(initial=0.0)
        largest = max(largest, float(difference))
    return largest
