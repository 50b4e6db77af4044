"""One wrong bit in every kind of file that the pipeline writes: each consumer refuses it, or answers as before."""

import json
import os
import random
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

from flows import versions
from rnnflow.classifier.model import SequenceClassifier
from rnnflow.evaluation.comparison import challenge
from rnnflow.evaluation.scores.scoring import ids_of
from rnnflow.export.graph import build_streaming, serialise
from rnnflow.generation import drift
from rnnflow.params.models import ModelParams
from rnnflow.runtime import json_text
from rnnflow.runtime.atomic_writes import write_json
from rnnflow.runtime.provenance import file_md5
from rnnflow.sequences import dataset
from rnnflow.serving import checksum
from rnnflow.serving.prediction.predict_files import predict_files
from rnnflow.serving.predictor import Predictor
from rnnflow.serving.streaming import StreamingPredictor
from stages import compare, evaluate, export, report
from tests import toys
from tests.evaluation.report.conftest import make_reported
from tests.faults.fuzz.targets import PROFILE
from tests.faults.fuzz.trials import Target
from tests.training.test_loop import training, weights
from tests.training.test_resume import Killed, kill_after

TRAINED = ModelParams(cell="rnn", hidden_size=4)
LENGTHS = [4, 7, 3, 5] * 10
LABELS = [*toys.CLASSES, "up"] * 10
STEPS = np.arange(8, dtype=np.float32).reshape(4, 2)
REPORTED = "reported"
"""The folder of a project that has run up to its report."""
Consumer = Callable[[Path], object]
"""Gets the folder of all files, of which one is damaged, and returns what it makes of them."""


class WrongAnswerError(Exception):
    """A consumer took a damaged file and gave something else."""


def all_targets(folder: Path) -> list[Target]:
    """Return every pair of a file and a consumer of it; the files are written to `folder`."""
    _write(folder)
    return [
        Target(
            f"{file.removeprefix(f'{REPORTED}/')} → {name}",
            _flipping(folder / file),
            _compared(folder, file, consume),
            Path(file).name,
        )
        for file, consumers in CONSUMERS.items()
        for name, consume in consumers.items()
    ]


def _flipping(path: Path) -> Callable[[random.Random], bytes]:
    content = path.read_bytes()

    def draw(rng: random.Random) -> bytes:
        changed = bytearray(content)
        end = rng.choice((len(content), min(200, len(content))))  # headers are short, and rarely hit otherwise
        place = rng.randrange(end)
        changed[place if rng.random() < 0.7 else len(content) - 1 - place] ^= 1 << rng.randrange(8)
        return bytes(changed)

    return draw


def _compared(folder: Path, file: str, consume: Consumer) -> Callable[[Path], None]:
    expected = consume(folder)

    def read(damaged: Path) -> None:
        beside = folder.with_name(f"{folder.name}-{os.getpid()}")
        if not beside.exists():
            shutil.copytree(folder, beside)
        shutil.copy(damaged, beside / file)
        try:
            if consume(beside) != expected:
                raise WrongAnswerError
        finally:
            shutil.copy(folder / file, beside / file)

    return read


def _write(folder: Path) -> None:
    folder.mkdir()
    params = ModelParams(cell="gru", hidden_size=8)
    model = toys.random_classifier(params)
    whole = toys.exported(folder, model)
    for split in ("validation", "test"):
        (folder / split).mkdir()
        toys.write_sequences(folder / split / "part.parquet", toys.random_sequences(LENGTHS), LABELS, id_prefix=split)
    streaming_file(folder, model, checksum.properties(whole.read_bytes()))
    write_json(folder / "profile.json", json_text.sealed(PROFILE))
    with pytest.raises(Killed):
        training(TRAINED, engine="torch").run(folder / "state.safetensors", kill_after(4))
    _evaluate(folder)
    for name in ("metrics.json", "calibration.json"):
        shutil.copy(folder / "evaluation" / name, folder / name)
    (folder / REPORTED).mkdir()
    make_reported(folder / REPORTED)
    _promoted(folder / REPORTED)


def _promoted(folder: Path) -> None:
    production = folder / "models/production"
    production.mkdir()
    shutil.copy(folder / "models/poor" / challenge.MODEL, production)
    np.save(production / challenge.TRAINING_IDS, ids_of(folder / "validation")[:40])
    facts = {"test_md5": "0" * 32, challenge.IDS_MD5: file_md5(production / challenge.TRAINING_IDS)}
    write_json(production / challenge.PROMOTION, json_text.sealed(facts))
    write_json(folder / "reference.json", json_text.sealed(PROFILE))


def streaming_file(folder: Path, model: SequenceClassifier, properties: Mapping[str, str]) -> None:
    (folder / "model.stream.onnx").write_bytes(serialise(build_streaming(model, dict(properties))[0]))
    predictor = StreamingPredictor(folder / "model.stream.onnx")
    predictor.push("a", STEPS)
    predictor.save(folder / "streams.npz")


def _predict(folder: Path) -> str:
    predict_files(Predictor(folder / "model.onnx"), [folder / "test"], str(folder / "answers.csv"))
    return (folder / "answers.csv").read_text()


def _stream(folder: Path) -> object:
    predictor = StreamingPredictor(folder / "model.stream.onnx")
    predictor.restore(folder / "streams.npz")
    answer = predictor.push("a", STEPS)
    return answer.prediction, answer.probabilities.tobytes(), answer.num_steps


def _load(folder: Path) -> object:
    split = dataset.load(folder / "test")
    return split.values.tobytes(), split.offsets.tobytes(), split.labels.tobytes(), split.features, split.classes


def _evaluate(folder: Path) -> dict[str, str]:
    evaluate.main(toys.evaluate_arguments(folder))
    return {path.name: path.read_text() for path in sorted((folder / "evaluation").glob("*.json"))}


def _export(folder: Path) -> bytes:
    output = folder / "exported"
    arguments = dict(zip(*[iter(toys.export_arguments(folder))] * 2, strict=True))
    names = {"--model": "model.onnx", "--report": "export.json", "--streaming": "streaming", "--int8": "int8"}
    arguments |= {option: str(output / name) for option, name in names.items()}
    export.main([part for pair in arguments.items() for part in pair])
    return (output / "model.onnx").read_bytes()


def _describe(folder: Path) -> str:
    return json.dumps(dict(Predictor(folder / "model.onnx").metadata))


def _train(folder: Path) -> bytes:
    """Go on with a training of six epochs that was killed after the fourth."""
    resumed = training(TRAINED, engine="torch")
    resumed.run(folder / "state.safetensors")
    return weights(resumed)


def _report(folder: Path) -> object:
    report.main(toys.report_arguments(folder / REPORTED))
    return (folder / REPORTED / "report.html").read_bytes(), (folder / REPORTED / "model_card.md").read_bytes()


def _compare(folder: Path) -> str:
    compare.main(toys.compare_arguments(folder / REPORTED))
    verdict = json.loads((folder / REPORTED / "comparison/verdict.json").read_text())
    del verdict["test"]["md5"], verdict["sha256"]  # a bit that says nothing changes them as well
    return json.dumps(verdict)


def _promote(folder: Path) -> object:
    """What a promotion goes by, as the flow and its command read it."""
    return versions.read_verdict(folder / REPORTED)


def _profile(folder: Path) -> object:
    return drift.load_reference(folder / "profile.json")


CONSUMERS: Mapping[str, Mapping[str, Consumer]] = {
    "model.onnx": {"predict": _predict, "describe": _describe},
    "model.stream.onnx": {"stream": _stream},
    "streams.npz": {"stream": _stream},
    "checkpoint.safetensors": {"evaluate": _evaluate, "export": _export},
    "state.safetensors": {"train": _train},
    "profile.json": {"generate": _profile},
    "metrics.json": {"export": _export},
    "calibration.json": {"export": _export},
    "test/part.parquet": {"predict": _predict, "evaluate": _evaluate, "train": _load},
    "validation/part.parquet": {"evaluate": _evaluate},
    f"{REPORTED}/models/production/model.onnx": {"compare": _compare},
    f"{REPORTED}/models/production/training_ids.npy": {"compare": _compare},
    f"{REPORTED}/models/production/promotion.json": {"compare": _compare},
    f"{REPORTED}/reference.json": {"report": _report},
    f"{REPORTED}/models/good/model.onnx": {"compare": _compare, "report": _report},
    f"{REPORTED}/test/part-00000.parquet": {"compare": _compare},
    f"{REPORTED}/train/part-00000.parquet": {"compare": _compare},
    f"{REPORTED}/reports/comparison/verdict.json": {"report": _report, "promote": _promote},
    f"{REPORTED}/reports/data/drift.json": {"report": _report},
    f"{REPORTED}/reports/models/poor/evaluation/metrics.json": {"report": _report},
    f"{REPORTED}/reports/models/poor/evaluation/calibration.json": {"report": _report},
    f"{REPORTED}/reports/models/poor/evaluation/tables/slices.csv": {"report": _report},
    f"{REPORTED}/reports/models/good/evaluation/matrices/confusion.csv": {"report": _report},
}
