"""From files to a data set: each sequence gets its split, is checked, profiled and written."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from rnnflow.generation.content_hash import ContentHash
from rnnflow.generation.drift import Profile
from rnnflow.generation.leakage import LeakCheck
from rnnflow.generation.shards import ShardWriter
from rnnflow.generation.sources.source_file import SourceFile
from rnnflow.generation.splitting import (
    GIVEN_NAMES,
    LEFT_OUT,
    SPLITS,
    TRAIN,
    UNASSIGNED,
    SplitIndices,
    Splitter,
    chosen,
    key_hashes,
)
from rnnflow.generation.unusual import Unusual
from rnnflow.params.generate import GenerateParams, Recipe
from rnnflow.runtime.errors import InputError
from rnnflow.sequences import parquet, parquet_metadata


class DatasetBuilder:
    """Takes in one file after another.

    Args:
        params: section `generate`.
        folders: by split's name, and `unassigned`; they exist and are empty.
        known: hash of the content of each file that the reference profile knows.
    """

    def __init__(self, params: GenerateParams, folders: Mapping[str, Path], known: Mapping[str, str]) -> None:
        self.params = params
        self.known = known
        self.recipe = Recipe.of(params).content()
        self.writer = ShardWriter(
            {split: folders[name] for split, name in enumerate((*SPLITS, "unassigned"))}, params.shard_rows
        )
        self.leaks = LeakCheck(params.split)
        self.file_counts: Counter[str] = Counter()
        """Sequences of each file."""
        self.contents: dict[str, ContentHash] = {}
        """Of each file."""
        self.num_left_out: Counter[str] = Counter()
        """What was not taken, by reason."""
        self.largest_group: Counter[str] = Counter()
        self.unusual = Unusual()
        self.new: Profile | None = None
        """Of all files that the reference does not know."""
        self._num_trained: Counter[str] = Counter()
        self._is_given = False
        self._file_profile: Profile | None = None
        self._profiles: dict[int, Profile] = {}

    def take(self, file: SourceFile) -> None:
        """Take in a file.

        Raises:
            InputError: its sequences cannot be read or split.
        """
        seed = None if file.is_synthetic else int(key_hashes([file.name], self.params.seed)[0])
        splitter = Splitter(self.params.split, self.params.seed, file.name, file.place, self._num_trained)
        self.writer.begin(seed)
        try:
            self._take_tables(file, splitter)
        finally:  # `inspect` shows what there was before a fault
            self._count_as_new(file)
        num_short = file.cutter.num_left_out if file.cutter else 0
        self.num_left_out["recordings shorter than a window"] += num_short
        if not file.is_synthetic and not num_short and not self.file_counts[file.name]:
            self.num_left_out["files without a row"] += 1

    def _take_tables(self, file: SourceFile, splitter: Splitter) -> None:
        for table in file.tables:
            splits = self._synthetic_split(file, table) if file.is_synthetic else self._assigned(file, table, splitter)
            self._profile(file, table, splits)
            self.writer.add(self._content(file, table), splits)
            self.num_left_out["windows across a time that divides the splits"] += int((splits == LEFT_OUT).sum())
            if not file.is_synthetic:
                self.file_counts[file.name] += len(table)
                self.contents.setdefault(file.name, ContentHash()).add(table)
        self.writer.end()

    def finish(self) -> dict[str, Any]:
        """Check the whole and return the profile of the train split.

        Raises:
            InputError: a leak, an empty split, a class that cannot be learned or judged.
        """
        late_split = self.writer.place_unassigned()
        self.leaks.check(late_split)
        self._check_splits()
        train = self._profiles[TRAIN]
        if late_split == TRAIN and UNASSIGNED in self._profiles:
            train.merge(self._profiles[UNASSIGNED])
        left_out = {reason: count for reason, count in self.num_left_out.items() if count}
        contents = {name: content.hexdigest() for name, content in sorted(self.contents.items())}
        files = dict(sorted(self.file_counts.items()))
        return train.content() | {"files": files, "contents": contents, "left_out": left_out}

    def _count_as_new(self, file: SourceFile) -> None:
        """Count a file as new where the reference knows none of its name with the same content."""
        profile, self._file_profile = self._file_profile, None
        if profile is None:
            return
        if file.name in self.known and self.known[file.name] == self.contents[file.name].hexdigest():
            return
        if self.new is None:
            self.new = profile
        else:
            self.new.merge(profile)

    def _synthetic_split(self, file: SourceFile, table: pa.Table) -> SplitIndices:
        return np.full(len(table), GIVEN_NAMES[file.name], dtype=np.int8)

    def _assigned(self, file: SourceFile, table: pa.Table, splitter: Splitter) -> SplitIndices:
        id_hashes = key_hashes(table["id"].to_pylist(), self.params.seed)
        splits = splitter.splits(table, id_hashes)
        self._is_given |= chosen(self.params.split, table) == "given"
        taken = splits != LEFT_OUT
        if taken.all():
            self.leaks.add(file.place, table, id_hashes, splits)
        else:
            self.leaks.add(file.place, table.filter(pa.array(taken)), id_hashes[taken], splits[taken])
        if "group" in table.schema.names:
            counts = table["group"].value_counts().to_pylist()
            self.largest_group.update({entry["values"]: entry["counts"] for entry in counts})
        return splits

    def _content(self, file: SourceFile, table: pa.Table) -> pa.Table:
        """Return the columns of the contract, with the recipe among the metadata."""
        content = table.select([name for name in parquet.TYPES if name in table.schema.names])
        features = parquet_metadata.features_of(Path(file.name), table.schema, None)
        return content.replace_schema_metadata(parquet_metadata.metadata(features, self.recipe))

    def _profile(self, file: SourceFile, table: pa.Table, splits: SplitIndices) -> None:
        features = parquet_metadata.features_of(Path(file.name), table.schema, None)
        for split in (TRAIN, UNASSIGNED):
            if (splits == split).any():
                rows = table if (splits == split).all() else table.filter(pa.array(splits == split))
                self._profiles.setdefault(split, Profile(features)).add(rows)
        if not file.is_synthetic:
            self._file_profile = self._file_profile or Profile(features)
            self._file_profile.add(table)
            self.unusual.add(table, len(features))

    def _check_splits(self) -> None:
        source, counts = f"source {self.params.source!r}", self.writer.class_counts
        for split in SPLITS:
            if not counts[split]:
                raise InputError(f"{source}: no sequences for the {split} split; {self._why_empty()}")
        if len(counts["train"]) < 2:
            raise InputError(
                f"{source}: the train split has one class only, {min(counts['train'])!r}; a classifier needs two"
            )
        for name, total in sorted(sum(counts.values(), Counter[str]()).items()):
            if total < len(SPLITS) and not self._is_given:
                raise InputError(
                    f"{source}: class {name!r} has {total} sequences, fewer than the {len(SPLITS)} splits; bring more of it or leave it out"
                )
        for split in SPLITS:
            if unknown := set(counts[split]) - set(counts["train"]):
                name = min(unknown)
                raise InputError(
                    f"{source}: class {name!r} has {counts[split][name]} in the {split} split and none in train; "
                    "bring more of it, leave it out, or change generate.seed"
                )

    def _why_empty(self) -> str:
        if not self.file_counts.total():
            return "there are none at all" + "".join(f"; {line}" for line in self.remarks())
        if self._is_given and not self.largest_group and max(self._num_trained.values(), default=0) == 1:
            return "each class has one training sequence, and that cannot be held out; bring two of a class"
        if self.largest_group:
            name, count = max(self.largest_group.items(), key=lambda entry: (entry[1], entry[0]))
            if len(self.largest_group) == 1:
                return (
                    f"all are of one group or recording, {name!r}; generate.files.columns.id names the column that tells "
                    "recordings apart, generate.split.by: time cuts one"
                )
            share = count / self.largest_group.total()
            return (
                f"of {len(self.largest_group)} groups, {name!r} holds {share:.0%}; "
                "bring more groups, or change generate.split or generate.seed"
            )
        return "change generate.split or bring more data"

    def remarks(self) -> list[str]:
        """Return what a person should know of the data set, a line each."""
        lines = [f"left out {count:,} {reason}" for reason, count in self.num_left_out.items() if count]
        counts = self.writer.class_counts
        missing = {split: sorted(set(counts["train"]) - set(counts[split])) for split in ("validation", "test")}
        lines += [f"the {split} split has no sequence of class {', '.join(of)}" for split, of in missing.items() if of]
        lines += self.unusual.remarks(sum(counts.values(), Counter[str]()))
        return lines
