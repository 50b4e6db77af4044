"""Whether an ONNX file answers as the PyTorch model it was exported from."""

from collections.abc import Sequence

import numpy as np
import torch

from rnnflow.inference import Predictor
from rnnflow.model import SequenceClassifier


@torch.inference_mode()
def largest_difference(
    model: SequenceClassifier, predictor: Predictor, batch_sizes: Sequence[int], lengths: Sequence[int]
) -> float:
    """Return the largest difference between their probabilities.

    For each batch size and longest length, sequences of that length down to one step are run, drawn
    around the scaling's mean, a few values missing. onnxruntime gets garbage (NaN, and large numbers) in
    the padding; PyTorch runs each sequence alone, without any padding.
    """
    rng = np.random.default_rng(0)
    mean = model.scaler.mean.numpy()
    deviation = 1 / model.scaler.inverse_deviation.numpy()
    largest = 0.0
    for batch_size in batch_sizes:
        for longest in lengths:
            sequences = rng.standard_normal((batch_size, longest, len(mean)), dtype=np.float32) * deviation + mean
            sequences[rng.random(sequences.shape) < 0.02] = np.nan
            valid = rng.integers(1, longest + 1, batch_size)
            valid[0] = longest
            expected = np.concatenate(
                [
                    model(torch.from_numpy(sequence[None, :length]), None).softmax(1).numpy()
                    for sequence, length in zip(sequences, valid, strict=True)
                ]
            )
            for garbage in (np.nan, 1e6):
                padded = np.where(
                    np.arange(longest)[None, :, None] < valid[:, None, None], sequences, np.float32(garbage)
                )
                difference = np.abs(predictor.run(padded, valid) - expected).max()
                largest = max(largest, float(difference) if np.isfinite(difference) else np.inf)
    return largest
