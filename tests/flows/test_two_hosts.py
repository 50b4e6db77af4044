"""A coordinated run over two hosts that have nothing in common but an SSH server: Git, DVC remote, Prefect's API."""

import sys
from pathlib import Path

import pytest

from tests.flows.hosts import HUB, two_hosts
from tests.flows.projects import Deployed, make_project
from tests.flows.servers import PrefectServer, Worker
from tests.flows.teams import Team

pytestmark = pytest.mark.endurance

SECONDS = 600


def test_two_hosts_run_each_stage_once_and_make_the_lock_of_a_single_machine(
    server: PrefectServer, tmp_path: Path
) -> None:
    hub = tmp_path / "hub"
    project = make_project(hub, models=["rnn", "lstm"], params={"train.epochs": 200})
    project.run(sys.executable, "-m", "dvc", "remote", "modify", "store", "url", f"ssh://{HUB}{project.store}")
    commit = project.push()
    address = f"ssh://{HUB}{project.origin}"
    server.run(sys.executable, "-m", "flows.deploy", "--repository", address, folder=project.folder)
    team = Team(Deployed(project, server), tmp_path)
    with two_hosts(tmp_path, hub, server.port) as (one, two):
        with (
            Worker(server, "cpu-pool", one.folder, settings=one.environment, prefix=one.prefix) as cpu,
            Worker(server, "gpu-pool", two.folder, settings=two.environment, prefix=two.prefix) as gpu,
        ):
            run = team.deployed.start("retrain/rnnflow-coordinated")
            ended = server.wait_for_end(run, SECONDS, cpu.log)
        assert ended.state
        assert ended.state.message
        assert ended.state.message.startswith("8 stages: 6 ran on cpu-pool, 2 ran on gpu-pool; trained lstm, rnn; ")
        assert ended.state.message.endswith("; published as auto/main")
        for host in (one, two):
            assert not host.is_apart or "rnnflow" not in host.run("ls", str(hub)), "it must reach the hub by SSH alone"
    sent = team.sent(run)
    on_gpu = {stage for stage, pool in team.places(run) if pool == "gpu-pool"}
    assert on_gpu == {"train@rnn", "train@lstm"}
    stages = [
        "compare",
        "evaluate@lstm",
        "evaluate@rnn",
        "export@lstm",
        "export@rnn",
        "generate",
        "train@lstm",
        "train@rnn",
    ]
    assert team.ran(run, *(child.id for child in sent)) == stages
    trainings = [
        team.deployed.task_runs(child.id)[stage] for child in sent if (stage := child.parameters["stage"]) in on_gpu
    ]
    began = [training.start_time for training in trainings if training.start_time]
    ended_at = [training.end_time for training in trainings if training.end_time]
    assert max(began) < min(ended_at), "the trainings did not overlap"
    assert project.published(run) == project.reproduced(commit)
    assert list((gpu.state / "runs").iterdir()) == []
