"""What the columns of a file are."""

from collections.abc import Mapping
from dataclasses import dataclass, field

PARTS = ("id", "label", "group", "time", "split")


@dataclass(frozen=True)
class Part:
    """Where a part comes from: a column, or the same text for the whole file."""

    column: str | None = None
    text: str | None = None
    table: Mapping[str, str] | None = None
    """Where the column holds keys of a table of labels: what each key stands for."""
    table_path: str = ""
    trims: bool = False
    renamed: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Layout:
    """What the columns of one file are."""

    form: str
    """`long`: one row per time step; `sequence`: a column holds sequences; `features`: a list column for each feature;
    `wide`: a column for each step, feature after feature; `melted`: a row for each feature of a step."""
    parts: dict[str, Part]
    """Those of `PARTS` that there are."""
    columns: tuple[str, ...]
    """With the values: one for each feature, or the one of the sequences."""
    wide_features: tuple[str, ...] = ()
    dimension: str | None = None
    step: str | None = None

    @property
    def needed(self) -> list[str]:
        named = [part.column for part in self.parts.values() if part.column is not None]
        others = [name for name in (self.dimension, self.step) if name is not None]
        return list(dict.fromkeys([*named, *others, *self.columns]))
