"""The end of a run: its results become a commit that says what has changed, and where the verdict allows it, production."""

from collections.abc import Sequence

from prefect import get_run_logger
from prefect.runtime import flow_run

from flows import report, settings
from flows.repository import publishing
from flows.repository.workspace import Workspace
from flows.results import Results, changes
from flows.server import events
from flows.server.connection import connected, has_lasting_server
from flows.stage import attempt
from flows.supervision.dvc import StageError
from rnnflow.runtime.errors import InputError

PUBLISHED = "published as "


def newer_base(workspace: Workspace, branch: str | None) -> str | None:
    """Return the commit that the branch has moved to since the run's clone was made, or None."""
    if branch is None or not workspace.is_clone:
        return None
    head = attempt("fetch", workspace, lambda _: publishing.head(workspace, branch))
    return head if head != workspace.base else None


def message(why: str, before: Results, after: Results) -> str:
    """Return what the commit says: why, what has changed, and where it comes from."""
    return "\n\n".join(filter(None, [f"Retrain: {why}", changes(before, after)]))


def publish(workspace: Workspace, branch: str | None, said: str, results: Results) -> str:
    """Publish what is new and return a line that says so; what was published before is not published again.

    Args:
        workspace: with the results.
        branch: whose next results these are; they go to `auto/BRANCH`. None: to a branch of the run's own.
        said: by the commit.
        results: of the run.
    """
    _remove_merged(workspace)
    target = _target(workspace, branch)
    line = attempt("publish", workspace, lambda _: _published(workspace, target, said))
    if line.startswith(PUBLISHED):
        report.show_branch(workspace.project, workspace.repository, target, results.report)
        _tell(workspace, events.PUBLISHED, line)
        if results.verdict.get("verdict") == "worse":
            _tell(workspace, events.WORSE, f"{results.judged()}; {'; '.join(results.verdict['reasons'])}")
    return line


def _published(workspace: Workspace, target: str, said: str) -> str:
    made = publishing.snapshot(workspace, said)
    if not publishing.has_changes(workspace, made) and publishing.parents(workspace, target) == [workspace.base]:
        since = publishing.results_date(workspace)
        return f"nothing new to publish since {since}" if since else "nothing new to publish"
    if known := publishing.published_as(workspace, made):
        return f"already published as {known} on {publishing.published_date(workspace, known)}"
    publishing.push(workspace, _on_target(workspace, target, said), target)
    return f"{PUBLISHED}{target}"


def promote(workspace: Workspace, branch: str, said: str, results: Results) -> str:
    """Promote the challenger where its verdict is good enough, and return a line that says so, or why it is held back.

    The branch then has the results and, on top of them, the promotion.

    Raises:
        StageError: the repository or DVC's remote refuses; nothing has happened then.
    """
    if not results.verdict:
        return "nothing to promote: there is no verdict"
    challenger, production = results.verdict["challenger"], results.verdict["production"]
    if production and challenger["md5"] == production["md5"]:
        return f"{challenger['name']} is in production already"
    allowed = settings.load().promote.allowed
    if results.verdict["verdict"] not in allowed:
        return f"held back: {'; '.join(results.verdict['reasons'])}"
    if before := _taken_back(workspace, challenger["md5"]):
        return f"held back: the same model as {before}, which was taken out of production; `--rollback {before}` brings it back"
    on_branch = publishing.check_out(workspace, branch, _on_target(workspace, _target(workspace, branch), said))
    line = attempt("promote", on_branch, lambda _: _promoted(on_branch, allowed))
    _tell(workspace, events.PROMOTED, f"{line}; {results.judged()}")
    return line


def _taken_back(workspace: Workspace, md5: str) -> str | None:
    from flows import versions  # loads onnxruntime, as the import below

    return versions.taken_back(workspace.folder, md5)


def require_promotable(workspace: Workspace, branch: str | None) -> None:
    """Make sure that a run can promote.

    Raises:
        InputError: it works in a person's folder, with other params, or from no branch.
    """
    if branch is None or not workspace.is_clone:
        raise InputError(
            "publish: promote: expected an isolated run of a branch without overrides, whose commit says what made the "
            "model; publish on a branch (publish: branch), merge, and then `python -m flows.promote`"
        )


def _promoted(workspace: Workspace, allowed: Sequence[str]) -> str:
    from flows.promote import promote as promote_model

    return promote_model(workspace, allowed=allowed)


def _target(workspace: Workspace, branch: str | None) -> str:
    own = "" if workspace.product == "." else f"{workspace.product}/"  # each product has a history of its own
    return f"{publishing.PREFIX}{own}{branch or flow_run.id}"


def _on_target(workspace: Workspace, target: str, said: str) -> str:
    """Return a commit of the workspace that stands on its base and on what the published branch has by now."""
    parents = publishing.parents(workspace, target)
    trailer = f"Flow run {flow_run.id}, from {workspace.base}."
    made = publishing.snapshot(workspace, f"{said}\n\n{trailer}", *parents)
    is_there = len(parents) == 1 and not publishing.has_changes(workspace, made, since=parents[0])
    return parents[0] if is_there else made


@report.if_server_answers()
def _tell(workspace: Workspace, event: str, line: str) -> None:
    """Let the server's automations tell people, as far as there is a server."""
    if not has_lasting_server():
        return
    resource = {"prefect.resource.id": f"prefect.flow-run.{flow_run.id}", "prefect.resource.name": str(flow_run.name)}
    resource[events.PROJECT] = workspace.project
    try:
        with connected() as client:
            events.send(client, event, resource, {"said": line})
    except InputError as error:
        get_run_logger().warning("not told: %s", error)


def _remove_merged(workspace: Workspace) -> None:
    try:
        removed = publishing.remove_merged(workspace)
    except (InputError, StageError) as error:  # a branch may be protected; the next run tries again
        get_run_logger().warning("merged branches are left: %s", error)
        return
    if removed:
        get_run_logger().info("merged, and removed: %s", ", ".join(removed))
