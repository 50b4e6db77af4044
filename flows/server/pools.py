"""The work pools: which machines there are, and what every run on them finds in its environment."""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from flows.settings import WorkPools

STATE_FOLDER = "/var/lib/rnnflow"
"""In the worker image, where what outlives a run is kept: DVC's cache, states of trainings."""


@dataclass(frozen=True)
class Pool:
    """A work pool: of type `process`, the flow runs are children of the worker; of others, containers of their own.

    Attributes:
        name: as in `flows/settings.yaml`; on the server the project's name comes before it.
        description: shown in the UI.
        environment: of the flow runs.
    """

    name: str
    description: str
    environment: Mapping[str, str]

    def full_name(self, project: str) -> str:
        """Return the name on the server, as in `prefect worker start --pool`."""
        return f"{project}-{self.name}"


POOLS = (
    Pool("cpu-pool", "Machines without a GPU, or whose GPU is for others.", {"RNNFLOW_DEVICE": "cpu"}),
    Pool("gpu-pool", "Machines with a GPU; start workers with --limit 1 for each.", {"RNNFLOW_DEVICE": "auto"}),
)


def job_template(pool: Pool, template: Mapping[str, Any], kind: WorkPools) -> dict[str, Any]:
    """Return a base job template with the pool's settings in it and everything else as it was.

    `stream_output` is off: the output of a run would go to a pipe of its worker, and the run would die at its next
    line when the worker is killed. Its log goes to the server either way.
    """
    changed = deepcopy(dict(template))
    properties = changed["variables"]["properties"]
    properties["env"]["default"] = (properties["env"].get("default") or {}) | dict(pool.environment)
    properties["stream_output"]["default"] = False
    if kind.image:
        properties["image"]["default"] = kind.image
    if kind.volume and kind.type == "docker":
        properties["volumes"]["default"] = [f"{kind.volume}:{STATE_FOLDER}"]
    if kind.volume and kind.type == "kubernetes":
        pod = changed["job_configuration"]["job_manifest"]["spec"]["template"]["spec"]
        pod["volumes"] = [{"name": "state", "persistentVolumeClaim": {"claimName": kind.volume}}]
        pod["containers"][0]["volumeMounts"] = [{"name": "state", "mountPath": STATE_FOLDER}]
        pod["securityContext"] = {"fsGroup": 1000}  # of the image's user, who is to write there
    return changed
