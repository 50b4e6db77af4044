"""DVC's command line as the supervisor calls it: it reports the exceptions behind its exit status.

A script beside the supervisor, which loads it by its path: in that process the project's own packages are not to be had.
"""

import json
import logging
from collections.abc import Iterator, Sequence
from typing import IO, Any

import dvc.cli

LOGGERS = ("dvc", "dvc_data", "dvc_objects")
"""Of DVC and its libraries, which log every exception that ends a command or a transfer."""


def main(arguments: Sequence[str], report: IO[str]) -> int:
    """Run a command, write the errors that it logged to `report`, and return its exit status."""
    log = _ErrorLog()
    for name in LOGGERS:
        logging.getLogger(name).addHandler(log)
    status: int = dvc.cli.main(arguments)
    json.dump(log.errors, report)
    return status


class _ErrorLog(logging.Handler):
    """Describes the errors that DVC logs: its `main` handles every exception itself, and returns but a number."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.errors: list[dict[str, Any]] = []

    def emit(self, record: logging.LogRecord) -> None:
        raised = list(_described(record.exc_info[1])) if record.exc_info else []
        self.errors.append({"said": record.getMessage(), "raised": raised})


def _described(error: BaseException | None) -> Iterator[dict[str, Any]]:
    """Yield an exception and those behind it; as DVC does, without the message of one that is no declared cause."""
    is_cause = True
    while error is not None:
        statuses = [getattr(error, name, None) for name in ("status", "status_code")]
        yield {
            "kinds": [kind.__name__ for kind in type(error).__mro__],
            "message": str(error) if is_cause else "",
            "http_status": next((status for status in statuses if isinstance(status, int)), None),
        }
        is_cause = error.__cause__ is not None
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
