"""The classifier: preparation, stem, recurrent layers, pooling, head. Padding never changes its output.

Shapes: B batch, T time, F feature, D directions (1 or 2), H hidden_size, C class.
"""

from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from rnnflow.params import ModelParams, StemParams
from rnnflow.preparation import Lengths, Preparation, valid_steps

CELLS: dict[str, type[nn.RNN | nn.LSTM | nn.GRU]] = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}


class SequenceClassifier(nn.Module):
    """A recurrent classifier of sequences of any length.

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
        size = params.stem.channels if params.stem else size
        self.layers = nn.ModuleList()
        for _ in range(params.num_layers):
            layer = RecurrentLayer(params.cell, size, params.hidden_size, params.bidirectional)
            self.layers.append(layer)
            size = layer.output_size
        pooled_size = 2 * size if params.pooling == "mean_max" else size
        self.dropout = nn.Dropout(params.dropout)
        self.head = nn.Linear(pooled_size, num_classes)
        for module in self.layers.modules():
            if isinstance(module, nn.LSTM | nn.GRU):
                initialise_gates(module, params.max_dependency)

    @property
    def num_parameters(self) -> int:
        return sum(parameter.numel() for parameter in self.parameters())

    def forward(self, sequences: Float[Tensor, "batch time feature"], lengths: Lengths) -> Float[Tensor, "batch class"]:
        """Return the logits. What stands in the padding, NaN included, is never read.

        Where the model refuses missing values, a sequence with one has NaN for logits.
        """
        logits = self.classify(*self.prepare(sequences, lengths))
        if self.params.missing == "refuse":
            logits = logits.masked_fill(self.preparation.refused(sequences, lengths), torch.nan)
        return logits

    def prepare(
        self, sequences: Float[Tensor, "batch time feature"], lengths: Lengths
    ) -> tuple[Float[Tensor, "batch step prepared"], Lengths]:
        """Return what the first layer reads, and how many valid steps it has."""
        prepared: tuple[Tensor, Lengths] = self.preparation(sequences, lengths)
        return prepared

    def classify(self, prepared: Float[Tensor, "batch time feature"], lengths: Lengths) -> Float[Tensor, "batch class"]:
        """Return the logits of prepared sequences."""
        outputs = self.stem(prepared, lengths) if self.stem else prepared
        for index, layer in enumerate(self.layers):
            outputs, final = layer(self.dropout(outputs) if index else outputs, lengths)
        pooled = final if self.params.pooling == "last" else pool(outputs, lengths, self.params.pooling)
        logits: Tensor = self.head(self.dropout(pooled))
        return logits


class Stem(nn.Module):
    """Convolutions over time, each followed by a ReLU. They see zeros before and after the sequence."""

    def __init__(self, params: StemParams, num_features: int) -> None:
        super().__init__()
        sizes = [num_features, *[params.channels] * params.num_layers]
        self.convolutions = nn.ModuleList(
            nn.Conv1d(before, after, params.kernel_size, padding=params.kernel_size // 2)
            for before, after in pairwise(sizes)
        )

    def forward(
        self, prepared: Float[Tensor, "batch time feature"], lengths: Lengths
    ) -> Float[Tensor, "batch time channel"]:
        outputs = prepared.transpose(1, 2)
        padding = None if lengths is None else ~valid_steps(lengths, prepared).transpose(1, 2)
        for convolution in self.convolutions:
            if padding is not None:
                outputs = outputs.masked_fill(padding, 0.0)
            outputs = convolution(outputs).relu()
        return outputs.transpose(1, 2)


class RecurrentLayer(nn.Module):
    """One layer of cells in one or two directions.

    The backward cell runs forward over the reversed valid steps, so that it starts at each sequence's
    own end, as packed sequences do, and keeps the fast kernels, which packing loses.
    """

    def __init__(self, cell: str, input_size: int, hidden_size: int, bidirectional: bool) -> None:
        super().__init__()
        self.forward_cell = CELLS[cell](input_size, hidden_size, batch_first=True)
        self.backward_cell = CELLS[cell](input_size, hidden_size, batch_first=True) if bidirectional else None
        self.output_size = hidden_size * (2 if bidirectional else 1)

    def forward(
        self, inputs: Float[Tensor, "batch time input"], lengths: Lengths
    ) -> tuple[Float[Tensor, "batch time output"], Float[Tensor, "batch output"]]:
        """Return every step's output, and the state of each direction after its last valid step."""
        outputs, final = _run(self.forward_cell, inputs, lengths)
        if self.backward_cell is None:
            return outputs, final
        reversed_outputs, reversed_final = _run(self.backward_cell, reverse(inputs, lengths), lengths)
        outputs = torch.cat([outputs, reverse(reversed_outputs, lengths)], dim=2)
        return outputs, torch.cat([final, reversed_final], dim=1)


def _run(cell: nn.RNNBase, inputs: Tensor, lengths: Lengths) -> tuple[Tensor, Tensor]:
    outputs, state = cell(inputs)
    if lengths is None:
        hidden = state[0] if isinstance(state, tuple) else state
        return outputs, hidden[0]
    last = (lengths - 1)[:, None, None].expand(-1, 1, outputs.shape[2])
    return outputs, outputs.gather(1, last).squeeze(1)


def reverse(inputs: Float[Tensor, "batch time feature"], lengths: Lengths) -> Float[Tensor, "batch time feature"]:
    """Return each sequence with its valid steps in reverse order; the padding stays where it is."""
    if lengths is None:
        return inputs.flip(1)
    steps = torch.arange(inputs.shape[1], device=inputs.device)
    source = lengths[:, None] - 1 - steps
    source = torch.where(source < 0, steps, source)
    return inputs.gather(1, source[:, :, None].expand(-1, -1, inputs.shape[2]))


def pool(outputs: Float[Tensor, "batch time feature"], lengths: Lengths, pooling: str) -> Float[Tensor, "batch pooled"]:
    """Return the mean, the maximum or both over the valid steps."""
    parts = []
    padding = None if lengths is None else ~valid_steps(lengths, outputs)
    if "mean" in pooling:
        summed = outputs.sum(1) if padding is None else outputs.masked_fill(padding, 0.0).sum(1)
        parts.append(summed / (outputs.shape[1] if lengths is None else lengths[:, None]))
    if "max" in pooling:
        parts.append((outputs if padding is None else outputs.masked_fill(padding, -torch.inf)).amax(1))
    return torch.cat(parts, dim=1)


@torch.no_grad()
def initialise_gates(cell: nn.LSTM | nn.GRU, max_dependency: int | None) -> None:
    """Set the biases that decide how long a fresh cell remembers.

    An LSTM's forget gate starts at 1 (Jozefowicz et al., 2015). With `max_dependency`, in steps, chrono
    initialisation (Tallec and Ollivier, 2018) spreads the memory of LSTM and GRU up to so many steps.
    """
    hidden_size = cell.hidden_size
    if isinstance(cell, nn.GRU):
        if max_dependency is not None:
            _set_gate_bias(cell, 1, _chrono_bias(hidden_size, max_dependency))
        return
    forget = torch.ones(hidden_size) if max_dependency is None else _chrono_bias(hidden_size, max_dependency)
    _set_gate_bias(cell, 1, forget)
    if max_dependency is not None:
        _set_gate_bias(cell, 0, -forget)


def _chrono_bias(hidden_size: int, max_dependency: int) -> Tensor:
    return torch.empty(hidden_size).uniform_(1, max_dependency - 1).log_()


def _set_gate_bias(cell: nn.LSTM | nn.GRU, gate: int, bias: Tensor) -> None:
    """Set the input-side bias of one gate, in PyTorch's order, and clear the recurrent one."""
    rows = slice(gate * cell.hidden_size, (gate + 1) * cell.hidden_size)
    input_bias, recurrent_bias = cell.get_parameter("bias_ih_l0"), cell.get_parameter("bias_hh_l0")
    input_bias[rows] = bias
    recurrent_bias[rows] = 0.0
