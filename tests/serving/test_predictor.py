import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from rnnflow.classifier.model import SequenceClassifier
from rnnflow.params.models import Cell, Missing, ModelParams
from rnnflow.runtime.errors import InputError
from rnnflow.runtime.provenance import ROOT
from rnnflow.serving.predictor import CHUNK_SIZE, Predictor
from tests import toys

LSTM = ModelParams(cell="lstm", hidden_size=4, bidirectional=True, pooling="mean_max")


@pytest.fixture(scope="module")
def model() -> SequenceClassifier:
    return toys.random_classifier(LSTM)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory, model: SequenceClassifier) -> Path:
    return toys.exported(tmp_path_factory.mktemp("lstm"), model)


def by_pytorch(model: SequenceClassifier, sequences: list[np.ndarray]) -> np.ndarray:
    with torch.inference_mode():
        return toys.alone(model, sequences).softmax(1).numpy()


@pytest.mark.parametrize("cell", toys.CELLS)
def test_sequences_of_any_lengths_get_the_probabilities_of_pytorch(tmp_path: Path, cell: Cell) -> None:
    model = toys.random_classifier(ModelParams(cell=cell, hidden_size=4, num_layers=2, bidirectional=True))
    lengths = np.random.default_rng(0).integers(1, 30, 3 * CHUNK_SIZE + 1)
    sequences = toys.random_sequences(lengths.tolist())
    predictor = Predictor(toys.exported(tmp_path, model))
    expected = by_pytorch(model, sequences)
    np.testing.assert_allclose(predictor.probabilities(sequences), expected, atol=1e-6)
    assert predictor.predict(sequences) == [toys.CLASSES[index] for index in expected.argmax(1)]


@settings(deadline=None, max_examples=25)
@given(lengths=st.lists(st.integers(1, 20), max_size=9), seed=st.integers(0, 99))
def test_company_and_order_never_change_a_prediction(path: Path, lengths: list[int], seed: int) -> None:
    predictor = Predictor(path)
    sequences = toys.random_sequences(lengths, seed=seed)
    together = predictor.probabilities(sequences)
    assert together.shape == (len(lengths), 3)
    for sequence, probabilities in zip(sequences, together, strict=True):
        np.testing.assert_allclose(predictor.probabilities([sequence])[0], probabilities, atol=1e-6)
    np.testing.assert_allclose(predictor.probabilities(sequences[::-1])[::-1], together, atol=1e-6)


@pytest.mark.parametrize("kind", [np.int64, np.float64, np.float16])
def test_other_number_types_will_do(path: Path, model: SequenceClassifier, kind: type) -> None:
    sequence = np.array([[1, 2], [3, 4]])
    expected = by_pytorch(model, [sequence.astype(np.float32)])
    np.testing.assert_allclose(Predictor(path).probabilities([sequence.astype(kind)]), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("sequence", "message"),
    [
        (np.zeros((4, 3)), r"sequence 1 has the shape \(4, 3\), expected \(time, 2\)"),
        (np.zeros(4), r"sequence 1 has the shape \(4,\)"),
        (np.zeros((0, 2)), r"sequence 1 has the shape \(0, 2\), .* with at least one step"),
        (np.array([[0, np.inf]]), "sequence 1 holds an infinite value"),
        (np.array([[0, -1e39]]), "sequence 1 holds an infinite value"),  # more than float32 can hold
    ],
)
def test_a_sequence_that_does_not_fit_is_refused(path: Path, sequence: np.ndarray, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Predictor(path).probabilities([np.zeros((1, 2)), sequence])


def test_a_file_cut_anywhere_is_refused(path: Path, tmp_path: Path) -> None:
    content = path.read_bytes()
    cut = tmp_path / "model.onnx"
    for size in [*range(0, len(content) - 300, 211), *range(len(content) - 300, len(content))]:
        cut.write_bytes(content[:size])
        with pytest.raises(InputError, match=r"not an ONNX file|not exported by rnnflow"):
            Predictor(cut)


def test_a_property_that_a_registry_added_is_left_alone(path: Path, tmp_path: Path) -> None:
    proto = onnx.load(path)
    proto.metadata_props.add(key="author", value="me")
    onnx.save(proto, tmp_path / "model.onnx")
    assert Predictor(tmp_path / "model.onnx").metadata == Predictor(path).metadata


def test_a_damaged_property_is_refused(path: Path, tmp_path: Path) -> None:
    proto = onnx.load(path)
    (classes,) = (entry for entry in proto.metadata_props if entry.key == "classes")
    classes.value = "no, yes"
    onnx.save(proto, tmp_path / "model.onnx")
    with pytest.raises(InputError, match="does not match the checksum"):
        Predictor(tmp_path / "model.onnx")


def write_foreign(path: Path, version: int | None) -> None:
    """Write an ONNX file that another program could have written."""
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("a", "b")]
    graph = helper.make_graph([helper.make_node("Relu", ["a"], ["b"])], "foreign", values[:1], values[1:])
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    if version is not None:
        helper.set_model_props(proto, {"rnnflow": json.dumps(version)})
    onnx.save(proto, path)


def test_an_onnx_file_of_another_program_is_refused(tmp_path: Path) -> None:
    write_foreign(tmp_path / "model.onnx", version=None)
    with pytest.raises(
        InputError, match="not exported by rnnflow in version 2: the metadata property 'rnnflow' is miss"
    ):
        Predictor(tmp_path / "model.onnx")


def test_an_onnx_file_of_a_later_version_is_refused(tmp_path: Path) -> None:
    write_foreign(tmp_path / "model.onnx", version=3)
    with pytest.raises(InputError, match="not exported by rnnflow in version 2: the metadata property 'rnnflow' is 3"):
        Predictor(tmp_path / "model.onnx")


@pytest.mark.parametrize("content", [b"", b"weights, in words", b"PAR1" * 100])
def test_what_is_no_onnx_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.onnx").write_bytes(content)
    with pytest.raises(InputError, match=r"model\.onnx: not an ONNX file that onnxruntime can run"):
        Predictor(tmp_path / "model.onnx")


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    for missing in (tmp_path, tmp_path / "model.onnx"):
        with pytest.raises(InputError, match="no such file"):
            Predictor(missing)


def test_predicting_needs_nothing_of_what_training_needs(path: Path) -> None:
    program = f"""
import sys
import numpy as np
import rnnflow.cli, rnnflow.serving.prediction.predict_files, rnnflow.serving.describe
from rnnflow.serving.prediction.one_recording import probabilities_of_windows
from rnnflow.serving.predictor import Predictor
probabilities_of_windows(Predictor({str(path)!r}), np.zeros((3, 2)))
print(*sorted({{"torch", "onnx", "sklearn", "scipy", "safetensors", "filelock", "dvc", "prefect"}} & set(sys.modules)))
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert result.stdout.split() == []


@pytest.mark.parametrize("cell", toys.CELLS)
def test_an_empty_batch_has_an_empty_answer(tmp_path: Path, cell: Cell) -> None:
    """Onnxruntime's own kernels end the process."""
    predictor = Predictor(toys.exported(tmp_path, toys.random_classifier(ModelParams(cell=cell, hidden_size=4))))
    empty = np.empty((0, 3, len(toys.FEATURES)), np.float32), np.empty(0, np.int64)
    assert predictor.run(*empty).shape == (0, len(toys.CLASSES))
    assert predictor.flat_probabilities(empty[0].reshape(-1, 2), np.zeros(1, np.int64)).shape == (0, len(toys.CLASSES))
    assert predictor.predict([]) == []


def test_threads_change_no_bit(tmp_path: Path) -> None:
    path = toys.exported(tmp_path, toys.random_classifier(ModelParams(cell="lstm", hidden_size=4)))
    sequences = toys.random_sequences(np.random.default_rng(0).integers(1, 20, 3 * CHUNK_SIZE).tolist())
    answers = [Predictor(path, num_threads).probabilities(sequences) for num_threads in (1, 2, 5)]
    assert (answers[0] == answers[1]).all()
    assert (answers[0] == answers[2]).all()


def test_a_predictor_does_not_load_parquet() -> None:
    program = "import sys, rnnflow.serving.predictor; print('pyarrow' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert result.stdout.split() == ["False"]


def test_a_model_that_refuses_missing_values_names_the_sequence(tmp_path: Path) -> None:
    model = toys.random_classifier(ModelParams(cell="gru", hidden_size=4, missing="refuse"))
    predictor = Predictor(toys.exported(tmp_path, model))
    sequences = toys.random_sequences([3, 1, 200, 2], missing=0.0)
    np.testing.assert_allclose(predictor.probabilities(sequences), by_pytorch(model, sequences), atol=1e-6)
    sequences[2][150, 1] = np.nan
    with pytest.raises(InputError, match=r"^sequence 2 misses a value of 'y'; the model refuses missing values$"):
        predictor.probabilities(sequences)


@pytest.mark.parametrize("missing", ["zero", "forward_fill", "mask"])
def test_other_models_answer_where_a_value_is_missing(tmp_path: Path, missing: Missing) -> None:
    model = toys.random_classifier(ModelParams(cell="gru", hidden_size=4, missing=missing, downsampling=2))
    predictor = Predictor(toys.exported(tmp_path, model))
    sequences = toys.random_sequences([3, 1, 200, 2], missing=0.5)
    np.testing.assert_allclose(predictor.probabilities(sequences), by_pytorch(model, sequences), atol=1e-6)
