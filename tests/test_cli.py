import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest

from rnnflow.cli import main
from rnnflow.export.version import VERSION
from rnnflow.params.models import ModelParams
from rnnflow.runtime.provenance import ROOT
from rnnflow.serving.predictor import Predictor
from tests import toys

GRU = ModelParams(cell="gru", hidden_size=4)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(toys.exported(tmp_path_factory.mktemp("gru"), toys.random_classifier(GRU)))


@pytest.fixture
def source(tmp_path: Path) -> str:
    return str(toys.write_sequences(tmp_path / "input.parquet", toys.random_sequences([3, 1, 4])))


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Return the one line that the command ends with."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    assert exit_.value.code == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    return line


def test_predict_says_how_much_it_wrote_and_where(
    model: str, source: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "new" / "folder" / "out.csv"
    main(["predict", model, source, str(target)])
    assert capsys.readouterr().out == f"3 sequences predicted by onnxruntime, written to {target}\n"
    assert len(target.read_text().splitlines()) == 4


def test_predict_goes_on_without_what_it_cannot_read_and_ends_with_status_3(
    model: str, source: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "torn.parquet").write_bytes(Path(source).read_bytes()[:-9])
    arguments = [model, source, str(tmp_path / "torn.parquet"), str(tmp_path / "out.csv")]
    with pytest.raises(SystemExit) as exit_:
        main(["predict", *arguments, "--rejects", str(tmp_path / "rejects.csv")])
    assert exit_.value.code == 3
    captured = capsys.readouterr()
    assert captured.out == f"3 sequences predicted by onnxruntime, written to {tmp_path / 'out.csv'}\n"
    assert captured.err == f"1 could not be read, see {tmp_path / 'rejects.csv'}\n"
    _, row = (tmp_path / "rejects.csv").read_text().splitlines()
    assert row.startswith(f"{tmp_path / 'torn.parquet'},,,,,not a complete Parquet file")
    assert len((tmp_path / "out.csv").read_text().splitlines()) == 4
    (tmp_path / "out.csv").unlink()
    assert "not a complete Parquet file" in refusal(capsys, "predict", *arguments)
    assert not (tmp_path / "out.csv").exists()


def test_predict_puts_nothing_but_the_table_on_standard_output(
    model: str, source: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    main(["predict", model, source, str(tmp_path / "out.csv")])
    capfd.readouterr()
    main(["predict", model, source, "-"])
    captured = capfd.readouterr()
    assert captured.out == (tmp_path / "out.csv").read_text()
    assert captured.err == ""


def test_a_reader_that_has_seen_enough_ends_predict_quietly(model: str, tmp_path: Path) -> None:
    source = toys.write_sequences(tmp_path / "input.parquet", toys.random_sequences([1] * 20_000))
    command = [sys.executable, "-m", "rnnflow.cli", "predict", model, str(source), "-"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline().startswith(b'"id"')
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == 0


def test_a_mistake_ends_the_program_with_one_line_and_status_2(source: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "rnnflow.cli", "predict", source, source, str(tmp_path / "out.csv")]
    result = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == f"error: {source}: not an ONNX file that onnxruntime can run\n"


@pytest.mark.parametrize("target", ["a_file/out.csv", "a_folder.csv"])
def test_an_output_that_cannot_be_written_is_refused(
    model: str, source: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], target: str
) -> None:
    (tmp_path / "a_file").write_text("in the way\n")
    (tmp_path / "a_folder.csv").mkdir()
    before = sorted(tmp_path.rglob("*"))
    line = refusal(capsys, "predict", model, source, str(tmp_path / target))
    assert line.startswith(f"error: {tmp_path / target.split('/')[0]}: ")
    assert sorted(tmp_path.rglob("*")) == before


def test_predict_refuses_what_is_not_there(
    model: str, source: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target, missing = str(tmp_path / "out.csv"), str(tmp_path / "missing")
    assert refusal(capsys, "predict", missing, source, target) == f"error: {missing}: no such file"
    assert refusal(capsys, "predict", model, missing, target) == f"error: {missing}: no such file"
    assert "expected a name ending in .parquet or .csv" in refusal(capsys, "predict", model, source, missing)


def test_classify_names_the_class_and_every_probability(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    main(["classify", model, "-1e-3", "2", "nan", "-0.5"])
    lines = capsys.readouterr().out.splitlines()
    (expected,) = Predictor(model).probabilities([np.array([[-1e-3, 2], [np.nan, -0.5]])])
    assert lines[0] == toys.CLASSES[expected.argmax()]
    assert lines[1:] == [f"  {name}: {value:.4f}" for name, value in zip(toys.CLASSES, expected, strict=True)]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (["1", "2", "3"], "3 values, expected a multiple of the 2 features of the model"),
        ([], "at least one step"),
        (["1", "inf"], "infinite value"),
        (["1", "-1e39"], "infinite value"),
    ],
)
def test_classify_refuses_values_that_are_no_sequence(
    model: str, capsys: pytest.CaptureFixture[str], values: list[str], message: str
) -> None:
    assert message in refusal(capsys, "classify", model, *values)


def test_benchmark_has_a_line_for_each_size_and_number_of_threads(
    model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["benchmark", model, "--batch-sizes", "1", "300", "--threads", "1", "2", "--length", "4", "--seconds", "0"])
    printed = capsys.readouterr().out
    lines = printed.splitlines()
    assert "sequences of 4 steps" in " ".join(printed.split())  # the title is as wide as the table
    rows = [line.split("│")[1:3] for line in lines if "20 │" in line]
    assert [[int(cell) for cell in row] for row in rows] == [[1, 1], [1, 2], [300, 1], [300, 2]]


def test_describe_and_summary_show_names_as_they_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # a short path is shown in one line
    classes, features = ("[red]", "[/x]", ":warning:"), ("angle[deg]", "speed [m/s]")
    path = toys.exported(Path("[bold]"), toys.random_classifier(GRU), classes, features)
    capsys.readouterr()
    main(["describe", str(path)])
    described = capsys.readouterr().out
    assert ", ".join(classes) in described
    assert ", ".join(features) in described
    main(["summary", str(path), str(path)])
    compared = capsys.readouterr().out
    assert compared.count("│ toy") == 2
    assert "[bold]" in compared


@pytest.mark.parametrize("command", ["describe", "summary"])
def test_a_model_that_is_none_is_refused(
    model: str, source: str, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    models = [model, source] if command == "summary" else [source]
    assert refusal(capsys, command, *models) == f"error: {source}: not an ONNX file that onnxruntime can run"


def test_check_says_what_the_params_ask_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = toys.write_params(tmp_path, models={"one": {"cell": "rnn"}, "two": {"cell": "lstm"}})
    main(["check", str(path)])
    assert capsys.readouterr().out == f"{path}: source sum_sign, models one, two\n"
    main(["check", "--list-models", str(path)])
    assert capsys.readouterr().out == "one\ntwo\n"


def test_check_looks_at_params_yaml_here(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert refusal(capsys, "check").startswith("error: params.yaml: no such file")
    toys.write_params(tmp_path)
    main(["check"])
    assert capsys.readouterr().out.startswith("params.yaml: source sum_sign")


def test_check_refuses_params_that_cannot_be_used(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = toys.write_params(tmp_path, models={"one": {"cell": "transformer"}})
    assert refusal(capsys, "check", str(path)).startswith(f"error: {path}: models.one.cell: ")
    assert refusal(capsys, "check", str(tmp_path)).startswith(f"error: {tmp_path}: ")


@pytest.mark.parametrize("command", [None, "predict", "classify", "describe", "benchmark", "summary", "check"])
def test_help_explains_each_command(capsys: pytest.CaptureFixture[str], command: str | None) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["--help"] if command is None else [command, "--help"])
    assert exit_.value.code == 0
    captured = capsys.readouterr()
    assert captured.out.startswith("usage: rnnflow")
    assert captured.err == ""


def test_the_version_is_that_of_the_code_and_of_the_installed_package(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["--version"])
    assert exit_.value.code == 0
    assert capsys.readouterr().out == f"rnnflow {VERSION}\n"
    assert version("rnnflow") == VERSION


@pytest.mark.parametrize("arguments", [[], ["predikt"], ["predict"], ["classify"], ["classify", "model.onnx", "one"]])
def test_an_incomplete_command_is_refused_with_where_to_read_on(
    capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    assert refusal(capsys, *arguments).endswith("--help says what it takes")


def test_warmup_compiles_an_engine_and_says_where_it_is_kept(capsys: pytest.CaptureFixture[str]) -> None:
    main(["warmup"])
    assert "ready after" in capsys.readouterr().out
    main(["warmup", "torch"])
    assert capsys.readouterr().out == "there is nothing to compile\n"


def test_warmup_of_an_unknown_engine_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert refusal(capsys, "warmup", "abacus") == "error: train.engine: there is no engine 'abacus' here"
