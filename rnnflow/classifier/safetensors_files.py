"""Arrays and what is to be said of them in one safetensors file with a checksum; equal content gives equal bytes.

The format has no checksum of its own, and a wrong bit in a weight is still a number.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from rnnflow.runtime.atomic_writes import atomic_write
from rnnflow.runtime.errors import InputError
from rnnflow.runtime.folders import check_is_file

METADATA_KEY = "rnnflow"  # one key: with several, safetensors writes them in a different order each time


def write(path: Path, arrays: Mapping[str, np.ndarray], description: object) -> None:
    """Write arrays and their description, which is kept as JSON, whole or not at all."""
    with atomic_write(path) as temporary:
        contiguous = {name: np.asarray(array, order="C") for name, array in arrays.items()}
        content = {"description": description, "sha256": _checksum(contiguous, description)}
        # not save_file: it writes under a random name of its own, which would stay where it is killed
        temporary.write_bytes(save(contiguous, {METADATA_KEY: json.dumps(content, sort_keys=True)}))


def read(path: Path) -> tuple[dict[str, np.ndarray], object]:
    """Return the arrays and their description.

    Raises:
        InputError: the file is missing, damaged, or was not written by this program.
    """
    if path.exists():
        check_is_file(path)
    try:
        with safe_open(path, "np") as file:
            metadata = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except SafetensorError as error:
        raise InputError(f"{path}: not a complete safetensors file: {error}") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error}") from None
    if METADATA_KEY not in metadata:
        raise InputError(f"{path}: not a checkpoint of rnnflow: the metadata key {METADATA_KEY!r} is missing")
    try:
        content = json.loads(metadata[METADATA_KEY])
        description, checksum = content["description"], content["sha256"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise InputError(f"{path}: damaged, or a checkpoint of an earlier rnnflow; train the model again") from None
    if checksum != _checksum(arrays, description):
        raise InputError(
            f"{path}: damaged: its content does not match the checksum that it carries; "
            "remove it, and dvc checkout or dvc repro brings it back"
        )
    return arrays, description


def _checksum(arrays: Mapping[str, np.ndarray], description: object) -> str:
    """Of every name, type, shape and value, whatever the order of the arrays."""
    digest = hashlib.sha256(json.dumps(description, sort_keys=True).encode())
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(json.dumps([name, str(array.dtype), array.shape]).encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
