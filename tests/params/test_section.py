"""A section of a real params.yaml, right or wrong."""

from pathlib import Path

import pytest

from rnnflow.params import models, section, train, whole
from rnnflow.runtime.errors import InputError
from tests.params.test_params import A_CELL

MULTIPLIED = "a0: &a0 [1, 2]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 40))
MERGED = "a0: &a0 {x: 1}\n" + "".join(f"a{n}: &a{n} {{<<: [*a{n - 1}, *a{n - 1}]}}\n" for n in range(1, 40))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", " expected names with values, got None"),
        ("- a\n- b\n", " expected names with values, got ['a', 'b']"),
        ("just words", " expected names with values, got 'just words'"),
        ("train: {}\ntrain: {}\n", "line 2: not valid YAML: found duplicate key \"train\""),
        ("train:\n  epochs: 1\n  epochs: 2\n", "line 3: not valid YAML: found duplicate key \"epochs\""),
        ("train: [1,\nb: }", "line 2: not valid YAML:"),
        ("train:\n\tepochs: 1\n", "line 2: not valid YAML: found character that cannot start any token"),
        ("a: *nothing", "line 1: not valid YAML: found undefined alias"),
        ("a: !!python/object:os.system {}", "line 1: not valid YAML: could not determine a constructor"),
        ("a: \x07", " not valid YAML:"),
        ("seed: 2020-13-45", " not valid YAML: month must be in 1..12"),
        ("a: &a [*a]", " more than 100,000 values, or aliases that multiply"),
        (MULTIPLIED, " more than 100,000 values, or aliases that multiply to so many"),
        (MERGED, " more than 100,000 values, or aliases that multiply to so many"),
        ("[" * 10**6, " nested too deeply"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_yaml_of_params_is_refused(text: str, expected: str, tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(text)
    with pytest.raises(InputError) as refused:
        whole.load(path)
    message = str(refused.value)
    assert message.startswith(f"{path}: {expected.strip()}")
    assert "\n" not in message


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"params\.yaml: no such file"):
        whole.load(tmp_path / "params.yaml")


def test_a_folder_is_no_file_of_params(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is a directory, expected a YAML file"):
        whole.load(tmp_path)


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_bytes("épochs".encode("latin-1"))
    with pytest.raises(InputError, match="expected UTF-8 text"):
        whole.load(path)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("train: {}", "no entry 'models', there are train"),
        ("models: {}", "models: no entry 'toy', there are "),
        ("models:", "models: expected names with values, got None"),
        ("models: {toy: }", "models.toy: expected names with values, got None"),
        ("models: {toy: {cell: GRU}}", f"models.toy.cell: {A_CELL}, got 'GRU'"),
        ("models: {toy: {cell: gru, pool: max}}", "models.toy.pool: unknown parameter; did you mean 'pooling'?"),
    ],
)
def test_an_entry_that_is_not_there_or_wrong_is_refused(text: str, expected: str, tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(text)
    with pytest.raises(InputError) as refused:
        models.load_model(path, "toy")
    assert str(refused.value) == f"{path}: {expected}"


@pytest.mark.parametrize("name", ["RNN", "my model", "x; touch y", "", "a/b"])
def test_a_model_is_not_read_under_a_name_that_a_shell_would_take_apart(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is no name of lower-case letters"):
        models.load_model(tmp_path / "params.yaml", name)


def test_a_section_is_read_without_a_look_at_the_others(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text("train: {epochs: 3}\nmodels: {broken: {cell: GRU}, toy: {cell: gru}}\nevaluate: nothing")
    assert section.load(path, train.TrainParams, "train") == train.TrainParams(epochs=3)
    assert models.load_model(path, "toy") == models.ModelParams(cell="gru")
