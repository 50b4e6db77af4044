"""Fits of the candidates on every fold, within a budget of CPU time; what is done is kept, so that a killed run goes on."""

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rnnflow import engines
from rnnflow.advice.model_selection.folds import Fold, subset
from rnnflow.advice.model_selection.portfolio import Candidate
from rnnflow.classifier import cells, safetensors_files, stems
from rnnflow.classifier.model import restored
from rnnflow.classifier.predict_split import log_loss_and_accuracy, predict
from rnnflow.params.train import TrainParams
from rnnflow.runtime import environment, provenance
from rnnflow.runtime.array_types import Float64
from rnnflow.runtime.errors import InputError
from rnnflow.sequences.dataset import SequenceDataset
from rnnflow.training import fit as fit_module
from rnnflow.training.fit import Fit
from rnnflow.training.loop import VALIDATION_BATCH_SIZE, Epoch

OnEpoch = Callable[[int, int, int, Epoch], None]
"""Is told the number of the fold, how many epochs a fit has, how many are done, and what came of the last."""


class OutOfBudgetError(Exception):
    """The next fit would take more CPU time than is left."""


class BeatenError(Exception):
    """A candidate cannot become as accurate as another one, whatever its remaining folds bring."""


class GivenUpError(Exception):
    """Raised by who is told of the epochs: this fit is not worth its end."""


@dataclass(frozen=True)
class Score:
    """What came of a candidate on the sequences held out, of all folds together."""

    candidate: Candidate
    is_right: Float64[np.ndarray, " held_out"]
    """Of each sequence that is held out: 0 or 1, or the mean of several deals."""
    num_deals: int
    log_loss: float
    num_parameters: int
    cpu_seconds: float
    """Of all its fits, those from an earlier run included."""

    @property
    def accuracy(self) -> float:
        return float(self.is_right.mean())


class CrossValidation:
    """Scores candidates one after another.

    Args:
        data: all that may be seen.
        data_key: names its content.
        deals: of it into folds.
        recipe: that trains each candidate.
        budget: CPU seconds of this run.
        say: is called with a line about each fit.
    """

    def __init__(
        self, data: SequenceDataset, data_key: str, deals: Sequence[Sequence[Fold]], recipe: TrainParams, budget: float,
        say: Callable[[str], None],
    ) -> None:  # fmt: skip
        self.data, self.data_key, self.deals, self.recipe, self.say = data, data_key, deals, recipe, say
        self.budget = budget
        self.end = time.process_time() + budget

    def folds(self, num_deals: int) -> list[Fold]:
        """Return the folds of the first so many deals."""
        return [fold for deal in self.deals[:num_deals] for fold in deal]

    def score(
        self, candidate: Candidate, num_deals: int = 1, accuracy_to_reach: float = 0.0, on_epoch: OnEpoch | None = None
    ) -> Score:
        """Return what came of a candidate.

        Args:
            candidate: the model, and what is its own of the recipe.
            num_deals: whose folds are held out.
            accuracy_to_reach: of all that is held out; a candidate that cannot reach it any more is given up.
            on_epoch: is told of each epoch of each fit, and of its loss on what is held out.

        Raises:
            BeatenError: it made more errors than `accuracy_to_reach` leaves room for, before its last fold.
            GivenUpError: `on_epoch` raised it.
            OutOfBudgetError: it takes more CPU time than is left.
            InputError: it cannot be trained on such data.
        """
        parts, seconds, num_parameters = [], 0.0, 0
        folds = self.folds(num_deals)
        num_errors, num_sequences = 0, sum(len(fold.held_out) for fold in folds)
        for index, fold in enumerate(folds):
            kept = self._kept(candidate, fold)
            if not _is_kept(kept, self.say):
                if time.process_time() + (seconds / index if index else 0.0) > self.end:
                    raise OutOfBudgetError
                self._fit(candidate, index, fold, kept, on_epoch)
            arrays, found = safetensors_files.read(kept)
            assert isinstance(found, dict)
            parts.append(arrays["probabilities"])
            seconds += found["cpu_seconds"]
            num_parameters = found["num_parameters"]
            is_right = parts[-1].argmax(1) == self.data.labels[fold.held_out]
            self.say(f"{candidate.name}: fold {index + 1} of {len(folds)}, accuracy {is_right.mean():.3f}")
            num_errors += int((~is_right).sum())
            if index + 1 < len(folds) and num_errors > round((1 - accuracy_to_reach) * num_sequences):
                raise BeatenError
        rows, probabilities = np.concatenate([fold.held_out for fold in folds]), np.concatenate(parts)
        labels = self.data.labels[rows]
        loss, _ = log_loss_and_accuracy(labels, probabilities)
        num_times, num_right = np.bincount(rows), np.bincount(rows, probabilities.argmax(1) == labels)
        is_right = num_right[num_times > 0] / num_times[num_times > 0]
        return Score(candidate, is_right, num_deals, loss, num_parameters, seconds)

    def _fit(self, candidate: Candidate, index: int, fold: Fold, kept: Path, on_epoch: OnEpoch | None) -> None:
        """Train on a fold and keep the probabilities of what is held out."""
        begin = time.process_time()

        def watch(epoch: Epoch, num_done: int) -> None:
            if time.process_time() > self.end:
                raise OutOfBudgetError
            if on_epoch:
                on_epoch(index, fit.num_epochs, num_done, epoch)

        def resume(name: str) -> Path:
            return kept.with_suffix(f".{name}.resume")

        model, held_out = candidate.params, subset(self.data, fold.held_out)
        recipe = self.recipe_of(candidate).model_copy(update={"final_fit": False})
        fit = Fit(subset(self.data, fold.train), held_out if on_epoch else None, model, recipe, resume=resume)
        try:
            classifier = restored(fit.run(watch), model, len(self.data.features), len(self.data.classes))
        except GivenUpError:
            _remove_states(kept)
            raise
        answers = predict(classifier.logits, classifier.preparation, held_out, VALIDATION_BATCH_SIZE)
        found = {"cpu_seconds": time.process_time() - begin, "num_parameters": fit.num_parameters}
        safetensors_files.write(kept, {"probabilities": answers}, found)
        _remove_states(kept)

    def recipe_of(self, candidate: Candidate) -> TrainParams:
        """Return the recipe that trains a candidate."""
        return TrainParams.model_validate(self.recipe.model_dump() | candidate.train)

    def digest(self, candidate: Candidate, folds: Sequence[Fold]) -> str:
        """Return what names all that decides the fits of a candidate on some folds."""
        model, recipe = candidate.params, self.recipe_of(candidate)
        entries = [engines.entry(recipe.engine), cells.entry(model.cell)]
        entries += [stems.entry(model.stem.kind)] if model.stem else []
        code = provenance.code_md5(provenance.source_files(Path(fit_module.__file__), *entries))
        rows = [fold.train.tolist() for fold in folds]
        content = [self.data_key, code, model.model_dump(), recipe.model_dump(), *rows]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:32]

    def _kept(self, candidate: Candidate, fold: Fold) -> Path:
        return environment.tuning_folder() / f"{self.digest(candidate, [fold])}.safetensors"


def _remove_states(kept: Path) -> None:
    """Remove the states of trainings from which a fit would go on."""
    for file in kept.parent.glob(f"{kept.stem}.*.resume"):
        file.unlink()


def _is_kept(path: Path, say: Callable[[str], None]) -> bool:
    """Return whether an earlier search has left this result; a damaged one is trained anew."""
    if not path.exists():
        return False
    try:
        safetensors_files.read(path)
    except InputError as error:
        say(f"{error}; trained anew")
        return False
    return True


def most_accurate(scores: Sequence[Score]) -> Score:
    """Return the most accurate of those that were held out most often, of equals the one with the lowest log loss.

    By raw log loss alone a model that is often right and too sure of itself loses to one that is seldom either.
    """
    return max(scores, key=lambda score: (score.num_deals, score.accuracy, -score.log_loss))


def contenders(scores: Sequence[Score], num_errors: float) -> list[Score]:
    """Return those that are not behind the most accurate by more than so many standard errors.

    Those that were held out less often than others were left behind earlier.
    """
    top = most_accurate(scores)
    return [score for score in scores if score.num_deals == top.num_deals and not _is_behind(score, top, num_errors)]


def best(scores: Sequence[Score]) -> Score:
    """Return the surest of those that are not behind the most accurate by more than chance.

    A few dozen sequences say little about which of two models is right more often: one of fifty is chance. Their log loss says
    more of each sequence than whether it is right, and label smoothing keeps it from being about the surest mistakes alone.
    """
    return min(contenders(scores, num_errors=1.0), key=lambda score: (score.log_loss, -score.accuracy))


def _is_behind(one: Score, other: Score, num_errors: float) -> bool:
    """Return whether a model is less accurate than another by more than so many standard errors.

    The error is that of the difference on the same sequences, with one deal the root of the number on which just one of the
    two is right (McNemar, 1947). To allow for one standard error is the rule of Breiman and others, 1984.
    """
    behind = other.is_right - one.is_right
    return bool(behind.sum() > num_errors * np.linalg.norm(behind))
