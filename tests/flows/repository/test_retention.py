import os
import tempfile
import time
from pathlib import Path

import pytest
from filelock import FileLock

from flows.repository.retention import remove_old
from flows.settings import KeepDays

KEEP = KeepDays(cache=30, resume=10, clones=1)


def put(path: Path, days: float) -> Path:
    """Make a file of a megabyte that was last used so many days ago."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(1_000_000))
    moment = time.time() - days * 24 * 3600
    os.utime(path, (moment, moment))
    return path


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    (tmp_path / "state/runs").mkdir(parents=True)
    return tmp_path / "state"


def test_what_nobody_has_used_for_long_is_removed_and_said(state: Path, tmp_path: Path) -> None:
    old = [put(state / "cache/files/md5/ab/c", 31), put(state / "cache/runs/de/f", 40), put(state / "resume/a", 11)]
    new = [put(state / "cache/files/md5/ab/d", 29), put(state / "resume/b", 9)]
    clone = put(tmp_path / "tmp/tmpabcprefect/rnnflow-main/params.yaml", 2).parents[1]
    os.utime(clone, (0, 0))
    assert remove_old(state, "own", KEEP) == (
        "removed: 2.0 MB of DVC's cache, 1.0 MB of states of trainings, 1.0 MB of clones of dead workers"
    )
    assert [path.exists() for path in (*old, *new, clone)] == [False, False, False, True, True, False]
    assert remove_old(state, "own", KEEP) == ""


def test_the_cache_is_left_alone_while_another_run_is_at_work(state: Path) -> None:
    old = put(state / "cache/files/md5/ab/c", 31)
    with FileLock(state / "runs/other.lock"), FileLock(state / "runs/own.lock"):
        assert remove_old(state, "own", KEEP) == ""
    assert old.exists()


def test_a_clone_in_which_a_process_works_stays(state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clone = put(tmp_path / "tmp/tmpabcprefect/rnnflow-main/params.yaml", 2).parent
    os.utime(clone.parent, (0, 0))
    monkeypatch.chdir(clone)
    assert remove_old(state, "own", KEEP) == ""
    assert clone.exists()
