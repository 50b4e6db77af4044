import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rnnflow.export.graph import build, serialise
from rnnflow.generation.splitting import SPLITS
from rnnflow.params.generate import GenerateParams
from rnnflow.params.models import ModelParams
from rnnflow.sequences.parquet import SequenceFile
from rnnflow.serving.prediction.predict_files import predict_files
from rnnflow.serving.predictor import METADATA_VERSION, Predictor
from stages.generate import generate
from tests import toys


class Trained(NamedTuple):
    """A model that carries the recipe and the profile of a data set that stage generate made."""

    predictor: Predictor
    raw: Path
    sequences: list[Path]
    """Files of the data set."""

    def answers(self, *paths: Path, **options: Any) -> pa.Table:
        target = self.raw.parent / "answers.parquet"
        predict_files(self.predictor, paths or [self.raw], str(target), **options)
        return pq.ParquetFile(target).read()


Maker = Callable[..., Trained]


def onnx_file(features: Sequence[str], **origin: Any) -> bytes:
    """Return what stage export writes, without the comparison with PyTorch, which takes half a second."""
    model = toys.random_classifier(ModelParams(cell="gru", hidden_size=4), len(features))
    content: dict[str, Any] = {"name": "toy", "model": model.params.model_dump(), "features": list(features)}
    content |= {"classes": toys.CLASSES}
    content |= {"lengths": (1, 5, 9), "num_parameters": model.num_parameters, "md5": {"weights": "w" * 32}}
    content |= {"metrics": toys.METRICS, **origin, "rnnflow": int(METADATA_VERSION)}
    return serialise(build(model, {name: json.dumps(value) for name, value in content.items()}))


@pytest.fixture
def trained(tmp_path: Path) -> Maker:
    def make(write: Callable[[Path], None], files: dict[str, Any], **settings: Any) -> Trained:
        raw = tmp_path / "raw"
        raw.mkdir()
        write(raw)
        split = {"validation": 0.2, "test": 0.2} | settings.pop("split", {})
        params = GenerateParams.model_validate({"source": "files", "files": files, "split": split, **settings})
        generate(params, raw, tmp_path / "sequences", {}, tmp_path / "report")
        parts = [path for split in SPLITS for path in sorted((tmp_path / "sequences" / split).glob("*.parquet"))]
        file = SequenceFile.open(parts[0])
        profile = json.loads((tmp_path / "report/profile.json").read_text())
        path = tmp_path / "model.onnx"
        path.write_bytes(onnx_file(file.features, recipe=file.recipe, profile=profile))
        return Trained(Predictor(path, num_threads=2), raw, parts)

    return make
