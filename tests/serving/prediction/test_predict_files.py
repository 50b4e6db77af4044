import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from rnnflow.classifier.model import SequenceClassifier
from rnnflow.params.models import Cell, ModelParams
from rnnflow.runtime.errors import InputError
from rnnflow.sequences import parquet
from rnnflow.serving.prediction.predict_files import predict_files
from rnnflow.serving.predictor import Predictor
from tests import toys


def predict_file(predictor: Predictor, source: Path, target: str) -> int:
    return predict_files(predictor, [source], target).num_rows


LENGTHS = [4, 1, 9, 2, 9, 3, 130]
SEQUENCES = toys.random_sequences(LENGTHS)


@pytest.fixture(scope="module")
def model() -> SequenceClassifier:
    return toys.random_classifier(ModelParams(cell="gru", hidden_size=4, bidirectional=True))


@pytest.fixture(scope="module")
def predictor(tmp_path_factory: pytest.TempPathFactory, model: SequenceClassifier) -> Predictor:
    return Predictor(toys.exported(tmp_path_factory.mktemp("gru"), model))


def columns(table: pa.Table) -> dict[str, list[object]]:
    return {name: table[name].to_pylist() for name in table.column_names}


@pytest.mark.parametrize("cell", toys.CELLS)
def test_parquet_csv_and_standard_output_say_what_pytorch_says(
    tmp_path: Path, cell: Cell, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    model = toys.random_classifier(ModelParams(cell=cell, hidden_size=4, num_layers=2))
    predictor = Predictor(toys.exported(tmp_path, model))
    source = toys.write_sequences(tmp_path / "input.parquet", SEQUENCES)
    capfdbinary.readouterr()
    assert predict_file(predictor, source, "-") == len(SEQUENCES)
    for name in ("out.csv", "out.parquet"):
        assert predict_file(predictor, source, str(tmp_path / name)) == len(SEQUENCES)
    captured = capfdbinary.readouterr()
    assert captured.out == (tmp_path / "out.csv").read_bytes()
    assert captured.err == b""
    table = pq.read_table(tmp_path / "out.parquet")
    with torch.inference_mode():
        expected = toys.alone(model, SEQUENCES).softmax(1).numpy()
    assert table["id"].to_pylist() == [f"sequence-{index}" for index in range(len(SEQUENCES))]
    assert table["prediction"].to_pylist() == [toys.CLASSES[index] for index in expected.argmax(1)]
    probabilities = np.stack([table[f"probability_{name}"].to_numpy() for name in toys.CLASSES], axis=1)
    np.testing.assert_allclose(probabilities, expected, atol=1e-6)
    with (tmp_path / "out.csv").open(newline="") as file:
        header, *rows = csv.reader(file)
    assert header == table.column_names
    assert [row[:2] for row in rows] == [[str(row["id"]), str(row["prediction"])] for row in table.to_pylist()]
    np.testing.assert_array_equal(np.array([row[2:] for row in rows], dtype=np.float32), probabilities)


def test_labels_and_other_columns_are_not_looked_at(tmp_path: Path, predictor: Predictor) -> None:
    plain = toys.write_sequences(tmp_path / "plain.parquet", SEQUENCES)
    labelled = toys.write_sequences(tmp_path / "labelled.parquet", SEQUENCES, ["sideways"] * len(SEQUENCES))
    table = pq.read_table(plain).append_column("note", pa.array([None] * len(SEQUENCES), pa.string()))
    pq.write_table(table, tmp_path / "noted.parquet")
    for name in ("plain", "labelled", "noted"):
        predict_file(predictor, tmp_path / f"{name}.parquet", str(tmp_path / f"{name}.csv"))
        assert (tmp_path / f"{name}.csv").read_bytes() == (tmp_path / "plain.csv").read_bytes()
    assert labelled.exists()


def test_other_writers_types_give_the_same_predictions(tmp_path: Path, predictor: Predictor) -> None:
    source = toys.write_sequences(tmp_path / "input.parquet", SEQUENCES)
    kinds = {"id": pa.large_string(), "sequence": pa.large_list(pa.float64())}
    table = pq.read_table(source)
    plain = pa.table({name: table[name].cast(kind) for name, kind in kinds.items()})  # and no metadata
    pq.write_table(plain, tmp_path / "other.parquet")
    for name in ("input", "other"):
        predict_file(predictor, tmp_path / f"{name}.parquet", str(tmp_path / f"{name}.csv"))
    assert (tmp_path / "other.csv").read_bytes() == (tmp_path / "input.csv").read_bytes()


def test_row_groups_change_nothing_but_the_memory(tmp_path: Path, predictor: Predictor) -> None:
    source = toys.write_sequences(tmp_path / "input.parquet", SEQUENCES)
    pq.write_table(pq.read_table(source), tmp_path / "rows.parquet", row_group_size=2)
    for name in ("input", "rows"):
        predict_file(predictor, tmp_path / f"{name}.parquet", str(tmp_path / f"{name}.csv"))
    assert (tmp_path / "rows.csv").read_bytes() == (tmp_path / "input.csv").read_bytes()


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_no_rows_give_a_table_of_no_rows(tmp_path: Path, predictor: Predictor, suffix: str) -> None:
    source = toys.write_sequences(tmp_path / "input.parquet", [])
    target = tmp_path / f"out{suffix}"
    assert predict_file(predictor, source, str(target)) == 0
    names = ["id", "prediction", *(f"probability_{name}" for name in toys.CLASSES)]
    if suffix == ".parquet":
        assert columns(pq.read_table(target)) == {name: [] for name in names}
    else:
        assert target.read_text() == ",".join(f'"{name}"' for name in names) + "\n"


def test_classes_named_like_columns_or_with_signs_of_csv_keep_apart(tmp_path: Path, model: SequenceClassifier) -> None:
    classes = ("id", 'say "no", twice', "prediction")
    predictor = Predictor(toys.exported(tmp_path, model, classes))
    source = toys.write_sequences(tmp_path / "input.parquet", SEQUENCES)
    predict_file(predictor, source, str(tmp_path / "out.parquet"))
    predict_file(predictor, source, str(tmp_path / "out.csv"))
    table = pq.read_table(tmp_path / "out.parquet")
    assert table.column_names == ["id", "prediction", *(f"probability_{name}" for name in classes)]
    with (tmp_path / "out.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["id"] for row in rows] == table["id"].to_pylist()
    assert [row["prediction"] for row in rows] == table["prediction"].to_pylist()
    assert set(table["prediction"].to_pylist()) <= set(classes)


def table_of(sequences: Sequence[list[float | None] | None], ids: list[str | None] | None = None) -> pa.Table:
    names = ids or [f"sequence-{index}" for index in range(len(sequences))]
    table = pa.table({"id": pa.array(names, pa.string()), "sequence": pa.array(sequences, pa.list_(pa.float32()))})
    return table.replace_schema_metadata(parquet.schema(toys.FEATURES).metadata)


GOOD: list[float | None] = [1.0, 2.0]
MISTAKES = {
    "ragged": (table_of([GOOD, [1.0, 2.0, 3.0]]), "row 1: column 'sequence' .* not a multiple of the 2 features"),
    "empty": (table_of([GOOD, GOOD, []]), "row 2: column 'sequence' is empty"),
    "infinite": (table_of([[float("inf"), 1.0]]), "row 0: column 'sequence' holds an infinite value"),
    "null_value": (table_of([GOOD, [1.0, None]]), "row 1: column 'sequence' holds a null"),
    "null_sequence": (table_of([GOOD, None]), "row 1: column 'sequence' is null"),
    "null_id": (table_of([GOOD, GOOD], ["a", None]), "row 1: column 'id' is null"),
    "no_id": (table_of([GOOD]).drop_columns("id"), "column 'id' is missing"),
    "no_sequence": (table_of([GOOD]).drop_columns("sequence"), "column 'sequence' is missing"),
    "text": (pa.table({"id": ["a"], "sequence": ["1 2"]}), "column 'sequence' is string, expected a list"),
    "late": (table_of([GOOD] * 20_000 + [[1.0]]), "row 20000: column 'sequence'"),  # after some were written
}


@pytest.mark.parametrize("name", MISTAKES)
@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_mistake_in_the_input_leaves_an_earlier_output_alone(
    tmp_path: Path, predictor: Predictor, name: str, suffix: str
) -> None:
    table, message = MISTAKES[name]
    source, target = tmp_path / "input.parquet", tmp_path / f"out{suffix}"
    pq.write_table(table, source)
    target.write_text("from an earlier run\n")
    with pytest.raises(InputError, match=message) as error:
        predict_file(predictor, source, str(target))
    assert str(error.value).startswith(f"{source}: ")
    assert target.read_text() == "from an earlier run\n"
    assert sorted(tmp_path.iterdir()) == [source, target]


def test_other_features_are_refused(tmp_path: Path, predictor: Predictor) -> None:
    source = toys.write_sequences(tmp_path / "input.parquet", SEQUENCES, features=("x", "z"))
    with pytest.raises(InputError, match="features x, z, the model expects x, y"):
        predict_file(predictor, source, str(tmp_path / "out.csv"))
    assert list(tmp_path.iterdir()) == [source]


@pytest.mark.parametrize("target", ["out", "out.txt", "out.csv.gz", ".csv"])
def test_a_name_that_says_no_format_is_refused_before_anything_is_read(
    tmp_path: Path, predictor: Predictor, target: str
) -> None:
    with pytest.raises(InputError, match=r"expected a name ending in \.parquet or \.csv, or - for standard output"):
        predict_file(predictor, tmp_path / "missing.parquet", str(tmp_path / target))


@pytest.mark.parametrize("content", [None, b"", b"id,sequence\n", b"PAR1"])
def test_an_input_that_is_missing_or_no_parquet_is_refused(
    tmp_path: Path, predictor: Predictor, content: bytes | None
) -> None:
    source = tmp_path / "input.parquet"
    if content is not None:
        source.write_bytes(content)
    with pytest.raises(InputError, match="no such file" if content is None else "not a complete Parquet file"):
        predict_file(predictor, source, str(tmp_path / "out.csv"))
    assert not (tmp_path / "out.csv").exists()


def test_a_damaged_input_is_refused_and_leaves_nothing(tmp_path: Path, predictor: Predictor) -> None:
    source = toys.write_sequences(tmp_path / "input.parquet", SEQUENCES)
    content = bytearray(source.read_bytes())
    content[8:200] = bytes(192)
    source.write_bytes(content)
    with pytest.raises(InputError, match="damaged after row 0"):
        predict_file(predictor, source, str(tmp_path / "out.csv"))
    assert list(tmp_path.iterdir()) == [source]


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_missing_value_that_the_model_refuses_is_named_by_row_and_id(tmp_path: Path, suffix: str) -> None:
    refusing = toys.random_classifier(ModelParams(cell="gru", hidden_size=4, missing="refuse"))
    predictor = Predictor(toys.exported(tmp_path / "model", refusing))
    sequences = toys.random_sequences([2] * 20_001, missing=0.0)  # more than are read at a time
    source, target = tmp_path / "input.parquet", tmp_path / f"out{suffix}"
    toys.write_sequences(source, sequences)
    assert predict_file(predictor, source, str(target)) == 20_001
    target.unlink()
    sequences[20_000][1, 1] = np.nan
    toys.write_sequences(source, sequences)
    with pytest.raises(InputError) as error:
        predict_file(predictor, source, str(target))
    assert str(error.value) == (
        f"{source}: row 20000: id 'sequence-20000' misses a value of 'y'; the model refuses missing values"
    )
    assert not target.exists()
