from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from rnnflow.evaluation.scores import scoring
from rnnflow.params.models import ModelParams
from rnnflow.sequences import parquet
from rnnflow.serving.predictor import Predictor
from tests import toys

SEQUENCES = toys.random_sequences([3, 1, 7, 5, 2, 9, 4])
LABELS = ["up", "down", "level", "up", "down", "level", "up"]
GROUPS = ["anna", "ben", "anna", "ben", "cleo", "cleo", "anna"]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    classifier = toys.random_classifier(ModelParams(cell="lstm", hidden_size=4), seed=3)
    return toys.exported(tmp_path / "model", classifier)


def write_split(folder: Path, rows: slice) -> None:
    """Write a shard whose sequences have groups."""
    sequences = SEQUENCES[rows]
    offsets = np.concatenate(([0], np.cumsum([len(sequence) for sequence in sequences])))
    ids = [f"id-{index}" for index in range(len(SEQUENCES))][rows]
    columns = [ids, parquet.sequence_column(np.concatenate(sequences), offsets), LABELS[rows], GROUPS[rows]]
    table = pa.table(columns, schema=parquet.schema(toys.FEATURES, ["group"]))
    parquet.write_table(folder / f"part-{rows.start:05d}.parquet", table)


def test_each_sequence_gets_the_prediction_loss_and_group_of_its_own(model: Path, tmp_path: Path) -> None:
    write_split(tmp_path / "test", slice(0, 4))
    write_split(tmp_path / "test", slice(4, 7))
    predictor = Predictor(model)
    scored = scoring.score(tmp_path / "test", {"model": predictor})
    probabilities = predictor.probabilities(SEQUENCES)
    labels = [toys.CLASSES.index(label) for label in LABELS]
    assert scored.labels.tolist() == labels
    assert scored.scores["model"].predictions.tolist() == probabilities.argmax(1).tolist()
    expected = -np.log(probabilities[np.arange(7), labels])
    assert scored.scores["model"].losses == pytest.approx(expected, abs=1e-6)
    assert scored.scores["model"].log_loss() == pytest.approx(expected.mean(), abs=1e-6)
    assert scored.groups is not None
    assert [["anna", "ben", "cleo"][group] for group in scored.groups] == GROUPS


def test_ids_are_known_again_in_another_split(tmp_path: Path) -> None:
    write_split(tmp_path / "first", slice(0, 4))
    write_split(tmp_path / "second", slice(2, 7))
    both = scoring.ids_of(tmp_path / "first", tmp_path / "second")
    assert both.tolist() == sorted(set(both.tolist()))
    assert len(both) == 7
    assert np.isin(scoring.hashed(pa.array(["id-6", "id-7"])), both).tolist() == [True, False]
    assert scoring.ids_of(tmp_path / "nothing").tolist() == []
