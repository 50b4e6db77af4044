"""What people call the columns that play a part."""

import re
from collections.abc import Mapping

SYNONYMS: Mapping[str, tuple[str, ...]] = {
    "split": ("split", "partition", "fold", "set", "subset", "usage", "dataset"),
    "label": (
        *("label", "class", "target", "activity", "category", "gesture", "outcome", "diagnosis", "state", "event"),
        *("word", "digit", "kind", "type", "status", "y"),
    ),
    "time": (
        *("time", "timestamp", "datetime", "date_time", "epoch", "timestep_time", "date", "ts", "t", "millis"),
        *("milliseconds", "seconds", "elapsed", "seconds_elapsed", "elapsed_time", "time_elapsed", "uptime"),
    ),
    "group": (
        *("group", "subject", "user", "patient", "person", "participant", "device", "machine", "speaker", "driver"),
        *("individual", "owner", "animal", "engine", "vehicle", "site"),
    ),
    "id": (
        *("id", "sequence", "seq", "recording", "record", "rec", "session", "trial", "series", "uid", "uuid", "case"),
        *("sample", "instance", "example", "episode", "run", "ride", "stay", "segment", "file", "filename", "key"),
    ),
    "sequence": ("sequence", "values", "signal", "series", "x", "data", "samples", "features"),
}
STRONG = {
    "split": ("split", "partition", "subset"),
    "label": ("label", "class", "target"),
    "time": ("time", "timestamp", "datetime", "date_time", "seconds_elapsed", "elapsed_time", "millis", "milliseconds"),
    "group": ("group", "subject", "user", "patient", "person", "participant"),
    "id": ("id", "recording", "session", "uid", "uuid"),
}
"""Names that no feature has: such a column is left out of the features even where another one plays its part."""
INDEX_NAMES = ("", "index", "unnamed: 0", "level_0", "__index_level_0__", "rownames")
_SUFFIX = re.compile(r"_?(?:id|no|nr|num|number|name|index|code)$")
_UNIT = re.compile(r"[_ (\[]?(s|sec|seconds|ms|us|ns|utc)[)\]]?$")


def forms_of(column: str, part: str) -> tuple[str, ...]:
    """Return how a column's name may be read: `SubjectID` as `subject_id`, `subjectid` and `subject`."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", column.strip()).lower()
    words = re.sub(r"[^\w]+", "_", words).strip("_")
    forms = [words, _SUFFIX.sub("", words), words.removesuffix("s")]
    if part == "time":
        forms += [_UNIT.sub("", words), words.removesuffix("s").removesuffix("_utc")]
    return tuple(forms)


def is_strong(column: str) -> bool:
    """Return whether a column is called like a part and like no feature."""
    return any(form in names for part, names in STRONG.items() for form in forms_of(column, part))
