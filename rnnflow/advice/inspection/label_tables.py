"""Whether one of the files says the classes of the others."""

import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from rnnflow.advice.inspection.names import SYNONYMS, forms_of
from rnnflow.advice.inspection.sample import first_cells
from rnnflow.generation.sources import label_table
from rnnflow.generation.sources.paths import names_of
from rnnflow.runtime.errors import InputError

_NAMES = re.compile(r"label|class|target|annotation|meta|reference|index|truth", re.IGNORECASE)
MOST = 0.5


def find_label_table(files: Sequence[Path], raw: Path) -> dict[str, str] | None:
    """Return `generate.files.labels`, if a file is called like a table of labels and names most of the others.

    Raises:
        InputError: a file is called so, has other columns than the others, and names none of them.
    """
    for path in files:
        if path.suffix.lower() in (".csv", ".tsv") and _NAMES.search(path.stem) and len(files) > 1:
            found = _describe(path, [other for other in files if other != path], raw)
            if found is not None:
                return {"path": path.relative_to(raw).as_posix()} | found
    return None


def _describe(path: Path, others: Sequence[Path], raw: Path) -> dict[str, str] | None:
    row: dict[str, str] = {}
    with suppress(InputError):  # that is said where it is read
        row = first_cells(others[0])
    try:
        table = label_table.rows(path)
    except InputError:
        return None
    belows = [other.relative_to(raw) for other in others]
    known = {below: set(names_of(below)) for below in belows}
    for key in table.column_names:
        keys = set(map(label_table.plain_key, table[key].to_pylist()))
        is_of_files = sum(bool(names & keys) for names in known.values()) > MOST * len(known)
        if is_of_files or label_table.plain_key(row.get(key, "")) in keys:
            label = _label([name for name in table.column_names if name != key])
            return None if label is None else {"key": key, "label": label}
    if row and set(table.column_names) != set(row):
        raise InputError(
            f"{path}: no column names the other files, such as {belows[0].as_posix()!r}, or has their ids; write one, or name "
            "the files with recordings in generate.files.paths"
        )
    return None


def _label(names: Sequence[str]) -> str | None:
    for word in SYNONYMS["label"]:
        for name in names:
            if word in forms_of(name, "label"):
                return name
    return names[0] if len(names) == 1 else None
