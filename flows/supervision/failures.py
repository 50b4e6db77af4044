"""Why a command failed: by the exceptions that DVC logged in its own process, a stage by its exit status."""

import json
import re
import signal
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from flows.supervision.transcript import TRACEBACK, Transcript, last_line, readable
from rnnflow.runtime.errors import EXIT_STATUS as INPUT_ERROR_STATUS
from rnnflow.runtime.errors import TEMPORARY_STATUS, is_temporary_number

_TRANSIENT_KINDS = {
    "LockError",  # DVC's own lock, and files that another DVC works on
    "KeyboardInterrupt",
    "ConnectionError",  # Python's, requests' and botocore's
    "TimeoutError",
    "gaierror",  # a host name that cannot be resolved
    "ClientConnectionError",  # aiohttp
    "ConnectionLost",  # asyncssh
    "TransportError",  # httpx, google-auth
    "HTTPClientError",  # botocore
}
"""Names of classes, without their modules: most of them are of libraries that not every installation has."""
_ERRNO = re.compile(r"\[Errno (\d+)\]")
"""In the message: of several addresses that all failed, asyncio makes one OSError without a number of its own."""
_STAGE_FAILED = re.compile(r"failed to run: (.*), exited with (-?\d+)", re.DOTALL)
"""DVC's StageCmdFailedError keeps the command and its exit status in its message alone."""
_OUT_OF_MEMORY = re.compile(
    r"^(?:[\w.]*\.)?_?\w*MemoryError\b|^(?:[\w.]*\.)?OutOfMemoryError\b|CUDA out of memory|CUDA error: out of memory|"
    r"can't allocate memory|Cannot allocate memory|std::bad_alloc"
)
"""By words, since a stage is any program, below a shell: all that comes back is its exit status and what it printed."""
_ADVICE = "take a smaller batch size or a worker with more memory"
_FROM_OUTSIDE = {"SIGHUP", "SIGINT", "SIGKILL", "SIGTERM"}


class Failure(StrEnum):
    """Why a command failed, which decides what is done about it."""

    TRANSIENT = "transient"
    OUT_OF_MEMORY = "out of memory"
    PERMANENT = "permanent"


@dataclass(frozen=True)
class Raised:
    """An exception in DVC's process.

    Attributes:
        kinds: names of its class and of that one's bases.
        message: empty where DVC does not show it.
        http_status: of the answer that it stands for, if any.
    """

    kinds: frozenset[str]
    message: str = ""
    http_status: int | None = None

    @property
    def is_transient(self) -> bool:
        """Whether it is of the kind that passes: a lock, the network, a server that is away or busy."""
        if "PayloadEncodingError" in self.kinds:  # aiohttp's, of an answer that was cut off; it says status 400
            return True
        if self.http_status is not None:
            return self.http_status == 429 or self.http_status >= 500
        if "DependencyDoesNotExistError" in self.kinds:  # also what DVC makes of a web server that does not answer
            return "://" in self.message
        return bool(self.kinds & _TRANSIENT_KINDS) or _names_temporary_error(self.message)


@dataclass(frozen=True)
class LoggedError:
    """An error that DVC logged.

    Attributes:
        said: the text of the log line.
        raised: the exception that was logged with it, and those behind it, the cause of each after it.
    """

    said: str
    raised: tuple[Raised, ...] = ()

    @classmethod
    def parse(cls, report: str) -> "list[LoggedError]":
        """Return the errors that `dvc_command` has reported: none where DVC was killed."""
        errors = []
        for sent in json.loads(report or "[]"):
            raised = (Raised(frozenset(each["kinds"]), each["message"], each["http_status"]) for each in sent["raised"])
            errors.append(cls(sent["said"], tuple(raised)))
        return errors

    def __str__(self) -> str:
        """The messages of the exceptions, or the log line's text where they have none; in one line."""
        messages = [each.message for each in self.raised if "ReproductionError" not in each.kinds]
        lines = dict.fromkeys(map(_first_paragraph, filter(None, messages)))
        return ": ".join(lines) or _first_paragraph(self.said)


def explain(
    status: int, transcript: Transcript, errors: Sequence[LoggedError], was_memory_short: bool
) -> tuple[Failure, str]:
    """Return why a command, or the supervisor itself, ended with `status`, and the one line that says so."""
    if ended_by := _signal(status):
        return _explain_signal("the supervisor" if status < 0 else "DVC", ended_by, was_memory_short)
    if failed := _failed_stage(errors):
        return _explain_stage(failed[1], int(failed[2]), transcript.stage_lines(), was_memory_short)
    if errors:
        is_transient = any(each.is_transient for error in errors for each in error.raised)
        return Failure.TRANSIENT if is_transient else Failure.PERMANENT, str(errors[0])
    lines = transcript.dvc_lines()
    lines = [last_line(lines)] if TRACEBACK in lines else list(filter(None, lines))[:2]
    return Failure.PERMANENT, " ".join(lines) or f"DVC ended with status {status}"


def _failed_stage(errors: Iterable[LoggedError]) -> re.Match[str] | None:
    raised = (each for error in errors for each in error.raised if "StageCmdFailedError" in each.kinds)
    return next((_STAGE_FAILED.fullmatch(each.message) for each in raised), None)


def _explain_stage(command: str, status: int, lines: list[str], was_memory_short: bool) -> tuple[Failure, str]:
    echo = f"> {command.splitlines()[0]}"
    if echo in lines:
        lines = lines[len(lines) - lines[::-1].index(echo) :]
    message = last_line(lines) or f"the stage ended with status {status}"
    if status == INPUT_ERROR_STATUS:
        return Failure.PERMANENT, message
    if status == TEMPORARY_STATUS or _names_temporary_error(message):
        return Failure.TRANSIENT, message
    if _OUT_OF_MEMORY.search(message):
        return Failure.OUT_OF_MEMORY, f"{message}; {_ADVICE}"
    if ended_by := _signal(status):
        return _explain_signal("the stage", ended_by, was_memory_short)
    return Failure.PERMANENT, message


def _names_temporary_error(message: str) -> bool:
    """Return whether a message has the number of an error of the operating system that passes by itself."""
    return any(is_temporary_number(int(number)) for number in _ERRNO.findall(message))


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


def _first_paragraph(text: str) -> str:
    return " ".join(readable(text).split("\n\n")[0].split())
