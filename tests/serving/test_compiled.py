from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rnnflow.params.models import ModelParams
from rnnflow.runtime.errors import InputError
from rnnflow.serving import compiled
from rnnflow.serving.compiled import CHUNK_SIZE, ENOUGH_BYTES, CompiledPredictor, predictor_for
from rnnflow.serving.predictor import Predictor
from tests import toys

LENGTHS = [1, 1, 7, 30, 30]

plain = st.builds(
    ModelParams,
    cell=st.sampled_from(["rnn", "lstm", "gru"]),
    hidden_size=st.integers(1, 20),
    num_layers=st.integers(1, 2),
    bidirectional=st.booleans(),
    pooling=st.sampled_from(toys.POOLINGS),
    scaling=st.sampled_from(["none", "global", "sequence"]),
    missing=st.sampled_from(toys.MISSING),
)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = toys.random_classifier(ModelParams(cell="gru", hidden_size=4, num_layers=2, bidirectional=True))
    return toys.exported(tmp_path_factory.mktemp("gru"), model)


@settings(deadline=None, max_examples=12)
@given(params=plain, num_missing=st.sampled_from([0, 3]))
def test_the_answers_are_those_of_onnxruntime(
    tmp_path_factory: pytest.TempPathFactory, params: ModelParams, num_missing: int
) -> None:
    path = toys.exported(tmp_path_factory.mktemp("model"), toys.random_classifier(params))
    sequences = toys.random_sequences(LENGTHS)
    for sequence in sequences[-num_missing or len(sequences) :]:
        sequence[0, 1] = np.nan
    values, offsets = np.concatenate(sequences), np.cumsum([0, *LENGTHS])
    ours, theirs = (kind(path).flat_probabilities(values, offsets) for kind in (CompiledPredictor, Predictor))
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_threads_and_company_change_no_bit(path: Path) -> None:
    sequences = toys.random_sequences(np.random.default_rng(0).integers(1, 30, 2 * CHUNK_SIZE).tolist())
    expected = CompiledPredictor(path).probabilities(sequences)
    np.testing.assert_array_equal(CompiledPredictor(path, num_threads=3).probabilities(sequences), expected)
    np.testing.assert_array_equal(CompiledPredictor(path).probabilities(sequences[:5]), expected[:5])
    assert CompiledPredictor(path).probabilities([]).shape == (0, 3)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        (ModelParams(cell="mingru", hidden_size=4), "cell: mingru, expected rnn, lstm or gru"),
        (ModelParams(cell="gru", hidden_size=4, downsampling=2), "downsampling: 2, expected 1"),
        (ModelParams(cell="gru", hidden_size=4, scaling="compressed"), "scaling: compressed, expected global"),
    ],
)
def test_a_model_that_the_engine_does_not_compute_is_left_to_onnxruntime(
    tmp_path: Path, params: ModelParams, message: str
) -> None:
    path = toys.exported(tmp_path, toys.random_classifier(params))
    with pytest.raises(InputError, match=f"engine numba does not answer for this model: {message}"):
        predictor_for(path, 1, "numba", 0)
    assert predictor_for(path, 1, "auto", ENOUGH_BYTES).engine == "onnxruntime"


def test_weights_that_answer_otherwise_are_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "_in_order", lambda _, array: array)  # the gates as ONNX has them
    with pytest.raises(InputError, match=r"engine numba differ from onnxruntime's by \S+, expected up to 1e-05"):
        CompiledPredictor(path)


def test_by_default_the_engine_answers_for_large_files_where_it_was_compiled(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert CompiledPredictor(path).engine == "engine numba"  # compiled by now
    assert predictor_for(path, 1, "auto", ENOUGH_BYTES - 1).engine == "onnxruntime"
    assert predictor_for(path, 1, "auto", ENOUGH_BYTES).engine == "engine numba"
    assert predictor_for(path, 1, "onnxruntime", ENOUGH_BYTES).engine == "onnxruntime"
    monkeypatch.setenv("RNNFLOW_CACHE", "/proc/nowhere")
    assert predictor_for(path, 1, "auto", ENOUGH_BYTES).engine == "onnxruntime"
