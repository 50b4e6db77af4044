"""The models that are tried on data that nobody has tuned anything for, and the recipe that trains each of them.

Measured on sets of the UCR and UEA archives: compressed inputs with their differences beside each sequence scaled by itself,
a stem of several scales for shapes in long series, recurrent layers alone for what is decided by the order of events.
"""

import math
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

from rnnflow.classifier import parameters
from rnnflow.params.models import ModelParams

LAYERS: dict[str, Any] = {"cell": "lstm", "bidirectional": True, "pooling": "mean_max", "dropout": 0.2}
INPUTS: dict[str, Any] = {"scaling": ["compressed", "sequence"], "differences": ["compressed"]}
KERNEL_SIZES = (9, 19, 39)
SHORTEST_FOR_STEM = 15
"""Median steps; below, the three kernels would be next to the same."""
MANY_SEQUENCES = 800
NUM_STEPS, NUM_EPOCHS = 1000, 10
JITTER = 0.1
AUGMENTATIONS: dict[str, dict[str, Any]] = {"noisy": {"jitter": 0.3}, "cropped": {"random_crop": 0.1}}
"""What suits some data and not other, by the name that a model trained with it has."""
NUM_MEMBERS, MOST_PARAMETERS = 5, 60_000
FEWEST_EIGHTHS = 2
"""Of a model's units, that each member of an ensemble has."""


@dataclass(frozen=True)
class Candidate:
    """A model to be tried."""

    name: str
    model: dict[str, Any]
    """Its entry of `models`, without what has its default."""
    train: dict[str, Any] = field(default_factory=dict)
    """Settings of section `train`, beyond the recipe of all candidates."""

    @property
    def kind(self) -> str:
        """What it has in common with those that differ in size."""
        return self.name.split("-")[0]

    @property
    def params(self) -> ModelParams:
        """The same, checked and with the defaults."""
        return ModelParams.model_validate(self.model)


def candidates(num_steps: int) -> list[Candidate]:
    """Return what is tried for sequences of so many steps, the median; what mostly suits most data comes first."""
    stems = [Candidate(f"stem-{left}", _with_stem(num_steps, left)) for left in (40, 100)]
    found = stems if num_steps >= SHORTEST_FOR_STEM else []
    for left in (30, 100):
        lstm = Candidate(f"lstm-{left}", _recurrent(num_steps, left))
        found.append(toggled(toggled(lstm, "noisy"), "cropped"))
    plain = {"cell": "gru", "hidden_size": 32, "bidirectional": True, "pooling": "last"}
    found.append(Candidate("gru-plain", plain | downsampled(num_steps, 30)))
    return [each for index, each in enumerate(found) if each.model not in [other.model for other in found[:index]]]


def toggled(candidate: Candidate, augmentation: str) -> Candidate:
    """Return a model trained with an augmentation that it is not trained with, or without one that it is."""
    setting, suffix = AUGMENTATIONS[augmentation], f"-{augmentation}"
    if setting.items() <= candidate.train.items():
        others = {name: value for name, value in candidate.train.items() if name not in setting}
        return replace(candidate, name=candidate.name.replace(suffix, ""), train=others)
    return replace(candidate, name=candidate.name + suffix, train=candidate.train | setting)


def ensemble(candidate: Candidate, num_features: int, num_classes: int) -> Candidate | None:
    """Return several of a model, smaller ones, that have at most `MOST_PARAMETERS` together; none of tiny ones or of several."""
    if candidate.params.members > 1:
        return None
    for eighths in range(8, FEWEST_EIGHTHS - 1, -1):
        model = _in_eighths(candidate.model, eighths) | {"members": NUM_MEMBERS}
        one = parameters.shapes(ModelParams.model_validate(model), num_features, num_classes)
        if NUM_MEMBERS * parameters.count(one) <= MOST_PARAMETERS:
            return replace(candidate, name=f"{candidate.name}-x{NUM_MEMBERS}", model=model)
    return None


def _in_eighths(content: dict[str, Any], eighths: int) -> dict[str, Any]:
    """Return a model, or its stem, with so many eighths of its units and channels."""
    found = dict(content)
    for name, value in content.items():
        if name in ("hidden_size", "channels", "output_size"):
            found[name] = value * eighths // 8
        elif name == "stem":
            found[name] = _in_eighths(value, eighths)
    return found


def recipe(num_sequences: int) -> dict[str, Any]:
    """Return section `train` for so many sequences, without what has its default."""
    batch_size = 16 if num_sequences <= MANY_SEQUENCES else 32
    return {
        "epochs": None,
        "steps": max(NUM_STEPS, NUM_EPOCHS * math.ceil(num_sequences / batch_size)),
        "batch_size": batch_size,
        "learning_rate": 0.005,
        "weight_decay": 0.05,
        "decay": "matrices",
        "jitter": JITTER,
        "random_crop": 0.0,
        "label_smoothing": 0.1,
        "final_fit": True,
    }


def block_sizes(num_steps: int, num_left: int) -> list[int]:
    """Return three sizes, as alike as can be, that leave about so many of `num_steps`."""
    largest = max(1, math.ceil((num_steps / num_left) ** (1 / 3)))
    sizes = [[size + 1] * bigger + [size] * (3 - bigger) for size in range(1, largest + 1) for bigger in range(3)]
    before, after = next(
        (pair for pair in pairwise(sizes) if math.prod(pair[1]) * num_left >= num_steps), (sizes[0], sizes[0])
    )
    is_nearer = num_steps / num_left < math.sqrt(math.prod(before) * math.prod(after))
    return before if is_nearer else after


def _recurrent(num_steps: int, num_left: int) -> dict[str, Any]:
    return LAYERS | {"hidden_size": 64} | INPUTS | downsampled(num_steps, num_left)


def downsampled(num_steps: int, num_left: int) -> dict[str, Any]:
    """Return the setting that leaves about so many of `num_steps`, if one is needed."""
    size = max(1, round(num_steps / num_left))
    return {"downsampling": size} if size > 1 else {}


def _with_stem(num_steps: int, num_left: int) -> dict[str, Any]:
    largest = 2 * (num_steps // 3) + 1
    stem = {
        "kind": "multi_scale",
        "kernel_sizes": sorted({min(size, largest) for size in KERNEL_SIZES}),
        "channels": 8,
        "output_size": 32,
        "block_sizes": block_sizes(num_steps, num_left),
    }
    return LAYERS | {"hidden_size": 32} | INPUTS | {"stem": stem}
