"""`prefect.yaml` checked for what `prefect deploy` would take without a word, and then never run or never watch."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from rnnflow.params.section import Section, in_one_line
from rnnflow.runtime.errors import InputError

FILE = "prefect.yaml"


class Deployment(Section):
    """An entry of `deployments`. Prefect ignores a mistyped key, and skips an entry without a name."""

    name: str
    entrypoint: str
    description: str
    tags: list[str]
    work_pool: dict[str, Any]
    parameters: dict[str, Any] = Field(default_factory=dict)
    concurrency_limit: int | dict[str, Any] | None = None
    schedules: list[dict[str, Any]] = Field(default_factory=list)
    triggers: list[dict[str, Any]] = Field(default_factory=list)
    pull: list[dict[str, Any]] | None = None

    @property
    def identity(self) -> tuple[str, str]:
        """By which it is found on the server again: the flow's name is known to the flow alone."""
        return self.entrypoint, self.name


def filled_in(folder: Path, project: str, product: str = ".") -> str:
    """Return a folder's `prefect.yaml` with the project's name and the folder of `dvc.yaml` in their places.

    Raises:
        InputError: it is not there.
    """
    path = folder / FILE
    if not path.is_file():
        raise InputError(f"{FILE}: not in {folder}; run from the top of the project")
    return path.read_text().replace("{{ project }}", project).replace("{{ folder }}", product)


def read(manifest: str, project: str) -> list[Deployment]:
    """Return the deployments of a manifest.

    Raises:
        InputError: it has what Prefect would not tell.
    """
    deployments: list[Deployment] = []
    for number, entry in enumerate(_entries(manifest), start=1):
        place = f"{FILE}: deployment '{entry.get('name', number)}'"
        try:
            deployment = Deployment.model_validate(entry)
        except ValidationError as error:
            raise InputError(f"{place}: {in_one_line(error)}") from None
        if project not in deployment.tags:
            raise InputError(
                f"{place}: no tag '{project}', by which the server tells whose runs to watch for dead ones"
            )
        if any(deployment.identity == other.identity for other in deployments):
            raise InputError(f"{place}: another one of the same flow has this name; give each a name of its own")
        deployments.append(deployment)
    return deployments


def _entries(manifest: str) -> Iterable[dict[str, Any]]:
    try:
        content = YAML(typ="safe").load(manifest)
    except YAMLError as error:
        raise InputError(f"{FILE}: {' '.join(str(error).split())}") from None
    entries = content.get("deployments") if isinstance(content, dict) else None
    if not entries or not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise InputError(f"{FILE}: expected a list of deployments under 'deployments'")
    return entries
