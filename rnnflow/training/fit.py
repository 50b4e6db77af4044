"""All trainings that a classifier takes: of each member, and with `final_fit` of each once more on all data."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from rnnflow.classifier import parameters
from rnnflow.params.models import ModelParams
from rnnflow.params.train import TrainParams
from rnnflow.sequences import dataset
from rnnflow.sequences.dataset import SequenceDataset
from rnnflow.training import refusals
from rnnflow.training.loop import Epoch, Training

OnEpoch = Callable[[Epoch, int], None]
"""Is told an epoch, and how many are done."""


class Fit:
    """Trains the members of a classifier one after another; most classifiers have just one.

    Args:
        train, validation: the splits, with the same classes and features; without validation there is no final fit. Their
            values are let go as soon as they are not needed any more, if nobody else holds them.
        model: the architecture.
        recipe: the recipe.
        device: `cpu` or `cuda`.
        resume: returns where the state of a training is kept, from its name; by default none is.

    Raises:
        InputError: data, model and recipe do not go together; the engine is not there or lacks something.
    """

    def __init__(
        self,
        train: SequenceDataset,
        validation: SequenceDataset | None,
        model: ModelParams,
        recipe: TrainParams,
        device: str = "cpu",
        resume: Callable[[str], Path | None] = lambda _: None,
    ) -> None:
        self.data, self.validation = train, validation
        self.model, self.recipe, self.device, self.resume = model, recipe, device, resume
        self._has_final = recipe.final_fit and validation is not None
        self._num_done = 0
        self._first: Training | None = self._training(0, {})
        self.num_epochs = model.members * self._first.last_epoch
        """At most, without those of the final fit."""
        self.num_parameters = model.members * len(self._first.weights)
        self.advice = refusals.advice(train, model, recipe, device)
        """A line where the recipe costs time for nothing, else nothing."""

    def run(
        self, on_epoch: OnEpoch = lambda *_: None, say: Callable[[str], None] = lambda _: None
    ) -> dict[str, np.ndarray]:
        """Train to the end and return weights and scaling, by their names in a checkpoint.

        Afterwards `data` is what they were trained on, without its values.

        Args:
            on_epoch: is called after each epoch, those from before a resume included and those of the final fit excluded.
            say: is called with a line about each final fit.

        Raises:
            InputError: the loss is no longer a finite number.
        """
        found = [self._run(member, "chosen", {}, on_epoch) for member in range(self.model.members)]
        if self._has_final:
            assert self.validation is not None
            self.data = dataset.joined(self.data, self.validation, self.recipe.memory_budget_mb)
            self.validation, self._has_final = None, False
            for member, (_, end) in enumerate(found):
                for unit, last in end.items():
                    say(f"final fit, {last} {unit.removeprefix('last_')}s on train and validation")
                found[member] = self._run(member, "final", end)
        return parameters.of_members([arrays for arrays, _ in found])

    def _training(self, member: int, end: dict[str, int]) -> Training:
        training = Training(self.data, self.validation, self.model, self.recipe, self.device, **end, member=member)
        if member + 1 == self.model.members and not self._has_final:
            self.data = self.data.without_values()  # the training has a copy of its own, prepared
        return training

    def _run(
        self, member: int, name: str, end: dict[str, int], on_epoch: OnEpoch = lambda *_: None
    ) -> tuple[dict[str, np.ndarray], dict[str, int]]:
        """Return the arrays of a member, and where a training of more data has to end."""
        training = self._first or self._training(member, end)
        self._first = None  # and its buffer with it, before there is another one
        before = self._num_done
        arrays = training.run(
            self.resume(f"{name}.{member}"), lambda epoch: on_epoch(epoch, before + len(training.history))
        )
        self._num_done += len(training.history)
        return arrays, training.chosen_end
