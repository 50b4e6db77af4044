"""What a run has changed as a Git commit, made beside the work tree's own index and branch, and where it is pushed."""

import re
import tempfile
from pathlib import Path

from flows.repository.git import author, git
from flows.repository.workspace import Workspace, without_password

PREFIX = "auto/"
DVC_FILES = ("dvc.lock", "*.dvc", "*.gitignore")
PUBLISHED = "refs/rnnflow/published/"
MAIN = "refs/remotes/origin/HEAD"
"""What a new clone checks out by itself."""


def snapshot(workspace: Workspace, message: str, parent: str | None = None) -> str:
    """Commit the workspace's tracked files and new `.dvc` files, and return the hash; no branch and no index moves.

    Args:
        workspace: whose files.
        message: of the commit.
        parent: of the commit; the workspace's base if not given.
    """
    with tempfile.TemporaryDirectory() as folder:
        index = {"GIT_INDEX_FILE": str(Path(folder) / "index")}
        git(workspace.folder, "read-tree", workspace.base, environment=index)
        git(workspace.folder, "add", "--update", environment=index)
        new = git(
            workspace.folder, "ls-files", "-z", "--others", "--exclude-standard", "--", *DVC_FILES, environment=index
        )
        if new:
            git(workspace.folder, "add", "--", *filter(None, new.split("\0")), environment=index)
        tree = git(workspace.folder, "write-tree", environment=index)
    command = ("commit-tree", tree, "-p", parent or workspace.base, "-m", message)
    return git(workspace.folder, *command, environment=author(workspace.folder))


def has_changes(workspace: Workspace, commit: str) -> bool:
    """Return whether the files of `commit` differ from those that the run started from."""
    return _tree(workspace, commit) != _tree(workspace, workspace.base)


def published_as(workspace: Workspace, commit: str) -> str | None:
    """Return the `auto/…` branch on which an earlier run has published the same change of the same files, or None.

    Its base may be an older commit, whose other files differ: what both would bring to the main branch is the same.
    """
    _fetch_published(workspace)
    listed = git(workspace.folder, "for-each-ref", "--format=%(refname) %(objectname) %(parent)", PUBLISHED)
    wanted = _change(workspace, workspace.base, commit)
    for line in listed.splitlines():
        name, published, *parents = line.split()
        if len(parents) == 1 and _change(workspace, parents[0], published) == wanted:
            return PREFIX + name.removeprefix(PUBLISHED)
    return None


def remove_merged(workspace: Workspace) -> list[str]:
    """Remove the `auto/…` branches that the repository's main branch holds, and return their names.

    Only a clone of the run's own knows the main branch as the repository has it; a work tree's may be a person's.
    """
    heads = git(workspace.folder, "for-each-ref", "--format=%(refname)", MAIN) if workspace.is_clone else ""
    if not heads:
        return []
    _fetch_published(workspace)
    merged = git(workspace.folder, "for-each-ref", "--format=%(refname)", f"--merged={MAIN}", PUBLISHED)
    names = [PREFIX + name.removeprefix(PUBLISHED) for name in merged.splitlines()]
    for name in names:
        remove(workspace, name)
    return names


def _fetch_published(workspace: Workspace) -> None:
    heads = f"+refs/heads/{PREFIX}*:{PUBLISHED}*"
    quietly = ("--quiet", "--prune", "--no-tags", "--no-write-fetch-head")
    git(workspace.folder, "fetch", *quietly, workspace.repository, heads)


def _change(workspace: Workspace, before: str, after: str) -> str:
    """Return what a commit changes: of each file its name, and the hashes of its content before and after."""
    return git(workspace.folder, "diff-tree", "-r", "--no-renames", "--full-index", before, after)


def branches(workspace: Workspace, prefix: str) -> list[str]:
    """Return the branches of the repository whose names begin with `prefix`."""
    listed = git(workspace.folder, "ls-remote", "--heads", workspace.repository, f"refs/heads/{prefix}*")
    return [line.split("refs/heads/", 1)[1] for line in listed.splitlines()]


def push(workspace: Workspace, commit: str, branch: str) -> str:
    """Let `branch` of the repository point to `commit`, whatever it pointed to, and return its name."""
    git(workspace.folder, "push", "--quiet", "--force", workspace.repository, f"{commit}:refs/heads/{branch}")
    return branch


def remove(workspace: Workspace, branch: str) -> None:
    """Remove `branch` from the repository."""
    git(workspace.folder, "push", "--quiet", workspace.repository, f":refs/heads/{branch}")


def address(repository: str, branch: str) -> str:
    """Return where a browser shows `branch`, as far as the repository's URL tells; a local one is a `file:` URL."""
    web = without_password(repository)
    for ssh in (r"^(?:[^/@:]+@)?([^/:]+):(?!//)/?", r"^ssh://(?:[^/@]+@)?([^/:]+)(?::\d+)?/"):
        web = re.sub(ssh, r"https://\1/", web)
    if web.startswith(("http://", "https://")):
        return f"{web.removesuffix('/').removesuffix('.git')}/tree/{branch}"
    return f"{Path(repository).as_uri() if repository.startswith('/') else repository}#{branch}"


def _tree(workspace: Workspace, commit: str) -> str:
    return git(workspace.folder, "rev-parse", f"{commit}^{{tree}}")
