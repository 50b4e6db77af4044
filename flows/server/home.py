"""The folder in which Prefect keeps its own files. It can be looked at without importing Prefect."""

import os
import tempfile
from pathlib import Path

from rnnflow.runtime.errors import InputError


def require_home() -> None:
    """Make sure that Prefect can write to its folder; it would go on without, and log thousands of lines.

    Raises:
        InputError: it cannot.
    """
    folder = Path(os.environ.get("PREFECT_HOME") or "~/.prefect").expanduser()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise InputError(
            f"{folder}: expected a folder that can be written, where Prefect keeps its database: {error.strerror}; set "
            "PREFECT_HOME to one, or run `dvc repro`, which needs none"
        ) from None
