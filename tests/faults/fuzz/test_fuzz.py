"""A fixed share of the fuzzers, and every input that once went wrong; `make faults` draws a hundred thousand."""

import math
from pathlib import Path

import pytest

from rnnflow.runtime.errors import InputError
from tests.faults.fuzz.targets import all_targets
from tests.faults.fuzz.trials import Target, drawn, kept, outcome

NUM_TRIES = 10


@pytest.fixture(scope="module")
def targets(tmp_path_factory: pytest.TempPathFactory) -> list[Target]:
    return all_targets(tmp_path_factory.mktemp("seeds"))


def lost(target: Target, content: bytes, folder: Path) -> str | None:
    try:
        return outcome(target, content, folder)
    except InputError:
        return None


def test_every_reader_takes_or_refuses_damaged_input_in_one_line(targets: list[Target], tmp_path: Path) -> None:
    found = [
        (target.name, index, what)
        for target in targets
        for index in range(math.ceil(NUM_TRIES * target.share))
        if (what := lost(target, drawn(target, 1, index), tmp_path))
    ]
    assert found == []


def test_what_once_went_wrong_does_not_again(targets: list[Target], tmp_path: Path) -> None:
    found = [
        (target.name, path.name, what)
        for target in targets
        for path in kept(target).glob("*")
        if (what := lost(target, path.read_bytes(), tmp_path))
    ]
    assert found == []
