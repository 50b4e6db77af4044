"""What came of a search: a table of the best trials, and a chart of all of them."""

import json
from itertools import accumulate
from pathlib import Path
from typing import Any

import vl_convert
from optuna.distributions import FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial
from rich.table import Table

from rnnflow.advice.tuning.search import Search
from rnnflow.runtime.atomic_writes import atomic_write

NUM_SHOWN = 10


def table(search: Search) -> Table:
    """Return the best trials with their settings."""
    names = list(search.done[0].params) if search.done else []
    title = f"{len(search.done):,} trials finished, {len(search.given_up):,} given up"
    found = Table("trial", "log loss", "accuracy", *names, title=title)
    for trial in search.done[:NUM_SHOWN]:
        settings = [_short(trial.params.get(name)) for name in names]
        accuracy = f"{trial.user_attrs['accuracy']:.4f}"
        found.add_row(str(trial.number), f"{trial.value:.4f}", accuracy, *settings)
    return found


def draw(search: Search, path: Path) -> None:
    """Draw the log loss of each trial, in the order of time and over each setting, as SVG."""
    done = sorted(search.done, key=lambda trial: trial.number)
    lowest = accumulate((trial.value or 0.0 for trial in done), min)
    rows = [
        {"trial": trial.number, "loss": trial.value, "lowest": low} | trial.params
        for trial, low in zip(done, lowest, strict=True)
    ]
    y = {"field": "loss", "type": "quantitative", "title": "log loss", "scale": {"zero": False}}
    x = {"field": "trial", "type": "quantitative", "title": "trial"}
    line = {"mark": {"type": "line", "interpolate": "step-after"}, "encoding": {"x": x, "y": y | {"field": "lowest"}}}
    charts: list[dict[str, Any]] = [{"layer": [{"mark": "point", "encoding": {"x": x, "y": y}}, line]}]
    charts += [{"mark": "point", "encoding": {"x": _axis(name, done), "y": y}} for name in done[0].params]
    spec = {"data": {"values": rows}, "columns": 3, "concat": [{"width": 220, "height": 160} | each for each in charts]}
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as temporary:
        temporary.write_text(vl_convert.vegalite_to_svg(json.dumps(spec)), encoding="utf-8")


def _axis(name: str, trials: list[FrozenTrial]) -> dict[str, Any]:
    distribution = trials[0].distributions[name]
    if not isinstance(distribution, IntDistribution | FloatDistribution):
        return {"field": name, "type": "nominal", "title": name}
    scale = {"type": "log" if distribution.log else "linear", "zero": False, "nice": False}
    return {"field": name, "type": "quantitative", "title": name, "scale": scale}


def _short(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
