"""NumPy's files, read whole and within bounds."""

import zipfile
from pathlib import Path

import numpy as np

from rnnflow.runtime import expansion
from rnnflow.runtime.errors import library
from rnnflow.runtime.folders import check_is_file


def read(path: Path) -> dict[str, np.ndarray]:
    """Return the arrays of an `.npz` file, or the one of an `.npy` file under the file's name.

    Raises:
        InputError: it is damaged, holds objects, or would become too large.
    """
    if path.exists():
        check_is_file(path)
    with library(f"{path}: not an {path.suffix} file of plain arrays"):
        if path.suffix == ".npy":
            return {path.stem: np.load(path, allow_pickle=False)}
        with zipfile.ZipFile(path) as archive:  # which reads no more of a member than it declares
            expansion.check(path, sum(member.file_size for member in archive.infolist()))
        with np.load(path, allow_pickle=False) as content:
            arrays = dict(content)
        for name, array in arrays.items():
            if not isinstance(array, np.ndarray):  # NumPy gives the bytes of what does not begin as an array
                raise TypeError(f"{name!r} is no array")
        return arrays
