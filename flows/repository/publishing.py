"""What a run has changed as a Git commit, made beside the work tree's own index and branch, and where it is pushed."""

import re
import tempfile
from dataclasses import replace
from pathlib import Path

from flows.redaction import redacted
from flows.repository.git import author, git
from flows.repository.workspace import Workspace
from rnnflow.runtime.errors import InputError

PREFIX = "auto/"
DVC_FILES = ("dvc.lock", "*.dvc", "*.gitignore")
PUBLISHED = "refs/rnnflow/published/"
MAIN = "refs/remotes/origin/HEAD"
"""What a new clone checks out by itself."""


def branch_of(workspace: Workspace, revision: str) -> str | None:
    """Return the branch of the repository that a revision names, whose results a run brings forward, or None."""
    if not workspace.is_clone:
        return _branch_at(workspace, "HEAD")
    name = (_branch_at(workspace, MAIN) or "").removeprefix("origin/") if revision == "HEAD" else revision
    return name if name and _commit(workspace, f"refs/remotes/origin/{name}") else None


def head(workspace: Workspace, branch: str) -> str:
    """Return the commit that a branch of a clone's repository points to by now."""
    ref = f"refs/remotes/origin/{branch}"
    git(workspace.folder, "fetch", "--quiet", "--no-tags", workspace.repository, f"+refs/heads/{branch}:{ref}")
    return git(workspace.folder, "rev-parse", ref)


def parents(workspace: Workspace, branch: str) -> list[str]:
    """Return on what the next commit of a published branch stands: the run's base, and what the branch holds already.

    So it only ever moves forward, and a branch that is merged brings all nights since the last merge.
    """
    _fetch_published(workspace)
    tip = _commit(workspace, PUBLISHED + branch.removeprefix(PREFIX))
    known = [workspace.base, *([tip] if tip else [])]
    return git(workspace.folder, "merge-base", "--independent", *known).split()


def snapshot(workspace: Workspace, message: str, *parents: str) -> str:
    """Commit the workspace's tracked files and new `.dvc` files, and return the hash; no branch and no index moves.

    Args:
        workspace: whose files.
        message: of the commit.
        parents: of the commit; the workspace's base if none is given.
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
    after = [part for parent in parents or [workspace.base] for part in ("-p", parent)]
    return git(workspace.folder, "commit-tree", tree, *after, "-m", message, environment=author(workspace.folder))


def check_out(workspace: Workspace, branch: str, commit: str) -> Workspace:
    """Let a run's own clone be on a branch at a commit that has the files of the workspace, and leave the files alone."""
    git(workspace.folder, "symbolic-ref", "HEAD", f"refs/heads/{branch}")
    git(workspace.folder, "reset", "--quiet", "--mixed", commit)
    return replace(workspace, base=commit)


def has_changes(workspace: Workspace, commit: str, since: str | None = None) -> bool:
    """Return whether the files of `commit` differ from those of an earlier one, by default where the run started from."""
    return _tree(workspace, commit) != _tree(workspace, since or workspace.base)


def published_as(workspace: Workspace, commit: str) -> str | None:
    """Return the `auto/…` branch on which an earlier run has published the same change of the same files, or None.

    It may have started from an older commit, whose other files differ: what both would bring to the main branch is the
    same.
    """
    _fetch_published(workspace)
    wanted = _change(workspace, workspace.base, commit)
    for name in git(workspace.folder, "for-each-ref", "--format=%(refname)", PUBLISHED).splitlines():
        common = _asked(workspace, "merge-base", workspace.base, name)
        if common and _change(workspace, common, name) == wanted:
            return PREFIX + name.removeprefix(PUBLISHED)
    return None


def published_date(workspace: Workspace, branch: str) -> str:
    """Return the day of the last commit on a branch that `published_as` has named."""
    return _day(workspace, PUBLISHED + branch.removeprefix(PREFIX))


def results_date(workspace: Workspace) -> str:
    """Return the day of the last commit that changed the results the run started from, or nothing where there are none."""
    return _day(workspace, workspace.base, "--", "dvc.lock")


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
    """Move `branch` of the repository forward to `commit`, and return its name."""
    git(workspace.folder, "push", "--quiet", workspace.repository, f"{commit}:refs/heads/{branch}")
    return branch


def remove(workspace: Workspace, branch: str) -> None:
    """Remove `branch` from the repository."""
    git(workspace.folder, "push", "--quiet", workspace.repository, f":refs/heads/{branch}")


def address(repository: str, branch: str) -> str:
    """Return where a browser shows `branch`, as far as the repository's URL tells; a local one is a `file:` URL."""
    web = redacted(repository)
    for ssh in (r"^(?:[^/@:]+@)?([^/:]+):(?!//)/?", r"^ssh://(?:[^/@]+@)?([^/:]+)(?::\d+)?/"):
        web = re.sub(ssh, r"https://\1/", web)
    if web.startswith(("http://", "https://")):
        return f"{web.removesuffix('/').removesuffix('.git')}/tree/{branch}"
    return f"{Path(repository).as_uri() if repository.startswith('/') else repository}#{branch}"


def _day(workspace: Workspace, *which: str) -> str:
    return git(workspace.folder, "log", "-1", "--format=%cs", *which)


def _asked(workspace: Workspace, *question: str) -> str | None:
    """Return what Git answers, or None where there is no such thing."""
    try:
        return git(workspace.folder, *question)
    except InputError:
        return None


def _commit(workspace: Workspace, ref: str) -> str | None:
    return _asked(workspace, "rev-parse", "--verify", "--quiet", f"{ref}^{{commit}}")


def _branch_at(workspace: Workspace, ref: str) -> str | None:
    return _asked(workspace, "symbolic-ref", "--quiet", "--short", ref)


def _tree(workspace: Workspace, commit: str) -> str:
    return git(workspace.folder, "rev-parse", f"{commit}^{{tree}}")
