"""Stage train: a classifier from the train split, checked on the validation split."""

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from rnnflow import engines
from rnnflow.classifier import cells, checkpoint, stems
from rnnflow.params.models import ModelParams, load_model
from rnnflow.params.section import load as load_section
from rnnflow.params.train import TrainParams
from rnnflow.runtime import environment, json_text, processes, provenance
from rnnflow.runtime.errors import InputError, exit_on_input_error
from rnnflow.sequences import dataset
from rnnflow.training.log import TrainingLog
from rnnflow.training.loop import Epoch, Training


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m stages.train", description=__doc__)
    parser.add_argument("name", help="the entry of `models:`")
    parser.add_argument("--params", type=Path, required=True, help="params.yaml")
    parser.add_argument("--train", type=Path, required=True, help="folder of the train split")
    parser.add_argument("--validation", type=Path, required=True, help="folder of the validation split")
    parser.add_argument("--profile", type=Path, help="what the train split looks like; it travels with the model")
    parser.add_argument("--checkpoint", type=Path, required=True, help="the trained model, to be written")
    parser.add_argument("--log", type=Path, required=True, help="folder for the metrics of each epoch")
    arguments = parser.parse_args(argv)
    with exit_on_input_error():
        model_params = load_model(arguments.params, arguments.name)
        recipe = load_section(arguments.params, TrainParams, "train")
        processes.check()
        if processes.are_started():
            processes.end_with_the_launcher()
        elif recipe.num_processes > 1:
            engines.device(recipe.engine)
            processes.start(recipe.num_processes, "stages.train", sys.argv[1:] if argv is None else argv)
        train(arguments, model_params, recipe)


def train(arguments: argparse.Namespace, model_params: ModelParams, recipe: TrainParams) -> None:
    """Train one entry of `models:`; killed at any moment and run again, it writes the same bytes."""
    engine = recipe.engine
    device = engines.device(engine)
    train_split = dataset.load(arguments.train, memory_budget_mb=recipe.memory_budget_mb)
    validation = dataset.load(arguments.validation, train_split.classes, train_split.features, recipe.memory_budget_mb)
    md5 = {
        "train": provenance.folder_md5(arguments.train),
        "validation": provenance.folder_md5(arguments.validation),
        "params": provenance.params_md5({"model": model_params.model_dump(), "train": recipe.model_dump()}),
        "code": provenance.code_md5(
            provenance.source_files(
                Path(__file__),
                engines.entry(engine),
                cells.entry(model_params.cell),
                *([stems.entry(model_params.stem.kind)] if model_params.stem else ()),
            )
        ),
    }
    state_key = {**md5, **engines.versions(engine), "device": device, "processes": str(processes.num_processes())}
    resume = environment.resume_file({**state_key, "fit": "chosen"})
    final_resume = environment.resume_file({**state_key, "fit": "final"})
    training = Training(train_split, validation, model_params, recipe, device)
    if not recipe.final_fit:
        train_split = train_split.without_values()  # the training has its own copy, prepared
    with _alone(arguments.name, resume), _log(arguments, training.last_epoch, device) as on_epoch:
        arrays = training.run(resume, lambda epoch: on_epoch(epoch, len(training.history)))
        if recipe.final_fit:
            unit = "epoch" if recipe.steps is None else "step"
            last = training.chosen_epoch if unit == "epoch" else training.chosen_step
            del training  # and its buffer, before there is another one
            train_split = dataset.joined(train_split, validation, recipe.memory_budget_mb)
            del validation
            if processes.is_first():
                print(f"{arguments.name}: final fit, {last} {unit}s on train and validation", flush=True)
            training = Training(train_split, None, model_params, recipe, device, **{f"last_{unit}": last})
            train_split = train_split.without_values()
            arrays = training.run(final_resume)
    description = checkpoint.Description(
        name=arguments.name,
        model=model_params,
        features=train_split.features,
        classes=train_split.classes,
        class_counts=tuple(train_split.class_counts),
        lengths=train_split.length_range,
        num_parameters=len(training.weights),
        md5=md5,
        final_fit=recipe.final_fit,
        recipe=train_split.recipe,
        profile=_profile(arguments.profile),
    )
    if processes.is_first():
        checkpoint.save(arguments.checkpoint, arrays, description)
        for file in (resume, final_resume):
            environment.end_resume(file)
    engines.leave()


def _profile(path: Path | None) -> dict[str, Any] | None:
    """Return the profile without the names of the files, which are nobody's business but the data set's."""
    if path is None:
        return None
    content = json_text.unsealed(json_text.read(path, "the profile that stage generate wrote"), str(path))
    if not isinstance(content, dict):
        raise InputError(f"{path}: expected the profile that stage generate wrote")
    return {name: value for name, value in content.items() if name != "files"}


@contextmanager
def _alone(name: str, resume: Path) -> Iterator[None]:
    """Let nobody else write the state of the same training meanwhile; of several processes, the first writes it."""
    if not processes.is_first():
        yield
        return
    waiting = partial(
        print, f"{name}: the same training is at work in another process; waiting for its end", flush=True
    )
    with environment.held(resume, waiting):
        yield


@contextmanager
def _log(arguments: argparse.Namespace, num_epochs: int, device: str) -> Iterator[Callable[[Epoch, int], None]]:
    """Yield what is to be called after each epoch: of several processes, the first keeps the log."""
    if not processes.is_first():
        yield lambda *_: None
        return
    with TrainingLog(arguments.name, arguments.log, num_epochs, device) as log:
        yield log.add


if __name__ == "__main__":
    main()
