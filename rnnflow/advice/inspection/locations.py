"""Where the files are that a person names, and how params name them."""

import glob
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rnnflow.runtime.errors import InputError

RAW = ("data", "raw")


@dataclass(frozen=True)
class Location:
    """Files as `generate.files.paths` names them."""

    raw: Path
    """The folder that stands for `data/raw`."""
    names: tuple[str, ...]
    """Paths and globs below it."""
    is_raw: bool
    """Whether it is `data/raw`; else the files have to be brought there."""


def locate(paths: Sequence[str]) -> Location:
    """Return where the files, folders and globs at `paths` are.

    Raises:
        InputError: one is not there, or some are below `data/raw` and some are not.
    """
    absolute = [Path(os.path.abspath(path)) for path in paths]  # noqa: PTH100 - DVC's links are not followed
    for name, path in zip(paths, absolute, strict=True):
        if not path.exists() and not glob.has_magic(name):
            raise InputError(f"{name}: no such file or folder")
    roots = {next((folder for folder in (path, *path.parents) if folder.parts[-2:] == RAW), None) for path in absolute}
    if len(roots) > 1:
        raise InputError(
            f"{paths[0]} and others: some are below one folder data/raw and some are not; inspect them apart"
        )
    raw = roots.pop()
    is_raw = raw is not None
    if raw is None:
        raw = Path(os.path.commonpath([_anchor(path) for path in absolute]))
    names = [_relative(path, raw) for path in absolute]
    raw = raw.relative_to(Path.cwd()) if raw.is_relative_to(Path.cwd()) else raw  # shorter in messages
    return Location(raw, tuple(dict.fromkeys(names)), is_raw)


def _anchor(path: Path) -> Path:
    """Return the folder that a path or glob is in."""
    folder = path.parent
    while not path.exists() and glob.has_magic(str(folder)):
        folder = folder.parent
    return folder


def _relative(path: Path, raw: Path) -> str:
    name = path.relative_to(raw).as_posix()
    return glob.escape(name) if path.exists() else name
