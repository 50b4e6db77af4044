"""What a file's path says, once the ending of its format is gone."""

from pathlib import Path


def levels(below: Path) -> list[str]:
    """Return the names on the way to a file: `june/run.fast.csv.gz` is `june` and `run.fast`."""
    stem = below.with_suffix("") if below.suffix.lower() == ".gz" else below
    return [*stem.parts[:-1], stem.with_suffix("").name]


def names_of(below: Path) -> list[str]:
    """Return what a table may call a file: its path, its name, each with and without its ending, its number."""
    name = levels(below)[-1]
    number = [str(int(name))] if name.isdecimal() else []
    return [below.as_posix(), "/".join(levels(below)), below.name, name, *number]
