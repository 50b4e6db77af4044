"""Still more files as people have them: what spreadsheets, converters and web services export."""

import gzip
import json
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from tests.awkward_files import Known, known, write_steps
from tests.logged_files import frame


def utf16(folder: Path) -> Known:
    """Write what Excel calls Unicode text."""
    entries = known()
    write_steps(folder / "a.txt", entries, "\t", ",")
    (folder / "a.txt").write_bytes((folder / "a.txt").read_text().encode("utf-16"))
    return entries


def commas_behind_rows(folder: Path) -> Known:
    entries = known()
    write_steps(folder / "a.csv", entries)
    header, *rows = (folder / "a.csv").read_text().splitlines()
    (folder / "a.csv").write_text("\n".join([header, *(f"{row}," for row in rows)]))
    return entries


def lines_above_and_commas_behind_rows(folder: Path) -> Known:
    entries = commas_behind_rows(folder)
    (folder / "a.csv").write_text("Device: X1\nRate, Hz: 50\n\n" + (folder / "a.csv").read_text())
    return entries


def commas_behind_all_rows(folder: Path) -> Known:
    entries = known()
    write_steps(folder / "a.csv", entries, header=False)
    (folder / "a.csv").write_text((folder / "a.csv").read_text().replace("\n", ",\n"))
    return entries


def thousands_that_break_no_line(folder: Path) -> Known:
    entries = [(label, values * 1000) for label, values in known()]
    table = frame(entries)
    for name in ("ax", "ay"):
        signs = str.maketrans(",.", "\u202f,")
        table[name] = [f"{value:,.1f}".translate(signs) for value in table[name]]
    table.to_csv(folder / "a.csv", sep=";", index=False)
    return entries


def times_with_decimal_commas(folder: Path) -> Known:
    entries = known()
    frame(entries, t=np.tile(np.arange(8) * 0.25, 40)).to_csv(folder / "a.csv", sep=";", decimal=",", index=False)
    return entries


def clock_of_text(folder: Path) -> Known:
    entries = known()
    frame(entries, time=[f"10:{row // 60:02d}:{row % 60:02d}" for row in range(320)]).to_csv(
        folder / "a.csv", index=False
    )
    return entries


def compact_times(folder: Path) -> Known:
    entries = known()
    times = [f"20260301T10{row // 60:02d}{row % 60:02d}Z" for row in range(320)]
    frame(entries, time=times).to_csv(folder / "a.csv", index=False)
    return entries


def lock_file(folder: Path) -> Known:
    entries = known()
    write_steps(folder / "a.csv", entries)
    (folder / "~$a.csv").write_bytes(b"\x05person")
    return entries


def numbered_dimensions(folder: Path) -> Known:
    """Write the long form of sktime and aeon."""
    entries = known()
    lines = ["case_id,dim_id,reading_id,value,label"]
    for index, (label, values) in enumerate(entries):
        for dimension, column in enumerate(values.T):
            lines += [f"{index},{dimension},{step},{value},{label}" for step, value in enumerate(column)]
    (folder / "a.csv").write_text("\n".join(lines))
    return entries


def steps_in_brackets(folder: Path) -> Known:
    return _wide(folder, "{1}[{0}]")


def steps_before_features(folder: Path) -> Known:
    return _wide(folder, "t{0}_{1}")


def _wide(folder: Path, name: str) -> Known:
    entries = known(2, num_steps=12)
    names = [name.format(step, axis) for step in range(12) for axis in "xy"]
    rows = [[f"c{row}", label, *map(str, values.reshape(-1))] for row, (label, values) in enumerate(entries)]
    (folder / "a.csv").write_text("\n".join(map(",".join, [["case", "label", *names], *rows])))
    return entries


def half_precision(folder: Path) -> Known:
    entries = [(label, values.astype(np.float16)) for label, values in known()]
    table = frame(entries)
    table.assign(rec=2**63 + table["rec"].str[1:].astype("uint64")).to_parquet(folder / "a.parquet", index=False)
    return entries


def lines_of_steps(folder: Path) -> Known:
    entries = known()
    entries[3][1][2, 0] = np.nan
    entries[4][1][:, 1] = 7  # a whole number where others have decimals
    rows = frame(entries).to_dict("records")
    rows = [{**row, "time": f"2026-03-01T10:{i // 60:02d}:{i % 60:02d}Z"} for i, row in enumerate(rows)]
    (folder / "a.jsonl").write_text("\n\n".join(map(json.dumps, rows)))
    return entries


def lines_of_sequences(folder: Path) -> Known:
    entries = [(label, values[: 5 + row % 3]) for row, (label, values) in enumerate(known())]
    rows = [{"id": row, "label": label, "sequence": values.tolist()} for row, (label, values) in enumerate(entries)]
    (folder / "a.ndjson.gz").write_bytes(gzip.compress("\n".join(map(json.dumps, rows)).encode()))
    return entries


EXPORTED: Mapping[str, tuple[Callable[[Path], Known], str]] = {
    "utf-16": (utf16, "is read as"),
    "commas behind rows": (commas_behind_rows, "each line ends in ',', which is left out"),
    "lines above and commas behind rows": (lines_above_and_commas_behind_rows, "'Device: X1', 'Rate, Hz: 50'"),
    "commas behind all rows": (commas_behind_all_rows, "column 'column_4' is no feature: it is empty, behind the last"),
    "thousands that break no line": (thousands_that_break_no_line, "is read as"),
    "times with decimal commas": (times_with_decimal_commas, "a step every 0.25 s"),
    "clock of text": (clock_of_text, "the times of column 'time' say no date and are counted from 1970"),
    "compact times": (compact_times, ""),
    "lock file": (lock_file, ""),
    "numbered dimensions": (numbered_dimensions, "column 'dim_id' says which feature a row holds: '0', '1'"),
    "steps in brackets": (steps_in_brackets, "x[0] … x[11], y[0] … y[11] are taken as the 12 steps of a row"),
    "steps before features": (steps_before_features, "t0_x … t11_x, t0_y … t11_y are taken as the 12 steps of a row"),
    "half precision": (half_precision, ""),
    "JSON lines of steps": (lines_of_steps, ""),
    "JSON lines of sequences": (lines_of_sequences, ""),
}
"""What writes a file and returns what is in it, and what is to be said of it."""
