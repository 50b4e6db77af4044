"""Prediction of files: whatever stage generate reads, and Parquet of the contract, in; Parquet or CSV out."""

import hashlib
import json
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq
from rich.console import Console
from rich.progress import Progress

from rnnflow.runtime.atomic_writes import atomic_write
from rnnflow.runtime.errors import InputError
from rnnflow.serving.prediction import answers, rejects
from rnnflow.serving.prediction.answers import Recordings, Summing
from rnnflow.serving.prediction.notes import Notes
from rnnflow.serving.prediction.reading import OF_RECORDINGS, Batch, Reader, Source, find
from rnnflow.serving.prediction.rejects import Reject
from rnnflow.serving.predictor import Predictor

STANDARD_OUTPUT = "-"


@dataclass(frozen=True)
class Outcome:
    """What became of a prediction."""

    num_rows: int
    num_rejects: int
    remarks: list[str]


def predict_files(
    predictor: Predictor,
    paths: Sequence[Path],
    target: str,
    summing: Summing | None = None,
    rejects_path: Path | None = None,
) -> Outcome:
    """Write one row per sequence: `id`, `prediction` and a column `probability_<class>` for each class.

    Where files hold recordings, each row also says of which recording it is, its first and last step, and their times.
    Memory does not grow with the files. Of several files, each one's answers are kept until all are there: a run that was
    killed and is started again goes on after the last one that was finished.

    Args:
        predictor: the classifier.
        paths: files and folders.
        target: a path ending in `.parquet` or `.csv`, or `-` for CSV on standard output.
        summing: one row per recording instead, see `Recordings`.
        rejects_path: where files and sequences go that cannot be read; without it the first one ends the prediction.
            Nothing of a file that is damaged somewhere is answered.

    Raises:
        InputError: a file is damaged, has other features than the model, or misses a value that the model needs.
    """
    if target != STANDARD_OUTPUT and Path(target).suffix not in (".parquet", ".csv"):
        raise InputError(f"{target}: expected a name ending in .parquet or .csv, or - for standard output")
    if target == STANDARD_OUTPUT and rejects_path:
        raise InputError("--rejects needs a file as OUTPUT: what was printed cannot be taken back")
    reader = Reader(predictor)
    sources = [source for source in find(paths) if not reader.holds_labels(source)]
    if not sources:
        raise InputError(f"{paths[0]}: the table of labels, which holds no recordings")
    of_recordings = _all_alike(reader, sources, rejects_path is not None)
    columns = answers.schema(predictor.classes, of_recordings)
    recordings = Recordings(predictor, summing) if summing else None
    run = _Run(reader, columns, rejects_path is not None)
    with ExitStack() as stack:
        shards = stack.enter_context(_shards(Path(target), _needs_shards(sources, target, rejects_path)))
        found = run.through_shards(sources, shards) if shards else run.through(sources)
        write = stack.enter_context(_writer(target, recordings.schema if recordings else columns))
        num_rows = sum(map(write, _summed(found, recordings, reader.cuts) if recordings else found))
        run.check(num_rows)
    if rejects_path:
        rejects.write(rejects_path, run.notes.rejects)
    return Outcome(num_rows, len(run.notes.rejects), run.remarks())


class _Run:
    """Goes through the files; what it cannot read it collects, or refuses."""

    def __init__(self, reader: Reader, columns: pa.Schema, collects: bool) -> None:
        self.reader = reader
        self.columns = columns
        self.collects = collects
        self.notes = reader.notes
        """Of all files."""

    def through(self, sources: Sequence[Source]) -> Iterator[pa.Table]:
        for source in sources:
            yield from self._answered(source)

    def through_shards(self, sources: Sequence[Source], folder: Path) -> Iterator[pa.Table]:
        """Answer each file whose answers are not in the folder yet, and then yield those of all."""
        names = [self._shard_name(source) for source in sources]
        with _progress(len(sources)) as advance:
            for source, name in zip(sources, names, strict=True):
                if not Notes.are_kept(_notes_of(folder / name), folder / name):
                    self._write_shard(source, folder / name)
                self.notes.merge(Notes.read(_notes_of(folder / name)))
                advance()
        for name in names:
            lost = rejects.ids(Notes.read(_notes_of(folder / name)).rejects)
            with pq.ParquetFile(folder / name) as shard:
                yield from (_without(pa.Table.from_batches([batch]), lost) for batch in shard.iter_batches())

    def check(self, num_rows: int) -> None:
        if not num_rows and self.notes.num_too_short:
            raise InputError("every recording is shorter than a window of the model, so there is nothing to predict")

    def remarks(self) -> list[str]:
        unlike = self.reader.familiarity.remarks(self.notes.seen)
        lines = self.notes.remarks + [f"unlike the data that the model was trained on: {line}" for line in unlike]
        if self.notes.num_too_short:
            lines.append(f"left out {self.notes.num_too_short:,} recordings shorter than a window")
        return lines

    def _answered(self, source: Source, sets_aside: bool = False) -> Iterator[pa.Table]:
        row = 0
        for batch in _read_ahead(self.reader.read(source, sets_aside)):
            yield answers.answered(self.reader.predictor, self._accepted(source, batch, row), self.columns)
            row += len(batch.beside)

    def _accepted(self, source: Source, batch: Batch, row: int) -> Batch:
        """Return the batch without the sequences that the model refuses, because they miss a value."""
        first = self.reader.predictor.first_refused(batch.values, batch.offsets)
        if not first:
            return batch
        index, feature = first
        what = f"misses a value of {feature!r}; the model refuses missing values"
        if not self.collects:
            raise InputError(f"{source.path}: row {row + index}: id {batch.beside['id'][index].as_py()!r} {what}")
        misses = np.logical_or.reduceat(np.isnan(batch.values).any(1), batch.offsets[:-1])
        ids = batch.beside["id"].filter(pa.array(misses)).to_pylist()
        why = "misses a value; the model refuses missing values"
        self.reader.notes.rejects += [Reject(str(source.path), name, None, "", "", why) for name in ids]
        return batch.filter(~misses)

    def _write_shard(self, source: Source, path: Path) -> None:
        """Answer a file; where something cannot be read, once more without the recordings that it is in, or none at all."""
        reason = ""
        for sets_aside in (False, True) if self.collects else (False,):
            self.reader.notes = self.reader.new_notes()
            try:
                self._write_answers(path, self._answered(source, sets_aside))
                break
            except InputError as error:
                if not self.collects:
                    raise
                reason = str(error).removeprefix(f"{source.path}: ")
        else:
            self.reader.notes = self.reader.new_notes()
            self.reader.notes.rejects = [Reject(str(source.path), "", None, "", "", reason)]
            self._write_answers(path, iter(()))
        self.reader.notes.write(_notes_of(path), path)

    def _write_answers(self, path: Path, tables: Iterator[pa.Table]) -> None:
        with atomic_write(path) as temporary, pq.ParquetWriter(temporary, self.columns) as writer:
            for table in tables:
                writer.write_table(table)

    def _shard_name(self, source: Source) -> str:
        """Return a name that changes with all that decides the answers to a file.

        Of the model that is everything it says of itself: the same weights answer otherwise with another temperature,
        threshold or recipe.
        """
        status = source.path.stat()
        state = [
            *(self.reader.predictor.metadata, self.reader.predictor.engine, self.columns.names, self.collects),
            *(str(source.path.absolute()), str(source.below), status.st_size, status.st_mtime_ns),
        ]
        return hashlib.sha256(json.dumps(state, sort_keys=True).encode()).hexdigest()[:32] + ".parquet"


def _read_ahead(batches: Iterator[Batch]) -> Iterator[Batch]:
    """Yield batches, the next of which is read in a thread meanwhile."""
    with ThreadPoolExecutor(1) as pool:
        following = pool.submit(next, batches, None)
        while (batch := following.result()) is not None:
            following = pool.submit(next, batches, None)
            yield batch


def _without(answers: pa.Table, lost: pa.Array) -> pa.Table:
    """Return answers without those to recordings that are lost, or to sequences without an id of their own."""
    if not len(lost):
        return answers
    names = answers["recording" if "recording" in answers.column_names else "id"]
    rows = pc.replace_substring_regex(names, r"^.*(#\d+)$", r"\1")
    return answers.filter(pc.invert(pc.or_(pc.is_in(names, lost), pc.is_in(rows, lost))))


def _notes_of(shard: Path) -> Path:
    return shard.with_suffix(".json")


def _all_alike(reader: Reader, sources: Sequence[Source], collects: bool) -> bool:
    """Return whether the files hold recordings, and not sequences of the contract."""
    kinds: dict[bool, Source] = {}
    for source in sources:
        try:
            kinds.setdefault(reader.finds_recordings(source), source)
        except InputError:
            if not collects:
                raise
    if len(kinds) > 1:
        raise InputError(
            f"{kinds[True].path} holds recordings and {kinds[False].path} sequences that were already cut; predict them apart"
        )
    return True in kinds


def _summed(found: Iterator[pa.Table], recordings: Recordings, are_cut: bool) -> Iterator[pa.Table]:
    for table in found:
        if "recording" not in table.column_names:  # sequences of the contract: what windows are called says it
            names = pc.replace_substring_regex(table["id"], "@[^@]*$", "") if are_cut else table["id"]
            for field in OF_RECORDINGS:
                table = table.append_column(
                    field, names if field.name == "recording" else pa.nulls(len(table), field.type)
                )
        recordings.add(table)
    yield from recordings.tables()


def _needs_shards(sources: Sequence[Source], target: str, rejects_path: Path | None) -> bool:
    """Return whether the answers to each file are kept apart at first: to go on after a kill, or to take them back."""
    return target != STANDARD_OUTPUT and (len(sources) > 1 or rejects_path is not None)


@contextmanager
def _shards(target: Path, are_needed: bool) -> Iterator[Path | None]:
    """Yield the folder that keeps the answers to each file until all are there; removed when the block ends well."""
    if not are_needed:
        yield None
        return
    folder = target.with_name(f".{target.name}.parts")
    folder.mkdir(parents=True, exist_ok=True)
    yield folder
    shutil.rmtree(folder)


@contextmanager
def _writer(target: str, columns: pa.Schema) -> Iterator[Callable[[pa.Table], int]]:
    """Yield what writes a table and returns its number of rows."""
    with ExitStack() as stack:
        if target == STANDARD_OUTPUT:
            writer = stack.enter_context(pyarrow.csv.CSVWriter(sys.stdout.buffer, columns))
        else:
            temporary = stack.enter_context(atomic_write(Path(target)))
            kind = pyarrow.csv.CSVWriter if target.endswith(".csv") else pq.ParquetWriter
            writer = stack.enter_context(kind(temporary, columns))

        def write(table: pa.Table) -> int:
            writer.write_table(table)
            return len(table)

        yield write


@contextmanager
def _progress(num_files: int) -> Iterator[Callable[[], None]]:
    bar = Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty())
    with bar:
        task = bar.add_task("files", total=num_files)
        yield lambda: bar.advance(task)
