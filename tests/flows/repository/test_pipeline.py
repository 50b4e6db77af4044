import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from flows.repository import pipeline
from flows.repository.pipeline import Source, Stage
from rnnflow.runtime.errors import InputError
from tests.flows.repositories import DVC_YAML, Repository
from tests.flows.services import running, wait_until

pytest_plugins = ["tests.flows.repositories"]

STAGE = "stages:\n  {}: {{cmd: x, deps: [{}], outs: [{}]}}\n"


FIRST = Source("data/raw/first.txt.dvc", "data/raw/first.txt", is_import=False)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """DVC shows paths as seen from the working directory, which is seldom the workspace."""
    (tmp_path / "some/where").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "some/where")


def described(name: str, *upstream: str, **known: Any) -> Stage:
    return Stage(name, frozenset(upstream), is_stale=False, is_new=False, **known)


def stale(repository: Repository) -> list[str]:
    return [stage.name for stage in pipeline.read(repository.folder) if stage.is_stale]


def refusal(repository: Repository) -> str:
    with pytest.raises(InputError) as raised:
        pipeline.read(repository.folder)
    assert "\n" not in str(raised.value)
    assert ".." not in str(raised.value), "a path as seen from the working directory"
    return str(raised.value)


def test_each_stage_comes_after_those_it_depends_on_and_otherwise_in_the_order_of_the_file(
    repository: Repository,
) -> None:
    assert pipeline.read(repository.folder) == [
        described("collect", outs=("data/numbers.txt",), sources=frozenset({FIRST})),
        described(
            "train@b", "collect", outs=("models/b.txt", "reports/b/metrics.json"), metrics=("reports/b/metrics.json",)
        ),
        described(
            "train@a", "collect", outs=("models/a.txt", "reports/a/metrics.json"), metrics=("reports/a/metrics.json",)
        ),
        described("compare", "train@a", "train@b", outs=("reports/comparison.txt",)),
    ]


@pytest.mark.parametrize("place", [".", "stages", "../repository/data/raw"])
def test_the_working_directory_does_not_matter(
    repository: Repository, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from_elsewhere = pipeline.read(repository.folder), pipeline.sources(repository.folder)
    monkeypatch.chdir(repository.folder / place)
    assert (pipeline.read(repository.folder), pipeline.sources(repository.folder)) == from_elsewhere
    assert pipeline.input_folders(repository.folder) == ["data/raw"]
    assert Path.cwd() == (repository.folder / place).resolve()


@pytest.mark.parametrize(
    ("only", "expected"),
    [
        (["collect"], ["collect"]),
        (["train"], ["collect", "train@b", "train@a"]),
        (["train@a"], ["collect", "train@a"]),
        (["train@a", "collect", "train@a"], ["collect", "train@a"]),
        (["compare"], ["collect", "train@b", "train@a", "compare"]),
    ],
)
def test_named_stages_and_groups_bring_what_they_depend_on(
    repository: Repository, only: list[str], expected: list[str]
) -> None:
    assert [stage.name for stage in pipeline.read(repository.folder, only)] == expected


@pytest.mark.parametrize("name", ["trian", "train@c", "", "data/raw/first.txt.dvc"])
def test_an_unknown_name_is_refused_with_the_names_there_are(repository: Repository, name: str) -> None:
    with pytest.raises(InputError) as raised:
        pipeline.read(repository.folder, ["collect", name])
    assert str(raised.value) == f"stage '{name}' is not in dvc.yaml; there are collect, train@b, train@a, compare"


def test_a_stage_is_stale_when_its_code_its_params_its_data_or_its_results_changed(repository: Repository) -> None:
    repository.write("stages/compare.sh", "touch reports/comparison.txt\n")
    assert stale(repository) == ["compare"]
    repository.replace("params.yaml", "size: 1", "size: 3")
    assert stale(repository) == ["train@a", "compare"]
    (repository.folder / "models/b.txt").unlink()
    assert stale(repository) == ["train@b", "train@a", "compare"]
    repository.write("data/raw/second.txt", "3\n")
    assert stale(repository) == ["collect", "train@b", "train@a", "compare"]


def test_dvc_agrees_on_what_is_stale(repository: Repository) -> None:
    repository.replace("params.yaml", "learning_rate: 0.005", "learning_rate: 0.5")
    repository.write("stages/collect.sh", "touch data/numbers.txt\n")
    assert set(json.loads(repository.dvc("status", "--json"))) == set(stale(repository))


def test_a_stage_that_the_lock_does_not_know_is_new_and_stale(repository: Repository) -> None:
    repository.replace("params.yaml", "models:  ", "models:\n  c:\n    size: 3\n    #")
    repository.write("dvc.yaml", f"{DVC_YAML}  look:\n    cmd: cat models/a.txt\n    deps:\n      - models/a.txt\n")
    assert {stage.name for stage in pipeline.read(repository.folder) if stage.is_new and stage.is_stale} == {
        "train@c",
        "look",
    }
    repository.dvc("repro", "--quiet")
    assert not any(stage.is_new for stage in pipeline.read(repository.folder)), "with or without outputs"


def test_without_a_lock_every_stage_is_new(repository: Repository) -> None:
    (repository.folder / "dvc.lock").unlink()
    assert all(stage.is_new and stage.is_stale for stage in pipeline.read(repository.folder))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("stages:\n  a: [\n", "unable to read: 'dvc.yaml', YAML file structure is corrupted; line 3: "),
        (f"<<<<<<< HEAD\n{DVC_YAML}", "unable to read: 'dvc.yaml', YAML file structure is corrupted; line 2: "),
        (
            "stages:\n  a:\n    command: x\n",
            "'dvc.yaml' validation failed: 2 errors; "
            "stages.a.command: extra keys not allowed; stages.a.cmd: required key not provided",
        ),
        ("stages: 3\n", "'dvc.yaml' validation failed; stages: expected a dictionary"),
        ("- a\n", "'dvc.yaml' validation failed; expected a dictionary"),
        ("", "dvc.yaml: there are no stages in /"),
        (DVC_YAML.replace("${models}", "${modells}"), "failed to parse 'stages.train.foreach' in 'dvc.yaml': "),
        (DVC_YAML.replace("item.size", "item.sise"), "failed to parse 'stages.train@b.cmd' in 'dvc.yaml': "),
        (
            STAGE.format("a", "x", "y") + STAGE.format("b", "y", "x").removeprefix("stages:\n"),
            "Same item(s) are defined as both a dependency and an output in stages: ",
        ),
        (
            STAGE.format("a", "x", "y") + STAGE.format("b", "x", "y").removeprefix("stages:\n"),
            "output 'y' is specified",
        ),
        (STAGE.format("a", "x", "y") + STAGE.format("b", "x", "y/z").removeprefix("stages:\n"), "The output paths: "),
    ],
)
@pytest.mark.parametrize("inside", [True, False], ids=["inside", "elsewhere"])
def test_an_invalid_dvc_yaml_is_told_in_one_line(
    repository: Repository, text: str, message: str, inside: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if inside:
        monkeypatch.chdir(repository.folder)
    repository.write("dvc.yaml", text)
    said = refusal(repository)
    assert message in said
    assert "dvc.yaml" in said


def test_a_missing_dvc_yaml_is_told(repository: Repository) -> None:
    (repository.folder / "dvc.yaml").unlink()
    assert refusal(repository) == f"dvc.yaml: there are no stages in {repository.folder}"


def test_other_files_that_dvc_cannot_read_are_named(repository: Repository) -> None:
    repository.write("data/raw/first.txt.dvc", "outs: [\n")
    assert refusal(repository).startswith("unable to read: 'data/raw/first.txt.dvc', ")
    repository.git("checkout", ".")
    repository.write("params.yaml", "train: [\n")
    assert refusal(repository).startswith("unable to read: 'params.yaml', ")


def test_a_folder_without_dvc_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not inside of a DVC repository"):
        pipeline.read(tmp_path)


def test_a_missing_key_of_the_params_makes_stale_and_dvc_says_which_when_it_runs(repository: Repository) -> None:
    repository.replace("params.yaml", "train:", "trein:")
    assert stale(repository) == ["train@b", "train@a"]
    assert "Parameters 'train' are missing from 'params.yaml'" in repository.run(
        sys.executable, "-m", "dvc", "repro", expected=255
    )


def test_stages_are_stale_while_another_process_runs_one_and_nothing_fails(repository: Repository) -> None:
    (repository.folder.parent / "gate").write_text("")
    gate = "touch started; while [ -e ../gate ]; do sleep 0.05; done"
    repository.write("stages/train.sh", f"{gate}; touch models/$1.txt reports/$1/metrics.json\n")
    with running([sys.executable, "-m", "dvc", "repro", "--quiet", "train@a"], repository.folder) as other:
        wait_until((repository.folder / "started").exists, "the start of the stage")
        stages = {stage.name: stage.is_stale for stage in pipeline.read(repository.folder)}
        assert stages["train@a"]
        assert pipeline.sources(repository.folder)
        (repository.folder.parent / "gate").unlink()
        assert other.wait() == 0


def test_stages_are_stale_while_another_process_holds_the_lock_of_the_repository(repository: Repository) -> None:
    program = "import sys\nfrom dvc.repo import Repo\nwith Repo().lock:\n print(1, flush=True)\n sys.stdin.read()\n"
    command = [sys.executable, "-c", program]
    with running(command, repository.folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        assert stale(repository) == ["collect", "train@b", "train@a", "compare"]
        holder.communicate()
    assert stale(repository) == []


def metrics(repository: Repository) -> dict[str, dict[str, float]]:
    return pipeline.metrics(repository.folder, pipeline.read(repository.folder))


def test_metrics_are_the_numbers_of_json_files(repository: Repository) -> None:
    assert metrics(repository) == {
        "train@b": {"accuracy": 0.2, "size": 2},
        "train@a": {"accuracy": 0.1, "size": 1},
    }


def test_metrics_are_read_even_of_a_stage_that_is_stale_and_missing_ones_left_out(repository: Repository) -> None:
    repository.write("reports/a/metrics.json", '{"accuracy": 1, "of": {"class": {"x": 2}, "name": "y"}}')
    (repository.folder / "reports/b/metrics.json").unlink()
    assert metrics(repository) == {"train@a": {"accuracy": 1, "of.class.x": 2}}


def test_metrics_in_other_forms_are_left_out(repository: Repository) -> None:
    repository.replace("dvc.yaml", "metrics.json", "metrics.csv")
    repository.write("reports/a/metrics.csv", "accuracy\n1\n")
    assert metrics(repository) == {}
    repository.git("checkout", "dvc.yaml")
    repository.write("reports/a/metrics.json", "[1]")
    assert list(metrics(repository)) == ["train@b"]


def test_the_default_remote_is_the_one_that_dvc_would_push_to(repository: Repository) -> None:
    other = f"['remote \"other\"']\n    url = {repository.folder}/other\n"
    repository.write(".dvc/config", f"{repository.read('.dvc/config')}{other}")
    assert pipeline.default_remote(repository.folder) == str(repository.store)
    repository.replace(".dvc/config", "remote = store", "remote = other")
    assert pipeline.default_remote(repository.folder) == str(repository.folder / "other")


def test_there_may_be_no_default_remote(repository: Repository) -> None:
    repository.replace(".dvc/config", "    remote = store\n", "")
    assert pipeline.default_remote(repository.folder) is None
    repository.write(".dvc/config", "")
    assert pipeline.default_remote(repository.folder) is None


def test_a_default_remote_that_is_not_there_is_told(repository: Repository) -> None:
    repository.write(".dvc/config", "[core]\n    remote = shop\n")
    with pytest.raises(InputError, match="the default remote 'shop' is not among its remotes"):
        pipeline.default_remote(repository.folder)


def test_an_unknown_setting_of_dvc_is_told(repository: Repository) -> None:
    repository.write(".dvc/config", "[core]\n    remot = store\n")
    with pytest.raises(InputError, match=r"config file error: extra keys not allowed .*remot"):
        pipeline.default_remote(repository.folder)


def test_sources_tell_what_is_imported_and_which_data_has_changed(repository: Repository, tmp_path: Path) -> None:
    (tmp_path / "archive").mkdir()
    (tmp_path / "archive/a.txt").write_text("7\n")
    repository.dvc("import-url", "--quiet", str(tmp_path / "archive"), "data/raw/archive")
    repository.write("data/raw/june/a.txt", "8\n")
    repository.dvc("add", "--quiet", "data/raw/june")
    imported = Source("data/raw/archive.dvc", "data/raw/archive", is_import=True)
    june = Source("data/raw/june.dvc", "data/raw/june", is_import=False)
    assert {*pipeline.sources(repository.folder)} == {imported, FIRST, june}
    assert pipeline.read(repository.folder)[0].sources == {imported, FIRST, june}
    assert pipeline.changed_data(repository.folder) == []
    repository.write("data/raw/archive/a.txt", "9\n")
    repository.write("data/raw/june/b.txt", "9\n")
    (repository.folder / "data/raw/first.txt").unlink()
    assert pipeline.changed_data(repository.folder) == ["data/raw/june"]


def test_a_folder_into_which_stages_write_is_no_input_folder(repository: Repository) -> None:
    repository.replace("dvc.yaml", "      - models/a.txt\n      - models/b.txt\n", "      - models\n")
    repository.write("models/production/model.txt", "x")
    assert pipeline.input_folders(repository.folder) == ["data/raw"]


def test_input_folders_are_those_that_no_stage_makes(repository: Repository) -> None:
    assert pipeline.input_folders(repository.folder) == ["data/raw"]
    repository.write("dvc.yaml", STAGE.format("make", "data/raw", "made") + "  use: {cmd: x, deps: [made, more]}\n")
    (repository.folder / "made").mkdir()
    (repository.folder / "more").mkdir()
    assert pipeline.input_folders(repository.folder) == ["data/raw", "more"]
    (repository.folder / "more").rmdir()
    assert pipeline.input_folders(repository.folder) == ["data/raw"]


def test_a_folder_that_dvc_tracks_as_a_whole_is_no_input_folder(repository: Repository) -> None:
    (repository.folder / "data/raw/first.txt.dvc").unlink()
    (repository.folder / "data/raw/.gitignore").unlink()
    repository.git("rm", "--quiet", "-r", "--cached", "data/raw")
    repository.dvc("add", "--quiet", "data/raw")
    assert pipeline.input_folders(repository.folder) == []
    assert [source.path for source in pipeline.sources(repository.folder)] == ["data/raw"]
