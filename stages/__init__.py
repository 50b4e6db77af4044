"""What is versioned: one module for each stage of dvc.yaml."""

import gc

gc.set_threshold(
    20_000
)  # to load PyTorch makes a million objects, none of them garbage: a tenth of the time went to look
