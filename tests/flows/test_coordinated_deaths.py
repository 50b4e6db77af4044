"""A machine that dies with a stage of a coordinated run on it, as the server notices by itself."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.flows.projects import Deployed, processes
from tests.flows.servers import Worker
from tests.flows.strikes import Training
from tests.flows.teams import Team

pytestmark = pytest.mark.endurance


def test_a_training_whose_machine_dies_goes_on_where_it_was_when_the_machine_is_back(
    deploy_project: Callable[..., Deployed], tmp_path: Path
) -> None:
    deployed = deploy_project(models=["rnn"], params={"train.epochs": 2000})
    server, team = deployed.server, Team(deployed, tmp_path)
    gpu = Worker(server, "gpu-pool", tmp_path / "gpu")
    with Worker(server, "cpu-pool", tmp_path / "cpu") as cpu, gpu:
        training = Training(gpu.state)
        run = deployed.start("retrain/rnnflow-coordinated")
        training.wait_for(100, deployed, run)
        (lost,) = (sent for sent in team.sent(run) if sent.work_pool_name == "rnnflow-gpu-pool")
        gpu.kill()
        for process in processes(lost.id):
            process.kill()
        gpu.start()
        crashed = server.wait_for_end(lost.id, 200)
        training.wait_for(1, deployed, run)
        ended = server.wait_for_end(run, 600, cpu.log)
    assert crashed.state
    assert crashed.state.is_crashed()
    assert ended.state
    assert ended.state.message
    assert ended.state.message.startswith("5 stages: 4 ran on cpu-pool, 1 ran on gpu-pool; trained rnn; ")
    assert ended.state.message.endswith("; published as auto/main")
    assert team.states(run) == ["Completed", "Crashed", "Completed", "Completed", "Completed"]
    assert deployed.project.published(run) == deployed.project.reproduced("main")
