"""The exception a person's mistake raises, and how a program ends on it and on what the machine refuses."""

import errno
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

EXIT_STATUS = 2
FAILED_STATUS = 1
TEMPORARY_STATUS = 75
"""`EX_TEMPFAIL` of `sysexits.h`: nobody is at fault, and the same may go well later."""
INTERRUPTED_STATUS = 130

_NETWORK = {errno.ETIMEDOUT, errno.ENETDOWN, errno.ENETUNREACH, errno.ENETRESET, errno.EHOSTDOWN, errno.EHOSTUNREACH}
_FILE_SERVER = {errno.ESTALE, errno.EIO, errno.ENOLCK}  # a network file system gives EIO when its server is away
_OCCUPIED = {errno.EAGAIN, errno.EBUSY, errno.EINTR, errno.ENFILE, errno.ENOBUFS, errno.ETXTBSY}
_FULL = {errno.ENOSPC, errno.EDQUOT}  # other runs give their space back when they end
_TEMPORARY = _NETWORK | _FILE_SERVER | _OCCUPIED | _FULL


class InputError(Exception):
    """Params, data or files are not what was expected.

    The message is one line: the place, what was expected, what came, what to do.
    """


@contextmanager
def exit_on_input_error() -> Iterator[None]:
    """End the program with one line on standard error, without a traceback, and the status that says whose turn it is.

    2 is a person's mistake, 75 may pass by itself, 1 is a want of memory.
    """
    try:
        yield
    except InputError as error:
        _end(str(error), TEMPORARY_STATUS if _is_raised_by_temporary(error) else EXIT_STATUS)
    except KeyboardInterrupt:
        _end("interrupted", INTERRUPTED_STATUS)
    except BrokenPipeError:
        raise
    except OSError as error:  # a folder that may not be written, a folder where a file is expected
        _end(in_one_line(error), _status(error))


def in_one_line(error: OSError) -> str:
    """Return the line that says which file it was and what the system said."""
    return f"{error.filename2 or error.filename or 'output'}: {error.strerror or error}"


def is_temporary(error: OSError) -> bool:
    """Return whether the same may go well later, without anybody's doing: the network, a file server, a full disk.

    A file that is missing, not to be read, or on a disk that is mounted read-only needs a person.
    """
    return isinstance(error, ConnectionError | TimeoutError) or error.errno in _TEMPORARY


def is_temporary_number(number: int) -> bool:
    """Return the same for an error that another program has told by its number alone."""
    return is_temporary(OSError(number, ""))


def _is_raised_by_temporary(error: InputError) -> bool:
    """Whoever reads a file calls all that goes wrong there an input error; what was raised first is its context."""
    context = error.__context__
    while context is not None and not isinstance(context, OSError):
        context = context.__context__
    return context is not None and is_temporary(context)


def _status(error: OSError) -> int:
    if error.errno == errno.ENOMEM:
        return FAILED_STATUS
    return TEMPORARY_STATUS if is_temporary(error) else EXIT_STATUS


def _end(message: str, status: int) -> NoReturn:
    sys.stdout.flush()
    print(f"error: {message}", file=sys.stderr, flush=True)
    sys.exit(status)
