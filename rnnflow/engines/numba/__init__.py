"""Training compiled to machine code by Numba: forward pass, loss and gradient of a batch in one call."""

EXTRA = "fast"
"""What installs it."""
