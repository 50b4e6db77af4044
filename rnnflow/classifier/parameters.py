"""The parameters of a classifier: their names and shapes in PyTorch's order, and the values they begin with.

All of them lie one after another in one flat vector. Engines, checkpoints and export know them by these names.
"""

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from rnnflow.classifier import cells, stems
from rnnflow.classifier.preparation import Preparation
from rnnflow.classifier.stems.interface import STATISTICS
from rnnflow.params.models import ModelParams
from rnnflow.runtime.array_types import Float, Float32

Shapes = dict[str, tuple[int, ...]]
Arrays = Mapping[str, Float[np.ndarray, "..."]]
SHARED = "preparation."
"""Begins the names of what several members have in common."""


def shapes(params: ModelParams, num_features: int, num_classes: int) -> Shapes:
    """Return the shape of every parameter, of one member where there are several.

    Args:
        params: the architecture.
        num_features: features of a raw time step.
        num_classes: at least two.
    """
    found: Shapes = {}
    size = Preparation(params, num_features).num_outputs
    if params.stem:
        found |= {f"stem.{name}": shape for name, shape in stems.create(params.stem, size).shapes().items()}
        size = params.stem.output_size
    cell = cells.load(params.cell)
    for prefix in _prefixes(params):
        input_size = size if prefix.startswith("layers.0.") else params.output_size
        for name, shape in cell.shapes(input_size, params.hidden_size).items():
            found[prefix + name] = shape
    found["head.weight"] = (num_classes, params.pooled_size)
    found["head.bias"] = (num_classes,)
    return found


def of_members(members: Sequence[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Return the arrays of all members under their names in a checkpoint; the preparation, which they share, comes once."""
    if len(members) == 1:
        return members[0]
    shared = {name: array for name, array in members[0].items() if name.startswith(SHARED)}
    own = [{name: array for name, array in each.items() if name not in shared} for each in members]
    return shared | {f"members.{index}.{name}": array for index, each in enumerate(own) for name, array in each.items()}


def count(found: Shapes) -> int:
    """Return how many numbers the flat vector has."""
    return sum(math.prod(shape) for shape in found.values())


def multiply_adds(params: ModelParams, num_features: int, num_classes: int, num_steps: int) -> int:
    """Return how many multiplications and additions one sequence of `num_steps` takes: those of the weights."""
    prepared = -(-num_steps // params.downsampling)
    stem = stems.create(params.stem, Preparation(params, num_features).num_outputs) if params.stem else None

    def steps(name: str) -> int:
        if name.startswith("head."):
            return 1
        if stem and name.startswith("stem."):
            return -(-prepared // stem.num_averaged(name.removeprefix("stem.")))
        return params.num_layer_steps(prepared)

    found = shapes(params, num_features, num_classes)
    of_one = sum(math.prod(shape) * steps(name) for name, shape in found.items() if ".weight" in name)
    return params.members * of_one


def views(flat: Float32[np.ndarray, " parameter"], found: Shapes) -> dict[str, Float32[np.ndarray, "..."]]:
    """Return each parameter as a view of the flat vector."""
    result, position = {}, 0
    for name, shape in found.items():
        end = position + math.prod(shape)
        result[name] = flat[position:end].reshape(shape)
        position = end
    return result


def flat(arrays: Arrays, found: Shapes) -> Float32[np.ndarray, " parameter"]:
    """Return the flat vector of parameters by name.

    Raises:
        ValueError: their names or shapes are others than those of `found`.
    """
    given = {name: array.shape for name, array in arrays.items()}
    if given != found:
        different = sorted(name for name in {*given, *found} if given.get(name) != found.get(name))
        raise ValueError(f"{different[0]} has shape {given.get(different[0])}, expected {found.get(different[0])}")
    return np.concatenate([arrays[name].ravel() for name in found])


def initial(
    params: ModelParams, num_features: int, num_classes: int, rng: np.random.Generator
) -> Float32[np.ndarray, " parameter"]:
    """Return fresh values, from the same distributions as PyTorch's modules.

    Uniform, up to the inverse root of the number of inputs or, in some cells, of the hidden size. A cell then sets the
    biases that decide how long it remembers; with `max_dependency`, in steps, by chrono initialisation (Tallec and
    Ollivier, 2018).
    """
    found = shapes(params, num_features, num_classes)
    flat = np.empty(count(found), np.float32)
    values = views(flat, found)
    cell = cells.load(params.cell)
    for name, value in values.items():
        num_inputs = math.prod(found[name.replace(".bias", ".weight")][1:])
        by_hidden_size = cell.drawn_by_hidden_size and name.startswith("layers.")
        bound = 1 / math.sqrt(params.hidden_size if by_hidden_size else num_inputs)
        value[...] = rng.uniform(-bound, bound, value.shape)
    if params.stem:
        stems.create(params.stem, num_features).set_initial(_within("stem.", values))
    for prefix in _prefixes(params):
        cell.set_biases(_within(prefix, values), rng, params.max_dependency)
    return flat


def is_statistic(name: str) -> bool:
    """Whether a parameter is no weight but a figure of what was seen in training; it has no gradient and does not decay."""
    return name.endswith(STATISTICS)


def _within(prefix: str, values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the parameters whose names begin so, by what follows."""
    return {name.removeprefix(prefix): value for name, value in values.items() if name.startswith(prefix)}


def _prefixes(params: ModelParams) -> Iterator[str]:
    """What the names of each cell's parameters begin with."""
    for index in range(params.num_layers):
        yield f"layers.{index}.forward_cell."
        if params.bidirectional:
            yield f"layers.{index}.backward_cell."
