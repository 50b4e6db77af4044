"""What DVC and the stage printed, and what that tells: how a stage came up to date, or why it did not."""

import re
import signal
from collections import deque
from enum import StrEnum

from rnnflow.errors import EXIT_STATUS as INPUT_ERROR_STATUS

MAX_LAST_LINES = 200

_DVC_ERROR = re.compile(r"^ERROR: (.+?)(?=\n\n|\n(?:ERROR|WARNING): |\Z)", re.MULTILINE | re.DOTALL)
_DVC_PREFIX = re.compile(
    r"^(?:unexpected error - |failed to reproduce '[^']*': |failed to transfer '[^']*' - |"
    r"failed update data - |failed to \w+ data (?:to|from) the cloud - )"
)
_STAGE_FAILED = re.compile(r"^ERROR: .*: failed to run: (.*), exited with (-?\d+)$", re.MULTILINE | re.DOTALL)
_TRANSIENT = re.compile(
    r"unable to acquire lock|is busy, it is being blocked by|interrupted by the user|unlock called on an unlocked lock|"
    r"connect call failed|cannot connect to host|could(?: not|n't) connect|failed to connect|timed out|timeouterror|"
    r"connection (?:refused|reset|aborted|lost|closed)|broken pipe|network is unreachable|no route to host|"
    r"name or service not known|name resolution|could not resolve host|(?:429|50[0-9]), message=|slowdown|"
    r"dependency '\w+://[^']*' does not exist",  # what DVC says of an import's server that does not answer
    re.IGNORECASE,
)
_OUT_OF_MEMORY = re.compile(
    r"^(?:[\w.]*\.)?_?\w*MemoryError\b|^(?:[\w.]*\.)?OutOfMemoryError\b|CUDA out of memory|CUDA error: out of memory|"
    r"can't allocate memory|Cannot allocate memory|std::bad_alloc"
)
_TRACEBACK = "Traceback (most recent call last):"
_ADVICE = "take a smaller batch size or a worker with more memory"
_FROM_OUTSIDE = {"SIGHUP", "SIGINT", "SIGKILL", "SIGTERM"}


class Outcome(StrEnum):
    """How a stage came up to date."""

    UP_TO_DATE = "up to date"
    RESTORED = "restored from the run cache"
    RAN = "ran"


class Failure(StrEnum):
    """Why a command failed, which decides what is done about it."""

    TRANSIENT = "transient"
    OUT_OF_MEMORY = "out of memory"
    PERMANENT = "permanent"


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
        if line.startswith("Running stage '"):
            self.outcome = Outcome.RAN
        elif "is cached - skipping run" in line:
            self.outcome = Outcome.RESTORED

    def parts(self) -> tuple[list[str], list[str]]:
        """Return the stage's lines and DVC's; where DVC failed after the stage, the last error in the text is its."""
        lines = list(self.last)
        start = max((place for place, line in enumerate(lines) if line.startswith("ERROR: ")), default=len(lines))
        return lines[:start], [*self.before, "", *lines[start:]]


def explain(status: int, transcript: Transcript, was_memory_short: bool) -> tuple[Failure, str]:
    """Return why a command, or the supervisor itself, ended with `status`: by words only where they are DVC's."""
    if ended_by := _signal(status):
        return _explain_signal("the supervisor" if status < 0 else "DVC", ended_by, was_memory_short)
    stage_lines, dvc_lines = transcript.parts()
    text = "\n".join(dvc_lines)
    if failed := _STAGE_FAILED.search(text):
        return _explain_stage(failed[1], int(failed[2]), stage_lines, was_memory_short)
    errors = [_DVC_PREFIX.sub("", " ".join(error.split())) for error in _DVC_ERROR.findall(text)]
    if not errors:
        lines = [_own_line(dvc_lines)] if _TRACEBACK in dvc_lines else list(filter(None, dvc_lines))[:2]
        return Failure.PERMANENT, " ".join(lines) or f"DVC ended with status {status}"
    failure = Failure.TRANSIENT if any(map(is_transient, errors)) else Failure.PERMANENT
    return failure, re.sub(r"^(.+): \1$", r"\1", errors[0])


def is_transient(error: str) -> bool:
    """Return whether an error of DVC or Git is of the kind that passes: a lock, the network, a server that is away."""
    return _TRANSIENT.search(error) is not None


def _explain_stage(command: str, status: int, lines: list[str], was_memory_short: bool) -> tuple[Failure, str]:
    echo = f"> {command.splitlines()[0]}"
    if echo in lines:
        lines = lines[len(lines) - lines[::-1].index(echo) :]
    message = _own_line(lines) or f"the stage ended with status {status}"
    if status == INPUT_ERROR_STATUS:
        return Failure.PERMANENT, message
    if _OUT_OF_MEMORY.search(message):
        return Failure.OUT_OF_MEMORY, f"{message}; {_ADVICE}"
    if ended_by := _signal(status):
        return _explain_signal("the stage", ended_by, was_memory_short)
    return Failure.PERMANENT, message


def _own_line(lines: list[str]) -> str:
    """Return what a stage said last: its error, the exception under its last traceback, or simply its last line."""
    for place in reversed(range(len(lines))):
        if lines[place].startswith("error: "):
            return lines[place].removeprefix("error: ")
        if lines[place].startswith(_TRACEBACK):
            return next((line for line in lines[place + 1 :] if line and not line.startswith(" ")), "")
    return next((line.strip() for line in reversed(lines) if line), "")


def _explain_signal(who: str, ended_by: str, was_memory_short: bool) -> tuple[Failure, str]:
    if ended_by == "SIGKILL" and was_memory_short:
        return Failure.OUT_OF_MEMORY, f"{who} was killed because the machine ran out of memory; {_ADVICE}"
    if ended_by in _FROM_OUTSIDE:
        return Failure.TRANSIENT, f"{who} was killed ({ended_by})"
    return Failure.PERMANENT, f"{who} crashed ({ended_by})"


def _signal(status: int) -> str | None:
    """Return the name of the signal behind a status as `subprocess` (negative) or a shell (above 128) gives it."""
    number = -status if status < 0 else status - 128
    return next((member.name for member in signal.Signals if member == number), None)
