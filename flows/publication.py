"""The end of a run: what it has made goes to DVC's remote and, as a commit that says what has changed, to Git."""

from prefect import get_run_logger
from prefect.runtime import flow_run

from flows import report
from flows.repository import publishing
from flows.repository.workspace import Workspace
from flows.results import Results, changes
from flows.stage import attempt
from flows.supervision.dvc import StageError
from rnnflow.runtime.errors import InputError


def publish(workspace: Workspace, branch: str | None, why: str, before: Results) -> str:
    """Publish what is new and return a line that says so; what was published before is not published again.

    Args:
        workspace: with the results.
        branch: whose next results these are; they go to `auto/BRANCH`. None: to a branch of the run's own.
        why: the run was started.
        before: the results that the run began with.
    """
    _remove_merged(workspace)
    target = f"{publishing.PREFIX}{branch or flow_run.id}"
    message = _message(workspace, why, before)
    made = publishing.snapshot(workspace, message)
    if not publishing.has_changes(workspace, made) and publishing.parents(workspace, target) == [workspace.base]:
        return "nothing new to publish"
    known = publishing.published_as(workspace, made)
    if known:
        return f"already published as {known}"

    def step(_: object) -> str:
        commit = publishing.snapshot(workspace, message, *publishing.parents(workspace, target))
        return publishing.push(workspace, commit, target)

    attempt("publish", workspace, step)
    report.show_branch(publishing.address(workspace.repository, target), target)
    return f"published as {target}"


def newer_base(workspace: Workspace, branch: str | None) -> str | None:
    """Return the commit that the branch has moved to since the run's clone was made, or None."""
    if branch is None or not workspace.is_clone:
        return None
    head = publishing.head(workspace, branch)
    return head if head != workspace.base else None


def _message(workspace: Workspace, why: str, before: Results) -> str:
    described = changes(before, Results.read(workspace.folder))
    return "\n\n".join(filter(None, [f"Retrain: {why}", described, f"Flow run {flow_run.id}, from {workspace.base}."]))


def _remove_merged(workspace: Workspace) -> None:
    try:
        removed = publishing.remove_merged(workspace)
    except (InputError, StageError) as error:  # a branch may be protected; the next run tries again
        get_run_logger().warning("merged branches are left: %s", error)
        return
    if removed:
        get_run_logger().info("merged, and removed: %s", ", ".join(removed))
