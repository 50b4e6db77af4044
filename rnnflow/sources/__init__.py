"""Where sequences come from: each source yields (split, table) pairs, a table for each Parquet file to write."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pyarrow as pa

from rnnflow.params import GenerateParams, SourceName
from rnnflow.sources import digits, files, synthetic

Source = Callable[[GenerateParams, Path], Iterator[tuple[str, pa.Table]]]

SOURCES: Mapping[SourceName, Source] = {
    "sum_sign": synthetic.sum_sign,
    "adding": synthetic.adding,
    "digits": digits.read,
    "files": files.read,
}
