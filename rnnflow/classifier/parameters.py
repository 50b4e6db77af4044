"""The parameters of a classifier: their names and shapes in PyTorch's order, and the values they begin with.

All of them lie one after another in one flat vector. Engines, checkpoints and export know them by these names.
"""

import math
from collections.abc import Iterator, Mapping
from itertools import pairwise

import numpy as np
from jaxtyping import Float, Float32

from rnnflow.classifier.preparation import Preparation
from rnnflow.params import ModelParams

Shapes = dict[str, tuple[int, ...]]
Arrays = Mapping[str, Float[np.ndarray, "..."]]

NUM_GATES = {"rnn": 1, "lstm": 4, "gru": 3}
FORGET_GATE, UPDATE_GATE = 1, 1
"""Places of the gates that keep the state, in PyTorch's order."""


def shapes(params: ModelParams, num_features: int, num_classes: int) -> Shapes:
    """Return the shape of every parameter.

    Args:
        params: the architecture.
        num_features: features of a raw time step.
        num_classes: at least two.
    """
    found: Shapes = {}
    size = Preparation(params, num_features).num_outputs
    if params.stem:
        for index, (before, after) in enumerate(pairwise([size, *[params.stem.channels] * params.stem.num_layers])):
            found[f"stem.convolutions.{index}.weight"] = (after, before, params.stem.kernel_size)
            found[f"stem.convolutions.{index}.bias"] = (after,)
        size = params.stem.channels
    rows = NUM_GATES[params.cell] * params.hidden_size
    for cell in _cells(params):
        is_first = cell.startswith("layers.0.")
        found[f"{cell}.weight_ih_l0"] = (rows, size if is_first else params.output_size)
        found[f"{cell}.weight_hh_l0"] = (rows, params.hidden_size)
        found[f"{cell}.bias_ih_l0"] = (rows,)
        found[f"{cell}.bias_hh_l0"] = (rows,)
    found["head.weight"] = (num_classes, params.pooled_size)
    found["head.bias"] = (num_classes,)
    return found


def count(found: Shapes) -> int:
    """Return how many numbers the flat vector has."""
    return sum(math.prod(shape) for shape in found.values())


def multiply_adds(params: ModelParams, num_features: int, num_classes: int, num_steps: int) -> int:
    """Return how many multiplications and additions one sequence of `num_steps` takes: those of the weights."""
    steps = -(-num_steps // params.downsampling)
    found = {name: math.prod(shape) for name, shape in shapes(params, num_features, num_classes).items()}
    weights = {name: size for name, size in found.items() if ".weight" in name}
    return sum(size * (1 if name.startswith("head.") else steps) for name, size in weights.items())


def views(flat: Float32[np.ndarray, " parameter"], found: Shapes) -> dict[str, Float32[np.ndarray, "..."]]:
    """Return each parameter as a view of the flat vector."""
    result, position = {}, 0
    for name, shape in found.items():
        end = position + math.prod(shape)
        result[name] = flat[position:end].reshape(shape)
        position = end
    return result


def initial(
    params: ModelParams, num_features: int, num_classes: int, rng: np.random.Generator
) -> Float32[np.ndarray, " parameter"]:
    """Return fresh values, from the same distributions as PyTorch's modules.

    Uniform, up to the inverse root of the hidden size in a cell, of the number of inputs elsewhere. An LSTM's forget gate
    starts at 1 (Jozefowicz et al., 2015). With `max_dependency`, in steps, chrono initialisation (Tallec and Ollivier,
    2018) spreads the memory of LSTM and GRU up to so many steps.
    """
    found = shapes(params, num_features, num_classes)
    flat = np.empty(count(found), np.float32)
    values = views(flat, found)
    for name, value in values.items():
        inputs = found[name.replace(".bias", ".weight")][1:]
        bound = 1 / math.sqrt(params.hidden_size if name.startswith("layers.") else math.prod(inputs))
        value[...] = rng.uniform(-bound, bound, value.shape)
    for cell in _cells(params):
        by_gate = NUM_GATES[params.cell], params.hidden_size
        input_bias, state_bias = (values[f"{cell}.bias_{side}_l0"].reshape(by_gate) for side in ("ih", "hh"))
        _open_gates(params, input_bias, state_bias, rng)
    return flat


def _open_gates(
    params: ModelParams,
    input_bias: Float32[np.ndarray, "gate hidden"],
    state_bias: Float32[np.ndarray, "gate hidden"],
    rng: np.random.Generator,
) -> None:
    """Set the biases that decide how long a fresh cell remembers: the input side's, with zeros beside them."""
    if params.cell == "lstm":
        state_bias[FORGET_GATE] = 0.0
        if params.max_dependency is None:
            input_bias[FORGET_GATE] = 1.0
        else:
            input_bias[FORGET_GATE] = _chrono_bias(params, rng)
            input_bias[0], state_bias[0] = -input_bias[FORGET_GATE], 0.0
    elif params.cell == "gru" and params.max_dependency is not None:
        input_bias[UPDATE_GATE], state_bias[UPDATE_GATE] = _chrono_bias(params, rng), 0.0


def _chrono_bias(params: ModelParams, rng: np.random.Generator) -> Float[np.ndarray, " hidden"]:
    assert params.max_dependency is not None
    return np.log(rng.uniform(1, params.max_dependency - 1, params.hidden_size))


def _cells(params: ModelParams) -> Iterator[str]:
    for index in range(params.num_layers):
        yield f"layers.{index}.forward_cell"
        if params.bidirectional:
            yield f"layers.{index}.backward_cell"
