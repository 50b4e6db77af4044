"""What a run has changed as a Git commit, made beside the work tree's own index and branch, and where it is pushed."""

import re
import tempfile
from pathlib import Path

from flows.repository.git import author, git
from flows.repository.workspace import Workspace, without_password

PREFIX = "auto/"
DVC_FILES = ("dvc.lock", "*.dvc", "*.gitignore")
PUBLISHED = "refs/rnnflow/published/"


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
    """Return the `auto/…` branch that an earlier run with the same base and the same result has published, or None."""
    heads = f"+refs/heads/{PREFIX}*:{PUBLISHED}*"
    quietly = ("--quiet", "--prune", "--no-tags", "--no-write-fetch-head")
    git(workspace.folder, "fetch", *quietly, workspace.repository, heads)
    listed = git(workspace.folder, "for-each-ref", "--format=%(refname) %(tree) %(parent)", PUBLISHED)
    wanted = [_tree(workspace, commit), workspace.base]
    for line in listed.splitlines():
        name, *of_branch = line.split()
        if of_branch == wanted:
            return PREFIX + name.removeprefix(PUBLISHED)
    return None


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
