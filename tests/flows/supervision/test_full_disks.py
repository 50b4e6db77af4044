import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.supervision.dvc import Dvc, Failure, StageError
from flows.supervision.full_disks import explained
from tests.flows.repositories import Repository, repository_template
from tests.flows.repositories import repository as repository

__all__ = ["repository", "repository_template"]


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A disk of one megabyte."""
    folder = tmp_path / "small"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(folder)]
    if os.geteuid() or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("a small disk can only be mounted by root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_remote_is_named_with_the_room_it_has_and_what_was_needed(repository: Repository, small: Path) -> None:
    (repository.folder / "data/raw/large.bin").write_bytes(os.urandom(3_000_000))
    repository.dvc("add", "--quiet", "data/raw/large.bin")
    repository.dvc("remote", "modify", "store", "url", str(small / "store"))
    lines: list[str] = []
    with Dvc(repository.folder) as dvc, pytest.raises(StageError) as raised:
        dvc.run(["push", "data/raw/large.bin"], lines.append)
    message = str(raised.value)
    assert message.startswith(f"[Errno 28] no space left in {small}/store/")
    assert " kB free, 3.0 MB needed for " in message
    assert raised.value.failure is Failure.TRANSIENT


def test_a_full_disk_that_dvc_does_not_name_is_looked_for(small: Path, tmp_path: Path) -> None:
    (small / "filled").write_bytes(bytes(1_000_000))
    said = explained("No possible cache link types for 'hardlink'.", [tmp_path, small / "cache"])
    assert re.fullmatch(rf"\[Errno 28\] no space left in {small}: \d\d kB free; free some", said)
    assert explained("No possible cache link types.", [tmp_path]) == "No possible cache link types."
