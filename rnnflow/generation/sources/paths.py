"""What a file's path says, once the ending of its format is gone."""

from pathlib import Path


def levels(below: Path) -> list[str]:
    """Return the names on the way to a file: `june/run.fast.csv.gz` is `june` and `run.fast`."""
    stem = below.with_suffix("") if below.suffix.lower() == ".gz" else below
    return [*stem.parts[:-1], stem.with_suffix("").name]
