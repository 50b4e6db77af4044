"""What a file's path says, once the ending of its format is gone."""

import re
from pathlib import Path

from rnnflow.runtime.errors import InputError

_PIECE = re.compile(r"path(?:\[(-\d+)\])?")


def levels(below: Path) -> list[str]:
    """Return the names on the way to a file: `june/run.fast.csv.gz` is `june` and `run.fast`."""
    stem = below.with_suffix("") if below.suffix.lower() == ".gz" else below
    return [*stem.parts[:-1], stem.with_suffix("").name]


def value_of(level: str) -> str:
    """Return what the name of a folder says, which is `walk` in the partition `activity=walk`."""
    matched = re.fullmatch(r"[A-Za-z_]\w*=(.+)", level)
    return matched[1] if matched else level


def names_of(below: Path) -> list[str]:
    """Return what a table may call a file: its path, its name, each with and without its ending, its number."""
    name = levels(below)[-1]
    number = [str(int(name))] if name.isdecimal() else []
    return [below.as_posix(), "/".join(levels(below)), below.name, name, *number]


def text_of_path(below: Path, name: str) -> str | None:
    """Return what a file's path says, if `name` is a piece of it such as `path[-1]` and not a column.

    Raises:
        InputError: the path has no such piece.
    """
    matched, parts = _PIECE.fullmatch(name), levels(below)
    if matched is None or matched[1] is None:
        return "/".join(parts) if matched else None
    if -int(matched[1]) > len(parts):
        raise InputError(f"{below}: {name} is not below data/raw")
    return value_of(parts[int(matched[1])])
