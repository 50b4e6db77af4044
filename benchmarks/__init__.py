"""Figures that rnnflow promises, measured against the peers it competes with: `python -m benchmarks`."""
