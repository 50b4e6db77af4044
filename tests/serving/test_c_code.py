"""The C code, compiled, against ONNX: the test program that is written beside it compares each step."""

import json
import re
import shutil
import subprocess
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rnnflow.cli import main
from rnnflow.export.graph import build, serialise
from rnnflow.params.models import ModelParams, StemParams
from rnnflow.runtime.errors import InputError
from rnnflow.serving import c_code
from rnnflow.serving.predictor import Predictor
from rnnflow.serving.quantisation import Limits, with_rounded_weights
from tests import toys
from tests.export.test_parity import PROPERTIES

FLAGS = ("-std=c99", "-O1", "-Wall", "-Wextra", "-Werror", "-Wdouble-promotion", "-pedantic")
COMPILERS = [
    pytest.param(name, marks=pytest.mark.skipif(not shutil.which(name), reason=f"{name} is not on the path"))
    for name in ("gcc", "clang")
]
SANITISED = {
    "gcc": ("-fsanitize=undefined", "-fno-sanitize-recover"),
    "clang": (
        "-fsanitize=undefined",
        "-fsanitize-trap=undefined",
    ),  # without its library, which is a package of its own
}
GRID = [
    ModelParams.model_validate({"cell": cell, "hidden_size": 5, "num_layers": layers, "pooling": pooling, "missing": missing})
    for index, (cell, layers, pooling, missing) in enumerate(product(["rnn", "gru", "lstm"], [1, 2], toys.POOLINGS, toys.MISSING))
]  # fmt: skip


def onnx_file(
    folder: Path, params: ModelParams, name: str = "toy", classes: tuple[str, ...] = toys.CLASSES,
    calibration: dict[str, Any] | None = None,
) -> Path:  # fmt: skip
    properties = PROPERTIES | {"model": json.dumps(params.model_dump()), "name": json.dumps(name)}
    properties |= {"classes": json.dumps(classes), "calibration": json.dumps(calibration), "rnnflow": "2"}
    path = folder / "model.onnx"
    path.write_bytes(serialise(build(toys.random_classifier(params), properties)))
    return path


def compiled(folder: Path, *flags: str, compiler: str = "gcc", prefix: str = "toy_classifier") -> Path:
    program = folder / prefix
    sources = [folder / f"{prefix}.c", folder / f"{prefix}_test.c"]
    subprocess.run([compiler, *FLAGS, *flags, *sources, "-lm", "-o", program], check=True)
    return program


def check(folder: Path, params: ModelParams, *flags: str, compiler: str = "gcc") -> dict[str, int]:
    """Return the sizes; the program ends well if it agrees with ONNX after each step."""
    sizes = c_code.write(onnx_file(folder, params), folder / "c")
    program = compiled(folder / "c", *flags, compiler=compiler)
    said = subprocess.run([program], capture_output=True, text=True, check=True).stdout
    assert said.endswith(f"{sizes['ram']} bytes of state\n")
    return sizes


@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize("params", GRID[::19], ids=lambda params: f"{params.cell}-{params.pooling}-{params.missing}")
def test_c_code_answers_as_onnx_does_after_each_step(tmp_path: Path, params: ModelParams, compiler: str) -> None:
    check(tmp_path, params, compiler=compiler)


@pytest.mark.slow
@pytest.mark.parametrize("compiler", COMPILERS)
def test_c_code_answers_as_onnx_does_with_nothing_undefined(tmp_path: Path, compiler: str) -> None:
    for params in GRID[::7]:
        check(tmp_path, params, *SANITISED[compiler], compiler=compiler)


@pytest.mark.endurance
@pytest.mark.parametrize("compiler", COMPILERS)
def test_c_code_of_the_whole_grid_answers_as_onnx_does_with_nothing_undefined(tmp_path: Path, compiler: str) -> None:
    for params in GRID:
        check(tmp_path, params, *SANITISED[compiler], compiler=compiler)


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("valgrind"), reason="valgrind is not on the path")
@pytest.mark.parametrize("compiler", COMPILERS)
def test_valgrind_finds_nothing(tmp_path: Path, compiler: str) -> None:
    for params in GRID[::47]:
        check(tmp_path, params, "-gdwarf-4", compiler=compiler)  # the newest that valgrind 3.19 reads
        command = ["valgrind", "--quiet", "--leak-check=full", "--error-exitcode=1", str(tmp_path / "c/toy_classifier")]
        subprocess.run(command, capture_output=True, check=True)


@pytest.fixture(scope="module")
def validation(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("validation")
    toys.write_sequences(
        folder / "part-00000.parquet", toys.random_sequences([5, 9, 3], missing=0), ["up", "down", "up"]
    )
    return folder


@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize("params", GRID[5::30], ids=lambda params: f"{params.cell}-{params.pooling}-{params.missing}")
def test_weights_of_8_bits_answer_as_onnx_does_with_the_same_weights(
    tmp_path: Path, params: ModelParams, validation: Path, compiler: str
) -> None:
    path = onnx_file(tmp_path, params)
    with with_rounded_weights(path, validation, Limits()) as (rounded, _):
        c_code.write(path, tmp_path / "c", rounded)
        assert Predictor(path).properties["sha256"] in (tmp_path / "c/toy_classifier.h").read_text()
    subprocess.run([compiled(tmp_path / "c")], capture_output=True, check=True)


def test_a_wrong_weight_fails_the_test_program(tmp_path: Path) -> None:
    check(tmp_path, ModelParams(cell="gru", hidden_size=5))
    source = tmp_path / "c/toy_classifier.c"
    head = re.search(r"float head\[\d+\] = \{\s+(\S+)f,", source.read_text())
    assert head
    source.write_text(source.read_text().replace(head[1], "0.9"))
    assert subprocess.run([compiled(tmp_path / "c")], capture_output=True, check=False).returncode == 1


@pytest.mark.parametrize(("is_rounded", "flash"), [(False, 25_000), (True, 8_000)])
def test_a_gru_of_hidden_size_32_fits_into_its_flash_and_2_kilobytes_of_ram(
    tmp_path: Path, validation: Path, is_rounded: bool, flash: int
) -> None:
    path = onnx_file(tmp_path, ModelParams(cell="gru", hidden_size=32))
    with with_rounded_weights(path, validation, Limits()) as (rounded, _):
        sizes = c_code.write(path, tmp_path, rounded if is_rounded else None)
    subprocess.run(["gcc", "-std=c99", "-Os", "-c", "toy_classifier.c", "-o", "toy.o"], check=True, cwd=tmp_path)
    said = subprocess.run(["size", "toy.o"], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    text, data, bss = map(int, said.splitlines()[1].split()[:3])
    assert sizes["flash"] < text + data < flash
    assert sizes["ram"] < 2000
    assert bss == 0
    assert sizes["multiply_adds"] == 3 * 32 * (2 + 32) + 3 * 32


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"bidirectional": True}, "bidirectional: the backward direction begins at the end of a sequence; set it to false"),
    ({"cell": "mingru"}, "cell: mingru, expected one of rnn, gru, lstm"),
    ({"scaling": "compressed"}, "scaling: compressed, expected global or none"),
    ({"downsampling": 2}, "downsampling: 2, expected 1"),
    ({"differences": True}, "differences: True, expected false"),
    ({"stem": StemParams(kernel_size=1)}, "stem: convolutions, expected null"),
]


@pytest.mark.parametrize(("changes", "reason"), REFUSED)
def test_a_model_that_c_code_is_not_written_for_leaves_nothing(
    tmp_path: Path, changes: dict[str, Any], reason: str
) -> None:
    path = onnx_file(tmp_path, ModelParams.model_validate({"cell": "gru", "hidden_size": 4} | changes))
    with pytest.raises(InputError) as refusal:
        c_code.write(path, tmp_path / "c")
    assert str(refusal.value) == f"{path}: no C code for this model: {reason}"
    assert not (tmp_path / "c").exists()


def test_names_of_models_and_classes_become_what_c_allows(tmp_path: Path) -> None:
    classes = ('a"b', "ä\\??/", "*/ 1")
    c_code.write(onnx_file(tmp_path, ModelParams(cell="rnn", hidden_size=2), "7-days", classes), tmp_path)
    subprocess.run([compiled(tmp_path, prefix="_7_days_classifier")], check=True, capture_output=True)
    source = (tmp_path / "_7_days_classifier.c").read_text(encoding="ascii")
    written = re.search(r"_classes\[3\] = \{ (.*) \};", source)
    assert written
    found = [eval(f"b{text}").decode() for text in written[1].split(", ")]  # octal escapes are Python's too
    assert found == list(classes)


@pytest.mark.parametrize(("threshold", "line"), [(0.75, "#define TOY_CLASSIFIER_THRESHOLD 0.75f"), (None, "")])
def test_a_threshold_for_unknown_stands_in_the_header(tmp_path: Path, threshold: float | None, line: str) -> None:
    path = onnx_file(
        tmp_path, ModelParams(cell="rnn", hidden_size=2), calibration={"temperature": 1.0, "threshold": threshold}
    )
    c_code.write(path, tmp_path)
    header = (tmp_path / "toy_classifier.h").read_text(encoding="ascii")
    assert "".join(re.findall(r"#define .*THRESHOLD.*", header)) == line
    compiled(tmp_path)


@pytest.mark.parametrize("value", [0.0, -1.0, 1e-45, 3.4028235e38, 0.1, 123456789.0, np.nan])
def test_numbers_keep_all_their_digits(value: float) -> None:
    text = c_code.c_float(value)
    assert text == "NAN" if np.isnan(value) else np.float32(text.removesuffix("f")) == np.float32(value)


def test_the_command_says_flash_and_ram(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = onnx_file(tmp_path, ModelParams(cell="gru", hidden_size=4))
    main(["export-c", str(path), str(tmp_path / "c")])
    assert capsys.readouterr().out == (
        f"{tmp_path / 'c'}: 460 bytes of constants in flash (the code comes on top), 20 bytes of RAM for a stream, "
        "84 multiply-adds a step with its answer\n"
    )
    assert sorted(file.name for file in (tmp_path / "c").iterdir()) == [
        "toy_classifier.c",
        "toy_classifier.h",
        "toy_classifier_test.c",
    ]


def test_limits_of_8_bits_are_refused_where_there_are_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = onnx_file(tmp_path, ModelParams(cell="gru", hidden_size=4))
    with pytest.raises(SystemExit, match="2"):
        main(["export-c", str(path), str(tmp_path / "c"), "--max-shift", "0.1"])
    assert "name a validation split by --int8" in capsys.readouterr().err
    assert not (tmp_path / "c").exists()
