"""What a line of text says of a live stream, as JSON or as CSV."""

import csv
import json
from typing import Any, NamedTuple

import numpy as np

from rnnflow.runtime.errors import InputError
from rnnflow.serving.open_streams import StreamId

STREAM, STEPS, TIME, END = "stream", "steps", "time", "end"
RESERVED = {STREAM, STEPS, TIME, END}
UNNAMED = "stream"
"""The stream of lines that name none."""
LARGEST = 10**300
"""Of whole numbers; a float holds no more."""


class Message(NamedTuple):
    """A line of input."""

    line: int
    stream: StreamId
    steps: np.ndarray
    at: float | None
    is_end: bool


class LineReader:
    """Lines of JSON, or of CSV if the first one is no object.

    Args:
        features: of a step, in their order.
    """

    def __init__(self, features: tuple[str, ...]) -> None:
        self._features = features
        self._clash = next((name for name in features if name in RESERVED), None)
        self._expected = f"the features {', '.join(features)}, or {STEPS}, a list of steps"
        if self._clash:
            self._expected = (
                f"{STEPS}, a list of steps of {', '.join(features)}, as {self._clash!r} has a meaning of its own"
            )
        self._line = 0
        self._is_json: bool | None = None
        self.names: list[str] = []
        """Of the columns, if it is CSV."""

    def read(self, line: bytes) -> Message | None:
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

    def _message(self, content: dict[str, Any]) -> Message:
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
            raise self._refusal(f"expected {self._expected}")
        return Message(self._line, stream, steps, None if at is None else float(at), is_end)

    def _steps(self, content: dict[str, Any]) -> np.ndarray:
        """The steps of a line (time, feature)."""
        named = [name for name in self._features if name in content.keys() - RESERVED]
        steps = content.get(STEPS, [])
        if named and STEPS in content:
            raise self._refusal(f"both {STEPS} and {named[0]!r}; expected one of them")
        if named:
            if self._clash:
                raise self._refusal(f"expected {self._expected}")
            if missing := [name for name in self._features if name not in content]:
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
        if self._clash:
            raise self._refusal(f"expected lines of JSON with {self._expected}")
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
