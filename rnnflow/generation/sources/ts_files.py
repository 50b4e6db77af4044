"""`.ts` and `.arff` files of the UCR and UEA archives."""

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from rnnflow.generation.sources.opened_file import OpenedFile, generic_names, open_table
from rnnflow.generation.sources.recording_chunk import SourceLocation
from rnnflow.params.generate import FilesParams
from rnnflow.runtime.errors import InputError

SPLIT = re.compile(r"_(train|test)$", re.IGNORECASE)
BATCH_ROWS = 1024
MISSING = "?"
_COLON = re.compile(r":(?![^()]*\))")
"""Between dimensions; the colons of a time stamp are inside brackets."""
_STAMPED = re.compile(r"\(([^()]*),([^(),]*)\)")
_ATTRIBUTE = re.compile(r"@attribute\s+(?:'[^']*'|\"[^\"]*\"|\S+)\s+(.*)", re.IGNORECASE)
_CASE = re.compile(r"""(?P<quote>['"])(?P<values>[^'"]*)(?P=quote)\s*,(?P<label>.*)""")
"""Of several dimensions in `.arff`: `'1,2\\n3,4',walk`."""


@dataclass
class _Content:
    """Sequences of (time, feature), a class for each, and the texts of its time stamps where there are any."""

    sequences: list[np.ndarray] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    stamps: list[list[str]] = field(default_factory=list)


class _RefusedLineError(ValueError):
    """What is wrong with a line."""


def read_ts(path: Path, below: Path, files: FilesParams) -> OpenedFile:
    """Return what a file of the archives holds; `…_TRAIN` and `…_TEST` are given splits.

    Raises:
        InputError: a line is none of the format, or sequences have no class labels.
    """
    content = _load(path, needs_label="label" not in files.ignored)
    sizes = {sequence.shape[1] for sequence in content.sequences}
    if len(sizes) != 1:
        found = f"sequences of {min(sizes)} and of {max(sizes)} features" if sizes else "no sequences"
        raise InputError(f"{path}: {found}")
    known = tuple(files.features) if files.features else generic_names(min(sizes))
    if len(known) != min(sizes):
        raise InputError(f"{path}: {min(sizes)} features, generate.files.features names {len(known)}")
    names = files.columns
    stem = below.with_suffix("").as_posix()
    columns: dict[str, Any] = {
        names.id: pa.array([f"{stem}#{row}" for row in range(len(content.labels))]),
        names.label: pa.array(content.labels, pa.string()),
    }
    if content.stamps and names.time is not None:
        columns[names.time] = pa.array(content.stamps, pa.list_(pa.string()))
    if (split := SPLIT.search(path.stem)) and names.split is not None:
        columns[names.split] = pa.array([split.group(1).lower()] * len(content.labels))
    sequence_type = pa.list_(pa.float32())
    schema = pa.schema([(names.sequence, sequence_type), *((name, column.type) for name, column in columns.items())])

    def batches(wanted: list[str]) -> Iterator[pa.RecordBatch]:
        for start in range(0, len(content.labels), BATCH_ROWS):
            rows = slice(start, start + BATCH_ROWS)
            sequences = pa.array([entry.reshape(-1) for entry in content.sequences[rows]], sequence_type)
            yield pa.RecordBatch.from_arrays(
                [sequences if name == names.sequence else columns[name][rows] for name in wanted], wanted
            )

    return open_table(SourceLocation(str(path), lambda row: f"sequence {row}"), schema, below, files, known, batches)


def _load(path: Path, needs_label: bool) -> _Content:
    parser = _Arff() if path.suffix.lower() == ".arff" else _Ts(needs_label)
    num_lines = 0
    try:
        with path.open(encoding="utf-8-sig") as file:
            for line in file:
                num_lines += 1
                parser.take(line.strip())
    except _RefusedLineError as refusal:
        raise InputError(f"{path}: line {num_lines}: {refusal}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read: {error}") from None
    if not parser.is_data:
        raise InputError(f"{path}: no line '@data'")
    return parser.content


class _Ts:
    """Reads `.ts`: dimensions between colons, the class after the last one, values with time stamps in brackets."""

    def __init__(self, needs_label: bool) -> None:
        self.needs_label = needs_label
        self.content = _Content()
        self.is_data = False
        self.header: dict[str, list[str]] = {}

    def take(self, line: str) -> None:
        if not line or line.startswith(("#", "%")):
            return
        if self.is_data:
            self._take_case(line)
        elif line.startswith("@"):
            tag, *values = line[1:].split() or [""]
            self.header[tag.lower()] = values
            if tag.lower() == "data":
                self._begin_data()
        else:
            raise _RefusedLineError(f"expected a line that begins with '@', got {line[:40]!r}")

    def _begin_data(self) -> None:
        self.is_data = True
        if self.needs_label and not self._says("classlabel"):
            raise _RefusedLineError(
                "the header has no '@classLabel true' with the classes, so there is nothing to learn"
            )

    def _said(self, tag: str) -> str:
        """Return the first word after a tag of the header."""
        return next(iter(self.header.get(tag, [])), "")

    def _says(self, tag: str) -> bool:
        return self._said(tag).lower() == "true"

    def _take_case(self, line: str) -> None:
        dimensions = _COLON.split(line)
        is_labelled = self._says("classlabel") or self._says("targetlabel")
        label = dimensions.pop().strip() if is_labelled else ""
        classes = self.header.get("classlabel", [])[1:]
        if not dimensions or (is_labelled and not label):
            raise _RefusedLineError("no class after the last ':'")
        if self.needs_label and classes and label not in classes:
            raise _RefusedLineError(f"class {label!r} is none of the header's, {', '.join(classes[:10])}")
        stamps: list[list[str]] = []
        if self._says("timestamps"):
            pairs = [_stamped(text) for text in dimensions]
            stamps = [times for times, _ in pairs]
            series = [values for _, values in pairs]
        else:
            series = [_numbers(text.split(",")) for text in dimensions]
        self._check(series, stamps)
        self.content.sequences.append(np.stack(series, axis=1))
        self.content.labels.append(label)
        self.content.stamps += stamps[:1]

    def _check(self, series: Sequence[np.ndarray], stamps: Sequence[list[str]]) -> None:
        lengths = [len(values) for values in series]
        if len(set(lengths)) > 1:
            raise _RefusedLineError(f"dimensions of {min(lengths)} and of {max(lengths)} steps in one sequence")
        if any(times != stamps[0] for times in stamps[1:]):
            raise _RefusedLineError("its dimensions have time stamps of their own")
        declared = "1" if self._says("univariate") else self._said("dimensions") or self._said("dimension")
        if declared.isdecimal() and int(declared) not in (0, len(series)):
            raise _RefusedLineError(f"{len(series)} dimensions, the header says {declared}")
        length = self._said("serieslength")
        if self._says("equallength") and length.isdecimal() and int(length) not in (0, lengths[0]):
            raise _RefusedLineError(f"{lengths[0]} steps, the header says {length}")


class _Arff:
    """Reads `.arff`: a column a step and the class last, or a quoted cell with a line a dimension."""

    def __init__(self) -> None:
        self.content = _Content()
        self.is_data = False
        self.kinds: list[str] = []
        self.is_relational = False

    def take(self, line: str) -> None:
        if not line or line.startswith("%"):
            return
        if self.is_data:
            self._take_case(line)
        elif line.lower().startswith("@data"):
            self.is_data = True
        elif not line.startswith("@"):
            raise _RefusedLineError(f"expected a line that begins with '@', got {line[:40]!r}")
        elif matched := _ATTRIBUTE.match(line):
            self.kinds.append(matched.group(1).strip())
            self.is_relational |= self.kinds[-1].lower() == "relational"

    def _take_case(self, line: str) -> None:
        if self.is_relational:
            matched = _CASE.fullmatch(line)
            if matched is None:
                raise _RefusedLineError(f"expected a quoted sequence and a class, got {line[:40]!r}")
            label = matched["label"]
            series = [_numbers(row.split(",")) for row in matched["values"].split(r"\n")]
        else:
            *cells, label = _cells(line) or [""]
            if len(cells) + 1 != len(self.kinds):
                raise _RefusedLineError(f"{len(cells) + 1} values, the header has {len(self.kinds)} attributes")
            series = [_numbers(cells)]
        if len({len(values) for values in series}) > 1:
            raise _RefusedLineError("dimensions of unequal lengths")
        self.content.sequences.append(np.stack(series, axis=1))
        self.content.labels.append(self._checked(label))

    def _checked(self, label: str) -> str:
        kind = self.kinds[-1] if self.kinds else ""
        if not kind.startswith("{"):
            raise _RefusedLineError(f"the last attribute is {kind or 'missing'!r}, expected the classes in braces")
        classes = [_unquoted(name) for name in _cells(kind.strip("{} "))]
        if _unquoted(label) not in classes:
            raise _RefusedLineError(f"class {_unquoted(label)!r} is none of the header's, {', '.join(classes[:10])}")
        return _unquoted(label)


def _cells(line: str) -> list[str]:
    """Return what stands between commas, of which a quoted name may hold some."""
    try:
        return next(csv.reader([line], quotechar='"' if '"' in line else "'", skipinitialspace=True), [])
    except csv.Error as error:
        raise _RefusedLineError(str(error)) from None


def _unquoted(text: str) -> str:
    return text.strip().strip("'\"")


def _stamped(text: str) -> tuple[list[str], np.ndarray]:
    """Return times and values of `(2026-01-01 00:00:00,-1.5),(…)`."""
    pairs = _STAMPED.findall(text)
    if _STAMPED.sub("", text).strip(" ,\t"):
        raise _RefusedLineError(f"expected (time, value) pairs, got {text[:40]!r}")
    return [stamp.strip() for stamp, _ in pairs], _numbers([value for _, value in pairs])


def _numbers(cells: Sequence[str]) -> np.ndarray:
    """Return float32, NaN for a question mark."""
    return np.array([_number(cell.strip()) for cell in cells], dtype=np.float32)


def _number(cell: str) -> float:
    if cell == MISSING:
        return np.nan
    try:
        return float(cell.replace("_", "x"))  # Python takes 1_000 for a number
    except ValueError:
        raise _RefusedLineError(f"expected a number or '?', got {cell[:40]!r}") from None
