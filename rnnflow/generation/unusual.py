"""What may be right in a data set and yet is often a mistake."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from unicodedata import category, normalize

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

UNLIKE_RATE = 1.2
"""From where on the distance of two recordings' steps is another one."""


FEW_ZERO = 0.05
"""Share of the sequences that may end in zeros by chance."""
_WHOLE = re.compile(r"[+-]?\d(\.0+)?[eE][+-]?0+")
"""As NumPy writes whole numbers."""


class Unusual:
    """Gathers what a person should know, table after table of sequences."""

    def __init__(self) -> None:
        self.num_features = 0
        self.lengths: Counter[int] = Counter()
        """Sequences by their number of steps."""
        self.gaps: Counter[float] = Counter()
        """Sequences by the mean time between their steps, in seconds, of three digits."""
        self.num_padded = 0
        """Sequences whose last step has no value at all."""
        self.num_zero = 0
        """Sequences whose last two steps are zero in all features."""

    def add(self, table: pa.Table, num_features: int) -> None:
        """Take in sequences of the contract, with the time of their last step in `end` where there are times."""
        self.num_features = num_features
        sequences = table["sequence"].combine_chunks()
        lengths = pc.list_value_length(sequences).to_numpy(zero_copy_only=False) // num_features
        self.lengths.update(lengths.tolist())
        steps, last = sequences.flatten().to_numpy().reshape(-1, num_features), np.cumsum(lengths) - 1
        self.num_padded += int(np.isnan(steps[last]).all(1).sum())
        are_zero = (steps[last] == 0) & (steps[last - 1] == 0)
        self.num_zero += int((are_zero.all(1) & (lengths > 2)).sum())
        if "end" in table.schema.names:
            spans = table["end"].to_numpy() - table["time"].cast(pa.int64()).to_numpy()
            gaps = spans[spans > 0] / (lengths[spans > 0] - 1) / 1e6
            digits = 10 ** (np.floor(np.log10(gaps)) - 2)
            self.gaps.update((np.round(gaps / digits) * digits).tolist())

    def remarks(self, classes: Counter[str]) -> Iterator[str]:
        """Yield a line for each thing; `classes` counts the sequences of each class."""
        total = self.lengths.total()
        if self.lengths[1]:
            yield f"{self.lengths[1]:,} of {total:,} sequences have one step only"
        if total and max(self.lengths) < self.num_features:
            yield (
                f"more features ({self.num_features:,}) than steps (at most {max(self.lengths):,}): are the columns steps "
                "(generate.files.layout: wide), or the axes of an array in another order (generate.files.axes)?"
            )
        if self.num_padded:
            yield (
                f"the last steps of {self.num_padded:,} of {total:,} sequences have no values; if that is padding, leave "
                "these rows out, or give arrays their lengths"
            )
        if self.num_zero > FEW_ZERO * total:
            yield (
                f"{self.num_zero:,} of {total:,} sequences end in zeros in all features; if that is padding, leave it out, or give "
                "arrays their lengths"
            )
        yield from self._of_rates()
        if written := {name: f"{float(name):.0f}" for name in sorted(classes) if _WHOLE.fullmatch(name)}:
            yield f"classes are written as {min(written)}; generate.files.label_names: {written} makes them whole numbers"
        for names in _alike(classes):
            wanted = max(names, key=lambda name: (name == name.strip(), classes[name], name))
            pairs = ", ".join(f"{name!r}: {wanted!r}" for name in names if name != wanted)
            yield (
                f"classes {', '.join(map(repr, names))} differ only in case, blanks or number format; "
                f"generate.files.label_names: {{{pairs}}} makes them one"
            )

    def _of_rates(self) -> Iterator[str]:
        if not self.gaps:
            return
        usual, _ = self.gaps.most_common(1)[0]
        others = {gap: count for gap, count in self.gaps.items() if max(gap, usual) > UNLIKE_RATE * min(gap, usual)}
        if others:
            odd = max(others, key=lambda gap: max(gap, usual) / min(gap, usual))
            yield (
                f"{sum(others.values()):,} of {self.lengths.total():,} sequences have another rate: most have a step every "
                f"{usual:.3g} s on average, one has a step every {odd:.3g} s; generate.files.resample: {{seconds: {usual:.3g}}} "
                "brings them to one, generate.files.time_since_last_step: true tells the model"
            )


def _alike(classes: Counter[str]) -> Iterator[list[str]]:
    """Yield classes that are the same but for how they are written."""
    groups: dict[str, list[str]] = defaultdict(list)
    for name in sorted(classes):
        groups[_plain(name)].append(name)
    yield from (names for names in groups.values() if len(names) > 1)


def _plain(name: str) -> str:
    try:
        return repr(float(name.replace(",", ".")))
    except ValueError:
        shown = "".join(sign for sign in normalize("NFKC", name) if category(sign) != "Cf")  # none that nobody sees
        return " ".join(shown.replace("_", " ").replace("-", " ").casefold().split())
