"""What the names of files and folders say: a class, a subject, a split of the split."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from rnnflow.generation.sources.paths import levels, value_of
from rnnflow.generation.splitting import GIVEN_NAMES

_SUBJECT = re.compile(
    r"(s|sub|subj|subject|u|user|p|pat|patient|person|participant|device|machine|speaker)[ _-]?\d+", re.IGNORECASE
)


def parts_of_paths(belows: Sequence[Path]) -> Mapping[str, str]:
    """Return which level of the paths, such as `path[-2]`, says `split`, `group` and `label`, of those that one says."""
    paths = [[*map(value_of, levels(below))] for below in belows]
    backs = range(1, min(map(len, paths)) + 1)
    names = {f"path[-{back}]": {parts[-back] for parts in paths} for back in backs}
    telling = [level for level in names if len(names[level]) > 1]
    found: dict[str, str] = {}
    for part, fits in (
        ("split", lambda level: all(name.lower() in GIVEN_NAMES for name in names[level])),
        ("group", lambda level: all(map(_SUBJECT.fullmatch, names[level]))),
        ("label", lambda level: level != "path[-1]"),
    ):
        level = next(filter(fits, telling), None)
        if level is not None:
            found[part] = level
            telling.remove(level)
    return found
