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


def sealed(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return `content` with a checksum of it, as `unsealed` expects it."""
    return {**content, CHECKSUM: checksum(content)}


def unsealed(content: Any, place: str) -> Any:
    """Return what was sealed, without its checksum; what carries none is taken as it is.

    Raises:
        InputError: it is not what was sealed.
    """
    if not isinstance(content, dict) or CHECKSUM not in content:
        return content
    rest = {name: value for name, value in content.items() if name != CHECKSUM}
    if content[CHECKSUM] != checksum(rest):
        raise InputError(f"{place}: changed or damaged since it was written: its checksum is another one")
    return rest


def read_sealed(path: Path, expected: str) -> dict[str, Any]:
    """Return what was sealed, from a file that only this program writes; `expected` describes it in an error.

    Raises:
        InputError: it cannot be read, is no JSON, or is not what was sealed.
    """
    content = read(path, expected)
    if not isinstance(content, dict) or CHECKSUM not in content:
        raise InputError(f"{path}: expected {expected}, with a checksum")
    sealed_content: dict[str, Any] = unsealed(content, str(path))
    return sealed_content


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
