"""Live streams that are decided before their end."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rnnflow.classifier.predict_split import StepProbabilities, softmax
from rnnflow.evaluation.scores.early import early_answers
from rnnflow.export.graph import build_streaming, serialise
from rnnflow.params.models import ModelParams
from rnnflow.serving.early_rule import EarlyRule
from rnnflow.serving.stream_lines import answer_lines
from rnnflow.serving.streaming import StreamingPredictor
from tests import toys
from tests.export.test_parity import PROPERTIES

PARAMS = ModelParams(cell="gru", hidden_size=4, pooling="mean", downsampling=2)
MODEL = toys.random_classifier(PARAMS)
LENGTHS = [12, 9, 12, 5, 12, 12, 8, 12]
SEQUENCES = toys.random_sequences(LENGTHS, seed=3)
RULE: dict[str, Any] = {"threshold": 0.48, "steps": [4, 8, 12], "temperatures": [0.5, 0.45, 0.4]}


def file(folder: Path, threshold: float | None = None) -> Path:
    calibration = {"temperature": 1.0, "threshold": threshold, "early": RULE}
    properties = PROPERTIES | {"model": json.dumps(PARAMS.model_dump()), "calibration": json.dumps(calibration)}
    path = folder / "model.stream.onnx"
    path.write_bytes(serialise(build_streaming(MODEL, properties | {"rnnflow": "2"})[0]))
    return path


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return file(tmp_path_factory.mktemp("early"))


def decided(predictor: StreamingPredictor, rng: np.random.Generator) -> list[tuple[str, str | None, int]]:
    """Push all sequences in random pieces; return last prediction, decision and its step of each."""
    done = [0] * len(SEQUENCES)
    last: dict[int, Any] = {}
    while any(count < length for count, length in zip(done, LENGTHS, strict=True)):
        asked = [index for index, length in enumerate(LENGTHS) if done[index] < length and rng.random() < 0.7]
        pieces = [SEQUENCES[index][done[index] : done[index] + int(rng.integers(1, 10))] for index in asked]
        if len(asked) == 1:
            last[asked[0]] = predictor.push(asked[0], pieces[0])
        elif asked:
            last |= zip(asked, zip(*predictor.push_many(asked, pieces), strict=True), strict=True)
        for index, piece in zip(asked, pieces, strict=True):
            done[index] += len(piece)
    return [(last[index][0], last[index][3], int(last[index][4])) for index in range(len(SEQUENCES))]


def test_decisions_are_those_that_the_evaluation_counts_however_the_steps_arrive(path: Path) -> None:
    first = decided(StreamingPredictor(path), np.random.default_rng(0))
    for seed in range(1, 6):
        assert decided(StreamingPredictor(path), np.random.default_rng(seed)) == first
    assert {at for _, _, at in first} == {4, 8, 12, 0}  # at each look, and never
    padded, lengths = toys.padded(SEQUENCES, 12, 0.0)
    prepared, num_blocks = MODEL.preparation(padded, lengths)
    assert num_blocks is not None
    probabilities = softmax(MODEL.step_logits(prepared, num_blocks))
    batch = StepProbabilities(np.arange(len(SEQUENCES)), num_blocks, lengths, probabilities)
    rule = EarlyRule(**RULE)
    for label, name in enumerate(toys.CLASSES):
        found = early_answers([batch], np.full(len(SEQUENCES), label), 2, rule, None)
        assert found.accuracy == np.mean([(decision or prediction) == name for prediction, decision, _ in first])
    shares = [(at or length) / length for (_, _, at), length in zip(first, LENGTHS, strict=True)]
    assert found.share_seen == pytest.approx(np.mean(shares))


def test_a_decision_stays_while_the_answers_go_on(path: Path) -> None:
    index = next(
        index for index, (_, _, at) in enumerate(decided(StreamingPredictor(path), np.random.default_rng(0))) if at == 4
    )
    predictor = StreamingPredictor(path)
    answers = [predictor.push("a", step[None]) for step in SEQUENCES[index]]
    assert [answer.decided_at for answer in answers] == [0, 0, 0, *[4] * (len(answers) - 4 + 1)]
    assert {answer.decision for answer in answers[3:]} == {answers[3].prediction}
    assert not np.array_equal(answers[3].probabilities, answers[-1].probabilities)


def test_a_decision_is_saved_and_restored_and_forgotten_with_its_stream(path: Path, tmp_path: Path) -> None:
    predictor, other = StreamingPredictor(path, capacity=8), StreamingPredictor(path, capacity=8)
    before = decided(predictor, np.random.default_rng(0))
    predictor.save(tmp_path / "streams.npz")
    other.restore(tmp_path / "streams.npz")
    step = np.zeros((1, 2), np.float32)
    assert [other.push(index, step)[3:] for index in range(8)] == [each[1:] for each in before]
    for index in range(8):
        other.end(index)
    assert all(other.push(f"new {index}", step).decided_at == 0 for index in range(8))


def test_an_unknown_is_no_decision(tmp_path: Path) -> None:
    found = decided(StreamingPredictor(file(tmp_path, threshold=2.0)), np.random.default_rng(0))
    assert {(prediction, decision) for prediction, decision, _ in found} == {("unknown", None)}


def test_lines_say_what_was_decided_and_when(path: Path) -> None:
    values = np.nan_to_num(SEQUENCES[0]).tolist()
    predictor = StreamingPredictor(path)
    expected = [predictor.push("a", np.array([step], np.float32))[3:] for step in values]
    written: list[str] = []
    lines = "".join(json.dumps({"stream": "a", "steps": [step]}) + "\n" for step in values)
    answer_lines(StreamingPredictor(path), io.BytesIO(lines.encode()).read, written.append)
    found = [json.loads(line) for answer in written for line in answer.splitlines()]
    assert [(each["decision"], each["decided_at"]) for each in found] == [(name, at or None) for name, at in expected]
    assert expected[-1][0] in toys.CLASSES
    written.clear()
    text = "stream,x,y\n" + "".join(f"a,{x},{y}\n" for x, y in values)
    answer_lines(StreamingPredictor(path), io.BytesIO(text.encode()).read, written.append)
    rows = list(csv.DictReader(io.StringIO("".join(written))))
    assert [(row["decision"] or None, int(row["decided_at"] or 0)) for row in rows] == expected
