"""Stage export: a checkpoint becomes an ONNX file, if its predictions agree with PyTorch's."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rnnflow.classifier.model import load
from rnnflow.export.graph import build, serialise, version_number
from rnnflow.export.parity import batches, largest_difference
from rnnflow.export.rounding import largest_excess
from rnnflow.params.export import ExportParams
from rnnflow.params.section import load as load_section
from rnnflow.runtime import provenance
from rnnflow.runtime.atomic_writes import atomic_write, write_json
from rnnflow.runtime.errors import InputError, exit_on_input_error
from rnnflow.serving.predictor import METADATA_VERSION, UNKNOWN, Predictor

SHORT_LENGTH = 4
"""Few enough steps for rounding to hide nothing, and enough for each weight to take part."""


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m stages.export", description=__doc__)
    parser.add_argument("--params", type=Path, required=True, help="params.yaml")
    parser.add_argument("--checkpoint", type=Path, required=True, help="the trained model")
    parser.add_argument("--metrics", type=Path, required=True, help="metrics.json of its evaluation")
    parser.add_argument("--calibration", type=Path, required=True, help="calibration.json of its evaluation")
    parser.add_argument("--model", type=Path, required=True, help="the ONNX file, to be written")
    parser.add_argument("--report", type=Path, required=True, help="parity and size, a JSON file to be written")
    arguments = parser.parse_args(argv)
    with exit_on_input_error():
        export(arguments)


def export(arguments: argparse.Namespace) -> None:
    """Write the ONNX file and its report, once both runtimes agree on a grid of batches."""
    settings = load_section(arguments.params, ExportParams, "export")
    torch.set_num_threads(1)  # their number could change the last bits of the difference
    model, description = load(arguments.checkpoint)
    calibration = _read(arguments.calibration, "calibration")
    if calibration["temperature"] != 1:
        model.divide_logits(calibration["temperature"])
    if calibration["threshold"] is not None and UNKNOWN in description.classes:
        raise InputError(
            f"evaluate.max_error_share: a class is called {UNKNOWN!r}, which stands for no answer; rename it with "
            "generate.files.label_names, or set max_error_share to null"
        )
    weights_md5 = provenance.file_md5(arguments.checkpoint)
    metadata = {
        "name": description.name,
        "model": description.model.model_dump(),
        "features": description.features,
        "classes": description.classes,
        "lengths": description.lengths,
        "num_parameters": description.num_parameters,
        "md5": {**description.md5, "weights": weights_md5},
        "metrics": _read(arguments.metrics, "metrics"),
        "calibration": calibration,
        "recipe": description.recipe,
        "profile": description.profile,
        "rnnflow": json.loads(METADATA_VERSION),  # last: a file cut short, at whatever byte, lacks it
    }
    properties = {name: json.dumps(value, sort_keys=True) for name, value in metadata.items()}
    proto = build(model, properties, version_number(weights_md5))
    content = serialise(proto)
    with atomic_write(arguments.model) as temporary:
        temporary.write_bytes(content)
        predictor = Predictor(temporary)
        lengths = [*settings.lengths, description.lengths[-1]]
        difference = largest_difference(model, predictor, settings.batch_sizes, lengths)
        few_steps = SHORT_LENGTH * description.model.downsampling
        asked = batches(model, settings.batch_sizes, [few_steps, *lengths])
        excess = largest_excess(model, predictor, asked, settings.tolerance)
        if not (np.isfinite(difference) and excess <= 1):
            raise InputError(
                f"{arguments.model}: probabilities differ from PyTorch's by {difference:.2g}, their logarithms by "
                f"{excess:.2g} times what rounding explains and export.tolerance allows; nothing was exported"
            )
        report = {"onnx_bytes": len(content), "largest_difference": f"{difference:.1e}"}
        write_json(arguments.report, report)
    print(f"{description.name}: {len(content):,} bytes, within {difference:.1e} of PyTorch")


def _read(path: Path, what: str) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: expected the {what} that stage evaluate wrote: {error}") from None


if __name__ == "__main__":
    main()
