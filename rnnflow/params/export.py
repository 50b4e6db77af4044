"""Section `export`: how closely the ONNX file must agree with PyTorch."""

from typing import Annotated

from pydantic import Field

from rnnflow.params.section import Count, Section


class ExportParams(Section):
    """Section `export`."""

    tolerance: Annotated[float, Field(gt=0)] = 1e-5
    """Largest difference between the probabilities of PyTorch and of onnxruntime."""
    batch_sizes: list[Count] = Field([1, 2, 7, 32], min_length=1)
    lengths: list[Count] = Field([1, 2, 10, 33], min_length=1)
