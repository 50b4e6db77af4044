"""The section `generate` of params.yaml, as text to paste."""

import io
from collections.abc import Mapping
from typing import Any

from ruamel.yaml.comments import CommentedSeq

from rnnflow.runtime.yaml_text import round_trip

WIDTH = 110


def text(settings: Mapping[str, Any], by_time: Mapping[str, str] | None) -> str:
    """Return section `generate` with `settings`.

    Args:
        settings: what differs from the defaults.
        by_time: times to cut at, which a comment offers.
    """
    yaml = round_trip()
    yaml.width = WIDTH
    yaml.indent(mapping=2, sequence=4, offset=2)
    stream = io.StringIO()
    yaml.dump({"generate": _flowing(settings)}, stream)
    lines = stream.getvalue().splitlines()
    if by_time:
        offer = {"by": "time"} | dict(by_time)
        lines += [
            "  # split:  # train on the past, judge by what came later",
            *(f"  #   {k}: {v}" for k, v in offer.items()),
        ]
    return "\n".join(lines)


def _flowing(value: Any) -> Any:
    """Return `value` with its lists on one line each."""
    if isinstance(value, Mapping):
        return {name: _flowing(entry) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        entries = CommentedSeq(value)
        entries.fa.set_flow_style()
        return entries
    return value
