"""The project as it stands in the work tree, for tests that make a repository of it."""

import shutil
import subprocess
from pathlib import Path

from rnnflow.runtime.provenance import ROOT


def copy_to(folder: Path) -> None:
    """Copy what Git has or would take, without the results that `dvc.lock` names."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file() and name != "dvc.lock":
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
