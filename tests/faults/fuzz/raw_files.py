"""Raw files of every format, and the shards of a data set."""

import gzip
import io
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console

from rnnflow.advice.inspection import inspect
from rnnflow.advice.inspection.guess import UserHints
from rnnflow.generation.sources.cutting import sequences
from rnnflow.generation.sources.files import cutter_of, open_file
from rnnflow.params.generate import FilesParams
from rnnflow.sequences.parquet import SequenceFile
from tests import toys
from tests.faults.fuzz.mutations import damaged
from tests.faults.fuzz.trials import Target, bytes_target

RECORDINGS = 6
"""Of each file."""


def targets(folder: Path) -> list[Target]:
    shard = toys.write_sequences(
        folder / "part.parquet", toys.random_sequences([5] * RECORDINGS), ["a", "b"] * (RECORDINGS // 2)
    )
    compressed = Target(
        "inside of raw.csv.gz",
        lambda rng: gzip.compress(damaged(_csv(), [_csv("\t")], rng), 1, mtime=0),
        partial(_read_raw, layout=_NAMED),
        "raw.csv.gz",
    )
    raw = [
        bytes_target(name, [make() for make in makes], partial(_read_raw, layout=layout))
        for name, layout, makes in _FILES
    ]
    return [
        compressed,
        *raw,
        *(replace(each, name=f"inspect {each.name}", read=_inspect, share=0.1) for each in raw),
        bytes_target("shard.parquet", [shard.read_bytes()], lambda path: list(SequenceFile.open(path).batches())),
        bytes_target("raw shard.parquet", [shard.read_bytes()], partial(_read_raw, layout={})),
    ]


def _inspect(path: Path) -> None:
    with Path(os.devnull).open("w") as nowhere:
        inspect(Console(file=nowhere), [str(path)], UserHints())


def _read_raw(path: Path, layout: Mapping[str, Any]) -> None:
    files = FilesParams.model_validate({"max_length": 1000, **layout})
    opened = open_file(path, Path(path.name), files)
    for _ in sequences(opened.chunks, cutter_of(opened, files, None)):
        pass


def _long() -> dict[str, list[Any]]:
    rows = [(recording, step) for recording in range(RECORDINGS) for step in range(4)]
    return {
        "id": [f"r{recording}" for recording, _ in rows],
        "label": ["walk" if recording % 2 else "run" for recording, _ in rows],
        "time": [f"2026-01-0{recording + 1} 00:00:0{step}" for recording, step in rows],
        "x": [step + recording / 8 for recording, step in rows],
        "y": [None if step == 2 else -step for _, step in rows],
    }


def _csv(sign: str = ",", lists: bool = False) -> bytes:
    if lists:
        return b"id,label,sequence\n" + b"".join(b'r%d,a,"[[1, 2], [3.5, null]]"\n' % row for row in range(RECORDINGS))
    table = _long()
    lines = [list(table), *zip(*table.values(), strict=True)]
    return "".join(sign.join("" if cell is None else str(cell) for cell in line) + "\n" for line in lines).encode()


def _npz(**arrays: Any) -> bytes:
    file = io.BytesIO()
    values = np.arange(RECORDINGS * 8, dtype=np.float32).reshape(RECORDINGS, 4, 2)
    labels = np.array(["a", "b"] * (RECORDINGS // 2))
    np.savez_compressed(file, sequence=values, label=labels, lengths=np.array([4, 3] * (RECORDINGS // 2)), **arrays)
    return file.getvalue()


def _parquet(lists: bool = False) -> bytes:
    table = _long() | {"time": [np.datetime64(time) for time in _long()["time"]]}
    if lists:
        table = {"id": ["a", "b"], "label": ["x", "y"], "sequence": [[1.0, 2.0, 3.0], [4.0]]}
    file = io.BytesIO()
    pq.write_table(pa.table(table), file)
    return file.getvalue()


def _ts() -> bytes:
    head = "@problemName toy\n@timeStamps false\n@univariate false\n@dimensions 2\n@classLabel true a b\n@data\n"
    return (head + "1,2,?:3,4,5:a\n-1,2e3,.5:3,4,5:b\n" * 2).encode()


def _stamped_ts() -> bytes:
    head = "@timeStamps true\n@classLabel true a b\n@data\n"
    return (head + "(2026-01-01 00:00:00,-1.5),(2026-01-01 00:00:01,2):a\n" * 3).encode()


def _arff() -> bytes:
    return b"@relation toy\n@attribute a1 numeric\n@attribute a2 numeric\n@attribute class {a,'b c'}\n@data\n1,2,a\n3,?,'b c'\n"


_NAMED: dict[str, Any] = {"features": ["x", "y"]}
_FEATURE: dict[str, Any] = {"features": ["x"]}
_FILES: Sequence[tuple[str, dict[str, Any], Sequence[Callable[[], bytes]]]] = (
    ("raw.csv", _NAMED, [_csv]),
    ("raw numbers.csv", {**_FEATURE, "thousands": "'", "comment": "#"}, [_csv]),
    ("raw lists.csv", _NAMED, [partial(_csv, lists=True)]),
    ("raw.tsv", _NAMED, [partial(_csv, "\t")]),
    ("raw.csv.gz", _NAMED, [lambda: gzip.compress(_csv(), mtime=0)]),
    ("raw.npz", {}, [_npz, lambda: _npz(group=np.arange(RECORDINGS))]),
    ("raw.parquet", _NAMED, [_parquet]),
    ("raw lists.parquet", _FEATURE, [partial(_parquet, lists=True)]),
    ("raw.ts", {}, [_ts, _stamped_ts]),
    ("raw.arff", {}, [_arff]),
)
