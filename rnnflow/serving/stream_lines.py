"""Live streams as lines of text: JSON or CSV in, an answer for each line out, as they arrive."""

import csv
import io
import json
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from rnnflow.runtime.errors import InputError
from rnnflow.serving.open_streams import StreamId
from rnnflow.serving.streaming import Answer, StreamingPredictor

STREAM, STEPS, TIME, END = "stream", "steps", "time", "end"
RESERVED = {STREAM, STEPS, TIME, END}
DECISION = "decision", "decided_at"
"""In the answers of a model that decides before the end."""
LONGEST_LINE = 1 << 24
"""In bytes."""
LARGEST = 10**300
"""Of whole numbers; a float holds no more."""
UNNAMED = "stream"
"""The stream of lines that name none."""


class _Message(NamedTuple):
    """A line of input."""

    line: int
    stream: StreamId
    steps: np.ndarray
    at: float | None
    is_end: bool


def answer_lines(predictor: StreamingPredictor, read: Callable[[], bytes], write: Callable[[str], object]) -> None:
    """Write an answer for each line that has steps, in their order and format.

    A line of JSON has `stream`, and either the features by name or `steps`, a list of steps; CSV has a column for each.
    `time` and `end` are optional in both.

    Args:
        predictor: answers.
        read: waits for input and gives what has arrived, nothing at its end.
        write: takes answers, each with its line end.

    Raises:
        InputError: a line cannot be read or its steps are refused; the lines before it are answered.
    """
    reader, batch, model = _Reader(predictor.model.features), _Batch(predictor), predictor.model
    is_begun, decides = False, model.early_rule is not None
    with _interruptions(signal.SIG_BLOCK):
        for lines in _arrivals(read):
            try:
                for line in lines:
                    if message := reader.read(line):
                        batch.add(message)
            finally:  # an error in a line leaves those before it their answers
                if reader.names and not is_begun:
                    names = ["stream", "step", "prediction", *(f"probability_{name}" for name in model.classes)]
                    write(_csv([*names, *DECISION] if decides else names))
                    is_begun = True
                for message, answer in batch.answers():
                    written = _csv_answer if reader.names else _json_answer
                    write(written(model.classes, message, answer, decides))


def _arrivals(read: Callable[[], bytes]) -> Iterator[list[bytes]]:
    """Yield the whole lines that have come since the last ones."""
    rest = b""
    while chunk := _read(read):
        *lines, rest = (rest + chunk).split(b"\n")
        if lines:
            yield lines
        if len(rest) > LONGEST_LINE:
            raise InputError(
                f"a line of more than {LONGEST_LINE:,} bytes; expected one for a few steps, with a line end"
            )
    if rest:
        yield [rest]


def _read(read: Callable[[], bytes]) -> bytes:
    with _interruptions(signal.SIG_UNBLOCK):
        return read()


@contextmanager
def _interruptions(how: int) -> Iterator[None]:
    """Let a signal to end come through while there is nothing but waiting: streams are never left between two steps."""
    before = signal.pthread_sigmask(how, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _Batch:
    """Messages that came together: steps of different streams are answered in one call."""

    def __init__(self, predictor: StreamingPredictor) -> None:
        self._predictor = predictor
        self._messages: list[_Message] = []

    def add(self, message: _Message) -> None:
        self._messages.append(message)

    def answers(self) -> Iterator[tuple[_Message, Answer]]:
        """Yield each message that had steps, with its answer; it is taken out."""
        messages, self._messages = self._messages, []
        for together in _different(messages):
            yield from self._pushed(together)
            for message in together:
                if message.is_end:
                    self._end(message)

    def _pushed(self, together: list[_Message]) -> Iterator[tuple[_Message, Answer]]:
        messages = [message for message in together if len(message.steps)]
        if not messages:
            return
        at = [message.at for message in messages if message.at is not None] or None
        try:
            found = self._predictor.push_many([each.stream for each in messages], [each.steps for each in messages], at)
        except InputError as error:
            if len(messages) == 1:
                raise InputError(f"line {messages[0].line}: {error}") from None
            for message in messages:  # one of them is refused, and those before it are not
                yield from self._pushed([message])
            raise
        yield from zip(messages, map(Answer, *found), strict=True)

    def _end(self, message: _Message) -> None:
        try:
            self._predictor.end(message.stream)
        except InputError as error:
            raise InputError(f"line {message.line}: {error}") from None


def _different(messages: list[_Message]) -> Iterator[list[_Message]]:
    """Yield messages in their order, as many at a time as are of different streams; with a time, or all without."""
    together: dict[StreamId, _Message] = {}
    for message in messages:
        first = next(iter(together.values()), message)
        if message.stream in together or (message.at is None) != (first.at is None):
            yield list(together.values())
            together = {}
        together[message.stream] = message
    if together:
        yield list(together.values())


class _Reader:
    """Lines of JSON, or of CSV if the first one is no object.

    Args:
        features: of a step, in their order.
    """

    def __init__(self, features: tuple[str, ...]) -> None:
        self._features = features
        self._line = 0
        self._is_json: bool | None = None
        self.names: list[str] = []
        """Of the columns, if it is CSV."""

    def read(self, line: bytes) -> _Message | None:
        """Return what a line says; nothing if it is empty, or has the names of the columns."""
        self._line += 1
        try:
            text = line.decode("utf-8-sig" if self._line == 1 else "utf-8").strip()
        except UnicodeDecodeError:
            raise self._refusal("expected UTF-8 text") from None
        if not text:
            return None
        if self._is_json is None:
            self._is_json = text.startswith("{")
            if not self._is_json:
                self.names = self._checked([name.strip() for name in self._cells(text)])
                return None
        return self._message(self._object(text) if self._is_json else self._row(text))

    def _message(self, content: dict[str, Any]) -> _Message:
        stream, is_end = content.get(STREAM, UNNAMED), content.get(END) or False
        if not isinstance(stream, str | int) or isinstance(stream, bool):
            raise self._refusal(f"{STREAM}: expected a text or a whole number, got {stream!r}")
        if not isinstance(is_end, bool):
            raise self._refusal(f"{END}: expected true or false, got {is_end!r}")
        at = content.get(TIME)
        if at is not None and not _is_number(at):
            raise self._refusal(f"{TIME}: expected a number, got {at!r}")
        steps = self._steps(content)
        if not len(steps) and not is_end:
            raise self._refusal(f"expected the features {', '.join(self._features)}, or {STEPS}, a list of steps")
        return _Message(self._line, stream, steps, None if at is None else float(at), is_end)

    def _steps(self, content: dict[str, Any]) -> np.ndarray:
        """The steps of a line (time, feature)."""
        missing = [name for name in self._features if name not in content]
        steps = content.get(STEPS, [])
        if STEPS in content and (both := [name for name in self._features if name in content.keys() - RESERVED]):
            raise self._refusal(f"both {STEPS} and {both[0]!r}; expected one of them")
        if STEPS not in content and len(missing) < len(self._features):
            if missing:
                raise self._refusal(f"no feature {missing[0]!r}; a missing value is null, and an empty cell in CSV")
            steps = [[content[name] for name in self._features]]
        if not isinstance(steps, list) or not all(isinstance(step, list) for step in steps):
            raise self._refusal(f"{STEPS}: expected a list of lists, one for each step")
        for step in steps:
            if len(step) != len(self._features):
                raise self._refusal(
                    f"a step of {len(step)} values, expected {len(self._features)}: {', '.join(self._features)}"
                )
            for value in step:
                if value is not None and not _is_number(value):
                    raise self._refusal(f"expected a number, got {value!r}")
        with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite and is refused
            return np.array(steps, np.float32).reshape(len(steps), len(self._features))

    def _object(self, text: str) -> dict[str, Any]:
        try:
            content = json.loads(text)
        except (ValueError, RecursionError):
            content = None
        if not isinstance(content, dict):
            raise self._refusal('expected a JSON object, such as {"stream": "a", "steps": [[0.5, 1.2]]}')
        if unknown := content.keys() - RESERVED - {*self._features}:
            raise self._refusal(f"unknown name {min(unknown)!r}; the features are {', '.join(self._features)}")
        return content

    def _row(self, text: str) -> dict[str, Any]:
        cells = self._cells(text)
        if len(cells) != len(self.names):
            raise self._refusal(f"{len(cells)} cells, expected {len(self.names)}")
        row: dict[str, Any] = {}
        for name, cell in zip(self.names, cells, strict=True):
            row[name] = cell if name == STREAM else self._is_true(cell) if name == END else self._value(name, cell)
        if row.get(END) and all(row[name] is None for name in self._features):
            row = {name: row[name] for name in (STREAM, END) if name in row}
        return row

    def _cells(self, text: str) -> list[str]:
        try:
            return next(csv.reader([text]))
        except csv.Error as error:
            raise self._refusal(f"expected CSV: {error}") from None

    def _checked(self, names: list[str]) -> list[str]:
        expected = f"expected {', '.join([STREAM, *self._features])}, and {TIME} and {END} if there are any"
        if not {STREAM, *self._features} & {*names}:
            raise self._refusal(f"neither a JSON object nor the names of CSV columns; {expected}")
        if wrong := [name for name in (*self._features, *names) if names.count(name) != 1]:
            raise self._refusal(f"column {wrong[0]!r} is there {names.count(wrong[0])} times; {expected}")
        if unknown := {*names} - {STREAM, TIME, END, *self._features}:
            raise self._refusal(f"unknown column {min(unknown)!r}; {expected}")
        return names

    def _is_true(self, cell: str) -> bool:
        if cell.strip().lower() not in ("", "true", "false", "1", "0"):
            raise self._refusal(f"{END}: expected true or false, got {cell!r}")
        return cell.strip().lower() in ("true", "1")

    def _value(self, name: str, cell: str) -> float | None:
        try:
            return float(cell) if cell.strip() else None
        except ValueError:
            raise self._refusal(f"{name}: expected a number, got {cell!r}") from None

    def _refusal(self, message: str) -> InputError:
        return InputError(f"line {self._line}: {message}")


def _is_number(value: object) -> bool:
    return isinstance(value, float) or (isinstance(value, int) and not isinstance(value, bool) and abs(value) < LARGEST)


def _json_answer(classes: tuple[str, ...], message: _Message, answer: Answer, decides: bool) -> str:
    by_class = dict(zip(classes, (round(float(each), 6) for each in answer.probabilities), strict=True))
    content: dict[str, Any] = {"stream": message.stream, "step": int(answer.num_steps), "prediction": answer.prediction}
    content["probabilities"] = by_class
    if decides:
        content |= zip(DECISION, (answer.decision, int(answer.decided_at) or None), strict=True)
    return json.dumps(content, ensure_ascii=False) + "\n"


def _csv_answer(classes: tuple[str, ...], message: _Message, answer: Answer, decides: bool) -> str:
    cells = [message.stream, answer.num_steps, answer.prediction, *(f"{each:.6f}" for each in answer.probabilities)]
    return _csv([*cells, answer.decision, answer.decided_at or ""] if decides else cells)


def _csv(cells: list[Any]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(cells)
    return line.getvalue()
