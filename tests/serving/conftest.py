"""A Git repository whose `dvc.lock` has a history."""

import subprocess
from pathlib import Path

import pytest


def git(folder: Path, *arguments: str) -> None:
    person = ("-c", "user.name=Toy", "-c", "user.email=toy@example.org", "-c", "commit.gpgsign=false")
    subprocess.run(["git", *person, *arguments], cwd=folder, check=True, capture_output=True)


def commit(folder: Path, subject: str, lock: str) -> None:
    (folder / "dvc.lock").write_text(lock)
    git(folder, "add", "dvc.lock")
    git(folder, "commit", "-m", subject)


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    git(tmp_path, "init", "--initial-branch=main")
    commit(tmp_path, "First data", "md5: 000\n")
    return tmp_path
