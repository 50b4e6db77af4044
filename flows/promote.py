"""Promotes the challenger to production, brings an earlier version back, and shows the versions.

Each change is a commit of `models/production`, a tag for the version and one for the change of production. The remote
gets the data first and then the commit and its tags together; where that fails, nothing has happened here either.
"""

import argparse
import json
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from ruamel.yaml import YAML

from flows.repository import pipeline, registry
from flows.repository.git import author, git
from flows.repository.registry import Version
from flows.repository.workspace import Workspace, in_place
from flows.supervision.dvc import StageError
from rnnflow.evaluation.challenge import MODEL, PROMOTION, TRAINING_IDS
from rnnflow.evaluation.scoring import ids_of
from rnnflow.runtime.atomic_writes import atomic_write, write_json
from rnnflow.runtime.errors import InputError, exit_on_input_error
from rnnflow.runtime.provenance import file_md5, folder_md5
from rnnflow.serving.describe import latency_microseconds
from rnnflow.serving.predictor import Predictor

PRODUCTION = Path("models/production")
VERDICT = Path("reports/comparison/verdict.json")
SPLITS = Path("data/sequences")
WRITTEN = tuple(str(PRODUCTION / name) for name in (f"{MODEL}.dvc", f"{TRAINING_IDS}.dvc", PROMOTION, ".gitignore"))
"""What a promotion changes in Git."""
ALLOWED = {"better": ("better",), "not-worse": ("better", "not worse")}


def main(argv: Sequence[str] | None = None) -> None:
    arguments = _parser().parse_args(argv)
    with exit_on_input_error():
        if arguments.force and not arguments.why:
            raise InputError("--force: say --why, which the commit will keep")
        if arguments.command == "show":
            show(Path(git(Path.cwd(), "rev-parse", "--show-toplevel")))
            return
        try:
            with in_place(Path.cwd(), ".", allow_dirty=True) as workspace:
                _tidy(workspace)
                _fetch_tags(workspace.folder)
                print(_rolled_back(workspace, arguments) if arguments.rollback else _promoted(workspace, arguments))
        except StageError as error:  # of DVC or the network, whose line this is
            raise InputError(f"{error}; nothing has been changed") from None


def _promoted(workspace: Workspace, arguments: argparse.Namespace) -> str:
    """Promote the challenger, or the model that was named, and return the line that says so."""
    top = workspace.folder
    verdict = _verdict(top)
    name = arguments.model or (verdict["challenger"]["name"] if verdict else None)
    if name is None:
        raise InputError(f"{VERDICT}: no such file; `dvc repro compare`, or name a model with --model and --force")
    model = top / "models" / name / MODEL
    predictor = Predictor(model)
    md5 = file_md5(model)
    if md5 == _production_md5(top):
        return _completed(workspace, name)
    if md5 not in (top / "dvc.lock").read_text(encoding="utf-8"):
        raise InputError(f"{model.relative_to(top)}: not the file that dvc.lock names; `dvc repro`, and commit first")
    if not arguments.force:
        _require_permission(top, verdict, name, md5, ALLOWED[arguments.at_least])
    version = arguments.version or registry.next_version(top)
    registry.check_new(top, version)
    facts = _facts(top, name, predictor, verdict, arguments.why)
    _say_latency(top, predictor)
    with _all_or_nothing(workspace) as tags:
        _write(workspace, model, facts)
        subject = f"Promote {name} to production as {version}"
        _commit(top, f"{subject}\n\n{_said(facts)}")
        tags.append(registry.register(top, version, subject))
        tags.append(registry.assign(top, registry.find(top, version), subject))
        _push(workspace, tags)
    return f"{name} is in production as {version}"


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
    with _all_or_nothing(workspace) as tags:
        _restore(top, target.commit)
        _bring_data(workspace, "pull" if pipeline.default_remote(top) else "checkout")
        subject = f"Roll production back from {current.name} to {target.name}"
        _commit(top, f"{subject}\n\n{arguments.why}" if arguments.why else subject)
        tags.append(registry.assign(top, target, subject))
        _push(workspace, tags)
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


def show(top: Path) -> None:
    """Print a line for each version: when, which model, how good, which commit."""
    history = registry.in_production(top)
    today = (_verdict(top) or {}).get("production")
    table = Table("version", "", "date", "model", title="Versions", title_justify="left")
    table.add_column("accuracy when promoted", justify="right")
    table.add_column("on today's test split", justify="right")
    table.add_column("commit")
    for version in reversed(registry.versions(top)):
        facts = _facts_of(top, version)
        is_current = bool(history) and version.name == history[-1].name
        is_measured = is_current and today and facts.get("model_md5") == today["md5"]
        table.add_row(
            version.name,
            registry.STAGE if is_current else "",
            version.date,
            str(facts.get("model", "")),
            _accuracy(facts),
            _accuracy(today) if is_measured and today else "",
            version.commit[:9],
        )
    Console(width=None if sys.stdout.isatty() else 160, markup=False, emoji=False).print(table)


def _verdict(top: Path) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = json.loads((top / VERDICT).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError:
        raise InputError(f"{VERDICT}: damaged; `dvc repro compare` writes it anew") from None
    return found


def _require_permission(
    top: Path, verdict: Mapping[str, Any] | None, name: str, md5: str, allowed: Sequence[str]
) -> None:
    if verdict is None or name != verdict["challenger"]["name"]:
        raise InputError(f"{VERDICT} is not about model {name}; --force --why … promotes it all the same")
    compared = verdict["challenger"]["md5"], (verdict["production"] or {}).get("md5")
    if compared != (md5, _production_md5(top)):
        raise InputError(f"{VERDICT} is about other files than the ones that are here; `dvc repro` first")
    if verdict["verdict"] not in allowed:
        raise InputError(
            f"{name}: {verdict['verdict']}; {'; '.join(verdict['reasons'])}; --force --why … promotes it all the same"
        )


def _production_md5(top: Path) -> str | None:
    """Return the md5 of the model in production as the last commit says it; none where there is none."""
    try:
        tracked = git(top, "show", f"HEAD:{PRODUCTION / MODEL}.dvc")
    except InputError:
        return None
    return str(YAML(typ="safe").load(tracked)["outs"][0]["md5"])


def _facts(
    top: Path, name: str, predictor: Predictor, verdict: Mapping[str, Any] | None, why: str
) -> dict[str, object]:
    """Return what is known of a model when it is promoted: from the verdict, or from the file itself."""
    md5 = file_md5(top / "models" / name / MODEL)
    is_judged = verdict is not None and verdict["challenger"]["md5"] == md5
    figures = verdict["challenger"] if verdict and is_judged else predictor.metadata["metrics"]
    test = top / SPLITS / "test"
    return {
        "model": name,
        "model_md5": md5,
        **{figure: figures.get(figure) for figure in ("accuracy", "accuracy_low", "accuracy_high")},
        "verdict": verdict["verdict"] if verdict and is_judged else "none",
        "reasons": verdict["reasons"] if verdict and is_judged else [],
        "test_md5": folder_md5(test) if test.is_dir() else None,
        "train_md5": predictor.metadata["md5"].get("train"),
        "why": why,
    }


def _said(facts: Mapping[str, Any]) -> str:
    lines = [f"Accuracy {_accuracy(facts)} on the test split.", f"Verdict: {facts['verdict']}."]
    lines += [f"- {reason}" for reason in facts["reasons"]]
    return "\n".join([*lines, *([f"Forced: {facts['why']}"] if facts["why"] else [])])


def _accuracy(figures: Mapping[str, Any]) -> str:
    share, low, high = (figures.get(name) for name in ("accuracy", "accuracy_low", "accuracy_high"))
    return "" if None in (share, low, high) else f"{share:.4f} ({low:.4f} – {high:.4f})"


def _facts_of(top: Path, version: Version) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(git(top, "show", f"{version.commit}:{PRODUCTION / PROMOTION}"))
    except (InputError, ValueError):  # a version that somebody tagged by hand
        return {}
    return found


def _say_latency(top: Path, challenger: Predictor) -> None:
    """Measured now, on this machine: it is shown and never kept."""
    file = top / PRODUCTION / MODEL
    before = f", until now {latency_microseconds(Predictor(file)):.0f} µs" if file.exists() else ""
    print(f"one sequence takes {latency_microseconds(challenger):.0f} µs{before}")


def _tidy(workspace: Workspace) -> None:
    """Undo what a promotion that was killed has left uncommitted, and make sure that nothing else is.

    Raises:
        InputError: something is changed and not committed.
    """
    top = workspace.folder
    listed = [
        *git(top, "diff", "--name-only", "-z", "HEAD").split("\0"),
        *git(top, "ls-files", "-z", "--others", "--exclude-standard", "--", *WRITTEN).split("\0"),
    ]
    changed = [path for path in listed if path]
    if set(changed) <= set(WRITTEN) and str(PRODUCTION / PROMOTION) in changed:  # which a promotion writes first
        _restore(top, "HEAD")
        with suppress(StageError):  # what is in neither cache nor remote was not here before
            _bring_data(workspace, "checkout")
    elif changed:
        named = ", ".join(changed[:3]) + (f" and {len(changed) - 3} more" if len(changed) > 3 else "")
        raise InputError(f"{named}: changed and not committed; commit it first, so that the version names what made it")


def _restore(top: Path, commit: str) -> None:
    """Let the files that a promotion writes be those of a commit, in the work tree and the index."""
    there = set(git(top, "ls-tree", "--name-only", "-z", commit, f"{PRODUCTION}/").split("\0"))
    if kept := [path for path in WRITTEN if path in there]:
        git(top, "checkout", "--quiet", commit, "--", *kept)
    for path in (path for path in WRITTEN if path not in there):
        git(top, "rm", "--quiet", "--force", "--ignore-unmatch", "--", path)
        (top / path).unlink(missing_ok=True)
        if path.endswith(".dvc"):
            (top / path.removesuffix(".dvc")).unlink(missing_ok=True)


def _write(workspace: Workspace, model: Path, facts: Mapping[str, Any]) -> None:
    """Write the files of the model in production and put them under the control of DVC and Git."""
    folder = workspace.folder / PRODUCTION
    write_json(folder / PROMOTION, facts)
    with atomic_write(folder / MODEL) as temporary:
        shutil.copyfile(model, temporary)
    splits = [workspace.folder / SPLITS / name for name in ("train", "validation")]
    (folder / TRAINING_IDS).unlink(missing_ok=True)
    (folder / f"{TRAINING_IDS}.dvc").unlink(missing_ok=True)
    if splits[0].is_dir() and folder_md5(splits[0]) == facts["train_md5"]:
        with atomic_write(folder / TRAINING_IDS) as temporary, temporary.open("wb") as file:
            np.save(file, ids_of(*splits))
    added = [str(PRODUCTION / name) for name in (MODEL, TRAINING_IDS) if (folder / name).exists()]
    workspace.dvc.run(["add", "--quiet", *added], lambda _: None)


def _commit(top: Path, message: str) -> None:
    here = [path for path in WRITTEN if (top / path).exists()]
    git(top, "add", "--all", "--", *here)
    git(top, "add", "--update", "--", str(PRODUCTION))
    git(top, "commit", "--quiet", "--allow-empty", f"--message={message}", environment=author(top))


@contextmanager
def _all_or_nothing(workspace: Workspace) -> Iterator[list[str]]:
    """Yield a list for the tags that the block makes; however the block fails, it leaves neither commit nor tag."""
    top, tags = workspace.folder, list[str]()
    with TemporaryDirectory() as kept:  # the bytes themselves, which may be in no cache
        for name in (MODEL, TRAINING_IDS):
            if (top / PRODUCTION / name).exists():
                shutil.copy2(top / PRODUCTION / name, kept)
        try:
            yield tags
        except BaseException:
            if tags:
                git(top, "tag", "--delete", *tags)
            git(top, "reset", "--quiet", "--soft", workspace.base)
            _restore(top, workspace.base)
            shutil.copytree(kept, top / PRODUCTION, dirs_exist_ok=True)
            raise


def _bring_data(workspace: Workspace, command: str) -> None:
    """Let the files of the model in production be those that its `.dvc` files name."""
    tracked = [path for path in WRITTEN if path.endswith(".dvc") and (workspace.folder / path).exists()]
    if tracked:
        workspace.dvc.run([command, "--quiet", "--force", *tracked], lambda _: None)


def _completed(workspace: Workspace, name: str) -> str:
    """Finish the promotion of what is in production already, where one that was killed left something out."""
    top = workspace.folder
    history = registry.in_production(top)
    if history and _facts_of(top, history[-1]).get("model_md5") == _production_md5(top):
        _push(workspace, [])
        return f"{name} is in production already, as {history[-1].name}"
    version, tags = registry.next_version(top), []
    subject = f"Promote {name} to production as {version}"
    tags.append(registry.register(top, version, subject))
    tags.append(registry.assign(top, registry.find(top, version), subject))
    _push(workspace, tags)
    return f"{name} is in production as {version}: an earlier promotion is finished"


def _remote(top: Path) -> str | None:
    """Return the Git remote that the branch follows, or `origin`, or none."""
    remotes = git(top, "remote").splitlines()
    try:
        followed = git(top, "config", "--get", f"branch.{_branch(top)}.remote")
    except InputError:
        followed = "origin"
    return followed if followed in remotes else None


def _branch(top: Path) -> str:
    try:
        return git(top, "symbolic-ref", "--quiet", "--short", "HEAD")
    except InputError:
        raise InputError("no branch is checked out; `git switch` to the one that says what is in production") from None


def _fetch_tags(top: Path) -> None:
    """Learn of the versions that others have promoted."""
    _branch(top)
    if remote := _remote(top):
        git(top, "fetch", "--quiet", "--tags", remote)


def _push(workspace: Workspace, tags: Sequence[str]) -> None:
    """Send the data, then the branch with all its version tags, together; what is there already costs nothing."""
    top = workspace.folder
    if pipeline.default_remote(top):
        workspace.dvc.run(["push", "--quiet"], lambda _: None)
    if remote := _remote(top):
        ours = git(top, "tag", "--list", f"{registry.ARTIFACT}@*", f"{registry.ARTIFACT}#*").splitlines()
        refs = [f"refs/tags/{tag}" for tag in sorted({*tags, *ours})]
        git(top, "push", "--quiet", "--atomic", remote, f"HEAD:refs/heads/{_branch(top)}", *refs)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m flows.promote", description=__doc__)
    parser.add_argument("command", nargs="?", choices=["show"], help="print the versions and change nothing")
    parser.add_argument("--at-least", choices=[*ALLOWED], default="better", help="the verdict that is enough")
    parser.add_argument("--model", metavar="NAME", help="of `models:`; by default the challenger")
    parser.add_argument("--version", metavar="vX.Y.Z", help="by default the second number counts on")
    parser.add_argument("--force", action="store_true", help="whatever the verdict; needs --why")
    parser.add_argument("--why", default="", metavar="TEXT", help="kept in the commit")
    parser.add_argument(
        "--rollback", nargs="?", const=True, metavar="VERSION", help="by default to the version before this one"
    )
    return parser


if __name__ == "__main__":
    main()
