import subprocess
import sys
from pathlib import Path

import pytest

from rnnflow.errors import InputError, exit_on_input_error


def test_an_input_error_becomes_one_line_and_exit_status_2(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ending, exit_on_input_error():
        raise InputError("data.parquet: row 3: no label")
    assert ending.value.code == 2
    assert capsys.readouterr() == ("", "error: data.parquet: row 3: no label\n")


def test_any_other_exception_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError), exit_on_input_error():
        _ = 1 / 0


def test_a_block_that_ends_well_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with exit_on_input_error():
        pass
    assert capsys.readouterr() == ("", "")


def test_what_was_printed_before_stands_before_the_error() -> None:
    code = (
        "from rnnflow.errors import *\n"
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
