"""What an inspection found, for a person to read."""

import io
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text
from ruamel.yaml.comments import CommentedSeq

from rnnflow.advice.inspection.advice import median, time_text
from rnnflow.advice.inspection.dry_run import DryRun
from rnnflow.generation.sources.layout import PARTS
from rnnflow.runtime.yaml_text import round_trip

FORMS = {
    "long": "one row per time step",
    "sequence": "one row per sequence, all its values in one column",
    "features": "one row per sequence, a list for each feature",
    "melted": "one row for each feature of a step",
    "wide": "one row per sequence, a column for each step",
}
BAR = 30
YAML_WIDTH = 110
MAX_ROWS = 20
NUM_BINS = 10


def show(console: Console, run: DryRun, kind: str, columns: Mapping[str, str | None]) -> None:
    """Print what the files hold and what they become."""
    console.print(_overview(run, kind, columns))
    if run.profile is None or not run.num_sequences:
        return
    console.print(_features(run))
    console.print(_bars("class", run.profile.classes.most_common()))
    for title, lengths in (("recordings", run.recordings.lengths), ("sequences", run.profile.lengths)):
        if lengths and (title == "sequences" or run.params.windows):
            console.print(_bars(f"time steps of {title}", [*_histogram(lengths)]))


def show_list(console: Console, title: str, lines: Sequence[str]) -> None:
    if lines:
        console.print(Text(title, style="bold"))
        table = Table.grid(padding=(0, 1))
        for line in dict.fromkeys(lines):
            table.add_row(" -", Text(line))
        console.print(table)
        console.print()


def _overview(run: DryRun, kind: str, columns: Mapping[str, str | None]) -> Table:
    recordings, windows = run.recordings, run.params.windows
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_row("format", f"{kind}, {FORMS.get(run.form, 'not known')}")
    parts = [part for part in PARTS if part in run.parts]
    parts += ["sequence"] if run.form == "sequence" else []
    table.add_row("columns", ", ".join(f"{part}: {columns[part]}" for part in parts) or "not known")
    table.add_row("files", f"{run.num_files:,}")
    table.add_row(
        "recordings", f"{recordings.num:,} of {recordings.num_steps:,} time steps{_lengths(recordings.lengths)}"
    )
    if windows is not None:
        table.add_row("windows", f"{windows.length:g} {windows.unit}, one every {windows.stride:g}")
    if run.profile is not None:
        table.add_row("sequences", f"{run.num_sequences:,}{_lengths(run.profile.lengths)}")
    if run.groups and "group" in run.parts:
        name, classes = max(run.groups.items(), key=lambda entry: entry[1].total())
        table.add_row("groups", f"{len(run.groups):,}, the largest is {name!r} with {classes.total():,} sequences")
    if recordings.earliest is not None and recordings.latest is not None:
        gap = recordings.seconds / max(1, recordings.num_gaps)
        rate = f", a step every {gap:.4g} s" if recordings.num_gaps else ""
        table.add_row("time", f"{time_text(recordings.earliest)} to {time_text(recordings.latest)}{rate}")
    if run.given:
        table.add_row("given splits", ", ".join(f"{name} {count:,}" for name, count in sorted(run.given.items())))
    if run.is_read and run.num_sequences and not run.needs_windows:
        table.add_row("would be", ", ".join(f"{name} {classes.total():,}" for name, classes in run.splits.items()))
    return table


def _lengths(lengths: Counter[int]) -> str:
    if not lengths:
        return ""
    return f", shortest {min(lengths):,}, median {median(lengths):,}, longest {max(lengths):,} steps"


def _features(run: DryRun) -> Table:
    assert run.profile is not None
    table = Table("feature", box=box.SIMPLE)
    for heading in ("lowest", "highest", "mean", "std", "missing"):
        table.add_column(heading, justify="right")
    entries = run.profile.content()["features"]
    for name in list(entries)[:MAX_ROWS]:
        entry = entries[name]
        numbers = [entry[key] for key in ("min", "max", "mean", "std")]
        shown = ["" if number is None else f"{number:.4g}" for number in numbers]
        table.add_row(Text(name), *shown, f"{entry['missing_share']:.1%}")
    if len(entries) > MAX_ROWS:
        table.add_row(f"and {len(entries) - MAX_ROWS:,} more")
    return table


def _bars(heading: str, counts: Sequence[tuple[str, int]]) -> Table:
    table = Table(heading, box=box.SIMPLE)
    table.add_column("count", justify="right")
    table.add_column("share", justify="right")
    table.add_column("")
    total, largest = sum(count for _, count in counts), max((count for _, count in counts), default=1)
    for name, count in counts[:MAX_ROWS]:
        bar = "█" * max(1 if count else 0, round(BAR * count / max(1, largest)))
        table.add_row(Text(name), f"{count:,}", f"{count / max(1, total):.1%}", bar)
    if len(counts) > MAX_ROWS:
        rest = sum(count for _, count in counts[MAX_ROWS:])
        table.add_row(f"and {len(counts) - MAX_ROWS:,} more", f"{rest:,}", f"{rest / total:.1%}", "")
    return table


def _histogram(lengths: Counter[int]) -> Iterator[tuple[str, int]]:
    if len(lengths) <= NUM_BINS:
        yield from ((f"{length:,}", count) for length, count in sorted(lengths.items()))
        return
    edges = np.linspace(min(lengths), max(lengths) + 1, NUM_BINS + 1).astype(np.int64)
    counts, _ = np.histogram(list(lengths), edges, weights=list(lengths.values()))
    for first, stop, count in zip(edges[:-1], edges[1:], counts, strict=True):
        yield (f"{first:,}" if first == stop - 1 else f"{first:,} to {stop - 1:,}"), int(count)


def section(settings: Mapping[str, Any], by_time: Mapping[str, str] | None) -> str:
    """Return section `generate` with settings that differ from the defaults; a comment offers times to cut at."""
    yaml = round_trip()
    yaml.width = YAML_WIDTH
    yaml.indent(mapping=2, sequence=4, offset=2)
    stream = io.StringIO()
    yaml.dump({"generate": _flowing(settings)}, stream)
    lines = stream.getvalue().splitlines()
    if by_time:
        offer = {"by": "time"} | dict(by_time)
        lines += [
            "  # split:  # train on the past, judge by what came later",
            *(f"  #   {k}: {v}" for k, v in offer.items()),
        ]
    return "\n".join(lines)


def _flowing(value: Any) -> Any:
    """Return `value` with its lists on one line each."""
    if isinstance(value, Mapping):
        return {name: _flowing(entry) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        entries = CommentedSeq(value)
        entries.fa.set_flow_style()
        return entries
    return value
