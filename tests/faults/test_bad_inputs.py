"""A thousand mistakes, each refused in one line: a share of them, and in `make slow` and `make faults` all."""

from pathlib import Path

import pytest

from tests.faults import bad_inputs

NUM_INPUTS = 900
CHEAP = ("predict", "stream", "check", "verify", "stage generate")


def test_mistakes_are_refused_in_one_line(tmp_path: Path) -> None:
    tallies = bad_inputs.trials(tmp_path / "files", CHEAP)
    assert [(tally.target, what) for tally in tallies for _, what in tally.losses] == []


@pytest.mark.slow
def test_every_mistake_of_each_command_is_refused_in_one_line(tmp_path: Path) -> None:
    tallies = list(bad_inputs.trials(tmp_path / "files"))
    assert [(tally.target, what) for tally in tallies for _, what in tally.losses] == []
    assert sum(tally.tries for tally in tallies) >= NUM_INPUTS


@pytest.mark.slow
def test_the_same_commands_take_what_is_right(tmp_path: Path) -> None:
    """Or the mistakes would be refused for something else."""
    bad_inputs.write(tmp_path / "files")
    commands = {name: bad_inputs.COMMANDS[name] for name in bad_inputs.COMMANDS if name not in ("tune", "warmup")}
    statuses = {name: bad_inputs.refusal(tmp_path / "files", command) for name, command in commands.items()}
    assert {name for name, status in statuses.items() if status and status.startswith("0: ")} == set(commands)
