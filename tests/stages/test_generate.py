import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from rnnflow.generation.splitting import SPLITS
from rnnflow.runtime.atomic_writes import write_json
from rnnflow.runtime.provenance import ROOT
from rnnflow.sequences import dataset
from stages.generate import main
from tests.deliveries import columns, deliver
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
