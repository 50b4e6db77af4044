import os
from pathlib import Path

import pytest
import torch

from rnnflow import environment
from rnnflow.errors import InputError


def test_the_device_is_the_processor_where_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RNNFLOW_DEVICE", "cpu")
    assert environment.device() == "cpu"


def test_auto_takes_a_gpu_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RNNFLOW_DEVICE", raising=False)
    assert environment.device() == ("cuda" if torch.cuda.is_available() else "cpu")


def test_an_unknown_device_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RNNFLOW_DEVICE", "gpu")
    with pytest.raises(InputError, match="RNNFLOW_DEVICE: expected auto, cpu or cuda, got 'gpu'"):
        environment.device()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_gpu_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RNNFLOW_DEVICE", "cuda")
    with pytest.raises(InputError, match="finds no GPU"):
        environment.device()


def test_the_state_of_a_training_is_known_by_what_it_is_made_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RNNFLOW_STATE", str(tmp_path))
    one = environment.resume_file({"data": "1", "code": "2"}, "cpu")
    assert one == environment.resume_file({"code": "2", "data": "1"}, "cpu")
    assert one != environment.resume_file({"data": "1", "code": "3"}, "cpu")
    assert one != environment.resume_file({"data": "1", "code": "2"}, "cuda")
    assert one.is_relative_to(tmp_path)


def test_the_end_of_a_training_removes_its_state_and_forgotten_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RNNFLOW_STATE", str(tmp_path))
    own, forgotten, other = (environment.resume_file({"data": name}, "cpu") for name in ("1", "2", "3"))
    own.parent.mkdir()
    for file in (own, forgotten, other):
        file.touch()
    os.utime(forgotten, (0, 0))
    environment.end_resume(own)
    assert list(own.parent.iterdir()) == [other]
