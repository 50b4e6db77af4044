"""What a Parquet file's footer says of its columns, read from the bytes themselves.

pyarrow says the same by `FileMetaData.row_group(…).column(…)`, which ends the process where the footer contradicts itself.
The footer is a structure of Thrift's compact protocol
(https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md) as Parquet defines it
(https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift), whose field numbers are used here.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rnnflow.sequences import footer_checksum

BYTE_ARRAY = 6
"""The type of texts."""
_ROW_GROUPS, _COLUMNS, _META_DATA = 4, 1, 3
_TYPE, _PATH, _NUM_VALUES, _UNCOMPRESSED, _DICTIONARY_PAGE = 1, 3, 5, 6, 11
_STOP, _TRUE, _FALSE, _BYTE, _I16, _I32, _I64, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT = range(13)


@dataclass(frozen=True)
class ColumnChunk:
    """A column in a row group."""

    path: str
    num_values: int
    """Each element of a list counted."""
    num_bytes: int
    """Uncompressed."""
    repeats_texts: bool
    """Whether texts are stored once and referred to."""


def columns(path: Path) -> list[ColumnChunk]:
    """Return the columns of all row groups.

    Raises:
        OSError: the file cannot be read.
        Exception: of some kind, where it is damaged.
    """
    footer = _Reader(footer_checksum.read(path)).struct()
    chunks = [chunk[_META_DATA] for group in footer[_ROW_GROUPS] for chunk in group[_COLUMNS]]
    return [
        ColumnChunk(
            b".".join(chunk[_PATH]).decode(),
            chunk[_NUM_VALUES],
            chunk[_UNCOMPRESSED],
            chunk[_TYPE] == BYTE_ARRAY and _DICTIONARY_PAGE in chunk,
        )
        for chunk in chunks
    ]


class _Reader:
    def __init__(self, content: bytes) -> None:
        self.content, self.place = content, 0

    def struct(self) -> dict[int, Any]:
        """Return the values of a structure by the numbers of their fields."""
        fields: dict[int, Any] = {}
        number = 0
        while (head := self._byte()) & 15 != _STOP:
            number = number + (head >> 4) if head >> 4 else self._integer()
            fields[number] = head & 15 == _TRUE if head & 15 in (_TRUE, _FALSE) else self._value(head & 15)
        return fields

    def _value(self, kind: int) -> Any:
        if kind in (_I16, _I32, _I64):
            return self._integer()
        if kind == _STRUCT:
            return self.struct()
        if kind in (_LIST, _SET):
            return self._list()
        if kind == _MAP:
            return self._map()
        if kind == _BINARY:
            return self._bytes(self._varint())
        if kind == _DOUBLE:
            return self._bytes(8)
        if kind in (_TRUE, _FALSE, _BYTE):
            return self._byte()
        raise ValueError(f"no type {kind}")

    def _list(self) -> list[Any]:
        head = self._byte()
        size = self._varint() if head >> 4 == 15 else head >> 4
        return [self._value(head & 15) for _ in range(size)]

    def _map(self) -> list[tuple[Any, Any]]:
        size = self._varint()
        kinds = self._byte() if size else 0
        return [(self._value(kinds >> 4), self._value(kinds & 15)) for _ in range(size)]

    def _byte(self) -> int:
        place = self.place
        self.place = place + 1
        return self.content[place]

    def _bytes(self, size: int) -> bytes:
        self.place += size
        return self.content[self.place - size : self.place]

    def _varint(self) -> int:
        """Seven bits a byte, the last byte below 128."""
        value = self._byte()
        if value < 128:
            return value
        value &= 127
        for shift in range(7, 64, 7):
            byte = self._byte()
            value |= (byte & 127) << shift
            if byte < 128:
                return value
        raise ValueError("a number without an end")

    def _integer(self) -> int:
        """Of either sign, which alternates: 0, -1, 1, -2 and so on."""
        value = self._varint()
        return value >> 1 ^ -(value & 1)
