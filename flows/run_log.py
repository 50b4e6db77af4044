"""What the log of a run says, at levels that mean something: a person reads the log of a night in a minute.

INFO is what was done, WARNING what passed or was put right, ERROR what a run failed by. DEBUG, which is not kept unless
`PREFECT_LOGGING_LEVEL` says so, is DVC's advice to people at a terminal and what Prefect says about its own work.
"""

import logging
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from prefect import get_run_logger
from prefect.client.schemas.objects import State

from flows.redaction import redacted
from flows.supervision.dvc import StageError
from rnnflow.runtime.errors import InputError

LOGGERS = ("prefect.flow_runs", "prefect.task_runs", "prefect.engine")
_OF_DVC = re.compile(
    r"|Generating lock file .*|Updating lock file .*|To track the changes with git, run:|\s+git add .*"
    r"|To enable auto staging, run:|\s+dvc config core\.autostage true|Use `dvc push` to send your updates .*"
    r"|Everything is up to date\.|Data and pipelines are up to date\.|Stage '.*' didn't change, skipping|> .*"
    r"|WARNING: No file hash info found .*|.*Some of the cache files do not exist.*|Missing cache files:"
    r"|.*\bmd5(?:-dos2unix)?: [0-9a-f]{32}.*|[ADM]\s+\S+|hint: .*|ERROR: failed to reproduce .*"
    r"|ERROR: failed to transfer .*"  # one for each file where a remote is full or away
)
"""Lines that matter to whoever looks into DVC; why a stage failed is said by the stage, in the step's last line."""
_SAID_OTHERWISE = ("Crash detected!", "Finished in state Running(")
"""By the final state, and for a cancelled run by `heartbeat`, since Prefect does not take it for one."""
TRIED_AGAIN = "Task run failed with %s: %r - Retry %s/%s will start %s"
"""Prefect shows the state, and in it the exception, which has the same line again."""
_DECIMALS = re.compile(r"(?<=\d)\.\d+")
_FAILED_STATE = "Task run failed with state: "
_OF_THREADS = "Timeouts in worker threads cannot interrupt blocking operations"
"""Prefect says so of each stage that may run beside others; none blocks for longer than `supervision.dvc.LOOK_SECONDS`."""


def log_line(line: str) -> None:
    """Log a line that DVC or a stage has printed."""
    get_run_logger().log(_level(line), "%s", line)


def _level(line: str) -> int:
    if _OF_DVC.fullmatch(line):
        return logging.DEBUG
    if line.startswith(("ERROR: ", "error: ")):
        return logging.ERROR
    return logging.WARNING if line.startswith("WARNING: ") else logging.INFO


@contextmanager
def one_line(name: str) -> Iterator[Callable[[str], None]]:
    """Log one line about a step when it has ended: how, and how long it took, its further tries included.

    Yields a function that takes how it ended well.
    """
    began = time.monotonic()
    outcome = ""

    def end(how: str) -> None:
        nonlocal outcome
        outcome = how

    def say(level: int, how: str) -> None:
        get_run_logger().log(level, "%s: %s, %.1f s", name, how, time.monotonic() - began)

    try:
        yield end
    except StageError as error:
        say(logging.ERROR, f"failed: {error}")
        raise
    except BaseException:
        say(logging.WARNING, "interrupted")
        raise
    say(logging.INFO, outcome)


def keep_readable() -> None:
    """Let the logs of this process's runs leave out what a person need not see. It can be called any number of times."""
    for name in LOGGERS:
        logging.getLogger(name).addFilter(_is_for_people)


def _is_for_people(record: logging.LogRecord) -> bool:
    """Give Prefect's own records the level that they deserve, keep secrets out, and return whether it is kept."""
    if record.exc_info and isinstance(record.exc_info[1], InputError | StageError):
        return False  # expected, and the final state has its line
    is_retry = record.msg == TRIED_AGAIN
    message = redacted(_message(record))
    record.msg, record.args = message, ()
    if message.startswith((*_SAID_OTHERWISE, _FAILED_STATE)) or _OF_THREADS in message:
        return False
    if message.startswith("Finished in state "):
        of_task = record.name == "prefect.task_runs"  # which `one_line` tells with its name
        record.levelno = logging.DEBUG if of_task else _level_of_state(message)
    elif is_retry:
        record.levelno = logging.WARNING
    record.levelname = logging.getLevelName(record.levelno)
    return logging.getLogger(record.name).isEnabledFor(record.levelno)


def _message(record: logging.LogRecord) -> str:
    if record.msg != TRIED_AGAIN:
        return record.getMessage()
    arguments: Any = record.args
    _, failed, number, most, when = arguments
    line = failed.message if isinstance(failed, State) else repr(failed)
    return f"try {number} of {most + 1} failed, the next is due {_DECIMALS.sub('', when)}: {line}"


def _level_of_state(message: str) -> int:
    state = message.removeprefix("Finished in state ")
    if state.startswith("Completed("):
        return logging.INFO
    return logging.WARNING if state.startswith("Cancelled(") else logging.ERROR
