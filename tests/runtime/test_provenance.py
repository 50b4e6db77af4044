import ast
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from rnnflow.runtime import provenance
from rnnflow.runtime.provenance import ROOT, code_md5, file_md5, folder_md5, params_md5, source_files


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder whose files sort differently as paths, as text and by depth."""
    for name in ("part-00000.parquet", "a/b", "a-b", "a.b/c", "Z", "empty", "ä/Ω", "a/deep/er/file"):
        path = tmp_path / "repository" / "folder" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("" if name == "empty" else name)
    return tmp_path / "repository" / "folder"


def test_md5_of_files_and_folders_is_the_one_that_dvc_records(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_NO_ANALYTICS", "1")
    file = folder.with_name("file.bin")
    file.write_bytes(bytes(range(256)) * 10)
    dvc = [sys.executable, "-m", "dvc"]
    for command in (["git", "init", "-q"], [*dvc, "init", "-q"], [*dvc, "add", "-q", "folder", "file.bin"]):
        subprocess.run(command, cwd=folder.parent, check=True)
    recorded = {path: YAML(typ="safe").load(path.with_name(f"{path.name}.dvc"))["outs"][0] for path in (folder, file)}
    assert folder_md5(folder) == recorded[folder]["md5"]
    assert file_md5(file) == recorded[file]["md5"]


def test_md5_of_a_folder_knows_contents_and_names(folder: Path) -> None:
    before = folder_md5(folder)
    (folder / "Z").rename(folder / "Y")
    renamed = folder_md5(folder)
    (folder / "Y").rename(folder / "Z")
    assert folder_md5(folder) == before != renamed
    (folder / "Z").write_text("other")
    assert folder_md5(folder) not in (before, renamed)


def test_md5_of_params_ignores_the_order_of_their_names() -> None:
    assert params_md5({"a": 1, "b": {"c": 2, "d": 3}}) == params_md5({"b": {"d": 3, "c": 2}, "a": 1})
    assert params_md5({"a": 1}) != params_md5({"a": 2})


def test_md5_of_code_ignores_the_order_of_the_files_and_knows_their_places() -> None:
    errors, empty, also_empty = (
        ROOT / name for name in ("rnnflow/runtime/errors.py", "rnnflow/py.typed", "stages/__init__.py")
    )
    assert code_md5([errors, empty]) == code_md5([empty, errors])
    assert len({code_md5([errors]), code_md5([empty]), code_md5([also_empty]), code_md5([errors, empty])}) == 4


def imported_by(path: Path, code: str) -> set[str]:
    path.write_text(code)
    return {file.relative_to(ROOT).as_posix() for file in source_files(path) if file != path}


def test_source_files_follow_imports_of_imports(tmp_path: Path) -> None:
    files = {path.relative_to(ROOT).as_posix() for path in source_files(ROOT / "stages/generate.py")}
    assert {"stages/generate.py", "rnnflow/generation/sources/files.py", "rnnflow/generation/splitting.py"} <= files
    assert "rnnflow/training/loop.py" not in files


@pytest.mark.parametrize(
    "code",
    [
        "import rnnflow.runtime.errors",
        "from rnnflow.runtime import errors",
        "from rnnflow.runtime.errors import InputError",
        "def later():\n    import rnnflow.runtime.errors as known",
    ],
)
def test_source_files_know_every_way_to_import(code: str, tmp_path: Path) -> None:
    assert imported_by(tmp_path / "module.py", code) == {"rnnflow/runtime/errors.py"}


def test_imports_of_every_module_of_the_project_are_found_as_python_parses_them() -> None:
    for module in [*ROOT.glob("rnnflow/**/*.py"), *ROOT.glob("stages/*.py")]:
        names = set()
        for node in ast.walk(ast.parse(module.read_text())):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        assert set(provenance._imported(module)) == set().union(*map(provenance._module_files, names)), module


def test_source_files_leave_out_other_packages(tmp_path: Path) -> None:
    assert imported_by(tmp_path / "module.py", "import json, numpy\nfrom pathlib import Path") == set()


def test_source_files_name_a_package_that_has_something_to_say(tmp_path: Path) -> None:
    files = imported_by(tmp_path / "module.py", "from rnnflow.generation.sources import synthetic")
    assert "rnnflow/generation/sources/__init__.py" in files
    assert "rnnflow/__init__.py" not in files
