"""The C code, compiled, against ONNX: the test program that is written beside it compares each step."""

import json
import re
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
from tests import toys
from tests.export.test_parity import PROPERTIES

FLAGS = ("-std=c99", "-O1", "-Wall", "-Wextra", "-Werror", "-Wdouble-promotion", "-pedantic")
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


def compiled(folder: Path, *flags: str, prefix: str = "toy_classifier") -> Path:
    program = folder / prefix
    sources = [folder / f"{prefix}.c", folder / f"{prefix}_test.c"]
    subprocess.run(["gcc", *FLAGS, *flags, *sources, "-lm", "-o", program], check=True)
    return program


def check(folder: Path, params: ModelParams, *flags: str) -> dict[str, int]:
    """Return the sizes; the program ends well if it agrees with ONNX after each step."""
    sizes = c_code.write(onnx_file(folder, params), folder / "c")
    said = subprocess.run([compiled(folder / "c", *flags)], capture_output=True, text=True, check=True).stdout
    assert said.endswith(f"{sizes['ram']} bytes of state\n")
    return sizes


@pytest.mark.parametrize("params", GRID[::19], ids=lambda params: f"{params.cell}-{params.pooling}-{params.missing}")
def test_c_code_answers_as_onnx_does_after_each_step(tmp_path: Path, params: ModelParams) -> None:
    check(tmp_path, params)


@pytest.mark.slow
def test_c_code_answers_as_onnx_does_with_nothing_undefined(tmp_path: Path) -> None:
    for params in GRID[::7]:
        check(tmp_path, params, "-fsanitize=undefined", "-fno-sanitize-recover")


@pytest.mark.slow
def test_valgrind_finds_nothing(tmp_path: Path) -> None:
    check(tmp_path, ModelParams(cell="lstm", hidden_size=5, num_layers=2, pooling="mean_max", missing="mask"), "-g")
    subprocess.run(["valgrind", "--quiet", "--error-exitcode=1", tmp_path / "c/toy_classifier"], check=True)


def test_a_wrong_weight_fails_the_test_program(tmp_path: Path) -> None:
    check(tmp_path, ModelParams(cell="gru", hidden_size=5))
    source = tmp_path / "c/toy_classifier.c"
    head = re.search(r"float head\[\d+\] = \{\s+(\S+)f,", source.read_text())
    assert head
    source.write_text(source.read_text().replace(head[1], "0.9"))
    assert subprocess.run([compiled(tmp_path / "c")], capture_output=True, check=False).returncode == 1


def test_a_gru_of_hidden_size_32_fits_into_25_kilobytes_of_flash_and_2_of_ram(tmp_path: Path) -> None:
    sizes = c_code.write(onnx_file(tmp_path, ModelParams(cell="gru", hidden_size=32)), tmp_path)
    subprocess.run(["gcc", "-std=c99", "-Os", "-c", "toy_classifier.c", "-o", "toy.o"], check=True, cwd=tmp_path)
    said = subprocess.run(["size", "toy.o"], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    text, data, bss = map(int, said.splitlines()[1].split()[:3])
    assert sizes["flash"] < text + data < 25_000
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
    path = onnx_file(tmp_path, ModelParams(cell="rnn", hidden_size=2), calibration={"threshold": threshold})
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
