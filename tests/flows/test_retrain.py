"""The flow in place and in clones of its own, called as `make run` and a person call it, against a real server."""

import json
import re
import sys
from collections import defaultdict
from pathlib import Path
from uuid import UUID

import pytest
from prefect.client.schemas.sorting import FlowRunSort

from tests.flows.people import Person, copied
from tests.flows.projects import Deployed, Project, make_project
from tests.flows.servers import PrefectServer

pytest_plugins = ["tests.flows.people"]

SECRET = "planted-secret"
PUBLISHES = """
import sys
from flows.retrain import retrain
chosen = {"isolated": True, "pull": True, "publish": "branch", "revision": "main", "overrides": {"export.lengths": [1, 3]}}
print(retrain(**chosen, repository=sys.argv[1], return_state=True))
"""
STAGES = ("generate", "train@rnn", "evaluate@rnn", "export@rnn", "compare")
ISOLATED = ("--isolated", "--pull", "--publish", "--repository", "origin", "--revision", "main")
TWO_EPOCHS = (*ISOLATED, "-S", "train.epochs=2", "--why", "two epochs")


@pytest.fixture(scope="module")
def published(trained: Person, tmp_path_factory: pytest.TempPathFactory) -> Person:
    """A copy of the trained project, of which an isolated run has published another training."""
    person = copied(trained.project.folder.parent, tmp_path_factory.mktemp("published") / "copy", trained.server)
    assert "published as auto/" in person.retrain(*TWO_EPOCHS)
    return person


def test_a_second_run_says_of_every_stage_that_it_is_up_to_date(trained: Person) -> None:
    printed = trained.retrain()
    assert printed == "".join(f"{stage}: up to date\n" for stage in STAGES) + "Completed: up to date\n"
    assert not trained.project.git("status", "--porcelain")


def test_a_summary_has_the_models_of_the_stages_that_were_asked_for(trained: Person) -> None:
    printed = trained.retrain("--summary")
    assert "Completed: up to date\nResults" in printed
    assert "models/rnn/model.onnx" in printed
    assert trained.retrain("--summary", "train").endswith("Completed: up to date\n")


def test_a_summary_of_another_folder_has_its_models_and_not_those_of_this_one(trained: Person, tmp_path: Path) -> None:
    elsewhere = tmp_path / "models/rnn/model.onnx"
    elsewhere.parent.mkdir(parents=True)
    elsewhere.write_text("the model of this folder")
    folder = trained.project.folder
    program = "import os, sys; from flows.__main__ import main; os.chdir(sys.argv[1]); main(sys.argv[2:])"
    arguments = (str(tmp_path), "--folder", str(folder), "--repository", str(folder), "--summary")
    printed = trained.server.run(sys.executable, "-c", program, *arguments, folder=folder)
    assert "Completed: up to date\nResults" in printed
    assert "0." in printed.partition("Results")[2]


def test_a_run_that_has_to_push_says_the_same_through_prefect(trained: Person) -> None:
    printed = trained.retrain("--push")
    assert [stage for stage in STAGES if re.search(rf" - {stage}: up to date, \d+\.\d s\n", printed)] == [*STAGES]
    assert "Finished in state Completed('up to date')" in printed
    assert "Completed: up to date\n" in printed


WITHOUT_PREFECT = {
    "nothing to do": ([], 0),
    "an entry that is not there": (["-S", "models.rnn.hidden_sise=8"], 2),
    "a value of the wrong type": (["-S", "train.epochs=many"], 2),
    "an unknown stage": (["trin", "--update"], 2),
    "a home that cannot be written": (["-S", "train.epochs=9"], 2),
    "params that no stage can use": (["--allow-dirty"], 2),
    "a summary of what is elsewhere": (["--isolated", "--summary"], 2),
}


@pytest.mark.parametrize("case", WITHOUT_PREFECT)
def test_what_needs_no_prefect_is_said_before_it_is_loaded(trained: Person, case: str) -> None:
    arguments, status = WITHOUT_PREFECT[case]
    script = f"""
import sys
from flows.__main__ import main
try:
    main({arguments})
finally:
    print(*(name for name in sys.modules if name.split(".")[0] in ("prefect", "torch")))
"""
    environment = {"PREFECT_HOME": "/proc/nobody"} if "home" in case else {}
    params = trained.project.folder / "params.yaml"
    given = params.read_text()
    if "params" in case:
        params.write_text(given.replace("epochs: ", "epochs: -"))
    try:
        printed = trained.server.run(
            sys.executable, "-c", script, folder=trained.project.folder, expected=status, environment=environment
        )
    finally:
        params.write_text(given)
    assert printed.count("\n") <= len(STAGES) + 2
    assert ("Completed: up to date\n\n" in printed) if status == 0 else (printed.startswith("\nerror: ")), printed


def test_a_run_in_place_is_what_dvc_repro_would_have_made(trained: Person) -> None:
    # The stages after the training would take most of the time.
    reproduced = trained.project.reproduced(trained.project.git("rev-parse", "HEAD"), "train@rnn")
    assert (trained.project.folder / "dvc.lock").read_text() == reproduced


def test_only_the_stages_that_were_asked_for_are_looked_at(trained: Person) -> None:
    assert trained.retrain("train") == "generate: up to date\ntrain@rnn: up to date\nCompleted: up to date\n"


MISTAKES = {
    "entry": (
        ["-S", "models.rnn.hidden_sise=8"],
        "overrides: params.yaml has no entry 'models.rnn.hidden_sise'; did you",
    ),
    "value": (["-S", "train.epochs=many"], "overrides: params.yaml: train.epochs: input should be a valid integer"),
    "revision": (["--isolated", "--revision", "nowhere"], "revision 'nowhere' is not in"),
    "promotion": (
        ["--promote"],
        "publish: promote: expected an isolated run of a branch without overrides, whose commit",
    ),
    "stage": (["trin"], "stage 'trin' is not in dvc.yaml; there are generate, train@rnn"),
}
MAKE_MISTAKES = """
import json
import sys
from flows.__main__ import main
for arguments in json.loads(sys.argv[1]):
    try:
        main(arguments)
    except SystemExit as exit_:
        print("status", exit_.code, "of", arguments, file=sys.stderr, flush=True)
    print("NEXT", file=sys.stderr, flush=True)
"""


@pytest.fixture(scope="module")
def answers(trained: Person) -> dict[str, str]:
    """What the command prints for each mistake; in one process, as it takes some seconds to begin."""
    arguments = [arguments for arguments, _ in MISTAKES.values()]
    state = {"RNNFLOW_STATE": str(trained.project.folder.with_name("state"))}
    command = (sys.executable, "-c", MAKE_MISTAKES, json.dumps(arguments))
    printed = trained.server.run(*command, folder=trained.project.folder, environment=state)
    return dict(zip(MISTAKES, printed.split("NEXT\n"), strict=False))


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line_and_status_2(trained: Person, answers: dict[str, str], mistake: str) -> None:
    arguments, said = MISTAKES[mistake]
    printed = answers[mistake]
    assert f"error: {said}" in printed
    assert f"status 2 of {arguments}\n" in printed
    assert "Traceback" not in printed
    assert not trained.project.git("status", "--porcelain")


def test_a_mistake_in_the_settings_is_one_line(person: Person) -> None:
    person.project.change("flows/settings.yaml", {"retries.max": "often"})
    printed = person.retrain(expected=2)
    assert printed.startswith("error: settings.yaml: retries.max: "), printed
    assert printed.count("\n") == 1


def test_a_server_that_does_not_answer_is_named(trained: Person) -> None:
    printed = trained.retrain("--push", expected=2, environment={"PREFECT_API_URL": "http://127.0.0.1:9/api"})
    assert "error: http://127.0.0.1:9/api: no Prefect server answers" in printed


def test_who_asks_for_workers_without_a_server_is_told_how_to_name_one(trained: Person) -> None:
    printed = trained.retrain("--coordinated", "--push", expected=2, environment={"PREFECT_API_URL": ""})
    assert printed.startswith("error: PREFECT_API_URL is not set: start one with `make server`"), printed


@pytest.mark.slow
def test_local_changes_are_refused_in_place_and_left_alone_by_an_isolated_run(person: Person) -> None:
    params = person.project.folder / "params.yaml"
    dirty = params.read_text().replace("epochs: 3", "epochs: 4")
    params.write_text(dirty)
    printed = person.retrain(expected=2)
    assert "error: params.yaml: changed and not committed; commit, use --isolated, or say --allow-dirty" in printed
    printed = person.retrain("--isolated", "--push", "train")
    assert "2 stages: 2 ran" in printed  # with the epochs that are committed
    assert params.read_text() == dirty
    assert person.clones == []
    assert "2 stages: 1 up to date, 1 ran" in person.retrain("--allow-dirty", "train")


def test_an_isolated_run_publishes_once_and_says_when_there_is_nothing_new(
    trained: Person, published: Person, tmp_path: Path
) -> None:
    day = trained.project.git("log", "-1", "--format=%cs", "--", "dvc.lock")
    assert f"up to date; nothing new to publish since {day}" in trained.retrain(*ISOLATED)
    ((branch, commit),) = published.project.branches().items()
    assert f"already published as {branch} on {day}" in published.retrain(*TWO_EPOCHS)
    assert list(published.project.branches()) == [branch]
    clone = Project(tmp_path / "clone")
    published.project.git("clone", "--quiet", str(published.project.origin), str(clone.folder))
    changed = clone.git("diff", "--name-only", "main", commit).split()
    assert sorted(changed) == ["dvc.lock", "params.yaml"]
    assert "two epochs" in clone.git("log", "-1", "--format=%B", commit)
    clone.git("checkout", "--quiet", commit)
    clone.run("dvc", "pull")
    assert "up to date" in clone.run("dvc", "status")


@pytest.mark.slow
def test_a_planted_secret_is_found_nowhere(person: Person) -> None:
    """A worker's clone may have a token in the URL of its `origin`, its environment a password in that of the server."""
    url = f"https://user:{SECRET}@git.example.com/team/rnnflow.git"
    leads_here = {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"url.{person.project.origin}.insteadOf",
        "GIT_CONFIG_VALUE_0": url,
        "RNNFLOW_STATE": str(person.project.folder.with_name("state")),
        "PREFECT_API_URL": person.server.api_url.replace("://", f"://user:{SECRET}@"),
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


@pytest.mark.slow
def test_the_password_of_a_dvc_remote_is_found_nowhere(person: Person) -> None:
    person.project.change("flows/settings.yaml", {"retries.max": 0})
    for url in (f"ssh://user:{SECRET}@127.0.0.1:9/store", f"http://user:{SECRET}@127.0.0.1:9/store"):
        person.project.run("dvc", "remote", "modify", "store", "url", url)
        printed = person.retrain("--push", "--allow-dirty", "--why", url[:4], expected=1)
        assert "push: " in printed
        assert SECRET not in printed
        with person.server.client() as client:
            runs = client.read_flow_runs(limit=1, sort=FlowRunSort.START_TIME_DESC)
        assert SECRET not in "\n".join(Deployed(person.project, person.server).log(runs[0].id))


def shown(server: PrefectServer) -> dict[UUID | None, dict[str | None, str]]:
    """Return the artifacts on the server by run and key, the newest of each."""
    with server.client() as client:
        found = client.read_artifacts()
    by_run: dict[UUID | None, dict[str | None, str]] = defaultdict(dict)
    for artifact in sorted(found, key=lambda artifact: str(artifact.created)):
        by_run[artifact.flow_run_id][artifact.key] = str(artifact.data)
    return by_run


def test_a_run_shows_its_results_and_one_with_nothing_to_do_adds_none(published: Person) -> None:
    (branch,) = published.project.branches()
    before = shown(published.server)
    of_run = before[UUID(branch.removeprefix("auto/"))]
    results = of_run["rnnflow-results"]
    assert re.match(r"# rnn (keeps|does not keep) the limits, nothing is in production yet\n- ", results)
    assert re.search(r"\| challenger \| rnn \| 0\.\d+ \(", results)
    assert re.search(r"## train\n.*\n.*\n\| ", results)
    assert "| train@rnn | generate | ran |" in results
    assert "| generate |" in results
    assert "+----------+" in results  # the graph
    newest, *_ = json.loads(of_run["rnnflow-metrics"])
    assert newest["model"] == "rnn"
    assert newest["run"].endswith("retrain main two epochs")
    assert 0 < newest["accuracy"] <= 1
    assert float(of_run["rnnflow-progress-train-rnn"]) == 100
    assert branch in of_run["rnnflow-published"]
    assert "Completed: up to date" in published.retrain("--push")
    assert shown(published.server) == before


@pytest.mark.slow
def test_a_failed_stage_leaves_its_own_line_and_nothing_is_published(person: Person) -> None:
    stage = person.project.folder / "stages/evaluate.py"
    stage.write_text(
        "from pathlib import Path\n"
        "Path('reports/models/rnn/evaluation').mkdir(parents=True, exist_ok=True)\n"
        "Path('reports/models/rnn/evaluation/metrics.json').write_text('{')\n"
        "raise RuntimeError('the test split has gone')\n" + stage.read_text()
    )
    person.project.push(message="a broken stage")
    printed = person.retrain(*ISOLATED, expected=1)
    assert "Failed: evaluate@rnn: RuntimeError: the test split has gone; not run: export@rnn, compare" in printed
    assert person.project.branches() == {}
    assert person.clones == []


@pytest.mark.slow
def test_when_one_model_fails_the_others_are_pushed_published_and_said(server: PrefectServer, tmp_path: Path) -> None:
    person = Person(make_project(tmp_path, models=("rnn", "gru")), server)
    stage = person.project.folder / "stages/evaluate.py"
    fails = "import sys\nif 'reports/models/gru/evaluation' in sys.argv:\n    raise RuntimeError('the test split has gone')\n"
    stage.write_text(fails + stage.read_text())
    person.project.push(message="a stage that fails for one model")
    printed = person.retrain(*ISOLATED, expected=1)
    ((branch, commit),) = person.project.branches().items()
    assert (
        "Failed: evaluate@gru: RuntimeError: the test split has gone; not run: export@gru, compare; "
        f"the rest: trained gru, rnn; published as {branch}\n" in printed
    )
    person.project.git("fetch", "--quiet", "origin")
    person.project.git("checkout", "--quiet", commit)
    person.project.run("dvc", "pull", "models/rnn/model.onnx", "models/gru/checkpoint.safetensors")
    assert (person.project.folder / "models/rnn/model.onnx").is_file()
