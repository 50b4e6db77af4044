"""Repairs what a run or a DVC that died may have left in a workspace, before DVC is called again."""

import json
import subprocess
from pathlib import Path

import psutil
from dvc.rwlock import SCHEMA as RWLOCK_SCHEMA
from dvc.schema import COMPILED_LOCKFILE_SCHEMA, COMPILED_SINGLE_STAGE_SCHEMA
from ruamel.yaml import YAML

from rnnflow.runtime.errors import InputError, library


def repair(workspace: Path) -> list[str]:
    """Repair what blocks or misleads DVC: `dvc.lock`, `.dvc` files, the rwlock. Return what was done, a line each.

    The caller holds the workspace's own lock, so that no other run of this project is at work in it.
    """
    return [*_repair_files(workspace), *_repair_rwlock(workspace)]


def _repair_files(workspace: Path) -> list[str]:
    """DVC truncates its files while it writes them; ended then, it leaves one that names no data or is no YAML."""
    done = []
    changed = _git(workspace, "diff", "--relative", "--name-only", "-z", "--", "dvc.lock", "*.dvc").split("\0")
    for name in filter(None, changed):
        if _is_damaged(workspace / name):
            _git(workspace, "checkout", "--", name)  # refused in the middle of a merge, which is for people to end
            done.append(f"{name} was damaged: taken from Git again")
    lock = workspace / "dvc.lock"
    if not _git(workspace, "ls-files", "--", lock.name) and _is_damaged(lock):
        lock.unlink()
        done.append("dvc.lock was damaged and is not in Git: removed, the run cache restores it")
    return done


def _git(workspace: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=workspace, capture_output=True, text=True, check=False).stdout


def _is_damaged(path: Path) -> bool:
    """Return whether DVC would not accept a file that is there."""
    schema = COMPILED_LOCKFILE_SCHEMA if path.name == "dvc.lock" else COMPILED_SINGLE_STAGE_SCHEMA
    if not path.exists():
        return False
    content = path.read_bytes()
    try:
        with library(f"{path}: not what DVC writes"):
            schema(YAML(typ="safe").load(content.decode()))
    except InputError:
        return True
    return False


def _repair_rwlock(workspace: Path) -> list[str]:
    """DVC clears entries of dead processes, but not those whose number a living stranger has by now."""
    path = workspace / ".dvc/tmp/rwlock"
    if not path.exists():
        return []
    content = path.read_bytes()
    try:
        pids = _holders(content)
    except InputError:
        path.unlink()
        return ["rwlock was damaged: removed"]
    if not pids or any(map(_is_dvc, pids)):
        return []
    path.unlink()
    return ["rwlock named processes that are not DVC's any more: removed"]


def _holders(content: bytes) -> set[int]:
    """Return the process ids in a rwlock.

    Raises:
        InputError: it is none.
    """
    with library("rwlock"):
        holders = RWLOCK_SCHEMA(json.loads(content))
    readers = [entry for entries in holders["read"].values() for entry in entries]
    return {entry["pid"] for entry in (*holders["write"].values(), *readers)}


def _is_dvc(pid: int) -> bool:
    if pid < 0:
        return False  # psutil takes it for a mistake of its caller
    try:
        return "dvc" in " ".join(psutil.Process(pid).cmdline())
    except psutil.AccessDenied:
        return True
    except psutil.NoSuchProcess:
        return False
