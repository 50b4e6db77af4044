"""JSON from outside: whatever is wrong with it becomes one line."""

import json
from pathlib import Path
from typing import Any

from rnnflow.runtime.errors import library


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


def read(path: Path, expected: str) -> Any:
    """Return what a file of JSON says; `expected` describes it in the message of an error.

    Raises:
        InputError: it cannot be read, is no JSON, or nested too deeply.
    """
    place = f"{path}: expected {expected}"
    with library(place):
        return parse(path.read_text(encoding="utf-8"), place)
