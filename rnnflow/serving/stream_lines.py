"""Live streams as lines of text: JSON or CSV in, an answer for each line out, as they arrive."""

import csv
import io
import json
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rnnflow.runtime.errors import InputError
from rnnflow.serving.open_streams import StreamId
from rnnflow.serving.stream_messages import LineReader, Message
from rnnflow.serving.streaming import Answer, StreamingPredictor

DECISION = "decision", "decided_at"
"""In the answers of a model that decides before the end."""
LONGEST_LINE = 1 << 24
"""In bytes."""


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
    reader, batch, model = LineReader(predictor.model.features), _Batch(predictor), predictor.model
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
        self._messages: list[Message] = []

    def add(self, message: Message) -> None:
        self._messages.append(message)

    def answers(self) -> Iterator[tuple[Message, Answer]]:
        """Yield each message that had steps, with its answer; it is taken out."""
        messages, self._messages = self._messages, []
        for together in _different(messages):
            yield from self._pushed(together)
            for message in together:
                if message.is_end:
                    self._end(message)

    def _pushed(self, together: list[Message]) -> Iterator[tuple[Message, Answer]]:
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

    def _end(self, message: Message) -> None:
        try:
            self._predictor.end(message.stream)
        except InputError as error:
            raise InputError(f"line {message.line}: {error}") from None


def _different(messages: list[Message]) -> Iterator[list[Message]]:
    """Yield messages in their order, as many at a time as are of different streams; with a time, or all without."""
    together: dict[StreamId, Message] = {}
    for message in messages:
        first = next(iter(together.values()), message)
        if message.stream in together or (message.at is None) != (first.at is None):
            yield list(together.values())
            together = {}
        together[message.stream] = message
    if together:
        yield list(together.values())


def _json_answer(classes: tuple[str, ...], message: Message, answer: Answer, decides: bool) -> str:
    by_class = dict(zip(classes, (round(float(each), 6) for each in answer.probabilities), strict=True))
    content: dict[str, Any] = {"stream": message.stream, "step": int(answer.num_steps), "prediction": answer.prediction}
    content["probabilities"] = by_class
    if decides:
        content |= zip(DECISION, (answer.decision, int(answer.decided_at) or None), strict=True)
    return json.dumps(content, ensure_ascii=False) + "\n"


def _csv_answer(classes: tuple[str, ...], message: Message, answer: Answer, decides: bool) -> str:
    cells = [message.stream, answer.num_steps, answer.prediction, *(f"{each:.6f}" for each in answer.probabilities)]
    return _csv([*cells, answer.decision, answer.decided_at or ""] if decides else cells)


def _csv(cells: list[Any]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(cells)
    return line.getvalue()
