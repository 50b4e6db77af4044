"""The reference engine: forward, loss, gradient and AdamW in PyTorch, on a CPU or a GPU."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from rnnflow.classifier.model import SequenceClassifier
from rnnflow.classifier.preparation import Lengths
from rnnflow.engines.interface import BETAS, EPSILON, Batch, Bucket, EngineConfig, train_one_by_one
from rnnflow.engines.torch.graphs import Graphs
from rnnflow.runtime import environment, processes
from rnnflow.runtime.array_types import Float, Float32, Int, Int64
from rnnflow.runtime.errors import InputError
from rnnflow.sequences.padding import gather

PACKAGES = ("torch", "numpy")


def device() -> str:
    """Return `cpu` or `cuda` as `RNNFLOW_DEVICE` says; `auto`, the default, takes a GPU where there is one.

    Raises:
        InputError: the variable says something else, or asks for a GPU that is not there.
    """
    wanted = environment.wanted_device()
    has_gpu = torch.cuda.is_available()
    if wanted == "cuda" and not has_gpu:
        raise InputError(
            f"environment variable {environment.DEVICE} is cuda, but PyTorch finds no GPU here; use auto or cpu"
        )
    return "cuda" if has_gpu and wanted != "cpu" else "cpu"


def create(task: EngineConfig, weights: Float32[np.ndarray, " parameter"], device: str) -> "TorchEngine":
    """Return an engine for a task.

    Raises:
        InputError: the CPU cannot compute in bfloat16.
    """
    if task.train.precision == "bfloat16" and device == "cpu" and not torch.cpu._is_avx512_bf16_supported():
        raise InputError("train.precision: this CPU has no instructions for bfloat16; use float32, or a GPU")
    if device == "cuda" and processes.are_started():
        if processes.local_rank() >= torch.cuda.device_count():
            raise InputError(
                f"train.num_processes: process {processes.local_rank() + 1} on this machine, which has "
                f"{torch.cuda.device_count()} GPUs; one process for each"
            )
        torch.cuda.set_device(processes.local_rank())
    return TorchEngine(task, weights, device)


@contextmanager
def flushed_denormals() -> Iterator[None]:
    """Have this thread compute with zeros instead of denormal numbers, on which a CPU is many times slower.

    Gradients of long sequences are full of them. PyTorch's own threads (train.num_threads) keep the mode that they began
    with; the first product of an engine starts them in this one.
    """
    is_set = sys.float_info.min / 2 == 0.0  # PyTorch can set the mode, but does not say what it is
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(is_set)


class TorchBuffer:
    """Prepared steps in host memory or, where they fit, on the GPU."""

    def __init__(self, values: Float32[np.ndarray, "steps feature"], device: torch.device) -> None:
        self.host = values
        self.device = device
        if device.type == "cuda":
            torch.cuda.empty_cache()  # what an earlier buffer has left
        fits = device.type == "cuda" and values.nbytes < torch.cuda.mem_get_info(device)[0] // 2
        self.values = torch.from_numpy(values).to(device) if fits else None

    def take(self, starts: Int64[np.ndarray, " batch"], num_steps: int) -> Float[Tensor, "batch time feature"]:
        """Return so many steps from each start on."""
        if self.values is None:
            return torch.from_numpy(gather(self.host, starts, num_steps)).to(self.device)
        steps = torch.from_numpy(starts).to(self.device)[:, None] + torch.arange(num_steps, device=self.device)
        return self.values[steps]


class TorchEngine:
    """Trains a model whose parameters it holds as one flat vector."""

    def __init__(self, task: EngineConfig, weights: Float32[np.ndarray, " parameter"], device: str) -> None:
        torch.set_num_threads(task.train.num_threads)
        self.recipe = task.train
        self.device = torch.device(device)
        self.class_weights = torch.tensor(task.class_weights, dtype=torch.float32, device=self.device)
        self.model = SequenceClassifier(task.model, task.num_features, task.num_classes).to(self.device)
        self.weights = torch.tensor(weights, device=self.device)
        self.gradient = torch.zeros_like(self.weights)
        self.first_moment = torch.zeros_like(self.weights)
        self.second_moment = torch.zeros_like(self.weights)
        self.num_steps = torch.zeros((), device=self.device)
        decaying = task.decaying()
        self._decaying = None if decaying is None else self.array(decaying)
        self._graphs = Graphs() if task.train.cuda_graphs and device == "cuda" else None
        position = 0
        for parameter in self.model.parameters():
            end = position + parameter.numel()
            parameter.data = self.weights[position:end].view_as(parameter)
            parameter.grad = self.gradient[position:end].view_as(parameter)
            position = end

    def buffer(self, values: Float32[np.ndarray, "steps feature"]) -> TorchBuffer:
        """Bring prepared steps to where the engine computes."""
        return TorchBuffer(values, self.device)

    def array(self, values: np.ndarray) -> Tensor:
        """Bring an array there."""
        return torch.from_numpy(values).to(self.device)

    def train(self, bucket: Bucket, learning_rates: Sequence[float]) -> list[Float[Tensor, ""]]:
        """Take a step for each batch, and return their losses."""
        return train_one_by_one(self, bucket, learning_rates)

    @flushed_denormals()
    def loss_and_grad(self, batch: Batch) -> Float[Tensor, ""]:
        """Return the loss of a batch; its gradient is in `gradient` afterwards."""
        optional = {"lengths": batch.lengths, "step_mask": batch.step_mask, "head_mask": batch.head_mask}
        tensors = {
            "inputs": batch.inputs,
            "labels": self.array(batch.labels),
            "total_weight": torch.full((), batch.total_weight, device=self.device),
            **{name: self.array(values) for name, values in optional.items() if values is not None},
        }
        if self._graphs is None:
            return self._loss_and_grad(**tensors)
        return self._graphs.call(self._loss_and_grad, tensors)

    def _loss_and_grad(
        self,
        inputs: Float[Tensor, "batch time feature"],
        labels: Int[Tensor, " batch"],
        total_weight: Float[Tensor, ""],
        lengths: Int[Tensor, " batch"] | None = None,
        step_mask: Float[Tensor, "layer batch step output"] | None = None,
        head_mask: Float[Tensor, "batch pooled"] | None = None,
    ) -> Float[Tensor, ""]:
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.recipe.precision == "bfloat16"):
            logits = self.model.classify(inputs, lengths, step_mask, head_mask, is_training=True)
        loss = functional.cross_entropy(
            logits.float(), labels, self.class_weights, label_smoothing=self.recipe.label_smoothing, reduction="sum"
        )
        loss = loss / total_weight
        self.gradient.zero_()
        loss.backward()
        return loss.detach()

    @flushed_denormals()
    def step(self, learning_rate: float) -> None:
        """Clip the gradient's norm and take a step of AdamW (Loshchilov and Hutter, 2019)."""
        norm = self.gradient.norm()
        self.gradient.mul_((self.recipe.max_grad_norm / (norm + 1e-6)).clamp_(max=1.0))
        self.num_steps.add_(1)
        decay = self.recipe.weight_decay
        if self._decaying is not None:  # the kernel knows one decay for all
            self.weights.mul_(1 - learning_rate * decay * self._decaying)
            decay = 0.0
        # The kernel behind torch.optim.AdamW(fused=True): constructing the optimiser costs a second of imports.
        torch._fused_adamw_(
            [self.weights],
            [self.gradient],
            [self.first_moment],
            [self.second_moment],
            [],
            [self.num_steps],
            lr=learning_rate,
            beta1=BETAS[0],
            beta2=BETAS[1],
            weight_decay=decay,
            eps=EPSILON,
            amsgrad=False,
            maximize=False,
        )

    @flushed_denormals()
    def logits(
        self, prepared: Float32[np.ndarray, "batch time feature"], lengths: Lengths
    ) -> Float32[np.ndarray, "batch class"]:
        """Return the logits of the classifier as it is now, without dropout."""
        return self.model.logits(prepared, lengths)

    def state(self) -> dict[str, np.ndarray]:
        """Return all that decides the following steps."""
        return {name: tensor.cpu().numpy() for name, tensor in self._state().items()}

    def load_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Go back to where `state` was taken, or to so much of it as is given."""
        for name, tensor in self._state().items():
            if name in state:
                tensor.copy_(torch.from_numpy(state[name]))

    def _state(self) -> dict[str, Tensor]:
        return {
            "weights": self.weights,
            "first_moment": self.first_moment,
            "second_moment": self.second_moment,
            "num_steps": self.num_steps,
        }
