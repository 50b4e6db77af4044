"""Stage train: a classifier from the train split, checked on the validation split."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from rnnflow import checkpoint, dataset, environment, params, provenance
from rnnflow.errors import exit_on_input_error
from rnnflow.training import Training
from rnnflow.training_log import TrainingLog


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m stages.train", description=__doc__)
    parser.add_argument("name", help="the entry of `models:`")
    parser.add_argument("--params", type=Path, required=True, help="params.yaml")
    parser.add_argument("--train", type=Path, required=True, help="folder of the train split")
    parser.add_argument("--validation", type=Path, required=True, help="folder of the validation split")
    parser.add_argument("--checkpoint", type=Path, required=True, help="the trained model, to be written")
    parser.add_argument("--log", type=Path, required=True, help="folder for the metrics of each epoch")
    arguments = parser.parse_args(argv)
    with exit_on_input_error():
        train(arguments)


def train(arguments: argparse.Namespace) -> None:
    """Train one entry of `models:`; killed at any moment and run again, it writes the same bytes."""
    settings = params.load(arguments.params)
    model_params = settings.model(arguments.name)
    train_split = dataset.load(arguments.train)
    validation = dataset.load(arguments.validation, train_split.classes, train_split.features)
    md5 = {
        "train": provenance.folder_md5(arguments.train),
        "validation": provenance.folder_md5(arguments.validation),
        "params": provenance.params_md5({"model": model_params.model_dump(), "train": settings.train.model_dump()}),
        "code": provenance.code_md5(provenance.source_files(Path(__file__))),
    }
    device = environment.device()
    resume, final_resume = (environment.resume_file({**md5, "fit": fit}, device) for fit in ("chosen", "final"))
    fitted = train_split
    training = Training(train_split, validation, model_params, settings.train, device)
    with TrainingLog(arguments.name, arguments.log, settings.train.epochs, device) as log:
        model = training.run(resume, log.add)
        if settings.train.final_fit:
            fitted, num_epochs = dataset.joined(train_split, validation), training.chosen_epoch
            print(f"{arguments.name}: final fit, {num_epochs} epochs on train and validation", flush=True)
            final = Training(fitted, None, model_params, settings.train, device, last_epoch=num_epochs)
            model = final.run(final_resume)
    description = checkpoint.Description(
        name=arguments.name,
        model=model_params,
        features=train_split.features,
        classes=train_split.classes,
        class_counts=tuple(fitted.class_counts),
        lengths=fitted.length_range,
        num_parameters=model.num_parameters,
        md5=md5,
    )
    checkpoint.save(arguments.checkpoint, model, description)
    for file in (resume, final_resume):
        environment.end_resume(file)


if __name__ == "__main__":
    main()
