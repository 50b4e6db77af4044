"""How far rounding alone may move a model's answers: a correct ONNX file stays within that, whatever its weights.

A computation in float64 is the judge. Two programs that compute in float32 round differently, and what rounding does grows
with the weights and with the number of steps, in a chaotic model until nothing is left to compare. How far it grows is
measured with the model at hand: small changes of its weights and its input are carried through all steps in float64.
That is the view of backward error analysis (Higham, Accuracy and Stability of Numerical Algorithms, 2002, 1.5): an answer
in float32 is the exact one of a problem that differs by a rounding.
"""

import copy
from collections.abc import Iterable
from typing import Protocol, runtime_checkable

import numpy as np
import torch

from rnnflow.classifier.model import Classifier
from rnnflow.classifier.parameters import is_statistic
from rnnflow.runtime.array_types import Float32, Float64, Int64

Measured = tuple[
    Int64[np.ndarray, " kept"],
    Float64[np.ndarray, " kept"],
    Float64[np.ndarray, " kept"],
    Float64[np.ndarray, " kept"],
]
"""Of each sequence: its length, its difference, what rounding does on the way to its logits, and to the logits themselves."""
Batches = Iterable[tuple[Float32[np.ndarray, "batch time feature"], Int64[np.ndarray, " batch"]]]


@runtime_checkable
class Runtime(Protocol):
    """What answers in the place of the model: an exported file."""

    def run(
        self, sequences: Float32[np.ndarray, "batch time feature"], lengths: Int64[np.ndarray, " batch"]
    ) -> Float32[np.ndarray, "batch class"]:
        """Return the probabilities of padded sequences."""


EPSILON = 2.0**-24
"""The relative error of one rounding to float32."""
NUM_PERTURBED = 4
NUM_ROUNDINGS = 64
"""So many times a rounding are the changes: what they do is divided by it, unless it shows that rounding may do anything."""
UNDECIDED = 0.1
"""Changes that move a log-probability by more: the model is chaotic, or a unit stands on an edge from which it may fall."""
MARGIN = 6.0
"""Of 144 correct exports of all cells, with weights of 1 to 30 times the initial size, the worst needed a sixth of it."""
SMALLEST = 1e-30
"""Of probabilities that are compared; float32 ends near 1e-38."""


@torch.inference_mode()
def largest_excess(model: Classifier, runtime: Runtime, batches: Batches, tolerance: float) -> float:
    """Return the largest difference of log-probabilities from float64's, as a multiple of what is allowed.

    At most 1 is a correct export. Probabilities themselves would hide a wrong one where the model is sure of itself.

    Args:
        model: in PyTorch.
        runtime: the ONNX file.
        batches: padded sequences and their lengths. What happens in few steps is judged by sequences of few steps: a
            sequence may differ as far as rounding moves one that is no longer than itself.
        tolerance: allowed in any case.
    """
    rng = np.random.default_rng(0)
    exact = copy.deepcopy(model).double()
    perturbed = [_perturbed(exact, rng) for _ in range(NUM_PERTURBED)]
    parts = [_measured(model, exact, perturbed, runtime, *batch, rng) for batch in batches]
    lengths, differences, spreads, roundings = (np.concatenate(part) for part in zip(*parts, strict=True))
    order = np.argsort(lengths, kind="stable")
    until = np.searchsorted(lengths[order], lengths, side="right") - 1  # the last one that is no longer
    reach = np.maximum.accumulate(spreads[order])[until]
    excess: float = (differences / (tolerance + roundings + MARGIN * reach)).max(initial=0.0)
    return excess


def _measured(
    model: Classifier,
    exact: Classifier,
    perturbed: list[Classifier],
    runtime: Runtime,
    sequences: Float32[np.ndarray, "batch time feature"],
    lengths: Int64[np.ndarray, " batch"],
    rng: np.random.Generator,
) -> Measured:
    """Compare the sequences of a batch that are answered."""
    kept = np.full(len(sequences), True)
    if model.params.missing == "refuse":
        kept = ~model.preparation.refused(sequences, lengths)[:, 0]
    judged, largest_logit = _log_probabilities(exact, sequences, lengths)
    others = []
    for each in perturbed:
        noise = NUM_ROUNDINGS * 4 * EPSILON * rng.standard_normal(sequences.shape)
        others.append(_log_probabilities(each, (sequences * (1 + noise)).astype(np.float32), lengths)[0])
    answered = np.log(np.maximum(runtime.run(sequences, lengths), SMALLEST, dtype=np.float64))
    moved = np.abs(np.stack(others) - judged).max((0, 2))
    own = np.abs(_log_probabilities(model, sequences, lengths)[0] - judged).max(1)
    spread = np.where(moved > UNDECIDED, np.inf, np.maximum(own, moved / NUM_ROUNDINGS))
    difference = np.abs(answered - judged).max(1)
    rounding = 32 * EPSILON * (1 + largest_logit)  # of the logits themselves, and of the softmax
    return lengths[kept], difference[kept], spread[kept], rounding[kept]


def _log_probabilities(
    model: Classifier,
    sequences: Float32[np.ndarray, "batch time feature"],
    lengths: Int64[np.ndarray, " batch"],
) -> tuple[Float64[np.ndarray, "batch class"], Float64[np.ndarray, " batch"]]:
    """Return them, and the largest logit, as a model computes them in the precision of its weights."""
    prepared, num_steps = model.preparation(sequences, lengths)
    valid = None if num_steps is None else torch.from_numpy(num_steps)
    logits = model.classify(torch.from_numpy(prepared).to(next(model.parameters()).dtype), valid).double()
    return np.maximum(logits.log_softmax(1).numpy(), np.log(SMALLEST)), logits.abs().amax(1).numpy()


def _perturbed(exact: Classifier, rng: np.random.Generator) -> Classifier:
    """Return a copy whose weights are off by what the sums over them lose, its biases by what a gate's curve does."""
    other = copy.deepcopy(exact)
    for name, weights in other.named_parameters():
        is_bias = weights.dim() == 1 and not is_statistic(name)
        share, least = (1.0, 4.0) if is_bias else (weights[0].numel() ** 0.5, 0.0)
        size = NUM_ROUNDINGS * EPSILON * (share * weights.abs() + least)
        weights.add_(size * torch.from_numpy(rng.standard_normal(weights.shape)))
    return other
