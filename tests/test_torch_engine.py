import pytest
import torch

from rnnflow.model import SequenceClassifier
from rnnflow.params import ModelParams, TrainParams
from rnnflow.torch_engine import Batch, TorchEngine


def batch() -> Batch:
    generator = torch.Generator().manual_seed(0)
    return Batch(
        torch.randn(6, 5, 2, generator=generator),
        torch.tensor([5, 4, 3, 2, 1, 5]),
        torch.tensor([0, 1, 2, 0, 1, 2]),
    )


def classifier() -> SequenceClassifier:
    torch.manual_seed(0)
    return SequenceClassifier(ModelParams(cell="lstm", hidden_size=4, bidirectional=True), 2, 3)


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize("max_grad_norm", [0.05, 100.0])
def test_a_step_is_clipping_and_adamw(weight_decay: float, max_grad_norm: float) -> None:
    params = TrainParams(weight_decay=weight_decay, max_grad_norm=max_grad_norm)
    engine = TorchEngine(classifier(), params, None)
    peer = classifier()
    optimiser = torch.optim.AdamW(peer.parameters(), lr=0.01, weight_decay=weight_decay)
    for _ in range(5):
        engine.loss_and_grad(batch())
        engine.step(0.01)
        optimiser.zero_grad()
        loss = torch.nn.functional.cross_entropy(peer.classify(batch().prepared, batch().lengths), batch().labels)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(peer.parameters(), max_grad_norm)
        optimiser.step()
    expected = torch.nn.utils.parameters_to_vector(peer.parameters())
    torch.testing.assert_close(engine.weights, expected, rtol=1e-4, atol=1e-6)


def test_the_flat_vector_holds_the_parameters_in_their_order() -> None:
    model = classifier()
    engine = TorchEngine(model, TrainParams(), None)
    assert engine.weights.equal(torch.nn.utils.parameters_to_vector(model.parameters()))
    engine.weights.zero_()
    assert all(not parameter.any() for parameter in model.parameters())


def test_class_weights_and_label_smoothing_are_those_of_cross_entropy() -> None:
    weights = torch.tensor([1.0, 2.0, 0.5])
    engine = TorchEngine(classifier(), TrainParams(label_smoothing=0.2), weights)
    logits = classifier().classify(batch().prepared, batch().lengths)
    expected = torch.nn.functional.cross_entropy(logits, batch().labels, weights, label_smoothing=0.2)
    assert engine.loss_and_grad(batch()).item() == pytest.approx(expected.item())


def test_a_state_taken_and_loaded_continues_alike() -> None:
    def advance(engine: TorchEngine) -> None:
        for _ in range(3):
            engine.loss_and_grad(batch())
            engine.step(0.05)

    first, second = (TorchEngine(classifier(), TrainParams(), None) for _ in range(2))
    advance(first)
    second.load_state({name: tensor.clone() for name, tensor in first.state().items()})
    advance(first)
    advance(second)
    assert first.weights.equal(second.weights)
