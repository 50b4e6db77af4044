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
    first: SequenceFile | None = None
    seen: list[UInt64[np.ndarray, " id"]] = []
    for path in paths:
        file = SequenceFile.open(path, params.features)
        first = first or file
        if file.features != first.features:
            raise InputError(
                f"{path}: features {', '.join(file.features)}, but {first.path} has {', '.join(first.features)}"
            )
        if file.columns != first.columns:
            raise InputError(
                f"{path}: columns {', '.join(file.columns)}, but {first.path} has {', '.join(first.columns)}"
            )
        yield from _split(file, params, raw)
        seen.append(_new_ids(file, paths, seen))


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


def _new_ids(
    file: SequenceFile, paths: Sequence[Path], seen: Sequence[UInt64[np.ndarray, " earlier"]]
) -> UInt64[np.ndarray, " id"]:
    """Return the hashes of a file's ids, eight bytes each, once none of them came before."""
    ids = pa.chunked_array([batch.column("id") for batch in file.batches(["id"])], pa.string())
    hashes = key_hashes(ids.to_pylist())
    _, first_rows = np.unique(hashes, return_index=True)
    if len(first_rows) < len(hashes):
        row = int(np.setdiff1d(np.arange(len(hashes)), first_rows)[0])
        raise InputError(f"{file.path}: row {row}: id {ids[row].as_py()!r} came before in the same file")
    for path, earlier in zip(paths, seen, strict=False):
        again = np.flatnonzero(np.isin(hashes, earlier))
        if len(again):
            row = int(again[0])
            raise InputError(f"{file.path}: row {row}: id {ids[row].as_py()!r} came before in {path}")
    return hashes
