"""`rnnflow tune`: which of a few models suits the data, by cross-validation on all but the test split."""

from functools import partial
from importlib.util import find_spec
from pathlib import Path

from rich.console import Console
from rich.table import Table

from rnnflow.advice.model_selection import folds, portfolio
from rnnflow.advice.model_selection.choose import try_all
from rnnflow.advice.model_selection.cross_validation import CrossValidation, Score, best, most_accurate
from rnnflow.advice.model_selection.portfolio import Candidate
from rnnflow.advice.tuning import minirocket, params_file
from rnnflow.evaluation.scores.intervals import wilson
from rnnflow.params import whole
from rnnflow.params.train import TrainParams
from rnnflow.runtime import environment, provenance
from rnnflow.runtime.errors import InputError

NUM_DEALS = 3


def tune(
    console: Console,
    params: Path,
    train: Path,
    validation: Path,
    minutes: float,
    num_folds: int,
    chart: Path | None = None,
) -> None:
    """Try the portfolio, print what came of each, and write the best model and its recipe into `params`.

    Args:
        console: where to.
        params: params.yaml; its engine, seed and limits are kept.
        train: folder of that split; the test split is not read.
        validation: folder of that one.
        minutes: of CPU time.
        num_folds: at least two.
        chart: go on from the best model with a search of its settings, and draw what came of that here.

    Raises:
        InputError: there is no data, it cannot be cut into folds, the budget is less than one candidate takes, or Optuna is
            missing for the search.
    """
    if chart and not find_spec("optuna"):
        raise InputError("--search: optuna is not installed; pip install 'rnnflow[search]'")
    if num_folds < 2:
        raise InputError(f"--folds {num_folds}: expected at least 2")
    if not minutes > 0:
        raise InputError(f"--minutes {minutes:g}: expected more than 0")
    settings = whole.load(params)
    data, columns = folds.load(train, validation)
    is_by_time = settings.generate.split.by == "time"
    deals = folds.make(data.labels, columns, num_folds, is_by_time, NUM_DEALS)
    chosen = portfolio.recipe(len(data))
    content = settings.train.model_dump() | chosen | {"early_stopping_patience": None, "recipe": "given"}
    recipe = TrainParams.model_validate(content)
    key = provenance.folder_md5(train) + provenance.folder_md5(validation)
    trial = CrossValidation(data, key, deals, recipe, 60 * minutes, partial(console.print, soft_wrap=True))
    scores = try_all(trial, portfolio.candidates(data.length_range[1]))
    if not scores:
        raise InputError(
            f"--minutes {minutes:g}: less than the {len(deals[0])} fits of one model take; "
            "expected more, and what is finished counts the next time"
        )
    chosen_score, most = best(scores), most_accurate(scores).candidate
    rocket = minirocket.num_right(data, trial.folds(chosen_score.num_deals), trial.say, trial.end)
    console.print(_table(scores, rocket, chosen_score.num_deals))
    winner = chosen_score.candidate
    if winner != most:
        console.print(
            f"{winner.name}: not worse than {most.name} by more than chance, and preferred for its lower log loss",
            soft_wrap=True,
        )
    if chart:
        winner = _search(console, trial, chosen_score, data.length_range[1], chart)
    params_file.write(params, winner, chosen | winner.train)
    console.print(f"{params}: models and train are now those of {winner.name}; `dvc repro` trains it", soft_wrap=True)


def _search(console: Console, trial: CrossValidation, start: Score, num_steps: int, chart: Path) -> Candidate:
    """Go on from a model for as long as the budget lasts, and return the better of both."""
    from rnnflow.advice.tuning import search_report
    from rnnflow.advice.tuning.search import Search

    study = environment.tuning_folder() / "search.sqlite"
    with environment.held(study, lambda: trial.say("another search is at work; waiting for its end")):
        search = Search(trial, start, num_steps, study)
        search.run()
    found = search.best()
    console.print(search_report.table(search))
    if found is None:
        console.print(f"{start.candidate.name}: kept, no trial came to its end")
        return start.candidate
    search_report.draw(search, chart)
    console.print(f"{chart}: all trials; {study} has the study, for optuna-dashboard", soft_wrap=True)
    if found.log_loss < start.log_loss and found.accuracy >= start.accuracy:
        return found.candidate
    console.print(f"{start.candidate.name}: kept, no trial has a lower log loss and makes no more errors")
    return start.candidate


def _table(scores: list[Score], rocket: tuple[int, float] | None, num_deals: int) -> Table:
    num_sequences = len(scores[0].is_right)
    again = ", the best of them again in other folds" if num_deals > 1 else ""
    table = Table(
        "model",
        "times held out",
        "accuracy",
        "95 % interval",
        "log loss",
        "parameters",
        "CPU s",
        title=f"{num_sequences:,} held out in turn{again}",
    )

    def add(name: str, num_deals: int, num_right: float, log_loss: str, num_parameters: str, seconds: float) -> None:
        low, high = wilson(num_right, num_sequences)
        accuracy = f"{num_right / num_sequences:.4f}"
        table.add_row(
            name, str(num_deals), accuracy, f"{low:.4f} – {high:.4f}", log_loss, num_parameters, f"{seconds:.1f}"
        )

    for score in sorted(scores, key=lambda each: (-each.num_deals, -each.accuracy, each.log_loss)):
        add(
            score.candidate.name,
            score.num_deals,
            score.is_right.sum(),
            f"{score.log_loss:.4f}",
            f"{score.num_parameters:,}",
            score.cpu_seconds,
        )
    if rocket:
        add("(MiniRocket)", num_deals, rocket[0] / num_deals, "", "", rocket[1])
    return table
