"""The streaming graph against the whole-sequence graph, at every prefix and however a sequence is cut."""

import functools
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import numpy_helper
from onnxruntime.capi.onnxruntime_pybind11_state import Fail, InvalidArgument

from rnnflow.export.graph import build, build_streaming, serialise
from rnnflow.export.streaming_parity import InPieces, largest_difference, prefixes
from rnnflow.params.models import Cell, ModelParams, MultiScaleStemParams, Pooling, StemParams
from rnnflow.serving.predictor import Predictor
from rnnflow.serving.streaming_model import StreamingModel
from tests import toys
from tests.export.test_parity import PROPERTIES

TOLERANCE = 1e-5
NUM_FEATURES = len(toys.FEATURES)


def streaming_architectures() -> st.SearchStrategy[ModelParams]:
    """All that can stream; most of what `toys.architectures` gives cannot."""
    stems = toys.convolutions(st.just(True)) | toys.multi_scale_stems(st.just(True))
    return st.builds(
        ModelParams,
        cell=st.sampled_from(toys.CELLS),
        hidden_size=st.integers(1, 5),
        num_layers=st.integers(1, 3),
        pooling=st.sampled_from(toys.POOLINGS),
        scaling=st.sampled_from(["none", "global", "compressed", ["global", "compressed"], ["compressed", "global"]]),
        missing=st.sampled_from(toys.MISSING),
        downsampling=st.integers(1, 4),
        differences=st.booleans(),
        stem=st.none() | stems | st.builds(StemParams, channels=st.integers(1, 3), kernel_size=st.just(1)),
        members=st.sampled_from([1, 1, 1, 2]),
    )


class Pair:
    """Both graphs of one model, without files and checks, so that many can be tried."""

    def __init__(self, params: ModelParams, seed: int = 0) -> None:
        model = toys.random_ensemble(params, seed=seed)
        proto, self.layout = build_streaming(model, {})
        self.size = sum(self.layout.values())
        self._whole, self._streaming = (_session(each) for each in (build(model, {}), proto))

    def whole(self, sequences: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        return np.asarray(self._whole.run(None, {"sequence": sequences, "lengths": lengths})[0])

    def step(self, steps: np.ndarray, lengths: np.ndarray, state: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        probabilities, new = self._streaming.run(None, {"steps": steps, "lengths": lengths, "state": state})
        return probabilities, new


def _session(proto: onnx.ModelProto) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    return onnxruntime.InferenceSession(serialise(proto), options, providers=["CPUExecutionProvider"])


def check_cuttings(pair: Pair, sequences: np.ndarray, rng: np.random.Generator) -> int:
    """Cut each row at random and compare after each piece; return how many pieces were compared."""
    batch, num_steps, _ = sequences.shape
    every = np.repeat(sequences, num_steps, axis=0), np.tile(np.arange(1, num_steps + 1), batch)
    expected = pair.whole(*every).reshape(batch, num_steps, -1)
    state, done, rows = np.zeros((batch, pair.size), np.float32), np.zeros(batch, np.int64), np.arange(batch)
    num_compared = 0
    while (done < num_steps).any():
        width = int(rng.integers(1, num_steps + 1)) if rng.random() < 0.3 else int(rng.integers(1, 4))
        counts = np.minimum(rng.integers(0, width + 1, batch), num_steps - done)
        steps = sequences[rows[:, None], np.minimum(done[:, None] + np.arange(width), num_steps - 1)]
        steps[np.arange(width) >= counts[:, None]] = rng.choice([np.nan, 1e9, -np.inf])
        probabilities, new = pair.step(steps, counts, state)
        assert np.isfinite(new).all()
        assert np.array_equal(new[counts == 0], state[counts == 0])
        state, done = new, done + counts
        begun = rows[done > 0]
        np.testing.assert_allclose(probabilities[begun], expected[begun, done[begun] - 1], atol=TOLERANCE)
        num_compared += len(begun)
    return num_compared


def random_batch(rng: np.random.Generator, batch: int, num_steps: int, missing: float) -> np.ndarray:
    sequences = rng.standard_normal((batch, num_steps, NUM_FEATURES), dtype=np.float32)
    sequences[rng.random(sequences.shape) < missing] = np.nan
    return sequences


@settings(deadline=None, max_examples=20)
@given(
    params=streaming_architectures(),
    num_steps=st.integers(1, 12),
    missing=st.sampled_from([0.0, 0.02, 0.3, 1.0]),
    seed=st.integers(0, 99),
)
def test_any_cutting_gives_the_whole_files_probabilities_at_every_prefix(
    params: ModelParams, num_steps: int, missing: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    check_cuttings(Pair(params, seed), random_batch(rng, 6, num_steps, missing), rng)


@pytest.mark.slow
def test_ten_thousand_cuttings_of_a_hundred_architectures() -> None:
    rng, num_rows = np.random.default_rng(0), 0

    @settings(deadline=None, max_examples=110, database=None, derandomize=True)
    @given(params=streaming_architectures(), seed=st.integers(0, 99))
    def check(params: ModelParams, seed: int) -> None:
        nonlocal num_rows
        check_cuttings(Pair(params, seed), random_batch(rng, 128, 16, rng.choice([0.0, 0.02, 0.3])), rng)
        num_rows += 128

    check()
    assert num_rows >= 10_000


@pytest.mark.parametrize("cell", toys.CELLS)
def test_the_state_says_what_its_numbers_are(cell: Cell) -> None:
    params = ModelParams(cell=cell, hidden_size=4, num_layers=2, pooling="mean_max", missing="forward_fill")
    layout = Pair(params).layout
    cells = {f"layers.{index}.{part}": 4 for index in range(2) for part in ("hidden", "cell")[: 1 + (cell == "lstm")]}
    assert layout == {"filled.known": 2, "filled": 2, **cells, "mean.sums": 5, "mean.lost": 5, "started": 1, "max": 4}


def test_a_plain_model_keeps_the_state_of_its_cells_alone() -> None:
    assert Pair(ModelParams(cell="gru", hidden_size=4)).layout == {"layers.0.hidden": 4}


def test_a_causal_stem_keeps_the_last_steps_of_each_convolution_and_what_is_between_them() -> None:
    stem = MultiScaleStemParams(
        kind="multi_scale", kernel_sizes=[3, 5], channels=2, output_size=3, block_sizes=[2, 1, 2], causal=True
    )
    assert Pair(ModelParams(cell="gru", hidden_size=4, stem=stem)).layout == {
        "stem.stages.0": 4 * 2,
        "stem.blocks.0.phase": 1,
        "stem.blocks.0.sums": 2 * 4,
        "stem.stages.1": 8 * 4,
        "stem.stages.2": 4 * 3,
        "stem.mean.sums": 4,
        "stem.mean.lost": 4,
        "stem.max": 3,
        "stem.blocks.2.phase": 1,
        "stem.blocks.2.sums": 2 * 3,
        "layers.0.hidden": 4,
    }


@pytest.mark.parametrize("pooling", toys.POOLINGS)
@pytest.mark.parametrize("downsampling", [1, 3])
@pytest.mark.parametrize("cell", toys.CELLS)
def test_a_length_above_the_number_of_steps_is_rejected(cell: Cell, downsampling: int, pooling: Pooling) -> None:
    pair = Pair(ModelParams(cell=cell, hidden_size=4, downsampling=downsampling, pooling=pooling))
    steps, state = np.zeros((2, 3, NUM_FEATURES), np.float32), np.zeros((2, pair.size), np.float32)
    with pytest.raises((InvalidArgument, Fail), match=r"sequence_lens|out of data bounds"):
        pair.step(steps, np.array([3, 4]), state)


def test_a_mean_goes_on_where_float32_can_count_no_further() -> None:
    pair = Pair(ModelParams(cell="rnn", hidden_size=3, pooling="mean", scaling="none"))
    step, lengths = np.full((1, 1, NUM_FEATURES), 0.3, np.float32), np.array([1])
    state = np.zeros((1, pair.size), np.float32)
    for _ in range(100):
        state = pair.step(step, lengths, state)[1]
    settled, num_steps = state[0, :3].astype(np.float64), 2**24
    state[0, 3:7] = [*(num_steps * settled), num_steps]
    for _ in range(1000):
        state = pair.step(step, lengths, state)[1]
    added = state[0, 3:7].astype(np.float64) - state[0, 7:11] - [*(num_steps * settled).astype(np.float32), num_steps]
    np.testing.assert_allclose(added, [*(1000 * settled), 1000], rtol=1e-4)


def files(folder: Path, params: ModelParams, change: Any = lambda proto: None) -> tuple[Predictor, InPieces]:
    model = toys.random_classifier(params)
    proto, _ = build_streaming(model, PROPERTIES | {"rnnflow": "2"})
    change(proto)
    (folder / "model.onnx").write_bytes(serialise(build(model, PROPERTIES)))
    (folder / "model.stream.onnx").write_bytes(serialise(proto))
    return Predictor(folder / "model.onnx"), InPieces(StreamingModel(folder / "model.stream.onnx"))


BATCH = toys.padded(toys.random_sequences([9, 4, 7, 8], missing=0.4), 9, 0.0)


@pytest.mark.parametrize(
    "name", ["layers.0.hidden", "mean.sums", "max", "filled", "differences.global", "blocks.global"]
)
def test_a_part_of_the_state_that_is_forgotten_shows(tmp_path: Path, name: str) -> None:
    params = ModelParams(
        cell="gru", hidden_size=4, pooling="mean_max", missing="forward_fill", downsampling=2, differences=True
    )

    def forget(proto: onnx.ModelProto) -> None:
        for node in proto.graph.node:
            for index, value in enumerate(node.input):
                if value == f"before.{name}":
                    zeros = f"zeros.{name}"
                    proto.graph.node.insert(1, onnx.helper.make_node("Sub", [value, value], [zeros]))
                    node.input[index] = zeros
                    return

    whole, pieces = files(tmp_path, params)
    assert largest_difference(whole, pieces, prefixes([BATCH])) <= TOLERANCE
    whole, pieces = files(tmp_path, params, forget)
    assert largest_difference(whole, pieces, prefixes([BATCH])) > 1e-4


def test_a_streaming_file_that_answers_where_the_whole_file_refuses_is_infinitely_far(tmp_path: Path) -> None:
    def answer(proto: onnx.ModelProto) -> None:
        for constant in proto.graph.initializer:
            if np.isnan(numpy_helper.to_array(constant)).all():
                constant.CopyFrom(numpy_helper.from_array(np.array(0, np.float32), constant.name))

    params = ModelParams(cell="gru", hidden_size=4, missing="refuse")
    assert largest_difference(*files(tmp_path, params), prefixes([BATCH])) <= TOLERANCE
    assert largest_difference(*files(tmp_path, params, answer), prefixes([BATCH])) == np.inf


@functools.cache
def content() -> bytes:
    params = ModelParams(cell="lstm", num_layers=2, pooling="mean_max", downsampling=2, differences=True)
    return serialise(build_streaming(toys.random_classifier(params), {"name": "toy"})[0])


def test_equal_models_give_equal_bytes() -> None:
    first = content()
    content.cache_clear()
    assert content() == first
