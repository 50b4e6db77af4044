import gzip
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rnnflow.generation.splitting import SPLITS
from rnnflow.params.generate import GenerateParams
from rnnflow.runtime.provenance import ROOT
from rnnflow.sequences import dataset
from stages.generate import generate
from tests.recordings import (
    FEATURES,
    Recording,
    long_table,
    recordings,
    write_csv_lists,
    write_frame,
    write_long,
    write_rows,
)

SHARES = {"validation": 0.25, "test": 0.25}


def rows(raw: Path, files: dict[str, Any] | None = None, **settings: Any) -> pd.DataFrame:
    """Run the stage's work and return the data set, one row per sequence, with the column `split`."""
    wanted = GenerateParams.model_validate({"source": "files", "files": files or {}, "split": SHARES, **settings})
    generate(wanted, raw, raw.parent / "sequences", {}, raw.parent / "report")
    parts = [
        pq.ParquetFile(path).read().to_pandas().assign(split=split)
        for split in SPLITS
        for path in sorted((raw.parent / "sequences" / split).glob("*.parquet"))
    ]
    return pd.concat(parts, ignore_index=True)


def assert_holds(found: pd.DataFrame, expected: Sequence[Recording]) -> None:
    """Check ids, labels and values, to the bit."""
    assert sorted(found["id"]) == sorted(name for name, _, _ in expected)
    by_id = found.set_index("id")
    for name, label, values in expected:
        assert by_id.loc[name, "label"] == label
        np.testing.assert_array_equal(by_id.loc[name, "sequence"], values.reshape(-1))


def nested(entries: Sequence[Recording]) -> pa.Array:
    return pa.array([values.tolist() for _, _, values in entries], pa.list_(pa.list_(pa.float32())))


def flat(entries: Sequence[Recording], kind: pa.DataType) -> pa.Array:
    return pa.array([values.reshape(-1).tolist() for _, _, values in entries], kind)


def tensors(entries: Sequence[Recording]) -> pa.Array:
    return pa.FixedShapeTensorArray.from_numpy_ndarray(np.stack([values for _, _, values in entries]))


def of_feature(entries: Sequence[Recording], index: int) -> pa.Array:
    return pa.array([values[:, index].tolist() for _, _, values in entries])


ROW_FORMS: dict[str, Callable[[Sequence[Recording]], dict[str, pa.Array]]] = {
    "list": lambda entries: {"sequence": flat(entries, pa.list_(pa.float64()))},
    "large list": lambda entries: {"sequence": flat(entries, pa.large_list(pa.float32()))},
    "fixed-size list": lambda entries: {"sequence": flat(entries, pa.list_(pa.float32(), 12))},
    "list of lists": lambda entries: {"sequence": nested(entries)},
    "tensor": lambda entries: {"sequence": tensors(entries)},
    "list a feature": lambda entries: {"x": of_feature(entries, 0), "y": of_feature(entries, 1)},
}


@pytest.mark.parametrize("form", ROW_FORMS)
def test_a_row_may_be_a_sequence(form: str, tmp_path: Path) -> None:
    entries = recordings(same_length=6 if form in ("fixed-size list", "tensor") else None)
    write_rows(tmp_path / "raw" / "a.parquet", entries, ROW_FORMS[form](entries))
    assert_holds(rows(tmp_path / "raw", {"features": FEATURES}), entries)


@pytest.mark.parametrize("ending", ["csv", "tsv", "parquet"])
def test_a_row_may_be_a_time_step(ending: str, tmp_path: Path) -> None:
    entries = recordings()
    write_long(tmp_path / "raw" / f"a.{ending}", entries)
    found = rows(tmp_path / "raw")
    assert_holds(found, entries)
    assert found.set_index("id").loc["r3", "time"] == pd.Timestamp("2026-03-04T00:00:00Z")
    assert dataset.load(tmp_path / "sequences" / "train").features == ("x", "y")


def test_cells_of_csv_may_be_lists(tmp_path: Path) -> None:
    entries = recordings()
    write_csv_lists(tmp_path / "raw" / "a.csv", entries)
    assert_holds(rows(tmp_path / "raw", {"features": FEATURES}), entries)


def test_cells_may_be_long(tmp_path: Path) -> None:
    entries = recordings(40, same_length=4000)
    write_csv_lists(tmp_path / "raw" / "a.csv", entries)
    assert_holds(rows(tmp_path / "raw", {"features": FEATURES}), entries)


def test_csv_may_be_compressed_and_have_another_delimiter(tmp_path: Path) -> None:
    entries = recordings()
    (tmp_path / "raw").mkdir()
    with gzip.open(tmp_path / "raw" / "a.csv.gz", "wt") as file:
        long_table(entries).to_csv(file, index=False, sep=";")
    assert_holds(rows(tmp_path / "raw", {"delimiter": ";"}), entries)


def test_arrays_are_cut_at_their_lengths(tmp_path: Path) -> None:
    entries = recordings()
    padded = np.full((len(entries), 9, 2), 1e6, np.float32)
    for row, (_, _, values) in zip(padded, entries, strict=True):
        row[: len(values)] = values
    (tmp_path / "raw").mkdir()
    lengths = [len(values) for _, _, values in entries]
    labels = np.array([entry[1] for entry in entries], "S")
    np.savez(tmp_path / "raw" / "a.npz", X=padded, y=labels, lengths=lengths, names_of_features=FEATURES)
    found = rows(tmp_path / "raw", {"columns": {"sequence": "X", "label": "y"}})
    assert_holds(found, [(f"a#{index}", label, values) for index, (_, label, values) in enumerate(entries)])


SEPARATOR = {"ts": ":", "arff": ","}
HEADS = {
    "ts": ["@problemName Gun", "@timestamps false", "@missing false", "@univariate true", "@equalLength true", "@seriesLength 150", "@classLabel true 1 2"],
    "arff": ["@relation Gun", *(f"@attribute att{index} numeric" for index in range(150)), "@attribute target {1,2}"],
}  # fmt: skip


@pytest.mark.parametrize("ending", ["ts", "arff"])
def test_the_archives_own_files_bring_their_split(ending: str, tmp_path: Path) -> None:
    datasets = pytest.importorskip("aeon.datasets")
    (tmp_path / "raw").mkdir()
    for split in ("TRAIN", "TEST"):
        series, labels = datasets.load_gunpoint(split=split.lower())
        lines = [
            SEPARATOR[ending].join([",".join(map(str, entry[0])), label])
            for entry, label in zip(series, labels, strict=True)
        ]
        (tmp_path / "raw" / f"Gun_{split}.{ending}").write_text("\n".join([*HEADS[ending], "@data", *lines]))
    found = rows(tmp_path / "raw")
    assert dict(found["id"].str.extract(r"_(TRAIN|TEST)#")[0].value_counts()) == {"TEST": 150, "TRAIN": 50}
    assert set(found.loc[found["split"] == "test", "id"].str[:8]) == {"Gun_TEST"}
    series, labels = datasets.load_gunpoint(split="test")
    first = found.set_index("id").loc["Gun_TEST#0"]
    np.testing.assert_allclose(first["sequence"], series[0][0], rtol=1e-5)
    assert first["label"] == labels[0]


def test_a_file_may_be_a_recording_and_its_folder_the_label(tmp_path: Path) -> None:
    entries = recordings()
    for name, label, values in entries:
        write_frame(tmp_path / "raw" / label / f"{name}.csv", pd.DataFrame(values, columns=FEATURES))
    found = rows(tmp_path / "raw", {"columns": {"id": "path", "label": "path[-2]"}})
    assert_holds(found, [(f"{label}/{name}", label, values) for name, label, values in entries])


def test_only_the_ending_of_a_path_is_cut_off(tmp_path: Path) -> None:
    for name, _, values in recordings(60):
        kind = ("run.fast", "run.slow", "walk")[int(name[1:]) % 3]
        write_frame(tmp_path / "raw" / name / f"{kind}.csv", pd.DataFrame(values, columns=FEATURES))
    found = rows(tmp_path / "raw", {"columns": {"id": "path", "label": "path[-1]"}})
    assert set(found["label"]) == {"run.fast", "run.slow", "walk"}


def test_linked_folders_are_read_and_hidden_ones_are_not(tmp_path: Path) -> None:
    write_long(tmp_path / "raw" / "june" / "a.csv", recordings(40, prefix="june"))
    write_long(tmp_path / "elsewhere" / "a.csv", recordings(40, prefix="july"))
    (tmp_path / "raw" / "july").symlink_to(tmp_path / "elsewhere")
    write_long(tmp_path / "raw" / "june" / ".ipynb_checkpoints" / "a.csv", recordings(40, prefix="june"))
    (tmp_path / "raw" / "june.dvc").write_text("outs: []")
    assert len(rows(tmp_path / "raw")) == 80
    assert len(rows(tmp_path / "raw", {"paths": ["ju*"]})) == 80


@pytest.mark.parametrize("ending", ["+00", " UTC", ".123456789Z"])
def test_times_are_read_as_databases_write_them(ending: str, tmp_path: Path) -> None:
    frame = long_table(recordings())
    frame["time"] = " " + frame["time"].str.replace("T", " ").str.replace("Z", ending)
    write_frame(tmp_path / "raw" / "a.csv", frame)
    found = rows(tmp_path / "raw").set_index("id")
    assert found.loc["r3", "time"].floor("s") == pd.Timestamp("2026-03-04T00:00:00Z")


def test_a_file_of_the_data_set_ends_at_its_rows_or_its_values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rnnflow.generation.shards.SHARD_VALUES", 100)
    entries = recordings(80, same_length=9)  # 18 values each: a file is full with the sixth
    write_long(tmp_path / "raw" / "a.csv", entries)
    assert_holds(rows(tmp_path / "raw", shard_rows=1000), entries)
    counts = [pq.read_metadata(path).num_rows for path in sorted((tmp_path / "sequences/train").glob("*.parquet"))]
    assert set(counts[:-1]) == {6}
    rows(tmp_path / "raw", shard_rows=4)
    counts = [pq.read_metadata(path).num_rows for path in sorted((tmp_path / "sequences/train").glob("*.parquet"))]
    assert set(counts[:-1]) == {4}


def test_columns_are_mapped(tmp_path: Path) -> None:
    entries = recordings()
    frame = long_table(entries, person=[f"p{index % 10}" for index in range(40)], note=["?"] * 40)
    write_frame(tmp_path / "raw" / "a.csv", frame.rename(columns={"id": "Session", "label": "Activity"}))
    columns = {"id": "Session", "label": "Activity", "group": "person"}
    found = rows(tmp_path / "raw", {"columns": columns, "features": ["y"]})
    assert_holds(found, [(name, label, values[:, 1:]) for name, label, values in entries])
    assert set(found["group"]) == {f"p{index}" for index in range(10)}


def test_labels_and_ids_may_be_whole_numbers(tmp_path: Path) -> None:
    entries = recordings()
    write_rows(tmp_path / "raw" / "a.parquet", entries, {"sequence": nested(entries), "label": pa.array([7, 9] * 20)})
    assert set(rows(tmp_path / "raw", {"features": FEATURES})["label"]) == {"7", "9"}


def test_empty_cells_are_missing_values(tmp_path: Path) -> None:
    entries = recordings()
    entries[5][2][1, 0] = np.nan
    write_long(tmp_path / "raw" / "a.csv", entries)
    assert_holds(rows(tmp_path / "raw"), entries)


def test_a_byte_order_mark_is_no_part_of_the_first_name(tmp_path: Path) -> None:
    entries = recordings()
    path = write_long(tmp_path / "raw" / "a.csv", entries)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert_holds(rows(tmp_path / "raw"), entries)


def test_globs_and_folders_choose_files(tmp_path: Path) -> None:
    for month in ("may", "june", "july"):
        write_long(tmp_path / "raw" / month / f"{month}.csv", recordings(30, prefix=month))
    (tmp_path / "raw" / "may" / "notes.txt").write_text("nothing")
    found = rows(tmp_path / "raw", {"paths": ["ju*/*.csv"]})
    assert set(found["id"].str.rstrip("0123456789")) == {"june", "july"}
    assert len(rows(tmp_path / "raw", {"paths": ["may", "june/june.csv"]})) == 60


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_time_since_the_last_step_is_a_feature(ending: str, tmp_path: Path) -> None:
    entries = recordings()
    frame = long_table(entries)
    frame["time"] = 1.5 * frame.groupby("id").cumcount() ** 2 + 1
    write_frame(tmp_path / "raw" / f"a.{ending}", frame)
    found = rows(tmp_path / "raw", {"time_since_last_step": True})
    sequence = found.set_index("id").loc["r4", "sequence"].reshape(-1, 3)
    np.testing.assert_allclose(sequence[:, 2], np.concatenate([[0], 1.5 * (2 * np.arange(1, len(sequence)) - 1)]))


def test_a_long_file_is_read_across_its_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rnnflow.generation.sources.csv_files.BLOCK_BYTES", 700)
    entries = recordings(200)
    write_long(tmp_path / "raw" / "a.csv", entries, group=[f"g{index // 4}" for index in range(200)])
    assert_holds(rows(tmp_path / "raw"), entries)


PEAK_MB = """
import sys
from pathlib import Path
import pyarrow as pa
from rnnflow.params.generate import GenerateParams
from rnnflow.runtime.provenance import ROOT
from stages.generate import generate
settings = {"source": "files", "split": {"validation": 0.25, "test": 0.25}, "shard_rows": 1000}
raw = Path(sys.argv[1])
generate(GenerateParams.model_validate(settings), raw, raw.parent / "sequences", {}, raw.parent / "report")
print("peak", pa.default_memory_pool().max_memory() / 1e6)
"""
"""The most memory that Arrow held, where all the tables are."""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    peaks = []
    for count in (2, 8):
        write_many(tmp_path / str(count) / "raw" / "a.parquet", count)
        command = [sys.executable, "-c", PEAK_MB, str(tmp_path / str(count) / "raw")]
        printed = subprocess.check_output(command, cwd=ROOT, env=os.environ | {"RNNFLOW_THREADS": "3"}, text=True)
        peaks.append(float(printed.split()[-1]))
    assert peaks[1] < 1.5 * peaks[0]  # of a file four times as large; what threads have in flight varies


def write_many(path: Path, count: int) -> None:
    """Write `count` row groups of 3,000 recordings of 100 steps."""
    path.parent.mkdir(parents=True)
    for group in range(count):
        table = pa.table({
            "id": np.repeat(np.arange(group * 3000, (group + 1) * 3000), 100),
            "label": np.repeat(np.arange(3000) % 3, 100),
            **{name: np.random.default_rng(group).standard_normal(300_000) for name in "abcd"},
        })  # fmt: skip
        if group == 0:
            writer = pq.ParquetWriter(path, table.schema)
        writer.write_table(table)
    writer.close()
