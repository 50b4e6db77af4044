"""Section `export`: which ONNX files there are, and how closely they must agree with PyTorch."""

from typing import Annotated, Literal

from pydantic import Field

from rnnflow.params.section import Count, Probability, Section, Size


class ExportParams(Section):
    """Section `export`."""

    tolerance: Annotated[float, Field(gt=0)] = 1e-5
    """What log-probabilities of onnxruntime may differ from PyTorch's beyond what rounding explains."""
    batch_sizes: list[Size] = Field([1, 2, 7, 32], min_length=1)
    lengths: list[Count] = Field([1, 2, 10, 33], min_length=1)
    streaming: bool = True
    """Whether models that can answer step by step get a file for it; those that have to get it anyway."""
    quantize: Literal["int8"] | None = None
    """Whether LSTMs also get a file with weights of 8 bits."""
    int8_max_loss: Probability = 0.01
    """Accuracy on the validation split that 8 bits may cost."""
    int8_max_shift: Probability = 0.2
    """Largest difference of a probability there."""
