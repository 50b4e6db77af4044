"""What the choice of a model loses when little is held out, and what several models as one gain: on sets made by a seed.

python -m benchmarks.choice short daily     # some of the sets; all of them take an hour
"""

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import mean

import numpy as np
import pyarrow as pa
from rich.console import Console

from benchmarks import made_sets
from benchmarks.measuring import console, table
from rnnflow.advice.model_selection import folds, portfolio
from rnnflow.advice.model_selection.cross_validation import Score, best, most_accurate
from rnnflow.advice.model_selection.folds import subset
from rnnflow.advice.model_selection.portfolio import Candidate
from rnnflow.classifier.model import restored
from rnnflow.classifier.predict_split import predict
from rnnflow.params import whole
from rnnflow.params.train import TrainParams
from rnnflow.runtime.array_types import Float64
from rnnflow.sequences.dataset import SequenceDataset
from rnnflow.training.fit import Fit
from rnnflow.training.loop import VALIDATION_BATCH_SIZE

PARAMS = Path(__file__).resolve().parents[1] / "params.yaml"
NUM_FOLDS, NUM_DRAWN = 3, 150
HELD_OUT = (36, 60, 120)
RULES: Mapping[str, Callable[[Sequence[Score]], Score]] = {
    "most accurate": most_accurate,
    "lowest log loss": lambda scores: min(scores, key=lambda score: score.log_loss),
    "the rule of tune": best,
    "the first": lambda scores: scores[0],
}


class Answers:
    """Of a model, trained once without each fold, about the test part."""

    def __init__(self, candidate: Candidate, part: SequenceDataset, test: SequenceDataset) -> None:
        self.candidate = candidate
        given = whole.load(PARAMS).train.model_dump() | portfolio.recipe(len(part)) | candidate.train
        recipe, model = TrainParams.model_validate(given | {"final_fit": False}), candidate.params
        answers = []
        for fold in folds.make(part.labels, pa.table({}), NUM_FOLDS, is_by_time=False)[0]:
            fit = Fit(subset(part, fold.train), None, model, recipe)
            classifier = restored(fit.run(), model, len(part.features), len(part.classes))
            answers.append(predict(classifier.logits, classifier.preparation, test, VALIDATION_BATCH_SIZE))
        probabilities = np.stack(answers)
        self.is_right: Float64[np.ndarray, "fold sequence"] = (probabilities.argmax(2) == test.labels).astype(float)
        right = probabilities[:, np.arange(len(test)), test.labels].astype(np.float64)
        self.losses: Float64[np.ndarray, "fold sequence"] = -np.log(np.maximum(right, np.finfo(np.float32).tiny))
        print(f"  {candidate.name}: {self.accuracy:.4f}", file=sys.stderr, flush=True)

    @property
    def accuracy(self) -> float:
        return float(self.is_right.mean())

    def score(self, rows: np.ndarray) -> Score:
        """Return the score as if these sequences were all that is held out, each from one fold."""
        fold = np.arange(len(rows)) % NUM_FOLDS
        return Score(self.candidate, self.is_right[fold, rows], 1, float(self.losses[fold, rows].mean()), 0, 0.0)


def lost(tried: Sequence[Answers], num_held_out: int) -> dict[str, float]:
    """Return by rule what accuracy its choice lacks beside the best, in points: the mean of many drawn parts held out."""
    rng = np.random.default_rng(0)
    most = max(answers.accuracy for answers in tried)
    found: dict[str, list[float]] = {name: [] for name in RULES}
    for _ in range(NUM_DRAWN):
        rows = rng.choice(tried[0].is_right.shape[1], num_held_out, replace=False)
        scores = [answers.score(rows) for answers in tried]
        for name, rule in RULES.items():
            chosen = scores.index(rule(scores))
            found[name].append(100 * (most - tried[chosen].accuracy))
    return {name: mean(values) for name, values in found.items()}


def measure(out: Console, names: Sequence[str]) -> None:
    """Print what each rule loses, and the accuracy of the models of each set."""
    models = table(
        "Accuracy on the test part, trained on two thirds of the training part",
        "set",
        "model",
        "as it is",
        *(f"{name} or not" for name in portfolio.AUGMENTATIONS),
        "five",
    )
    rules = table(f"Points lost by the choice, mean of {NUM_DRAWN} drawn parts", "set", "held out", *RULES)
    found: dict[int, list[dict[str, float]]] = {number: [] for number in HELD_OUT}
    for draw in made_sets.SETS:
        if draw.__name__ not in names:
            continue
        print(draw.__name__, file=sys.stderr)
        part, test = made_sets.parts(draw)
        tried = [Answers(each, part, test) for each in portfolio.candidates(part.length_range[1])]
        for answers in tried:
            own = answers.candidate
            others: list[Candidate | None] = [portfolio.toggled(own, name) for name in portfolio.AUGMENTATIONS]
            others.append(portfolio.ensemble(own, len(part.features), len(part.classes)))
            found_of_others = (f"{Answers(other, part, test).accuracy:.4f}" if other else "" for other in others)
            models.add_row(draw.__name__, own.name, f"{answers.accuracy:.4f}", *found_of_others)
        for number, of_number in found.items():
            of_number.append(lost(tried, number))
            rules.add_row(draw.__name__, str(number), *(f"{value:.2f}" for value in of_number[-1].values()))
    for number, of_number in found.items():
        rules.add_row("all", str(number), *(f"{mean(each[name] for each in of_number):.2f}" for name in RULES))
    out.print(models)
    out.print(rules)


def main(argv: Sequence[str] | None = None) -> None:
    known = [draw.__name__ for draw in made_sets.SETS]
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.choice", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="SET", help=f"of {', '.join(known)}; all by default")
    arguments = parser.parse_args(argv)
    if unknown := sorted(set(arguments.names) - set(known)):
        parser.error(f"no set {unknown[0]!r}, there are {', '.join(known)}")
    measure(console(), arguments.names or known)


if __name__ == "__main__":
    main()
