"""A new machine with a new clone: what has run anywhere before comes from the remote's run cache."""

import shutil

from flows.repository import pipeline
from flows.supervision.dvc import Dvc, Outcome
from tests.flows.repositories import Repository, repository_template
from tests.flows.repositories import repository as repository

__all__ = ["repository", "repository_template"]
STAGES = ("collect", "train@b", "train@a", "compare")


def test_nothing_runs_again_that_the_remote_knows_though_nobody_has_merged_it(repository: Repository) -> None:
    repository.dvc("push", "--quiet", "--run-cache")
    shutil.rmtree(repository.folder / ".dvc/cache")
    for made in ("models", "reports", "data/numbers.txt"):
        repository.run("rm", "-r", made)
    repository.git("rm", "--quiet", "dvc.lock")
    repository.commit("without results")
    lines: list[str] = []
    with Dvc(repository.folder) as dvc:
        dvc.run(["pull", "--allow-missing"], lines.append)
        stages = pipeline.read(repository.folder)
        outcomes = {stage.name: dvc.reproduce(stage.name, lines.append, "--pull") for stage in stages}
    assert set(outcomes) == set(STAGES)
    assert Outcome.RAN not in outcomes.values(), lines
