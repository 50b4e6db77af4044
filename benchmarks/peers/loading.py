"""Parquet files of equally long sequences to a tensor and the classes' numbers."""

import tempfile
from collections.abc import Callable
from pathlib import Path

import datasets
import numpy as np
import pandas as pd
import torch

datasets.disable_progress_bars()

Loaded = tuple[torch.Tensor, torch.Tensor]


def with_pandas(folder: str) -> Callable[[], Loaded]:
    """Return a reading with pandas and `np.stack`."""

    def run() -> Loaded:
        frame = pd.concat([pd.read_parquet(path, columns=["sequence", "label"]) for path in _files(folder)])
        return torch.from_numpy(np.stack(frame["sequence"].to_list())), torch.from_numpy(
            pd.factorize(frame["label"])[0]
        )

    return run


def with_hugging_face(folder: str) -> Callable[[], Loaded]:
    """Return a reading with `datasets`, whose cache is empty each time."""

    def run() -> Loaded:
        with tempfile.TemporaryDirectory() as cache:
            return _from_dataset(folder, cache)

    return run


def with_hugging_face_again(folder: str) -> Callable[[], Loaded]:
    """Return a reading with `datasets`, out of its cache."""
    cache = tempfile.TemporaryDirectory()
    return lambda: _from_dataset(folder, cache.name)


def _from_dataset(folder: str, cache: str) -> Loaded:
    read = datasets.Dataset.from_parquet([str(path) for path in _files(folder)], cache_dir=cache)
    columns = read.with_format("numpy")[:]
    _, labels = np.unique(columns["label"], return_inverse=True)
    return torch.from_numpy(columns["sequence"]), torch.from_numpy(labels)


def _files(folder: str) -> list[Path]:
    return sorted(Path(folder).glob("*.parquet"))
