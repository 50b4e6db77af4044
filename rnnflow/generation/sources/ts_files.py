"""`.ts` and `.arff` files of the UCR and UEA archives."""

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from rnnflow.generation.sources.recording_chunk import SourceLocation
from rnnflow.generation.sources.source_file import SourceTable
from rnnflow.generation.sources.values import generic_names
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
"""Of several dimensions in `.arff`: `'1,2\n3,4',walk`."""


class _Case(NamedTuple):
    """A sequence of (time, feature), its class, and the texts of its time stamps if there are any."""

    values: np.ndarray
    label: str
    stamps: list[str] | None = None


class _RefusedLineError(ValueError):
    """What is wrong with a line."""


def read_ts(path: Path, below: Path, files: FilesParams) -> SourceTable:
    """Return what a file of the archives holds; `…_TRAIN` and `…_TEST` are given splits.

    Raises:
        InputError: a line is none of the format, or sequences have no class labels.
    """
    cases = _load(path, needs_label="label" not in files.ignored)
    sizes = {case.values.shape[1] for case in cases}
    if len(sizes) != 1:
        found = f"sequences of {min(sizes)} and of {max(sizes)} features" if sizes else "no sequences"
        raise InputError(f"{path}: {found}")
    known = tuple(files.features) if files.features else generic_names(min(sizes))
    if len(known) != min(sizes):
        raise InputError(f"{path}: {min(sizes)} features, generate.files.features names {len(known)}")
    names = files.columns
    stem = below.with_suffix("").as_posix()
    columns = {
        names.id: pa.array([f"{stem}#{row}" for row in range(len(cases))]),
        names.label: pa.array([case.label for case in cases], pa.string()),
        names.sequence: pa.array([case.values.reshape(-1) for case in cases], pa.list_(pa.float32())),
    }
    if cases[0].stamps is not None and names.time is not None:
        columns[names.time] = pa.array([case.stamps for case in cases], pa.list_(pa.string()))
    if (split := SPLIT.search(path.stem)) and names.split is not None:
        columns[names.split] = pa.array([split.group(1).lower()] * len(cases))
    table = pa.table(columns)
    location = SourceLocation(str(path), lambda row: f"sequence {row}")
    return SourceTable(location, table.schema, lambda wanted: table.select(wanted).to_batches(BATCH_ROWS), known)


def _load(path: Path, needs_label: bool) -> list[_Case]:
    num_lines = 0

    def content(signs: tuple[str, ...]) -> Iterator[str]:
        """Yield lines but empty ones and comments."""
        nonlocal num_lines
        with path.open(encoding="utf-8-sig") as file:
            for line in file:
                num_lines += 1
                if (text := line.strip()) and not text.startswith(signs):
                    yield text

    try:
        is_arff = path.suffix.lower() == ".arff"
        return list(_arff(content(("%",))) if is_arff else _ts(content(("#", "%")), needs_label))
    except _RefusedLineError as refusal:
        raise InputError(f"{path}: line {num_lines}: {refusal}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read: {error}") from None


def _header(lines: Iterator[str]) -> Iterator[str]:
    for line in lines:
        if not line.startswith("@"):
            raise _RefusedLineError(f"expected a line that begins with '@', got {line[:40]!r}")
        if line.split()[0].lower() == "@data":
            return
        yield line
    raise _RefusedLineError("no line '@data' above")


def _ts(lines: Iterator[str], needs_label: bool) -> Iterator[_Case]:
    """Yield what `.ts` holds: dimensions between colons, the class after the last one, time stamps in brackets."""
    tags = [line[1:].split() or [""] for line in _header(lines)]
    header = {tag.lower(): values for tag, *values in tags}
    said = {tag: next(iter(values), "").lower() for tag, values in header.items()}
    is_labelled = "true" in (said.get("classlabel"), said.get("targetlabel"))
    classes = header.get("classlabel", [])[1:]
    if needs_label and said.get("classlabel") != "true":
        raise _RefusedLineError("the header has no '@classLabel true' with the classes, so there is nothing to learn")
    for line in lines:
        dimensions = _COLON.split(line)
        label = dimensions.pop().strip() if is_labelled else ""
        if not dimensions or (is_labelled and not label):
            raise _RefusedLineError("no class after the last ':'")
        if needs_label and classes and label not in classes:
            raise _RefusedLineError(f"class {label!r} is none of the header's, {', '.join(classes[:10])}")
        stamps: list[list[str]] = []
        if said.get("timestamps") == "true":
            stamps, series = map(list, zip(*map(_stamped, dimensions), strict=True))
        else:
            series = [_numbers(text.split(",")) for text in dimensions]
        _check(series, stamps, said)
        yield _Case(np.stack(series, axis=1), label, stamps[0] if stamps else None)


def _check(series: Sequence[np.ndarray], stamps: Sequence[list[str]], said: Mapping[str, str]) -> None:
    lengths = [len(values) for values in series]
    if len(set(lengths)) > 1:
        raise _RefusedLineError(f"dimensions of {min(lengths)} and of {max(lengths)} steps in one sequence")
    if any(times != stamps[0] for times in stamps[1:]):
        raise _RefusedLineError("its dimensions have time stamps of their own")
    is_one = said.get("univariate") == "true"
    declared = "1" if is_one else said.get("dimensions") or said.get("dimension", "")
    if declared.isdecimal() and int(declared) not in (0, len(series)):
        raise _RefusedLineError(f"{len(series)} dimensions, the header says {declared}")
    length = said.get("serieslength", "")
    if said.get("equallength") == "true" and length.isdecimal() and int(length) not in (0, lengths[0]):
        raise _RefusedLineError(f"{lengths[0]} steps, the header says {length}")


def _arff(lines: Iterator[str]) -> Iterator[_Case]:
    """Yield what `.arff` holds: one column per step and the class last, or a quoted cell with one line per dimension."""
    kinds = [matched[1].strip() for line in _header(lines) if (matched := _ATTRIBUTE.match(line))]
    is_relational = any(kind.lower() == "relational" for kind in kinds)
    of_label = kinds[-1] if kinds else ""
    for line in lines:
        if is_relational:
            matched = _CASE.fullmatch(line)
            if matched is None:
                raise _RefusedLineError(f"expected a quoted sequence and a class, got {line[:40]!r}")
            label = matched["label"]
            series = [_numbers(row.split(",")) for row in matched["values"].split(r"\n")]
        else:
            *cells, label = _cells(line) or [""]
            if len(cells) + 1 != len(kinds):
                raise _RefusedLineError(f"{len(cells) + 1} values, the header has {len(kinds)} attributes")
            series = [_numbers(cells)]
        if len({len(values) for values in series}) > 1:
            raise _RefusedLineError("dimensions of unequal lengths")
        if not of_label.startswith("{"):
            raise _RefusedLineError(f"the last attribute is {of_label or 'missing'!r}, expected the classes in braces")
        classes = [_unquoted(name) for name in _cells(of_label.strip("{} "))]
        if _unquoted(label) not in classes:
            raise _RefusedLineError(f"class {_unquoted(label)!r} is none of the header's, {', '.join(classes[:10])}")
        yield _Case(np.stack(series, axis=1), _unquoted(label))


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
