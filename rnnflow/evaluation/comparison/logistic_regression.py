"""Logistic regression with the penalty of scikit-learn's, which takes two seconds of CPU to load: a quarter of the stage."""

import numpy as np

from rnnflow.runtime.array_types import Float, Float64, Int


class LogisticRegression:
    """Of standardised features, in which what is missing is the mean.

    The loss is that of scikit-learn's `LogisticRegression()`: the mean log loss and half the squared weights by the number of
    rows. Of two classes the first has no weights.
    """

    def fit(self, rows: Float[np.ndarray, "row feature"], labels: Int[np.ndarray, " row"]) -> "LogisticRegression":
        from scipy.optimize import minimize  # loads in a moment

        self.mean = np.nan_to_num(np.nanmean(rows, 0, dtype=np.float64))
        std = np.nan_to_num(np.nanstd(rows, 0, dtype=np.float64))
        self.std = np.where(std > 0, std, 1.0)
        self.classes_, targets = np.unique(labels, return_inverse=True)
        features, size = self._standardised(rows), len(rows)
        is_of_class = np.eye(len(self.classes_))[targets]
        shape = features.shape[1], len(self.classes_) - (len(self.classes_) == 2)

        def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
            weights = flat.reshape(shape)
            penalised = np.vstack([weights[:-1], np.zeros(shape[1])])  # the last row is of the constant
            probabilities = _softmax(features @ weights, len(self.classes_))
            losses = -np.log(np.maximum(probabilities[np.arange(size), targets], np.finfo(np.float64).tiny))
            errors = (probabilities - is_of_class)[:, -shape[1] :]
            return losses.mean() + (penalised**2).sum() / 2 / size, ((features.T @ errors + penalised) / size).ravel()

        found = minimize(
            loss, np.zeros(shape).ravel(), jac=True, method="L-BFGS-B", options={"maxiter": 1000, "gtol": 1e-5}
        )
        self.weights = found.x.reshape(shape)
        return self

    def predict_proba(self, rows: Float[np.ndarray, "row feature"]) -> Float64[np.ndarray, "row class"]:
        return _softmax(self._standardised(rows) @ self.weights, len(self.classes_))

    def _standardised(self, rows: np.ndarray) -> Float64[np.ndarray, "row input"]:
        return np.column_stack([np.nan_to_num((rows - self.mean) / self.std), np.ones(len(rows))])


def _softmax(logits: Float64[np.ndarray, "row free"], num_classes: int) -> Float64[np.ndarray, "row class"]:
    if logits.shape[1] < num_classes:
        logits = np.column_stack([np.zeros(len(logits)), logits])
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)
