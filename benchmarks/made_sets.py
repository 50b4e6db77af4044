"""Sets of sequences made by a seed, with a test part as large as one likes: what the choice of a model is tried on.

Each function draws one sequence and its class. No set is a row of docs/results.md, so that both parts of them may be looked at.
"""

from collections.abc import Callable, Mapping

import numpy as np

from rnnflow.runtime.array_types import Float64
from rnnflow.sequences.dataset import SequenceDataset

Drawn = tuple[Float64[np.ndarray, "step ..."], int]


def short(rng: np.random.Generator) -> Drawn:
    """Two features of 12 steps: the frequency of one, the slope of a random walk."""
    kind, steps = int(rng.integers(3)), np.arange(12)
    wave = np.sin(2 * np.pi * steps / 12 * (1 + 0.3 * kind) + 0.4 * rng.normal())
    walk = np.cumsum(rng.standard_normal(12)) * 0.4 + 0.1 * kind * steps
    return np.stack([wave, walk], 1) + 0.4 * rng.standard_normal((12, 2)), kind


def daily(rng: np.random.Generator) -> Drawn:
    """Two peaks in 24 steps, whose heights and places differ a little."""
    kind, hours = int(rng.integers(2)), np.arange(24)
    morning = np.exp(-(((hours - 8 + 0.4 * rng.normal()) / 2) ** 2)) * (1 + 0.15 * kind)
    evening = np.exp(-(((hours - 19 + 0.5 * rng.normal() + 0.5 * kind) / 2.5) ** 2)) * (1.3 - 0.12 * kind)
    values = morning + evening + 0.15 * np.cumsum(rng.standard_normal(24)) * 0.5
    return (values - values.mean()) / values.std(), kind


def markov(rng: np.random.Generator) -> Drawn:
    """A hidden Markov model for each class, seen through five features for 10 to 40 steps."""
    fixed = np.random.default_rng(7)
    means, moves = fixed.standard_normal((6, 4, 5)) * 0.9, fixed.dirichlet(np.ones(4) * 0.5, (6, 4))
    kind, num_steps, state = int(rng.integers(6)), int(rng.integers(10, 41)), int(rng.integers(4))
    steps = []
    for _ in range(num_steps):
        state = int(rng.choice(4, p=moves[kind, state]))
        steps.append(means[0, state] + 0.15 * means[kind, state] + 0.8 * rng.standard_normal(5))
    return np.array(steps), kind


def control(rng: np.random.Generator) -> Drawn:
    """Control charts (Alcock and Manolopoulos, 1999): level, cycle, trends and shifts."""
    kind, steps = int(rng.integers(6)), np.arange(60)
    values = 30 + 2 * rng.uniform(-3, 3, 60)
    if kind == 1:
        values = values + rng.uniform(10, 15) * np.sin(2 * np.pi * steps / rng.uniform(10, 15))
    if kind in (2, 3):
        values = values + (1 if kind == 2 else -1) * rng.uniform(0.2, 0.5) * steps
    if kind in (4, 5):
        values = values + (1 if kind == 4 else -1) * rng.uniform(7.5, 20) * (steps >= rng.integers(20, 41))
    return values, kind


def level(rng: np.random.Generator) -> Drawn:
    """Random walks of 80 steps that differ in size, and one of them in its mean."""
    kind = int(rng.integers(3))
    walk = np.cumsum(rng.standard_normal(80)) * 0.3
    walk -= walk.mean()
    return walk * (1, 1.6, 2.5)[kind] + 0.3 * rng.standard_normal(80) + (0, 0.5, 0)[kind], kind


def count(rng: np.random.Generator) -> Drawn:
    """One to four spikes in 100 noisy steps."""
    kind = int(rng.integers(4))
    values = 0.5 * rng.standard_normal(100)
    for place in rng.choice(25, kind + 1, replace=False) * 4:
        values[place : place + 3] += [1, 2.5, 1]
    return values, kind


def motion(rng: np.random.Generator) -> Drawn:
    """Six features of 100 steps that swing together: frequency, size and form."""
    kind, steps = int(rng.integers(4)), np.arange(100)
    frequency = (0.04, 0.06, 0.06, 0.1)[kind] * rng.uniform(0.85, 1.15)
    size = (1, 1, 1.8, 2.5)[kind] * rng.uniform(0.6, 1.5)
    phase = 2 * np.pi * frequency * steps + rng.random() * 6
    lead = 0.8 * (kind == 1)
    features = [np.sin(phase + feature + lead * (feature % 2)) * size * (1 + 0.2 * feature) for feature in range(6)]
    swings = np.stack(features, 1)
    return np.sign(swings) * abs(swings) ** (1.5 if kind == 1 else 1) + 0.5 * rng.standard_normal((100, 6)), kind


def orders(rng: np.random.Generator) -> Drawn:
    """A shape somewhere in 120 steps, of any size over five orders of magnitude."""
    kind, steps = int(rng.integers(3)), np.arange(120)
    place, width = rng.integers(20, 100), rng.uniform(6, 12)
    at = (steps - place) / width
    shape = (np.exp(-(at**2) / 2), np.exp(-abs(at)) * np.sign(at), (1 - at**2) * np.exp(-(at**2) / 2))[kind]
    return (shape + 0.12 * rng.standard_normal(120)) * 10 ** rng.uniform(-2, 3), kind


def two_patterns(rng: np.random.Generator) -> Drawn:
    """Two steps up or down in noise (Geurts, 2002): which of them, and in which order."""
    kind = int(rng.integers(4))
    values = rng.standard_normal(128)
    first, second = rng.integers(16, 30, 2)
    begin = rng.integers(0, 70 - first)
    later = rng.integers(begin + first + 4, 128 - second)
    for sign, start, size in ((1 if kind & 1 else -1, begin, first), (1 if kind & 2 else -1, later, second)):
        half = size // 2
        values[start : start + half] = -5 * sign
        values[start + half : start + size] = 5 * sign
    return values, kind


def order(rng: np.random.Generator) -> Drawn:
    """A bump and a wave in 200 steps: which comes first."""
    kind, steps = int(rng.integers(2)), np.arange(200)
    first, second = np.sort(rng.integers(15, 185, 2))
    second = max(second, first + 20)
    bump, wave = (second, first) if kind else (first, second)
    of_bump, of_wave = steps - bump, steps - wave
    shapes = np.exp(-((of_bump / 5) ** 2) / 2) + np.exp(-((of_wave / 5) ** 2) / 2) * np.sin(of_wave / 2) * 1.5
    return 2 * shapes + 0.4 * rng.standard_normal(200), kind


def varlen(rng: np.random.Generator) -> Drawn:
    """Gestures that are made in 30 to 350 steps."""
    kind, num_steps = int(rng.integers(6)), int(rng.integers(30, 350))
    at = 2 * np.pi * np.linspace(0, 1, num_steps) ** rng.uniform(0.7, 1.4)
    slow = np.sin(at * (1, 1.5, 2, 2, 2.5, 3)[kind] + (kind == 3)) * rng.uniform(0.6, 1.6)
    return slow + 0.6 * np.sin(at * 4 + kind) + 0.35 * rng.standard_normal(num_steps), kind


def outline(rng: np.random.Generator) -> Drawn:
    """Smooth outlines of 250 steps that differ in the form and place of a notch."""
    kind, at = int(rng.integers(4)), np.arange(250) / 250 * 2 * np.pi
    values = np.cos(2 * at + 0.2 * rng.normal()) + 0.4 * np.cos(3 * at + 0.5 * rng.normal())
    values = values + 0.15 * np.cos(5 * at + rng.normal())
    place, width = np.pi * (0.6 + 0.09 * rng.normal()) + (0, 0, 0.5, 0.5)[kind], 0.12 if kind % 2 else 0.2
    values = values + 0.8 * np.exp(-(((at - place) / width) ** 2) / 2)
    values = values - (kind % 2) * 0.5 * np.exp(-(((at - place - 0.5) / width) ** 2) / 2)
    values = np.roll(
        values + np.convolve(rng.standard_normal(270), np.ones(21) / 21, "valid") * 0.15, rng.integers(-20, 20)
    )
    return (values - values.mean()) / values.std(), kind


def freq(rng: np.random.Generator) -> Drawn:
    """A tone in 300 noisy steps: its frequency."""
    kind = int(rng.integers(4))
    frequency = (0.03, 0.036, 0.043, 0.052)[kind] * (1 + 0.03 * rng.normal())
    tone = np.sin(2 * np.pi * (frequency * np.arange(300) + rng.random())) * rng.uniform(0.5, 2)
    return tone + 0.7 * rng.standard_normal(300), kind


def arproc(rng: np.random.Generator) -> Drawn:
    """Autoregressive processes of order two, 400 steps."""
    kind = int(rng.integers(3))
    first, second = ((1.2, -0.5), (1.1, -0.5), (1.2, -0.65))[kind]
    noise, values = rng.standard_normal(450), np.zeros(450)
    for step in range(2, 450):
        values[step] = first * values[step - 1] + second * values[step - 2] + noise[step]
    return values[50:], kind


def device(rng: np.random.Generator) -> Drawn:
    """The power of a device that switches on and off for 1,000 steps."""
    kind, num_steps = int(rng.integers(5)), 1000
    values = 0.02 * abs(rng.standard_normal(num_steps))
    start = int(rng.integers(0, 80))
    on, off, size = ((60, 100, 1), (60, 60, 1), (30, 50, 1), (60, 100, 1.4), (120, 150, 1))[kind]
    while start < num_steps:
        duration = int(on * rng.uniform(0.7, 1.3))
        decay = np.exp(-np.arange(min(duration, num_steps - start)) / 5) * (kind != 1)
        values[start : start + duration] += size * rng.uniform(0.85, 1.15) * (1 + 0.8 * decay)
        start += duration + int(off * rng.uniform(0.7, 1.3))
    return values * rng.uniform(0.8, 1.25), kind


Draw = Callable[[np.random.Generator], Drawn]
SETS: Mapping[Draw, tuple[int, int]] = {
    short: (90, 1000), daily: (60, 1000), markov: (150, 1000), control: (60, 1000), level: (90, 1000), count: (120, 1000),
    motion: (40, 1000), orders: (60, 1000), two_patterns: (60, 1000), order: (80, 1000), varlen: (60, 600),
    outline: (36, 1000), freq: (60, 1000), arproc: (90, 600), device: (60, 400),
}  # fmt: skip
"""How many sequences each has to train on, and to test."""


def parts(draw: Draw) -> tuple[SequenceDataset, SequenceDataset]:
    """Return what is trained on, and the test part."""
    rng = np.random.default_rng(1000)
    num_train, num_test = SETS[draw]
    drawn = [draw(rng) for _ in range(num_train + num_test)]
    classes = tuple(str(kind) for kind in sorted({kind for _, kind in drawn}))
    return _dataset(drawn[:num_train], classes), _dataset(drawn[num_train:], classes)


def _dataset(drawn: list[Drawn], classes: tuple[str, ...]) -> SequenceDataset:
    sequences = [values.reshape(len(values), -1).astype(np.float32) for values, _ in drawn]
    offsets = np.concatenate([[0], np.cumsum([len(values) for values in sequences])])
    labels = np.array([kind for _, kind in drawn], np.int32)
    features = tuple(f"x{index}" for index in range(sequences[0].shape[1]))
    return SequenceDataset(np.concatenate(sequences), offsets, labels, features, classes)
