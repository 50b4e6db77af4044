"""The leak check: nothing that a model is trained on may be in what it is judged by."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from rnnflow.generation.sources.cutting import STAND_TOGETHER
from rnnflow.generation.splitting import SPLITS, TRAIN, SplitIndices, chosen, column_hashes, content_hashes
from rnnflow.params.generate import SplitParams
from rnnflow.runtime.array_types import Bool, Int64, UInt64
from rnnflow.runtime.errors import InputError

Columns = Mapping[str, np.ndarray]


@dataclass
class LeakCheck:
    """Gathers some bytes of each sequence, and looks at all of them at the end.

    Args:
        params: how the data is split.
    """

    params: SplitParams
    _ids: list[pa.ChunkedArray] = field(default_factory=list)
    _places: list[str] = field(default_factory=list)
    _columns: dict[str, list[np.ndarray]] = field(default_factory=dict)

    def add(
        self, place: str, table: pa.Table, id_hashes: UInt64[np.ndarray, " sequence"], splits: SplitIndices
    ) -> None:
        """Take in the sequences of a table, the left-out ones excepted."""
        if not self._places or self._places[-1] != place:
            self._places.append(place)
        self._ids.append(table["id"])
        columns = {"id": id_hashes, "split": splits, "file": np.full(len(table), len(self._places) - 1, np.int32)}
        if self.params.duplicates == "fail":
            columns["content"] = content_hashes(table["sequence"].combine_chunks())
        if "group" in table.schema.names and chosen(self.params, table) != "time":
            columns["group"] = column_hashes(table["group"])
        if "recording" in table.schema.names:
            columns["recording"] = column_hashes(table["recording"])
            columns |= {name: table[name].to_numpy() for name in ("first_step", "stop_step")}
        if chosen(self.params, table) == "time":
            columns |= {"start": table["time"].cast(pa.int64()).to_numpy(), "end": table["end"].to_numpy()}
        for name, values in columns.items():
            self._columns.setdefault(name, []).append(values)

    @property
    def num_duplicates(self) -> int:
        """Sequences with the same values as another one; 0 where these may be in two splits."""
        contents = np.concatenate(self._columns.get("content", [np.empty(0)]))
        return len(contents) - len(np.unique(contents))

    def check(self, late_split: int) -> None:
        """Look at everything; `late_split` is where the unassigned sequences went.

        Raises:
            InputError: an id came before, or two splits share an id, a group, the same values or overlapping windows,
                or a split holds something earlier than the split before it.
        """
        columns = {name: np.concatenate(parts) for name, parts in self._columns.items()}
        if not columns:
            return
        columns["split"] = np.where(columns["split"] > 2, np.int8(late_split), columns["split"])
        self._check_ids(columns)
        if "recording" in columns:
            self._check_windows(columns)
        if "group" in columns:
            self._refuse_shared(columns, "group", "belong to one group")
        if "content" in columns and _repeats(columns["content"]):
            advice = "; remove one, or set generate.split.duplicates: allow"
            self._refuse_shared(columns, "content", "hold the same values", advice)
        if "start" in columns:
            self._check_times(columns)

    def _check_ids(self, columns: Columns) -> None:
        keys = columns["id"]
        if not _repeats(keys):
            return
        order = np.argsort(keys, kind="stable")
        repeated = np.flatnonzero(keys[order[1:]] == keys[order[:-1]])
        again = int(order[repeated + 1].min())
        before = int(np.flatnonzero(keys == keys[again])[0])
        place, earlier = (self._places[columns["file"][row]] for row in (again, before))
        where = f"in the same file; {STAND_TOGETHER}" if place == earlier else f"in {earlier}"
        raise InputError(f"{place}: id {self._name(again)!r} came before {where}")

    def _refuse_shared(self, columns: Columns, name: str, what: str, advice: str = "") -> None:
        """Refuse two sequences with the same key in two splits."""
        keys, splits = columns[name], columns["split"]
        order = np.lexsort([splits, keys])
        shared = (keys[order[1:]] == keys[order[:-1]]) & (splits[order[1:]] != splits[order[:-1]])
        self._refuse(columns, order, shared, what, advice)

    def _check_windows(self, columns: Columns) -> None:
        order = np.lexsort([columns["first_step"], columns["recording"]])
        following, before = order[1:], order[:-1]
        overlaps = (columns["recording"][following] == columns["recording"][before]) & (
            columns["first_step"][following] < columns["stop_step"][before]
        )
        shared = overlaps & (columns["split"][following] != columns["split"][before])
        self._refuse(columns, order, shared, "overlap in one recording", "; split by group or by time")

    def _check_times(self, columns: Columns) -> None:
        for split in range(TRAIN + 1, len(SPLITS)):
            earlier, later = columns["split"] < split, columns["split"] == split
            if not earlier.any() or not later.any():
                continue
            last = np.flatnonzero(earlier)[columns["end"][earlier].argmax()]
            first = np.flatnonzero(later)[columns["start"][later].argmin()]
            if columns["end"][last] >= columns["start"][first]:
                raise InputError(
                    f"leak: {self._described(columns, last)} ends after {self._described(columns, first)} begins"
                )

    def _refuse(
        self,
        columns: Columns,
        order: Int64[np.ndarray, " row"],
        shared: Bool[np.ndarray, " pair"],
        what: str,
        advice: str,
    ) -> None:
        found = np.flatnonzero(shared)
        if len(found):
            first, second = (self._described(columns, int(row)) for row in sorted(order[found[0] : found[0] + 2]))
            more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
            raise InputError(f"leak: {first} and {second} {what}{more}{advice}")

    def _described(self, columns: Columns, row: int) -> str:
        return f"{self._name(row)!r} of {self._places[columns['file'][row]]} in {SPLITS[columns['split'][row]]}"

    def _name(self, row: int) -> str:
        for chunk in self._ids:
            if row < len(chunk):
                return chunk[row].as_py()
            row -= len(chunk)
        raise IndexError(row)


def _repeats(keys: UInt64[np.ndarray, " sequence"]) -> bool:
    """Whether a key comes twice. Sorting keys takes a ninth of the time of finding the order that sorts them."""
    keys = np.sort(keys)
    return bool((keys[1:] == keys[:-1]).any())
