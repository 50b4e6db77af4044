import numpy as np
import pytest

from rnnflow.params.models import ModelParams
from rnnflow.params.train import TrainParams
from rnnflow.sequences.dataset import SequenceDataset
from rnnflow.training.refusals import advice

SMALL = ModelParams(cell="rnn", hidden_size=32), 10, 32
LARGE = ModelParams(cell="gru", hidden_size=128), 100, 128


@pytest.mark.parametrize(
    ("size", "num_processes", "device", "is_advised_against"),
    [
        (SMALL, 2, "cpu", True),
        (LARGE, 2, "cpu", False),
        (SMALL, 1, "cpu", False),
        (SMALL, 2, "cuda", False),  # whose time is not in the multiply-adds
    ],
)
def test_several_processes_are_advised_against_where_they_share_little(
    size: tuple[ModelParams, int, int], num_processes: int, device: str, is_advised_against: bool
) -> None:
    model, length, batch_size = size
    offsets = np.arange(batch_size + 1) * length
    values, labels = np.zeros((offsets[-1], 1), np.float32), np.zeros(batch_size, np.int64)
    split = SequenceDataset(values, offsets, labels, ("x",), ("down", "up"))
    recipe = TrainParams(batch_size=batch_size, num_processes=num_processes)
    said = advice(split, model, recipe, device)
    assert said.startswith("train.num_processes: 2 share 0.3 million multiply-adds") == is_advised_against
    assert bool(said) == is_advised_against
