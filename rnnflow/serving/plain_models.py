"""Models of nothing but one scaling, cells, pooling and head: what reads their weights out of an ONNX graph shares this."""

from pathlib import Path

import numpy as np

from rnnflow.params.models import ModelParams


def obstacle(params: ModelParams, scalings: str) -> str | None:
    """Return what a model has besides; none if it is plain.

    Args:
        params: of the model.
        scalings: the kinds that are understood, in words.
    """
    if len(params.scalings) > 1 or params.scalings[0] == "compressed":
        return f"scaling: {', '.join(params.scalings)}, expected {scalings}"
    for name, value, plain in (
        ("downsampling", params.downsampling, 1),
        ("differences", params.differences, False),
        ("members", params.members, 1),
        ("stem", params.stem and params.stem.kind, None),
    ):
        if value != plain:
            return f"{name}: {value}, expected {'null' if plain is None else str(plain).lower()}"
    return None


def constants(path: Path) -> dict[str, list[list[np.ndarray]]]:
    """Return the arrays that the nodes of a graph take, those of each node in order, by operator.

    Raises:
        ModuleNotFoundError: onnx is not installed, as where one only predicts.
    """
    import onnx

    graph = onnx.load(path).graph
    arrays = {each.name: onnx.numpy_helper.to_array(each) for each in graph.initializer}
    found: dict[str, list[list[np.ndarray]]] = {}
    for node in graph.node:
        if taken := [arrays[name] for name in node.input if name in arrays]:
            found.setdefault(node.op_type, []).append(taken)
    return found
