"""What is to be said of files beside their answers; kept with the answers of each file until all are there."""

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from rnnflow.generation.drift import Profile
from rnnflow.runtime.atomic_writes import atomic_write
from rnnflow.serving.prediction.rejects import Reject


@dataclass
class Notes:
    """Of one file, or merged of several."""

    seen: Profile
    """Of a sample of the sequences."""
    num_too_short: int = 0
    """Recordings shorter than a window."""
    remarks: list[str] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)

    def merge(self, other: "Notes") -> None:
        """Take in what is to be said of another file."""
        self.seen.merge(other.seen)
        self.num_too_short += other.num_too_short
        self.remarks += other.remarks
        self.rejects += other.rejects

    def write(self, path: Path) -> None:
        """Keep it, for a run that goes on after this one was killed."""
        with atomic_write(path) as temporary:
            temporary.write_text(json.dumps(vars(self) | {"seen": _state(self.seen)}), encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> "Notes":
        """Return what `write` has kept."""
        content = json.loads(path.read_text(encoding="utf-8"))
        content["rejects"] = [Reject(*entry) for entry in content["rejects"]]
        return cls(**content | {"seen": _profile(content["seen"])})


def _state(profile: Profile) -> dict[str, Any]:
    return {name: _plain(value) for name, value in vars(profile).items()}


def _plain(value: Any) -> Any:
    if isinstance(value, Counter):
        return list(value.items())  # JSON would make texts of the lengths
    return value.tolist() if isinstance(value, np.ndarray) else value


def _profile(state: dict[str, Any]) -> Profile:
    profile = Profile(tuple(state["features"]))
    for name, value in state.items():
        kind = type(getattr(profile, name))
        setattr(
            profile,
            name,
            np.array(value) if kind is np.ndarray else Counter(dict(value)) if kind is Counter else kind(value),
        )
    return profile
