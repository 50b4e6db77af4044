"""The user's own sequences: Parquet files in the contract's schema below `data/raw`."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from jaxtyping import UInt64

from rnnflow import parquet
from rnnflow.errors import InputError
from rnnflow.params import GenerateParams
from rnnflow.parquet import SequenceFile
from rnnflow.splitting import SPLITS, assign, key_hashes


def read(params: GenerateParams, raw: Path) -> Iterator[tuple[str, pa.Table]]:
    """Yield the rows of every Parquet file below `raw`, split by group where there is one and by id elsewhere.

    Two files never share a table, so that a new delivery adds tables and changes none.

    Raises:
        InputError: no file, a damaged one, files with other features or columns than the first, an id that came before.
    """
    paths = sorted(path for path in raw.rglob("*.parquet") if path.is_file())  # Spark calls its folders so, too
    if not paths:
        raise InputError(f"{raw}: no Parquet file, which source 'files' reads; see {raw}/README.md")
    files: list[SequenceFile] = []
    hashes: list[UInt64[np.ndarray, " _"]] = []
    for path in paths:
        file = SequenceFile.open(path, params.features)
        files.append(file)
        first = files[0]
        if file.features != first.features:
            raise InputError(
                f"{path}: features {', '.join(file.features)}, but {first.path} has {', '.join(first.features)}"
            )
        if file.columns != first.columns:
            raise InputError(
                f"{path}: columns {', '.join(file.columns)}, but {first.path} has {', '.join(first.columns)}"
            )
        yield from _split(file, params, raw)
        hashes.append(key_hashes(_ids(file).to_pylist()))
    _check_ids(files, hashes)


def _split(file: SequenceFile, params: GenerateParams, raw: Path) -> Iterator[tuple[str, pa.Table]]:
    schema = parquet.schema(file.features, file.columns)
    key = "group" if "group" in file.columns else "id"
    name = key_hashes([file.path.relative_to(raw).as_posix()], params.seed)[0]
    rng = np.random.default_rng(int(name))
    waiting: list[pa.Table] = [schema.empty_table()] * len(SPLITS)
    for batch in file.batches():
        table = pa.Table.from_arrays([batch.column(name) for name in schema.names], schema=schema)
        sides = assign(table[key].to_pylist(), params.split, params.seed)
        for index, split in enumerate(SPLITS):
            waiting[index] = pa.concat_tables([waiting[index], table.filter(pa.array(sides == index))])
            while len(waiting[index]) >= params.shard_rows:
                yield split, _shuffled(waiting[index].slice(0, params.shard_rows), rng)
                waiting[index] = waiting[index].slice(params.shard_rows)
    for index, split in enumerate(SPLITS):
        if len(waiting[index]):
            yield split, _shuffled(waiting[index], rng)


def _shuffled(table: pa.Table, rng: np.random.Generator) -> pa.Table:
    return table.take(rng.permutation(len(table))).combine_chunks()


def _check_ids(files: Sequence[SequenceFile], hashes: Sequence[UInt64[np.ndarray, " _"]]) -> None:
    """Refuse an id that came before; one sort of eight bytes an id tells whether there is any."""
    every = np.concatenate(hashes)
    order = np.argsort(every, kind="stable")
    repeated = np.flatnonzero(every[order[1:]] == every[order[:-1]])
    if not len(repeated):
        return
    ends = np.cumsum([len(part) for part in hashes])
    again = int(order[repeated + 1].min())
    before = int(np.flatnonzero(every == every[again])[0])
    (file, row), (earlier, _) = (_place(files, ends, position) for position in (again, before))
    name = _ids(file)[row].as_py()
    where = "in the same file" if file is earlier else f"in {earlier.path}"
    raise InputError(f"{file.path}: row {row}: id {name!r} came before {where}")


def _ids(file: SequenceFile) -> pa.ChunkedArray:
    return pa.chunked_array([batch.column("id") for batch in file.batches(["id"])], pa.string())


def _place(files: Sequence[SequenceFile], ends: np.ndarray, position: int) -> tuple[SequenceFile, int]:
    index = int(np.searchsorted(ends, position, side="right"))
    return files[index], position - (int(ends[index - 1]) if index else 0)
