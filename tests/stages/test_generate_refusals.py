"""What stage generate refuses: one line, status 2, and nothing is changed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rnnflow.generation.sources.files import KNOWN
from rnnflow.generation.splitting import SPLITS
from rnnflow.runtime.atomic_writes import write_json
from rnnflow.sequences import parquet
from stages.generate import main
from tests.deliveries import columns, deliver, with_entry, without
from tests.stages.test_generate import FILES, arguments, contents
from tests.toys import write_params


@pytest.fixture
def refusal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[[], str]:
    """Run the stage on what is in `tmp_path`; return its message, once it is known to have changed nothing else."""

    def run() -> str:
        write_json(tmp_path / "reference.json", {})
        for split in SPLITS:
            (tmp_path / "sequences" / split).mkdir(parents=True, exist_ok=True)
            (tmp_path / "sequences" / split / "part-00000.parquet").write_text(f"earlier {split}")
        before = contents(tmp_path)
        with pytest.raises(SystemExit) as ending:
            main(arguments(tmp_path))
        assert ending.value.code == 2
        assert contents(tmp_path) == before
        assert {path.name for path in (tmp_path / "sequences").iterdir()} == set(SPLITS)
        output, message = capsys.readouterr()
        assert output == ""
        assert message.startswith("error: ")
        assert message.count("\n") == 1
        return message.removeprefix("error: ").rstrip("\n").replace(f"{tmp_path}/", "")

    return run


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, "params.yaml: no such file or directory, expected a YAML file"),
        ("train: [", "params.yaml: line 2: not valid YAML: did not find expected node content"),
        ("train: {}\ntrain: {}", 'params.yaml: line 2: not valid YAML: found duplicate key "train" with value "{}" (original value: "{}")'),
        ("- train", "params.yaml: expected names with values, got ['train']"),
        ("", "params.yaml: expected names with values, got None"),
    ],
)  # fmt: skip
def test_params_that_cannot_be_read_are_refused(
    text: str | None, expected: str, tmp_path: Path, refusal: Callable[[], str]
) -> None:
    if text is not None:
        (tmp_path / "params.yaml").write_text(text)
    assert refusal() == expected


@pytest.mark.parametrize(
    ("sections", "expected"),
    [
        ({"generate": {"lenght": 5}}, "generate.lenght: unknown parameter; did you mean 'length'?"),
        ({"generate": {"length": "5"}}, "generate.length: input should be a valid integer, got '5'"),
        ({"generate": {"length": 0}}, "generate.length: input should be greater than or equal to 1, got 0"),
        ({"generate": {"source": "audio"}}, "generate.source: input should be 'sum_sign', 'adding', 'files', 'japanese_vowels', 'basic_motions', 'italy_power_demand', 'gun_point', 'digits' or 'spoken_digits', got 'audio'"),
    ],
)  # fmt: skip
def test_wrong_params_are_refused(
    sections: dict[str, Any], expected: str, tmp_path: Path, refusal: Callable[[], str]
) -> None:
    write_params(tmp_path, **sections)
    assert refusal() == f"params.yaml: {expected}"


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (
            {"num_sequences": {"train": 1}},
            "source 'sum_sign': the train split has one class only, 'positive'; a classifier needs two",
        ),
        (
            {"source": "digits", "split": {"test": 1e-9}},
            "source 'digits': no sequences for the test split; change generate.split or bring more data",
        ),
        (
            {"source": "digits", "split": {"validation": 0.5, "test": 0.495}},
            "source 'digits': class '0' has 87 in the validation split and none in train; bring more of it, leave it out, or change generate.seed",
        ),
    ],
)
def test_a_source_that_gives_too_little_is_refused(
    settings: dict[str, Any], expected: str, tmp_path: Path, refusal: Callable[[], str]
) -> None:
    write_params(tmp_path, generate=settings)
    assert refusal() == expected


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (without("label"), "raw/b.parquet: column 'label' is missing, there are id, sequence; generate.files.columns.label names the column of classes, generate.files.labels a table of them"),
        (columns() | {"label": [0.5] * 40}, "raw/b.parquet: column 'label' is double, expected text or whole numbers"),
        (with_entry("id", 3, None), "raw/b.parquet: row 3: column 'id' is empty"),
        (with_entry("label", 3, None), "raw/b.parquet: row 3: column 'label' is empty"),
        (with_entry("sequence", 3, None), "raw/b.parquet: row 3: column 'sequence' is null"),
        (with_entry("sequence", 3, [1.0]), "raw/b.parquet: row 3: column 'sequence' has a number of values that is not a multiple of the 2 features"),
        (with_entry("sequence", 3, []), "raw/b.parquet: row 3: column 'sequence' is empty, expected at least one time step"),
        (with_entry("sequence", 3, [1.0, float("inf")]), "raw/b.parquet: row 3: column 'sequence' is infinite, or too large for float32"),
        (with_entry("id", 3, "a-9"), "raw/b.parquet: id 'a-9' came before in the same file; the rows of a sequence must stand together, under an id that no other one has"),
        (with_entry("id", 3, "good-9"), "raw/b.parquet: id 'good-9' came before in raw/a.parquet"),
        (columns() | {"group": ["g"] * 40}, "raw/b.parquet: columns id, label, group, but raw/a.parquet has id, label"),
    ],
)  # fmt: skip
def test_a_bad_delivery_is_refused(
    content: dict[str, Any], expected: str, tmp_path: Path, refusal: Callable[[], str]
) -> None:
    write_params(tmp_path, generate=FILES)
    deliver(tmp_path / "raw" / "a.parquet", columns(prefix="good"))
    deliver(tmp_path / "raw" / "b.parquet", content)
    assert refusal() == expected


@pytest.mark.parametrize(
    ("features", "expected"),
    [
        (["y", "x"], "raw/b.parquet: features y, x, but raw/a.parquet has x, y; generate.files.features says which and in which order"),
        (["x"], "raw/b.parquet: features x, but raw/a.parquet has x, y; generate.files.features says which and in which order"),
        (None, "raw/b.parquet: nothing names the features of column 'sequence'; name them in generate.files.features"),
    ],
)  # fmt: skip
def test_a_delivery_of_other_features_is_refused(
    features: list[str] | None, expected: str, tmp_path: Path, refusal: Callable[[], str]
) -> None:
    write_params(tmp_path, generate=FILES)
    deliver(tmp_path / "raw" / "a.parquet", columns(prefix="good"))
    deliver(tmp_path / "raw" / "b.parquet", columns(), features)
    assert refusal() == expected


def test_a_truncated_delivery_is_refused(tmp_path: Path, refusal: Callable[[], str]) -> None:
    write_params(tmp_path, generate=FILES)
    path = deliver(tmp_path / "raw" / "a.parquet", columns())
    path.write_bytes(path.read_bytes()[:-100])
    assert refusal().startswith("raw/a.parquet: not a complete Parquet file: ")


@pytest.mark.parametrize("folder", ["raw", "elsewhere"])
def test_no_delivery_at_all_is_refused(folder: str, tmp_path: Path, refusal: Callable[[], str]) -> None:
    write_params(tmp_path, generate=FILES)
    (tmp_path / folder).mkdir()
    assert refusal() == f"raw: no file that source 'files' reads ({KNOWN}); see raw/README.md"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (columns(1), "no sequences for the train split; change generate.split or bring more data"),
        (columns() | {"label": ["cat"] * 40}, "the train split has one class only, 'cat'; a classifier needs two"),
        (columns() | {"label": [f"class-{row // 2}" for row in range(40)], "split": ["train", "test"] * 20}, "no sequences for the validation split; each class has one training sequence, and that cannot be held out; bring two of a class"),
        (columns() | {"group": ["g"] * 40}, "no sequences for the validation split; all are of one group or recording, 'g'; generate.files.columns.id names the column that tells recordings apart, generate.split.by: time cuts one"),
        (columns() | {"label": [f"class-{row}" for row in range(40)]}, "class 'class-0' has 1 sequences, fewer than the 3 splits; bring more of it or leave it out"),
    ],
)  # fmt: skip
def test_deliveries_that_are_too_little_are_refused(
    content: dict[str, Any], expected: str, tmp_path: Path, refusal: Callable[[], str]
) -> None:
    write_params(tmp_path, generate=FILES)
    deliver(tmp_path / "raw" / "a.parquet", content)
    assert refusal() == f"source 'files': {expected}"


def test_a_delivery_without_rows_is_refused(tmp_path: Path, refusal: Callable[[], str]) -> None:
    write_params(tmp_path, generate=FILES)
    path = tmp_path / "raw" / "a.parquet"
    path.parent.mkdir()
    parquet.write_table(path, parquet.schema(["x"]).empty_table())
    expected = "no sequences for the train split; there are none at all; left out 1 files without a row"
    assert refusal() == f"source 'files': {expected}"
