import json
import tempfile
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.datasets import load_digits

from rnnflow.generation.splitting import SPLITS
from rnnflow.params.generate import GenerateParams
from rnnflow.runtime.errors import InputError
from rnnflow.sequences import parquet, parquet_metadata
from stages.generate import generate
from tests.deliveries import columns, deliver

SYNTHETIC = ("sum_sign", "adding")


def settings(source: str, **changes: Any) -> GenerateParams:
    counts = {"train": 60, "validation": 25, "test": 25}
    return GenerateParams.model_validate(
        {"source": source, "num_sequences": counts, "shard_rows": 20, "split": {"validation": 0.3, "test": 0.3}}
        | changes
    )


def shards(wanted: GenerateParams, raw: Path = Path("nowhere")) -> dict[str, list[pa.Table]]:
    """Return the tables of each split, once every one of them is in the contract's schema."""
    found: dict[str, list[pa.Table]] = {split: [] for split in SPLITS}
    with tempfile.TemporaryDirectory() as name:
        generate(wanted, raw, Path(name) / "sequences", {}, Path(name) / "report")
        for path in sorted(Path(name).glob("sequences/*/*.parquet")):
            table = pq.ParquetFile(path).read()
            optional = [name for name in parquet.OPTIONAL_COLUMNS if name in table.schema.names]
            said = json.loads(table.schema.metadata[b"rnnflow"])
            features = ["x", "y"] if wanted.source == "files" else said["features"]
            expected = parquet.schema(features, optional).with_metadata(
                parquet_metadata.metadata(features, said["recipe"])
            )
            assert table.schema.equals(expected, check_metadata=True)
            assert 0 < len(table) <= wanted.shard_rows
            found[path.parent.name].append(table)
    return found


def rows(tables: dict[str, list[pa.Table]]) -> list[dict[str, Any]]:
    return [row | {"split": split} for split, parts in tables.items() for part in parts for row in part.to_pylist()]


def steps(row: dict[str, Any], num_features: int) -> np.ndarray:
    return np.array(row["sequence"], np.float32).reshape(-1, num_features)


@pytest.mark.parametrize("source", SYNTHETIC)
def test_a_synthetic_source_makes_as_many_sequences_as_wanted(source: str) -> None:
    tables = shards(settings(source))
    assert {split: [len(part) for part in parts] for split, parts in tables.items()} == {
        "train": [20, 20, 20],
        "validation": [20, 5],
        "test": [20, 5],
    }
    ids = [row["id"] for row in rows(tables)]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("source", SYNTHETIC)
def test_no_two_shards_hold_the_same_sequences(source: str) -> None:
    sequences = {tuple(row["sequence"]) for row in rows(shards(settings(source)))}
    assert len(sequences) == 110


@pytest.mark.parametrize("source", SYNTHETIC)
def test_the_same_seed_gives_the_same_tables_and_another_seed_others(source: str) -> None:
    first, again, other = (rows(shards(settings(source, seed=seed))) for seed in (0, 0, 1))
    assert first == again
    assert not {tuple(row["sequence"]) for row in first} & {tuple(row["sequence"]) for row in other}


@pytest.mark.parametrize("source", SYNTHETIC)
@pytest.mark.parametrize("min_length", [None, 3])
def test_a_shard_keeps_its_rows_while_the_data_set_grows(source: str, min_length: int | None) -> None:
    small = shards(settings(source, min_length=min_length))
    more = {"train": 90, "validation": 40, "test": 26}
    grown = shards(settings(source, min_length=min_length, num_sequences=more))
    for split in SPLITS:
        for before, after in zip(small[split], grown[split], strict=False):
            assert after.slice(0, len(before)).equals(before)


@pytest.mark.parametrize("source", SYNTHETIC)
def test_lengths_vary_between_the_shortest_and_the_longest(source: str) -> None:
    num_features = 1 if source == "sum_sign" else 2
    lengths = {len(steps(row, num_features)) for row in rows(shards(settings(source, min_length=4, length=9)))}
    assert lengths == {4, 5, 6, 7, 8, 9}
    assert {len(steps(row, num_features)) for row in rows(shards(settings(source, length=9)))} == {9}


@pytest.mark.parametrize("min_length", [None, 1])
def test_sum_sign_is_labelled_by_the_sign_of_the_sum(min_length: int | None) -> None:
    made = rows(shards(settings("sum_sign", min_length=min_length)))
    for row in made:
        assert row["label"] == ("positive" if steps(row, 1).sum(dtype=np.float64) > 0 else "negative")
    assert min(Counter(row["label"] for row in made).values()) > 30


@pytest.mark.parametrize(("min_length", "length"), [(None, 10), (2, 9), (2, 2)])
def test_adding_marks_one_step_in_each_half_and_is_labelled_by_their_sum(min_length: int | None, length: int) -> None:
    made = rows(shards(settings("adding", min_length=min_length, length=length)))
    for row in made:
        values, markers = steps(row, 2).astype(np.float64).T
        first, second = np.flatnonzero(markers)
        assert first < len(values) // 2 <= second
        assert set(markers) <= {0.0, 1.0}
        assert 0 <= values.min() <= values.max() < 1
        assert row["label"] == ("above_one" if values[first] + values[second] > 1 else "at_most_one")
    assert min(Counter(row["label"] for row in made).values()) > 30


def test_adding_marks_every_step() -> None:
    marked = {
        step
        for row in rows(shards(settings("adding", length=5)))
        for step in np.flatnonzero(steps(row, 2)[:, 1]).tolist()
    }
    assert marked == {0, 1, 2, 3, 4}


def test_digits_are_the_images_of_scikit_learn_row_by_row() -> None:
    made = rows(shards(settings("digits", shard_rows=300)))
    images, targets = load_digits(return_X_y=True)
    assert len(made) == len(images)
    for row in made:
        index = int(row["id"].removeprefix("digits-"))
        np.testing.assert_array_equal(steps(row, 8), images[index].reshape(8, 8))
        assert row["label"] == str(targets[index])
    assert {row["split"] for row in made} == set(SPLITS)


def test_files_below_raw_are_split_without_losing_a_row(tmp_path: Path) -> None:
    deliver(tmp_path / "a.parquet", columns(70, "a"), row_group_size=9)
    deliver(tmp_path / "deep" / "er" / "b.parquet", columns(30, "b"))
    expected: dict[str, tuple[list[float], str]] = {}
    for prefix, num_rows in (("a", 70), ("b", 30)):
        content = columns(num_rows, prefix)
        expected |= {
            entry[0]: entry[1:] for entry in zip(content["id"], content["sequence"], content["label"], strict=True)
        }
    made = rows(shards(settings("files"), tmp_path))
    assert sorted(row["id"] for row in made) == sorted(expected)
    for row in made:
        sequence, label = expected[row["id"]]
        np.testing.assert_array_equal(row["sequence"], np.array(sequence, np.float32))
        assert row["label"] == label


def test_files_never_share_a_table(tmp_path: Path) -> None:
    for prefix in "abc":
        deliver(tmp_path / f"{prefix}.parquet", columns(50, prefix))
    for parts in shards(settings("files"), tmp_path).values():
        for part in parts:
            assert len({identity.split("-")[0] for identity in part["id"].to_pylist()}) == 1


def test_rows_of_files_are_shuffled_the_same_way_each_time(tmp_path: Path) -> None:
    deliver(tmp_path / "a.parquet", columns(200))
    wanted = settings("files", shard_rows=1000)
    ids = [part["id"].to_pylist() for part in shards(wanted, tmp_path)["train"]]
    assert ids == [part["id"].to_pylist() for part in shards(wanted, tmp_path)["train"]]
    assert ids[0] != columns(200)["id"][: len(ids[0])]
    assert ids[0] != sorted(ids[0], key=columns(200)["id"].index)


def test_missing_values_stay_missing(tmp_path: Path) -> None:
    content = columns(20)
    content["sequence"][4] = [float("nan"), 1.0, 2.0, float("nan")]
    deliver(tmp_path / "a.parquet", content)
    (row,) = (row for row in rows(shards(settings("files"), tmp_path)) if row["id"] == "a-4")
    np.testing.assert_array_equal(row["sequence"], [np.nan, 1, 2, np.nan])


def test_a_group_is_never_in_two_splits(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for prefix in "ab":
        groups = [f"subject-{subject}" for subject in rng.integers(0, 25, 80)]
        deliver(tmp_path / f"{prefix}.parquet", columns(80, prefix) | {"group": groups})
    made = rows(shards(settings("files"), tmp_path))
    splits = {(row["group"], row["split"]) for row in made}
    assert len(splits) == len({row["group"] for row in made}) == 25
    assert {split for _, split in splits} == set(SPLITS)


def test_group_and_time_stay_with_their_sequence(tmp_path: Path) -> None:
    start = datetime(2024, 1, 1, tzinfo=UTC)
    times = [start + timedelta(minutes=row, microseconds=7) for row in range(40)]
    groups = [f"g{row % 10}" for row in range(40)]
    deliver(
        tmp_path / "a.parquet",
        columns(40) | {"time": pa.array(times, pa.timestamp("ns", "Europe/Berlin")), "group": groups},
    )
    made = rows(shards(settings("files"), tmp_path))
    assert len(made) == 40
    for row in made:
        index = int(row["id"].split("-")[1])
        assert (row["group"], row["time"]) == (groups[index], times[index])


def test_no_sequence_changes_splits_when_a_delivery_arrives(tmp_path: Path) -> None:
    deliver(tmp_path / "2024-02.parquet", columns(60, "a"))
    before = {row["id"]: row["split"] for row in rows(shards(settings("files"), tmp_path))}
    deliver(tmp_path / "2024-01.parquet", columns(60, "b"))
    after = {row["id"]: row["split"] for row in rows(shards(settings("files"), tmp_path))}
    assert before.items() < after.items()


def test_files_of_other_types_become_the_contract(tmp_path: Path) -> None:
    content = columns(40)
    content["sequence"] = pa.array(content["sequence"], pa.large_list(pa.float64()))
    content |= {name: pa.array(content[name], pa.large_string()) for name in ("id", "label")}
    content["group"] = pa.array([f"g{row % 10}" for row in range(40)]).dictionary_encode()
    deliver(tmp_path / "a.parquet", content)
    assert len(rows(shards(settings("files"), tmp_path))) == 40  # `shards` checks the schema


def test_features_can_be_named_in_the_params(tmp_path: Path) -> None:
    deliver(tmp_path / "a.parquet", columns(), features=None)
    assert len(rows(shards(settings("files", files={"features": ["x", "y"]}), tmp_path))) == 40


def test_a_file_without_rows_adds_nothing(tmp_path: Path) -> None:
    deliver(tmp_path / "a.parquet", columns(40))
    empty = pa.table(columns(1)).slice(0, 0)
    deliver(tmp_path / "b.parquet", dict(zip(empty.column_names, empty.columns, strict=True)))
    assert len(rows(shards(settings("files"), tmp_path))) == 40


def test_a_folder_called_like_a_file_is_looked_into(tmp_path: Path) -> None:
    deliver(tmp_path / "delivery.parquet" / "part-0.parquet", columns(40))
    assert len(rows(shards(settings("files"), tmp_path))) == 40


def test_files_that_disagree_about_columns_are_refused(tmp_path: Path) -> None:
    deliver(tmp_path / "a.parquet", columns(prefix="a"))
    deliver(tmp_path / "b.parquet", columns(prefix="b") | {"group": ["g"] * 40})
    with pytest.raises(InputError, match=r"b\.parquet: columns id, label, group, but .*a\.parquet has id, label"):
        shards(settings("files"), tmp_path)


def test_an_id_that_came_before_is_named_with_its_row_and_the_file_it_came_in(tmp_path: Path) -> None:
    for prefix in "abc":
        deliver(tmp_path / f"{prefix}.parquet", columns(prefix=prefix))
    ids = [f"c-{row}" for row in range(39)]
    deliver(tmp_path / "c.parquet", columns() | {"id": [*ids, "b-3"]})
    with pytest.raises(InputError, match=r"c\.parquet: id 'b-3' came before in .*b\.parquet$"):
        shards(settings("files"), tmp_path)
    deliver(tmp_path / "c.parquet", columns() | {"id": [*ids, "c-38"]})
    with pytest.raises(
        InputError,
        match=r"c\.parquet: id 'c-38' came before in the same file; the rows of a sequence must stand together, under an id that no other one has$",
    ):
        shards(settings("files"), tmp_path)
