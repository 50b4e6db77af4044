"""The profile of a data set, and how far new data is from it."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, NotRequired

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field
from typing_extensions import TypedDict

from rnnflow.params.generate import DriftParams
from rnnflow.params.section import checked
from rnnflow.runtime import json_text

Reference = Mapping[str, Any]
"""A profile as JSON keeps it, or nothing."""

Number = Annotated[float, Field(allow_inf_nan=False)]


class _Feature(TypedDict):
    min: Number | None
    max: Number | None
    mean: Number
    std: Number
    missing_share: Number


class _Lengths(TypedDict):
    shortest: Annotated[int, Field(lt=2**63)]
    longest: Annotated[int, Field(lt=2**63)]


class _StepSeconds(TypedDict):
    shortest: Number
    longest: Number


class _Content(TypedDict):
    """What is read of a profile."""

    features: dict[str, _Feature]
    class_shares: dict[str, Number]
    lengths: _Lengths
    files: NotRequired[dict[str, int]]
    contents: NotRequired[dict[str, str]]
    step_seconds: NotRequired[_StepSeconds | None]


@dataclass
class Profile:
    """What sequences look like, gathered table after table.

    Args:
        features: their names.
    """

    features: tuple[str, ...]
    num_steps: int = 0
    lengths: Counter[int] = field(default_factory=Counter)
    classes: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        size = len(self.features)
        self.count, self.total, self.squares = (np.zeros(size) for _ in range(3))
        self.min, self.max = np.full(size, np.inf), np.full(size, -np.inf)
        self.seconds, self.gaps = 0.0, 0
        self.shortest_step, self.longest_step = np.inf, 0.0

    def add(self, table: pa.Table) -> None:
        """Take in sequences in the contract's schema; a column `end` beside it says when their last steps were."""
        if not len(table):
            return
        sequences = table["sequence"].combine_chunks()
        # By feature: numpy reduces long rows many times faster than short ones.
        values = sequences.flatten().to_numpy().reshape(-1, len(self.features)).T.astype(np.float64, order="C")
        missing = np.isnan(values)
        has_missing = bool(missing.any())
        filled = np.where(missing, 0.0, values) if has_missing else values
        self.num_steps += values.shape[1]
        self.count += values.shape[1] - missing.sum(1)
        self.total += filled.sum(1)
        self.squares += np.square(filled).sum(1)
        self.min = np.minimum(self.min, (np.where(missing, np.inf, values) if has_missing else values).min(1))
        self.max = np.maximum(self.max, (np.where(missing, -np.inf, values) if has_missing else values).max(1))
        lengths = pc.list_value_length(sequences).to_numpy(zero_copy_only=False) // len(self.features)
        self.lengths.update(dict(zip(*(part.tolist() for part in np.unique(lengths, return_counts=True)), strict=True)))
        if "label" in table.column_names:
            counts = pc.value_counts(table["label"]).to_pylist()
            self.classes.update({entry["values"]: entry["counts"] for entry in counts})
        if "end" in table.column_names:
            self._add_rate(table["end"].to_numpy() - table["time"].cast(pa.int64()).to_numpy(), lengths)

    def _add_rate(self, microseconds: np.ndarray, lengths: np.ndarray) -> None:
        """Take in how long sequences last, where they have times of more than their start."""
        is_timed = (lengths > 1) & (microseconds > 0)
        seconds, gaps = microseconds[is_timed] / 1e6, lengths[is_timed] - 1
        if len(gaps):
            self.seconds += float(seconds.sum())
            self.gaps += int(gaps.sum())
            self.shortest_step = min(self.shortest_step, float((seconds / gaps).min()))
            self.longest_step = max(self.longest_step, float((seconds / gaps).max()))

    def merge(self, other: "Profile") -> None:
        """Take in what another profile of the same features has gathered."""
        self.num_steps += other.num_steps
        self.count += other.count
        self.total += other.total
        self.squares += other.squares
        self.min, self.max = np.minimum(self.min, other.min), np.maximum(self.max, other.max)
        self.lengths.update(other.lengths)
        self.classes.update(other.classes)
        self.seconds += other.seconds
        self.gaps += other.gaps
        self.shortest_step = min(self.shortest_step, other.shortest_step)
        self.longest_step = max(self.longest_step, other.longest_step)

    @property
    def num_sequences(self) -> int:
        return self.lengths.total()

    def content(self) -> dict[str, Any]:
        """Return the profile as JSON keeps it; a feature without any known value has no range."""
        mean = self.total / np.maximum(self.count, 1)
        std = np.sqrt(np.maximum(self.squares / np.maximum(self.count, 1) - mean**2, 0))
        return {
            "sequences": self.num_sequences,
            "features": {
                name: {
                    "min": float(self.min[index]) if self.count[index] else None,
                    "max": float(self.max[index]) if self.count[index] else None,
                    "mean": float(mean[index]),
                    "std": float(std[index]),
                    "missing_share": float(1 - self.count[index] / max(1, self.num_steps)),
                }
                for index, name in enumerate(self.features)
            },
            "lengths": {"shortest": min(self.lengths), "longest": max(self.lengths), "steps": self.num_steps},
            "step_seconds": {
                "shortest": self.shortest_step,
                "mean": self.seconds / self.gaps,
                "longest": self.longest_step,
            }
            if self.gaps
            else None,
            "class_shares": {name: count / self.num_sequences for name, count in sorted(self.classes.items())},
        }


def load_reference(path: Path) -> Reference:
    """Return the profile that new data is compared with; empty where none was accepted yet.

    Raises:
        InputError: the file is no profile.
    """
    content = json_text.read_sealed(path, "a profile in JSON, or {}", is_by_hand=True)
    if content:
        check_profile(content, str(path))
    return content


def check_profile(content: object, place: str) -> None:
    """Refuse what is no profile.

    Raises:
        InputError: a name is missing, or a value is no finite number.
    """
    checked(_Content, content, f"{place}: expected a profile as stage generate writes it")


def differences(new: Profile, reference: Reference, bounds: DriftParams) -> list[str]:
    """Return a line for each way in which `new` lies outside the bounds around `reference`."""
    if not reference or not new.num_sequences:
        return []
    content = new.content()
    if set(content["features"]) != set(reference["features"]):  # JSON keeps them by name, whatever their order was
        return [f"features are {', '.join(content['features'])}, were {', '.join(reference['features'])}"]
    return [
        *(line for name in new.features for line in _of_feature(name, content, reference, bounds)),
        *_of_lengths(content["lengths"], reference["lengths"], bounds),
        *_of_classes(content["class_shares"], reference["class_shares"], bounds),
    ]


def _of_feature(name: str, content: Mapping[str, Any], reference: Reference, bounds: DriftParams) -> Iterator[str]:
    now, before = content["features"][name], reference["features"][name]
    if abs(now["missing_share"] - before["missing_share"]) > bounds.missing_share:
        yield f"feature {name!r}: share of missing values {now['missing_share']:.3f}, was {before['missing_share']:.3f}"
    if None in (now["min"], before["min"], before["max"]):
        return
    margin = bounds.range * (before["max"] - before["min"])
    if now["min"] < before["min"] - margin or now["max"] > before["max"] + margin:
        yield f"feature {name!r}: range {_range(now)}, was {_range(before)}"
    if abs(now["mean"] - before["mean"]) > bounds.mean * before["std"] + 1e-12:
        yield f"feature {name!r}: mean {now['mean']:.4g}, was {before['mean']:.4g} ± {before['std']:.4g}"


def _of_lengths(now: Mapping[str, Any], before: Mapping[str, Any], bounds: DriftParams) -> Iterator[str]:
    if now["longest"] > before["longest"] * bounds.length or now["shortest"] < before["shortest"] / bounds.length:
        yield (
            f"lengths: {now['shortest']} to {now['longest']} steps, were {before['shortest']} to {before['longest']}"
        )


def _of_classes(now: Mapping[str, Any], before: Mapping[str, Any], bounds: DriftParams) -> Iterator[str]:
    for name in sorted({*now, *before}):
        share, known = now.get(name, 0.0), before.get(name, 0.0)
        if name not in before:
            yield f"class {name!r}: was not there"
        elif abs(share - known) > bounds.class_share:
            yield f"class {name!r}: share {share:.3f}, was {known:.3f}"


def _range(feature: Mapping[str, Any]) -> str:
    return f"{feature['min']:.4g} to {feature['max']:.4g}"
