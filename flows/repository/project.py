"""By what name a Prefect server knows this project: several projects share a server, and none touches another's things.

Pools, variables, deployments, automations and artifacts carry the name; runs carry it as a tag.
"""

import re
from pathlib import Path

from flows import settings
from rnnflow.runtime.errors import InputError


def project_name(repository: str, product: str = ".") -> str:
    """Return the name by `flows/settings.yaml`, or else the repository's own, with that of the product's folder.

    Args:
        repository: URL or path.
        product: a folder in it with a `dvc.yaml` of its own.

    Raises:
        InputError: the repository's name has nothing that such a name could be made of.
    """
    own = settings.load().project or Path(repository.rstrip("/").replace(":", "/")).name.removesuffix(".git")
    name = re.sub(r"[^a-z0-9]+", "-", f"{own}-{Path(product).name}".lower()).strip("-")
    if not name:
        raise InputError(f"{repository}: no name to be made of it; set `project:` in flows/settings.yaml")
    return name


def is_same_repository(one: str, other: str) -> bool:
    """Return whether two addresses lead to one repository, one by SSH, say, and the other by HTTPS."""
    return _place(one) == _place(other)


def _place(url: str) -> str:
    without_scheme = re.sub(r"^\w+://", "", url)
    without_user = re.sub(r"^[^/@]*@", "", without_scheme)
    return re.sub(r"^([^/:]+)(?::\d+/|:)", r"\1/", without_user).rstrip("/").removesuffix(".git")
