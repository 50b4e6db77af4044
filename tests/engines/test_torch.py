from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch

from rnnflow import engines
from rnnflow.classifier import parameters
from rnnflow.classifier.model import SequenceClassifier
from rnnflow.engines.interface import Batch, EngineConfig
from rnnflow.engines.torch import graphs
from rnnflow.engines.torch.engine import TorchEngine
from rnnflow.params.models import ModelParams
from rnnflow.params.train import TrainParams
from rnnflow.runtime.errors import InputError
from rnnflow.sequences.dataset import SequenceDataset
from rnnflow.training.loop import Training

WEIGHTS = np.array([1.0, 2.0, 0.5])


def task(**recipe: object) -> EngineConfig:
    model = ModelParams(cell="lstm", hidden_size=4, bidirectional=True)
    return EngineConfig(model, TrainParams.model_validate({"engine": "torch"} | recipe), 2, 3, WEIGHTS)


def initial() -> np.ndarray:
    return parameters.initial(task().model, 2, 3, np.random.default_rng(0))


def engine(**recipe: object) -> TorchEngine:
    created = engines.create(task(**recipe), initial(), "cpu")
    assert isinstance(created, TorchEngine)
    return created


def batch(lengths: Sequence[int] | None = (5, 4, 3, 2, 1, 5)) -> Batch:
    rng = np.random.default_rng(0)
    inputs = torch.from_numpy(rng.standard_normal((6, 5, 2), dtype=np.float32))
    labels = np.array([0, 1, 2, 0, 1, 2])
    return Batch(inputs, None if lengths is None else np.array(lengths), labels, float(WEIGHTS[labels].sum()))


def classifier() -> SequenceClassifier:
    model = SequenceClassifier(task().model, 2, 3)
    torch.nn.utils.vector_to_parameters(torch.from_numpy(initial()), model.parameters())
    return model


def logits(model: SequenceClassifier) -> torch.Tensor:
    given = batch()
    assert given.lengths is not None
    return model.classify(given.inputs, torch.from_numpy(given.lengths))


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize("max_grad_norm", [0.05, 100.0])
def test_a_step_is_clipping_and_adamw(weight_decay: float, max_grad_norm: float) -> None:
    used = engine(weight_decay=weight_decay, max_grad_norm=max_grad_norm)
    peer = classifier()
    optimiser = torch.optim.AdamW(peer.parameters(), lr=0.01, weight_decay=weight_decay)
    for _ in range(5):
        used.loss_and_grad(batch())
        used.step(0.01)
        optimiser.zero_grad()
        weights = torch.from_numpy(WEIGHTS).float()
        torch.nn.functional.cross_entropy(logits(peer), torch.from_numpy(batch().labels), weights).backward()
        torch.nn.utils.clip_grad_norm_(peer.parameters(), max_grad_norm)
        optimiser.step()
    expected = torch.nn.utils.parameters_to_vector(peer.parameters())
    torch.testing.assert_close(used.weights, expected, rtol=1e-4, atol=1e-6)


def test_the_flat_vector_holds_the_parameters_in_their_order() -> None:
    used = engine()
    assert used.weights.equal(torch.nn.utils.parameters_to_vector(used.model.parameters()))
    assert used.weights.numpy().tobytes() == initial().tobytes()
    used.weights.zero_()
    assert all(not parameter.any() for parameter in used.model.parameters())


def test_class_weights_and_label_smoothing_are_those_of_cross_entropy() -> None:
    weights = torch.from_numpy(WEIGHTS).float()
    labels = torch.from_numpy(batch().labels)
    expected = torch.nn.functional.cross_entropy(logits(classifier()), labels, weights, label_smoothing=0.2)
    assert float(engine(label_smoothing=0.2).loss_and_grad(batch())) == pytest.approx(expected.item())


def test_a_gpu_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RNNFLOW_DEVICE", "cuda")
    if torch.cuda.is_available():
        assert engines.device("torch") == "cuda"
        return
    with pytest.raises(InputError, match="finds no GPU"):
        engines.device("torch")


def test_auto_takes_a_gpu_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RNNFLOW_DEVICE", raising=False)
    assert engines.device("torch") == ("cuda" if torch.cuda.is_available() else "cpu")


def test_bfloat16_is_refused_where_the_cpu_lacks_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    with pytest.raises(InputError, match=r"^train\.precision: this CPU has no instructions for bfloat16"):
        engine(precision="bfloat16")


def test_bfloat16_changes_the_products_and_little_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True)  # without, it is only slow
    exact, rounded = engine(), engine(precision="bfloat16")
    losses = [float(each.loss_and_grad(batch())) for each in (exact, rounded)]
    assert losses[0] != losses[1]
    assert losses[1] == pytest.approx(losses[0], rel=0.02)
    assert rounded.gradient.dtype == torch.float32


def test_graphs_change_nothing_on_a_cpu() -> None:
    losses = [float(engine(cuda_graphs=wanted).loss_and_grad(batch())) for wanted in (False, True)]
    assert losses[0] == losses[1]


def test_each_shape_is_captured_once_and_so_many_at_the_most(monkeypatch: pytest.MonkeyPatch) -> None:
    captured = []

    class Capture:
        def __init__(self, compute: graphs.Compute, tensors: graphs.Tensors, *_: object) -> None:
            captured.append({name: tuple(tensor.shape) for name, tensor in tensors.items()})
            self.compute = compute

        def replay(self, tensors: graphs.Tensors) -> torch.Tensor:
            return self.compute(**tensors) + 100

    monkeypatch.setattr(graphs, "_Graph", Capture)
    monkeypatch.setattr(graphs, "MAX_GRAPHS", 3)
    monkeypatch.setattr(torch.cuda, "Stream", lambda: None)
    monkeypatch.setattr(torch.cuda, "graph_pool_handle", lambda: None)

    def total(**tensors: torch.Tensor) -> torch.Tensor:
        return sum((tensor.sum() for tensor in tensors.values()), torch.zeros(()))

    used = graphs.Graphs()
    given = [{"inputs": torch.ones(2)}, {"inputs": torch.ones(2), "lengths": torch.ones(2)}, {"inputs": torch.ones(3)}]
    for _ in range(2):
        assert [float(used.call(total, tensors)) for tensors in given] == [102, 104, 103]
    assert captured == [{"inputs": (2,)}, {"inputs": (2,), "lengths": (2,)}, {"inputs": (3,)}]
    assert float(used.call(total, {"inputs": torch.ones(4)})) == 4


needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")


@needs_gpu
@pytest.mark.parametrize("cuda_graphs", [False, True])
@pytest.mark.parametrize("lengths", [None, (5, 4, 3, 2, 1, 5)])
def test_a_gpu_computes_what_the_cpu_does(cuda_graphs: bool, lengths: Sequence[int] | None) -> None:
    used, peer = engines.create(task(cuda_graphs=cuda_graphs), initial(), "cuda"), engine()
    assert isinstance(used, TorchEngine)
    given = batch(lengths)
    for _ in range(2):  # captured, then replayed
        loss = used.loss_and_grad(replace(given, inputs=given.inputs.cuda()))
        assert float(loss) == pytest.approx(float(peer.loss_and_grad(given)), rel=1e-5)
        torch.testing.assert_close(used.gradient.cpu(), peer.gradient, rtol=1e-4, atol=1e-5)


@needs_gpu
@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
@pytest.mark.parametrize("num_layers", [1, 2])
@pytest.mark.parametrize(
    ("architecture", "recipe"),
    [
        ({}, {}),
        ({"bidirectional": True, "dropout": 0.2, "pooling": "mean_max"}, {"label_smoothing": 0.1}),
        ({"stem": {"channels": 4}, "pooling": "mean"}, {"class_weights": "balanced"}),
        ({"dropout": 0.2}, {"precision": "bfloat16"}),
    ],
)
def test_graphs_change_no_bit(
    cell: str, num_layers: int, architecture: dict[str, object], recipe: dict[str, object]
) -> None:
    lengths = np.arange(1, 60)  # more shapes than there are graphs
    offsets = np.concatenate(([0], np.cumsum(lengths)))
    values = np.random.default_rng(0).standard_normal((offsets[-1], 2), dtype=np.float32)
    split = SequenceDataset(values, offsets, np.arange(len(lengths), dtype=np.int32) % 3, ("x", "y"), ("a", "b", "c"))
    model = ModelParams.model_validate({"cell": cell, "hidden_size": 8, "num_layers": num_layers} | architecture)
    found = []
    for cuda_graphs in (False, True):
        settings = {"engine": "torch", "epochs": 3, "batch_size": 2, "cuda_graphs": cuda_graphs}
        training = Training(split, None, model, TrainParams.model_validate(settings | recipe), "cuda")
        training.run()
        found.append(training.weights)
    np.testing.assert_array_equal(found[0], found[1])


@needs_gpu
@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_bfloat16_on_a_gpu_is_not_float16(cell: str) -> None:
    model = ModelParams.model_validate({"cell": cell, "hidden_size": 8})
    classifier = SequenceClassifier(model, 2, 3).cuda()
    large = torch.full((2, 3, 2), 1e30, device="cuda")  # float16 ends at 65,504
    with torch.autocast("cuda", torch.bfloat16):
        assert classifier.classify(large, None).isfinite().all()
