"""What a training refuses or advises against before it begins, because data, model and recipe do not go together."""

import numpy as np

from rnnflow.classifier import parameters
from rnnflow.params.models import ModelParams, MultiScaleStemParams
from rnnflow.params.train import TrainParams
from rnnflow.runtime.errors import InputError
from rnnflow.sequences.dataset import SequenceDataset, refuse_missing
from rnnflow.training.batching import batch_size

ENOUGH_MULTIPLY_ADDS = 50_000_000
"""Of a batch's forward pass, from about where on several processes take less time than one.

Measured with engine numba and two processes: at 0.3 million they take 4.7 times as long, at 28 million still longer, at 229
million (hidden 128, length 100, batch 128) 0.6 times as long.
"""


def refuse(train: SequenceDataset, validation: SequenceDataset | None, model: ModelParams, recipe: TrainParams) -> None:
    """Refuse what cannot be trained.

    Raises:
        InputError: a value is missing and the model refuses such data; a stem is larger than the sequences, or its norms
            would have a single step to go by.
    """
    if model.missing == "refuse":
        refuse_missing(train, "train")
        if validation is not None:
            refuse_missing(validation, "validation")
    if isinstance(model.stem, MultiScaleStemParams):
        size = batch_size(len(train), model, recipe)
        _refuse_stem(model.stem, -(-np.diff(train.offsets) // model.downsampling), recipe, size)


def advice(train: SequenceDataset, model: ModelParams, recipe: TrainParams, device: str) -> str:
    """Return a line where several processes share so little that one would be done sooner, else nothing."""
    if recipe.num_processes == 1 or device != "cpu":
        return ""
    median = int(np.median(np.diff(train.offsets)))
    of_one = parameters.multiply_adds(model, len(train.features), len(train.classes), median) // model.members
    work = of_one * batch_size(len(train), model, recipe)
    if work >= ENOUGH_MULTIPLY_ADDS:
        return ""
    return (
        f"train.num_processes: {recipe.num_processes} share {work / 1e6:,.1f} million multiply-adds a batch and take longer "
        f"than one, for they wait for each other; expected {ENOUGH_MULTIPLY_ADDS / 1e6:.0f} million or more; set it to 1"
    )


def _refuse_stem(stem: MultiScaleStemParams, lengths: np.ndarray, recipe: TrainParams, size: int) -> None:
    """Of sequences with so many steps once they are prepared, `size` to a batch."""
    longest, largest = int(lengths.max()), max(stem.kernel_sizes)
    if largest > 2 * longest - 1:
        raise InputError(
            f"models.….stem: kernel_sizes: {largest} steps are more than sequences of at most {longest} steps can fill; "
            f"expected at most {2 * longest - 1}"
        )
    if stem.num_averaged > longest:
        raise InputError(
            f"models.….stem: block_sizes {stem.block_sizes} make one step of {stem.num_averaged}, but the longest sequence "
            f"has {longest}; choose smaller ones"
        )
    if recipe.num_processes > 1:
        raise InputError(
            f"train.num_processes: {recipe.num_processes}, but the norms of a multi_scale stem need the whole batch; set it to 1"
        )
    if recipe.cuda_graphs:
        raise InputError(
            "train.cuda_graphs: true, but to record a batch is to run it more than once, and the norms of a multi_scale stem "
            "follow every run; set it to false"
        )
    smallest_batch = len(lengths) % size or size
    fewest = -(-int(lengths.min()) // (stem.block_sizes[0] * stem.block_sizes[1]))
    if smallest_batch * fewest < 2:
        raise InputError(
            f"train.batch_size: {recipe.batch_size} leaves a batch of one sequence, and the shortest one comes down to one "
            "step, which the norms of a multi_scale stem cannot go by; choose another size, or smaller block_sizes"
        )
