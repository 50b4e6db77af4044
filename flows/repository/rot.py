"""Files that are not what DVC recorded, though it takes them for unchanged: it looks at times and sizes, not at each byte."""

from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from dvc.output import Output
from dvc.repo import Repo

from flows.repository.dvc_internals import open_repository
from flows.repository.workspace import Workspace
from rnnflow.runtime import json_text
from rnnflow.runtime.errors import InputError
from rnnflow.runtime.provenance import file_md5, folder_md5


def restore(
    workspace: Workspace, paths: Iterable[str], command: str, log: Callable[[str], None]
) -> tuple[bool, list[str]]:
    """Bring back what is damaged; return whether anything was, and what could not be brought back, which is gone then.

    Args:
        workspace: where nobody else is at work on these files.
        paths: outputs of stages, or data that `.dvc` files track.
        command: `pull` looks in DVC's remote as well, `checkout` in the cache alone.
        log: receives a line for each.
    """
    damaged = _remove_damaged(workspace.folder, paths)
    for path in damaged:
        log(f"{path} was damaged: removed, and asked of DVC again")
    if damaged:
        workspace.dvc.run([command, "--force", "--allow-missing", *damaged], log)
    lost = [path for path in damaged if not (workspace.folder / path).exists()]
    return bool(damaged), lost + _remove_damaged(workspace.folder, [path for path in damaged if path not in lost])


def _remove_damaged(folder: Path, paths: Iterable[str]) -> list[str]:
    """Remove what is damaged, and what DVC's cache has of it as far as that is damaged too; return the paths."""
    with open_repository(folder, wait_for_lock=True) as repo, repo.lock:
        outs = {path: out for path in paths for out in repo.find_outs_by_path(str(folder / path), strict=False)}
        damaged = {path: out for path, out in outs.items() if _is_damaged(folder / path, out)}
        for out in damaged.values():
            _remove_from_cache(repo, out)
            out.remove()
        return list(damaged)


def _is_damaged(path: Path, out: Output) -> bool:
    if not out.hash_info or not path.exists():
        return False
    return bool((folder_md5(path) if path.is_dir() else file_md5(path)) != out.hash_info.value)


def _remove_from_cache(repo: Repo, out: Output) -> None:
    listed = [str(out.hash_info.value)]
    listing = Path(repo.cache.local.oid_to_path(listed[0]))
    if listed[0].endswith(".dir") and listing.exists():
        with suppress(InputError, TypeError, KeyError):  # then it is damaged itself
            listed += [entry["md5"] for entry in json_text.read(listing, "a list of files")]
    for oid in listed:
        path = Path(repo.cache.local.oid_to_path(oid))
        if path.exists() and file_md5(path) != oid.removesuffix(".dir"):
            path.unlink()
