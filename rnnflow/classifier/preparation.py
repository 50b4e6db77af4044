"""What becomes of raw steps before the first layer: missing values, downsampling, differences, scaling.

It is done once, in NumPy, whatever engine trains; `export/preparation_nodes.py` says the same in ONNX.
Shapes: B batch, T time, F feature as given, P feature as prepared.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from rnnflow.params.models import ModelParams, Scaling
from rnnflow.runtime.array_types import Bool, Float, Float32, Int64

Lengths = Int64[np.ndarray, " batch"] | None
"""Valid steps of each sequence, or none where every sequence fills the array."""

SCALING_NAMES = ("preparation.mean", "preparation.inverse_deviation")
COMPRESSION_NAMES = ("preparation.median", "preparation.inverse_spread")
"""Of the arrays, in a checkpoint; the latter two where a scaling is `compressed`."""
SEQUENCE_VARIANCE_FLOOR = 1e-10
"""In units of the squared range of the sequence itself, so that no sequence is hidden because others are larger.

It only keeps rounding errors small where down-sampling or differences leave next to nothing of a sequence.
"""


class Preparation:
    """Fills, downsamples, differentiates and scales sequences, as `missing` to `differences` of the params say.

    Args:
        params: the architecture.
        num_features: features of a raw time step.
    """

    def __init__(self, params: ModelParams, num_features: int) -> None:
        self.params = params
        self.num_features = num_features
        sizes = [2 * num_features if params.differentiates(kind) else num_features for kind in params.scalings]
        self._ends = np.cumsum(sizes)
        self.num_scaled = sum(sizes)
        self.num_outputs = self.num_scaled + (num_features if params.missing == "mask" else 0)
        self.mean = np.zeros(self.num_scaled, np.float32)
        """For each kind of scaling: of the features, and after them of their differences."""
        self.inverse_deviation = np.ones(self.num_scaled, np.float32)
        self.median = np.zeros(num_features, np.float32)
        self.inverse_spread = np.ones(num_features, np.float32)
        """Of small sequences, from where on `compressed` compresses."""

    def __call__(
        self, sequences: Float32[np.ndarray, "batch time feature"], lengths: Lengths
    ) -> tuple[Float32[np.ndarray, "batch step prepared"], Lengths]:
        """Return the prepared sequences, zero in the padding, and their lengths."""
        with np.errstate(over="ignore", invalid="ignore"):  # of enormous padding
            parts = [self._part(index, sequences, lengths) for index in range(len(self.params.scalings))]
        features = [scaled for scaled, _, _ in parts]
        _, missing, lengths = parts[0]
        if self.params.missing == "mask":
            features.append((~missing[:, :, : self.num_features]).astype(np.float32))
        return features[0] if len(features) == 1 else np.concatenate(features, axis=2), lengths

    def _part(
        self, index: int, sequences: Float32[np.ndarray, "batch time feature"], lengths: Lengths
    ) -> tuple[Float32[np.ndarray, "batch step part"], Bool[np.ndarray, "batch step part"], Lengths]:
        """Return the features of one kind of scaling, where they are missing or padding, and the lengths.

        The mean, or the minimum of each sequence, goes off first: what has a large one would lose its last digits in the
        sums of the blocks.
        """
        kind = self.params.scalings[index]
        if kind == "sequence":
            minimum, size = value_range(sequences, lengths)
            scaled, lengths = self.derive(sequences - minimum, lengths, kind)
            scaled /= np.tile(size, scaled.shape[2] // self.num_features)
        else:
            mean = self.mean[self.part(index)]
            values = self.compressed(sequences) if kind == "compressed" else sequences
            scaled, lengths = self.derive(values - mean[: self.num_features], lengths, kind)
            scaled[:, :, self.num_features :] -= mean[self.num_features :]
            scaled *= self.inverse_deviation[self.part(index)]
        missing = np.isnan(scaled)
        if lengths is not None:
            missing |= ~valid_steps(lengths, scaled.shape[1])
        scaled[missing] = 0.0
        if kind == "sequence":
            _standardise(scaled, missing)
        return scaled, missing, lengths

    def typical_values(self) -> tuple[Float32[np.ndarray, " feature"], Float32[np.ndarray, " feature"]]:
        """Return a center and a size of the raw features, as far as the scaling was fitted to them."""
        kinds = self.params.scalings
        if "compressed" in kinds and "global" not in kinds:
            return self.median, 1 / self.inverse_spread
        start = self.part(kinds.index("global")).start if "global" in kinds else 0
        features = slice(start, start + self.num_features)
        return self.mean[features], 1 / self.inverse_deviation[features]

    def part(self, index: int) -> slice:
        """Return where the features of a kind of scaling stand among all that are scaled."""
        return slice(int(self._ends[index - 1]) if index else 0, int(self._ends[index]))

    def compressed(self, values: Float[np.ndarray, "... feature"]) -> Float[np.ndarray, "... feature"]:
        """Return values that grow as their logarithm far from the median, and linearly near it."""
        compressed: Float[np.ndarray, "... feature"] = np.arcsinh((values - self.median) * self.inverse_spread)
        return compressed

    def arrays(self) -> dict[str, Float32[np.ndarray, " scaled"]]:
        """Return what it was fitted to, by its names in a checkpoint."""
        fitted = dict(zip(SCALING_NAMES, (self.mean, self.inverse_deviation), strict=True))
        if "compressed" in self.params.scalings:
            fitted |= zip(COMPRESSION_NAMES, (self.median, self.inverse_spread), strict=True)
        return fitted

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Take over what another one was fitted to.

        Raises:
            ValueError: an array is missing or has another shape.
        """
        for name, own in self.arrays().items():
            if name not in arrays or arrays[name].shape != own.shape:
                raise ValueError(f"expected {name} of shape {own.shape}")
            own[:] = arrays[name]

    @property
    def derives(self) -> bool:
        """Whether the features to be scaled are others than the raw ones."""
        return self.params.missing == "forward_fill" or self.params.downsampling > 1 or bool(self.params.differences)

    def derive(
        self, sequences: Float[np.ndarray, "batch time feature"], lengths: Lengths, kind: Scaling
    ) -> tuple[Float[np.ndarray, "batch step part"], Lengths]:
        """Return the features for one kind of scaling, NaN where they are missing and anything in the padding."""
        if self.params.missing == "forward_fill":
            sequences = forward_filled(sequences)
        if self.params.downsampling > 1:
            sequences = block_means(sequences, lengths, self.params.downsampling)
            lengths = None if lengths is None else self.num_steps(lengths)
        if self.params.differentiates(kind):
            changes = np.zeros_like(sequences)
            with np.errstate(invalid="ignore"):  # of infinite padding
                np.subtract(sequences[:, 1:], sequences[:, :-1], out=changes[:, 1:])
            sequences = np.concatenate([sequences, changes], axis=2)
        return sequences, lengths

    def num_steps(self, lengths: Int64[np.ndarray, " any"]) -> Int64[np.ndarray, " any"]:
        """Return how many steps are left of so many."""
        return -(-lengths // self.params.downsampling)

    def offsets(self, raw: Int64[np.ndarray, " sequence_plus_one"]) -> Int64[np.ndarray, " sequence_plus_one"]:
        """Return where prepared sequences begin and end that stand one after another as the raw ones do."""
        if self.params.downsampling == 1:
            return raw
        return np.concatenate([[0], np.cumsum(self.num_steps(np.diff(raw)))])

    def refused(
        self, sequences: Float32[np.ndarray, "batch time feature"], lengths: Lengths
    ) -> Bool[np.ndarray, "batch 1"]:
        """Return which sequences miss a value in a valid step."""
        missing = np.isnan(sequences)
        if lengths is not None:
            missing &= valid_steps(lengths, sequences.shape[1])
        return missing.any(2).any(1, keepdims=True)


def forward_filled(sequences: Float[np.ndarray, "batch time feature"]) -> Float[np.ndarray, "batch time feature"]:
    """Return the last known value in the place of each missing one; before the first, they stay missing."""
    steps = np.arange(sequences.shape[1])[:, None]
    last_known = np.maximum.accumulate(np.where(np.isnan(sequences), 0, steps), axis=1)
    return np.take_along_axis(sequences, last_known, axis=1)


def block_means(
    sequences: Float[np.ndarray, "batch time feature"], lengths: Lengths, size: int
) -> Float[np.ndarray, "batch block feature"]:
    """Return the mean of the known values of each `size` steps, the last block may have fewer; NaN where none is known."""
    batch, num_steps, num_features = sequences.shape
    known = ~np.isnan(sequences)
    if lengths is not None:
        known &= valid_steps(lengths, num_steps)

    def sums(values: np.ndarray) -> np.ndarray:
        whole = np.pad(values, ((0, 0), (0, -num_steps % size), (0, 0)))
        return whole.reshape(batch, -1, size, num_features).sum(2, dtype=np.float64)

    with np.errstate(invalid="ignore"):
        return (sums(np.where(known, sequences, 0)) / sums(known)).astype(sequences.dtype)


def value_range(
    sequences: Float32[np.ndarray, "batch time feature"], lengths: Lengths
) -> tuple[Float32[np.ndarray, "batch 1 feature"], Float32[np.ndarray, "batch 1 feature"]]:
    """Return the minimum of each sequence's known values and their range, 1 where no two of them differ.

    Both are exact, and so a constant sequence less its minimum is exactly zero, in float32 as well.
    """
    known = ~np.isnan(sequences)
    if lengths is not None:
        known &= valid_steps(lengths, sequences.shape[1])
    minimum = sequences.min(1, keepdims=True, initial=np.inf, where=known)
    size = sequences.max(1, keepdims=True, initial=-np.inf, where=known) - minimum
    return np.where(size >= 0, minimum, np.float32(0)), np.where(size > 0, size, np.float32(1))


def valid_steps(lengths: Int64[np.ndarray, " batch"], num_steps: int) -> Bool[np.ndarray, "batch time 1"]:
    """Return where an array of `num_steps` holds a step of its sequence and not padding."""
    return (np.arange(num_steps) < lengths[:, None])[:, :, None]


def _standardise(scaled: Float32[np.ndarray, "batch step feature"], missing: Bool[np.ndarray, "..."]) -> None:
    """Each feature over the known values of each sequence; what is missing is zero and stays so.

    The mean is subtracted twice, because rounding leaves some of it.
    """
    count = np.maximum((~missing).sum(1, keepdims=True), 1)

    def mean(values: np.ndarray) -> np.ndarray:
        return values.sum(1, keepdims=True, dtype=np.float64) / count

    for _ in range(2):
        scaled -= mean(scaled).astype(np.float32)
        scaled[missing] = 0.0
    scaled /= np.sqrt(mean(np.square(scaled)) + SEQUENCE_VARIANCE_FLOOR).astype(np.float32)


@dataclass(frozen=True)
class PreparedSequences:
    """Sequences as the first layer reads them, one after another in one buffer."""

    values: Float32[np.ndarray, "steps prepared"]
    """Behind the last sequence there are as many steps to spare as the longest one has."""
    offsets: Int64[np.ndarray, " sequence_plus_one"]
    """In steps; those of the raw sequences where they have as many."""

    def __len__(self) -> int:
        return len(self.offsets) - 1
