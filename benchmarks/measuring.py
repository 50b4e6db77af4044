"""How every benchmark measures: alternated runs in one process, CPU time, median and quartiles."""

import argparse
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table


@dataclass(frozen=True)
class Figure:
    """A promise and what became of it."""

    name: str
    target: str
    measured: str
    is_reached: bool


@dataclass(frozen=True)
class Quartiles:
    """Of repeated measurements."""

    lower: float
    median: float
    upper: float

    @classmethod
    def of(cls, values: np.ndarray) -> "Quartiles":
        return cls(*(float(value) for value in np.quantile(values, (0.25, 0.5, 0.75))))

    def text(self, decimals: int) -> str:
        return f"{self.median:.{decimals}f} ({self.lower:.{decimals}f} to {self.upper:.{decimals}f})"


def alternated(
    functions: Mapping[str, Callable[[], object]],
    num_rounds: int,
    num_warm_up: int = 2,
    clock: Callable[[], float] = time.process_time,
) -> dict[str, np.ndarray]:
    """Call all functions in turn, round after round, and return the seconds of each call, of CPU time by default."""
    seconds = {name: np.empty(num_rounds) for name in functions}
    for round_ in range(-num_warm_up, num_rounds):
        for name, function in functions.items():
            start = clock()
            function()
            duration = clock() - start
            if round_ >= 0:
                seconds[name][round_] = duration
    return seconds


def table(title: str, *columns: str) -> Table:
    """Return an empty table: the first column holds text, the others numbers."""
    result = Table(title=title, title_justify="left")
    for index, name in enumerate(columns):
        result.add_column(name, justify="right" if index else "left")
    return result


def console() -> Console:
    """Return where tables are printed, wide enough for them where the output is no terminal."""
    terminal = Console()
    return terminal if terminal.is_terminal else Console(width=120)


def summary(figures: Iterable[Figure]) -> Table:
    """Return the promises and what became of them as a table."""
    result = table("Summary", "figure", "target", "measured", "reached")
    for figure in figures:
        reached = "yes" if figure.is_reached else "[bold red]no[/]"
        result.add_row(escape(figure.name), figure.target, figure.measured, reached)
    return result


def command(measure: Callable[..., list[Figure]], **options: bool) -> None:
    """Measure as a program that takes no arguments: asked for help, it says what it would measure for minutes."""
    parser = argparse.ArgumentParser(
        prog=f"python -m benchmarks.{Path(sys.argv[0]).stem}",
        description=sys.modules["__main__"].__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.parse_args()
    out = console()
    if figures := measure(out, **options):
        out.print(summary(figures))
