"""The charts of the page, in Vega-Lite. Models have the same colour in all of them; the page has the legend."""

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from rnnflow.evaluation.report.drawing import WIDTH, by_model, field, name_axis

Spec = dict[str, Any]
Rows = Sequence[Mapping[str, Any]]

DARKEST = 0.55
"""Opacity of the cells of a confusion; on darker ones ink could not be read."""
IDEAL = "ideal"
"""The line of a curve that says what would be best."""
MAX_POINTS = 200
"""Of a line; a chart has no more pixels to show."""
FEW_POINTS = 20
"""So few that each is marked."""
FEW_CLASSES, MANY_CLASSES = 5, 10
"""Up to which a cell of a confusion has room for share and count, and for the share alone; then it has names."""
CELL, MAX_CELLS = 13, 1300
"""Pixels of a cell where there are many classes, and of all cells; names that do not fit are left out."""
FEW_FEATURES, MANY_FEATURES = 4, 16
"""Up to which a sequence is drawn as lines, and up to which rows of shades have names."""
FEATURE_DASHES = [[1, 0], [4, 2], [1, 2], [6, 2, 1, 2]]
_SAME_EXTENT: Spec = {"minExtent": 40, "maxExtent": 40}
"""Of the labels of charts that stand above each other and share their steps."""


def lines(rows: Rows, names: Sequence[str], x: Spec, y: Spec) -> Spec:
    """Return a line for each model."""
    return {
        "height": 200,
        "data": {"values": _thinned(rows)},
        "mark": "line",
        "encoding": {"x": x, "y": y, "color": by_model(names)},
    }


def curves(rows: Rows, names: Sequence[str]) -> Spec:
    """Return what a metric has to draw: lines of each model, told apart by `line`; what would be ideal is grey."""
    (y_axis,) = (name for name in rows[0] if name not in ("model", "x_axis", "line", "x"))
    num_points = max(len(list(points)) for _, points in groupby(rows, lambda row: (row["model"], row["line"])))
    color = by_model(names) | {"condition": {"test": f"datum.line == '{IDEAL}'", "value": "var(--muted)"}}
    return {
        "height": 230,
        "data": {"values": list(rows)},
        "mark": {"type": "line", "point": {"size": 25} if num_points <= FEW_POINTS else False, "strokeWidth": 1.3},
        "encoding": {
            "x": field("x", title=rows[0]["x_axis"], scale={"zero": False}),
            "y": field(y_axis, title=y_axis, scale={"zero": False}),
            "color": color,
            "detail": {"field": "line", "type": "nominal"},
        },
    }


def intervals(rows: Rows, names: Sequence[str], by: str = "model") -> Spec:
    """Return a point at the estimate and a line from low to high, for each model or for each of `by` and model."""
    value = "accuracy" if "accuracy" in rows[0] else "estimate"
    kinds = list(dict.fromkeys(row[by] for row in rows))
    num_models = len({row["model"] for row in rows})
    axis = name_axis(170, grid=by != "model", bandPosition=0)
    encoding = {"y": field(by, "nominal", sort=kinds, title=None, axis=axis), "color": by_model(names)}
    if num_models > 1 and by != "model":
        encoding["yOffset"] = field("model", "nominal", sort=list(names))
    x: Spec = {"title": None, "scale": {"zero": False}}
    ends = {"x": field("low", **x), "x2": {"field": "high"}}
    row_height = 26 if by == "model" else max(20, 11 * num_models)
    return {
        "height": row_height * len(kinds) + 30,
        "data": {"values": list(rows)},
        "encoding": encoding,
        "layer": [
            {"mark": {"type": "rule", "strokeWidth": 2}, "encoding": ends},
            {"mark": "point", "encoding": {"x": field(value, **x)}},
        ],
    }


def confusion(rows: Rows) -> Spec:
    """Return the shares of each actual class that were predicted as each, with counts where there is room."""
    totals = {name: sum(row["count"] for row in cells) for name, cells in groupby(rows, lambda row: row["actual"])}
    size, names = len(totals), list(totals)
    has_many = size > MANY_CLASSES
    cells = min(CELL * size, MAX_CELLS)
    axis = name_axis(90, 9, labels=cells == CELL * size) if has_many else name_axis(70)
    angle = 0 if size <= FEW_CLASSES else -90
    share = ".1%" if size <= FEW_CLASSES else ".0%"
    texts: list[Spec] = []
    if size <= MANY_CLASSES:
        mark = {"type": "text", "dy": -7} if size <= FEW_CLASSES else {"type": "text", "fontSize": 9}
        texts.append({"mark": mark, "encoding": {"text": field("share", format=share)}})
    if size <= FEW_CLASSES:
        mark = {"type": "text", "dy": 9}
        texts.append({"mark": mark, "encoding": {"text": field("count", format=",")}})
    return {
        **({"width": max(WIDTH, cells + 120), "height": max(300, cells + 120)} if has_many else {"height": 300}),
        "data": {"values": [{**row, "share": row["count"] / max(1, totals[row["actual"]])} for row in rows]},
        "transform": [{"filter": "datum.count > 0"}],
        "encoding": {
            "x": field("predicted", "nominal", scale={"domain": names}, axis=axis | {"labelAngle": angle}),
            "y": field("actual", "nominal", scale={"domain": names}, axis=axis),
        },
        "layer": [{"mark": {"type": "rect", "color": "var(--series-1)"}, "encoding": {"opacity": _SHADE}}, *texts],
    }


_SHADE = field("share", scale={"domain": [0, 1], "range": [0.05, DARKEST]}, legend=None)


def values(rows: Rows, num_features: int) -> Spec:
    """Return a sequence: a line for each feature or, where there are many, a row of shades from its least to its largest."""
    x = field("step", title=None, scale={"nice": False}, axis={"labels": False, "ticks": False, "grid": False})
    if num_features <= FEW_FEATURES:
        feature = field("feature", "nominal", sort=None, scale={"range": FEATURE_DASHES}, legend=None)
        y = field("value", title=None, scale={"zero": False}, axis=_SAME_EXTENT | {"tickCount": 3})
        point = {"size": 12, "color": "var(--ink)"} if len(rows) <= num_features * FEW_POINTS else False
        mark = {"type": "line", "color": "var(--ink)", "strokeWidth": 1.2, "point": point}
        encoding = {"x": x, "y": y, "strokeDash": feature}
    else:
        axis = name_axis(36, 8, labels=num_features <= MANY_FEATURES, labelPadding=2) | _SAME_EXTENT
        y = field("feature", "nominal", sort=None, title=None, axis=axis)
        shade = field("level", scale={"domain": [0, 1], "range": [0.05, 1]}, legend=None)
        mark, encoding = (
            {"type": "rect", "color": "var(--ink)"},
            {"x": x | {"type": "ordinal"}, "y": y, "opacity": shade},
        )
    return {"height": 90, "data": {"values": list(rows)}, "mark": mark, "encoding": encoding}


def answers(rows: Rows) -> Spec:
    """Return the probabilities over the steps; `role` is actual, predicted or other."""
    colors = {
        "domain": ["other", "actual", "predicted"],
        "range": ["var(--other)", "var(--actual)", "var(--predicted)"],
    }
    axis = _SAME_EXTENT | {"tickCount": 3, "format": "%"}
    return {
        "height": 100,
        "data": {"values": list(rows)},
        "mark": {"type": "line", "strokeWidth": 1.8},
        "encoding": {
            "x": field("step", title="step", scale={"nice": False}, axis={"grid": False, "tickMinStep": 1}),
            "y": field("probability", title=None, scale={"domain": [0, 1]}, axis=axis),
            "color": field("role", "nominal", scale=colors, legend=None),
            "detail": {"field": "class", "type": "nominal"},
        },
    }


_KINDS = {"domain": ["now", "reference"], "range": ["var(--series-1)", "var(--muted)"]}
_KIND = field("kind", "nominal", scale=_KINDS, legend=None)


def shares(rows: Rows) -> Spec:
    """Return a bar for each class, now and in the reference."""
    names = list(dict.fromkeys(row["name"] for row in rows))
    num_kinds = len({row["kind"] for row in rows})
    return {
        "height": (10 + 12 * num_kinds) * len(names) + 30,
        "data": {"values": list(rows)},
        "mark": "bar",
        "encoding": {
            "y": field("name", "nominal", sort=names, title=None, axis=name_axis(100)),
            "yOffset": field("kind", "nominal", sort=_KINDS["domain"]),
            "x": field("share", title=None, axis={"format": "%"}),
            "color": _KIND,
        },
    }


def ranges(rows: Rows) -> Spec:
    """Return range, mean and standard deviation of each feature, now and in the reference."""
    names = list(dict.fromkeys(row["feature"] for row in rows))
    x: Spec = {"title": "standard deviations of the reference", "scale": {"type": "symlog"}}
    return {
        "height": 32 * len(names) + 60,
        "data": {"values": list(rows)},
        "encoding": {
            "y": field("feature", "nominal", sort=names, title=None, axis=name_axis(100)),
            "yOffset": field("kind", "nominal", sort=_KINDS["domain"]),
            "color": _KIND,
        },
        "layer": [
            {
                "mark": {"type": "rule", "strokeWidth": 1.5},
                "encoding": {"x": field("min", **x), "x2": {"field": "max"}},
            },
            {
                "mark": {"type": "rule", "strokeWidth": 6},
                "encoding": {"x": field("below", **x), "x2": {"field": "above"}},
            },
        ],
    }


def _thinned(rows: Rows) -> list[Mapping[str, Any]]:
    """Return at most `MAX_POINTS` rows of each model, evenly, with the first and the last."""
    kept: list[Mapping[str, Any]] = []
    for _, points in groupby(rows, lambda row: row["model"]):
        own = list(points)
        count = min(len(own), MAX_POINTS)
        kept += [own[round(index * (len(own) - 1) / max(1, count - 1))] for index in range(count)]
    return kept
