"""What the machine decides and no tracked param, through environment variables: the device, and where state is kept."""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path

import torch

from rnnflow.errors import InputError

DEVICE = "RNNFLOW_DEVICE"
STATE = "RNNFLOW_STATE"


def device() -> str:
    """Return `cpu` or `cuda` as `RNNFLOW_DEVICE` says; `auto`, the default, takes a GPU where there is one.

    Raises:
        InputError: the variable says something else, or asks for a GPU that is not there.
    """
    wanted = os.environ.get(DEVICE, "auto")
    if wanted not in ("auto", "cpu", "cuda"):
        raise InputError(f"environment variable {DEVICE}: expected auto, cpu or cuda, got {wanted!r}")
    has_gpu = torch.cuda.is_available()
    if wanted == "cuda" and not has_gpu:
        raise InputError(f"environment variable {DEVICE} is cuda, but PyTorch finds no GPU here; use auto or cpu")
    return "cuda" if has_gpu and wanted != "cpu" else "cpu"


def resume_file(md5: Mapping[str, str]) -> Path:
    """Return where a training keeps its state until it ends, known by the md5 of its data, params and code.

    It is below the folder `RNNFLOW_STATE`, by default `.rnnflow`, outside DVC's outputs.
    """
    key = hashlib.sha256(json.dumps(dict(md5), sort_keys=True).encode()).hexdigest()[:32]
    return Path(os.environ.get(STATE, ".rnnflow")) / "resume" / f"{key}.safetensors"
