"""Work pools of each type, as far as they can be tried without a container engine: against the types' own schemas."""

from typing import Any

import pytest
from prefect.utilities.schema_tools.validation import validate
from pydantic import ValidationError

from flows.server.pools import POOLS
from flows.server.registration import Change, ensure_pool
from flows.settings import WorkPools
from tests.flows.servers import PrefectServer


@pytest.mark.parametrize("type_", ["docker", "kubernetes"])
def test_a_pool_of_containers_gets_image_volume_and_environment(server: PrefectServer, type_: Any) -> None:
    kind = WorkPools(type=type_, image="registry.example.com/rnnflow-worker:1", volume="rnnflow")
    name = f"pools-{type_}"
    with server.client() as client:
        assert ensure_pool(client, POOLS[0], name, kind) == Change.CREATED
        assert ensure_pool(client, POOLS[0], name, kind) == Change.UNCHANGED
        template = client.read_work_pool(name).base_job_template
        client.delete_work_pool(name)
    schema = template["variables"]
    defaults = {
        key: about["default"] for key, about in schema["properties"].items() if about.get("default") is not None
    }
    validate(defaults, schema, raise_on_error=True, ignore_required=True)
    assert defaults["image"] == "registry.example.com/rnnflow-worker:1"
    assert defaults["env"] == {"RNNFLOW_DEVICE": "cpu"}
    assert defaults["stream_output"] is False
    if type_ == "docker":
        assert defaults["volumes"] == ["rnnflow:/var/lib/rnnflow"]
    else:
        pod = template["job_configuration"]["job_manifest"]["spec"]["template"]["spec"]
        assert pod["volumes"] == [{"name": "state", "persistentVolumeClaim": {"claimName": "rnnflow"}}]
        assert pod["containers"][0]["volumeMounts"] == [{"name": "state", "mountPath": "/var/lib/rnnflow"}]


@pytest.mark.parametrize("values", [{"type": "docker"}, {"image": "a"}, {"volume": "a"}, {"type": "nomad"}])
def test_a_pool_without_what_its_type_needs_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        WorkPools(**values)
