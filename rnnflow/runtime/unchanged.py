"""What a stage reads is the same when it ends as when it began.

DVC looks at a stage's dependencies when it has ended: data or params that somebody changed meanwhile would be recorded as
those that the outputs were made from, and `dvc status` would call them up to date.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from rnnflow.runtime.errors import TemporaryError
from rnnflow.runtime.folders import files_below

V = TypeVar("V")


@contextmanager
def unchanged_files(*paths: Path) -> Iterator[None]:
    """Refuse what was done inside if a file, or one in a folder, has changed meanwhile.

    Raises:
        TemporaryError: one has; the next try reads what is there then.
    """
    before = _states(paths)
    yield
    after = _states(paths)
    for path in sorted(before.keys() | after.keys()):
        if before.get(path) != after.get(path):
            raise TemporaryError(
                f"{path}: changed while the stage was at work, whose result is not recorded; run it again"
            )


@contextmanager
def unchanged_params(load: Callable[[], V], place: Path) -> Iterator[V]:
    """Yield params, and refuse what was done with them if their file says others by then; its other sections may change.

    Raises:
        TemporaryError: it does; the next try reads what is there then.
    """
    before = _states((place,))
    params = load()
    yield params
    if _states((place,)) != before and load() != params:
        raise TemporaryError(
            f"{place}: params of this stage changed while it was at work, whose result is not recorded; run it again"
        )


def _states(paths: tuple[Path, ...]) -> dict[Path, tuple[int, int]]:
    files = [file for path in paths for file in (files_below(path) if path.is_dir() else [path]) if file.is_file()]
    return {file: (status.st_size, status.st_mtime_ns) for file in files for status in [file.stat()]}
