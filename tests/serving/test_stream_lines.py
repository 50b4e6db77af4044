"""`rnnflow stream`: lines in, answers out, as they arrive."""

import csv
import io
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from rnnflow.cli import main
from rnnflow.params.models import ModelParams
from rnnflow.runtime.errors import InputError
from rnnflow.runtime.provenance import ROOT
from rnnflow.serving.predictor import Predictor
from rnnflow.serving.stream_lines import answer_lines
from rnnflow.serving.stream_messages import LineReader
from rnnflow.serving.streaming import StreamingPredictor
from tests import toys
from tests.serving.test_streaming import files

SEQUENCES = {"a": toys.random_sequences([5])[0], "b": toys.random_sequences([4], seed=1)[0]}


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return files(tmp_path_factory.mktemp("lines"), ModelParams(cell="gru", hidden_size=4))[1]


def answers(path: Path, text: str) -> list[str]:
    written: list[str] = []
    answer_lines(StreamingPredictor(path), io.BytesIO(text.encode()).read, written.append)
    return [line for answer in written for line in answer.splitlines()]


def interleaved() -> list[tuple[str, list[float | None]]]:
    """The steps of both sequences in turn, as they would arrive; a missing value is none."""
    steps = [(index, name, step) for name, values in SEQUENCES.items() for index, step in enumerate(values)]
    return [
        (name, [None if np.isnan(value) else float(value) for value in step])
        for _, name, step in sorted(steps, key=lambda each: each[:2])
    ]


def expected(path: Path) -> list[tuple[str, int, str, np.ndarray]]:
    whole, found = Predictor(path.parent / "0.onnx"), []
    num_steps = dict.fromkeys(SEQUENCES, 0)
    for name, _ in interleaved():
        num_steps[name] += 1
        probabilities = whole.probabilities([SEQUENCES[name][: num_steps[name]]])
        found.append((name, num_steps[name], whole.answers(probabilities)[0], probabilities[0]))
    return found


def test_each_line_of_json_gets_a_line_of_json(path: Path) -> None:
    lines = [json.dumps({"stream": name, "x": x, "y": y}) for name, (x, y) in interleaved()]
    for answer, (name, num_steps, prediction, probabilities) in zip(
        answers(path, "\n".join(lines)), expected(path), strict=True
    ):
        found = json.loads(answer)
        np.testing.assert_allclose(list(found.pop("probabilities").values()), probabilities, atol=2e-6)
        assert found == {"stream": name, "step": num_steps, "prediction": prediction}


def test_csv_gets_csv(path: Path) -> None:
    cells = [[name, *("" if value is None else str(value) for value in step)] for name, step in interleaved()]
    text = "\r\n".join(["stream,x,y", *(",".join(row) for row in cells)]) + "\r\n"
    names, *rows = csv.reader(answers(path, text))
    assert names == ["stream", "step", "prediction", "probability_down", "probability_level", "probability_up"]
    for row, (name, num_steps, prediction, probabilities) in zip(rows, expected(path), strict=True):
        assert row[:3] == [name, str(num_steps), prediction]
        np.testing.assert_allclose([float(cell) for cell in row[3:]], probabilities, atol=2e-6)


def test_several_steps_in_a_line_get_one_answer_and_a_stream_needs_no_name(path: Path) -> None:
    (answer,) = answers(path, '{"steps": [[1, 2], [null, 3], [0.5, 1e-3]]}')
    assert json.loads(answer)["step"] == 3


def test_nothing_gets_nothing(path: Path) -> None:
    assert answers(path, "") == answers(path, "\n\n") == []


REFUSALS = [
    ('{"stream": "a", "x": 1, "y": 2}\n{"x": 1', "line 2: expected a JSON object, such as"),
    ('{"steps": [[1, 2, 3]]}', "line 1: a step of 3 values, expected 2: x, y"),
    ('{"x": 1}', "line 1: no feature 'y'; a missing value is null, and an empty cell in CSV"),
    ('{"x": 1, "y": "2"}', "line 1: expected a number, got '2'"),
    ('{"x": 1, "y": 1e999}', "line 1: stream 'stream': an infinite value; a missing one is NaN"),
    ('{"x": 1, "y": 2, "z": 3}', "line 1: unknown name 'z'; the features are x, y"),
    ('{"steps": 3}', "line 1: steps: expected a list of lists, one for each step"),
    ('{"stream": "a"}', "line 1: expected the features x, y, or steps, a list of steps"),
    ('{"stream": [1], "x": 1, "y": 2}', "line 1: stream: expected a text or a whole number, got [1]"),
    ('{"end": "yes", "x": 1, "y": 2}', "line 1: end: expected true or false, got 'yes'"),
    ('{"x": 1, "y": 1' + "0" * 400 + "}", "line 1: expected a number, got 1000"),
    ('{"steps": [[1, 2]], "x": 1, "y": 2}', "line 1: both steps and 'x'; expected one of them"),
    (
        r'{"stream": "\ud800", "x": 1, "y": 2}',
        r"line 1: stream '\ud800': expected a text or a whole number as its name",
    ),
    ('{"time": Infinity, "x": 1, "y": 2}', "line 1: stream 'stream': time inf, expected a finite number"),
    ('{"time": "noon", "x": 1, "y": 2}', "line 1: time: expected a number, got 'noon'"),
    ('{"stream": "a", "end": true}', "line 1: stream 'a': is not open"),
    ("[1, 2]", "line 1: neither a JSON object nor the names of CSV columns; expected stream, x, y, and time and end"),
    ("stream,stream,x,y\na,b,1,2", "line 1: column 'stream' is there 2 times; expected stream, x, y, and time and end"),
    ("stream,x\na,1", "line 1: column 'y' is there 0 times; expected stream, x, y, and time and end if there are any"),
    ("stream,x,y,z\na,1,2,3", "line 1: unknown column 'z'; expected stream, x, y, and time and end if there are any"),
    ("stream,x,y\na,1", "line 2: 2 cells, expected 3"),
    ("stream,x,y\na,1,two", "line 2: y: expected a number, got 'two'"),
    ("stream,x,y,end\na,1,2,perhaps", "line 2: end: expected true or false, got 'perhaps'"),
    ("stream,x,y,time\na,1,2,5\nb,1,2,6\na,1,2,4", "line 4: stream 'a': time 4 comes after 5, and goes backwards"),
    ("stream,x,y,end\na,1,2,\na,,,true\na,1,2,", "line 4: stream 'a': has ended; steps that follow need another name"),
]


@pytest.mark.parametrize(("text", "message"), REFUSALS)
def test_a_line_that_is_refused_is_named_and_those_before_it_are_answered(path: Path, text: str, message: str) -> None:
    written: list[str] = []
    with pytest.raises(InputError) as refusal:
        answer_lines(StreamingPredictor(path), io.BytesIO(text.encode()).read, written.append)
    assert str(refusal.value).startswith(message)
    is_csv = not text.startswith("{")
    before = int(message.split()[1].rstrip(":")) - 1 - is_csv - ("true" in text and is_csv)
    assert len(written) == max(before, 0) + (is_csv and "column" not in message)


def test_a_feature_whose_name_has_a_meaning_of_its_own_is_read_from_steps_alone() -> None:
    message = LineReader(("x", "time")).read(b'{"stream": "a", "steps": [[1, 2]], "time": 5}')
    assert message is not None
    assert (message.steps.tolist(), message.at) == ([[1.0, 2.0]], 5.0)
    why = "steps, a list of steps of x, time, as 'time' has a meaning of its own"
    for line in (b'{"x": 1, "time": 2}', b'{"time": 2}', b"stream,x,time"):
        with pytest.raises(InputError, match=f"line 1: expected .*{why}"):
            LineReader(("x", "time")).read(line)


def test_a_line_without_end_does_not_fill_the_memory(path: Path) -> None:
    with pytest.raises(InputError, match="a line of more than 16,777,216 bytes; expected one for a few steps"):
        answer_lines(StreamingPredictor(path), lambda: b"1" * (1 << 22), lambda answer: None)


def test_closed_standard_input_is_said_in_a_line(
    path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", None)
    with pytest.raises(SystemExit) as end:
        main(["stream", str(path)])
    assert end.value.code == 2
    assert capsys.readouterr().err.startswith("error: standard input is closed, where the lines would come from")


def started(path: Path, state: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "rnnflow.cli", "stream", str(path), "--state", str(state)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, stderr=pipe, text=True, bufsize=1)


def asked(process: subprocess.Popen[str], **content: Any) -> Any:
    """Send a line and return its answer, which comes before the next line is sent."""
    assert process.stdin
    assert process.stdout
    process.stdin.write(json.dumps(content) + "\n")
    return json.loads(process.stdout.readline())


def test_a_service_that_is_stopped_goes_on_with_its_streams(path: Path, tmp_path: Path) -> None:
    with started(path, tmp_path / "streams.npz") as first:
        assert asked(first, stream="a", x=1, y=2)["step"] == 1
        assert asked(first, stream="a", x=1, y=2)["step"] == 2
        first.send_signal(signal.SIGTERM)
        assert first.wait() == 130
    with started(path, tmp_path / "streams.npz") as second:
        assert asked(second, stream="a", x=1, y=2)["step"] == 3
        assert second.stdin
        second.stdin.write("{\n")
        second.stdin.close()
        assert second.wait() == 2
        assert second.stderr
        assert second.stderr.read().startswith("error: line 2: expected a JSON object")


def test_lines_that_arrive_together_are_answered_in_one_call(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    predictor, sizes = StreamingPredictor(path), []
    run = predictor.model.run

    def counted(steps: np.ndarray, *rest: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        sizes.append(len(steps))
        return run(steps, *rest)

    monkeypatch.setattr(predictor.model, "run", counted)
    reading, writing = os.pipe()
    os.write(writing, "".join(json.dumps({"stream": n % 50, "x": n, "y": 1}) + "\n" for n in range(200)).encode())
    os.close(writing)
    with os.fdopen(reading, "rb") as source:
        answer_lines(predictor, lambda: source.read1(100_000), lambda answer: None)
    assert sizes == [50] * 4


@pytest.mark.parametrize("name", ["many_streams.py", "onnxruntime_alone.py"])
def test_the_examples_run(path: Path, name: str) -> None:
    run = subprocess.run(
        [sys.executable, f"examples/serving/{name}", path], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert len(run.stdout.splitlines()) == 5


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "package"), [("stream.mjs", "onnxruntime-node"), ("stream_web.mjs", "onnxruntime-web")]
)
def test_the_examples_in_javascript_give_the_same_probabilities(
    path: Path, tmp_path: Path, name: str, package: str
) -> None:
    quiet = ["--silent", "--no-audit", "--no-fund", "--onnxruntime-node-install-cuda=skip"]
    install = ["npm", "install", *quiet, package]
    if not shutil.which("npm") or subprocess.run(install, cwd=tmp_path, check=False, timeout=300).returncode:
        pytest.skip(f"{package} cannot be installed here")
    shutil.copy(ROOT / "examples/serving" / name, tmp_path)
    check_example(path, ["node", str(tmp_path / name), str(path)])


HEADERS = Path(os.environ.get("ONNXRUNTIME_INCLUDE", "/usr/include/onnxruntime"))
"""The wheel has the library alone; libonnxruntime-dev of Debian 13 has the headers, and so have onnxruntime's releases."""


@pytest.mark.skipif(
    not (HEADERS / "onnxruntime_cxx_api.h").exists() or not shutil.which("c++"),
    reason="no C++ compiler, or no onnxruntime_cxx_api.h in $ONNXRUNTIME_INCLUDE or /usr/include/onnxruntime",
)
def test_the_example_in_cpp_gives_the_same_probabilities(path: Path, tmp_path: Path) -> None:
    (library,) = Path(onnxruntime.__file__).parent.glob("capi/libonnxruntime.so.*")
    for name in ("libonnxruntime.so", "libonnxruntime.so.1"):  # for the linker, and as the program will look for it
        (tmp_path / name).symlink_to(library)
    flags = [
        "-std=c++17",
        "-Wall",
        "-Wextra",
        "-Werror",
        "-isystem",
        str(HEADERS),
        "-L",
        str(tmp_path),
        f"-Wl,-rpath,{tmp_path}",
    ]
    source, program = ROOT / "examples/serving/stream.cpp", tmp_path / "stream"
    subprocess.run(["c++", *flags, source, "-lonnxruntime", "-o", program], check=True)
    check_example(path, [str(program), str(path)])


def check_example(path: Path, command: list[str]) -> None:
    """Compare the lines that an example prints with the answers to the same steps."""
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    predictor, lines = StreamingPredictor(path), run.stdout.splitlines()
    assert len(lines) == 5
    for time, line in enumerate(lines):
        expected = predictor.push("a", np.full((1, 2), np.sin(time), np.float32)).probabilities
        np.testing.assert_allclose([float(value) for value in line.split()], expected, atol=2e-6)
