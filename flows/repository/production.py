"""The model in production: its files in the work tree, and a change of them in Git and the remotes, whole or not at all."""

import hashlib
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from ruamel.yaml import YAML

from flows.repository import pipeline, registry
from flows.repository.git import author, git
from flows.repository.workspace import Workspace
from flows.supervision.dvc import StageError
from rnnflow.evaluation.comparison.challenge import IDS_MD5, MODEL, PROMOTION, TRAINING_IDS
from rnnflow.evaluation.scores.scoring import ids_of
from rnnflow.runtime import json_text
from rnnflow.runtime.atomic_writes import atomic_write, write_json
from rnnflow.runtime.errors import InputError
from rnnflow.runtime.provenance import folder_md5

PRODUCTION = Path("models/production")
SPLITS = Path("data/sequences")
WRITTEN = tuple(str(PRODUCTION / name) for name in (f"{MODEL}.dvc", f"{TRAINING_IDS}.dvc", PROMOTION, ".gitignore"))
"""What a promotion changes in Git."""


def model_md5(top: Path) -> str | None:
    """Return the md5 of the model in production as the last commit says it; none where there is none."""
    try:
        tracked = git(top, "show", f"HEAD:{PRODUCTION / MODEL}.dvc")
    except InputError:
        return None
    return str(YAML(typ="safe").load(tracked)["outs"][0]["md5"])


def write(workspace: Workspace, model: Path, facts: Mapping[str, Any]) -> None:
    """Write the files of the model in production and put them under the control of DVC and Git."""
    folder = workspace.folder / PRODUCTION
    splits = [workspace.folder / SPLITS / name for name in ("train", "validation")]
    ids = BytesIO()
    if splits[0].is_dir() and folder_md5(splits[0]) == facts["train_md5"]:
        np.save(ids, ids_of(*splits))
    ids_md5 = hashlib.md5(ids.getvalue(), usedforsecurity=False).hexdigest()
    write_json(folder / PROMOTION, json_text.sealed({**facts, IDS_MD5: ids_md5}))
    with atomic_write(folder / MODEL) as temporary:
        shutil.copyfile(model, temporary)
    (folder / TRAINING_IDS).unlink(missing_ok=True)
    (folder / f"{TRAINING_IDS}.dvc").unlink(missing_ok=True)
    if ids.getvalue():
        with atomic_write(folder / TRAINING_IDS) as temporary:
            temporary.write_bytes(ids.getvalue())
    added = [str(PRODUCTION / name) for name in (MODEL, TRAINING_IDS) if (folder / name).exists()]
    workspace.dvc.run(["add", *added], lambda _: None)


def commit(top: Path, message: str) -> None:
    here = [path for path in WRITTEN if (top / path).exists()]
    git(top, "add", "--all", "--", *here)
    git(top, "add", "--update", "--", str(PRODUCTION))
    git(top, "commit", "--quiet", "--allow-empty", f"--message={message}", environment=author(top))


def restore(top: Path, commit: str) -> None:
    """Let the files that a promotion writes be those of a commit, in the work tree and the index."""
    there = set(git(top, "ls-tree", "--name-only", "-z", commit, f"{PRODUCTION}/").split("\0"))
    if kept := [path for path in WRITTEN if path in there]:
        git(top, "checkout", "--quiet", commit, "--", *kept)
    for path in (path for path in WRITTEN if path not in there):
        git(top, "rm", "--quiet", "--force", "--ignore-unmatch", "--", path)
        (top / path).unlink(missing_ok=True)
        if path.endswith(".dvc"):
            (top / path.removesuffix(".dvc")).unlink(missing_ok=True)


def check_out_data(workspace: Workspace, command: str) -> None:
    """Let the files of the model in production be those that its `.dvc` files name."""
    tracked = [path for path in WRITTEN if path.endswith(".dvc") and (workspace.folder / path).exists()]
    if tracked:
        workspace.dvc.run([command, "--force", *tracked], lambda _: None)


@contextmanager
def all_or_nothing(workspace: Workspace) -> Iterator[list[str]]:
    """Yield a list for the tags that the block makes; however the block fails, it leaves neither commit nor tag."""
    top, tags = workspace.folder, list[str]()
    with TemporaryDirectory() as kept:  # the bytes themselves, which may be in no cache
        for name in (MODEL, TRAINING_IDS):
            if (top / PRODUCTION / name).exists():
                shutil.copy2(top / PRODUCTION / name, kept)
        try:
            yield tags
        except BaseException:
            if tags:
                git(top, "tag", "--delete", *tags)
            git(top, "reset", "--quiet", "--soft", workspace.base)
            restore(top, workspace.base)
            shutil.copytree(kept, top / PRODUCTION, dirs_exist_ok=True)
            raise


def undo_killed_promotion(workspace: Workspace) -> None:
    """Undo what a promotion that was killed has left uncommitted, and make sure that nothing else is.

    Raises:
        InputError: something is changed and not committed.
    """
    top = workspace.folder
    listed = [
        *git(top, "diff", "--name-only", "-z", "HEAD").split("\0"),
        *git(top, "ls-files", "-z", "--others", "--exclude-standard", "--", *WRITTEN).split("\0"),
    ]
    changed = [path for path in listed if path]
    if set(changed) <= set(WRITTEN) and str(PRODUCTION / PROMOTION) in changed:  # which a promotion writes first
        restore(top, "HEAD")
        with suppress(StageError):  # what is in neither cache nor remote was not here before
            check_out_data(workspace, "checkout")
    elif changed:
        named = ", ".join(changed[:3]) + (f" and {len(changed) - 3} more" if len(changed) > 3 else "")
        raise InputError(f"{named}: changed and not committed; commit it first, so that the version names what made it")


def fetch_tags(top: Path) -> None:
    """Learn of the versions that others have promoted."""
    _branch(top)
    if remote := _remote(top):
        git(top, "fetch", "--quiet", "--tags", remote)


def push(workspace: Workspace, tags: Sequence[str]) -> None:
    """Send the data, then the branch with all its version tags, together; what is there already costs nothing."""
    top = workspace.folder
    if pipeline.default_remote(top):
        workspace.dvc.run(["push"], lambda _: None)
    if remote := _remote(top):
        ours = git(top, "tag", "--list", f"{registry.ARTIFACT}@*", f"{registry.ARTIFACT}#*").splitlines()
        refs = [f"refs/tags/{tag}" for tag in sorted({*tags, *ours})]
        git(top, "push", "--quiet", "--atomic", remote, f"HEAD:refs/heads/{_branch(top)}", *refs)


def _remote(top: Path) -> str | None:
    """Return the Git remote that the branch follows, or `origin`, or none."""
    remotes = git(top, "remote").splitlines()
    try:
        followed = git(top, "config", "--get", f"branch.{_branch(top)}.remote")
    except InputError:
        followed = "origin"
    return followed if followed in remotes else None


def _branch(top: Path) -> str:
    try:
        return git(top, "symbolic-ref", "--quiet", "--short", "HEAD")
    except InputError:
        raise InputError("no branch is checked out; `git switch` to the one that says what is in production") from None
