"""The user's own recordings: files of one format below `data/raw`, in whatever layout the params describe."""

import itertools
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from rnnflow.generation.sources.arrays import read_arrays
from rnnflow.generation.sources.bad_rows import SetAside
from rnnflow.generation.sources.csv_files import read_csv
from rnnflow.generation.sources.cutting import Cutter, Whole, Windows, sequences
from rnnflow.generation.sources.json_lines import read_json_lines
from rnnflow.generation.sources.opened_file import OpenedFile, open_table
from rnnflow.generation.sources.parquet_files import read_parquet
from rnnflow.generation.sources.resampling import resampled
from rnnflow.generation.sources.source_file import SourceFile, SourceTable
from rnnflow.generation.sources.ts_files import read_ts
from rnnflow.params.generate import FilesParams, GenerateParams, WindowParams
from rnnflow.runtime.errors import InputError
from rnnflow.runtime.folders import check_is_file, files_below

_READERS: Mapping[str, tuple[Callable[..., SourceTable], str]] = {
    "Parquet": (read_parquet, ".parquet .pq"),
    "CSV": (read_csv, ".csv .tsv .csv.gz .tsv.gz .txt .txt.gz .dat .data"),
    "JSON lines": (read_json_lines, ".jsonl .jsonl.gz .ndjson .ndjson.gz"),
    "NumPy": (read_arrays, ".npz .npy"),
    "ts": (read_ts, ".ts"),
    "ARFF": (read_ts, ".arff"),
}
FORMATS = {ending: (kind, read) for kind, (read, endings) in _READERS.items() for ending in endings.split()}
_CLASSES = re.compile(r"(y|labels?|targets?)([_-].*)?", re.IGNORECASE)
_LAST = (".txt", ".txt.gz", ".dat", ".data")
"""Of a folder, files with these endings are read where no others are: many of them are texts for people, or no text."""
KNOWN = " ".join(sorted(FORMATS))


def read(params: GenerateParams, raw: Path) -> Iterator[SourceFile]:
    """Yield every file that the params name, in the order of their paths.

    Raises:
        InputError: no file, two formats, a damaged file, one with other features or columns than the first.
    """
    labels = raw / params.files.labels.path if params.files.labels else None  # which holds no recordings
    for path, opened in open_all(find(params.files.paths, raw, labels), raw, params.files):
        cutter = cutter_of(opened, params.files, params.windows)
        name = path.relative_to(raw).as_posix()
        yield SourceFile(name, str(path), sequences(opened.chunks, cutter), cutter=cutter)


def open_all(paths: Iterable[Path], raw: Path, files: FilesParams) -> Iterator[tuple[Path, OpenedFile]]:
    """Yield files that hold the same, each to be read before the next.

    Raises:
        InputError: one has other features or columns than the first, or times with a zone where the others have none.
    """
    first: OpenedFile | None = None
    zone_is_known: bool | None = None
    for path in paths:
        opened = open_file(path, path.relative_to(raw), files)
        first = first or opened
        _check_agreement(opened, first)
        yield path, opened
        has_zone = opened.zone_is_known()
        if None not in (has_zone, zone_is_known) and has_zone != zone_is_known:
            what = "a time zone" if has_zone else "no time zone"
            raise InputError(f"{path}: the times have {what}, unlike those of the files before")
        zone_is_known = zone_is_known if has_zone is None else has_zone


def open_file(path: Path, below: Path, files: FilesParams, set_aside: SetAside | None = None) -> OpenedFile:
    """Return what a file holds; its path below the folder of all files may name its id or class.

    Rows that cannot be read are set aside, where the format has rows, or the first is an error.

    Raises:
        InputError: it is damaged, of no known format, or does not fit the params.
    """
    _, opens = FORMATS[format_of(path)]
    table = read_csv(path, below, files, set_aside) if opens is read_csv else opens(path, below, files)
    opened = open_table(table, below, files)
    if files.resample:
        opened = replace(opened, chunks=resampled(opened.location, opened.chunks, files.resample))
    return opened


def find(paths: Sequence[str], raw: Path, labels: Path | None = None) -> list[Path]:
    """Return the files that `paths` name below `raw`, sorted; of a folder all whose format is known but `labels`.

    Raises:
        InputError: nothing matches, a file's format is not known, or there are two formats.
    """
    taken = one_a_folder(find_all(paths, raw, labels))
    kinds = [FORMATS[format_of(path)][0] for path in taken]
    if len(counts := Counter(kinds)) > 1:
        (one, count), (other, more) = list(counts.items())[:2]
        raise InputError(
            f"{taken[kinds.index(other)]}: {other} ({more:,} files), but {taken[0]} is {one} ({count:,}); name the files of one "
            "format in generate.files.paths"
        )
    return taken


def find_all(paths: Sequence[str], raw: Path, labels: Path | None = None) -> list[Path]:
    """Return the same of whatever formats.

    Raises:
        InputError: nothing matches, or a file's format is not known.
    """
    found: set[Path] = set()
    for name in paths:
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise InputError(f"generate.files.paths: {name!r} leads out of {raw}, below which all files must be")
        is_glob = _is_pattern(name)
        matches = _globbed(name, raw) if is_glob else [raw / name]
        files = [
            path for match in matches if match.exists() for path in files_of(match, raw, is_glob) if path != labels
        ]
        if not files:
            for path in sorted(each for match in matches if match.is_dir() for each in files_below(match, _is_shown)):
                if not is_for_people(path.relative_to(raw)):
                    format_of(path)  # says what cannot be read
            raise InputError(f"{raw / name}: no file that source 'files' reads ({KNOWN}); see {raw}/README.md")
        found.update(files)
    return sorted(found)


def is_for_people(below: Path) -> bool:
    """Return whether it is natural that a file is not read: hidden, of DVC, or a text for people."""
    is_hidden = not all(map(_is_shown, below.parts))
    return is_hidden or below.suffix in (".dvc", ".md") or below.stem.upper() in ("README", "LICENSE")


def _globbed(name: str, raw: Path) -> list[Path]:
    """Return what a pattern matches.

    Raises:
        OSError: a folder cannot be read, which pathlib would pass over in silence.
    """
    parts = Path(name).parts
    fixed = raw.joinpath(*itertools.takewhile(lambda part: not _is_pattern(part), parts))
    if len(parts) > len(fixed.relative_to(raw).parts) + 1 and fixed.is_dir():
        for _ in files_below(fixed, _is_shown):
            pass
    return sorted(raw.glob(name))


def _is_pattern(name: str) -> bool:
    return any(sign in name for sign in "*?[")


def one_a_folder(paths: Sequence[Path]) -> list[Path]:
    """Return paths with one of the `.npy` files of each folder, the largest: whoever reads it reads those beside it.

    Raises:
        InputError: classes are in a `.txt` file of their own, which nothing reads.
    """
    arrays: dict[Path, Path] = {}
    for path in paths:
        if path.suffix == ".txt" and _CLASSES.fullmatch(path.stem):
            raise InputError(
                f"{path}: classes without the rows that they are of; data/raw/README.md has lines that bring them together"
            )
        if path.suffix == ".npy":
            arrays[path.parent] = max(arrays.get(path.parent, path), path, key=lambda each: each.stat().st_size)
    return [path for path in paths if path.suffix != ".npy" or path in arrays.values()]


def files_of(match: Path, raw: Path, is_glob: bool = False) -> list[Path]:
    """Return a file, or those of a folder; what a person did not name itself has a known format and is not hidden."""
    if is_glob and not all(map(_is_shown, match.relative_to(raw).parts)):
        return []
    if not match.is_dir():
        if is_glob and _ending(match) not in FORMATS:
            return []
        format_of(match)
        check_is_file(match)
        return [match]
    found = [path for path in files_below(match, _is_shown) if _ending(path) in FORMATS and _is_shown(path)]
    found = [path for path in found if _ending(path) not in _LAST] or found
    for path in sorted(found):
        check_is_file(path)
    return found


def _is_shown(path: Path | str) -> bool:
    return not Path(path).name.startswith(("_", ".", "~$"))


def _ending(path: Path) -> str:
    return "".join(path.suffixes[-2:]).lower() if path.suffix.lower() == ".gz" else path.suffix.lower()


def format_of(path: Path) -> str:
    """Return the ending that says a file's format.

    Raises:
        InputError: it is none that is known.
    """
    if _ending(path) not in FORMATS:
        raise InputError(
            f"{path}: the format {path.suffix or 'without an ending'!r} is not known, expected one of {KNOWN}; "
            "data/raw/README.md has lines that convert others"
        )
    return _ending(path)


def cutter_of(opened: OpenedFile, files: FilesParams, windows: WindowParams | None) -> Cutter:
    """Return what makes sequences of the file's recordings."""
    if windows is None:
        return Whole(opened.location, opened.features, files.max_length)
    return Windows(opened.location, opened.features, windows)


def _check_agreement(opened: OpenedFile, first: OpenedFile) -> None:
    path, other = opened.location.path, first.location.path
    if opened.features != first.features:
        advice = (
            "; generate.files.features says which and in which order"
            if set(opened.features) & set(first.features)
            else ""
        )
        raise InputError(
            f"{path}: features {', '.join(opened.features)}, but {other} has {', '.join(first.features)}{advice}"
        )
    if opened.parts != first.parts:
        raise InputError(f"{path}: columns {', '.join(opened.parts)}, but {other} has {', '.join(first.parts)}")
