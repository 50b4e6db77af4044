"""Reads all files as stage generate does, with the same checks, and writes nothing."""

import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
from rich.console import Console
from rich.progress import Progress

from rnnflow.advice.inspection.recordings import Recordings
from rnnflow.advice.inspection.variation import Amplitudes, Smoothness
from rnnflow.generation.build import DatasetBuilder
from rnnflow.generation.drift import Profile
from rnnflow.generation.shards import ShardWriter
from rnnflow.generation.sources.cutting import NeedsWindowsError, sequences
from rnnflow.generation.sources.files import cutter_of, open_all
from rnnflow.generation.sources.opened_file import OpenedFile
from rnnflow.generation.sources.source_file import SourceFile
from rnnflow.generation.splitting import SPLITS, UNASSIGNED, SplitIndices
from rnnflow.params.generate import GenerateParams
from rnnflow.runtime.errors import InputError


class CountingWriter(ShardWriter):
    """Counts the sequences that a writer of shards would write."""

    def add(self, table: pa.Table, splits: SplitIndices) -> None:
        for split in self.folders:
            rows = table.filter(pa.array(splits == split))
            self.num_rows[split] += len(rows)
            self.num_labels[split].update(_counts(rows["label"]))


@dataclass
class DryRun:
    """What the files hold, and what stage generate would make of them."""

    params: GenerateParams
    builder: DatasetBuilder
    """What took in the sequences."""
    recordings: Recordings = field(default_factory=Recordings)
    num_files: int = 0
    form: str = ""
    features: tuple[str, ...] = ()
    parts: tuple[str, ...] = ()
    amplitudes: Amplitudes | None = None
    """Of all sequences."""
    smoothness: Smoothness | None = None
    splits: dict[str, Counter[str]] = field(default_factory=dict)
    """Sequences of each class, by split."""
    groups: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    """Sequences of each class, by group."""
    given: Counter[str] = field(default_factory=Counter)
    """Sequences by the split that the data gives."""
    problem: str | None = None
    """Why stage generate would refuse the files."""
    needs_windows: bool = False
    """The problem is a recording that is too long, or whose label changes."""
    is_read: bool = False
    """Nothing is wrong with the files, though there may be with the splits."""
    remarks: list[str] = field(default_factory=list)
    _starts: list[np.ndarray] = field(default_factory=list)
    _ends: list[np.ndarray] = field(default_factory=list)

    @property
    def profile(self) -> Profile | None:
        """Of all sequences."""
        return self.builder.new

    @property
    def num_sequences(self) -> int:
        return self.profile.num_sequences if self.profile else 0

    @property
    def num_duplicates(self) -> int:
        return self.builder.leaks.num_duplicates

    @property
    def spans(self) -> tuple[np.ndarray, np.ndarray]:
        """First and last times of the sequences, in microseconds; empty where there are no times."""
        return _joined(self._starts), _joined(self._ends)

    def watch(self, tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
        """Pass tables of sequences on and take note of them."""
        for table in tables:
            self.amplitudes = self.amplitudes or Amplitudes(self.features)
            self.smoothness = self.smoothness or Smoothness(len(self.features))
            values = table["sequence"].combine_chunks()
            self.amplitudes.add(values)
            self.smoothness.add(values)
            if "group" in table.schema.names:
                pairs = table.select(["group", "label"]).group_by(["group", "label"]).aggregate([([], "count_all")])
                for row in pairs.to_pylist():
                    self.groups[row["group"]][row["label"]] += row["count_all"]
            if "split" in table.schema.names:
                self.given.update(_counts(table["split"]))
            if "time" in table.schema.names:
                self._starts.append(table["time"].cast(pa.int64()).to_numpy())
                self._ends.append(table["end"].to_numpy())
            yield table


def dry_run(paths: Sequence[Path], raw: Path, params: GenerateParams) -> DryRun:
    """Return what stage generate would find in the files at `paths`."""
    builder = DatasetBuilder(params, dict.fromkeys((*SPLITS, "unassigned"), raw), {})
    builder.writer = CountingWriter(dict.fromkeys((*range(len(SPLITS)), UNASSIGNED), raw), params.shard_rows)
    found = DryRun(params, builder)
    try:
        for path, opened in open_all(_shown(paths), raw, params.files):
            if not found.num_files:
                found.form, found.features, found.parts = opened.form, opened.features, opened.parts
            found.num_files += 1
            _take(found, builder, path, path.relative_to(raw).as_posix(), opened)
        found.is_read = True
        if found.problem is None:
            builder.finish()
    except InputError as error:
        found.problem, found.needs_windows = str(error), False
    found.splits = {split: builder.writer.class_counts[split] for split in SPLITS}
    if found.problem is None:
        found.remarks += builder.remarks()
    elif found.profile is not None:
        found.remarks += builder.unusual.remarks(found.profile.classes)
    return found


def _take(found: DryRun, builder: DatasetBuilder, path: Path, name: str, opened: OpenedFile) -> None:
    """Take in a file, or once recordings turned out to need windows, look at them only."""
    cutter = cutter_of(opened, found.params.files, found.params.windows)
    chunks = found.recordings.watch(opened.chunks)
    if not found.needs_windows:
        try:
            watched = found.watch(sequences(chunks, cutter))
            builder.take(SourceFile(name, str(path), watched, cutter=cutter))
        except NeedsWindowsError as error:
            found.problem, found.needs_windows = str(error), True
    for _ in chunks:
        pass


def _shown(paths: Sequence[Path]) -> Iterator[Path]:
    """Yield the paths and show on a terminal how far their files are read."""
    with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar:
        total = sum(path.stat().st_size for path in paths) if len(paths) > 1 else None
        task = bar.add_task("reading", total=total)
        for path in paths:
            yield path
            bar.advance(task, path.stat().st_size)


def _counts(column: pa.ChunkedArray) -> dict[str, int]:
    return {entry["values"]: entry["counts"] for entry in column.value_counts().to_pylist()}


def _joined(parts: list[np.ndarray]) -> np.ndarray:
    return np.concatenate(parts) if parts else np.empty(0, dtype=np.int64)
