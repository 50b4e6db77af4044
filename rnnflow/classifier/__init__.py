"""What is trained, and how a checkpoint keeps it."""
