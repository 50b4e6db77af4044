from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from flows.repository import overrides
from rnnflow.params.whole import load
from rnnflow.runtime.errors import InputError
from rnnflow.runtime.provenance import ROOT
from tests.flows.repositories import PARAMS_YAML, Repository

pytest_plugins = ["tests.flows.repositories"]

REFUSES = 'import sys\nprint(open(sys.argv[2]).read())\nsys.exit("error: .params.yaml: sizes are odd here")\n'
ACCEPTS = 'import sys\nassert sys.argv[1:] == ["check", ".params.yaml"]\n'


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The params of this project beside the code that checks them."""
    (tmp_path / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    (tmp_path / "rnnflow").symlink_to(ROOT / "rnnflow")
    return tmp_path


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """Params of another project, whose own check accepts all."""
    folder = tmp_path / "workspace"
    (folder / "rnnflow").mkdir(parents=True)
    (folder / "rnnflow/cli.py").write_text(ACCEPTS)
    (folder / "params.yaml").write_text(PARAMS_YAML)
    return folder


def content(folder: Path) -> dict[str, Any]:
    parsed = YAML(typ="safe").load(folder / "params.yaml")
    assert isinstance(parsed, dict)
    return parsed


def test_values_are_set_and_the_project_accepts_them(project: Path) -> None:
    before = (project / "params.yaml").read_text()
    overrides.apply(project, {"models.lstm.hidden_size": 64, "train.learning_rate": 1e-05, "train.epochs": 2})
    assert (project / "params.yaml").read_text() == before.replace(
        "    cell: lstm\n    hidden_size: 32", "    cell: lstm\n    hidden_size: 64"
    ).replace("learning_rate: 0.005 ", "learning_rate: 1e-05 ").replace("epochs: 80\n", "epochs: 2\n")
    params = load(project / "params.yaml")
    assert params.models["lstm"].hidden_size == 64
    assert params.train.learning_rate == 1e-05


def test_nothing_else_in_the_file_changes(workspace: Path) -> None:
    overrides.apply(workspace, {"models.a.size": 7})
    assert (workspace / "params.yaml").read_text() == PARAMS_YAML.replace("size: 1", "size: 7")


@pytest.mark.parametrize(
    "value", [None, [3, 4.5], {"channels": 4, "layers": [1]}, True, "text: with a colon", "", 1e-7]
)
def test_a_value_may_be_anything_that_yaml_knows(workspace: Path, value: object) -> None:
    expected = content(workspace)
    expected["models"]["b"]["stem"] = value
    overrides.apply(workspace, {"models.b.stem": value})
    assert content(workspace) == expected
    assert "# Of the report alone." in (workspace / "params.yaml").read_text()


def test_a_whole_section_can_be_replaced(workspace: Path) -> None:
    overrides.apply(workspace, {"models": {"c": {"size": 3, "stem": None}}})
    assert content(workspace)["models"] == {"c": {"size": 3, "stem": None}}
    assert list(content(workspace)) == ["train", "models", "report"]


def test_overrides_apply_one_after_another(workspace: Path) -> None:
    overrides.apply(workspace, {"models": {"c": {"size": 3}}, "models.c.size": 4})
    assert content(workspace)["models"] == {"c": {"size": 4}}


def test_without_overrides_the_file_is_not_even_looked_at(tmp_path: Path) -> None:
    overrides.apply(tmp_path, {})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("models.b.sise", "no entry 'models.b.sise'; did you mean models.b.size?"),
        ("train.epoch", "no entry 'train.epoch'; did you mean train.epochs?"),
        ("trian", "no entry 'trian'; did you mean train?"),
        ("models.b.size.x", "no entry 'models.b.size.x'; did you mean models.b.size?"),
        ("quite.another", "no entry 'quite.another'$"),
        ("", "no entry ''$"),
        ("models..size", "no entry 'models..size'"),
    ],
)
def test_an_unknown_entry_is_refused_with_the_nearest_there_is(workspace: Path, name: str, message: str) -> None:
    with pytest.raises(InputError, match=f"^overrides: params.yaml has {message.replace('?', '[?]')}"):
        overrides.apply(workspace, {"train.epochs": 9, name: 1})
    assert (workspace / "params.yaml").read_text() == PARAMS_YAML


def test_a_value_of_the_wrong_type_is_refused_in_the_projects_own_words(project: Path) -> None:
    before = (project / "params.yaml").read_bytes()
    with pytest.raises(InputError) as raised:
        overrides.apply(project, {"models.lstm.hidden_size": "many"})
    assert str(raised.value).startswith("overrides: params.yaml: models.lstm.hidden_size: ")
    assert "'many'" in str(raised.value)
    assert "\n" not in str(raised.value)
    assert (project / "params.yaml").read_bytes() == before
    assert not (project / ".params.yaml").exists()


def test_the_code_of_the_workspace_decides_not_that_of_the_flow(workspace: Path) -> None:
    (workspace / "rnnflow/cli.py").write_text(REFUSES)
    with pytest.raises(InputError, match=r"^overrides: params\.yaml: sizes are odd here$"):
        overrides.apply(workspace, {"models.b.size": 4})
    assert (workspace / "params.yaml").read_text() == PARAMS_YAML


def test_a_check_that_ends_without_a_word_refuses_as_well(workspace: Path) -> None:
    (workspace / "rnnflow/cli.py").write_text("import os\nos._exit(9)\n")
    with pytest.raises(InputError, match=r"^overrides: params\.yaml: the check ended with status 9$"):
        overrides.apply(workspace, {"models.b.size": 4})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("train: [1\nmodels: 2\n", "overrides: params.yaml: line 2: not valid YAML"),
        ("just words\n", "overrides: params.yaml: expected names with values"),
        (None, "overrides: params.yaml: no such file or directory"),
    ],
)
def test_params_that_cannot_be_read_are_told_in_one_line(project: Path, text: str | None, message: str) -> None:
    (project / "params.yaml").unlink()
    if text is not None:
        (project / "params.yaml").write_text(text)
    with pytest.raises(InputError) as raised:
        overrides.apply(project, {"train.epochs": 1})
    assert str(raised.value).startswith(message)
    assert "\n" not in str(raised.value)


def test_dvc_sees_the_value(repository: Repository) -> None:
    (repository.folder / "rnnflow").mkdir()
    repository.write("rnnflow/cli.py", ACCEPTS)
    overrides.apply(repository.folder, {"models.a.size": 5, "train.learning_rate": 1e-05})
    repository.dvc("repro", "--quiet", "train@a")
    assert repository.read("models/a.txt") == "a of size 5 saw 2 numbers\n"
    lock = YAML(typ="safe").load(repository.read("dvc.lock"))
    assert lock["stages"]["train@a"]["params"]["params.yaml"]["train"]["learning_rate"] == 1e-05
