"""What the machine decides and no tracked param, through environment variables: the device, and where state is kept."""

import hashlib
import json
import os
import time
from collections.abc import Mapping
from pathlib import Path

import torch

from rnnflow.errors import InputError

DEVICE = "RNNFLOW_DEVICE"
STATE = "RNNFLOW_STATE"
MAX_STATE_AGE_SECONDS = 30 * 24 * 3600


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


def resume_file(md5: Mapping[str, str], device: str) -> Path:
    """Return where a training keeps its state until it ends, known by all that decides its bytes.

    That is the md5 of its data, params and code, the device and PyTorch's version. It is below the folder `RNNFLOW_STATE`, by default `.rnnflow`, outside DVC's outputs.
    """
    known_by = {**md5, "device": device, "torch": torch.__version__}
    key = hashlib.sha256(json.dumps(known_by, sort_keys=True).encode()).hexdigest()[:32]
    return Path(os.environ.get(STATE, ".rnnflow")) / "resume" / f"{key}.safetensors"


def end_resume(file: Path) -> None:
    """Remove the state of a training that has ended, and those that no training has touched for a month."""
    file.unlink(missing_ok=True)
    for other in file.parent.glob("*"):
        if time.time() - other.stat().st_mtime > MAX_STATE_AGE_SECONDS:
            other.unlink(missing_ok=True)
