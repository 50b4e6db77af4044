"""Small real parts that the tests of several modules use: classifiers, sequences, files."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pyarrow as pa
import torch
from hypothesis import strategies as st

from rnnflow.classifier import checkpoint, parameters
from rnnflow.classifier.model import Classifier, SequenceClassifier, restored
from rnnflow.classifier.preparation import Preparation
from rnnflow.params.models import Cell, Missing, ModelParams, MultiScaleStemParams, Pooling, Scaling, StemParams
from rnnflow.runtime import json_text
from rnnflow.sequences import parquet
from stages import export

CELLS = get_args(Cell)
POOLINGS = get_args(Pooling)
SCALINGS = get_args(Scaling)
SCALING_LISTS = ["global"], ["global", "compressed", "sequence"], ["sequence", "compressed"], ["global", "sequence"]
MISSING = get_args(Missing)
FEATURES = ("x", "y")
CLASSES = ("down", "level", "up")
CALIBRATION: dict[str, object] = {"temperature": 1.0, "threshold": None, "early": None}
METRICS = {"accuracy": 0.75, "accuracy_low": 0.7, "accuracy_high": 0.8, "baseline_accuracy": 0.5, "log_loss": 0.25}


def scalings() -> st.SearchStrategy[Scaling | list[Scaling]]:
    return st.sampled_from(SCALINGS) | st.sampled_from(SCALING_LISTS)


def preparations(scaling: Scaling | None = None) -> st.SearchStrategy[dict[str, Any]]:
    """Settings of a model up to its first layer, with any scaling or a given one."""
    return st.fixed_dictionaries(
        {
            "scaling": scalings() if scaling is None else st.just(scaling),
            "missing": st.sampled_from(MISSING),
            "downsampling": st.integers(1, 4),
            "differences": st.booleans(),
        }
    )


def multi_scale_stems(is_causal: st.SearchStrategy[bool]) -> st.SearchStrategy[MultiScaleStemParams]:
    return st.builds(
        MultiScaleStemParams,
        kind=st.just("multi_scale"),
        kernel_sizes=st.sampled_from([[1], [3, 5], [1, 9, 3]]),
        channels=st.integers(1, 3),
        output_size=st.integers(1, 4),
        block_sizes=st.lists(st.integers(1, 3), min_size=3, max_size=3),
        causal=is_causal,
    )


def convolutions(is_causal: st.SearchStrategy[bool]) -> st.SearchStrategy[StemParams]:
    sizes = st.sampled_from([1, 3, 5])
    return st.builds(
        StemParams, channels=st.integers(1, 4), kernel_size=sizes, num_layers=st.integers(1, 2), causal=is_causal
    )


def architectures() -> st.SearchStrategy[ModelParams]:
    stems = multi_scale_stems(st.booleans()) | convolutions(st.booleans())
    return st.builds(
        ModelParams,
        cell=st.sampled_from(CELLS),
        hidden_size=st.integers(1, 5),
        num_layers=st.integers(1, 3),
        bidirectional=st.booleans(),
        pooling=st.sampled_from(POOLINGS),
        scaling=scalings(),
        missing=st.sampled_from(MISSING),
        downsampling=st.integers(1, 4),
        differences=st.booleans(),
        stem=st.none() | stems,
    )


def random_classifier(
    params: ModelParams, num_features: int = len(FEATURES), num_classes: int = len(CLASSES), seed: int = 0
) -> SequenceClassifier:
    """Return a classifier with random weights and a random scaling, ready to predict."""
    rng = np.random.default_rng(seed)
    weights = parameters.initial(params, num_features, num_classes, rng)
    preparation = random_preparation(params, num_features, rng)
    named = parameters.views(weights, parameters.shapes(params, num_features, num_classes))
    for name, values in named.items():
        if name.startswith("stem.norms."):
            positive = name.endswith(("weight", "running_var"))
            values[:] = rng.uniform(0.5, 2, values.shape) if positive else rng.standard_normal(values.shape)
    classifier = restored(preparation.arrays() | named, params, num_features, num_classes)
    assert isinstance(classifier, SequenceClassifier)
    return classifier


def random_ensemble(
    params: ModelParams, num_features: int = len(FEATURES), num_classes: int = len(CLASSES), seed: int = 0
) -> Classifier:
    """Return `members` such classifiers with the scaling of the first; one alone is no ensemble."""
    if params.members == 1:
        return random_classifier(params, num_features, num_classes, seed)
    one = params.model_copy(update={"members": 1})
    seeds = range(seed, seed + params.members)
    members = [arrays(random_classifier(one, num_features, num_classes, each)) for each in seeds]
    return restored(parameters.of_members(members), params, num_features, num_classes)


def random_preparation(params: ModelParams, num_features: int, rng: np.random.Generator) -> Preparation:
    """Return a preparation with a random scaling, where the params want one."""
    preparation = Preparation(params, num_features)
    for index, kind in enumerate(params.scalings):
        if kind in ("global", "compressed"):
            part = preparation.part(index)
            preparation.mean[part] = rng.standard_normal(part.stop - part.start)
            preparation.inverse_deviation[part] = rng.uniform(0.5, 2, part.stop - part.start)
    if "compressed" in params.scalings:
        preparation.median[:] = rng.standard_normal(num_features)
        preparation.inverse_spread[:] = rng.uniform(0.5, 50, num_features)
    return preparation


def arrays(model: Classifier) -> dict[str, np.ndarray]:
    """Return the scaling and the weights of a classifier, by their names in a checkpoint."""
    return model.preparation.arrays() | {name: tensor.numpy() for name, tensor in model.state_dict().items()}


def random_sequences(
    lengths: Sequence[int], num_features: int = len(FEATURES), seed: int = 0, missing: float = 0.1
) -> list[np.ndarray]:
    """Return sequences of shape (time, feature), a share of whose values is missing."""
    rng = np.random.default_rng(seed)
    sequences = [rng.standard_normal((length, num_features), dtype=np.float32) for length in lengths]
    for sequence in sequences:
        sequence[rng.random(sequence.shape) < missing] = np.nan
    return sequences


def sequences_of_all_sizes(
    lengths: Sequence[int], num_features: int = len(FEATURES), seed: int = 0, missing: float = 0.1
) -> list[np.ndarray]:
    """Return sequences whose sizes span ten orders of magnitude, each with an offset up to a thousand times its size."""
    rng = np.random.default_rng(seed)
    sequences = random_sequences(lengths, num_features, seed, missing)
    for sequence in sequences:
        offset = rng.choice([0, -1, 30, 1000], num_features)
        sequence[:] = (sequence + offset) * 10 ** rng.uniform(-5, 5, num_features)
    return sequences


def padded(sequences: Sequence[np.ndarray], num_steps: int, garbage: float) -> tuple[np.ndarray, np.ndarray]:
    """Return sequences as one array of `num_steps`, with `garbage` in the padding, and their lengths."""
    array = np.full((len(sequences), num_steps, sequences[0].shape[1]), garbage, dtype=np.float32)
    for row, sequence in zip(array, sequences, strict=True):
        row[: len(sequence)] = sequence
    return array, np.array([len(sequence) for sequence in sequences])


def alone(model: Classifier, sequences: Sequence[np.ndarray]) -> torch.Tensor:
    """Return the logits of sequences that are run one by one, without any padding."""
    return torch.cat([model(sequence[None], None) for sequence in sequences])


def write_sequences(
    path: Path,
    sequences: Sequence[np.ndarray],
    labels: Sequence[str] | None = None,
    features: Sequence[str] = FEATURES,
    id_prefix: str = "sequence",
) -> Path:
    """Write a Parquet file of the contract, without the column `label` where there are no labels."""
    offsets = np.concatenate(([0], np.cumsum([len(sequence) for sequence in sequences], dtype=np.int64)))
    column = parquet.sequence_column(np.concatenate([np.empty((0, len(features)), np.float32), *sequences]), offsets)
    ids = [f"{id_prefix}-{index}" for index in range(len(sequences))]
    schema = parquet.schema(features)
    if labels is None:
        table = pa.table([ids, column], schema=schema.remove(schema.get_field_index("label")))
    else:
        table = pa.table([ids, column, pa.array(labels, pa.string())], schema=schema)
    parquet.write_table(path, table)
    return path


def save_checkpoint(
    path: Path,
    model: Classifier,
    classes: Sequence[str] = CLASSES,
    features: Sequence[str] = FEATURES,
    final_fit: bool = False,
    **origin: Any,
) -> checkpoint.Description:
    """Write a checkpoint, with `recipe` and `profile` in `origin`, and return its description."""
    description = checkpoint.Description(
        name="toy",
        model=model.params,
        features=tuple(features),
        classes=tuple(classes),
        class_counts=(30, 20, 10)[: len(classes)],
        lengths=(1, 5, 9),
        num_parameters=model.num_parameters,
        final_fit=final_fit,
        md5={"data": "d" * 32, "params": "a" * 32, "code": "c" * 32, "validation_data": "v" * 32},
        **origin,
    )
    checkpoint.save(path, arrays(model), description)
    return description


def write_params(folder: Path, **sections: dict[str, Any]) -> Path:
    """Write a `params.yaml` with defaults in all that is not given."""
    path = folder / "params.yaml"
    stages: dict[str, dict[str, Any]] = {
        name: {} for name in ("generate", "train", "evaluate", "export", "compare", "report")
    }
    stages["export"] = {"streaming": False}  # which takes a while, and few tests look at
    path.write_text(json.dumps({**stages, "models": {"toy": {"cell": "gru"}}, **sections}))  # JSON is YAML
    return path


def evaluate_arguments(folder: Path) -> list[str]:
    """Return the arguments of stage evaluate for a checkpoint and a test split in `folder`."""
    files = {"params": "params.yaml", "checkpoint": "checkpoint.safetensors", "output": "evaluation"}
    return ["--engine", "numba", *_options(folder, files | {split: split for split in ("validation", "test")})]


def export_arguments(folder: Path) -> list[str]:
    """Return the arguments of stage export for a checkpoint and metrics in `folder`."""
    files = {"params": "params.yaml", "checkpoint": "checkpoint.safetensors", "metrics": "metrics.json"}
    files |= {"calibration": "calibration.json", "model": "model.onnx", "report": "export.json"}
    files |= {"streaming": "streaming", "int8": "int8", "validation": "validation"}
    return _options(folder, files)


def compare_arguments(folder: Path) -> list[str]:
    """Return the arguments of stage compare for models and splits in `folder`."""
    files = {"params": "params.yaml", "models": "models", "output": "comparison"}
    return _options(folder, files | {split: split for split in ("train", "validation", "test")})


def report_arguments(folder: Path) -> list[str]:
    """Return the arguments of stage report for models, reports and a test split in `folder`."""
    files = {"params": "params.yaml", "models": "models", "reports": "reports", "reference": "reference.json"}
    return _options(folder, files | {"test": "test", "page": "report.html", "card": "model_card.md"})


def _options(folder: Path, files: dict[str, str]) -> list[str]:
    return [part for option, name in files.items() for part in (f"--{option}", str(folder / name))]


def write_evaluation(
    folder: Path, calibration: Mapping[str, object] = CALIBRATION, metrics: Mapping[str, object] = METRICS
) -> None:
    """Write metrics and calibration as stage evaluate does."""
    (folder / "metrics.json").write_text(json.dumps(metrics))
    (folder / "calibration.json").write_text(json.dumps(json_text.sealed(calibration, metrics)))


def exported(
    folder: Path,
    model: Classifier,
    classes: Sequence[str] = CLASSES,
    features: Sequence[str] = FEATURES,
    calibration: Mapping[str, object] = CALIBRATION,
    **origin: Any,
) -> Path:
    """Return the ONNX file that stage export makes of `model` below `folder`."""
    folder.mkdir(exist_ok=True)
    # Parity and streaming have tests of their own.
    write_params(folder, export={"batch_sizes": [2], "lengths": [3], "streaming": False})
    save_checkpoint(folder / "checkpoint.safetensors", model, classes, features, **origin)
    write_evaluation(folder, calibration)
    export.main(export_arguments(folder))
    return folder / "model.onnx"
