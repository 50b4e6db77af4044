"""Several processes that share each batch and end with one gradient, around any engine; `torchrun` starts them.

Everything random is drawn above the engines, in every process alike, so that all take the same step on the same weights.
"""

import atexit
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.distributed

from rnnflow.classifier.preparation import Lengths
from rnnflow.engines.interface import Batch, Bucket, Buffer, Engine, train_one_by_one
from rnnflow.runtime.array_types import Float32


class DistributedEngine:
    """An engine whose gradient is that of all processes together.

    Args:
        engine: of this process.
        device: `cpu` (Gloo) or `cuda` (NCCL).
    """

    def __init__(self, engine: Engine, device: str) -> None:
        self.engine = engine
        if not torch.distributed.is_initialized():
            torch.distributed.init_process_group("nccl" if device == "cuda" else "gloo")
            atexit.register(_part)  # an error ends the process without `leave`
        self.rank, self.num_processes = torch.distributed.get_rank(), torch.distributed.get_world_size()

    def buffer(self, values: Float32[np.ndarray, "steps feature"]) -> Buffer:
        """Bring prepared steps to where the engine computes."""
        return self.engine.buffer(values)

    def array(self, values: np.ndarray) -> Any:
        """Bring an array there."""
        return self.engine.array(values)

    def train(self, bucket: Bucket, learning_rates: Sequence[float]) -> list[float]:
        """Take a step for each batch, and return their losses."""
        return train_one_by_one(self, bucket, learning_rates)

    def loss_and_grad(self, batch: Batch) -> float:
        """Return the loss of a batch; its gradient is in `gradient` afterwards, in every process."""
        share = batch.share(self.rank, self.num_processes)
        gradient = torch.as_tensor(self.engine.gradient)
        loss = 0.0
        if share is None:
            gradient.zero_()
        else:
            loss = float(self.engine.loss_and_grad(share))
        total = torch.tensor([loss], device=gradient.device)
        torch.distributed.all_reduce(gradient)
        torch.distributed.all_reduce(total)
        return float(total)

    @property
    def gradient(self) -> Any:
        """The flat gradient."""
        return self.engine.gradient

    def step(self, learning_rate: float) -> None:
        """Take the step that every process takes."""
        self.engine.step(learning_rate)

    def logits(
        self, prepared: Float32[np.ndarray, "batch time feature"], lengths: Lengths
    ) -> Float32[np.ndarray, "batch class"]:
        """Return the logits of the classifier as it is now."""
        return self.engine.logits(prepared, lengths)

    def state(self) -> dict[str, np.ndarray]:
        """Return all that decides the following steps."""
        return self.engine.state()

    def load_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Go back to where `state` was taken."""
        self.engine.load_state(state)


def leave() -> None:
    """Wait for the other processes, and part."""
    torch.distributed.barrier()
    _part()


def _part() -> None:
    """End the threads of the group: a process that exits while they run is aborted, whatever its own exit status."""
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def from_first(value: Any) -> Any:
    """Return what the first process gives, in every process."""
    values = [value]
    torch.distributed.broadcast_object_list(values, src=0)
    return values[0]
