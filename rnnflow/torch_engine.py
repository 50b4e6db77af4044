"""The reference engine: forward, loss, gradient and AdamW in PyTorch, on a CPU or a GPU."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional

from rnnflow.model import SequenceClassifier
from rnnflow.params import TrainParams
from rnnflow.preparation import Lengths

BETAS = (0.9, 0.999)
EPSILON = 1e-8


@dataclass(frozen=True)
class Batch:
    """Sequences as the first layer reads them, with their classes."""

    prepared: Float[Tensor, "batch time feature"]
    lengths: Lengths
    labels: Int64[Tensor, " batch"]


class TorchEngine:
    """Trains a model whose parameters it holds as one flat vector, in PyTorch's order.

    Args:
        model: on the device it is to train on.
        params: the recipe.
        class_weights: weight of each class in the loss.
    """

    def __init__(self, model: SequenceClassifier, params: TrainParams, class_weights: Tensor | None) -> None:
        self.model = model
        self.params = params
        self.class_weights = class_weights
        parameters = list(model.parameters())
        self.weights = torch.cat([parameter.detach().reshape(-1) for parameter in parameters])
        self.gradient = torch.zeros_like(self.weights)
        self.first_moment = torch.zeros_like(self.weights)
        self.second_moment = torch.zeros_like(self.weights)
        self.num_steps = torch.zeros((), device=self.weights.device)
        position = 0
        for parameter in parameters:
            end = position + parameter.numel()
            parameter.data = self.weights[position:end].view_as(parameter)
            parameter.grad = self.gradient[position:end].view_as(parameter)
            position = end

    def loss_and_grad(self, batch: Batch) -> Float[Tensor, ""]:
        """Return the mean loss of a batch; its gradient is in `gradient` afterwards."""
        logits = self.model.classify(batch.prepared, batch.lengths)
        loss = functional.cross_entropy(
            logits, batch.labels, self.class_weights, label_smoothing=self.params.label_smoothing
        )
        self.gradient.zero_()
        loss.backward()
        return loss.detach()

    def step(self, learning_rate: float) -> None:
        """Clip the gradient's norm and take a step of AdamW (Loshchilov and Hutter, 2019)."""
        norm = self.gradient.norm()
        self.gradient.mul_((self.params.max_grad_norm / (norm + 1e-6)).clamp_(max=1.0))
        self.num_steps.add_(1)
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
            weight_decay=self.params.weight_decay,
            eps=EPSILON,
            amsgrad=False,
            maximize=False,
        )

    def state(self) -> dict[str, Tensor]:
        """Return all that decides the following steps, as views."""
        return {
            "weights": self.weights,
            "first_moment": self.first_moment,
            "second_moment": self.second_moment,
            "num_steps": self.num_steps,
        }

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Go back to where `state` was taken."""
        for name, tensor in self.state().items():
            tensor.copy_(state[name])
