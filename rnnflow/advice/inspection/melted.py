"""Tables with a row for each feature of a step, recognised by a column that names features."""

from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc

from rnnflow.advice.inspection.column_kinds import distinct, is_whole
from rnnflow.advice.inspection.guess import DEFAULTS, Guess
from rnnflow.advice.inspection.names import forms_of
from rnnflow.advice.inspection.sample import Sample
from rnnflow.generation.sources.values import is_list, is_text

MAX_FEATURES = 50
OFTEN = 0.9
"""Share of the steps that have a row for each feature; the last ones of a sample may lack some."""
NAMES = {
    "dimension": (
        *("dimension", "dim", "channel", "variable", "axis", "sensor", "signal", "feature", "measure", "metric"),
        *("measurement", "parameter", "component", "dim_id", "dimension_id", "channel_id"),
    ),
    "value": ("value", "val", "reading", "measurement", "measured", "amount", "data", "y"),
    "step": (
        *("step", "timestep", "time_step", "reading_id", "timepoint", "index", "frame", "seq", "order", "position"),
        *("tick", "n", "i"),
    ),
}


def parts_of_rows(sample: Sample) -> dict[str, str | None]:
    """Return which columns say feature, value and step of a row, none of them where a row is no feature of a step."""
    table = sample.table
    if sample.kind not in ("CSV", "Parquet", "JSON lines") or any(is_list(column.type) for column in table.schema):
        return {}
    numeric = [c.name for c in table.schema if pa.types.is_integer(c.type) or pa.types.is_floating(c.type)]
    texts = [c.name for c in table.schema if is_text(c.type) and 1 < len(distinct(table[c.name])) <= MAX_FEATURES]
    value = _first("value", numeric)
    numbered = [name for name in numeric if name != value and is_whole(table[name])]
    dimension = _first("dimension", texts) or _first("dimension", [n for n in numbered if _recurs(table, n, value)])
    if dimension is None or value is None:
        return {}
    steps = [name for name in numeric if name not in (dimension, value)]
    return {"step": _first("step", steps), "dimension": dimension, "value": value}


def doubt(found: Guess, sample: Sample) -> list[str]:
    """Return a remark where a feature is called as if it said which feature a row holds."""
    numbered = [c.name for c in sample.table.schema if pa.types.is_integer(c.type)]
    dimension, value = _first("dimension", numbered), _first("value", sample.table.column_names)
    if not {dimension, value} <= set(found.features or sample.table.column_names) or found.layout != "auto":
        return []
    return [
        f"column {dimension!r} is taken as a feature beside {value!r}; if it says which feature a row holds, add the steps' "
        "numbers or times and set generate.files.layout: melted"
    ]


def _recurs(table: pa.Table, number: str, value: str | None) -> bool:
    """Return whether rows that are alike but for a number and the value have each number once."""
    others = [c.name for c in table.schema if c.name not in (number, value) and not pa.types.is_floating(c.type)]
    count = len(pc.unique(table[number]))
    is_alone = len(others) + 2 == len(table.column_names)  # a number that never changes may stand beside other features
    if not others or not (is_alone if count == 1 else 1 < count <= MAX_FEATURES):
        return False
    alike = table.group_by(others).aggregate([(number, "count_distinct"), ([], "count_all")])
    is_each = pc.and_(pc.equal(alike[f"{number}_count_distinct"], count), pc.equal(alike["count_all"], count))
    return bool(pc.mean(is_each.cast(pa.int8())).as_py() > OFTEN)


def of_one_feature(sample: Sample, parts: dict[str, str | None]) -> Sample:
    """Return the rows of the first feature, as a table with one row per step."""
    table = sample.table
    names = table[parts["dimension"]]
    rows = table.filter(pc.equal(names, names[0]))
    return replace(sample, table=rows.drop_columns([name for part, name in parts.items() if part != "value" and name]))


def describe(found: Guess, sample: Sample, parts: dict[str, str | None]) -> None:
    """Say in a guess that was made from one feature that the others have rows of their own."""
    found.layout, found.features = "melted", None
    found.columns |= {part: name for part, name in parts.items() if name != DEFAULTS[part]}
    named = ", ".join(map(repr, distinct(sample.table[parts["dimension"]])[:5]))
    found.remarks.append(f"column {parts['dimension']!r} says which feature a row holds: {named}")


def _first(part: str, names: list[str]) -> str | None:
    return next((name for word in NAMES[part] for name in names if word in forms_of(name, part)[:1]), None)
