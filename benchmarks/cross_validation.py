"""How choices for `examples/` are made: cross-validation on the training part; the test split is not looked at.

python -m benchmarks.cross_validation gun_point                              # the defaults, then the example
python -m benchmarks.cross_validation gun_point --set model.differences=false --set train.epochs=200
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import mean
from typing import Any

import numpy as np
from rich.console import Console
from ruamel.yaml import YAML
from sklearn.model_selection import StratifiedKFold

from benchmarks import examples
from benchmarks.examples import DEFAULTS, Fit, Recipe
from benchmarks.measuring import console, table
from rnnflow.sequences.dataset import SequenceDataset

NUM_FOLDS = 5
NUM_REPEATS = 2


def cross_validated(part: SequenceDataset, recipe: Recipe, num_folds: int, num_repeats: int) -> list[Fit]:
    """Return a fit for each fold of each repeat, which shuffles anew."""
    fits = []
    for repeat in range(num_repeats):
        folds = StratifiedKFold(num_folds, shuffle=True, random_state=repeat)
        for fold, (rest, held_out) in enumerate(folds.split(np.zeros(len(part)), part.labels)):
            seeded = replace(recipe, train=recipe.train.model_copy(update={"seed": 100 + fold + num_folds * repeat}))
            fits.append(examples.fit(examples.subset(part, rest), examples.subset(part, held_out), seeded))
            print(f"  {fits[-1].accuracy:.4f}, {fits[-1].cpu_seconds:.1f} s", file=sys.stderr, flush=True)
    return fits


def measure(out: Console, names: Sequence[str], changes: Mapping[str, Any], num_folds: int, num_repeats: int) -> None:
    """Print a line for each example's recipes."""
    results = table(
        f"Cross-validation on the training part: {num_repeats} x {num_folds} folds",
        "example", "recipe", "accuracy", "log loss", "parameters", "CPU s a fit",
    )  # fmt: skip
    for name in names:
        with examples.sequences(name) as folder:
            part = examples.training_part(folder)
        for said, recipe in _recipes(name, changes).items():
            print(f"{name}: {said}", file=sys.stderr)
            fits = cross_validated(part, recipe, num_folds, num_repeats)
            results.add_row(
                name, said, f"{mean(fit.accuracy for fit in fits):.4f}", f"{mean(fit.log_loss for fit in fits):.3f}",
                f"{fits[0].num_parameters:,}", f"{mean(fit.cpu_seconds for fit in fits):.1f}",
            )  # fmt: skip
    out.print(results)


def _recipes(name: str, changes: Mapping[str, Any]) -> dict[str, Recipe]:
    """Return the example's recipe with the changes, or else the defaults beside the example's own."""
    if changes:
        return {_said(changes): examples.recipe(name, changes)}
    own = examples.changes(name)
    return {"defaults": examples.recipe(DEFAULTS)} | ({_said(own): examples.recipe(name)} if own else {})


def _said(changes: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in changes.items())


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.cross_validation",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="EXAMPLE", help=f"of {', '.join(examples.NAMES)}; all by default")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="change the example's recipe")
    parser.add_argument("--folds", type=int, default=NUM_FOLDS)
    parser.add_argument("--repeats", type=int, default=NUM_REPEATS)
    arguments = parser.parse_args(argv)
    yaml = YAML(typ="safe")
    changes = {key: yaml.load(value) for key, _, value in (entry.partition("=") for entry in arguments.set)}
    try:
        names = examples.named(arguments.names)
    except ValueError as error:
        parser.error(str(error))
    measure(console(), names, changes, arguments.folds, arguments.repeats)


if __name__ == "__main__":
    main()
