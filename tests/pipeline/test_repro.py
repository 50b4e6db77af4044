"""The pipeline under the real DVC, in real clones."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from rnnflow.serving.predictor import Predictor
from tests.pipeline.conftest import MODELS, Clone

AVX2 = {
    "NPY_DISABLE_CPU_FEATURES": "AVX512F AVX512CD AVX512_SKX AVX512_CLX AVX512_CNL AVX512_ICL AVX512_SPR",
    "NUMBA_CPU_NAME": "haswell",
    "NUMBA_CPU_FEATURES": "+avx,+avx2,+bmi,+bmi2,+f16c,+fma,+popcnt,+sse4.1,+sse4.2",
    "ATEN_CPU_CAPABILITY": "avx2",
    "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
}
"""Has NumPy, Numba and PyTorch take a processor with AVX-512 for one without."""


@pytest.mark.slow
def test_two_fresh_clones_give_the_same_lock_on_whatever_processor(
    finished: Clone, fresh_clone: Callable[[], Clone], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in AVX2.items():
        monkeypatch.setenv(name, value)
    second = fresh_clone()
    second.run("dvc", "repro")
    assert second.read("dvc.lock") == finished.read("dvc.lock")


def test_a_second_repro_runs_nothing_and_imports_neither_torch_nor_prefect(finished: Clone) -> None:
    printed = finished.run("python", "-X", "importtime", "-m", "dvc", "repro")
    assert "Data and pipelines are up to date" in printed
    assert "Running stage" not in printed
    imported = {
        line.rsplit("|", 1)[-1].strip().split(".")[0] for line in printed.splitlines() if "import time:" in line
    }
    assert "dvc" in imported
    assert not imported & {"torch", "prefect"}


IMPORTS = {
    "generate": {"pandas", "pyarrow.compute"},
    "train": {"llvmlite.binding"},
    "evaluate": {"llvmlite.binding", "scipy.sparse"},
    "export": {"onnx", "onnxruntime", "torch"},
    "compare": {"onnxruntime", "scipy.linalg", "scipy.optimize", "scipy.sparse"},
    "report": {"jinja2", "onnxruntime", "vl_convert"},
}
"""Of what takes some time to import, what a stage needs; Arrow imports pandas where it is installed."""
SLOW_IMPORTS = set().union(*IMPORTS.values()) | {"jaxtyping", "matplotlib", "numba", "prefect", "rich", "sklearn"}


def test_each_stage_imports_of_what_takes_long_only_what_it_needs(finished: Clone) -> None:
    printed = finished.folder.with_name("printed.txt").read_text()
    _, _, *of_stages = printed.split("imported package\n")  # the head of each process's list
    imported = [SLOW_IMPORTS & {line.rsplit("|", 1)[-1].strip() for line in lines.splitlines()} for lines in of_stages]
    names = [name.partition("@")[0] for name in running(printed)]
    assert list(zip(names, imported, strict=True)) == [(name, IMPORTS[name]) for name in names]


STALE_AFTER = {
    "rnnflow/evaluation/scores/metrics/brier.py": {"evaluate", "compare", "report"},
    "rnnflow/generation/sources/csv_files.py": {"generate"},
    "rnnflow/export/graph.py": {"export"},
    "rnnflow/training/loop.py": {"train"},
    "rnnflow/advice/tuning/search.py": set(),
    "rnnflow/params/generate.py": {"generate"},
    "rnnflow/params/train.py": {"train", "evaluate"},  # by the engine that trained
    "stages/compare.py": {"compare"},
    "rnnflow/evaluation/report/templates/report.html": {"report"},
}
STATUS_AFTER_EACH = """
import sys
from pathlib import Path
from dvc.cli import main
for file in map(Path, sys.argv[1:]):
    content = file.read_text()
    file.write_text(content + "# a remark\\n")
    main(["status", "--json"])
    file.write_text(content)
"""


@pytest.fixture(scope="module")
def statuses(finished: Clone, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What `dvc status` says after a change of each file, in one process, as DVC takes some seconds to begin."""
    clone = finished.copy(tmp_path_factory.mktemp("stale") / "rnnflow")
    printed = clone.run("python", "-c", STATUS_AFTER_EACH, *STALE_AFTER)
    return dict(zip(STALE_AFTER, [line for line in printed.splitlines() if line.startswith("{")], strict=True))


@pytest.mark.parametrize("changed", STALE_AFTER)
def test_a_change_of_code_makes_the_stages_stale_that_import_from_its_folder(
    statuses: dict[str, str], changed: str
) -> None:
    assert {name.partition("@")[0] for name in json.loads(statuses[changed])} == STALE_AFTER[changed]


def test_every_model_has_its_files_and_they_say_where_they_came_from(finished: Clone) -> None:
    lock = YAML(typ="safe").load(finished.read("dvc.lock"))["stages"]
    for name in MODELS:
        predictor = Predictor(finished.folder / f"models/{name}/model.onnx")
        outs = {out["path"]: out["md5"] for out in lock[f"train@{name}"]["outs"]}
        deps = {dep["path"]: dep["md5"] for dep in lock[f"train@{name}"]["deps"]}
        md5 = predictor.metadata["md5"]
        assert md5["weights"] == outs[f"models/{name}/checkpoint.safetensors"]
        assert md5["train"] == deps["data/sequences/train"]
        assert md5["validation"] == deps["data/sequences/validation"]
        assert predictor.metadata["metrics"] == json.loads(
            finished.read(f"reports/models/{name}/evaluation/metrics.json")
        )


def test_describe_finds_the_revision(finished: Clone) -> None:
    head = finished.run("git", "rev-parse", "--short", "HEAD").strip()
    assert head in finished.run("python", "-m", "rnnflow.cli", "describe", "models/gru/model.onnx")


def test_metrics_and_plots_are_shown(finished: Clone, tmp_path: Path) -> None:
    metrics = json.loads(finished.run("dvc", "metrics", "show", "--json"))[""]["data"]
    for name in MODELS:
        figures = metrics[f"reports/models/{name}/evaluation/metrics.json"]["data"]
        assert 0.4 < figures["accuracy_low"] < figures["accuracy"] < figures["accuracy_high"] <= 1
    page = tmp_path / "plots"
    finished.run("dvc", "plots", "show", "--out", str(page))
    html = (page / "index.html").read_text()
    for title in (
        "loss on the validation split",
        "confusion.csv",
        "calibration_error.csv",
        "roc_auc.csv",
        "accuracy.tsv",
        "loss.tsv",
    ):
        assert title in html
    assert "<DVC_METRIC" not in html


@pytest.mark.slow
def test_changing_one_model_runs_that_model_alone(copy_of_finished: Clone) -> None:
    printed = copy_of_finished.run("dvc", "exp", "run", "--set-param", "models.gru.hidden_size=8")
    for stage in ("train@gru", "evaluate@gru", "export@gru", "compare", "report"):
        assert f"Running stage '{stage}'" in printed
    assert printed.count("Running stage") == 5
    shown = json.loads(copy_of_finished.run("dvc", "exp", "show", "--json"))
    assert len(shown[1]["experiments"]) == 1
    model = Predictor(copy_of_finished.folder / "models/gru/model.onnx").metadata["model"]
    assert model["hidden_size"] == 8


def test_results_travel_through_a_remote(copy_of_finished: Clone, tmp_path: Path) -> None:
    copy_of_finished.run("dvc", "remote", "add", "--default", "store", str(tmp_path / "remote"))
    copy_of_finished.run("git", "commit", "--quiet", "--all", "--message=remote")
    copy_of_finished.run("dvc", "push", "--run-cache")
    other = copy_of_finished.clone(tmp_path / "other")
    other.run("dvc", "pull")
    for name in MODELS:
        path = f"models/{name}/model.onnx"
        assert (other.folder / path).read_bytes() == (copy_of_finished.folder / path).read_bytes()
    assert "Running stage" not in other.run("dvc", "repro")


def test_the_run_cache_restores_what_ran_elsewhere(copy_of_finished: Clone, tmp_path: Path) -> None:
    (copy_of_finished.folder / "dvc.lock").unlink()
    shutil.rmtree(copy_of_finished.folder / "models")
    printed = copy_of_finished.run("dvc", "repro", "train@lstm")
    assert "is cached - skipping run, checking out outputs" in printed
    assert "Running stage" not in printed


@pytest.mark.slow
def test_a_person_with_one_model_deletes_the_other_entries(copy_of_finished: Clone) -> None:
    with copy_of_finished.changed_params() as params:
        params["models"] = {"gru": params["models"]["gru"]}
    printed = copy_of_finished.run("dvc", "repro")
    assert "lstm" not in printed
    assert running(printed) == ["compare", "report"]


@pytest.mark.slow
def test_a_new_production_model_makes_comparison_and_report_stale_and_nothing_else(copy_of_finished: Clone) -> None:
    production = copy_of_finished.folder / "models/production/model.onnx"

    def compared_with() -> str | None:
        assert set(json.loads(copy_of_finished.run("dvc", "status", "--json"))) == {"compare", "report"}
        assert set(running(copy_of_finished.run("dvc", "repro", "compare"))) <= {"compare"}  # the run cache may know it
        found = json.loads(copy_of_finished.read("reports/comparison/verdict.json"))["production"]
        return found and str(found["name"])

    shutil.copy2(copy_of_finished.folder / "models/lstm/model.onnx", production)
    copy_of_finished.run("dvc", "add", "models/production/model.onnx")
    assert compared_with() == "lstm"
    copy_of_finished.run("dvc", "remove", "models/production/model.onnx.dvc")
    production.unlink()
    assert compared_with() is None


def running(printed: str) -> list[str]:
    return re.findall("Running stage '(.*)'", printed)


def test_wrong_params_end_the_run_with_one_line_and_keep_the_results(copy_of_finished: Clone) -> None:
    lock = copy_of_finished.read("dvc.lock")
    copy_of_finished.change_params("train", learning_rate="fast")
    printed = copy_of_finished.run("dvc", "repro", expected=255)
    assert "error: params.yaml: train.learning_rate:" in printed
    assert "Traceback" not in printed
    assert copy_of_finished.read("dvc.lock") == lock
