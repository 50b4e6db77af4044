"""What a person should know of the data, and what to change so that stage generate takes it."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from rnnflow.advice.inspection.dry_run import DryRun
from rnnflow.advice.inspection.times import EARLIEST, LATEST, UNITS
from rnnflow.generation.splitting import SPLITS, assign, key_hashes
from rnnflow.params.generate import GenerateParams

NUM_SEEDS = 200
FEW = len(SPLITS)
MANY_CLASSES = 50
IMBALANCE = 5
LONG = 100
LIKELY_LENGTH = 30
HELD_OUT_FROM = (0.7, 0.85)
FINE = 50
"""Steps of float32 in a standard deviation, below which it blurs a feature."""
_SENTINEL = re.compile(r"-?(9{3,8}|9{2,6}\.9{1,4}|32768)")
"""What often stands for a missing number."""
SECOND = 1_000_000
ROUND_TIMES = tuple(seconds * SECOND for seconds in (86400, 3600, 60, 1))
"""Microseconds of a day, an hour, a minute, a second."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def change(found: DryRun) -> dict[str, Any] | None:
    """Return what else to set in section `generate` so that the files can be used; none if nothing helps or is needed."""
    params = found.params
    if found.needs_windows:
        return {"windows": windows_for(found)}
    if found.problem is None or not found.is_read or _is_complete(found.splits) or found.given:
        return None
    if found.groups:
        seed = _seed_for(found.groups, params) if params.seed == 0 and params.split.by == "auto" else None
        if seed is not None:
            return {"seed": seed}
        cuts = times_to_cut(found) if params.windows and params.split.by == "auto" else None
        return {"split": {"by": "time"} | cuts} if cuts else None
    return {"split": {"by": "stratified"}} if params.split.by == "auto" else None


def windows_for(found: DryRun) -> dict[str, int]:
    """Return windows that hold little of two labels, and of which a recording has several."""
    recordings = found.recordings
    lengths = sorted(recordings.lengths.elements()) if recordings.num < 10**6 else sorted(recordings.lengths)
    length = min(lengths[len(lengths) // 2] / 4, 1000)
    if recordings.num_changes:
        length = min(length, recordings.num_steps / (recordings.num_changes + recordings.num) / 2)
    round_lengths = [step * 10**power for power in range(4) for step in (1, 2, 5)]
    rounded = max(each for each in round_lengths if 2 <= each <= max(2, length))
    return {"length": rounded, "stride": rounded // 2}


def _seed_for(groups: Mapping[str, Counter[str]], params: GenerateParams) -> int | None:
    """Return the first seed with which each split has groups, and train every class."""
    for seed in range(NUM_SEEDS):
        splits: dict[str, Counter[str]] = {split: Counter() for split in SPLITS}
        for split, classes in zip(assign(key_hashes(list(groups), seed), params.split), groups.values(), strict=True):
            splits[SPLITS[split]].update(classes)
        if _is_complete(splits):
            return seed
    return None


def _is_complete(splits: Mapping[str, Counter[str]]) -> bool:
    train = set(splits["train"])
    return len(train) > 1 and all(splits[split] and set(splits[split]) <= train for split in SPLITS)


def times_to_cut(found: DryRun) -> dict[str, str] | None:
    """Return the times from which sequences are held out, none where no two lie between sequences."""
    starts, ends = found.spans
    if len(starts) < FEW:
        return None
    order = np.argsort(starts, kind="stable")
    starts = starts[order]
    before = starts[:-1] if found.params.windows else np.maximum.accumulate(ends[order])[:-1]
    places = np.flatnonzero(starts[1:] > before) + 1
    if len(places) < 2:
        return None
    chosen = [int(places[np.abs(places - share * len(starts)).argmin()]) for share in HELD_OUT_FROM]
    if chosen[0] == chosen[1]:
        return None
    some = len(starts) // 100 if found.params.windows else 0  # windows across the time are left out, so few may be
    cuts = [_round_time(int(before[max(0, place - 1 - some)]), int(starts[place])) for place in chosen]
    return dict(zip(("validation_from", "test_from"), map(time_text, cuts), strict=True))


def _round_time(after: int, until: int) -> int:
    """Return the roundest time after the one and not after the other, in microseconds."""
    return next((until // unit * unit for unit in ROUND_TIMES if until // unit * unit > after), until)


def time_text(microseconds: int) -> str:
    return (_EPOCH + timedelta(microseconds=microseconds)).isoformat().replace("+00:00", "Z")


def remarks(found: DryRun) -> list[str]:
    """Return what a person should know, a line each."""
    lines = [*_of_recordings(found)]
    if found.profile is not None and found.profile.num_sequences:
        lines += [*_of_features(found.profile.content()), *_of_classes(found.profile.classes, bool(found.given))]
        lines += [*_of_sequences(found, found.profile.lengths), *_of_amplitudes(found)]
    return lines + found.remarks


def _of_recordings(found: DryRun) -> Iterator[str]:
    recordings, max_length = found.recordings, found.params.files.max_length
    if recordings.num_changing:
        yield f"the label changes within {recordings.num_changing:,} of {recordings.num:,} recordings; cut them with generate.windows, as below"
    too_long = sum(count for length, count in recordings.lengths.items() if length > max_length)
    if too_long:
        yield f"{too_long:,} of {recordings.num:,} recordings have more than {max_length:,} steps (generate.files.max_length); cut them with generate.windows, as below"
    if recordings.num_irregular > 0.01 * recordings.num_gaps:
        share = recordings.num_irregular / recordings.num_gaps
        yield f"steps come irregularly, {share:.0%} of them much sooner or later than the one before; generate.files.time_since_last_step: true tells the model"


def _of_features(content: Mapping[str, Any]) -> Iterator[str]:
    features = content["features"]
    for name, entry in features.items():
        if entry["min"] is None:
            yield f"feature {name!r} has no value at all; leave it out of generate.files.features"
        elif entry["min"] == entry["max"]:
            yield f"feature {name!r} is always {entry['min']:g}; leave it out of generate.files.features"
        if any(EARLIEST * factor <= (entry["max"] or 0) <= LATEST * factor for factor in UNITS.values()):
            yield f"the largest value of {name!r}, {entry['max']:.10g}, looks like a time since 1970; is it a measurement?"
        if entry["std"] and FINE * np.spacing(np.float32(max(-entry["min"], entry["max"]))) > entry["std"]:
            yield f"feature {name!r} varies by {entry['std']:.3g} around {entry['mean']:.9g}, which float32 keeps coarsely; subtract an offset"
        for value in {
            bound
            for bound in (entry["min"], entry["max"])
            if bound is not None and _SENTINEL.fullmatch(_shortest(bound))
        }:
            yield (
                f"the outermost value of {name!r} is {_shortest(value)}, which often stands for a missing one; "
                "generate.files.missing names such texts in CSV files"
            )
    missing = [name for name, entry in features.items() if entry["missing_share"] > 0]
    if missing:
        yield f"values are missing in {_some(missing)}; models.<name>.missing says what they become: zero, forward_fill, mask, refuse"


def _shortest(value: float) -> str:
    return np.format_float_positional(np.float32(value), trim="-")


def _of_classes(classes: Counter[str], are_splits_given: bool) -> Iterator[str]:
    few = sorted(name for name, count in classes.items() if count < FEW)
    if len(classes) > MANY_CLASSES and len(classes) > 0.1 * classes.total():
        numbers = " and look like numbers of a regression" if all(map(_is_number, classes)) else ""
        yield f"the labels are {len(classes):,} classes of {classes.total():,} sequences{numbers}; choose another column with --label, or bin them"
    elif few and not are_splits_given:
        yield f"fewer than {FEW} sequences of class {_some(few)}, one for each split; bring more or leave them out"
    largest, smallest = max(classes.values()), min(classes.values())
    if largest >= IMBALANCE * smallest:
        yield f"the largest class is {largest / smallest:.0f} times the smallest; see train.class_weights: balanced or train.sampling: balanced"


def _is_number(name: str) -> bool:
    try:
        float(name)
    except ValueError:
        return False
    return True


def _of_sequences(found: DryRun, lengths: Counter[int]) -> Iterator[str]:
    middle = median(lengths)
    if middle > LONG:
        yield f"sequences are long, the median is {middle:,} steps; {_shorter(found, middle)}"
    if "group" in found.parts and not found.given and found.params.split.by == "auto":
        yield f"the split is by group: none of the {len(found.groups):,} groups is in two splits"
    if "id" in found.parts and found.params.windows and found.recordings.num < FEW:
        yield f"windows of {found.recordings.num} recordings only; a score on them says little about other recordings"
    if found.num_duplicates:
        yield f"{found.num_duplicates:,} sequences hold the same values as another one; see generate.split.duplicates"


def _shorter(found: DryRun, middle: int) -> str:
    """What to do about long sequences: how far they are smooth decides how far they may be averaged."""
    block = min(found.smoothness.block_size() if found.smoothness else 1, middle // LIKELY_LENGTH)
    stem = "a stem of kind multi_scale finds patterns in them"
    if block == 1:
        return f"there is detail in every step, so that models.<name>.downsampling would lose it; {stem}"
    return (
        f"they are smooth, and models.<name>.downsampling: {block} (about {middle // block} steps) with differences: true "
        f"loses little; {stem}"
    )


def _of_amplitudes(found: DryRun) -> Iterator[str]:
    differing = list(found.amplitudes.differing()) if found.amplitudes else []
    if differing:
        name, small, large = max(differing, key=lambda entry: entry[2] / entry[1])
        yield (
            f"the sizes of sequences differ by orders of magnitude in {_some([entry[0] for entry in differing])}: a tenth of "
            f"them vary by less than {small:.2g} in {name!r}, a tenth by more than {large:.2g}; try "
            "models.<name>.scaling: [global, compressed, sequence]"
        )


def median(lengths: Counter[int]) -> int:
    """Return the median of numbers that are counted."""
    half, seen = lengths.total() / 2, 0
    for length, count in sorted(lengths.items()):
        seen += count
        if seen >= half:
            return length
    return 0


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(map(repr, names[:5]))
    return shown if len(names) <= 5 else f"{shown} and {len(names) - 5} more"
