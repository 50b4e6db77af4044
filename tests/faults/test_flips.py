"""A fixed share of the flipped bits; `make faults` flips the rest, for readers that end the process as well."""

from pathlib import Path

import pytest

from rnnflow.runtime.errors import InputError
from tests.faults import flips
from tests.faults.fuzz.trials import Target, drawn, outcome

NUM_TRIES = 2


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> list[Target]:
    return flips.all_targets(tmp_path_factory.mktemp("flips") / "files")


def test_every_consumer_of_every_file_refuses_a_flipped_bit_or_answers_as_before(
    pairs: list[Target], tmp_path: Path
) -> None:
    lost = []
    for pair in pairs:
        for index in range(NUM_TRIES):
            try:
                lost += [(pair.name, index, what)] if (what := outcome(pair, drawn(pair, 1, index), tmp_path)) else []
            except InputError:
                continue
    assert lost == []
