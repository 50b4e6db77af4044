"""`rnnflow tune`: which of a few models suits the data, by cross-validation on all but the test split."""

from functools import partial
from pathlib import Path

from rich.console import Console
from rich.table import Table

from rnnflow.advice.tuning import folds, minirocket, params_file, portfolio
from rnnflow.advice.tuning.cross_validation import (
    BeatenError,
    CrossValidation,
    OutOfBudgetError,
    Score,
    best,
    most_accurate,
)
from rnnflow.advice.tuning.portfolio import Candidate
from rnnflow.evaluation.scores.intervals import wilson
from rnnflow.params import whole
from rnnflow.params.train import TrainParams
from rnnflow.runtime import provenance
from rnnflow.runtime.errors import InputError


def tune(console: Console, params: Path, train: Path, validation: Path, minutes: float, num_folds: int) -> None:
    """Try the portfolio, print what came of each, and write the best model and its recipe into `params`.

    Args:
        console: where to.
        params: params.yaml; its engine, seed and limits are kept.
        train: folder of that split; the test split is not read.
        validation: folder of that one.
        minutes: of CPU time.
        num_folds: at least two.

    Raises:
        InputError: there is no data, it cannot be cut into folds, or the budget is less than one candidate takes.
    """
    if num_folds < 2:
        raise InputError(f"--folds {num_folds}: expected at least 2")
    if not minutes > 0:
        raise InputError(f"--minutes {minutes:g}: expected more than 0")
    settings = whole.load(params)
    data, columns = folds.load(train, validation)
    parts = folds.make(data.labels, columns, num_folds, settings.generate.split.by == "time")
    chosen = portfolio.recipe(len(data))
    recipe = TrainParams.model_validate(settings.train.model_dump() | chosen | {"early_stopping_patience": None})
    key = provenance.folder_md5(train) + provenance.folder_md5(validation)
    trial = CrossValidation(data, key, parts, recipe, 60 * minutes, partial(console.print, soft_wrap=True))
    scores: list[Score] = []
    for candidate in portfolio.candidates(data.length_range[1]):
        _try(trial, candidate, scores)
    if scores and (several := portfolio.ensemble(best(scores).candidate, len(data.features), len(data.classes))):
        _try(trial, several, scores)
    if not scores:
        raise InputError(
            f"--minutes {minutes:g}: less than the {len(parts)} fits of one model take; "
            "expected more, and what is finished counts the next time"
        )
    rocket = minirocket.num_right(data, parts, trial.say, trial.end)
    console.print(_table(scores, rocket))
    winner, most = best(scores).candidate, most_accurate(scores).candidate
    if winner != most:
        console.print(
            f"{winner.name}: not worse than {most.name} by more than chance, and of a kind that mostly does better on "
            "sequences of such length"
        )
    params_file.write(params, winner, chosen)
    console.print(f"{params}: models and train are now those of {winner.name}; `dvc repro` trains it", soft_wrap=True)


def _try(trial: CrossValidation, candidate: Candidate, scores: list[Score]) -> None:
    """Add the score of a candidate, or say why there is none."""
    try:
        scores.append(trial.score(candidate, most_accurate(scores).accuracy if scores else 0.0))
    except BeatenError:
        trial.say(f"{candidate.name}: left out, it cannot reach {most_accurate(scores).candidate.name} any more")
    except OutOfBudgetError:
        trial.say(f"{candidate.name}: left out, {trial.budget / 60:g} minutes of CPU time are used up")
    except InputError as error:
        trial.say(f"{candidate.name}: left out, {error}")


def _table(scores: list[Score], rocket: tuple[int, float] | None) -> Table:
    num_sequences = len(scores[0].is_right)
    table = Table(
        "model",
        "accuracy",
        "95 % interval",
        "log loss",
        "parameters",
        "CPU s",
        title=f"{num_sequences:,} held out in turn",
    )

    def add(name: str, num_right: int, log_loss: str, num_parameters: str, seconds: float) -> None:
        low, high = wilson(num_right, num_sequences)
        accuracy = f"{num_right / num_sequences:.4f}"
        table.add_row(name, accuracy, f"{low:.4f} – {high:.4f}", log_loss, num_parameters, f"{seconds:.1f}")

    for score in sorted(scores, key=lambda each: (-each.accuracy, each.log_loss)):
        num_right = int(score.is_right.sum())
        add(score.candidate.name, num_right, f"{score.log_loss:.4f}", f"{score.num_parameters:,}", score.cpu_seconds)
    if rocket:
        add("(MiniRocket)", rocket[0], "", "", rocket[1])
    return table
