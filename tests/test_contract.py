"""Holds the three floors together: dvc.yaml, the stages, and params.yaml."""

import importlib
import itertools
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import grimp
import networkx
import pytest
from ruamel.yaml import YAML

from flows import settings
from flows.server.pools import POOLS
from rnnflow import engines
from rnnflow.classifier import cells, stems
from rnnflow.params import models, whole
from rnnflow.params.train import Engine
from rnnflow.runtime.provenance import ROOT

PIPELINE: dict[str, Any] = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text())
PARAMS: dict[str, Any] = YAML(typ="safe").load((ROOT / "params.yaml").read_text())
STAGES = {name: stage.get("do", stage) for name, stage in PIPELINE["stages"].items()}
KEY = "${key}"
ENGINE = "rnnflow/engines/${train.engine}"
LAYERS = (
    "cli",
    "advice",
    grimp.Layer("evaluation", "export", "training"),
    "serving",
    grimp.Layer("engines", "generation"),
    "classifier",
    "sequences",
    "params",
    "runtime",
)
"""Of the library, the highest first: a layer imports from lower ones only, and nothing beside itself."""

LAYERS_WITHIN: dict[str, tuple[grimp.Layer | str, ...]] = {
    "advice": ("inspection", "tuning", "model_selection"),
    "evaluation": (grimp.Layer("comparison", "report"), "scores"),
    "serving": (
        "prediction",
        "c_code",
        grimp.Layer("benchmark", "describe", "quantisation", "stream_lines", "verify", independent=False),
        grimp.Layer("stream_messages", "streaming"),
        grimp.Layer("compiled", "open_streams", "streaming_model"),
        grimp.Layer("origin", "predictor"),
        "checksum",
    ),
}
"""The same for folders that hold more than one room."""


@pytest.fixture(scope="module")
def imports() -> grimp.ImportGraph:
    """Every import of the project, those inside of functions included."""
    return grimp.build_graph("rnnflow", "stages", "flows", include_external_packages=True, cache_dir=None)


def paths(stage: str, *kinds: str) -> list[str]:
    entries = [entry for kind in kinds for entry in STAGES[stage].get(kind, [])]
    return [entry if isinstance(entry, str) else next(iter(entry)) for entry in entries]


def test_each_stage_has_its_file_and_each_file_its_stage() -> None:
    files = {path.stem for path in (ROOT / "stages").glob("*.py")} - {"__init__"}
    assert set(STAGES) == files


def test_each_section_of_params_is_a_stages_and_has_its_type() -> None:
    assert set(PARAMS) == set(whole.Params.model_fields)
    for stage in set(PARAMS) - {"models"}:
        section = importlib.import_module(f"rnnflow.params.{stage}")
        assert stage in STAGES
        assert whole.Params.model_fields[stage].annotation is getattr(section, f"{stage.title()}Params")


@pytest.mark.parametrize("stage", STAGES)
def test_deps_are_exactly_what_a_stage_imports_from(stage: str, imports: grimp.ImportGraph) -> None:
    """Folders, but files where a folder also serves others: the params' sections, the predictor, what engines share."""
    modules = imports.find_upstream_modules(f"stages.{stage}") | {f"stages.{stage}"}
    if "rnnflow.engines" in modules:  # which imports an engine by its name
        entries = {f"rnnflow.engines.{name}.engine" for name in get_args(Engine)}
        modules |= entries.union(*map(imports.find_upstream_modules, entries))
    project = {module for module in modules if module.startswith(("rnnflow.", "stages."))}
    named = {dep for dep in paths(stage, "deps") if dep.startswith(("rnnflow/", "stages/"))}
    assert named == {dep_of(module) for module in project}


def dep_of(module: str) -> str:
    parts = module.split(".")
    if parts[:2] == ["rnnflow", "engines"] and len(parts) > 2 and parts[2] in get_args(Engine):
        return ENGINE
    if parts[:2] == ["rnnflow", "engines"] and len(parts) == 2:
        return "rnnflow/engines/__init__.py"
    if parts[0] == "stages" or parts[1] in ("engines", "params", "serving"):
        return "/".join(parts) + ".py"
    return "/".join(parts[:3] if parts[1] in ("advice", "evaluation") else parts[:2])


def test_the_library_imports_from_lower_layers_only(imports: grimp.ImportGraph) -> None:
    assert not imports.find_illegal_dependencies_for_layers(LAYERS, containers={"rnnflow"})
    layered = {name for layer in LAYERS for name in (layer.module_tails if isinstance(layer, grimp.Layer) else {layer})}
    assert {child.removeprefix("rnnflow.") for child in imports.find_children("rnnflow")} == layered


@pytest.mark.parametrize("folder", LAYERS_WITHIN)
def test_the_rooms_of_a_folder_import_from_lower_ones_only(folder: str, imports: grimp.ImportGraph) -> None:
    assert not imports.find_illegal_dependencies_for_layers(LAYERS_WITHIN[folder], containers={f"rnnflow.{folder}"})


def test_array_types_come_from_one_module_since_jaxtyping_is_not_installed_with_the_library(
    imports: grimp.ImportGraph,
) -> None:
    assert imports.find_modules_that_directly_import("jaxtyping") == {"rnnflow.runtime.array_types"}


def test_no_imports_run_in_a_circle(imports: grimp.ImportGraph) -> None:
    graph = networkx.DiGraph(
        (module, imported)
        for module in imports.modules
        for imported in imports.find_modules_directly_imported_by(module)
    )
    assert not [circle for circle in networkx.strongly_connected_components(graph) if len(circle) > 1]


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_reads_its_own_section_of_the_params(stage: str) -> None:
    """Or a setting of one section would make the stages of all others stale."""
    sections = {Path(dep).stem for dep in paths(stage, "deps") if dep.startswith("rnnflow/params/")}
    assert (stage in sections) == (stage in PARAMS)
    allowed = {"train"} if stage == "evaluate" else set()  # evaluated by the engine that trained
    assert sections <= {stage, "models", "section", "time_format", *allowed}


def test_no_stage_that_trains_or_exports_knows_the_test_split() -> None:
    """Its labels can then change neither a model nor the choice of one."""
    assert not [stage for stage in ("train", "export") if "data/sequences/test" in paths(stage, "deps")]


def test_a_new_version_exports_anew_and_trains_nothing() -> None:
    """The version stands in each ONNX file; in code that other stages share, a release would train every model."""
    assert (ROOT / "rnnflow/export/version.py").is_file()
    assert [stage for stage in STAGES if "rnnflow/export" in paths(stage, "deps")] == ["export"]


@pytest.mark.parametrize("name", get_args(Engine))
def test_nobody_but_an_engine_itself_knows_its_modules(name: str) -> None:
    own = engines.entry(name).parent
    for path in (ROOT / "rnnflow").rglob("*.py"):
        assert own in path.parents or f"engines.{name}" not in path.read_text(), path


def test_params_name_exactly_the_cells_that_there_are() -> None:
    """What is in the folder and no cell is what cells have in common."""
    files = {path.stem for path in cells.entry("rnn").parent.glob("*.py")}
    assert files - {"__init__", "interface", "builtin"} == set(get_args(models.Cell))


def test_params_name_exactly_the_stems_that_there_are() -> None:
    kinds = {
        get_args(kind.model_fields["kind"].annotation)[0] for kind in (models.StemParams, models.MultiScaleStemParams)
    }
    assert {path.stem for path in stems.entry("convolutions").parent.glob("*.py")} - {"__init__", "interface"} == kinds


@pytest.mark.parametrize("stage", STAGES)
def test_params_of_a_stage_exist(stage: str) -> None:
    for name in STAGES[stage].get("params", []):
        section, _, entry = name.partition(".")
        assert section in PARAMS
        assert entry in ("", KEY)


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.yaml")), ids=lambda path: path.stem)
def test_the_params_of_an_example_have_what_dvc_yaml_reads(path: Path) -> None:
    whole.load(path)
    content = YAML(typ="safe").load(path.read_text())
    for name in set(re.findall(r"\$\{([\w.]+)\}", (ROOT / "dvc.yaml").read_text())) - {"key", "item"}:
        section = content
        for part in name.split("."):
            assert part in section, f"{name} is not in {path}"
            section = section[part]


@pytest.mark.parametrize("stage", STAGES)
def test_each_path_of_a_command_is_a_dep_or_an_out(stage: str) -> None:
    declared = paths(stage, "deps", "outs", "metrics", "plots")
    options = re.findall(r"--[a-z]+ (\S+)", STAGES[stage]["cmd"])
    for path in options:
        if path not in ("params.yaml", "${train.engine}"):
            assert any(known == path or known.startswith(f"{path}/") for known in declared), path


@pytest.mark.parametrize("stage", STAGES)
def test_every_output_is_cached_because_the_run_cache_needs_it(stage: str) -> None:
    for kind in ("outs", "metrics", "plots"):
        for entry in STAGES[stage].get(kind, []):
            assert isinstance(entry, str) or not {"cache", "persist"} & set(*entry.values())


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_runs_once_for_each_model_or_once(stage: str) -> None:
    assert PIPELINE["stages"][stage].get("foreach", "${models}") == "${models}"


@pytest.mark.parametrize("model", ["data", "comparison", "models", "reports", "sequences", "training"])
def test_a_model_may_be_called_like_a_folder_without_sharing_an_output(model: str) -> None:
    outputs = [path.replace(KEY, model) for stage in STAGES for path in paths(stage, "outs", "metrics", "plots")]
    assert not [
        (one, other) for one, other in itertools.permutations(outputs, 2) if one == other or other.startswith(f"{one}/")
    ]


def test_artifacts_are_outputs_of_the_models_and_the_model_in_production() -> None:
    outputs = {
        path.replace(KEY, model) for stage in STAGES for path in paths(stage, "outs") for model in PARAMS["models"]
    }
    artifacts = {artifact["path"] for artifact in PIPELINE["artifacts"].values()}
    assert artifacts <= outputs | {"models/production/model.onnx"}


def test_params_yaml_shows_every_setting_with_its_default() -> None:
    def names(section: Any) -> set[str]:
        return set(section) if isinstance(section, dict) else set()

    settings = whole.load(ROOT / "params.yaml")
    for stage in set(PARAMS) - {"models"}:
        section = getattr(settings, stage)
        assert names(PARAMS[stage]) == set(type(section).model_fields)
        assert section == type(section)()
    for model in PARAMS["models"].values():
        assert names(model) == set(models.ModelParams.model_fields)


@pytest.mark.parametrize(
    ("floor", "unknown"), [("rnnflow", ["stages", "flows"]), ("stages", ["flows"]), ("flows", ["stages"])]
)
def test_imports_between_the_floors_point_down_only(floor: str, unknown: list[str], imports: grimp.ImportGraph) -> None:
    for other in unknown:
        assert not imports.direct_import_exists(importer=floor, imported=other, as_packages=True)


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
    assert {entry["name"] for entry in deployments if entry["entrypoint"].startswith("flows/stage.py:")} == {
        "{{ project }}-" + pool for pool in pools
    }


def test_the_settings_name_stages_that_there_are() -> None:
    named = settings.load()
    assert {*named.workers} <= {settings.DEFAULT, *STAGES}
    assert {*named.timeout_seconds} <= {settings.DEFAULT, *STAGES, *settings.TRANSFERS}
    assert not {*settings.TRANSFERS} & {*STAGES}


@pytest.mark.parametrize("package", ["dvc", "prefect"])
def test_the_library_knows_neither_dvc_nor_prefect(package: str, imports: grimp.ImportGraph) -> None:
    importers = imports.find_modules_that_directly_import(package)
    assert importers
    assert not {module for module in importers if module.startswith("rnnflow")}


def test_hashes_are_of_the_versions_that_the_lock_pins() -> None:
    def pins(name: str) -> set[str]:
        return set(re.findall(r"^[\w.-]+==[^\s;]+", (ROOT / name).read_text(), re.MULTILINE))

    assert pins("requirements.lock") <= pins("requirements.hashes")
