"""The readers of everything that comes from outside, each with valid inputs that are then damaged."""

import json
import os
import random
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from ruamel.yaml import YAML

from flows import settings
from flows.__main__ import parsed_override
from rnnflow.classifier import model, safetensors_files
from rnnflow.export.graph import build_streaming, serialise
from rnnflow.generation import drift, threads
from rnnflow.params import whole
from rnnflow.params.models import ModelParams
from rnnflow.runtime import environment, expansion, json_text, processes
from rnnflow.runtime.provenance import ROOT
from rnnflow.serving import checksum
from rnnflow.serving.predictor import METADATA_NAMES, PROPERTIES, Predictor
from rnnflow.serving.stream_lines import answer_lines
from rnnflow.serving.streaming import StreamingPredictor
from tests import toys
from tests.faults.fuzz import own_files, raw_files
from tests.faults.fuzz.mutations import WORDS, altered, damaged, reshaped
from tests.faults.fuzz.trials import Target, bytes_target
from tests.training.test_loop import training

FEATURE = {"min": 0, "max": 1, "mean": 0.5, "std": 0.1, "missing_share": 0}
PROFILE = {
    "features": {"x": FEATURE, "y": FEATURE},
    "class_shares": {"a": 0.5, "b": 0.5},
    "files": {"a.csv": 3},
    "lengths": {"shortest": 1, "median": 2, "longest": 3},
    "num_sequences": 3,
    "contents": {"a": "a.csv"},
}
VARIABLES: Mapping[str, Callable[[], object]] = {
    "RANK": processes.check,
    "WORLD_SIZE": processes.check,
    "LOCAL_RANK": processes.local_rank,
    threads.THREADS: threads.number,
    environment.DEVICE: environment.wanted_device,
    expansion.MEMORY: expansion.memory_mb,
}


def all_targets(folder: Path) -> list[Target]:
    """Return every reader; what the inputs are made from is written to `folder`."""
    folder.mkdir(exist_ok=True)
    return [
        *_settings(),
        *_models(folder),
        *own_files.targets(folder / "model"),
        *raw_files.targets(folder),
        *_json_files(),
        _stream(folder),
        _environment(),
    ]


def _settings() -> list[Target]:
    files = [ROOT / "params.yaml", *sorted((ROOT / "examples").glob("*.yaml"))]
    texts = [path.read_bytes() for path in files]
    trees = [YAML(typ="safe").load(text.decode()) for text in texts]
    overrides = [
        b"train.epochs=3",
        b"models.lstm.hidden_size=[1, 2]",
        b"generate.files={a: b, c: 'd'}",
        b"a=&x [*x, *x]",
    ]
    return [
        bytes_target("params.yaml", texts, whole.load),
        bytes_target("params as JSON.yaml", [_json(tree) for tree in trees], whole.load),
        Target("values of params.yaml", lambda rng: _json(altered(rng.choice(trees), rng)), whole.load, "params.yaml"),
        bytes_target("overrides", overrides, lambda path: parsed_override(path.read_text(errors="replace"))),
        bytes_target("flows/settings.yaml", [settings.FILE.read_bytes()], settings.load.__wrapped__, "settings.yaml"),
    ]


def _models(folder: Path) -> list[Target]:
    params = ModelParams(cell="gru", hidden_size=4)
    classifier = toys.random_classifier(params)
    onnx_file = toys.exported(folder / "model", classifier).read_bytes()
    checkpoint = folder / "model" / "checkpoint.safetensors"
    properties = checksum.properties(onnx_file)
    graph = _graph(onnx_file)

    def renamed(rng: random.Random) -> bytes:
        """A model whose properties are others, and whose checksum is right."""
        said = dict(properties)
        name = rng.choice(METADATA_NAMES)
        said[name] = (
            _json(altered(json.loads(said[name]), rng)).decode()
            if rng.random() < 0.8
            else rng.choice(("", "[" * 9999, "{"))
        )
        content = graph + b"".join(_property(name, value) for name, value in said.items() if name != checksum.PROPERTY)
        return content + _property(checksum.PROPERTY, checksum.compute(content, PROPERTIES))

    def old(rng: random.Random) -> bytes:
        """A model of before there were checksums, damaged in its properties or its graph."""
        said = dict(properties) | {"rnnflow": "1"}
        said.pop(checksum.PROPERTY)
        parts = [graph, b"".join(_property(name, value) for name, value in said.items())]
        place = rng.randrange(2)
        parts[place] = damaged(parts[place], [onnx_file], rng)
        return b"".join(parts)

    def answer(path: Path) -> None:
        predictor = Predictor(path)
        predictor.predict([np.zeros((3, len(predictor.features)), np.float32)])

    return [
        bytes_target("model.onnx", [onnx_file], answer),
        Target("properties of model.onnx", renamed, answer, "model.onnx"),
        Target("model.onnx without checksum", old, answer, "model.onnx"),
        bytes_target("checkpoint.safetensors", [checkpoint.read_bytes()], model.load),
        Target("inside of a checkpoint", _rewritten(checkpoint), model.load, "checkpoint.safetensors"),
        *_states(folder),
    ]


def _states(folder: Path) -> list[Target]:
    """What a training goes on from: what it cannot use is set aside, never refused."""
    state = folder / "state.safetensors"
    resumed = training(ModelParams(cell="rnn", hidden_size=4), engine="torch", epochs=2)
    resumed.run(state)

    def resume(path: Path) -> None:
        if found := resumed._saved(path):
            resumed._restore(*found)

    return [
        bytes_target("state of a training", [state.read_bytes()], resume, "resume.safetensors"),
        Target("inside of a state of a training", _rewritten(state), resume, "resume.safetensors"),
    ]


def _rewritten(file: Path) -> Callable[[random.Random], bytes]:
    """Draws files whose arrays or description are others than in `file`, and whose checksum is right."""
    arrays, description = safetensors_files.read(file)

    def draw(rng: random.Random) -> bytes:
        others, said = dict(arrays), description
        if rng.random() < 0.3:
            name = rng.choice(sorted(others))
            others |= {"x": np.zeros(3), rng.choice(sorted(others)): reshaped(others[name], rng)}
            del others[rng.choice(sorted(others))]
        else:
            said = altered(description, rng)
        path = file.with_name(f"{os.getpid()}.safetensors")
        safetensors_files.write(path, others, said)
        return path.read_bytes()

    return draw


def _graph(onnx_file: bytes) -> bytes:
    """A serialised model without its properties."""
    import onnx

    proto = onnx.load_from_string(onnx_file)
    del proto.metadata_props[:]
    return proto.SerializeToString()


def _property(name: str, value: str) -> bytes:
    import onnx

    proto = onnx.ModelProto()
    proto.metadata_props.add(key=name, value=value)
    return proto.SerializeToString()


def _json_files() -> list[Target]:
    new = drift.Profile(("x", "y"))
    new.add(pa.table({"sequence": [[1.0, 2.0, 3.0, 4.0]], "label": ["a"]}))

    by_hand = {json_text.CHECKSUM: None}

    def profile(rng: random.Random) -> bytes:
        content = altered(PROFILE, rng)
        return _json(content | by_hand if isinstance(content, dict) else content)

    def compare(path: Path) -> None:
        reference = drift.load_reference(path)
        drift.differences(new, reference, whole.load(ROOT / "params.yaml").generate.drift)

    return [
        bytes_target("reference.json", [_json(json_text.sealed(PROFILE)), _json(PROFILE | by_hand), b"{}"], compare),
        Target("values of reference.json", profile, compare, "reference.json"),
    ]


def _stream(folder: Path) -> Target:
    classifier = toys.random_classifier(ModelParams(cell="gru", hidden_size=4))
    properties = checksum.properties((folder / "model" / "model.onnx").read_bytes())
    path = folder / "model.stream.onnx"
    path.write_bytes(serialise(build_streaming(classifier, properties)[0]))
    predictor = StreamingPredictor(path, capacity=100)
    steps = [{"stream": f"s{row % 3}", "x": row, "y": None, "time": row} for row in range(9)]
    lines = [*steps, {"stream": 1, "steps": [[1, 2], [3, 4]]}, {"stream": 1, "end": True}]
    table = "stream,x,y,time,end\n" + "a,1,2,3,\nb,,2,3,\na,1e3,2,4,true\n"
    seeds = ["".join(json.dumps(line) + "\n" for line in lines).encode(), table.encode()]

    def answer(path: Path) -> None:
        content = path.read_bytes()
        parts = iter([content[: len(content) // 2], content[len(content) // 2 :], b""])
        answer_lines(predictor, partial(next, parts), lambda _: None)

    return bytes_target("standard input of rnnflow stream", seeds, answer, "lines")


def _environment() -> Target:
    texts = ["", "0", "1", "-1", "+2", " 3", "1_0", "²", "٣", "3.0", "9" * 30, "9" * 5000, "auto", "cuda:0", "\udcff"]

    def draw(rng: random.Random) -> bytes:
        texts_drawn = [
            rng.choice(texts) if rng.random() < 0.5 else damaged(b"1", WORDS, rng).decode(errors="replace")
            for _ in range(2)
        ]
        return "\n".join([rng.choice(list(VARIABLES)), *(text.replace("\n", "") for text in texts_drawn)]).encode(
            errors="surrogateescape"
        )

    def read(path: Path) -> None:
        name, text, other = (os.fsdecode(part) for part in path.read_bytes().split(b"\n"))
        os.environ.update(
            {name: text.replace("\0", ""), "WORLD_SIZE": other.replace("\0", "")}
            if name == "RANK"
            else {name: text.replace("\0", "")}
        )
        try:
            VARIABLES[name]()
        finally:
            for each in (name, "WORLD_SIZE"):
                os.environ.pop(each, None)

    return Target("environment variables", draw, read, "variables")


def _json(content: Any) -> bytes:
    return json.dumps(content).encode(errors="surrogatepass")
