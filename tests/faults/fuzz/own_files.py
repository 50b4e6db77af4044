"""What the pipeline, DVC and a stream write for whoever comes next, with checksums that are right."""

import io
import json
import os
import random
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from flows import versions
from flows.results import Results
from flows.supervision.repair import repair
from rnnflow.evaluation.comparison.challenge import Production
from rnnflow.evaluation.report.results import ModelResults
from rnnflow.export.graph import build_streaming, serialise
from rnnflow.generation.sources import label_table
from rnnflow.params.generate import FilesParams
from rnnflow.params.models import ModelParams
from rnnflow.runtime import json_text
from rnnflow.sequences import footer_checksum, parquet
from rnnflow.sequences.parquet import SequenceFile
from rnnflow.serving import checksum, open_streams
from rnnflow.serving.predictor import PROPERTIES, STATE_PROPERTY
from rnnflow.serving.streaming import StreamingPredictor
from stages import export
from tests import toys
from tests.faults.fuzz.mutations import altered, reshaped
from tests.faults.fuzz.trials import Target, bytes_target

STEPS = np.arange(8, dtype=np.float32).reshape(4, 2)
LOCK = b"""schema: '2.0'
stages:
  generate:
    cmd: python -m stages.generate
    deps:
    - {path: data/raw, hash: md5, md5: 4b227777d4dd1fc61c6f884f48641d02.dir, size: 3, nfiles: 1}
    params:
      params.yaml: {generate.seed: 0}
    outs:
    - {path: reports/data/profile.json, hash: md5, md5: 4b227777d4dd1fc61c6f884f48641d02, size: 3}
    - {path: reports/comparison/verdict.json, hash: md5, md5: 4b227777d4dd1fc61c6f884f48641d02, size: 3}
"""
RWLOCK = {
    "write": {"/a/b": {"pid": 1, "cmd": "dvc repro"}},
    "read": {"/a/c": [{"pid": 2**30, "cmd": "dvc repro"}]},
}
VERDICT = {"challenger": {"name": "a", "accuracy": 0.5}, "production": None, "verdict": "better", "validation": {}}


def targets(folder: Path) -> list[Target]:
    """Return them; `folder` has a model as `toys.exported` leaves it."""
    return [*_of_streams(folder), *_of_stages(folder), *_of_dvc(folder), _labels(), _footer(folder)]


def _of_streams(folder: Path) -> list[Target]:
    classifier = toys.random_classifier(ModelParams(cell="gru", hidden_size=4))
    said = checksum.properties((folder / "model.onnx").read_bytes())
    proto = build_streaming(classifier, said)[0]
    path, kept = folder / "whole.stream.onnx", folder / "kept.npz"
    path.write_bytes(serialise(proto))
    predictor = StreamingPredictor(path)
    predictor.push_many(["a", 2], [STEPS, STEPS[:1]])
    predictor.save(kept)
    with np.load(kept) as content:
        arrays = dict(content)
    about = json.loads(arrays.pop("about").tobytes())
    names = json.loads(arrays["names"].tobytes())

    def streams(rng: random.Random) -> bytes:
        others = dict(arrays)
        name = rng.choice(sorted(others))
        others[name] = reshaped(others[name], rng)
        if rng.random() < 0.5:
            others["names"] = _bytes(altered(names, rng))
        said = about | {"sha256": open_streams._digest(others)}
        file = io.BytesIO()
        np.savez(file, about=_bytes(altered(said, rng) if rng.random() < 0.2 else said), **others)
        return file.getvalue()

    def model(rng: random.Random) -> bytes:
        layout = {entry.key: entry.value for entry in proto.metadata_props}
        name = rng.choice((STATE_PROPERTY, "calibration"))
        changed = json.dumps(altered(json.loads(layout[name]), rng))
        for entry in (other := type(proto).FromString(proto.SerializeToString())).metadata_props:
            if entry.key == name:
                entry.value = changed.encode(errors="replace").decode()
        return checksum.signed(other, PROPERTIES)

    def restore(path: Path) -> None:
        restored = StreamingPredictor(folder / "whole.stream.onnx")
        restored.restore(path)
        restored.push("a", STEPS)

    return [
        Target("inside of streams.npz", streams, restore, "streams.npz"),
        Target(
            "properties of model.stream.onnx", model, lambda path: StreamingPredictor(path).push("a", STEPS), "m.onnx"
        ),
    ]


def _bytes(content: Any) -> np.ndarray:
    return np.frombuffer(json.dumps(content).encode(errors="replace"), np.uint8)


def _of_stages(folder: Path) -> list[Target]:
    """Each in the place where its readers look for it."""
    evaluation, comparison = folder / "evaluation", folder / "reports/comparison"
    for each in (evaluation, comparison, folder / "production"):
        each.mkdir(parents=True)
    (evaluation / "metrics.json").write_text(json.dumps(toys.METRICS))
    (folder / "dvc.lock").write_bytes(LOCK)
    (folder / "production/model.onnx").write_bytes((folder / "model.onnx").read_bytes())
    ids = io.BytesIO()
    np.save(ids, np.arange(4, dtype=np.uint64))

    def calibration(rng: random.Random) -> bytes:
        content = altered(toys.CALIBRATION | {"tables": {"curves": "0"}}, rng)
        if isinstance(content, dict):
            content = json_text.sealed(content, toys.METRICS)
        return json.dumps(content).encode()

    def read_calibration(path: Path) -> None:
        at = path.replace(evaluation / "calibration.json")
        ModelResults("a", folder / "model.onnx", evaluation).require_intact()
        export._read_evaluation(evaluation / "metrics.json", at)

    def read_verdict(path: Path) -> None:
        path.replace(comparison / "verdict.json")
        versions.read_verdict(folder)
        Results.read(folder).judged()

    def read_production(path: Path) -> None:
        path.replace(folder / "production" / path.name)
        try:
            Production.find(folder / "production")
        finally:
            (folder / "production" / path.name).unlink()

    return [
        Target("values of calibration.json", calibration, read_calibration, "calibration.json"),
        bytes_target("verdict.json", [json.dumps(json_text.sealed(VERDICT)).encode()], read_verdict),
        bytes_target("promotion.json", [b'{"test_md5": "0", "model": "a"}'], read_production),
        bytes_target("training_ids.npy", [ids.getvalue()], read_production),
    ]


def _of_dvc(folder: Path) -> list[Target]:
    """What a killed DVC leaves is made good, never refused."""
    workspace = folder / "workspace"
    (workspace / ".dvc/tmp").mkdir(parents=True)

    def read(path: Path, to: str) -> None:
        path.replace(workspace / to)
        repair(workspace)
        Results.read(workspace)
        repair(workspace)

    return [
        bytes_target("dvc.lock", [LOCK], partial(read, to="dvc.lock")),
        bytes_target("rwlock", [json.dumps(RWLOCK).encode()], partial(read, to=".dvc/tmp/rwlock")),
        Target(
            "values of rwlock",
            lambda rng: json.dumps(altered(RWLOCK, rng)).encode(),
            partial(read, to=".dvc/tmp/rwlock"),
            "rwlock",
        ),
    ]


def _labels() -> Target:
    files = FilesParams.model_validate({"labels": {"path": "labels.csv", "key": "file", "label": "class"}})
    seeds = [b"file,class\na.csv,x\nb.csv,y\n", b"file;class\n1;x\n2.0;y\n"]
    return bytes_target("labels.csv", seeds, lambda path: label_table.read(path, files))


def _footer(folder: Path) -> Target:
    """A shard whose metadata are others, and whose footer has its checksum."""
    file = toys.write_sequences(folder / "footer.parquet", toys.random_sequences([5] * 4), ["a", "b"] * 2)
    table = pq.read_table(file)
    content = json.loads(table.schema.metadata[b"rnnflow"])

    def draw(rng: random.Random) -> bytes:
        said = json.dumps(altered(content, rng)).encode(errors="replace")
        columns = rng.choice((table, table, table.drop_columns([rng.choice(table.column_names)])))
        path = folder / f"{os.getpid()}.parquet"
        parquet.write_table(path, columns.replace_schema_metadata({b"rnnflow": said}))
        return path.read_bytes()

    def read(path: Path) -> None:
        assert not footer_checksum.is_wrong(path)
        for _ in SequenceFile.open(path).batches():
            pass

    return Target("metadata of shard.parquet", draw, read, "shard.parquet")
