"""Training compiled to machine code by Numba: the steps of several batches in one call.

README.md explains it: the way of a batch, the layout of its memory, and why it is built like this.
"""

EXTRA = "fast"
"""What installs it."""
