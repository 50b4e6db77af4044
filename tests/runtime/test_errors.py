import errno
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from rnnflow.classifier import safetensors_files
from rnnflow.runtime.errors import InputError, exit_on_input_error, is_temporary, library


def test_an_input_error_becomes_one_line_and_exit_status_2(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ending, exit_on_input_error():
        raise InputError("data.parquet: row 3: no label")
    assert ending.value.code == 2
    assert capsys.readouterr() == ("", "error: data.parquet: row 3: no label\n")


def test_names_with_line_ends_or_escape_sequences_leave_one_readable_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit), exit_on_input_error():
        raise InputError("a\nb\x1b[2J\udcff\u2028größe.csv: no such file")
    assert capsys.readouterr().err == r"error: a\nb\x1b[2J\udcff\u2028größe.csv: no such file" + "\n"


def test_a_header_of_a_megabyte_is_not_echoed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit), exit_on_input_error():
        raise InputError("x" * 10**6)
    assert capsys.readouterr().err.endswith("x … (1,000,000 characters)\n")


def test_any_other_exception_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError), exit_on_input_error():
        _ = 1 / 0


def test_a_block_that_ends_well_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with exit_on_input_error():
        pass
    assert capsys.readouterr() == ("", "")


def test_what_was_printed_before_stands_before_the_error() -> None:
    code = (
        "from rnnflow.runtime.errors import *\n"
        "with exit_on_input_error():\n"
        "    print('first')\n"
        "    raise InputError('second')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (2, "first\nerror: second\n")


def test_a_folder_where_a_file_is_expected_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end, exit_on_input_error():
        tmp_path.read_text()
    assert end.value.code == 2
    assert capsys.readouterr().err == f"error: {tmp_path}: Is a directory\n"


def test_an_interrupted_program_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end, exit_on_input_error():
        raise KeyboardInterrupt
    assert end.value.code == 130
    assert capsys.readouterr().err == "error: interrupted\n"


def give_back(error: Exception) -> None:
    """Raise what the end of a block raises when an interrupt comes in it."""
    try:
        raise KeyboardInterrupt
    finally:
        raise error from None


def test_an_interrupt_in_whose_place_a_lock_raises_is_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert ending_of(lambda: give_back(RuntimeError("cannot release un-acquired lock"))) == 130
    assert capsys.readouterr().err == "error: interrupted\n"


def test_it_is_one_within_a_library_as_well(capsys: pytest.CaptureFixture[str]) -> None:
    def read() -> None:
        with library("a.csv: expected CSV"):
            give_back(RuntimeError("cannot release un-acquired lock"))

    assert ending_of(read) == 130
    assert capsys.readouterr().err == "error: interrupted\n"


@pytest.mark.parametrize("error", [InputError("no"), OSError(errno.EACCES, "no", "streams.npz")])
def test_what_cannot_be_written_at_an_interrupt_is_said(error: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    assert ending_of(lambda: give_back(error)) == 2
    assert capsys.readouterr().err.endswith("no\n")


def ending_of(run: Callable[[], object]) -> object:
    with pytest.raises(SystemExit) as end, exit_on_input_error():
        run()
    return end.value.code


def raising(error: Exception) -> Callable[[], None]:
    def run() -> None:
        raise error

    return run


@pytest.mark.parametrize(
    "name",
    [
        *("ETIMEDOUT", "ENETDOWN", "ENETUNREACH", "ENETRESET", "EHOSTDOWN", "EHOSTUNREACH"),
        *("ECONNRESET", "ECONNREFUSED", "ECONNABORTED", "EPIPE", "ESHUTDOWN"),
        *("ESTALE", "EIO", "ENOLCK"),
        *("EAGAIN", "EBUSY", "EINTR", "ENFILE", "ENOBUFS", "ETXTBSY"),
        *("ENOSPC", "EDQUOT"),
    ],
)
def test_what_may_pass_by_itself_ends_with_the_status_that_invites_a_retry(name: str) -> None:
    number = getattr(errno, name)
    assert is_temporary(OSError(number, os.strerror(number)))
    if name not in ("EPIPE", "ESHUTDOWN"):  # our own output's reader has gone: no error of a file
        assert ending_of(raising(OSError(number, os.strerror(number), "data/raw/june.csv"))) == 75


@pytest.mark.parametrize(
    "name",
    [
        *("ENOENT", "EACCES", "EPERM", "EISDIR", "ENOTDIR", "EEXIST", "ENOTEMPTY"),
        *("EROFS", "ENAMETOOLONG", "ELOOP", "EFBIG", "EINVAL", "EXDEV", "EMFILE"),
    ],
)
def test_what_a_person_has_to_put_right_ends_with_status_2(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    number = getattr(errno, name)
    assert ending_of(raising(OSError(number, os.strerror(number), "data/raw/june.csv"))) == 2
    assert capsys.readouterr().err == f"error: data/raw/june.csv: {os.strerror(number)}\n"


def test_a_want_of_memory_is_neither(capsys: pytest.CaptureFixture[str]) -> None:
    assert ending_of(raising(OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)))) == 1
    assert capsys.readouterr().err == "error: output: Cannot allocate memory\n"


on_linux = pytest.mark.skipif(sys.platform != "linux", reason="Linux has a file that does it")


@on_linux
def test_a_disk_that_is_full_may_have_space_later(capsys: pytest.CaptureFixture[str]) -> None:
    assert ending_of(lambda: Path("/dev/full").write_bytes(b"1")) == 75
    assert "No space left on device" in capsys.readouterr().err


def test_a_connection_that_the_other_side_resets_may_hold_later() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        other, _ = server.accept()
        client.sendall(b"unread")
        other.recv(1, socket.MSG_PEEK)
        other.close()  # with something unread: a reset
        assert ending_of(lambda: client.recv(1)) == 75


def test_a_timeout_may_pass() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        client.settimeout(0.01)
        assert ending_of(lambda: client.recv(1)) == 75


def read_of_a_disk_that_fails() -> None:
    """What pyarrow raises when the system cannot read: here memory that is not there."""
    try:
        pa.OSFile("/proc/self/mem").read(1)
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"part-00000.parquet: {error}") from None


@on_linux
def test_a_file_that_cannot_be_read_for_a_while_is_no_mistake_of_a_person(capsys: pytest.CaptureFixture[str]) -> None:
    assert ending_of(read_of_a_disk_that_fails) == 75
    assert capsys.readouterr().err.startswith("error: part-00000.parquet: ")


def test_a_file_that_is_not_there_is_one(tmp_path: Path) -> None:
    assert ending_of(lambda: safetensors_files.read(tmp_path / "none")) == 2
    assert ending_of(lambda: safetensors_files.read(tmp_path)) == 2


@pytest.mark.parametrize(("closed", "said"), [("stdout", "error: second\n"), ("stderr", "")])
def test_closed_streams_are_no_traceback_and_get_nothing_into_other_files(
    tmp_path: Path, closed: str, said: str
) -> None:
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from rnnflow.runtime.errors import *\n"
        "with exit_on_input_error(), Path(sys.argv[1]).open('w') as file:\n"
        "    print('first')\n"
        "    print('first', file=sys.stderr) if sys.argv[2] == 'stderr' else None\n"
        "    raise InputError('second')\n"
    )
    number = {"stdout": 1, "stderr": 2}[closed]
    command = f'"{sys.executable}" -c "$0" "$1" {closed} {number}>&-'
    done = subprocess.run(["bash", "-c", command, code, tmp_path / "a"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, said)
    assert (tmp_path / "a").read_text() == ""


@pytest.mark.parametrize(
    ("raised", "line"),
    [
        (KeyError("x"), "a.bin: 'x'"),
        (OSError(13, "Permission denied", "a.bin"), "a.bin: Permission denied"),
        (OSError("Corrupt\nfooter"), "a.bin: Corrupt footer"),
        (RecursionError("maximum recursion depth exceeded"), "a.bin: nested too deeply"),
        (MemoryError(), "a.bin: MemoryError"),
    ],
)
def test_whatever_a_library_raises_becomes_one_line(raised: Exception, line: str) -> None:
    with pytest.raises(InputError) as refused, library("a.bin"):
        raise raised
    assert str(refused.value) == line
