"""Files in random layouts and dialects, written from sequences that are known."""

import csv
import gzip
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import strategies as st

from tests.awkward_files import Known

CLASSES = (("run", "walk"), ("1", "2"), ("A", "a", "b"), ("walk", "walk ", "Walk"), ("Nein, nie", "ja"), ("?", "x"))
COUNT = 24
Rows = list[list[str]]


@dataclass(frozen=True)
class Dialect:
    """How a text file is written."""

    delimiter: str = ","
    decimal: str = "."
    thousands: str = ""
    missing: str = ""
    line_end: str = "\n"
    quotes: int = csv.QUOTE_MINIMAL
    above: tuple[str, ...] = ()
    comment: str = ""
    has_header: bool = True
    has_mark: bool = False
    is_compressed: bool = False
    blank: str = ""
    """Around numbers."""
    encoding: str = "utf-8"
    ending: str = ""
    """Behind each row but the names."""

    def cell(self, value: float) -> str:
        if np.isnan(value):
            return self.missing
        signs = {",": self.thousands, ".": self.decimal}
        return self.blank + "".join(signs.get(sign, sign) for sign in f"{value:,.3f}")

    def write(self, path: Path, header: list[str], rows: Rows) -> None:
        stream = io.StringIO()
        writer = csv.writer(stream, delimiter=self.delimiter, quoting=self.quotes, lineterminator="\n")  # type: ignore[arg-type]
        writer.writerows([header, *rows] if self.has_header else rows)
        first, *lines = stream.getvalue().split("\n")
        lines = [first, *(line and line + self.ending for line in lines)]
        if self.comment:
            lines[len(lines) // 2 : len(lines) // 2] = [f"{self.comment} a pause, {self.delimiter} then on", ""]
            lines = [f"{self.comment} made by a logger", *lines]
        text = self.line_end.join([*self.above, *lines])
        content = (b"\xef\xbb\xbf" if self.has_mark and self.encoding == "utf-8" else b"") + text.encode(self.encoding)
        path.with_suffix(".csv.gz" if self.is_compressed else ".csv").write_bytes(
            gzip.compress(content, mtime=0) if self.is_compressed else content
        )


@st.composite
def dialects(draw: st.DrawFn) -> Dialect:
    delimiter = draw(st.sampled_from(",;\t|"))
    decimal = draw(st.sampled_from("..,"))
    return Dialect(
        delimiter,
        decimal,
        draw(st.sampled_from(["", "", "", "." if decimal == "," else ",", " "])),
        draw(st.sampled_from(["", "", "NA", "?", "-", "ERR"])),
        draw(st.sampled_from(["\n", "\r\n"])),
        draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL])),
        draw(st.sampled_from([(), (), ("Device: X1", "Rate, Hz: 50", ""), (f"sep={delimiter}",)])),
        draw(st.sampled_from(["", "", "#", "%"])),
        draw(st.sampled_from([True, True, False])),
        draw(st.booleans()),
        draw(st.booleans()),
        draw(st.sampled_from(["", "", " "])),
        draw(st.sampled_from(["utf-8", "utf-8", "utf-8", "utf-16"])),
        draw(st.sampled_from(["", "", "", delimiter])),
    )


@st.composite
def sequences(draw: st.DrawFn, has_missing: bool = True, same_length: bool = False, shortest: int = 1) -> Known:
    """Return sequences of three decimals; not every class has to be learnable."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    classes = draw(st.sampled_from(CLASSES))
    num_features, longest = draw(st.integers(1, 3)), draw(st.integers(shortest, 12))
    scale = draw(st.sampled_from([0.01, 1.0, 100.0, 5000.0]))
    is_whole = draw(st.integers(0, 5)) == 0
    lengths = rng.integers(1, longest + 1, COUNT)
    entries = []
    for index, length in enumerate(lengths):
        values = scale * rng.normal(size=(longest if same_length else length, num_features))
        values = values.round(0 if is_whole else 3)
        if has_missing:
            values[rng.random(values.shape) < draw(st.sampled_from([0, 0, 0.02]))] = np.nan
        entries.append((classes[index // 2 % len(classes)], values))
    return entries


def write_steps(path: Path, entries: Known, dialect: Dialect) -> None:
    names = [f"s{axis}" for axis in "abc"[: entries[0][1].shape[1]]]
    rows = [
        [f"r{index:02d}", *map(dialect.cell, step), label]
        for index, (label, values) in enumerate(entries)
        for step in values
    ]
    dialect.write(path, ["rec", *names, "activity"], rows)


def write_wide(path: Path, entries: Known, dialect: Dialect) -> None:
    num_steps, num_features = entries[0][1].shape
    prefixes = ["t"] if num_features == 1 else [f"s{axis}_" for axis in "abc"[:num_features]]
    rows = [[*map(dialect.cell, values.T.reshape(-1)), label] for label, values in entries]
    if num_features > 1:  # nothing else says what belongs together
        dialect = replace(dialect, has_header=True)
    dialect.write(path, [*(f"{prefix}{step}" for prefix in prefixes for step in range(num_steps)), "target"], rows)


def write_cells(path: Path, entries: Known, dialect: Dialect) -> None:
    rows = [
        [
            f"r{index}",
            json.dumps([[None if np.isnan(value) else value for value in step] for step in values.tolist()]),
            label,
        ]
        for index, (label, values) in enumerate(entries)
    ]
    dialect.write(path, ["rec", "signal", "activity"], rows)


def write_melted(path: Path, entries: Known, dialect: Dialect) -> None:
    """Write a row for each feature of a step, whose names are numbers in one of two files."""
    names = "abc" if len(entries[0][1]) % 2 else "012"
    rows = [
        [f"r{index:02d}", str(step), names[feature], dialect.cell(value), label]
        for index, (label, values) in enumerate(entries)
        for feature, column in enumerate(values.T)
        for step, value in enumerate(column)
    ]
    replace(dialect, has_header=True).write(path, ["id", "step", "dimension", "value", "label"], rows)


def write_json_lines(path: Path, entries: Known, dialect: Dialect) -> None:
    """Write one line per step, or per sequence."""
    rows: list[dict[str, object]] = []
    for index, (label, values) in enumerate(entries):
        cells = [[None if np.isnan(value) else value for value in step] for step in values.tolist()]
        if dialect.has_header:
            rows += [{"rec": f"r{index}", **dict(zip("abc", step, strict=False)), "activity": label} for step in cells]
        else:
            rows.append({"id": f"r{index}", "signal": cells, "label": label})
    text = dialect.line_end.join(map(json.dumps, rows))
    path.with_suffix(".jsonl").write_bytes(text.encode(dialect.encoding))


def write_parquet(path: Path, entries: Known, dialect: Dialect) -> None:
    lengths = [len(values) for _, values in entries]
    values = np.concatenate([values for _, values in entries])
    columns = {f"s{axis}": values[:, index] for index, axis in enumerate("abc"[: values.shape[1]])}
    ids = np.repeat([f"r{index:02d}" for index in range(len(entries))], lengths)
    labels = np.repeat([label for label, _ in entries], lengths)
    pq.write_table(pa.table({"rec": ids, **columns, "activity": labels}), path.with_suffix(".parquet"))


def write_arrays(path: Path, entries: Known, axes: Sequence[int]) -> None:
    stacked = np.stack([values for _, values in entries]).transpose(axes)
    np.savez(path.with_suffix(".npz"), X=stacked, y=np.array([label for label, _ in entries]))


def write_ts(path: Path, entries: Known, has_stamps: bool) -> None:
    lines = [f"@timeStamps {str(has_stamps).lower()}", f"@classLabel true {' '.join({label for label, _ in entries})}"]
    for label, values in entries:
        cells = [["?" if np.isnan(value) else f"{value:.3f}" for value in column] for column in values.T]
        if has_stamps:
            cells = [[f"({step},{cell})" for step, cell in enumerate(column)] for column in cells]
        lines.append(":".join([*(",".join(column) for column in cells), label]))
    path.with_suffix(".ts").write_text("\n".join([*lines[:2], "@data", *lines[2:]]))
