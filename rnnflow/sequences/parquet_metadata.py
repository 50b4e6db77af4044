"""What a Parquet file of the contract says of itself: its version, its features, and the recipe it was made by."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from rnnflow.runtime import json_text
from rnnflow.runtime.errors import InputError

VERSION = 1
KEY = b"rnnflow"
UNREADABLE = "the metadata key 'rnnflow' is not JSON with 'version' and 'features'"


def metadata(features: Sequence[str], recipe: Mapping[str, Any] | None = None) -> dict[bytes, bytes]:
    """Return what a file says of itself: its features, and in a data set the recipe by which files became sequences."""
    content: dict[str, Any] = {"version": VERSION, "features": list(features)}
    if recipe is not None:
        content["recipe"] = recipe
    return {KEY: json.dumps(content, sort_keys=True).encode()}


def features_of(path: Path, schema: pa.Schema, given: Sequence[str] | None) -> tuple[str, ...]:
    """Return the names of the features that the schema's metadata say, or else the ones that were given.

    Raises:
        InputError: neither says them, or the metadata are not this program's.
    """
    metadata = (schema.metadata or {}).get(KEY)
    if metadata is None:
        if given is None:
            raise InputError(
                f"{path}: the metadata key 'rnnflow' is missing, which names the features; "
                "write it, or name them in params.yaml as generate.files.features"
            )
        return tuple(given)
    content = json_text.parse(metadata, f"{path}: {UNREADABLE}")
    try:
        version, features = content["version"], content["features"]
    except (KeyError, TypeError):
        raise InputError(f"{path}: {UNREADABLE}") from None
    if version != VERSION:
        raise InputError(f"{path}: data contract version {version}, this program reads version {VERSION}")
    if not isinstance(features, list) or not all(features) or len(set(map(str, features))) < max(1, len(features)):
        raise InputError(
            f"{path}: the metadata key 'rnnflow' has features {features!r}, expected a list of unlike names"
        )
    return tuple(map(str, features))


def recipe_of(metadata: Mapping[bytes, bytes] | None) -> Mapping[str, Any] | None:
    """Return the recipe in a file's metadata, whose features are known to be right; none where there is none."""
    content = json_text.parse((metadata or {}).get(KEY, b"{}"), "the metadata key 'rnnflow'")
    return content.get("recipe") if isinstance(content, dict) else None
