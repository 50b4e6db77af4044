"""Lean eager PyTorch over packed sequences."""

from collections.abc import Callable

from benchmarks.peers import lean


def epoch(cell: str, workload: str) -> Callable[[], float]:
    """Return an epoch over sequences of several lengths."""
    return lean.epoch(cell, workload, packs=True)
