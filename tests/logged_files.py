"""More files as people have them: what loggers, pandas and other libraries write, each of sequences that are known."""

from collections.abc import Callable, Mapping
from datetime import datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tests.awkward_files import Known, known, write_ts

BEGIN = datetime(2026, 1, 13, 9, 58)


def frame(entries: Known, **columns: Any) -> pd.DataFrame:
    """Return one row per time step: `rec`, `ax`, `ay` …, `activity`, and more columns."""
    names = [f"a{axis}" for axis in "xyz"[: entries[0][1].shape[1]]]
    parts = [
        pd.DataFrame(values, columns=names).assign(rec=f"r{index:02d}", activity=label)
        for index, (label, values) in enumerate(entries)
    ]
    return pd.concat(parts, ignore_index=True)[["rec", *names, "activity"]].assign(**columns)


def numbered_by_floats(folder: Path) -> Known:
    entries = known(labels=("1", "2"))
    table = frame(entries)
    table["rec"] = table["rec"].str[1:].astype(float)
    table.assign(activity=table["activity"].astype(float)).to_parquet(folder / "a.parquet", index=False)
    return entries


def decimals(folder: Path) -> Known:
    entries = known()
    table = frame(entries)
    table["ax"] = [Decimal(f"{value:.3f}") for value in table["ax"]]
    table.assign(activity=table["activity"].astype("category")).to_parquet(folder / "a.parquet", index=False)
    return entries


def durations(folder: Path) -> Known:
    entries = known()
    elapsed = pd.to_timedelta(np.tile(np.arange(8), 40) * 20, unit="ms")
    frame(entries, elapsed=elapsed).to_parquet(folder / "a.parquet", index=False)
    return entries


def clock(folder: Path) -> Known:
    entries = known()
    times = [time(10, row // 60, row % 60) for row in range(320)]
    frame(entries, clock=times).to_parquet(folder / "a.parquet", index=False)
    return entries


def milliseconds_since_the_start(folder: Path) -> Known:
    entries = known(3)
    frame(entries, millis=np.tile(np.arange(8) * 20 + 17, 40)).to_csv(folder / "LOG.CSV", index=False)
    return entries


def two_clocks(folder: Path) -> Known:
    entries = known(3, num_steps=30)
    for index, (label, values) in enumerate(entries):
        table = frame([(label, values)]).drop(columns=["rec", "activity"])
        table.insert(0, "uptime_counter", np.arange(30) * 0.02)
        table.insert(0, "time", 1772359200000000000 + index * 10**12 + np.arange(30) * 20_000_000)
        (folder / label).mkdir(exist_ok=True)
        table.to_csv(folder / label / f"{index}.csv", index=False)
    return entries


def times_of_digits(folder: Path) -> Known:
    entries = known()
    times = [f"{BEGIN + timedelta(seconds=row):%Y%m%d%H%M%S}" for row in range(320)]
    frame(entries, time=times).to_csv(folder / "a.csv", index=False)
    return entries


def blanks_after_commas(folder: Path) -> Known:
    entries = known()
    (folder / "a.csv").write_text(frame(entries).to_csv(index=False).replace(",", ", "))
    return entries


def aligned_columns(folder: Path) -> Known:
    entries = known()
    (folder / "a.txt").write_text(frame(entries).to_string(index=False))
    return entries


def yes_and_no(folder: Path) -> Known:
    entries = [(label, np.column_stack([values[:, 0], values[:, 1] > 0])) for label, values in known()]
    table = frame(entries)
    table.assign(ay=table["ay"] > 0).to_csv(folder / "a.csv", index=False)
    return entries


def float_classes_of_rows(folder: Path) -> Known:
    entries = known(1, ("1.0000000e+00", "2.0000000e+00"), 24)
    lines = ["  ".join([label, *(f"{value:.7e}" for value in values[:, 0])]) for label, values in entries]
    (folder / "Toy_TRAIN.txt").write_text("".join(f"   {line}\n" for line in lines))
    return entries


def files_of_arrays(folder: Path) -> Known:
    entries = known(3, ("0", "1"), 20)
    labels = np.array([int(label) for label, _ in entries])
    values = np.stack([values for _, values in entries])
    for split, rows in (("Train", slice(0, 25)), ("Test", slice(25, None))):
        np.save(folder / f"X{split}.npy", values[rows])
        np.save(folder / f"y{split}.npy", labels[rows])
    return entries


def numbers_of_files(folder: Path) -> Known:
    entries = known()
    for index, (_, values) in enumerate(entries, 1):
        pd.DataFrame(values, columns=["lat", "lon"]).to_csv(folder / f"{index:03d}.csv", index=False)
    labels = [label for label, _ in entries]
    pd.DataFrame({"id": np.arange(1.0, 41), "class": labels}).to_csv(folder / "labels.csv", index=False)
    return entries


def quoted_classes(folder: Path) -> Known:
    entries = known(1, ("a b", "c,d"), 10)
    header = ["@relation 'Toy x'", *(f"@attribute 'att {step}' real" for step in range(10))]
    header += ["@attribute target {'a b','c,d'}", "@data"]
    rows = [",".join([*(f"{value:.3f}" for value in values[:, 0]), f"'{label}'"]) for label, values in entries]
    (folder / "a.arff").write_text("\n".join(header + rows))
    return entries


def german_counts(folder: Path) -> Known:
    entries = [(label, np.column_stack([values[:, 0], (values[:, 1] * 3000).round()])) for label, values in known()]
    table = frame(entries)
    counts = [f"{int(value):,}".replace(",", ".") for value in table["ay"]]
    table.assign(ay=counts).to_csv(folder / "a.csv", sep=";", decimal=",", index=False)
    return entries


def partitions(folder: Path) -> Known:
    entries = known()
    for index, (label, values) in enumerate(entries):
        (folder / f"activity={label}").mkdir(exist_ok=True)
        table = frame([(label, values)]).drop(columns=["rec", "activity"])
        table.to_parquet(folder / f"activity={label}" / f"part-{index}.parquet", index=False)
    return entries


LOGGED: Mapping[str, tuple[Callable[[Path], Known], str]] = {
    "numbered by floats": (numbered_by_floats, ""),
    "decimals": (decimals, ""),
    "durations": (durations, "a step every 0.02 s"),
    "clock": (clock, "a step every 1 s"),
    "milliseconds since the start": (milliseconds_since_the_start, "a step every 0.02 s"),
    "two clocks": (two_clocks, "column 'uptime_counter' is no feature: it rises evenly from step to step"),
    "times of digits": (times_of_digits, "2026-01-13T09:58:00Z"),
    "blanks after commas": (blanks_after_commas, "trim_labels: true"),
    "aligned columns": (aligned_columns, "delimiter: ' '"),
    "yes and no": (yes_and_no, ""),
    "float classes of rows": (float_classes_of_rows, "column_1 … column_24 are taken as the 24 steps of a row"),
    "files of arrays": (files_of_arrays, "arrays of given splits: test, train"),
    "numbers of files": (numbers_of_files, "labels.csv"),
    "german counts": (german_counts, "thousands: ."),
    "partitions": (partitions, "label: path[-2]"),
    "quoted classes": (quoted_classes, ""),
}
"""As `READ` of `awkward_files`."""


def unlabelled_ts(folder: Path) -> None:
    """Write what a model that was trained on `.ts` files may be asked: without classes, and with none in the header."""
    write_ts(folder, [("x", values) for _, values in known()])
    for path in folder.glob("*.ts"):
        path.write_text(path.read_text().replace(":x\n", "\n").replace("@classLabel true x", "@classLabel false"))
