"""Which split a sequence belongs to."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from rnnflow.params.generate import SplitParams, as_utc
from rnnflow.runtime.array_types import Int8, Int64, UInt64
from rnnflow.runtime.errors import InputError

SPLITS = ("train", "validation", "test")
TRAIN, VALIDATION, TEST = range(3)
UNASSIGNED = 3
"""Given as training; moved to validation if no file gives a validation split."""
LEFT_OUT = -1
GIVEN_NAMES = {
    "train": TRAIN,
    "training": TRAIN,
    "validation": VALIDATION,
    "valid": VALIDATION,
    "val": VALIDATION,
    "dev": VALIDATION,
    "test": TEST,
    "testing": TEST,
}

SplitIndices = Int8[np.ndarray, " sequence"]
"""Indices in `SPLITS`, `UNASSIGNED` or `LEFT_OUT`."""


def key_hashes(keys: Sequence[str], seed: int = 0) -> UInt64[np.ndarray, " key"]:
    """Return a 64-bit hash of each key, the same on every machine."""
    salted = hashlib.blake2b(digest_size=8, salt=seed.to_bytes(8, "little"))
    digests = []
    for key in keys:
        hashed = salted.copy()  # half the time of one made anew
        hashed.update(key.encode())
        digests.append(hashed.digest())
    return np.frombuffer(b"".join(digests), dtype="<u8").astype(np.uint64)


def column_hashes(column: pa.ChunkedArray, seed: int = 0) -> UInt64[np.ndarray, " row"]:
    """Return `key_hashes` of a column in which entries recur."""
    encoded = column.combine_chunks().dictionary_encode()
    return key_hashes(encoded.dictionary.to_pylist(), seed)[encoded.indices.to_numpy()]


def assign(keys: UInt64[np.ndarray, " key"], params: SplitParams) -> SplitIndices:
    """Return the split of each key's hash.

    A key is an id, or a group where sequences have one. Its split depends on key, shares and seed alone:
    no sequence changes splits when the data grows, and no group is in two splits.
    """
    position = keys / 2.0**64
    splits = np.full(len(position), TRAIN, dtype=np.int8)
    splits[position < params.test + params.validation] = VALIDATION
    splits[position < params.test] = TEST
    return splits


class Splitter:
    """Decides the splits of the sequences of one file, table after table.

    Args:
        params: how.
        seed: decides what falls where.
        file: its name, which decides the order in which a stratified split deals out its sequences.
        place: the file in messages.
        num_trained: training sequences of each class so far; updated in place.
    """

    def __init__(self, params: SplitParams, seed: int, file: str, place: str, num_trained: Counter[str]) -> None:
        self.params = params
        self.num_trained = num_trained
        self.seed = seed
        self.file = file
        self.place = place
        self._num_dealt: dict[str, int] = defaultdict(int)

    def splits(self, table: pa.Table, id_hashes: UInt64[np.ndarray, " sequence"]) -> SplitIndices:
        """Return the split of each row of `table`; `id_hashes` are those of its ids with the seed.

        Raises:
            InputError: the table lacks what decides, or gives a split no name that is known.
        """
        by = chosen(self.params, table)
        if by == "given":
            return self._given(table, id_hashes)
        if by == "time":
            return self._by_time(table)
        if by == "stratified":
            return self._stratified(table["label"])
        return assign(self._group_hashes(table) if by == "group" else id_hashes, self.params)

    def _given(self, table: pa.Table, id_hashes: UInt64[np.ndarray, " sequence"]) -> SplitIndices:
        self._require(table, "split", "given splits")
        encoded = table["split"].combine_chunks().dictionary_encode()
        names = encoded.dictionary.to_pylist()
        codes = encoded.indices.to_numpy()
        if unknown := [name for name in names if name.lower() not in GIVEN_NAMES]:
            row = int(np.flatnonzero(codes == names.index(unknown[0]))[0])
            raise InputError(
                f"{self.place}: sequence {table['id'][row].as_py()!r}: split {unknown[0]!r} is not known, "
                "expected train, validation or test"
            )
        splits = np.array([GIVEN_NAMES[name.lower()] for name in names], dtype=np.int8)[codes]
        rows = np.flatnonzero(splits == TRAIN)
        has_groups = "group" in table.schema.names
        keys = (self._group_hashes(table) if has_groups else id_hashes)[rows]
        is_kept = keys / 2.0**64 < self.params.validation / (
            1 - self.params.test
        )  # of what is not held out for the test
        if not has_groups:
            place = self._places_in_class(table["label"].take(pa.array(rows)))
            is_kept = (is_kept & (place > 0)) | (place == 1)
        splits[rows[is_kept]] = UNASSIGNED
        return splits

    def _places_in_class(self, labels: pa.ChunkedArray) -> Int64[np.ndarray, " row"]:
        """Return for each training sequence how many of its class there were before.

        The first always trains and the second always validates, so that each class that can be in both splits is.
        """
        encoded = labels.combine_chunks().dictionary_encode()
        codes, names = encoded.indices.to_numpy(), encoded.dictionary.to_pylist()
        counts = np.bincount(codes, minlength=len(names))
        by_class = np.argsort(codes, kind="stable")
        places = np.empty(len(codes), np.int64)
        places[by_class] = np.arange(len(codes)) - np.repeat(np.cumsum(counts) - counts, counts)
        places += np.array([self.num_trained[name] for name in names], np.int64)[codes]
        self.num_trained.update(dict(zip(names, counts.tolist(), strict=True)))
        return places

    def _by_time(self, table: pa.Table) -> SplitIndices:
        self._require(table, "time", "a split by time")
        assert self.params.validation_from is not None
        assert self.params.test_from is not None
        starts = table["time"].cast(pa.int64()).to_numpy()
        ends = table["end"].to_numpy()
        splits = np.full(len(table), TRAIN, dtype=np.int8)
        for split, begin in ((VALIDATION, self.params.validation_from), (TEST, self.params.test_from)):
            cut = round(as_utc(begin).timestamp() * 1e6)
            splits[starts >= cut] = split
            crosses = (starts < cut) & (ends >= cut)
            if crosses.any() and "recording" not in table.schema.names:
                name = table["id"][int(crosses.argmax())].as_py()
                raise InputError(
                    f"{self.place}: sequence {name!r} begins before {SPLITS[split]}_from {begin} and ends after it; "
                    "choose a time between sequences, or cut recordings with generate.windows"
                )
            splits[crosses] = LEFT_OUT
        return splits

    def _stratified(self, labels: pa.ChunkedArray) -> SplitIndices:
        """Deal the sequences of each class out in blocks, each of which holds the shares (Zelen, 1974)."""
        encoded = labels.combine_chunks().dictionary_encode()
        splits = np.empty(len(labels), dtype=np.int8)
        codes = encoded.indices.to_numpy()
        for code, name in enumerate(encoded.dictionary.to_pylist()):
            rows = np.flatnonzero(codes == code)
            first = self._num_dealt[name]
            self._num_dealt[name] += len(rows)
            splits[rows] = self._dealt(name, first, first + len(rows))
        return splits

    def _dealt(self, label: str, first: int, stop: int) -> SplitIndices:
        """Return the splits of the sequences `first` to `stop` of a class."""
        size = int(np.ceil(1 / min(self.params.validation, self.params.test)))
        blocks = range(first // size, (stop - 1) // size + 1)
        dealt = np.concatenate([self._block(label, block, size) for block in blocks])
        return dealt[first - blocks[0] * size :][: stop - first]

    def _block(self, label: str, block: int, size: int) -> SplitIndices:
        key = int(key_hashes([f"{self.file}\0{label}"], self.seed)[0])
        ends = np.array([block, block + 1]) * size
        offsets = np.random.default_rng(key).random(2)  # so that 1.4 sequences a block are one in some, two in others
        num_test, num_validation = (
            int(np.diff(np.floor(ends * share + offset))[0])
            for share, offset in zip((self.params.test, self.params.validation), offsets, strict=True)
        )
        splits = np.full(size, TRAIN, dtype=np.int8)
        splits[: num_test + num_validation] = VALIDATION
        splits[:num_test] = TEST
        return np.random.default_rng([key, block]).permutation(splits)

    def _group_hashes(self, table: pa.Table) -> UInt64[np.ndarray, " sequence"]:
        self._require(table, "group", "a split by group")
        return column_hashes(table["group"], self.seed)

    def _require(self, table: pa.Table, column: str, what: str) -> None:
        if column not in table.schema.names:
            raise InputError(
                f"{self.place}: {what} (generate.split.by) needs a column {column!r}, see generate.files.columns"
            )


By = Literal["given", "group", "random", "stratified", "time"]


def chosen(params: SplitParams, table: pa.Table) -> By:
    """Return how a table is split, where the params leave it to the data."""
    if params.by != "auto":
        return params.by
    names = table.schema.names
    return "given" if "split" in names else "group" if "group" in names else "random"


def content_hashes(sequences: pa.ListArray) -> UInt64[np.ndarray, " sequence"]:
    """Return a 64-bit hash of each sequence's values, unlike for unlike values but for chance."""
    lengths = pc.list_value_length(sequences).to_numpy(zero_copy_only=False).astype(np.int64)
    values = sequences.flatten().to_numpy() + np.float32(0)  # -0.0 becomes 0.0
    values[np.isnan(values)] = np.nan
    starts = np.cumsum(lengths) - lengths
    place = np.arange(len(values)) - np.repeat(starts, lengths)
    of_place = _mixed(np.arange(1, lengths.max(initial=0) + 1, dtype=np.uint64))
    with np.errstate(over="ignore"):
        mixed = _mixed(of_place[place] + values.view(np.uint32))
        return _mixed(np.add.reduceat(mixed, starts) + lengths.astype(np.uint64)) if len(lengths) else mixed


def _mixed(keys: UInt64[np.ndarray, " any"]) -> UInt64[np.ndarray, " any"]:
    """Return well spread bits of each key (SplitMix64; Steele et al., 2014)."""
    keys = keys + np.uint64(0x9E3779B97F4A7C15)
    keys ^= keys >> np.uint64(30)  # from here on in place: new memory takes as long as the arithmetic
    keys *= np.uint64(0xBF58476D1CE4E5B9)
    keys ^= keys >> np.uint64(27)
    keys *= np.uint64(0x94D049BB133111EB)
    keys ^= keys >> np.uint64(31)
    return keys
