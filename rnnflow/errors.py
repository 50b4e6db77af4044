"""The exception a person's mistake raises, and how a program ends on it."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

EXIT_STATUS = 2
INTERRUPTED_STATUS = 130


class InputError(Exception):
    """Params, data or files are not what was expected.

    The message is one line: the place, what was expected, what came, what to do.
    """


@contextmanager
def exit_on_input_error() -> Iterator[None]:
    """End the program with one line on standard error and exit status 2, without a traceback."""
    try:
        yield
    except InputError as error:
        _end(str(error), EXIT_STATUS)
    except KeyboardInterrupt:
        _end("interrupted", INTERRUPTED_STATUS)
    except BrokenPipeError:
        raise
    except OSError as error:  # a folder that may not be written, a folder where a file is expected
        _end(f"{error.filename2 or error.filename or 'output'}: {error.strerror or error}", EXIT_STATUS)


def _end(message: str, status: int) -> NoReturn:
    sys.stdout.flush()
    print(f"error: {message}", file=sys.stderr, flush=True)
    sys.exit(status)
