"""What a walk over `data/raw` can meet: read once, or refused; never passed over, never waited for."""

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from rnnflow.generation.sources.files import find
from rnnflow.runtime.errors import InputError
from rnnflow.runtime.provenance import ROOT


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    for name in ("a.csv", "june/b.csv"):
        path = tmp_path / "raw" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("id,label,x\n")
    return tmp_path / "raw"


def pipe(path: Path) -> None:
    os.mkfifo(path)


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def listening(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as open_socket:
        os.chdir(path.parent)  # the address of a socket may have 107 characters
        open_socket.bind(path.name)


@pytest.mark.parametrize("make", [pipe, device, listening])
@pytest.mark.parametrize("is_named", [True, False])
def test_what_is_no_file_is_refused(raw: Path, make: Callable[[Path], None], is_named: bool) -> None:
    before = Path.cwd()
    make(raw / "june/c.csv")
    os.chdir(before)
    with pytest.raises(InputError, match=r"june/c\.csv: not a file but a pipe, a socket or a device"):
        find(["june/c.csv" if is_named else "."], raw)


def test_a_name_that_is_no_text_is_refused(raw: Path) -> None:
    Path(os.fsdecode(os.fsencode(raw) + b"/\xff\n.csv")).touch()
    with pytest.raises(InputError, match=r"\\udcff\\n\.csv': the name is not printable UTF-8 text"):
        find(["."], raw)


def test_links_that_lead_in_a_circle_give_each_file_once(raw: Path) -> None:
    (raw / "june/up").symlink_to(raw)
    (raw / "there").mkdir()
    (raw / "there/back").symlink_to(raw / "june")
    (raw / "june/on").symlink_to(raw / "there")
    assert [path.name for path in find(["."], raw)] == ["a.csv", "b.csv"]


def test_a_thousand_folders_inside_each_other_are_walked(tmp_path: Path) -> None:
    program = """
import os, sys
from pathlib import Path
from rnnflow.generation.sources.files import find
os.chdir(sys.argv[1])
Path("raw").mkdir()
here = os.getcwd()
os.chdir("raw")
for _ in range(1200):
    os.mkdir("d")
    os.chdir("d")
Path("a.csv").touch()
os.chdir(here)
print(len(find(["."], Path("raw"))))
"""
    done = subprocess.run([sys.executable, "-c", program, tmp_path], cwd=ROOT, capture_output=True, text=True)
    subprocess.run(["rm", "-r", tmp_path / "raw"], check=True)  # pytest clears up by recursion, which is too deep here
    assert done.stdout == "1\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can take its own rights away")
def test_a_folder_that_cannot_be_read_is_an_error(raw: Path) -> None:
    program = """
import os, sys
from pathlib import Path
from rnnflow.generation.sources.files import find
from rnnflow.runtime.provenance import folder_md5
from rnnflow.serving.verify import verify
os.setuid(65534)
raw = Path(sys.argv[1])
calls = [lambda: find([name], raw) for name in (".", "*/*.csv", "**/*.csv")] + [lambda: list(verify([raw])), lambda: folder_md5(raw)]
for call in calls:
    try:
        print(call())
    except PermissionError as error:
        print(error.filename)
"""
    for folder in (*raw.parents, raw):
        if folder.is_relative_to("/tmp") and folder != Path("/tmp"):
            folder.chmod(0o755)
    (raw / "june").chmod(0)
    done = subprocess.run([sys.executable, "-c", program, raw], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.splitlines() == [str(raw / "june")] * 5, done.stderr
