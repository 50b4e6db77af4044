"""The flow `retrain`: brings the stages of `dvc.yaml` up to date, here or on the workers they need."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from prefect import flow, get_run_logger, tags
from prefect.client.schemas.objects import State
from prefect.exceptions import Abort
from prefect.runtime import flow_run
from prefect.settings import PREFECT_API_URL

from flows import publication, report, run_log, settings
from flows.coordination import run_on_workers
from flows.outcomes import Outcomes
from flows.repository import overrides as params_overrides
from flows.repository import pipeline, publishing, raw_data
from flows.repository.project import project_name
from flows.repository.retention import remove_old
from flows.repository.workspace import (
    Workspace,
    in_place,
    isolated,
    on_top_of,
    own_repository,
    product_of,
    state_folder,
)
from flows.results import Results
from flows.server.connection import connected
from flows.server.heartbeat import alive
from flows.server.temporary_server import TemporaryServer
from flows.server.waiting_runs import settle_others
from flows.side_by_side import run_here
from flows.stage import (
    attempt,
    ending_in_one_line,
    fetch_data,
    push_data,
    repair_workspace,
)
from flows.supervision.dvc import StageError
from rnnflow.runtime.errors import InputError

Publish = Literal["branch", "promote"]
MAX_REPEATS = 2
"""How often a result is made anew because the branch has moved meanwhile; then it is published on top of an older commit."""


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
    publish: Publish | None = None,
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
        publish: `branch`: push, and commit the results on `auto/<revision>` if there are new ones; with overrides, or
            where the revision is no branch, on `auto/<id of the flow run>`. `promote`: then promote the challenger, and
            bring the branch `revision` forward to it, if the verdict is what `flows/settings.yaml` asks for.
        allow_dirty: work in a folder with local changes.
        repository: where the revision comes from and the branch goes: a path, a URL or the name of a remote.
        folder: with `dvc.yaml`, from the current one.
        why: for the run's name.
    """
    with alive(), _workspace(revision, isolated or coordinated, allow_dirty, repository, folder) as workspace:
        settle_others()
        repair_workspace(workspace.folder)
        is_pushed = push or bool(publish) or coordinated
        _require_remote(workspace, pull or is_pushed)
        branch = publishing.branch_of(workspace, revision) if publish and not overrides else None
        if publish == "promote":
            publication.require_promotable(workspace, branch)
        make = partial(
            _made, overrides=overrides or {}, stages=stages or [], coordinated=coordinated, pull=pull, update=update
        )
        night = make(workspace)
        for _ in range(MAX_REPEATS):
            newer = None if night.outcomes.failed else publication.newer_base(night.workspace, branch)
            if newer is None:
                break
            get_run_logger().info("branch %s has moved to %s meanwhile: made anew on top of it", branch, newer)
            night = make(on_top_of(night.workspace, newer))
        return night.ended(branch, why, is_pushed=is_pushed, publish=publish)


@dataclass(frozen=True)
class _Night:
    """What a run has come to in its workspace, and the results that it began with."""

    workspace: Workspace
    before: Results
    outcomes: Outcomes

    def ended(self, branch: str | None, why: str, *, is_pushed: bool, publish: Publish | None) -> str:
        """Push and publish what there is, as far as it was asked for, and return the line that says what was done.

        Raises:
            StageError: a stage failed, and what the other models have come to was sent all the same; or sending it did.
        """
        if not self.outcomes.done:
            return self.outcomes.summary()
        results = Results.read(self.workspace.folder).of(self.outcomes.done)
        is_news = not self.outcomes.are_all_up_to_date()
        said = [results.judged()] if is_news else []
        try:
            if is_pushed:
                push_data(self.workspace)
                _remove_old(self.workspace)
            if publish:
                message = publication.message(why, self.before, results)
                said.append(publication.publish(self.workspace, branch, message, results))
            if publish == "promote" and branch and self.outcomes.failed:
                said.append("nothing promoted")
            elif publish == "promote" and branch:
                said.append(publication.promote(self.workspace, branch, message, results))
        except StageError as error:
            self.outcomes.failed[error.stage] = error
        return self.outcomes.summary(*said, results.said_left_out() if is_news else "")


def _made(
    workspace: Workspace,
    *,
    overrides: Mapping[str, Any],
    stages: Sequence[str],
    coordinated: bool,
    pull: bool,
    update: bool,
) -> _Night:
    """Bring the stages up to date in a workspace as it is at its base."""
    if not coordinated:
        workspace.dvc.start()  # which loads while this process looks at the workspace
    params_overrides.apply(workspace.folder, overrides)
    _bring_data(workspace, pull or coordinated, update)
    before = Results.read(workspace.folder)
    plan = pipeline.read(workspace.folder, stages)
    raw_data.require(workspace, plan, run_log.log_line)
    outcomes = run_on_workers(plan, workspace) if coordinated else run_here(plan, workspace, pull=pull)
    if not outcomes.are_all_up_to_date():
        _show(plan, outcomes, workspace)
    return _Night(workspace, before, outcomes)


def _workspace(
    revision: str, is_isolated: bool, allow_dirty: bool, repository: str, folder: str
) -> AbstractContextManager[Workspace]:
    place = Path.cwd() / folder
    if is_isolated:
        return isolated(Path.cwd(), repository, revision, str(flow_run.id), product=product_of(place))
    return in_place(place, repository, allow_dirty=allow_dirty)


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


def _remove_old(workspace: Workspace) -> None:
    """Remove what is old on a machine whose runs have clones of their own; a person's folder is a person's."""
    if workspace.is_clone:
        line = remove_old(workspace.state, str(flow_run.id), settings.load().keep_days)
        if line:
            get_run_logger().info("%s", line)


@report.if_server_answers()
def _show(plan: Sequence[pipeline.Stage], outcomes: Outcomes, workspace: Workspace) -> None:
    # One that failed may have left a file cut short.
    metrics = pipeline.metrics(workspace.folder, [stage for stage in plan if stage.name in outcomes.done])
    results = Results.read(workspace.folder).of(outcomes.done)
    report.show_results(workspace.project, plan, outcomes, metrics, results)
    began = flow_run.scheduled_start_time
    report.add_to_history(workspace.project, f"{began:%Y-%m-%d %H:%M:%S} {flow_run.name}", metrics, results)


def run_once(arguments: Mapping[str, Any], server: TemporaryServer | None) -> State[State[None]]:
    """Run the flow once, here and now, and return its final state.

    Args:
        arguments: of `retrain`.
        server: for this run; not used where Prefect's settings name one.

    Raises:
        InputError: a person's mistake, or the server that the settings name does not answer.
    """
    answering: AbstractContextManager[None] = nullcontext()
    if server and not PREFECT_API_URL.value():
        answering = server.answering()
    else:
        if server:  # a profile or `prefect.toml` names another
            server.stop()
        with connected():  # or Prefect would try for minutes
            pass
    try:
        product = product_of(Path.cwd() / arguments["folder"])
        with answering, tags(project_name(own_repository(Path.cwd()), product)):
            state = retrain(**arguments, return_state=True)
    except Abort:  # cancelled from Prefect's pages
        raise KeyboardInterrupt from None
    if state.name == InputError.__name__:
        raise InputError(state.message)
    return state
