"""Promotions in real clones, with a real Git remote and a folder as DVC's remote."""

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from ruamel.yaml import YAML

from flows import promote, versions
from rnnflow.evaluation.scores.scoring import ids_of
from rnnflow.params.models import ModelParams
from rnnflow.runtime.provenance import file_md5
from tests import toys
from tests.flows.promotions import MODEL, at, refused, reproduce, set_models
from tests.flows.repositories import Repository

pytest_plugins = ["tests.flows.promotions"]


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


def test_a_new_clone_pulls_the_model_in_production_with_everything_else(project: Repository, tmp_path: Path) -> None:
    promote.main([])
    clone = Repository(tmp_path / "clone")
    project.git("clone", "--quiet", str(project.origin), str(clone.folder))
    clone.dvc("pull", "--quiet")
    assert (clone.folder / MODEL).read_bytes() == (project.folder / MODEL).read_bytes()


@at("promoted")
def test_what_the_model_was_trained_on_is_kept_beside_it(project: Repository) -> None:
    splits = [project.folder / "data/sequences" / name for name in ("train", "validation")]
    kept = np.load(project.folder / "models/production/training_ids.npy")
    assert kept.tolist() == ids_of(*splits).tolist()
    # In this toy the test split begins with the same sequences, and so does the next verdict leave them out.
    reproduce(project)
    assert json.loads(project.read("reports/comparison/verdict.json"))["test"]["num_compared"] == 360 - len(kept)


@pytest.mark.slow
@at("replaced")
def test_gto_and_dvc_find_the_versions_from_elsewhere(project: Repository, tmp_path: Path) -> None:
    shown = project.run("gto", "show", "classifier", "--plain")
    assert "v1.0.0" in shown
    assert "production" in next(line for line in shown.splitlines() if "v1.1.0" in line)
    target = tmp_path / "first.onnx"
    project.dvc("get", "--quiet", str(project.origin), MODEL, "--rev", "classifier@v1.0.0", "-o", str(target))
    assert target.read_bytes() == (project.folder / "source/poor.onnx").read_bytes()
    target = tmp_path / "artifact.onnx"
    project.dvc("artifacts", "get", str(project.origin), "classifier", "--stage", "production", "-o", str(target))
    assert target.read_bytes() == (project.folder / "source/good.onnx").read_bytes()


@at("replaced")
def test_a_rollback_brings_the_exact_bytes_back_and_a_trace_stays(
    project: Repository, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(project.folder / ".dvc/cache")  # so that they come from the remote
    promote.main(["--rollback", "--why", "it answers too slowly"])
    assert (project.folder / MODEL).read_bytes() == (project.folder / "source/poor.onnx").read_bytes()
    good = file_md5(project.folder / "source/good.onnx")
    assert versions.taken_back(project.folder, good) == "v1.1.0"
    assert project.git("status", "--porcelain") == ""
    assert project.git("log", "-1", "--format=%s\n\n%b").split("\n\n") == [
        "Roll production back from v1.1.0 to v1.0.0",
        "it answers too slowly",
    ]
    assert refused(capsys, "--rollback").startswith("there is nothing to roll back to: v1.0.0 is the first version")
    promote.main(["--rollback", "v1.1.0"])
    assert versions.taken_back(project.folder, good) is None
    assert (project.folder / MODEL).read_bytes() == (project.folder / "source/good.onnx").read_bytes()
    assert project.git("tag", "--list", "classifier#*").splitlines() == [
        f"classifier#production#{number}" for number in (1, 2, 3, 4)
    ]
    history = project.git("log", "--format=%s", "--", f"{MODEL}.dvc").splitlines()
    assert [line.partition(" ")[0] for line in history] == ["Roll", "Roll", "Promote", "Promote"]
    assert project.git("rev-parse", "HEAD") == project.git("rev-parse", "origin/main")


@pytest.mark.slow
@at("replaced")
def test_show_lists_versions_with_their_accuracy_then_and_today(
    project: Repository, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is in production is known today from the last verdict, whether as the challenger or as the model in production."""
    for role in ("challenger", "production"):
        capsys.readouterr()
        promote.main(["show"])
        newest, oldest = [line for line in capsys.readouterr().out.splitlines() if "v1." in line]
        verdict = json.loads(project.read("reports/comparison/verdict.json"))
        accuracy = "{accuracy:.4f} ({accuracy_low:.4f} – {accuracy_high:.4f})".format(**verdict[role])
        assert newest.count(accuracy) == 2
        reproduce(project)
    assert "production" in newest
    assert "poor" in oldest
    assert project.git("rev-list", "-1", "classifier@v1.0.0")[:9] in oldest


def test_show_says_that_there_is_no_version_yet(project: Repository, capsys: pytest.CaptureFixture[str]) -> None:
    promote.main(["show"])
    assert capsys.readouterr().out == "no version yet; `python -m flows.promote` makes the first\n"


@at("promoted")
def test_what_is_in_production_is_not_promoted_again(project: Repository, capsys: pytest.CaptureFixture[str]) -> None:
    before = project.git("tag"), project.git("rev-parse", "HEAD")
    promote.main([])
    assert "poor is in production already, as v1.0.0" in capsys.readouterr().out
    assert (project.git("tag"), project.git("rev-parse", "HEAD")) == before


@at("replaced")
def test_a_forced_promotion_keeps_the_reason(project: Repository) -> None:
    promote.main(["--force", "--model", "poor", "--why", "the camera was replaced", "--version", "v2.0.0"])
    assert (project.folder / MODEL).read_bytes() == (project.folder / "source/poor.onnx").read_bytes()
    assert "Forced: the camera was replaced" in project.git("log", "-1", "--format=%b", "classifier@v2.0.0")


@pytest.mark.slow
@at("replaced")
def test_not_worse_is_enough_where_one_says_so(project: Repository, capsys: pytest.CaptureFixture[str]) -> None:
    again = toys.random_classifier(ModelParams(cell="gru", hidden_size=8), seed=1)
    proto = onnx.load(toys.exported(project.folder.with_name("again"), again))
    proto.metadata_props.add(key="note", value="other bytes, the same answers")
    onnx.save(proto, project.folder / "source/again.onnx")
    set_models(project, "again")
    reproduce(project)
    assert refused(capsys).startswith("again: not worse; loses less than the margin")
    promote.main(["--at-least", "not-worse"])
    assert "again is in production as v1.2.0" in capsys.readouterr().out
