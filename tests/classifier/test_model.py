import copy
from collections.abc import Callable
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from jaxtyping import TypeCheckError
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from rnnflow.classifier.layers import Direction, RecurrentLayer
from rnnflow.classifier.masking import pool, reverse
from rnnflow.classifier.model import SequenceClassifier, load, restored
from rnnflow.classifier.parameters import is_statistic
from rnnflow.params.models import Cell, ModelParams, Pooling, StemParams
from rnnflow.runtime.errors import InputError
from tests import toys
from tests.classifier.test_cells import PEERS

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
        logits = model(array, valid)
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

    parameters = [weights for weights in model.parameters() if weights.requires_grad]

    def gradient(logits: Tensor) -> Tensor:
        return torch.cat([part.reshape(-1) for part in torch.autograd.grad(logits.square().sum(), parameters)])

    batched = gradient(model(array, valid))
    torch.testing.assert_close(batched, gradient(toys.alone(model, sequences)), atol=1e-5, rtol=1e-4)


@settings(deadline=None, max_examples=25)
@given(params=toys.architectures(), order=st.permutations(range(5)))
def test_the_order_in_a_batch_never_changes_a_prediction(params: ModelParams, order: list[int]) -> None:
    model = toys.random_classifier(params)
    array, valid = toys.padded(toys.random_sequences([5, 1, 9, 2, 9]), 9, np.nan)
    with torch.inference_mode():
        logits = model(array[order], valid[order])
        torch.testing.assert_close(logits, model(array, valid)[order], atol=1e-6, rtol=1e-5, equal_nan=True)


@pytest.mark.parametrize(("cell", "bidirectional", "num_layers"), [*product(PEERS, [False, True], [1, 2])])
def test_layers_do_what_packed_sequences_do_with_the_same_weights(
    cell: Cell, bidirectional: bool, num_layers: int
) -> None:
    torch.manual_seed(0)
    peer = PEERS[cell](3, 4, num_layers, batch_first=True, bidirectional=bidirectional)
    params = ModelParams(cell=cell, hidden_size=4, num_layers=num_layers, bidirectional=bidirectional)
    layers = SequenceClassifier(params, 3, 2).layers
    for index, layer in enumerate(layers):
        for suffix, module in (("", layer.forward_cell), ("_reverse", layer.backward_cell)):
            if module is not None:
                assert isinstance(module, Direction)
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


@pytest.mark.parametrize("cell", toys.CELLS)
def test_under_autocast_a_layer_computes_in_its_type_and_answers_in_float32(cell: Cell) -> None:
    layer = RecurrentLayer(cell, 3, 8, bidirectional=False)
    rounded = copy.deepcopy(layer.forward_cell).bfloat16()
    inputs = torch.randn(5, 7, 3)
    with torch.autocast("cpu", torch.bfloat16):
        outputs, final = layer(inputs, None)
    assert outputs.dtype == final.dtype == torch.float32
    torch.testing.assert_close(outputs, rounded(inputs.bfloat16())[0].float(), rtol=0, atol=0)
    torch.testing.assert_close(final, outputs[:, -1], rtol=0, atol=0)
    (outputs.sum() + final.sum()).backward()
    for parameter in layer.parameters():
        assert parameter.grad is not None
        assert parameter.grad.dtype == torch.float32
        assert parameter.grad.abs().sum() > 0


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


def test_logits_are_those_of_the_raw_sequences_once_they_are_prepared() -> None:
    model = toys.random_classifier(EVERY_PART)
    array, valid = toys.padded(toys.random_sequences([5, 1, 9]), 11, np.nan)
    logits = model.logits(*model.preparation(array, valid))
    with torch.inference_mode():
        np.testing.assert_array_equal(logits, model(array, valid).numpy())


def test_dropout_acts_only_where_its_masks_are_given() -> None:
    model = toys.random_classifier(ModelParams(cell="gru", num_layers=2, dropout=0.5)).train()
    prepared = torch.randn(3, 5, 2, generator=torch.Generator().manual_seed(0))
    plain = model.classify(prepared, None)
    assert torch.equal(model.classify(prepared, None), plain)
    step_mask, head_mask = torch.rand(1, 3, 5, 32) + 1, torch.rand(3, 32) + 1
    assert torch.equal(model.classify(prepared, None, torch.ones_like(step_mask), torch.ones_like(head_mask)), plain)
    assert not torch.equal(model.classify(prepared, None, step_mask), plain)
    assert not torch.equal(model.classify(prepared, None, None, head_mask), plain)


@pytest.mark.parametrize("pooling", toys.POOLINGS)
def test_dropout_multiplies_what_the_later_layers_and_the_head_read(pooling: Pooling) -> None:
    params = ModelParams(cell="rnn", hidden_size=4, num_layers=3, bidirectional=True, pooling=pooling)
    model = toys.random_classifier(params)
    read: dict[str, Tensor] = {}
    written: dict[str, Tensor] = {}

    def keep(name: str) -> Callable[[nn.Module, tuple[Tensor, ...], tuple[Tensor, Tensor]], None]:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, Tensor]) -> None:
            read[name], written[name] = inputs[0], outputs[0]

        return hook

    for index, layer in enumerate(model.layers):
        layer.register_forward_hook(keep(f"layer {index}"))
    model.head.register_forward_hook(keep("head"))
    prepared, lengths = torch.randn(5, 7, 2), torch.tensor([7, 1, 4, 6, 2])
    step_mask, head_mask = torch.rand(2, 5, 7, params.output_size), torch.rand(5, params.pooled_size)
    model.classify(prepared, lengths, step_mask, head_mask)
    assert torch.equal(read["layer 0"], prepared)
    for index in (1, 2):
        assert torch.equal(read[f"layer {index}"], written[f"layer {index - 1}"] * step_mask[index - 1])
    with_masks = read["head"]
    model.classify(prepared, lengths, step_mask)
    assert torch.equal(with_masks, read["head"] * head_mask)


def test_the_number_of_parameters_counts_every_weight_and_no_scaling() -> None:
    model = SequenceClassifier(ModelParams(cell="rnn", hidden_size=4, bidirectional=True), 3, 2)
    assert model.num_parameters == 2 * (3 * 4 + 4 * 4 + 4 + 4) + (8 * 2 + 2)


def test_a_tensor_of_another_shape_than_the_annotation_says_is_refused(pytestconfig: pytest.Config) -> None:
    if not pytestconfig.getoption("jaxtyping_packages"):
        pytest.skip("shapes are checked by `make shapes`")
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


@settings(deadline=None, max_examples=40)
@given(params=toys.architectures(), num_features=st.integers(1, 3), num_classes=st.integers(2, 4))
def test_a_classifier_is_restored_from_its_arrays(params: ModelParams, num_features: int, num_classes: int) -> None:
    model = toys.random_classifier(params, num_features, num_classes)
    again = restored(toys.arrays(model), params, num_features, num_classes)
    assert not again.training
    assert all(weight.requires_grad != is_statistic(name) for name, weight in again.named_parameters())
    before, after = toys.arrays(model), toys.arrays(again)
    assert list(before) == list(after)
    for name, array in before.items():
        np.testing.assert_array_equal(after[name], array)
        assert not np.shares_memory(after[name], array), name


@pytest.mark.parametrize("name", ["preparation.mean", "preparation.inverse_deviation", "head.bias", "head.weight"])
def test_arrays_of_another_architecture_are_refused(name: str) -> None:
    params = ModelParams(cell="gru", hidden_size=4)
    arrays = toys.arrays(toys.random_classifier(params))
    wrong = {"missing": {key: array for key, array in arrays.items() if key != name}}
    wrong["of another shape"] = arrays | {name: np.zeros((5, *arrays[name].shape[1:]), np.float32)}
    for given_arrays in wrong.values():
        with pytest.raises(ValueError, match=name):
            restored(given_arrays, params, 2, 3)
    with pytest.raises(ValueError, match=r"head\.gate"):
        restored(arrays | {"head.gate": np.zeros(3, np.float32)}, params, 2, 3)


def test_a_checkpoint_whose_weights_do_not_fit_its_description_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.safetensors"
    toys.save_checkpoint(path, toys.random_classifier(ModelParams(cell="gru", hidden_size=4)), features=("x", "y", "z"))
    with pytest.raises(InputError, match="weights do not fit their description") as error:
        load(path)
    assert str(error.value).startswith(f"{path}: ")
