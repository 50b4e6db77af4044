"""What a coordinated run asks of the pipeline beyond its stages: earlier results, and the order of `dvc.lock`."""

import shutil

from ruamel.yaml import YAML

from flows.repository import pipeline
from tests.flows.repositories import Repository

pytest_plugins = ["tests.flows.repositories"]


def order(repository: Repository) -> list[str]:
    return list(YAML(typ="safe").load(repository.read("dvc.lock"))["stages"])


def test_a_stage_has_run_before_if_it_saw_the_same_commands_params_and_data(repository: Repository) -> None:
    (repository.folder / "dvc.lock").unlink()
    assert pipeline.has_run_before(repository.folder, "train@a")
    repository.replace("params.yaml", "epochs: 3", "epochs: 4")
    assert not pipeline.has_run_before(repository.folder, "train@a")
    repository.replace("params.yaml", "epochs: 4", "epochs: 3")
    assert pipeline.has_run_before(repository.folder, "train@a")
    repository.write("data/numbers.txt", "others\n")
    assert not pipeline.has_run_before(repository.folder, "train@a")


def test_the_lock_does_not_decide_whether_a_stage_has_run_before(repository: Repository) -> None:
    repository.replace("params.yaml", "epochs: 3", "epochs: 4")
    assert not pipeline.has_run_before(repository.folder, "train@b")
    repository.dvc("repro", "train@b")
    repository.git("checkout", "dvc.lock")
    assert pipeline.has_run_before(repository.folder, "train@b")


def test_a_stage_that_lacks_a_dependency_has_not_run_before(repository: Repository) -> None:
    (repository.folder / "data/numbers.txt").unlink()
    assert not pipeline.has_run_before(repository.folder, "train@a")


def test_asking_for_earlier_results_changes_nothing(repository: Repository) -> None:
    shutil.rmtree(repository.folder / "models")
    assert pipeline.has_run_before(repository.folder, "train@a")
    assert repository.git("status", "--porcelain") == ""
    assert not (repository.folder / "models").exists()


def test_the_inputs_of_a_stage_are_what_other_stages_made_for_it(repository: Repository) -> None:
    assert pipeline.inputs(repository.folder, "collect") == []
    assert pipeline.inputs(repository.folder, "train@a") == ["data/numbers.txt"]
    assert pipeline.inputs(repository.folder, "compare") == ["models/a.txt", "models/b.txt"]
    repository.replace("dvc.yaml", "      - models/a.txt\n      - models/b.txt\n    outs", "      - models\n    outs")
    assert pipeline.inputs(repository.folder, "compare") == ["models/a.txt", "models/b.txt"]


def test_stages_are_put_last_in_the_order_of_the_plan_and_no_other_byte_changes(repository: Repository) -> None:
    before = repository.read("dvc.lock")
    assert order(repository) == ["collect", "train@a", "train@b", "compare"]
    pipeline.put_in_order(repository.folder, ["train@b", "compare", "train@a", "not there"])
    assert order(repository) == ["collect", "train@b", "compare", "train@a"]
    pipeline.put_in_order(repository.folder, ["train@a", "train@b", "compare"])
    assert repository.read("dvc.lock") == before


def test_a_repository_without_a_lock_has_nothing_to_put_in_order(repository: Repository) -> None:
    (repository.folder / "dvc.lock").unlink()
    pipeline.put_in_order(repository.folder, ["collect"])
    assert not (repository.folder / "dvc.lock").exists()
