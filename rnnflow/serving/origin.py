"""What the history of a Git repository knows of a model's file: who made it when, and as which versions it was promoted."""

import hashlib
import subprocess
from collections.abc import Mapping
from pathlib import Path

from rnnflow.runtime.errors import InputError
from rnnflow.runtime.provenance import file_md5
from rnnflow.serving import checksum

LOCKS = ":(top,glob)**/dvc.lock"
TRACKED_MODELS = ":(top,glob)**/*.onnx.dvc"


def find_revision(md5: str, folder: Path, *where: str) -> str | None:
    """Return the first commit of the repository around `folder`, on any branch, that names this md5: its hash, date and subject.

    Args:
        md5: of a file.
        folder: in the repository.
        where: pathspecs of the files that may name it; by default `dvc.lock`.
    """
    found = _git(folder, "log", "--all", "--reverse", f"-S{md5}", "--format=%h %cs %s", "--", *(where or (LOCKS,)))
    return found.splitlines()[0] if found else None


def verify_origin(path: Path, made_from: Mapping[str, str], folder: Path) -> list[str]:
    """Return the hashes of a model's file, and what the repository around `folder` knows of it.

    Args:
        path: the file, which carries a checksum of its own that whoever loads it compares.
        made_from: md5 of data and weights that the file names.
        folder: of a clone, or outside of any: there the file stands for itself.

    Raises:
        InputError: no commit of the repository has ever named this file, or not what it says it was made from.
    """
    md5 = file_md5(path)
    content = path.read_bytes()
    lines = [f"sha256 {hashlib.sha256(content).hexdigest()}", f"md5 {md5}"]
    if checksum.PROPERTY in checksum.properties(content):
        lines.append("unchanged since its export")
    if _git(folder, "rev-parse", "--git-dir") is None:
        return [*lines, f"{folder} is in no repository: nothing else to compare with"]
    revision = find_revision(md5, folder, LOCKS, TRACKED_MODELS)
    if revision is None:
        raise InputError(
            f"{path}: no commit of the repository around {folder} names this file (md5 {md5}); it was made elsewhere, or "
            "its commit was never fetched: `git fetch --all --tags`"
        )
    unknown = [kind for kind in ("train", "validation", "weights") if _is_unknown(made_from.get(kind), folder)]
    if unknown:
        raise InputError(f"{path}: no dvc.lock has ever named what it says it was made from: {', '.join(unknown)}")
    lines.append(f"first named by commit {revision}")
    tags = (_git(folder, "tag", "--list", "*@v*") or "").split()
    naming = (_git(folder, "grep", "--files-with-matches", md5, *tags, "--", TRACKED_MODELS) or "") if tags else ""
    versions = [line.partition(":")[0] for line in naming.splitlines()]
    return [*lines, f"promoted as {', '.join(versions)}" if versions else "never promoted"]


def _is_unknown(md5: str | None, folder: Path) -> bool:
    return md5 is not None and find_revision(md5, folder) is None


def _git(folder: Path, *arguments: str) -> str | None:
    """Return what Git answers; none where it does not, or is not installed."""
    try:
        return subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True).stdout
    except (FileNotFoundError, subprocess.CalledProcessError):
        return None
