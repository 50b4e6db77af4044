"""Tables with a row for each feature of a step, recognised by a column that names features."""

from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc

from rnnflow.advice.inspection.column_kinds import distinct
from rnnflow.advice.inspection.guess import DEFAULTS, Guess
from rnnflow.advice.inspection.names import forms_of
from rnnflow.advice.inspection.sample import Sample
from rnnflow.generation.sources.values import is_list, is_text

MAX_FEATURES = 50
NAMES = {
    "dimension": (
        *("dimension", "dim", "channel", "variable", "axis", "sensor", "signal", "feature", "measure", "metric"),
        *("measurement", "parameter", "component"),
    ),
    "value": ("value", "val", "reading", "measurement", "measured", "amount", "data", "y"),
    "step": ("step", "timestep", "time_step", "index", "frame", "seq", "order", "position", "tick", "n", "i"),
}


def parts_of_rows(sample: Sample) -> dict[str, str | None]:
    """Return which columns say feature, value and step of a row, none of them where a row is no feature of a step."""
    table = sample.table
    if sample.kind not in ("CSV", "Parquet") or any(is_list(column.type) for column in table.schema):
        return {}
    numeric = [c.name for c in table.schema if pa.types.is_integer(c.type) or pa.types.is_floating(c.type)]
    texts = [c.name for c in table.schema if is_text(c.type) and 1 < len(distinct(table[c.name])) <= MAX_FEATURES]
    dimension, value = _first("dimension", texts), _first("value", numeric)
    if dimension is None or value is None:
        return {}
    return {"step": _first("step", [name for name in numeric if name != value]), "dimension": dimension, "value": value}


def of_one_feature(sample: Sample, parts: dict[str, str | None]) -> Sample:
    """Return the rows of the first feature, as a table with a row a step."""
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
