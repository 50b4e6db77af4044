"""Two live streams side by side.

python examples/serving/many_streams.py models/gru/streaming/model.stream.onnx
"""

import sys

import numpy as np

from rnnflow.serving.streaming import StreamingPredictor

predictor = StreamingPredictor(sys.argv[1], capacity=10_000, idle_seconds=600)
num_features = len(predictor.model.features)
for _ in range(5):
    steps = np.random.default_rng().standard_normal((2, 1, num_features), dtype=np.float32)  # stream, time, feature
    found = predictor.push_many(["sensor 1", "sensor 2"], steps)
    print(found.num_steps, found.predictions, found.probabilities.round(3).tolist(), found.decisions)
