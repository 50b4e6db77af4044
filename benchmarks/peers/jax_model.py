"""The classifier in JAX, on one core: a compiled call a step, or the whole epoch as one scan."""

import os
from collections.abc import Callable
from typing import Any

os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false"  # read when jax is imported

import jax
import numpy as np
from jax import Array, lax
from jax import numpy as jnp

from benchmarks.peers.workloads import LEARNING_RATE, MAX_GRAD_NORM, NUM_CLASSES, WEIGHT_DECAY, WORKLOADS, Workload

GATES = {"rnn": 1, "lstm": 4, "gru": 3}
BETAS, EPSILON = (0.9, 0.999), 1e-8


def epoch(cell: str, workload: str) -> Callable[[], float]:
    """Return an epoch that calls the compiled step for each batch."""
    sizes, step, state, sequences, labels = _prepared(cell, workload)
    step = jax.jit(step, donate_argnums=0)
    rng = np.random.default_rng(0)

    def run() -> float:
        nonlocal state
        order = rng.permutation(sizes.num_sequences)
        shuffled, targets = sequences[order], labels[order]
        losses = []
        for start in range(0, sizes.num_sequences, sizes.batch_size):
            rows = slice(start, start + sizes.batch_size)
            state, loss = step(state, (shuffled[rows], targets[rows]))
            losses.append(loss)
        return float(jnp.stack(losses).mean())

    return run


def scanned(cell: str, workload: str) -> Callable[[], float]:
    """Return an epoch that is one compiled call; a last batch with fewer sequences has its own step in it."""
    sizes, step, state, sequences, labels = _prepared(cell, workload)
    num_whole = sizes.num_sequences // sizes.batch_size * sizes.batch_size

    def whole(state: Any, order: Array) -> tuple[Any, Array]:
        shuffled, targets = jnp.asarray(sequences)[order], jnp.asarray(labels)[order]
        batches = (each[:num_whole].reshape(-1, sizes.batch_size, *each.shape[1:]) for each in (shuffled, targets))
        state, losses = lax.scan(step, state, tuple(batches))
        if num_whole < sizes.num_sequences:
            state, last = step(state, (shuffled[num_whole:], targets[num_whole:]))
            losses = jnp.append(losses, last)
        return state, losses.mean()

    compiled = jax.jit(whole, donate_argnums=0)
    rng = np.random.default_rng(0)

    def run() -> float:
        nonlocal state
        state, loss = compiled(state, rng.permutation(sizes.num_sequences))
        return float(loss)

    return run


def _prepared(cell: str, workload: str) -> tuple[Workload, Callable[..., Any], Any, np.ndarray, np.ndarray]:
    """Return the sizes, a step of training, its first state, the sequences and their labels."""
    sizes = WORKLOADS[workload]
    data = sizes.data()
    weights = _weights(cell, sizes)
    zeros = {name: jnp.zeros_like(value) for name, value in weights.items()}
    state = (weights, zeros, {name: value.copy() for name, value in zeros.items()}, jnp.zeros(()))

    def loss_of(weights: dict[str, Array], sequences: Array, labels: Array) -> Array:
        final = _run(cell, weights, sequences)
        logits = jax.nn.log_softmax(final @ weights["head"] + weights["head_bias"])
        return -jnp.take_along_axis(logits, labels[:, None], axis=1).mean()

    def step(state: Any, batch: tuple[Array, Array]) -> tuple[Any, Array]:
        weights, first, second, count = state
        loss, gradient = jax.value_and_grad(loss_of)(weights, *batch)
        norm = jnp.sqrt(sum((value**2).sum() for value in gradient.values()))
        factor, count = jnp.minimum(1.0, MAX_GRAD_NORM / (norm + 1e-6)), count + 1
        gradient = {name: value * factor for name, value in gradient.items()}
        first = {name: BETAS[0] * first[name] + (1 - BETAS[0]) * value for name, value in gradient.items()}
        second = {name: BETAS[1] * second[name] + (1 - BETAS[1]) * value**2 for name, value in gradient.items()}
        rate, root = LEARNING_RATE / (1 - BETAS[0] ** count), jnp.sqrt(1 - BETAS[1] ** count)
        weights = {
            name: value * (1 - LEARNING_RATE * WEIGHT_DECAY)
            - rate * first[name] / (jnp.sqrt(second[name]) / root + EPSILON)
            for name, value in weights.items()
        }
        return (weights, first, second, count), loss

    return sizes, step, state, data.sequences, data.labels.astype(np.int32)


def _weights(cell: str, sizes: Workload) -> dict[str, Array]:
    rng = np.random.default_rng(0)
    rows, hidden = GATES[cell] * sizes.hidden_size, sizes.hidden_size
    shapes = {
        "inputs": (sizes.num_features, rows), "states": (hidden, rows), "bias": (rows,), "state_bias": (rows,),
        "head": (hidden, NUM_CLASSES), "head_bias": (NUM_CLASSES,),
    }  # fmt: skip
    bound = hidden**-0.5
    return {name: jnp.asarray(rng.uniform(-bound, bound, shape), jnp.float32) for name, shape in shapes.items()}


def _run(cell: str, weights: dict[str, Array], sequences: Array) -> Array:
    """Return the last states (batch, hidden); the products with the inputs of all steps come first, as one."""
    of_inputs = sequences.swapaxes(0, 1) @ weights["inputs"] + weights["bias"]  # (time, batch, gate * hidden)
    zero = jnp.zeros((sequences.shape[0], weights["states"].shape[0]))

    def rnn(state: Array, inputs: Array) -> tuple[Array, None]:
        return jnp.tanh(inputs + state @ weights["states"] + weights["state_bias"]), None

    def lstm(states: tuple[Array, Array], inputs: Array) -> tuple[tuple[Array, Array], None]:
        state, memory = states
        gates = inputs + state @ weights["states"] + weights["state_bias"]
        input_gate, forget_gate, candidate, output_gate = jnp.split(gates, 4, axis=1)
        memory = jax.nn.sigmoid(forget_gate) * memory + jax.nn.sigmoid(input_gate) * jnp.tanh(candidate)
        return (jax.nn.sigmoid(output_gate) * jnp.tanh(memory), memory), None

    def gru(state: Array, inputs: Array) -> tuple[Array, None]:
        of_state = state @ weights["states"] + weights["state_bias"]
        resets, updates, candidate = jnp.split(inputs, 3, axis=1)
        reset, update, of_candidate = jnp.split(of_state, 3, axis=1)
        kept = jax.nn.sigmoid(updates + update)
        return (1 - kept) * jnp.tanh(candidate + jax.nn.sigmoid(resets + reset) * of_candidate) + kept * state, None

    if cell == "lstm":
        return lax.scan(lstm, (zero, zero), of_inputs)[0][0]
    return lax.scan({"rnn": rnn, "gru": gru}[cell], zero, of_inputs)[0]
