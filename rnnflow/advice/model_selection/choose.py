"""Which of some models is best by cross-validation; and that within a run, where `train.recipe` is `auto`."""

import math
import time
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
    contenders,
    most_accurate,
)
from rnnflow.advice.model_selection.portfolio import Candidate
from rnnflow.params.models import ModelParams
from rnnflow.params.train import TrainParams
from rnnflow.runtime import provenance
from rnnflow.runtime.errors import InputError

NUM_FOLDS = 3
NUM_ERRORS_TO_LOSE = 2.0
"""Standard errors by which a model is behind that is not held out in another deal."""


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
    """Return the scores of candidates, of the best of each kind with other augmentation, and of several of the best as one.

    Those that may be the best after that are held out again in other folds, as often as `trial` has deals and time for.
    Of those left out, say why.
    """
    scores: list[Score] = []
    for candidate in candidates:
        _try(trial, candidate, scores, accuracy_to_reach=most_accurate(scores).accuracy if scores else 0.0)
    for augmentation in portfolio.AUGMENTATIONS:
        for kind in dict.fromkeys(score.candidate.kind for score in scores):
            own = best([score for score in scores if score.candidate.kind == kind])
            _try(trial, portfolio.toggled(own.candidate, augmentation), scores)
    if scores:
        _try_several(trial, scores)
        scores = _dealt_again(trial, scores)
        _try_several(trial, scores)
    return scores


def _try_several(trial: CrossValidation, scores: list[Score]) -> None:
    """Add the score of several of the best as one."""
    winner = best(scores)
    several = portfolio.ensemble(winner.candidate, len(trial.data.features), len(trial.data.classes))
    if several:
        _try(trial, several, scores, winner.num_deals)


def _dealt_again(trial: CrossValidation, scores: list[Score]) -> list[Score]:
    """Return the scores, of those that may be the best those of several deals: which deal it was decides much of one score."""
    for num_deals in range(2, len(trial.deals) + 1):
        rivals = contenders(scores, NUM_ERRORS_TO_LOSE)
        others = [score for score in scores if all(score is not rival for rival in rivals)]
        seconds = sum(score.cpu_seconds / score.num_deals for score in rivals)
        if len(rivals) == 1:
            break
        if time.process_time() + seconds > trial.end:
            trial.say(
                f"deal {num_deals} of {len(trial.deals)}: left out, it takes about {seconds / 60:.1f} minutes of CPU time"
            )
            break
        try:
            again = [trial.score(score.candidate, num_deals) for score in rivals]
        except OutOfBudgetError:
            trial.say(f"deal {num_deals} of {len(trial.deals)}: left out, {_used_up(trial)}")
            break
        scores = again + others
    return scores


def _try(
    trial: CrossValidation,
    candidate: Candidate,
    scores: list[Score],
    num_deals: int = 1,
    accuracy_to_reach: float = 0.0,
) -> None:
    """Add the score of a candidate that has none, or say why there is none."""
    if candidate in [score.candidate for score in scores]:
        return
    try:
        scores.append(trial.score(candidate, num_deals, accuracy_to_reach))
    except BeatenError:
        trial.say(f"{candidate.name}: left out, it cannot reach {most_accurate(scores).candidate.name} any more")
    except OutOfBudgetError:
        trial.say(f"{candidate.name}: left out, {_used_up(trial)}")
    except InputError as error:
        trial.say(f"{candidate.name}: left out, {error}")


def _used_up(trial: CrossValidation) -> str:
    return f"{trial.budget / 60:g} minutes of CPU time are used up"
