import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from rnnflow.classifier import cells
from rnnflow.runtime.provenance import ROOT
from tests import toys

PEERS: dict[str, type[nn.RNN | nn.LSTM | nn.GRU]] = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}
"""PyTorch's own modules."""
FRESH: dict[str, Callable[[int, int], nn.Module]] = {
    **PEERS,
    "mingru": lambda input_size, hidden_size: nn.Linear(input_size, 2 * hidden_size),
}
"""Modules of PyTorch whose parameters a cell's are named, shaped and drawn like."""


@pytest.mark.parametrize("name", toys.CELLS)
def test_names_order_and_shapes_are_those_of_pytorchs_module(name: str) -> None:
    expected = {name: tuple(value.shape) for name, value in FRESH[name](3, 5).named_parameters()}
    assert list(cells.load(name).shapes(3, 5).items()) == list(expected.items())


@pytest.mark.parametrize("is_training", [False, True])
@pytest.mark.parametrize("name", PEERS)
def test_it_computes_the_bits_of_pytorchs_module(name: str, is_training: bool) -> None:
    torch.manual_seed(0)
    peer = PEERS[name](3, 5, batch_first=True).train(is_training)
    inputs = torch.randn(4, 7, 3)
    expected, state = peer(inputs)
    outputs, final = cells.load(name).run(inputs, dict(peer.named_parameters()), is_training)
    assert outputs.equal(expected)
    assert final.equal((state[0] if isinstance(state, tuple) else state)[0])


def test_the_cells_and_the_compiled_engine_need_neither_torch_nor_onnx_nor_numba() -> None:
    program = f"""
import sys
import numpy as np
from rnnflow.classifier import cells, parameters
from rnnflow.params.models import ModelParams
import rnnflow.engines.numba.engine
for name in {toys.CELLS}:
    model = ModelParams(cell=name, max_dependency=None if name == "rnn" else 9)
    parameters.initial(model, 3, 2, np.random.default_rng(0))
print(*{{"torch", "onnx", "numba"}} & set(sys.modules))
"""
    printed = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert printed.stdout.split() == []


def tensor(rng: np.random.Generator, *shape: int) -> torch.Tensor:
    return torch.from_numpy(rng.standard_normal(shape, dtype=np.float32))


@pytest.mark.parametrize("name", toys.CELLS)
def test_a_state_depends_on_the_steps_up_to_it_alone(name: str) -> None:
    """Padding stands behind a sequence, and what stands there, NaN included, may not reach it."""
    cell = cells.load(name)
    rng = np.random.default_rng(0)
    weights = {key: tensor(rng, *shape) for key, shape in cell.shapes(3, 5).items()}
    inputs = tensor(rng, 2, 9, 3)
    expected, _ = cell.run(inputs, weights, False)
    for num_steps in range(1, 9):
        padded = inputs.clone()
        padded[:, num_steps:] = torch.nan
        outputs, _ = cell.run(padded, weights, False)
        torch.testing.assert_close(outputs[:, :num_steps], expected[:, :num_steps], rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", toys.CELLS)
def test_the_final_state_is_that_of_the_last_step(name: str) -> None:
    cell = cells.load(name)
    weights = {key: torch.rand(shape) for key, shape in cell.shapes(3, 5).items()}
    for num_steps in (1, 2, 3, 10):
        outputs, final = cell.run(torch.randn(2, num_steps, 3), weights, True)
        assert final.equal(outputs[:, -1])
