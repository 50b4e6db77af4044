"""Ours beside published figures on the real sets of `examples/`; writes docs/results.md.

python -m benchmarks.published
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev

from rich.console import Console

from benchmarks import examples
from benchmarks.examples import Fit
from benchmarks.measuring import Figure, console, table
from rnnflow.sequences import dataset

NUM_SEEDS = 5
MAX_PARAMETERS = 60_000
MAX_CPU_SECONDS = 60
PAGE = Path(__file__).resolve().parents[1] / "docs" / "results.md"


@dataclass(frozen=True)
class Published:
    """What others reached, on the same test split unless it says otherwise."""

    target: float
    ambitious: float
    others: str


SETS: Mapping[str, Published] = {
    "japanese_vowels": Published(0.975, 0.985, "LSTM-FCN .99 [1], MiniRocket .984 [2], TWIESN .965 [3]"),
    "italy_power_demand": Published(0.960, 0.968, "HIVE-COTE 2 .970, InceptionTime .966, WEASEL 2 .953, FreshPRINCE .898 [4]; TWIESN .871 [3]"),
    "gun_point": Published(0.965, 0.985, "HIVE-COTE 2 1.0, InceptionTime 1.0, WEASEL 2 1.0, FreshPRINCE .940 [4]; TWIESN .989 [3]"),
    "basic_motions": Published(0.975, 1.0, "TapNet 1.0, ROCKET 1.0, InceptionTime 1.0 [5]"),
    "digits": Published(0.975, 0.985, "support vector machine .97, half of the data held out [6]"),
    "spoken_digits": Published(0.980, 0.992, "none on these features and this split"),
}  # fmt: skip

SOURCES = """\
1. Karim, Majumdar, Darabi and Harford, *Multivariate LSTM-FCNs for time series classification*, 2019.
2. Dempster, Schmidt and Webb, *MiniRocket*, 2021.
3. Ismail Fawaz, Forestier, Weber, Idoumghar and Muller, *Deep learning for time series classification: a review*, 2019;
   TWIESN is the echo state network among its nine models.
4. Middlehurst, Schäfer and Bagnall, *Bake off redux*, 2024: first resample, which is the archive's own split; the files
   come with the package aeon, `aeon/testing/example_results_files`.
5. Ruiz, Flynn, Large, Middlehurst and Bagnall, *The great multivariate time series classification bake off*, 2021; TapNet:
   Zhang, Gao, Lin and Lu, 2020.
6. scikit-learn's example *Recognizing hand-written digits*.
"""


def fits(name: str, num_seeds: int) -> list[Fit]:
    """Train on train and validation together, once for each seed, and predict the test split once for each fit."""
    with examples.sequences(name) as folder:
        part = examples.training_part(folder)
        test = dataset.load(folder / "test", part.classes, part.features)
    found = []
    for seed in range(num_seeds):
        recipe = examples.recipe(name, {"train.seed": seed})
        found.append(examples.fit(part, test, recipe))
        print(f"  {name}, seed {seed}: {found[-1].accuracy:.4f}, {found[-1].cpu_seconds:.1f} s", file=sys.stderr)
    return found


def measure(out: Console, names: Sequence[str] = (), num_seeds: int = NUM_SEEDS) -> list[Figure]:
    """Print a line for each set, write the page where all were measured, and return the figures."""
    chosen = examples.named(names)
    found = {name: fits(name, num_seeds) for name in chosen}
    results = table(
        f"Accuracy on the test split, mean ± deviation over {num_seeds} seeds",
        "set", "ours", "lowest", "target", "parameters", "CPU s a fit", "beyond the defaults",
    )  # fmt: skip
    figures = []
    for name, of_set in found.items():
        published = SETS[name]
        accuracy = mean(fit.accuracy for fit in of_set)
        results.add_row(
            name, *_cells(of_set), f"{published.target:.3f} ({published.ambitious:.3f})", *_cost(of_set), _beyond(name)
        )
        figures.append(
            Figure(f"{name}: accuracy", f">= {published.target}", f"{accuracy:.4f}", accuracy >= published.target)
        )
    out.print(results)
    if chosen == list(examples.NAMES):
        PAGE.write_text(page(found), encoding="utf-8")
        out.print(f"written to {PAGE.name}")
    return figures


def page(found: Mapping[str, Sequence[Fit]]) -> str:
    """Return the results as Markdown."""
    rows = []
    for name, of_set in found.items():
        accuracy, lowest = _cells(of_set)
        rows.append(
            f"| [{name}](../examples/{name}.yaml) | {accuracy} | {lowest} | {SETS[name].others} | {' | '.join(_cost(of_set))} | {_beyond(name)} |"
        )
    num_seeds = len(next(iter(found.values())))
    return f"""\
# Real data sets

Written by `python -m benchmarks.published`. Accuracy on the test split, mean ± deviation over {num_seeds} seeds; each test split
was predicted once for each fit. One recurrent classifier per set, no ensembles, trained for a fixed number of epochs on
train and validation together. Choices were made by cross-validation on the training part
(`python -m benchmarks.cross_validation`), starting from [one set of defaults](../examples/defaults.yaml).

| set | ours | lowest | published | parameters | CPU seconds a fit | beyond the defaults |
| --- | --- | --- | --- | --- | --- | --- |
{chr(10).join(rows)}

JapaneseVowels, ItalyPowerDemand, GunPoint and BasicMotions use the archives' own splits. `digits` and `spoken_digits` have
none: a fifth of their sequences is held out by a hash of the id. The recordings of `spoken_digits` do not name their speakers,
so the same voice occurs in both parts. CPU seconds are on one thread of the machine that wrote this page. HIVE-COTE 2
and InceptionTime are ensembles of many models.

## Sources

{SOURCES}"""


def _cells(of_set: Sequence[Fit]) -> list[str]:
    accuracies = [fit.accuracy for fit in of_set]
    spread = f" ± {stdev(accuracies):.4f}" if len(accuracies) > 1 else ""
    return [f"{mean(accuracies):.4f}{spread}", f"{min(accuracies):.4f}"]


def _cost(of_set: Sequence[Fit]) -> list[str]:
    return [f"{of_set[0].num_parameters:,}", f"{mean(fit.cpu_seconds for fit in of_set):.1f}"]


def _beyond(name: str) -> str:
    return ", ".join(f"`{key}: {value}`" for key, value in examples.changes(name).items()) or "nothing"


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.published", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="SET", help=f"of {', '.join(SETS)}; all by default")
    parser.add_argument("--seeds", type=int, default=NUM_SEEDS, help="0 and so many following (default %(default)s)")
    arguments = parser.parse_args(argv)
    measure(console(), arguments.names, arguments.seeds)


if __name__ == "__main__":
    main()
