"""A trained classifier and everything needed to use it, in one safetensors file with one JSON description."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from rnnflow.errors import InputError
from rnnflow.model import SequenceClassifier
from rnnflow.outputs import complete_file
from rnnflow.params import ModelParams

VERSION = 2
METADATA_KEY = "rnnflow"  # one key: with several, safetensors writes them in a different order each time


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


def save(path: Path, model: SequenceClassifier, description: Description) -> None:
    """Write weights, scaling and description; equal content gives equal bytes."""
    content = asdict(description) | {"version": VERSION, "model": description.model.model_dump()}
    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in model.state_dict().items()}
    with complete_file(path) as temporary:
        save_file(tensors, temporary, metadata={METADATA_KEY: json.dumps(content, sort_keys=True)})


def load(path: Path) -> tuple[SequenceClassifier, Description]:
    """Return the classifier, on the CPU and ready to predict, and its description.

    Raises:
        InputError: the file is missing, damaged, not a checkpoint of this program or of another version.
    """
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except SafetensorError as error:
        raise InputError(f"{path}: not a complete safetensors file: {error}") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error}") from None
    if METADATA_KEY not in metadata:
        raise InputError(f"{path}: not a checkpoint of rnnflow: the metadata key {METADATA_KEY!r} is missing")
    content = json.loads(metadata[METADATA_KEY])
    if content.get("version") != VERSION:
        raise InputError(f"{path}: checkpoint version {content.get('version')}, this program reads version {VERSION}")
    description = Description(
        name=content["name"],
        model=ModelParams(**content["model"]),
        features=tuple(content["features"]),
        classes=tuple(content["classes"]),
        class_counts=tuple(content["class_counts"]),
        lengths=tuple(content["lengths"]),
        num_parameters=content["num_parameters"],
        md5=content["md5"],
    )
    with torch.device("meta"):
        model = SequenceClassifier(description.model, len(description.features), len(description.classes))
    try:
        model.load_state_dict(tensors, assign=True)
    except RuntimeError as error:
        raise InputError(f"{path}: weights do not fit their description: {' '.join(str(error).split())}") from None
    return model.eval(), description
