"""The batches of an epoch: order, crop, augmentation, padding, class weights and dropout.

All that is random about a training after its initial weights is drawn here, from one generator. The order in which it is
drawn decides the weights: a draw more, or at another place, and every model comes out with other bits.
"""

import functools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from rnnflow.classifier.preparation import Preparation
from rnnflow.engines.interface import Bucket, Engine, EngineConfig
from rnnflow.params.models import ModelParams
from rnnflow.params.train import TrainParams
from rnnflow.runtime.array_types import Float, Float32, Int64
from rnnflow.sequences.bucketing import BATCHES_PER_BUCKET, buckets
from rnnflow.sequences.dataset import SequenceDataset
from rnnflow.training import augmentation
from rnnflow.training.fit_preparation import prepare_split
from rnnflow.training.sampling import epoch_order

Counts = Int64[np.ndarray, " batch"]

GATHERED_STATES = 2**19
"""Numbers of the states of the batches that are gathered at once, where there is a choice: more of compact models' batches."""
MAX_BUCKET_SIZE = 64
"""What a bucket costs besides its steps is then next to nothing, and a signal, which waits for its end, is soon heard."""


class BatchLoader:
    """Yields the batches of an epoch, a bucket at a time, whenever it is iterated over; its `len` is the number of batches.

    Args:
        train: the split; its labels and a prepared copy of its values are kept, the raw values are not.
        preparation: fitted to it.
        config: what the engine was made for.
        engine: has the copy where it computes.
        rng: draws; its state decides all batches to come.
    """

    def __init__(
        self,
        train: SequenceDataset,
        preparation: Preparation,
        config: EngineConfig,
        engine: Engine,
        rng: np.random.Generator,
    ) -> None:
        self.model = config.model
        self.recipe = config.train
        self.class_weights = config.class_weights
        self.labels = train.labels
        self.engine = engine
        self.rng = rng
        self.batch_size = batch_size(len(train.labels), config.model, config.train)
        self.num_scaled, self.num_inputs = preparation.num_scaled, preparation.num_outputs
        self.sequences = prepare_split(preparation, train, config.train.memory_budget_mb)
        self.buffer = engine.buffer(self.sequences.values)
        self.bucket_size = self._bucket_size()

    def __len__(self) -> int:
        return -(-len(self.labels) // self.batch_size)

    def __iter__(self) -> Iterator[Bucket]:
        order = epoch_order(self.rng, self.labels, self.recipe.sampling)
        # With a norm, batches of like lengths would each have moments of their own, which no running moments stand for; and
        # a split of one bucket would have the same batches in each epoch.
        is_sorted = not self.model.has_norms
        for rows, lengths in buckets(order, self.sequences.offsets, self.batch_size, is_sorted, self.bucket_size):
            starts = self.sequences.offsets[rows]
            if self.recipe.random_crop:
                starts, lengths = augmentation.crop(starts, lengths, self.recipe.random_crop, self.rng)
            yield from self._batches(self._inputs(starts, lengths), lengths, self.labels[rows].astype(np.int64))

    def _bucket_size(self) -> int:
        """Return how many batches are gathered at once: more of compact ones, where that decides about nothing else.

        Lengths are sorted within a bucket, and what is random about its sequences is drawn together.
        """
        lengths = np.diff(self.sequences.offsets)
        if lengths.min() < lengths.max() or augmentation.is_random(self.recipe):
            return BATCHES_PER_BUCKET
        num_states = self.batch_size * int(lengths[0]) * max(self.num_inputs, self.model.output_size)
        return int(np.clip(GATHERED_STATES // num_states, BATCHES_PER_BUCKET, MAX_BUCKET_SIZE))

    def _inputs(self, starts: Counts, lengths: Counts) -> Any:
        """Return the steps of a bucket as (sequence, time, feature), padded to its longest sequence and augmented.

        All of a bucket at once: gathering eight compact batches takes about twice as long as gathering one.
        """
        drawn = augmentation.draw(lengths, self.recipe, self.num_scaled, self.num_inputs, self.rng)
        return drawn.apply(self.buffer.take(starts, int(lengths.max())), self.engine)

    def _batches(self, inputs: Any, lengths: Counts, labels: Counts) -> Iterator[Bucket]:
        """Yield the batches of a bucket: all together, or with dropout, whose masks may be as large as all states, each alone.

        A bucket is mostly sorted by length: without an order of their own, its batches would go from short to long.
        """
        bounds = _bounds(len(labels), self.batch_size)
        total_weights = np.add.reduceat(self.class_weights[labels], bounds[:, 0])
        if lengths.min() < lengths.max():
            order = self.rng.permutation(len(bounds))
            bounds, total_weights = bounds[order], total_weights[order]
        if not self.model.dropout:
            yield Bucket(inputs, lengths, labels, bounds, total_weights)
            return
        for index, (start, stop) in enumerate(bounds.tolist()):
            rows, only = slice(start, stop), slice(index, index + 1)
            longest = int(lengths[rows].max())
            masks = self._dropout_masks(stop - start, longest)
            yield Bucket(
                inputs[rows, :longest], lengths[rows], labels[rows], bounds[only] - start, total_weights[only], *masks
            )

    def _dropout_masks(
        self, batch_size: int, num_steps: int
    ) -> tuple[Float32[np.ndarray, "layer batch step output"] | None, Float32[np.ndarray, "batch pooled"] | None]:
        """Return the masks between the layers, if there are several, and before the head."""
        model = self.model
        step_mask = None
        if model.num_layers > 1:
            between = (model.num_layers - 1, batch_size, model.num_layer_steps(num_steps), model.output_size)
            step_mask = dropout_mask(between, model.dropout, self.rng)
        return step_mask, dropout_mask((batch_size, model.pooled_size), model.dropout, self.rng)


def batch_size(num_sequences: int, model: ModelParams, recipe: TrainParams) -> int:
    """Return how many sequences a batch has; the last of an epoch may have fewer.

    Batch norm goes by the moments of a batch: with 16 at a time, 33 sequences would leave one alone, whose moments disturb
    both the weights and the running moments. With a norm in the stem the last batch is at least half as large as the others.
    """
    if not model.has_norms:
        return recipe.batch_size
    sizes = range(recipe.batch_size, 0, -1)
    return next(size for size in sizes if num_sequences % size == 0 or 2 * (num_sequences % size) >= size)


@functools.cache
def _bounds(num_sequences: int, batch_size: int) -> Int64[np.ndarray, "batch 2"]:
    """Return where the batches of a bucket begin and end; there are few sizes, and to count takes longer than a small step."""
    firsts = np.arange(0, num_sequences, batch_size)
    return np.stack([firsts, np.minimum(firsts + batch_size, num_sequences)], axis=1)


def dropout_mask(shape: tuple[int, ...], share: float, rng: np.random.Generator) -> Float32[np.ndarray, "..."]:
    """Return factors: zero for a share of them, and for the others what keeps the mean."""
    is_kept = rng.random(shape, np.float32) >= share
    return is_kept * np.float32(1 / (1 - share))


def class_weights(class_counts: Sequence[int], recipe: TrainParams) -> Float[np.ndarray, " class"]:
    """Return the weight of each class in the loss: one, or with `balanced` what makes the classes' totals equal."""
    counts = np.array(class_counts, np.float64)
    if recipe.class_weights == "none":
        return np.ones(len(counts))
    return np.where(counts > 0, counts.sum() / (len(counts) * np.maximum(counts, 1)), 0.0)
