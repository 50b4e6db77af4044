"""A few models of data that breaks arithmetic; `make faults` makes hundreds."""

from pathlib import Path

import pytest

from tests.faults import numbers


@pytest.mark.slow
def test_data_that_breaks_arithmetic_gives_sound_models_or_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RNNFLOW_STATE", str(tmp_path / "state"))
    tallies = numbers.trials(tmp_path / "files", len(numbers.DATA), seed=1)
    assert [loss for tally in tallies for loss in tally.losses] == []
