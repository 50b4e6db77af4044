"""Which column plays which part, by its name, its type and what the first rows hold."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from rnnflow.advice.inspection import melted, series
from rnnflow.advice.inspection.column_kinds import (
    distinct,
    has_decimal_commas,
    is_category,
    is_nested,
    is_whole,
)
from rnnflow.advice.inspection.features import MAX_LIKELY_CLASSES, find_features
from rnnflow.advice.inspection.guess import DEFAULTS, Guess, UserHints
from rnnflow.advice.inspection.names import SYNONYMS, forms_of, is_strong
from rnnflow.advice.inspection.sample import Sample
from rnnflow.advice.inspection.times import are_times, doubt, format_of, repeat, rise, unit_of
from rnnflow.generation.sources.values import codes, holds_numbers, is_list, is_text
from rnnflow.generation.splitting import GIVEN_NAMES


def guess(sample: Sample, of_paths: Mapping[str, str], num_files: int, hints: UserHints) -> Guess:
    """Return which column plays which part, in one of several files; what a person said comes before any guess."""
    if sample.kind in ("ts", "ARFF") or sample.names_features:
        return Guess(dict(hints.columns), list(hints.features) if hints.features else None)
    steps = {} if hints.features else series.steps_in(sample, hints.columns.values())
    of_rows = {} if steps or hints.features else melted.parts_of_rows(sample)
    if steps:
        found = _Guesser(series.collapsed(sample, steps), of_paths, num_files, hints).guess()
        series.describe(found, sample, steps)
    elif of_rows:
        found = _Guesser(melted.of_one_feature(sample, of_rows), of_paths, num_files, hints).guess()
        melted.describe(found, sample, of_rows)
    else:
        found = _Guesser(sample, of_paths, num_files, hints).guess()
    found.remarks += melted.doubt(found, sample)
    return found


@dataclass
class _Guesser:
    sample: Sample
    of_paths: Mapping[str, str]
    num_files: int
    hints: UserHints
    not_read: str | None = None
    """A column of times that do not rise."""

    def __post_init__(self) -> None:
        self.table = self.sample.table
        self.found = Guess(dict(self.hints.columns))

    def guess(self) -> Guess:
        if self.sample.has_lists and "sequence" not in self.found.columns:
            self._find_sequence()
        elif self.sample.kind == "NumPy" and (name := self._first_named("sequence", list(self.sample.shapes))):
            self.found.columns.setdefault("sequence", name)  # of a kind that is refused with a line
        for part in ("split", "time", "group", "label", "id"):
            if part not in self.found.columns and (name := self._named(part)) is not None:
                self.found.columns[part] = name
        self._fill_by_content()
        self._trim_labels()
        if (time := self.found.columns.get("time")) is not None:
            self.found.time_unit = self.hints.time_unit or unit_of(time, self.table)
            self.found.time_format = self.hints.time_format or format_of(time, self.table)
            if self.found.time_format is None:
                self.found.remarks += doubt(time, self.found.time_unit, self.table)
            elif "%d" not in self.found.time_format:
                self.found.remarks.append(f"the times of column {time!r} say no date and are counted from 1970")
            if "time" not in self.hints.columns:
                self._leave_out_repeated_times(time)
        if self.hints.features:
            self.found.features = list(self.hints.features)
        else:
            find_features(self.sample, self.found, self._free, self.not_read)
        return self.found

    def _trim_labels(self) -> None:
        """Take the blanks that stand behind each comma of a file for none of the labels' own."""
        name = self.found.columns["label"]
        is_column = name in self.table.column_names and is_text(self.table[name].type)
        labels = distinct(self.table[name]) if is_column else []
        self.found.trim_labels = bool(labels) and all(label.startswith(" ") for label in labels)

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
        taken = {*self.found.columns.values(), *(self.hints.features or ())}
        return [name for name in self.table.column_names if name not in taken]

    def _find_sequence(self) -> None:
        """Take a column as the sequences where its name or its lists of lists say so, or arrays leave no other form."""
        lists = [name for name in self._free if is_list(self.table[name].type) and holds_numbers(self.table[name].type)]
        nested = [name for name in lists if is_nested(self.table[name].type)]
        named = self._first_named("sequence", lists)
        if DEFAULTS["sequence"] in lists:
            self.found.columns["sequence"] = DEFAULTS["sequence"]
        elif nested or (lists and self.sample.kind == "NumPy"):
            self.found.columns["sequence"] = named if named in nested else (nested or [named or lists[0]])[0]

    def _named(self, part: str) -> str | None:
        fitting = [name for name in self._free if self._fits(part, name)]
        default = DEFAULTS[part]
        if default in self._free and (part != "split" or default in fitting):
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
            return is_text(column.type) and all(entry.lower() in GIVEN_NAMES for entry in distinct(column))
        is_axis = name.lower() == "y" and "x" in map(str.lower, self.table.column_names) and not self.sample.has_lists
        if part == "label" and is_axis:
            return False
        is_number_text = part == "label" and self.sample.kind in ("CSV", "NumPy") and pa.types.is_floating(column.type)
        is_date = part in ("id", "label") and pa.types.is_temporal(column.type)  # a recording a day
        return is_number_text or is_date or is_category(column)

    def _changes(self) -> np.ndarray | None:
        """Return where a row belongs to another recording than the row above, as far as a name says it."""
        name = self.found.columns.get("id") or self._first_named("id", self._categories())
        if name is None or name not in self.table.column_names:
            return None
        return np.diff(codes(self.table[name])) != 0

    def _categories(self) -> list[str]:
        return [name for name in self._free if is_category(self.table[name])]

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
        if group is not None and says_nothing and "group" not in self.hints.columns:
            del columns["group"]

    def _label(self) -> str:
        if "label" in self.of_paths:
            return self.of_paths["label"]
        if (name := self._first_named("label", list(self.sample.shapes))) is not None:
            return name  # of a shape that is refused with a line
        kinds = [
            name
            for name in self._categories()
            if (self.sample.has_lists or not is_whole(self.table[name])) and not has_decimal_commas(self.table[name])
        ]
        counts = {name: len(distinct(self.table[name])) for name in kinds}
        likely = {name: count for name, count in counts.items() if 1 <= count <= MAX_LIKELY_CLASSES}
        if likely:
            return min(likely, key=lambda name: (likely[name] < 2, likely[name]))
        has_id = "id" in self.found.columns or any(self._stands_together(name) for name in kinds)
        are_free = self.num_files > 1 and "path[-1]" not in self.found.columns.values()
        if are_free and has_id:
            return "path[-1]"
        others = [name for name in self._free if name.lower() != "y"]
        return self._first_named("label", others) or DEFAULTS["label"]  # of a type that is refused with a line

    def _id(self) -> str:
        texts = [
            name
            for name in self._categories()
            if is_text(self.table[name].type) or (self.sample.has_lists and is_whole(self.table[name]))
        ]
        counts = {name: len(distinct(self.table[name])) for name in texts if self._stands_together(name)}
        found = max(counts, key=lambda name: counts[name], default=None)
        if found is not None and counts[found] > 1:
            return found
        group = self.found.columns.get("group")
        if (
            group is not None
            and group in self.table.column_names
            and not self.sample.has_lists
            and len(distinct(self.table[group])) > 1
        ):
            return group
        return DEFAULTS["id"] if self.sample.kind == "NumPy" else "path"

    def _stands_together(self, name: str) -> bool:
        """Return whether each entry's rows follow one another, in a table of sequences whether no entry recurs."""
        entries = codes(self.table[name])
        num_runs = len(entries) if self.sample.has_lists else np.count_nonzero(np.diff(entries)) + 1
        return len(entries) > 0 and int(num_runs) == len(np.unique(entries))
