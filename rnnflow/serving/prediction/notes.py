"""What is to be said of files beside their answers; kept with the answers of each file until all are there."""

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from rnnflow.generation.drift import Profile
from rnnflow.runtime import json_text
from rnnflow.runtime.atomic_writes import atomic_write
from rnnflow.runtime.errors import InputError
from rnnflow.runtime.provenance import file_md5
from rnnflow.serving.prediction.rejects import Reject

ANSWERS = "answers"


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

    def write(self, path: Path, answers: Path) -> None:
        """Keep it, with a checksum of the answers, for a run that goes on after this one was killed."""
        content = vars(self) | {"seen": _state(self.seen), ANSWERS: file_md5(answers)}
        with atomic_write(path) as temporary:
            temporary.write_text(json.dumps(json_text.sealed(content)), encoding="utf-8")

    @staticmethod
    def are_kept(path: Path, answers: Path) -> bool:
        """Return whether both files are there as they were written."""
        try:
            return bool(json_text.read_sealed(path, "notes")[ANSWERS] == file_md5(answers))
        except (InputError, OSError):
            return False

    @classmethod
    def read(cls, path: Path) -> "Notes":
        """Return what `write` has kept."""
        content = json_text.read_sealed(path, "notes")
        del content[ANSWERS]
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
