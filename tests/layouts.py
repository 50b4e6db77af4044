"""Recordings in the layouts and under the names that people keep them."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

NUM_RECORDINGS = 60
ACTIVITIES = ("run", "walk")


def recordings(**columns: str) -> pd.DataFrame:
    """Return one row per time step: `recording`, `activity`, `subject`, `stamp`, `a` and `b`, renamed by the arguments."""
    rng = np.random.default_rng(0)
    parts = []
    for index in range(NUM_RECORDINGS):
        length = 8 + index % 3
        start = pd.Timestamp("2026-01-01") + pd.Timedelta(hours=index)
        parts.append(
            pd.DataFrame(
                {
                    "recording": f"r{index:02d}",
                    "activity": ACTIVITIES[index % 7 % 2],
                    "subject": f"p{index % 20}",
                    "stamp": start + pd.to_timedelta(np.arange(length) * 500, unit="ms"),
                    "a": rng.normal(size=length),
                    "b": rng.normal(size=length),
                }
            )
        )
    table = pd.concat(parts, ignore_index=True)
    dropped = [name for name in ("subject", "stamp") if name not in columns]
    return table.drop(columns=dropped).rename(columns=columns)


def epochs(table: pd.DataFrame, name: str, per_second: int) -> pd.DataFrame:
    seconds = (table[name] - pd.Timestamp("1970-01-01")) / pd.Timedelta(seconds=1)
    return table.assign(**{name: (seconds * per_second).astype("int64")})


def as_csv(delimiter: str, name: str = "a.csv", **columns: str) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        recordings(**columns).to_csv(folder / name, index=False, sep=delimiter)

    return write


def milliseconds(folder: Path) -> None:
    table = epochs(recordings(recording="Session", activity="Class", stamp="ts"), "ts", 1000)
    table.to_parquet(folder / "a.parquet", index=False)


def nanoseconds_with_index(folder: Path) -> None:
    table = epochs(recordings(recording="uid", activity="target", subject="PatientID", stamp="epoch"), "epoch", 10**9)
    table["note"] = "fine"
    table["class_code"] = table["target"].map({"run": 1, "walk": 2})
    table.to_csv(folder / "a.csv")


def folders(folder: Path, *splits: str) -> None:
    for index, (_, table) in enumerate(recordings().groupby("recording")):
        where = folder / (splits[index % len(splits)] if splits else ".") / table["activity"].iloc[0]
        where.mkdir(parents=True, exist_ok=True)
        table[["a", "b"]].to_csv(where / f"{index}.csv", index=False)


def folders_with_splits(folder: Path) -> None:
    folders(folder, "Train", "Train", "test")


def folders_of_subjects(folder: Path) -> None:
    for index, (_, table) in enumerate(recordings().groupby("recording")):
        where = folder / f"subject_{index % 20:02d}" / table["activity"].iloc[0]
        where.mkdir(parents=True, exist_ok=True)
        table[["a", "b"]].to_parquet(where / f"{index}.parquet", index=False)


def files_of_splits(folder: Path) -> None:
    table = recordings(recording="trial", activity="category")
    is_test = table["trial"] > "r40"
    table[~is_test].to_csv(folder / "train.csv", index=False)
    table[is_test].to_csv(folder / "test.csv", index=False)


def files_of_classes(folder: Path) -> None:
    for name, table in recordings().groupby("activity"):
        table.drop(columns="activity").to_csv(folder / f"{name}.csv", index=False)


def nameless(folder: Path) -> None:
    recordings(recording="foo", activity="bar", stamp="baz").to_parquet(folder / "a.parquet", index=False)


def sequences() -> dict[str, Any]:
    """Return one row per sequence of lists: `recording`, `activity`, `a` and `b`."""
    grouped = recordings().groupby("recording")
    return {
        "recording": list(grouped.groups),
        "activity": [table["activity"].iloc[0] for _, table in grouped],
        "a": [table["a"].tolist() for _, table in grouped],
        "b": [table["b"].tolist() for _, table in grouped],
    }


def nested() -> list[list[list[float]]]:
    content = sequences()
    return [np.column_stack([a, b]).tolist() for a, b in zip(content["a"], content["b"], strict=True)]


def lists_of_features(folder: Path) -> None:
    pq.write_table(pa.table(sequences()), folder / "a.parquet")


def one_list_and_numbers(folder: Path) -> None:
    content = sequences()
    content["age"] = [float(index) for index in range(NUM_RECORDINGS)]
    del content["b"]
    pq.write_table(pa.table(content), folder / "a.parquet")


def lists_of_lists(folder: Path) -> None:
    content = sequences()
    pq.write_table(
        pa.table({"case": content["recording"], "outcome": content["activity"], "Signal": nested()}),
        folder / "a.parquet",
    )


def cells(folder: Path) -> None:
    content = sequences()
    frame = pd.DataFrame({"Activity": content["activity"], "readings": [json.dumps(sequence) for sequence in nested()]})
    frame.to_csv(folder / "a.csv", index=False, sep=";")


def arrays(folder: Path) -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(NUM_RECORDINGS) % 7 % 2
    lengths = rng.integers(3, 9, NUM_RECORDINGS)
    np.savez(folder / "a.npz", X=rng.normal(size=(NUM_RECORDINGS, 8, 2)), y=labels.astype(float), lengths=lengths)


def archive(folder: Path) -> None:
    rng = np.random.default_rng(0)
    for side in ("TRAIN", "TEST"):
        lines = [
            f"{','.join(f'{value:.4f}' for value in rng.normal(size=6))}:{ACTIVITIES[row % 2]}" for row in range(30)
        ]
        header = "@problemName Toy\n@timeStamps false\n@missing false\n@univariate true\n@equalLength true\n"
        text = f"{header}@seriesLength 6\n@classLabel true run walk\n@data\n" + "\n".join(lines) + "\n"
        (folder / f"Toy_{side}.ts").write_text(text)


def one_stream(folder: Path) -> None:
    """Write one recording in which the label changes every 20 steps."""
    rng = np.random.default_rng(0)
    times = pd.Timestamp("2026-01-01") + pd.to_timedelta(np.arange(3000) * 20, unit="ms")
    labels = np.array(ACTIVITIES)[np.arange(3000) // 20 % 2]
    table = pd.DataFrame({"timestamp": times, "x": rng.normal(size=3000), "y": rng.normal(size=3000), "state": labels})
    table.to_csv(folder / "stream.csv", index=False)


def subjects_who_change(folder: Path) -> None:
    """Write recordings of a subject each, in which the label changes every 50 steps."""
    rng = np.random.default_rng(0)
    tables = []
    for subject in range(8):
        labels = np.array(ACTIVITIES)[np.arange(600) // 50 % 2]
        tables.append(pd.DataFrame({"subject": subject, "acc": rng.normal(size=600), "activity": labels}))
    pd.concat(tables).to_csv(folder / "a.csv", index=False)


Section = dict[str, Any]
FEW_NAMES: Section = {"columns": {"id": "recording", "label": "activity"}}

LAYOUTS: Mapping[str, tuple[Callable[[Path], None], Section]] = {
    "comma": (as_csv(","), FEW_NAMES),
    "semicolon": (as_csv(";"), FEW_NAMES | {"delimiter": ";"}),
    "pipe": (as_csv("|"), FEW_NAMES | {"delimiter": "|"}),
    "tab": (as_csv("\t"), FEW_NAMES | {"delimiter": "\t"}),
    "tsv": (as_csv("\t", "a.tsv.gz"), FEW_NAMES | {"delimiter": "\t"}),
    "default names": (as_csv(",", recording="id", activity="label", subject="group", stamp="time"), {}),
    "capitals": (
        as_csv(",", recording="RecordingID", activity="Activity", subject="User-ID", stamp="Date Time"),
        {"columns": {"id": "RecordingID", "label": "Activity", "group": "User-ID", "time": "Date Time"}},
    ),
    "milliseconds": (
        milliseconds,
        {"columns": {"id": "Session", "label": "Class", "time": "ts"}, "time_unit": "ms"},
    ),
    "nanoseconds with an index": (
        nanoseconds_with_index,
        {
            "columns": {"id": "uid", "label": "target", "group": "PatientID", "time": "epoch"},
            "features": ["a", "b"],
            "time_unit": "ns",
        },
    ),
    "nameless": (nameless, {"columns": {"id": "foo", "label": "bar", "time": "baz"}}),
    "folders": (folders, {"columns": {"id": "path", "label": "path[-2]"}}),
    "folders with splits": (
        folders_with_splits,
        {"columns": {"id": "path", "label": "path[-2]", "split": "path[-3]"}},
    ),
    "folders of subjects": (
        folders_of_subjects,
        {"columns": {"id": "path", "label": "path[-2]", "group": "path[-3]"}},
    ),
    "files of splits": (files_of_splits, {"columns": {"id": "trial", "label": "category", "split": "path[-1]"}}),
    "files of classes": (files_of_classes, {"columns": {"id": "recording", "label": "path[-1]"}}),
    "lists of features": (lists_of_features, FEW_NAMES),
    "one list and numbers": (one_list_and_numbers, FEW_NAMES | {"features": ["a"]}),
    "lists of lists": (
        lists_of_lists,
        {
            "columns": {"id": "case", "label": "outcome", "sequence": "Signal"},
            "features": ["feature_0", "feature_1"],
        },
    ),
    "cells": (
        cells,
        {
            "columns": {"id": "path", "label": "Activity", "sequence": "readings"},
            "features": ["feature_0", "feature_1"],
            "delimiter": ";",
        },
    ),
    "arrays": (arrays, {"columns": {"label": "y", "sequence": "X"}}),
    "archive": (archive, {}),
    "one stream": (one_stream, {"columns": {"id": "path", "label": "state", "time": "timestamp"}}),
    "subjects who change": (subjects_who_change, {"columns": {"id": "subject", "label": "activity"}}),
}
