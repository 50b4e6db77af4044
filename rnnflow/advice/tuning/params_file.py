"""Writes a model and its recipe into params.yaml, and leaves the rest of the file, comments included, as it is."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from rnnflow.advice.model_selection.portfolio import Candidate
from rnnflow.params import whole
from rnnflow.runtime.atomic_writes import atomic_write
from rnnflow.runtime.yaml_text import round_trip


def write(
    path: Path, candidate: Candidate, recipe: Mapping[str, Any], generate: Mapping[str, Any] | None = None
) -> None:
    """Replace section `models` and the settings of `train` that the recipe has.

    Args:
        path: params.yaml.
        candidate: the model.
        recipe: settings of `train`.
        generate: replaces that section as well, where it is given.

    Raises:
        InputError: the file is no params.yaml.
    """
    whole.load(path)
    yaml = round_trip()
    content = yaml.load(path.read_text(encoding="utf-8"))
    section = content["train"]
    for name, value in ({"early_stopping_patience": None, "recipe": "given"} | dict(recipe)).items():
        if name in section or value not in (None, "given"):
            section[name] = value
    if generate is not None:
        content["generate"] = dict(generate)
    content["models"] = {candidate.name: dict(candidate.model)}
    whole.parse(YAML(typ="safe").load(_text(yaml, content)))
    with atomic_write(path) as temporary:
        temporary.write_text(_text(yaml, content), encoding="utf-8")


def _text(yaml: YAML, content: Any) -> str:
    stream = io.StringIO()
    yaml.dump(content, stream)
    return stream.getvalue()
