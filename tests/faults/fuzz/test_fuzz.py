"""A fixed share of the fuzzers, and every input that once went wrong; `make faults` draws a hundred thousand."""

from pathlib import Path

import pytest

from rnnflow.runtime.errors import InputError
from tests.faults.fuzz.targets import all_targets
from tests.faults.fuzz.trials import Target, drawn, outcome

KEPT = Path(__file__).parent / "regressions"
NUM_TRIES = 20


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
        for index in range(NUM_TRIES)
        if (what := lost(target, drawn(target, 1, index), tmp_path))
    ]
    assert found == []


def test_what_once_went_wrong_does_not_again(targets: list[Target], tmp_path: Path) -> None:
    known = {target.name.replace("/", " "): target for target in targets}
    found = [
        (path.parent.name, path.name, what)
        for path in sorted(KEPT.glob("*/*"))
        if (what := lost(known[path.parent.name], path.read_bytes(), tmp_path))
    ]
    assert found == []
