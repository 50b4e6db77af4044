"""Files as people really have them, each written from sequences that are known."""

import csv
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

Known = list[tuple[str, np.ndarray]]
"""Label and values of shape (time, feature), of each sequence."""
LABELS = ("run", "walk")


def known(num_features: int = 2, labels: Sequence[str] = LABELS, num_steps: int = 8, count: int = 40) -> Known:
    """Return sequences whose values have three decimals; the classes come in blocks of three, the last one in a mixed order."""
    rng = np.random.default_rng(count)
    return [
        (labels[index // 3 % len(labels)], rng.normal(size=(num_steps, num_features)).round(3))
        for index in range(count)
    ]


def write_steps(path: Path, entries: Known, delimiter: str = ",", decimal: str = ".", header: bool = True) -> None:
    """Write one row per time step: `rec`, `ax`, `ay` …, `activity`."""
    names = [f"a{axis}" for axis in "xyzuvw"[: entries[0][1].shape[1]]]
    rows = [["rec", *names, "activity"]] if header else []
    for index, (label, values) in enumerate(entries):
        rows += [[f"r{index:02d}", *(f"{value:.3f}".replace(".", decimal) for value in step), label] for step in values]
    with path.open("w", newline="") as file:
        csv.writer(file, delimiter=delimiter, lineterminator="\n").writerows(rows)


def decimal_comma(folder: Path) -> Known:
    entries = known()
    write_steps(folder / "messung.csv", entries, ";", ",")
    content = (folder / "messung.csv").read_bytes()
    (folder / "messung.csv").write_bytes(b"\xef\xbb\xbf" + content)  # as Excel does
    return entries


def no_header(folder: Path) -> Known:
    entries = known(3)
    write_steps(folder / "a.csv", entries, header=False)
    return entries


def question_marks(folder: Path) -> Known:
    entries = known()
    write_steps(folder / "a.csv", entries)
    lines = (folder / "a.csv").read_text().split("\n")
    for index, recording, step in ((7, 0, 5), (15, 1, 5), (200, 24, 6)):
        cells = lines[index - 1].split(",")
        lines[index - 1] = ",".join([cells[0], "?", *cells[2:]])
        entries[recording][1][step, 0] = np.nan
    (folder / "a.csv").write_text("\n".join(lines))
    return entries


def sep_line(folder: Path) -> Known:
    entries = known()
    write_steps(folder / "a.csv", entries, ";")
    (folder / "a.csv").write_text("sep=;\n" + (folder / "a.csv").read_text())
    return entries


def comments(folder: Path) -> Known:
    entries = known()
    write_steps(folder / "a.csv", entries)
    lines = (folder / "a.csv").read_text().split("\n")
    lines[100:100] = ["# a pause", ""]
    (folder / "a.csv").write_text("\n".join(["# made by a logger, 3 channels", "# rate: 50", "", *lines]))
    return entries


def lines_above(folder: Path) -> Known:
    entries = known()
    write_steps(folder / "a.csv", entries)
    (folder / "a.csv").write_text("Device: X1\nRate: 50 Hz\n\n" + (folder / "a.csv").read_text())
    return entries


def thousands(folder: Path) -> Known:
    entries = [(label, values * 1000) for label, values in known()]
    write_steps(folder / "a.csv", entries, ";", ",")
    rows = (folder / "a.csv").read_text().split("\n")
    for index, row in enumerate(rows[1:-1], 1):
        rec, *numbers, label = row.split(";")
        shown = [f"{float(number.replace(',', '.')):,.1f}" for number in numbers]
        rows[index] = ";".join([rec, *(text.translate(str.maketrans(",.", ".,")) for text in shown), label])
    (folder / "a.csv").write_text("\n".join(rows))
    return entries


def wide(folder: Path) -> Known:
    entries = known(1, ("0", "1"), 24)
    rows = [[f"t{step}" for step in range(24)] + ["target"]]
    rows += [[*(f"{value:.3f}" for value in values[:, 0]), label] for label, values in entries]
    with (folder / "ecg.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return entries


def wide_without_header(folder: Path) -> Known:
    entries = known(1, ("1", "2"), 24)
    lines = ["\t".join([label, *(f"{value:.3f}" for value in values[:, 0])]) for label, values in entries]
    (folder / "Toy.tsv").write_text("\n".join(lines) + "\n")
    return entries


def wide_of_two_features(folder: Path) -> Known:
    entries = known(2, num_steps=12)
    rows = [["case", *(f"{axis}_{step}" for axis in "xy" for step in range(12)), "label"]]
    rows += [
        [f"c{index}", *(f"{value:.3f}" for value in values.T.reshape(-1)), label]
        for index, (label, values) in enumerate(entries)
    ]
    with (folder / "a.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return entries


def labels_of_files(folder: Path) -> Known:
    entries = known()
    for index, (_, values) in enumerate(entries):
        lines = ["lat,lon", *(",".join(f"{value:.3f}" for value in step) for step in values)]
        (folder / f"flight_{index:02d}.csv").write_text("\n".join(lines))
    rows = [f"flight_{index:02d}.csv,{label}" for index, (label, _) in enumerate(entries)]
    (folder / "labels.csv").write_text("\n".join(["file,label", *rows]))
    return entries


def labels_of_ids(folder: Path) -> Known:
    entries = known()
    write_steps(folder / "data.csv", entries)
    rows = [row.rpartition(",")[0] for row in (folder / "data.csv").read_text().splitlines()]
    (folder / "data.csv").write_text("\n".join(rows))
    table = [f"r{index:02d};{label}" for index, (label, _) in enumerate(entries)]
    (folder / "labels.csv").write_text("\n".join(["rec;activity", *table]))
    return entries


def channels_first(folder: Path) -> Known:
    entries = known(3, ("0", "1"), 100)
    labels = np.array([int(label) for label, _ in entries])
    np.savez(folder / "d.npz", X=np.stack([values.T for _, values in entries]), y=labels)
    return entries


def time_first(folder: Path) -> Known:
    entries = known(3, ("0", "1"), 20)
    labels = np.array([int(label) for label, _ in entries])
    np.savez(folder / "d.npz", X=np.stack([values for _, values in entries], axis=1), y=labels)
    return entries


def arrays_of_splits(folder: Path) -> Known:
    entries = known(3, ("0", "1"), 20, count=60)
    arrays: dict[str, Any] = {}
    for split, part in (("train", entries[:40]), ("test", entries[40:])):
        arrays[f"x_{split}"] = np.stack([values for _, values in part])
        arrays[f"y_{split}"] = np.array([int(label) for label, _ in part])
    np.savez(folder / "har.npz", **arrays)
    return entries


def summer_time(folder: Path) -> Known:
    entries = known(1, num_steps=12)
    lines = ["id,time,x,label"]
    for index, (label, values) in enumerate(entries):
        for step, value in enumerate(values[:, 0]):
            stamp = f"2026-10-25T02:{step % 6}0:00+0{2 - step // 6}:00"
            lines.append(f"d{index},{stamp},{value:.3f},{label}")
    (folder / "a.csv").write_text("\n".join(lines))
    return entries


def whole_seconds(folder: Path) -> Known:
    entries = known(1, num_steps=20)
    lines = ["rec,time,ax,activity"]
    for index, (label, values) in enumerate(entries):
        lines += [
            f"r{index:02d},2026-01-01 10:00:{step // 10:02d},{value:.3f},{label}"
            for step, value in enumerate(values[:, 0])
        ]
    (folder / "a.csv").write_text("\n".join(lines))
    return entries


def write_ts(folder: Path, entries: Known, has_stamps: bool = False) -> None:
    classes = sorted({label for label, _ in entries})
    for side, part in (("TRAIN", entries[: len(entries) * 2 // 3]), ("TEST", entries[len(entries) * 2 // 3 :])):
        lines = ["# a toy", "@problemName Toy", f"@timeStamps {str(has_stamps).lower()}", "@missing false"]
        lines += [f"@classLabel true {' '.join(classes)}", "@data"]
        for label, values in part:
            cells = [[f"{value:.3f}" for value in column] for column in values.T]
            if has_stamps:
                cells = [
                    [f"(2026-01-01 00:00:{step:02d},{cell})" for step, cell in enumerate(column)] for column in cells
                ]
            lines.append(":".join([*(",".join(column) for column in cells), label]))
        (folder / f"Toy_{side}.ts").write_text("\n".join(lines) + "\n")


def stamped_ts(folder: Path) -> Known:
    entries = known(2, num_steps=4)
    write_ts(folder, entries, has_stamps=True)
    return entries


def ts_of_case(folder: Path) -> Known:
    entries = known(1, ("A", "a", "b"), count=60)
    write_ts(folder, entries)
    return entries


def spellings(folder: Path) -> Known:
    entries = known(1, ("walk", "walk ", "Walk", "sit"), count=60)
    write_steps(folder / "a.csv", entries)
    return entries


def ended_lines(folder: Path) -> Known:
    """Write lines such as `r00,run,0.112,-1.05;`, as WISDM has them."""
    entries = known()
    write_steps(folder / "a.csv", entries)
    rows = [line.split(",") for line in (folder / "a.csv").read_text().splitlines()]
    lines = [",".join([name, label, x, y + ";"]) for name, x, y, label in rows[1:]]
    (folder / "a.csv").write_text("\r\n".join(["rec,activity,ax,ay", *lines, ""]), newline="")
    return entries


def lists_of_features(folder: Path) -> Known:
    entries = [(label, values[: 20 + row % 3]) for row, (label, values) in enumerate(known(num_steps=24))]
    columns = {"label": [label for label, _ in entries], "sequence": [values.T.tolist() for _, values in entries]}
    pq.write_table(pa.table(columns), folder / "a.parquet")
    return entries


READ: Mapping[str, tuple[Callable[[Path], Known], str]] = {
    "decimal comma": (decimal_comma, "is read as"),
    "no header": (no_header, "line 1 looks like values"),
    "question marks": (question_marks, "317 of 320 cells are numbers, first other: '?' in line 7"),
    "sep line": (sep_line, ""),
    "comments": (comments, "lines that begin with '#' are left out, the first is '# made by a logger, 3 channels'"),
    "lines above": (lines_above, "the first 2 lines are skipped: 'Device: X1'"),
    "thousands": (thousands, "is read as"),
    "wide": (wide, "t0 … t23 are taken as the 24 steps of a row"),
    "wide without header": (wide_without_header, "column_1 … column_24 are taken as the 24 steps of a row"),
    "wide of two features": (wide_of_two_features, "x_0 … x_11, y_0 … y_11 are taken as the 12 steps of a row"),
    "labels of files": (labels_of_files, "labels.csv"),
    "labels of ids": (labels_of_ids, "labels.csv"),
    "channels first": (channels_first, "is taken as (sequence, feature, time)"),
    "time first": (time_first, "is taken as (time, sequence, feature)"),
    "arrays of splits": (arrays_of_splits, "arrays of given splits: train, test"),
    "summer time": (summer_time, ""),
    "whole seconds": (whole_seconds, "the same time in column 'time', so it is not read"),
    "stamped ts": (stamped_ts, ""),
    "ts of case": (ts_of_case, "classes 'A', 'a' differ only in case"),
    "ended lines": (ended_lines, "each line ends in ';', which is left out"),
    "lists of features": (lists_of_features, "is taken as a list of all steps for each of 2 features"),
    "spellings": (spellings, "classes 'Walk', 'walk', 'walk ' differ only in case, blanks"),
}
"""What writes a file and returns what is in it, and what is to be said of it."""
