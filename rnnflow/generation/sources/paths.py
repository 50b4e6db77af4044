"""What a file's path says, once the ending of its format is gone."""

import re
from pathlib import Path
from urllib.parse import unquote

from rnnflow.runtime.errors import InputError

_NULL = "__HIVE_DEFAULT_PARTITION__"
_PIECE = re.compile(r"path(?:\[(-\d+)\])?")


def levels(below: Path) -> list[str]:
    """Return the names on the way to a file: `june/run.fast.csv.gz` is `june` and `run.fast`."""
    stem = below.with_suffix("") if below.suffix.lower() == ".gz" else below
    return [*stem.parts[:-1], stem.with_suffix("").name]


def value_of(level: str) -> str:
    """Return what the name of a folder says, which is `a b` in the partition `activity=a%20b`; nothing for that of null."""
    matched = re.fullmatch(r"[A-Za-z_]\w*=(.+)", level)
    return level if matched is None else "" if matched[1] == _NULL else unquote(matched[1])


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
    if not (said := value_of(parts[int(matched[1])])):
        raise InputError(
            f"{below}: {name} is the partition of rows without a value; name the others in generate.files.paths"
        )
    return said
