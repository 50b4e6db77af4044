"""JSON from outside: whatever is wrong with it becomes one line."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rnnflow.runtime.errors import InputError, library

CHECKSUM = "sha256"


def parse(text: str | bytes, place: str) -> Any:
    """Return what JSON says.

    Args:
        text: the JSON.
        place: begins the message of an error.

    Raises:
        InputError: it is none, or nested too deeply.
    """
    with library(place):
        return json.loads(text)


def checksum(*contents: object) -> str:
    """Return what files of JSON can carry to tell that they are as they were written, whatever their layout."""
    return hashlib.sha256(json.dumps(contents, sort_keys=True).encode()).hexdigest()


def sealed(content: Mapping[str, Any], *beside: object) -> dict[str, Any]:
    """Return `content` with a checksum of it, as `read_sealed` expects it; it covers what lies beside it as well."""
    return {**content, CHECKSUM: checksum(*beside, content)}


def read_sealed(
    path: Path, expected: str, beside: Mapping[Path, object] | None = None, *, is_by_hand: bool = False
) -> dict[str, Any]:
    """Return what was sealed, without its checksum, which has to be there: one flipped bit could hide its name.

    Args:
        path: the file.
        expected: describes it in an error.
        beside: what the checksum covers as well, by the files it was read from.
        is_by_hand: a person keeps the file, who may write `{}`, or `null` for its checksum.

    Raises:
        InputError: it cannot be read, is no JSON, or is not what was sealed.
    """
    content = read(path, expected)
    if is_by_hand and content == {}:
        return {}
    by_hand = f'; who wrote it by hand, or before it had one, says "{CHECKSUM}": null' if is_by_hand else ""
    if not isinstance(content, dict) or CHECKSUM not in content:
        raise InputError(f"{path}: expected {expected}, with its checksum{by_hand}")
    seal = content.pop(CHECKSUM)
    others = beside or {}
    if seal != checksum(*others.values(), content) and not (is_by_hand and seal is None):
        raise InputError(
            f"{' or '.join(map(str, (path, *others)))}: changed or damaged since it was written: its checksum is another "
            f"one{by_hand or '; remove it, and dvc checkout or dvc repro brings it back'}"
        )
    return content


def read(path: Path, expected: str) -> Any:
    """Return what a file of JSON says; `expected` describes it in the message of an error.

    Raises:
        InputError: it cannot be read, is no JSON, or nested too deeply.
    """
    place = f"{path}: expected {expected}"
    with library(place):
        if path.exists() and not (
            path.is_file() or path.is_dir()
        ):  # a pipe would hold the run for ever, and a device has no end
            raise InputError(f"{place}, got something else than a file")
        return parse(path.read_text(encoding="utf-8"), place)
