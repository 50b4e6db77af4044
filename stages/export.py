"""Stage export: a checkpoint becomes ONNX files: of whole sequences, step by step, of 8 bits, if they answer as PyTorch."""

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rnnflow.classifier.checkpoint import Description
from rnnflow.classifier.model import Classifier, load
from rnnflow.export import streaming_parity
from rnnflow.export.graph import build, build_streaming, serialise, version_number
from rnnflow.export.parity import batches, largest_difference
from rnnflow.export.rounding import Batches, Runtime, largest_excess
from rnnflow.export.streaming_parity import InPieces, prefixes
from rnnflow.params.export import ExportParams
from rnnflow.params.section import checked
from rnnflow.params.section import load as load_section
from rnnflow.runtime import json_text, provenance
from rnnflow.runtime.atomic_writes import atomic_folders, atomic_write, write_json
from rnnflow.runtime.errors import InputError, exit_on_input_error
from rnnflow.runtime.unchanged import unchanged_files, unchanged_params
from rnnflow.serving.predictor import METADATA_VERSION, UNKNOWN, CalibrationContent, Predictor
from rnnflow.serving.streaming_model import StreamingModel

SHORT_LENGTH = 4
"""Few enough steps for rounding to hide nothing, and enough for each weight to take part."""
EVALUATED = "the calibration that stage evaluate wrote"
STREAMING_MODEL, LAYOUT = "model.stream.onnx", "state.json"
INT8_MODEL, COST = "model.int8.onnx", "cost.json"


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m stages.export", description=__doc__)
    parser.add_argument("--params", type=Path, required=True, help="params.yaml")
    parser.add_argument("--checkpoint", type=Path, required=True, help="the trained model")
    parser.add_argument("--metrics", type=Path, required=True, help="metrics.json of its evaluation")
    parser.add_argument("--calibration", type=Path, required=True, help="calibration.json of its evaluation")
    parser.add_argument("--validation", type=Path, required=True, help="folder of the validation split")
    parser.add_argument("--model", type=Path, required=True, help="the ONNX file, to be written")
    parser.add_argument(
        "--streaming", type=Path, required=True, help="folder of the streaming ONNX file, to be written"
    )
    parser.add_argument("--int8", type=Path, required=True, help="folder of the one of 8 bits, to be written")
    parser.add_argument("--report", type=Path, required=True, help="parity and size, a JSON file to be written")
    arguments = parser.parse_args(argv)
    load = partial(load_section, arguments.params, ExportParams, "export")
    with (
        exit_on_input_error(),
        unchanged_params(load, arguments.params) as settings,
        unchanged_files(arguments.checkpoint, arguments.metrics, arguments.calibration, arguments.validation),
    ):
        export(arguments, settings)


def export(arguments: argparse.Namespace, settings: ExportParams) -> None:
    """Write the ONNX files and their report, once both runtimes agree on a grid of batches."""
    torch.set_num_threads(1)  # their number could change the last bits of the difference
    model, description = load(arguments.checkpoint)
    metrics, calibration = _read_evaluation(arguments.metrics, arguments.calibration)
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
        "metrics": metrics,
        "calibration": calibration,
        "recipe": description.recipe,
        "profile": description.profile,
        "rnnflow": json.loads(METADATA_VERSION),  # last: a file cut short, at whatever byte, lacks it
    }
    properties = {name: json.dumps(value, sort_keys=True) for name, value in metadata.items()}
    exporting = _Exporting(model, description, settings, properties, version_number(weights_md5))
    folders = atomic_folders(arguments.streaming, arguments.int8)
    with atomic_write(arguments.model) as temporary, folders as (streaming, int8):
        report = exporting.write_whole(temporary, arguments.model)
        report |= exporting.write_streaming(streaming, Predictor(temporary), arguments.streaming)
        report |= exporting.write_int8(int8, temporary, arguments.model, arguments.validation)
        write_json(arguments.report, report)
    if "not_streaming" in report:
        print(f"{description.name}: no streaming file: {report['not_streaming']}")


@dataclass(frozen=True)
class _Exporting:
    """What both files are made of."""

    model: Classifier
    description: Description
    settings: ExportParams
    properties: dict[str, str]
    version: int

    def write_whole(self, temporary: Path, path: Path) -> dict[str, object]:
        """Write the file that answers about whole sequences; return what the report says of it."""
        content = serialise(build(self.model, self.properties, self.version))
        temporary.write_bytes(content)
        predictor = Predictor(temporary)
        difference = largest_difference(self.model, predictor, self.settings.batch_sizes, self._lengths)
        self._refuse(difference, self._excess(predictor, self._batches), path, "PyTorch's")
        # Said and not stored: the last bits of both runtimes are other ones on another kind of processor.
        print(f"{self.description.name}: {len(content):,} bytes, within {difference:.1e} of PyTorch")
        return {"onnx_bytes": len(content)}

    def write_streaming(self, folder: Path, whole: Predictor, place: Path) -> dict[str, object]:
        """Write the file that answers step by step, or why there is none."""
        obstacle = self.model.params.streaming_obstacle
        if not self.settings.streaming and self.model.params.streaming != "required":
            obstacle = "export.streaming is false"
        if obstacle:
            write_json(folder / LAYOUT, {"not_streaming": obstacle})
            return {"not_streaming": obstacle}
        proto, layout = build_streaming(self.model, self.properties, self.version)
        content = serialise(proto)
        (folder / STREAMING_MODEL).write_bytes(content)
        write_json(folder / LAYOUT, {"state": layout, "state_size": sum(layout.values())}, is_sorted=False)
        pieces = InPieces(StreamingModel(folder / STREAMING_MODEL))
        difference = streaming_parity.largest_difference(whole, pieces, prefixes(self._batches))
        excess = self._excess(pieces, prefixes(self._batches))
        self._refuse(difference, excess, place / STREAMING_MODEL, "those of whole sequences")
        print(f"{self.description.name}: step by step within {difference:.1e} of whole sequences")
        return {"streaming_bytes": len(content)}

    def write_int8(self, folder: Path, whole: Path, place: Path, validation: Path) -> dict[str, object]:
        """Write the file with weights of 8 bits and what it costs, or why there is none."""
        if self.settings.quantize is None:
            write_json(folder / COST, {"not_quantised": "export.quantize is null"})
            return {}
        from rnnflow.serving import quantisation  # half a second, which few runs have to wait for

        if reason := quantisation.obstacle(self.model.params.cell):
            print(f"{self.description.name}: no file of 8 bits: {reason}")
            write_json(folder / COST, {"not_quantised": reason})
            return {"not_quantised": reason}
        names = ("export.int8_max_loss", "export.int8_max_shift")
        limits = quantisation.Limits(self.settings.int8_max_loss, self.settings.int8_max_shift, names)
        cost = quantisation.quantise(whole, folder / INT8_MODEL, validation, limits, place)
        print(f"{self.description.name}: weights of 8 bits: {cost}")
        write_json(folder / COST, asdict(cost))
        return {"int8": {"bytes": (folder / INT8_MODEL).stat().st_size, **asdict(cost)}}

    @property
    def _lengths(self) -> list[int]:
        return [*self.settings.lengths, self.description.lengths[-1]]

    @property
    def _batches(self) -> Batches:
        few_steps = SHORT_LENGTH * self.model.params.downsampling
        return batches(self.model, self.settings.batch_sizes, [few_steps, *self._lengths])

    def _excess(self, runtime: Runtime, asked: Batches) -> float:
        return largest_excess(self.model, runtime, asked, self.settings.tolerance)

    def _refuse(self, difference: float, excess: float, path: Path, whose: str) -> None:
        if not (np.isfinite(difference) and excess <= 1):
            raise InputError(
                f"{path}: probabilities differ from {whose} by {difference:.2g}, their logarithms by "
                f"{excess:.2g} times what rounding explains and export.tolerance allows; nothing was exported"
            )


def _read_evaluation(metrics: Path, calibration: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return metrics and calibration, if they are as stage evaluate wrote them."""
    figures = json_text.read(metrics, "the metrics that stage evaluate wrote")
    chosen = json_text.read_sealed(calibration, EVALUATED, {metrics: figures})
    checked(CalibrationContent, chosen, f"{calibration}: expected {EVALUATED}")
    chosen.pop("tables", None)  # their checksums, for stage report
    return figures, chosen


if __name__ == "__main__":
    main()
