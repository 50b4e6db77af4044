"""Content hashes of data, params and code: what a model was made from."""

import ast
import functools
import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from rnnflow.runtime.folders import files_below

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("rnnflow", "stages", "flows")
_IMPORT = re.compile(
    r"^[ \t]*(?:from[ \t]+([\w.]+)[ \t]+import[ \t]+(\([^)]*\)|[^#\n]*)|import[ \t]+([^#\n]*))", re.MULTILINE
)
"""Finds the statements in a twentieth of the time that it takes to parse a module."""
_COMMENT = re.compile("#.*")


def file_md5(path: Path) -> str:
    """Return the md5 of a file's bytes, which is what DVC records for it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def folder_md5(folder: Path) -> str:
    """Return the md5 that DVC records in `dvc.lock` for a folder, with its ending `.dir`.

    Source: DVC's own tree format, the JSON list of (md5, relpath) sorted by path.
    """
    files = sorted(path for path in files_below(folder) if path.is_file())
    listing = [{"md5": file_md5(path), "relpath": path.relative_to(folder).as_posix()} for path in files]
    listing.sort(key=lambda entry: entry["relpath"])
    return _json_md5(listing) + ".dir"


def params_md5(params: Mapping[str, object]) -> str:
    """Return the md5 of params, whatever the order of their names."""
    return _json_md5(params)


def code_md5(files: Iterable[Path]) -> str:
    """Return the md5 of source files, their places in the project included."""
    return _json_md5({path.relative_to(ROOT).as_posix(): file_md5(path) for path in files})


def source_files(*modules: Path) -> list[Path]:
    """Return `modules` and the project's modules they import, directly or through others, sorted.

    They are read from the import statements, so that code need not run to be known. The `__init__`
    of a package counts where it has more to say than a docstring.
    """
    says_something = functools.cache(_says_something)
    found: set[Path] = set()
    waiting = [module.resolve() for module in modules]
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.add(path)
            waiting.extend(file for file in _imported(path) if says_something(file))
    return sorted(found)


def _imported(path: Path) -> Iterator[Path]:
    for module, of_module, whole in _IMPORT.findall(path.read_text(encoding="utf-8")):
        names = [
            part.split()[0] for part in _COMMENT.sub("", of_module or whole).strip("()").split(",") if part.strip()
        ]
        for name in [module, *(f"{module}.{name}" for name in names)] if module else names:
            yield from _module_files(name)


@functools.cache
def _module_files(name: str) -> list[Path]:
    """Return the file of a module and those of the packages around it."""
    *packages, _ = parts = name.split(".")
    if parts[0] not in PACKAGES:
        return []
    place = ROOT.joinpath(*parts)
    own = [path for path in (place / "__init__.py", place.with_suffix(".py")) if path.is_file()]
    return [*(_module_files(".".join(packages)) if packages else ()), *own]


def _says_something(path: Path) -> bool:
    return path.name != "__init__.py" or len(ast.parse(path.read_text(encoding="utf-8")).body) > 1


def _json_md5(content: object) -> str:
    return hashlib.md5(json.dumps(content, sort_keys=True).encode(), usedforsecurity=False).hexdigest()
