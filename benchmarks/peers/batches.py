"""An epoch's batches, shuffled and without any training, from data that are in memory."""

from collections.abc import Callable

import pyarrow as pa
import torch
from datasets import Dataset
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.peers.workloads import WORKLOADS


def data_loader(workload: str) -> Callable[[], None]:
    """Return an epoch of a DataLoader over tensors."""
    sizes = WORKLOADS[workload]
    data = sizes.data()
    tensors = TensorDataset(torch.from_numpy(data.sequences), torch.from_numpy(data.labels))
    loader = DataLoader(tensors, batch_size=sizes.batch_size, shuffle=True)

    def run() -> None:
        for sequences, _ in loader:
            assert sequences.shape[1:] == (sizes.length, sizes.num_features)

    return run


def hugging_face(workload: str) -> Callable[[], None]:
    """Return an epoch of a DataLoader over a `datasets.Dataset`."""
    sizes = WORKLOADS[workload]
    data = sizes.data()
    flat = pa.array(data.sequences.reshape(-1))
    table = pa.table(
        {
            "sequence": pa.FixedSizeListArray.from_arrays(flat, sizes.length * sizes.num_features),
            "label": data.labels,
        }
    )
    loader = DataLoader(Dataset(table).with_format("torch"), batch_size=sizes.batch_size, shuffle=True)

    def run() -> None:
        for batch in loader:
            assert batch["sequence"].view(-1, sizes.length, sizes.num_features).dtype == torch.float32

    return run
