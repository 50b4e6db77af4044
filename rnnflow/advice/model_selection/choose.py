"""Which of some models is best by cross-validation; and that within a run, where `train.recipe` is `auto`."""

import math
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from rnnflow.advice.model_selection import folds, portfolio
from rnnflow.advice.model_selection.cross_validation import (
    BeatenError,
    CrossValidation,
    OutOfBudgetError,
    Score,
    best,
    most_accurate,
)
from rnnflow.advice.model_selection.portfolio import Candidate
from rnnflow.params.models import ModelParams
from rnnflow.params.train import TrainParams
from rnnflow.runtime import provenance
from rnnflow.runtime.errors import InputError

NUM_FOLDS = 3


def choose(
    given: ModelParams, recipe: TrainParams, train: Path, validation: Path, say: Callable[[str], None]
) -> tuple[ModelParams, TrainParams]:
    """Return the model and the recipe that do best on the data: the given model, or one of the portfolio.

    The same data, params and code choose the same, on a machine of any speed: what is tried is bounded by its number, and not
    by time as in `rnnflow tune`.

    Args:
        given: an entry of `models`; what it says of missing values and of streaming holds for all.
        recipe: section `train`; its engine, seed and limits are kept.
        train: folder of that split.
        validation: folder of that one.
        say: is called with a line about each fit.

    Raises:
        InputError: there is no data, it cannot be cut into folds, or no model can be trained on it.
    """
    data, columns = folds.load(train, validation)
    content = recipe.model_dump() | portfolio.recipe(len(data)) | {"early_stopping_patience": None, "recipe": "given"}
    chosen = TrainParams.model_validate(content)
    candidates = [Candidate("given", given.model_dump())]
    if given.streaming != "required":  # all of the portfolio read a sequence from both ends
        found = portfolio.candidates(data.length_range[1])
        candidates = [*(replace(each, model=each.model | {"missing": given.missing}) for each in found), *candidates]
    parts = folds.make(data.labels, columns, NUM_FOLDS, folds.is_later(validation, train))
    key = provenance.folder_md5(train) + provenance.folder_md5(validation)
    trial = CrossValidation(data, key, parts, chosen, math.inf, say)
    scores = try_all(trial, candidates)
    if not scores:
        raise InputError("train.recipe: auto, but no model can be trained on such data, see above; set it to given")
    winner = best(scores).candidate
    say(f"{winner.name}: chosen")
    return winner.params, trial.recipe_of(winner)


def try_all(trial: CrossValidation, candidates: Iterable[Candidate]) -> list[Score]:
    """Return the scores of candidates, of the best with more noise, and of several of the best then as one.

    Of those left out, say why.
    """
    scores: list[Score] = []
    for candidate in candidates:
        _try(trial, candidate, scores, most_accurate(scores).accuracy if scores else 0.0)
    size = len(trial.data.features), len(trial.data.classes)
    if scores:
        _try(trial, portfolio.noisier(best(scores).candidate), scores, 0.0)
    if scores and (several := portfolio.ensemble(best(scores).candidate, *size)):
        _try(trial, several, scores, 0.0)
    return scores


def _try(trial: CrossValidation, candidate: Candidate, scores: list[Score], accuracy_to_reach: float) -> None:
    """Add the score of a candidate, or say why there is none."""
    try:
        scores.append(trial.score(candidate, accuracy_to_reach))
    except BeatenError:
        trial.say(f"{candidate.name}: left out, it cannot reach {most_accurate(scores).candidate.name} any more")
    except OutOfBudgetError:
        trial.say(f"{candidate.name}: left out, {trial.budget / 60:g} minutes of CPU time are used up")
    except InputError as error:
        trial.say(f"{candidate.name}: left out, {error}")
