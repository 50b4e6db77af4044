"""Whether files hold what the model was trained on: the same units, the same rate."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from rnnflow.generation import drift
from rnnflow.params.generate import DriftParams
from rnnflow.runtime.errors import InputError

SAMPLE = 256
"""Sequences of a batch that are looked at: a wrong unit is in all of them."""
ENOUGH = 20
"""Sequences of which a standard deviation says something."""
SCALE_FACTOR = 5.0
"""Between the standard deviations of a feature in files and in the train split."""
RATE_FACTOR = 1.25
"""How far outside the known range a file's time from step to step may be."""


class Familiarity:
    """Compares sequences with the profile of the train split.

    Args:
        features: of the model.
        known: the profile; none in models of earlier versions, for which nothing is compared.

    Raises:
        InputError: it is no profile.
    """

    def __init__(self, features: tuple[str, ...], known: Mapping[str, Any] | None) -> None:
        if known:
            drift.check_profile(known, "the model's profile")
        self.known = known
        self.features = features

    def look_at(self, table: pa.Table, path: Path, seen: drift.Profile) -> None:
        """Take some of the sequences, in the contract's schema, into what was seen.

        Raises:
            InputError: their steps come at another rate than those of the train split.
        """
        if not self.known:
            return
        sample = table.select([name for name in table.column_names if name in ("sequence", "time", "end")]).slice(
            0, SAMPLE
        )
        found = drift.Profile(self.features)
        found.add(sample)
        self._check_rate(found, path)
        seen.merge(found)

    def other_steps(self, table: pa.Table) -> str | None:
        """Return what is to be said of sequences, all of one length, that are longer or shorter than any of the train split."""
        known = self.known["lengths"] if self.known else {"shortest": 0, "longest": np.inf}
        num_steps = len(table["sequence"][0]) // len(self.features)
        if known["shortest"] <= num_steps <= known["longest"]:
            return None
        return f"rows of {num_steps} steps, the model was trained on {known['shortest']} to {known['longest']}"

    def remarks(self, seen: drift.Profile) -> list[str]:
        """Return in which ways the values are unlike those of the train split."""
        if not self.known:
            return []
        lines = drift.differences(seen, {**self.known, "class_shares": {}}, DriftParams())
        return lines + self._other_scales(seen) if seen.num_sequences >= ENOUGH else lines

    def _other_scales(self, seen: drift.Profile) -> list[str]:
        """Return which features vary more or less than ever: another unit need not lie outside of the known range."""
        now, before = (profile["features"] for profile in (seen.content(), self.known or {}))
        return [
            f"feature {name!r}: varies by {now[name]['std']:.4g}, was {before[name]['std']:.4g}: in another unit?"
            for name in self.features
            if now[name]["std"] > 0
            and before[name]["std"] > 0
            and not 1 / SCALE_FACTOR <= now[name]["std"] / before[name]["std"] <= SCALE_FACTOR
        ]

    def _check_rate(self, found: drift.Profile, path: Path) -> None:
        known = (self.known or {}).get("step_seconds")
        if known is None or not found.gaps:
            return
        seconds = found.seconds / found.gaps
        if not known["shortest"] / RATE_FACTOR <= seconds <= known["longest"] * RATE_FACTOR:
            raise InputError(
                f"{path}: a step every {seconds:.4g} s, the model was trained on {_range(known)}; "
                "bring the file to that rate, or check the unit of its times"
            )


def _range(known: Mapping[str, float]) -> str:
    shortest, longest = f"{known['shortest']:.4g}", f"{known['longest']:.4g}"
    return f"{shortest} s" if shortest == longest else f"{shortest} to {longest} s"
