"""Stage train: a classifier from the train split, checked on the validation split."""

import argparse
import sys
from collections.abc import Iterator, Sequence
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
from rnnflow.runtime.errors import exit_on_input_error
from rnnflow.runtime.unchanged import unchanged_files, unchanged_params
from rnnflow.sequences import dataset
from rnnflow.training.fit import Fit, OnEpoch
from rnnflow.training.log import TrainingLog


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
    files = [arguments.train, arguments.validation, *([arguments.profile] if arguments.profile else [])]
    with exit_on_input_error():
        with unchanged_params(partial(_load, arguments), arguments.params) as (model_params, recipe):
            processes.check()
            if processes.are_started():
                processes.end_with_the_launcher()
            elif recipe.num_processes > 1:
                engines.device(recipe.engine)
                processes.start(recipe.num_processes, "stages.train", sys.argv[1:] if argv is None else argv)
            with unchanged_files(*files):
                if recipe.recipe == "auto":
                    from rnnflow.advice.model_selection.choose import choose

                    splits = arguments.train, arguments.validation
                    model_params, recipe = choose(model_params, recipe, *splits, partial(_say, arguments.name))
                resume_files = train(arguments, model_params, recipe)
        for file in resume_files:  # whose training can go on from them if this one is not recorded
            environment.end_resume(file)


def _load(arguments: argparse.Namespace) -> tuple[ModelParams, TrainParams]:
    return load_model(arguments.params, arguments.name), load_section(arguments.params, TrainParams, "train")


def train(arguments: argparse.Namespace, model_params: ModelParams, recipe: TrainParams) -> list[Path]:
    """Train one entry of `models:`; killed at any moment and run again, it writes the same bytes.

    Returns:
        The files from which it could have gone on, which are not needed any more; of several processes, the first has them.
    """
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
    resume_files: list[Path] = []

    def resume(fit_name: str) -> Path:
        resume_files.append(environment.resume_file({**state_key, "fit": fit_name}))
        return resume_files[-1]

    fit = Fit(train_split, validation, model_params, recipe, device, resume)
    if fit.advice:
        _say(arguments.name, f"warning: {fit.advice}")
    del train_split, validation  # the fit lets them go when it can
    with _alone(arguments.name, environment.resume_file(state_key)), _log(arguments, fit, device) as on_epoch:
        arrays = fit.run(on_epoch, partial(_say, arguments.name))
    description = checkpoint.Description(
        name=arguments.name,
        model=model_params,
        features=fit.data.features,
        classes=fit.data.classes,
        class_counts=tuple(fit.data.class_counts),
        lengths=fit.data.length_range,
        num_parameters=fit.num_parameters,
        md5=md5,
        final_fit=recipe.final_fit,
        recipe=fit.data.recipe,
        profile=_profile(arguments.profile),
    )
    if processes.is_first():
        checkpoint.save(arguments.checkpoint, arrays, description)
    engines.leave()
    return resume_files if processes.is_first() else []


def _profile(path: Path | None) -> dict[str, Any] | None:
    """Return the profile without the names of the files, which are nobody's business but the data set's."""
    if path is None:
        return None
    content = json_text.read_sealed(path, "the profile that stage generate wrote")
    return {name: value for name, value in content.items() if name != "files"}


def _say(name: str, line: str) -> None:
    if processes.is_first():
        print(f"{name}: {line}", flush=True)


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
def _log(arguments: argparse.Namespace, fit: Fit, device: str) -> Iterator[OnEpoch]:
    """Yield what is to be called after each epoch: of several processes, the first keeps the log."""
    if not processes.is_first():
        yield lambda *_: None
        return
    with TrainingLog(arguments.name, arguments.log, fit.num_epochs, device) as log:
        yield log.add


if __name__ == "__main__":
    main()
