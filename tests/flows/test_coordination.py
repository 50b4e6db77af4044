"""Coordinated runs: a real server, and workers that share nothing but a Git repository and a DVC remote."""

import sys
import time
from collections.abc import Iterator

import pytest
from prefect.client.schemas.objects import State
from prefect.states import Cancelling, Crashed

from tests.flows.projects import deploy, make_project, processes
from tests.flows.servers import PrefectServer, Worker
from tests.flows.services import wait_until
from tests.flows.teams import SECONDS, Team, paused, stages_of, worker

IMPATIENT = {"worker_wait_seconds": 8.0}


@pytest.fixture(scope="module")
def team(server: PrefectServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    folder = tmp_path_factory.mktemp("team")
    (folder / "meeting").mkdir()
    project = make_project(folder, settings={"retries.delay_seconds": 0.5})
    with Team(deploy(project, server), folder / "meeting") as team:
        yield team


@pytest.fixture(scope="module")
def cpu_worker(team: Team) -> Iterator[Worker]:
    with worker(team, "cpu-pool") as running:
        yield running


@pytest.fixture(scope="module")
def gpu_worker(team: Team) -> Iterator[Worker]:
    with worker(team, "gpu-pool") as running:
        yield running


@pytest.mark.endurance
@pytest.mark.usefixtures("cpu_worker")
def test_a_stage_whose_pool_has_no_worker_goes_to_the_default_pool(team: Team, gpu_worker: Worker) -> None:
    team.push("fallback", a=1)
    gpu_worker.stop()
    try:
        with team.project.changed(settings=IMPATIENT):
            line = team.end(team.begin("fallback", "train"))
    finally:
        gpu_worker.start()
    assert line == "Completed: 2 stages: 2 ran on cpu-pool; trained a"
    run = team.run_called("fallback")
    assert team.places(run.id) == [("collect", "cpu-pool"), ("train@a", "gpu-pool"), ("train@a", "cpu-pool")]
    assert team.states(run.id) == ["Completed", "Cancelled", "Completed"]


@pytest.mark.slow
def test_two_workers_run_each_stage_once_side_by_side_and_make_the_lock_of_a_single_machine(
    team: Team, cpu_worker: Worker, gpu_worker: Worker
) -> None:
    commit = team.push("together", a=1, b=1)
    team.hold("a", until="ended-b")  # it ends only if b runs beside it, and its result is fetched after b's
    line = team.end(team.begin("together", "--publish"))
    run = team.run_called("together").id
    assert line == "Completed: 4 stages: 2 ran on cpu-pool, 2 ran on gpu-pool; trained a, b; published as auto/main"
    assert team.places(run)[0] == ("collect", "cpu-pool")
    assert team.places(run)[-1] == ("compare", "cpu-pool")
    assert set(team.places(run)[1:-1]) == {("train@a", "gpu-pool"), ("train@b", "gpu-pool")}
    assert team.ran(run, *(sent.id for sent in team.sent(run))) == ["collect", "compare", "train@a", "train@b"]
    lock = team.project.published(run)
    assert stages_of(lock) == ["collect", "train@a", "train@b", "compare"]
    assert lock == team.project.reproduced(commit)
    assert team.project.branches("work/") == {}
    for state in (cpu_worker.state, gpu_worker.state):
        assert list((state / "runs").iterdir()) == []

    line = team.end(team.begin("again", "--publish"))
    assert line.startswith("Completed: 4 stages: 4 restored from the run cache; already published as auto/main on 20")
    assert team.sent(team.run_called("again").id) == []


@pytest.mark.slow
@pytest.mark.usefixtures("cpu_worker", "gpu_worker")
def test_a_stage_that_fails_on_a_worker_says_why_and_stages_beside_it_go_on(team: Team) -> None:
    team.push("failure", a=1, b="wrong")
    team.hold("a", until="failed-b")
    line = team.end(team.begin("failure"), expected=1)
    message = "size: expected a number, got wrong"
    assert line == f"Failed: train@b: {message}; not run: compare; the rest: trained a"
    run = team.run_called("failure").id
    assert sorted(team.places(run)) == [("collect", "cpu-pool"), ("train@a", "gpu-pool"), ("train@b", "gpu-pool")]
    tasks = team.deployed.task_runs(run)
    assert {name: state.message for name in ("train@a", "train@b") if (state := tasks[name].state)} == {
        "train@a": "restored from the run cache",
        "train@b": message,
    }
    assert "compare" not in tasks


@pytest.mark.endurance
@pytest.mark.usefixtures("cpu_worker")
def test_a_stage_whose_worker_dies_is_sent_again(team: Team, gpu_worker: Worker) -> None:
    team.push("death", a=1)
    team.hold("a")
    process = team.begin("death", "train")
    team.wait_for_training("a")
    (flow,) = gpu_worker.flow_run_processes()
    flow.kill()
    team.release("a")
    assert team.end(process) == "Completed: 2 stages: 1 ran on cpu-pool, 1 ran on gpu-pool; trained a"
    assert team.states(team.run_called("death").id) == ["Completed", "Crashed", "Completed"]


@pytest.mark.endurance
def test_a_cancelled_run_cancels_what_it_has_sent_and_leaves_nothing(
    team: Team, cpu_worker: Worker, gpu_worker: Worker
) -> None:
    team.push("cancel", a=1)
    team.hold("a")
    run = team.deployed.start("retrain/rnnflow-coordinated", stages=["train"], publish=None)
    team.wait_for_training("a")
    assert [*team.project.branches("work/")] == [f"work/{run}"]
    with team.server.client() as client:
        client.set_flow_run_state(run, Cancelling())
    runs = [run, *(sent.id for sent in team.sent(run))]
    ended = [team.server.wait_for_end(one, SECONDS, gpu_worker.log).state for one in runs]
    assert [state.name for state in ended if state] == ["Cancelled", "Completed", "Cancelled"]
    wait_until(lambda: not any(map(processes, runs)), "the end of all processes", SECONDS)
    assert team.project.branches("work/") == {}
    for state in (cpu_worker.state, gpu_worker.state):
        assert list((state / "runs").iterdir()) == []


@pytest.mark.endurance
@pytest.mark.usefixtures("cpu_worker", "gpu_worker")
def test_the_run_after_a_killed_one_ends_what_that_has_left(team: Team) -> None:
    team.push("killed", a=1)
    team.hold("a")
    process = team.begin("killed", "train")
    team.wait_for_training("a")
    process.kill()
    killed = team.run_called("killed").id
    assert [*team.project.branches("work/")] == [f"work/{killed}"]
    with team.server.client() as client:
        client.set_flow_run_state(killed, Crashed(), force=True)  # as the automation does after a while
    process = team.begin("after", "train")
    lost = team.sent(killed)[-1]
    assert lost.parameters["stage"] == "train@a"
    team.server.wait_for_run(lost.id, State.is_cancelled, "the cancellation of the lost stage", SECONDS)
    team.release("a")
    assert team.end(process) == "Completed: 2 stages: 1 restored from the run cache, 1 ran on gpu-pool; trained a"
    assert team.project.branches("work/") == {}


@pytest.mark.slow
@pytest.mark.usefixtures("cpu_worker", "gpu_worker")
def test_a_stage_that_nobody_takes_is_given_up_after_a_while(team: Team) -> None:
    team.push("nobody", a=1)
    with team.project.changed(settings=IMPATIENT), paused(team, "cpu-pool"):
        line = team.end(team.begin("nobody"), expected=1)
    assert line == (
        "Failed: collect: no worker of pool 'cpu-pool' took it within 8 s; start one with `make worker POOL=cpu-pool`; "
        "not run: train@a, compare"
    )
    assert team.states(team.run_called("nobody").id) == ["Cancelled"]


@pytest.mark.slow
def test_a_pool_without_a_deployment_is_refused(team: Team) -> None:
    team.push("nowhere", a=1)
    with team.project.changed(settings={"workers.train": "tpu-pool"}):
        line = team.end(team.begin("nowhere"), expected=2)
    assert line == "error: deployment 'stage/rnnflow-tpu-pool' is not on the server; run `make deploy`"


@pytest.mark.slow
def test_a_remote_that_cannot_hold_a_run_cache_is_refused(team: Team) -> None:
    team.push("http", a=1)
    team.project.git("checkout", "--quiet", "-b", "http")
    team.project.run(sys.executable, "-m", "dvc", "remote", "modify", "store", "url", "http://127.0.0.1:9/store")
    team.project.git("commit", "--quiet", "--all", "--message=http")
    team.project.git("push", "--quiet", "origin", "http")
    team.project.git("checkout", "--quiet", "main")
    line = team.end(team.begin("http", "--revision", "http"), expected=2)
    assert line.startswith("error: http://127.0.0.1:9/store: DVC keeps no run cache on a remote of type HTTP, ")


@pytest.mark.endurance
@pytest.mark.usefixtures("cpu_worker", "gpu_worker")
def test_new_stages_are_named_by_the_lock_as_on_a_single_machine_in_whatever_order_they_come_home(team: Team) -> None:
    team.push("order", a=1, b=1)
    team.end(team.begin("before", "--publish"))
    lock = team.project.published(team.run_called("before").id)
    commit = team.push("order", lock, c=1, a=2, b=1, d=1)
    team.hold("c", until="ended-d")
    line = team.end(team.begin("order", "--publish"))
    run = team.run_called("order").id
    assert line.startswith("Completed: 6 stages: 2 up to date, 3 ran on gpu-pool, 1 ran on cpu-pool; trained a, c, d; ")
    published = team.project.published(run)
    assert stages_of(published) == ["collect", "train@a", "train@b", "compare", "train@c", "train@d"]
    assert published == team.project.reproduced(commit)


@pytest.mark.endurance
def test_a_run_that_holds_the_only_place_of_its_pool_does_not_wait_for_itself(team: Team, cpu_worker: Worker) -> None:
    commit = team.push("alone", a=1)
    cpu_worker.stop()
    try:
        with team.project.changed(settings=IMPATIENT), worker(team, "cpu-pool", limit=1) as alone:
            run = team.deployed.start("retrain/rnnflow-coordinated", revision=commit)
            ended = team.server.wait_for_end(run, SECONDS, alone.log)
    finally:
        cpu_worker.start()
    assert ended.state
    assert ended.state.is_failed()
    assert "no worker of pool 'cpu-pool' took it within 8 s" in (ended.state.message or "")
    assert "this run holds one of its workers' places itself" in (ended.state.message or "")


@pytest.mark.endurance
@pytest.mark.usefixtures("cpu_worker")
def test_a_stage_waits_for_a_worker_that_is_busy_however_long_that_takes(team: Team, gpu_worker: Worker) -> None:
    team.push("busy", a=1, b=1)
    team.hold("a")
    team.hold("b")
    gpu_worker.stop()
    try:
        with team.project.changed(settings=IMPATIENT), worker(team, "gpu-pool", limit=1):
            process = team.begin("busy", "train")
            wait_until(lambda: [*team.meeting.glob("began-*")], "the first training", SECONDS)
            began = time.monotonic()
            wait_until(lambda: time.monotonic() > began + 2 * IMPATIENT["worker_wait_seconds"], "the wait")
            team.release("a")
            team.release("b")
            assert team.end(process) == "Completed: 3 stages: 1 ran on cpu-pool, 2 ran on gpu-pool; trained a, b"
    finally:
        gpu_worker.start()
    assert team.states(team.run_called("busy").id) == ["Completed"] * 3
