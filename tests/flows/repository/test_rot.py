"""Bits that flip where DVC does not look: in files with the time stamp they had, in its cache and in its remote."""

from collections.abc import Callable
from pathlib import Path

import pytest

from flows.repository import rot
from flows.repository.workspace import Workspace
from tests.faults.rot import flip
from tests.flows.repositories import Repository

pytest_plugins = ["tests.flows.repositories"]

FILE = "data/numbers.txt"


def stored(folder: Path, md5: str) -> Path:
    return folder / "files/md5" / md5[:2] / md5[2:]


@pytest.fixture
def restore(workspace: Workspace) -> Callable[[str], tuple[bool, list[str]]]:
    return lambda command: rot.restore(workspace, [FILE, "models/a.txt"], command, print)


@pytest.fixture
def objects(repository: Repository) -> tuple[Path, Path]:
    """What cache and remote have of the file, after a push."""
    repository.dvc("push", "--quiet")
    lines = repository.read("dvc.lock").splitlines()
    md5 = lines[lines.index(f"    - path: {FILE}") + 2].split()[-1]
    return stored(repository.folder / ".dvc/cache", md5), stored(repository.store, md5)


def test_what_is_whole_is_left_alone(restore: Callable[[str], tuple[bool, list[str]]]) -> None:
    assert restore("checkout") == (False, [])


@pytest.mark.parametrize("is_cache_damaged", [False, True])
def test_a_damaged_file_comes_back_from_the_cache_or_the_remote(
    repository: Repository,
    objects: tuple[Path, Path],
    restore: Callable[[str], tuple[bool, list[str]]],
    is_cache_damaged: bool,
) -> None:
    whole = repository.read(FILE)
    repository.dvc("status")  # by which DVC learns what it takes for unchanged from then on
    flip(repository.folder / FILE, 0, 0)
    assert "up to date" in repository.dvc("status")  # which is why somebody has to look
    if is_cache_damaged:
        flip(objects[0], 0, 0)
    assert restore("pull" if is_cache_damaged else "checkout") == (True, [])
    assert repository.read(FILE) == whole


@pytest.mark.parametrize("command", ["checkout", "pull"])
def test_what_is_whole_nowhere_is_removed_and_dvc_makes_it_again(
    repository: Repository,
    objects: tuple[Path, Path],
    restore: Callable[[str], tuple[bool, list[str]]],
    command: str,
) -> None:
    whole = repository.read(FILE)
    for path in (repository.folder / FILE, *objects):
        flip(path, 0, 0)
    assert restore(command) == (True, [FILE])
    repository.dvc("repro", "--quiet")
    assert repository.read(FILE) == whole
