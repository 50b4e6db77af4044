"""The real sets of `examples/` with their own settings; writes the second table of docs/results.md.

python -m benchmarks.published
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, stdev
from typing import Any

from rich.console import Console

from benchmarks import examples, results_page
from benchmarks.examples import Fit
from benchmarks.measuring import Figure, console, table
from rnnflow.sequences import dataset

NUM_SEEDS = 5
MAX_PARAMETERS = 60_000
MAX_CPU_SECONDS = 60


@dataclass(frozen=True)
class Published:
    """What to reach, less than what others reached."""

    target: float
    ambitious: float


SETS: Mapping[str, Published] = {
    "japanese_vowels": Published(0.975, 0.985),
    "italy_power_demand": Published(0.960, 0.968),
    "gun_point": Published(0.965, 0.985),
    "basic_motions": Published(0.975, 1.0),
    "digits": Published(0.975, 0.985),
    "spoken_digits": Published(0.980, 0.992),
}  # fmt: skip


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
    """Print a line for each set, write it to the page, and return the figures."""
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
        results_page.add("by_hand", name, _kept(name, of_set))
        figures.append(
            Figure(f"{name}: accuracy", f">= {published.target}", f"{accuracy:.4f}", accuracy >= published.target)
        )
    out.print(results)
    return figures


def _kept(name: str, of_set: Sequence[Fit]) -> dict[str, Any]:
    accuracies = [fit.accuracy for fit in of_set]
    return {
        "accuracy": mean(accuracies),
        "deviation": stdev(accuracies) if len(accuracies) > 1 else 0.0,
        "lowest": min(accuracies),
        "parameters": of_set[0].num_parameters,
        "cpu_seconds": mean(fit.cpu_seconds for fit in of_set),
        "beyond": _beyond(name),
    }


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
