"""A trained classifier and everything needed to use it, in one safetensors file with one JSON description."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rnnflow.classifier import safetensors_files
from rnnflow.params.models import ModelParams
from rnnflow.params.section import checked
from rnnflow.runtime.errors import InputError

VERSION = 4


@dataclass(frozen=True)
class Description:
    """What was trained, on what."""

    name: str
    """The entry of `models:`."""
    model: ModelParams
    features: tuple[str, ...]
    classes: tuple[str, ...]
    class_counts: tuple[int, ...]
    """Of the sequences it was trained on: the train split, with `final_fit` the validation split as well."""
    lengths: tuple[int, int, int]
    """Shortest, median and longest of the same sequences, in time steps."""
    num_parameters: int
    md5: Mapping[str, str]
    """Content hashes of the splits `train` and `validation`, of `params` and `code`."""
    recipe: Mapping[str, Any] | None = None
    """How files became sequences, and must again when the model predicts; none in what was trained before there was one."""
    final_fit: bool = False
    """Whether the validation split is among what it was trained on."""
    profile: Mapping[str, Any] | None = None
    """What the train split looks like, as stage generate says, for files to be compared with."""


def save(path: Path, arrays: Mapping[str, np.ndarray], description: Description) -> None:
    """Write weights, scaling and description; equal content gives equal bytes."""
    content = asdict(description) | {"version": VERSION, "model": description.model.model_dump()}
    safetensors_files.write(path, arrays, content)


def load(path: Path) -> tuple[dict[str, np.ndarray], Description]:
    """Return weights and scaling by name, and their description.

    Raises:
        InputError: the file is missing, damaged, not a checkpoint of this program or of another version.
    """
    arrays, content = safetensors_files.read(path)
    version = content.get("version") if isinstance(content, dict) else None
    if not isinstance(content, dict) or version != VERSION:
        raise InputError(f"{path}: checkpoint version {version}, this program reads version {VERSION}")
    return arrays, checked(Description, {name: content[name] for name in content if name != "version"}, str(path))
