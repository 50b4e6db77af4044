"""What nightly runs leave in the repository: published results, promotions, and a branch that moved meanwhile."""

import re
import shutil
from pathlib import Path

import pytest

from tests.deliveries import columns, deliver
from tests.flows.people import Person

pytest_plugins = ["tests.flows.people"]


def final_line(printed: str) -> str:
    """Return how the run has ended, which it prints before its log is at an end."""
    (line,) = [line for line in printed.splitlines() if line.startswith(("Completed: ", "Failed: "))]
    return line


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


@pytest.mark.endurance  # has not been seen green yet
def test_a_night_in_which_a_stage_and_then_the_push_fail_says_both_and_what_was_trained(person: Person) -> None:
    project = person.project
    stage = project.folder / "stages/evaluate.py"
    stage.write_text(f"raise RuntimeError('the test split has gone')\n{stage.read_text()}")
    project.push({"train.seed": 5}, {"retries.max": 0}, message="a broken stage")
    shutil.rmtree(project.store)
    project.store.write_text("no folder")
    run = ("--isolated", "--publish", "--repository", "origin", "--revision", "main")
    line = final_line(person.retrain(*run, expected=1))
    assert line.startswith("Failed: evaluate@rnn: RuntimeError: the test split has gone; push: ")
    assert line.endswith("; not run: export@rnn, compare; the rest: trained rnn")
    assert project.branches() == {}


@pytest.mark.slow
def test_a_promotion_that_is_refused_leaves_the_published_result_and_the_next_run_repairs_it(person: Person) -> None:
    project = person.project
    before = project.push({"compare.minimum_accuracy": 0.0}, message="whatever it can do")
    refuses = project.origin / "hooks/update"
    refuses.write_text('#!/bin/sh\n[ "$1" != refs/heads/main ] || { echo "main is protected" >&2; exit 1; }\n')
    refuses.chmod(0o755)
    run = ("--isolated", "--pull", "--promote", "--repository", "origin", "--revision", "main")
    line = final_line(person.retrain(*run, expected=1))
    assert line.startswith("Failed: promote: git push: ")
    assert "main is protected" in line
    assert "; the rest: rnn keeps the limits, nothing is in production yet; published as auto/main" in line
    assert project.branches("main") == {"main": before}
    assert project.git("ls-remote", "--tags", "origin") == ""
    refuses.unlink()
    line = final_line(person.retrain(*run))
    assert re.search(r"; already published as auto/main on [\d-]{10}; rnn is in production as v1\.0\.0$", line), line
    project.git("pull", "--quiet", "--ff-only", "--tags", "origin", "main")
    assert project.git("log", "-3", "--format=%s").splitlines() == [
        "Promote rnn to production as v1.0.0",
        "Retrain: by hand",
        "whatever it can do",
    ]
    assert project.git("tag").splitlines() == ["classifier#production#1", "classifier@v1.0.0"]
