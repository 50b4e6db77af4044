"""A trained classifier for which the engine that trained it answers: PyTorch takes longer to load than most splits to run."""

from typing import cast

import numpy as np

from rnnflow import engines
from rnnflow.classifier import parameters
from rnnflow.classifier.checkpoint import Description
from rnnflow.classifier.parameters import Arrays
from rnnflow.classifier.preparation import Lengths, Preparation
from rnnflow.engines.interface import AnsweringEngine, EngineConfig
from rnnflow.params.train import Engine, TrainParams
from rnnflow.runtime.array_types import Float32

BATCH_SIZE = 64
"""Sequences that are computed at once."""


class TrainedClassifier:
    """What `rnnflow.classifier.model.Classifier` is, without PyTorch, for models that the engine answers for.

    Args:
        arrays: weights and scaling of a checkpoint.
        description: of the same.
        engine: its name.

    Raises:
        ValueError: the arrays are others than those of the model that is described.
        InputError: the engine is not installed.
    """

    def __init__(self, arrays: Arrays, description: Description, engine: Engine) -> None:
        self.params = description.model
        num_features, num_classes = len(description.features), len(description.classes)
        self.preparation = Preparation(self.params, num_features)
        self.preparation.restore(arrays)
        self._shapes = parameters.shapes(self.params, num_features, num_classes)
        own = {name: array for name, array in arrays.items() if not name.startswith(parameters.SHARED)}
        recipe = TrainParams(engine=engine, batch_size=BATCH_SIZE)
        config = EngineConfig(self.params, recipe, num_features, num_classes, np.ones(num_classes))
        self._engine = cast(AnsweringEngine, engines.create(config, parameters.flat(own, self._shapes), "cpu"))

    def logits(
        self, prepared: Float32[np.ndarray, "batch time feature"], lengths: Lengths
    ) -> Float32[np.ndarray, "batch class"]:
        """Return the logits of prepared sequences."""
        return self._engine.logits(prepared, lengths)

    def step_logits(
        self, prepared: Float32[np.ndarray, "batch time feature"], lengths: Lengths
    ) -> Float32[np.ndarray, "batch step class"]:
        """Return the logits of what each sequence is up to each step, of a model that can answer step by step."""
        return self._engine.step_logits(prepared, lengths)

    def divide_logits(self, temperature: float) -> None:
        """Have the head divide them from now on."""
        weights = self._engine.state()["weights"].copy()
        for name, values in parameters.views(weights, self._shapes).items():
            if name.startswith("head."):
                values /= temperature
        self._engine.load_state({"weights": weights})
