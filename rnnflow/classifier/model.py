"""The classifier: preparation, stem, recurrent layers, pooling, head; or the mean of several. Padding never changes its output.

Shapes: B batch, T time, F feature, D directions (1 or 2), H hidden_size, C class.
"""

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from rnnflow.classifier import checkpoint
from rnnflow.classifier.layers import RecurrentLayer, Stem
from rnnflow.classifier.masking import Valid, pool, running_pool
from rnnflow.classifier.parameters import Arrays
from rnnflow.classifier.preparation import Lengths, Preparation
from rnnflow.params.models import ModelParams
from rnnflow.runtime.array_types import Float, Float32
from rnnflow.runtime.errors import InputError


class Classifier(nn.Module):
    """What answers about sequences of any length.

    Its parameters hold nothing yet: `restored` and `load` fill them.

    Args:
        params: the architecture.
        num_features: features of a time step.
        num_classes: at least two; a binary task has two.
    """

    def __init__(self, params: ModelParams, num_features: int, num_classes: int) -> None:
        super().__init__()
        self.params = params
        self.num_classes = num_classes
        self.preparation = Preparation(params, num_features)

    @property
    def num_parameters(self) -> int:
        return sum(parameter.numel() for parameter in self.parameters())

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return next(self.parameters()).device

    @abstractmethod
    def classify(self, prepared: Float[Tensor, "batch time feature"], lengths: Valid) -> Float[Tensor, "batch class"]:
        """Return the logits of prepared sequences."""

    @abstractmethod
    def classify_steps(
        self, prepared: Float[Tensor, "batch time feature"], lengths: Valid
    ) -> Float[Tensor, "batch step class"]:
        """Return the logits of what each sequence is up to each step of the layers, of a model that can answer step by step."""

    @abstractmethod
    def divide_logits(self, temperature: float) -> None:
        """Divide the logits from now on, which changes probabilities and never the most probable class."""

    def forward(
        self, sequences: Float32[np.ndarray, "batch time feature"], lengths: Lengths
    ) -> Float[Tensor, "batch class"]:
        """Return the logits. What stands in the padding, NaN included, is never read.

        Where the model refuses missing values, a sequence with one has NaN for logits.
        """
        prepared, num_steps = self.preparation(sequences, lengths)
        valid = None if num_steps is None else torch.from_numpy(num_steps).to(self.device)
        logits = self.classify(torch.from_numpy(prepared).to(self.device), valid)
        if self.params.missing == "refuse":
            is_refused = torch.from_numpy(self.preparation.refused(sequences, lengths)).to(self.device)
            logits = logits.masked_fill(is_refused, torch.nan)
        return logits

    @torch.inference_mode()
    def logits(
        self, prepared: Float32[np.ndarray, "batch time feature"], lengths: Lengths
    ) -> Float32[np.ndarray, "batch class"]:
        """Return the logits of prepared sequences."""
        valid = None if lengths is None else torch.from_numpy(lengths).to(self.device)
        answers: Float32[np.ndarray, "batch class"]
        answers = self.classify(torch.from_numpy(prepared).to(self.device), valid).cpu().numpy()
        return answers

    @torch.inference_mode()
    def step_logits(
        self, prepared: Float32[np.ndarray, "batch time feature"], lengths: Lengths
    ) -> Float32[np.ndarray, "batch step class"]:
        """Return the logits of what each sequence is up to each step of the layers, of a model that can answer step by step."""
        assert self.params.streaming_obstacle is None
        valid = None if lengths is None else torch.from_numpy(lengths).to(self.device)
        answers: Float32[np.ndarray, "batch step class"]
        answers = self.classify_steps(torch.from_numpy(prepared).to(self.device), valid).cpu().numpy()
        return answers


class SequenceClassifier(Classifier):
    """A stem, if there is one, recurrent layers, pooling and a head."""

    def __init__(self, params: ModelParams, num_features: int, num_classes: int) -> None:
        super().__init__(params, num_features, num_classes)
        size = self.preparation.num_outputs
        self.stem = Stem(params.stem, size) if params.stem else None
        size = params.stem.output_size if params.stem else size
        self.layers = nn.ModuleList()
        for _ in range(params.num_layers):
            self.layers.append(RecurrentLayer(params.cell, size, params.hidden_size, params.bidirectional))
            size = params.output_size
        self.head = nn.Linear(params.pooled_size, num_classes)

    def classify(
        self,
        prepared: Float[Tensor, "batch time feature"],
        lengths: Valid,
        step_mask: Float[Tensor, "layer batch step output"] | None = None,
        head_mask: Float[Tensor, "batch pooled"] | None = None,
        *,
        is_training: bool = False,
    ) -> Float[Tensor, "batch class"]:
        """Return the logits of prepared sequences.

        Args:
            prepared: what the first layer reads.
            lengths: valid steps of each.
            step_mask: dropout, as factors of what each layer after the first reads.
            head_mask: dropout, as factors of what the head reads.
            is_training: whether the norms of a stem go by this batch, and follow it.
        """
        outputs, skip = prepared, None
        if self.stem:
            outputs, lengths, skip = self.stem(prepared, lengths, is_training)
        for index, layer in enumerate(self.layers):
            if index and step_mask is not None:
                outputs = outputs * step_mask[index - 1]
            outputs, final = layer(outputs, lengths)
        pooled = final if self.params.pooling == "last" else pool(outputs, lengths, self.params.pooling)
        if skip is not None:
            pooled = torch.cat([pooled, skip], dim=1)
        logits: Tensor = self.head(pooled if head_mask is None else pooled * head_mask)
        return logits

    def classify_steps(
        self, prepared: Float[Tensor, "batch time feature"], lengths: Valid
    ) -> Float[Tensor, "batch step class"]:
        """Return the logits of what each sequence is up to each step of the layers."""
        outputs, skip = prepared, None
        if self.stem:
            outputs, _, skip = self.stem(outputs, lengths, is_training=False, by_step=True)
        for layer in self.layers:
            outputs, _ = layer(outputs, None)
        if self.params.pooling != "last":
            outputs = running_pool(outputs, self.params.pooling)
        logits: Tensor = self.head(outputs if skip is None else torch.cat([outputs, skip], dim=2))
        return logits

    @torch.no_grad()
    def divide_logits(self, temperature: float) -> None:
        """Have the head do it."""
        for parameter in self.head.parameters():
            parameter.div_(temperature)


class Ensemble(Classifier):
    """The mean of the probabilities of several classifiers that differ by their seed (Lakshminarayanan et al., 2017).

    They share the preparation. Its logits are the logarithms of the means, less a constant.
    """

    def __init__(self, params: ModelParams, num_features: int, num_classes: int) -> None:
        super().__init__(params, num_features, num_classes)
        one = params.model_copy(update={"members": 1})
        self.members = nn.ModuleList(SequenceClassifier(one, num_features, num_classes) for _ in range(params.members))
        self.temperature = 1.0

    def __iter__(self) -> Iterator[SequenceClassifier]:
        """Yield its members."""
        for member in self.members:
            assert isinstance(member, SequenceClassifier)
            yield member

    def classify(self, prepared: Float[Tensor, "batch time feature"], lengths: Valid) -> Float[Tensor, "batch class"]:
        """Return the logits of prepared sequences."""
        return self._mean([member.classify(prepared, lengths) for member in self])

    def classify_steps(
        self, prepared: Float[Tensor, "batch time feature"], lengths: Valid
    ) -> Float[Tensor, "batch step class"]:
        """Return the logits of what each sequence is up to each step of the layers."""
        return self._mean([member.classify_steps(prepared, lengths) for member in self])

    def _mean(self, of_members: Sequence[Float[Tensor, "*batch class"]]) -> Float[Tensor, "*batch class"]:
        """Return the logits of the mean of the members' probabilities."""
        return torch.stack([logits.log_softmax(-1) for logits in of_members]).logsumexp(0) / self.temperature

    def divide_logits(self, temperature: float) -> None:
        """Divide after the mean: a temperature within each member would leave the mean too unsure (Rahaman and Thiery, 2021)."""
        self.temperature *= temperature


def restored(arrays: Arrays, params: ModelParams, num_features: int, num_classes: int) -> Classifier:
    """Return a classifier, on the CPU and ready to predict, from its weights and scaling.

    Raises:
        ValueError: they are others than those of this architecture.
    """
    with torch.device("meta"):
        model = (Ensemble if params.members > 1 else SequenceClassifier)(params, num_features, num_classes)
    model.preparation.restore(arrays)
    scaling = model.preparation.arrays()
    weights = {name: torch.tensor(array) for name, array in arrays.items() if name not in scaling}
    try:
        model.load_state_dict(weights, assign=True)
    except RuntimeError as error:
        raise ValueError(" ".join(str(error).split())) from None
    return model.eval()


def load(path: Path) -> tuple[Classifier, checkpoint.Description]:
    """Return the classifier of a checkpoint, on the CPU and ready to predict, and its description.

    Raises:
        InputError: the file is missing, damaged, not a checkpoint of this program or of another version.
    """
    arrays, description = checkpoint.load(path)
    try:
        model = restored(arrays, description.model, len(description.features), len(description.classes))
    except ValueError as error:
        raise InputError(f"{path}: weights do not fit their description: {error}") from None
    return model, description
