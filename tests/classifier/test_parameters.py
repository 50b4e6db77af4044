import math
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rnnflow.classifier import parameters
from rnnflow.classifier.layers import Direction
from rnnflow.classifier.model import SequenceClassifier
from rnnflow.params.models import Cell, ModelParams, StemParams
from tests import toys
from tests.classifier.test_cells import FRESH

NUM_FEATURES, NUM_CLASSES = 3, 2


def drawn(params: ModelParams, seed: int = 0) -> dict[str, np.ndarray]:
    """Return fresh values by name."""
    flat = parameters.initial(params, NUM_FEATURES, NUM_CLASSES, np.random.default_rng(seed))
    return parameters.views(flat, parameters.shapes(params, NUM_FEATURES, NUM_CLASSES))


@settings(deadline=None, max_examples=80)
@given(params=toys.architectures(), num_features=st.integers(1, 4), num_classes=st.integers(2, 5))
def test_names_order_and_shapes_are_those_of_pytorch(params: ModelParams, num_features: int, num_classes: int) -> None:
    model = SequenceClassifier(params, num_features, num_classes)
    shapes = parameters.shapes(params, num_features, num_classes)
    assert list(shapes.items()) == [(name, tuple(value.shape)) for name, value in model.named_parameters()]
    assert parameters.count(shapes) == model.num_parameters


@settings(deadline=None, max_examples=25)
@given(params=toys.architectures())
def test_the_flat_vector_holds_the_parameters_in_pytorchs_order(params: ModelParams) -> None:
    shapes = parameters.shapes(params, NUM_FEATURES, NUM_CLASSES)
    flat = np.arange(parameters.count(shapes), dtype=np.float32)
    views = parameters.views(flat, shapes)
    model = SequenceClassifier(params, NUM_FEATURES, NUM_CLASSES)
    torch.nn.utils.vector_to_parameters(torch.from_numpy(flat), model.parameters())
    for name, value in model.named_parameters():
        np.testing.assert_array_equal(views[name], value.detach().numpy(), strict=True)
        assert np.shares_memory(views[name], flat)


def test_the_first_layer_reads_values_differences_and_mask() -> None:
    params = ModelParams(cell="gru", hidden_size=4, differences=True, missing="mask")
    assert parameters.shapes(params, 3, 2)["layers.0.forward_cell.weight_ih_l0"] == (3 * 4, 9)
    with_stem = params.model_copy(update={"stem": StemParams(channels=5)})
    shapes = parameters.shapes(with_stem, 3, 2)
    assert shapes["stem.convolutions.0.weight"] == (5, 9, 5)
    assert shapes["layers.0.forward_cell.weight_ih_l0"] == (3 * 4, 5)


def test_the_count_is_that_by_hand() -> None:
    params = ModelParams(cell="rnn", hidden_size=4, bidirectional=True)
    assert parameters.count(parameters.shapes(params, 3, 2)) == 2 * (3 * 4 + 4 * 4 + 4 + 4) + (8 * 2 + 2)


@settings(deadline=None, max_examples=25)
@given(params=toys.architectures(), seed=st.integers(0, 99))
def test_the_generator_decides_the_initial_values(params: ModelParams, seed: int) -> None:
    first, again, other = (
        parameters.initial(params, NUM_FEATURES, NUM_CLASSES, np.random.default_rng(each))
        for each in (seed, seed, seed + 1)
    )
    assert first.dtype == np.float32
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def bounds(params: ModelParams) -> dict[str, float]:
    """Return up to where PyTorch's documentation says that a fresh parameter is drawn."""
    found = {}
    model = SequenceClassifier(params, NUM_FEATURES, NUM_CLASSES)
    for name, module in model.named_modules():
        if isinstance(module, Direction):
            num_inputs = next(module.parameters()).shape[1]
            bound = 1 / math.sqrt(num_inputs if params.cell == "mingru" else params.hidden_size)
        elif isinstance(module, torch.nn.Linear):
            bound = 1 / math.sqrt(module.in_features)
        else:
            continue
        found.update({f"{name}.{parameter}": bound for parameter, _ in module.named_parameters()})
    own = dict(model.named_parameters())
    for name in own:
        if name.startswith("stem.") and not name.startswith("stem.norms."):
            found[name] = 1 / math.sqrt(own[name.replace(".bias", ".weight")][0].numel())
    return found


def drawn_at_random(values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return all but the norms of a stem, which begin at 0 and 1."""
    return {name: value for name, value in values.items() if not name.startswith("stem.norms.")}


@settings(deadline=None, max_examples=40)
@given(params=toys.architectures(), seed=st.integers(0, 99))
def test_initial_values_lie_within_pytorchs_bounds(params: ModelParams, seed: int) -> None:
    expected = bounds(params)
    values = drawn_at_random(drawn(params, seed))
    assert values.keys() == expected.keys()
    for name, value in values.items():
        others = without_forget_gate(params, name, value)
        assert np.abs(others).max() <= np.float32(expected[name]), name
        assert (others != 0).all(), name


def without_forget_gate(params: ModelParams, name: str, value: np.ndarray) -> np.ndarray:
    """Return a parameter without what an LSTM starts at 1."""
    is_bias = name.endswith(("bias_ih_l0", "bias_hh_l0"))
    return np.delete(value.reshape(4, -1), 1, axis=0) if params.cell == "lstm" and is_bias else value


@pytest.mark.parametrize("cell", toys.CELLS)
@pytest.mark.parametrize("stem", [None, StemParams(channels=200, num_layers=2)])
def test_initial_values_are_distributed_as_pytorchs(cell: Cell, stem: StemParams | None) -> None:
    params = ModelParams(cell=cell, hidden_size=200, num_layers=2, bidirectional=True, pooling="mean_max", stem=stem)
    torch.manual_seed(0)
    model = SequenceClassifier(params, NUM_FEATURES, NUM_CLASSES)
    for layer in model.layers:
        for name, module in layer.named_children():
            num_inputs = next(module.parameters()).shape[1]
            setattr(layer, name, FRESH[cell](num_inputs, 200))
    fresh = dict(model.named_parameters())
    for index in range(stem.num_layers if stem else 0):
        convolution = torch.nn.Conv1d(200 if index else NUM_FEATURES, 200, 5)
        fresh.update({f"stem.convolutions.{index}.{name}": value for name, value in convolution.named_parameters()})
    expected = bounds(params)
    ours = drawn(params)
    for name, theirs in fresh.items():
        bound = expected[name]
        for value in (without_forget_gate(params, name, ours[name]), theirs.detach().numpy()):
            if value.size >= 200:
                tolerance = 3 / math.sqrt(value.size)  # 5 deviations of the mean
                assert np.abs(value).max() <= np.float32(bound), name
                assert np.abs(value).max() > bound * 0.9, name
                assert value.mean() / bound == pytest.approx(0, abs=tolerance), name
                assert value.std() / bound == pytest.approx(1 / math.sqrt(3), abs=tolerance), name  # uniform


def gate_biases(params: ModelParams, gate: int, seed: int = 0) -> np.ndarray:
    """The two biases of a gate added up, for each cell."""
    values = drawn(params, seed)
    rows = slice(gate * params.hidden_size, (gate + 1) * params.hidden_size)
    input_biases, state_biases = (
        np.stack([value[rows] for name, value in values.items() if name.endswith(suffix)])
        for suffix in ("bias_ih_l0", "bias_hh_l0")
    )
    return input_biases + state_biases


@pytest.mark.parametrize(("bidirectional", "num_layers"), [*product([False, True], [1, 2])])
def test_forget_gates_of_an_lstm_start_at_one(bidirectional: bool, num_layers: int) -> None:
    forget = gate_biases(ModelParams(cell="lstm", bidirectional=bidirectional, num_layers=num_layers), 1)
    assert forget.shape == (num_layers * (2 if bidirectional else 1), 32)
    assert (forget == 1).all()


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_chrono_initialisation_spreads_the_memory_up_to_the_longest_dependency(cell: Cell) -> None:
    params = ModelParams(cell=cell, hidden_size=1000, max_dependency=101, bidirectional=True)
    memory = np.exp(gate_biases(params, 1))  # of the forget gate, or of GRU's update gate
    assert memory.min() >= 1 - 1e-5
    assert memory.max() <= 100 + 1e-3
    assert memory.mean() == pytest.approx(50.5, abs=2)  # uniform between the two
    assert not np.array_equal(memory[0], memory[1])
    if cell == "lstm":
        np.testing.assert_array_equal(gate_biases(params, 0), -gate_biases(params, 1))


@pytest.mark.parametrize("max_dependency", [None, 50])
@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_other_biases_stay_as_they_are_drawn(cell: Cell, max_dependency: int | None) -> None:
    params = ModelParams(cell=cell, hidden_size=4, bidirectional=True, num_layers=2)
    if cell != "rnn":
        params = params.model_copy(update={"max_dependency": max_dependency})
    changed = {("lstm", None): {1}, ("lstm", 50): {0, 1}, ("gru", 50): {1}}.get((cell, params.max_dependency), set())
    values = drawn(params)
    bound = np.float32(1 / math.sqrt(4))
    names = [name for name in values if name.endswith(("bias_ih_l0", "bias_hh_l0"))]
    assert len(names) == 8
    for name in names:
        for gate, bias in enumerate(values[name].reshape(-1, 4)):
            if gate not in changed:
                assert (np.abs(bias) <= bound).all(), name
                assert (bias != 0).all(), name
            elif "_hh_" in name:
                assert not bias.any(), name


def test_multiply_adds_are_those_of_the_weights_at_each_step() -> None:
    model = ModelParams(cell="lstm", hidden_size=4, bidirectional=True, downsampling=2)
    cell = 4 * 4 * (3 + 4)
    assert parameters.multiply_adds(model, num_features=3, num_classes=5, num_steps=9) == 5 * 2 * cell + 5 * 8
    with_stem = ModelParams(cell="rnn", hidden_size=4, stem=StemParams(channels=6, kernel_size=3))
    assert parameters.multiply_adds(with_stem, 2, 3, 10) == 10 * (6 * 2 * 3 + 4 * (6 + 4)) + 3 * 4
