"""Weights of 8 bits: rounded by row, and written only where that costs little on the validation split."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from rnnflow.cli import main
from rnnflow.params.models import Cell, ModelParams
from rnnflow.serving.predictor import Predictor
from rnnflow.serving.quantisation import rounded
from tests import toys
from tests.serving.test_c_code import onnx_file

SEQUENCES, LABELS = toys.random_sequences([5, 9, 3, 7], missing=0), ["up", "down", "up", "level"]


@settings(deadline=None)
@given(arrays.arrays(np.float32, (3, 4), elements=st.floats(-100, 100, width=32, allow_subnormal=False)))
def test_a_weight_is_off_by_half_a_step_of_its_row_at_most_and_rounded_once(weights: np.ndarray) -> None:
    numbers, factors = rounded(weights)
    assert (np.abs(numbers * factors - weights) <= factors * 0.501).all()
    assert (np.abs(numbers.astype(int)).max(-1)[factors[:, 0] > 1e-30] == 127).all()
    assert np.array_equal(rounded(numbers * factors)[0][factors[:, 0] > 1e-30], numbers[factors[:, 0] > 1e-30])


@pytest.fixture
def validation(tmp_path: Path) -> Path:
    toys.write_sequences(tmp_path / "validation" / "part-00000.parquet", SEQUENCES, LABELS)
    return tmp_path / "validation"


def test_an_lstm_is_written_smaller_and_says_what_that_cost(
    tmp_path: Path, validation: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path, output = onnx_file(tmp_path, ModelParams(cell="lstm", hidden_size=32)), tmp_path / "int8.onnx"
    main(["quantise", str(path), str(output), str(validation)])
    said = capfd.readouterr()
    assert said.err == ""
    assert output.stat().st_size < 0.7 * path.stat().st_size
    before, after = Predictor(path), Predictor(output)
    shift = np.abs(before.probabilities(SEQUENCES) - after.probabilities(SEQUENCES)).max()
    cost = after.metadata.pop("quantisation")
    assert cost["largest_shift"] == pytest.approx(shift)
    assert 0 < shift < 0.2
    assert f"largest shift of a probability {shift:.4f}" in said.out
    assert before.metadata.pop("quantisation") is None
    assert before.metadata == after.metadata


def test_the_file_of_32_bits_is_not_written_over(
    tmp_path: Path, validation: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = onnx_file(tmp_path, ModelParams(cell="lstm", hidden_size=4))
    before = path.read_bytes()
    with pytest.raises(SystemExit) as end:
        main(["quantise", str(path), str(path), str(validation)])
    assert end.value.code == 2
    assert "is the file of 32 bits, which would be lost" in capsys.readouterr().err
    assert path.read_bytes() == before


def test_weights_of_8_bits_are_not_rounded_again(
    tmp_path: Path, validation: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, output = tmp_path / "int8.onnx", tmp_path / "output"
    main(["quantise", str(onnx_file(tmp_path, ModelParams(cell="lstm", hidden_size=4))), str(path), str(validation)])
    for command in (
        ["quantise", path, output, validation],
        ["export-c", path, output],
        ["export-c", path, output, "--int8", validation],
    ):
        said = refusal([str(each) for each in command], capsys)
        assert said == f"{path}: its weights have 8 bits already; take the file that it was made of"
        assert not output.exists()


@pytest.mark.parametrize("cell", ["rnn", "gru", "mingru"])
def test_other_cells_are_unsupported(
    tmp_path: Path, validation: Path, capsys: pytest.CaptureFixture[str], cell: Cell
) -> None:
    path, output = onnx_file(tmp_path, ModelParams(cell=cell, hidden_size=4)), tmp_path / "int8.onnx"
    assert refusal(["quantise", str(path), str(output), str(validation)], capsys) == (
        f"{path}: unsupported: onnxruntime has no operator with weights of 8 bits for cell {cell}, only for lstm"
    )
    assert not output.exists()


@pytest.mark.parametrize("command", ["quantise", "export-c"])
def test_what_costs_too_much_is_not_written(
    tmp_path: Path, validation: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    path, output = onnx_file(tmp_path, ModelParams(cell="lstm", hidden_size=8)), tmp_path / "output"
    split = ["--int8", str(validation)] if command == "export-c" else [str(validation)]
    said = refusal([command, str(path), str(output), *split, "--max-shift", "1e-9"], capsys)
    assert said.startswith(f"{path}: weights of 8 bits cost too much: accuracy ")
    assert said.endswith("a shift of 1e-09 (--max-shift); nothing was written")
    assert not output.exists()


def test_a_split_of_other_features_is_refused(
    tmp_path: Path, validation: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    toys.write_sequences(validation / "part-00000.parquet", SEQUENCES, LABELS, features=("x", "z"))
    path = onnx_file(tmp_path, ModelParams(cell="lstm", hidden_size=4))
    said = refusal(["quantise", str(path), str(tmp_path / "int8.onnx"), str(validation)], capsys)
    assert said == f"{validation / 'part-00000.parquet'}: features x, z, expected x, y"


def refusal(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    assert exit_.value.code == 2
    return capsys.readouterr().err.strip().removeprefix("error: ")
