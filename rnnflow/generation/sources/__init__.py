"""Where sequences come from: each source yields files, or splits that it makes, and their sequences."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import get_args

from rnnflow.generation.sources import archives, files, synthetic
from rnnflow.generation.sources.source_file import SourceFile
from rnnflow.params.generate import ArchiveName, GenerateParams, SourceName

Source = Callable[[GenerateParams, Path], Iterator[SourceFile]]

SOURCES: Mapping[SourceName, Source] = {
    "sum_sign": synthetic.sum_sign,
    "adding": synthetic.adding,
    "files": files.read,
    **{name: partial(archives.read, name) for name in get_args(ArchiveName)},
}
