"""Keras on its PyTorch backend, with nothing printed."""

import os
from collections.abc import Callable

os.environ["KERAS_BACKEND"] = "torch"

import keras

from benchmarks.peers.pausing import one_at_a_time
from benchmarks.peers.workloads import LEARNING_RATE, MAX_GRAD_NORM, NUM_CLASSES, WEIGHT_DECAY, WORKLOADS

LAYERS = {"rnn": "SimpleRNN", "lstm": "LSTM", "gru": "GRU"}
WITHOUT_END = 10**9


def epoch(cell: str, workload: str) -> Callable[[], None]:
    """Return an epoch; sequences of several lengths are masked."""
    keras.utils.set_random_seed(0)
    sizes = WORKLOADS[workload]
    data = sizes.data()
    layers = [keras.Input((sizes.length, sizes.num_features))]
    if sizes.varies:
        layers.append(keras.layers.Masking())
    layers += [getattr(keras.layers, LAYERS[cell])(sizes.hidden_size), keras.layers.Dense(NUM_CLASSES)]
    model = keras.Sequential(layers)
    model.compile(
        keras.optimizers.AdamW(LEARNING_RATE, weight_decay=WEIGHT_DECAY, global_clipnorm=MAX_GRAD_NORM),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )

    def fit(pause: Callable[[], None]) -> None:
        callback = keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: pause())
        model.fit(data.sequences, data.labels, sizes.batch_size, epochs=WITHOUT_END, verbose=0, callbacks=[callback])

    return one_at_a_time(fit)
