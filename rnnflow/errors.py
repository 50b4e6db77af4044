"""The exception a person's mistake raises, and how a program ends on it."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

EXIT_STATUS = 2


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
        sys.stdout.flush()
        print(f"error: {error}", file=sys.stderr, flush=True)
        sys.exit(EXIT_STATUS)
