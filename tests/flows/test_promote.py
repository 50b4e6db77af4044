"""Promotions in real clones, with a real Git remote and a folder as DVC's remote."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import psutil
import pytest
from ruamel.yaml import YAML

from flows import promote
from rnnflow.evaluation.scoring import ids_of
from rnnflow.params.models import ModelParams
from rnnflow.runtime.provenance import ROOT, folder_md5
from rnnflow.serving.predictor import Predictor
from tests import toys
from tests.flows import repositories
from tests.flows.repositories import Repository

DVC_YAML = """\
stages:
  export:
    foreach: ${models}
    do:
      cmd: mkdir -p models/${key} && cp source/${key}.onnx models/${key}/model.onnx
      deps: ["source/${key}.onnx"]
      outs: ["models/${key}/model.onnx"]
  compare:
    cmd: >-
      python -m stages.compare --params params.yaml --models models --validation data/sequences/validation
      --test data/sequences/test --output reports/comparison
    params: [compare, models]
    deps: [models, data/sequences]
    outs: [reports/comparison/verdict.json, reports/comparison/verdict.md]
artifacts:
  classifier: {path: models/production/model.onnx, type: model}
"""
SEQUENCES = toys.random_sequences([3, 1, 7, 5, 2, 9] * 60)
MODEL = "models/production/model.onnx"


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """Model `poor` has been compared with nothing, and all is committed; `good` is there to be named."""
    with pytest.MonkeyPatch.context() as patch:
        prepare_environment(patch, tmp_path_factory.mktemp("dvc"))
        repository = Repository(tmp_path_factory.mktemp("template"))
        (repository.folder / "source").mkdir()
        for seed, name in ((1, "good"), (2, "poor")):
            classifier = toys.random_classifier(ModelParams(cell="gru", hidden_size=8), seed=seed)
            made = toys.exported(tmp_path_factory.mktemp(name), classifier)
            shutil.copy2(made, repository.folder / f"source/{name}.onnx")
        good = Predictor(repository.folder / "source/good.onnx").predict(SEQUENCES)
        labels = ["down" if index % 20 == 0 else label for index, label in enumerate(good)]
        for split, size in (("train", 30), ("validation", 300), ("test", 360)):
            path = repository.folder / f"data/sequences/{split}/part-00000.parquet"
            toys.write_sequences(path, SEQUENCES[:size], labels[:size])
        for name in ("good", "poor"):
            say_trained_on(repository.folder / f"source/{name}.onnx", repository.folder / "data/sequences/train")
        repository.git("init", "--quiet", "--initial-branch=main")
        repository.git("config", "user.name", "test")
        repository.git("config", "user.email", "test@example.com")
        repository.dvc("init", "--quiet")
        repository.write("dvc.yaml", DVC_YAML)
        repository.write(".gitignore", "/models/*\n!/models/production/\n/reports/\n")
        repository.write("models/production/README.md", "Here comes the model in production.\n")
        set_models(repository, "poor")
        repository.commit("project")
        reproduce(repository)
    return repository


def say_trained_on(model: Path, folder: Path) -> None:
    """Let the metadata of an ONNX file name the train split."""
    proto = onnx.load(model)
    (entry,) = [entry for entry in proto.metadata_props if entry.key == "md5"]
    entry.value = json.dumps(json.loads(entry.value) | {"train": folder_md5(folder)})
    onnx.save(proto, model)


def prepare_environment(patch: pytest.MonkeyPatch, folder: Path) -> None:
    repositories._set_environment(patch, folder)
    patch.setenv("PYTHONPATH", str(ROOT))
    patch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")


@pytest.fixture
def project(template: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    """A copy with an `origin` and DVC's remote `store`, in which the test works."""
    # DVC 3.67 asks pygtrie 2.6 for something in the old way, in the process of whoever reads a repository.
    warnings.filterwarnings("ignore", "_NoneStep.value will soon", DeprecationWarning)
    prepare_environment(monkeypatch, tmp_path / "dvc")
    shutil.copytree(template.folder, tmp_path / "project", symlinks=True)
    project = Repository(tmp_path / "project")
    project.write(".dvc/config", f"[core]\n    remote = store\n['remote \"store\"']\n    url = {project.store}\n")
    project.commit("remote")
    project.git("clone", "--quiet", "--bare", ".", str(project.origin))
    project.git("remote", "add", "origin", str(project.origin))
    project.git("fetch", "--quiet", "origin")
    monkeypatch.chdir(project.folder)
    return project


def set_models(project: Repository, *names: str) -> None:
    compared = {"min_class_sequences": 500, "minimum_accuracy": 0.5}
    toys.write_params(project.folder, models={name: {"cell": "gru"} for name in names}, compare=compared)


def reproduce(project: Repository) -> None:
    project.dvc("repro", "--quiet")
    project.commit("results")


def promote_good(project: Repository) -> None:
    """Promote `poor` first and then `good`, which is better."""
    promote.main([])
    set_models(project, "poor", "good")
    reproduce(project)
    promote.main([])


def state(project: Repository) -> list[object]:
    """Return all that a promotion changes, here and in the remote."""
    production = project.folder / "models/production"
    remote = project.run("git", "--git-dir", str(project.origin), "for-each-ref")
    return [
        project.git("rev-parse", "HEAD"),
        project.git("status", "--porcelain"),
        project.git("tag"),
        {path.name: path.read_bytes() for path in production.iterdir()},
        remote,
    ]


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Return the one line with which it ends."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as exit_:
        promote.main(arguments)
    assert exit_.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line.removeprefix("error: ")


def test_a_first_promotion_is_a_commit_two_tags_and_data_in_the_remotes(
    project: Repository, capsys: pytest.CaptureFixture[str]
) -> None:
    promote.main([])
    assert "poor is in production as v1.0.0" in capsys.readouterr().out
    assert project.git("status", "--porcelain") == ""
    assert project.git("log", "-1", "--format=%s") == "Promote poor to production as v1.0.0"
    assert "Verdict: better." in project.git("log", "-1", "--format=%b")
    assert (project.folder / MODEL).read_bytes() == (project.folder / "source/poor.onnx").read_bytes()
    md5 = YAML(typ="safe").load(project.read(f"{MODEL}.dvc"))["outs"][0]["md5"]
    assert (project.store / "files/md5" / md5[:2] / md5[2:]).is_file()
    remote = project.run("git", "ls-remote", str(project.origin))
    for ref in ("refs/heads/main", "refs/tags/classifier@v1.0.0", "refs/tags/classifier#production#1"):
        assert ref in remote
    assert project.git("rev-parse", "HEAD") in remote


def test_what_the_model_was_trained_on_is_kept_beside_it(project: Repository) -> None:
    promote.main([])
    splits = [project.folder / "data/sequences" / name for name in ("train", "validation")]
    kept = np.load(project.folder / "models/production/training_ids.npy")
    assert kept.tolist() == ids_of(*splits).tolist()
    # In this toy the test split begins with the same sequences, and so does the next verdict leave them out.
    reproduce(project)
    assert json.loads(project.read("reports/comparison/verdict.json"))["test"]["num_compared"] == 360 - len(kept)


def test_gto_and_dvc_find_the_versions_from_elsewhere(project: Repository, tmp_path: Path) -> None:
    promote_good(project)
    shown = project.run("gto", "show", "classifier", "--plain")
    assert "v1.0.0" in shown
    assert "production" in next(line for line in shown.splitlines() if "v1.1.0" in line)
    for version, name in (("v1.0.0", "poor"), ("v1.1.0", "good")):
        target = tmp_path / f"{version}.onnx"
        project.dvc("get", "--quiet", str(project.origin), MODEL, "--rev", f"classifier@{version}", "-o", str(target))
        assert target.read_bytes() == (project.folder / f"source/{name}.onnx").read_bytes()
    target = tmp_path / "artifact.onnx"
    project.dvc("artifacts", "get", str(project.origin), "classifier", "--stage", "production", "-o", str(target))
    assert target.read_bytes() == (project.folder / "source/good.onnx").read_bytes()


def test_a_rollback_brings_the_exact_bytes_back_and_a_trace_stays(
    project: Repository, capsys: pytest.CaptureFixture[str]
) -> None:
    promote_good(project)
    shutil.rmtree(project.folder / ".dvc/cache")  # so that they come from the remote
    promote.main(["--rollback", "--why", "it answers too slowly"])
    assert (project.folder / MODEL).read_bytes() == (project.folder / "source/poor.onnx").read_bytes()
    assert project.git("status", "--porcelain") == ""
    assert project.git("log", "-1", "--format=%s\n\n%b").split("\n\n") == [
        "Roll production back from v1.1.0 to v1.0.0",
        "it answers too slowly",
    ]
    assert refused(capsys, "--rollback").startswith("there is nothing to roll back to: v1.0.0 is the first version")
    promote.main(["--rollback", "v1.1.0"])
    assert (project.folder / MODEL).read_bytes() == (project.folder / "source/good.onnx").read_bytes()
    assert project.git("tag", "--list", "classifier#*").splitlines() == [
        f"classifier#production#{number}" for number in (1, 2, 3, 4)
    ]
    history = project.git("log", "--format=%s", "--", f"{MODEL}.dvc").splitlines()
    assert [line.partition(" ")[0] for line in history] == ["Roll", "Roll", "Promote", "Promote"]
    assert project.git("rev-parse", "HEAD") == project.git("rev-parse", "origin/main")


def test_show_lists_versions_with_their_accuracy_then_and_today(
    project: Repository, capsys: pytest.CaptureFixture[str]
) -> None:
    promote_good(project)
    reproduce(project)
    capsys.readouterr()
    promote.main(["show"])
    newest, oldest = [line for line in capsys.readouterr().out.splitlines() if "v1." in line]
    verdict = json.loads(project.read("reports/comparison/verdict.json"))
    accuracy = "{accuracy:.4f} ({accuracy_low:.4f} – {accuracy_high:.4f})".format(**verdict["production"])
    assert newest.count(accuracy) == 2
    assert "production" in newest
    assert "poor" in oldest
    assert project.git("rev-list", "-1", "classifier@v1.0.0")[:9] in oldest


def test_what_is_in_production_is_not_promoted_again(project: Repository, capsys: pytest.CaptureFixture[str]) -> None:
    promote.main([])
    reproduce(project)
    before = project.git("tag"), project.git("rev-parse", "HEAD")
    promote.main([])
    assert "poor is in production already, as v1.0.0" in capsys.readouterr().out
    assert (project.git("tag"), project.git("rev-parse", "HEAD")) == before


def test_a_forced_promotion_keeps_the_reason(project: Repository) -> None:
    promote_good(project)
    promote.main(["--force", "--model", "poor", "--why", "the camera was replaced", "--version", "v2.0.0"])
    assert (project.folder / MODEL).read_bytes() == (project.folder / "source/poor.onnx").read_bytes()
    assert "Forced: the camera was replaced" in project.git("log", "-1", "--format=%b", "classifier@v2.0.0")


def test_not_worse_is_enough_where_one_says_so(project: Repository, capsys: pytest.CaptureFixture[str]) -> None:
    promote_good(project)
    again = toys.random_classifier(ModelParams(cell="gru", hidden_size=8), seed=1)
    shutil.copy2(toys.exported(project.folder.with_name("again"), again), project.folder / "source/again.onnx")
    with (project.folder / "source/again.onnx").open("ab") as file:
        file.write(b"\xa2\x06\x01x")  # a field that ONNX does not know: other bytes, the same answers
    set_models(project, "again")
    reproduce(project)
    assert refused(capsys).startswith("again: not worse; loses less than the margin")
    promote.main(["--at-least", "not-worse"])
    assert "again is in production as v1.2.0" in capsys.readouterr().out


def without_why(project: Repository) -> tuple[list[str], str]:
    return ["--force"], "--force: say --why, which the commit will keep"


def dirty_tree(project: Repository) -> tuple[list[str], str]:
    project.write("params.yaml", project.read("params.yaml") + "\n")
    return [], "params.yaml: changed and not committed"


def existing_tag(project: Repository) -> tuple[list[str], str]:
    project.git("tag", "classifier@v1.0.0")
    return ["--version", "v1.0.0"], "tag classifier@v1.0.0 exists; choose another --version, such as v1.1.0"


def no_version(project: Repository) -> tuple[list[str], str]:
    return ["--version", "1.0"], "version '1.0': expected three numbers, such as v1.2.0"


def nothing_promoted(project: Repository) -> tuple[list[str], str]:
    return ["--rollback"], "there is nothing to roll back to: no version has been promoted"


def first_one(project: Repository) -> tuple[list[str], str]:
    promote.main([])
    return ["--rollback"], "there is nothing to roll back to: v1.0.0 is the first version that was in production"


def unknown_version(project: Repository) -> tuple[list[str], str]:
    promote.main([])
    return ["--rollback", "v7.0.0"], "version v7.0.0 is not among v1.0.0"


def there_already(project: Repository) -> tuple[list[str], str]:
    promote.main([])
    return ["--rollback", "v1.0.0"], "v1.0.0 is in production already"


def not_good_enough(project: Repository) -> tuple[list[str], str]:
    promote_good(project)
    set_models(project, "poor")
    reproduce(project)
    return [], "poor: worse; significantly less accurate"


def other_model(project: Repository) -> tuple[list[str], str]:
    set_models(project, "poor", "good")
    reproduce(project)
    return ["--model", "poor"], "reports/comparison/verdict.json is not about model poor; --force --why"


def no_model(project: Repository) -> tuple[list[str], str]:
    return ["--model", "best", "--force", "--why", "x"], f"{project.folder}/models/best/model.onnx: no such file"


def old_verdict(project: Repository) -> tuple[list[str], str]:
    promote.main([])
    shutil.copy2(project.folder / "source/good.onnx", project.folder / "source/poor.onnx")
    project.dvc("repro", "--quiet", "--single-item", "export@poor")
    project.commit("another")
    return [], "reports/comparison/verdict.json is about other files than the ones that are here; `dvc repro` first"


def unknown_file(project: Repository) -> tuple[list[str], str]:
    shutil.copy2(project.folder / "source/good.onnx", project.folder / "models/poor/model.onnx")
    return [], "models/poor/model.onnx: not the file that dvc.lock names; `dvc repro`, and commit first"


def no_verdict(project: Repository) -> tuple[list[str], str]:
    (project.folder / "reports/comparison/verdict.json").unlink()
    return [], "reports/comparison/verdict.json: no such file; `dvc repro compare`"


def no_branch(project: Repository) -> tuple[list[str], str]:
    project.git("checkout", "--quiet", "--detach")
    return [], "no branch is checked out"


def gone_from_everywhere(project: Repository) -> tuple[list[str], str]:
    promote_good(project)
    for folder in (project.folder / ".dvc/cache", project.store):
        shutil.rmtree(folder)
    return ["--rollback"], ""


def refused_tags(project: Repository) -> tuple[list[str], str]:
    hook(project.origin / "hooks/update", 'case "$1" in refs/tags/*) echo "tags are protected" >&2; exit 1;; esac')
    return [], "git push: "


def refused_branch(project: Repository) -> tuple[list[str], str]:
    promote.main([])
    set_models(project, "poor", "good")
    reproduce(project)
    hook(project.origin / "hooks/update", 'case "$1" in refs/heads/*) echo "main is protected" >&2; exit 1;; esac')
    return [], "git push: "


def moved_branch(project: Repository) -> tuple[list[str], str]:
    other = Repository(project.folder.with_name("other"))
    project.git("clone", "--quiet", str(project.origin), str(other.folder))
    other.git("-c", "user.name=x", "-c", "user.email=x", "commit", "--quiet", "--allow-empty", "--message=other")
    other.git("push", "--quiet")
    return [], "git push: "


def store_refuses(project: Repository) -> tuple[list[str], str]:
    shutil.rmtree(project.store, ignore_errors=True)
    project.store.write_text("a file where the remote should be\n")
    return [], ""


def hook(path: Path, script: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


MISTAKES = [
    without_why, dirty_tree, existing_tag, no_version, nothing_promoted, first_one, unknown_version, there_already,
    not_good_enough, other_model, no_model, old_verdict, unknown_file, no_verdict, no_branch, gone_from_everywhere,
    refused_tags, refused_branch, moved_branch, store_refuses
]  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.__name__)
def test_what_cannot_be_done_is_one_line_and_nothing_half_done(
    project: Repository, mistake: Callable[[Repository], tuple[list[str], str]], capsys: pytest.CaptureFixture[str]
) -> None:
    arguments, message = mistake(project)
    before = state(project)
    assert refused(capsys, *arguments).startswith(message)
    assert state(project) == before


@pytest.mark.parametrize("refusal", [refused_tags, refused_branch], ids=lambda refusal: refusal.__name__)
def test_once_the_remote_agrees_the_next_run_goes_through(
    project: Repository,
    refusal: Callable[[Repository], tuple[list[str], str]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    refusal(project)
    assert "protected" in refused(capsys)
    (project.origin / "hooks/update").unlink()
    promote.main([])
    assert "is in production as v1." in capsys.readouterr().out


@pytest.fixture
def killed(project: Repository) -> Callable[[Path], None]:
    """Promotes in a process of its own and kills it where a hook waits."""

    def kill(at: Path) -> None:
        reached = project.folder.with_name("reached")
        hook(at, f"touch '{reached}'; sleep 60")
        with subprocess.Popen([sys.executable, "-m", "flows.promote"], start_new_session=True) as process:
            while not reached.exists() and process.poll() is None:
                time.sleep(0.05)
            started = psutil.Process(process.pid).children(recursive=True)
            for one in (process, *started):  # Git too, which would go on by itself
                one.kill()
        psutil.wait_procs(started)
        assert process.returncode == -signal.SIGKILL
        at.unlink()

    return kill


@pytest.mark.parametrize("where", ["commit", "push"])
def test_the_next_run_finishes_what_a_killed_one_began(
    project: Repository, killed: Callable[[Path], None], where: str, capsys: pytest.CaptureFixture[str]
) -> None:
    hooks = {"commit": project.folder / ".git/hooks/pre-commit", "push": project.folder / ".git/hooks/pre-push"}
    killed(hooks[where])
    for lock in (project.folder / ".git").rglob("*.lock"):  # Git's own, which it names in an error of one line
        lock.unlink()
    promote.main([])
    assert "poor is in production" in capsys.readouterr().out
    assert project.git("status", "--porcelain") == ""
    remote = project.run("git", "ls-remote", str(project.origin))
    assert "refs/tags/classifier@v1.0.0" in remote
    assert f"{project.git('rev-parse', 'HEAD')}\trefs/heads/main" in remote
