"""Whether the files that a pipeline wrote are still what it wrote: models, checkpoints and sequences."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from rnnflow.runtime.errors import InputError
from rnnflow.runtime.folders import check_is_file, files_below
from rnnflow.sequences.parquet import SequenceFile
from rnnflow.serving.predictor import ExportedModel


def verify(paths: Sequence[Path]) -> Iterator[tuple[Path, str | None]]:
    """Yield every file with a checksum below `paths`, and what is wrong with it, if anything is.

    Raises:
        InputError: a path does not exist, is a file of another kind, or no such file is below it.
    """
    for path in paths:
        if not path.exists():
            raise InputError(f"{path}: no such file or folder")
        files = sorted(file for file in files_below(path) if file.suffix in _READERS) if path.is_dir() else [path]
        if not files or files[0].suffix not in _READERS:
            raise InputError(f"{path}: expected {', '.join(_READERS)} files, or a folder with such")
        for file in files:
            try:
                check_is_file(file)
                _READERS[file.suffix](file)
            except InputError as error:
                yield file, str(error)
            else:
                yield file, None


def _read_sequences(path: Path) -> None:
    for _ in SequenceFile.open(path).batches():
        pass


def _read_checkpoint(path: Path) -> None:
    from rnnflow.classifier import checkpoint  # not there where only predictions are made

    checkpoint.load(path)


_READERS: dict[str, Callable[[Path], object]] = {
    ".onnx": ExportedModel,
    ".safetensors": _read_checkpoint,
    ".parquet": _read_sequences,
}
