"""The classifier: preparation, stem, recurrent layers, pooling, head. Padding never changes its output.

Shapes: B batch, T time, F feature, D directions (1 or 2), H hidden_size, C class.
"""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor, nn

from rnnflow.classifier import cells, checkpoint, stems
from rnnflow.classifier.cells.interface import Cell
from rnnflow.classifier.masking import Valid, pool, reverse, running_pool
from rnnflow.classifier.parameters import Arrays, is_statistic
from rnnflow.classifier.preparation import Lengths, Preparation
from rnnflow.params.models import AnyStemParams, ModelParams
from rnnflow.runtime.errors import InputError


class SequenceClassifier(nn.Module):
    """A recurrent classifier of sequences of any length.

    Its parameters hold nothing yet: `restored` and `load` fill them.

    Args:
        params: the architecture.
        num_features: features of a time step.
        num_classes: at least two; a binary task has two.
    """

    def __init__(self, params: ModelParams, num_features: int, num_classes: int) -> None:
        super().__init__()
        self.params = params
        self.preparation = Preparation(params, num_features)
        size = self.preparation.num_outputs
        self.stem = Stem(params.stem, size) if params.stem else None
        size = params.stem.output_size if params.stem else size
        self.layers = nn.ModuleList()
        for _ in range(params.num_layers):
            self.layers.append(RecurrentLayer(params.cell, size, params.hidden_size, params.bidirectional))
            size = params.output_size
        self.head = nn.Linear(params.pooled_size, num_classes)

    @property
    def num_parameters(self) -> int:
        return sum(parameter.numel() for parameter in self.parameters())

    def forward(
        self, sequences: Float32[np.ndarray, "batch time feature"], lengths: Lengths
    ) -> Float[Tensor, "batch class"]:
        """Return the logits. What stands in the padding, NaN included, is never read.

        Where the model refuses missing values, a sequence with one has NaN for logits.
        """
        prepared, num_steps = self.preparation(sequences, lengths)
        device = self.head.weight.device
        valid = None if num_steps is None else torch.from_numpy(num_steps).to(device)
        logits = self.classify(torch.from_numpy(prepared).to(device), valid)
        if self.params.missing == "refuse":
            is_refused = torch.from_numpy(self.preparation.refused(sequences, lengths)).to(device)
            logits = logits.masked_fill(is_refused, torch.nan)
        return logits

    def classify(
        self,
        prepared: Float[Tensor, "batch time feature"],
        lengths: Valid,
        step_mask: Float[Tensor, "layer batch step output"] | None = None,
        head_mask: Float[Tensor, "batch pooled"] | None = None,
        *,
        is_training: bool = False,
    ) -> Float[Tensor, "batch class"]:
        """Return the logits of prepared sequences.

        Args:
            prepared: what the first layer reads.
            lengths: valid steps of each.
            step_mask: dropout, as factors of what each layer after the first reads.
            head_mask: dropout, as factors of what the head reads.
            is_training: whether the norms of a stem go by this batch, and follow it.
        """
        outputs, skip = prepared, None
        if self.stem:
            outputs, lengths, skip = self.stem(prepared, lengths, is_training)
        for index, layer in enumerate(self.layers):
            if index and step_mask is not None:
                outputs = outputs * step_mask[index - 1]
            outputs, final = layer(outputs, lengths)
        pooled = final if self.params.pooling == "last" else pool(outputs, lengths, self.params.pooling)
        if skip is not None:
            pooled = torch.cat([pooled, skip], dim=1)
        logits: Tensor = self.head(pooled if head_mask is None else pooled * head_mask)
        return logits

    @torch.no_grad()
    def divide_logits(self, temperature: float) -> None:
        """Have the head divide its logits from now on, which changes probabilities and never the most probable class."""
        for parameter in self.head.parameters():
            parameter.div_(temperature)

    @torch.inference_mode()
    def logits(
        self, prepared: Float32[np.ndarray, "batch time feature"], lengths: Lengths
    ) -> Float32[np.ndarray, "batch class"]:
        """Return the logits of prepared sequences."""
        device = self.head.weight.device
        valid = None if lengths is None else torch.from_numpy(lengths).to(device)
        answers: Float32[np.ndarray, "batch class"]
        answers = self.classify(torch.from_numpy(prepared).to(device), valid).cpu().numpy()
        return answers

    @torch.inference_mode()
    def step_logits(
        self, prepared: Float32[np.ndarray, "batch time feature"]
    ) -> Float32[np.ndarray, "batch time class"]:
        """Return the logits of what each sequence is up to each step, for a model that can answer step by step."""
        assert self.params.streaming_obstacle is None
        outputs = torch.from_numpy(prepared).to(self.head.weight.device)
        if self.stem:
            outputs, _, _ = self.stem(outputs, None, False)
        for layer in self.layers:
            outputs, _ = layer(outputs, None)
        if self.params.pooling != "last":
            outputs = running_pool(outputs, self.params.pooling)
        logits: Float32[np.ndarray, "batch time class"] = self.head(outputs).cpu().numpy()
        return logits


def restored(arrays: Arrays, params: ModelParams, num_features: int, num_classes: int) -> SequenceClassifier:
    """Return a classifier, on the CPU and ready to predict, from its weights and scaling.

    Raises:
        ValueError: they are others than those of this architecture.
    """
    with torch.device("meta"):
        model = SequenceClassifier(params, num_features, num_classes)
    model.preparation.restore(arrays)
    scaling = model.preparation.arrays()
    weights = {name: torch.tensor(array) for name, array in arrays.items() if name not in scaling}
    try:
        model.load_state_dict(weights, assign=True)
    except RuntimeError as error:
        raise ValueError(" ".join(str(error).split())) from None
    return model.eval()


def load(path: Path) -> tuple[SequenceClassifier, checkpoint.Description]:
    """Return the classifier of a checkpoint, on the CPU and ready to predict, and its description.

    Raises:
        InputError: the file is missing, damaged, not a checkpoint of this program or of another version.
    """
    arrays, description = checkpoint.load(path)
    try:
        model = restored(arrays, description.model, len(description.features), len(description.classes))
    except ValueError as error:
        raise InputError(f"{path}: weights do not fit their description: {error}") from None
    return model, description


class Stem(nn.Module):
    """The parameters of a stem, by the names and in the order that its file gives them."""

    def __init__(self, params: AnyStemParams, num_inputs: int) -> None:
        super().__init__()
        self.stem = stems.create(params, num_inputs)
        for path, shape in self.stem.shapes().items():
            *folders, name = path.split(".")
            module: nn.Module = self
            for folder in folders:
                if folder not in module._modules:
                    module.add_module(folder, nn.Module())
                module = module.get_submodule(folder)
            weight = nn.Parameter(torch.empty(shape), requires_grad=not is_statistic(path))
            module.register_parameter(name, weight)

    def forward(
        self, prepared: Float[Tensor, "batch time feature"], lengths: Valid, is_training: bool
    ) -> tuple[Float[Tensor, "batch step channel"], Valid, Float[Tensor, "batch skip"] | None]:
        """Return what the layers read, its lengths, and what the head reads beside the layers, if anything."""
        return self.stem.run(prepared, lengths, dict(self.named_parameters()), is_training)


class RecurrentLayer(nn.Module):
    """One layer of cells in one or two directions.

    The backward cell runs forward over the reversed valid steps, so that it starts at each sequence's
    own end, as packed sequences do, and keeps the fast kernels, which packing loses.
    """

    def __init__(self, cell: str, input_size: int, hidden_size: int, bidirectional: bool) -> None:
        super().__init__()
        self.cell = cells.load(cell)
        self.forward_cell = Direction(self.cell, input_size, hidden_size)
        self.backward_cell = Direction(self.cell, input_size, hidden_size) if bidirectional else None
        self.output_size = hidden_size * (2 if bidirectional else 1)

    def forward(
        self, inputs: Float[Tensor, "batch time input"], lengths: Valid
    ) -> tuple[Float[Tensor, "batch time output"], Float[Tensor, "batch output"]]:
        """Return every step's output, and the state of each direction after its last valid step."""
        outputs, final = self.forward_cell(inputs, lengths)
        if self.backward_cell is None:
            return outputs, final
        reversed_outputs, reversed_final = self.backward_cell(reverse(inputs, lengths), lengths)
        outputs = torch.cat([outputs, reverse(reversed_outputs, lengths)], dim=2)
        return outputs, torch.cat([final, reversed_final], dim=1)


class Direction(nn.Module):
    """The parameters of one cell, by the names and in the order that its file gives them."""

    def __init__(self, cell: Cell, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.cell = cell
        for name, shape in cell.shapes(input_size, hidden_size).items():
            self.register_parameter(name, nn.Parameter(torch.empty(shape)))
            nn.init.uniform_(self.get_parameter(name), -(hidden_size**-0.5), hidden_size**-0.5)

    def forward(
        self, inputs: Float[Tensor, "batch time input"], lengths: Valid = None
    ) -> tuple[Float[Tensor, "batch time hidden"], Float[Tensor, "batch hidden"]]:
        """Return the state after every step, and the one after the last valid step."""
        outputs, final = self._states(inputs)
        if lengths is None:
            return outputs, final
        last = (lengths - 1)[:, None, None].expand(-1, 1, outputs.shape[2])
        return outputs, outputs.gather(1, last).squeeze(1)

    def _states(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Under autocast, convert the weights here.

        On a GPU it would compute recurrent layers in float16, whatever it is asked for (PyTorch's `AutocastRNN.cpp`).
        """
        device, weights = inputs.device.type, dict(self.named_parameters())
        if not torch.is_autocast_enabled(device):
            return self.cell.run(inputs, weights, self.training)
        dtype = torch.get_autocast_dtype(device)
        converted = {name: weight.to(dtype) for name, weight in weights.items()}
        with torch.autocast(device, enabled=False):
            outputs, final = self.cell.run(inputs.to(dtype), converted, self.training)
        return outputs.float(), final.float()
