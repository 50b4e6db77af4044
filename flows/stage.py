"""The tasks that every run is made of, and the flow `stage`: one stage on the worker that was asked for it."""

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ParamSpec

from prefect import Task, flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.context import TagsContext
from prefect.runtime import flow_run
from prefect.states import Completed, Failed
from prefect.tasks import exponential_backoff

from flows import run_log, settings
from flows.redaction import redacted
from flows.report import Progress
from flows.repository import pipeline, raw_data, rot
from flows.repository.workspace import Workspace, isolated
from flows.server.heartbeat import alive
from flows.supervision.dvc import Failure, Outcome, StageError
from flows.supervision.repair import repair
from rnnflow.runtime.environment import held
from rnnflow.runtime.errors import InputError, in_one_line, is_temporary

Log = Callable[[str], None]
Arguments = ParamSpec("Arguments")


def ending_in_one_line(run: Callable[Arguments, str]) -> Callable[Arguments, State[None]]:
    """Let what `run` returns, or the one line of its failure, be the final state's message."""
    run_log.keep_readable()  # before the flow begins: Prefect's first line has the server's address

    @functools.wraps(run)
    def wrapper(*args: Arguments.args, **kwargs: Arguments.kwargs) -> State[None]:
        try:
            return Completed(message=run(*args, **kwargs))
        except InputError as error:
            return Failed(name=InputError.__name__, message=redacted(str(error)), data=error)
        except StageError as error:
            return Failed(message=redacted(str(error)), data=error)
        except OSError as error:  # of the flow's own files; DVC and the stages have their own processes
            if not is_temporary(error):
                raise
            message = in_one_line(error)
            return Failed(message=message, data=StageError("flow", Failure.TRANSIENT, message))

    return wrapper


def _is_transient(task: Task[..., State[None]], run: TaskRun, state: State[None]) -> bool:
    return isinstance(state.data, StageError) and state.data.failure is Failure.TRANSIENT


@task(cache_policy=NO_CACHE, retry_jitter_factor=0.33, retry_condition_fn=_is_transient)
@ending_in_one_line
def _attempt(step: Callable[[Log], str], folder: Path) -> str:
    try:
        return step(run_log.log_line)
    except BaseException:  # then repaired for the next try, and for stages that do not depend on this one
        try:
            with pipeline.locked(folder):  # another stage's DVC may be writing what would look damaged
                repair_workspace(folder)
        except Exception as error:
            get_run_logger().warning("not repaired: %s", error)
        raise


def repair_workspace(folder: Path) -> None:
    """Put right what a run or a DVC that died has left in a workspace, and log what it was."""
    for line in repair(folder):
        get_run_logger().warning("%s", line)


def attempt(name: str, workspace: Workspace, step: Callable[[Log], str], timeout_seconds: float | None = None) -> str:
    """Do one step as a task run called `name`, again after failures that may pass, and return its state's message.

    In the flow's main thread a cancel or a timeout interrupts what runs. In another, `side_by_side` ends it for a cancel, and
    a timeout comes when the step next looks.

    Args:
        name: of the task run.
        workspace: repaired after a try that fails.
        step: gets a function that logs a line, and returns the message.
        timeout_seconds: of one try.

    Raises:
        StageError: the last try failed; its own line.
    """
    retries = settings.load().retries
    timed = _attempt.with_options(
        name=name,
        task_run_name=name,
        timeout_seconds=timeout_seconds,
        retries=retries.max,
        retry_delay_seconds=exponential_backoff(retries.delay_seconds),
    )
    # A run's tags are not its tasks': for each tag of a task the server is asked whether a limit holds, and a server on
    # SQLite is often too busy to say, which costs two seconds.
    with run_log.one_line(name) as end, TagsContext(current_tags=set()):
        state = timed(step, workspace.folder, return_state=True)
        if not state.is_completed():
            failure = state.data.failure if isinstance(state.data, StageError) else Failure.PERMANENT
            raise StageError(name, failure, state.message or state.name or "failed")
        message = state.message or ""
        end(message)
    return message


def bring_up_to_date(stage: pipeline.Stage, workspace: Workspace, *, pull: bool) -> str:
    """Run one stage as a task of its own name and return how it came up to date; those before it must be.

    Raises:
        StageError: it failed.
    """
    options = ("--pull",) if pull else ()

    def step(log: Log) -> str:
        progress = Progress(workspace.project, stage.name, log)
        with _alone_at(stage, workspace, log):
            try:
                return workspace.dvc.reproduce(stage.name, progress, *options)
            except StageError as error:
                if not _is_restored(stage, workspace, error, "pull" if pull else "checkout", log):
                    raise
            return workspace.dvc.reproduce(stage.name, progress, *options)

    return attempt(stage.name, workspace, step, settings.load().timeout(stage.name))


def _is_restored(stage: pipeline.Stage, workspace: Workspace, error: StageError, command: str, log: Log) -> bool:
    """Return whether a stage failed since something it read was damaged, and that has been brought back.

    Raises:
        StageError: it could not be brought back, and has to be made again.
    """
    if error.failure is not Failure.PERMANENT:
        return False
    is_damaged, lost = rot.restore(workspace, pipeline.inputs(workspace.folder, stage.name), command, log)
    if lost:
        again = f"{error.message}; {', '.join(lost)}: removed; the next run makes it again"
        raise StageError(stage.name, Failure.PERMANENT, again)
    return is_damaged


@contextmanager
def _alone_at(stage: pipeline.Stage, workspace: Workspace, log: Log) -> Iterator[None]:
    """Let no other run on this machine make the same thing at the same time.

    Two nights of one commit meet here, or a person's run and the night's: the second waits, and DVC then finds the
    result of the first in the run cache that they share.
    """
    key = pipeline.fingerprint(workspace.folder, stage.name)
    if key is None:
        yield
        return
    waiting = f"another run is at work on the same {stage.name}; waiting for its result"
    with held(workspace.state / "stages" / key, lambda: log(waiting)):
        yield


def record_up_to_date(stage: pipeline.Stage, workspace: Workspace) -> str:
    """Let a task of the stage's name say that DVC would skip it, without asking DVC again."""
    return attempt(stage.name, workspace, lambda _: Outcome.UP_TO_DATE)


def fetch_data(workspace: Workspace, command: str, targets: tuple[str, ...] = ()) -> None:
    """Bring what `dvc.lock` and the `.dvc` files name into the workspace, as far as it is to be had.

    Args:
        workspace: to bring it into.
        command: `pull` looks in DVC's remote as well, `checkout` in the cache alone.
        targets: files to look into; default: all.
    """
    _attempt_dvc(workspace, "done", command, "--allow-missing", *targets)


def _fetch_inputs(workspace: Workspace, stage: str) -> None:
    """Bring what other stages made for this one, all of it: `dvc repro --pull` asks no question about what is missing.

    It takes a stage for unchanged whose dependencies are not there, and would pull what the stage made of older ones.
    """
    paths = pipeline.inputs(workspace.folder, stage)
    if paths:
        _attempt_dvc(workspace, "done", "pull", *paths)


def push_data(workspace: Workspace, targets: tuple[str, ...] = ()) -> None:
    """Send the workspace's data, models and run cache to the remote."""
    _attempt_dvc(workspace, "pushed", "push", "--run-cache", *targets)


def _attempt_dvc(workspace: Workspace, said: str, command: str, *arguments: str) -> None:
    def step(log: Log) -> str:
        workspace.dvc.run([command, *arguments], log)
        return said

    attempt(command, workspace, step, settings.load().timeout(command))


@flow(name="stage", flow_run_name="{stage} for {run}")
@ending_in_one_line
def run_one_stage(stage: str, commit: str, ref: str, run: str, repository: str = "origin", folder: str = ".") -> str:
    """Run one stage of a coordinated run in a clone of this worker's own, and push what it made to DVC's remote.

    Args:
        stage: its name in `dvc.yaml`.
        commit: whose `dvc.lock` names the results of the stages before it.
        ref: the branch that holds `commit`.
        run: name of the run that it belongs to.
        repository: path, URL or name of a remote, as in `git fetch`.
        folder: in the repository, with `dvc.yaml`.
    """
    with alive(), isolated(Path.cwd(), repository, commit, str(flow_run.id), ref, folder) as workspace:
        found = next(known for known in pipeline.read(workspace.folder, [stage]) if known.name == stage)
        if found.sources:
            fetch_data(workspace, "pull", tuple(sorted(source.file for source in found.sources)))
            raw_data.require(workspace, [found], run_log.log_line)
        _fetch_inputs(workspace, stage)
        outcome = bring_up_to_date(found, workspace, pull=True)
        push_data(workspace, (stage,))
        return outcome
