"""The flow in place and in clones of its own, called as `make run` and a person call it, against a real server."""

import json
import re
import sys

import pytest

from tests.flows.persons import Person

pytest_plugins = ["tests.flows.persons"]

STAGES = ("generate", "train@rnn", "evaluate@rnn", "export@rnn", "compare")


def test_a_second_run_says_of_every_stage_that_it_is_up_to_date(trained: Person) -> None:
    printed = trained.retrain()
    assert printed == "".join(f"{stage}: up to date\n" for stage in STAGES) + "Completed: up to date\n"
    assert not trained.project.git("status", "--porcelain")


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
    printed = trained.server.run(sys.executable, "-c", script, folder=trained.project.folder, expected=status)
    assert ("Completed: up to date\n\n" in printed) if status == 0 else (printed.startswith("\nerror: ")), printed


def test_the_flow_is_also_called_by_the_name_of_its_module(trained: Person) -> None:
    command = (sys.executable, "-m", "flows.retrain", "-S", "train.epochs=many")
    printed = trained.server.run(*command, folder=trained.project.folder, expected=2)
    assert printed.startswith("error: overrides: params.yaml: train.epochs: ")


def test_a_run_in_place_is_what_dvc_repro_would_have_made(trained: Person) -> None:
    reproduced = trained.project.reproduced(trained.project.git("rev-parse", "HEAD"))
    assert (trained.project.folder / "dvc.lock").read_text() == reproduced


def test_only_the_stages_that_were_asked_for_are_looked_at(trained: Person) -> None:
    assert trained.retrain("train") == "generate: up to date\ntrain@rnn: up to date\nCompleted: up to date\n"
    printed = trained.retrain("train", "--push")
    assert [stage for stage in STAGES if f" - {stage}: up to date, " in printed] == ["generate", "train@rnn"]


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
