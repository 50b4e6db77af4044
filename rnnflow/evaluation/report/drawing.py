"""Vega-Lite specifications drawn as SVG that follows the page's theme."""

import json
from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any

import vl_convert
from markupsafe import Markup, escape

WIDTH = 320
"""Of a chart in CSS pixels, legend and axes included: one fits a phone, three stand side by side on a desk."""
NUM_COLOURS = 8
COLOURS = [f"var(--series-{index + 1})" for index in range(NUM_COLOURS)]
"""Vega passes them on as they are, so the page's style sheet chooses the colours, for light, dark and paper."""

_CONFIG: dict[str, Any] = {
    "font": "Roboto",  # comes with vl-convert: texts are measured alike on every machine, whatever the page shows
    "background": None,
    "view": {"stroke": None},
    "aria": False,  # the page says what a chart shows
    "axis": {
        "labelColor": "var(--muted)",
        "titleColor": "var(--muted)",
        "gridColor": "var(--grid)",
        "domainColor": "var(--grid)",
        "tickColor": "var(--grid)",
        "labelFontSize": 11,
        "titleFontSize": 11,
        "titleFontWeight": "normal",
        "tickCount": 5,
    },
    "range": {"category": COLOURS},
    "line": {"strokeWidth": 1.6},
    "point": {"filled": True, "size": 45, "opacity": 1},
    "rule": {"color": "var(--muted)"},
    "text": {"color": "var(--ink)", "fontSize": 11},
}


def svg(spec: Mapping[str, Any], label: str) -> Markup:
    """Return a chart as an SVG element of a page.

    Args:
        spec: in Vega-Lite.
        label: what the chart shows, for who cannot see it.
    """
    whole = {"autosize": {"type": "fit", "contains": "padding"}, "width": WIDTH, "padding": 2, **spec}
    drawn = vl_convert.vegalite_to_svg(json.dumps(whole | {"config": _CONFIG}))
    _, _, content = drawn.partition("<svg ")
    return Markup('<svg role="img" aria-label="{}" ').format(escape(label)) + Markup(content)  # noqa: S704 - ours


def field(name: str, kind: str = "quantitative", **options: Any) -> dict[str, Any]:
    """Return the encoding of a channel; `title`, `scale`, `axis` and so on as in Vega-Lite."""
    return {"field": name.replace(".", "\\."), "type": kind, **options}


def name_axis(width: int, font_size: int = 11, **options: Any) -> dict[str, Any]:
    """Return the axis of names, in about so many pixels: cut in the middle, since long names often begin alike."""
    num_letters = round(width / (0.8 * font_size))  # Vega's own estimate of their widths, without a browser
    head, tail = (num_letters - 1) // 2, num_letters // 2
    short = f"slice(datum.label, 0, {head}) + '…' + slice(datum.label, -{tail})"
    return {
        "labelLimit": 2 * width,
        "labelFontSize": font_size,
        "labelExpr": f"length(datum.label) > {num_letters} ? {short} : datum.label",
        "labelPadding": 6,  # a point at the end of the scale would lie on the last letter
        "ticks": False,
        "grid": False,
        **options,
    }


def colours(names: Sequence[str]) -> dict[str, str]:
    """Return the colour of each model."""
    return dict(zip(names, cycle(COLOURS), strict=False))


def by_model(names: Sequence[str]) -> dict[str, Any]:
    """Return the encoding of the colour, the same for a model in every chart; what is no model of the run is grey."""
    known = colours(names)
    condition = {"test": f"indexof({json.dumps(list(known))}, datum.model) < 0", "value": "var(--muted)"}
    scale = {"domain": list(known), "range": list(known.values())}
    return field("model", "nominal", scale=scale, legend=None) | {"condition": condition}
