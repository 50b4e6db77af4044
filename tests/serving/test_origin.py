from pathlib import Path

import pytest

from rnnflow.cli import main
from rnnflow.params.models import ModelParams
from rnnflow.runtime.provenance import file_md5
from rnnflow.serving.origin import find_revision
from rnnflow.serving.predictor import Predictor
from tests import toys
from tests.serving.conftest import commit, git


def test_the_revision_is_the_first_whose_lock_names_the_md5(repository: Path) -> None:
    commit(repository, "Train it", "md5: abc\n")
    commit(repository, "Train another", "md5: abc\nmd5: def\n")
    commit(repository, "Train it no more", "md5: def\n")
    found = find_revision("abc", repository)
    assert found is not None
    short, _, subject = found.split(" ", 2)
    assert subject == "Train it"
    git(repository, "diff", "--exit-code", short, "HEAD~2")


def test_the_revision_is_found_on_a_branch_and_from_a_folder_below(repository: Path) -> None:
    git(repository, "checkout", "-b", "auto/run")
    commit(repository, "Retrain", "md5: abc\n")
    git(repository, "checkout", "main")
    (repository / "models").mkdir()
    assert str(find_revision("abc", repository / "models")).endswith("Retrain")


def test_there_is_no_revision_without_the_md5_or_outside_a_repository(
    repository: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    assert find_revision("abc", repository) is None
    assert find_revision("000", tmp_path_factory.mktemp("no_repository")) is None


@pytest.fixture
def model(repository: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An ONNX file beside the repository, in which somebody works."""
    monkeypatch.chdir(repository)
    return toys.exported(repository.with_name("elsewhere"), toys.random_classifier(ModelParams(cell="gru")))


def lock(model: Path, *, without: str = "") -> str:
    made_from = Predictor(model).metadata["md5"]
    return "\n".join(md5 for kind, md5 in {"model": file_md5(model), **made_from}.items() if kind != without)


def refused(model: Path, capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as exit_:
        main(["describe", "--verify", str(model)])
    assert exit_.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_a_file_of_this_repository_is_verified_with_its_commit_and_versions(
    model: Path, repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    commit(repository, "Train it", lock(model))
    main(["describe", "--verify", str(model)])
    shown = capsys.readouterr().out
    for part in ("sha256", file_md5(model), "unchanged since its export", "Train it", "never promoted"):
        assert part in shown
    tracked = repository / "models/production/model.onnx.dvc"
    tracked.parent.mkdir(parents=True)
    tracked.write_text(f"outs:\n- md5: {file_md5(model)}\n")
    git(repository, "add", ".")
    git(repository, "commit", "-m", "Promote it")
    git(repository, "tag", "classifier@v1.0.0")
    main(["describe", "--verify", str(model)])
    assert "promoted as classifier@v1.0.0" in capsys.readouterr().out


def test_a_file_that_the_repository_never_had_is_refused(
    model: Path, repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert f"error: {model}: no commit of the repository around {repository} names this file" in refused(model, capsys)
    commit(repository, "Train it", lock(model, without="weights"))
    assert refused(model, capsys).endswith("no dvc.lock has ever named what it says it was made from: weights")


def test_outside_of_a_repository_a_file_stands_for_itself(
    model: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path_factory.mktemp("no_repository"))
    main(["describe", "--verify", str(model)])
    assert "nothing else to compare with" in capsys.readouterr().out
