"""Files read as a model's recipe says: sequences as the model was trained on, and which steps of what they are."""

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import ValidationError

from rnnflow.generation.drift import Profile
from rnnflow.generation.sources.columns import TIME_SINCE_LAST_STEP
from rnnflow.generation.sources.cutting import sequences
from rnnflow.generation.sources.files import cutter_of, files_of, one_a_folder, open_file
from rnnflow.params.generate import FilesParams, Recipe
from rnnflow.params.section import in_one_line
from rnnflow.runtime.array_types import Bool, Float32, Int64
from rnnflow.runtime.errors import InputError
from rnnflow.sequences.parquet import TYPES, SequenceFile, is_contract
from rnnflow.sequences.parquet_bounds import open_footer
from rnnflow.sequences.parquet_metadata import recipe_of
from rnnflow.serving.prediction.familiarity import Familiarity
from rnnflow.serving.prediction.notes import Notes
from rnnflow.serving.prediction.rejects import Reject
from rnnflow.serving.predictor import Predictor

TIME = TYPES["time"]
OF_RECORDINGS = pa.schema(
    [("recording", pa.string()), ("first_step", pa.int64()), ("last_step", pa.int64()), ("start", TIME), ("end", TIME)]
)
"""Which steps of which recording a sequence is; the times are null where there are none."""


class _UnlabelledFiles(FilesParams):
    ignored: ClassVar[Collection[str]] = ("label", "group", "split")


@dataclass(frozen=True)
class Source:
    """A file to read, and its path below the folder that was named, which may say its id."""

    path: Path
    below: Path


@dataclass(frozen=True)
class Batch:
    """Sequences that stand one after another in `values`."""

    beside: pa.Table
    """Their `id`, and where the file holds recordings, `OF_RECORDINGS`."""
    values: Float32[np.ndarray, "steps feature"]
    offsets: Int64[np.ndarray, " sequence_plus_one"]

    def filter(self, is_kept: Bool[np.ndarray, " sequence"]) -> "Batch":
        """Return some of the sequences."""
        lengths = np.diff(self.offsets)
        offsets = np.concatenate(([0], np.cumsum(lengths[is_kept])))
        return Batch(self.beside.filter(pa.array(is_kept)), self.values[np.repeat(is_kept, lengths)], offsets)


def find(paths: Sequence[Path]) -> list[Source]:
    """Return the files that are named, and those of a known format in folders that are.

    Raises:
        InputError: a path leads nowhere, or a folder holds none.
    """
    found = []
    for path in paths:
        if not path.exists():
            raise InputError(f"{path}: no such file")
        base = path if path.is_dir() else path.parent
        files = sorted(files_of(path, base))
        if not files:
            raise InputError(f"{path}: no file of a known format in this folder")
        found += [Source(file, file.relative_to(base)) for file in files]
    known = {source.path: source for source in found}
    return [known[path] for path in one_a_folder(list(known))]


class Reader:
    """Reads files for one model.

    Args:
        predictor: the model.

    Raises:
        InputError: its recipe is of a later version of this program.
    """

    def __init__(self, predictor: Predictor) -> None:
        self.predictor = predictor
        self.familiarity = Familiarity(predictor.features, predictor.metadata["profile"])
        self.notes = self.new_notes()
        """Of what was read; whoever wants them file by file gives new ones before each."""
        self._content = predictor.metadata["recipe"]
        self._recipe = recipe_of_model(predictor)
        self._files = _reading_params(self._recipe.files, predictor.features)

    def new_notes(self) -> Notes:
        return Notes(Profile(self.predictor.features))

    def holds_labels(self, source: Source) -> bool:
        """Whether the file is the table of labels that the model was trained with."""
        labels = self._recipe.files.labels
        return labels is not None and source.below.as_posix() == labels.path

    @property
    def cuts(self) -> bool:
        """Whether the model was trained on windows."""
        return self._recipe.windows is not None

    def finds_recordings(self, source: Source) -> bool:
        """Whether the file holds recordings, which still have to be cut; else sequences of the Parquet contract.

        Raises:
            InputError: it does not hold sequences, and the model has no recipe for anything else.
        """
        if source.path.suffix.lower() not in (".parquet", ".pq"):
            if self._content is None:
                raise InputError(f"{source.path}: {_WITHOUT_RECIPE}")
            return True
        if not self._content:  # what the defaults read from a table of the contract is the table itself
            schema = open_footer(source.path).schema
            return bool(self._content is not None and not is_contract(schema))
        return recipe_of(open_footer(source.path).schema.metadata) is None

    def read(self, source: Source, sets_aside: bool = False) -> Iterator[Batch]:
        """Yield the sequences of a file in order.

        Args:
            source: the file.
            sets_aside: go on behind rows that cannot be read; their recordings are among the rejects, and so have to be
                taken out of what is yielded.

        Raises:
            InputError: it is damaged, or does not hold what the model needs.
        """
        try:
            yield from (
                self._recordings(source, sets_aside) if self.finds_recordings(source) else self._sequences(source)
            )
        except InputError as error:
            raise InputError(_of_recipe(str(error))) from None

    def _sequences(self, source: Source) -> Iterator[Batch]:
        file = SequenceFile.open(source.path, self.predictor.features, needs_label=False)
        self._check_features(source, file.features)
        if not file.names_its_features:
            self.notes.remarks.append(f"{source.path} does not name its features, taken as {', '.join(file.features)}")
        for batch in file.batches(["id", "sequence"]):
            table = pa.Table.from_batches([batch])
            self.familiarity.look_at(table, source.path, self.notes.seen)
            yield _batch(table, len(file.features), table.select(["id"]))

    def _recordings(self, source: Source, sets_aside: bool) -> Iterator[Batch]:
        take = lambda row: self.notes.rejects.append(Reject(str(source.path), *row))  # noqa: E731
        opened = open_file(source.path, source.below, self._files, take if sets_aside else None)
        self._check_features(source, opened.features)
        cutter = cutter_of(opened, self._files, self._recipe.windows)
        for number, table in enumerate(sequences(opened.chunks, cutter)):
            if number == 0 and opened.form == "wide" and not self._recipe.windows:
                self._check_steps(source, self.familiarity.other_steps(table))
            self.familiarity.look_at(table, source.path, self.notes.seen)
            yield _batch(table, len(opened.features), _described(table, len(opened.features)))
        self.notes.num_too_short += cutter.num_left_out

    def _check_steps(self, source: Source, unlike: str | None) -> None:
        if unlike and self._files.names == "numbered":  # nothing but its place says what a column is
            raise InputError(
                f"{source.path}: {unlike}; without names, columns need the same places, that of the class included"
            )
        self.notes.remarks += [f"{source.path}: {unlike}"] if unlike else []

    def _check_features(self, source: Source, features: tuple[str, ...]) -> None:
        if features != self.predictor.features:
            raise InputError(
                f"{source.path}: features {', '.join(features)}, the model expects {', '.join(self.predictor.features)}"
            )


_WITHOUT_RECIPE = (
    "the model does not say how files become sequences: its parts 'recipe' and 'profile' are missing, for it was exported "
    "by an earlier version; it takes Parquet files with the columns id and sequence, or export it again"
)


def _of_recipe(message: str) -> str:
    """Return a message of a reader without advice on params: what a model reads is settled."""
    advice = re.compile(r"(; [^;]*\bgenerate\.[^;]*)+$")
    told = advice.sub("; write the file as those that the model was trained on", message)
    return told.replace("generate.files", "the model's recipe")


def recipe_of_model(predictor: Predictor) -> Recipe:
    """Return how files become sequences for a model; by the defaults, where it does not say.

    Raises:
        InputError: the recipe is of a later version of this program.
    """
    try:
        return Recipe.model_validate(predictor.metadata["recipe"] or {})
    except ValidationError as error:
        raise InputError(
            f"the model's recipe is not one that this version of rnnflow knows: {in_one_line(error)}"
        ) from None


def _reading_params(files: FilesParams, features: tuple[str, ...]) -> FilesParams:
    """Return how files are read for a model: no labels, and its features by their names."""
    content = files.model_dump(exclude={"labels"})
    if not (files.layout == "wide" and files.features is None):  # whose steps may be called anything
        content["features"] = [
            name for name in features if not (files.time_since_last_step and name == TIME_SINCE_LAST_STEP)
        ]
    return _UnlabelledFiles.model_validate(content)


def _batch(table: pa.Table, num_features: int, beside: pa.Table) -> Batch:
    column = table["sequence"].combine_chunks()
    values = column.flatten().to_numpy().reshape(-1, num_features)
    lengths = pc.list_value_length(column).to_numpy(zero_copy_only=False) // num_features
    return Batch(beside, values, np.concatenate(([0], np.cumsum(lengths, dtype=np.int64))))


def _described(table: pa.Table, num_features: int) -> pa.Table:
    """Return `id` and `OF_RECORDINGS`: a recording that was not cut is a sequence from its first step to its last."""
    none = pa.nulls(len(table), TIME)
    is_cut = "recording" in table.column_names
    lengths = pc.divide(pc.list_value_length(table["sequence"]), num_features).cast(pa.int64())
    columns = {
        "id": table["id"],
        "recording": table["recording"] if is_cut else table["id"],
        "first_step": table["first_step"] if is_cut else pa.array(np.zeros(len(table), np.int64)),
        "last_step": pc.subtract(table["stop_step"] if is_cut else lengths, 1),
        "start": table["time"] if "time" in table.column_names else none,
        "end": table["end"].cast(TIME) if "end" in table.column_names else none,
    }
    return pa.table(columns)
