import json
import os
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel, ValidationError

from rnnflow.params import compare, evaluate, export, generate, models, report, section, train, whole
from rnnflow.runtime import json_text
from rnnflow.runtime.errors import InputError
from rnnflow.runtime.provenance import ROOT

SECTIONS: dict[str, type[BaseModel]] = {
    "generate": generate.GenerateParams,
    "generate.num_sequences": generate.NumSequences,
    "generate.files": generate.FilesParams,
    "generate.files.columns": generate.ColumnNames,
    "generate.split": generate.SplitParams,
    "generate.drift": generate.DriftParams,
    "train": train.TrainParams,
    "models.toy": models.ModelParams,
    "models.cell": models.ModelParams,  # a model may be called like a setting
    "models.toy.stem": models.StemParams,
    "evaluate": evaluate.EvaluateParams,
    "export": export.ExportParams,
    "compare": compare.CompareParams,
    "report": report.ReportParams,
}
*_CELLS, _LAST_CELL = map(repr, get_args(models.Cell))
A_CELL = f"input should be {', '.join(_CELLS)} or {_LAST_CELL}"
NAMES = [f"{section}.{name}" for section, kind in SECTIONS.items() for name in kind.model_fields]


def changed(place: str, value: object) -> dict[str, Any]:
    """Return the smallest params with `value` at `place`."""
    content: dict[str, Any] = {name: {} for name in ("generate", "train", "evaluate", "export", "compare", "report")}
    content["models"] = {"toy": {"cell": "lstm"}}
    *sections, name = place.split(".")
    section = content
    for part in sections:
        section = section.setdefault(part, {})
    section[name] = value
    return content


def refusal(content: object) -> str:
    with pytest.raises(InputError) as refused:
        whole.parse(content)
    message = str(refused.value)
    assert "\n" not in message
    return message


def test_the_smallest_params_have_a_default_for_all_but_the_cell() -> None:
    settings = whole.parse(changed("models.toy.cell", "gru"))
    assert settings.model("toy") == models.ModelParams(cell="gru")
    assert settings.train == train.TrainParams()


def test_a_training_has_either_epochs_or_steps() -> None:
    by_steps = whole.parse(changed("train.steps", 1000)).train
    assert (by_steps.epochs, by_steps.steps) == (None, 1000)
    assert whole.parse(changed("train", {"epochs": None, "steps": 7})).train.steps == 7
    assert whole.parse(changed("train", {"epochs": 3, "steps": None})).train.epochs == 3
    message = refusal(changed("train", {"epochs": 80, "steps": 1000}))
    assert message == "params.yaml: train: epochs 80 and steps 1000: set one of them to null"
    assert (
        refusal(changed("train.epochs", None)) == "params.yaml: train: epochs and steps are both null: set one of them"
    )


def test_the_defaults_are_those_that_params_yaml_shows() -> None:
    settings = whole.load(ROOT / "params.yaml")
    assert settings.generate == generate.GenerateParams()
    assert settings.train == train.TrainParams()
    assert settings.evaluate == evaluate.EvaluateParams()
    assert settings.export == export.ExportParams()
    assert settings.compare == compare.CompareParams()
    assert settings.report == report.ReportParams()


def test_params_cannot_be_changed() -> None:
    settings = whole.parse(changed("train.epochs", 3))
    with pytest.raises(ValidationError, match="frozen"):
        settings.train.epochs = 4  # type: ignore[misc]


def test_a_whole_number_is_a_number() -> None:
    assert whole.parse(changed("train.learning_rate", 1)).train.learning_rate == 1.0


@pytest.mark.parametrize("name", NAMES)
def test_a_misspelt_name_is_answered_with_the_right_one(name: str) -> None:
    expected = f"params.yaml: {name[:-1]}: unknown parameter; did you mean '{name.split('.')[-1]}'?"
    assert refusal(changed(name[:-1], None)) == expected


@pytest.mark.parametrize("section", ["generate", "train", "models", "evaluate", "export", "compare", "report"])
def test_a_misspelt_section_is_answered_with_the_right_one(section: str) -> None:
    content = changed("train.epochs", 3)
    content[f"{section}x"] = content.pop(section)
    assert refusal(content) == f"params.yaml: {section}x: unknown parameter; did you mean '{section}'?"


def test_a_name_like_no_other_is_answered_with_all_there_are() -> None:
    message = refusal(changed("generate.split.quux", 1))
    assert (
        message
        == "params.yaml: generate.split.quux: unknown parameter; expected one of by, validation, test, validation_from, test_from, duplicates"
    )


@pytest.mark.parametrize("section", ["generate", "train", "models", "evaluate", "export", "compare", "report"])
def test_a_missing_section_is_named(section: str) -> None:
    content = changed("train.epochs", 3)
    del content[section]
    assert refusal(content) == f"params.yaml: {section}: missing"


@pytest.mark.parametrize(
    ("place", "value", "expected"),
    [
        ("train.epochs", "sixty", "input should be a valid integer, got 'sixty'"),
        ("train.epochs", 6.5, "input should be a valid integer, got 6.5"),
        ("train.epochs", True, "input should be a valid integer, got True"),
        ("train.steps", 0, "input should be greater than or equal to 1, got 0"),
        ("train.epochs", 0, "input should be greater than or equal to 1, got 0"),
        ("train.learning_rate", "0.01", "input should be a valid number, got '0.01'"),
        ("train.learning_rate", 0, "input should be greater than 0, got 0"),
        ("train.learning_rate", float("inf"), "input should be a finite number, got inf"),
        ("train.seed", 2**64, "input should be less than 9223372036854775808, got 18446744073709551616"),
        ("generate.seed", -1, "input should be greater than or equal to 0, got -1"),
        ("generate.files.features", [], "expected at least one entry, got []"),
        ("generate.files.features", "x", "input should be a valid list, got 'x'"),
        ("generate.split", 0.2, "expected names with values, got 0.2"),
        ("generate.split.test", 1, "input should be less than 1, got 1"),
        (
            "generate.source",
            "sumsign",
            "input should be 'sum_sign', 'adding', 'files', 'japanese_vowels', 'basic_motions', 'italy_power_demand', 'gun_point', 'digits' or 'spoken_digits', got 'sumsign'",
        ),
        ("models.toy.cell", "lsmt", f"{A_CELL}, got 'lsmt'"),
        ("models.toy.cell", None, f"{A_CELL}, got None"),
        (
            "models.toy.scaling",
            "local",
            "expected none, global, compressed, sequence, or a list of them, got 'local'",
        ),
        ("export.quantize", "int4", "input should be 'int8', got 'int4'"),
        ("export.int8_max_loss", 1.5, "input should be less than 1, got 1.5"),
        ("export.int8_max_shift", -0.1, "input should be greater than or equal to 0, got -0.1"),
        ("models.toy.scaling", [], "expected none, global, compressed, sequence, or a list of them, got []"),
        (
            "models.toy.scaling",
            ["global", {}],
            "expected none, global, compressed, sequence, or a list of them, got ['global', {}]",
        ),
        (
            "models.toy.scaling",
            ["sequence", "global", "sequence"],
            "each kind can be there once, got ['sequence', 'global', 'sequence']",
        ),
        ("models.toy.scaling", ["none", "global"], "'none' cannot be combined, got ['none', 'global']"),
        ("models.toy.pooling", "sum", "input should be 'last', 'mean', 'max' or 'mean_max', got 'sum'"),
        ("models.toy.dropout", 1.0, "input should be less than 1, got 1.0"),
        ("models.toy.bidirectional", "yes", "input should be a valid boolean, got 'yes'"),
        ("models.toy.missing", "drop", "input should be 'zero', 'forward_fill', 'mask' or 'refuse', got 'drop'"),
        ("models.toy.downsampling", 0, "input should be greater than or equal to 1, got 0"),
        ("models.toy.downsampling", 2.5, "input should be a valid integer, got 2.5"),
        ("models.toy.differences", 1, "expected true, false, or a list of kinds of scaling, got 1"),
        ("models.toy.differences", ["local"], "expected true, false, or a list of kinds of scaling, got ['local']"),
        (
            "models.toy.stem",
            {"kind": "wavelets"},
            "expected kind 'convolutions' or 'multi_scale', got {'kind': 'wavelets'}",
        ),
        ("models.toy.stem", 5, "expected names with values, got 5"),
        ("models.toy.stem.channels", 0, "input should be greater than or equal to 1, got 0"),
        ("train.random_scale", -0.1, "input should be greater than or equal to 0, got -0.1"),
        ("train.time_mask", 1, "input should be less than 1, got 1"),
        ("train.random_crop", 1.0, "input should be less than 1, got 1.0"),
        ("train.sampling", "random", "input should be 'shuffle' or 'balanced', got 'random'"),
        ("train.final_fit", "yes", "input should be a valid boolean, got 'yes'"),
        ("models.toy", None, "expected names with values, got None"),
        ("models", None, "expected names with values, got None"),
        ("models", {}, "expected at least one entry, got {}"),
        ("models", ["lstm"], "expected names with values, got ['lstm']"),
        ("evaluate", None, "expected names with values, got None"),
        ("export.batch_sizes", [], "expected at least one entry, got []"),
    ],
)
def test_a_wrong_value_is_answered_with_what_was_expected(place: str, value: object, expected: str) -> None:
    assert refusal(changed(place, value)) == f"params.yaml: {place}: {expected}"


REQUIRED = {"cell": "gru", "streaming": "required"}


@pytest.mark.parametrize(
    ("section", "value", "expected"),
    [
        ("generate", {"min_length": 11, "length": 10}, "min_length 11 is above length 10"),
        ("generate", {"source": "adding", "length": 1}, "source 'adding' marks two steps"),
        ("generate", {"source": "adding", "min_length": 1}, "source 'adding' marks two steps"),
        ("generate", {"length": 100_000}, "10000 sequences of 100000 steps do not fit in one file, lower shard_rows to 5368"),
        ("generate.split", {"validation": 0.5, "test": 0.5}, "the shares must leave some sequences for training"),
        ("generate", {"num_sequences": {"train": 2**31 - 1}, "length": 1000, "shard_rows": 1}, "2,147,494,647 sequences of 1,000 steps are more than"),
        ("models.toy", {"cell": "gru", "hidden_size": 2**16}, "1 layers of hidden_size 65536 have more than 2,147,483,648 weights"),
        ("models.toy", {"cell": "rnn", "max_dependency": 10}, "max_dependency sets the biases of gates"),
        ("models.toy", REQUIRED | {"bidirectional": True}, "streaming: required, but the model cannot: bidirectional: the"),
        ("models.toy", REQUIRED | {"scaling": ["global", "sequence"]}, "streaming: required, but the model cannot: scaling: 's"),
        ("models.toy", REQUIRED | {"stem": {"kernel_size": 5, "num_layers": 2}}, "streaming: required, but the model cannot: stem: its centred convolutions see 4 steps ahead"),
        ("models.toy", REQUIRED | {"stem": {"kind": "multi_scale"}}, "streaming: required, but the model cannot: stem: multi_scale"),
        ("models.toy.stem", {"kernel_size": 4}, "kernel_size must be odd, got 4"),
        ("models.toy.stem", {"kind": "multi_scale", "kernel_sizes": [9, 4]}, "kernel_sizes must be odd, got 4"),
        ("models.toy.stem", {"kind": "multi_scale", "block_sizes": [2]}, "block_sizes: expected three, one after each"),
        ("models.toy", {"cell": "rnn", "differences": ["sequence"]}, "differences: 'sequence' is not among the kinds"),
    ],
)  # fmt: skip
def test_values_that_do_not_go_together_are_refused(section: str, value: object, expected: str) -> None:
    assert refusal(changed(section, value)).startswith(f"params.yaml: {section}: {expected}")


@pytest.mark.parametrize("name", ["RNN", "my model", "a.b", "", "a/b", "x; touch y", "-x"])
def test_a_model_has_a_name_that_can_be_a_folder_and_a_stage(name: str) -> None:
    content = changed("train.epochs", 3)
    content["models"] = {name: {"cell": "rnn"}}
    expected = f"params.yaml: models.{name}: expected a name of lower-case letters, digits, '-' and '_' that begins with a letter or digit, at most 100, got {name!r}"
    assert refusal(content) == expected


def test_a_name_that_no_folder_could_have_is_refused() -> None:
    content = changed("train.epochs", 3)
    content["models"] = {"x" * 101: {"cell": "rnn"}}
    assert "at most 100, got 'xxx" in refusal(content)


def test_a_pipe_or_a_device_is_no_file_of_params(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "params.yaml")
    for path in (tmp_path / "params.yaml", Path("/dev/zero")):
        for load in (whole.load, lambda path: json_text.read(path, "JSON")):
            with pytest.raises(InputError, match=f"^{path}: .*file"):
                load(path)


def test_several_mistakes_are_counted() -> None:
    content = changed("train.epochs", 0)
    content["train"]["batch_size"] = 0
    assert refusal(content).endswith("got 0 (and 1 more)")


def test_a_large_wrong_value_is_shortened() -> None:
    assert len(refusal(changed("models", list(range(1000))))) < 100


def test_an_unknown_model_is_answered_with_those_there_are() -> None:
    settings = whole.parse(changed("train.epochs", 3))
    with pytest.raises(InputError, match=r"^params\.yaml: models: no entry 'lstm', there are toy$"):
        settings.model("lstm")


@pytest.mark.parametrize(
    "content", [{"models": {"production": {"cell": "gru"}}}, {"models": {"Lstm": {}}}, {"models": 1}, []]
)
def test_the_names_of_candidates_are_checked(tmp_path: Path, content: object) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"params\.yaml: models: "):
        compare.load_names(path)


@pytest.mark.parametrize(
    "text",
    [
        "1" + "0" * 400,
        "1" * 5000,
        "1e400",
        "[1",
        "&a [*a]",
        '"\\0"',
        "2026-13-45",
        "!!python/object/apply:os.system [exit]",
        "!!binary abc",
        "!!timestamp x",
        "? x",
    ],
)
def test_whatever_stands_for_a_number_is_refused_in_one_line(text: str, tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(f"train:\n  epochs: {text}\n")
    with pytest.raises(InputError, match=r"params\.yaml: ") as refused:
        section.load(path, train.TrainParams, "train")
    assert str(refused.value).isprintable()
