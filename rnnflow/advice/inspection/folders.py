"""What the names of files and folders say: a class, a subject, a split of the split."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from rnnflow.generation.sources.paths import levels, value_of
from rnnflow.generation.splitting import GIVEN_NAMES

_SUBJECT = re.compile(
    r"(s|sub|subj|subject|u|user|p|pat|patient|person|participant|device|machine|speaker)[ _-]?\d+", re.IGNORECASE
)


class Level(NamedTuple):
    """A name that every path has, counted from its end."""

    part: str
    """As `generate.files.columns` writes it: `path[-2]`."""
    names: frozenset[str]

    @property
    def is_file(self) -> bool:
        return self.part == "path[-1]"


def parts_of_paths(belows: Sequence[Path]) -> Mapping[str, str]:
    """Return which level of the paths says `split`, `group` and `label`, of those that one says.

    Args:
        belows: the files' paths below `data/raw`.
    """
    telling = [level for level in _levels(belows) if len(level.names) > 1]
    found: dict[str, str] = {}
    for part, fits in (("split", _are_splits), ("group", _are_subjects), ("label", _is_folder)):
        level = next((level for level in telling if fits(level)), None)
        if level is not None:
            found[part] = level.part
            telling.remove(level)
    return found


def _levels(belows: Sequence[Path]) -> list[Level]:
    names = [[*map(value_of, levels(below))] for below in belows]
    depth = min(map(len, names))
    return [Level(f"path[-{back}]", frozenset(parts[-back] for parts in names)) for back in range(1, depth + 1)]


def _are_splits(level: Level) -> bool:
    return all(name.lower() in GIVEN_NAMES for name in level.names)


def _are_subjects(level: Level) -> bool:
    return all(_SUBJECT.fullmatch(name) for name in level.names)


def _is_folder(level: Level) -> bool:
    return not level.is_file
