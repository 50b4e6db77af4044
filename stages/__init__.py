"""What is versioned: one module for each stage of dvc.yaml."""

import gc

# To load PyTorch makes a million objects, none of them garbage; looking for some took a tenth of the time.
gc.set_threshold(20_000)
