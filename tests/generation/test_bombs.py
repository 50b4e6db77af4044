"""Small files that would become large: refused before they do."""

import gzip
import io
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rnnflow.advice.inspection.sample import read_sample
from rnnflow.generation.sources import lines
from rnnflow.generation.sources.files import open_file
from rnnflow.params.generate import FilesParams
from rnnflow.runtime.errors import InputError
from rnnflow.sequences.parquet import SequenceFile
from tests import toys

NUM_VALUES = 2**19


@pytest.fixture(autouse=True)
def _small_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RNNFLOW_MEMORY_MB", "1")


def lines_of_one_kind(folder: Path) -> Path:
    path = folder / "a.csv.gz"
    path.write_bytes(gzip.compress(b"id,label,x\n" + b"a,b,1\n" * NUM_VALUES))
    return path


def array_of_zeros(folder: Path) -> Path:
    path = folder / "a.npz"
    np.savez_compressed(path, sequence=np.zeros((NUM_VALUES, 4, 1), np.float32), label=np.zeros(NUM_VALUES, np.int8))
    return path


def run_of_one_value(folder: Path) -> Path:
    path = folder / "a.parquet"
    pq.write_table(pa.table({"id": ["a"], "label": ["b"], "sequence": [np.zeros(NUM_VALUES)]}), path)
    return path


def text_repeated(folder: Path) -> Path:
    path = folder / "a.parquet"
    texts = pa.DictionaryArray.from_arrays(pa.array(np.zeros(3000, np.int8)), pa.array(["x" * 2**10 * 512]))
    pq.write_table(pa.table({"id": texts, "label": ["b"] * 3000, "x": np.arange(3000.0)}), path)
    return path


def read(path: Path) -> None:
    for _ in open_file(path, Path(path.name), FilesParams(features=["x"])).chunks:
        pass


@pytest.mark.parametrize("make", [lines_of_one_kind, array_of_zeros, run_of_one_value, text_repeated])
def test_a_small_file_that_would_become_large_is_refused(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    with pytest.raises(
        InputError, match=r"bytes would become [1-9].* MiB, .* set the environment variable RNNFLOW_MEMORY_MB"
    ):
        read(make(tmp_path))


@pytest.mark.parametrize("make", [array_of_zeros, run_of_one_value, text_repeated])
def test_inspect_refuses_it_as_well(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    with pytest.raises(InputError, match="would become"):
        read_sample(make(tmp_path), None)


def test_a_split_is_refused_before_memory_is_asked_for(tmp_path: Path) -> None:
    path = toys.write_sequences(tmp_path / "part.parquet", [np.zeros((NUM_VALUES, 2), np.float32)], ["a"])
    with pytest.raises(InputError, match="would become"):
        SequenceFile.open(path)


@pytest.mark.parametrize("make", [lines_of_one_kind, array_of_zeros, run_of_one_value])
def test_who_wants_it_so_sets_the_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[Path], Path]
) -> None:
    monkeypatch.setenv("RNNFLOW_MEMORY_MB", "100")
    read(make(tmp_path))


def test_a_large_file_of_measured_numbers_is_in_proportion(tmp_path: Path) -> None:
    values = np.random.default_rng(0).standard_normal((1000, 400, 1), dtype=np.float32)
    np.savez_compressed(tmp_path / "a.npz", sequence=values, label=np.zeros(1000, np.int8))
    read(tmp_path / "a.npz")


@pytest.mark.parametrize("shape", [10**15, 2**62, 10**30])
def test_a_header_that_claims_more_than_the_file_holds_is_one_line(tmp_path: Path, shape: int) -> None:
    text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({shape},), }}\n".encode()
    (tmp_path / "a.npy").write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text)
    with zipfile.ZipFile(tmp_path / "b.npz", "w") as archive:
        archive.writestr("sequence.npy", (tmp_path / "a.npy").read_bytes())
    for name in ("a.npy", "b.npz"):
        with pytest.raises(InputError, match=rf"{name}: not an \.np. file of plain arrays"):
            read(tmp_path / name)


@pytest.mark.parametrize("ending", [".csv", ".csv.gz"])
def test_a_line_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str) -> None:
    monkeypatch.setattr(lines, "MAX_LINE", 1000)
    for place, content in ((1, b"x" * 2000), (3, b"id,label,x\na,b,1\n" + b"1" * 2000)):
        path = tmp_path / f"a{ending}"
        path.write_bytes(gzip.compress(content) if ending == ".csv.gz" else content)
        with pytest.raises(
            InputError, match=f"line {place}: longer than 1,000 characters, expected rows with line ends"
        ):
            read(path)


def test_other_compression_in_an_archive_is_one_line(tmp_path: Path) -> None:
    content = io.BytesIO()
    np.save(content, np.zeros((2, 3, 1)))
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("sequence.npy", content.getvalue())
    changed = bytearray((tmp_path / "a.npz").read_bytes())
    changed[8] = 97  # PPMd, in the local header and in the directory
    changed[changed.index(b"PK\x01\x02") + 10] = 97
    (tmp_path / "a.npz").write_bytes(changed)
    with pytest.raises(InputError, match="That compression method is not supported"):
        read(tmp_path / "a.npz")
