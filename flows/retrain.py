"""The flow `retrain`: brings the stages of `dvc.yaml` up to date, one after another or on the workers they need."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger, tags
from prefect.client.schemas.objects import State
from prefect.exceptions import Abort
from prefect.runtime import flow_run
from prefect.settings import PREFECT_API_URL

from flows import report
from flows.coordination import run_on_workers
from flows.outcomes import Outcomes
from flows.repository import overrides as params_overrides
from flows.repository import pipeline, publishing, raw_data
from flows.repository.project import project_name
from flows.repository.workspace import Workspace, in_place, isolated, own_repository, state_folder
from flows.server.connection import connected
from flows.server.heartbeat import alive
from flows.server.waiting_runs import cancel_covered
from flows.stage import (
    attempt,
    bring_up_to_date,
    ending_in_one_line,
    fetch_data,
    push_data,
    record_up_to_date,
    repair_workspace,
)
from flows.supervision.dvc import StageError
from rnnflow.runtime.errors import InputError


@flow(name="retrain", flow_run_name="retrain {revision} {why}")
@ending_in_one_line
def retrain(
    revision: str = "HEAD",
    overrides: dict[str, Any] | None = None,
    stages: list[str] | None = None,
    isolated: bool = False,
    coordinated: bool = False,
    update: bool = False,
    pull: bool = False,
    push: bool = False,
    publish: bool = False,
    allow_dirty: bool = False,
    repository: str = ".",
    folder: str = ".",
    why: str = "by hand",
) -> str:
    """Bring the pipeline up to date and return a line that says what was done.

    Args:
        revision: branch, tag or commit to run, if isolated.
        overrides: values of `params.yaml` for this run, by dotted names: `{"models.lstm.hidden_size": 64}`.
        stages: which, with all they depend on; `train` stands for all its models. Default: all.
        isolated: work in a clone of its own instead of the current folder.
        coordinated: send the stages to the work pools of `flows/settings.yaml`; isolated, with pull and push.
        update: bring imports up to date and track new files of the input folders first.
        pull: fetch data and earlier results from DVC's remote first.
        push: send data, results and run cache to DVC's remote.
        publish: push, and commit the results on the branch `auto/<id of the flow run>` if there are new ones.
        allow_dirty: work in a folder with local changes.
        repository: where the revision comes from and the branch goes: a path, a URL or the name of a remote.
        folder: in the repository, with `dvc.yaml`.
        why: for the run's name.
    """
    with alive(), _workspace(revision, isolated or coordinated, allow_dirty, repository, folder) as workspace:
        cancel_covered()
        repair_workspace(workspace.folder)
        _require_remote(workspace, pull or push or publish or coordinated)
        params_overrides.apply(workspace.folder, overrides or {})
        _bring_data(workspace, pull or coordinated, update)
        plan = pipeline.read(workspace.folder, stages or [])
        raw_data.require(workspace, plan)
        outcomes = run_on_workers(plan, workspace) if coordinated else _run_here(plan, workspace, pull)
        if not outcomes.are_all_up_to_date():
            _show(plan, outcomes, workspace)
        try:
            summary = outcomes.summary()
        except StageError as error:  # what the other models have come to is kept all the same
            said = _send(workspace, push or publish or coordinated, publish, why) if outcomes.done else ""
            message = f"{error}; the rest: {said}" if said else str(error)
            raise StageError(error.stage, error.failure, message) from None
        said = _send(workspace, push or publish or coordinated, publish, why)
        return f"{summary}; {said}" if said else summary


def _workspace(
    revision: str, is_isolated: bool, allow_dirty: bool, repository: str, folder: str
) -> AbstractContextManager[Workspace]:
    if is_isolated:
        return isolated(Path.cwd(), repository, revision, str(flow_run.id), product=folder)
    return in_place(Path.cwd() / folder, repository, allow_dirty=allow_dirty)


def _require_remote(workspace: Workspace, is_needed: bool) -> None:
    """Make sure that there is a DVC remote, and one that outlives the run."""
    if not is_needed:
        return
    url = pipeline.default_remote(workspace.folder)
    if url is None:
        raise InputError("no DVC remote to pull from and push to; `dvc remote add --default store URL`, and commit it")
    if workspace.is_clone and Path(url).is_relative_to(state_folder()):
        raise InputError(f"the DVC remote is a relative path, which leads from a clone to {url}; make it absolute")


def _bring_data(workspace: Workspace, pull: bool, update: bool) -> None:
    """Bring recorded data into the workspace, a clone's from the shared cache if nowhere else, then what is new."""
    if pull:
        fetch_data(workspace, "pull")
    elif workspace.is_clone:
        fetch_data(workspace, "checkout")
    if update:
        attempt("track new data", workspace, lambda log: raw_data.track_new_data(workspace, log))


def _run_here(plan: Sequence[pipeline.Stage], workspace: Workspace, pull: bool) -> Outcomes:
    outcomes = Outcomes()
    for stage in plan:
        if outcomes.is_blocked(stage):
            continue
        try:
            if outcomes.is_settled(stage):
                outcomes.done[stage.name] = record_up_to_date(stage, workspace)
            else:
                outcomes.done[stage.name] = bring_up_to_date(stage, workspace, pull=pull)
        except StageError as error:
            outcomes.failed[stage.name] = error
    return outcomes


@report.if_server_answers()
def _show(plan: Sequence[pipeline.Stage], outcomes: Outcomes, workspace: Workspace) -> None:
    # One that failed may have left a file cut short.
    metrics = pipeline.metrics(workspace.folder, [stage for stage in plan if stage.name in outcomes.done])
    report.show_results(workspace.project, plan, outcomes, metrics)
    began = flow_run.scheduled_start_time
    report.add_to_history(workspace.project, f"{began:%Y-%m-%d %H:%M:%S} {flow_run.name}", metrics)


def _send(workspace: Workspace, is_pushed: bool, is_published: bool, why: str) -> str:
    """Push and publish what there is, as far as it was asked for, and return what was published."""
    if is_pushed:
        push_data(workspace)
    return _publish(workspace, why) if is_published else ""


def _publish(workspace: Workspace, why: str) -> str:
    """Publish what has changed, unless nothing has or an earlier run did, and return a line that says so."""
    _remove_merged(workspace)
    commit = publishing.snapshot(workspace, f"Retrain: {why}\n\nFlow run {flow_run.id}, from {workspace.base}.")
    if not publishing.has_changes(workspace, commit):
        return "nothing new to publish"
    known = publishing.published_as(workspace, commit)
    if known:
        return f"already published as {known}"
    branch = f"{publishing.PREFIX}{flow_run.id}"
    attempt("publish", workspace, lambda _: publishing.push(workspace, commit, branch))
    report.show_branch(workspace.project, publishing.address(workspace.repository, branch), branch)
    return f"published as {branch}"


def _remove_merged(workspace: Workspace) -> None:
    try:
        removed = publishing.remove_merged(workspace)
    except (InputError, StageError) as error:  # a branch may be protected; the next run tries again
        get_run_logger().warning("merged branches are left: %s", error)
        return
    if removed:
        get_run_logger().info("merged, and removed: %s", ", ".join(removed))


def run_here(arguments: Mapping[str, Any]) -> State[State[None]]:
    """Run the flow once, here and now, without a server unless `PREFECT_API_URL` names one; return its final state.

    Raises:
        InputError: a person's mistake, or the server does not answer.
    """
    if PREFECT_API_URL.value():
        with connected():  # or Prefect would try for minutes
            pass
    try:
        with tags(project_name(own_repository(Path.cwd()), arguments["folder"])):
            state = retrain(**arguments, return_state=True)
    except Abort:  # cancelled from Prefect's pages
        raise KeyboardInterrupt from None
    if state.name == InputError.__name__:
        raise InputError(state.message)
    return state


if __name__ == "__main__":
    from flows.__main__ import main

    main()
