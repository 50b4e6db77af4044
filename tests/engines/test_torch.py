from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch

from rnnflow import engines, parameters
from rnnflow.engines.seam import Batch, Task
from rnnflow.engines.torch.engine import TorchEngine
from rnnflow.errors import InputError
from rnnflow.model import SequenceClassifier
from rnnflow.params import ModelParams, TrainParams

WEIGHTS = np.array([1.0, 2.0, 0.5])


def task(**recipe: object) -> Task:
    model = ModelParams(cell="lstm", hidden_size=4, bidirectional=True)
    return Task(model, TrainParams.model_validate({"engine": "torch"} | recipe), 2, 3, WEIGHTS)


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


@pytest.mark.skipif(not torch.cpu._is_avx512_bf16_supported(), reason="this CPU has no instructions for bfloat16")
def test_bfloat16_changes_the_products_and_little_else() -> None:
    exact, rounded = engine(), engine(precision="bfloat16")
    losses = [float(each.loss_and_grad(batch())) for each in (exact, rounded)]
    assert losses[0] != losses[1]
    assert losses[1] == pytest.approx(losses[0], rel=0.02)
    assert rounded.gradient.dtype == torch.float32


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")
@pytest.mark.parametrize("cuda_graphs", [False, True])
def test_a_gpu_computes_what_the_cpu_does(cuda_graphs: bool) -> None:
    used, peer = engines.create(task(cuda_graphs=cuda_graphs), initial(), "cuda"), engine()
    assert isinstance(used, TorchEngine)
    for _ in range(3):
        for given in (batch(), batch(lengths=None)):
            on_gpu = replace(given, inputs=given.inputs.cuda())
            assert float(used.loss_and_grad(on_gpu)) == pytest.approx(float(peer.loss_and_grad(given)), rel=1e-4)
            torch.testing.assert_close(used.gradient.cpu(), peer.gradient, rtol=1e-3, atol=1e-5)
            for each in (used, peer):
                each.step(0.01)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")
def test_a_replayed_step_has_the_bits_of_one_that_was_launched() -> None:
    weights = []
    for cuda_graphs in (False, True):
        used = engines.create(task(cuda_graphs=cuda_graphs), initial(), "cuda")
        for _ in range(5):
            used.loss_and_grad(replace(batch(), inputs=batch().inputs.cuda()))
            used.step(0.01)
        weights.append(used.state()["weights"])
    np.testing.assert_array_equal(weights[0], weights[1])


def test_graphs_change_nothing_on_a_cpu() -> None:
    losses = [float(engine(cuda_graphs=wanted).loss_and_grad(batch())) for wanted in (False, True)]
    assert losses[0] == losses[1]
