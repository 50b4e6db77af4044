"""The exception for mistakes in params, data or files, and the exit status of a program that fails."""

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NoReturn

EXIT_STATUS = 2
REJECTS_STATUS = 3
"""Exit status of a prediction that left out what it could not read, as `--rejects` asks."""
FAILED_STATUS = 1
TEMPORARY_STATUS = 75
"""`EX_TEMPFAIL` of `sysexits.h`: a temporary failure; trying again may succeed."""
INTERRUPTED_STATUS = 130
MAX_CHARACTERS = 2000
"""Of a line that says an error."""

_NETWORK = {errno.ETIMEDOUT, errno.ENETDOWN, errno.ENETUNREACH, errno.ENETRESET, errno.EHOSTDOWN, errno.EHOSTUNREACH}
_FILE_SERVER = {errno.ESTALE, errno.EIO, errno.ENOLCK}  # a network file system gives EIO when its server is away
_OCCUPIED = {errno.EAGAIN, errno.EBUSY, errno.EINTR, errno.ENFILE, errno.ENOBUFS, errno.ETXTBSY}
_FULL = {errno.ENOSPC, errno.EDQUOT}  # other runs give their space back when they end
_TEMPORARY = _NETWORK | _FILE_SERVER | _OCCUPIED | _FULL


class InputError(Exception):
    """Params, data or files are not what was expected.

    The message is one line: the place, what was expected, what came, what to do.
    """


class TemporaryError(InputError):
    """The same, of what may be right when it is tried again."""


@contextmanager
def library(place: str, but: type[Exception] = InputError) -> Iterator[None]:
    """Turn whatever a library raises at bad content into one line, which begins with `place`.

    It stands around calls of libraries, never around this project's code: what parsers of foreign formats raise is not
    written down anywhere, and fuzzing found a dozen kinds.

    Args:
        place: the file, and what was expected of it.
        but: what is let through, since whoever calls can say more.
    """
    try:
        yield
    except OSError as error:  # without a number it is the library's own, which says more
        raise InputError(f"{place}: {error.strerror or _reason(error)}") from None
    except RecursionError:
        raise InputError(f"{place}: nested too deeply") from None
    except Exception as error:
        if isinstance(error, InputError | but) or _is_interrupt(error):
            raise
        raise InputError(f"{place}: {_reason(error)}") from None


def _reason(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


@contextmanager
def exit_on_input_error() -> Iterator[None]:
    """End the program with one line on standard error, without a traceback.

    The exit status is 2 for a person's mistake, 75 for a temporary failure, 1 for lack of memory.
    """
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed: the next file that is opened would get what others print
            setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115 - open to the end
    try:
        yield
    except InputError as error:
        _end(str(error), TEMPORARY_STATUS if _is_raised_by_temporary(error) else EXIT_STATUS)
    except BrokenPipeError:
        raise
    except OSError as error:  # a folder that may not be written, a folder where a file is expected
        _end(in_one_line(error), _status(error))
    except (KeyboardInterrupt, Exception) as error:
        if not _is_interrupt(error):
            raise
        _end("interrupted", INTERRUPTED_STATUS)


def in_one_line(error: OSError) -> str:
    """Return the line that says which file it was and what the system said."""
    return f"{error.filename2 or error.filename or 'output'}: {error.strerror or error}"


def is_temporary(error: OSError) -> bool:
    """Return whether trying again may succeed: network, file server, full disk.

    A missing or unreadable file, or a disk that is mounted read-only, needs a person.
    """
    return isinstance(error, ConnectionError | TimeoutError) or error.errno in _TEMPORARY


def is_temporary_number(number: int) -> bool:
    """Return the same for an error number that another program printed."""
    return is_temporary(OSError(number, ""))


def _is_interrupt(error: BaseException) -> bool:
    """Return whether it is an interrupt, or what a lock raised in its place.

    Python raises KeyboardInterrupt between any two instructions, also where a lock has been given back for a while, as by
    whoever waits for a future: then the end of the lock's `with` block raises a RuntimeError.
    """
    return any(isinstance(each, KeyboardInterrupt) for each in _with_contexts(error))


def _with_contexts(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an exception, the one that was being handled when it was raised, and so on."""
    while error is not None:
        yield error
        error = error.__context__


def _is_raised_by_temporary(error: InputError) -> bool:
    """Readers turn every failure into an input error; the original exception is its context."""
    raised = next((each for each in _with_contexts(error) if isinstance(each, TemporaryError | OSError)), None)
    return isinstance(raised, TemporaryError) or (raised is not None and is_temporary(raised))


def _status(error: OSError) -> int:
    if error.errno == errno.ENOMEM:
        return FAILED_STATUS
    return TEMPORARY_STATUS if is_temporary(error) else EXIT_STATUS


def _end(message: str, status: int) -> NoReturn:
    sys.stdout.flush()
    with suppress(BrokenPipeError):
        print(f"error: {_printable(message)}", file=sys.stderr, flush=True)
    sys.exit(status)


def _printable(message: str) -> str:
    """Return one line of a bearable length: names and cells may hold line ends, and what steers a terminal."""
    line = "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in message)
    return line if len(line) <= MAX_CHARACTERS else f"{line[:MAX_CHARACTERS]} … ({len(line):,} characters)"
