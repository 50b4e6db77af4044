"""One live stream without rnnflow.

python examples/serving/onnxruntime_alone.py models/gru/streaming/model.stream.onnx
"""

import sys

import numpy as np
import onnxruntime

session = onnxruntime.InferenceSession(sys.argv[1])
state = np.zeros((1, session.get_inputs()[2].shape[1]), np.float32)  # before the first step
for _ in range(5):
    step = np.random.default_rng().standard_normal((1, 1, session.get_inputs()[0].shape[2]), dtype=np.float32)
    probabilities, state = session.run(None, {"steps": step, "lengths": np.array([1]), "state": state})
    print(probabilities.round(3).tolist())
