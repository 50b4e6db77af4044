"""The layers of the classifier, which hold its parameters: a stem, recurrent layers, and in them a direction or two."""

import torch
from torch import Tensor, nn

from rnnflow.classifier import cells, stems
from rnnflow.classifier.cells.interface import Cell
from rnnflow.classifier.masking import Valid, reverse
from rnnflow.classifier.parameters import is_statistic
from rnnflow.params.models import AnyStemParams
from rnnflow.runtime.array_types import Float


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
        self, prepared: Float[Tensor, "batch time feature"], lengths: Valid, is_training: bool, by_step: bool = False
    ) -> tuple[Float[Tensor, "batch step channel"], Valid, Float[Tensor, "batch *step skip"] | None]:
        """Return what the layers read, its lengths, and what the head reads beside the layers, if anything."""
        return self.stem.run(prepared, lengths, dict(self.named_parameters()), is_training, by_step)


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
