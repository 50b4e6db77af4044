"""Training in PyTorch, the reference: every feature, on a CPU or a GPU."""

EXTRA = "pipeline"
"""What installs it."""
