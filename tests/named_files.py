"""Files whose columns, folders and tables of labels are called as people call them: by numbers, dates, ids and paths."""

from collections.abc import Callable, Mapping
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pandas as pd

from tests.awkward_files import Known, known, labels_of_files
from tests.logged_files import frame

NUM_STEPS = 24


def steps(entries: Known, name: Callable[[int], str]) -> pd.DataFrame:
    """Return one row per sequence of one feature, a column a step."""
    return pd.DataFrame([values[:, 0] for _, values in entries], columns=[name(step) for step in range(NUM_STEPS)])


def _wide(folder: Path, name: Callable[[int], str], label: str = "label") -> Known:
    entries = known(1, ("0", "1"), NUM_STEPS)
    steps(entries, name).assign(**{label: [label for label, _ in entries]}).to_csv(folder / "a.csv", index=False)
    return entries


def numbers_and_the_class_last(folder: Path) -> Known:
    """Write what pandas makes of a table without names."""
    return _wide(folder, str, str(NUM_STEPS))


def numbers_and_a_target(folder: Path) -> Known:
    return _wide(folder, lambda step: str(step + 1), "target")


def years(folder: Path) -> Known:
    return _wide(folder, lambda step: str(2000 + step))


def seconds(folder: Path) -> Known:
    return _wide(folder, lambda step: f"{step * 0.1 - 1:.1f}")


def dates(folder: Path) -> Known:
    return _wide(folder, lambda step: str(date(2026, 1, 15) + timedelta(days=step)))


def months(folder: Path) -> Known:
    return _wide(folder, lambda step: f"{2024 + step // 12}-{step % 12 + 1:02d}")


def ids_before_steps(folder: Path) -> Known:
    """Write no names, a number of the row before its steps, and the class behind them."""
    entries = known(1, ("0", "1"), NUM_STEPS)
    table = steps(entries, str).assign(label=[label for label, _ in entries])
    table.to_csv(folder / "a.csv", header=False)
    return entries


def melted_by_large_numbers(folder: Path) -> Known:
    """Write steps that are one in float32, and different features of two of them missing."""
    entries = known()
    entries[0][1][2, 0] = entries[0][1][3, 1] = np.nan
    rows = [
        (f"r{index:02d}", 2**24 + step, "xy"[feature], value, label)
        for index, (label, values) in enumerate(entries)
        for step, of_step in enumerate(values)
        for feature, value in enumerate(of_step)
    ]
    table = pd.DataFrame(rows, columns=["id", "step", "dimension", "value", "label"]).dropna()
    table.to_csv(folder / "a.csv", index=False)
    return entries


def encoded_partitions(folder: Path) -> Known:
    entries = known(labels=("up & down", "a/b"))
    for label, table in frame(entries).groupby("activity"):
        (folder / f"activity={quote(str(label), safe='')}").mkdir()
        target = folder / f"activity={quote(str(label), safe='')}" / "part-0.parquet"
        table.drop(columns="activity").to_parquet(target, index=False)
    return entries


def classes_of_ids_in_parquet(folder: Path) -> Known:
    entries = known()
    table = frame(entries).drop(columns="activity")
    table.assign(rec=table["rec"].str[1:].astype(int)).to_parquet(folder / "data.parquet", index=False)
    classes = pd.DataFrame({"rec": range(40), "activity": [label for label, _ in entries]})
    classes.to_csv(folder / "labels.csv", index=False)
    return entries


def _labels(folder: Path, change: Callable[[str], str], encoding: str = "utf-8") -> Known:
    entries = labels_of_files(folder)
    header, *rows = (folder / "labels.csv").read_text().splitlines()
    (folder / "labels.csv").write_text("\n".join([header, *map(change, rows)]), encoding=encoding)
    return entries


def classes_of_paths_of_windows(folder: Path) -> Known:
    return _labels(folder, lambda row: f".\\{row}")


def classes_behind_blanks(folder: Path) -> Known:
    return _labels(folder, lambda row: row.replace(",", " , "))


def classes_in_utf16(folder: Path) -> Known:
    return _labels(folder, str, "utf-16")


def two_marks(folder: Path) -> Known:
    entries = known()
    (folder / "a.csv").write_text("\ufeff\ufeff" + frame(entries).to_csv(index=False), encoding="utf-8")
    return entries


def classes_of_a_database(folder: Path) -> Known:
    entries = known(labels=("1", "2"))
    table = frame(entries)
    table.assign(activity=table["activity"].map(Decimal)).to_parquet(folder / "a.parquet", index=False)
    return entries


def a_recording_a_day(folder: Path) -> Known:
    entries = known()
    days = [str(date(2026, 1, 1) + timedelta(days=row // 8)) for row in range(320)]
    frame(entries, rec=days).to_csv(folder / "a.csv", index=False)
    return entries


def titles_of_one_cell(folder: Path) -> Known:
    """Write what a spreadsheet exports that has a title and a blank line above its names."""
    entries = known()
    (folder / "a.csv").write_text("Export,,,\n,,,\n" + frame(entries).to_csv(index=False))
    return entries


def lists_as_python_prints_them(folder: Path) -> Known:
    entries = known(1)
    entries[2][1][3, 0] = entries[4][1][1, 0] = np.nan
    cells = [str(values[:, 0].tolist()) for _, values in entries]
    cells[4] = cells[4].replace("nan", "None")
    table = {"id": range(40), "sequence": cells, "label": [label for label, _ in entries]}
    pd.DataFrame(table).to_csv(folder / "a.csv", index=False)
    return entries


NAMED: Mapping[str, tuple[Callable[[Path], Known], str]] = {
    "numbers and the class last": (numbers_and_the_class_last, "0 … 23 are taken as the 24 steps of a row"),
    "numbers and a target": (numbers_and_a_target, "1 … 24 are taken as the 24 steps of a row"),
    "years": (years, "2000 … 2023 are taken as the 24 steps of a row"),
    "seconds": (seconds, "-1.0 … 1.3 are taken as the 24 steps of a row"),
    "dates": (dates, "2026-01-15 … 2026-02-07 are taken as the 24 steps of a row"),
    "months": (months, "2024-01 … 2025-12 are taken as the 24 steps of a row"),
    "ids before steps": (ids_before_steps, "column_1 … column_24 are taken as the 24 steps of a row"),
    "melted by large numbers": (melted_by_large_numbers, "values are missing in 'x', 'y'"),
    "encoded partitions": (encoded_partitions, "label: path[-2]"),
    "classes of ids in Parquet": (classes_of_ids_in_parquet, "labels.csv"),
    "classes of paths of Windows": (classes_of_paths_of_windows, "labels.csv"),
    "classes behind blanks": (classes_behind_blanks, "trim_labels: true"),
    "classes in UTF-16": (classes_in_utf16, "labels.csv"),
    "two marks": (two_marks, ""),
    "classes of a database": (classes_of_a_database, ""),
    "titles of one cell": (titles_of_one_cell, "the first 2 lines are skipped: 'Export,,,', ',,,'"),
    "lists as Python prints them": (lists_as_python_prints_them, "values are missing in 'value'"),
    "a recording a day": (a_recording_a_day, ""),
}
"""What writes a file and returns what is in it, and what is to be said of it."""
