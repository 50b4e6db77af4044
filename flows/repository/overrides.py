"""Changes of params for one run: `{"models.lstm.hidden_size": 64}`."""

import difflib
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from rnnflow.runtime.errors import InputError
from rnnflow.runtime.yaml_text import round_trip

FILE = "params.yaml"


def check(workspace: Path, overrides: Mapping[str, Any]) -> None:
    """Make sure that the overrides could be applied, and change nothing.

    Raises:
        InputError: they could not, see `apply`.
    """
    if overrides:
        with _changed(workspace, overrides):
            pass


def apply(workspace: Path, overrides: Mapping[str, Any]) -> None:
    """Write the overrides into the workspace's params, comments and order kept, if the result can be used.

    Args:
        workspace: the DVC repository.
        overrides: values by the dotted names of their entries.

    Raises:
        InputError: there is no such entry, or the workspace's own code refuses the value; nothing is written.
    """
    if overrides:
        with _changed(workspace, overrides) as changed:
            changed.replace(workspace / FILE)


@contextmanager
def _changed(workspace: Path, overrides: Mapping[str, Any]) -> Iterator[Path]:
    """A file beside the params, with the overrides in it, that the workspace's own code accepts."""
    path = workspace / FILE
    yaml = round_trip()
    content = _load(yaml, path)
    for name, value in overrides.items():
        _set(content, name, value)
    changed = path.with_name(f".{FILE}")
    try:
        yaml.dump(content, changed)
        _check(workspace, changed)
        yield changed
    finally:
        changed.unlink(missing_ok=True)


def _load(yaml: YAML, path: Path) -> dict[str, Any]:
    try:
        content = yaml.load(path)
    except (OSError, UnicodeDecodeError, YAMLError):
        content = None
    if not isinstance(content, dict):
        _check(path.parent, path)  # tells what is wrong with the file
        raise InputError(f"overrides: {path}: expected sections with entries")
    return content


def _set(content: dict[str, Any], name: str, value: object) -> None:
    *sections, entry = name.split(".")
    section = content
    for part in sections:
        section = section[part] if isinstance(section, dict) and part in section else {}
    if not isinstance(section, dict) or entry not in section:
        near = difflib.get_close_matches(name, list(_names(content)), n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise InputError(f"overrides: {FILE} has no entry '{name}'{hint}")
    section[entry] = value


def _names(content: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in content.items():
        yield f"{prefix}{key}"
        if isinstance(value, dict):
            yield from _names(value, f"{prefix}{key}.")


def _check(workspace: Path, params: Path) -> None:
    """Ask the code of the workspace, which may be of another revision than this flow's."""
    command = [sys.executable, "-m", "rnnflow.cli", "check", params.name]
    done = subprocess.run(command, cwd=workspace, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr.strip() or f"{FILE}: the check ended with status {done.returncode}").splitlines()[-1]
        raise InputError(f"overrides: {said.removeprefix('error: ').replace(params.name, FILE)}")
