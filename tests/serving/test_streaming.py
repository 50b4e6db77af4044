"""Many live streams: the answers of the whole-sequence file, and all that is refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rnnflow.export.graph import build, build_streaming, serialise
from rnnflow.params.models import ModelParams
from rnnflow.runtime.errors import InputError
from rnnflow.serving.predictor import Predictor
from rnnflow.serving.streaming import StreamingPredictor
from tests import toys
from tests.export.test_parity import PROPERTIES

PARAMS = ModelParams(cell="lstm", hidden_size=4, pooling="mean", missing="forward_fill", downsampling=2)


def files(folder: Path, params: ModelParams, seed: int = 0) -> tuple[Path, Path]:
    """Return the whole-sequence and the streaming file of a classifier."""
    model = toys.random_classifier(params, seed=seed)
    whole, streaming = folder / f"{seed}.onnx", folder / f"{seed}.stream.onnx"
    properties = PROPERTIES | {"model": json.dumps(params.model_dump()), "rnnflow": "2"}
    whole.write_bytes(serialise(build(model, properties)))
    streaming.write_bytes(serialise(build_streaming(model, properties)[0]))
    return whole, streaming


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return files(tmp_path_factory.mktemp("streaming"), PARAMS)[1]


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_streams_side_by_side_get_the_whole_files_answers(path: Path) -> None:
    whole, predictor = Predictor(path.parent / "0.onnx"), StreamingPredictor(path)
    sequences = toys.random_sequences([9, 4, 7, 12])
    rng, done = np.random.default_rng(0), [0] * 4
    for round_ in range(40):
        counts = [
            min(int(rng.integers(0 if done[index] else 1, 3)), len(each) - done[index])
            for index, each in enumerate(sequences)
        ]
        asked = [index for index in range(4) if rng.random() < 0.7 and (done[index] or counts[index])]
        if not asked:
            continue
        pieces = [sequences[index][done[index] : done[index] + counts[index]] for index in asked]
        if round_ % 3:
            found = predictor.push_many([f"stream {index}" for index in asked], pieces)
            answers = list(zip(*found, strict=True))
        else:
            answers = [predictor.push(f"stream {index}", piece) for index, piece in zip(asked, pieces, strict=True)]
        for index, (prediction, probabilities, num_steps, *_) in zip(asked, answers, strict=True):
            done[index] += counts[index]
            expected = whole.probabilities([sequences[index][: done[index]]])
            np.testing.assert_allclose(probabilities, expected[0], atol=1e-6)
            assert (prediction, num_steps) == (whole.answers(expected)[0], done[index])
    assert done == [9, 4, 7, 12]
    assert len(predictor) == 4


def test_ten_thousand_streams_as_one_array_get_what_each_gets_alone(path: Path) -> None:
    predictor, alone = StreamingPredictor(path), StreamingPredictor(path)
    names = list(range(10_000))
    values = np.random.default_rng(0).standard_normal((3, 10_000, 1, 2), dtype=np.float32)
    for steps in values:
        _, probabilities, num_steps, *_ = predictor.push_many(names, steps)
    assert (num_steps == 3).all()
    for name in (0, 2047, 2048, 9999):
        for steps in values:
            answer = alone.push(name, steps[name])
        np.testing.assert_allclose(probabilities[name], answer.probabilities, atol=1e-6)


def test_rows_of_closed_streams_are_used_again_from_a_clean_state(path: Path) -> None:
    predictor = StreamingPredictor(path, capacity=2)
    first = predictor.push("a", np.ones((3, 2), np.float32))
    predictor.push("b", np.full((1, 2), 7, np.float32))
    predictor.end("b")
    again = predictor.push("c", np.ones((3, 2), np.float32))
    np.testing.assert_array_equal(first.probabilities, again.probabilities)
    assert len(predictor._streams.states) == 2


def test_idle_streams_are_closed_and_busy_ones_kept(path: Path) -> None:
    clock = Clock()
    predictor = StreamingPredictor(path, idle_seconds=10.0, clock=clock)
    step = np.ones((1, 2), np.float32)
    predictor.push("idle", step)
    for clock.now in (6.0, 12.0, 18.0):
        assert predictor.push("busy", step).num_steps
    assert len(predictor) == 1
    with pytest.raises(InputError, match="stream 'idle': was closed after 10 s without steps; steps that follow need"):
        predictor.push("idle", step)


def test_memory_is_bounded_by_the_capacity_however_many_streams_there_were(path: Path) -> None:
    clock = Clock()
    predictor = StreamingPredictor(path, capacity=10, idle_seconds=1.0, clock=clock)
    for number in range(300):
        clock.now += 0.2
        predictor.push(number, np.ones((1, 2), np.float32))
    streams = predictor._streams
    assert len(streams.states) <= 10
    assert len(streams._closed) <= 100


def test_streams_go_on_in_another_process_as_if_nothing_had_happened(path: Path, tmp_path: Path) -> None:
    sequences = toys.random_sequences([9, 4])
    before, straight = StreamingPredictor(path), StreamingPredictor(path)
    for each in (before, straight):
        each.push_many(["a", 7], [sequence[:3] for sequence in sequences], [5.0, 6.0])
        each.push("gone", sequences[0])
        each.end("gone")
    before.save(tmp_path / "streams.npz")
    after = StreamingPredictor(path)
    after.restore(tmp_path / "streams.npz")
    expected = straight.push_many(["a", 7], [sequence[3:] for sequence in sequences])
    found = after.push_many(["a", 7], [sequence[3:] for sequence in sequences])
    for one, other in zip(expected, found, strict=True):
        np.testing.assert_array_equal(one, other)
    with pytest.raises(InputError, match="has ended"):
        after.push("gone", sequences[0])
    with pytest.raises(InputError, match="time 4 comes after 5, and goes backwards"):
        after.push("a", sequences[0], at=4.0)


def saved(path: Path, target: Path) -> Path:
    predictor = StreamingPredictor(path)
    predictor.push_many(["a", "b"], np.ones((2, 3, 2), np.float32))
    predictor.save(target)
    return target


def rewritten(file: Path, format_: int | None = None, **changes: Any) -> None:
    """Write a file of streams anew with other arrays or of another format, and the checksum that goes with them."""
    from rnnflow.serving import open_streams

    with np.load(file) as content:
        arrays = {name: content[name] for name in content.files} | changes
    about = json.loads(arrays["about"].tobytes())
    about["sha256"], about["format"] = open_streams._digest(arrays), format_ or about["format"]
    np.savez(file, **arrays | {"about": np.frombuffer(json.dumps(about).encode(), np.uint8)})


def restoring(path: Path, file: Path, **options: Any) -> str:
    """Return the refusal; the streams that are open stay so."""
    predictor = StreamingPredictor(path, **options)
    predictor.push("mine", np.ones((1, 2), np.float32))
    with pytest.raises(InputError) as refusal:
        predictor.restore(file)
    assert predictor.push("mine", np.ones((1, 2), np.float32)).num_steps == 2
    return str(refusal.value).removeprefix(f"{file}: ")


def test_states_of_another_model_or_size_and_damaged_ones_are_refused(path: Path, tmp_path: Path) -> None:
    file = saved(path, tmp_path / "streams.npz")
    other = files(tmp_path, PARAMS, seed=1)[1]
    elsewhere = "streams of another model or version; they go on with the file that they began with"
    assert restoring(other, file) == elsewhere
    for format_ in (1, 99):
        rewritten(file, format_)
        assert restoring(path, file) == elsewhere
    file = saved(path, file)
    assert restoring(path, tmp_path / "none.npz") == "no such file"
    assert restoring(path, file, capacity=1) == "2 streams, more than the capacity of 1"
    content, sound = file.read_bytes(), saved(path, tmp_path / "sound.npz")
    directory, predictor = content.index(b"PK\1\2"), StreamingPredictor(path)
    for place in (*range(0, len(content), 97), directory + 8, directory + 10):  # flag of encryption, compression
        file.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        try:
            predictor.restore(file)
        except InputError:
            continue
        predictor.save(file)  # a bit that says nothing, in the headers of the archive
        assert file.read_bytes() == sound.read_bytes()
    file.write_bytes(content[:200])
    assert restoring(path, file).startswith("not an .npz file of plain arrays")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_state_that_is_not_of_finite_numbers_or_of_the_wrong_size_is_refused(
    path: Path, tmp_path: Path, value: float
) -> None:
    file = saved(path, tmp_path / "streams.npz")
    states = np.zeros((2, StreamingPredictor(path).model.state_size), np.float32)
    rewritten(file, states=states[:, 1:])
    assert (
        restoring(path, file)
        == f"states of shape (2, {states.shape[1] - 1}), expected (2, {states.shape[1]}) of float32"
    )
    states[1, 3] = value
    rewritten(file, states=states)
    assert restoring(path, file) == "the state of stream 'b' holds NaN or an infinite number, which no state does"


STEP = np.ones((1, 2), np.float32)
REFUSALS: list[tuple[list[Any], Any, list[float] | None, str]] = [
    (["a"], [np.ones((1, 3))], None, "stream 'a': steps of shape (1, 3), expected (time, 2): x, y"),
    (["a"], [np.ones(2)], None, "stream 'a': steps of shape (2,), expected (time, 2): x, y"),
    (["new"], np.ones((1, 4, 3), np.float32), None, "stream 'new': steps of shape (4, 3), expected (time, 2): x, y"),
    (["a"], [[["x", 1]]], None, "stream 'a': expected numbers of shape (time, feature)"),
    (["new", "a"], [STEP, STEP * np.inf], None, "stream 'a': an infinite value; a missing one is NaN"),
    (["new", "a"], [STEP, [[1e300, 0]]], None, "stream 'a': an infinite value; a missing one is NaN"),
    (["new", "ended"], [STEP, STEP], None, "stream 'ended': has ended; steps that follow need another name"),
    (["new", "a"], [STEP, STEP], [1.0, 9.0], "stream 'a': time 9 comes after 10, and goes backwards"),
    (["new", "a"], [STEP, STEP], [1.0, np.nan], "stream 'a': time nan, expected a finite number"),
    (["new", "a"], [STEP, STEP], [np.inf, 11.0], "stream 'new': time inf, expected a finite number"),
    (["new", "a"], [STEP, STEP], [11.0], "2 streams, but times of shape (1,); expected one for each"),
    (["new"], np.full((1, 1, 2), "x"), None, "stream 'new': expected numbers of shape (time, feature)"),
    (["a", True], [STEP, STEP], None, "stream True: expected a text or a whole number as its name"),
    (["a", "\ud800"], [STEP, STEP], None, r"stream '\ud800': expected a text or a whole number as its name"),
    (["new", "a", "a"], [STEP] * 3, None, "stream 'a': twice among those pushed together; push its steps one after another"),
    (["a", "new"], [STEP, np.empty((0, 2))], None, "stream 'new': begins without a step"),
    (["new"], np.full((1, 1, 2), 1e300), None, "stream 'new': an infinite value; a missing one is NaN"),
    (["a"], [STEP, STEP], None, "1 streams, but steps for 2"),
    (["new", "c", "d"], [STEP] * 3, None, "stream 'd': 1 streams are open, and the capacity is 3; end some, set idle_seconds, or raise the capacity"),
]  # fmt: skip


@pytest.mark.parametrize(("streams", "steps", "at", "expected"), REFUSALS)
def test_what_is_refused_changes_nothing(
    path: Path, streams: list[Any], steps: Any, at: list[float] | None, expected: str
) -> None:
    predictor = StreamingPredictor(path, capacity=3)
    predictor.push("ended", STEP)
    predictor.end("ended")
    predictor.push("a", STEP, at=10.0)
    with pytest.raises(InputError) as refusal:
        predictor.push_many(streams, steps, at)
    assert str(refusal.value) == expected
    assert len(predictor) == 1
    assert predictor.push("a", STEP, at=10.0).num_steps == 2


def test_a_missing_value_is_refused_where_the_model_refuses_such(tmp_path: Path) -> None:
    predictor = StreamingPredictor(files(tmp_path, ModelParams(cell="gru", hidden_size=4, missing="refuse"))[1])
    with pytest.raises(InputError, match="stream 'b': misses a value of 'y'; the model refuses missing values"):
        predictor.push_many(["a", "b"], [STEP, [[1, np.nan]]])


def test_a_stream_that_is_not_open_cannot_end(path: Path) -> None:
    with pytest.raises(InputError, match="stream 'never': is not open"):
        StreamingPredictor(path).end("never")


@pytest.mark.parametrize("options", [{"capacity": 0}, {"idle_seconds": 0.0}, {"idle_seconds": float("nan")}])
def test_limits_are_above_zero(path: Path, options: dict[str, Any]) -> None:
    (name,) = options
    with pytest.raises(InputError, match=f"{name}: expected a number above zero, got"):
        StreamingPredictor(path, **options)
