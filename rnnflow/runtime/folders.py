"""What is in a folder: each file once, and nothing passed over in silence."""

from collections.abc import Callable, Iterator
from pathlib import Path

from rnnflow.runtime.errors import InputError


def files_below(folder: Path, enters: Callable[[Path], bool] | None = None) -> Iterator[Path]:
    """Yield what is in a folder and in those below, each once, whatever links lead back to it.

    Args:
        folder: the folder.
        enters: whether to look into a folder below it; none: into all.

    Raises:
        OSError: a folder cannot be read; to leave it out would lose its files in silence.
    """
    waiting, seen = [folder], set()
    while waiting:
        folder = waiting.pop()
        identity = folder.stat()
        if (identity.st_dev, identity.st_ino) in seen:
            continue
        seen.add((identity.st_dev, identity.st_ino))
        for path in folder.iterdir():
            if not path.is_dir():
                yield path
            elif enters is None or enters(path):
                waiting.append(path)


def check_is_file(path: Path) -> None:
    """Refuse what is no file, of which a pipe would hold the run for ever and a device has no end.

    Raises:
        InputError: it is none, or its name is no text.
    """
    if not str(path).isprintable():
        raise InputError(f"{str(path)!a}: the name is not printable UTF-8 text; rename it")
    if not path.exists():
        raise InputError(f"{path}: a link to a file that is not there; `dvc checkout` brings tracked ones back")
    if not path.is_file():
        what = "a folder" if path.is_dir() else "a pipe, a socket or a device"
        raise InputError(f"{path}: not a file but {what}")
