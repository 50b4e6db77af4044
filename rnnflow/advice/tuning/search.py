"""`rnnflow tune --search`: goes on from a model with Optuna; the study is kept in SQLite, so that a killed run goes on."""

import math
import statistics
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import BaseTrial, FrozenTrial, Trial, TrialState

from rnnflow.advice.model_selection import portfolio
from rnnflow.advice.model_selection.cross_validation import (
    CrossValidation,
    GivenUpError,
    OnEpoch,
    OutOfBudgetError,
    Score,
)
from rnnflow.advice.model_selection.portfolio import Candidate
from rnnflow.classifier import parameters
from rnnflow.params.models import ModelParams
from rnnflow.runtime import provenance
from rnnflow.runtime.errors import InputError, library
from rnnflow.training.loop import Epoch

MOST_TRIALS = 300
"""Of a study; with more, the best of them is ever more so by chance."""
NUM_LOOKS = 10
"""At a fit, after which it may be given up: of hundreds of epochs, each would cost a transaction."""
NUM_RANDOM = 8
"""Trials before the sampler draws by what it has seen, and before any is given up."""
SMALLEST, LARGEST, STEP = 16, 96, 4
"""Hidden sizes, as far as the parameters allow."""
FEWEST_STEPS, MOST_STEPS = 20, 200
"""That are left of a sequence of median length."""
LEARNING_RATE, WEIGHT_DECAY = (0.001, 0.02), (0.005, 0.5)
NOISE = ("jitter", "random_scale", "time_mask")
MOST_DROPOUT, MOST_NOISE = 0.5, 0.3


class Search:
    """Looks for settings with a lower log loss than a model's own, by cross-validation.

    Args:
        trial: cross-validates them, and has the budget.
        start_score: of the model whose kind, scaling and number of members are kept; trials are held out as often.
        num_steps: the median of the sequences.
        file: a data base of SQLite, with a study for each data set, code and start.
    """

    def __init__(self, trial: CrossValidation, start_score: Score, num_steps: int, file: Path) -> None:
        start = start_score.candidate
        self.trial, self.start, self.num_deals, self.num_steps = trial, start, start_score.num_deals, num_steps
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        name = (
            f"{start.name} {trial.digest(start, trial.folds(self.num_deals))} {provenance.code_md5([Path(__file__)])}"
        )
        self.study = study_in(file, name)
        sizes = range(SMALLEST, LARGEST + 1, STEP)
        fitting = [size for size in sizes if self._fits(start.model | {"hidden_size": size})]
        self.largest = max([*fitting, start.params.hidden_size])
        seed = trial.recipe.seed + len(self.study.trials)  # a study that goes on would draw the same ones once more
        self.study.sampler = optuna.samplers.TPESampler(n_startup_trials=NUM_RANDOM, seed=seed % 2**32)
        self.study.pruner = optuna.pruners.MedianPruner(NUM_RANDOM, n_warmup_steps=NUM_LOOKS // 2)

    def run(self) -> None:
        """Try settings until the budget is used up, or there are `MOST_TRIALS`."""
        if not self.study.trials:
            self.study.enqueue_trial(self._own_settings())
        for cut_short in self.study.get_trials(states=[TrialState.RUNNING]):  # by a kill, or by the end of a budget
            self.study.tell(cut_short.number, state=TrialState.FAIL)
            self.study.enqueue_trial(cut_short.params)
        while len(self.done) + len(self.given_up) < MOST_TRIALS:
            try:
                self._try(self.study.ask())
            except OutOfBudgetError:
                return

    def best(self) -> Score | None:
        """Return the score of the settings with the lowest log loss, if any trial came to its end."""
        return self.trial.score(self._candidate(self.study.best_trial), self.num_deals) if self.done else None

    @property
    def done(self) -> list[FrozenTrial]:
        """The trials that came to their end, the best first."""
        return sorted(self.study.get_trials(states=[TrialState.COMPLETE]), key=lambda trial: trial.value or 0.0)

    @property
    def given_up(self) -> list[FrozenTrial]:
        """Those that did not."""
        return self.study.get_trials(states=[TrialState.PRUNED])

    def _try(self, trial: Trial) -> None:
        candidate = self._candidate(trial)
        if not self._fits(candidate.model):
            self.study.tell(trial, state=TrialState.PRUNED)
            return
        try:
            score = self.trial.score(candidate, self.num_deals, on_epoch=_pruning(trial))
        except GivenUpError:
            self.study.tell(trial, state=TrialState.PRUNED)
        except InputError as error:
            self.trial.say(f"{candidate.name}: left out, {error}")
            self.study.tell(trial, state=TrialState.PRUNED)
        else:
            trial.set_user_attr("accuracy", score.accuracy)
            self.study.tell(trial, score.log_loss)

    def _candidate(self, trial: BaseTrial) -> Candidate:
        """Return the model of a trial; of one that is done, with the settings that it had."""
        model = dict(self.start.model)
        model["hidden_size"] = trial.suggest_int("hidden_size", SMALLEST, self.largest, step=STEP)
        model["dropout"] = _short(trial.suggest_float("dropout", 0.0, MOST_DROPOUT))
        model["pooling"] = trial.suggest_categorical("pooling", ["last", "mean", "max", "mean_max"])
        if self.num_steps > FEWEST_STEPS:
            most = min(MOST_STEPS, self.num_steps)
            model = self._shortened(model, trial.suggest_int("num_steps", FEWEST_STEPS, most, log=True))
        recipe = {
            "learning_rate": _short(trial.suggest_float("learning_rate", *LEARNING_RATE, log=True)),
            "weight_decay": _short(trial.suggest_float("weight_decay", *WEIGHT_DECAY, log=True)),
            **{name: _short(trial.suggest_float(name, 0.0, MOST_NOISE)) for name in NOISE},
        }
        return Candidate(f"{self.start.kind}-trial-{trial.number}", model, self.start.train | recipe)

    def _fits(self, content: dict[str, Any]) -> bool:
        """Return whether a model has at most so many parameters as one of the portfolio may have."""
        model, data = ModelParams.model_validate(content), self.trial.data
        shapes = parameters.shapes(model, len(data.features), len(data.classes))
        return model.members * parameters.count(shapes) <= portfolio.MOST_PARAMETERS

    def _shortened(self, model: dict[str, Any], num_left: int) -> dict[str, Any]:
        """Return a model that has about so many steps left, of those in a sequence of median length."""
        if "stem" in model:
            return model | {"stem": model["stem"] | {"block_sizes": portfolio.block_sizes(self.num_steps, num_left)}}
        return {name: value for name, value in model.items() if name != "downsampling"} | portfolio.downsampled(
            self.num_steps, num_left
        )

    def _own_settings(self) -> dict[str, Any]:
        """Return the settings of the model to start from, the first trial."""
        model, recipe = self.start.params, self.trial.recipe_of(self.start)
        found = {name: getattr(model, name) for name in ("hidden_size", "dropout", "pooling")}
        if self.num_steps > FEWEST_STEPS:
            most = min(MOST_STEPS, self.num_steps)
            found["num_steps"] = min(max(math.ceil(self.num_steps / model.num_averaged), FEWEST_STEPS), most)
        return found | {name: getattr(recipe, name) for name in ("learning_rate", "weight_decay", *NOISE)}


def study_in(file: Path, name: str) -> optuna.Study:
    """Return a study in a data base of SQLite, each of which is made where there is none.

    Raises:
        InputError: it is none.
    """
    with library(f"{file}: no study can be kept here, move it away"):
        return optuna.create_study(storage=f"sqlite:///{file}", study_name=name, load_if_exists=True)


def _short(value: float) -> float:
    """Return a number that a person can read in params.yaml."""
    return float(f"{value:.3g}")


def _pruning(trial: Trial) -> OnEpoch:
    """Report the mean loss of the folds so far, each as it is by now, and end a fit that does worse than most did."""
    losses: dict[int, float] = {}

    def on_epoch(fold: int, num_epochs: int, num_done: int, epoch: Epoch) -> None:
        look = num_done * NUM_LOOKS // num_epochs
        if look == (num_done - 1) * NUM_LOOKS // num_epochs:
            return
        losses[fold] = epoch.validation_loss
        trial.report(statistics.mean(losses.values()), fold * NUM_LOOKS + look)
        if trial.should_prune():
            raise GivenUpError

    return on_epoch
