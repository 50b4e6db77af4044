"""DVC would take what changes while a stage is at work for what its outputs were made from."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from rnnflow.generation.build import DatasetBuilder
from rnnflow.runtime import environment
from rnnflow.runtime.errors import TEMPORARY_STATUS, TemporaryError
from rnnflow.runtime.unchanged import unchanged_files
from rnnflow.sequences import dataset
from stages import generate, train
from tests import toys


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: (folder / "a.csv").write_text("other"),
        lambda folder: (folder / "new.csv").write_text("new"),
        lambda folder: (folder / "within/b.csv").unlink(),
    ],
)
def test_a_file_that_changes_meanwhile_is_named(change: Callable[[Path], object], tmp_path: Path) -> None:
    (tmp_path / "within").mkdir()
    for name in ("a.csv", "within/b.csv"):
        (tmp_path / name).write_text("content")
    with (
        pytest.raises(TemporaryError, match=r"\.csv: changed while the stage was at work"),
        unchanged_files(tmp_path),
    ):
        change(tmp_path)


def test_what_is_left_alone_or_not_there_is_no_change(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("content")
    with unchanged_files(tmp_path, tmp_path / "a.csv", tmp_path / "nowhere"):
        (tmp_path / "a.csv").read_text()


def test_raw_files_that_change_while_stage_generate_is_at_work_are_not_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    raw = tmp_path / "raw"
    raw.mkdir()
    rows = "".join(f"r{number},{'ab'[number % 2]},{step * number}\n" for number in range(60) for step in (1, 2, 3))
    (raw / "a.csv").write_text("id,label,x\n" + rows)
    toys.write_params(tmp_path, generate={"source": "files", "files": {"features": ["x"]}})
    (tmp_path / "reference.json").write_text("{}")
    arguments = [
        *("--params", f"{tmp_path}/params.yaml", "--raw", str(raw), "--reference", f"{tmp_path}/reference.json"),
        *("--output", f"{tmp_path}/sequences", "--report", f"{tmp_path}/report"),
    ]
    finish = DatasetBuilder.finish

    def slowly(builder: DatasetBuilder) -> object:
        (raw / "b.csv").write_text("half a delivery")
        return finish(builder)

    monkeypatch.setattr(DatasetBuilder, "finish", slowly)
    with pytest.raises(SystemExit) as exit_:
        generate.main(arguments)
    assert exit_.value.code == TEMPORARY_STATUS
    assert (
        capsys.readouterr().err.splitlines()[-1].startswith(f"error: {raw}/b.csv: changed while the stage was at work")
    )


def test_params_that_change_while_stage_train_is_at_work_are_not_recorded_and_it_can_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(environment.STATE, str(tmp_path / "state"))
    for split in ("train", "validation"):
        toys.write_sequences(tmp_path / split / "part.parquet", toys.random_sequences([3] * 12), ["a", "b"] * 6)
    recipe = {"epochs": 2, "engine": "torch"}
    written = toys.write_params(tmp_path, train=recipe, models={"toy": {"cell": "rnn", "hidden_size": 2}})
    shutil.copy(written, tmp_path / "before.yaml")
    arguments = [
        *("toy", "--params", f"{tmp_path}/params.yaml", "--train", f"{tmp_path}/train"),
        *(
            "--validation",
            f"{tmp_path}/validation",
            "--checkpoint",
            f"{tmp_path}/c.safetensors",
            "--log",
            f"{tmp_path}/log",
        ),
    ]
    load = dataset.load

    def edited(*given: object, **named: object) -> object:
        toys.write_params(tmp_path, train=recipe | {"epochs": 9}, models={"toy": {"cell": "rnn", "hidden_size": 2}})
        return load(*given, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(dataset, "load", edited)
    with pytest.raises(SystemExit) as exit_:
        train.main(arguments)
    assert exit_.value.code == TEMPORARY_STATUS
    assert "params of this stage changed while it was at work" in capsys.readouterr().err.splitlines()[-1]
    assert list((tmp_path / "state/resume").glob("*.safetensors"))
    monkeypatch.setattr(dataset, "load", load)
    shutil.copy(tmp_path / "before.yaml", written)
    train.main(arguments)
    assert not list((tmp_path / "state/resume").glob("*.safetensors"))
