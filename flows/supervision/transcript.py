"""What DVC and the stage printed: whose lines are whose, and how the stage came up to date."""

import re
from collections import deque
from enum import StrEnum

from flows.redaction import redacted

MAX_LAST_LINES = 200
TRACEBACK = "Traceback (most recent call last):"
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")


class Outcome(StrEnum):
    """How a stage came up to date."""

    UP_TO_DATE = "up to date"
    RESTORED = "restored from the run cache"
    RAN = "ran"


class Transcript:
    """What DVC and the stage printed, as far as it tells what happened.

    Attributes:
        before: DVC's lines before the stage ran, or all where none did.
        last: the last lines from then on, the stage's and after them DVC's.
        outcome: as DVC named it.
    """

    def __init__(self) -> None:
        self.before: list[str] = []
        self.last: deque[str] = deque(maxlen=MAX_LAST_LINES)
        self.outcome = Outcome.UP_TO_DATE

    def add(self, line: str) -> None:
        if self.outcome is Outcome.RAN:
            self.last.append(line)
            return
        self.before.append(line)
        # DVC says in these lines alone what it did: `Repo.reproduce` returns a restored stage like one that ran.
        if line.startswith("Running stage '"):
            self.outcome = Outcome.RAN
        elif "is cached - skipping run" in line:
            self.outcome = Outcome.RESTORED

    def stage_lines(self) -> list[str]:
        """Return the last lines of the stage."""
        return list(self.last)[: self._num_stage_lines()]

    def dvc_lines(self) -> list[str]:
        """Return DVC's lines, before and after the stage."""
        return [*self.before, *list(self.last)[self._num_stage_lines() :]]

    def _num_stage_lines(self) -> int:
        """Where DVC failed after the stage, the last error in the text is its."""
        return max(
            (place for place, line in enumerate(self.last) if line.startswith("ERROR: ")), default=len(self.last)
        )


def last_line(lines: list[str]) -> str:
    """Return what a program said last: its error, the exception under its last traceback, or simply its last line."""
    for place in reversed(range(len(lines))):
        if lines[place].startswith("error: "):
            return lines[place].removeprefix("error: ")
        if lines[place].startswith(TRACEBACK):
            return next((line for line in lines[place + 1 :] if line and not line.startswith(" ")), "")
    return next((line.strip() for line in reversed(lines) if line), "")


def readable(text: str) -> str:
    """Return a text without the colours and movements that it would have on a terminal, and without secrets."""
    return redacted(_CONTROL.sub("", text))
