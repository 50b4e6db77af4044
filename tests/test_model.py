from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from jaxtyping import TypeCheckError
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from rnnflow.model import CELLS, RecurrentLayer, SequenceClassifier, pool, reverse
from rnnflow.params import Cell, ModelParams, StemParams
from tests import toys

EVERY_PART = ModelParams(
    cell="lstm",
    hidden_size=4,
    num_layers=2,
    bidirectional=True,
    pooling="mean_max",
    scaling="sequence",
    missing="mask",
    downsampling=2,
    differences=True,
    stem=StemParams(channels=3, kernel_size=5, num_layers=2),
)

LENGTHS = st.lists(st.integers(1, 9), min_size=1, max_size=5)


@settings(deadline=None, max_examples=80)
@given(
    params=toys.architectures(),
    lengths=LENGTHS,
    extra=st.integers(0, 3),
    garbage=st.sampled_from([np.nan, np.inf, 1e9, -1e9]),
    missing=st.sampled_from([0.0, 0.3, 1.0]),
    seed=st.integers(0, 99),
)
@example(EVERY_PART, [1, 9, 4], 2, np.nan, 0.3, 0)
def test_padding_never_changes_a_prediction(
    params: ModelParams, lengths: list[int], extra: int, garbage: float, missing: float, seed: int
) -> None:
    model = toys.random_classifier(params, seed=seed)
    sequences = toys.random_sequences(lengths, seed=seed, missing=missing)
    array, valid = toys.padded(sequences, max(lengths) + extra, garbage)
    with torch.inference_mode():
        logits = model(torch.from_numpy(array), torch.from_numpy(valid))
        expected = toys.alone(model, sequences)
        torch.testing.assert_close(logits, expected, atol=1e-6, rtol=1e-5, equal_nan=True)
    is_refused = [params.missing == "refuse" and bool(np.isnan(sequence).any()) for sequence in sequences]
    assert logits.isnan().any(1).tolist() == logits.isnan().all(1).tolist() == is_refused


@settings(deadline=None, max_examples=15)
@given(params=toys.architectures(), lengths=LENGTHS, garbage=st.sampled_from([np.nan, 1e9]))
@example(EVERY_PART, [1, 9, 4], np.nan)
def test_padding_never_changes_a_gradient(params: ModelParams, lengths: list[int], garbage: float) -> None:
    model = toys.random_classifier(params)
    sequences = toys.random_sequences(lengths, missing=0.0 if params.missing == "refuse" else 0.1)
    array, valid = toys.padded(sequences, max(lengths) + 1, garbage)

    parameters = list(model.parameters())

    def gradient(logits: Tensor) -> Tensor:
        return torch.cat([part.reshape(-1) for part in torch.autograd.grad(logits.square().sum(), parameters)])

    batched = gradient(model(torch.from_numpy(array), torch.from_numpy(valid)))
    torch.testing.assert_close(batched, gradient(toys.alone(model, sequences)), atol=1e-5, rtol=1e-4)


@settings(deadline=None, max_examples=25)
@given(params=toys.architectures(), order=st.permutations(range(5)))
def test_the_order_in_a_batch_never_changes_a_prediction(params: ModelParams, order: list[int]) -> None:
    model = toys.random_classifier(params)
    array, valid = (torch.from_numpy(part) for part in toys.padded(toys.random_sequences([5, 1, 9, 2, 9]), 9, np.nan))
    with torch.inference_mode():
        logits = model(array[order], valid[order])
        torch.testing.assert_close(logits, model(array, valid)[order], atol=1e-6, rtol=1e-5, equal_nan=True)


@pytest.mark.parametrize(("cell", "bidirectional", "num_layers"), [*product(toys.CELLS, [False, True], [1, 2])])
def test_layers_do_what_packed_sequences_do_with_the_same_weights(
    cell: Cell, bidirectional: bool, num_layers: int
) -> None:
    torch.manual_seed(0)
    peer = CELLS[cell](3, 4, num_layers, batch_first=True, bidirectional=bidirectional)
    params = ModelParams(cell=cell, hidden_size=4, num_layers=num_layers, bidirectional=bidirectional)
    layers = SequenceClassifier(params, 3, 2).layers
    for index, layer in enumerate(layers):
        for suffix, module in (("", layer.forward_cell), ("_reverse", layer.backward_cell)):
            if module is not None:
                assert isinstance(module, nn.RNNBase)
                names = ("weight_ih_l", "weight_hh_l", "bias_ih_l", "bias_hh_l")
                weights = {f"{name}0": peer.get_parameter(f"{name}{index}{suffix}") for name in names}
                module.load_state_dict(weights)
    inputs, lengths = torch.randn(5, 7, 3), torch.tensor([7, 1, 4, 6, 2])
    packed, state = peer(pack_padded_sequence(inputs, lengths, batch_first=True, enforce_sorted=False))
    expected, _ = pad_packed_sequence(packed, batch_first=True, total_length=7)
    outputs = inputs
    for layer in layers:
        outputs, final = layer(outputs, lengths)
    steps = torch.arange(7) < lengths[:, None]
    torch.testing.assert_close(outputs[steps], expected[steps], atol=1e-6, rtol=1e-5)
    hidden = state[0] if isinstance(state, tuple) else state
    last_layer = hidden[-2 if bidirectional else -1 :]
    torch.testing.assert_close(final, last_layer.transpose(0, 1).flatten(1), atol=1e-6, rtol=1e-5)


def test_reverse_turns_the_valid_steps_and_leaves_the_padding() -> None:
    inputs = torch.tensor([[1.0, 2, 3, 4], [5, 6, 7, 8]])[:, :, None]
    reversed_inputs = reverse(inputs, torch.tensor([3, 1]))
    assert reversed_inputs[:, :, 0].tolist() == [[3, 2, 1, 4], [5, 6, 7, 8]]
    assert reverse(inputs, None)[:, :, 0].tolist() == [[4, 3, 2, 1], [8, 7, 6, 5]]


@pytest.mark.parametrize(
    ("pooling", "expected"),
    [("mean", [[2.0], [5.0]]), ("max", [[3.0], [5.0]]), ("mean_max", [[2.0, 3.0], [5.0, 5.0]])],
)
def test_pooling_looks_at_valid_steps_only(pooling: str, expected: list[list[float]]) -> None:
    outputs = torch.tensor([[1.0, 2, 3, 9], [5, 6, 7, 8]])[:, :, None]
    assert pool(outputs, torch.tensor([3, 1]), pooling).tolist() == expected


def gate_biases(model: SequenceClassifier, gate: int) -> Tensor:
    """The two biases of a gate added up, for each cell of the model."""
    cells = [module for module in model.layers.modules() if isinstance(module, nn.RNNBase)]
    size = model.params.hidden_size
    rows = slice(gate * size, (gate + 1) * size)
    return torch.stack(
        [cell.get_parameter("bias_ih_l0")[rows] + cell.get_parameter("bias_hh_l0")[rows] for cell in cells]
    )


@pytest.mark.parametrize(("bidirectional", "num_layers"), [*product([False, True], [1, 2])])
def test_forget_gates_of_an_lstm_start_at_one(bidirectional: bool, num_layers: int) -> None:
    params = ModelParams(cell="lstm", bidirectional=bidirectional, num_layers=num_layers)
    forget = gate_biases(SequenceClassifier(params, 2, 2), 1)
    assert forget.shape == (num_layers * (2 if bidirectional else 1), 32)
    assert (forget == 1).all()


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_chrono_initialisation_spreads_the_memory_up_to_the_longest_dependency(cell: Cell) -> None:
    torch.manual_seed(0)
    params = ModelParams(cell=cell, hidden_size=1000, max_dependency=101, bidirectional=True)
    model = SequenceClassifier(params, 2, 2)
    memory = gate_biases(model, 1).exp().detach()  # of the forget gate, or of GRU's update gate
    assert memory.min() >= 1 - 1e-5
    assert memory.max() <= 100 + 1e-3
    assert memory.mean() == pytest.approx(50.5, abs=2)  # uniform between the two
    assert not torch.equal(memory[0], memory[1])
    if cell == "lstm":
        assert torch.equal(gate_biases(model, 0), -gate_biases(model, 1))


@pytest.mark.parametrize("cell", toys.CELLS)
def test_other_biases_stay_as_pytorch_draws_them(cell: Cell) -> None:
    torch.manual_seed(0)
    peer = CELLS[cell](2, 4, batch_first=True)
    torch.manual_seed(0)
    module = SequenceClassifier(ModelParams(cell=cell, hidden_size=4), 2, 2).layers[0].forward_cell
    assert isinstance(module, nn.RNNBase)
    ours, theirs = (cell.get_parameter("bias_ih_l0").reshape(-1, 4) for cell in (module, peer))
    same = [torch.equal(ours[gate], theirs[gate]) for gate in range(len(ours))]
    assert same == [cell != "lstm" or gate != 1 for gate in range(len(ours))]


def test_dropout_acts_in_training_only() -> None:
    model = toys.random_classifier(ModelParams(cell="gru", num_layers=2, dropout=0.5))
    sequences = torch.randn(3, 5, 2)
    assert torch.equal(model(sequences, None), model(sequences, None))
    model.train()
    assert not torch.equal(model(sequences, None), model(sequences, None))
    between = []
    model.layers[1].register_forward_pre_hook(lambda _, inputs: between.append(inputs[0]))
    model(sequences, None)
    assert 0.3 < (between[0] == 0).float().mean() < 0.7


def test_the_number_of_parameters_counts_every_weight_and_no_scaling() -> None:
    model = SequenceClassifier(ModelParams(cell="rnn", hidden_size=4, bidirectional=True), 3, 2)
    assert model.num_parameters == 2 * (3 * 4 + 4 * 4 + 4 + 4) + (8 * 2 + 2)


def test_a_tensor_of_another_shape_than_the_annotation_says_is_refused() -> None:
    with pytest.raises(TypeCheckError, match="batch time input"):
        RecurrentLayer("gru", 2, 3, False)(torch.zeros(4, 2), None)


def test_the_first_layer_reads_values_differences_and_mask() -> None:
    params = ModelParams(cell="gru", hidden_size=4, differences=True, missing="mask")
    weights = SequenceClassifier(params, 3, 2).state_dict()
    assert weights["layers.0.forward_cell.weight_ih_l0"].shape == (3 * 4, 9)
    with_stem = params.model_copy(update={"stem": StemParams(channels=5)})
    weights = SequenceClassifier(with_stem, 3, 2).state_dict()
    assert weights["stem.convolutions.0.weight"].shape == (5, 9, 5)
    assert weights["layers.0.forward_cell.weight_ih_l0"].shape == (3 * 4, 5)
