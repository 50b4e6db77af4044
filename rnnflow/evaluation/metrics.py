"""From probabilities to metrics."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int64

from rnnflow.classifier.predict_split import Labels, Probabilities, log_loss_and_accuracy


def overall(labels: Labels, probabilities: Probabilities, majority: int) -> dict[str, object]:
    """Return the figures of a split.

    Args:
        labels: the true classes, as indices.
        probabilities: of each class.
        majority: the most frequent class of the train split, which the baseline always answers.
    """
    from scipy.stats import binomtest  # these two load in seconds
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
