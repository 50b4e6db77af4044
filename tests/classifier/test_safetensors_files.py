import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of
from safetensors.numpy import save_file

from rnnflow.classifier import safetensors_files
from rnnflow.runtime.errors import InputError
from rnnflow.runtime.provenance import ROOT

KINDS = st.sampled_from([np.float32, np.float64, np.int64])
ARRAYS = st.dictionaries(
    st.text(min_size=1, max_size=5).filter(lambda name: name != "__metadata__"),
    arrays_of.arrays(KINDS, arrays_of.array_shapes(min_dims=0, max_dims=3, max_side=4)),
    max_size=4,
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@settings(deadline=None, max_examples=60)
@given(arrays=ARRAYS, description=JSON)
def test_read_returns_what_was_written(
    tmp_path_factory: pytest.TempPathFactory, arrays: dict[str, np.ndarray], description: object
) -> None:
    path = tmp_path_factory.getbasetemp() / "arrays.safetensors"
    safetensors_files.write(path, arrays, description)
    found, said = safetensors_files.read(path)
    assert said == description
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array, strict=True)  # shape and type as well


def test_a_number_keeps_having_no_axes(tmp_path: Path) -> None:
    safetensors_files.write(tmp_path / "file", {"num_steps": np.array(3, np.float32)}, None)
    assert safetensors_files.read(tmp_path / "file")[0]["num_steps"].shape == ()


def test_what_is_not_contiguous_is_written_as_it_reads(tmp_path: Path) -> None:
    array = np.arange(24, dtype=np.float32).reshape(4, 6)
    views = {"transposed": array.T, "every_second": array[:, ::2], "turned": array[::-1]}
    safetensors_files.write(tmp_path / "file", views, None)
    found, _ = safetensors_files.read(tmp_path / "file")
    for name, view in views.items():
        np.testing.assert_array_equal(found[name], view, strict=True)


def test_equal_content_gives_equal_bytes_whatever_its_order(tmp_path: Path) -> None:
    arrays = {name: np.full(3, place, np.float32) for place, name in enumerate("abc")}
    safetensors_files.write(tmp_path / "one", arrays, {"x": 1, "y": 2})
    safetensors_files.write(tmp_path / "other", dict(reversed(arrays.items())), {"y": 2, "x": 1})
    assert (tmp_path / "one").read_bytes() == (tmp_path / "other").read_bytes()


def test_what_was_read_stays_when_the_file_is_written_anew(tmp_path: Path) -> None:
    safetensors_files.write(tmp_path / "file", {"a": np.zeros(1000, np.float32)}, None)
    found, _ = safetensors_files.read(tmp_path / "file")
    safetensors_files.write(tmp_path / "file", {"a": np.ones(1000, np.float32)}, None)
    assert not found["a"].any()
    assert safetensors_files.read(tmp_path / "file")[0]["a"].all()


def test_a_description_that_cannot_be_said_leaves_the_last_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    safetensors_files.write(path, {"a": np.zeros(3, np.float32)}, "first")
    with pytest.raises(TypeError):
        safetensors_files.write(path, {"a": np.ones(3, np.float32)}, object())
    assert safetensors_files.read(path)[1] == "first"
    assert list(tmp_path.iterdir()) == [path]


KILLED_AFTER_A_THOUSAND_BYTES = """
import resource, signal, sys
from pathlib import Path
import numpy as np
from rnnflow.classifier import safetensors_files
signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
safetensors_files.write(Path(sys.argv[1]), {"a": np.ones(10_000, np.float32)}, None)
"""


def test_a_write_that_is_killed_and_repeated_leaves_its_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "file"
    safetensors_files.write(path, {"a": np.zeros(3, np.float32)}, "first")
    killed = subprocess.run([sys.executable, "-c", KILLED_AFTER_A_THOUSAND_BYTES, str(path)], cwd=ROOT)
    assert killed.returncode == -signal.SIGXFSZ
    assert safetensors_files.read(path)[1] == "first"
    assert len([*tmp_path.iterdir()]) == 2
    safetensors_files.write(path, {"a": np.ones(3, np.float32)}, "second")
    assert [*tmp_path.iterdir()] == [path]


def test_a_file_that_is_not_there_damaged_or_foreign_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with pytest.raises(InputError, match="no such file"):
        safetensors_files.read(path)
    with pytest.raises(InputError, match="not a file but a folder"):
        safetensors_files.read(tmp_path)
    save_file({"a": np.zeros(3)}, path)
    with pytest.raises(InputError, match="not a checkpoint of rnnflow: the metadata key 'rnnflow' is missing"):
        safetensors_files.read(path)
    save_file({"a": np.zeros(3)}, path, metadata={"rnnflow": json.dumps({"version": 3})})
    with pytest.raises(InputError, match="a checkpoint of an earlier rnnflow; train the model again"):
        safetensors_files.read(path)
    safetensors_files.write(path, {"a": np.zeros(3)}, None)
    content = path.read_bytes()
    for size in range(len(content)):
        path.write_bytes(content[:size])
        with pytest.raises(InputError, match="not a complete safetensors file"):
            safetensors_files.read(path)
