import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from rnnflow.generation.sources.files import KNOWN
from rnnflow.generation.splitting import SPLITS
from rnnflow.runtime.atomic_writes import write_json
from rnnflow.runtime.provenance import ROOT
from rnnflow.sequences import dataset, parquet
from stages.generate import main
from tests.deliveries import columns, deliver, with_entry, without
from tests.flows.services import running, wait_until
from tests.toys import write_params

COUNTS = {"train": 50, "validation": 20, "test": 30}
FILES = {"source": "files", "split": {"validation": 0.25, "test": 0.25}, "shard_rows": 15}


def arguments(folder: Path) -> list[str]:
    names = {"params": "params.yaml", "raw": "raw", "reference": "reference.json", "output": "sequences"}
    options = names | {"report": "report"}
    return [part for option, name in options.items() for part in (f"--{option}", str(folder / name))]


def generate(folder: Path, **settings: Any) -> dict[str, bytes]:
    """Run the stage and return what is in its output folder, hidden files included."""
    write_params(folder, generate=settings)
    write_json(folder / "reference.json", {})
    main(arguments(folder))
    return contents(folder / "sequences")


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


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


@pytest.mark.parametrize("source", ["sum_sign", "adding", "digits"])
def test_each_source_becomes_three_splits(source: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = generate(tmp_path, source=source, num_sequences=COUNTS, shard_rows=20)
    splits = {name: dataset.load(tmp_path / "sequences" / name) for name in SPLITS}
    assert {name.split("/")[0] for name in files} == set(SPLITS)
    assert all(split.classes == splits["train"].classes for split in splits.values())
    if source != "digits":
        assert {name: len(split) for name, split in splits.items()} == COUNTS
        assert capsys.readouterr().out.splitlines()[0].split() == ["train", "50", "sequences", "in", "3", "files"]


@pytest.mark.parametrize("source", ["sum_sign", "adding", "digits"])
def test_the_same_params_give_the_same_bytes_and_another_seed_others(source: str, tmp_path: Path) -> None:
    first, again, other = (generate(tmp_path, source=source, num_sequences=COUNTS, seed=seed) for seed in (3, 3, 4))
    assert first == again
    assert not set(first.values()) & set(other.values())


def test_a_full_shard_keeps_its_bytes_while_the_data_set_grows(tmp_path: Path) -> None:
    small = generate(tmp_path, num_sequences=COUNTS, shard_rows=20, min_length=3)
    grown = generate(
        tmp_path, num_sequences={name: 3 * count for name, count in COUNTS.items()}, shard_rows=20, min_length=3
    )
    full = {
        "train/part-00000.parquet",
        "train/part-00001.parquet",
        "validation/part-00000.parquet",
        "test/part-00000.parquet",
    }
    assert {name for name in small if small[name] == grown[name]} == full
    partial = "sequences/train/part-00002.parquet"
    after = pd.read_parquet(tmp_path / partial)
    generate(tmp_path, num_sequences=COUNTS, shard_rows=20, min_length=3)
    before = pd.read_parquet(tmp_path / partial)
    assert (len(before), len(after)) == (10, 20)
    assert after[:10].map(str).equals(before.map(str))


@pytest.mark.parametrize(("earlier", "later"), [("2024-01", "2024-02"), ("2024-02", "2024-01")])
def test_a_delivery_adds_shards_and_leaves_the_bytes_of_the_others(earlier: str, later: str, tmp_path: Path) -> None:
    deliver(tmp_path / "raw" / f"{earlier}.parquet", columns(100, "a"))
    before = generate(tmp_path, **FILES)
    deliver(tmp_path / "raw" / f"{later}.parquet", columns(100, "b"))
    after = generate(tmp_path, **FILES)
    assert set(before.values()) < set(after.values())
    if earlier < later:
        assert before.items() < after.items()


@pytest.mark.parametrize("source", ["sum_sign", "adding", "files"])
def test_any_number_of_threads_makes_the_same_bytes(
    source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("2024-01", "2024-02"):
        deliver(tmp_path / "raw" / f"{name}.parquet", columns(100, name))
    found = []
    for number in ("1", "2", "3"):
        monkeypatch.setenv("RNNFLOW_THREADS", number)
        files = generate(
            tmp_path, **FILES | {"source": source, "shard_rows": 7}, num_sequences=COUNTS, length=9, min_length=4
        )
        found.append(files | contents(tmp_path / "report"))
    assert len(found[0]) > 15
    assert found[0] == found[1] == found[2]


def test_an_interrupt_between_two_files_leaves_what_was_there(tmp_path: Path) -> None:
    earlier = generate(tmp_path, num_sequences=COUNTS)
    write_params(tmp_path, generate={"num_sequences": {"train": 10**8}})
    command = [sys.executable, "-m", "stages.generate", *arguments(tmp_path)]
    with running(command, stderr=subprocess.PIPE) as process:
        wait_until((tmp_path / "sequences/.train.tmp/part-00003.parquet").exists, "the fourth file")
        process.send_signal(signal.SIGINT)
        _, message = process.communicate(timeout=60)
    assert (process.returncode, message) == (130, "error: interrupted\n")
    assert contents(tmp_path / "sequences") == earlier


def test_an_earlier_data_set_is_replaced(tmp_path: Path) -> None:
    many = generate(tmp_path, num_sequences=COUNTS, shard_rows=5)
    few = generate(tmp_path, num_sequences=COUNTS, shard_rows=50)
    assert (len(many), len(few)) == (20, 3)


def test_the_command_ends_without_a_traceback(tmp_path: Path) -> None:
    write_params(tmp_path, generate={"sauce": "files"})
    command = [sys.executable, "-m", "stages.generate", *arguments(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    expected = f"error: {tmp_path}/params.yaml: generate.sauce: unknown parameter; did you mean 'source'?\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", expected)


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
        (without("label"), "raw/b.parquet: column 'label' is missing, there are id, sequence; classes in a table of their own have generate.files.labels"),
        (columns() | {"label": [0.5] * 40}, "raw/b.parquet: column 'label' is double, expected text or whole numbers"),
        (with_entry("id", 3, None), "raw/b.parquet: row 3: column 'id' is empty"),
        (with_entry("label", 3, None), "raw/b.parquet: row 3: column 'label' is empty"),
        (with_entry("sequence", 3, None), "raw/b.parquet: row 3: column 'sequence' is null"),
        (with_entry("sequence", 3, [1.0]), "raw/b.parquet: row 3: column 'sequence' has a number of values that is not a multiple of the 2 features"),
        (with_entry("sequence", 3, []), "raw/b.parquet: row 3: column 'sequence' is empty, expected at least one time step"),
        (with_entry("sequence", 3, [1.0, float("inf")]), "raw/b.parquet: row 3: column 'sequence' is infinite, or too large for float32"),
        (with_entry("id", 3, "a-9"), "raw/b.parquet: id 'a-9' came before in the same file; the rows of a sequence must stand together"),
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
        (["y", "x"], "raw/b.parquet: features y, x, but raw/a.parquet has x, y"),
        (["x"], "raw/b.parquet: features x, but raw/a.parquet has x, y"),
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
        (columns() | {"group": ["g"] * 40}, "no sequences for the validation split; of 1 groups, 'g' holds 100%; bring more groups, or change generate.split or generate.seed"),
        (columns() | {"label": [f"class-{row}" for row in range(40)]}, "class 'class-0' has 1 sequences, fewer than the 3 splits; bring more of it or leave it out"),
    ],
)  # fmt: skip
def test_deliveries_that_are_too_little_are_refused(
    content: dict[str, Any], expected: str, tmp_path: Path, refusal: Callable[[], str]
) -> None:
    write_params(tmp_path, generate=FILES)
    deliver(tmp_path / "raw" / "a.parquet", content)
    assert refusal() == f"source 'files': {expected}"


def test_52_classes_of_two_training_sequences_each_are_split_and_a_class_of_one_is_trained_on(tmp_path: Path) -> None:
    rows = columns(160)
    labels = [f"class-{row // 3}" for row in range(156)] + ["single", "single", "rare", "rare"]
    splits = ["train", "train", "test"] * 52 + ["train", "test", "test", "train"]
    deliver(tmp_path / "raw" / "a.parquet", rows | {"label": labels, "split": splits})
    generate(tmp_path, source="files")
    train = dataset.load(tmp_path / "sequences" / "train")
    validation = dataset.load(tmp_path / "sequences" / "validation", train.classes, train.features)
    assert list(train.class_counts) == [1] * 54
    assert len(validation) == 52


def test_a_delivery_without_rows_is_refused(tmp_path: Path, refusal: Callable[[], str]) -> None:
    write_params(tmp_path, generate=FILES)
    path = tmp_path / "raw" / "a.parquet"
    path.parent.mkdir()
    parquet.write_table(path, parquet.schema(["x"]).empty_table())
    assert refusal() == "source 'files': no sequences for the train split; there are none at all"
