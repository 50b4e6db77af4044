"""From deliveries to a data set: each sequence gets its side, is checked, profiled and written."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from rnnflow.generation import unusual
from rnnflow.generation.drift import Profile
from rnnflow.generation.leakage import LeakCheck
from rnnflow.generation.shards import ShardWriter
from rnnflow.generation.sources.delivery import Delivery
from rnnflow.generation.splitting import (
    GIVEN_NAMES,
    LEFT_OUT,
    SPARE,
    SPLITS,
    TRAIN,
    Sides,
    Splitter,
    key_hashes,
)
from rnnflow.params.generate import GenerateParams, Recipe
from rnnflow.runtime.errors import InputError
from rnnflow.sequences import parquet


class Intake:
    """Takes in one delivery after another.

    Args:
        params: section `generate`.
        folders: by split's name, and `spare`; they exist and are empty.
        known: sequences of each delivery that the reference profile knows.
    """

    def __init__(self, params: GenerateParams, folders: Mapping[str, Path], known: Mapping[str, int]) -> None:
        self.params = params
        self.known = known
        self.recipe = Recipe.of(params).content()
        self.writer = ShardWriter(
            {side: folders[name] for side, name in enumerate((*SPLITS, "spare"))}, params.shard_rows
        )
        self.leaks = LeakCheck(params.split)
        self.deliveries: Counter[str] = Counter()
        """Sequences of each file."""
        self.num_left_out: Counter[str] = Counter()
        """What was not taken, by reason."""
        self.largest_group: Counter[str] = Counter()
        self.lengths: Counter[int] = Counter()
        """Sequences by their number of steps, where files gave them."""
        self.num_features = 0
        self.new: Profile | None = None
        """Of all deliveries that the reference does not know."""
        self._delivered: Profile | None = None
        self._profiles: dict[int, Profile] = {}

    def take(self, delivery: Delivery) -> None:
        """Take in a delivery.

        Raises:
            InputError: its sequences cannot be read or split.
        """
        seed = None if delivery.is_made else int(key_hashes([delivery.name], self.params.seed)[0])
        splitter = Splitter(self.params.split, self.params.seed, delivery.name, delivery.place)
        self.writer.begin(seed)
        for table in delivery.tables:
            sides = self._made(delivery, table) if delivery.is_made else self._sides(delivery, table, splitter)
            self._profile(delivery, table, sides)
            self.writer.add(self._content(delivery, table), sides)
            self.num_left_out["windows across a time that divides the splits"] += int((sides == LEFT_OUT).sum())
            if not delivery.is_made:
                self.deliveries[delivery.name] += len(table)
        self.writer.end()
        self._settle_new(delivery)
        self.num_left_out["recordings shorter than a window"] += delivery.num_left_out()

    def finish(self) -> dict[str, Any]:
        """Check the whole and return the profile of the train split.

        Raises:
            InputError: a leak, an empty split, a class that cannot be learned or judged.
        """
        spare_side = self.writer.settle_spare()
        self.leaks.check(spare_side)
        self._check_splits()
        train = self._profiles[TRAIN]
        if spare_side == TRAIN and SPARE in self._profiles:
            train.merge(self._profiles[SPARE])
        return train.content() | {"files": dict(sorted(self.deliveries.items()))}

    def _settle_new(self, delivery: Delivery) -> None:
        """Count a delivery as new where the reference knows none of its name with as many sequences."""
        delivered, self._delivered = self._delivered, None
        self.lengths.update(delivered.lengths if delivered else {})
        if delivered is None or self.known.get(delivery.name) == delivered.num_sequences:
            return
        if self.new is None:
            self.new = delivered
        else:
            self.new.merge(delivered)

    def _made(self, delivery: Delivery, table: pa.Table) -> Sides:
        return np.full(len(table), GIVEN_NAMES[delivery.name], dtype=np.int8)

    def _sides(self, delivery: Delivery, table: pa.Table, splitter: Splitter) -> Sides:
        id_hashes = key_hashes(table["id"].to_pylist(), self.params.seed)
        sides = splitter.sides(table, id_hashes)
        taken = sides != LEFT_OUT
        if taken.all():
            self.leaks.add(delivery.place, table, id_hashes, sides)
        else:
            self.leaks.add(delivery.place, table.filter(pa.array(taken)), id_hashes[taken], sides[taken])
        if "group" in table.schema.names:
            counts = table["group"].value_counts().to_pylist()
            self.largest_group.update({entry["values"]: entry["counts"] for entry in counts})
        return sides

    def _content(self, delivery: Delivery, table: pa.Table) -> pa.Table:
        """Return the columns of the contract, with the recipe among the metadata."""
        content = table.select([name for name in parquet.TYPES if name in table.schema.names])
        features = parquet.features_of(Path(delivery.name), table.schema, None)
        return content.replace_schema_metadata(parquet.metadata(features, self.recipe))

    def _profile(self, delivery: Delivery, table: pa.Table, sides: Sides) -> None:
        features = parquet.features_of(Path(delivery.name), table.schema, None)
        for side in (TRAIN, SPARE):
            if (sides == side).any():
                rows = table if (sides == side).all() else table.filter(pa.array(sides == side))
                self._profiles.setdefault(side, Profile(features)).add(rows)
        if not delivery.is_made:
            self._delivered = self._delivered or Profile(features)
            self._delivered.add(table)
            self.num_features = len(features)

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
            if total < len(SPLITS):
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
        if not self.deliveries.total():
            return "there are none at all" + "".join(f"; {line}" for line in self.remarks())
        if self.largest_group:
            name, count = max(self.largest_group.items(), key=lambda entry: (entry[1], entry[0]))
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
        if self.num_features:
            lines += unusual.remarks(self.lengths, sum(counts.values(), Counter[str]()), self.num_features)
        return lines
