"""What a machine needs that only predicts: no PyTorch, no training."""
