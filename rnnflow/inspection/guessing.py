"""Which column plays which part, by its name, its type and what the first rows hold."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from rnnflow.generation.sources.columns import holds_numbers, is_list, is_text
from rnnflow.generation.splitting import GIVEN_NAMES
from rnnflow.inspection import series
from rnnflow.inspection.excerpt import Excerpt
from rnnflow.inspection.names import INDEX_NAMES, SYNONYMS, forms_of, is_strong
from rnnflow.inspection.times import are_times, repeat, rise, unit_of
from rnnflow.params.generate import ColumnNames
from rnnflow.runtime.errors import InputError

MAX_LIKELY_CLASSES = 50
OFTEN = 0.5
"""Share of the rows in which a counter counts on."""
DEFAULTS = {name: str(entry.default) for name, entry in ColumnNames.model_fields.items()}


@dataclass(frozen=True)
class Wishes:
    """What a person said instead of leaving it to a guess."""

    columns: Mapping[str, str | None] = field(default_factory=dict)
    """By part; none where it is not to be read."""
    features: Sequence[str] | None = None
    delimiter: str | None = None

    def __post_init__(self) -> None:
        if self.delimiter is not None and len(self.delimiter) != 1:
            raise InputError(f"--delimiter {self.delimiter!r}: expected one character")


@dataclass
class Guess:
    """What would stand in `generate.files`, and why."""

    columns: dict[str, str | None] = field(default_factory=dict)
    """By part, those with their default names included."""
    features: list[str] | None = None
    time_unit: str = "s"
    layout: str = "auto"
    missing: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def section(self) -> dict[str, Any]:
        """Return `generate.files`, without what has its default."""
        renamed = {part: name for part, name in self.columns.items() if name != DEFAULTS[part]}
        found = {
            "columns": {part: renamed[part] for part in DEFAULTS if part in renamed},
            "features": self.features,
            "layout": self.layout if self.layout != "auto" else None,
            "missing": self.missing,
            "time_unit": self.time_unit if self.time_unit != "s" else None,
        }
        return {name: value for name, value in found.items() if value}


def guess(
    excerpt: Excerpt, of_paths: Mapping[str, str], num_files: int, wishes: Wishes, has_label_table: bool = False
) -> Guess:
    """Return which column plays which part.

    Args:
        excerpt: of the first file.
        of_paths: parts that the files' paths can play, by part.
        num_files: that there are.
        wishes: come before any guess.
        has_label_table: the classes are in a table of their own.
    """
    if excerpt.kind in ("ts", "ARFF") or excerpt.names_features:
        return Guess(dict(wishes.columns), list(wishes.features) if wishes.features else None)
    steps = {} if wishes.features else series.steps_in(excerpt)
    if steps:
        excerpt = series.collapsed(excerpt, steps)
    found = _Guesser(excerpt, of_paths, num_files, wishes, has_label_table).guess()
    if steps:
        series.describe(found, excerpt, steps)
    return found


class _Guesser:
    def __init__(
        self, excerpt: Excerpt, of_paths: Mapping[str, str], num_files: int, wishes: Wishes, has_label_table: bool
    ) -> None:
        self.excerpt = excerpt
        self.table = excerpt.table
        self.of_paths = of_paths
        self.num_files = num_files
        self.wishes = wishes
        self.found = Guess(dict(wishes.columns))
        self.not_read: str | None = None
        """A column of times that do not rise."""
        if has_label_table:
            self.found.columns.setdefault("label", DEFAULTS["label"])

    def guess(self) -> Guess:
        if self.excerpt.has_lists and "sequence" not in self.found.columns:
            self._find_sequence()
        for part in ("split", "time", "group", "label", "id"):
            if part not in self.found.columns and (name := self._named(part)) is not None:
                self.found.columns[part] = name
        self._fill_by_content()
        if (time := self.found.columns.get("time")) is not None:
            self.found.time_unit = unit_of(time, self.table)
            if "time" not in self.wishes.columns:
                self._leave_out_repeated_times(time)
        self._find_features()
        return self.found

    def _leave_out_repeated_times(self, name: str) -> None:
        if name not in self.table.column_names or not repeat(self.table[name], self._changes()):
            return
        self.not_read = name
        if name == DEFAULTS["time"]:
            self.found.columns["time"] = None
        else:
            del self.found.columns["time"]
        self.found.remarks.append(f"steps of one recording have the same time in column {name!r}, so it is not read")

    @property
    def _free(self) -> list[str]:
        taken = {*self.found.columns.values(), *(self.wishes.features or ())}
        return [name for name in self.table.column_names if name not in taken]

    def _find_sequence(self) -> None:
        """Take a column as the sequences where its name or its lists of lists say so, or arrays leave no other form."""
        lists = [name for name in self._free if is_list(self.table[name].type) and holds_numbers(self.table[name].type)]
        nested = [name for name in lists if _is_nested(self.table[name].type)]
        named = self._first_named("sequence", lists)
        if DEFAULTS["sequence"] in lists:
            self.found.columns["sequence"] = DEFAULTS["sequence"]
        elif nested or (lists and self.excerpt.kind == "NumPy"):
            self.found.columns["sequence"] = named if named in nested else (nested or [named or lists[0]])[0]

    def _named(self, part: str) -> str | None:
        fitting = [name for name in self._free if self._fits(part, name)]
        default = DEFAULTS[part]
        if default in self.table.column_names and default in self._free and (part != "split" or default in fitting):
            return default
        if part == "id":
            fitting = [name for name in fitting if self._stands_together(name)] or fitting
        return self._first_named(part, fitting)

    def _first_named(self, part: str, names: Sequence[str]) -> str | None:
        for are_exact in (True, False):
            for word in SYNONYMS[part]:
                for name in names:
                    if word in forms_of(name, part)[: 1 if are_exact else None]:
                        return name
        return None

    def _fits(self, part: str, name: str) -> bool:
        column = self.table[name]
        if part == "time":
            return are_times(column) and (is_strong(name) or rise(column, self._changes()))
        if part == "split":
            return is_text(column.type) and all(entry.lower() in GIVEN_NAMES for entry in _distinct(column))
        if part == "label" and name.lower() == "y" and not self.excerpt.has_lists and self._has_x:
            return False
        is_number_text = part == "label" and self.excerpt.kind in ("CSV", "NumPy") and pa.types.is_floating(column.type)
        return _is_category(column.type) or is_number_text

    @property
    def _has_x(self) -> bool:
        return any(name.lower() == "x" for name in self.table.column_names)

    def _changes(self) -> np.ndarray | None:
        """Return where a row belongs to another recording than the row above, as far as a name says it."""
        name = self.found.columns.get("id") or self._first_named("id", self._categories())
        if name is None or name not in self.table.column_names:
            return None
        codes = _codes(self.table[name])
        return np.diff(codes) != 0

    def _categories(self) -> list[str]:
        return [name for name in self._free if _is_category(self.table[name].type)]

    def _fill_by_content(self) -> None:
        columns = self.found.columns
        for part in ("split", "group"):
            if part in self.of_paths:
                columns.setdefault(part, self.of_paths[part])
        if "time" not in columns:
            stamps = [name for name in self._free if pa.types.is_temporal(self.table[name].type)]
            columns.update({"time": stamps[0]} if stamps else {})
        if columns.get("split") is not None and columns["split"] == self.of_paths.get("split"):
            self.found.remarks.append(f"names of files or folders, {columns['split']}, are taken as given splits")
        if "label" not in columns:
            columns["label"] = self._label()
        if "id" not in columns:
            columns["id"] = self._id()
        group = columns.get("group")
        says_nothing = group == columns["id"] or (group == "path[-1]" and columns["id"] == "path")
        if group is not None and says_nothing and "group" not in self.wishes.columns:
            del columns["group"]

    def _label(self) -> str:
        if "label" in self.of_paths:
            return self.of_paths["label"]
        if (name := self._first_named("label", list(self.excerpt.shapes))) is not None:
            return name  # of a shape that is refused with a line
        kinds = [
            name
            for name in self._categories()
            if (self.excerpt.has_lists or not _is_integer(self.table[name].type))
            and not _has_decimal_commas(self.table[name])
        ]
        counts = {name: len(_distinct(self.table[name])) for name in kinds}
        likely = {name: count for name, count in counts.items() if 1 <= count <= MAX_LIKELY_CLASSES}
        if likely:
            return min(likely, key=lambda name: (likely[name] < 2, likely[name]))
        has_id = "id" in self.found.columns or any(self._stands_together(name) for name in kinds)
        return "path[-1]" if self.num_files > 1 and has_id else DEFAULTS["label"]

    def _id(self) -> str:
        texts = [
            name
            for name in self._categories()
            if is_text(self.table[name].type) or (self.excerpt.has_lists and _is_integer(self.table[name].type))
        ]
        counts = {name: len(_distinct(self.table[name])) for name in texts if self._stands_together(name)}
        found = max(counts, key=lambda name: counts[name], default=None)
        if found is not None and counts[found] > 1:
            return found
        group = self.found.columns.get("group")
        if (
            group is not None
            and group in self.table.column_names
            and not self.excerpt.has_lists
            and len(_distinct(self.table[group])) > 1
        ):
            return group
        return DEFAULTS["id"] if self.excerpt.kind == "NumPy" else "path"

    def _stands_together(self, name: str) -> bool:
        """Return whether each entry's rows follow one another, in a table of sequences whether no entry recurs."""
        codes = _codes(self.table[name])
        num_runs = len(codes) if self.excerpt.has_lists else np.count_nonzero(np.diff(codes)) + 1
        return len(codes) > 0 and int(num_runs) == len(np.unique(codes))

    def _find_features(self) -> None:
        if self.wishes.features:
            self.found.features = list(self.wishes.features)
            return
        if (sequence := self.found.columns.get("sequence")) is not None:
            self.found.features = self._names_of_sequence(sequence)
            return
        reasons = {name: self._why_no_feature(name) for name in self._free}
        features = [name for name, reason in reasons.items() if reason is None]
        if features and len(features) < len(reasons):
            self.found.features = features
        for name, reason in reasons.items():
            if reason is not None:
                self.found.remarks.append(f"column {name!r} is no feature: {reason}; --features takes it")
        for name in self.found.features or features:
            if name in self.excerpt.impure:
                self.found.remarks.append(self.excerpt.impure[name])
                self.found.missing += [
                    text for text in self.excerpt.placeholders[name] if text not in self.found.missing
                ]

    def _names_of_sequence(self, name: str) -> list[str] | None:
        """Return names for the features of a column that cannot say them itself."""
        if name not in self.table.column_names or self.excerpt.kind == "NumPy":
            return None
        kind = self.table[name].type
        if isinstance(kind, pa.FixedShapeTensorType) or not is_list(kind):
            return None
        if not is_list(kind.value_type):
            self.found.remarks.append(f"column {name!r} is taken as one feature; --features names them if it has more")
            return ["value"]
        if pa.types.is_fixed_size_list(kind.value_type):
            return None
        row = next((row for row in self.table[name].to_pylist() if row), [[0.0]])
        return [f"feature_{index}" for index in range(len(row[0]))]

    def _why_no_feature(self, name: str) -> str | None:
        column = self.table[name]
        if name.lower() in INDEX_NAMES:
            return "it numbers the rows"
        if name == self.not_read:
            return "it is a time"
        if _has_decimal_commas(column):
            return "its decimals have commas, write points"
        if not holds_numbers(column.type):
            return f"it is {'text' if is_text(column.type) else column.type}"
        if self.excerpt.has_lists != is_list(column.type):
            return "it has one number for a whole sequence"
        if is_strong(name):
            return "of its name"
        if is_list(column.type):
            return None
        if self._repeats_label(name):
            return "it repeats the label"
        return self._how_it_counts(name) if _is_integer(column.type) else None

    def _repeats_label(self, name: str) -> bool:
        label = self.found.columns["label"]
        if label not in self.table.column_names or not _is_integer(self.table[name].type):
            return False
        labels, codes = _codes(self.table[label]), _codes(self.table[name])
        num_labels = len(np.unique(labels))
        pairs = np.unique(np.stack([labels, codes]), axis=1).shape[1]
        return num_labels > 1 and pairs == num_labels == len(np.unique(codes))

    def _how_it_counts(self, name: str) -> str | None:
        """Return whether a column rises by one from row to row, within recordings or again and again."""
        values = self.table[name].fill_null(0).to_numpy().astype(np.int64)
        if len(values) < 3:
            return None
        rises = np.diff(values) == 1
        identity = self.found.columns["id"]
        begins = np.diff(_codes(self.table[identity])) != 0 if identity in self.table.column_names else np.False_
        restarts = ~(rises | begins)
        if rises.any() and not restarts.any():
            return "it counts the rows"
        starts = np.flatnonzero(restarts) + 1
        again = np.unique(values[starts])
        if rises.mean() < OFTEN or len(again) > 1 or again[0] not in (0, 1, values[0]):
            return None
        if identity == self.found.columns.get("label"):
            return "it counts the rows"
        return (
            f"it counts the rows and starts again {len(starts):,} times within recordings, first in row {starts[0] + 1:,}; "
            "does a recording begin there? --id names the column that says it"
        )


def _is_category(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(is_text(kind) or _is_integer(kind) or pa.types.is_boolean(kind))


def _is_integer(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind))


def _is_nested(kind: pa.DataType) -> bool:
    if isinstance(kind, pa.FixedShapeTensorType):
        return len(kind.shape) > 1
    return is_list(kind.value_type)


def _has_decimal_commas(column: pa.ChunkedArray) -> bool:
    first = next((entry for entry in column.slice(0, 100).to_pylist() if entry), None)
    return isinstance(first, str) and re.fullmatch(r"\s*[+-]?\d+,\d+\s*", first) is not None


def _codes(column: pa.ChunkedArray) -> np.ndarray:
    column = column.combine_chunks()
    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    return column.indices.fill_null(-1).to_numpy(zero_copy_only=False)


def _distinct(column: pa.ChunkedArray) -> list[str]:
    return [str(entry) for entry in pc.unique(column).to_pylist() if entry is not None]
