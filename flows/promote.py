"""Promotes the challenger to production, brings an earlier version back, and shows the versions.

Each change is a commit of `models/production`, a tag for the version and one for the change of production. The remote
gets the data first and then the commit and its tags together; where that fails, nothing has happened here either.
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from flows import versions
from flows.repository import pipeline, production, registry
from flows.repository.git import git
from flows.repository.registry import Version
from flows.repository.workspace import Workspace, in_place
from flows.settings import ENOUGH
from flows.supervision.dvc import StageError
from rnnflow.evaluation.comparison.challenge import MODEL
from rnnflow.runtime.errors import InputError, exit_on_input_error
from rnnflow.runtime.provenance import file_md5
from rnnflow.serving.describe import latency_microseconds
from rnnflow.serving.predictor import Predictor


def main(argv: Sequence[str] | None = None) -> None:
    arguments = _parser().parse_args(argv)
    with exit_on_input_error():
        if arguments.force and not arguments.why:
            raise InputError("--force: say --why, which the commit will keep")
        if arguments.command == "show":
            versions.show(Path(git(Path.cwd(), "rev-parse", "--show-toplevel")))
            return
        try:
            with in_place(Path.cwd(), ".", allow_dirty=True) as workspace:
                production.undo_killed_promotion(workspace)
                production.fetch_tags(workspace.folder)
                print(_rolled_back(workspace, arguments) if arguments.rollback else _promoted(workspace, arguments))
        except StageError as error:  # of DVC or the network, whose line this is
            raise InputError(f"{error}; nothing has been changed") from None


def _promoted(workspace: Workspace, arguments: argparse.Namespace) -> str:
    return promote(
        workspace,
        arguments.model,
        allowed=None if arguments.force else ENOUGH[arguments.at_least],
        version=arguments.version,
        why=arguments.why,
    )


def promote(
    workspace: Workspace,
    model_name: str | None = None,
    *,
    allowed: Sequence[str] | None,
    version: str | None = None,
    why: str = "",
) -> str:
    """Promote a model and return the line that says so.

    Args:
        workspace: with a branch checked out, and all that made the model committed.
        model_name: of `models:`; by default the challenger.
        allowed: verdicts that are enough; None: whatever the verdict is, or none.
        version: by default the one after the last.
        why: kept in the commit.

    Raises:
        InputError: it cannot or may not be promoted; nothing has happened then.
        StageError: DVC's remote or the Git repository cannot be reached; nothing has happened then either.
    """
    top = workspace.folder
    verdict = versions.read_verdict(top)
    name = model_name or (verdict["challenger"]["name"] if verdict else None)
    if name is None:
        raise InputError(
            f"{versions.VERDICT}: no such file; `dvc repro compare`, or name a model with --model and --force"
        )
    model = top / "models" / name / MODEL
    predictor = Predictor(model)
    md5 = file_md5(model)
    if md5 == production.model_md5(top):
        return _completed(workspace, name)
    if md5 not in (top / "dvc.lock").read_text(encoding="utf-8"):
        raise InputError(f"{model.relative_to(top)}: not the file that dvc.lock names; `dvc repro`, and commit first")
    if allowed is not None:
        _require_permission(top, verdict, name, md5, allowed)
    version = version or registry.next_version(top)
    registry.check_new(top, version)
    facts = versions.facts_now(top, name, predictor, verdict, why)
    _say_latency(top, predictor)
    with production.all_or_nothing(workspace) as tags:
        production.write(workspace, model, facts)
        subject = f"Promote {name} to production as {version}"
        production.commit(top, f"{subject}\n\n{versions.commit_message(facts)}")
        tags.append(registry.register(top, version, subject))
        tags.append(registry.assign(top, registry.find(top, version), subject))
        production.push(workspace, tags)
    return f"{name} is in production as {version}"


def _completed(workspace: Workspace, name: str) -> str:
    """Finish the promotion of what is in production already, where one that was killed left something out."""
    top = workspace.folder
    history = registry.in_production(top)
    if history and versions.facts_of(top, history[-1]).get("model_md5") == production.model_md5(top):
        production.push(workspace, [])
        return f"{name} is in production already, as {history[-1].name}"
    version, tags = registry.next_version(top), []
    subject = f"Promote {name} to production as {version}"
    tags.append(registry.register(top, version, subject))
    tags.append(registry.assign(top, registry.find(top, version), subject))
    production.push(workspace, tags)
    return f"{name} is in production as {version}: an earlier promotion is finished"


def _rolled_back(workspace: Workspace, arguments: argparse.Namespace) -> str:
    """Bring an earlier version back, byte by byte, and return the line that says so."""
    top = workspace.folder
    history = registry.in_production(top)
    if not history:
        raise InputError("there is nothing to roll back to: no version has been promoted")
    current = history[-1]
    target = _before(history) if arguments.rollback is True else registry.find(top, arguments.rollback)
    if target.name == current.name:
        raise InputError(f"{target.name} is in production already")
    with production.all_or_nothing(workspace) as tags:
        production.restore(top, target.commit)
        production.check_out_data(workspace, "pull" if pipeline.default_remote(top) else "checkout")
        subject = f"Roll production back from {current.name} to {target.name}"
        production.commit(top, f"{subject}\n\n{arguments.why}" if arguments.why else subject)
        tags.append(registry.assign(top, target, subject))
        production.push(workspace, tags)
    return f"{target.name} is in production again, instead of {current.name}"


def _before(history: Sequence[Version]) -> Version:
    """Return the version that was in production before the current one came there for the first time.

    So a second rollback goes further back, and not to what the first one has taken out of production.
    """
    names = list(dict.fromkeys(version.name for version in history))
    place = names.index(history[-1].name)
    if place == 0:
        raise InputError(f"there is nothing to roll back to: {names[0]} is the first version that was in production")
    return next(version for version in history if version.name == names[place - 1])


def _require_permission(
    top: Path, verdict: Mapping[str, Any] | None, name: str, md5: str, allowed: Sequence[str]
) -> None:
    if verdict is None or name != verdict["challenger"]["name"]:
        raise InputError(f"{versions.VERDICT} is not about model {name}; --force --why … promotes it all the same")
    compared = verdict["challenger"]["md5"], (verdict["production"] or {}).get("md5")
    if compared != (md5, production.model_md5(top)):
        raise InputError(f"{versions.VERDICT} is about other files than the ones that are here; `dvc repro` first")
    if verdict["verdict"] not in allowed:
        raise InputError(
            f"{name}: {verdict['verdict']}; {'; '.join(verdict['reasons'])}; --force --why … promotes it all the same"
        )


def _say_latency(top: Path, challenger: Predictor) -> None:
    """Measured now, on this machine: it is shown and never kept."""
    file = top / production.PRODUCTION / MODEL
    before = f", until now {latency_microseconds(Predictor(file)):.0f} µs" if file.exists() else ""
    print(f"one sequence takes {latency_microseconds(challenger):.0f} µs{before}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m flows.promote", description=__doc__)
    parser.add_argument("command", nargs="?", choices=["show"], help="print the versions and change nothing")
    parser.add_argument("--at-least", choices=[*ENOUGH], default="better", help="the lowest verdict that is promoted")
    parser.add_argument("--model", metavar="NAME", help="an entry of `models:`; default: the challenger")
    parser.add_argument("--version", metavar="vX.Y.Z", help="default: the next minor version")
    parser.add_argument("--force", action="store_true", help="promote whatever the verdict says; needs --why")
    parser.add_argument("--why", default="", metavar="TEXT", help="the reason, kept in the commit")
    parser.add_argument(
        "--rollback",
        nargs="?",
        const=True,
        metavar="VERSION",
        help="bring VERSION back; default: the one before the current one",
    )
    return parser


if __name__ == "__main__":
    main()
