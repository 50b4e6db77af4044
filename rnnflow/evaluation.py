"""From a classifier and a split to probabilities, and from those to metrics."""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float32, Int, Int64

from rnnflow.batches import buckets, lengths_of, pad
from rnnflow.dataset import SequenceDataset
from rnnflow.preparation import Lengths, Preparation

Answer = Callable[[Float32[np.ndarray, "batch time feature"], Lengths], Float32[np.ndarray, "batch class"]]
Labels = Int[np.ndarray, " sequence"]
Probabilities = Float32[np.ndarray, "sequence class"]


def predict(answer: Answer, preparation: Preparation, dataset: SequenceDataset, batch_size: int) -> Probabilities:
    """Return the probability of each class for each sequence, in the order of the data set.

    Args:
        answer: returns logits of prepared sequences with their lengths, none where all are as long as the array.
        preparation: of the classifier.
        dataset: raw sequences.
        batch_size: sequences that are answered together.
    """
    offsets = dataset.offsets
    probabilities = np.empty((len(dataset), len(dataset.classes)), dtype=np.float32)
    for bucket in buckets(np.arange(len(dataset)), offsets, batch_size):
        for start in range(0, len(bucket), batch_size):
            rows = bucket[start : start + batch_size]
            lengths = lengths_of(rows, offsets)
            valid = lengths if lengths[0] != lengths[-1] else None
            prepared, num_steps = preparation(pad(dataset.values, offsets, rows), valid)
            probabilities[rows] = softmax(answer(prepared, num_steps))
    return probabilities


def softmax(logits: Float32[np.ndarray, "sequence class"]) -> Probabilities:
    """Return probabilities."""
    shares = np.exp(logits.astype(np.float64) - logits.max(1, keepdims=True))
    return (shares / shares.sum(1, keepdims=True)).astype(np.float32)


def log_loss_and_accuracy(labels: Labels, probabilities: Probabilities) -> tuple[float, float]:
    """Return the mean cross-entropy and the share of sequences whose most probable class is right."""
    right = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    loss = -np.log(np.maximum(right, np.finfo(np.float32).tiny)).mean()
    return float(loss), float((probabilities.argmax(1) == labels).mean())


def metrics(labels: Labels, probabilities: Probabilities, majority: int) -> dict[str, object]:
    """Return the figures of a split.

    Args:
        labels: the true classes, as indices.
        probabilities: of each class.
        majority: the most frequent class of the train split, which the baseline always answers.
    """
    from scipy.stats import binomtest  # these two load in seconds, and training uses only what is above
    from sklearn.metrics import f1_score, recall_score

    predictions = probabilities.argmax(1)
    loss, accuracy = log_loss_and_accuracy(labels, probabilities)
    interval = binomtest(int((predictions == labels).sum()), len(labels)).proportion_ci(method="wilson")
    return {
        "accuracy": accuracy,
        "accuracy_low": float(interval.low),
        "accuracy_high": float(interval.high),
        # of the classes that are there: balanced_accuracy_score does the same but warns of those that are not
        "balanced_accuracy": float(recall_score(labels, predictions, labels=np.unique(labels), average="macro")),
        "macro_f1": float(f1_score(labels, predictions, average="macro", zero_division=0.0)),
        "log_loss": loss,
        "roc_auc": _roc_auc(labels, probabilities),
        "baseline_accuracy": float((labels == majority).mean()),
        "num_sequences": len(labels),
    }


def per_class(labels: Labels, probabilities: Probabilities, classes: Sequence[str]) -> list[dict[str, object]]:
    """Return precision, recall, F1 and number of sequences of each class; 0 where a figure is undefined."""
    from sklearn.metrics import precision_recall_fscore_support

    figures = precision_recall_fscore_support(
        labels, probabilities.argmax(1), labels=np.arange(len(classes)), zero_division=0.0
    )
    return [
        {
            "class": name,
            "precision": float(precision),
            "recall": float(recall),
            "f1": float(f1),
            "support": int(support),
        }
        for name, precision, recall, f1, support in zip(classes, *figures, strict=True)
    ]


def _roc_auc(labels: Labels, probabilities: Probabilities) -> float | None:
    """Return the area under the ROC curve, one class against the rest; none where a class is absent."""
    from sklearn.metrics import roc_auc_score

    num_classes = probabilities.shape[1]
    if len(np.unique(labels)) < num_classes:
        return None
    if num_classes == 2:
        return float(roc_auc_score(labels, probabilities[:, 1]))
    one_hot = np.eye(num_classes, dtype=bool)[labels]
    return float(roc_auc_score(one_hot, probabilities, average="macro"))


def confusion(labels: Labels, probabilities: Probabilities, classes: Sequence[str]) -> list[dict[str, object]]:
    """Return how many sequences of each actual class were predicted as each class."""
    from sklearn.metrics import confusion_matrix

    counts = confusion_matrix(labels, probabilities.argmax(1), labels=np.arange(len(classes)))
    return [
        {"actual": actual, "predicted": predicted, "count": int(counts[row, column])}
        for row, actual in enumerate(classes)
        for column, predicted in enumerate(classes)
    ]


def calibration(labels: Labels, probabilities: Probabilities, num_bins: int) -> list[dict[str, object]]:
    """Return confidence and accuracy of the predictions, in bins of equal width of the confidence."""
    confidence = probabilities.max(1).astype(np.float64)
    is_right = probabilities.argmax(1) == labels
    bins = np.minimum((confidence * num_bins).astype(np.int64), num_bins - 1)
    return [
        {
            "confidence": float(confidence[inside].mean()),
            "accuracy": float(is_right[inside].mean()),
            "count": int(inside.sum()),
        }
        for inside in (bins == index for index in range(num_bins))
        if inside.any()
    ]


def length_slices(
    labels: Labels, probabilities: Probabilities, lengths: Int64[np.ndarray, " sequence"], num_slices: int
) -> list[dict[str, object]]:
    """Return the accuracy for short to long sequences, in slices of about as many sequences each."""
    is_right = probabilities.argmax(1) == labels
    edges = np.unique(np.quantile(lengths, np.linspace(0, 1, num_slices + 1), method="higher"))
    slices = np.clip(np.searchsorted(edges, lengths, side="right") - 1, 0, max(0, len(edges) - 2))
    return [
        {
            "shortest": int(lengths[inside].min()),
            "longest": int(lengths[inside].max()),
            "accuracy": float(is_right[inside].mean()),
            "count": int(inside.sum()),
        }
        for inside in (slices == index for index in range(max(1, len(edges) - 1)))
        if inside.any()
    ]
