"""Holds the three floors together: dvc.yaml, the stages, and params.yaml."""

import ast
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import pytest
from ruamel.yaml import YAML

from flows import settings
from flows.server.pools import POOLS
from rnnflow import engines, params
from rnnflow.runtime.provenance import ROOT, source_files

PIPELINE: dict[str, Any] = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text())
PARAMS: dict[str, Any] = YAML(typ="safe").load((ROOT / "params.yaml").read_text())
STAGES = {name: stage.get("do", stage) for name, stage in PIPELINE["stages"].items()}
KEY = "${key}"


def paths(stage: str, *kinds: str) -> list[str]:
    entries = [entry for kind in kinds for entry in STAGES[stage].get(kind, [])]
    return [entry if isinstance(entry, str) else next(iter(entry)) for entry in entries]


def test_each_stage_has_its_file_and_each_file_its_stage() -> None:
    files = {path.stem for path in (ROOT / "stages").glob("*.py")} - {"__init__"}
    assert set(STAGES) == files


def test_each_stage_has_its_section_of_params_and_its_type() -> None:
    assert set(PARAMS) == set(params.Params.model_fields) == {*STAGES, "models"}
    for stage in STAGES:
        assert params.Params.model_fields[stage].annotation is getattr(params, f"{stage.title()}Params")


@pytest.mark.parametrize("stage", STAGES)
def test_deps_are_exactly_the_folders_a_stage_imports_from(stage: str) -> None:
    """Engines are imported by name: each one's own folder is a dep while it is chosen, what they share always."""
    modules = [ROOT / "stages" / f"{stage}.py"]
    if stage == "train":
        modules += [engines.entry(name) for name in get_args(params.Engine)]
        assert "rnnflow/engines/${train.engine}" in paths(stage, "deps")
    imported = {path.relative_to(ROOT) for path in source_files(*modules)}
    engine_folders = {f"rnnflow/engines/{name}" for name in get_args(params.Engine)}
    expected = {
        path.as_posix() if path.parts[1] == "engines" or path.parts[0] == "stages" else "/".join(path.parts[:2])
        for path in imported
        if path.parent.as_posix() not in engine_folders
    }
    code = {path for path in paths(stage, "deps") if path.startswith(("rnnflow/", "stages/"))}
    assert code - {"rnnflow/engines/${train.engine}"} == expected


FOLDERS: dict[str, set[str]] = {
    "runtime": set(),
    "params": {"runtime"},
    "sequences": {"runtime"},
    "generation": {"params", "runtime", "sequences"},
    "classifier": {"params", "runtime", "sequences"},
    "engines": {"classifier", "params", "runtime", "sequences"},
    "training": {"classifier", "engines", "params", "runtime", "sequences"},
    "evaluation": {"classifier"},
    "serving": {"runtime", "sequences"},
    "export": {"classifier", "params", "runtime", "sequences", "serving"},
}
"""What each folder of the library may import from, besides itself: the lower floors only."""


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_folder_of_the_library_imports_from_lower_floors_only(folder: str) -> None:
    for path in (ROOT / "rnnflow" / folder).rglob("*.py"):
        assert imported_folders(path) <= {folder, *FOLDERS[folder]}, path


def test_a_new_version_exports_anew_and_trains_nothing() -> None:
    """The version stands in each ONNX file; in code that other stages share, a release would train every model."""
    assert (ROOT / "rnnflow/export/version.py").is_file()
    assert [stage for stage in STAGES if "rnnflow/export" in paths(stage, "deps")] == ["export"]


@pytest.mark.parametrize("name", get_args(params.Engine))
def test_nobody_but_an_engine_itself_knows_its_modules(name: str) -> None:
    own = engines.entry(name).parent
    for path in (ROOT / "rnnflow").rglob("*.py"):
        assert own in path.parents or f"engines.{name}" not in path.read_text(), path


@pytest.mark.parametrize("stage", STAGES)
def test_params_of_a_stage_exist(stage: str) -> None:
    for name in STAGES[stage]["params"]:
        section, _, entry = name.partition(".")
        assert section in PARAMS
        assert entry in ("", KEY)


@pytest.mark.parametrize("stage", STAGES)
def test_each_path_of_a_command_is_a_dep_or_an_out(stage: str) -> None:
    declared = paths(stage, "deps", "outs", "metrics", "plots")
    options = re.findall(r"--[a-z]+ (\S+)", STAGES[stage]["cmd"])
    for path in options:
        if path != "params.yaml":
            assert any(known == path or known.startswith(f"{path}/") for known in declared), path


@pytest.mark.parametrize("stage", STAGES)
def test_every_output_is_cached_because_the_run_cache_needs_it(stage: str) -> None:
    for kind in ("outs", "metrics", "plots"):
        for entry in STAGES[stage].get(kind, []):
            assert isinstance(entry, str) or not {"cache", "persist"} & set(*entry.values())


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_runs_once_for_each_model_or_once(stage: str) -> None:
    assert PIPELINE["stages"][stage].get("foreach", "${models}") == "${models}"


def test_artifacts_are_outputs_of_the_models() -> None:
    outputs = {
        path.replace(KEY, model) for stage in STAGES for path in paths(stage, "outs") for model in PARAMS["models"]
    }
    assert {artifact["path"] for artifact in PIPELINE["artifacts"].values()} <= outputs


def test_params_yaml_shows_every_setting_with_its_default() -> None:
    def names(section: Any) -> set[str]:
        return set(section) if isinstance(section, dict) else set()

    settings = params.load(ROOT / "params.yaml")
    for stage in STAGES:
        section = getattr(settings, stage)
        assert names(PARAMS[stage]) == set(type(section).model_fields)
        assert section == type(section)()
    for model in PARAMS["models"].values():
        assert names(model) == set(params.ModelParams.model_fields)


@pytest.mark.parametrize(
    ("floor", "allowed"),
    [("rnnflow", {"rnnflow"}), ("stages", {"rnnflow", "stages"}), ("flows", {"rnnflow", "flows"})],
)
def test_imports_point_down_only(floor: str, allowed: set[str]) -> None:
    for path in (ROOT / floor).rglob("*.py"):
        assert project_imports(path) <= allowed, path


def test_the_flow_imports_no_torch() -> None:
    show = "import sys, flows.retrain, flows.stage; print(*{name.partition('.')[0] for name in sys.modules})"
    command = [sys.executable, "-c", show]
    imported = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    assert "prefect" in imported
    assert not {"torch", "onnxruntime", "stages"} & set(imported)


def test_each_pool_of_the_settings_is_there_and_runs_stages() -> None:
    pools = {pool.name for pool in POOLS}
    assert set(settings.load().workers.values()) <= pools
    deployments = YAML(typ="safe").load((ROOT / "prefect.yaml").read_text())["deployments"]
    assert {entry["name"] for entry in deployments if entry["entrypoint"].startswith("flows/stage.py:")} == pools


def test_the_settings_name_stages_that_there_are() -> None:
    named = settings.load()
    assert {*named.workers} <= {settings.DEFAULT, *STAGES}
    assert {*named.timeout_seconds} <= {settings.DEFAULT, *STAGES, *settings.TRANSFERS}
    assert not {*settings.TRANSFERS} & {*STAGES}


@pytest.mark.parametrize("package", ["dvc", "prefect"])
def test_the_library_knows_neither_dvc_nor_prefect(package: str) -> None:
    for path in (ROOT / "rnnflow").rglob("*.py"):
        assert package not in top_level_imports(path), path


def project_imports(path: Path) -> set[str]:
    return top_level_imports(path) & {"rnnflow", "stages", "flows"}


def top_level_imports(path: Path) -> set[str]:
    nodes = list(ast.walk(ast.parse(path.read_text())))
    plain = {alias.name.split(".")[0] for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    return plain | {str(node.module).split(".")[0] for node in nodes if isinstance(node, ast.ImportFrom)}


def imported_folders(path: Path) -> set[str]:
    """Return the folders of the library whose modules a file imports."""
    nodes = list(ast.walk(ast.parse(path.read_text())))
    froms = [node for node in nodes if isinstance(node, ast.ImportFrom) and node.module]
    names = [f"{node.module}.{alias.name}" for node in froms for alias in node.names]
    names += [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    return {name.split(".")[1] for name in names if name.startswith("rnnflow.")}
