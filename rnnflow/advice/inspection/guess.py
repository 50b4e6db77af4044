"""What a person says of files, and what is guessed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rnnflow.params.generate import ColumnNames
from rnnflow.runtime.errors import InputError

DEFAULTS = {name: str(entry.default) for name, entry in ColumnNames.model_fields.items()}


@dataclass(frozen=True)
class UserHints:
    """What a person said instead of leaving it to a guess."""

    columns: Mapping[str, str | None] = field(default_factory=dict)
    """By part; none where it is not to be read."""
    features: Sequence[str] | None = None
    delimiter: str | None = None
    decimal: str | None = None
    time_format: str | None = None
    time_unit: str | None = None

    def __post_init__(self) -> None:
        if self.delimiter is not None and len(self.delimiter) != 1:
            raise InputError(f"--delimiter {self.delimiter!r}: expected one character")


@dataclass
class Guess:
    """What would stand in `generate.files`, under its names there, and why."""

    columns: dict[str, str | None] = field(default_factory=dict)
    """By part, those with their default names included."""
    features: list[str] | None = None
    time_unit: str = "s"
    time_format: str | None = None
    layout: str = "auto"
    missing: list[str] = field(default_factory=list)
    trim_labels: bool = False
    remarks: list[str] = field(default_factory=list)

    def settings(self) -> dict[str, Any]:
        """Return it as `generate.files` has it."""
        return {name: value for name, value in vars(self).items() if name != "remarks"}
