"""The flow in clones of its own, which publishes what it has made, called as a person calls it, against a real server."""

import json
import re
import sys
from pathlib import Path
from uuid import UUID

import pytest
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey

from tests.deliveries import columns, deliver
from tests.flows.persons import Person
from tests.flows.projects import Deployed, make_project
from tests.flows.servers import PrefectServer

pytest_plugins = ["tests.flows.persons"]


SECRET = "planted-secret"


PUBLISHES = """
import sys
from flows.retrain import retrain
chosen = {"isolated": True, "pull": True, "publish": "branch", "revision": "main", "overrides": {"export.lengths": [1, 3]}}
print(retrain(**chosen, repository=sys.argv[1], return_state=True))
"""


def test_an_isolated_run_publishes_once_and_says_when_there_is_nothing_new(person: Person) -> None:
    run = ("--isolated", "--pull", "--publish", "--repository", "origin", "--revision", "main")
    assert "nothing new to publish" in person.retrain(*run)
    changed_run = (*run, "-S", "export.lengths=[1, 2]", "--why", "a shorter check")
    assert "published as auto/" in person.retrain(*changed_run)
    ((branch, commit),) = person.project.branches().items()
    assert f"already published as {branch}" in person.retrain(*changed_run)
    assert list(person.project.branches()) == [branch]
    person.project.git("fetch", "--quiet", "origin")
    changed = person.project.git("diff", "--name-only", "main", commit).split()
    assert sorted(changed) == ["dvc.lock", "params.yaml"]
    assert "a shorter check" in person.project.git("log", "-1", "--format=%B", commit)
    person.project.git("checkout", "--quiet", commit)
    person.project.run("dvc", "pull")
    assert "up to date" in person.project.run("dvc", "status")


def test_a_planted_secret_is_found_nowhere(person: Person) -> None:
    """A worker's clone may have a token in the URL of its `origin`, from a credentials block of Prefect."""
    url = f"https://user:{SECRET}@git.example.com/team/rnnflow.git"
    leads_here = {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"url.{person.project.origin}.insteadOf",
        "GIT_CONFIG_VALUE_0": url,
        "RNNFLOW_STATE": str(person.project.folder.with_name("state")),
    }
    command = (sys.executable, "-c", PUBLISHES, url)
    printed = person.server.run(*command, folder=person.project.folder, environment=leads_here)
    assert "published as auto/" in printed
    (branch,) = person.project.branches()
    person.project.git("fetch", "--quiet", "origin", branch)
    with person.server.client() as client:
        artifacts = client.read_artifacts()
        variables = client.read_variables()
        run = client.read_flow_run(UUID(branch.removeprefix("auto/")))
    assert SECRET in str(run.parameters)  # who calls the flow by its URL has put it there
    said = [printed, run.name, str(run.state), *Deployed(person.project, person.server).log(run.id)]
    said += [str(artifact.model_dump()) for artifact in artifacts] + [str(each.value) for each in variables]
    said += [person.project.git("show", "--format=fuller", "FETCH_HEAD")]
    assert not [text for text in said if SECRET in text]


def test_an_address_with_a_token_is_refused_and_the_token_not_told(trained: Person) -> None:
    url = f"https://user:{SECRET}@git.example.com/team/rnnflow.git"
    printed = trained.retrain("--isolated", "--repository", url, expected=2)
    assert printed.startswith("error: https://git.example.com/team/rnnflow.git: the address was given with a user")
    assert SECRET not in printed


def shown(person: Person, key: str) -> list[str]:
    """Return the contents of the artifacts of this key on the server, the oldest first."""
    with person.server.client() as client:
        found = client.read_artifacts(artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=[key])))
    return [str(artifact.data) for artifact in sorted(found, key=lambda artifact: str(artifact.created))]


def test_a_run_shows_its_results_and_one_with_nothing_to_do_adds_none(person: Person) -> None:
    isolated = ("--isolated", "--pull", "--publish", "--repository", "origin", "--revision", "main")
    printed = person.retrain(*isolated, "-S", "train.epochs=2", "--why", "two epochs")
    (branch,) = person.project.branches()
    assert f"published as {branch}" in printed
    results = shown(person, "rnnflow-results")[-1]
    assert re.match(r"# rnn (keeps|does not keep) the limits, nothing is in production yet\n- ", results)
    assert re.search(r"\| challenger \| rnn \| 0\.\d+ \(", results)
    assert re.search(r"## train\n.*\n.*\n\| ", results)
    assert "| train@rnn | generate | ran |" in results
    assert "| generate |" in results
    assert "+----------+" in results  # the graph
    newest, *_ = json.loads(shown(person, "rnnflow-metrics")[-1])
    assert newest["model"] == "rnn"
    assert newest["run"].endswith("retrain main two epochs")
    assert 0 < newest["accuracy"] <= 1
    assert float(shown(person, "rnnflow-progress-train-rnn")[-1]) == 100
    assert branch in shown(person, "rnnflow-published")[-1]
    before = {
        key: shown(person, key)
        for key in ("rnnflow-results", "rnnflow-metrics", "rnnflow-published", "rnnflow-progress-train-rnn")
    }
    assert "Completed: up to date" in person.retrain("--push")
    assert {key: shown(person, key) for key in before} == before


def test_a_failed_stage_leaves_its_own_line_and_nothing_is_published(person: Person) -> None:
    stage = person.project.folder / "stages/evaluate.py"
    stage.write_text(
        "from pathlib import Path\n"
        "Path('reports/models/rnn/evaluation').mkdir(parents=True, exist_ok=True)\n"
        "Path('reports/models/rnn/evaluation/metrics.json').write_text('{')\n"
        "raise RuntimeError('the test split has gone')\n" + stage.read_text()
    )
    person.project.push(message="a broken stage")
    run = ("--isolated", "--pull", "--publish", "--repository", "origin", "--revision", "main")
    printed = person.retrain(*run, expected=1)
    assert "Failed: evaluate@rnn: RuntimeError: the test split has gone; not run: export@rnn, compare" in printed
    assert person.project.branches() == {}
    assert person.clones == []


def test_when_one_model_fails_the_others_are_pushed_published_and_said(server: PrefectServer, tmp_path: Path) -> None:
    person = Person(make_project(tmp_path, models=("rnn", "gru")), server)
    stage = person.project.folder / "stages/evaluate.py"
    fails = "import sys\nif 'reports/models/gru/evaluation' in sys.argv:\n    raise RuntimeError('the test split has gone')\n"
    stage.write_text(fails + stage.read_text())
    person.project.push(message="a stage that fails for one model")
    run = ("--isolated", "--pull", "--publish", "--repository", "origin", "--revision", "main")
    printed = person.retrain(*run, expected=1)
    ((branch, commit),) = person.project.branches().items()
    assert (
        "Failed: evaluate@gru: RuntimeError: the test split has gone; not run: export@gru, compare; "
        f"the rest: trained gru, rnn; published as {branch}\n" in printed
    )
    person.project.git("fetch", "--quiet", "origin")
    person.project.git("checkout", "--quiet", commit)
    person.project.run("dvc", "pull", "models/rnn/model.onnx", "models/gru/checkpoint.safetensors")
    assert (person.project.folder / "models/rnn/model.onnx").is_file()


@pytest.mark.slow
def test_new_files_and_newer_imports_are_taken_in_and_published(person: Person, tmp_path: Path) -> None:
    landing = tmp_path / "landing"
    deliver(landing / "a.parquet", columns(60, "april"))
    project = person.project
    project.run("dvc", "import-url", str(landing), "data/raw/landing")
    project.change("params.yaml", {"generate.source": "files"})
    project.git("add", "--all")
    project.push(message="from files")
    run = ("generate", "--isolated", "--update", "--pull", "--publish", "--repository", "origin", "--revision", "main")
    assert "published as" in person.retrain(*run)
    assert "already published" in person.retrain(*run)
    deliver(landing / "b.parquet", columns(60, "may"))
    assert "published as" in person.retrain(*run)
    assert list(project.branches()) == ["auto/main"]
    project.git("fetch", "--quiet", "origin")
    project.git("merge", "--quiet", "--ff-only", "origin/auto/main")
    subjects = ["Retrain: by hand", "Retrain: by hand", "from files"]
    assert project.git("log", "-3", "--format=%s").splitlines() == subjects
    assert "- landing/b.parquet: new, 60 sequences" in project.git("log", "-1", "--format=%b")

    deliver(project.folder / "data/raw/june/a.parquet", columns(60, "june"))
    assert "published as" in person.retrain("generate", "--update", "--publish", "--repository", "origin")
    assert (project.folder / "data/raw/june.dvc").is_file()


@pytest.mark.slow
def test_a_branch_that_moves_while_a_run_is_at_work_gets_a_result_made_on_top_of_it(person: Person) -> None:
    project = person.project
    stage = project.folder / "stages/generate.py"
    moves = ["git", "--git-dir", str(project.origin), "update-ref", "refs/heads/main", "refs/heads/next"]
    stage.write_text(f"import subprocess\nsubprocess.run({moves}, check=True)\n{stage.read_text()}")
    project.push({"generate.seed": 7}, message="another seed")
    (project.folder / "README.md").write_text("Pushed while a run was at work.\n")
    project.git("commit", "--quiet", "--all", "--message=next")
    project.git("push", "--quiet", "origin", "HEAD:refs/heads/next")
    run = ("generate", "--isolated", "--pull", "--publish", "--repository", "origin", "--revision", "main")
    printed = person.retrain(*run)
    pushed = project.git("rev-parse", "HEAD")
    assert f"branch main has moved to {pushed} meanwhile: made anew on top of it" in printed
    assert "Completed: 1 stages: 1 restored from the run cache; published as auto/main" in printed
    project.git("fetch", "--quiet", "origin")
    assert project.git("rev-parse", "origin/auto/main^") == pushed
    assert "- generate.seed: 7, was 0" in project.git("log", "-1", "--format=%b", "origin/auto/main")


@pytest.mark.slow
def test_a_promotion_that_is_refused_leaves_the_published_result_and_the_next_run_repairs_it(person: Person) -> None:
    project = person.project
    before = project.push({"compare.minimum_accuracy": 0.0}, message="whatever it can do")
    refuses = project.origin / "hooks/update"
    refuses.write_text('#!/bin/sh\n[ "$1" != refs/heads/main ] || { echo "main is protected" >&2; exit 1; }\n')
    refuses.chmod(0o755)
    run = ("--isolated", "--pull", "--promote", "--repository", "origin", "--revision", "main")
    line = person.retrain(*run, expected=1).splitlines()[-1]
    assert line.startswith("Failed: promote: git push: ")
    assert "main is protected" in line
    assert "; rnn keeps the limits, nothing is in production yet; published as auto/main" in line
    assert project.branches("main") == {"main": before}
    assert project.git("ls-remote", "--tags", "origin") == ""
    refuses.unlink()
    line = person.retrain(*run).splitlines()[-1]
    assert line.endswith("; already published as auto/main; rnn is in production as v1.0.0")
    project.git("pull", "--quiet", "--ff-only", "origin", "main")
    assert project.git("log", "-3", "--format=%s").splitlines() == [
        "Promote rnn to production as v1.0.0",
        "Retrain: by hand",
        "whatever it can do",
    ]
    assert project.git("tag").splitlines() == ["classifier#production#1", "classifier@v1.0.0"]
