"""The command `python -m flows`: brings the pipeline up to date, here and now.

Prefect takes two seconds to import and its server five to start, side by side. So what can be said without them is said
before: a person's mistakes, and that there is nothing to do.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from flows import settings
from flows.repository import overrides, pipeline
from flows.repository.pipeline import Stage
from flows.repository.workspace import in_place, require_no_password
from flows.server.home import require_home
from flows.server.temporary_server import TemporaryServer
from flows.supervision.repair import repair
from flows.supervision.transcript import Outcome
from rnnflow import cli
from rnnflow.params.section import parse
from rnnflow.runtime import garbage
from rnnflow.runtime.errors import InputError, exit_on_input_error

STAGE_FAILED_STATUS = 1
MODEL_FILE = "model.onnx"


def main(argv: Sequence[str] | None = None) -> None:
    """Say what is wrong or that all is up to date; else run the flow `retrain`."""
    garbage.collect_seldom()
    arguments = _parser().parse_args(argv)
    is_here, has_summary = not (arguments.isolated or arguments.coordinated), vars(arguments).pop("summary")
    with exit_on_input_error():
        if has_summary and not is_here:
            raise InputError("--summary: a run in a clone of its own leaves no models here")
        settings.load()
        require_no_password(arguments.repository)
        arguments.overrides = dict(map(parsed_override, vars(arguments).pop("set")))
        stages = _stages(arguments) if is_here else []
        if not is_here or _is_work(arguments, stages):
            from rnnflow.params import whole

            if is_here and not arguments.overrides:  # which were checked together with the rest
                whole.load(Path(arguments.folder) / overrides.FILE)
            require_home()
            server = None if arguments.coordinated else _temporary_server()
            from flows.retrain import run_once

            state = run_once(vars(arguments), server)
            print(f"{state.name}: {state.message}")
            if not state.is_completed():
                sys.exit(STAGE_FAILED_STATUS)
        else:
            for stage in stages:
                print(f"{stage.name}: {Outcome.UP_TO_DATE}")
            print(f"Completed: {Outcome.UP_TO_DATE}")
    outs = [Path(arguments.folder) / path for stage in stages for path in stage.outs]
    models = [str(path) for path in outs if path.name == MODEL_FILE]
    if has_summary and models:
        cli.main(["summary", *models])


def _temporary_server() -> TemporaryServer | None:
    """Start a server, unless the environment names one; its first start on a machine takes twenty seconds."""
    if os.environ.get("PREFECT_API_URL"):
        return None
    print("starting Prefect", flush=True)
    return TemporaryServer()


def _is_work(arguments: argparse.Namespace, stages: Sequence[Stage]) -> bool:
    """Return whether there is more to do than to say that all stages are up to date."""
    is_more_asked = any((arguments.overrides, arguments.update, arguments.pull, arguments.push, arguments.publish))
    return is_more_asked or any(stage.is_stale for stage in stages)


def _stages(arguments: argparse.Namespace) -> list[Stage]:
    """Return the stages of the current folder that are asked for.

    Raises:
        InputError: the flow would refuse it.
    """
    with in_place(Path.cwd() / arguments.folder, arguments.repository, allow_dirty=arguments.allow_dirty) as workspace:
        for line in repair(workspace.folder):
            print(line)
        overrides.check(workspace.folder, arguments.overrides)
        return pipeline.read(workspace.folder, arguments.stages)


def parsed_override(text: str) -> tuple[str, Any]:
    """Return name and value of `NAME=VALUE`.

    Raises:
        InputError: it is no such text, or the value is no YAML.
    """
    name, is_set, value = text.partition("=")
    if not is_set:
        raise InputError(f"--set {text}: expected NAME=VALUE, such as models.lstm.hidden_size=64")
    return name, parse(value, f"--set {name}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m flows", description="Bring the pipeline up to date, a Prefect task for each stage."
    )
    parser.add_argument(
        "stages", nargs="*", metavar="STAGE", help="with all that it depends on; `train` means every model's"
    )
    parser.add_argument(
        "-S", "--set", action="append", default=[], metavar="NAME=VALUE", help="override a param for this run"
    )
    parser.add_argument("--isolated", action="store_true", help="work in a new clone of --revision, not here")
    parser.add_argument("--coordinated", action="store_true", help="the same, each stage on a worker of its pool")
    parser.add_argument("--revision", default="HEAD", help="branch, tag or commit to clone")
    parser.add_argument("--repository", default=".", help="path, URL or name of a remote; default: this clone")
    parser.add_argument("--folder", default=".", help="the one with dvc.yaml; default: this one")
    parser.add_argument("--update", action="store_true", help="look for new data first")
    parser.add_argument("--pull", action="store_true", help="fetch data and earlier results from DVC's remote first")
    parser.add_argument("--push", action="store_true", help="send data and results to DVC's remote")
    how = parser.add_mutually_exclusive_group()
    how.add_argument(
        "--publish", action="store_const", const="branch", help="push, and commit new results on a branch auto/…"
    )
    how.add_argument(
        "--promote",
        action="store_const",
        const="promote",
        dest="publish",
        help="the same, and promote the challenger if the verdict allows it; needs --isolated",
    )
    parser.add_argument("--allow-dirty", action="store_true", help="run in a work tree with local changes")
    parser.add_argument("--summary", action="store_true", help="show the models side by side at the end")
    parser.add_argument("--why", default="by hand", help="the reason, shown in the run's name")
    return parser


if __name__ == "__main__":
    main()
