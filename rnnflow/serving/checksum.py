"""A checksum inside an ONNX file, over all of it but the properties that others add; needs no `onnx`.

A single wrong bit in a weight still gives probabilities, only other ones, and neither onnxruntime nor the file format
notices. The property `sha256` covers the graph with its weights and this project's own properties. A registry may add
properties of its own, and whoever changes the graph is told.

Reading the protocol buffer's outermost fields is all that this takes (https://protobuf.dev/programming-guides/encoding).
"""

import hashlib
from collections.abc import Collection, Iterator
from typing import Any

PROPERTY = "sha256"
_METADATA_PROPS = 14  # the number of this field of ModelProto, in onnx.proto
_KEY, _VALUE = 1, 2  # fields of StringStringEntryProto
_VARINT, _BYTES = 0, 2


def compute(content: bytes, names: Collection[str]) -> str:
    """Return the checksum of a serialised model and those of its properties that `names` has, in hexadecimal digits.

    Raises:
        ValueError: `content` is no protocol buffer.
    """
    digest = hashlib.sha256()
    for number, field in _fields(content):
        if number != _METADATA_PROPS or _entry(field)[0] in names:
            digest.update(b"%d:%d:" % (number, len(field)))
            digest.update(field)
    return digest.hexdigest()


def signed(proto: Any, names: Collection[str]) -> bytes:
    """Return the bytes of an `onnx.ModelProto` with its checksum among its properties, the same for equal models."""
    others = {entry.key: entry.value for entry in proto.metadata_props if entry.key != PROPERTY}
    digest = compute(proto.SerializeToString(deterministic=True), names)
    del proto.metadata_props[:]
    for key, value in {PROPERTY: digest, **others}.items():
        proto.metadata_props.add(key=key, value=value)
    content: bytes = proto.SerializeToString(deterministic=True)
    return content


def properties(content: bytes) -> dict[str, str]:
    """Return the metadata properties of a serialised model.

    Raises:
        ValueError: `content` is no protocol buffer.
    """
    return dict(_entry(field) for number, field in _fields(content) if number == _METADATA_PROPS)


def _entry(field: bytes) -> tuple[str, str]:
    parts = dict(_fields(field))
    return parts.get(_KEY, b"").decode(), parts.get(_VALUE, b"").decode()


def _fields(message: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield number and content of each field: of bytes, text or a message inside, or the digits of a number."""
    place = 0
    while place < len(message):
        tag, place = _varint(message, place)
        number, kind = tag >> 3, tag & 7
        value, place = _varint(message, place)
        if kind == _VARINT:
            yield number, b"%d" % value
        elif kind == _BYTES and place + value <= len(message):
            yield number, message[place : place + value]
            place += value
        else:
            raise ValueError(f"field {number} of kind {kind} is not one of an ONNX file, or is cut short")


def _varint(message: bytes, place: int) -> tuple[int, int]:
    """Return the number that begins at `place`, and where it ends: seven bits a byte, the last byte below 128."""
    value = 0
    for index, byte in enumerate(message[place : place + 10]):
        value |= (byte & 127) << 7 * index
        if byte < 128:
            return value, place + index + 1
    raise ValueError("a number is cut short")
